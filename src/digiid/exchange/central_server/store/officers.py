"""The central server's officers and their roles."""

from typing import Any, Final

from sqlalchemy import Boolean, Column, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.domain import Officer, Role
from digiid.exchange.central_server.store.schema import metadata

OFFICERS: Final = Table(
    "officers",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("roles", String(200), nullable=False),
    Column("active", Boolean, nullable=False),
)


def find_officer(tx: Connection, personal_code: str) -> Officer | None:
    """An officer, also one whose rights were taken away."""
    o = OFFICERS.c
    row = tx.execute(
        select(o.personal_code, o.name, o.roles, o.active).where(o.personal_code == personal_code)
    ).one_or_none()
    return _officer(row) if row else None


def list_officers(tx: Connection) -> list[Officer]:
    o = OFFICERS.c
    return [_officer(row) for row in tx.execute(select(o.personal_code, o.name, o.roles, o.active).order_by(o.name))]


def _officer(row: Any) -> Officer:
    return Officer(row.personal_code, row.name, frozenset(map(Role, row.roles.split())), row.active)


def put_officer(tx: Connection, officer: Officer) -> None:
    """Enter an officer, or change name, roles and whether they are active."""
    o = OFFICERS.c
    values = {"name": officer.name, "roles": " ".join(sorted(officer.roles)), "active": officer.is_active}
    if not tx.execute(update(OFFICERS).where(o.personal_code == officer.personal_code).values(**values)).rowcount:
        tx.execute(insert(OFFICERS).values(personal_code=officer.personal_code, **values))
