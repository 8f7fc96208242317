"""One member cannot take all places, and waits in turn with the others."""

import asyncio

import pytest

from digiid.exchange.security_server.places import Places
from digiid.kernel.errors import Unavailable
from tests.support.loops import run_async


class Crowd:
    """Messages of members that hold their places until they are let go."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.served: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        for name in names:
            self._gates[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._work(name))
            await asyncio.sleep(0)

    async def _work(self, name: str) -> None:
        async with self.places.taken(name[0]):
            self.served.append(name)
            await self._gates[name].wait()

    async def go(self, name: str) -> None:
        self._gates[name].set()
        await self._tasks[name]
        await asyncio.sleep(0)

    async def give_up(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)
        await asyncio.sleep(0)


def test_a_member_has_its_share_and_no_more():
    async def scene():
        crowd = Crowd(Places(total=3, of_member=2, max_waiting=10))
        await crowd.come("a1", "a2", "a3", "b1")
        assert crowd.served == ["a1", "a2", "b1"]
        await crowd.go("b1")
        assert crowd.served == ["a1", "a2", "b1"]
        await crowd.go("a1")
        assert crowd.served[-1] == "a3"

    run_async(scene())


def test_members_that_wait_are_served_in_turn():
    async def scene():
        crowd = Crowd(Places(total=1, of_member=1, max_waiting=10))
        await crowd.come("a1", "a2", "a3", "a4", "b1", "c1", "b2")
        for _ in range(6):
            await crowd.go(crowd.served[-1])
        assert crowd.served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]

    run_async(scene())


def test_who_waits_with_too_many_is_refused_and_others_are_not():
    async def scene():
        crowd = Crowd(Places(total=1, of_member=1, max_waiting=2))
        await crowd.come("a1", "a2", "a3", "b1")
        with pytest.raises(Unavailable, match="too_many_messages"):
            async with crowd.places.taken("a"):
                pass
        await crowd.go("a1")
        await crowd.go("a2")
        assert crowd.served == ["a1", "a2", "b1"]

    run_async(scene())


def test_who_goes_away_while_waiting_leaves_nothing_behind():
    async def scene():
        crowd = Crowd(Places(total=1, of_member=1, max_waiting=10))
        await crowd.come("a1", "b1", "c1")
        await crowd.give_up("b1")
        await crowd.go("a1")
        assert crowd.served == ["a1", "c1"]
        await crowd.go("c1")
        await crowd.come("d1")
        assert crowd.served[-1] == "d1"

    run_async(scene())


def test_a_place_that_is_given_to_who_goes_away_goes_on():
    async def scene():
        places = Places(total=1, of_member=1, max_waiting=10)
        crowd = Crowd(places)
        await crowd.come("a1", "b1", "c1")
        crowd._gates["a1"].set()
        await crowd._tasks["a1"]  # b1 has its place and has not run yet
        await crowd.give_up("b1")
        assert "c1" in crowd.served

    run_async(scene())
