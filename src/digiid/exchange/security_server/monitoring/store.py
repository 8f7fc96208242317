"""The records' own database: it may be lost, and no message depends on it (docs/stores.md)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, delete, insert, or_, select
from sqlalchemy.engine import Connection

PACKAGE = "digiid.exchange.security_server.monitoring"

metadata = MetaData()
RECORDS = Table(
    "records",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("stored_at", BigInteger, nullable=False),  # seconds, as recordsFrom and recordsTo
    Column("client", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("body", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    stored_at: int
    fields: Mapping[str, Any]


def record_all(tx: Connection, rows: Sequence[tuple[str, str, Mapping[str, Any]]], *, at: int) -> None:
    """Keep records (client, provider, fields) as stored at this second."""
    tx.execute(
        insert(RECORDS),
        [
            {
                "stored_at": at,
                "client": client,
                "provider": provider,
                "body": json.dumps(fields, ensure_ascii=False, separators=(",", ":")),
            }
            for client, provider, fields in rows
        ],
    )


def list_records(
    tx: Connection, *, first: int, last: int, reader: str | None, client: str | None, skip: int, limit: int
) -> list[StoredRecord]:
    """Records stored from second `first` to `last`, both included, oldest first.

    `reader` None sees all, else what it asked or answered; `client` narrows to what this one asked or answered.
    """
    query = select(RECORDS).where(RECORDS.c.stored_at.between(first, last))
    for party in (reader, client):
        if party is not None:
            query = query.where(or_(RECORDS.c.client == party, RECORDS.c.provider == party))
    query = query.order_by(RECORDS.c.stored_at, RECORDS.c.number).offset(skip).limit(limit)
    return [StoredRecord(row.stored_at, json.loads(row.body)) for row in tx.execute(query)]


@dataclass(frozen=True, slots=True)
class FailedMessage:
    """A message that ended with a fault here: in which role (Client, Producer), and which fault was told."""

    role: str
    message_id: str
    request_id: str
    client: str
    fault_code: str


def find_failed(tx: Connection, *, first: int) -> Iterator[FailedMessage]:
    """Those stored from this second on. A record that names no request is left out."""
    # as `record_all` writes it; in a text of the record the quotation marks would be escaped
    failed = RECORDS.c.body.contains('"succeeded":false', autoescape=True)
    query = select(RECORDS.c.client, RECORDS.c.body).where(RECORDS.c.stored_at >= first, failed)
    for client, body in tx.execute(query.execution_options(yield_per=1000)):
        fields = json.loads(body)
        known = [fields.get(name) for name in ("securityServerType", "messageId", "xRequestId", "faultCode")]
        if all(isinstance(each, str) for each in known):
            role, message_id, request_id, code = known
            yield FailedMessage(role, message_id, request_id, client, code)


def purge(tx: Connection, *, before: int) -> int:
    """Forget what was stored before this second; how many."""
    return tx.execute(delete(RECORDS).where(RECORDS.c.stored_at < before)).rowcount
