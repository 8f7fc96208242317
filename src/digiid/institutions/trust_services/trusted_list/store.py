"""Every list that was published, by sequence number."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert, select
from sqlalchemy.engine import Connection

from digiid.platform.db import UtcDateTime

METADATA: Final = MetaData()
LISTS: Final = Table(
    "published_list",
    METADATA,
    Column("sequence_number", Integer, primary_key=True, autoincrement=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("next_update_at", UtcDateTime, nullable=False),
    Column("services_sha256", LargeBinary(32), nullable=False),
    Column("xml", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class PublishedList:
    """`services_sha256` covers what is listed, so that a change of the services is noticed."""

    sequence_number: int
    issued_at: datetime
    next_update_at: datetime
    services_sha256: bytes
    xml: bytes


def find_latest_list(tx: Connection) -> PublishedList | None:
    c = LISTS.c
    query = select(c.sequence_number, c.issued_at, c.next_update_at, c.services_sha256, c.xml)
    row = tx.execute(query.order_by(c.sequence_number.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return PublishedList(
        row.sequence_number, row.issued_at, row.next_update_at, bytes(row.services_sha256), bytes(row.xml)
    )


def record_list(tx: Connection, published: PublishedList) -> None:
    tx.execute(
        insert(LISTS).values(
            sequence_number=published.sequence_number,
            issued_at=published.issued_at,
            next_update_at=published.next_update_at,
            services_sha256=published.services_sha256,
            xml=published.xml,
        )
    )
