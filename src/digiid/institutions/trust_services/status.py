"""The status of certificates: what the CA writes and the OCSP responder reads. The one thing both import.

A row changes in the same transaction as the CA's journal, and carries that journal entry's number:
numbers have no gaps and are committed in order, so that a reader who has seen number n finds
everything newer by `change_number > n`.

The board keeps all statuses in memory, encoded as they stand in a response. In the CA's own process
it is told after each commit; elsewhere a follower looks several times a second whether the database
changed. A board that could not look for ten seconds says nothing at all rather than something old.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, func, insert, select, update
from sqlalchemy.engine import Connection, make_url

from digiid.formats.ocsp import GOOD, EncodedStatus, encode_revoked
from digiid.institutions.trust_services.domain import CertificateState, CertificateStatus
from digiid.kernel.errors import DigiidError
from digiid.platform.db import Database, UtcDateTime

_FOLLOW_SECONDS: Final = 0.2
_STALE_AFTER_SECONDS: Final = 10.0

log = structlog.get_logger("trust_services.status")


def status_table(metadata: MetaData) -> Table:
    """`certificate_status`: one row per certificate that was signed, from that moment on."""
    table = Table(
        "certificate_status",
        metadata,
        Column("serial_number", String(32), primary_key=True),
        Column("document_number", String(20), nullable=False),
        Column("purpose", String(30), nullable=False),
        Column("state", String(20), nullable=False),
        Column("changed_at", UtcDateTime, nullable=False),
        Column("not_after_at", UtcDateTime, nullable=False),
        Column("revoked_at", UtcDateTime),
        Column("reason", String(30)),
        Column("change_number", Integer, nullable=False),
    )
    Index("certificate_status_document", table.c.document_number)
    Index("certificate_status_change", table.c.change_number)
    return table


STATUSES: Final = status_table(MetaData())


def serial_text(serial_number: int) -> str:
    """A serial number as the databases and the exchange write it: 32 hexadecimal digits."""
    return f"{serial_number:032x}"


def record_status(tx: Connection, status: CertificateStatus, *, change_number: int) -> None:
    """Insert or change one row. `change_number` is the number of the journal entry of the same transaction."""
    values = {
        "document_number": status.document_number,
        "purpose": status.purpose,
        "state": status.state.value,
        "changed_at": status.changed_at,
        "not_after_at": status.not_after_at,
        "revoked_at": status.revoked_at,
        "reason": status.reason,
        "change_number": change_number,
    }
    key = serial_text(status.serial_number)
    changed = tx.execute(update(STATUSES).where(STATUSES.c.serial_number == key).values(**values))
    if changed.rowcount == 0:
        tx.execute(insert(STATUSES).values(serial_number=key, **values))


def find_statuses(tx: Connection, *, document_number: str) -> list[CertificateStatus]:
    """The certificates of a document, authentication first."""
    c = STATUSES.c
    rows = tx.execute(select(*_COLUMNS).where(c.document_number == document_number).order_by(c.purpose)).all()
    return [_status_of(row) for row in rows]


def find_changes(tx: Connection, *, after: int) -> list[tuple[int, CertificateStatus]]:
    """Everything that changed after a change number, oldest first."""
    c = STATUSES.c
    rows = tx.execute(select(c.change_number, *_COLUMNS).where(c.change_number > after).order_by(c.change_number)).all()
    return [(row.change_number, _status_of(row)) for row in rows]


def find_revoked(tx: Connection, *, not_expired_at: datetime) -> list[CertificateStatus]:
    """What belongs on a CRL: revoked or on hold, and not expired at that instant."""
    c = STATUSES.c
    wanted = c.revoked_at.is_not(None) & (c.not_after_at >= not_expired_at)
    return [_status_of(row) for row in tx.execute(select(*_COLUMNS).where(wanted).order_by(c.serial_number)).all()]


def find_ended(tx: Connection, *, at: datetime, limit: int) -> list[CertificateStatus]:
    """What is past its validity and not marked so."""
    c = STATUSES.c
    wanted = (c.not_after_at < at) & c.state.not_in([CertificateState.EXPIRED.value, CertificateState.REVOKED.value])
    return [_status_of(row) for row in tx.execute(select(*_COLUMNS).where(wanted).limit(limit)).all()]


_COLUMNS: Final = tuple(STATUSES.c[name] for name in STATUSES.c.keys() if name != "change_number")  # noqa: SIM118


def _status_of(row: object) -> CertificateStatus:
    get = row._mapping  # type: ignore[attr-defined]  # an SQLAlchemy row
    return CertificateStatus(
        serial_number=int(get["serial_number"], 16),
        document_number=get["document_number"],
        purpose=get["purpose"],
        state=CertificateState(get["state"]),
        changed_at=get["changed_at"],
        not_after_at=get["not_after_at"],
        revoked_at=get["revoked_at"],
        reason=get["reason"],
    )


class StatusBoard:
    """Every certificate's status in memory, ready for a response. Reading takes no lock."""

    def __init__(self, db: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` counts seconds: how long ago the database was seen is no question of what time it is."""
        self._db, self._monotonic = db, monotonic
        self._lock = threading.Lock()
        self._last = 0
        self._seen: float | None = None
        self._encoded: dict[int, EncodedStatus] = {}

    def find(self, serial_number: int) -> EncodedStatus | None:
        """The status as it is encoded in a response; None for what was never issued."""
        return self._encoded.get(serial_number)

    def is_current(self) -> bool:
        """False when the database could not be looked at for too long: then nothing may be said."""
        return self._seen is not None and self._monotonic() - self._seen <= _STALE_AFTER_SECONDS

    def moment(self) -> float:
        """Now, as `has_looked_since` counts it."""
        return self._monotonic()

    def has_looked_since(self, moment: float) -> bool:
        """True when the database was looked at after `moment`: what had been issued by then is on the board."""
        return self._seen is not None and self._seen > moment

    @property
    def count(self) -> int:
        return len(self._encoded)

    def refresh(self) -> int:
        """Take over what changed since the last look; returns how many. Raises: Unavailable `db.busy`."""
        with self._lock:
            asked = self._monotonic()
            with self._db.read() as tx:
                changes = find_changes(tx, after=self._last)
            for number, status in changes:
                self._encoded[status.serial_number] = _encode(status)
                self._last = max(self._last, number)
            self._seen = asked
            return len(changes)

    def seen(self, moment: float) -> None:
        """The database was looked at, from `moment` on, and had not changed."""
        self._seen = moment


def _encode(status: CertificateStatus) -> EncodedStatus:
    if status.revoked_at is None:
        return GOOD
    return encode_revoked(revoked_at=status.revoked_at, reason=status.reason)


class StatusFollower:
    """Refreshes a board when the database changed: SQLite's data_version, or the highest change number."""

    def __init__(self, board: StatusBoard, db: Database) -> None:
        self._board, self._db = board, db
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="digiid-ocsp-status", daemon=True)

    def start(self) -> None:
        """Read everything once, so that the first question finds an answer; then follow on a thread."""
        self._board.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _loop(self) -> None:
        with contextlib.closing(_Watch(self._db)) as watch:
            while not self._stop.wait(_FOLLOW_SECONDS):
                begun = self._board.moment()
                try:
                    if watch.has_changed():
                        self._board.refresh()
                    else:
                        self._board.seen(begun)
                except (DigiidError, sqlite3.Error) as error:
                    # The board goes stale by itself and the responder says tryLater.
                    log.warning("status.unreadable", error=type(error).__name__)


class _Watch:
    """Answers "did anything change since I last asked", as cheaply as the database can."""

    def __init__(self, db: Database) -> None:
        self._ask: Callable[[], int]
        self._last: int | None = None
        self._sqlite: sqlite3.Connection | None = None
        if db.is_sqlite:
            # Its own connection that never writes: data_version then counts everybody else's commits.
            file = make_url(db.url).database or ""
            self._sqlite = sqlite3.connect(f"file:{file}?mode=ro", uri=True, check_same_thread=False)
            self._ask = self._data_version
        else:
            self._db = db
            self._ask = self._highest_change

    def has_changed(self) -> bool:
        value = self._ask()
        changed, self._last = value != self._last, value
        return changed

    def _data_version(self) -> int:
        assert self._sqlite is not None
        return int(self._sqlite.execute("PRAGMA data_version").fetchone()[0])

    def _highest_change(self) -> int:
        with self._db.read() as tx:
            return int(tx.execute(select(func.max(STATUSES.c.change_number))).scalar_one_or_none() or 0)

    def close(self) -> None:
        if self._sqlite is not None:
            self._sqlite.close()
