"""Messages that must leave: written in the transaction of the act, delivered after it until the receiver has it.

A receiver sees a message at least once and deduplicates by `message_id`. Deliveries of one
`ordering_key` keep their order: while one waits, the later ones of the same key wait behind it.
The use case wakes the worker after its commit; polling is only the fallback after a crash.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.db import Database, UtcDateTime

_FIRST_RETRY = timedelta(milliseconds=500)
_LONGEST_RETRY = timedelta(minutes=5)
_POLL_SECONDS = 2.0
_BATCH = 50
_MAX_FOUND = 100

log = structlog.get_logger("outbox")


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    message_id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int


Handler = Callable[[OutboxMessage], None]


def outbox_table(metadata: MetaData) -> Table:
    """The table `outbox` of one institution. `state` is waiting, delivered, refused (a person must look) or given_up
    (a person has looked)."""
    table = Table(
        "outbox",
        metadata,
        Column("position", Integer, primary_key=True, autoincrement=True),
        Column("message_id", String(64), nullable=False, unique=True),
        Column("kind", String(100), nullable=False),
        Column("ordering_key", String(100), nullable=False),
        Column("payload", Text, nullable=False),
        Column("state", String(20), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("next_attempt_at", UtcDateTime, nullable=False),
        Column("last_error", Text),
    )
    Index("outbox_waiting", table.c.state, table.c.position)
    return table


def put(
    tx: Connection,
    table: Table,
    *,
    message_id: str,
    kind: str,
    payload: Mapping[str, Any],
    at: datetime,
    ordering_key: str = "",
) -> None:
    """Add a message inside the transaction of the act that it follows from. `payload` is JSON-able."""
    tx.execute(
        insert(table).values(
            message_id=message_id,
            kind=kind,
            ordering_key=ordering_key or message_id,
            payload=json.dumps(payload, sort_keys=True),
            state="waiting",
            attempts=0,
            created_at=at,
            next_attempt_at=at,
        )
    )


class Bell:
    """Wakes the worker of an outbox. Use cases ring it after the commit that put a message; there need not be a worker
    yet."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def __call__(self) -> None:
        self._rung.set()

    def silence(self) -> None:
        self._rung.clear()

    def wait(self, seconds: float) -> None:
        """Until it is rung, or the time is over."""
        self._rung.wait(seconds)


class Worker:
    """Delivers an institution's outbox on one thread of its own.

    `handlers` maps a message kind to the function that delivers it. A handler that raises
    Unavailable is tried again later; one that raises another kind of DigiidError has been answered
    by its receiver: the message is set aside as `refused` and shows in the institution's health.
    """

    def __init__(
        self,
        name: str,
        db: Database,
        table: Table,
        clock: Clock,
        handlers: Mapping[str, Handler],
        *,
        bell: Bell | None = None,
    ) -> None:
        self._name, self._db, self._table, self._clock, self._handlers = name, db, table, clock, dict(handlers)
        self.wake = bell or Bell()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name=f"outbox-{self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.wake()
        if self._thread:
            self._thread.join(timeout=30)

    def deliver_due(self) -> int:
        """Deliver what is due now and return how many were delivered. The loop calls it; tests may call it too."""
        now = self._clock.now()
        delivered = 0
        blocked: set[str] = set()
        for row in self._due():
            if row.ordering_key in blocked:
                continue
            if row.next_attempt_at > now or not self._deliver(row):
                blocked.add(row.ordering_key)
            else:
                delivered += 1
        return delivered

    def _due(self) -> list[Any]:
        t = self._table.c
        with self._db.read() as tx:
            return list(
                tx.execute(
                    select(t.position, t.message_id, t.kind, t.ordering_key, t.payload, t.attempts, t.next_attempt_at)
                    .where(t.state == "waiting")
                    .order_by(t.position)
                    .limit(_BATCH)
                )
            )

    def _deliver(self, row: Any) -> bool:
        message = OutboxMessage(row.message_id, row.kind, json.loads(row.payload), row.attempts)
        handler = self._handlers.get(row.kind)
        try:
            if handler is None:
                raise Broken("outbox.no_handler", f"nobody delivers {row.kind}")
            handler(message)
        except (Refused, NotFound, Conflict, Malformed, Broken) as error:
            log.error("outbox.refused", outbox=self._name, kind=row.kind, message_id=row.message_id, code=error.code)
            self._settle(row.position, state="refused", attempts=row.attempts + 1, error=str(error))
            return True
        except Exception as error:  # the worker's edge: whatever it was, the message stays and is tried again
            code = error.code if isinstance(error, DigiidError) else type(error).__name__
            log.warning("outbox.retry", outbox=self._name, kind=row.kind, message_id=row.message_id, code=code)
            wait = min(_FIRST_RETRY * 2 ** min(row.attempts, 12), _LONGEST_RETRY)
            self._settle(row.position, state="waiting", attempts=row.attempts + 1, error=code, wait=wait)
            return False
        self._settle(row.position, state="delivered", attempts=row.attempts + 1, error=None)
        return True

    def _settle(
        self, position: int, *, state: str, attempts: int, error: str | None, wait: timedelta = timedelta(0)
    ) -> None:
        values: dict[str, Any] = {"state": state, "attempts": attempts, "last_error": error}
        values["next_attempt_at"] = self._clock.now() + wait
        if state == "delivered":
            # What was delivered is with its receiver; a copy here would only be one more place to read it.
            values["payload"] = "{}"
        with self._db.write() as tx:
            tx.execute(update(self._table).where(self._table.c.position == position).values(**values))

    def _loop(self) -> None:
        while not self._stop.is_set():
            self.wake.silence()
            try:
                while not self._stop.is_set() and self.deliver_due():
                    pass
            except Exception as error:  # the worker's edge: it must outlive a database that is away
                log.error("outbox.loop", outbox=self._name, error=type(error).__name__)
            self.wake.wait(_POLL_SECONDS if not self._waiting_soon() else 0.2)

    def _waiting_soon(self) -> bool:
        try:
            return any(row.attempts < 4 for row in self._due())
        except DigiidError:
            return False


