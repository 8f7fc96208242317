"""From the order to the holder's hand: our half of the PIN envelope, movements, hand-overs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, ForeignKey, LargeBinary, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import CODE, ID, NAME, column_values, metadata
from digiid.platform.db import UtcDateTime

DELIVERIES = Table(
    "deliveries",
    metadata,
    Column("order_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False, unique=True),
    Column("envelope_key", LargeBinary(32)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("envelope_shown_at", UtcDateTime),
    Column("envelope_destroyed_at", UtcDateTime),
)
MOVEMENTS = Table(
    "movements",
    metadata,
    Column("movement_id", String(64), primary_key=True),
    Column("document_number", String(20), nullable=False),
    Column("state", CODE, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("taken", Boolean, nullable=False),
)
HAND_OVERS = Table(
    "hand_overs",
    metadata,
    Column("evidence_id", String(64), primary_key=True),
    Column("order_id", ID, ForeignKey("deliveries.order_id"), nullable=False, unique=True),
    Column("document_number", String(20), nullable=False),
    Column("officer", NAME, nullable=False),
    Column("officer_code", String(11), nullable=False),
    Column("pick_up_point", NAME, nullable=False),
    Column("shown_kind", CODE, nullable=False),
    Column("shown_number", String(20), nullable=False),
    Column("shown_country", String(3), nullable=False),
    Column("handed_over_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """Our half of the PIN envelope. `envelope_key` is gone once the holder has confirmed, for good."""

    order_id: str
    application_id: str
    envelope_key: bytes | None
    created_at: datetime
    envelope_shown_at: datetime | None = None
    envelope_destroyed_at: datetime | None = None

    def __repr__(self) -> str:
        return f"DeliveryRecord(order_id={self.order_id!r})"  # a key never gets into a log by way of its record


def add_delivery(tx: Connection, delivery: DeliveryRecord) -> None:
    tx.execute(insert(DELIVERIES).values(**column_values(delivery)))


def find_delivery(
    tx: Connection, *, order_id: str | None = None, application_id: str | None = None
) -> DeliveryRecord | None:
    where = DELIVERIES.c.order_id == order_id if order_id else DELIVERIES.c.application_id == application_id
    row = tx.execute(select(*DELIVERIES.c).where(where)).mappings().one_or_none()
    return DeliveryRecord(**row) if row else None


def find_opened_deliveries(tx: Connection, *, before: datetime) -> list[DeliveryRecord]:
    """Deliveries whose envelope was opened before then and still has its key."""
    where = (DELIVERIES.c.envelope_key.is_not(None), DELIVERIES.c.envelope_shown_at < before)
    return [DeliveryRecord(**row) for row in tx.execute(select(*DELIVERIES.c).where(*where)).mappings()]


def change_delivery(tx: Connection, order_id: str, **values: Any) -> None:
    tx.execute(update(DELIVERIES).where(DELIVERIES.c.order_id == order_id).values(**values))


def add_movement(
    tx: Connection, *, movement_id: str, document_number: str, state: str, at: datetime, taken: bool
) -> bool:
    """Record a movement report; False when it was there already."""
    if tx.execute(select(MOVEMENTS.c.movement_id).where(MOVEMENTS.c.movement_id == movement_id)).first():
        return False
    values = {"movement_id": movement_id, "document_number": document_number, "state": state, "at": at}
    tx.execute(insert(MOVEMENTS).values(**values, taken=taken))
    return True


def find_movement(tx: Connection, movement_id: str) -> bool:
    return tx.execute(select(MOVEMENTS.c.movement_id).where(MOVEMENTS.c.movement_id == movement_id)).first() is not None


@dataclass(frozen=True, slots=True)
class HandOver:
    evidence_id: str
    order_id: str
    document_number: str
    officer: str
    officer_code: str
    pick_up_point: str
    shown_kind: str
    shown_number: str
    shown_country: str
    handed_over_at: datetime


def add_hand_over(tx: Connection, hand_over: HandOver) -> None:
    tx.execute(insert(HAND_OVERS).values(**column_values(hand_over)))


def find_hand_over(tx: Connection, order_id: str) -> HandOver | None:
    row = tx.execute(select(*HAND_OVERS.c).where(HAND_OVERS.c.order_id == order_id)).mappings().one_or_none()
    return HandOver(**row) if row else None
