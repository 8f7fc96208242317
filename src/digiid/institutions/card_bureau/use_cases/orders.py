"""From the order to the closed chip."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.engine import Connection

from digiid.formats.apdu import Transport
from digiid.institutions.card_bureau import peers, store
from digiid.institutions.card_bureau.domain import (
    ENVELOPE_NONCE_BYTES,
    Order,
    OrderEvent,
    OrderState,
    TravelDocument,
    add_years,
    is_guessable,
    seal_envelope,
)
from digiid.institutions.card_bureau.use_cases.deps import Deps, show_problem, take_step
from digiid.institutions.card_bureau.use_cases.movements import move_on
from digiid.kernel.errors import Broken, Conflict, NotFound
from digiid.platform import eid_card, journal, outbox
from digiid.platform.eid_card import CardDocument, CardKey
from digiid.platform.entropy import random_digits


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What the board asks for. `envelope_key` (32 bytes) is used once, here, and not stored."""

    order_id: str
    personal_code: str
    given_names: str
    surname: str
    policy: Literal["citizen", "e_resident"]
    sex: str | None
    citizenship: str | None
    born_on: date | None
    travel_document: TravelDocument
    pick_up_point: str
    envelope_key: bytes


@dataclass(frozen=True, slots=True)
class Pins:
    pin1: str
    pin2: str
    puk: str


def order_document(deps: Deps, new: NewOrder, *, pins: Pins | None = None) -> str:
    """Take an order and return its document number. A repeat of the same order gives the same number.

    The PINs are made, put on the chip and sealed here, while the envelope key is in memory: no store
    ever holds a PIN, or the key beside the ciphertext. `pins` is for demonstration cards only.

    Raises: Conflict `bureau.changed_order`; NotFound `bureau.point`.
    """
    # 1 the intent: an order with its number
    order = _record_order(deps, new)
    with deps.machine:
        if _make_chip(deps, order, new.envelope_key, pins):
            deps.wake_outbox()
    return order.document_number


def _make_chip(deps: Deps, order: Order, envelope_key: bytes, pins: Pins | None) -> bool:
    # 2 a repeat after the envelope was sealed, or after the order was cancelled, has nothing left to do
    with deps.db.read() as tx:
        if not _is_wanted(tx, order.order_id) or store.find_envelope(tx, order.order_id) is not None:
            return False
    # 3 keys and PINs go onto the blank; after a crash both are simply made again, nobody has seen them
    card = deps.blank_card(order.document_number)
    chosen = pins or _make_pins(deps)
    for kind in CardKey:
        eid_card.generate_key(card, kind)
    eid_card.write_pins(card, pin1=chosen.pin1, pin2=chosen.pin2, puk=chosen.puk)
    # 4 the outcome: the sealed envelope, and the message that lets personalisation go on
    at = deps.clock.now()
    values = {"pin1": chosen.pin1, "pin2": chosen.pin2, "puk": chosen.puk}
    nonce = deps.entropy.token_bytes(ENVELOPE_NONCE_BYTES)
    sealed = seal_envelope(values, key=envelope_key, nonce=nonce, order_id=order.order_id)
    with deps.db.write() as tx:
        if not _is_wanted(tx, order.order_id):
            return False
        store.insert_envelope(tx, order.order_id, sealed, at)
        payload: dict[str, journal.JsonValue] = {"document": order.document_number}
        journal.record(tx, store.JOURNAL, kind="envelope.sealed", payload=payload, at=at)
        message_id = f"personalise-{order.order_id}"
        outbox.put(
            tx,
            store.OUTBOX,
            message_id=message_id[:64],
            kind="personalise",
            payload={"order_id": order.order_id},
            at=at,
            ordering_key=order.order_id,
        )
    return True


def _is_wanted(tx: Connection, order_id: str) -> bool:
    return store.get_order(tx, order_id).state is OrderState.ORDERED


def personalise(deps: Deps, order_id: str) -> None:
    """Finish a chip: certificates, personal data, closed for good. Safe to repeat from any line.

    Raises: Broken `bureau.certificate_key`, the CA answered for another key; errors of the CA.
    """
    # 1 where are we
    with deps.db.read() as tx:
        order = store.get_order(tx, order_id)
    if order.state is OrderState.ORDERED and not _make_document(deps, order):
        return
    # 7 in a demonstration the card travels by itself
    if deps.settings.auto_ship:
        move_on(deps, order_id)


