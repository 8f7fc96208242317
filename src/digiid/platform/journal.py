"""The append-only, hash-chained journal that each institution keeps of what it did.

Entry n carries `hash = SHA-256(previous hash ‖ canonical JSON of the entry)`, so that nobody can
change or remove an entry in the middle without every later hash being wrong. A payload names
things by identifier; it never holds a PIN, a token, a document's content or a whole personal code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, Text, insert, select
from sqlalchemy.engine import Connection

from digiid.kernel.errors import Broken
from digiid.platform.db import UtcDateTime

GENESIS = bytes(32)
JsonValue = str | int | bool | None | list[str]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    number: int
    kind: str
    at: datetime
    payload: Mapping[str, JsonValue]
    hash: bytes


def journal_table(metadata: MetaData) -> Table:
    """The table `journal` of one institution."""
    return Table(
        "journal",
        metadata,
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("kind", String(100), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("payload", Text, nullable=False),
        Column("hash", LargeBinary(32), nullable=False),
    )


def record(tx: Connection, table: Table, *, kind: str, payload: Mapping[str, JsonValue], at: datetime) -> JournalEntry:
    """Append one entry inside the caller's transaction; the act and its record are committed together."""
    last = tx.execute(select(table.c.number, table.c.hash).order_by(table.c.number.desc()).limit(1)).one_or_none()
    number, previous = (last.number + 1, last.hash) if last else (1, GENESIS)
    text = _canonical(payload)
    digest = _chained(previous, number, kind, at, text)
    tx.execute(insert(table).values(number=number, kind=kind, at=at, payload=text, hash=digest))
    return JournalEntry(number, kind, at, payload, digest)


def verify_chain(tx: Connection, table: Table, *, trusted_head: tuple[int, bytes] | None = None) -> JournalEntry | None:
    """Recompute the whole chain and return its last entry.

    `trusted_head` is (number, hash) from a signed checkpoint: a journal that was cut or rewritten
    before it does not contain that pair.

    Raises: Broken `journal.chain` at the first entry that does not follow from the one before it.
    """
    previous, expected, entry = GENESIS, 1, None
    seen_head = trusted_head is None
    for row in tx.execute(
        select(table.c.number, table.c.kind, table.c.at, table.c.payload, table.c.hash).order_by(table.c.number)
    ):
        digest = _chained(previous, expected, row.kind, row.at, row.payload)
        if row.number != expected or digest != row.hash:
            raise Broken("journal.chain", f"entry {row.number} does not follow from entry {expected - 1}")
        if trusted_head == (row.number, row.hash):
            seen_head = True
        entry = JournalEntry(row.number, row.kind, row.at, json.loads(row.payload), row.hash)
        previous, expected = digest, expected + 1
    if not seen_head:
        raise Broken("journal.chain", "the journal does not contain its own checkpoint")
    return entry


def _canonical(payload: Mapping[str, JsonValue]) -> str:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _chained(previous: bytes, number: int, kind: str, at: datetime, payload: str) -> bytes:
    head = f"{number}\n{kind}\n{at.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}\n{payload}"
    return hashlib.sha256(previous + head.encode()).digest()
