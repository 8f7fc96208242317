"""The board's officers and their roles."""

from dataclasses import dataclass

from sqlalchemy import Boolean, Column, String, Table, delete, insert, select
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import CODE, NAME, column_values, metadata

OFFICERS = Table(
    "officers",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("officer_id", String(20), nullable=False, unique=True),
    Column("name", NAME, nullable=False),
    Column("role", CODE, nullable=False),
    Column("active", Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Officer:
    """`role` is `officer` (proposes, handles cases) or `deciding_officer` (also decides on others' proposals)."""

    personal_code: str
    officer_id: str
    name: str
    role: str
    active: bool


def find_officer(tx: Connection, personal_code: str) -> Officer | None:
    row = tx.execute(select(*OFFICERS.c).where(OFFICERS.c.personal_code == personal_code)).mappings().one_or_none()
    return Officer(**row) if row else None


def save_officer(tx: Connection, officer: Officer) -> None:
    tx.execute(delete(OFFICERS).where(OFFICERS.c.personal_code == officer.personal_code))
    tx.execute(insert(OFFICERS).values(**column_values(officer)))
