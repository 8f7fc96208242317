"""A produced document on its way: shipped, arrived, called back, not collected, cancelled."""

from digiid.institutions.card_bureau import store
from digiid.institutions.card_bureau.domain import OrderEvent, OrderState
from digiid.institutions.card_bureau.use_cases.deps import Deps, take_step
from digiid.kernel.errors import Conflict, NotFound
from digiid.platform import journal

_NEXT = {OrderState.PRODUCED: OrderEvent.SHIP, OrderState.IN_TRANSIT: OrderEvent.ARRIVE}


def record_step(deps: Deps, order_id: str, event: OrderEvent, *, by: str) -> None:
    """An officer of the bureau says that a document was shipped or has arrived. Raises: Conflict, Refused `state.…`."""
    with deps.db.write() as tx:
        order = store.get_order(tx, order_id)
        take_step(deps, tx, order, event, actor="bureau_officer", by=by, at=deps.clock.now())
    deps.wake_outbox()


def move_on(deps: Deps, order_id: str) -> None:
    """In a demonstration: bring a produced document to its point without anybody carrying it."""
    while True:
        with deps.db.write() as tx:
            order = store.get_order(tx, order_id)
            event = _NEXT.get(order.state)
            if event is None:
                break
            take_step(deps, tx, order, event, actor="bureau_officer", by="demonstration", at=deps.clock.now())
    deps.wake_outbox()


def reroute(deps: Deps, order_id: str, point: str, *, by: str) -> None:
    """Send a document to another point. Raises: NotFound `bureau.point`; Conflict `state.illegal_event`,
    `bureau.hand_over_begun`.
    """
    with deps.db.write() as tx:
        order = store.get_order(tx, order_id)
        if store.find_point(tx, point) is None:
            raise NotFound("bureau.point", point, public="There is no such pick-up point.")
        if store.find_hand_over(tx, order_id) is not None and order.state is OrderState.AT_POINT:
            raise Conflict("bureau.hand_over_begun", order_id, public="This document is being handed over.")
        take_step(deps, tx, order, OrderEvent.REROUTE, actor="bureau_officer", by=by, at=deps.clock.now())
        store.set_order_point(tx, order_id, point)
    deps.wake_outbox()


def reroute_point(deps: Deps, closed: str, target: str, *, by: str) -> int:
    """Send everything that waits at or travels to one point to another. Returns how many documents."""
    with deps.db.read() as tx:
        waiting = store.orders_in(tx, OrderState.IN_TRANSIT, OrderState.AT_POINT, limit=10_000)
        here = [order for order in waiting if order.pick_up_point == closed]
        moved = [order for order in here if store.find_hand_over(tx, order.order_id) is None]
    for order in moved:
        reroute(deps, order.order_id, target, by=by)
    return len(moved)


def set_point_open(deps: Deps, code: str, *, is_open: bool, by: str) -> None:
    """The switch of a pick-up point: a closed one hands nothing over. Raises: NotFound `bureau.point`."""
    with deps.db.write() as tx:
        if store.find_point(tx, code) is None:
            raise NotFound("bureau.point", code, public="There is no such pick-up point.")
        store.set_point_open(tx, code, is_open)
        kind = "point.opened" if is_open else "point.closed"
        journal.record(tx, store.JOURNAL, kind=kind, payload={"point": code, "by": by}, at=deps.clock.now())


def give_up_uncollected(deps: Deps) -> int:
    """The timer: what lay at its point beyond its last day is uncollected. Returns how many."""
    at = deps.clock.now()
    with deps.db.write() as tx:
        lying = store.uncollected_orders(tx, at.date())
        orders = [order for order in lying if store.find_hand_over(tx, order.order_id) is None]
        for order in orders:
            take_step(deps, tx, order, OrderEvent.GIVE_UP, actor="timer", by="timer", at=at)
            store.destroy_envelope(tx, order.order_id, at)
    if orders:
        deps.wake_outbox()
    return len(orders)


def cancel_order(deps: Deps, order_id: str, *, reason: str) -> None:
    """The board stops a document that is not in its holder's hand. A repeat changes nothing.

    Raises: Conflict `state.illegal_event` when it was handed out already; NotFound `bureau.order`.
    """
    at = deps.clock.now()
    with deps.db.write() as tx:
        order = store.get_order(tx, order_id)
        if order.state is not OrderState.CANCELLED:
            take_step(deps, tx, order, OrderEvent.CANCEL, actor="board", by=reason, at=at)
            store.destroy_envelope(tx, order_id, at)
    with deps.machine:
        deps.discard_card(order.document_number)
