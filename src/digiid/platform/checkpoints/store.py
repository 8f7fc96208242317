"""The table of checkpoints, one function per question."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, Text, insert, select
from sqlalchemy.engine import Connection

from digiid.platform.db import UtcDateTime

PACKAGE: Final = "digiid.platform.checkpoints"
DATABASE: Final = "journal_checkpoints"  # by what name a state knows it
metadata = MetaData()
CHECKPOINTS: Final = Table(
    "journal_checkpoints",
    metadata,
    Column("unit", String(40), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("statement", Text, nullable=False),
    Column("time_stamp_der", LargeBinary, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """One checkpoint as it is kept, of which nothing is proven. `number`: the journal's entry that was the last."""

    unit: str
    number: int
    statement: str = field(repr=False)
    time_stamp_der: bytes = field(repr=False)
    at: datetime


def find_last(tx: Connection, unit: str) -> StoredCheckpoint | None:
    query = select(CHECKPOINTS).where(CHECKPOINTS.c.unit == unit).order_by(CHECKPOINTS.c.number.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return StoredCheckpoint(*row) if row else None


def list_checkpoints(tx: Connection, unit: str | None = None) -> list[StoredCheckpoint]:
    """All of one journal or of all of them, in their order."""
    query = select(CHECKPOINTS).order_by(CHECKPOINTS.c.unit, CHECKPOINTS.c.number)
    if unit is not None:
        query = query.where(CHECKPOINTS.c.unit == unit)
    return [StoredCheckpoint(*row) for row in tx.execute(query)]


def insert_checkpoint(tx: Connection, checkpoint: StoredCheckpoint) -> None:
    values = {name: getattr(checkpoint, name) for name in StoredCheckpoint.__dataclass_fields__}
    tx.execute(insert(CHECKPOINTS).values(**values))
