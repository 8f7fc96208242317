"""The log's disk is full, its database is gone: no message counts as logged, and it recovers when they are back."""

import resource
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from digiid.exchange.message_log import MessageLog
from digiid.kernel.errors import Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from tests.support.logged import Authority, make_entry, open_log, record_all


@contextmanager
def running(database: Database, clock: ManualClock) -> Iterator[MessageLog]:
    log = open_log(database, clock, Authority(clock), stamping_interval_seconds=3600)
    log.start()
    try:
        yield log
    finally:
        log.stop()


def refused(log: MessageLog, message_id: str) -> bool:
    try:
        record_all(log, [make_entry(message_id)])
    except Unavailable as error:
        assert error.code == "exchange.logging_failed"
        return True
    return False


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """No file of this process may grow beyond what the log's write-ahead log has now, plus a little."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = file.with_name(file.name + "-wal").stat().st_size + 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_with_a_full_disk_no_message_is_logged_and_with_room_again_it_goes_on(tmp_path, clock):
    file = tmp_path / "log.sqlite"
    entry = make_entry()
    with running(Database.sqlite(file), clock) as log:
        record_all(log, [replace(entry, message_id="before")])
        with full_disk(file):
            large = replace(entry, signature_xml=bytes(100_000))
            for turn in range(3):
                with pytest.raises(Unavailable) as failed:
                    record_all(log, [replace(large, message_id=f"full-{turn}")])
                assert failed.value.code == "exchange.logging_failed"
        numbers = record_all(log, [replace(entry, message_id="after"), replace(large, message_id="large")])
        assert numbers == [2, 3]
        assert [bool(log.find(each)) for each in ("before", "full-0", "full-2", "after", "large")] == [
            True,
            False,
            False,
            True,
            True,
        ]


def test_a_database_file_that_is_gone_and_comes_back(tmp_path, clock):
    home, away = tmp_path / "home", tmp_path / "away"
    with running(Database.sqlite(home / "log.sqlite"), clock) as log:
        record_all(log, [make_entry("before")])
        home.rename(away)
        assert refused(log, "gone") and refused(log, "gone")
        assert not home.exists()  # no empty database was made in its place
        with pytest.raises(Unavailable):
            log.stamper.stamp_pending()
        away.rename(home)
        assert record_all(log, [make_entry("after")]) == [2]
        assert log.stamper.stamp_pending() == 2
        assert not log.find("gone")


def test_a_database_file_in_whose_place_an_older_copy_was_put(tmp_path, clock):
    file = tmp_path / "log.sqlite"
    with running(Database.sqlite(file), clock) as log:
        record_all(log, [make_entry("before")])
        with sqlite3.connect(file) as source, sqlite3.connect(tmp_path / "copy.sqlite") as target:
            source.backup(target)
        record_all(log, [make_entry("lost")])
        for ending in ("-wal", "-shm"):
            file.with_name(file.name + ending).unlink()
        (tmp_path / "copy.sqlite").rename(file)
        assert record_all(log, [make_entry("after")]) == [2]
        assert [bool(log.find(each)) for each in ("before", "lost", "after")] == [True, False, True]
        assert log.stamper.stamp_pending() == 2


def test_another_file_in_the_place_of_the_database_is_not_taken_for_it(tmp_path, clock):
    file = tmp_path / "log.sqlite"
    with running(Database.sqlite(file), clock) as log:
        record_all(log, [make_entry("before")])
        file.rename(tmp_path / "kept.sqlite")
        file.with_name("log.sqlite-wal").unlink()
        file.write_bytes(b"no database at all" * 1000)
        assert refused(log, "gone")


def test_a_server_that_is_gone_and_comes_back(postgres_sockets, clock):
    name = f"t{uuid.uuid4().hex}"
    admin = create_engine(
        f"postgresql+psycopg://digiid@/postgres?host={postgres_sockets}", isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        database = Database(f"postgresql+psycopg://digiid@/{name}?host={postgres_sockets}")
        with running(database, clock) as log:
            record_all(log, [make_entry("before")])
            end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
            connection.execute(end, {"name": name})
            connection.execute(text(f"ALTER DATABASE {name} RENAME TO {name}away"))
            assert refused(log, "gone") and refused(log, "gone")
            connection.execute(text(f"ALTER DATABASE {name}away RENAME TO {name}"))
            assert record_all(log, [make_entry("after")]) == [2]
            assert log.stamper.stamp_pending() == 2 and not log.find("gone")
        database.close()
    admin.dispose()


def test_a_database_that_does_not_answer_in_time_is_one_that_has_not_logged(tmp_path, clock):
    database = Database.sqlite(tmp_path / "log.sqlite")
    log = open_log(database, clock, stamping_interval_seconds=3600, record_timeout_seconds=0.2)
    log.start()
    try:
        with database.write():  # somebody holds the write lock
            assert refused(log, "late")
        record_all(log, [make_entry("after")])
    finally:
        log.stop()
