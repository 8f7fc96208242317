"""Things that an institution does by the clock: deadlines, expiry, fresh lists."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

log = structlog.get_logger("timers")


@dataclass(frozen=True, slots=True)
class Timer:
    """`run` is called every `every`, and once soon after the start. It must be safe to call at any time, repeatedly."""

    name: str
    every: timedelta
    run: Callable[[], None]


class TimerThread:
    """Runs an institution's timers one after another on one thread."""

    def __init__(self, timers: Sequence[Timer]) -> None:
        self._timers = list(timers)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="digiid-timers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _loop(self) -> None:
        tick = min((timer.every for timer in self._timers), default=timedelta(seconds=60))
        tick_seconds = max(0.2, min(tick.total_seconds(), 5.0))
        waited = {timer.name: timer.every.total_seconds() for timer in self._timers}
        while not self._stop.wait(tick_seconds):
            for timer in self._timers:
                waited[timer.name] += tick_seconds
                if waited[timer.name] < timer.every.total_seconds():
                    continue
                waited[timer.name] = 0.0
                try:
                    timer.run()
                except Exception as error:  # the loop's edge: one timer's fault must not stop the others
                    log.error("timer.failed", timer=timer.name, error=str(error))