def _make_document(deps: Deps, order: Order) -> bool:
    """Steps 2 to 6. False when the order was cancelled meanwhile."""
    with show_problem(deps, order.order_id):
        # 2 what the CA will be asked is written down before it is asked
        requests = _write_requests(deps, order)
        if requests is None:
            return False
        # 3 the CA certifies, on hold; the same order always gets the same certificates
        certificates = peers.issue_certificates(deps.exchange, order, requests)
        # 4 each certificate is for its key
        for request_der, certificate_der in zip(requests, certificates, strict=True):
            _check_key(request_der, certificate_der)
        # 5 onto the chip, and closed
        _finish_chip(deps, order, certificates)
    # 6 produced
    with deps.db.write() as tx:
        now = store.get_order(tx, order.order_id)
        if now.state is OrderState.ORDERED:
            take_step(
                deps, tx, now, OrderEvent.CLOSE_CHIP, actor="personalisation", by="personalisation", at=deps.clock.now()
            )
    deps.wake_outbox()
    return True


def _record_order(deps: Deps, new: NewOrder) -> Order:
    with deps.db.write() as tx:
        if earlier := store.find_order(tx, new.order_id):
            if _what_was_asked(earlier) != _what_was_asked(new):
                raise Conflict("bureau.changed_order", f"order {new.order_id} came before with other content")
            return earlier
        if store.find_point(tx, new.pick_up_point) is None:
            raise NotFound("bureau.point", new.pick_up_point, public="There is no such pick-up point.")
        at = deps.clock.now()
        settings = deps.settings
        prefix = settings.e_resident_prefix if new.policy == "e_resident" else settings.citizen_prefix
        order = Order(
            order_id=new.order_id,
            document_number=store.next_document_number(tx, prefix),
            state=OrderState.ORDERED,
            personal_code=new.personal_code,
            given_names=new.given_names,
            surname=new.surname,
            policy=new.policy,
            sex=new.sex,
            citizenship=new.citizenship,
            born_on=new.born_on,
            travel_document=new.travel_document,
            pick_up_point=new.pick_up_point,
            ordered_at=at,
            changed_at=at,
            issued_on=at.date(),
            expires_on=add_years(at.date(), settings.validity_years),
        )
        store.insert_order(tx, order)
        payload: dict[str, journal.JsonValue] = {"document": order.document_number, "policy": order.policy}
        journal.record(tx, store.JOURNAL, kind="document.ordered", payload=payload, at=at)
    return order


def _what_was_asked(order: Order | NewOrder) -> tuple[object, ...]:
    """What a repeat must say again; not the point, since a document may have been sent to another one meanwhile."""
    return (
        order.personal_code,
        order.given_names,
        order.surname,
        order.policy,
        order.sex,
        order.citizenship,
        order.born_on,
        order.travel_document,
    )


def _make_pins(deps: Deps) -> Pins:
    def pin(digits: int) -> str:
        while is_guessable(value := random_digits(deps.entropy, digits)):
            pass
        return value

    return Pins(pin(4), pin(5), pin(8))


def _check_key(request_der: bytes, certificate_der: bytes) -> None:
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    asked = x509.load_der_x509_csr(request_der).public_key().public_bytes(*spki)
    given = x509.load_der_x509_certificate(certificate_der).public_key().public_bytes(*spki)
    if asked != given:
        raise Broken("bureau.certificate_key", "the certificate is for another key than the chip's")


def _write_requests(deps: Deps, order: Order) -> tuple[bytes, bytes] | None:
    """The requests of both keys, made at the first asking; None when the order was cancelled meanwhile."""
    with deps.machine:
        with deps.db.read() as tx:
            wanted, requests = _is_wanted(tx, order.order_id), store.find_requests(tx, order.order_id)
        if requests is not None or not wanted:
            return requests
        card = deps.blank_card(order.document_number)
        authentication, signature = (eid_card.build_certificate_request(card, kind) for kind in CardKey)
        with deps.db.write() as tx:
            store.insert_requests(tx, order.order_id, (authentication, signature), deps.clock.now())
    return authentication, signature


def _finish_chip(deps: Deps, order: Order, certificates: tuple[bytes, bytes]) -> None:
    with deps.machine:
        with deps.db.read() as tx:
            if not _is_wanted(tx, order.order_id):
                return
        try:
            card = deps.blank_card(order.document_number)
        except Conflict:  # closed before an interruption: the chip is as it shall be
            return
        _write_chip(card, order, certificates)


def _write_chip(card: Transport, order: Order, certificates: tuple[bytes, bytes]) -> None:
    e_resident = order.policy == "e_resident"
    document = CardDocument(
        surname=order.surname.upper(),
        given_names=order.given_names.upper(),
        personal_code=order.personal_code,
        document_number=order.document_number,
        expires_on=order.expires_on,
        issued_on=order.issued_on,
        sex=None if e_resident else order.sex,
        citizenship=None if e_resident else order.citizenship,
        born_on=None if e_resident else order.born_on,
        birth_place=None if e_resident else order.citizenship,
    )
    eid_card.write_personal_data(card, document)
    for kind, certificate_der in zip(CardKey, certificates, strict=True):
        eid_card.write_certificate(card, kind, certificate_der)
    eid_card.close_personalisation(card)
