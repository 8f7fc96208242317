"""The board's tables and one function per question. Nothing here decides."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
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
from sqlalchemy.engine import Connection, RowMapping

from digiid.institutions.police_board.domain.application import (
    ApplicationState,
    CheckKind,
    CheckOutcome,
    CheckState,
    HitState,
    Outcome,
    Step,
)
from digiid.institutions.police_board.domain.case import CaseKind, CaseState
from digiid.institutions.police_board.domain.document import DocumentState
from digiid.institutions.police_board.domain.right import RightState
from digiid.institutions.police_board.domain.screening import KnownPerson
from digiid.kernel.errors import NotFound
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
OUTBOX = outbox_table(metadata)
SESSIONS = sessions_table(metadata)

_ID, _CODE, _NAME = String(36), String(40), String(200)

OFFICERS = Table(
    "officers",
    metadata,
    Column("personal_code", String(11), primary_key=True),
    Column("officer_id", String(20), nullable=False, unique=True),
    Column("name", _NAME, nullable=False),
    Column("role", _CODE, nullable=False),
    Column("active", Boolean, nullable=False),
)
COUNTERS = Table(
    "counters",
    metadata,
    Column("name", _CODE, primary_key=True),
    Column("value", Integer, nullable=False),
)
ACCOUNTS = Table(
    "accounts",
    metadata,
    Column("account_id", _ID, primary_key=True),
    Column("email", _NAME, nullable=False, unique=True),
    Column("language", String(5), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
SIGN_IN_LINKS = Table(
    "sign_in_links",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("email", _NAME, nullable=False),
    Column("language", String(5), nullable=False),
    Column("client", String(100), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)
Index("sign_in_links_recent", SIGN_IN_LINKS.c.email, SIGN_IN_LINKS.c.created_at)
APPLICATIONS = Table(
    "applications",
    metadata,
    Column("application_id", _ID, primary_key=True),
    Column("number", String(20), nullable=False, unique=True),
    Column("account_id", _ID, ForeignKey("accounts.account_id")),
    Column("kind", _CODE, nullable=False),
    Column("state", _CODE, nullable=False),
    Column("outcome", _CODE),
    Column("language", String(5), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("submitted_at", UtcDateTime),
    Column("decide_by", Date),
    Column("applicant_due_on", Date),
    Column("challenge_until_on", Date),
    Column("person_code", String(11)),
    # copies of what the applicant typed, filled when it is submitted: the duplicate check asks by them
    Column("born_on", Date),
    Column("document_number", String(20)),
)
Index("applications_born_on", APPLICATIONS.c.born_on)
Index("applications_document_number", APPLICATIONS.c.document_number)
Index("applications_state", APPLICATIONS.c.state, APPLICATIONS.c.decide_by)
STEPS = Table(
    "application_steps",
    metadata,
    Column("application_id", _ID, ForeignKey("applications.application_id"), primary_key=True),
    Column("step", _CODE, primary_key=True),
    Column("data", Text, nullable=False),
    Column("saved_at", UtcDateTime, nullable=False),
)
PHOTOS = Table(
    "photos",
    metadata,
    Column("application_id", _ID, ForeignKey("applications.application_id"), primary_key=True),
    Column("jpeg", LargeBinary, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("saved_at", UtcDateTime, nullable=False),
)
PAYMENTS = Table(
    "payments",
    metadata,
    Column("payment_id", _ID, primary_key=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False),
    Column("amount_cents", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", _CODE, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
)
Index("payments_application", PAYMENTS.c.application_id)
Index("payments_state", PAYMENTS.c.state, PAYMENTS.c.created_at)
CHECKS = Table(
    "checks",
    metadata,
    Column("application_id", _ID, ForeignKey("applications.application_id"), primary_key=True),
    Column("kind", _CODE, primary_key=True),
    Column("state", _CODE, nullable=False),
    Column("summary", Text, nullable=False),
    Column("run_at", UtcDateTime, nullable=False),
)
HITS = Table(
    "hits",
    metadata,
    Column("hit_id", _ID, primary_key=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False),
    Column("kind", _CODE, nullable=False),
    Column("source", _NAME, nullable=False),
    Column("reference", _NAME, nullable=False),
    Column("score", Float, nullable=False),
    Column("summary", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("state", _CODE, nullable=False),
    Column("settled_by", _NAME),
    Column("settled_reason", Text),
    Column("settled_at", UtcDateTime),
)
Index("hits_application", HITS.c.application_id)
QUESTIONS = Table(
    "questions",
    metadata,
    Column("question_id", _ID, primary_key=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False),
    Column("kind", _CODE, nullable=False),
    Column("text", Text, nullable=False),
    Column("asked_by", _NAME, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("answer", Text),
    Column("answered_at", UtcDateTime),
)
Index("questions_application", QUESTIONS.c.application_id)
PROPOSALS = Table(
    "proposals",
    metadata,
    Column("proposal_id", _ID, primary_key=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False),
    Column("outcome", _CODE, nullable=False),
    Column("grounds", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("proposed_by", String(20), nullable=False),
    Column("proposed_by_name", _NAME, nullable=False),
    Column("proposed_at", UtcDateTime, nullable=False),
    Column("state", _CODE, nullable=False),
    Column("hearing_due_on", Date),
    Column("hearing_answer", Text),
    Column("hearing_answered_at", UtcDateTime),
    Column("settled_by_name", _NAME),
    Column("settled_note", Text),
    Column("settled_at", UtcDateTime),
)
Index("proposals_application", PROPOSALS.c.application_id)
DECISIONS = Table(
    "decisions",
    metadata,
    Column("decision_id", _ID, primary_key=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False),
    Column("outcome", _CODE, nullable=False),
    Column("grounds", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("proposed_by_name", _NAME, nullable=False),
    Column("decided_by_name", _NAME, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
)
Index("decisions_application", DECISIONS.c.application_id)
CHALLENGES = Table(
    "challenges",
    metadata,
    Column("challenge_id", _ID, primary_key=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("lodged_at", UtcDateTime, nullable=False),
    Column("outcome", _CODE),
    Column("reasons", Text),
    Column("settled_by_name", _NAME),
    Column("settled_at", UtcDateTime),
)
Index("challenges_application", CHALLENGES.c.application_id)
RIGHTS = Table(
    "rights",
    metadata,
    Column("right_id", _ID, primary_key=True),
    Column("person_code", String(11), nullable=False),
    Column("basis", _CODE, nullable=False),
    Column("state", _CODE, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("limited_to", Text, nullable=False),
    Column("granted_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("rights_person", RIGHTS.c.person_code)
DELIVERIES = Table(
    "deliveries",
    metadata,
    Column("order_id", _ID, primary_key=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False, unique=True),
    Column("envelope_key", LargeBinary(32)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("envelope_shown_at", UtcDateTime),
    Column("envelope_destroyed_at", UtcDateTime),
)
DOCUMENTS = Table(
    "documents",
    metadata,
    Column("document_number", String(20), primary_key=True),
    Column("order_id", _ID, ForeignKey("deliveries.order_id"), nullable=False, unique=True),
    Column("application_id", _ID, ForeignKey("applications.application_id"), nullable=False),
    Column("right_id", _ID, ForeignKey("rights.right_id"), nullable=False),
    Column("person_code", String(11), nullable=False),
    Column("policy", _CODE, nullable=False),
    Column("state", _CODE, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("issued_on", Date),
    Column("expires_on", Date),
    Column("collect_until", Date),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("documents_person", DOCUMENTS.c.person_code)
Index("documents_state", DOCUMENTS.c.state)
MOVEMENTS = Table(
    "movements",
    metadata,
    Column("movement_id", String(64), primary_key=True),
    Column("document_number", String(20), nullable=False),
    Column("state", _CODE, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("taken", Boolean, nullable=False),
)
HAND_OVERS = Table(
    "hand_overs",
    metadata,
    Column("evidence_id", String(64), primary_key=True),
    Column("order_id", _ID, ForeignKey("deliveries.order_id"), nullable=False, unique=True),
    Column("document_number", String(20), nullable=False),
    Column("officer", _NAME, nullable=False),
    Column("officer_code", String(11), nullable=False),
    Column("pick_up_point", _NAME, nullable=False),
    Column("shown_kind", _CODE, nullable=False),
    Column("shown_number", String(20), nullable=False),
    Column("shown_country", String(3), nullable=False),
    Column("handed_over_at", UtcDateTime, nullable=False),
)
HISTORY = Table(
    "history",
    metadata,
    Column("entry", Integer, primary_key=True, autoincrement=True),
    Column("subject_kind", _CODE, nullable=False),
    Column("subject_id", _ID, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", _NAME, nullable=False),
    Column("event", _CODE, nullable=False),
    Column("from_state", _CODE, nullable=False),
    Column("to_state", _CODE, nullable=False),
    Column("legal_basis", Text, nullable=False),
    Column("note", Text, nullable=False),
)
Index("history_subject", HISTORY.c.subject_kind, HISTORY.c.subject_id)
CASES = Table(
    "cases",
    metadata,
    Column("case_id", _ID, primary_key=True),
    Column("case_number", String(20), nullable=False, unique=True),
    Column("kind", _CODE, nullable=False),
    Column("subject", _NAME, nullable=False),
    Column("title", _NAME, nullable=False),
    Column("state", _CODE, nullable=False),
    Column("document_number", String(20)),
    Column("person_code", String(11)),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("closed_by", _NAME),
    Column("close_reason", Text),
)
Index("cases_state", CASES.c.state, CASES.c.changed_at)
Index("cases_subject", CASES.c.subject, CASES.c.state)
LOOK_DELAYS = Table(
    "look_delays",
    metadata,
    Column("delay_id", _ID, primary_key=True),
    Column("person_code", String(11), nullable=False),
    Column("case_id", _ID, ForeignKey("cases.case_id"), nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("ordered_by", _NAME, nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
)
Index("look_delays_person", LOOK_DELAYS.c.person_code, LOOK_DELAYS.c.until)
CASE_REPORTS = Table(
    "case_reports",
    metadata,
    Column("report_id", String(64), primary_key=True),
    Column("case_id", _ID, ForeignKey("cases.case_id"), nullable=False),
    Column("kind", _CODE, nullable=False),
    Column("place", _NAME, nullable=False),
    Column("text", Text, nullable=False),
    Column("contact", _NAME, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("case_reports_case", CASE_REPORTS.c.case_id)
CASE_NOTES = Table(
    "case_notes",
    metadata,
    Column("note_id", _ID, primary_key=True),
    Column("case_id", _ID, ForeignKey("cases.case_id"), nullable=False),
    Column("officer", _NAME, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("case_notes_case", CASE_NOTES.c.case_id)


# --- officers, counters ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Officer:
    """`role` is `officer` (proposes, handles cases) or `deciding_officer` (also decides on others' proposals)."""

    personal_code: str
    officer_id: str
    name: str
    role: str
    active: bool


def find_officer(tx: Connection, personal_code: str) -> Officer | None:
    row = tx.execute(select(*OFFICERS.c).where(OFFICERS.c.personal_code == personal_code)).mappings().one_or_none()
    return Officer(**row) if row else None


def save_officer(tx: Connection, officer: Officer) -> None:
    tx.execute(delete(OFFICERS).where(OFFICERS.c.personal_code == officer.personal_code))
    tx.execute(insert(OFFICERS).values(**_values(officer)))


def next_number(tx: Connection, name: str) -> int:
    """The next number of a series, without gaps: the row is locked until the commit."""
    changed = tx.execute(update(COUNTERS).where(COUNTERS.c.name == name).values(value=COUNTERS.c.value + 1))
    if not changed.rowcount:
        tx.execute(insert(COUNTERS).values(name=name, value=1))
    return int(tx.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == name)).scalar_one())


