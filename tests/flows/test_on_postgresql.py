"""A whole state on PostgreSQL, as states run it: a database for each institution, and the tour over them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from digiid.apps.databases import NAMES, check_databases
from digiid.apps.state import StateFolder, StatePorts
from digiid.kernel.errors import Unavailable


def digiid(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "digiid.apps.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


@pytest.fixture(scope="module")
def databases(postgres_sockets: str) -> Iterator[str]:
    """The URL of a server on which every database of a state is there and empty."""
    url = f"postgresql+psycopg://digiid@/{{institution}}?host={postgres_sockets}"
    names = digiid("config", "databases").stdout.split()
    admin = create_engine(url.replace("{institution}", "postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
    yield url
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


def test_the_tour_holds_and_every_journal_follows(databases: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    toured = digiid("tour", "--state", str(state), "--database", databases)
    assert toured.returncode == 0, toured.stdout[-3000:] + toured.stderr[-2000:]
    assert not [file for file in (state / "db").glob("*.sqlite") if file.stem in NAMES]
    verified = digiid("journal", "verify", "--state", str(state))
    assert verified.returncode == 0, verified.stdout
    refused = digiid("outbox", "list", "--state", str(state))
    assert refused.returncode == 0, refused.stdout


def test_databases_that_are_missing_are_all_named_at_once(postgres_sockets: str, tmp_path: Path) -> None:
    url = f"postgresql+psycopg://digiid@/of_nobody_{{institution}}?host={postgres_sockets}"
    settings = StateFolder(tmp_path / "state").create(StatePorts.from_first(), database_url=url)
    with pytest.raises(Unavailable, match=r"state\.databases_missing") as raised:
        check_databases(settings)
    assert all(name in raised.value.detail for name in NAMES)


def test_a_server_that_is_not_there_is_said_to_be_away(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://digiid:S3CRET@/{{institution}}?host={tmp_path}"
    settings = StateFolder(tmp_path / "state").create(StatePorts.from_first(), database_url=url)
    with pytest.raises(Unavailable, match=r"state\.database_unreachable") as raised:
        check_databases(settings)
    assert "S3CRET" not in str(raised.value)


def test_a_new_state_whose_databases_do_not_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://digiid@/{{institution}}?host={tmp_path}"
    refused = digiid("up", "--state", str(tmp_path / "state"), "--database", url)
    assert refused.returncode == 1
    assert "state.database_unreachable" in refused.stderr and "Traceback" not in refused.stderr
    assert list((tmp_path / "state").iterdir()) == []
