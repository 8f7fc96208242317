"""At the pick-up point: the moment the certificates become good, and not before."""

from dataclasses import dataclass

from digiid.institutions.card_bureau import peers, store
from digiid.institutions.card_bureau.domain import (
    HandOver,
    Officer,
    Order,
    OrderEvent,
    OrderState,
    TravelDocument,
    check_desk,
    compare_travel_document,
)
from digiid.institutions.card_bureau.use_cases.deps import Deps, show_problem, take_step
from digiid.kernel.errors import Conflict, DigiidError, NotFound, Refused
from digiid.platform import journal, outbox
from digiid.platform.entropy import new_id

# The board's own no. Whatever else comes may hide that it has recorded the hand-over.
_NOT_RECORDED = (Refused, Conflict, NotFound)


@dataclass(frozen=True, slots=True)
class DeskCheck:
    """What the officer attests: the document shown, the face compared, the holder's acceptance of the shown text."""

    shown: TravelDocument
    face_compared: bool
    accepted: bool
    accepted_text: str


def hand_over(deps: Deps, officer: Officer, order_id: str, check: DeskCheck) -> None:
    """Hand a document to its holder.

    Raises: Refused `bureau.…` for whatever stands against it, nothing is changed then; as `finish_hand_over`.
    """
    # 1 who, where, and is it here
    with deps.db.read() as tx:
        order, begun = store.get_order(tx, order_id), store.find_hand_over(tx, order_id)
        point = store.find_point(tx, order.pick_up_point)
    if point is None:
        raise NotFound("bureau.point", order.pick_up_point)
    check_desk(officer, point, order)
    if order.state is OrderState.HANDED_OUT:
        raise Conflict("bureau.handed_out", order_id, public="This document has been handed over already.")
    if order.state is not OrderState.AT_POINT:
        raise Conflict("bureau.not_here", f"{order.state}", public="This document is not at the pick-up point.")
    if begun is None:
        # 2 the same travel document, the face, the acceptance
        compare_travel_document(order.travel_document, check.shown)
        if not check.face_compared:
            raise Refused("bureau.face", "not attested", public="Compare the face with the document's photo first.")
        if not check.accepted:
            raise Refused("bureau.not_accepted", "not accepted", public="The holder must accept the conditions first.")
        # 3 the board: is the right still granted
        permit = peers.ask_hand_over_permit(deps.exchange, order, check.shown)
        if not permit.permitted:
            raise Refused(
                "bureau.not_permitted", permit.reason, public=permit.reason or "The board does not permit it."
            )
        # 4 the intent, with the message that finishes it if this process does not
        _begin(deps, officer, order, check)
    # 5 record, activate, outcome
    finish_hand_over(deps, order_id)


def finish_hand_over(deps: Deps, order_id: str) -> None:
    """Finish a hand-over that was begun. Safe to repeat; the outbox does it after a crash.

    Raises: Unavailable when the board or the CA does not answer: the outbox or the next try finishes it;
    the board's Refused, Conflict or NotFound: the hand-over is withdrawn and the next try begins anew. What
    stands against it for good, on either side, shows as the order's problem. Conflict `bureau.not_here` when
    it was cancelled meanwhile.
    """
    with deps.db.read() as tx:
        order, begun = store.get_order(tx, order_id), store.find_hand_over(tx, order_id)
    if begun is None or begun.finished_at is not None:
        return
    # 1 the board: the document is active and in whose hand
    try:
        with show_problem(deps, order_id):
            peers.record_hand_over(deps.exchange, order, begun)
    except _NOT_RECORDED as error:
        _withdraw(deps, begun, error)
        raise
    # 2 the CA: the certificates are good from this moment
    with show_problem(deps, order_id):
        peers.activate_certificates(deps.exchange, order)
    # 3 the outcome
    at = deps.clock.now()
    with show_problem(deps, order_id), deps.db.write() as tx:
        now = store.get_order(tx, order_id)
        if now.state is OrderState.HANDED_OUT:
            return
        if now.state is not OrderState.AT_POINT:
            raise Conflict("bureau.not_here", f"{now.state}", public="This document is not at the pick-up point.")
        take_step(deps, tx, now, OrderEvent.HAND_OVER, actor="point_officer", by=begun.officer_name, at=at)
        store.finish_hand_over(tx, order_id, at)
        store.settle_refused_messages(tx, _ordering_key(order_id))


def _withdraw(deps: Deps, begun: HandOver, error: DigiidError) -> None:
    """The board will not have it: nothing is active, and what was begun must not be finished by a later try."""
    with deps.db.write() as tx:
        order = store.get_order(tx, begun.order_id)
        store.withdraw_hand_over(tx, begun.order_id)
        payload: dict[str, journal.JsonValue] = {
            "document": order.document_number,
            "evidence": begun.evidence_id,
            "code": error.code,
        }
        journal.record(tx, store.JOURNAL, kind="hand_over.withdrawn", payload=payload, at=deps.clock.now())


def _ordering_key(order_id: str) -> str:
    return f"hand-over-{order_id}"


def _begin(deps: Deps, officer: Officer, order: Order, check: DeskCheck) -> None:
    at = deps.clock.now()
    evidence = HandOver(
        new_id(deps.entropy), order.order_id, officer.name, officer.personal_code, order.pick_up_point, at, None
    )
    with deps.db.write() as tx:
        if store.find_hand_over(tx, order.order_id) is not None:
            return
        store.insert_hand_over(tx, evidence, check.accepted_text)
        payload: dict[str, journal.JsonValue] = {
            "document": order.document_number,
            "evidence": evidence.evidence_id,
            "officer": officer.name,
            "point": order.pick_up_point,
        }
        journal.record(tx, store.JOURNAL, kind="hand_over.begun", payload=payload, at=at)
        outbox.put(
            tx,
            store.OUTBOX,
            message_id=evidence.evidence_id,
            kind="finish_hand_over",
            payload={"order_id": order.order_id},
            at=at,
            ordering_key=_ordering_key(order.order_id),
        )


def take_pin_envelope(deps: Deps, order_id: str) -> bytes:
    """The sealed envelope, for the holder's page after the hand-over.

    Raises: Refused `bureau.not_handed_out`; NotFound `bureau.envelope` when it was opened and destroyed.
    """
    with deps.db.write() as tx:
        order, envelope = store.get_order(tx, order_id), store.find_envelope(tx, order_id)
        if order.state is not OrderState.HANDED_OUT:
            raise Refused("bureau.not_handed_out", order.state, public="The document has not been handed over yet.")
        if envelope is None or envelope.sealed is None:
            raise NotFound("bureau.envelope", order_id, public="The PIN envelope was opened before and is destroyed.")
        at = deps.clock.now()
        store.mark_envelope_taken(tx, order_id, at)
        payload: dict[str, journal.JsonValue] = {"document": order.document_number}
        journal.record(tx, store.JOURNAL, kind="envelope.taken", payload=payload, at=at)
    return envelope.sealed


def destroy_pin_envelope(deps: Deps, order_id: str) -> None:
    """Destroy the bureau's copy for good. A repeat changes nothing."""
    at = deps.clock.now()
    with deps.db.write() as tx:
        order, envelope = store.get_order(tx, order_id), store.find_envelope(tx, order_id)
        if envelope is None or envelope.destroyed_at is not None:
            return
        store.destroy_envelope(tx, order_id, at)
        payload: dict[str, journal.JsonValue] = {"document": order.document_number}
        journal.record(tx, store.JOURNAL, kind="envelope.destroyed", payload=payload, at=at)
