"""What an applicant was asked, and the answers."""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Column, Date, ForeignKey, Index, Table, Text, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import CODE, ID, NAME, column_values, metadata
from digiid.platform.db import UtcDateTime

QUESTIONS = Table(
    "questions",
    metadata,
    Column("question_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False),
    Column("kind", CODE, nullable=False),
    Column("text", Text, nullable=False),
    Column("asked_by", NAME, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("answer", Text),
    Column("answered_at", UtcDateTime),
)
Index("questions_application", QUESTIONS.c.application_id)


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
    tx.execute(insert(QUESTIONS).values(**column_values(question)))


def find_questions(tx: Connection, application_id: str) -> list[Question]:
    query = select(*QUESTIONS.c).where(QUESTIONS.c.application_id == application_id).order_by(QUESTIONS.c.asked_at)
    return [Question(**row) for row in tx.execute(query).mappings()]


def answer_question(tx: Connection, question_id: str, *, answer: str, at: datetime) -> None:
    where = QUESTIONS.c.question_id == question_id
    tx.execute(update(QUESTIONS).where(where).values(answer=answer, answered_at=at))
