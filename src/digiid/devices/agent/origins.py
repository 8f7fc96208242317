"""Which sites may ask the agent for anything: secure origins, each allowed once by the person at this machine."""

import ipaddress
import json
import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from digiid.kernel.errors import Malformed, Refused

_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]{1,253}|\[[0-9a-f:]{2,39}\])(?::([1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_FILE_BYTES: Final = 256 * 1024
_MAX_ORIGINS: Final = 1000


def check_origin(origin: str) -> str:
    """Return an origin that may ask: https, or http on localhost, names below it and loopback addresses.

    Raises:
        Malformed: `agent.origin`, not an origin as browsers write it (lower case, no default port, no path).
        Refused: `agent.insecure_origin`.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise Malformed("agent.origin", "not an origin")
    scheme, host, port = match.groups()
    if port is not None and (int(port) > 65535 or int(port) == (443 if scheme == "https" else 80)):
        raise Malformed("agent.origin", "not a port that an origin names")
    if not _is_address(host) and not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise Malformed("agent.origin", "not a host name")
    if scheme == "http" and not _is_loopback(host):
        raise Refused("agent.insecure_origin", "http is for this machine only", public="Only https sites may ask.")
    return origin


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True  # RFC 6761 §6.3: never leaves the machine
    return _is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback


class KnownOrigins:
    """The origins that the person allowed, in a file of their own; when it is damaged, nobody is allowed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def all(self) -> Mapping[str, datetime]:
        """Origin and when it was allowed."""
        with self._lock:
            return self._read()

    def is_known(self, origin: str) -> bool:
        return origin in self.all()

    def require(self, origin: str) -> str:
        """The origin itself. Raises: Malformed, Refused `agent.origin_not_allowed`, `agent.insecure_origin`."""
        if not self.is_known(check_origin(origin)):
            raise Refused("agent.origin_not_allowed", "the person did not allow this origin")
        return origin

    def allow(self, origin: str, *, at: datetime) -> None:
        """Remember the person's yes."""
        check_origin(origin)
        with self._lock:
            known = dict(self._read())
            if len(known) >= _MAX_ORIGINS and origin not in known:
                del known[min(known, key=lambda name: known[name])]
            self._write({**known, origin: at})

    def forget(self, origin: str) -> None:
        """Ask again the next time."""
        with self._lock:
            known = dict(self._read())
            if known.pop(origin, None) is not None:
                self._write(known)

    def _read(self) -> dict[str, datetime]:
        try:
            with self._file.open("rb") as file:
                content = json.loads(file.read(_MAX_FILE_BYTES))
            return {check_origin(origin): datetime.fromisoformat(at).astimezone(UTC) for origin, at in content.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError, RecursionError, Malformed, Refused):
            return {}

    def _write(self, known: Mapping[str, datetime]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._file.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump({origin: at.isoformat() for origin, at in known.items()}, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self._file)
