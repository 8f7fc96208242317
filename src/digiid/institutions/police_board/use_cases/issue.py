"""From the decision to the card in the holder's hand: register, order, movements, hand-over, PIN envelope."""

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.engine import Connection

from digiid.contracts import card_bureau, population_register
from digiid.contracts.police_board import REQUEST_HAND_OVER
from digiid.institutions.police_board import peers, store
from digiid.institutions.police_board.domain import acceptance, form
from digiid.institutions.police_board.domain.application import (
    ApplicationEvent,
    ApplicationState,
    Outcome,
    Step,
)
from digiid.institutions.police_board.domain.document import (
    MOVEMENT_EVENTS,
    DocumentEvent,
    DocumentState,
    add_months,
)
from digiid.institutions.police_board.domain.law import COLLECTION_MONTHS
from digiid.institutions.police_board.domain.right import RightState
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.applications import Application
from digiid.institutions.police_board.store.deliveries import DeliveryRecord, HandOver
from digiid.institutions.police_board.store.documents import Document
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.store.rights import Right
from digiid.institutions.police_board.use_cases.apply import new_application
from digiid.institutions.police_board.use_cases.deps import (
    BUREAU,
    SYSTEM,
    Deps,
    disclose,
    lapse_right_without_documents,
    move_application,
    move_document,
    put_message,
    record_journal,
    require_role,
)
from digiid.kernel.errors import Broken, Conflict, NotFound, Refused
from digiid.platform.disclosures import Disclosed, Look
from digiid.platform.entropy import new_id

ENVELOPE_KEY_BYTES = 32
_NONCE_BYTES = 12
ENVELOPE_OPEN_FOR = timedelta(minutes=60)
"""How long an opened envelope can be looked at again when nobody confirmed; then it is destroyed."""


# --- register and order (outbox) -------------------------------------------------------------------------------------


def register_person(deps: Deps, application_id: str) -> None:
    """After a decision to issue: the population register gives the personal code; the right is granted, the order put.

    Raises: Unavailable, to be tried again; Conflict or Refused when the register's entry does not agree.
    """
    # 1 what was decided
    with deps.db.read() as tx:
        application = store.applications.get_application(tx, application_id)
        steps = store.applications.find_steps(tx, application_id)
        delivery = store.deliveries.find_delivery(tx, application_id=application_id)
    if delivery is not None or application.outcome is not Outcome.ISSUE:
        return
    personal = form.personal_from_json(steps[Step.PERSONAL])
    # 2 the register; the same application always gives the same code
    code = peers.register_person(
        deps.exchange,
        population_register.RegisterPerson(
            application_id=application_id,
            given_names=personal.given_names,
            surname=personal.surname,
            sex=personal.sex,
            born_on=personal.born_on,
            citizenships=personal.citizenships,
            residence_country=personal.residence_country,
            basis=cast(Literal["e_resident", "citizen"], application.kind),
            personal_code=personal.personal_code or None,
            address=_place_of(personal),
        ),
        message_id=f"register-{application_id}",
    )
    # 3 the right, the envelope's key and the order, in one transaction
    now = deps.clock.now()
    with deps.db.write() as tx:
        if store.deliveries.find_delivery(tx, application_id=application_id) is not None:
            return
        store.applications.change_application(tx, application_id, person_code=code)
        right = store.rights.find_living_right(tx, code, basis=application.kind)
        if right is None:
            right = Right(new_id(deps.entropy), code, application.kind, RightState.GRANTED, "", (), now, now)
            store.rights.add_right(tx, right)
            record_journal(tx, "right.granted", at=now, subject=right.right_id, application=application_id)
        order_id = new_id(deps.entropy)
        key = deps.entropy.token_bytes(ENVELOPE_KEY_BYTES)
        store.deliveries.add_delivery(tx, DeliveryRecord(order_id, application_id, key, now))
        payload = {"order_id": order_id, "right_id": right.right_id}
        put_message(deps, tx, "card_bureau.order_document", payload, key=application_id)
    deps.wake_outbox()


