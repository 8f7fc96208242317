"""What the bureau's use cases need in a test that opens no socket: a real shelf of chips, and an order."""

from datetime import date
from pathlib import Path
from typing import Any

from digiid.contracts.members import CARD_BUREAU
from digiid.devices.card_shelf import CardShelf
from digiid.exchange.client import Client
from digiid.institutions.card_bureau.domain import Officer, Order, OrderEvent, TravelDocument
from digiid.institutions.card_bureau.settings import Settings
from digiid.institutions.card_bureau.store import get_order
from digiid.institutions.card_bureau.use_cases import desk, movements, orders
from digiid.institutions.card_bureau.use_cases.deps import Deps, take_step
from digiid.institutions.card_bureau.use_cases.hand_over import DeskCheck
from digiid.institutions.card_bureau.use_cases.orders import NewOrder
from digiid.kernel.errors import NotFound
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient

BUREAU_PACKAGE = "digiid.institutions.card_bureau"
ENVELOPE_KEY = bytes(range(32))
PERSONAL_CODE = "38001085718"
PASSPORT = TravelDocument("passport", "L898902C3", "UTO", date(2034, 4, 15))
OFFICER = Officer("38001019005", "Peeter Väljastaja", "point_officer", frozenset({"tallinn-test"}))
BUREAU_OFFICER = Officer("48001019004", "Kadri Kaardimeister", "bureau_officer", frozenset())
ATTESTED = DeskCheck(PASSPORT, face_compared=True, accepted=True, accepted_text="I keep the card to myself.")


def make_deps(
    db: Database,
    clock: Clock,
    entropy: Entropy,
    shelf: CardShelf,
    *,
    gate_url: str = "http://127.0.0.1:1",
    settings: Settings | None = None,
) -> Deps:
    """Real parts throughout. Unless told otherwise, the exchange's gate is at a port where nobody answers."""
    http = HttpClient(timeout_seconds=5)

    def discard(document_number: str) -> None:
        try:
            shelf.discard(document_number)
        except NotFound:
            return

    deps = Deps(
        db=db,
        clock=clock,
        entropy=entropy,
        exchange=Client(CARD_BUREAU, server_url=gate_url, http=http, entropy=entropy),
        blank_card=shelf.new_blank,
        discard_card=discard,
        settings=settings or Settings(),
    )
    desk.open_points(deps)
    return deps


def new_order(order_id: str = "order-1", **changes: Any) -> NewOrder:
    fields: dict[str, Any] = {
        "order_id": order_id,
        "personal_code": PERSONAL_CODE,
        "given_names": "Jaak-Kristjan",
        "surname": "Jõeorg",
        "policy": "e_resident",
        "sex": "M",
        "citizenship": "UTO",
        "born_on": date(1980, 1, 8),
        "travel_document": PASSPORT,
        "pick_up_point": "tallinn-test",
        "envelope_key": ENVELOPE_KEY,
    }
    return NewOrder(**(fields | changes))


def current(deps: Deps, order_id: str = "order-1") -> Order:
    with deps.db.read() as tx:
        return get_order(tx, order_id)


def produced(deps: Deps, order_id: str = "order-1", **changes: Any) -> Order:
    """An ordered document that counts as produced: its chip is not closed, since nobody gives certificates here."""
    orders.order_document(deps, new_order(order_id, **changes))
    with deps.db.write() as tx:
        order = get_order(tx, order_id)
        at = deps.clock.now()
        take_step(deps, tx, order, OrderEvent.CLOSE_CHIP, actor="personalisation", by="test", at=at)
    return current(deps, order_id)


def at_point(deps: Deps, order_id: str = "order-1", **changes: Any) -> Order:
    produced(deps, order_id, **changes)
    movements.move_on(deps, order_id)
    return current(deps, order_id)


def shelf_in(folder: Path, entropy: Entropy) -> CardShelf:
    return CardShelf(folder / "cards", entropy)
