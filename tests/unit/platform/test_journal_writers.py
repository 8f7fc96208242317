"""Many writers at one institution's journal: each entry follows from the one before it, and nobody is sent away."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
from sqlalchemy import MetaData, func, select

from digiid.kernel.errors import Unavailable
from digiid.platform import journal
from digiid.platform.db import Database

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
WRITERS, ENTRIES = 8, 25

metadata = MetaData()
JOURNAL = journal.journal_table(metadata)


@pytest.fixture
def make_database(new_database: Callable[[str], Database]) -> Callable[[], Database]:
    def make() -> Database:
        db = new_database("tests.support.empty_schema")
        with db.engine.begin() as connection:
            metadata.create_all(connection)
        return db

    return make


def test_writers_at_once_wait_for_each_other_and_none_is_told_that_it_is_busy(
    make_database: Callable[[], Database],
) -> None:
    db, barrier = make_database(), Barrier(WRITERS)

    def write(writer: int) -> None:
        barrier.wait(timeout=10)
        for number in range(ENTRIES):
            with db.write() as tx:  # and not with `retry`
                # a use case reads before it decides
                tx.execute(select(func.count()).select_from(JOURNAL)).scalar_one()
                journal.record(tx, JOURNAL, kind="test.written", payload={"writer": writer, "number": number}, at=AT)

    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(write, writer) for writer in range(WRITERS)]:
            done.result(timeout=60)
    with db.read() as tx:
        last = journal.verify_chain(tx, JOURNAL)
    assert last is not None
    assert last.number == WRITERS * ENTRIES


def test_readers_do_not_wait_for_a_writer(make_database: Callable[[], Database]) -> None:
    db = make_database()
    with db.write() as tx:
        journal.record(tx, JOURNAL, kind="test.written", payload={}, at=AT)
        with db.read() as other:
            assert journal.verify_chain(other, JOURNAL) is None


def test_a_writer_that_waited_too_long_is_told_so(
    make_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("digiid.platform.db._BUSY_TIMEOUT_SECONDS", 0)
    monkeypatch.setattr("digiid.platform.db._PG_LOCK_TIMEOUT", "10ms")
    db = make_database()
    with ThreadPoolExecutor(1) as pool, db.write() as tx:
        journal.record(tx, JOURNAL, kind="test.written", payload={}, at=AT)

        def write() -> None:
            with db.write():
                raise AssertionError("two writers at once")

        with pytest.raises(Unavailable, match=r"db\.busy"):
            pool.submit(write).result(timeout=20)


def test_a_new_session_does_not_wait_for_the_journal_on_postgresql(make_database: Callable[[], Database]) -> None:
    db = make_database()
    if db.is_sqlite:
        pytest.skip("SQLite has one writer")
    with db.write() as tx:
        journal.record(tx, JOURNAL, kind="test.written", payload={}, at=AT)
        with db.write(durable=False) as other:
            assert other.execute(select(func.count()).select_from(JOURNAL)).scalar_one() == 0


def test_writers_in_turn_are_not_judged_for_conflicts_on_postgresql(make_database: Callable[[], Database]) -> None:
    """The lock makes them serial; the server would go on counting the reads of one that has committed."""
    db = make_database()
    if db.is_sqlite:
        pytest.skip("SQLite has no levels of isolation")
    level = "SHOW transaction_isolation"
    with db.write() as tx:
        assert tx.exec_driver_sql(level).scalar_one() == "repeatable read"
    with db.write(durable=False) as tx:
        assert tx.exec_driver_sql(level).scalar_one() == "repeatable read"
    with db.read() as tx:
        assert tx.exec_driver_sql(level).scalar_one() == "serializable"


def test_a_writer_in_turn_sees_what_the_one_before_has_committed(make_database: Callable[[], Database]) -> None:
    db, begun = make_database(), Barrier(2)

    def read_in_turn() -> int:
        begun.wait(timeout=10)
        with db.write() as tx:
            return int(tx.execute(select(func.count()).select_from(JOURNAL)).scalar_one())

    with ThreadPoolExecutor(1) as pool:
        with db.write() as tx:
            waits = pool.submit(read_in_turn)
            begun.wait(timeout=10)
            time.sleep(0.2)  # it waits for its turn by now; if it does not yet, the test only shows less
            journal.record(tx, JOURNAL, kind="test.written", payload={}, at=AT)
        assert waits.result(timeout=20) == 1
