"""The health port of a security server: may a load balancer send messages here, how do the clocks stand, counters.

* `GET /` answers 200 or 503, as X-Road's health check: keys and OCSP usable, log database there, configuration valid;
* `GET /status` tells every clock (status.py), `GET /metrics` the counters as Prometheus reads them.

The port is for machines of the operator: it is plain HTTP and tells nothing of any message.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from digiid.exchange.security_server.clocks import RANK, Clocks, ClockState
from digiid.exchange.security_server.connections import Exchange
from digiid.exchange.security_server.maintenance import MaintenanceSwitch
from digiid.exchange.security_server.monitoring.statistics import Statistics
from digiid.exchange.security_server.own_answers import OwnAnswer, json_answer
from digiid.exchange.security_server.status import ServerStatus, status_json
from digiid.kernel.errors import DigiidError
from digiid.kernel.identifiers import ServerId
from digiid.platform.clock import Clock

log = structlog.get_logger("security_server")

CHECK_SECONDS: Final = 5.0  # reference §1.9
OK_KEPT: Final = timedelta(seconds=2)
FAILURE_KEPT: Final = timedelta(seconds=30)
STATUS_KEPT: Final = timedelta(seconds=1)
_TEXT: Final = "text/plain; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"

Check = tuple[str, Callable[[], object]]


class HealthCheck:
    """Asks the checks, each on a thread, for five seconds at most, and remembers the answer for a while."""

    def __init__(
        self, checks: Sequence[Check], maintenance: MaintenanceSwitch, clock: Clock, *, seconds: float = CHECK_SECONDS
    ) -> None:
        """A check is (its name, what raises a DigiidError when it does not hold)."""
        self._seconds = seconds
        self._checks, self._maintenance, self._clock = tuple(checks), maintenance, clock
        self._kept: OwnAnswer | None = None
        self._kept_until = clock.now()
        self._asking = asyncio.Lock()
        self._running: dict[str, asyncio.Task[object]] = {}

    async def answer(self) -> OwnAnswer:
        """200, or 503 with a line that names what does not hold."""
        message = self._maintenance.message()
        if message is not None:
            return _text(503, f"maintenance: {message}" if message else "maintenance")
        async with self._asking:
            now = self._clock.now()
            if self._kept is None or now >= self._kept_until:
                failed = await self._find_failed()
                self._kept = _text(503, f"failed: {', '.join(failed)}") if failed else _text(200, "ok")
                self._kept_until = now + (FAILURE_KEPT if failed else OK_KEPT)
            return self._kept

    async def _find_failed(self) -> list[str]:
        # a check that still hangs from the last time is not begun again: threads would pile up
        for name, check in self._checks:
            if name not in self._running:
                self._running[name] = asyncio.create_task(asyncio.to_thread(check))
        if self._running:
            await asyncio.wait(self._running.values(), timeout=self._seconds)
        failed = []
        for name, task in list(self._running.items()):
            if not task.done():
                failed.append(name)
                continue
            del self._running[name]
            if (error := task.exception()) is not None:
                code = error.code if isinstance(error, DigiidError) else type(error).__name__
                log.warning("exchange.health_check_failed", check=name, code=code)
                failed.append(name)
        return failed


class HealthPort:
    """The handler of the listener on the health port."""

    def __init__(
        self, server: ServerId, health: HealthCheck, clocks: Clocks, statistics: Statistics | None, clock: Clock
    ) -> None:
        self._server, self._health, self._clocks = server, health, clocks
        self._statistics, self._clock = statistics, clock
        self._reading = asyncio.Lock()
        self._kept: ServerStatus | None = None

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        own = await self.respond(exchange.head.method, exchange.head.target)
        headers = (("Content-Type", own.media_type), ("Cache-Control", "no-store"), *own.headers)
        exchange.respond(own.status, headers, own.body)

    async def respond(self, method: str, target: str) -> OwnAnswer:
        """The answer to a request for this path; the query is not looked at."""
        path = target.partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _text(405, "method not allowed", headers=(("Allow", "GET, HEAD"),))
        if path == "/":
            return await self._health.answer()
        if path == "/status":
            return json_answer(status_json(await self.status()))
        if path == "/metrics" and self._statistics is not None:
            return await self._metrics(self._statistics)
        return _text(404, "not found")

    async def status(self) -> ServerStatus:
        """Every clock as it stands; many who ask at once are told the same."""
        async with self._reading:
            now = self._clock.now()
            if self._kept is None or not self._kept.at <= now < self._kept.at + STATUS_KEPT:
                self._kept = ServerStatus(str(self._server), now, await asyncio.to_thread(self._clocks.read))
            return self._kept

    async def _metrics(self, statistics: Statistics) -> OwnAnswer:
        statistics.set_clocks(
            (
                clock.name,
                clock.subject,
                None if clock.left is None else clock.left.total_seconds(),
                RANK[ClockState.OK] - RANK[clock.state],
            )
            for clock in (await self.status()).clocks
        )
        return OwnAnswer(200, _PROMETHEUS, statistics.prometheus())


def _text(status: int, text: str, *, headers: tuple[tuple[str, str], ...] = ()) -> OwnAnswer:
    return OwnAnswer(status, _TEXT, f"{text}\n".encode(), headers)
