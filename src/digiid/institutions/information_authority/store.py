"""The portal's tables, one function per question."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    case,
    delete,
    false,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.engine import Connection

from digiid.formats.asic import DataFile
from digiid.institutions.information_authority.domain import Document
from digiid.platform.db import UtcDateTime
from digiid.platform.disclosures import disclosures_table
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.sent_requests import sent_requests_table
from digiid.platform.web.sessions import sessions_table
from digiid.platform.web.sign_ins import sign_ins_table
from digiid.platform.web.signing import pending_signatures_table

metadata = MetaData()
JOURNAL = journal_table(metadata)
DISCLOSURES = disclosures_table(metadata)
SENT_REQUESTS = sent_requests_table(metadata)
OUTBOX = outbox_table(metadata)
SESSIONS = sessions_table(metadata)
SIGN_INS = sign_ins_table(metadata)
PENDING_SIGNATURES = pending_signatures_table(metadata)

DOCUMENTS = Table(
    "documents",
    metadata,
    Column("document_id", String(36), primary_key=True),
    Column("personal_code", String(11), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("signed_at", UtcDateTime),
    Column("keep_until", UtcDateTime, nullable=False),
    Column("container", LargeBinary),
)
Index("documents_person", DOCUMENTS.c.personal_code, DOCUMENTS.c.created_at)
FILES = Table(
    "files",
    metadata,
    Column("document_id", String(36), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("content", LargeBinary, nullable=False),
)


def insert_document(tx: Connection, document: Document, files: Sequence[DataFile]) -> None:
    tx.execute(
        insert(DOCUMENTS).values(
            document_id=document.document_id,
            personal_code=document.personal_code,
            name=document.name,
            created_at=document.created_at,
            keep_until=document.keep_until,
        )
    )
    for position, file in enumerate(files):
        tx.execute(
            insert(FILES).values(
                document_id=document.document_id,
                position=position,
                name=file.name,
                media_type=file.media_type,
                content=file.content,
            )
        )


def list_documents(tx: Connection, personal_code: str) -> list[Document]:
    """A person's own documents, the newest first."""
    query = _documents().where(DOCUMENTS.c.personal_code == personal_code).order_by(DOCUMENTS.c.created_at.desc())
    return [Document(*row) for row in tx.execute(query)]


def find_document(tx: Connection, document_id: str, personal_code: str) -> Document | None:
    """A document if it is this person's own."""
    d = DOCUMENTS.c
    row = tx.execute(_documents().where(d.document_id == document_id, d.personal_code == personal_code)).one_or_none()
    return Document(*row) if row else None


def count_documents(tx: Connection, personal_code: str) -> int:
    query = select(func.count()).select_from(DOCUMENTS).where(DOCUMENTS.c.personal_code == personal_code)
    return int(tx.execute(query).scalar_one())


def _documents() -> Select[Any]:
    d = DOCUMENTS.c
    count = select(func.count()).select_from(FILES).where(FILES.c.document_id == d.document_id).scalar_subquery()
    size = func.length(d.container).label("container_size")
    begins_as_pdf = func.substr(d.container, 1, 5, type_=LargeBinary) == literal(b"%PDF-", LargeBinary)
    is_pdf = case((begins_as_pdf, true()), else_=false()).label("is_pdf")
    return select(
        d.document_id,
        d.personal_code,
        d.name,
        count.label("file_count"),
        d.created_at,
        d.signed_at,
        d.keep_until,
        size,
        is_pdf,
    )


def read_files(tx: Connection, document_id: str) -> list[DataFile]:
    f = FILES.c
    rows = tx.execute(select(f.name, f.media_type, f.content).where(f.document_id == document_id).order_by(f.position))
    return [DataFile(row.name, row.media_type, row.content) for row in rows]


def read_container(tx: Connection, document_id: str) -> bytes | None:
    return tx.execute(select(DOCUMENTS.c.container).where(DOCUMENTS.c.document_id == document_id)).scalar_one_or_none()


def keep_container(tx: Connection, document_id: str, container: bytes, at: datetime, keep_until: datetime) -> None:
    """The signed container takes the place of the files that are inside it."""
    tx.execute(
        update(DOCUMENTS)
        .where(DOCUMENTS.c.document_id == document_id)
        .values(container=container, signed_at=at, keep_until=keep_until)
    )
    tx.execute(delete(FILES).where(FILES.c.document_id == document_id))


def delete_document(tx: Connection, document_id: str) -> None:
    tx.execute(delete(FILES).where(FILES.c.document_id == document_id))
    tx.execute(delete(DOCUMENTS).where(DOCUMENTS.c.document_id == document_id))


def documents_past(tx: Connection, at: datetime) -> list[str]:
    return list(tx.execute(select(DOCUMENTS.c.document_id).where(DOCUMENTS.c.keep_until < at)).scalars())
