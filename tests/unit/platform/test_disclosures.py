"""Who was told what about whom: written with the answer, bound to the journal, shown in pages, late at most."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from digiid.institutions.bank.store import DISCLOSURES, JOURNAL
from digiid.kernel.errors import Broken, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import (
    Delay,
    Disclosed,
    Look,
    count_usages,
    find_usages,
    first_recorded_at,
    order_delay,
    record_disclosure,
    record_disclosures,
    recorded_messages,
    verify_disclosures,
)

MARI, JAAN = "60001019906", "38001085718"
LOOK = Look(
    receiver="EE/GOV/70000101/police",
    purpose="background check",
    legal_basis="Identity Documents Act",
    service="get-person",
    receiver_user="EE47101010033",
    message_id="m-1",
)
YEAR = timedelta(days=365)
START = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.fixture
def db(new_database: Callable[[str], Database]) -> Iterator[Database]:
    yield new_database("digiid.institutions.bank")


def record(db: Database, clock: ManualClock, person: str = MARI, **changes: Any) -> Disclosed[str]:
    values = {name: getattr(LOOK, name) for name in Look.__dataclass_fields__} | changes
    with db.write() as tx:
        return record_disclosure(
            tx,
            DISCLOSURES,
            JOURNAL,
            "the answer",
            personal_code=person,
            look=Look(**values),
            categories=("name",),
            at=clock.now(),
        )


def usages(db: Database, clock: ManualClock, person: str = MARI, **page: Any) -> list[str | None]:
    with db.read() as tx:
        return [each.message_id for each in find_usages(tx, DISCLOSURES, person, now=clock.now(), **page)]


# ------------------------------------------------------------------ what is written


def test_an_answer_about_a_person_comes_from_its_record_only(db: Database, clock: ManualClock) -> None:
    assert record(db, clock).value == "the answer"
    with pytest.raises(TypeError):
        Disclosed("made up")
    with pytest.raises(TypeError):
        Delay(clock.now(), "made up", "nobody")


def test_a_record_says_who_why_and_by_what_right_and_never_the_data(db: Database, clock: ManualClock) -> None:
    record(db, clock, consent_reference="c-1")
    with db.read() as tx:
        (found,) = find_usages(tx, DISCLOSURES, MARI, now=clock.now())
        entry = journal.verify_chain(tx, JOURNAL)
    assert (found.at, found.receiver, found.purpose) == (clock.now(), LOOK.receiver, LOOK.purpose)
    assert (found.legal_basis, found.consent_reference, found.message_id) == (LOOK.legal_basis, "c-1", "m-1")
    assert found.categories == ("name",)
    assert entry is not None
    assert entry.kind == "disclosure.recorded"
    assert MARI not in str(entry.payload)
    assert "the answer" not in str(entry.payload)


def test_an_official_has_the_same_pseudonym_each_time_and_it_is_not_the_code(db: Database, clock: ManualClock) -> None:
    record(db, clock)
    record(db, clock, person=JAAN)
    record(db, clock, receiver_user="EE38001085718")
    record(db, clock, receiver="EE/GOV/70000102/bureau")
    record(db, clock, receiver_user=None)
    with db.read() as tx:
        found = find_usages(tx, DISCLOSURES, MARI, now=clock.now()) + find_usages(
            tx, DISCLOSURES, JAAN, now=clock.now()
        )
    names = {each.number: each.official for each in found}
    numbers = sorted(names)
    assert names[numbers[0]] == names[numbers[1]]
    assert len({names[n] for n in numbers[1:4]}) == 3
    assert names[numbers[4]] is None
    assert all(name is None or (len(name) == 9 and not any(c in name for c in "0189")) for name in names.values())


def test_a_search_writes_one_record_for_each_person_found(db: Database, clock: ManualClock) -> None:
    with db.write() as tx:
        answer = record_disclosures(
            tx,
            DISCLOSURES,
            JOURNAL,
            ["two"],
            personal_codes=(MARI, JAAN, MARI),
            look=LOOK,
            categories=("name",),
            at=clock.now(),
        )
    assert answer.value == ["two"]
    assert len(usages(db, clock, MARI)) == len(usages(db, clock, JAAN)) == 1


def test_nobody_found_is_an_answer_without_a_record(db: Database, clock: ManualClock) -> None:
    with db.write() as tx:
        record_disclosures(
            tx, DISCLOSURES, JOURNAL, [], personal_codes=(), look=LOOK, categories=("name",), at=clock.now()
        )
        assert verify_disclosures(tx, DISCLOSURES, JOURNAL) == 0


def test_an_answer_about_hundreds_is_refused(db: Database, clock: ManualClock) -> None:
    codes = [f"380010{n:05}" for n in range(101)]
    with db.write() as tx, pytest.raises(Refused) as refused:
        record_disclosures(
            tx, DISCLOSURES, JOURNAL, [], personal_codes=codes, look=LOOK, categories=("name",), at=clock.now()
        )
    assert refused.value.code == "disclosures.too_many"


@pytest.mark.parametrize("changes", [{"purpose": " "}, {"legal_basis": ""}])
def test_a_look_without_purpose_or_basis_is_a_fault_of_ours(
    db: Database, clock: ManualClock, changes: dict[str, str]
) -> None:
    with pytest.raises(Broken):
        record(db, clock, **changes)


def test_an_answer_that_fails_after_its_record_leaves_none(db: Database, clock: ManualClock) -> None:
    def answer() -> None:
        with db.write() as tx:
            record_disclosure(
                tx, DISCLOSURES, JOURNAL, 1, personal_code=MARI, look=LOOK, categories=("name",), at=clock.now()
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        answer()
    assert usages(db, clock) == []
    with db.read() as tx:
        assert journal.verify_chain(tx, JOURNAL) is None


# ------------------------------------------------------------------ proof


def three(db: Database, clock: ManualClock) -> None:
    for n in range(3):
        record(db, clock, message_id=f"m-{n}")
    with db.write() as tx:
        journal.record(tx, JOURNAL, kind="other", payload={}, at=clock.now())


def test_whole_records_verify(db: Database, clock: ManualClock) -> None:
    three(db, clock)
    with db.read() as tx:
        assert verify_disclosures(tx, DISCLOSURES, JOURNAL) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"personal_code": JAAN},
        {"purpose": "another"},
        {"receiver": "EE/COM/1/x"},
        {"receiver_user": None},
        {"official": "AAAA-AAAA"},
        {"legal_basis": "another"},
        {"consent_reference": "c"},
        {"message_id": None},
        {"service": "another"},
        {"categories": "[]"},
        {"delay_reason": "a"},
        {"delayed_by": "a"},
        {"salt": bytes(16)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_record_is_found(db: Database, clock: ManualClock, changes: dict[str, Any]) -> None:
    three(db, clock)
    with db.write() as tx:
        tx.execute(update(DISCLOSURES).where(DISCLOSURES.c.number == 2).values(**changes))
        with pytest.raises(Broken) as broken:
            verify_disclosures(tx, DISCLOSURES, JOURNAL)
    assert broken.value.code == "disclosures.altered"


@pytest.mark.parametrize("column", ["at", "hidden_until"])
def test_a_changed_time_is_found(db: Database, clock: ManualClock, column: str) -> None:
    three(db, clock)
    with db.write() as tx:
        later = {column: clock.now() + timedelta(microseconds=1)}
        tx.execute(update(DISCLOSURES).where(DISCLOSURES.c.number == 2).values(**later))
        with pytest.raises(Broken):
            verify_disclosures(tx, DISCLOSURES, JOURNAL)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_removed_record_is_found(db: Database, clock: ManualClock, number: int) -> None:
    three(db, clock)
    with db.write() as tx:
        tx.execute(delete(DISCLOSURES).where(DISCLOSURES.c.number == number))
        with pytest.raises(Broken) as broken:
            verify_disclosures(tx, DISCLOSURES, JOURNAL)
    assert broken.value.code == "disclosures.missing"


def test_a_record_slipped_in_is_found(db: Database, clock: ManualClock) -> None:
    three(db, clock)
    with db.write() as tx:
        row = tx.execute(DISCLOSURES.select().where(DISCLOSURES.c.number == 1)).mappings().one()
        tx.execute(insert(DISCLOSURES).values(**{**row, "number": 4}))
        with pytest.raises(Broken) as broken:
            verify_disclosures(tx, DISCLOSURES, JOURNAL)
    assert broken.value.code == "disclosures.unjournaled"


def test_records_and_entries_removed_together_break_the_chain(db: Database, clock: ManualClock) -> None:
    three(db, clock)
    with db.write() as tx:
        tx.execute(delete(DISCLOSURES).where(DISCLOSURES.c.number == 2))
        tx.execute(delete(JOURNAL).where(JOURNAL.c.number == 2))
        with pytest.raises(Broken) as broken:
            verify_disclosures(tx, DISCLOSURES, JOURNAL)
    assert broken.value.code == "journal.chain"


def test_an_end_that_was_cut_off_is_missed_by_the_checkpoint(db: Database, clock: ManualClock) -> None:
    record(db, clock)
    record(db, clock)
    with db.write() as tx:
        head = journal.verify_chain(tx, JOURNAL)
        assert head is not None
        tx.execute(delete(DISCLOSURES).where(DISCLOSURES.c.number == 2))
        tx.execute(delete(JOURNAL).where(JOURNAL.c.number == 2))
        assert verify_disclosures(tx, DISCLOSURES, JOURNAL) == 1
        with pytest.raises(Broken):
            verify_disclosures(tx, DISCLOSURES, JOURNAL, trusted_heads={head.number: head.hash})


# ------------------------------------------------------------------ delay


def delayed(clock: ManualClock, **changes: Any) -> Delay:
    values: dict[str, Any] = {
        "until": clock.now() + timedelta(days=30),
        "reason": "pre-trial investigation 12",
        "ordered_by": "deciding officer D-1",
    }
    return order_delay(**{**values, **changes}, at=clock.now(), longest=YEAR)


def test_a_delayed_look_is_written_at_once_and_shown_from_its_day_on(db: Database, clock: ManualClock) -> None:
    record(db, clock, message_id="hidden", delay=delayed(clock))
    record(db, clock, message_id="open")
    with db.read() as tx:
        assert verify_disclosures(tx, DISCLOSURES, JOURNAL) == 2
        assert count_usages(tx, DISCLOSURES, MARI, now=clock.now()) == 1
    assert usages(db, clock) == ["open"]
    clock.advance(timedelta(days=30) - timedelta(microseconds=1))
    assert usages(db, clock) == ["open"]
    clock.advance(timedelta(microseconds=1))
    assert usages(db, clock) == ["open", "hidden"]
    with db.read() as tx:
        assert count_usages(tx, DISCLOSURES, MARI, now=clock.now()) == 2
        shown = find_usages(tx, DISCLOSURES, MARI, now=clock.now())[1]
    assert shown.delay_reason == "pre-trial investigation 12"


def test_who_ordered_a_delay_and_why_stands_in_the_journal(db: Database, clock: ManualClock) -> None:
    record(db, clock, delay=delayed(clock))
    with db.read() as tx:
        entry = journal.verify_chain(tx, JOURNAL)
    assert entry is not None
    assert entry.kind == "disclosure.delayed"
    assert entry.payload["ordered_by"] == "deciding officer D-1"
    assert entry.payload["reason"] == "pre-trial investigation 12"


@pytest.mark.parametrize("days", [-1, 0, 366])
def test_a_delay_has_an_end_that_is_not_too_far_away(clock: ManualClock, days: int) -> None:
    with pytest.raises(Refused) as refused:
        delayed(clock, until=clock.now() + timedelta(days=days))
    assert refused.value.code == "disclosures.delay_length"


@pytest.mark.parametrize("changes", [{"reason": ""}, {"reason": "because"}, {"ordered_by": " "}])
def test_a_delay_has_a_reason_and_somebody_who_ordered_it(clock: ManualClock, changes: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        delayed(clock, **changes)
    assert refused.value.code == "disclosures.delay_reason"


def test_a_hidden_look_is_confirmed_only_to_who_already_knows_its_message(db: Database, clock: ManualClock) -> None:
    record(db, clock, message_id="hidden", delay=delayed(clock))
    with db.read() as tx:
        assert recorded_messages(tx, DISCLOSURES, MARI, ["hidden", "no"]) == {"hidden"}
        assert recorded_messages(tx, DISCLOSURES, JAAN, ["hidden"]) == set()


# ------------------------------------------------------------------ pages


def test_the_period_is_inclusive_at_both_ends(db: Database, clock: ManualClock) -> None:
    at = clock.now()
    for n in range(3):
        record(db, clock, message_id=f"m-{n}")
        clock.advance(timedelta(hours=1))
    assert usages(db, clock, since=at, until=at) == ["m-0"]
    assert usages(db, clock, since=at + timedelta(hours=1)) == ["m-2", "m-1"]
    assert usages(db, clock, until=at + timedelta(hours=1)) == ["m-1", "m-0"]
    with db.read() as tx:
        assert first_recorded_at(tx, DISCLOSURES) == at


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    db = Database.sqlite(tmp_path_factory.mktemp("many") / "d.sqlite")
    db.migrate("digiid.institutions.bank")
    clock = ManualClock(START)
    for n in range(60):
        record(db, clock, message_id=f"m-{n:02}", person=MARI if n % 4 else JAAN)
        if n % 3:  # some at the same instant
            clock.advance(timedelta(minutes=1))
    yield db
    db.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 50),
    since=st.none() | st.integers(-5, 45),
    until=st.none() | st.integers(-5, 45),
)
def test_pages_together_are_the_whole_list_once_whatever_their_size(
    many: Database, limit: int, since: int | None, until: int | None
) -> None:
    now = START + timedelta(days=1)
    period: dict[str, Any] = {
        "since": None if since is None else START + timedelta(minutes=since),
        "until": None if until is None else START + timedelta(minutes=until),
    }
    with many.read() as tx:
        whole = find_usages(tx, DISCLOSURES, MARI, now=now, **period)
        total = count_usages(tx, DISCLOSURES, MARI, now=now, **period)
        pages, offset = [], 0
        while page := find_usages(tx, DISCLOSURES, MARI, now=now, offset=offset, limit=limit, **period):
            assert count_usages(tx, DISCLOSURES, MARI, now=now, **period) == total
            pages += page
            offset += limit
            if len(page) < limit:
                break
    assert pages == whole
    assert total == len(whole)
    assert [each.at for each in whole] == sorted((each.at for each in whole), reverse=True)
