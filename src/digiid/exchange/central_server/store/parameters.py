"""Parameters of the instance that officers change."""

from typing import Final

from sqlalchemy import Column, String, Table, insert, select, update
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.store.schema import metadata

PARAMETERS: Final = Table(
    "parameters",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", String(400), nullable=False),
)


def find_parameter(tx: Connection, name: str) -> str | None:
    return tx.execute(select(PARAMETERS.c.value).where(PARAMETERS.c.name == name)).scalar_one_or_none()


def put_parameter(tx: Connection, name: str, value: str) -> None:
    where = PARAMETERS.c.name == name
    if not tx.execute(update(PARAMETERS).where(where).values(value=value)).rowcount:
        tx.execute(insert(PARAMETERS).values(name=name, value=value))
