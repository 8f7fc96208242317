"""What stands in the reference of `state.toml` is what the program takes, with its defaults."""

import tomllib
from pathlib import Path

import pytest

from digiid.apps.state import StateSettings
from digiid.kernel.errors import Malformed
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
        ("[central]\nlifetime_seconds = 60\n", "central: Value error, lifetime_seconds"),
        ("[central]\nkey_publication_seconds = 60\n", "key_publication_seconds"),
    ],
)
def test_a_limit_that_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "state.toml"
    file.write_text(text)
    with pytest.raises(Malformed, match=named):
        load_settings(file, StateSettings)
