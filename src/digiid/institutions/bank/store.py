"""The bank's tables, one function per question."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, String, Table, func, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.bank.domain import Application
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

APPLICATIONS = Table(
    "applications",
    metadata,
    Column("application_id", String(36), primary_key=True),
    Column("personal_code", String(11), nullable=False),
    Column("name", String(200), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("expected_use", String(1000), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("signed_at", UtcDateTime),
    Column("iban", String(34), unique=True),
    Column("account_number", Integer),
    Column("container", LargeBinary),
)
Index("applications_person", APPLICATIONS.c.personal_code)

_COLUMNS = [APPLICATIONS.c[name] for name in Application.__dataclass_fields__]


def insert_application(tx: Connection, application: Application) -> None:
    values = {name: getattr(application, name) for name in Application.__dataclass_fields__}
    tx.execute(insert(APPLICATIONS).values(**values))


def find_application(tx: Connection, application_id: str, personal_code: str) -> Application | None:
    """An application if it is this person's own."""
    query = select(*_COLUMNS).where(
        APPLICATIONS.c.application_id == application_id, APPLICATIONS.c.personal_code == personal_code
    )
    row = tx.execute(query).one_or_none()
    return Application(*row) if row else None


def list_applications(tx: Connection, personal_code: str) -> list[Application]:
    query = select(*_COLUMNS).where(APPLICATIONS.c.personal_code == personal_code)
    return [Application(*row) for row in tx.execute(query.order_by(APPLICATIONS.c.created_at.desc()).limit(100))]


def next_account_number(tx: Connection) -> int:
    return int(tx.execute(select(func.coalesce(func.max(APPLICATIONS.c.account_number), 0))).scalar_one()) + 1


def open_account(
    tx: Connection, application: Application, *, iban: str, number: int, container: bytes, at: datetime
) -> Application:
    tx.execute(
        update(APPLICATIONS)
        .where(APPLICATIONS.c.application_id == application.application_id)
        .values(iban=iban, account_number=number, container=container, signed_at=at)
    )
    return replace(application, iban=iban, signed_at=at)


def read_container(tx: Connection, application_id: str) -> bytes | None:
    query = select(APPLICATIONS.c.container).where(APPLICATIONS.c.application_id == application_id)
    return tx.execute(query).scalar_one_or_none()
