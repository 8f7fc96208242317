from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from digiid.devices.card_shelf import CardShelf
from digiid.institutions.card_bureau import store
from digiid.institutions.card_bureau.domain import HandOver, Officer, OrderEvent, OrderState
from digiid.institutions.card_bureau.use_cases import desk, hand_over, movements, orders
from digiid.institutions.card_bureau.use_cases.deps import Deps, take_step
from digiid.institutions.card_bureau.use_cases.hand_over import DeskCheck
from digiid.kernel.errors import Conflict, NotFound, Refused, Unavailable
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.disclosures import find_usages, verify_disclosures
from tests.support.bureau import (
    ATTESTED,
    BUREAU_OFFICER,
    OFFICER,
    PASSPORT,
    PERSONAL_CODE,
    at_point,
    current,
    new_order,
    produced,
)


def reported(deps: Deps) -> list[str]:
    """The states that the board is told, in order."""
    with deps.db.read() as tx:
        rows = tx.execute(store.OUTBOX.select().order_by(store.OUTBOX.c.position)).all()
    return [row.payload.split('"state": "')[1].split('"')[0] for row in rows if row.kind == "movement"]


def hand_over_of(deps: Deps, order_id: str = "order-1") -> HandOver | None:
    with deps.db.read() as tx:
        return store.find_hand_over(tx, order_id)


def begin(deps: Deps) -> None:
    """A hand-over that was begun; nobody answers when it asks for the rest."""
    evidence = HandOver(
        "evidence-1", "order-1", OFFICER.name, OFFICER.personal_code, "tallinn-test", deps.clock.now(), None
    )
    with deps.db.write() as tx:
        store.insert_hand_over(tx, evidence, "accepted")


def handed_out(deps: Deps) -> None:
    at_point(deps)
    with deps.db.write() as tx:
        order = store.get_order(tx, "order-1")
        take_step(deps, tx, order, OrderEvent.HAND_OVER, actor="point_officer", by="test", at=deps.clock.now())


# --- at the desk -----------------------------------------------------------------------------------------------------

REFUSALS: list[tuple[str, Officer, DeskCheck]] = [
    ("officer_not_authorised", replace(OFFICER, points=frozenset({"tartu-test"})), ATTESTED),
    ("officer_not_authorised", replace(OFFICER, role="bureau_officer"), ATTESTED),
    ("officer_not_authorised", BUREAU_OFFICER, ATTESTED),
    ("other_travel_document", OFFICER, replace(ATTESTED, shown=replace(PASSPORT, number="L898902C4"))),
    ("face", OFFICER, replace(ATTESTED, face_compared=False)),
    ("not_accepted", OFFICER, replace(ATTESTED, accepted=False)),
]


@pytest.mark.parametrize(("code", "officer", "check"), REFUSALS)
def test_the_desk_refuses_and_begins_nothing(deps: Deps, code: str, officer: Officer, check: DeskCheck) -> None:
    before = at_point(deps)
    with pytest.raises(Refused, match=rf"bureau\.{code}") as refused:
        hand_over.hand_over(deps, officer, "order-1", check)
    assert refused.value.public
    assert hand_over_of(deps) is None and current(deps) == before


def test_a_closed_point_hands_nothing_over_and_an_opened_one_may(deps: Deps) -> None:
    at_point(deps)
    movements.set_point_open(deps, "tallinn-test", is_open=False, by="x")
    with pytest.raises(Refused, match=r"bureau\.point_closed"):
        hand_over.hand_over(deps, OFFICER, "order-1", ATTESTED)
    movements.set_point_open(deps, "tallinn-test", is_open=True, by="x")
    with pytest.raises(Unavailable):  # past the desk: now the board is asked, and nobody answers
        hand_over.hand_over(deps, OFFICER, "order-1", ATTESTED)
    assert hand_over_of(deps) is None


def test_a_document_of_another_point_is_not_the_officers(deps: Deps) -> None:
    at_point(deps, pick_up_point="tartu-test")
    with pytest.raises(Refused, match=r"bureau\.officer_not_authorised"):
        hand_over.hand_over(deps, OFFICER, "order-1", ATTESTED)
    with pytest.raises(NotFound, match=r"bureau\.order"):
        desk.show_order(deps, "order-1", OFFICER)
    assert desk.list_at_desk(deps, OFFICER) == [] and desk.search_at_desk(deps, OFFICER, "JÕE").value == []
    assert desk.show_order(deps, "order-1", BUREAU_OFFICER).point.code == "tartu-test"


@pytest.mark.parametrize("arrange", [produced, lambda deps: orders.order_document(deps, new_order())])
def test_what_is_not_at_the_point_cannot_be_handed_over(deps: Deps, arrange: Callable[[Deps], object]) -> None:
    arrange(deps)
    with pytest.raises(Conflict, match=r"bureau\.not_here"):
        hand_over.hand_over(deps, OFFICER, "order-1", ATTESTED)


