"""The page."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from litestar import Request, Response, get

from digiid.exchange.security_server.clocks import ClockState, worst_state
from digiid.exchange.security_server.status import (
    AskedServer,
    ShownClock,
    all_clocks,
    ask_servers,
    read_status_addresses,
)
from digiid.platform.web import N_
from digiid.platform.web.site import page, run

_UNITS = ((86_400, N_("d")), (3600, N_("h")), (60, N_("min")), (1, N_("s")))
STATE_NAMES = {ClockState.OK: N_("in order"), ClockState.WARNING: N_("act soon"), ClockState.STOPPED: N_("stopped")}
STATE_COLOURS = {ClockState.OK: "green", ClockState.WARNING: "yellow", ClockState.STOPPED: "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """A clock as the page shows it. `left` is in (number, unit) pairs, `percent` the part of its time that is left."""

    clock: ShownClock
    left: tuple[tuple[int, str], ...]
    percent: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that was found in one look, worst first."""

    servers: tuple[AskedServer, ...]
    silent: tuple[AskedServer, ...]
    rows: tuple[Row, ...]
    state: ClockState

    @property
    def stopped(self) -> int:
        """How many things have stopped: clocks, and servers that do not answer."""
        return len(self.silent) + sum(row.clock.clock.state is ClockState.STOPPED for row in self.rows)

    @property
    def warnings(self) -> int:
        return sum(row.clock.clock.state is ClockState.WARNING for row in self.rows)


def look(addresses_file: Path) -> Look:
    """Ask every server now. Raises: Malformed `exchange.status`, the file of addresses cannot be read."""
    servers = tuple(ask_servers(read_status_addresses(addresses_file)))
    rows = tuple(_row(each) for each in all_clocks(servers))
    return Look(
        servers,
        tuple(each for each in servers if each.status is None),
        rows,
        worst_state(each.state for each in servers),
    )


def _row(shown: ShownClock) -> Row:
    left = shown.clock.left
    share = shown.share
    return Row(shown, () if left is None else split_time(left), None if share is None else round(share * 100))


def split_time(left: timedelta) -> tuple[tuple[int, str], ...]:
    """The two largest units that are there: ((2, "d"), (3, "h")). Less than a second is 0 s."""
    seconds = int(left.total_seconds())
    for index, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            found = [(seconds // size, unit)]
            if index + 1 < len(_UNITS):
                small, small_unit = _UNITS[index + 1]
                if rest := seconds % size // small:
                    found.append((rest, small_unit))
            return tuple(found)
    return ((0, _UNITS[-1][1]),)


def handlers(addresses_file: Path) -> list[Any]:
    @get("/")
    async def status(request: Request[Any, Any, Any]) -> Response[Any]:
        found = await run(request, look, addresses_file)
        context = {
            "look": found,
            "states": STATE_NAMES,
            "colours": STATE_COLOURS,
            "addresses_file": addresses_file,
        }
        return await page(request, "exchange_status.html", context)

    return [status]
