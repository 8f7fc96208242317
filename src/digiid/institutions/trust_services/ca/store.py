"""The CA's tables: orders, certificates with the step of the ladder they are at, revocation lists, journal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    Column,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.formats.x509.profile import (
    CertificateKind,
    DocumentPolicy,
    ExchangeSubject,
    Holder,
    Organization,
)
from digiid.institutions.trust_services.ca.domain import PAIR
from digiid.institutions.trust_services.status import serial_text
from digiid.platform.db import UtcDateTime
from digiid.platform.disclosures import disclosures_table
from digiid.platform.journal import journal_table
from digiid.platform.sent_requests import sent_requests_table

METADATA: Final = MetaData()
JOURNAL: Final = journal_table(METADATA)
DISCLOSURES: Final = disclosures_table(METADATA)
SENT_REQUESTS: Final = sent_requests_table(METADATA)

ORDERS: Final = Table(
    "certificate_order",
    METADATA,
    Column("order_id", String(64), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("document_number", String(20), nullable=False, unique=True),
    Column("policy", String(20), nullable=False),
    Column("personal_code", String(11), nullable=False),
    Column("surname", String(100), nullable=False),
    Column("given_names", String(100), nullable=False),
    Column("expires_on", Date, nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
)
# An order for a seal has its row in both: `certificate_order` with the columns of the person empty, and this one.
SEAL_ORDERS: Final = Table(
    "seal_order",
    METADATA,
    Column("order_id", String(64), primary_key=True),
    Column("kind", String(30), nullable=False),
    Column("registry_code", String(8), nullable=False),
    Column("organization", String(64), nullable=False),
    Column("seal_name", String(64), nullable=False),
)
# The same for an order of a member of the exchange.
EXCHANGE_ORDERS: Final = Table(
    "exchange_order",
    METADATA,
    Column("order_id", String(64), primary_key=True),
    Column("kind", String(30), nullable=False),
    Column("member_class", String(20), nullable=False),
    Column("member_code", String(8), nullable=False),
    Column("name", String(64), nullable=False),
    Column("common_name", String(64), nullable=False),
)
CERTIFICATES: Final = Table(
    "certificate",
    METADATA,
    Column("serial_number", String(32), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("kind", String(30), nullable=False),
    Column("step", String(20), nullable=False),
    Column("spki_der", LargeBinary, nullable=False),
    Column("spki_sha256", LargeBinary(32), nullable=False, unique=True),
    Column("not_before_at", UtcDateTime, nullable=False),
    Column("not_after_at", UtcDateTime, nullable=False),
    Column("tbs_der", LargeBinary),
    Column("certificate_der", LargeBinary),
    UniqueConstraint("order_id", "kind"),
)
BLOCKED_KEYS: Final = Table(
    "blocked_key",
    METADATA,
    Column("spki_sha256", LargeBinary(32), primary_key=True),
    Column("reason", String(200), nullable=False),
    Column("blocked_at", UtcDateTime, nullable=False),
)
CRLS: Final = Table(
    "revocation_list",
    METADATA,
    Column("ca", String(20), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("change_number", Integer, nullable=False),
    Column("this_update_at", UtcDateTime, nullable=False),
    Column("next_update_at", UtcDateTime, nullable=False),
    Column("crl_der", LargeBinary, nullable=False),
)


class Step(StrEnum):
    """How far a certificate has come. RECORDED: serial taken. STORED: linted and stored. SIGNED: it exists."""

    RECORDED = "recorded"
    STORED = "stored"
    SIGNED = "signed"


@dataclass(frozen=True, slots=True)
class StoredOrder:
    order_id: str
    digest: bytes
    document_number: str
    policy: DocumentPolicy | None
    holder: Holder | Organization | ExchangeSubject
    kinds: tuple[CertificateKind, ...]


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    serial_number: int
    order_id: str
    kind: CertificateKind
    step: Step
    spki_der: bytes
    not_before_at: datetime
    not_after_at: datetime
    tbs_der: bytes | None
    certificate_der: bytes | None


@dataclass(frozen=True, slots=True)
class StoredCrl:
    ca: str
    number: int
    change_number: int
    this_update_at: datetime
    next_update_at: datetime
    crl_der: bytes


def find_order(tx: Connection, *, order_id: str) -> StoredOrder | None:
    c = ORDERS.c
    row = tx.execute(_ORDER_QUERY.where(c.order_id == order_id)).one_or_none()
    return _order_of(row) if row else None


def find_order_of_document(tx: Connection, *, document_number: str) -> StoredOrder | None:
    c = ORDERS.c
    row = tx.execute(_ORDER_QUERY.where(c.document_number == document_number)).one_or_none()
    return _order_of(row) if row else None


_ORDER_QUERY: Final = select(
    ORDERS.c.order_id,
    ORDERS.c.digest,
    ORDERS.c.document_number,
    ORDERS.c.policy,
    ORDERS.c.personal_code,
    ORDERS.c.surname,
    ORDERS.c.given_names,
    SEAL_ORDERS.c.kind,
    SEAL_ORDERS.c.registry_code,
    SEAL_ORDERS.c.organization,
    SEAL_ORDERS.c.seal_name,
    EXCHANGE_ORDERS.c.kind.label("exchange_kind"),
    EXCHANGE_ORDERS.c.member_class,
    EXCHANGE_ORDERS.c.member_code,
    EXCHANGE_ORDERS.c.name,
    EXCHANGE_ORDERS.c.common_name,
).select_from(
    ORDERS.outerjoin(SEAL_ORDERS, ORDERS.c.order_id == SEAL_ORDERS.c.order_id).outerjoin(
        EXCHANGE_ORDERS, ORDERS.c.order_id == EXCHANGE_ORDERS.c.order_id
    )
)


def _order_of(row: Any) -> StoredOrder:
    head = (row.order_id, bytes(row.digest), row.document_number)
    if row.kind is not None:
        organization = Organization(row.registry_code, row.organization, row.seal_name)
        return StoredOrder(*head, policy=None, holder=organization, kinds=(CertificateKind(row.kind),))
    if row.exchange_kind is not None:
        subject = ExchangeSubject(row.member_class, row.member_code, row.name, row.common_name)
        return StoredOrder(*head, policy=None, holder=subject, kinds=(CertificateKind(row.exchange_kind),))
    holder = Holder(row.personal_code, row.surname, row.given_names)
    return StoredOrder(*head, policy=DocumentPolicy(row.policy), holder=holder, kinds=PAIR)


def record_order(
    tx: Connection,
    *,
    order_id: str,
    digest: bytes,
    document_number: str,
    policy: DocumentPolicy,
    holder: Holder,
    expires_on: date,
    ordered_at: datetime,
) -> None:
    tx.execute(
        insert(ORDERS).values(
            order_id=order_id,
            digest=digest,
            document_number=document_number,
            policy=policy.value,
            personal_code=holder.personal_code,
            surname=holder.surname,
            given_names=holder.given_names,
            expires_on=expires_on,
            ordered_at=ordered_at,
        )
    )


def _record_order_of_nobody(
    tx: Connection, *, order_id: str, digest: bytes, number: str, expires_on: date, ordered_at: datetime
) -> None:
    tx.execute(
        insert(ORDERS).values(
            order_id=order_id,
            digest=digest,
            document_number=number,
            policy="",
            personal_code="",
            surname="",
            given_names="",
            expires_on=expires_on,
            ordered_at=ordered_at,
        )
    )


def record_exchange_order(
    tx: Connection,
    *,
    order_id: str,
    digest: bytes,
    number: str,
    kind: CertificateKind,
    subject: ExchangeSubject,
    expires_on: date,
    ordered_at: datetime,
) -> None:
    _record_order_of_nobody(
        tx, order_id=order_id, digest=digest, number=number, expires_on=expires_on, ordered_at=ordered_at
    )
    tx.execute(
        insert(EXCHANGE_ORDERS).values(
            order_id=order_id,
            kind=kind.value,
            member_class=subject.member_class,
            member_code=subject.member_code,
            name=subject.name,
            common_name=subject.common_name,
        )
    )


def record_seal_order(
    tx: Connection,
    *,
    order_id: str,
    digest: bytes,
    seal_number: str,
    kind: CertificateKind,
    organization: Organization,
    expires_on: date,
    ordered_at: datetime,
) -> None:
    _record_order_of_nobody(
        tx, order_id=order_id, digest=digest, number=seal_number, expires_on=expires_on, ordered_at=ordered_at
    )
    tx.execute(
        insert(SEAL_ORDERS).values(
            order_id=order_id,
            kind=kind.value,
            registry_code=organization.registry_code,
            organization=organization.name,
            seal_name=organization.seal_name,
        )
    )


def record_serial(
    tx: Connection,
    *,
    serial_number: int,
    order_id: str,
    kind: CertificateKind,
    spki_der: bytes,
    spki_sha256: bytes,
    not_before_at: datetime,
    not_after_at: datetime,
) -> None:
    """Take a serial number: the primary key lets nobody take it again."""
    tx.execute(
        insert(CERTIFICATES).values(
            serial_number=serial_text(serial_number),
            order_id=order_id,
            kind=kind.value,
            step=Step.RECORDED.value,
            spki_der=spki_der,
            spki_sha256=spki_sha256,
            not_before_at=not_before_at,
            not_after_at=not_after_at,
        )
    )


def store_tbs(tx: Connection, *, serial_number: int, tbs_der: bytes) -> None:
    """Step RECORDED → STORED; what is stored already stays as it is."""
    c = CERTIFICATES.c
    where = (c.serial_number == serial_text(serial_number)) & (c.step == Step.RECORDED.value)
    tx.execute(update(CERTIFICATES).where(where).values(tbs_der=tbs_der, step=Step.STORED.value))


def store_certificate(tx: Connection, *, serial_number: int, certificate_der: bytes) -> bool:
    """Step STORED → SIGNED. False when somebody else was first."""
    c = CERTIFICATES.c
    where = (c.serial_number == serial_text(serial_number)) & (c.step == Step.STORED.value)
    done = tx.execute(update(CERTIFICATES).where(where).values(certificate_der=certificate_der, step=Step.SIGNED.value))
    return done.rowcount == 1


def find_certificates(tx: Connection, *, order_id: str) -> list[StoredCertificate]:
    """The certificates of an order, authentication first."""
    c = CERTIFICATES.c
    rows = tx.execute(_CERTIFICATE_QUERY.where(c.order_id == order_id).order_by(c.kind)).all()
    return [_certificate_of(row) for row in rows]


def get_certificate(tx: Connection, *, serial_number: int) -> StoredCertificate:
    """The certificate with this serial number, which has to be recorded."""
    c = CERTIFICATES.c
    row = tx.execute(_CERTIFICATE_QUERY.where(c.serial_number == serial_text(serial_number))).one()
    return _certificate_of(row)


def find_number_of(tx: Connection, *, certificate_der: bytes, serial_number: int) -> str | None:
    """The number of the order that exactly this certificate was issued for."""
    c = CERTIFICATES.c
    query = select(ORDERS.c.document_number, c.certificate_der).join(ORDERS, ORDERS.c.order_id == c.order_id)
    row = tx.execute(query.where(c.serial_number == serial_text(serial_number))).one_or_none()
    if row is None or row.certificate_der is None or bytes(row.certificate_der) != certificate_der:
        return None
    return str(row.document_number)


def find_unfinished_orders(tx: Connection) -> list[str]:
    """Orders with a certificate that is not signed yet."""
    c = CERTIFICATES.c
    return list(tx.execute(select(c.order_id).where(c.step != Step.SIGNED.value).distinct()).scalars())


_CERTIFICATE_QUERY: Final = select(
    CERTIFICATES.c.serial_number,
    CERTIFICATES.c.order_id,
    CERTIFICATES.c.kind,
    CERTIFICATES.c.step,
    CERTIFICATES.c.spki_der,
    CERTIFICATES.c.not_before_at,
    CERTIFICATES.c.not_after_at,
    CERTIFICATES.c.tbs_der,
    CERTIFICATES.c.certificate_der,
)


def _certificate_of(row: Any) -> StoredCertificate:
    return StoredCertificate(
        serial_number=int(row.serial_number, 16),
        order_id=row.order_id,
        kind=CertificateKind(row.kind),
        step=Step(row.step),
        spki_der=bytes(row.spki_der),
        not_before_at=row.not_before_at,
        not_after_at=row.not_after_at,
        tbs_der=bytes(row.tbs_der) if row.tbs_der is not None else None,
        certificate_der=bytes(row.certificate_der) if row.certificate_der is not None else None,
    )


def find_key_uses(tx: Connection, *, spki_sha256s: Sequence[bytes]) -> frozenset[bytes]:
    """Which of these keys were certified or ordered before, or are blocked."""
    used = tx.execute(select(CERTIFICATES.c.spki_sha256).where(CERTIFICATES.c.spki_sha256.in_(spki_sha256s))).scalars()
    blocked = tx.execute(
        select(BLOCKED_KEYS.c.spki_sha256).where(BLOCKED_KEYS.c.spki_sha256.in_(spki_sha256s))
    ).scalars()
    return frozenset(map(bytes, (*used, *blocked)))


def block_key(tx: Connection, *, spki_sha256: bytes, reason: str, at: datetime) -> None:
    """A key that is never certified (again). Blocking it twice changes nothing."""
    known = tx.execute(select(BLOCKED_KEYS.c.spki_sha256).where(BLOCKED_KEYS.c.spki_sha256 == spki_sha256)).first()
    if known is None:
        tx.execute(insert(BLOCKED_KEYS).values(spki_sha256=spki_sha256, reason=reason, blocked_at=at))


def get_last_change(tx: Connection) -> int:
    """The number of the newest journal entry; 0 at the very beginning."""
    return int(tx.execute(select(func.max(JOURNAL.c.number))).scalar_one() or 0)


def find_latest_crl(tx: Connection, *, ca: str) -> StoredCrl | None:
    c = CRLS.c
    query = select(c.ca, c.number, c.change_number, c.this_update_at, c.next_update_at, c.crl_der)
    row = tx.execute(query.where(c.ca == ca).order_by(c.number.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return StoredCrl(row.ca, row.number, row.change_number, row.this_update_at, row.next_update_at, bytes(row.crl_der))


def record_crl(tx: Connection, crl: StoredCrl, *, keep: int) -> None:
    """Add a list and drop all but the `keep` newest of this CA."""
    tx.execute(
        insert(CRLS).values(
            ca=crl.ca,
            number=crl.number,
            change_number=crl.change_number,
            this_update_at=crl.this_update_at,
            next_update_at=crl.next_update_at,
            crl_der=crl.crl_der,
        )
    )
    tx.execute(delete(CRLS).where((CRLS.c.ca == crl.ca) & (CRLS.c.number <= crl.number - keep)))