def _place_of(personal: form.Personal) -> population_register.PlaceOfAddress | None:
    """The address as it was typed, its last line or last part after a comma as the place."""
    lines = [line.strip(" ,") for line in personal.address.splitlines() if line.strip(" ,")]
    if len(lines) == 1:
        lines = [part.strip() for part in lines[0].rsplit(",", 1)]
    if not lines:
        return None
    street, locality = (", ".join(lines[:-1]), lines[-1]) if len(lines) > 1 else (lines[0], "")
    return population_register.PlaceOfAddress(
        country=personal.residence_country, locality=locality[:100], street=street[:200]
    )


def order_document(deps: Deps, order_id: str, right_id: str) -> None:
    """Order the card. The envelope's key goes along and is kept only here. Raises: Unavailable."""
    # 1 what to order
    with deps.db.read() as tx:
        delivery = store.deliveries.find_delivery(tx, order_id=order_id)
        if delivery is None or delivery.envelope_key is None:
            raise Broken("delivery.unknown", order_id)
        application = store.applications.get_application(tx, delivery.application_id)
        steps = store.applications.find_steps(tx, application.application_id)
        right = store.rights.get_right(tx, right_id)
        if store.documents.find_document_of_order(tx, order_id) is not None:
            return
    # 2 a right that was taken away meanwhile stops the order
    if right.state not in (RightState.GRANTED, RightState.LIMITED):
        raise Refused("right.not_granted", right.right_id)
    personal = form.personal_from_json(steps[Step.PERSONAL])
    paper = form.travel_document_from_json(steps[Step.TRAVEL_DOCUMENT])
    # 3 the bureau; the same order id gives the same document
    number = peers.order_document(
        deps.exchange,
        card_bureau.OrderDocument(
            order_id=order_id,
            personal_code=right.person_code,
            given_names=personal.given_names,
            surname=personal.surname,
            policy=cast(card_bureau.DocumentPolicyName, application.kind),
            sex=personal.sex,
            citizenship=personal.citizenships[0],
            born_on=personal.born_on,
            travel_document=card_bureau.TravelDocument(
                kind=paper.kind, number=paper.number, issuing_country=paper.issuing_country, expires_on=paper.expires_on
            ),
            pick_up_point=steps[Step.PICK_UP]["point_code"],
            envelope_key_b64=base64.b64encode(delivery.envelope_key).decode(),
        ),
        message_id=f"order-{order_id}",
    )
    # 4 the document
    now = deps.clock.now()
    with deps.db.write() as tx:
        _add_document(tx, number, order_id, application=application, right=right, at=now)


def _add_document(
    tx: Connection, number: str, order_id: str, *, application: Application, right: Right, at: datetime
) -> Document:
    document = store.documents.find_document_of_order(tx, order_id)
    if document is not None:
        return document
    document = Document(
        document_number=number,
        order_id=order_id,
        application_id=application.application_id,
        right_id=right.right_id,
        person_code=right.person_code,
        policy=application.kind,
        state=DocumentState.ORDERED,
        state_reason="",
        issued_on=None,
        expires_on=None,
        collect_until=None,
        changed_at=at,
    )
    store.documents.add_document(tx, document)
    record_journal(tx, "document.ordered", at=at, subject=number, application=application.application_id)
    return document


@dataclass(frozen=True, slots=True)
class CounterApplication:
    """A citizen's application for an ID card, entered at the board's counter by an officer."""

    personal: form.Personal
    travel_document: form.TravelDocumentData
    pick_up: form.PickUp


def enter_citizen(deps: Deps, officer: Officer, entered: CounterApplication) -> str:
    """Enter a citizen's application, decided at the counter (no background check is due to a citizen), and order
    the document. Returns the application's id."""
    require_role(officer)
    now = deps.clock.now()
    with deps.db.write() as tx:
        application = new_application(deps, tx, kind="citizen", account_id=None, language="et")
        for step, data in (
            (Step.PERSONAL, entered.personal),
            (Step.TRAVEL_DOCUMENT, entered.travel_document),
            (Step.PICK_UP, entered.pick_up),
        ):
            store.applications.save_step(tx, application.application_id, step, form.to_json(data), at=now)
        store.applications.change_application(
            tx,
            application.application_id,
            state=ApplicationState.DECIDED.value,
            outcome=Outcome.ISSUE.value,
            submitted_at=now,
            born_on=entered.personal.born_on,
            document_number=entered.travel_document.number,
        )
        record_journal(tx, "application.entered", at=now, subject=application.application_id, by=officer.officer_id)
        payload = {"application_id": application.application_id}
        put_message(deps, tx, "population_register.register_person", payload, key=application.application_id)
    deps.wake_outbox()
    return application.application_id


