"""Global groups and who is in them."""

from typing import Any, Final

from sqlalchemy import Column, String, Table, delete, insert, select, update
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.store.schema import is_member, metadata, party_of, party_values
from digiid.kernel.identifiers import Party

GROUPS: Final = Table(
    "global_groups",
    metadata,
    Column("code", String(100), primary_key=True),
    Column("description", String(200), nullable=False),
)
GROUP_MEMBERS: Final = Table(
    "global_group_members",
    metadata,
    Column("code", String(100), primary_key=True),
    Column("member_class", String(100), primary_key=True),
    Column("member_code", String(100), primary_key=True),
    Column("subsystem", String(100), primary_key=True),
)


def list_groups(tx: Connection, instance: str) -> list[tuple[str, str, tuple[Party, ...]]]:
    """(code, description, members) of every global group that somebody made."""
    c = GROUP_MEMBERS.c
    inside: dict[str, list[Party]] = {}
    query = select(c.code, c.member_class, c.member_code, c.subsystem)
    for row in tx.execute(query.order_by(c.code, c.member_class, c.member_code, c.subsystem)):
        inside.setdefault(row.code, []).append(party_of(row, instance))
    rows = tx.execute(select(GROUPS.c.code, GROUPS.c.description).order_by(GROUPS.c.code))
    return [(row.code, row.description, tuple(inside.get(row.code, ()))) for row in rows]


def put_group(tx: Connection, code: str, description: str) -> None:
    if not tx.execute(update(GROUPS).where(GROUPS.c.code == code).values(description=description)).rowcount:
        tx.execute(insert(GROUPS).values(code=code, description=description))


def has_group(tx: Connection, code: str) -> bool:
    return tx.execute(select(GROUPS.c.code).where(GROUPS.c.code == code)).first() is not None


def delete_group(tx: Connection, code: str) -> bool:
    tx.execute(delete(GROUP_MEMBERS).where(GROUP_MEMBERS.c.code == code))
    return tx.execute(delete(GROUPS).where(GROUPS.c.code == code)).rowcount == 1


def insert_group_member(tx: Connection, code: str, party: Party) -> bool:
    """False when it was in the group already."""
    if tx.execute(select(GROUP_MEMBERS.c.code).where(_is_group_member(code, party))).first() is not None:
        return False
    tx.execute(insert(GROUP_MEMBERS).values(code=code, **party_values(party)))
    return True


def delete_group_member(tx: Connection, code: str, party: Party) -> bool:
    return tx.execute(delete(GROUP_MEMBERS).where(_is_group_member(code, party))).rowcount == 1


def _is_group_member(code: str, party: Party) -> Any:
    c = GROUP_MEMBERS.c
    subsystem = party_values(party)["subsystem"]
    return (c.code == code) & is_member(GROUP_MEMBERS, party.member) & (c.subsystem == subsystem)
