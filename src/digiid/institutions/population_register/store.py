"""The register's tables, one function per question."""

import json
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Boolean, Column, Date, Index, Integer, MetaData, String, Table, Text, insert, or_, select, update
from sqlalchemy.engine import Connection, RowMapping

from digiid.exchange.consent import revocation_tables
from digiid.institutions.population_register.domain import Address, AddressKind, DocumentStatus, Person, Relation
from digiid.platform.db import UtcDateTime
from digiid.platform.disclosures import disclosures_table
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.sent_requests import sent_requests_table
from digiid.platform.web.sessions import sessions_table

metadata = MetaData()
JOURNAL = journal_table(metadata)
DISCLOSURES = disclosures_table(metadata)
SENT_REQUESTS = sent_requests_table(metadata)
REVOCATIONS = revocation_tables(metadata)
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

ADDRESSES = Table(
    "addresses",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("personal_code", String(11), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("country", String(3), nullable=False),
    Column("region", String(100), nullable=False),
    Column("locality", String(100), nullable=False),
    Column("street", String(200), nullable=False),
    Column("postcode", String(20), nullable=False),
    Column("from_on", Date, nullable=False),
    Column("until_on", Date),
    Column("recorded_at", UtcDateTime, nullable=False),
)
Index("addresses_person", ADDRESSES.c.personal_code, ADDRESSES.c.kind)
RELATIONS = Table(
    "relations",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(20), nullable=False),
    Column("personal_code", String(11), nullable=False),
    Column("other_code", String(11), nullable=False),
    Column("has_custody", Boolean, nullable=False),
    Column("from_on", Date, nullable=False),
    Column("until_on", Date),
    Column("recorded_at", UtcDateTime, nullable=False),
)
Index("relations_person", RELATIONS.c.personal_code)
Index("relations_other", RELATIONS.c.other_code)
DOCUMENTS = Table(
    "documents",
    metadata,
    Column("document_number", String(20), primary_key=True),
    Column("personal_code", String(11), nullable=False),
    Column("policy", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("expires_on", Date),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("documents_person", DOCUMENTS.c.personal_code)


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


_ADDRESS = [ADDRESSES.c[name] for name in Address.__dataclass_fields__]
_RELATION = [RELATIONS.c[name] for name in Relation.__dataclass_fields__]
_DOCUMENT = [DOCUMENTS.c[name] for name in DocumentStatus.__dataclass_fields__]


def list_addresses(tx: Connection, personal_code: str) -> list[Address]:
    """Every address the person ever had here, the newest first."""
    query = select(*_ADDRESS).where(ADDRESSES.c.personal_code == personal_code)
    return [Address(*row) for row in tx.execute(query.order_by(ADDRESSES.c.position.desc()).limit(500))]


def find_current_address(tx: Connection, personal_code: str, kind: AddressKind) -> Address | None:
    where = (ADDRESSES.c.personal_code == personal_code, ADDRESSES.c.kind == kind, ADDRESSES.c.until_on.is_(None))
    row = tx.execute(select(*_ADDRESS).where(*where)).one_or_none()
    return Address(*row) if row else None


def insert_address(tx: Connection, personal_code: str, address: Address, *, at: datetime) -> None:
    values = {name: getattr(address, name) for name in Address.__dataclass_fields__}
    tx.execute(insert(ADDRESSES).values(**values, personal_code=personal_code, recorded_at=at))


def end_address(tx: Connection, personal_code: str, ended: Address) -> None:
    where = (ADDRESSES.c.personal_code == personal_code, ADDRESSES.c.kind == ended.kind, ADDRESSES.c.until_on.is_(None))
    tx.execute(update(ADDRESSES).where(*where).values(until_on=ended.until_on))


def list_relations(tx: Connection, *personal_codes: str) -> list[Relation]:
    """Every relation in which one of these persons stands on either side, the newest first."""
    of_them = or_(RELATIONS.c.personal_code.in_(personal_codes), RELATIONS.c.other_code.in_(personal_codes))
    query = select(*_RELATION).where(of_them).order_by(RELATIONS.c.position.desc()).limit(500)
    return [Relation(*row) for row in tx.execute(query)]


def insert_relation(tx: Connection, relation: Relation, *, at: datetime) -> None:
    values = {name: getattr(relation, name) for name in Relation.__dataclass_fields__}
    tx.execute(insert(RELATIONS).values(**values, recorded_at=at))


def end_relation(tx: Connection, relation: Relation, *, until_on: date) -> None:
    where = (
        RELATIONS.c.kind == relation.kind,
        RELATIONS.c.personal_code == relation.personal_code,
        RELATIONS.c.other_code == relation.other_code,
        RELATIONS.c.until_on.is_(None),
    )
    tx.execute(update(RELATIONS).where(*where).values(until_on=until_on))


def find_document(tx: Connection, document_number: str) -> DocumentStatus | None:
    row = tx.execute(select(*_DOCUMENT).where(DOCUMENTS.c.document_number == document_number)).one_or_none()
    return DocumentStatus(*row) if row else None


def list_documents(tx: Connection, personal_code: str) -> list[DocumentStatus]:
    query = select(*_DOCUMENT).where(DOCUMENTS.c.personal_code == personal_code)
    return [DocumentStatus(*row) for row in tx.execute(query.order_by(DOCUMENTS.c.changed_at.desc()).limit(100))]


def save_document(tx: Connection, document: DocumentStatus) -> None:
    values = {name: getattr(document, name) for name in DocumentStatus.__dataclass_fields__}
    changed = update(DOCUMENTS).where(DOCUMENTS.c.document_number == document.document_number).values(**values)
    if tx.execute(changed).rowcount == 0:
        tx.execute(insert(DOCUMENTS).values(**values))


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
    # disclosures have a table of their own; their entries here only bind it to the chain
    query = select(JOURNAL.c.number, JOURNAL.c.kind, JOURNAL.c.at, JOURNAL.c.payload)
    query = query.where(JOURNAL.c.kind.not_like("disclosure.%"))
    rows = tx.execute(query.order_by(JOURNAL.c.number.desc()).limit(limit))
    return [LookUp(row.number, row.kind, row.at, json.loads(row.payload)) for row in rows]
