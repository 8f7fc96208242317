"""Who signed in where and when, with which document: kept so that people see their own sign-ins."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, insert, select
from sqlalchemy.engine import Connection

from digiid.platform.db import UtcDateTime
from digiid.platform.web.sign_in import SignedInPerson

MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in as its person sees it. `policy` is citizen, resident or e_resident."""

    site: str
    policy: str
    certificate_serial: str
    signed_in_at: datetime


def sign_ins_table(metadata: MetaData) -> Table:
    """The table `sign_ins` of one institution: append-only."""
    table = Table(
        "sign_ins",
        metadata,
        Column("position", Integer, primary_key=True, autoincrement=True),
        Column("personal_code", String(20), nullable=False),
        Column("site", String(40), nullable=False),
        Column("policy", String(20), nullable=False),
        Column("certificate_serial", String(64), nullable=False),
        Column("signed_in_at", UtcDateTime, nullable=False),
    )
    Index("sign_ins_person", table.c.personal_code, table.c.position)
    return table


def record_sign_in(tx: Connection, table: Table, person: SignedInPerson, *, site: str) -> None:
    """Write down a sign-in, inside the transaction of the use case that lets the person in."""
    tx.execute(
        insert(table).values(
            personal_code=person.personal_code,
            site=site,
            policy=person.policy,
            certificate_serial=person.certificate_serial,
            signed_in_at=person.signed_in_at,
        )
    )


def list_sign_ins(tx: Connection, table: Table, personal_code: str) -> list[SignIn]:
    """A person's latest sign-ins, the newest first, at most MAX_LISTED."""
    t = table.c
    rows = tx.execute(
        select(t.site, t.policy, t.certificate_serial, t.signed_in_at)
        .where(t.personal_code == personal_code)
        .order_by(t.position.desc())
        .limit(MAX_LISTED)
    )
    return [SignIn(row.site, row.policy, row.certificate_serial, row.signed_in_at) for row in rows]
