"""The journal's newest entries, for the officers' pages."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.store.schema import JOURNAL


@dataclass(frozen=True, slots=True)
class JournalLine:
    number: int
    kind: str
    at: datetime
    payload: dict[str, Any]


def recent_journal(tx: Connection, *, limit: int = 100) -> list[JournalLine]:
    """The newest first."""
    j = JOURNAL.c
    rows = tx.execute(select(j.number, j.kind, j.at, j.payload).order_by(j.number.desc()).limit(limit))
    return [JournalLine(row.number, row.kind, row.at, json.loads(row.payload)) for row in rows]
