"""The bureau's tables, one function per question."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection, Row

from digiid.institutions.card_bureau.domain import HandOver, Officer, Order, OrderState, Point, TravelDocument
from digiid.kernel.errors import NotFound
from digiid.platform.db import UtcDateTime
from digiid.platform.disclosures import disclosures_table
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.sent_requests import sent_requests_table
from digiid.platform.web.sessions import sessions_table

metadata = MetaData()
JOURNAL = journal_table(metadata)
DISCLOSURES = disclosures_table(metadata)
SENT_REQUESTS = sent_requests_table(metadata)
OUTBOX = outbox_table(metadata)
SESSIONS = sessions_table(metadata)

ORDERS = Table(
    "orders",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("document_number", String(9), nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("personal_code", String(11), nullable=False),
    Column("given_names", String(100), nullable=False),
    Column("surname", String(100), nullable=False),
    Column("policy", String(20), nullable=False),
    Column("sex", String(1)),
    Column("citizenship", String(3)),
    Column("born_on", Date),
    Column("travel_kind", String(20), nullable=False),
    Column("travel_number", String(20), nullable=False),
    Column("travel_issuing_country", String(3), nullable=False),
    Column("travel_expires_on", Date, nullable=False),
    Column("pick_up_point", String(40), nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("expires_on", Date, nullable=False),
    Column("collect_until", Date),
    Column("problem", Text),
)
Index("orders_state", ORDERS.c.state)
ENVELOPES = Table(
    "envelopes",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("sealed", LargeBinary),
    Column("sealed_at", UtcDateTime, nullable=False),
    Column("taken_at", UtcDateTime),
    Column("destroyed_at", UtcDateTime),
)
# What the CA was asked, kept before it is asked: a repeat after a crash must say the same.
REQUESTS = Table(
    "certificate_requests",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("authentication_der", LargeBinary, nullable=False),
    Column("signature_der", LargeBinary, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
)
HAND_OVERS = Table(
    "hand_overs",
    metadata,
    Column("evidence_id", String(64), primary_key=True),
    Column("order_id", String(64), nullable=False, unique=True),
    Column("officer_name", String(200), nullable=False),
    Column("officer_personal_code", String(11), nullable=False),
    Column("pick_up_point", String(40), nullable=False),
    Column("accepted_text", Text, nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)
POINTS = Table(
    "points",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("country", String(3), nullable=False),
    Column("address", String(300), nullable=False),
    Column("is_open", Boolean, nullable=False),
)
OFFICERS = Table(
    "officers",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("active", Boolean, nullable=False),
)
POINT_OFFICERS = Table(
    "point_officers",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("point", String(40), primary_key=True),
)
NUMBERS = Table(
    "document_numbers",
    metadata,
    Column("prefix", String(2), primary_key=True),
    Column("last_number", Integer, nullable=False),
)

_ORDER = [ORDERS.c[column.name] for column in ORDERS.columns]


@dataclass(frozen=True, slots=True)
class Envelope:
    sealed: bytes | None
    destroyed_at: datetime | None


def _order(row: Row[Any]) -> Order:
    return Order(
        order_id=row.order_id,
        document_number=row.document_number,
        state=OrderState(row.state),
        personal_code=row.personal_code,
        given_names=row.given_names,
        surname=row.surname,
        policy=row.policy,
        sex=row.sex,
        citizenship=row.citizenship,
        born_on=row.born_on,
        travel_document=TravelDocument(
            row.travel_kind, row.travel_number, row.travel_issuing_country, row.travel_expires_on
        ),
        pick_up_point=row.pick_up_point,
        ordered_at=row.ordered_at,
        changed_at=row.changed_at,
        issued_on=row.issued_on,
        expires_on=row.expires_on,
        collect_until=row.collect_until,
        problem=row.problem,
    )


def find_order(tx: Connection, order_id: str) -> Order | None:
    row = tx.execute(select(*_ORDER).where(ORDERS.c.order_id == order_id)).one_or_none()
    return _order(row) if row else None


def get_order(tx: Connection, order_id: str) -> Order:
    """Raises: NotFound `bureau.order`."""
    if order := find_order(tx, order_id):
        return order
    raise NotFound("bureau.order", f"no order {order_id}", public="There is no such order.")


def insert_order(tx: Connection, order: Order) -> None:
    tx.execute(
        insert(ORDERS).values(
            order_id=order.order_id,
            document_number=order.document_number,
            state=order.state,
            personal_code=order.personal_code,
            given_names=order.given_names,
            surname=order.surname,
            policy=order.policy,
            sex=order.sex,
            citizenship=order.citizenship,
            born_on=order.born_on,
            travel_kind=order.travel_document.kind,
            travel_number=order.travel_document.number,
            travel_issuing_country=order.travel_document.issuing_country,
            travel_expires_on=order.travel_document.expires_on,
            pick_up_point=order.pick_up_point,
            ordered_at=order.ordered_at,
            changed_at=order.changed_at,
            issued_on=order.issued_on,
            expires_on=order.expires_on,
        )
    )


def set_order_state(
    tx: Connection, order_id: str, state: OrderState, at: datetime, *, collect_until: date | None = None
) -> None:
    values: dict[str, Any] = {"state": state, "changed_at": at, "problem": None}
    if collect_until is not None:
        values["collect_until"] = collect_until
    tx.execute(update(ORDERS).where(ORDERS.c.order_id == order_id).values(**values))


def set_order_point(tx: Connection, order_id: str, point: str) -> None:
    tx.execute(update(ORDERS).where(ORDERS.c.order_id == order_id).values(pick_up_point=point))


def set_order_problem(tx: Connection, order_id: str, problem: str | None) -> None:
    tx.execute(update(ORDERS).where(ORDERS.c.order_id == order_id).values(problem=problem))


def orders_in(tx: Connection, *states: OrderState, limit: int = 200) -> list[Order]:
    query = select(*_ORDER).where(ORDERS.c.state.in_([str(s) for s in states])).order_by(ORDERS.c.changed_at)
    return [_order(row) for row in tx.execute(query.limit(limit))]


def troubled_orders(tx: Connection, state: OrderState) -> list[Order]:
    """Orders in this state against which something stands."""
    query = select(*_ORDER).where(ORDERS.c.state == state, ORDERS.c.problem.is_not(None)).order_by(ORDERS.c.changed_at)
    return [_order(row) for row in tx.execute(query.limit(200))]


def uncollected_orders(tx: Connection, today: date) -> list[Order]:
    query = select(*_ORDER).where(ORDERS.c.state == OrderState.AT_POINT, ORDERS.c.collect_until < today)
    return [_order(row) for row in tx.execute(query.limit(500))]


def search_orders(tx: Connection, text: str, points: frozenset[str]) -> list[Order]:
    """Orders at these points by document number or beginning of the surname."""
    pattern = text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
    match = or_(ORDERS.c.document_number == text.upper(), ORDERS.c.surname.ilike(pattern, escape="\\"))
    query = select(*_ORDER).where(match, ORDERS.c.pick_up_point.in_(sorted(points))).order_by(ORDERS.c.surname)
    return [_order(row) for row in tx.execute(query.limit(50))]


def count_by_state(tx: Connection) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state in tx.execute(select(ORDERS.c.state)).scalars():
        counts[state] = counts.get(state, 0) + 1
    return counts


def next_document_number(tx: Connection, prefix: str) -> str:
    """Take the next number of a prefix; taken numbers are never given again."""
    query = select(NUMBERS.c.last_number).where(NUMBERS.c.prefix == prefix)
    last = tx.execute(query).scalar_one_or_none()
    if last is None:
        tx.execute(insert(NUMBERS).values(prefix=prefix, last_number=1))
        return f"{prefix}{1:07d}"
    tx.execute(update(NUMBERS).where(NUMBERS.c.prefix == prefix).values(last_number=last + 1))
    return f"{prefix}{last + 1:07d}"


def find_envelope(tx: Connection, order_id: str) -> Envelope | None:
    query = select(ENVELOPES.c.sealed, ENVELOPES.c.destroyed_at).where(ENVELOPES.c.order_id == order_id)
    row = tx.execute(query).one_or_none()
    return Envelope(row.sealed, row.destroyed_at) if row else None


def insert_envelope(tx: Connection, order_id: str, sealed: bytes, at: datetime) -> None:
    tx.execute(insert(ENVELOPES).values(order_id=order_id, sealed=sealed, sealed_at=at))


def mark_envelope_taken(tx: Connection, order_id: str, at: datetime) -> None:
    tx.execute(
        update(ENVELOPES).where(ENVELOPES.c.order_id == order_id, ENVELOPES.c.taken_at.is_(None)).values(taken_at=at)
    )


def destroy_envelope(tx: Connection, order_id: str, at: datetime) -> None:
    tx.execute(
        update(ENVELOPES)
        .where(ENVELOPES.c.order_id == order_id, ENVELOPES.c.destroyed_at.is_(None))
        .values(sealed=None, destroyed_at=at)
    )


def find_requests(tx: Connection, order_id: str) -> tuple[bytes, bytes] | None:
    """The PKCS#10 requests that were written down for an order: (authentication, signature)."""
    query = select(REQUESTS.c.authentication_der, REQUESTS.c.signature_der).where(REQUESTS.c.order_id == order_id)
    row = tx.execute(query).one_or_none()
    return (row.authentication_der, row.signature_der) if row else None


