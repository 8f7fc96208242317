"""The file as it is now, read anew when it changes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from digiid.exchange.security_server.local_conf.reading import read_file
from digiid.exchange.security_server.local_conf.rights import LocalConf
from digiid.kernel.errors import Malformed
from digiid.platform.clock import Clock

log = structlog.get_logger("security_server")

_RACY_SECONDS = 2.0  # a file changed twice within a file system's tick has one modification time
_RETRY: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class LocalConfAlarm:
    """The file is not what is in force: it broke at `since`, and the last good one still holds."""

    code: str
    detail: str
    since: datetime


class LocalConfFile:
    """The file as it is now. Thread-safe without a lock: a reload is done whole and then put in place.

    A new file that is broken, or gone, never opens anything: what was read last holds, `alarm` says so, and it is
    logged once. The first reading must succeed.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        """Raises: Malformed `exchange.local_conf.…`."""
        self._file, self._clock = file, clock
        self._alarm: LocalConfAlarm | None = None
        self._retry_at = datetime.max.replace(tzinfo=UTC)
        self._loaded = read_file(file)
        self._seen: tuple[object, ...] | None = None

    @property
    def alarm(self) -> LocalConfAlarm | None:
        return self._alarm

    def current(self) -> LocalConf:
        """What holds now; a changed file is read first."""
        conf, files = self._loaded
        signature = self._signature(files)
        if (
            signature is not None
            and signature == self._seen
            and (not self._alarm or self._clock.now() < self._retry_at)
        ):
            return conf
        try:
            loaded = read_file(self._file)
        except Malformed as error:
            self._keep_old(error, signature)
            return conf
        self._alarm = None
        if loaded[0].digest == conf.digest and loaded[1] == files:
            self._seen = signature
            return conf
        log.info("exchange.local_conf.changed", file=str(self._file), digest=loaded[0].digest.hex()[:16])
        self._loaded = loaded
        self._seen = signature if loaded[1] == files else None  # other certificates to watch: looked at once more
        return loaded[0]

    def _keep_old(self, error: Malformed, signature: tuple[object, ...] | None) -> None:
        now = self._clock.now()
        if self._alarm is None or (self._alarm.code, self._alarm.detail) != (error.code, error.detail):
            log.error("exchange.local_conf.broken", file=str(self._file), code=error.code, detail=error.detail)
            self._alarm = LocalConfAlarm(error.code, error.detail, now)
        self._seen = signature
        self._retry_at = now + _RETRY  # what is wrong may be a certificate's file, which is not watched yet

    def _signature(self, certificates: Sequence[Path]) -> tuple[object, ...] | None:
        """What changes when a file does; None while one is so new that a second change could look the same."""
        found: list[object] = []
        newest = 0.0
        for file in (self._file, *certificates):
            try:
                stat = os.stat(file)  # noqa: PTH116 for every message: pathlib's costs twice as much
            except OSError:
                found.append(None)
                continue
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
            newest = max(newest, stat.st_mtime)
        age = self._clock.now().timestamp() - newest
        return None if abs(age) < _RACY_SECONDS else tuple(found)
