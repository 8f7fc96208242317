"""What PostgreSQL would refuse fails in tests on SQLite, too: the check itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.engine import Connection

from tests.support.strict_sqlite import PostgresqlWouldRefuse

METADATA = MetaData()
TABLE = Table(
    "strict",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("text", String(5)),
    Column("small", Integer),
    Column("large", BigInteger),
)


@pytest.fixture
def tx() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        METADATA.create_all(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize(
    "values", [{"text": "abcdef"}, {"text": "a\0"}, {"small": 1 << 31}, {"small": -(1 << 31) - 1}, {"large": 1 << 63}]
)
def test_what_does_not_fit_is_refused(tx: Connection, values: dict[str, Any]) -> None:
    with pytest.raises(PostgresqlWouldRefuse):
        tx.execute(insert(TABLE).values(**values))
    tx.execute(insert(TABLE).values(id=1))
    with pytest.raises(PostgresqlWouldRefuse):
        tx.execute(update(TABLE).where(TABLE.c.id == 1).values(**values))


def test_what_fits_is_stored_and_may_be_asked_for_in_any_length(tx: Connection) -> None:
    tx.execute(insert(TABLE).values([{"text": "äöüõš", "small": (1 << 31) - 1, "large": 1 << 62}]))
    assert tx.execute(select(TABLE.c.text).where(TABLE.c.text != "a longer one")).scalar_one() == "äöüõš"
    with pytest.raises(PostgresqlWouldRefuse):
        tx.execute(select(literal("a\0b")))
