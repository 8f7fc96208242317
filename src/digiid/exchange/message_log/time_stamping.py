"""Time stamps for the log: one token over the hash tree of many records' signatures (RFC 3161, SHA-512).

Records are stamped in the order of their numbers without a gap, so that "stamped" is one number. The authority is asked
outside of any transaction; a token that could not be stored is asked for again.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509

from digiid.exchange.message_log import store
from digiid.exchange.message_log.database import LogDatabase
from digiid.exchange.message_log.entries import StampingState
from digiid.exchange.message_log.settings import MessageLogSettings
from digiid.exchange.message_log.waiting import Waiter, answer, new_waiter
from digiid.formats.exchange.hash_chain import HashTree
from digiid.formats.exchange.message_container import SIGNATURE_URI, TIME_STAMP_CHAIN_URI
from digiid.formats.tsp import VerifiedTimeStamp
from digiid.kernel.errors import DigiidError, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient
from digiid.platform.trust.clients import TsaClient

_HASH: Final = "sha512"
_SOON_SECONDS: Final = 5

VerifyUnit = Callable[[x509.Certificate, datetime], None]
"""Raises unless the global configuration approves of this time-stamping unit at this time."""

log = structlog.get_logger("exchange.message_log")


@dataclass(frozen=True, slots=True)
class TimeStampAuthority:
    """`fetch` asks for a token over an imprint by the hash of this name, and verifies it: TsaClient.fetch."""

    address: str
    fetch: Callable[[bytes, str], tuple[bytes, VerifiedTimeStamp]]


def authorities_of(
    settings: MessageLogSettings, http: HttpClient, entropy: Entropy, clock: Clock
) -> list[TimeStampAuthority]:
    """The authorities that the settings name, in order."""
    return [TimeStampAuthority(url, TsaClient(http, entropy, clock, address=url).fetch) for url in settings.tsa_urls]


def build_tree(leaves: Sequence[bytes]) -> HashTree:
    """The tree over SHA-512 digests of signature files."""
    return HashTree(leaves, uri=SIGNATURE_URI, chain_uri=TIME_STAMP_CHAIN_URI)


class TimeStamper:
    """Stamps what the log holds, and says whether more may be logged."""

    def __init__(
        self,
        db: LogDatabase,
        settings: MessageLogSettings,
        clock: Clock,
        *,
        authorities: Sequence[TimeStampAuthority],
        verify_unit: VerifyUnit,
    ) -> None:
        self._db, self._settings, self._clock = db, settings, clock
        self._authorities, self._verify_unit = tuple(authorities), verify_unit
        self._stamping = threading.Lock()  # one batch at a time
        self._state = threading.Lock()
        self._stamped_through = 0
        self._oldest_unstamped_at: datetime | None = None
        self._noted: list[tuple[int, datetime]] = []  # the first one since a question to the database
        self._last_success_at: datetime | None = None
        self._last_error: DigiidError | None = None
        self._wake = threading.Condition()
        self._waiters: list[tuple[int, Waiter]] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name="digiid-message-stamps", daemon=True)

    # -------------------------------------------------------------- may more be logged

    def check_accepting(self, now: datetime) -> None:
        """Raises: Unavailable `exchange.timestamping_failed`: no authority is configured, or the oldest record without
        a time stamp is as old as it may become.
        """
        if not self._authorities:
            raise Unavailable("exchange.timestamping_failed", "no time-stamping authority is configured")
        refuses_at = self._refuses_at()
        if refuses_at is not None and now >= refuses_at:
            raise Unavailable("exchange.timestamping_failed", f"messages have no time stamp since before {refuses_at}")

    def _refuses_at(self) -> datetime | None:
        with self._state:
            oldest = self._oldest_unstamped_at
        grace = self._settings.acceptable_timestamp_failure_seconds
        return oldest + timedelta(seconds=grace) if oldest is not None and grace else None

    def describe(self) -> StampingState:
        """Raises: Unavailable `exchange.logging_failed`, `db.busy`."""
        with self._db.read() as tx:
            unstamped = store.count_records(tx, after=self._stamped_through)
            last_success_at = self._last_success_at or store.find_last_stamp_at(tx)
        with self._state:
            error, oldest = self._last_error, self._oldest_unstamped_at
        return StampingState(
            oldest_unstamped_at=oldest,
            refuses_at=self._refuses_at(),
            unstamped=unstamped,
            last_success_at=last_success_at,
            last_error=None if error is None else f"{error.code}: {error.detail}",
            is_configured=bool(self._authorities),
        )

    def load(self) -> None:
        """Read how far the log is stamped, at the start and when its database was replaced."""
        with self._db.read() as tx:
            through = store.find_stamped_through(tx)
            oldest_at = store.find_first_at(tx, after=through)
        with self._state:
            self._stamped_through, self._oldest_unstamped_at = through, oldest_at

    def note_recorded(self, number: int, at: datetime) -> None:
        """A group of records is on disk, this is its first. Called in the order of their numbers."""
        with self._state:
            if not self._noted:
                self._noted.append((number, at))
            if self._oldest_unstamped_at is None and number > self._stamped_through:
                self._oldest_unstamped_at = at

    # -------------------------------------------------------------- stamping

    def stamp_pending(self) -> int:
        """Stamp all that is there now, batch by batch; one record only as long as it does not work. How many were.

        Raises: Unavailable `exchange.timestamper_failed`, `exchange.logging_failed`, `db.busy`.
        """
        done = 0
        while True:
            limit = 1 if self._last_error is not None else self._settings.stamping_batch_records
            try:
                stamped = self._stamp_batch(limit)
            except DigiidError as error:
                if self._last_error is None or self._last_error.code != error.code:
                    log.error("message_log.stamping_failed", code=error.code, detail=error.detail)
                self._last_error = error
                raise
            done += stamped
            if stamped and self._last_error is not None:
                log.info("message_log.stamping_works_again")
                self._last_error = None
            elif stamped < limit:
                return done

    def _stamp_batch(self, limit: int) -> int:
        with self._stamping:
            # 1 the oldest records without a time stamp
            with self._db.read() as tx:
                numbers, leaves = store.find_unstamped(tx, after=store.find_stamped_through(tx), limit=limit)
            if not numbers:
                return 0
            # 2 one token over their tree, by a unit that the configuration approves of
            tree = build_tree(leaves)
            token_der, verified = self._fetch(hashlib.sha512(tree.result).digest())
            # 3 stored
            stamp = store.TimeStampRecord(tuple(numbers), tuple(leaves), verified.gen_at, tree.result, token_der)
            with self._db.write() as tx:
                store.record_time_stamp(tx, stamp)
            # 4 known
            self._note_stamped(numbers[-1])
            return len(numbers)

    def _note_stamped(self, through: int) -> None:
        with self._state:
            self._noted.clear()
        with self._db.read() as tx:  # not under the lock: message loops take it
            oldest_at = store.find_first_at(tx, after=through)
        with self._state:
            if oldest_at is None:  # but some may have come after the question
                oldest_at = next((at for number, at in self._noted if number > through), None)
            self._stamped_through, self._oldest_unstamped_at = through, oldest_at
            self._last_success_at = self._clock.now()

    def _fetch(self, imprint: bytes) -> tuple[bytes, VerifiedTimeStamp]:
        failures = []
        for authority in self._authorities:
            try:
                token_der, verified = authority.fetch(imprint, _HASH)
                if (verified.imprint, verified.hash_name) != (imprint, _HASH):
                    raise Refused("tsp.imprint", "the token is about something else")
                self._verify_unit(verified.tsu, verified.gen_at)
            except DigiidError as error:
                failures.append(f"{authority.address}: {error}")
            else:
                return token_der, verified
        text = "; ".join(failures) or "no time-stamping authority is configured"
        raise Unavailable("exchange.timestamper_failed", text)

    # -------------------------------------------------------------- the thread

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    async def wait_for_stamp(self, number: int) -> None:
        """Return when this record has a time stamp; do not wait for the interval to end.

        Raises: Unavailable `exchange.timestamping_failed`.
        """
        waiter = new_waiter()
        with self._wake:
            if self._stopped or not self._thread.is_alive():
                raise Unavailable("exchange.timestamping_failed", "the time-stamping has stopped")
            self._waiters.append((number, waiter))
            self._wake.notify()
        await waiter.outcome

    def _loop(self) -> None:
        interval = self._settings.stamping_interval_seconds
        # What a run before this one has left without a time stamp does not wait for a whole interval.
        wait = interval if self._oldest_unstamped_at is None else min(interval, _SOON_SECONDS)
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiters or self._stopped, timeout=wait)
                wait = interval
                if self._stopped:
                    self._release(Unavailable("exchange.timestamping_failed", "the time-stamping has stopped"))
                    return
            failure = None
            try:
                self.stamp_pending()
            except DigiidError as error:  # told once by stamp_pending; the next interval tries again
                failure = Unavailable("exchange.timestamping_failed", f"{error.code}: {error.detail}")
            except Exception as error:  # the thread's edge: it must still be there when the fault has gone
                log.error("message_log.stamping_broken", error=repr(error)[:500])
                failure = Unavailable("exchange.timestamping_failed", type(error).__name__)
            with self._wake:
                self._release(failure)

    def _release(self, failure: Unavailable | None) -> None:
        """Tell those whose record is stamped; after a failure the others too."""
        stamped = [each for each in self._waiters if each[0] <= self._stamped_through]
        left = [each for each in self._waiters if each[0] > self._stamped_through]
        answer((waiter, number) for number, waiter in stamped)
        if failure is not None:
            answer((waiter, failure) for _, waiter in left)
            left = []
        self._waiters = left
