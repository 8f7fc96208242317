"""What stands in the reference of `state.toml` is what the program takes, with its defaults."""

import tomllib
from pathlib import Path

import pytest

from digiid.apps.databases import check_databases
from digiid.apps.state import StateFolder, StatePorts, StateSettings
from digiid.kernel.errors import Malformed, Unavailable
from digiid.platform.config import load_settings

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "state-settings.md"


def documented() -> str:
    return REFERENCE.read_text(encoding="utf-8").split("```toml\n", 1)[1].split("```", 1)[0]


def test_the_reference_has_the_defaults() -> None:
    assert StateSettings.model_validate(tomllib.loads(documented())) == StateSettings()


def test_the_reference_leaves_nothing_out() -> None:
    told, known = tomllib.loads(documented()), StateSettings().model_dump()
    assert told.keys() == known.keys()
    for section in ("database", "screening", "validation", "signing", "central"):
        assert told[section].keys() == known[section].keys()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[validation]\nworkers = 0\n", "validation.workers"),
        ("[validation]\nworker = 2\n", "validation.worker"),
        ("[signing]\nkeep_minutes = 0\n", "signing.keep_minutes"),
        ("[signing]\ndatabase_url = ''\n", "signing.database_url"),
        ('[database]\nurl = "postgresql+psycopg://u@h:port/{institution}"\n', "database.url: .*cannot be read"),
        ('[database]\nurl = "postgresql+psycopg://u@[::/{institution}"\n', "database.url: .*cannot be read"),
        ("[central]\nlifetime_seconds = 60\n", "central: Value error, lifetime_seconds"),
        ("[central]\nkey_publication_seconds = 60\n", "key_publication_seconds"),
    ],
)
def test_a_limit_that_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "state.toml"
    file.write_text(text)
    with pytest.raises(Malformed, match=named):
        load_settings(file, StateSettings)


@pytest.mark.parametrize("url", ["postgresql+psycopg://u@h:port/{institution}", "sqlite:///{institution}"])
def test_a_state_is_not_made_for_an_address_of_no_databases(tmp_path: Path, url: str) -> None:
    folder = StateFolder(tmp_path / "state")
    with pytest.raises(Malformed, match=r"config\.database_url"):
        folder.create(StatePorts.from_first(), database_url=url)
    assert not folder.exists


def test_an_option_of_the_address_that_the_driver_does_not_know_is_told(tmp_path: Path) -> None:
    url = "postgresql+psycopg://u@127.0.0.1:1/{institution}?other=1"
    with pytest.raises(Unavailable, match=r"state\.database_unreachable.*other"):
        check_databases(StateFolder(tmp_path / "state").create(StatePorts.from_first(), database_url=url))
