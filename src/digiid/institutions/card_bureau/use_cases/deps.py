"""What every use case of the bureau is given, and the step that a document takes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from sqlalchemy.engine import Connection

from digiid.contracts.police_board import RecordDocumentMovement
from digiid.exchange.client import Client
from digiid.formats.apdu import Transport
from digiid.institutions.card_bureau import store
from digiid.institutions.card_bureau.domain import ORDER_STATES, Order, OrderEvent, OrderState
from digiid.institutions.card_bureau.settings import Settings
from digiid.kernel.errors import Broken, Conflict, Malformed, NotFound, Refused
from digiid.kernel.states import take_edge
from digiid.platform import journal, outbox
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.disclosures import Disclosed, Look, record_disclosure
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.outbox import Bell

T = TypeVar("T")


@dataclass(frozen=True)
class Deps:
    """`blank_card` gives the unfinished chip of a document number, a new one at the first asking.

    `discard_card` destroys an unfinished or undelivered chip, if there is one. `machine` is held while
    keys and PINs go onto a chip: an order that is repeated while it is being made waits for its result.
    """

    db: Database
    clock: Clock
    entropy: Entropy
    exchange: Client
    blank_card: Callable[[str], Transport]
    discard_card: Callable[[str], None]
    settings: Settings
    machine: threading.Lock = field(default_factory=threading.Lock)
    wake_outbox: Bell = field(default_factory=Bell)


def take_step(
    deps: Deps, tx: Connection, order: Order, event: OrderEvent, *, actor: str, by: str, at: datetime
) -> OrderState:
    """Move an order along its table: new state, journal entry and the board's message in one transaction."""
    edge = take_edge(ORDER_STATES, order.state, event, actor=actor)
    collect_until = None
    if event is OrderEvent.ARRIVE:
        collect_until = at.date().fromordinal(at.date().toordinal() + deps.settings.collect_within_days)
    store.set_order_state(tx, order.order_id, edge.to, at, collect_until=collect_until)
    payload: dict[str, journal.JsonValue] = {"document": order.document_number, "from": order.state, "by": by}
    payload |= {"to": edge.to, "basis": edge.legal_basis}
    journal.record(tx, store.JOURNAL, kind=f"document.{event}", payload=payload, at=at)
    if "movement" in edge.publishes and edge.to in _REPORTED:
        movement = RecordDocumentMovement(
            movement_id=new_id(deps.entropy),
            order_id=order.order_id,
            document_number=order.document_number,
            state=_REPORTED[edge.to],
            at=at,
            expires_on=order.expires_on,
        )
        outbox.put(
            tx,
            store.OUTBOX,
            message_id=movement.movement_id,
            kind="movement",
            payload=movement.model_dump(mode="json"),
            at=at,
            ordering_key=order.order_id,
        )
    return edge.to


def disclose(
    deps: Deps, tx: Connection, value: T, personal_code: str, *, look: Look, categories: Sequence[str]
) -> Disclosed[T]:
    """`look` at one person is on record with the answer, in the same transaction."""
    return record_disclosure(
        tx,
        store.DISCLOSURES,
        store.JOURNAL,
        value,
        personal_code=personal_code,
        look=look,
        categories=categories,
        at=deps.clock.now(),
    )


# an answer, and not a silence: asking again would bring the same
ANSWERED = (Refused, NotFound, Conflict, Malformed, Broken)


@contextmanager
def show_problem(deps: Deps, order_id: str) -> Iterator[None]:
    """What stands against an order for good is shown on its page, by its code, and raised on."""
    try:
        yield
    except ANSWERED as error:
        with deps.db.write() as tx:
            store.set_order_problem(tx, order_id, error.code)
        raise


_REPORTED = {
    OrderState.PRODUCED: "produced",
    OrderState.IN_TRANSIT: "in_transit",
    OrderState.AT_POINT: "at_point",
    OrderState.UNCOLLECTED: "uncollected",
}
