"""Whose message is worked on next: members in turn, whatever each of them has waiting.

Places (places.py) limit how many messages are under way, most of them waiting for somebody else. What is scarce then is
the processor: without turns, signatures would be made and verified in the order in which messages came, and a member
with a hundred of them would make everybody else wait for a hundred.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final

# More in one round are logged in fewer commits; but then they move in one crowd, and of two servers one waits.
PER_ROUND: Final = 2


class Turns:
    """Used on one event loop.

    It gives so many turns in each of its rounds: what arrives meanwhile is in line for the next round.
    """

    def __init__(self, *, per_round: int = PER_ROUND) -> None:
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._per_round, self._given = per_round, 0  # in this round

    async def take(self, member: Hashable) -> None:
        """Return when it is this member's turn to use the processor; at once when few want it."""
        if self._given < self._per_round and not self._waiting:
            self._give()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(member, deque()).append(turn)
        await turn

    def _give(self) -> None:
        if not self._given:
            asyncio.get_running_loop().call_soon(self._next_round)
        self._given += 1

    def _next_round(self) -> None:
        self._given = 0
        while self._waiting and self._given < self._per_round:
            member, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[member] = queue  # to the end of the line
            if not turn.done():  # it may have gone away
                turn.set_result(None)
                self._give()