def find_document_of_application(deps: Deps, application_id: str) -> Document | None:
    """The document that followed from an application, once the bureau has given its number."""
    with deps.db.read() as tx:
        return store.documents.find_document_of_application(tx, application_id)


# --- movements and hand-over (services) ------------------------------------------------------------------------------


def record_movement(
    deps: Deps, *, movement_id: str, order_id: str, document_number: str, state: str, expires_on: date, at: datetime
) -> None:
    """Where the bureau says the document is. A repeated report, or one that comes out of order, changes nothing.

    Raises: NotFound `delivery.unknown`; Conflict `document.order` when the number is another order's.
    """
    with deps.db.write() as tx:
        # 1 the order; the bureau may be faster than its own answer to the order
        document = _document_of(tx, order_id, document_number, deps.clock.now())
        if store.deliveries.find_movement(tx, movement_id):
            return
        # 2 a step forward, or only a record
        event = MOVEMENT_EVENTS[state]
        forward = _comes_after(state, document.state)
        if forward:
            values: dict[str, Any] = {"expires_on": expires_on}
            if state == "produced":
                values["issued_on"] = at.date()
            if state == "at_point":
                values["collect_until"] = add_months(deps.today(), COLLECTION_MONTHS)
            for missing in _between(document.state, state):
                document = move_document(deps, tx, document, missing, BUREAU)
            document = move_document(deps, tx, document, event, BUREAU, **values)
            if document.state is DocumentState.UNCOLLECTED:
                lapse_right_without_documents(deps, tx, document.right_id)
        store.deliveries.add_movement(
            tx, movement_id=movement_id, document_number=document_number, state=state, at=at, taken=forward
        )
    deps.wake_outbox()


_WAY = ("ordered", "produced", "in_transit", "at_point", "uncollected")


def _comes_after(state: str, current: str) -> bool:
    return current in _WAY[:-1] and _WAY.index(state) > _WAY.index(current)


def _between(current: str, state: str) -> list[DocumentEvent]:
    """Reports that were overtaken: the document went through these states all the same."""
    return [MOVEMENT_EVENTS[each] for each in _WAY[_WAY.index(current) + 1 : _WAY.index(state)]]


def _document_of(tx: Connection, order_id: str, document_number: str, now: datetime) -> Document:
    document = store.documents.find_document_of_order(tx, order_id)
    if document is None:
        delivery = store.deliveries.find_delivery(tx, order_id=order_id)
        if delivery is None:
            raise NotFound("delivery.unknown", order_id)
        application = store.applications.get_application(tx, delivery.application_id)
        right = store.rights.find_living_right(tx, application.person_code or "", basis=application.kind)
        if right is None:
            raise Conflict("right.not_granted", order_id)
        document = _add_document(tx, document_number, order_id, application=application, right=right, at=now)
    if document.document_number != document_number:
        raise Conflict("document.order", f"{order_id} is not the order of {document_number}")
    return document


@dataclass(frozen=True, slots=True)
class HandOverAnswer:
    permitted: bool
    reason: str
    acceptance_text: str


def request_hand_over(
    deps: Deps, *, order_id: str, document_number: str, shown: card_bureau.TravelDocument, look: Look
) -> Disclosed[HandOverAnswer]:
    """May the document be handed over now? `reason` is for the officer at the desk.

    Raises: NotFound, Conflict when order and document do not belong together.
    """

    def work() -> Disclosed[HandOverAnswer]:
        with deps.db.write() as tx:
            document, refusal = _judge_hand_over(tx, order_id, document_number, shown, deps.today())
            steps = store.applications.find_steps(tx, document.application_id)
            accepted = steps.get(Step.ACCEPTANCE, {}).get("text") or acceptance.text_of("en")
            answer = HandOverAnswer(refusal == "", refusal, accepted)
            categories = REQUEST_HAND_OVER.discloses
            return disclose(deps, tx, answer, document.person_code, look=look, categories=categories)

    return deps.db.retry(work)


