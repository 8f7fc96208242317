"""The bank's tables, one function per question."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.exchange.consent import revocation_tables
from digiid.institutions.bank.domain import Application, CustomerAddress
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
REVOCATIONS = revocation_tables(metadata)
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
RECEIPTS = Table(
    "consent_receipts",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("consent_reference", String(64), nullable=False),
    Column("receipt", Text, nullable=False),
    Column("obtained_at", UtcDateTime, nullable=False),
)
CONSENT_REQUESTS = Table(
    "consent_requests",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("group_reference", String(64), nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
)
ADDRESSES = Table(
    "customer_addresses",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("country", String(3), nullable=False),
    Column("region", String(100), nullable=False),
    Column("locality", String(100), nullable=False),
    Column("street", String(200), nullable=False),
    Column("postcode", String(20), nullable=False),
    Column("consent_reference", String(64), nullable=False),
    Column("fetched_at", UtcDateTime, nullable=False),
)

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


# --- the registered address ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """A consent receipt that the bank keeps, and shows to the register each time that it asks."""

    consent_reference: str
    receipt: str
    obtained_at: datetime


def find_receipt(tx: Connection, personal_code: str) -> Receipt | None:
    query = select(RECEIPTS.c.consent_reference, RECEIPTS.c.receipt, RECEIPTS.c.obtained_at)
    row = tx.execute(query.where(RECEIPTS.c.personal_code == personal_code)).one_or_none()
    return Receipt(*row) if row else None


def save_receipt(tx: Connection, personal_code: str, receipt: Receipt) -> None:
    delete_receipt(tx, personal_code)
    tx.execute(
        insert(RECEIPTS).values(
            personal_code=personal_code,
            consent_reference=receipt.consent_reference,
            receipt=receipt.receipt,
            obtained_at=receipt.obtained_at,
        )
    )


def delete_receipt(tx: Connection, personal_code: str) -> None:
    tx.execute(delete(RECEIPTS).where(RECEIPTS.c.personal_code == personal_code))


def save_consent_request(tx: Connection, personal_code: str, group_reference: str, *, at: datetime) -> None:
    """The person was led to the consent service and may come back."""
    take_consent_request(tx, personal_code)
    values = {"personal_code": personal_code, "group_reference": group_reference, "asked_at": at}
    tx.execute(insert(CONSENT_REQUESTS).values(**values))


def take_consent_request(tx: Connection, personal_code: str) -> bool:
    """Whether the person was led to the consent service and has not come back yet; they have now."""
    t = CONSENT_REQUESTS
    return tx.execute(delete(t).where(t.c.personal_code == personal_code)).rowcount > 0


_ADDRESS = [ADDRESSES.c[name] for name in CustomerAddress.__dataclass_fields__]


def find_address(tx: Connection, personal_code: str) -> CustomerAddress | None:
    row = tx.execute(select(*_ADDRESS).where(ADDRESSES.c.personal_code == personal_code)).one_or_none()
    return CustomerAddress(*row) if row else None


def save_address(tx: Connection, address: CustomerAddress) -> None:
    delete_address(tx, address.personal_code)
    tx.execute(
        insert(ADDRESSES).values(**{name: getattr(address, name) for name in CustomerAddress.__dataclass_fields__})
    )


def delete_address(tx: Connection, personal_code: str) -> None:
    tx.execute(delete(ADDRESSES).where(ADDRESSES.c.personal_code == personal_code))
