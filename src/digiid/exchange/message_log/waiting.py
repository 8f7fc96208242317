"""Coroutines that wait for what a thread does: told in groups, one wake-up of their loop for many."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from digiid.kernel.errors import DigiidError


@dataclass(frozen=True, slots=True)
class Waiter:
    """One coroutine that waits for a number or an error."""

    loop: asyncio.AbstractEventLoop
    outcome: "asyncio.Future[int]"


def new_waiter() -> Waiter:
    """Of the running loop."""
    loop = asyncio.get_running_loop()
    return Waiter(loop, loop.create_future())


def answer(outcomes: Iterable[tuple[Waiter, int | DigiidError]]) -> None:
    """Wake waiters from another thread. Those whose loop is closed, or who have given up, are passed over."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], int | DigiidError]]] = {}
    for waiter, outcome in outcomes:
        by_loop.setdefault(waiter.loop, []).append((waiter.outcome, outcome))
    for loop, pairs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Iterable[tuple["asyncio.Future[int]", int | DigiidError]]) -> None:
    for future, outcome in pairs:
        if future.done():
            continue
        if isinstance(outcome, DigiidError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