def record_hand_over(
    deps: Deps,
    *,
    evidence: HandOver,
    shown: card_bureau.TravelDocument,
) -> None:
    """Record the evidence of a hand-over: the document is active from here on. Repeating it changes nothing.

    Raises: Refused `hand_over.not_permitted` when it should not have happened; it is then not active.
    """
    with deps.db.write() as tx:
        # 1 recorded before: the same evidence again, or another hand-over of the same card
        before = store.deliveries.find_hand_over(tx, evidence.order_id)
        if before is not None:
            if before.evidence_id == evidence.evidence_id:
                return
            raise Conflict("hand_over.done", evidence.order_id, public="This document was handed over already.")
        # 2 judged again: between the permit and the hand-over the right may have been taken away
        document, refusal = _judge_hand_over(tx, evidence.order_id, evidence.document_number, shown, deps.today())
        if refusal:
            raise Refused("hand_over.not_permitted", refusal, public=refusal)
        # 3 evidence and state together
        store.deliveries.add_hand_over(tx, evidence)
        document = move_document(deps, tx, document, DocumentEvent.HAND_OUT, BUREAU)
        document = move_document(deps, tx, document, DocumentEvent.ACTIVATE, SYSTEM)
        # 4 a new document takes the place of the earlier ones
        for earlier in store.documents.find_documents_of_right(tx, document.right_id):
            if earlier.document_number != document.document_number and earlier.state in (
                DocumentState.ACTIVE,
                DocumentState.SUSPENDED,
            ):
                move_document(deps, tx, earlier, DocumentEvent.SUPERSEDE, SYSTEM, reason=document.document_number)
        # 5 the application has reached its end
        application = store.applications.get_application(tx, document.application_id)
        if application.state is ApplicationState.DECIDED:
            move_application(deps, tx, application, ApplicationEvent.BECOME_FINAL, SYSTEM)
    deps.wake_outbox()


def _judge_hand_over(
    tx: Connection, order_id: str, document_number: str, shown: card_bureau.TravelDocument, today: date
) -> tuple[Document, str]:
    document = store.documents.find_document_of_order(tx, order_id)
    if document is None or document.document_number != document_number:
        raise NotFound("document.unknown", f"{document_number} of {order_id}", public="There is no such document.")
    right = store.rights.get_right(tx, document.right_id)
    paper = form.travel_document_from_json(
        store.applications.find_steps(tx, document.application_id)[Step.TRAVEL_DOCUMENT]
    )
    if document.state is not DocumentState.AT_POINT:
        return document, f"The document is not waiting at the pick-up point: its state is {document.state}."
    if right.state not in (RightState.GRANTED, RightState.LIMITED):
        return document, f"The right to the document is {right.state}."
    same = (shown.kind, _plain(shown.number), shown.issuing_country) == (
        paper.kind,
        _plain(paper.number),
        paper.issuing_country,
    )
    if not same:
        return document, "The travel document shown is not the one of the application."
    if shown.expires_on < today:
        return document, "The travel document shown has expired."
    if document.collect_until is not None and today > document.collect_until:
        return document, "The time to collect the document is over."
    return document, ""


def _plain(number: str) -> str:
    return "".join(c for c in number.upper() if c.isalnum())


# --- the PIN envelope ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pins:
    """What the envelope holds. Shown, never stored, never logged."""

    pin1: str = field(repr=False)
    pin2: str = field(repr=False)
    puk: str = field(repr=False)


