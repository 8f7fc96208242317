"""The access rights that the operator of a state gave beside the contracts: one TOML file.

It is kept while everything else is made anew from the contracts at each start. The security servers get it as part of
their local configuration; the gates read it themselves, so that a server whose file somebody has changed opens nothing.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, Self

import structlog
from pydantic import AwareDatetime, Field, field_validator, model_validator

from digiid.kernel.errors import DigiidError, Malformed
from digiid.kernel.identifiers import ClientId, Party, ServiceId, parse_client_id, parse_service_path
from digiid.platform.config import Settings, load_settings

FILE_NAME: Final = "granted-rights.toml"
MAX_RIGHTS: Final = 5000
_HEAD: Final = """\
# Rights that the operator gave beside the contracts. Written by `digiid exchange grant` and `revoke`, which put them
# into the servers' configuration and into the journal as well: use these.
version = 1
"""
log = structlog.get_logger("exchange")


class Groups(Protocol):
    """Who is in which global group."""

    def is_in_group(self, client: Party, code: str) -> bool: ...


class GrantedRight(Settings):
    """One right: the subject (`client` or `global_group`, one of them) at one endpoint. `granted_by` is the officer."""

    client: Annotated[str, Field(max_length=420)] = ""
    global_group: Annotated[str, Field(max_length=100)] = ""
    service: Annotated[str, Field(max_length=520)]
    method: Annotated[str, Field(max_length=10, pattern=r"^[A-Z]+$")]
    path: Annotated[str, Field(max_length=1000, pattern=r"^/[^*]*$")]
    granted_at: AwareDatetime
    granted_by: Annotated[str, Field(max_length=200)]

    @field_validator("service")
    @classmethod
    def _known_form(cls, value: str) -> str:
        try:
            parse_service_id(value)
        except DigiidError as error:
            raise ValueError("a service has five parts: instance/class/code/subsystem/service") from error
        return value

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if bool(self.client) == bool(self.global_group):
            raise ValueError("a right has one of client and global_group")
        if self.client:
            try:
                parse_client_id(self.client)
            except DigiidError as error:
                raise ValueError(f"{self.client[:80]!r} is no subsystem") from error
        return self

    @property
    def subject(self) -> str:
        """The subsystem, or the group's code."""
        return self.client or self.global_group

    @property
    def service_id(self) -> ServiceId:
        return parse_service_id(self.service)

    @property
    def endpoint(self) -> tuple[str, str]:
        return self.method, self.path

    def is_same(self, other: "GrantedRight") -> bool:
        """The same subject at the same endpoint, whoever gave it and when."""
        return self._key == other._key

    @property
    def _key(self) -> tuple[str, ...]:
        return self.client, self.global_group, self.service, self.method, self.path


class GrantedRights(Settings):
    """The whole file."""

    version: Literal[1] = 1
    rights: Annotated[tuple[GrantedRight, ...], Field(max_length=MAX_RIGHTS)] = ()


def parse_service_id(text: str) -> ServiceId:
    """Read `instance/class/code/subsystem/service`. Raises: Malformed `exchange.identifier`."""
    service, rest = parse_service_path(f"/r1/{text}")
    if rest:
        raise Malformed("exchange.identifier", "a service has five parts, no more")
    return service


def load_granted_rights(file: Path) -> tuple[GrantedRight, ...]:
    """The rights in the file; none when it is not there. Raises: Malformed `config.unreadable`, `config.invalid`."""
    return load_settings(file, GrantedRights).rights if file.exists() else ()


def dump_granted_rights(rights: Iterable[GrantedRight]) -> bytes:
    """The file's content."""
    lines = [_HEAD]
    for right in rights:
        lines.append("[[rights]]")
        subject = "client" if right.client else "global_group"
        for name in (subject, "service", "method", "path"):
            lines.append(f"{name} = {_quoted(getattr(right, name))}")
        lines += [f"granted_at = {right.granted_at.isoformat()}", f"granted_by = {_quoted(right.granted_by)}", ""]
    return "\n".join(lines).encode()


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text) + '"'


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time: who reads the rights, and who makes the servers' configuration of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{FILE_NAME}.lock").open("a") as lock:
        flock(lock, LOCK_EX)
        yield


class GrantedRightsFile:
    """The file as it is now, for a gate: a right that was taken away is gone with the next message.

    A file that cannot be read grants nothing; it is logged once.
    """

    def __init__(self, file: Path, groups: Groups) -> None:
        self._file, self._groups = file, groups
        self._known: tuple[tuple[int, int, int] | None, tuple[GrantedRight, ...]] = (None, ())

    def may(self, client: ClientId, service: ServiceId, method: str, path: str) -> bool:
        """Whether the operator has given this client, by itself or by a group, the right to this endpoint."""
        named, asked = str(client), str(service)
        for right in self._current():
            if (right.service, right.method, right.path) != (asked, method, path):
                continue
            if right.client == named or (right.global_group and self._groups.is_in_group(client, right.global_group)):
                return True
        return False

    def _current(self) -> tuple[GrantedRight, ...]:
        try:
            stat = os.stat(self._file)  # noqa: PTH116 as for the local configuration, at every message
        except OSError:
            return ()
        # it is only ever replaced by another file, which has a number of its own
        signature = stat.st_mtime_ns, stat.st_size, stat.st_ino
        if signature != self._known[0]:
            try:
                rights = load_granted_rights(self._file)
            except Malformed as error:
                log.error("exchange.granted_rights.broken", file=str(self._file), code=error.code, detail=error.detail)
                rights = ()
            self._known = signature, rights
        return self._known[1]