# --- accounts and links ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    account_id: str
    email: str
    language: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SignInLink:
    token_hash: str
    email: str
    language: str
    client: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


def find_account(tx: Connection, *, email: str | None = None, account_id: str | None = None) -> Account | None:
    where = ACCOUNTS.c.email == email if email is not None else ACCOUNTS.c.account_id == account_id
    row = tx.execute(select(*ACCOUNTS.c).where(where)).mappings().one_or_none()
    return Account(**row) if row else None


def add_account(tx: Connection, account: Account) -> None:
    tx.execute(insert(ACCOUNTS).values(**_values(account)))


def add_link(tx: Connection, link: SignInLink) -> None:
    tx.execute(insert(SIGN_IN_LINKS).values(**_values(link)))


def find_link(tx: Connection, token_hash: str) -> SignInLink | None:
    row = tx.execute(select(*SIGN_IN_LINKS.c).where(SIGN_IN_LINKS.c.token_hash == token_hash)).mappings().one_or_none()
    return SignInLink(**row) if row else None


def use_link(tx: Connection, token_hash: str, *, at: datetime) -> None:
    tx.execute(update(SIGN_IN_LINKS).where(SIGN_IN_LINKS.c.token_hash == token_hash).values(used_at=at))


def count_links(tx: Connection, *, since: datetime, email: str | None = None, client: str | None = None) -> int:
    where = SIGN_IN_LINKS.c.email == email if email is not None else SIGN_IN_LINKS.c.client == client
    recent = SIGN_IN_LINKS.c.created_at > since
    return int(tx.execute(select(func.count()).select_from(SIGN_IN_LINKS).where(where, recent)).scalar_one())