def open_pin_envelope(deps: Deps, account: Account, application_id: str) -> Pins:
    """Open the PIN envelope: the key is here, the ciphertext at the bureau. Until confirmed, for an hour at most.

    Raises: Conflict `envelope.not_yet`, `envelope.gone`; Unavailable; Broken when the seal does not open.
    """
    # 1 own, handed over, not opened too long ago
    now = deps.clock.now()
    with deps.db.write() as tx:
        delivery = _own_delivery(tx, account, application_id)
        document = store.documents.find_document_of_order(tx, delivery.order_id)
        if document is None or store.deliveries.find_hand_over(tx, delivery.order_id) is None:
            raise Conflict(
                "envelope.not_yet", application_id, public="The envelope opens after the card was handed to you."
            )
        shown_at = delivery.envelope_shown_at
        if delivery.envelope_key is None or (shown_at is not None and now > shown_at + ENVELOPE_OPEN_FOR):
            raise Conflict("envelope.gone", application_id, public="The envelope was opened and is destroyed.")
        # 2 the intent, before anything is seen
        if shown_at is None:
            store.deliveries.change_delivery(tx, delivery.order_id, envelope_shown_at=now)
            record_journal(tx, "envelope.opened", at=now, subject=document.document_number)
    # 3 the bureau's half
    sealed = peers.take_pin_envelope(deps.exchange, order_id=delivery.order_id)
    # 4 opened with ours
    return unseal_pins(sealed, key=delivery.envelope_key, order_id=delivery.order_id)


def confirm_pin_envelope(deps: Deps, account: Account, application_id: str) -> None:
    """The holder has written the PINs down: our key goes now, the bureau's ciphertext after it. Can be repeated."""
    with deps.db.write() as tx:
        delivery = _own_delivery(tx, account, application_id)
        if delivery.envelope_shown_at is None:
            raise Conflict("envelope.not_yet", application_id, public="The envelope is not opened yet.")
        _destroy_envelope(deps, tx, delivery)
    deps.wake_outbox()


def destroy_opened_envelopes(deps: Deps) -> None:
    """The timer: an envelope that was opened and never confirmed does not stay open."""
    with deps.db.write() as tx:
        for delivery in store.deliveries.find_opened_deliveries(tx, before=deps.clock.now() - ENVELOPE_OPEN_FOR):
            _destroy_envelope(deps, tx, delivery)
    deps.wake_outbox()


def _destroy_envelope(deps: Deps, tx: Connection, delivery: DeliveryRecord) -> None:
    if delivery.envelope_key is None:
        return
    now = deps.clock.now()
    store.deliveries.change_delivery(tx, delivery.order_id, envelope_key=None, envelope_destroyed_at=now)
    put_message(
        deps, tx, "card_bureau.destroy_pin_envelope", {"order_id": delivery.order_id}, key=delivery.application_id
    )
    record_journal(tx, "envelope.destroyed", at=now, subject=delivery.order_id)


def unseal_pins(sealed_b64: str, *, key: bytes, order_id: str) -> Pins:
    """AES-256-GCM: nonce ‖ ciphertext ‖ tag, the order id as associated data.

    Raises: Broken `envelope.seal`, whatever is wrong with it: the seal must open.
    """
    try:
        sealed = base64.b64decode(sealed_b64, validate=True)
        opened = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], order_id.encode())
        pins = json.loads(opened)
        return Pins(str(pins["pin1"]), str(pins["pin2"]), str(pins["puk"]))
    except (InvalidTag, binascii.Error, ValueError, KeyError, TypeError) as error:
        # the exception is not chained into a message: what was opened must not be seen in a log
        raise Broken("envelope.seal", f"{order_id}: {type(error).__name__}") from None


def _own_delivery(tx: Connection, account: Account, application_id: str) -> DeliveryRecord:
    application = store.applications.get_application(tx, application_id)
    delivery = store.deliveries.find_delivery(tx, application_id=application_id)
    if application.account_id != account.account_id or delivery is None:
        raise NotFound("delivery.unknown", application_id, public="There is no such document.")
    return delivery


# --- what the outbox delivers ----------------------------------------------------------------------------------------


def cancel_order(deps: Deps, order_id: str, message_id: str) -> None:
    """Stop a document that nobody has yet. Raises: Unavailable, to be tried again."""
    peers.cancel_order(deps.exchange, order_id=order_id, reason="annulled", message_id=message_id)


def destroy_pin_envelope(deps: Deps, order_id: str, message_id: str) -> None:
    """Have the bureau destroy its half of the envelope. Raises: Unavailable, to be tried again."""
    peers.destroy_pin_envelope(deps.exchange, order_id=order_id, message_id=message_id)
