"""Fixtures that every test may use."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.support.postgres import find_server_programs, running_server

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at 2026-11-23 10:00 UTC until the test moves it."""
    return ManualClock(AT)


@pytest.fixture
def entropy() -> SeededEntropy:
    return SeededEntropy(b"tests")


@pytest.fixture(scope="session")
def postgres_sockets() -> Iterator[str]:
    """The socket folder of a PostgreSQL server of this test run's own; skips visibly when there is none."""
    if find_server_programs() is None:
        pytest.skip("PostgreSQL server programs are not installed")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is needed to run PostgreSQL as root")
    folder = Path(tempfile.mkdtemp(prefix="digiid-pg-"))
    folder.chmod(0o755)
    try:
        with running_server(folder) as sockets:
            yield sockets
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    """`new_database("digiid.institutions.bank")` gives an empty, migrated database: on SQLite and on PostgreSQL."""
    made: list[Database] = []
    sockets = request.getfixturevalue("postgres_sockets") if request.param == "postgresql" else None

    def make(package: str) -> Database:
        if sockets is None:
            database = Database.sqlite(tmp_path / f"{uuid.uuid4().hex}.sqlite")
        else:
            name = f"t{uuid.uuid4().hex}"
            admin = create_engine(f"postgresql+psycopg://digiid@/postgres?host={sockets}", isolation_level="AUTOCOMMIT")
            with admin.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
            admin.dispose()
            database = Database(f"postgresql+psycopg://digiid@/{name}?host={sockets}")
        database.migrate(package)
        made.append(database)
        return database

    yield make
    for database in made:
        database.close()
