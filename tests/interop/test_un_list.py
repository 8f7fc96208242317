"""Screening against a real copy of the UN consolidated list, where one is at hand. No name of it is kept here."""

import os
import random
from datetime import date
from pathlib import Path

import pytest

from digiid.institutions.police_board.domain.screening import Applicant, screen
from digiid.institutions.police_board.domain.un_list import ListedPerson, PersonList, parse_un_list

pytestmark = pytest.mark.interop
_CORPORA = Path(os.environ.get("DIGIID_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))
_FILE = _CORPORA / "sanctions" / "un_consolidated.xml"


@pytest.fixture(scope="module")
def un() -> PersonList:
    if not _FILE.exists():
        pytest.skip("no copy of the UN list ($DIGIID_CORPORA/sanctions/un_consolidated.xml)")
    with _FILE.open("rb") as file:
        return parse_un_list(file, name="UN")


def test_the_whole_list_is_read(un: PersonList) -> None:
    assert len(un.persons) == 730
    assert un.version.startswith("2026-02-27")
    assert sum(1 for person in un.persons if person.births) > 650


def mystery_shopper(person: ListedPerson, dice: random.Random) -> Applicant | None:
    """The listed person with the words of the name in another order and a letter missing from the longest."""
    words = person.names[0].text.split()
    if len(words) < 2:
        return None
    longest = max(range(len(words)), key=lambda index: len(words[index]))
    middle = len(words[longest]) // 2
    words[longest] = words[longest][:middle] + words[longest][middle + 1 :]
    dice.shuffle(words)
    birth = person.births[0] if person.births else None
    born_on = (birth.on or date(birth.from_year, 6, 1)) if birth else date(1970, 1, 1)
    return Applicant(" ".join(words[:-1]), words[-1], born_on)


def test_listed_persons_who_misspell_themselves_are_found(un: PersonList) -> None:
    dice = random.Random(1)
    tried = found = 0
    for person in dice.sample(un.persons, 120):
        applicant = mystery_shopper(person, dice)
        if applicant is not None:
            tried += 1
            found += any(hit.reference == person.reference for hit in screen(applicant, [un]).hits)
    assert tried > 80
    assert found / tried >= 0.98


@pytest.mark.parametrize(
    "name", ["John Smith", "Maria Garcia", "Ivan Petrov", "Wei Wang", "Anna Tamm", "Juan Perez", "Olga Ivanova"]
)
def test_common_names_are_not_suspects(un: PersonList, name: str) -> None:
    given_names, surname = name.split()
    assert screen(Applicant(given_names, surname, date(1985, 5, 5)), [un]).hits == ()
