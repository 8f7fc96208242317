"""The message log of one security server: nothing goes on its way before it is here.

`record` returns when the message is on disk (SQLite: synchronous=FULL). One process writes to a log.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from digiid.exchange.message_log import store
from digiid.exchange.message_log.archiving import Archiver
from digiid.exchange.message_log.database import LogDatabase
from digiid.exchange.message_log.entries import ArchivingState, LogEntry, LoggedMessage, StampingState, reduce_message
from digiid.exchange.message_log.settings import MessageLogSettings
from digiid.exchange.message_log.time_stamping import TimeStampAuthority, TimeStamper, VerifyUnit
from digiid.exchange.message_log.writer import GroupWriter
from digiid.formats.exchange.message_signature import BODY, MESSAGE
from digiid.kernel.errors import Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, SystemEntropy
from digiid.platform.timers import TimerThread

PACKAGE = "digiid.exchange.message_log"
MAX_FOUND = 1000


class MessageLog:
    """Records messages and has them time-stamped. Made by `open`; `start` before the first record, `stop` at last."""

    def __init__(
        self, settings: MessageLogSettings, db: LogDatabase, stamper: TimeStamper, archiver: Archiver | None
    ) -> None:
        """`archiver` is None when nothing is archived, and so nothing is ever deleted."""
        self.settings, self.db, self.stamper, self.archiver = settings, db, stamper, archiver
        self._timers = TimerThread(archiver.timers()) if archiver is not None else None
        self._writer = GroupWriter(
            self._write, max_records=settings.max_waiting_records, max_bytes=settings.max_waiting_bytes
        )
        self._generation = -1
        self._next_number = 0

    @classmethod
    def open(
        cls,
        settings: MessageLogSettings,
        db: Database,
        clock: Clock,
        *,
        authorities: Sequence[TimeStampAuthority],
        verify_unit: VerifyUnit,
        entropy: Entropy | None = None,
    ) -> "MessageLog":
        """The log in this database, its schema brought up to date.

        Raises: Unavailable `exchange.logging_failed`, `db.busy`.
        """
        log_db = LogDatabase(db)
        db.migrate(PACKAGE)
        stamper = TimeStamper(log_db, settings, clock, authorities=authorities, verify_unit=verify_unit)
        archiver = None
        if settings.archive is not None:
            archiver = Archiver(log_db, settings.archive, clock, entropy or SystemEntropy())
        opened = cls(settings, log_db, stamper, archiver)
        opened._load()
        return opened

    def start(self) -> None:
        self._writer.start()
        self.stamper.start()
        if self._timers is not None:
            self._timers.start()

    def stop(self) -> None:
        """Write what waits, then end. What has no time stamp yet gets it after the next start."""
        self._writer.stop()
        if self._timers is not None:
            self._timers.stop()
        self.stamper.stop()

    # -------------------------------------------------------------- recording

    def check_accepting(self, now: datetime) -> None:
        """Whether a message may be accepted at all (the time-stamping clock). Costs no I/O.

        Raises: Unavailable `exchange.timestamping_failed`.
        """
        self.stamper.check_accepting(now)

    async def record(self, entry: LogEntry) -> int:
        """Log one message: its number when it is on disk, and stamped if every message has to be.

        Raises:
            Unavailable: `exchange.logging_failed`, the message must not go on; `exchange.timestamping_failed`.
            Refused: `exchange.message_log.body_too_large`.
        """
        if MESSAGE not in entry.digests or not entry.digests.keys() <= {MESSAGE, BODY}:
            raise ValueError("digests are those of the message part and of the body part")
        size = len(entry.message) + len(entry.signature_xml) + self._body_bytes(entry)
        seconds = self.settings.record_timeout_seconds
        number = await _answered(self._writer.submit(entry, size_bytes=size), seconds)
        if self.settings.stamp_immediately:
            try:
                async with asyncio.timeout(seconds):
                    await self.stamper.wait_for_stamp(number)
            except TimeoutError as error:
                raise _not_in_time() from error
        return number

    def _body_bytes(self, entry: LogEntry) -> int:
        """The size of the body that will be kept; 0 when only its digest is."""
        if entry.body is None or not self.settings.keeps_body(client=entry.client, service=entry.service):
            return 0
        size = len(entry.body) if isinstance(entry.body, bytes) else entry.body.stat().st_size
        if size <= self.settings.max_body_bytes:
            return size
        if self.settings.larger_bodies == "refuse":
            text = f"a body of {size} bytes has to be logged, and at most {self.settings.max_body_bytes} are"
            raise Refused("exchange.message_log.body_too_large", text)
        return 0

    def _write(self, entries: Sequence[LogEntry]) -> Sequence[int]:
        """One group, one transaction; on the writer's thread."""
        # 1 is it the database that we know
        self.db.check_is_there()
        if self._generation != self.db.generation:
            self._load()
        # 2 whatever was promised to be kept
        numbers = range(self._next_number, self._next_number + len(entries))
        bodies = [
            (number, _read(entry.body))
            for number, entry in zip(numbers, entries, strict=True)
            if entry.body is not None and self._body_bytes(entry)
        ]
        rows = [self._row(number, entry) for number, entry in zip(numbers, entries, strict=True)]
        # 3 on disk
        try:
            if self.db.appends and not bodies and len(rows) <= store.MAX_APPENDED:
                self.db.append(store.append_statement(len(rows)), [value for row in rows for value in row])
            else:
                with self.db.write() as tx:
                    store.record_messages(tx, rows, bodies)
        except BaseException:
            self._generation = -1  # whether it was committed is not known: look before the next number is given
            raise
        # 4 the clock of its time stamp runs
        self._next_number = numbers.stop
        self.stamper.note_recorded(numbers.start, entries[0].at)
        return numbers

    def _load(self) -> None:
        with self.db.read() as tx:
            self._next_number = store.find_last_number(tx) + 1
        self.stamper.load()
        self._generation = self.db.generation

    def _row(self, number: int, entry: LogEntry) -> tuple[Any, ...]:
        reduced = self.settings.reduce_message
        chain = entry.hash_chain
        return (
            number,
            number >> store.SEGMENT_BITS,
            store.key_of(entry.message_id),
            store.microseconds_of(entry.at),
            hashlib.sha512(entry.signature_xml).digest(),
            entry.is_response,
            reduced,
            entry.party,
            entry.message_id,
            entry.request_id,
            entry.client,
            entry.service,
            entry.digests[MESSAGE],
            entry.digests.get(BODY),
            reduce_message(entry.message) if reduced else entry.message,
            entry.signature_xml,
            None if chain is None else chain.result,
            None if chain is None else chain.chain,
        )

    # -------------------------------------------------------------- reading

    def find(
        self, message_id: str, *, party: str | None = None, is_response: bool | None = None, limit: int = MAX_FOUND
    ) -> list[LoggedMessage]:
        """The records of a message id, oldest first, without bodies.

        Raises: Unavailable `exchange.logging_failed`, `db.busy`.
        """
        with self.db.read() as tx:
            return store.find_messages(tx, message_id, party=party, is_response=is_response, limit=limit)

    def describe_archiving(self) -> ArchivingState | None:
        """For a status page; None when nothing is archived."""
        return self.archiver.describe() if self.archiver is not None else None

    def describe_stamping(self) -> StampingState:
        """For a status page: how old the oldest record without a time stamp is, and when messages will be refused."""
        return self.stamper.describe()


async def _answered(outcome: "asyncio.Future[int]", seconds: float) -> int:
    """As asyncio.timeout, which costs more than the rest of recording a message."""
    timer = asyncio.get_running_loop().call_later(seconds, _give_up, outcome)
    try:
        return await outcome
    finally:
        timer.cancel()


def _give_up(outcome: "asyncio.Future[int]") -> None:
    if not outcome.done():
        outcome.set_exception(_not_in_time())


def _not_in_time() -> Unavailable:
    return Unavailable("exchange.logging_failed", "the message log does not answer in time")


def _read(body: Path | bytes) -> bytes:
    return body if isinstance(body, bytes) else body.read_bytes()
