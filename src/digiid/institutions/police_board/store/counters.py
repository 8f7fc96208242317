"""Series of numbers without gaps: of applications, cases and officers."""

from sqlalchemy import Column, Integer, Table, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import CODE, metadata

COUNTERS = Table(
    "counters",
    metadata,
    Column("name", CODE, primary_key=True),
    Column("value", Integer, nullable=False),
)


def next_number(tx: Connection, name: str) -> int:
    """The next number of a series, without gaps: the row is locked until the commit."""
    changed = tx.execute(update(COUNTERS).where(COUNTERS.c.name == name).values(value=COUNTERS.c.value + 1))
    if not changed.rowcount:
        tx.execute(insert(COUNTERS).values(name=name, value=1))
    return int(tx.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == name)).scalar_one())
