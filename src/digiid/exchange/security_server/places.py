"""Places for messages that are being worked on: limited in number, and shared fairly between members.

A member has at most its own share of the places; who must wait is served member by member in turn, not in the order of
arrival, so that a member with a hundred waiting messages delays another one's first message by one place only.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from digiid.kernel.errors import Unavailable


class Places:
    """Used on one event loop."""

    def __init__(self, *, total: int, of_member: int, max_waiting: int) -> None:
        """`max_waiting` is for each member: one that waits with too many does not take the queue from others."""
        self._free, self._of_member, self._max_waiting = total, of_member, max_waiting
        self._taken: dict[Hashable, int] = {}
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def taken(self, member: Hashable) -> AsyncIterator[None]:
        """A place while the block runs. Raises: Unavailable `exchange.too_many_messages`."""
        if self._free and self._taken.get(member, 0) < self._of_member and member not in self._waiting:
            self._take(member)
        else:
            await self._wait(member)
        try:
            yield
        finally:
            self._give(member)

    def _take(self, member: Hashable) -> None:
        self._free -= 1
        self._taken[member] = self._taken.get(member, 0) + 1

    async def _wait(self, member: Hashable) -> None:
        queue = self._waiting.setdefault(member, deque())
        if len(queue) >= self._max_waiting:
            raise Unavailable("exchange.too_many_messages", f"{len(queue)} messages of one member wait already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(member)  # it was given a place just as it went away
            else:
                self._forget(member, turn)
            raise

    def _forget(self, member: Hashable, turn: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(member)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[member]

    def _give(self, member: Hashable) -> None:
        self._free += 1
        left = self._taken[member] - 1
        if left:
            self._taken[member] = left
        else:
            del self._taken[member]
        for waiting in list(self._waiting):
            if not self._free:
                return
            if self._taken.get(waiting, 0) >= self._of_member:
                continue
            queue = self._waiting[waiting]
            turn = queue.popleft()
            del self._waiting[waiting]
            if queue:
                self._waiting[waiting] = queue  # to the end of the line
            self._take(waiting)
            turn.set_result(None)
