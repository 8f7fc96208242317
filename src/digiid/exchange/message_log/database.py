"""The log's database, and whether it is still there.

SQLite goes on writing to a file that somebody has moved away or deleted, and makes an empty one when it connects. Here
a file that is gone is an error, and one that was put in its place is opened anew.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from digiid.kernel.errors import Unavailable
from digiid.platform.db import Database

_CHECKPOINT_PAGES: Final = 4000  # 16 MiB


class LogDatabase:
    """`generation` grows when another file has taken the place of the one that was open."""

    def __init__(self, db: Database) -> None:
        name = make_url(db.url).database
        self._db = db
        self._file = Path(name) if db.is_sqlite and name else None
        self._lock = threading.Lock()
        self._identity = self._identify()
        self.generation = 0
        self._appending: tuple[int, Any] | None = None  # the generation, and a connection that nobody else has
        if db.is_sqlite:
            event.listen(db.engine, "connect", _prepare_sqlite)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Raises: Unavailable `exchange.logging_failed`, `db.busy`."""
        self.check_is_there()
        with self._db.read() as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Durable when the block has ended. Raises: Unavailable `exchange.logging_failed`, `db.busy`."""
        self.check_is_there()
        with self._db.write() as tx:
            yield tx

    def append(self, statement: str, values: Sequence[object]) -> None:
        """One statement as a transaction of its own, on SQLite; durable when this returns.

        Begin, insert and commit one by one are many calls of the driver, and after each the thread asks anew for the
        interpreter, which is busy with messages; this is one.

        Raises: Unavailable `exchange.logging_failed`, `db.busy`.
        """
        self.check_is_there()
        with self._db.writers_turn():
            try:
                if self._appending is None or self._appending[0] != self.generation:
                    self._appending = self.generation, self._db.engine.raw_connection()
                self._appending[1].execute(statement, values).close()
            except (sqlite3.Error, SQLAlchemyError) as error:
                self._forget_appending()
                raise Unavailable("db.busy", str(error), public="Too busy now; try again.") from error

    @property
    def appends(self) -> bool:
        """Whether there is `append`."""
        return self._db.is_sqlite

    def _forget_appending(self) -> None:
        if self._appending is not None:
            self._appending[1].invalidate()
            self._appending = None

    def check_is_there(self) -> None:
        """Raises: Unavailable `exchange.logging_failed`."""
        found = self._identify()
        if found == self._identity and (found is not None or self._file is None):
            return
        with self._lock:
            if found != self._identity:
                self._db.engine.dispose()  # connections to the old file are of no use, and hold its space
                self._identity = found
                self.generation += 1
        if found is None:
            raise Unavailable("exchange.logging_failed", f"the log's file {self._file} is gone")

    def close(self) -> None:
        self._forget_appending()
        self._db.close()

    def _identify(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Moving pages from the write-ahead log into the file is a flush of its own, for all of them: less often.
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}").close()
