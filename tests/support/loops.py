"""Coroutines from tests. Playwright keeps a loop running in the thread of its tests, and others of the same process may
come after them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a loop of its own."""
    return in_own_thread(lambda: asyncio.run(coroutine))


def in_own_thread(function: Callable[[], T]) -> T:
    """For functions that start a loop themselves."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