def insert_requests(tx: Connection, order_id: str, requests: tuple[bytes, bytes], at: datetime) -> None:
    tx.execute(
        insert(REQUESTS).values(
            order_id=order_id, authentication_der=requests[0], signature_der=requests[1], asked_at=at
        )
    )


def find_hand_over(tx: Connection, order_id: str) -> HandOver | None:
    h = HAND_OVERS.c
    query = select(
        h.evidence_id,
        h.order_id,
        h.officer_name,
        h.officer_personal_code,
        h.pick_up_point,
        h.begun_at,
        h.finished_at,
    ).where(h.order_id == order_id)
    row = tx.execute(query).one_or_none()
    return HandOver(*row) if row else None


def insert_hand_over(tx: Connection, hand_over: HandOver, accepted_text: str) -> None:
    tx.execute(
        insert(HAND_OVERS).values(
            evidence_id=hand_over.evidence_id,
            order_id=hand_over.order_id,
            officer_name=hand_over.officer_name,
            officer_personal_code=hand_over.officer_personal_code,
            pick_up_point=hand_over.pick_up_point,
            accepted_text=accepted_text,
            begun_at=hand_over.begun_at,
        )
    )


def withdraw_hand_over(tx: Connection, order_id: str) -> None:
    """Take back a hand-over that was begun and not finished; what became of it stands in the journal."""
    tx.execute(delete(HAND_OVERS).where(HAND_OVERS.c.order_id == order_id, HAND_OVERS.c.finished_at.is_(None)))


