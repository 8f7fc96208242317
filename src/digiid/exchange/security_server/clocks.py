"""Every clock that can stop the exchange at this server: how it stands, when it runs out, what then, what to do.

X-Road fails closed (reference §2.4), and its users learn of it when messages stop. Here each cause has a name, the time
that is left, and a sentence for who has to act. What is decided here changes nothing: the parts that refuse messages
ask their own state; a clock says `stopped` from the instant on at which they refuse (tests TM-10).
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog

from digiid.exchange.global_conf.client import ConfigurationState
from digiid.exchange.message_log.entries import ArchivingState, StampingState
from digiid.exchange.security_server.local_conf import LocalConfAlarm
from digiid.kernel.errors import DigiidError
from digiid.platform.clock import Clock
from digiid.platform.web import N_

log = structlog.get_logger("security_server")

NO_TIME: Final = timedelta(0)
DEFAULT_CONFIGURATION_LIFE: Final = timedelta(minutes=10)
DEFAULT_OCSP_FRESHNESS: Final = timedelta(hours=1)
CERTIFICATE_WARNING: Final = timedelta(days=30)
STAMPING_LATE: Final = timedelta(minutes=5)  # five intervals; one slow answer is no warning
ARCHIVES_LATE: Final = timedelta(minutes=10)  # how long an archiver may take, beside two intervals
QUEUE_WARNING: Final = 10_000  # records in one batch
DISK_STOPPED_BYTES: Final = 64 * 1024**2
DISK_WARNING_BYTES: Final = 2 * 1024**3
DISK_WARNING: Final = timedelta(days=7)
_TREND_AFTER: Final = timedelta(minutes=10)
_TICK: Final = timedelta(microseconds=1)


class ClockState(StrEnum):
    """`warning`: somebody should act before it stops. `stopped`: messages are refused because of it, now."""

    OK = "ok"
    WARNING = "warning"
    STOPPED = "stopped"


RANK: Final = {ClockState.STOPPED: 0, ClockState.WARNING: 1, ClockState.OK: 2}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a kind of clock is called, what its end means and what to do. English; translated where it is shown."""

    title: str
    consequence: str
    remedy: str


MEANINGS: Final = {
    "configuration": Meaning(
        N_("Global configuration"),
        N_("Every message is refused until a newer configuration has come. It begins again by itself."),
        N_("See that the central server runs and that this server reaches its address; look at the last error."),
    ),
    "ocsp": Meaning(
        N_("OCSP responses about our certificates"),
        N_("Nothing is signed and other servers refuse connections until fresh responses are there."),
        N_("See that the OCSP responder answers and that this server reaches it; the clocks of both must be right."),
    ),
    "time_stamps": Meaning(
        N_("Time stamps of the message log"),
        N_("No message is accepted any more until the waiting ones have their time stamps."),
        N_("See that the time-stamping service answers, or name a second one in the settings."),
    ),
    "certificate_authentication": Meaning(
        N_("Authentication certificate"),
        N_("Other security servers refuse every connection with this one."),
        N_("Make a new key, register its certificate at the central server, and put both in the settings in time."),
    ),
    "certificate_signing": Meaning(
        N_("Signing certificate"),
        N_("Messages of this member are neither signed nor accepted by others."),
        N_("Have a new signing certificate issued for the member and put it in the settings in time."),
    ),
    "certificate_internal": Meaning(
        N_("Internal certificate of this server"),
        N_("Information systems refuse this server, and it refuses them."),
        N_("Make a new internal certificate and give it to the information systems."),
    ),
    "certificate_information_system": Meaning(
        N_("Certificate of an information system"),
        N_("This information system can neither ask nor answer."),
        N_("Get a new certificate from who runs it and put it in the local configuration."),
    ),
    "disk": Meaning(
        N_("Disk space"),
        N_("The message log cannot be written: every message is refused."),
        N_("Move archives away, or make the disk larger."),
    ),
    "log": Meaning(
        N_("Message log database"),
        N_("No message goes on that is not logged: every message is refused."),
        N_("See that the database runs and takes writes; messages go on by themselves when it does."),
    ),
    "archives": Meaning(
        N_("Archives of the message log"),
        N_("Messages go on; their rows stay in the log, which grows until the disk is full."),
        N_("See that the archive folder can be written and the key or certificates be read; look at the last error."),
    ),
    "log_queue": Meaning(
        N_("Messages that wait for a time stamp"),
        N_("It takes longer until the log is evidence; when the oldest is too old no message is accepted any more."),
        N_("See that the time-stamping service answers quickly enough."),
    ),
    "keys": Meaning(
        N_("Keys"),
        N_("Nothing can be signed for this member, or no connection made."),
        N_("Put the token in, log in to it, or restore the key file."),
    ),
    "rights": Meaning(
        N_("Clients, services and rights"),
        N_("Changes of the file are not in force; what was read last holds."),
        N_("Correct the file; digiid config check FILE says what is wrong."),
    ),
    "monitoring": Meaning(
        N_("Operational monitoring"),
        N_("Messages go on; their records wait, and the oldest are lost when there is no more room."),
        N_("See that the monitoring database runs and takes writes."),
    ),
    "maintenance": Meaning(
        N_("Maintenance"),
        N_("Messages are refused and callers are told why; other servers of the same client are used instead."),
        N_("End it with digiid exchange maintenance off when the work is done."),
    ),
}


