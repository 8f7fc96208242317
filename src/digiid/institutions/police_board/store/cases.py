"""Cases about a document or a person, with their reports and notes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text, func, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.domain.case import CaseKind, CaseState
from digiid.institutions.police_board.store.schema import CODE, ID, NAME, column_values, metadata
from digiid.kernel.errors import NotFound
from digiid.platform.db import UtcDateTime

CASES = Table(
    "cases",
    metadata,
    Column("case_id", ID, primary_key=True),
    Column("case_number", String(20), nullable=False, unique=True),
    Column("kind", CODE, nullable=False),
    Column("subject", NAME, nullable=False),
    Column("title", NAME, nullable=False),
    Column("state", CODE, nullable=False),
    Column("document_number", String(20)),
    Column("person_code", String(11)),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("closed_by", NAME),
    Column("close_reason", Text),
)
Index("cases_state", CASES.c.state, CASES.c.changed_at)
Index("cases_subject", CASES.c.subject, CASES.c.state)
CASE_REPORTS = Table(
    "case_reports",
    metadata,
    Column("report_id", String(64), primary_key=True),
    Column("case_id", ID, ForeignKey("cases.case_id"), nullable=False),
    Column("kind", CODE, nullable=False),
    Column("place", NAME, nullable=False),
    Column("text", Text, nullable=False),
    Column("contact", NAME, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("case_reports_case", CASE_REPORTS.c.case_id)
CASE_NOTES = Table(
    "case_notes",
    metadata,
    Column("note_id", ID, primary_key=True),
    Column("case_id", ID, ForeignKey("cases.case_id"), nullable=False),
    Column("officer", NAME, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("case_notes_case", CASE_NOTES.c.case_id)


@dataclass(frozen=True, slots=True)
class Case:
    case_id: str
    case_number: str
    kind: CaseKind
    subject: str
    title: str
    state: CaseState
    document_number: str | None
    person_code: str | None
    opened_at: datetime
    changed_at: datetime
    closed_by: str | None = None
    close_reason: str | None = None


@dataclass(frozen=True, slots=True)
class CaseReport:
    report_id: str
    case_id: str
    kind: str
    place: str
    text: str
    contact: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CaseNote:
    note_id: str
    case_id: str
    officer: str
    text: str
    at: datetime


def add_case(tx: Connection, case: Case) -> None:
    tx.execute(insert(CASES).values(**column_values(case)))


def get_case(tx: Connection, case_id: str) -> Case:
    """Raises: NotFound `case.unknown`."""
    found = _cases(tx, CASES.c.case_id == case_id)
    if not found:
        raise NotFound("case.unknown", case_id, public="There is no such case.")
    return found[0]


def find_open_case(tx: Connection, *, kind: CaseKind, subject: str) -> Case | None:
    where = (CASES.c.subject == subject, CASES.c.kind == kind.value, CASES.c.state == CaseState.OPEN.value)
    return next(iter(_cases(tx, *where)), None)


def find_cases(tx: Connection, state: CaseState, *, limit: int = 200) -> list[Case]:
    return _cases(tx, CASES.c.state == state.value, limit=limit)


def find_cases_of(tx: Connection, *, document_number: str | None, person_code: str | None) -> list[Case]:
    """Cases about this document or this person, newest first."""
    where = CASES.c.document_number == document_number
    if person_code:
        where = where | (CASES.c.person_code == person_code)
    return _cases(tx, where)


def count_open_cases(tx: Connection) -> int:
    where = CASES.c.state == CaseState.OPEN.value
    return int(tx.execute(select(func.count()).select_from(CASES).where(where)).scalar_one())


def change_case(tx: Connection, case_id: str, **values: Any) -> None:
    tx.execute(update(CASES).where(CASES.c.case_id == case_id).values(**values))


def _cases(tx: Connection, *where: Any, limit: int = 200) -> list[Case]:
    rows = tx.execute(select(*CASES.c).where(*where).order_by(CASES.c.changed_at.desc()).limit(limit)).mappings()
    return [Case(**{**row, "kind": CaseKind(row["kind"]), "state": CaseState(row["state"])}) for row in rows]


def find_report(tx: Connection, report_id: str) -> CaseReport | None:
    row = tx.execute(select(*CASE_REPORTS.c).where(CASE_REPORTS.c.report_id == report_id)).mappings().one_or_none()
    return CaseReport(**row) if row else None


def add_report(tx: Connection, report: CaseReport) -> None:
    tx.execute(insert(CASE_REPORTS).values(**column_values(report)))


def find_reports(tx: Connection, case_id: str) -> list[CaseReport]:
    query = select(*CASE_REPORTS.c).where(CASE_REPORTS.c.case_id == case_id).order_by(CASE_REPORTS.c.at.desc())
    return [CaseReport(**row) for row in tx.execute(query.limit(200)).mappings()]


def count_reports(tx: Connection) -> dict[str, int]:
    """case id → number of reports."""
    rows = tx.execute(select(CASE_REPORTS.c.case_id, func.count()).group_by(CASE_REPORTS.c.case_id))
    return {case_id: int(count) for case_id, count in rows}


def add_note(tx: Connection, note: CaseNote) -> None:
    tx.execute(insert(CASE_NOTES).values(**column_values(note)))


def find_notes(tx: Connection, case_id: str) -> list[CaseNote]:
    query = select(*CASE_NOTES.c).where(CASE_NOTES.c.case_id == case_id).order_by(CASE_NOTES.c.at)
    return [CaseNote(**row) for row in tx.execute(query).mappings()]
