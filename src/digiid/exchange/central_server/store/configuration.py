"""The configuration as it is served: its parts, and the signed directory that lists them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Column, Integer, LargeBinary, String, Table, delete, insert, select, update
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.store.schema import metadata
from digiid.platform.db import UtcDateTime

PARTS: Final = Table(
    "configuration_parts",
    metadata,
    Column("location", String(200), primary_key=True),
    Column("content_id", String(60), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("last_listed_at", UtcDateTime, nullable=False),
)
# One row: the directory that is served now.
DIRECTORY: Final = Table(
    "configuration_directory",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("generated_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("content", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class PartRow:
    """One part of the configuration. Its content never changes under its location."""

    location: str
    content_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class DirectoryRow:
    version: int
    generated_at: datetime
    expires_at: datetime
    content: bytes


def find_directory(tx: Connection, *, version: int) -> DirectoryRow | None:
    d = DIRECTORY.c
    query = select(d.version, d.generated_at, d.expires_at, d.content).where(d.version == version)
    row = tx.execute(query).one_or_none()
    return DirectoryRow(row.version, row.generated_at, row.expires_at, bytes(row.content)) if row else None


def put_directory(tx: Connection, directory: DirectoryRow) -> None:
    tx.execute(delete(DIRECTORY).where(DIRECTORY.c.version == directory.version))
    tx.execute(
        insert(DIRECTORY).values(
            version=directory.version,
            generated_at=directory.generated_at,
            expires_at=directory.expires_at,
            content=directory.content,
        )
    )


def list_parts(tx: Connection) -> list[PartRow]:
    """Every part that is still served, the newest last."""
    p = PARTS.c
    rows = tx.execute(select(p.location, p.content_id, p.content).order_by(p.last_listed_at, p.location))
    return [PartRow(row.location, row.content_id, bytes(row.content)) for row in rows]


def put_part(tx: Connection, part: PartRow, *, at: datetime) -> None:
    """A part listed now; what is there under its location stays as it is."""
    p = PARTS.c
    if not tx.execute(update(PARTS).where(p.location == part.location).values(last_listed_at=at)).rowcount:
        values = {"location": part.location, "content_id": part.content_id, "content": part.content}
        tx.execute(insert(PARTS).values(**values, last_listed_at=at))


def forget_parts(tx: Connection, *, not_listed_since: datetime) -> None:
    tx.execute(delete(PARTS).where(PARTS.c.last_listed_at < not_listed_since))
