from dataclasses import replace
from datetime import date, timedelta
from itertools import product

import pytest

from digiid.institutions.card_bureau.domain import (
    ENVELOPE_NONCE_BYTES,
    ORDER_STATES,
    Order,
    OrderEvent,
    OrderState,
    Point,
    TravelDocument,
    add_years,
    check_desk,
    compare_travel_document,
    is_guessable,
    open_envelope,
    seal_envelope,
)
from digiid.kernel.errors import Conflict, Malformed, Refused
from digiid.kernel.states import take_edge
from tests.conftest import AT
from tests.support.bureau import ENVELOPE_KEY, OFFICER, PASSPORT, new_order

S, E = OrderState, OrderEvent
# Written out a second time on purpose: a changed table must be changed here too.
WAY = {
    (S.ORDERED, E.CLOSE_CHIP): (S.PRODUCED, {"personalisation"}),
    (S.ORDERED, E.CANCEL): (S.CANCELLED, {"board"}),
    (S.PRODUCED, E.SHIP): (S.IN_TRANSIT, {"bureau_officer"}),
    (S.PRODUCED, E.CANCEL): (S.CANCELLED, {"board"}),
    (S.IN_TRANSIT, E.ARRIVE): (S.AT_POINT, {"bureau_officer", "point_officer"}),
    (S.IN_TRANSIT, E.REROUTE): (S.IN_TRANSIT, {"bureau_officer"}),
    (S.IN_TRANSIT, E.CANCEL): (S.CANCELLED, {"board"}),
    (S.AT_POINT, E.HAND_OVER): (S.HANDED_OUT, {"point_officer"}),
    (S.AT_POINT, E.GIVE_UP): (S.UNCOLLECTED, {"timer"}),
    (S.AT_POINT, E.REROUTE): (S.IN_TRANSIT, {"bureau_officer"}),
    (S.AT_POINT, E.CANCEL): (S.CANCELLED, {"board"}),
}
ACTORS = {"personalisation", "bureau_officer", "point_officer", "timer", "board", "holder", ""}
PINS = {"pin1": "8302", "pin2": "91746", "puk": "40718263"}


@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_only_the_listed_edges_exist_and_only_for_their_actors(state: OrderState, event: OrderEvent) -> None:
    to, allowed = WAY.get((state, event), (None, set()))
    for actor in ACTORS:
        if to is None:
            with pytest.raises(Conflict, match="illegal_event"):
                take_edge(ORDER_STATES, state, event, actor=actor)
        elif actor in allowed:
            assert take_edge(ORDER_STATES, state, event, actor=actor).to is to
        else:
            with pytest.raises(Refused, match="actor_not_allowed"):
                take_edge(ORDER_STATES, state, event, actor=actor)


def test_every_edge_names_its_legal_basis() -> None:
    assert all("ITDS §" in edge.legal_basis for events in ORDER_STATES.values() for edge in events.values())


def test_an_envelope_opens_with_its_key_and_for_its_order_only() -> None:
    sealed = seal_envelope(PINS, key=ENVELOPE_KEY, nonce=bytes(ENVELOPE_NONCE_BYTES), order_id="order-1")
    assert open_envelope(sealed, key=ENVELOPE_KEY, order_id="order-1") == PINS
    assert not any(pin.encode() in sealed for pin in PINS.values())
    for key, order_id in ((ENVELOPE_KEY[::-1], "order-1"), (ENVELOPE_KEY, "order-2"), (b"short", "order-1")):
        with pytest.raises(Malformed, match=r"envelope\.sealed"):
            open_envelope(sealed, key=key, order_id=order_id)


def test_a_changed_or_shortened_envelope_does_not_open() -> None:
    sealed = seal_envelope(PINS, key=ENVELOPE_KEY, nonce=bytes(ENVELOPE_NONCE_BYTES), order_id="order-1")
    changed = [bytes([*sealed[:n], sealed[n] ^ 1, *sealed[n + 1 :]]) for n in range(len(sealed))]
    for damaged in [*changed, *(sealed[:n] for n in range(len(sealed)))]:
        with pytest.raises(Malformed):
            open_envelope(damaged, key=ENVELOPE_KEY, order_id="order-1")


def test_what_an_envelope_holds_must_be_pins() -> None:
    sealed = seal_envelope({"pin1": "1"}, key=ENVELOPE_KEY, nonce=bytes(ENVELOPE_NONCE_BYTES), order_id="order-1")
    with pytest.raises(Malformed):
        open_envelope(sealed, key=ENVELOPE_KEY, order_id="order-1")


@pytest.mark.parametrize("pin", ["0000", "1234", "4321", "8901", "1098", "99999", "12345678", "87654321"])
def test_what_people_try_first_is_guessable(pin: str) -> None:
    assert is_guessable(pin)


@pytest.mark.parametrize("pin", ["1235", "8302", "1357", "0001", "91746", "12345687"])
def test_other_pins_are_not(pin: str) -> None:
    assert not is_guessable(pin)


@pytest.mark.parametrize(
    ("shown", "differs"),
    [
        (replace(PASSPORT, kind="identity_card"), "kind"),
        (replace(PASSPORT, number="L898902C4"), "number"),
        (replace(PASSPORT, number=""), "number"),
        (replace(PASSPORT, issuing_country="EST"), "issuing country"),
        (replace(PASSPORT, expires_on=PASSPORT.expires_on + timedelta(days=1)), "date of expiry"),
    ],
)
def test_another_travel_document_is_refused_and_the_expected_one_not_told(shown: TravelDocument, differs: str) -> None:
    with pytest.raises(Refused, match=f"other_travel_document.*{differs}") as refused:
        compare_travel_document(PASSPORT, shown)
    assert PASSPORT.number not in str(refused.value) + str(refused.value.public)


@pytest.mark.parametrize("number", ["l898902c3", "L 898902 C3", "L-898902-C3"])
def test_a_number_is_the_same_however_it_is_typed(number: str) -> None:
    compare_travel_document(PASSPORT, replace(PASSPORT, number=number))


def test_years_are_added_over_a_leap_day() -> None:
    assert add_years(date(2028, 2, 29), 5) == date(2033, 2, 28)
    assert add_years(date(2026, 11, 23), 5) == date(2031, 11, 23)


def test_a_document_for_another_point_is_refused_at_this_one() -> None:
    asked = new_order(pick_up_point="tartu-test")
    order = Order(
        order_id=asked.order_id,
        document_number="NS0000001",
        state=OrderState.AT_POINT,
        personal_code=asked.personal_code,
        given_names=asked.given_names,
        surname=asked.surname,
        policy=asked.policy,
        sex=asked.sex,
        citizenship=asked.citizenship,
        born_on=asked.born_on,
        travel_document=asked.travel_document,
        pick_up_point=asked.pick_up_point,
        ordered_at=AT,
        changed_at=AT,
        issued_on=AT.date(),
        expires_on=add_years(AT.date(), 5),
    )
    point = Point("tallinn-test", "Tallinn", "EST", "Testi 1", True)
    with pytest.raises(Refused, match=r"bureau\.other_point"):
        check_desk(OFFICER, point, order)
    check_desk(OFFICER, point, replace(order, pick_up_point="tallinn-test"))
