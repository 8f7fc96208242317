"""How everything here is measured: in turns, in one run, as ratios.

A machine that is busy with something else only ever adds time. So both sides of a ratio take turns in small batches,
the ratio is that of the quickest batches, and the medians are told beside it.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """`value` compares two things of one run. `wanted` is the figure to reach, `at_least` its direction."""

    name: str
    value: float
    wanted: float | None
    at_least: bool
    detail: str

    @property
    def met(self) -> bool:
        return self.wanted is None or (self.value >= self.wanted if self.at_least else self.value <= self.wanted)

    @property
    def target(self) -> str:
        return "" if self.wanted is None else f"{'≥' if self.at_least else '≤'} {self.wanted:g}"


@dataclass(frozen=True)
class Timing:
    """Seconds a call: of the quickest batch, and of the one in the middle."""

    best: float
    median: float

    @property
    def text(self) -> str:
        """`0.123 ms (median 0.130)`"""
        return f"{self.best * 1000:.3f} ms (median {self.median * 1000:.3f})"


def take_turns(
    *functions: Callable[[], object],
    batch: int = 10,
    rounds: int = 60,
    clock: Callable[[], float] = time.thread_time,
) -> list[Timing]:
    """Time each function, batch by batch in turns. `clock` counts this thread's processor time unless told."""
    took: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for index, function in enumerate(functions):
                begin = clock()
                for _ in range(batch):
                    function()
                took[index].append((clock() - begin) / batch)
    finally:
        if was_enabled:
            gc.enable()
    return [Timing(min(seconds), statistics.median(seconds)) for seconds in took]


def best_us(*functions: Callable[[], object], batch: int = 20, rounds: int = 100) -> list[float]:
    """The fastest batch of each by the clock on the wall, in microseconds a call."""
    return [timing.best * 1e6 for timing in take_turns(*functions, batch=batch, rounds=rounds, clock=time.perf_counter)]
