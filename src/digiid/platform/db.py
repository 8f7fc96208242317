"""One institution's database: SQLite embedded, PostgreSQL in production.

SQLite runs in WAL mode with synchronous=FULL: what was committed survives the power cut. Every
write transaction takes the write lock at its start (BEGIN IMMEDIATE), so that two use cases never
deadlock half-way and a decision is always made on what is still true at its commit.

On PostgreSQL transactions are serialisable, and those of an institution with a journal begin with that
table's lock: each appends to one chain, so of two that run at once the other could only be sent away.
One after another they are serial by that lock alone and run under REPEATABLE READ: the server gives up the lock
before it takes a committed transaction out of its list of conflicts, and under SERIALIZABLE the next one, however
patiently it waited, is now and then cancelled for a conflict with it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import DateTime, Dialect, create_engine, event, func, make_url, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.types import TypeDecorator

from digiid.kernel.errors import Broken, Malformed, Unavailable

_BUSY_TIMEOUT_SECONDS = 5
_SQLITE_CONNECTIONS = 20  # a thread of either pool mostly finds one ready
_PG_LOCK_TIMEOUT = "5s"
_PG_STATEMENT_TIMEOUT = "30s"
_PG_RETRIES = 9
_JOURNAL = "journal"  # what journal_table calls it
_REPEATABLE_READ = "REPEATABLE READ"

T = TypeVar("T")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant with microseconds. A naive value is a programming error and raises."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("only aware datetimes are stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """An institution's own database. `read()` and `write()` give a connection for one transaction."""

    def __init__(self, url: str) -> None:
        """`url` is an SQLAlchemy URL: `sqlite:////path/file.sqlite` or `postgresql+psycopg://…`."""
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        # SQLite has one writer at a time. Its busy handler polls and knows no order: under load it costs more than
        # the transactions, so the threads of this process queue here and only other processes are met there.
        self._writer = threading.Lock()
        self._has_journal: bool | None = None  # PostgreSQL only; None until somebody writes
        if self.is_sqlite:
            self.engine = create_engine(
                url,
                connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                pool_size=_SQLITE_CONNECTIONS,
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            options = f"-c lock_timeout={_PG_LOCK_TIMEOUT} -c statement_timeout={_PG_STATEMENT_TIMEOUT} -c timezone=UTC"
            self.engine = create_engine(
                url,
                connect_args={"options": options},
                pool_size=8,
                pool_pre_ping=True,
                isolation_level="SERIALIZABLE",
            )

    @classmethod
    def sqlite(cls, file: Path) -> "Database":
        """The embedded database in `file`, made with mode 0600 if it is not there."""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        return cls(f"sqlite:///{file.resolve()}")

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One write transaction: committed at the end of the block, rolled back when it raises.

        `durable=False` is for what may be lost in a power cut (a new session): SQLite then does not wait for the
        disk at the commit. What was committed stays whole and in order either way, and survives the process. It
        appends nothing to the journal, waits for no turn there and decides on rows alone that it also changes: of
        two that change the same row on PostgreSQL one is told `db.busy`, which `retry` is for.

        Raises: Unavailable `db.busy` when the lock was not had in time or the server is gone; Malformed `db.nul` for a
            text that PostgreSQL cannot hold.
        """
        if not self.is_sqlite:
            is_in_turn = durable and self._keeps_journal()
            # Under SERIALIZABLE, sessions of different persons cancel each other when their rows share an index page.
            isolation = _REPEATABLE_READ if is_in_turn or not durable else None
            with self._transaction(immediate=True, isolation=isolation) as connection:
                if is_in_turn:
                    # The first statement: a snapshot is taken by the one behind it, so it shows what the writer
                    # before has committed. An advisory lock is had by a SELECT, whose snapshot is older than the lock.
                    connection.exec_driver_sql(f"LOCK TABLE {_JOURNAL} IN EXCLUSIVE MODE")
                yield connection
            return
        with self.writers_turn(), self._transaction(immediate=True, durable=durable) as connection:
            yield connection

    def _keeps_journal(self) -> bool:
        if self._has_journal is None:
            with self.read() as tx:
                self._has_journal = tx.execute(select(func.to_regclass(_JOURNAL))).scalar_one() is not None
        return self._has_journal

    @contextmanager
    def writers_turn(self) -> Iterator[None]:
        """The one writer that SQLite allows is this thread. Raises: Unavailable `db.busy`, after some seconds."""
        if not self._writer.acquire(timeout=_BUSY_TIMEOUT_SECONDS):
            raise Unavailable("db.busy", "the writer's turn did not come", public="Too busy now; try again.")
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One read transaction: a single consistent view, nothing written."""
        with self._transaction(immediate=False) as connection:
            yield connection

    @contextmanager
    def _transaction(
        self, *, immediate: bool, durable: bool = True, isolation: str | None = None
    ) -> Iterator[Connection]:
        try:
            with self.engine.connect() as plain:
                connection = plain.execution_options(digiid_immediate=immediate, digiid_durable=durable)
                if isolation is not None:
                    connection = connection.execution_options(isolation_level=isolation)
                with connection.begin():
                    yield connection
        except OperationalError as error:
            raise Unavailable("db.busy", str(error.orig), public="Too busy now; try again.") from error
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in ("40001", "40P01"):  # serialization failure, deadlock
                raise Unavailable("db.busy", str(error.orig), public="Too busy now; try again.") from error
            if isinstance(error, DataError) and "NUL" in str(error.orig):
                raise Malformed("db.nul", "a text with the character NUL, which PostgreSQL does not store") from error
            raise

    def retry(self, work: Callable[[], T]) -> T:
        """Do `work`, one whole transaction of what must not be lost, again when another was in its way.

        PostgreSQL ends one of two transactions that cannot be serialised where they did not wait for each other at the
        journal; on SQLite they always wait.
        Raises: what `work` raises; Unavailable `db.busy` when it was in the way every time.
        """
        for _ in range(0 if self.is_sqlite else _PG_RETRIES):
            try:
                return work()
            except Unavailable as error:
                if error.code != "db.busy":
                    raise
        return work()

    def migrate(self, package: str) -> None:
        """Bring the schema to the newest revision of `package`'s Alembic scripts (`<package>/migrations`)."""
        config = Config()
        config.set_main_option("script_location", f"{package}:migrations")
        with self.engine.connect() as plain:
            connection = plain.execution_options(digiid_immediate=True)
            with connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        self._has_journal = None

    def check(self) -> None:
        """Ask the database for an answer. Raises: Unavailable, or Broken when SQLite finds damage."""
        with self.read() as tx:
            if self.is_sqlite:
                answer = tx.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
                if answer != "ok":
                    raise Broken("db.damaged", str(answer))
            else:
                tx.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling would begin late and deferred; we say BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_SECONDS * 1000}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("digiid_immediate", False):
        # the setting cannot change inside a transaction and holds for the connection, so each one says its own
        durable = options.get("digiid_durable", True)
        connection.connection.dbapi_connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
