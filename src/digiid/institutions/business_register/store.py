"""The register's tables, one function per question."""

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    case,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection, RowMapping

from digiid.institutions.business_register.domain import Company, CompanyStatus, Filing, Role, RoleKind
from digiid.platform.db import UtcDateTime
from digiid.platform.disclosures import disclosures_table
from digiid.platform.journal import journal_table
from digiid.platform.outbox import outbox_table
from digiid.platform.sent_requests import sent_requests_table
from digiid.platform.web.sessions import sessions_table

MAX_FOUND = 50

metadata = MetaData()
JOURNAL = journal_table(metadata)
DISCLOSURES = disclosures_table(metadata)
SENT_REQUESTS = sent_requests_table(metadata)
OUTBOX = outbox_table(metadata)
SESSIONS = sessions_table(metadata)

COMPANIES = Table(
    "companies",
    metadata,
    Column("registry_code", String(8), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("folded_name", Text, nullable=False),
    Column("legal_form", String(20), nullable=False),
    Column("status", String(1), nullable=False),
    Column("address", String(300), nullable=False),
    Column("share_capital_cents", BigInteger, nullable=False),
    Column("registered_on", Date, nullable=False),
    Column("deleted_on", Date),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("request_sha256", LargeBinary(32)),  # NULL for companies that were entered before it was kept
)
Index("companies_name", COMPANIES.c.folded_name)
ROLES = Table(
    "roles",
    metadata,
    Column("role_id", String(64), primary_key=True),
    Column("registry_code", String(8), nullable=False),
    Column("kind", String(30), nullable=False),
    Column("personal_code", String(11), nullable=False),
    Column("name", String(200), nullable=False),
    Column("from_on", Date, nullable=False),
    Column("until_on", Date),
    Column("representation", String(10)),
    Column("share_cents", BigInteger),
)
Index("roles_company", ROLES.c.registry_code)
Index("roles_person", ROLES.c.personal_code)
FILINGS = Table(
    "filings",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("registry_code", String(8), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("text", Text, nullable=False),
    Column("basis", String(200), nullable=False),
    Column("entered_by", String(200), nullable=False),
    Column("entered_at", UtcDateTime, nullable=False),
)
Index("filings_company", FILINGS.c.registry_code, FILINGS.c.number)

_COMPANY = [COMPANIES.c[name] for name in Company.__dataclass_fields__]
_ROLE = [ROLES.c[name] for name in Role.__dataclass_fields__]
_FILING = [FILINGS.c[name] for name in Filing.__dataclass_fields__]


def _company(row: RowMapping) -> Company:
    values = {name: row[name] for name in Company.__dataclass_fields__}
    return Company(**{**values, "status": CompanyStatus(row["status"])})


def _role(row: RowMapping) -> Role:
    return Role(**{**row, "kind": RoleKind(row["kind"])})


# --- companies -------------------------------------------------------------------------------------------------------


def find_company(tx: Connection, registry_code: str) -> Company | None:
    row = tx.execute(select(*_COMPANY).where(COMPANIES.c.registry_code == registry_code)).mappings().one_or_none()
    return _company(row) if row else None


def find_company_of_request(tx: Connection, request_id: str) -> tuple[Company, bytes | None] | None:
    """The company that this request entered, and the SHA-256 of what was asked; None for one of before it was kept."""
    query = select(*_COMPANY, COMPANIES.c.request_sha256).where(COMPANIES.c.request_id == request_id)
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        return None
    return _company(row), row["request_sha256"]


def find_companies_like(tx: Connection, folded_text: str) -> list[Company]:
    """Companies whose name has a word that begins so, those whose whole name begins so first."""
    text = folded_text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    name = COMPANIES.c.folded_name
    begins = name.like(f"{text}%", escape="\\")
    query = select(*_COMPANY).where(or_(begins, name.like(f"% {text}%", escape="\\")))
    query = query.order_by(case((begins, 0), else_=1), name, COMPANIES.c.registry_code).limit(MAX_FOUND)
    return [_company(row) for row in tx.execute(query).mappings()]


def find_companies_named(tx: Connection, folded_name: str) -> list[Company]:
    rows = tx.execute(select(*_COMPANY).where(COMPANIES.c.folded_name == folded_name).limit(MAX_FOUND)).mappings()
    return [_company(row) for row in rows]


def highest_registry_code(tx: Connection) -> str | None:
    return tx.execute(select(func.max(COMPANIES.c.registry_code))).scalar_one_or_none()


def insert_company(
    tx: Connection, company: Company, *, folded_name: str, request_id: str, request_sha256: bytes
) -> None:
    values = {name: getattr(company, name) for name in Company.__dataclass_fields__}
    tx.execute(
        insert(COMPANIES).values(
            **{**values, "status": company.status.value},
            folded_name=folded_name,
            request_id=request_id,
            request_sha256=request_sha256,
        )
    )


def change_status(tx: Connection, registry_code: str, status: CompanyStatus, *, deleted_on: date | None) -> None:
    changed = update(COMPANIES).where(COMPANIES.c.registry_code == registry_code)
    tx.execute(changed.values(status=status.value, deleted_on=deleted_on))


# --- roles -----------------------------------------------------------------------------------------------------------


def list_roles(tx: Connection, registry_code: str) -> list[Role]:
    """Every role that anybody ever had in the company, by kind and name."""
    query = select(*_ROLE).where(ROLES.c.registry_code == registry_code)
    query = query.order_by(ROLES.c.kind, ROLES.c.name, ROLES.c.role_id).limit(1000)
    return [_role(row) for row in tx.execute(query).mappings()]


def list_roles_of_person(tx: Connection, personal_code: str) -> list[Role]:
    query = select(*_ROLE).where(ROLES.c.personal_code == personal_code)
    query = query.order_by(ROLES.c.registry_code, ROLES.c.kind, ROLES.c.role_id).limit(1000)
    return [_role(row) for row in tx.execute(query).mappings()]


def find_role(tx: Connection, role_id: str) -> Role | None:
    row = tx.execute(select(*_ROLE).where(ROLES.c.role_id == role_id)).mappings().one_or_none()
    return _role(row) if row else None


def insert_role(tx: Connection, role: Role) -> None:
    values = {name: getattr(role, name) for name in Role.__dataclass_fields__}
    tx.execute(insert(ROLES).values(**{**values, "kind": role.kind.value}))


def end_role(tx: Connection, role_id: str, *, until_on: date) -> None:
    tx.execute(update(ROLES).where(ROLES.c.role_id == role_id).values(until_on=until_on))


# --- filings ---------------------------------------------------------------------------------------------------------


def record_filing(
    tx: Connection, registry_code: str, *, kind: str, text: str, basis: str, entered_by: str, at: datetime
) -> int:
    """Append one entry; the register counts through over all companies. Returns its number."""
    number = int(tx.execute(select(func.coalesce(func.max(FILINGS.c.number), 0))).scalar_one()) + 1
    tx.execute(
        insert(FILINGS).values(
            number=number,
            registry_code=registry_code,
            kind=kind,
            text=text,
            basis=basis,
            entered_by=entered_by,
            entered_at=at,
        )
    )
    return number


def list_filings(tx: Connection, registry_code: str, limit: int = 200) -> list[Filing]:
    """The company's entries, the newest first."""
    query = select(*_FILING).where(FILINGS.c.registry_code == registry_code)
    return [Filing(*row) for row in tx.execute(query.order_by(FILINGS.c.number.desc()).limit(limit))]
