"""Every change of a state, with who made it and by what law."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Index, Integer, Table, Text, insert, select
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import CODE, ID, NAME, column_values, metadata
from digiid.platform.db import UtcDateTime

HISTORY = Table(
    "history",
    metadata,
    Column("entry", Integer, primary_key=True, autoincrement=True),
    Column("subject_kind", CODE, nullable=False),
    Column("subject_id", ID, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("event", CODE, nullable=False),
    Column("from_state", CODE, nullable=False),
    Column("to_state", CODE, nullable=False),
    Column("legal_basis", Text, nullable=False),
    Column("note", Text, nullable=False),
)
Index("history_subject", HISTORY.c.subject_kind, HISTORY.c.subject_id)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    subject_kind: str
    subject_id: str
    at: datetime
    actor: str
    event: str
    from_state: str
    to_state: str
    legal_basis: str
    note: str


def record_history(tx: Connection, entry: HistoryEntry) -> None:
    tx.execute(insert(HISTORY).values(**column_values(entry)))


def find_history(tx: Connection, subject_kind: str, subject_id: str) -> list[HistoryEntry]:
    columns = [column for column in HISTORY.c if column.name != "entry"]
    where = (HISTORY.c.subject_kind == subject_kind, HISTORY.c.subject_id == subject_id)
    return [
        HistoryEntry(**row) for row in tx.execute(select(*columns).where(*where).order_by(HISTORY.c.entry)).mappings()
    ]
