"""How a security server says how it stands: `GET /status` on its health port, and reading that again.

The JSON is for programs and for the status page; its texts are English, and the page translates them.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from digiid.exchange.security_server.clocks import (
    MEANINGS,
    RANK,
    ClockState,
    ExchangeClock,
    Meaning,
    worst_state,
)
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.platform.http import HttpClient

MAX_STATUS_BYTES: Final = 512 * 1024
ANSWER_SECONDS: Final = 4.0
_AT_ONCE: Final = 16
_MAX_SERVERS: Final = 200
_TEN_YEARS: Final = 10 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server's clocks, worst first, as it told them at `at`."""

    server: str
    at: datetime
    clocks: tuple[ExchangeClock, ...]

    @property
    def state(self) -> ClockState:
        return worst_state(clock.state for clock in self.clocks)


def status_json(status: ServerStatus) -> dict[str, Any]:
    """What `GET /status` answers."""
    return {
        "server": status.server,
        "at": status.at.isoformat(),
        "state": status.state.value,
        "clocks": [_clock_json(clock) for clock in status.clocks],
    }


def _clock_json(clock: ExchangeClock) -> dict[str, Any]:
    meaning = clock.meaning
    return {
        "name": clock.name,
        "subject": clock.subject,
        "state": clock.state.value,
        "runsOutAt": None if clock.runs_out_at is None else clock.runs_out_at.isoformat(),
        "leftSeconds": None if clock.left is None else round(clock.left.total_seconds(), 3),
        "wholeSeconds": None if clock.whole is None else round(clock.whole.total_seconds(), 3),
        "detail": clock.detail,
        "title": meaning.title,
        "whenItRunsOut": meaning.consequence,
        "whatToDo": meaning.remedy,
    }


# ------------------------------------------------------------------ reading

Seconds = Annotated[float, Field(ge=0, le=100 * _TEN_YEARS, allow_inf_nan=False)]


class _Clock(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", str_max_length=2000)

    name: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    subject: str = ""
    state: ClockState
    runsOutAt: AwareDatetime | None = None  # noqa: N815  the wire's own spelling
    leftSeconds: Seconds | None = None  # noqa: N815
    wholeSeconds: Seconds | None = None  # noqa: N815
    detail: str = ""


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", str_max_length=2000)

    server: Annotated[str, Field(min_length=1, max_length=500)]
    at: AwareDatetime
    clocks: Annotated[tuple[_Clock, ...], Field(max_length=2000)]


def parse_status(body: bytes) -> ServerStatus:
    """Read what another server told. Clocks of a kind that is not known here are kept out of sight.

    Raises: Malformed `exchange.status`.
    """
    try:
        found = _Status.model_validate_json(body)
    except ValidationError as error:
        raise Malformed("exchange.status", f"not a status: {error.error_count()} errors") from error
    clocks = tuple(
        ExchangeClock(
            each.name,
            each.state,
            each.subject,
            each.runsOutAt,
            None if each.leftSeconds is None else timedelta(seconds=each.leftSeconds),
            None if each.wholeSeconds is None else timedelta(seconds=each.wholeSeconds),
            each.detail,
        )
        for each in found.clocks
        if each.name in MEANINGS
    )
    return ServerStatus(found.server, found.at, clocks)


# ------------------------------------------------------------------ asking


@dataclass(frozen=True, slots=True)
class StatusAddress:
    """Where a server tells how it stands: `http://127.0.0.1:5588/status`."""

    server: str
    url: str


@dataclass(frozen=True, slots=True)
class AskedServer:
    """A server's answer, or why there is none (`problem`, English)."""

    address: StatusAddress
    status: ServerStatus | None
    problem: str = ""

    @property
    def state(self) -> ClockState:
        return ClockState.STOPPED if self.status is None else self.status.state


@dataclass(frozen=True, slots=True)
class ShownClock:
    """A clock of one of several servers."""

    server: str
    clock: ExchangeClock

    @property
    def meaning(self) -> Meaning:
        return self.clock.meaning

    @property
    def share(self) -> float | None:
        """How much of the time is left, from 0 to 1; None where no time runs."""
        clock = self.clock
        if clock.left is None or not clock.whole:
            return None
        return max(0.0, min(1.0, clock.left / clock.whole))


def all_clocks(asked: Iterable[AskedServer]) -> list[ShownClock]:
    """The clocks of all servers that answered, worst first."""
    found = [
        ShownClock(each.address.server, clock)
        for each in asked
        if each.status is not None
        for clock in each.status.clocks
    ]
    zero = timedelta(0)
    return sorted(
        found,
        key=lambda each: (
            RANK[each.clock.state],
            each.clock.left is None,
            each.clock.left or zero,
            each.server,
            each.clock.name,
        ),
    )


def ask_servers(addresses: Iterable[StatusAddress]) -> list[AskedServer]:
    """Ask every server how it stands, all at once; in the order of the addresses. Takes a few seconds at most."""
    wanted = list(addresses)[:_MAX_SERVERS]
    if not wanted:
        return []
    http = HttpClient(timeout_seconds=ANSWER_SECONDS, max_bytes=MAX_STATUS_BYTES)
    try:
        with ThreadPoolExecutor(min(_AT_ONCE, len(wanted)), thread_name_prefix="digiid-status") as pool:
            return list(pool.map(lambda address: _ask(http, address), wanted))
    finally:
        http.close()


def _ask(http: HttpClient, address: StatusAddress) -> AskedServer:
    try:
        answer = http.request("GET", address.url, headers={"Accept": "application/json"})
        if answer.status != 200:
            raise Unavailable("exchange.status", f"HTTP status {answer.status}")
        status = parse_status(answer.body)
        if status.server != address.server:
            raise Malformed("exchange.status", f"it says that it is {status.server[:200]}")
    except DigiidError as error:
        return AskedServer(address, None, error.detail)
    return AskedServer(address, status)


# ------------------------------------------------------------------ whom to ask

_ADDRESSES: Final = TypeAdapter(dict[str, str])


def write_status_addresses(file: Path, addresses: Mapping[str, str]) -> None:
    """Keep where the servers of a state tell how they stand: server identifier to URL."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_bytes(json.dumps(dict(addresses), indent=1).encode())
    part.replace(file)


def read_status_addresses(file: Path) -> tuple[StatusAddress, ...]:
    """What write_status_addresses wrote; nothing when there is no such file. Raises: Malformed `exchange.status`."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_STATUS_BYTES)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Malformed("exchange.status", f"{file}: {error.strerror}") from error
    try:
        found = _ADDRESSES.validate_json(content)
    except ValidationError as error:
        raise Malformed("exchange.status", f"{file} is not a list of addresses") from error
    return tuple(StatusAddress(server, url) for server, url in found.items())
