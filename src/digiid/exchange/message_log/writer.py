"""Group commit: the records of all messages that wait are written in one transaction, on one thread.

A commit costs a disk flush, a record some microseconds. While one commit runs the next group gathers.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from digiid.exchange.message_log.entries import LogEntry
from digiid.exchange.message_log.waiting import Waiter, answer, new_waiter
from digiid.kernel.errors import DigiidError, Unavailable

_MAX_GROUP_RECORDS: Final = 1000
_MAX_GROUP_BYTES: Final = 32 * 1024**2

log = structlog.get_logger("exchange.message_log")


@dataclass(frozen=True, slots=True)
class _Waiting:
    entry: LogEntry
    size_bytes: int
    waiter: Waiter


class GroupWriter:
    """`write` stores a group whole or not at all and gives the numbers of its records."""

    def __init__(
        self, write: Callable[[Sequence[LogEntry]], Sequence[int]], *, max_records: int, max_bytes: int
    ) -> None:
        self._write = write
        self._max_records, self._max_bytes = max_records, max_bytes
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._condition = threading.Condition()
        self._stopped = self._wakes = False
        self._thread = threading.Thread(target=self._loop, name="digiid-message-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def submit(self, entry: LogEntry, *, size_bytes: int) -> "asyncio.Future[int]":
        """A future of the running loop: the record's number when it is on disk.

        Raises: Unavailable `exchange.logging_failed`, also out of the future.
        """
        waiter = new_waiter()
        with self._condition:
            if self._stopped or not self._thread.is_alive():
                raise Unavailable("exchange.logging_failed", "the message log is not open")
            full = len(self._waiting) >= self._max_records or self._waiting_bytes + size_bytes > self._max_bytes
            if full and self._waiting:
                raise Unavailable("exchange.logging_failed", "more messages wait to be logged than may")
            self._waiting.append(_Waiting(entry, size_bytes, waiter))
            self._waiting_bytes += size_bytes
            if not self._wakes:
                # Not at once: what else is ready in this turn of the loop comes into the same group.
                self._wakes = True
                waiter.loop.call_soon(self._wake)
        return waiter.outcome

    def _wake(self) -> None:
        with self._condition:
            self._wakes = False
            self._condition.notify()

    def _loop(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._stopped:
                    self._condition.wait()
                group = self._take()
                if not group:
                    return
            answer(zip((each.waiter for each in group), self._store(group), strict=True))

    def _take(self) -> list[_Waiting]:
        count = size = 0
        for each in self._waiting[:_MAX_GROUP_RECORDS]:
            if count and size + each.size_bytes > _MAX_GROUP_BYTES:
                break
            count, size = count + 1, size + each.size_bytes
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes -= size
        return group

    def _store(self, group: Sequence[_Waiting]) -> list[int | DigiidError]:
        try:
            return list(self._write([each.entry for each in group]))
        except Exception as error:  # the worker's edge: whoever waits has to learn that nothing was kept
            log.error("message_log.write_failed", error=repr(error)[:500], records=len(group))
            if isinstance(error, Unavailable) or len(group) == 1:
                detail = error.detail if isinstance(error, DigiidError) else type(error).__name__
                return [Unavailable("exchange.logging_failed", detail) for _ in group]
            # The database answers: one record is at fault, and the others must not fail with it.
            return [self._store([each])[0] for each in group]