@dataclass(frozen=True, slots=True)
class UndeliveredMessage:
    """`last_error` begins with the code of the receiver's answer, or of why there was none; `payload` is JSON."""

    position: int
    message_id: str
    kind: str
    attempts: int
    last_error: str | None
    created_at: datetime
    payload: str


def find_refused(tx: Connection, table: Table) -> list[UndeliveredMessage]:
    """What its receiver refused, oldest first, at most a hundred: each needs a person."""
    return _find(tx, table, table.c.state == "refused")


def get_refused(tx: Connection, table: Table, position: int) -> UndeliveredMessage | None:
    """None when the message of that number is not refused."""
    return next(iter(_find(tx, table, table.c.state == "refused", table.c.position == position)), None)


def find_overdue(tx: Connection, table: Table, *, put_before: datetime) -> list[UndeliveredMessage]:
    """What was tried and still waits since before then, oldest first, at most a hundred."""
    return _find(tx, table, table.c.state == "waiting", table.c.attempts > 0, table.c.created_at < put_before)


def _find(tx: Connection, table: Table, *which: ColumnElement[bool]) -> list[UndeliveredMessage]:
    t = table.c
    query = select(t.position, t.message_id, t.kind, t.attempts, t.last_error, t.created_at, t.payload)
    rows = tx.execute(query.where(*which).order_by(t.position).limit(_MAX_FOUND)).mappings()
    return [UndeliveredMessage(**row) for row in rows]


def release_refused(tx: Connection, table: Table, position: int, at: datetime) -> bool:
    """Put a refused message back among those that wait; False when it is not refused. Receivers know a repeat."""
    return _settle_refused(tx, table, position, {"state": "waiting", "attempts": 0, "next_attempt_at": at})


def give_up_refused(tx: Connection, table: Table, position: int, at: datetime) -> bool:
    """A refused message will not be sent; its content goes, that it was there stays. False when it is not refused."""
    return _settle_refused(tx, table, position, {"state": "given_up", "payload": "{}", "next_attempt_at": at})


def _settle_refused(tx: Connection, table: Table, position: int, values: Mapping[str, Any]) -> bool:
    where = (table.c.position == position, table.c.state == "refused")
    return tx.execute(update(table).where(*where).values(**values)).rowcount == 1


def check_none_refused(db: Database, table: Table) -> None:
    """For an institution's health. Raises: Unavailable `outbox.stuck`."""
    with db.read() as tx:
        query = select(func.count()).select_from(table).where(table.c.state == "refused")
        refused = tx.execute(query).scalar_one()
    if refused:
        text = f"messages refused by their receiver: {refused}; `digiid outbox list` tells which"
        raise Unavailable("outbox.stuck", text)