@dataclass(frozen=True, slots=True)
class ExchangeClock:
    """`name` is a key of MEANINGS, `subject` which of several (a member, a file). `left` is None where no time runs;
    `whole` is how long it runs at most. `detail` is the last error or a measure, for who looks closer.
    """

    name: str
    state: ClockState
    subject: str = ""
    runs_out_at: datetime | None = None
    left: timedelta | None = None
    whole: timedelta | None = None
    detail: str = ""

    @property
    def meaning(self) -> Meaning:
        return MEANINGS[self.name]


def worst_first(clocks: Iterable[ExchangeClock]) -> list[ExchangeClock]:
    """Stopped before warning before ok; of the same state the one whose time runs out first."""
    return sorted(clocks, key=lambda each: (RANK[each.state], each.left is None, each.left or NO_TIME, each.name))


def worst_state(states: Iterable[ClockState]) -> ClockState:
    return min(states, key=RANK.__getitem__, default=ClockState.OK)


def _running(
    name: str,
    *,
    now: datetime,
    runs_out_at: datetime,
    whole: timedelta,
    warns_below: timedelta,
    subject: str = "",
    detail: str = "",
    is_late: bool = False,
) -> ExchangeClock:
    """A clock that stops at `runs_out_at`, not before and not after."""
    left = runs_out_at - now
    if left <= NO_TIME:
        state = ClockState.STOPPED
    else:
        state = ClockState.WARNING if is_late or left < warns_below else ClockState.OK
    return ExchangeClock(name, state, subject, runs_out_at, max(left, NO_TIME), whole, detail)


def _stopped(name: str, detail: str, *, subject: str = "") -> ExchangeClock:
    return ExchangeClock(name, ClockState.STOPPED, subject, detail=detail)


# ------------------------------------------------------------------ one by one


def configuration_clock(state: ConfigurationState, *, now: datetime) -> ExchangeClock:
    """Stops when the configuration in hand runs out."""
    problem = state.problem or ""
    if state.expires_at is None:
        return _stopped("configuration", problem or "there is no global configuration yet")
    whole = state.life or DEFAULT_CONFIGURATION_LIFE
    return _running(
        "configuration", now=now, runs_out_at=state.expires_at, whole=whole, warns_below=whole / 2, detail=problem
    )


@dataclass(frozen=True, slots=True)
class KeptStatus:
    """The oldest OCSP response about a certificate of ours and those above it; None: there is none."""

    subject: str
    this_update_at: datetime | None
    next_update_at: datetime | None = None


def ocsp_clock(status: KeptStatus, *, freshness: timedelta, now: datetime) -> ExchangeClock:
    """Stops when the response is older than the configuration allows (`ocspFreshnessSeconds`), or its own nextUpdate
    has passed. X-Road fetches three times in that time; a third of it left means that two tries failed.
    """
    if status.this_update_at is None:
        return _stopped("ocsp", "there is no response", subject=status.subject)
    runs_out_at = status.this_update_at + freshness
    if status.next_update_at is not None:
        runs_out_at = min(runs_out_at, status.next_update_at)
    # a response of exactly that age may still be used, as everywhere in the exchange
    return _running(
        "ocsp",
        now=now,
        runs_out_at=runs_out_at + _TICK,
        whole=freshness,
        warns_below=freshness / 3,
        subject=status.subject,
    )


