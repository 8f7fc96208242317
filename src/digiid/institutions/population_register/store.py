"""The register's tables, one function per question."""

import json
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Boolean, Column, Date, Index, Integer, MetaData, String, Table, Text, insert, select
from sqlalchemy.engine import Connection, RowMapping

from digiid.institutions.population_register.domain import Person
from digiid.platform.db import UtcDateTime
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.web.sessions import sessions_table

metadata = MetaData()
JOURNAL = journal_table(metadata)
SESSIONS = sessions_table(metadata)
OUTBOX = outbox_table(metadata)

PERSONS = Table(
    "persons",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("given_names", String(100), nullable=False),
    Column("surname", String(100), nullable=False),
    Column("sex", String(1), nullable=False),
    Column("born_on", Date, nullable=False),
    Column("order_number", Integer, nullable=False),
    Column("citizenships", Text, nullable=False),
    Column("residence_country", String(3), nullable=False),
    Column("basis", String(20), nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
)
Index("persons_born", PERSONS.c.born_on)
REGISTRATIONS = Table(
    "registrations",
    metadata,
    Column("application_id", String(64), primary_key=True),
    Column("personal_code", String(11), nullable=False),
    Column("request_sha256", String(64), nullable=False),
)
OFFICERS = Table(
    "officers",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("active", Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Registration:
    personal_code: str
    request_sha256: str


def _person(row: RowMapping) -> Person:
    values = {name: row[name] for name in Person.__dataclass_fields__}
    return Person(**{**values, "citizenships": tuple(json.loads(row["citizenships"]))})


_COLUMNS = [PERSONS.c[name] for name in Person.__dataclass_fields__]


def find_person(tx: Connection, personal_code: str) -> Person | None:
    row = tx.execute(select(*_COLUMNS).where(PERSONS.c.personal_code == personal_code)).mappings().one_or_none()
    return _person(row) if row else None


def persons_born_between(tx: Connection, first: date, last: date) -> list[Person]:
    rows = tx.execute(select(*_COLUMNS).where(PERSONS.c.born_on.between(first, last)).limit(5000)).mappings()
    return [_person(row) for row in rows]


def persons_with_surname_like(tx: Connection, text: str) -> list[Person]:
    pattern = text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
    query = select(*_COLUMNS).where(PERSONS.c.surname.ilike(pattern, escape="\\")).order_by(PERSONS.c.surname).limit(50)
    return [_person(row) for row in tx.execute(query).mappings()]


def order_numbers(tx: Connection, born_on: date, sex: str) -> list[int]:
    query = select(PERSONS.c.order_number).where(PERSONS.c.born_on == born_on, PERSONS.c.sex == sex)
    return list(tx.execute(query).scalars())


def insert_person(tx: Connection, person: Person, order_number: int) -> None:
    values = {name: getattr(person, name) for name in Person.__dataclass_fields__}
    values["citizenships"] = json.dumps(list(person.citizenships))
    tx.execute(insert(PERSONS).values(**values, order_number=order_number))


def find_registration(tx: Connection, application_id: str) -> Registration | None:
    query = select(REGISTRATIONS.c.personal_code, REGISTRATIONS.c.request_sha256)
    row = tx.execute(query.where(REGISTRATIONS.c.application_id == application_id)).one_or_none()
    return Registration(row.personal_code, row.request_sha256) if row else None


def insert_registration(tx: Connection, application_id: str, registration: Registration) -> None:
    tx.execute(
        insert(REGISTRATIONS).values(
            application_id=application_id,
            personal_code=registration.personal_code,
            request_sha256=registration.request_sha256,
        )
    )


def find_officer(tx: Connection, personal_code: str) -> str | None:
    """The name of an active officer, or None."""
    query = select(OFFICERS.c.name).where(OFFICERS.c.personal_code == personal_code, OFFICERS.c.active.is_(True))
    return tx.execute(query).scalar_one_or_none()


def insert_officer(tx: Connection, personal_code: str, name: str) -> None:
    if tx.execute(select(OFFICERS.c.name).where(OFFICERS.c.personal_code == personal_code)).one_or_none() is None:
        tx.execute(insert(OFFICERS).values(personal_code=personal_code, name=name, active=True))


@dataclass(frozen=True, slots=True)
class LookUp:
    number: int
    kind: str
    at: datetime
    payload: dict[str, str]


def recent_look_ups(tx: Connection, limit: int = 100) -> list[LookUp]:
    query = select(JOURNAL.c.number, JOURNAL.c.kind, JOURNAL.c.at, JOURNAL.c.payload)
    rows = tx.execute(query.order_by(JOURNAL.c.number.desc()).limit(limit))
    return [LookUp(row.number, row.kind, row.at, json.loads(row.payload)) for row in rows]
