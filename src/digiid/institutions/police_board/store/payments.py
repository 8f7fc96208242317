"""Payments of the state fee."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import CODE, ID, column_values, metadata
from digiid.kernel.errors import NotFound
from digiid.platform.db import UtcDateTime

PAYMENTS = Table(
    "payments",
    metadata,
    Column("payment_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False),
    Column("amount_cents", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", CODE, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
)
Index("payments_application", PAYMENTS.c.application_id)
Index("payments_state", PAYMENTS.c.state, PAYMENTS.c.created_at)


@dataclass(frozen=True, slots=True)
class Payment:
    """`state`: pending, paid, declined. `paid` is for good."""

    payment_id: str
    application_id: str
    amount_cents: int
    currency: str
    state: str
    created_at: datetime
    settled_at: datetime | None = None


def add_payment(tx: Connection, payment: Payment) -> None:
    tx.execute(insert(PAYMENTS).values(**column_values(payment)))


def get_payment(tx: Connection, payment_id: str) -> Payment:
    """Raises: NotFound `payment.unknown`."""
    row = tx.execute(select(*PAYMENTS.c).where(PAYMENTS.c.payment_id == payment_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("payment.unknown", payment_id, public="There is no such payment.")
    return Payment(**row)


def find_payments(tx: Connection, application_id: str) -> list[Payment]:
    query = select(*PAYMENTS.c).where(PAYMENTS.c.application_id == application_id).order_by(PAYMENTS.c.created_at)
    return [Payment(**row) for row in tx.execute(query).mappings()]


def find_pending_payments(tx: Connection, *, before: datetime, limit: int = 50) -> list[Payment]:
    query = select(*PAYMENTS.c).where(PAYMENTS.c.state == "pending", PAYMENTS.c.created_at < before)
    return [Payment(**row) for row in tx.execute(query.order_by(PAYMENTS.c.created_at).limit(limit)).mappings()]


def settle_payment(tx: Connection, payment_id: str, *, state: str, at: datetime) -> None:
    tx.execute(update(PAYMENTS).where(PAYMENTS.c.payment_id == payment_id).values(state=state, settled_at=at))
