"""The thread pools of a process.

`pages` runs what a person waits for and may call peers; `services` answers the exchange. They are
apart because in a process with many institutions a page that waits for a service must never hold
the thread that the service needs. `pictures` draws files of strangers: slow ones wait for each other there, and for
nobody else.
"""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from digiid.kernel.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")

_PICTURES_AT_ONCE, _PICTURES_WAITING = 2, 48
_in_service = threading.local()


class Pool:
    """Runs synchronous use cases for asynchronous edges."""

    def __init__(self, name: str, threads: int, *, max_waiting: int, answers_services: bool) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"digiid-{name}")
        self._name = name
        self._limit = threads + max_waiting
        self._running = 0
        self._answers_services = answers_services

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` on a thread of this pool and wait for it.

        Raises: Unavailable `pool.full` when too many calls already wait, instead of queueing without end.
        """
        if self._running >= self._limit:
            raise Unavailable("pool.full", f"{self._name} has {self._running} calls", public="Too busy now; try again.")
        self._running += 1
        try:
            context = contextvars.copy_context()
            work = functools.partial(function, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._executor, context.run, self._call, work)
        finally:
            self._running -= 1

    def _call(self, work: Callable[[], R]) -> R:
        _in_service.active = self._answers_services
        try:
            return work()
        finally:
            _in_service.active = False

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


class Pools:
    """`pages` for people's requests, `services` for the exchange's, `pictures` for what is drawn from files."""

    def __init__(self, *, pages: int = 16, services: int = 16, max_waiting: int = 256) -> None:
        self.pages = Pool("pages", pages, max_waiting=max_waiting, answers_services=False)
        self.services = Pool("services", services, max_waiting=max_waiting, answers_services=True)
        self.pictures = Pool("pictures", _PICTURES_AT_ONCE, max_waiting=_PICTURES_WAITING, answers_services=False)

    def close(self) -> None:
        self.pages.close()
        self.services.close()
        self.pictures.close()


def answering_a_service() -> bool:
    """True on a thread that answers the exchange: such a call may not call the exchange again."""
    return bool(getattr(_in_service, "active", False))