def stamping_clocks(state: StampingState, *, grace: timedelta, now: datetime) -> Iterator[ExchangeClock]:
    """Stops when the oldest record without a time stamp is as old as it may become; `grace` 0: never."""
    detail = state.last_error or ""
    if not state.is_configured:
        yield _stopped("time_stamps", "no time-stamping authority is configured")
    elif state.refuses_at is None:
        late = state.last_error is not None
        # with no record waiting the whole time is left
        yield ExchangeClock(
            "time_stamps",
            ClockState.WARNING if late else ClockState.OK,
            left=grace or None,
            whole=grace or None,
            detail=detail,
        )
    else:
        waiting = state.oldest_unstamped_at
        is_late = state.last_error is not None or (waiting is not None and now - waiting > STAMPING_LATE)
        yield _running(
            "time_stamps",
            now=now,
            runs_out_at=state.refuses_at,
            whole=grace,
            warns_below=grace / 2,
            detail=detail,
            is_late=is_late,
        )
    queue = ClockState.WARNING if state.unstamped > QUEUE_WARNING else ClockState.OK
    yield ExchangeClock("log_queue", queue, detail=str(state.unstamped))


def archives_clock(state: ArchivingState, *, now: datetime) -> ExchangeClock:
    """Never stops a message. Warns when the last try failed, or two in a row have left messages waiting."""
    waiting = state.oldest_waiting_at
    is_behind = waiting is not None and now - waiting > 2 * state.interval + ARCHIVES_LATE
    detail = state.last_error or ""
    if is_behind and not detail and waiting is not None:
        detail = f"{waiting.isoformat(timespec='seconds')}"
    late = is_behind or state.last_error is not None
    return ExchangeClock("archives", ClockState.WARNING if late else ClockState.OK, detail=detail)


@dataclass(frozen=True, slots=True)
class HeldCertificate:
    """A certificate that something depends on; `kind` is a key of MEANINGS."""

    kind: str
    subject: str
    not_before_at: datetime
    not_after_at: datetime


def certificate_clock(certificate: HeldCertificate, *, now: datetime) -> ExchangeClock:
    """Stops when the certificate is not valid any more. Short-lived ones warn at a fifth of their life."""
    whole = certificate.not_after_at - certificate.not_before_at
    if now < certificate.not_before_at:
        return _stopped(certificate.kind, "it is not valid yet: is the clock right?", subject=certificate.subject)
    # RFC 5280 §4.1.2.5: valid through notAfter
    return _running(
        certificate.kind,
        now=now,
        runs_out_at=certificate.not_after_at + _TICK,
        whole=whole,
        warns_below=min(CERTIFICATE_WARNING, whole / 5),
        subject=certificate.subject,
    )


def certificate_clocks(certificates: Iterable[HeldCertificate], *, now: datetime) -> list[ExchangeClock]:
    """A clock for each; of those that are in order and of one kind only the first to end, with how many there are."""
    clocks = worst_first(certificate_clock(each, now=now) for each in certificates)
    counts = Counter(clock.name for clock in clocks if clock.state is ClockState.OK)
    shown, told = [], set()
    for clock in clocks:
        if clock.state is not ClockState.OK:
            shown.append(clock)
        elif clock.name not in told:
            told.add(clock.name)
            more = counts[clock.name] - 1
            shown.append(replace(clock, detail=f"+ {more}" if more else ""))
    return shown


