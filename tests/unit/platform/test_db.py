from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, literal, select

from digiid.kernel.errors import Malformed, Unavailable
from digiid.platform.db import Database, UtcDateTime

metadata = MetaData()
TIMES = Table("times", metadata, Column("id", Integer, primary_key=True), Column("at", UtcDateTime))


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database.sqlite(tmp_path / "x.sqlite")
    with database.write() as tx:
        metadata.create_all(tx)
    return database


def test_instants_come_back_aware_and_in_utc(db: Database) -> None:
    at = datetime(2026, 11, 23, 12, 30, 1, 250, tzinfo=timezone(timedelta(hours=2)))
    with db.write() as tx:
        tx.execute(insert(TIMES).values(id=1, at=at))
    with db.read() as tx:
        found = tx.execute(select(TIMES.c.at)).scalar_one()
    assert found == at
    assert found.tzinfo is UTC


def test_a_naive_datetime_is_not_stored(db: Database) -> None:
    with pytest.raises(Exception, match="aware"), db.write() as tx:
        tx.execute(insert(TIMES).values(id=1, at=datetime(2026, 1, 1)))


def test_what_a_failed_use_case_wrote_is_gone(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as tx:
        tx.execute(insert(TIMES).values(id=1))
        raise RuntimeError
    with db.read() as tx:
        assert tx.execute(select(TIMES.c.id)).all() == []


def test_sqlite_is_durable_and_its_file_private(db: Database, tmp_path: Path) -> None:
    with db.read() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    assert (tmp_path / "x.sqlite").stat().st_mode & 0o077 == 0
    db.check()


def test_a_second_writer_waits_and_then_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digiid.platform.db._BUSY_TIMEOUT_SECONDS", 0)
    first, second = Database.sqlite(tmp_path / "y.sqlite"), Database.sqlite(tmp_path / "y.sqlite")
    with first.write(), pytest.raises(Unavailable, match=r"db\.busy"), second.write():
        pass


def test_postgres_and_sqlite_keep_the_same_instant(new_database: Callable[[str], Database]) -> None:
    db = new_database("tests.support.empty_schema")
    with db.write() as tx:
        metadata.create_all(tx)
        tx.execute(insert(TIMES).values(id=1, at=datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)))
    with db.read() as tx:
        assert tx.execute(select(TIMES.c.at)).scalar_one() == datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
    db.check()


def test_a_text_that_postgresql_cannot_hold_is_malformed_input(new_database: Callable[[str], Database]) -> None:
    db = new_database("tests.support.empty_schema")
    if db.is_sqlite:
        pytest.skip("SQLite stores it")
    with pytest.raises(Malformed, match=r"db\.nul"), db.read() as tx:
        tx.execute(select(literal("a\0b")))
    with db.read() as tx:  # and the connection goes on
        assert tx.execute(select(literal("a"))).scalar_one() == "a"
