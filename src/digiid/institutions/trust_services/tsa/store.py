"""The time-stamp journal: blocks of serial numbers taken, and every token that was given out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table, func, insert, select
from sqlalchemy.engine import Connection

from digiid.platform.db import UtcDateTime

METADATA: Final = MetaData()
SERIAL_BLOCKS: Final = Table(
    "serial_block",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("taken_at", UtcDateTime, nullable=False),
)
TOKENS: Final = Table(
    "token",
    METADATA,
    Column("serial_number", BigInteger, primary_key=True, autoincrement=False),
    Column("gen_at", UtcDateTime, nullable=False),
    Column("hash_name", String(10), nullable=False),
    Column("imprint", LargeBinary(64), nullable=False),
    Column("token_sha256", LargeBinary(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token: enough to prove that it is ours, and nothing of what was stamped but its digest."""

    serial_number: int
    gen_at: datetime
    hash_name: str
    imprint: bytes
    token_sha256: bytes


def take_serial_block(tx: Connection, *, at: datetime) -> int:
    """The number of a block that nobody had before and nobody gets again."""
    number = int(tx.execute(select(func.max(SERIAL_BLOCKS.c.number))).scalar_one() or 0) + 1
    tx.execute(insert(SERIAL_BLOCKS).values(number=number, taken_at=at))
    return number


def record_tokens(tx: Connection, records: Sequence[TokenRecord]) -> None:
    tx.execute(
        insert(TOKENS),
        [
            {
                "serial_number": record.serial_number,
                "gen_at": record.gen_at,
                "hash_name": record.hash_name,
                "imprint": record.imprint,
                "token_sha256": record.token_sha256,
            }
            for record in records
        ],
    )


def find_last_gen_at(tx: Connection) -> datetime | None:
    """The time of the newest token; None before the first one."""
    found: datetime | None = tx.execute(select(func.max(TOKENS.c.gen_at))).scalar_one()
    return found


def find_token(tx: Connection, *, serial_number: int) -> TokenRecord | None:
    c = TOKENS.c
    query = select(c.serial_number, c.gen_at, c.hash_name, c.imprint, c.token_sha256)
    row = tx.execute(query.where(c.serial_number == serial_number)).one_or_none()
    if row is None:
        return None
    return TokenRecord(row.serial_number, row.gen_at, row.hash_name, bytes(row.imprint), bytes(row.token_sha256))


def count_tokens(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(TOKENS)).scalar_one())