class DiskGauge:
    """Measures how fast the disk fills: from the first measure, or from when space was last made."""

    def __init__(self) -> None:
        self._first: tuple[datetime, int] | None = None
        self._last_free = 0

    def clock(self, *, free_bytes: int, total_bytes: int, now: datetime) -> ExchangeClock:
        """Stops when less is free than a message log may need at once; warns when little is left, or a week at most."""
        if self._first is None or free_bytes > self._last_free:
            self._first = (now, free_bytes)
        self._last_free = free_bytes
        since, free_then = self._first
        left = None
        if now - since >= _TREND_AFTER and free_then > free_bytes:
            bytes_per_second = (free_then - free_bytes) / (now - since).total_seconds()
            seconds = max(0, free_bytes - DISK_STOPPED_BYTES) / bytes_per_second
            left = timedelta(seconds=min(seconds, timedelta(days=3650).total_seconds()))
        if free_bytes < DISK_STOPPED_BYTES:
            state, left = ClockState.STOPPED, NO_TIME
        elif free_bytes < min(DISK_WARNING_BYTES, total_bytes // 10) or (left is not None and left < DISK_WARNING):
            state = ClockState.WARNING
        else:
            state = ClockState.OK
        whole = None if left is None else timedelta(days=30)
        return ExchangeClock(
            "disk",
            state,
            runs_out_at=None if left is None else now + left,
            left=left,
            whole=whole,
            detail=f"{free_bytes // 1024**2} / {total_bytes // 1024**2} MiB",  # no words: it is shown in every language
        )


def rights_clock(alarm: LocalConfAlarm | None) -> ExchangeClock:
    if alarm is None:
        return ExchangeClock("rights", ClockState.OK)
    return ExchangeClock("rights", ClockState.WARNING, detail=f"{alarm.code}: {alarm.detail}"[:500])


def maintenance_clock(message: str | None) -> ExchangeClock | None:
    """Nothing when the server is not in maintenance: it is a decision, not a thing that runs out."""
    return None if message is None else _stopped("maintenance", message)


# ------------------------------------------------------------------ all of them


@dataclass(frozen=True)
class ClockSources:
    """Where the clocks of one server are read from. Each may raise a DigiidError: its clock has then stopped.

    `check_log` writes or asks the log's database; `list_keys` gives (whose, what is wrong or None); `disk` bytes
    free and in all, where the message log lies.
    """

    configuration: Callable[[], ConfigurationState]
    ocsp: Callable[[], Sequence[KeptStatus]]
    ocsp_freshness: Callable[[], timedelta]
    stamping: Callable[[], StampingState]
    stamping_grace: timedelta
    check_log: Callable[[], None]
    certificates: Callable[[], Sequence[HeldCertificate]]
    list_keys: Callable[[], Sequence[tuple[str, str | None]]]
    disk: Callable[[], tuple[int, int]]
    rights_alarm: Callable[[], LocalConfAlarm | None]
    maintenance: Callable[[], str | None]
    monitoring_is_failing: Callable[[], bool] = lambda: False
    archiving: Callable[[], ArchivingState | None] = lambda: None


class Clocks:
    """Reads all clocks of one server. Asks databases and files: run it on a thread."""

    def __init__(self, sources: ClockSources, clock: Clock) -> None:
        self._sources, self._clock = sources, clock
        self._disk = DiskGauge()
        self._freshness = DEFAULT_OCSP_FRESHNESS

    def read(self) -> tuple[ExchangeClock, ...]:
        """Every clock as it stands now, worst first. Never raises: what cannot be read has stopped."""
        now = self._clock.now()
        found: list[ExchangeClock] = []
        for name, read in self._readers():
            try:
                found += read(now)
            except DigiidError as error:
                found.append(_stopped(name, f"{error.code}: {error.detail}"[:500]))
            except Exception as error:  # the edge: the page that shows what is broken must not break with it
                log.exception("exchange.clock_failed", clock=name)
                found.append(_stopped(name, type(error).__name__))
        return tuple(worst_first(found))

    def _readers(self) -> Iterator[tuple[str, Callable[[datetime], Iterable[ExchangeClock]]]]:
        sources = self._sources
        yield "configuration", lambda now: [configuration_clock(sources.configuration(), now=now)]
        yield "ocsp", self._read_ocsp
        yield (
            "time_stamps",
            lambda now: stamping_clocks(sources.stamping(), grace=sources.stamping_grace, now=now),
        )
        yield "log", self._read_log
        yield "certificate_signing", lambda now: certificate_clocks(sources.certificates(), now=now)
        yield "keys", self._read_keys
        yield "disk", self._read_disk
        yield "rights", lambda _: [rights_clock(sources.rights_alarm())]
        yield "monitoring", self._read_monitoring
        yield "archives", self._read_archives
        yield "maintenance", self._read_maintenance

    def _read_ocsp(self, now: datetime) -> Iterator[ExchangeClock]:
        with contextlib.suppress(DigiidError):  # the configuration has run out: what it said last still counts
            self._freshness = self._sources.ocsp_freshness()
        for status in self._sources.ocsp():
            yield ocsp_clock(status, freshness=self._freshness, now=now)

    def _read_log(self, _now: datetime) -> Iterator[ExchangeClock]:
        self._sources.check_log()
        yield ExchangeClock("log", ClockState.OK)

    def _read_keys(self, _now: datetime) -> Iterator[ExchangeClock]:
        for subject, problem in self._sources.list_keys():
            state = ClockState.OK if problem is None else ClockState.STOPPED
            yield ExchangeClock("keys", state, subject, detail=problem or "")

    def _read_disk(self, now: datetime) -> Iterator[ExchangeClock]:
        free, total = self._sources.disk()
        yield self._disk.clock(free_bytes=free, total_bytes=total, now=now)

    def _read_monitoring(self, _now: datetime) -> Iterator[ExchangeClock]:
        failing = self._sources.monitoring_is_failing()
        yield ExchangeClock("monitoring", ClockState.WARNING if failing else ClockState.OK)

    def _read_archives(self, now: datetime) -> Iterator[ExchangeClock]:
        state = None
        with contextlib.suppress(DigiidError):  # a database that does not answer has a clock of its own
            state = self._sources.archiving()
        if state is not None:
            yield archives_clock(state, now=now)

    def _read_maintenance(self, _now: datetime) -> Iterator[ExchangeClock]:
        found = maintenance_clock(self._sources.maintenance())
        if found is not None:
            yield found
