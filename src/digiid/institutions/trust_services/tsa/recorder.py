"""Writes token records in groups: many tokens share one commit, and each waits for its own.

A commit costs a disk flush, a token a quarter of a millisecond. One thread writes what has gathered
while the last commit was running; a token's reply is released when its record is on disk.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import structlog

from digiid.institutions.trust_services.tsa.store import TokenRecord
from digiid.kernel.errors import Unavailable

_MAX_WAITING: Final = 10_000

log = structlog.get_logger("trust_services.tsa")


class Recorder:
    """Group commit. `write` stores a batch in one transaction."""

    def __init__(self, write: Callable[[list[TokenRecord]], None]) -> None:
        self._write = write
        self._waiting: list[tuple[TokenRecord, Future[None]]] = []
        self._condition = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name="digiid-tsa-journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    async def record(self, record: TokenRecord) -> None:
        """Return when the record is on disk. Raises: Unavailable `tsp.journal`."""
        await asyncio.wrap_future(self.submit(record))

    def submit(self, record: TokenRecord) -> "Future[None]":
        """The same for callers with a thread of their own: the future is done when the record is on disk."""
        future: Future[None] = Future()
        with self._condition:
            if self._stopped or len(self._waiting) >= _MAX_WAITING:
                raise Unavailable("tsp.journal", "the journal does not take records now")
            self._waiting.append((record, future))
            self._condition.notify()
        return future

    def _loop(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._stopped:
                    self._condition.wait()
                batch, self._waiting = self._waiting, []
                if not batch:
                    return
            try:
                self._write([record for record, _ in batch])
            except Exception as error:  # the worker's edge: whoever waits has to learn that nothing was kept
                log.error("tsa.journal_failed", error=type(error).__name__, records=len(batch))
                for _, future in batch:
                    if future.set_running_or_notify_cancel():
                        future.set_exception(Unavailable("tsp.journal", "the record was not stored"))
            else:
                for _, future in batch:
                    if future.set_running_or_notify_cancel():
                        future.set_result(None)
