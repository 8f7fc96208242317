"""The append-only, hash-chained journal that each institution keeps of what it did.

Entry n carries `hash = SHA-256(previous hash ‖ canonical JSON of the entry)`, so that nobody can
change or remove an entry in the middle without every later hash being wrong. A payload names
things by identifier; it never holds a PIN, a token, a document's content or a whole personal code.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Select, String, Table, Text, insert, select
from sqlalchemy.engine import Connection

from digiid.kernel.errors import Broken
from digiid.platform.db import UtcDateTime

GENESIS = bytes(32)
NO_HEADS: Final[Mapping[int, bytes]] = MappingProxyType({})
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


def verify_chain(tx: Connection, table: Table, *, trusted_heads: Mapping[int, bytes] = NO_HEADS) -> JournalEntry | None:
    """Recompute the whole chain and return its last entry.

    `trusted_heads` are hashes by number from signed checkpoints: a journal that was cut or rewritten before one of
    them does not contain it.

    Raises: Broken `journal.chain` at the first entry that does not follow from the one before it.
    """
    entry = None
    missing = dict(trusted_heads)
    for entry in _follow(tx, table, 0, GENESIS):
        if entry.number in missing and missing.pop(entry.number) != entry.hash:
            raise Broken("journal.chain", f"entry {entry.number} is not the one in the checkpoint")
    if missing:
        raise Broken("journal.chain", f"the journal ends before entry {max(missing)}, which is in a checkpoint")
    return entry


def verify_since(tx: Connection, table: Table, known: tuple[int, bytes] | None) -> tuple[int, bytes] | None:
    """The same for what follows from one entry, known by number and hash: what is before it is not read.

    Returns number and hash of the last entry, or None when the journal is empty.

    Raises: Broken `journal.chain`, also when the known entry is not there.
    """
    if known is not None:
        number, expected = known
        found = tx.execute(select(table.c.hash).where(table.c.number == number)).scalar_one_or_none()
        if found != expected:
            raise Broken("journal.chain", f"entry {number}, which is in a checkpoint, is gone or another one")
    head = known
    for entry in _follow(tx, table, *(known or (0, GENESIS))):
        head = entry.number, entry.hash
    return head


def _follow(tx: Connection, table: Table, number: int, previous: bytes) -> Iterator[JournalEntry]:
    """The entries behind `number`, each of which follows. Raises: Broken `journal.chain`."""
    rows = _rows(table).where(table.c.number > number).order_by(table.c.number)
    for row in tx.execute(rows.execution_options(yield_per=1000)):
        digest = _chained(previous, number + 1, row.kind, row.at, row.payload)
        if row.number != number + 1 or digest != row.hash:
            raise Broken("journal.chain", f"entry {row.number} does not follow from entry {number}")
        yield JournalEntry(row.number, row.kind, row.at, json.loads(row.payload), row.hash)
        number, previous = row.number, digest


def _rows(table: Table) -> Select[Any]:
    return select(table.c.number, table.c.kind, table.c.at, table.c.payload, table.c.hash)


def _canonical(payload: Mapping[str, JsonValue]) -> str:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _chained(previous: bytes, number: int, kind: str, at: datetime, payload: str) -> bytes:
    head = f"{number}\n{kind}\n{at.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}\n{payload}"
    return hashlib.sha256(previous + head.encode()).digest()
