"""Persons and when two entries are about the same one."""

import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from rapidfuzz import fuzz

from digiid.formats.personal_code import MAX_ORDER_NUMBER, PersonalCode, build_personal_code
from digiid.kernel.errors import Conflict

Basis = Literal["citizen", "e_resident"]
SIMILAR_ENOUGH = 0.80


@dataclass(frozen=True, slots=True)
class Person:
    """One entry. The personal code is for life; everything else may change by a new registration."""

    personal_code: str
    given_names: str
    surname: str
    sex: Literal["F", "M"]
    born_on: date
    citizenships: tuple[str, ...]
    residence_country: str
    basis: Basis
    registered_at: datetime


def fold_name(name: str) -> str:
    """A name for comparing: no accents, no case, single spaces."""
    decomposed = unicodedata.normalize("NFKD", name)
    letters = "".join(c if c.isalnum() else " " for c in decomposed if not unicodedata.combining(c))
    return " ".join(letters.casefold().split())


def name_similarity(left: str, right: str) -> float:
    """How alike two names are, 0 to 1, whatever the order of their parts."""
    return fuzz.token_sort_ratio(fold_name(left), fold_name(right)) / 100


def next_personal_code(*, born_on: date, sex: Literal["F", "M"], taken: list[int], first: int) -> PersonalCode:
    """The first free code of a day and sex. Raises: Conflict `population.no_code_left`."""
    used = set(taken)
    for number in range(first, MAX_ORDER_NUMBER + 1):
        if number not in used:
            return build_personal_code(born_on=born_on, sex=sex, order_number=number)
    raise Conflict("population.no_code_left", f"all codes of {born_on} from {first} are taken")


def check_same_person(entry: Person, *, given_names: str, surname: str, born_on: date) -> None:
    """A personal code that came with a request must be that person's. Raises: Conflict `population.other_person`."""
    names = name_similarity(f"{entry.given_names} {entry.surname}", f"{given_names} {surname}")
    if entry.born_on != born_on or names < SIMILAR_ENOUGH:
        raise Conflict(
            "population.other_person",
            "name or birth date does not agree with the register's entry for this code",
            public="The personal code belongs to another person.",
        )