def settle_refused_messages(tx: Connection, ordering_key: str) -> None:
    """What was set aside, and has been done since in another way, needs nobody to look at it any more."""
    refused = (OUTBOX.c.ordering_key == ordering_key, OUTBOX.c.state == "refused")
    tx.execute(update(OUTBOX).where(*refused).values(state="delivered", payload="{}", last_error=None))


def finish_hand_over(tx: Connection, order_id: str, at: datetime) -> None:
    tx.execute(update(HAND_OVERS).where(HAND_OVERS.c.order_id == order_id).values(finished_at=at))


_POINT = (POINTS.c.code, POINTS.c.name, POINTS.c.country, POINTS.c.address, POINTS.c.is_open)


def list_points(tx: Connection) -> list[Point]:
    return [Point(*row) for row in tx.execute(select(*_POINT).order_by(POINTS.c.name))]


def find_point(tx: Connection, code: str) -> Point | None:
    row = tx.execute(select(*_POINT).where(POINTS.c.code == code)).one_or_none()
    return Point(*row) if row else None


def insert_point(tx: Connection, point: Point) -> None:
    if find_point(tx, point.code) is None:
        tx.execute(
            insert(POINTS).values(
                code=point.code, name=point.name, country=point.country, address=point.address, is_open=point.is_open
            )
        )


def set_point_open(tx: Connection, code: str, is_open: bool) -> None:
    tx.execute(update(POINTS).where(POINTS.c.code == code).values(is_open=is_open))


def find_officer(tx: Connection, personal_code: str) -> Officer | None:
    """An active officer with the points of the authorisation."""
    query = select(OFFICERS.c.name, OFFICERS.c.role).where(
        OFFICERS.c.personal_code == personal_code, OFFICERS.c.active.is_(True)
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    points = tx.execute(select(POINT_OFFICERS.c.point).where(POINT_OFFICERS.c.personal_code == personal_code))
    return Officer(personal_code, row.name, row.role, frozenset(points.scalars()))


def put_officer(tx: Connection, officer: Officer) -> None:
    """Authorise an officer, or replace the authorisation."""
    tx.execute(delete(OFFICERS).where(OFFICERS.c.personal_code == officer.personal_code))
    tx.execute(delete(POINT_OFFICERS).where(POINT_OFFICERS.c.personal_code == officer.personal_code))
    tx.execute(
        insert(OFFICERS).values(personal_code=officer.personal_code, name=officer.name, role=officer.role, active=True)
    )
    for point in sorted(officer.points):
        tx.execute(insert(POINT_OFFICERS).values(personal_code=officer.personal_code, point=point))