def test_what_was_handed_over_is_not_handed_over_again(deps: Deps) -> None:
    handed_out(deps)
    with pytest.raises(Conflict, match=r"bureau\.handed_out"):
        hand_over.hand_over(deps, OFFICER, "order-1", ATTESTED)


def test_a_begun_hand_over_without_an_answer_stays_begun(deps: Deps) -> None:
    at_point(deps)
    begin(deps)
    with pytest.raises(Unavailable):
        hand_over.finish_hand_over(deps, "order-1")
    with pytest.raises(Unavailable):
        hand_over.hand_over(deps, OFFICER, "order-1", ATTESTED)
    begun = hand_over_of(deps)
    assert begun is not None and begun.finished_at is None
    assert current(deps).state is OrderState.AT_POINT and current(deps).problem is None


def test_a_begun_hand_over_is_not_sent_away_nor_given_up(deps: Deps, clock: ManualClock) -> None:
    at_point(deps)
    begin(deps)
    with pytest.raises(Conflict, match=r"bureau\.hand_over_begun"):
        movements.reroute(deps, "order-1", "tartu-test", by="x")
    assert movements.reroute_point(deps, "tallinn-test", "tartu-test", by="x") == 0
    clock.advance(timedelta(days=400))
    assert movements.give_up_uncollected(deps) == 0
    assert current(deps).state is OrderState.AT_POINT


def test_search_takes_a_wildcard_for_a_letter(deps: Deps) -> None:
    order = at_point(deps)
    assert desk.search_at_desk(deps, OFFICER, "%").value == [] and desk.search_at_desk(deps, OFFICER, "J_e").value == []
    assert desk.search_at_desk(deps, OFFICER, "jõe" if deps.db.engine.name == "postgresql" else "Jõe").value == [order]
    assert desk.search_at_desk(deps, OFFICER, order.document_number.lower()).value == [order]


def test_only_officers_are_admitted_and_a_new_authorisation_replaces_the_old(deps: Deps) -> None:
    with pytest.raises(Refused, match=r"bureau\.not_an_officer"):
        desk.admit_officer(deps, OFFICER.personal_code)
    desk.authorise_officer(deps, replace(OFFICER, points=frozenset({"tartu-test", "paris-test"})))
    desk.authorise_officer(deps, OFFICER)
    assert desk.admit_officer(deps, OFFICER.personal_code) == OFFICER


# --- on the way ------------------------------------------------------------------------------------------------------


def test_the_way_to_the_point_is_told_to_the_board(deps: Deps) -> None:
    produced(deps)
    movements.record_step(deps, "order-1", OrderEvent.SHIP, by="Kadri")
    with pytest.raises(Conflict, match="illegal_event"):
        movements.record_step(deps, "order-1", OrderEvent.SHIP, by="Kadri")
    movements.record_step(deps, "order-1", OrderEvent.ARRIVE, by="Kadri")
    order = current(deps)
    assert order.state is OrderState.AT_POINT
    assert order.collect_until == (deps.clock.now() + timedelta(days=183)).date()
    assert reported(deps) == ["produced", "in_transit", "at_point"]


def test_an_officer_cannot_record_what_is_not_the_officers(deps: Deps) -> None:
    at_point(deps)
    for event in (OrderEvent.GIVE_UP, OrderEvent.CANCEL, OrderEvent.HAND_OVER):
        with pytest.raises(Refused, match="actor_not_allowed"):
            movements.record_step(deps, "order-1", event, by="Kadri")


def test_a_document_is_sent_to_another_point_and_waits_its_time_there(deps: Deps, clock: ManualClock) -> None:
    at_point(deps)
    clock.advance(timedelta(days=100))
    movements.reroute(deps, "order-1", "tartu-test", by="Kadri")
    assert (current(deps).state, current(deps).pick_up_point) == (OrderState.IN_TRANSIT, "tartu-test")
    movements.record_step(deps, "order-1", OrderEvent.ARRIVE, by="Kadri")
    assert current(deps).collect_until == (clock.now() + timedelta(days=183)).date()
    with pytest.raises(NotFound, match=r"bureau\.point"):
        movements.reroute(deps, "order-1", "atlantis", by="Kadri")


def test_everything_at_a_closed_point_is_sent_to_another(deps: Deps) -> None:
    for number in (1, 2):
        at_point(deps, f"order-{number}")
    at_point(deps, "order-3", pick_up_point="paris-test")
    assert movements.reroute_point(deps, "tallinn-test", "tartu-test", by="Kadri") == 2
    assert [current(deps, f"order-{n}").pick_up_point for n in (1, 2, 3)] == ["tartu-test", "tartu-test", "paris-test"]


