"""Members, their classes and their subsystems."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Column, String, Table, delete, insert, select, update
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.store.groups import GROUP_MEMBERS
from digiid.exchange.central_server.store.schema import is_member, metadata, party_values
from digiid.kernel.identifiers import ClientId, MemberId, Party
from digiid.platform.db import UtcDateTime

CLASSES: Final = Table(
    "member_classes",
    metadata,
    Column("code", String(100), primary_key=True),
    Column("description", String(200), nullable=False),
)
MEMBERS: Final = Table(
    "members",
    metadata,
    Column("member_class", String(100), primary_key=True),
    Column("member_code", String(100), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("entered_at", UtcDateTime, nullable=False),
)
SUBSYSTEMS: Final = Table(
    "subsystems",
    metadata,
    Column("member_class", String(100), primary_key=True),
    Column("member_code", String(100), primary_key=True),
    Column("subsystem", String(100), primary_key=True),
    Column("name", String(200)),
)


@dataclass(frozen=True, slots=True)
class MemberRow:
    id: MemberId
    name: str
    subsystems: tuple[tuple[str, str | None], ...]  # code, name


def list_classes(tx: Connection) -> list[tuple[str, str]]:
    return [tuple(row) for row in tx.execute(select(CLASSES.c.code, CLASSES.c.description).order_by(CLASSES.c.code))]


def put_class(tx: Connection, code: str, description: str) -> None:
    if not tx.execute(update(CLASSES).where(CLASSES.c.code == code).values(description=description)).rowcount:
        tx.execute(insert(CLASSES).values(code=code, description=description))


def has_class(tx: Connection, code: str) -> bool:
    return tx.execute(select(CLASSES.c.code).where(CLASSES.c.code == code)).first() is not None


def find_member_name(tx: Connection, member: MemberId) -> str | None:
    return tx.execute(select(MEMBERS.c.name).where(is_member(MEMBERS, member))).scalar_one_or_none()


def insert_member(tx: Connection, member: MemberId, name: str, *, at: datetime) -> None:
    values = {"member_class": member.member_class, "member_code": member.member_code}
    tx.execute(insert(MEMBERS).values(**values, name=name, entered_at=at))


def rename_member(tx: Connection, member: MemberId, name: str) -> None:
    tx.execute(update(MEMBERS).where(is_member(MEMBERS, member)).values(name=name))


def delete_member(tx: Connection, member: MemberId) -> None:
    """The member, its subsystems, and its places in groups. Its servers and registrations have to be gone before."""
    for table in (GROUP_MEMBERS, SUBSYSTEMS, MEMBERS):
        tx.execute(delete(table).where(is_member(table, member)))


def list_members(tx: Connection, instance: str) -> list[MemberRow]:
    s, m = SUBSYSTEMS.c, MEMBERS.c
    below: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
    query = select(s.member_class, s.member_code, s.subsystem, s.name)
    for row in tx.execute(query.order_by(s.member_class, s.member_code, s.subsystem)):
        below.setdefault((row.member_class, row.member_code), []).append((row.subsystem, row.name))
    rows = tx.execute(select(m.member_class, m.member_code, m.name).order_by(m.member_class, m.member_code))
    return [
        MemberRow(MemberId(instance, row.member_class, row.member_code), row.name, tuple(below.get(tuple(row)[:2], ())))
        for row in rows
    ]


def put_subsystem(tx: Connection, subsystem: ClientId, name: str | None) -> None:
    """A subsystem that is there keeps its name when none is given."""
    where = is_member(SUBSYSTEMS, subsystem.member) & (SUBSYSTEMS.c.subsystem == subsystem.subsystem)
    if tx.execute(select(SUBSYSTEMS.c.subsystem).where(where)).first() is None:
        tx.execute(insert(SUBSYSTEMS).values(**party_values(subsystem), name=name))
    elif name is not None:
        tx.execute(update(SUBSYSTEMS).where(where).values(name=name))


def has_party(tx: Connection, party: Party) -> bool:
    """Whether this member, or this subsystem, is known."""
    if isinstance(party, MemberId):
        return find_member_name(tx, party) is not None
    where = is_member(SUBSYSTEMS, party.member) & (SUBSYSTEMS.c.subsystem == party.subsystem)
    return tx.execute(select(SUBSYSTEMS.c.subsystem).where(where)).first() is not None