def delete_links(tx: Connection, *, before: datetime) -> None:
    tx.execute(delete(SIGN_IN_LINKS).where(SIGN_IN_LINKS.c.expires_at < before))


# --- applications ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Application:
    """`kind` is `e_resident` or `citizen` (entered at the counter). `decide_by`: last day for the decision."""

    application_id: str
    number: str
    account_id: str | None
    kind: str
    state: ApplicationState
    outcome: Outcome | None
    language: str
    created_at: datetime
    changed_at: datetime
    submitted_at: datetime | None = None
    decide_by: date | None = None
    applicant_due_on: date | None = None
    challenge_until_on: date | None = None
    person_code: str | None = None
    born_on: date | None = None
    document_number: str | None = None


def add_application(tx: Connection, application: Application) -> None:
    tx.execute(insert(APPLICATIONS).values(**_values(application)))


def get_application(tx: Connection, application_id: str) -> Application:
    """Raises: NotFound `application.unknown`."""
    found = _applications(tx, APPLICATIONS.c.application_id == application_id)
    if not found:
        raise NotFound("application.unknown", application_id, public="There is no such application.")
    return found[0]


def find_applications_of(tx: Connection, account_id: str) -> list[Application]:
    return _applications(tx, APPLICATIONS.c.account_id == account_id)