def test_after_its_last_day_and_not_before_a_document_is_uncollected(deps: Deps, clock: ManualClock) -> None:
    order = at_point(deps)
    clock.advance(timedelta(days=183))
    assert clock.now().date() == order.collect_until and movements.give_up_uncollected(deps) == 0
    clock.advance(timedelta(days=1))
    assert movements.give_up_uncollected(deps) == 1
    assert movements.give_up_uncollected(deps) == 0
    assert current(deps).state is OrderState.UNCOLLECTED and reported(deps)[-1] == "uncollected"
    with deps.db.read() as tx:
        envelope = store.find_envelope(tx, "order-1")
    assert envelope is not None and envelope.sealed is None


def test_the_board_can_stop_a_document_until_it_is_handed_out(deps: Deps, shelf: CardShelf) -> None:
    at_point(deps)
    movements.cancel_order(deps, "order-1", reason="right annulled")
    movements.cancel_order(deps, "order-1", reason="right annulled")
    assert current(deps).state is OrderState.CANCELLED and not shelf.list()
    with pytest.raises(Conflict, match=r"bureau\.not_here"):
        hand_over.hand_over(deps, OFFICER, "order-1", ATTESTED)


def test_what_is_in_the_holders_hand_is_not_cancelled(deps: Deps, shelf: CardShelf) -> None:
    handed_out(deps)
    with pytest.raises(Conflict, match="illegal_event"):
        movements.cancel_order(deps, "order-1", reason="right annulled")
    assert len(shelf.list()) == 1


# --- the envelope ----------------------------------------------------------------------------------------------------


def test_the_envelope_is_given_only_after_the_hand_over(deps: Deps) -> None:
    orders.order_document(deps, new_order())
    at_point(deps, "order-2")
    for order_id in ("order-1", "order-2"):
        with pytest.raises(Refused, match=r"bureau\.not_handed_out"):
            hand_over.take_pin_envelope(deps, order_id)
    with pytest.raises(NotFound, match=r"bureau\.order"):
        hand_over.take_pin_envelope(deps, "order-9")


def test_the_envelope_is_destroyed_once_and_for_good(deps: Deps) -> None:
    handed_out(deps)
    assert hand_over.take_pin_envelope(deps, "order-1") == hand_over.take_pin_envelope(deps, "order-1")
    hand_over.destroy_pin_envelope(deps, "order-1")
    hand_over.destroy_pin_envelope(deps, "order-1")
    with pytest.raises(NotFound, match=r"bureau\.envelope"):
        hand_over.take_pin_envelope(deps, "order-1")
    with deps.db.read() as tx:
        kinds = [row.kind for row in tx.execute(store.JOURNAL.select())]
        envelope = store.find_envelope(tx, "order-1")
    assert kinds.count("envelope.destroyed") == 1 and envelope is not None and envelope.sealed is None


# --- what is written down --------------------------------------------------------------------------------------------


def test_the_journal_is_whole_and_names_no_person(deps: Deps) -> None:
    desk.authorise_officer(deps, OFFICER)
    handed_out(deps)
    hand_over.take_pin_envelope(deps, "order-1")
    hand_over.destroy_pin_envelope(deps, "order-1")
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)
        rows = tx.execute(store.JOURNAL.select().order_by(store.JOURNAL.c.number)).all()
    assert [row.kind for row in rows] == [
        "officer.authorised",
        "document.ordered",
        "envelope.sealed",
        "document.close_chip",
        "document.ship",
        "document.arrive",
        "document.hand_over",
        "envelope.taken",
        "envelope.destroyed",
    ]
    text = " ".join(row.payload for row in rows)
    for secret in (PERSONAL_CODE, OFFICER.personal_code, "Jõeorg", "J\\u00f5eorg", PASSPORT.number, "pin1", "puk"):
        assert secret not in text


def test_what_stands_against_a_document_at_its_point_is_seen_by_the_bureau(deps: Deps) -> None:
    at_point(deps)
    at_point(deps, "order-2")
    assert desk.list_work(deps)[0] == []
    with deps.db.write() as tx:
        store.set_order_problem(tx, "order-2", "hand_over.not_permitted")
    listed, counts = desk.list_work(deps)
    assert [order.order_id for order in listed] == ["order-2"] and counts == {"at_point": 2}


def test_the_holder_can_see_who_looked_at_the_desk(deps: Deps) -> None:
    order = at_point(deps)
    desk.look_at_order(deps, order.order_id, OFFICER)
    desk.search_at_desk(deps, OFFICER, order.document_number)
    with deps.db.read() as tx:
        assert verify_disclosures(tx, store.DISCLOSURES, store.JOURNAL) == 2
        found = find_usages(tx, store.DISCLOSURES, order.personal_code, now=deps.clock.now())
    assert [each.purpose for each in found] == ["production and hand-over of a document"] * 2
    assert {each.receiver_user for each in found} == {f"EE{OFFICER.personal_code}"}
