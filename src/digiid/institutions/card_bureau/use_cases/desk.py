"""Who works here, and what they look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.engine import Connection

from digiid.contracts.card_bureau import GET_DELIVERY
from digiid.contracts.members import CARD_BUREAU
from digiid.institutions.card_bureau import store
from digiid.institutions.card_bureau.domain import POINTS, HandOver, Officer, Order, OrderState, Point
from digiid.institutions.card_bureau.use_cases.deps import Deps, disclose
from digiid.kernel.errors import NotFound, Refused
from digiid.platform import journal
from digiid.platform.disclosures import Disclosed, Look, record_disclosures

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OrderView:
    order: Order
    point: Point
    hand_over: HandOver | None


def open_points(deps: Deps) -> None:
    """Enter the pick-up points that are not in the table yet."""
    with deps.db.write() as tx:
        for point in POINTS:
            store.insert_point(tx, point)


def list_points(deps: Deps) -> list[Point]:
    with deps.db.read() as tx:
        return store.list_points(tx)


def authorise_officer(deps: Deps, officer: Officer) -> None:
    """Enter or replace a named officer's authorisation."""
    with deps.db.write() as tx:
        store.put_officer(tx, officer)
        payload: dict[str, journal.JsonValue] = {"officer": officer.name, "role": officer.role}
        payload["points"] = sorted(officer.points)
        journal.record(tx, store.JOURNAL, kind="officer.authorised", payload=payload, at=deps.clock.now())


def admit_officer(deps: Deps, personal_code: str) -> Officer:
    """The officer with this personal code. Raises: Refused `bureau.not_an_officer`."""
    with deps.db.read() as tx:
        officer = store.find_officer(tx, personal_code)
    if officer is None:
        raise Refused("bureau.not_an_officer", "not an officer", public="You are not an officer of the card bureau.")
    return officer


def list_work(deps: Deps) -> tuple[list[Order], dict[str, int]]:
    """What the bureau has in hand or has to clear, and how many documents are in each state."""
    with deps.db.read() as tx:
        troubled = store.troubled_orders(tx, OrderState.AT_POINT)
        orders = store.orders_in(tx, OrderState.ORDERED, OrderState.PRODUCED, OrderState.IN_TRANSIT)
        return troubled + orders, store.count_by_state(tx)


def list_at_desk(deps: Deps, officer: Officer) -> list[Order]:
    """What waits for its holder at the officer's points."""
    with deps.db.read() as tx:
        orders = store.orders_in(tx, OrderState.AT_POINT, OrderState.IN_TRANSIT)
    return [order for order in orders if order.pick_up_point in officer.points]


def search_at_desk(deps: Deps, officer: Officer, text: str) -> Disclosed[list[Order]]:
    """Orders at the officer's points by number or name, and a look at each of their holders on record."""

    def work() -> Disclosed[list[Order]]:
        with deps.db.write() as tx:
            found = store.search_orders(tx, text, officer.points)
            return _look(deps, tx, officer, found, [order.personal_code for order in found])

    return deps.db.retry(work)


def look_at_order(deps: Deps, order_id: str, officer: Officer) -> Disclosed[OrderView]:
    """One order, and the look at its holder on record. Raises: NotFound `bureau.order`."""

    def work() -> Disclosed[OrderView]:
        with deps.db.write() as tx:
            view = _view(tx, order_id, officer)
            return _look(deps, tx, officer, view, [view.order.personal_code])

    return deps.db.retry(work)


def show_order(deps: Deps, order_id: str, officer: Officer) -> OrderView:
    """One order. A point officer sees only those of the own points. Raises: NotFound `bureau.order`."""
    with deps.db.read() as tx:
        return _view(tx, order_id, officer)


def _view(tx: Connection, order_id: str, officer: Officer) -> OrderView:
    order = store.get_order(tx, order_id)
    point, hand_over = store.find_point(tx, order.pick_up_point), store.find_hand_over(tx, order_id)
    if point is None or (officer.role == "point_officer" and point.code not in officer.points):
        raise NotFound("bureau.order", order_id, public="There is no such order at your point.")
    return OrderView(order, point, hand_over)


def get_delivery(deps: Deps, order_id: str, *, look: Look) -> Disclosed[Order]:
    """Where the document of an order is, and the look on record. Raises: NotFound `bureau.order`."""

    def work() -> Disclosed[Order]:
        with deps.db.write() as tx:
            order = store.get_order(tx, order_id)
            return disclose(deps, tx, order, order.personal_code, look=look, categories=GET_DELIVERY.discloses)

    return deps.db.retry(work)


def _look(deps: Deps, tx: Connection, officer: Officer, value: T, persons: Sequence[str]) -> Disclosed[T]:
    look = Look(
        receiver=str(CARD_BUREAU),
        purpose="production and hand-over of a document",
        legal_basis="Identity Documents Act § 15: issue and annulment of documents",
        service="desk",
        receiver_user=f"EE{officer.personal_code}",
    )
    return record_disclosures(
        tx,
        store.DISCLOSURES,
        store.JOURNAL,
        value,
        personal_codes=persons,
        look=look,
        categories=("name", "document", "delivery"),
        at=deps.clock.now(),
    )
