"""Proposals, the decisions they became, and challenges to those."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Column, Date, ForeignKey, Index, String, Table, Text, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import CODE, ID, NAME, column_values, metadata
from digiid.platform.db import UtcDateTime

PROPOSALS = Table(
    "proposals",
    metadata,
    Column("proposal_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False),
    Column("outcome", CODE, nullable=False),
    Column("grounds", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("proposed_by", String(20), nullable=False),
    Column("proposed_by_name", NAME, nullable=False),
    Column("proposed_at", UtcDateTime, nullable=False),
    Column("state", CODE, nullable=False),
    Column("hearing_due_on", Date),
    Column("hearing_answer", Text),
    Column("hearing_answered_at", UtcDateTime),
    Column("settled_by_name", NAME),
    Column("settled_note", Text),
    Column("settled_at", UtcDateTime),
)
Index("proposals_application", PROPOSALS.c.application_id)
DECISIONS = Table(
    "decisions",
    metadata,
    Column("decision_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False),
    Column("outcome", CODE, nullable=False),
    Column("grounds", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("proposed_by_name", NAME, nullable=False),
    Column("decided_by_name", NAME, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
)
Index("decisions_application", DECISIONS.c.application_id)
CHALLENGES = Table(
    "challenges",
    metadata,
    Column("challenge_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("lodged_at", UtcDateTime, nullable=False),
    Column("outcome", CODE),
    Column("reasons", Text),
    Column("settled_by_name", NAME),
    Column("settled_at", UtcDateTime),
)
Index("challenges_application", CHALLENGES.c.application_id)


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
    tx.execute(insert(PROPOSALS).values(**{**column_values(proposal), "grounds": json.dumps(proposal.grounds)}))


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
    tx.execute(insert(DECISIONS).values(**{**column_values(decision), "grounds": json.dumps(decision.grounds)}))


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
    tx.execute(insert(CHALLENGES).values(**column_values(challenge)))


def find_challenges(tx: Connection, application_id: str) -> list[Challenge]:
    query = select(*CHALLENGES.c).where(CHALLENGES.c.application_id == application_id).order_by(CHALLENGES.c.lodged_at)
    return [Challenge(**row) for row in tx.execute(query).mappings()]


def change_challenge(tx: Connection, challenge_id: str, **values: Any) -> None:
    tx.execute(update(CHALLENGES).where(CHALLENGES.c.challenge_id == challenge_id).values(**values))
