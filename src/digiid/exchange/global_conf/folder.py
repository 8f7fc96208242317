"""Where a configuration lies on disk: X-Road's `verificationconf` layout, and beside it what proves where it came from.

    <folder>/current                   JSON: which copy is in use, and what no later one may be older than
    <folder>/<copy>/instance-identifier
    <folder>/<copy>/<instance>/shared-params.xml, .metadata, private-params.xml, …
    <folder>/<copy>/directory          as it was signed

A copy is written whole under another name, synced, and then named in `current` in one step. Whoever can write to the
folder can also write the anchor beside it: the folder is as trusted as that file, and what is read is verified again so
that damage is noticed.
"""

import base64
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from digiid.exchange.global_conf.view import INSTANCE_FILE, PRIVATE_FILE, SHARED_FILE, GlobalConf
from digiid.formats.global_conf import (
    FETCH_INTERVAL,
    MAX_DIRECTORY_BYTES,
    MAX_OPTIONAL_PART_BYTES,
    MAX_PRIVATE_PARAMS_BYTES,
    MAX_SHARED_PARAMS_BYTES,
    MONITORING,
    NEXT_UPDATE,
    PRIVATE_PARAMETERS,
    SHARED_PARAMETERS,
    OptionalParts,
    parse_fetch_interval,
    parse_monitoring,
    parse_next_update,
    parse_private_params,
    parse_shared_params,
)
from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.kernel.errors import Malformed, NotFound, Refused
from digiid.kernel.identifiers import check_existing_part

NEVER: Final = datetime.max.replace(tzinfo=UTC)
FILE_OF_PART: Final = {
    SHARED_PARAMETERS: SHARED_FILE,
    PRIVATE_PARAMETERS: PRIVATE_FILE,
    MONITORING: "monitoring-params.xml",
    FETCH_INTERVAL: "fetchinterval-params.xml",
    NEXT_UPDATE: "nextupdate-params.xml",
}
MAX_BYTES_OF_PART: Final = {
    SHARED_PARAMETERS: MAX_SHARED_PARAMS_BYTES,
    PRIVATE_PARAMETERS: MAX_PRIVATE_PARAMS_BYTES,
    MONITORING: MAX_OPTIONAL_PART_BYTES,
    FETCH_INTERVAL: MAX_OPTIONAL_PART_BYTES,
    NEXT_UPDATE: MAX_OPTIONAL_PART_BYTES,
}
_CURRENT: Final = "current"
_DIRECTORY: Final = "directory"
_VERIFICATION: Final = "verificationconf"
_MAX_CURRENT_BYTES: Final = 256 * 1024


class Floor(BaseModel):
    """What no later configuration may be older or lower than; and by which keys the copy in use was verified.

    `anchor` is the fingerprint of the anchor that led here: a new anchor begins anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anchor: str
    version: int
    generated_at: AwareDatetime | None
    expires_at: AwareDatetime
    fetched_at: AwareDatetime
    copy_name: str = Field(pattern=r"^[0-9a-f]{32}$")
    keys: tuple[str, ...]

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The keys as certificates. Raises: Malformed `x509.certificate`."""
        try:
            return tuple(load_certificate(base64.b64decode(one, validate=True)) for one in self.keys)
        except ValueError as error:
            raise Malformed("x509.certificate", "a stored key is not base64") from error

    def check_not_older(self, *, version: int, generated_at: datetime | None, expires_at: datetime) -> None:
        """Raises: Refused `exchange.global_conf.rollback`, it is older or of a lower version than what was seen."""
        if version < self.version:
            raise Refused("exchange.global_conf.rollback", f"version {version} after version {self.version}")
        # Parts that did not change may keep their location, and some tell no time: then the order of expiry decides.
        mine, theirs = self.generated_at, generated_at
        if mine is None or theirs is None or mine == theirs:
            mine, theirs = self.expires_at, expires_at
        if theirs < mine:
            raise Refused("exchange.global_conf.rollback", f"a configuration of {theirs} after one of {mine}")


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """A copy as it lies in the folder: the signed directory and its parts, by content identifier."""

    directory: bytes
    parts: Mapping[str, bytes]


def keys_text(certificates: Sequence[x509.Certificate]) -> tuple[str, ...]:
    return tuple(base64.b64encode(certificate_der(one)).decode("ascii") for one in certificates)


# ------------------------------------------------------------------ reading


def read_floor(folder: Path) -> Floor | None:
    """What is in use; None when there is nothing. Raises: Malformed `exchange.global_conf.store`."""
    try:
        data = _read(folder / _CURRENT, _MAX_CURRENT_BYTES)
    except NotFound:
        return None
    try:
        return Floor.model_validate_json(data)
    except ValidationError as error:
        raise Malformed("exchange.global_conf.store", f"{folder / _CURRENT} cannot be read") from error


def read_copy(folder: Path, floor: Floor, *, instance: str) -> StoredCopy:
    """The copy in use. Raises: NotFound `exchange.global_conf.file`; Malformed `exchange.global_conf.store`."""
    inside = folder / floor.copy_name
    parts = {}
    for content_id, name in FILE_OF_PART.items():
        with suppress(NotFound):
            parts[content_id] = _read(inside / instance / name, MAX_BYTES_OF_PART[content_id])
    return StoredCopy(_read(inside / _DIRECTORY, MAX_DIRECTORY_BYTES), parts)