def find_applications_in(tx: Connection, states: Sequence[ApplicationState], *, limit: int = 500) -> list[Application]:
    """Applications in these states, the one to decide first on top."""
    return _applications(tx, APPLICATIONS.c.state.in_([s.value for s in states]), limit=limit)


def find_applications_due(tx: Connection, state: ApplicationState, column: str, *, before: date) -> list[Application]:
    """Applications in `state` whose day in `column` (`applicant_due_on`, `challenge_until_on`) has passed."""
    return _applications(tx, APPLICATIONS.c.state == state.value, APPLICATIONS.c[column] < before)


def change_application(tx: Connection, application_id: str, **values: Any) -> None:
    tx.execute(update(APPLICATIONS).where(APPLICATIONS.c.application_id == application_id).values(**values))


def _applications(tx: Connection, *where: Any, limit: int = 500) -> list[Application]:
    query = select(*APPLICATIONS.c).where(*where)
    rows = tx.execute(query.order_by(APPLICATIONS.c.decide_by, APPLICATIONS.c.created_at).limit(limit)).mappings()
    return [
        Application(
            **{
                **row,
                "state": ApplicationState(row["state"]),
                "outcome": Outcome(row["outcome"]) if row["outcome"] else None,
            }
        )
        for row in rows
    ]


def count_applications(tx: Connection) -> dict[ApplicationState, int]:
    rows = tx.execute(select(APPLICATIONS.c.state, func.count()).group_by(APPLICATIONS.c.state))
    return {ApplicationState(state): int(count) for state, count in rows}


def save_step(tx: Connection, application_id: str, step: Step, data: Mapping[str, Any], *, at: datetime) -> None:
    where = (STEPS.c.application_id == application_id, STEPS.c.step == step.value)
    tx.execute(delete(STEPS).where(*where))
    values = {"application_id": application_id, "step": step.value, "data": json.dumps(data, ensure_ascii=False)}
    tx.execute(insert(STEPS).values(**values, saved_at=at))


def find_steps(tx: Connection, application_id: str) -> dict[Step, dict[str, Any]]:
    rows = tx.execute(select(STEPS.c.step, STEPS.c.data).where(STEPS.c.application_id == application_id))
    return {Step(step): json.loads(data) for step, data in rows}


def find_known_persons(tx: Connection, *, but: str, born_on: date, document_number: str) -> list[KnownPerson]:
    """Persons of other submitted applications with this birth date (or day and month exchanged) or this document."""
    days = [born_on]
    if born_on.day <= 12:
        days.append(born_on.replace(month=born_on.day, day=born_on.month))
    t = APPLICATIONS.c
    rows = tx.execute(
        select(t.number, t.born_on, t.document_number, STEPS.c.data)
        .join(STEPS, STEPS.c.application_id == t.application_id)
        .where(
            t.application_id != but,
            t.submitted_at.is_not(None),
            t.born_on.in_(days) | (t.document_number == document_number),
            STEPS.c.step == Step.PERSONAL.value,
        )
    )
    known = []
    for row in rows:
        person = json.loads(row.data)
        names = (person["given_names"], person["surname"])
        known.append(KnownPerson(row.number, *names, row.born_on, row.document_number or ""))
    return known


@dataclass(frozen=True, slots=True)
class Photo:
    application_id: str
    jpeg: bytes
    width: int
    height: int
    saved_at: datetime


def save_photo(tx: Connection, photo: Photo) -> None:
    tx.execute(delete(PHOTOS).where(PHOTOS.c.application_id == photo.application_id))
    tx.execute(insert(PHOTOS).values(**_values(photo)))


