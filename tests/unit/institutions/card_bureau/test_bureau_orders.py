import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.devices.card_shelf import CardShelf
from digiid.formats.apdu import Transport
from digiid.institutions.card_bureau import store
from digiid.institutions.card_bureau.domain import OrderState, is_guessable, open_envelope
from digiid.institutions.card_bureau.use_cases import movements, orders
from digiid.institutions.card_bureau.use_cases.deps import Deps
from digiid.kernel.errors import Conflict, NotFound, Unavailable
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey
from tests.support.bureau import ENVELOPE_KEY, PASSPORT, current, new_order
from tests.support.cards import document_numbered, new_ca
from tests.support.schema import schema_differences


def sealed_envelope(deps: Deps, order_id: str = "order-1") -> bytes:
    with deps.db.read() as tx:
        envelope = store.find_envelope(tx, order_id)
    assert envelope is not None and envelope.sealed is not None
    return envelope.sealed


def waiting(deps: Deps) -> list[str]:
    with deps.db.read() as tx:
        rows = tx.execute(store.OUTBOX.select().order_by(store.OUTBOX.c.position))
        return [row.kind for row in rows if row.state == "waiting"]


def test_the_migrated_schema_is_what_the_code_says(deps: Deps) -> None:
    assert schema_differences(deps.db, store.metadata) == []


def test_an_order_comes_back_from_the_store_as_it_went_in(deps: Deps) -> None:
    number = orders.order_document(deps, new_order())
    order = current(deps)
    assert (order.document_number, order.state) == (number, OrderState.ORDERED)
    assert (order.issued_on, order.expires_on) == (date(2026, 11, 23), date(2031, 11, 23))
    assert (order.travel_document, order.name, order.problem) == (PASSPORT, "Jaak-Kristjan Jõeorg", None)


def test_a_repeated_order_is_one_document_one_chip_one_envelope(deps: Deps, shelf: CardShelf) -> None:
    number = orders.order_document(deps, new_order())
    sealed = sealed_envelope(deps)
    assert orders.order_document(deps, new_order()) == number
    assert sealed_envelope(deps) == sealed
    assert [card.document_number for card in shelf.list()] == [number]
    assert waiting(deps) == ["personalise"]


def test_an_order_repeated_while_it_is_made_gives_pins_that_fit_the_chip(deps: Deps, shelf: CardShelf) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = set(pool.map(lambda _: order_until_answered(deps), range(4)))
    assert len(numbers) == 1
    pins = open_envelope(sealed_envelope(deps), key=ENVELOPE_KEY, order_id="order-1")
    card = shelf.new_blank(numbers.pop())
    eid_card.close_personalisation(filled(card))
    eid_card.authenticate(card, pin1=pins["pin1"], digest=bytes(48))
    eid_card.sign(card, pin2=pins["pin2"], digest=bytes(48))


def order_until_answered(deps: Deps) -> str:
    """As the board's outbox does: a database that is busy is asked again."""
    for _ in range(20):
        try:
            return orders.order_document(deps, new_order())
        except Unavailable:
            continue
    raise AssertionError("the database stays busy")


def filled(card: Transport) -> Transport:
    """Whatever a chip needs before it can be closed, beside keys and PINs."""
    document = document_numbered("NS0000001")
    ca = new_ca()
    eid_card.write_personal_data(card, document)
    for kind in CardKey:
        key = x509.load_der_x509_csr(eid_card.build_certificate_request(card, kind)).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        eid_card.write_certificate(card, kind, ca.certify(kind, key, document))
    return card


@pytest.mark.parametrize(
    "changes",
    [
        {"personal_code": "49403136526"},
        {"surname": "Other"},
        {"given_names": "Other"},
        {"policy": "citizen"},
        {"citizenship": "EST"},
        {"born_on": date(1980, 1, 9)},
        {"travel_document": replace(PASSPORT, number="L898902C4")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_order_that_changed_is_refused(deps: Deps, changes: dict[str, Any]) -> None:
    orders.order_document(deps, new_order())
    with pytest.raises(Conflict, match="changed_order"):
        orders.order_document(deps, new_order(**changes))


def test_an_order_for_no_point_leaves_nothing_behind(deps: Deps, shelf: CardShelf) -> None:
    with pytest.raises(NotFound, match=r"bureau\.point"):
        orders.order_document(deps, new_order(pick_up_point="atlantis"))
    assert not shelf.list() and not waiting(deps)
    with pytest.raises(NotFound, match=r"bureau\.order"):
        current(deps)


def test_document_numbers_go_up_by_one_in_each_kind_and_are_never_given_again(deps: Deps) -> None:
    numbers = [orders.order_document(deps, new_order(f"order-{n}")) for n in range(3)]
    movements.cancel_order(deps, "order-2", reason="annulled")
    numbers.append(orders.order_document(deps, new_order("order-4")))
    assert numbers == ["NS0000001", "NS0000002", "NS0000003", "NS0000004"]
    assert orders.order_document(deps, new_order("order-5", policy="citizen")) == "AS0000001"


def test_no_pin_is_guessable_and_each_card_has_its_own(deps: Deps) -> None:
    chosen = [orders._make_pins(deps) for _ in range(3000)]
    values = [pin for pins in chosen for pin in (pins.pin1, pins.pin2, pins.puk)]
    assert not any(is_guessable(pin) for pin in values)
    assert {len(pin) for pin in values} == {4, 5, 8} and all(pin.isdigit() for pin in values)
    assert len({pins.puk for pins in chosen}) > 2990
    assert len({pins.pin1 for pins in chosen}) > 2000


def test_the_envelope_alone_and_the_whole_database_tell_no_pin(deps: Deps) -> None:
    orders.order_document(deps, new_order())
    pins = open_envelope(sealed_envelope(deps), key=ENVELOPE_KEY, order_id="order-1")
    with deps.db.read() as tx:
        stored = [
            value if isinstance(value, bytes) else str(value).encode()
            for table in store.metadata.tables.values()
            for row in tx.execute(table.select())
            for value in row
        ]
    assert not any(pins["puk"].encode() in value or ENVELOPE_KEY in value for value in stored)
    assert not any(json.dumps(pins[name]).encode() in value for name in ("pin1", "pin2") for value in stored)


def test_what_the_ca_is_asked_is_written_down_and_asked_again_the_same(deps: Deps) -> None:
    orders.order_document(deps, new_order())
    found = []
    for _ in range(2):
        with pytest.raises(Unavailable):
            orders.personalise(deps, "order-1")
        with deps.db.read() as tx:
            found.append(store.find_requests(tx, "order-1"))
    assert found[0] is not None and found[0] == found[1]
    assert current(deps).state is OrderState.ORDERED
    assert current(deps).problem is None  # silence is no answer: it is tried again


def test_a_cancelled_order_is_not_made_any_more(deps: Deps, shelf: CardShelf) -> None:
    number = orders.order_document(deps, new_order())
    movements.cancel_order(deps, "order-1", reason="annulled")
    assert orders.order_document(deps, new_order()) == number
    orders.personalise(deps, "order-1")
    assert not shelf.list()
    with deps.db.read() as tx:
        envelope = store.find_envelope(tx, "order-1")
    assert envelope is not None and envelope.sealed is None and envelope.destroyed_at == deps.clock.now()
