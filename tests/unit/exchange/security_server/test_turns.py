"""Turns at the processor: members one after the other, whatever each has waiting."""

import asyncio

from digiid.exchange.security_server.turns import Turns
from tests.support.loops import run_async


def served(asked: str, *, cancelled: frozenset[int] = frozenset()) -> str:
    """The order in which those who ask at once, named by member, have their turns."""

    async def run() -> str:
        turns, order = Turns(per_round=1), []

        async def work(member: str) -> None:
            await turns.take(member)
            order.append(member)

        tasks = [asyncio.create_task(work(member)) for member in asked]
        await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not turns._waiting
        return "".join(order)

    return run_async(run())


def test_a_member_with_many_waiting_delays_others_by_one_turn_only():
    assert served("aaaaaaaabb") == "aabab" + "aaaaa"
    assert served("aaaabbcc") == "aabc" + "abc" + "a"


def test_a_few_at_once_do_not_wait_at_all():
    async def run() -> None:
        turns = Turns(per_round=3)
        taken = [asyncio.create_task(turns.take("a")) for _ in range(4)]
        await asyncio.sleep(0)
        assert [task.done() for task in taken] == [True, True, True, False]
        await asyncio.gather(*taken)

    run_async(run())


def test_members_with_as_many_alternate():
    assert served("aaabbb") == "aababb"


def test_who_goes_away_while_waiting_costs_nobody_a_turn():
    assert served("aaabb", cancelled=frozenset({1, 3})) == "aab"
    assert served("aab", cancelled=frozenset({1, 2})) == "a"


def test_who_is_alone_does_not_wait():
    async def run() -> None:
        turns = Turns(per_round=1)
        for _ in range(3):
            work = turns.take("a")
            try:
                work.send(None)
            except StopIteration:
                pass
            else:
                raise AssertionError("it waited")
            await asyncio.sleep(0)

    run_async(run())


def test_what_arrives_between_turns_is_in_line_at_once():
    async def run() -> list[str]:
        turns, order = Turns(per_round=1), []

        async def work(member: str) -> None:
            await turns.take(member)
            order.append(member)
            if member == "a" and len(order) == 2:
                tasks.append(asyncio.create_task(work("late")))

        tasks = [asyncio.create_task(work("a")) for _ in range(20)]
        while any(not task.done() for task in tasks):
            await asyncio.sleep(0)
        return order

    assert run_async(run()).index("late") < 6
