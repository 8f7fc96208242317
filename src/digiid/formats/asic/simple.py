"""Time-stamped ASiC-S containers written: EN 319 162-1 §4.3 with a time-stamp token, and their renewal (§A.7, §5.2).

A renewal adds a manifest over everything that was covered before and a token over that manifest. Nothing that is there
changes a byte; the manifest that was the newest gets another name, as the newest is always `ASiCArchiveManifest.xml`.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime

from digiid.formats.asic.archive import Entry, build_archive, build_part, copy_part
from digiid.formats.asic.container import (
    MANIFEST_NAME,
    MEDIA_TYPE_ASIC_S,
    MIMETYPE_NAME,
    Container,
    DataFile,
    build_manifest,
    check_data_files,
)
from digiid.formats.asic.manifest import (
    ARCHIVE_MANIFEST_NAME,
    MEDIA_TYPE_TST,
    DataObject,
    build_asic_manifest,
)
from digiid.kernel.errors import Malformed

TOKEN_NAME = "META-INF/timestamp.tst"  # noqa: S105 - a file's name
_MEDIA_TYPE_MANIFEST = "text/xml"
_UNKNOWN_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Renewal:
    """What the next token has to be over: `manifest`, whose digest is the message imprint."""

    manifest: bytes = field(repr=False)
    token_name: str
    renamed: tuple[tuple[str, str], ...]


def build_time_stamped_container(file: DataFile, token_der: bytes, *, at: datetime, comment: str = "digiid") -> bytes:
    """A container around one file and a token over its content. The file is stored as it is, so that a container inside
    can be judged without being unpacked.

    Raises: Malformed `asic.data_file.…`.
    """
    check_data_files([file])
    manifest = build_manifest([(file.name, file.media_type)], media_type=MEDIA_TYPE_ASIC_S)
    parts = [
        build_part(MIMETYPE_NAME, MEDIA_TYPE_ASIC_S.encode(), at=at, compress=False),
        build_part(file.name, file.content, at=at, compress=False),
        build_part(MANIFEST_NAME, manifest, at=at),
        build_part(TOKEN_NAME, token_der, at=at),
    ]
    return build_archive(parts, comment=comment.encode())


def plan_renewal(container: Container, *, hash_name: str = "sha512") -> Renewal:
    """The manifest of the next token: over the data file, every token and every manifest that is there.

    Raises: Malformed `asic.simple.not_time_stamped`, `asic.zip.…`.
    """
    if container.form != "ASiC-S" or not container.token_files:
        raise Malformed("asic.simple.not_time_stamped", "only a time-stamped ASiC-S container can be renewed")
    taken = {entry.name.casefold() for entry in container.archive.entries}
    renamed: tuple[tuple[str, str], ...] = ()
    if ARCHIVE_MANIFEST_NAME.casefold() in taken:
        renamed = ((ARCHIVE_MANIFEST_NAME, _free_name("META-INF/ASiCArchiveManifest{:03}.xml", 1, taken)),)
    token_name = _free_name("META-INF/timestamp{:03}.tst", len(container.token_files) + 1, taken)
    new_names = dict(renamed)

    def cover(entry: Entry, media_type: str) -> DataObject:
        digest = container.digest(entry, hash_name)
        name = new_names.get(entry.name, entry.name)
        return DataObject(name, media_type, hash_name, digest, is_root=entry.name == ARCHIVE_MANIFEST_NAME)

    objects = [cover(entry, MEDIA_TYPE_TST) for entry in container.token_files]
    objects += [cover(entry, _MEDIA_TYPE_MANIFEST) for entry in container.asic_manifest_files]
    objects += [
        cover(entry, container.manifest.get(entry.name) or _UNKNOWN_MEDIA_TYPE) for entry in container.data_files
    ]
    return Renewal(build_asic_manifest(token_name, objects), token_name, renamed)


def _free_name(pattern: str, number: int, taken: set[str]) -> str:
    while pattern.format(number).casefold() in taken:
        number += 1
    return pattern.format(number)


def apply_renewal(container: Container, renewal: Renewal, token_der: bytes, *, at: datetime) -> bytes:
    """The container with one token more; every entry that was there keeps its packed bytes."""
    archive, new_names = container.archive, dict(renewal.renamed)
    parts = [
        replace(copy_part(archive, entry), name=new_names.get(entry.name, entry.name)) for entry in archive.entries
    ]
    parts.append(build_part(renewal.token_name, token_der, at=at))
    parts.append(build_part(ARCHIVE_MANIFEST_NAME, renewal.manifest, at=at))
    return build_archive(parts, comment=archive.comment)


def imprint_of(data: bytes, hash_name: str) -> bytes:
    """The message imprint of a token over `data`."""
    return hashlib.new(hash_name, data).digest()
