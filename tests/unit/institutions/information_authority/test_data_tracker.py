"""Both parties' records of a look held against each other, and the picture of them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.contracts.data_tracker import Asked, Usage
from digiid.contracts.members import BANK, POLICE_BOARD, POPULATION_REGISTER
from digiid.institutions.information_authority.data_tracker.domain import (
    Agreement,
    Answers,
    Lacking,
    decide_mismatches,
    draw_months,
    find_doubts,
    merge_looks,
)
from digiid.kernel.identifiers import ClientId

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
OLD = NOW - timedelta(minutes=5)
SERVICE = f"{POPULATION_REGISTER}/get-address"


def usage(message_id: str | None = "m-1", *, receiver: str = str(BANK), at: datetime = OLD, **more: Any) -> Usage:
    values = {"logtime": at, "action": "a", "receiver_code": "1", "receiver_system": receiver}
    return Usage(**values | {"x_road_message_id": message_id} | more)


def asked(
    message_id: str = "m-1",
    *,
    at: datetime = OLD,
    service: str = SERVICE,
    outcome: Literal["sent", "answered", "refused"] = "answered",
) -> Asked:
    return Asked(time=at, x_road_message_id=message_id, service=service, outcome=outcome)


def said(told: tuple[Usage, ...] | None = (), requests: tuple[Asked, ...] | None = ()) -> dict[ClientId, Answers]:
    """The register tells, the bank asks."""
    return {
        POPULATION_REGISTER: Answers(POPULATION_REGISTER, told, ()),
        BANK: Answers(BANK, (), requests),
    }


def doubts(answers: dict[ClientId, Answers]) -> list[tuple[Lacking, str]]:
    return [(doubt.lacking, doubt.message_id) for doubt in find_doubts(answers, now=NOW)]


def test_a_look_on_both_records_is_in_no_doubt() -> None:
    assert doubts(said((usage(),), (asked(),))) == []


def test_a_look_on_one_record_is_in_doubt_and_the_other_party_is_asked() -> None:
    assert doubts(said((usage(),))) == [(Lacking.RECEIVER, "m-1")]
    assert doubts(said((), (asked(),))) == [(Lacking.PROVIDER, "m-1")]
    (doubt,) = find_doubts(said((usage(),)), now=NOW)
    assert doubt.whom_to_ask == BANK
    (doubt,) = find_doubts(said((), (asked(),)), now=NOW)
    assert doubt.whom_to_ask == POPULATION_REGISTER


@pytest.mark.parametrize("outcome", ["sent", "refused"])
def test_a_request_without_answer_need_not_be_with_the_provider(outcome: Literal["sent", "refused"]) -> None:
    assert doubts(said((), (asked(outcome=outcome),))) == []


def test_what_is_younger_than_the_tolerance_is_not_judged() -> None:
    young = OLD + timedelta(microseconds=1)
    assert doubts(said((usage(at=young),))) == doubts(said((), (asked(at=young),))) == []


def test_who_did_not_answer_is_not_accused() -> None:
    assert doubts(said((usage(),), None)) == doubts(said(None, (asked(),))) == []


@pytest.mark.parametrize(
    "told", [usage(None), usage(receiver=str(POPULATION_REGISTER)), usage(receiver="EE/COM/9/x"), usage(receiver="odd")]
)
def test_a_look_with_one_record_only_cannot_be_in_doubt(told: Usage) -> None:
    assert doubts(said((told,))) == []


@pytest.mark.parametrize("service", ["", "odd", "EE/COM/9/x/get", f"{POPULATION_REGISTER}"])
def test_a_request_to_nobody_who_is_asked_cannot_be_in_doubt(service: str) -> None:
    assert doubts(said((), (asked(service=service),))) == []


def test_a_doubt_becomes_an_alarm_only_when_the_other_party_denies_it() -> None:
    found = find_doubts(said((usage("m-1"), usage("m-2"))), now=NOW)
    assert [m.message_id for m in decide_mismatches(found, {BANK: {"m-1"}})] == ["m-2"]
    assert decide_mismatches(found, {}) == []


def test_the_same_mismatch_has_the_same_reference_and_another_has_another() -> None:
    found = find_doubts(said((usage("m-1"), usage("m-2"))), now=NOW)
    first, second = (m.reference for m in decide_mismatches(found, {BANK: ()}))
    again, _ = (m.reference for m in decide_mismatches(found, {BANK: ()}))
    assert first == again != second
    assert len(first) <= 64


def test_looks_come_newest_first_and_alarms_stand_apart() -> None:
    answers = said((usage("m-1", at=OLD), usage("m-2", at=OLD - timedelta(days=1)), usage("m-3")), (asked("m-1"),))
    answers[POLICE_BOARD] = Answers(POLICE_BOARD, (usage(None, receiver=str(POLICE_BOARD), at=NOW),), ())
    mismatches = decide_mismatches(find_doubts(answers, now=NOW), {BANK: {"m-2"}})
    looks = merge_looks(answers, mismatches=mismatches, now=NOW)
    assert [(look.usage.x_road_message_id, look.agreement) for look in looks] == [
        (None, Agreement.OWN),
        ("m-1", Agreement.BOTH),
        ("m-2", Agreement.BOTH),
    ]


def test_how_far_both_records_agree_is_said_of_each_look() -> None:
    def of(told: Usage, requests: tuple[Asked, ...] | None) -> Agreement:
        (look,) = merge_looks(said((told,), requests), mismatches=(), now=NOW)
        return look.agreement

    assert of(usage(), (asked(),)) is Agreement.BOTH
    assert of(usage(), None) is Agreement.OPEN
    assert of(usage(at=NOW), (asked(),)) is Agreement.OPEN
    assert of(usage(None), (asked(),)) is Agreement.ALONE
    assert of(usage(receiver="EE/COM/9/x"), (asked(),)) is Agreement.ALONE


# ------------------------------------------------------------------ the picture


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"])), max_size=60))
def test_the_picture_counts_every_look_of_its_months_once(given_looks: list[tuple[int, str]]) -> None:
    told = tuple(
        usage(str(n), receiver=who, at=NOW - timedelta(days=days)) for n, (days, who) in enumerate(given_looks)
    )
    looks = merge_looks(said(told), mismatches=(), now=NOW)
    picture = draw_months(looks, today=date(2026, 11, 23))
    in_year = [days for days, _ in given_looks if NOW - timedelta(days=days) >= datetime(2025, 12, 1, tzinfo=UTC)]
    assert sum(month.total for month in picture.months) == len(in_year) == sum(count for _, count, _ in picture.legend)
    assert picture.months[0].first == date(2026, 11, 1)
    assert len(picture.months) <= 12
    for month in picture.months:
        assert month.total == sum(part.count for part in month.parts)
        for part, following in zip(month.parts, month.parts[1:], strict=False):
            assert part.start + part.width == following.start
        assert all(0 <= part.kind <= 5 and part.width >= 2 for part in month.parts)
