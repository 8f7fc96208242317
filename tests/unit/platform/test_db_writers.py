"""Many writers of one SQLite file: each gets its turn, in this process and beside it."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, update

from digiid.kernel.errors import Unavailable
from digiid.platform.db import Database

METADATA = MetaData()
COUNTER = Table("counter", METADATA, Column("value", Integer, nullable=False))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    database = Database.sqlite(tmp_path / "x.sqlite")
    with database.write() as tx:
        METADATA.create_all(tx)
        tx.execute(insert(COUNTER).values(value=0))
    database.close()
    return tmp_path / "x.sqlite"


def _count(database: Database, times: int, *, durable: bool) -> None:
    for _ in range(times):
        with database.write(durable=durable) as tx:
            value = tx.execute(select(COUNTER.c.value)).scalar_one()
            tx.execute(update(COUNTER).values(value=value + 1))


def test_no_write_of_many_threads_and_two_owners_is_lost_or_refused(file: Path) -> None:
    databases = [Database.sqlite(file), Database.sqlite(file)]
    threads = [
        threading.Thread(target=_count, args=(databases[n % 2], 10), kwargs={"durable": n % 3 == 0}) for n in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with databases[0].read() as tx:
        assert tx.execute(select(COUNTER.c.value)).scalar_one() == 240
    for database in databases:
        database.close()


def test_a_failed_write_gives_the_turn_back(file: Path) -> None:
    database = Database.sqlite(file)
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        tx.execute(update(COUNTER).values(value=99))
        raise ZeroDivisionError
    _count(database, 1, durable=True)
    with database.read() as tx:
        assert tx.execute(select(COUNTER.c.value)).scalar_one() == 1
    database.close()


@pytest.mark.parametrize("durable", [True, False])
def test_each_write_says_how_it_is_kept(file: Path, durable: bool) -> None:
    database = Database.sqlite(file)
    for earlier in (True, False):
        _count(database, 1, durable=earlier)
        with database.write(durable=durable) as tx:
            assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == (2 if durable else 1)
    database.close()


def test_a_writer_that_waits_for_itself_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digiid.platform.db._BUSY_TIMEOUT_SECONDS", 0.05)
    database = Database.sqlite(file)
    with database.write(), pytest.raises(Unavailable, match=r"db\.busy"), database.write():
        pass
    database.close()
