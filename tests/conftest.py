"""Fixtures that every test may use."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from digiid.platform import ports
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.support.postgres import ThrowAwayDatabases, find_server_programs, running_server
from tests.support.strict_sqlite import be_strict

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def pytest_configure(config: pytest.Config) -> None:
    """Each worker takes its ports from a part of its own: two that choose at once cannot meet."""
    be_strict()
    told = getattr(config, "workerinput", None)
    if told is not None:
        number, count = int(told["workerid"].removeprefix("gw")), int(told["workercount"])
        size = (ports.AFTER_LAST - ports.FIRST) // count
        ports.choose_from(ports.FIRST + number * size, ports.FIRST + (number + 1) * size)


# Whole files go to one process each. What takes minutes comes first, so that short files are left for the end and
# all finish together; xdist would begin with the files that have the most tests (`--no-loadscope-reorder`).
_FIRST = ("e2e/test_story_in_the_browser.py", "flows/test_running_a_state.py", "fault", "e2e", "flows", "interop")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((place for place, start in enumerate(_FIRST) if path.startswith(start)), len(_FIRST))


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
    postgres = request.getfixturevalue("postgres_databases") if request.param == "postgresql" else None

    def make(package: str) -> Database:
        database = postgres.make(package) if postgres else Database.sqlite(tmp_path / f"{uuid.uuid4().hex}.sqlite")
        database.migrate(package)
        made.append(database)
        return database

    yield make
    for database in made:
        database.close()
    if postgres:
        postgres.drop_all()


@pytest.fixture(scope="session")
def postgres_databases(postgres_sockets: str) -> Iterator[ThrowAwayDatabases]:
    databases = ThrowAwayDatabases(postgres_sockets)
    yield databases
    databases.close()
