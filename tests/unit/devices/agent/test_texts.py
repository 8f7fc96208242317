"""Both languages say everything, with the same blanks; every text that templates ask for exists."""

import re
from pathlib import Path

import pytest

from digiid.devices import agent
from digiid.devices.agent.texts import TEXTS, choose_language, text

TEMPLATES = Path(agent.__file__).parent / "templates"


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_both_languages_say_it_with_the_same_blanks(key: str) -> None:
    english, estonian = TEXTS[key]
    assert english.strip()
    assert estonian.strip()
    assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", estonian))


def test_every_text_of_the_templates_exists() -> None:
    asked = {
        key
        for file in TEMPLATES.glob("*.html")
        for key in re.findall(r"\bt\([\"']([a-z0-9_.-]+)[\"'](?! ~)", file.read_text(encoding="utf-8"))
    }
    assert len(asked) > 40
    assert asked - TEXTS.keys() == set()


@pytest.mark.parametrize(
    ("asked", "accepted", "chosen"),
    [
        ("et", "en", "et"),
        ("", "et-EE,en;q=0.8", "et"),
        ("", "de, en-GB;q=0.9, et;q=0.8", "en"),
        ("xx", "", "en"),
        ("", ",,;;=", "en"),
    ],
)
def test_language_is_the_one_asked_for_else_the_browsers_first_of_ours(asked: str, accepted: str, chosen: str) -> None:
    assert choose_language(asked, accepted) == chosen


def test_blanks_are_filled_in() -> None:
    assert text("et", "card.pin.wrong", which="PIN1", tries=2) == "Vale PIN1. Katseid jäänud: 2."
