"""The keys that sign the configuration; the private halves lie in files."""

from datetime import datetime
from typing import Final

from sqlalchemy import Column, Integer, LargeBinary, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.domain import KeyState, StoredKey
from digiid.exchange.central_server.store.schema import metadata
from digiid.platform.db import UtcDateTime

SIGNING_KEYS: Final = Table(
    "signing_keys",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("source", String(400), nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("state", String(20), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)


def list_keys(tx: Connection) -> list[StoredKey]:
    k = SIGNING_KEYS.c
    rows = tx.execute(select(k.number, k.source, k.certificate_der, k.state, k.changed_at).order_by(k.number))
    return [
        StoredKey(row.number, row.source, bytes(row.certificate_der), KeyState(row.state), row.changed_at)
        for row in rows
    ]


def insert_key(tx: Connection, key: StoredKey) -> None:
    tx.execute(
        insert(SIGNING_KEYS).values(
            number=key.number,
            source=key.source,
            certificate_der=key.certificate_der,
            state=key.state.value,
            changed_at=key.changed_at,
        )
    )


def change_key(tx: Connection, number: int, *, before: KeyState, after: KeyState, at: datetime) -> bool:
    k = SIGNING_KEYS.c
    where = (k.number == number) & (k.state == before.value)
    return tx.execute(update(SIGNING_KEYS).where(where).values(state=after.value, changed_at=at)).rowcount == 1