def load_folder(path: Path) -> GlobalConf:
    """A configuration without its signature, for judging stored messages: `instance-identifier` and one folder.

    `path` is that folder, one that has it as `verificationconf`, or the folder of a ConfigurationClient.

    Raises: NotFound `exchange.global_conf.file`; Malformed `exchange.global_conf.…`.
    """
    # 1 which folder, which instance
    if not path.is_dir():
        raise NotFound("exchange.global_conf.file", f"{path} is no folder of a global configuration")
    if not (path / INSTANCE_FILE).exists():
        floor = read_floor(path)
        path = path / (floor.copy_name if floor else _VERIFICATION)
    try:
        instance = check_existing_part(_read(path / INSTANCE_FILE, 1024).decode("utf-8").strip())
    except UnicodeDecodeError as error:
        raise Malformed("exchange.global_conf.store", "the instance identifier is not UTF-8") from error

    # 2 its parts; only the shared ones have to be there
    parts = {SHARED_PARAMETERS: _read(path / instance / SHARED_FILE, MAX_SHARED_PARAMS_BYTES)}
    with suppress(NotFound):
        parts[NEXT_UPDATE] = _read(path / instance / FILE_OF_PART[NEXT_UPDATE], MAX_OPTIONAL_PART_BYTES)
    return build_view(
        parts,
        instance=instance,
        version=_read_version(path / instance / f"{SHARED_FILE}.metadata"),
        expires_at=NEVER,
        fetched_at=datetime.fromtimestamp(0, UTC),
    )


def build_view(
    parts: Mapping[str, bytes],
    *,
    instance: str,
    version: int,
    expires_at: datetime,
    fetched_at: datetime,
    generated_at: datetime | None = None,
    before: GlobalConf | None = None,
) -> GlobalConf:
    """The configuration of these parts, each read and held to the instance.

    Raises: Malformed `exchange.global_conf.…`; Refused `exchange.global_conf.instance`.
    """
    shared_xml = parts[SHARED_PARAMETERS]
    is_same = before is not None and before.shared_xml == shared_xml
    shared = before.shared if before is not None and is_same else parse_shared_params(shared_xml)
    private = parse_private_params(parts[PRIVATE_PARAMETERS]) if PRIVATE_PARAMETERS in parts else None
    if shared.instance != instance or (private is not None and private.instance != instance):
        raise Refused("exchange.global_conf.instance", f"the parameters are not those of instance {instance}")
    known = OptionalParts()
    optional = OptionalParts(
        monitoring_client=parse_monitoring(parts[MONITORING]) if MONITORING in parts else None,
        ocsp_fetch_interval_seconds=(
            parse_fetch_interval(parts[FETCH_INTERVAL])
            if FETCH_INTERVAL in parts
            else known.ocsp_fetch_interval_seconds
        ),
        verify_next_update=parse_next_update(parts[NEXT_UPDATE]) if NEXT_UPDATE in parts else known.verify_next_update,
    )
    return GlobalConf(
        shared,
        shared_xml=shared_xml,
        version=version,
        expires_at=expires_at,
        fetched_at=fetched_at,
        generated_at=generated_at,
        private=private,
        optional=optional,
        before=before,
    )


def _read_version(path: Path) -> int:
    # Written by another program and of no weight here: what cannot be read is taken as the oldest that we read.
    try:
        found = json.loads(_read(path, 64 * 1024))
        return int(found["configurationVersion"])
    except (NotFound, Malformed, ValueError, KeyError, TypeError, RecursionError):
        return 3


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise NotFound("exchange.global_conf.file", f"{path}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise Malformed("exchange.global_conf.store", f"{path} is larger than {max_bytes} bytes")
    return data


# ------------------------------------------------------------------ writing


def write_copy(folder: Path, floor: Floor, copy: StoredCopy, view: GlobalConf) -> None:
    """Put a copy beside the one in use, then name it in one step. A crash at any line leaves one good copy in use.

    Raises: OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, draft = folder / floor.copy_name, folder / f"{floor.copy_name}.new"

    # 1 all of it under another name, on the disk
    shutil.rmtree(draft, ignore_errors=True)
    (draft / view.instance).mkdir(parents=True)
    files = view.verification_files() | {_DIRECTORY: copy.directory}
    files |= {f"{view.instance}/{FILE_OF_PART[content_id]}": data for content_id, data in copy.parts.items()}
    for name, data in files.items():
        _write_synced(draft / name, data)
    _sync_folder(draft / view.instance)
    _sync_folder(draft)
    shutil.rmtree(target, ignore_errors=True)  # only one that was found damaged has this name already
    draft.rename(target)
    _sync_folder(folder)

    # 2 in use from here on
    _write_synced(folder / f"{_CURRENT}.new", floor.model_dump_json().encode())
    (folder / f"{_CURRENT}.new").replace(folder / _CURRENT)
    _sync_folder(folder)

    # 3 the others are of no use any more
    for other in folder.iterdir():
        if other.is_dir() and other.name != floor.copy_name and len(other.name.partition(".")[0]) == 32:
            shutil.rmtree(other, ignore_errors=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
