"""Applications with their steps and photos."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
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

from digiid.institutions.police_board.domain.application import ApplicationState, Outcome, Step
from digiid.institutions.police_board.domain.screening import KnownPerson
from digiid.institutions.police_board.store.schema import CODE, ID, column_values, metadata
from digiid.kernel.errors import NotFound
from digiid.platform.db import UtcDateTime

APPLICATIONS = Table(
    "applications",
    metadata,
    Column("application_id", ID, primary_key=True),
    Column("number", String(20), nullable=False, unique=True),
    Column("account_id", ID, ForeignKey("accounts.account_id")),
    Column("kind", CODE, nullable=False),
    Column("state", CODE, nullable=False),
    Column("outcome", CODE),
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
    Column("application_id", ID, ForeignKey("applications.application_id"), primary_key=True),
    Column("step", CODE, primary_key=True),
    Column("data", Text, nullable=False),
    Column("saved_at", UtcDateTime, nullable=False),
)
PHOTOS = Table(
    "photos",
    metadata,
    Column("application_id", ID, ForeignKey("applications.application_id"), primary_key=True),
    Column("jpeg", LargeBinary, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("saved_at", UtcDateTime, nullable=False),
)


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
    tx.execute(insert(APPLICATIONS).values(**column_values(application)))


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
    tx.execute(insert(PHOTOS).values(**column_values(photo)))


def find_photo(tx: Connection, application_id: str) -> Photo | None:
    row = tx.execute(select(*PHOTOS.c).where(PHOTOS.c.application_id == application_id)).mappings().one_or_none()
    return Photo(**row) if row else None
