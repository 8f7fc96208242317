"""What the program entered by itself."""

from datetime import datetime
from typing import Final

from sqlalchemy import Column, String, Table, delete, insert, select
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.store.schema import metadata
from digiid.platform.db import UtcDateTime

# What the program entered by itself, by name (`use_cases/provisioned`); rows stay when it is gone.
PROVISIONED: Final = Table(
    "provisioned",
    metadata,
    Column("item", String(900), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)


def is_provisioned(tx: Connection, item: str) -> bool:
    return tx.execute(select(PROVISIONED.c.at).where(PROVISIONED.c.item == item)).one_or_none() is not None


def put_provisioned(tx: Connection, item: str, *, at: datetime) -> None:
    if not is_provisioned(tx, item):
        tx.execute(insert(PROVISIONED).values(item=item, at=at))


def delete_provisioned(tx: Connection, item: str) -> bool:
    return tx.execute(delete(PROVISIONED).where(PROVISIONED.c.item == item)).rowcount == 1


def list_provisioned(tx: Connection) -> list[tuple[str, datetime]]:
    query = select(PROVISIONED.c.item, PROVISIONED.c.at).order_by(PROVISIONED.c.item)
    return [(row.item, row.at) for row in tx.execute(query)]
