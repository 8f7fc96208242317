"""Checks of an application and what they hit."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Float, ForeignKey, Index, Table, Text, delete, insert, select, update
from sqlalchemy.engine import Connection, RowMapping

from digiid.institutions.police_board.domain.application import CheckKind, CheckOutcome, CheckState, HitState
from digiid.institutions.police_board.store.schema import CODE, ID, NAME, column_values, metadata
from digiid.kernel.errors import NotFound
from digiid.platform.db import UtcDateTime

CHECKS = Table(
    "checks",
    metadata,
    Column("application_id", ID, ForeignKey("applications.application_id"), primary_key=True),
    Column("kind", CODE, primary_key=True),
    Column("state", CODE, nullable=False),
    Column("summary", Text, nullable=False),
    Column("run_at", UtcDateTime, nullable=False),
)
HITS = Table(
    "hits",
    metadata,
    Column("hit_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id"), nullable=False),
    Column("kind", CODE, nullable=False),
    Column("source", NAME, nullable=False),
    Column("reference", NAME, nullable=False),
    Column("score", Float, nullable=False),
    Column("summary", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("state", CODE, nullable=False),
    Column("settled_by", NAME),
    Column("settled_reason", Text),
    Column("settled_at", UtcDateTime),
)
Index("hits_application", HITS.c.application_id)


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
    tx.execute(insert(CHECKS).values(**column_values(check)))


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
    tx.execute(insert(HITS).values(**{**column_values(hit), "evidence": json.dumps(hit.evidence, ensure_ascii=False)}))


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