def find_photo(tx: Connection, application_id: str) -> Photo | None:
    row = tx.execute(select(*PHOTOS.c).where(PHOTOS.c.application_id == application_id)).mappings().one_or_none()
    return Photo(**row) if row else None


# --- payments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payment:
    """`state`: pending, paid, declined. `paid` is for good."""

    payment_id: str
    application_id: str
    amount_cents: int
    currency: str
    state: str
    created_at: datetime
    settled_at: datetime | None = None


def add_payment(tx: Connection, payment: Payment) -> None:
    tx.execute(insert(PAYMENTS).values(**_values(payment)))


def get_payment(tx: Connection, payment_id: str) -> Payment:
    """Raises: NotFound `payment.unknown`."""
    row = tx.execute(select(*PAYMENTS.c).where(PAYMENTS.c.payment_id == payment_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("payment.unknown", payment_id, public="There is no such payment.")
    return Payment(**row)


def find_payments(tx: Connection, application_id: str) -> list[Payment]:
    query = select(*PAYMENTS.c).where(PAYMENTS.c.application_id == application_id).order_by(PAYMENTS.c.created_at)
    return [Payment(**row) for row in tx.execute(query).mappings()]


def find_pending_payments(tx: Connection, *, before: datetime, limit: int = 50) -> list[Payment]:
    query = select(*PAYMENTS.c).where(PAYMENTS.c.state == "pending", PAYMENTS.c.created_at < before)
    return [Payment(**row) for row in tx.execute(query.order_by(PAYMENTS.c.created_at).limit(limit)).mappings()]


def settle_payment(tx: Connection, payment_id: str, *, state: str, at: datetime) -> None:
    tx.execute(update(PAYMENTS).where(PAYMENTS.c.payment_id == payment_id).values(state=state, settled_at=at))


# --- checks and hits -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredCheck:
    application_id: str
    kind: CheckKind
    state: CheckState
    summary: str
    run_at: datetime


@dataclass(frozen=True, slots=True)
class StoredHit:
    hit_id: str
    application_id: str
    kind: CheckKind
    source: str
    reference: str
    score: float
    summary: str
    evidence: tuple[tuple[str, str], ...]
    state: HitState
    settled_by: str | None = None
    settled_reason: str | None = None
    settled_at: datetime | None = None


def save_check(tx: Connection, check: StoredCheck) -> None:
    where = (CHECKS.c.application_id == check.application_id, CHECKS.c.kind == check.kind.value)
    tx.execute(delete(CHECKS).where(*where))
    tx.execute(insert(CHECKS).values(**_values(check)))


def find_checks(tx: Connection, application_id: str) -> list[StoredCheck]:
    rows = tx.execute(select(*CHECKS.c).where(CHECKS.c.application_id == application_id)).mappings()
    found = [StoredCheck(**{**r, "kind": CheckKind(r["kind"]), "state": CheckState(r["state"])}) for r in rows]
    return sorted(found, key=lambda check: list(CheckKind).index(check.kind))


def find_check_outcomes(tx: Connection, application_id: str) -> list[CheckOutcome]:
    hits = find_hits(tx, application_id)
    return [
        CheckOutcome(
            check.kind,
            check.state,
            sum(hit.kind is check.kind and hit.state is not HitState.CLEARED for hit in hits),
        )
        for check in find_checks(tx, application_id)
    ]


def add_hit(tx: Connection, hit: StoredHit) -> None:
    tx.execute(insert(HITS).values(**{**_values(hit), "evidence": json.dumps(hit.evidence, ensure_ascii=False)}))


def delete_hit(tx: Connection, hit_id: str) -> None:
    tx.execute(delete(HITS).where(HITS.c.hit_id == hit_id))


def find_hits(tx: Connection, application_id: str) -> list[StoredHit]:
    query = select(*HITS.c).where(HITS.c.application_id == application_id)
    return [_hit(row) for row in tx.execute(query.order_by(HITS.c.kind, HITS.c.score.desc())).mappings()]


def get_hit(tx: Connection, hit_id: str) -> StoredHit:
    """Raises: NotFound `hit.unknown`."""
    row = tx.execute(select(*HITS.c).where(HITS.c.hit_id == hit_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("hit.unknown", hit_id, public="There is no such hit.")
    return _hit(row)


def settle_hit(tx: Connection, hit_id: str, *, state: HitState, by: str, reason: str, at: datetime) -> None:
    values = {"state": state.value, "settled_by": by, "settled_reason": reason, "settled_at": at}
    tx.execute(update(HITS).where(HITS.c.hit_id == hit_id).values(**values))


def _hit(row: RowMapping) -> StoredHit:
    evidence = tuple((str(name), str(value)) for name, value in json.loads(row["evidence"]))
    changed = {"kind": CheckKind(row["kind"]), "state": HitState(row["state"]), "evidence": evidence}
    return StoredHit(**{**row, **changed})


# --- questions, proposals, decisions, challenges ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """`kind`: `question`, or `deficiency` for something that must be put right."""

    question_id: str
    application_id: str
    kind: str
    text: str
    asked_by: str
    asked_at: datetime
    due_on: date
    answer: str | None = None
    answered_at: datetime | None = None


def add_question(tx: Connection, question: Question) -> None:
    tx.execute(insert(QUESTIONS).values(**_values(question)))


def find_questions(tx: Connection, application_id: str) -> list[Question]:
    query = select(*QUESTIONS.c).where(QUESTIONS.c.application_id == application_id).order_by(QUESTIONS.c.asked_at)
    return [Question(**row) for row in tx.execute(query).mappings()]


def answer_question(tx: Connection, question_id: str, *, answer: str, at: datetime) -> None:
    where = QUESTIONS.c.question_id == question_id
    tx.execute(update(QUESTIONS).where(where).values(answer=answer, answered_at=at))


@dataclass(frozen=True, slots=True)
class StoredProposal:
    """`state`: open, taken (it became the decision), rejected."""

    proposal_id: str
    application_id: str
    outcome: str
    grounds: tuple[str, ...]
    reasons: str
    proposed_by: str
    proposed_by_name: str
    proposed_at: datetime
    state: str
    hearing_due_on: date | None = None
    hearing_answer: str | None = None
    hearing_answered_at: datetime | None = None
    settled_by_name: str | None = None
    settled_note: str | None = None
    settled_at: datetime | None = None


def add_proposal(tx: Connection, proposal: StoredProposal) -> None:
    tx.execute(insert(PROPOSALS).values(**{**_values(proposal), "grounds": json.dumps(proposal.grounds)}))


def find_proposals(tx: Connection, application_id: str) -> list[StoredProposal]:
    query = select(*PROPOSALS.c).where(PROPOSALS.c.application_id == application_id).order_by(PROPOSALS.c.proposed_at)
    rows = tx.execute(query).mappings()
    return [StoredProposal(**{**row, "grounds": tuple(json.loads(row["grounds"]))}) for row in rows]


def find_open_proposal(tx: Connection, application_id: str) -> StoredProposal | None:
    return next((p for p in find_proposals(tx, application_id) if p.state == "open"), None)


def find_open_proposals(tx: Connection) -> dict[str, StoredProposal]:
    """application id → its open proposal."""
    rows = tx.execute(select(*PROPOSALS.c).where(PROPOSALS.c.state == "open")).mappings()
    return {r["application_id"]: StoredProposal(**{**r, "grounds": tuple(json.loads(r["grounds"]))}) for r in rows}


def change_proposal(tx: Connection, proposal_id: str, **values: Any) -> None:
    tx.execute(update(PROPOSALS).where(PROPOSALS.c.proposal_id == proposal_id).values(**values))


@dataclass(frozen=True, slots=True)
class Decision:
    decision_id: str
    application_id: str
    outcome: str
    grounds: tuple[str, ...]
    reasons: str
    proposed_by_name: str
    decided_by_name: str
    decided_at: datetime


def add_decision(tx: Connection, decision: Decision) -> None:
    tx.execute(insert(DECISIONS).values(**{**_values(decision), "grounds": json.dumps(decision.grounds)}))


def find_decisions(tx: Connection, application_id: str) -> list[Decision]:
    query = select(*DECISIONS.c).where(DECISIONS.c.application_id == application_id).order_by(DECISIONS.c.decided_at)
    return [Decision(**{**r, "grounds": tuple(json.loads(r["grounds"]))}) for r in tx.execute(query).mappings()]


@dataclass(frozen=True, slots=True)
class Challenge:
    challenge_id: str
    application_id: str
    text: str
    lodged_at: datetime
    outcome: str | None = None
    reasons: str | None = None
    settled_by_name: str | None = None
    settled_at: datetime | None = None


def add_challenge(tx: Connection, challenge: Challenge) -> None:
    tx.execute(insert(CHALLENGES).values(**_values(challenge)))


def find_challenges(tx: Connection, application_id: str) -> list[Challenge]:
    query = select(*CHALLENGES.c).where(CHALLENGES.c.application_id == application_id).order_by(CHALLENGES.c.lodged_at)
    return [Challenge(**row) for row in tx.execute(query).mappings()]


def change_challenge(tx: Connection, challenge_id: str, **values: Any) -> None:
    tx.execute(update(CHALLENGES).where(CHALLENGES.c.challenge_id == challenge_id).values(**values))


# --- rights, deliveries, documents -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Right:
    """`basis` is `e_resident` or `citizen`. `limited_to` names e-services while the state is `limited`."""

    right_id: str
    person_code: str
    basis: str
    state: RightState
    state_reason: str
    limited_to: tuple[str, ...]
    granted_at: datetime
    changed_at: datetime


def add_right(tx: Connection, right: Right) -> None:
    tx.execute(insert(RIGHTS).values(**{**_values(right), "limited_to": json.dumps(right.limited_to)}))


def get_right(tx: Connection, right_id: str) -> Right:
    """Raises: NotFound `right.unknown`."""
    row = tx.execute(select(*RIGHTS.c).where(RIGHTS.c.right_id == right_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("right.unknown", right_id)
    return _right(row)


def find_living_right(tx: Connection, person_code: str, *, basis: str) -> Right | None:
    """The person's right that is neither annulled nor lapsed."""
    ended = [RightState.ANNULLED.value, RightState.LAPSED.value]
    where = (RIGHTS.c.person_code == person_code, RIGHTS.c.basis == basis, RIGHTS.c.state.not_in(ended))
    row = tx.execute(select(*RIGHTS.c).where(*where)).mappings().first()
    return _right(row) if row else None


def find_latest_right(tx: Connection, person_code: str, *, basis: str) -> Right | None:
    """The right that was granted last, whatever became of it."""
    where = (RIGHTS.c.person_code == person_code, RIGHTS.c.basis == basis)
    query = select(*RIGHTS.c).where(*where).order_by(RIGHTS.c.granted_at.desc(), RIGHTS.c.right_id).limit(1)
    row = tx.execute(query).mappings().one_or_none()
    return _right(row) if row else None


def change_right(tx: Connection, right_id: str, **values: Any) -> None:
    tx.execute(update(RIGHTS).where(RIGHTS.c.right_id == right_id).values(**values))


def _right(row: RowMapping) -> Right:
    return Right(**{**row, "state": RightState(row["state"]), "limited_to": tuple(json.loads(row["limited_to"]))})


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """Our half of the PIN envelope. `envelope_key` is gone once the holder has confirmed, for good."""

    order_id: str
    application_id: str
    envelope_key: bytes | None
    created_at: datetime
    envelope_shown_at: datetime | None = None
    envelope_destroyed_at: datetime | None = None

    def __repr__(self) -> str:
        return f"DeliveryRecord(order_id={self.order_id!r})"  # a key never gets into a log by way of its record


def add_delivery(tx: Connection, delivery: DeliveryRecord) -> None:
    tx.execute(insert(DELIVERIES).values(**_values(delivery)))


def find_delivery(
    tx: Connection, *, order_id: str | None = None, application_id: str | None = None
) -> DeliveryRecord | None:
    where = DELIVERIES.c.order_id == order_id if order_id else DELIVERIES.c.application_id == application_id
    row = tx.execute(select(*DELIVERIES.c).where(where)).mappings().one_or_none()
    return DeliveryRecord(**row) if row else None


def find_opened_deliveries(tx: Connection, *, before: datetime) -> list[DeliveryRecord]:
    """Deliveries whose envelope was opened before then and still has its key."""
    where = (DELIVERIES.c.envelope_key.is_not(None), DELIVERIES.c.envelope_shown_at < before)
    return [DeliveryRecord(**row) for row in tx.execute(select(*DELIVERIES.c).where(*where)).mappings()]


def change_delivery(tx: Connection, order_id: str, **values: Any) -> None:
    tx.execute(update(DELIVERIES).where(DELIVERIES.c.order_id == order_id).values(**values))


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
    tx.execute(insert(DOCUMENTS).values(**_values(document)))


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


def add_movement(
    tx: Connection, *, movement_id: str, document_number: str, state: str, at: datetime, taken: bool
) -> bool:
    """Record a movement report; False when it was there already."""
    if tx.execute(select(MOVEMENTS.c.movement_id).where(MOVEMENTS.c.movement_id == movement_id)).first():
        return False
    values = {"movement_id": movement_id, "document_number": document_number, "state": state, "at": at}
    tx.execute(insert(MOVEMENTS).values(**values, taken=taken))
    return True


def find_movement(tx: Connection, movement_id: str) -> bool:
    return tx.execute(select(MOVEMENTS.c.movement_id).where(MOVEMENTS.c.movement_id == movement_id)).first() is not None


@dataclass(frozen=True, slots=True)
class HandOver:
    evidence_id: str
    order_id: str
    document_number: str
    officer: str
    officer_code: str
    pick_up_point: str
    shown_kind: str
    shown_number: str
    shown_country: str
    handed_over_at: datetime


def add_hand_over(tx: Connection, hand_over: HandOver) -> None:
    tx.execute(insert(HAND_OVERS).values(**_values(hand_over)))


def find_hand_over(tx: Connection, order_id: str) -> HandOver | None:
    row = tx.execute(select(*HAND_OVERS.c).where(HAND_OVERS.c.order_id == order_id)).mappings().one_or_none()
    return HandOver(**row) if row else None


# --- history ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    subject_kind: str
    subject_id: str
    at: datetime
    actor: str
    event: str
    from_state: str
    to_state: str
    legal_basis: str
    note: str


def record_history(tx: Connection, entry: HistoryEntry) -> None:
    tx.execute(insert(HISTORY).values(**_values(entry)))


def find_history(tx: Connection, subject_kind: str, subject_id: str) -> list[HistoryEntry]:
    columns = [column for column in HISTORY.c if column.name != "entry"]
    where = (HISTORY.c.subject_kind == subject_kind, HISTORY.c.subject_id == subject_id)
    return [
        HistoryEntry(**row) for row in tx.execute(select(*columns).where(*where).order_by(HISTORY.c.entry)).mappings()
    ]


# --- messages that their receiver refused ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    position: int
    kind: str
    last_error: str | None
    created_at: datetime
    payload: str


def find_refused_messages(tx: Connection) -> list[RefusedMessage]:
    """Oldest first."""
    t = OUTBOX.c
    query = select(t.position, t.kind, t.last_error, t.created_at, t.payload).where(t.state == "refused")
    return [RefusedMessage(**row) for row in tx.execute(query.order_by(t.position).limit(100)).mappings()]


def release_refused_message(tx: Connection, position: int, *, at: datetime) -> bool:
    """Put a refused message back among those that wait; False when it is not refused."""
    where = (OUTBOX.c.position == position, OUTBOX.c.state == "refused")
    values = {"state": "waiting", "attempts": 0, "next_attempt_at": at}
    return tx.execute(update(OUTBOX).where(*where).values(**values)).rowcount == 1


# --- cases -----------------------------------------------------------------------------------------------------------


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
    tx.execute(insert(CASES).values(**_values(case)))


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


@dataclass(frozen=True, slots=True)
class LookDelay:
    """An order in a case: the officers' looks at this person are shown to the person only from `until`."""

    delay_id: str
    person_code: str
    case_id: str
    until: datetime
    reason: str
    ordered_by: str
    ordered_at: datetime


def add_look_delay(tx: Connection, delay: LookDelay) -> None:
    tx.execute(insert(LOOK_DELAYS).values(**_values(delay)))


def find_look_delay(tx: Connection, person_code: str, at: datetime) -> LookDelay | None:
    """The order in force for a person; of several the one that lasts longest."""
    where = (LOOK_DELAYS.c.person_code == person_code, LOOK_DELAYS.c.until > at)
    query = select(*LOOK_DELAYS.c).where(*where).order_by(LOOK_DELAYS.c.until.desc()).limit(1)
    row = tx.execute(query).mappings().one_or_none()
    return LookDelay(**row) if row else None


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
    tx.execute(insert(CASE_REPORTS).values(**_values(report)))


def find_reports(tx: Connection, case_id: str) -> list[CaseReport]:
    query = select(*CASE_REPORTS.c).where(CASE_REPORTS.c.case_id == case_id).order_by(CASE_REPORTS.c.at.desc())
    return [CaseReport(**row) for row in tx.execute(query.limit(200)).mappings()]


def count_reports(tx: Connection) -> dict[str, int]:
    """case id → number of reports."""
    rows = tx.execute(select(CASE_REPORTS.c.case_id, func.count()).group_by(CASE_REPORTS.c.case_id))
    return {case_id: int(count) for case_id, count in rows}


def add_note(tx: Connection, note: CaseNote) -> None:
    tx.execute(insert(CASE_NOTES).values(**_values(note)))


def find_notes(tx: Connection, case_id: str) -> list[CaseNote]:
    query = select(*CASE_NOTES.c).where(CASE_NOTES.c.case_id == case_id).order_by(CASE_NOTES.c.at)
    return [CaseNote(**row) for row in tx.execute(query).mappings()]


def _values(record: Any) -> dict[str, Any]:
    """A record's fields as column values; a StrEnum is stored as its text."""
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return {name: str(value) if isinstance(value, str) else value for name, value in values.items()}
