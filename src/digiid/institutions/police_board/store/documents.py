"""Documents and the states they are in."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Column, Date, ForeignKey, Index, String, Table, Text, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.domain.document import DocumentState
from digiid.institutions.police_board.store.schema import CODE, ID, column_values, metadata
from digiid.kernel.errors import NotFound
from digiid.platform.db import UtcDateTime

DOCUMENTS = Table(
    "documents",
    metadata,
    Column("document_number", String(20), primary_key=True),
    Column("order_id", ID, ForeignKey("deliveries.order_id"), nullable=False, unique=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False),
    Column("right_id", ID, ForeignKey("rights.right_id"), nullable=False),
    Column("person_code", String(11), nullable=False),
    Column("policy", CODE, nullable=False),
    Column("state", CODE, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("issued_on", Date),
    Column("expires_on", Date),
    Column("collect_until", Date),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("documents_person", DOCUMENTS.c.person_code)
Index("documents_state", DOCUMENTS.c.state)


@dataclass(frozen=True, slots=True)
class Document:
    document_number: str
    order_id: str
    application_id: str
    right_id: str
    person_code: str
    policy: str
    state: DocumentState
    state_reason: str
    issued_on: date | None
    expires_on: date | None
    collect_until: date | None
    changed_at: datetime


def add_document(tx: Connection, document: Document) -> None:
    tx.execute(insert(DOCUMENTS).values(**column_values(document)))


def get_document(tx: Connection, document_number: str) -> Document:
    """Raises: NotFound `document.unknown`."""
    found = _documents(tx, DOCUMENTS.c.document_number == document_number)
    if not found:
        raise NotFound("document.unknown", document_number, public="There is no such document.")
    return found[0]


def find_document_of_order(tx: Connection, order_id: str) -> Document | None:
    return next(iter(_documents(tx, DOCUMENTS.c.order_id == order_id)), None)


def find_documents_of_person(tx: Connection, person_code: str) -> list[Document]:
    return _documents(tx, DOCUMENTS.c.person_code == person_code)


def find_documents_of_right(tx: Connection, right_id: str) -> list[Document]:
    return _documents(tx, DOCUMENTS.c.right_id == right_id)


def find_document_of_application(tx: Connection, application_id: str) -> Document | None:
    return next(iter(_documents(tx, DOCUMENTS.c.application_id == application_id)), None)


def find_documents(tx: Connection, *, text: str = "", limit: int = 100) -> list[Document]:
    """The newest documents; with `text`, those of this number or this person."""
    where = []
    if text:
        where.append((DOCUMENTS.c.document_number == text.upper()) | (DOCUMENTS.c.person_code == text))
    return _documents(tx, *where, limit=limit)


def find_documents_expired(tx: Connection, *, before: date) -> list[Document]:
    living = [DocumentState.ACTIVE.value, DocumentState.SUSPENDED.value]
    return _documents(tx, DOCUMENTS.c.state.in_(living), DOCUMENTS.c.expires_on < before)


def change_document(tx: Connection, document_number: str, **values: Any) -> None:
    tx.execute(update(DOCUMENTS).where(DOCUMENTS.c.document_number == document_number).values(**values))


def _documents(tx: Connection, *where: Any, limit: int = 500) -> list[Document]:
    query = select(*DOCUMENTS.c).where(*where).order_by(DOCUMENTS.c.changed_at.desc()).limit(limit)
    return [Document(**{**row, "state": DocumentState(row["state"])}) for row in tx.execute(query).mappings()]
