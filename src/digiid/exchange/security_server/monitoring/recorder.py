"""Between the messages and the records' database: a buffer that nobody waits for, and that loses the oldest first."""

from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any, Final

import structlog
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from digiid.exchange.security_server.monitoring import store
from digiid.exchange.security_server.monitoring.records import OperationalRecord, published
from digiid.exchange.security_server.monitoring.statistics import Statistics
from digiid.kernel.errors import DigiidError
from digiid.platform.clock import Clock
from digiid.platform.config import Settings
from digiid.platform.db import Database

log = structlog.get_logger("security_server")

_WRITTEN_AT_ONCE: Final = 1000


class MonitoringSettings(Settings):
    """The section `monitoring` of a security server's settings."""

    buffer_records: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    keep_days: Annotated[int, Field(ge=1, le=3650)] = 7
    stores_user_and_issue: bool = False
    internal_ip: Annotated[str, Field(max_length=45)] = "127.0.0.1"


class Monitoring:
    """Takes records in. Call `flush` every few seconds and `purge` every hour, from one thread."""

    def __init__(self, db: Database, clock: Clock, settings: MonitoringSettings, *, version: str = "7.8.0") -> None:
        """`db` is migrated here. `version` is the X-Road version whose protocol the records name."""
        db.migrate(store.PACKAGE)
        self.db, self.statistics = db, Statistics(clock.now())
        self._clock, self._settings, self._version = clock, settings, version
        self._buffer: deque[OperationalRecord] = deque(maxlen=settings.buffer_records)
        self._is_failing = False

    @property
    def waiting(self) -> int:
        """Records that are not in the database yet."""
        return len(self._buffer)

    @property
    def is_failing(self) -> bool:
        """The database did not take the last records: they wait, and the oldest are lost when the buffer is full."""
        return self._is_failing

    def record(self, record: OperationalRecord) -> None:
        """Take a record in. Never waits for the database, never raises."""
        try:
            self.statistics.count(record)
            if len(self._buffer) == self._buffer.maxlen:
                self.statistics.count_dropped()
            self._buffer.append(record)
        except Exception:  # the edge: no message may fail because it could not be counted
            log.exception("exchange.monitoring.failed")

    def flush(self) -> int:
        """Write what waits; how many. What the database does not take waits on."""
        written = 0
        while self._buffer:
            batch = [self._buffer.popleft() for _ in range(min(_WRITTEN_AT_ONCE, len(self._buffer)))]
            try:
                self._write(batch)
            except (DigiidError, SQLAlchemyError) as error:
                self._put_back(batch)
                if not self._is_failing:
                    log.warning("exchange.monitoring.not_written", error=type(error).__name__, waiting=self.waiting)
                self._is_failing = True
                return written
            written += len(batch)
        self._is_failing = False
        return written

    def _write(self, batch: list[OperationalRecord]) -> None:
        rows = [row for record in batch if (row := self._row(record)) is not None]
        if rows:
            with self.db.write(durable=False) as tx:
                store.record_all(tx, rows, at=int(self._clock.now().timestamp()))

    def _row(self, record: OperationalRecord) -> tuple[str, str, Mapping[str, Any]] | None:
        settings = self._settings
        try:
            fields = published(
                record,
                internal_ip=settings.internal_ip,
                version=self._version,
                stores_user_and_issue=settings.stores_user_and_issue,
            )
        except Exception:  # the edge: one record that cannot be told must not keep back those behind it
            log.exception("exchange.monitoring.failed")
            return None
        return str(record.client or ""), str(record.service.provider) if record.service else "", fields

    def _put_back(self, batch: list[OperationalRecord]) -> None:
        assert self._buffer.maxlen is not None
        room = self._buffer.maxlen - len(self._buffer)
        for _ in batch[: max(0, len(batch) - room)]:
            self.statistics.count_dropped()
        self._buffer.extendleft(reversed(batch[max(0, len(batch) - room) :]))

    def purge(self) -> int:
        """Forget records older than the days that they are kept; how many."""
        before = int(self._clock.now().timestamp()) - self._settings.keep_days * 86_400
        with self.db.write(durable=False) as tx:
            return store.purge(tx, before=before)

    def close(self) -> None:
        """Write what waits and close the database."""
        self.flush()
        self.db.close()
