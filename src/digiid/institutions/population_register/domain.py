"""Persons and when two entries are about the same one; where they live, whose child and spouse they are."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from rapidfuzz import fuzz

from digiid.formats.personal_code import MAX_ORDER_NUMBER, PersonalCode, build_personal_code
from digiid.kernel.errors import Conflict, Refused

Basis = Literal["citizen", "e_resident"]
AddressKind = Literal["residence", "contact"]
RelationKind = Literal["parent", "spouse"]
DocumentState = Literal["active", "suspended", "revoked", "expired", "superseded"]
SIMILAR_ENOUGH = 0.80
ADULT_YEARS = 18
ADDRESS_FIELDS = ("country", "region", "locality", "street", "postcode")


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


# --- age and name ----------------------------------------------------------------------------------------------------


def age_on(born_on: date, day: date) -> int:
    """Whole years; who was born on 29 February is a year older on 1 March where there is no such day."""
    return day.year - born_on.year - ((day.month, day.day) < (born_on.month, born_on.day))


def is_minor(person: Person, day: date) -> bool:
    return age_on(person.born_on, day) < ADULT_YEARS


def is_name_of(person: Person, *, given_names: str, surname: str) -> bool:
    """Whether both names are the entry's, whatever case and accents: no likeness, or guessing would pay."""
    return fold_name(given_names) == fold_name(person.given_names) and fold_name(surname) == fold_name(person.surname)


# --- addresses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Where a person was to be reached from a day on; `until_on` is the first day on which that was no longer so."""

    kind: AddressKind
    country: str
    region: str
    locality: str
    street: str
    postcode: str
    from_on: date
    until_on: date | None = None

    def is_same_place(self, other: "Address") -> bool:
        return all(getattr(self, name) == getattr(other, name) for name in ADDRESS_FIELDS)


def decide_address_change(current: Address | None, new: Address) -> tuple[Address | None, Address | None]:
    """What becomes of the address of this kind: (the current one ended, the new one), or (None, None) for no change.

    Raises: Conflict `population.address_order` when the new one would begin before the current one did.
    """
    if current is None:
        return None, new
    if current.is_same_place(new):
        return None, None
    if new.from_on < current.from_on:
        raise Conflict(
            "population.address_order",
            f"{new.from_on} is before {current.from_on}",
            public="The new address cannot begin before the one that is in force.",
        )
    return replace(current, until_on=new.from_on), new


def choose_address(addresses: Sequence[Address], day: date) -> Address | None:
    """The address of a day: the residence if there is one, else the contact address."""
    in_force = [a for a in addresses if a.from_on <= day and (a.until_on is None or day < a.until_on)]
    return min(in_force, key=lambda a: a.kind != "residence", default=None)


# --- family ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Relation:
    """`parent`: the person is the other one's parent, with custody or without. `spouse`: each of the other."""

    kind: RelationKind
    personal_code: str
    other_code: str
    has_custody: bool
    from_on: date
    until_on: date | None = None

    def is_in_force(self, day: date) -> bool:
        return self.from_on <= day and (self.until_on is None or day < self.until_on)


def check_relation(new: Relation, *, person: Person, other: Person, known: Sequence[Relation]) -> None:
    """May this relation be entered beside those that both persons already have?

    Raises: Refused `population.relation` (to oneself, a child older than the parent, a spouse who is a minor, custody
    where there is no child), `population.married_already`; Conflict `population.relation_known`.
    """
    if person.personal_code == other.personal_code:
        raise Refused("population.relation", "to oneself", public="Nobody is their own relative.")
    if new.kind == "parent" and age_on(person.born_on, other.born_on) < 1:
        raise Refused("population.relation", "child older than parent", public="A parent is older than the child.")
    if new.kind == "spouse":
        if new.has_custody:
            raise Refused("population.relation", "custody of a spouse", public="Custody is over a child only.")
        if is_minor(person, new.from_on) or is_minor(other, new.from_on):
            raise Refused("population.relation", "a minor", public="Spouses are of age.")
        if any(r.kind == "spouse" and r.is_in_force(new.from_on) for r in known):
            raise Refused("population.married_already", "in force", public="One of the two is married already.")
    same = (new.kind, new.personal_code, new.other_code)
    if any((r.kind, r.personal_code, r.other_code) == same and r.is_in_force(new.from_on) for r in known):
        raise Conflict("population.relation_known", "in force", public="This relation stands in the register already.")


def decide_minor_representation(
    relations: Sequence[Relation], *, representative: Person, minor: Person, day: date
) -> tuple[bool, str]:
    """May the representative act for the minor on this day, and the code of what that rests on (FLA § 120)."""
    if not is_minor(minor, day):
        return False, "not_a_minor"
    if is_minor(representative, day):
        return False, "representative_minor"
    parents = [
        r
        for r in relations
        if r.kind == "parent"
        and (r.personal_code, r.other_code) == (representative.personal_code, minor.personal_code)
        and r.is_in_force(day)
    ]
    if not parents:
        return False, "no_relation"
    return (True, "custody") if any(r.has_custody for r in parents) else (False, "no_custody")


# --- documents, as the board tells -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    document_number: str
    personal_code: str
    policy: Basis
    state: DocumentState
    expires_on: date | None
    changed_at: datetime

    def is_valid(self, day: date) -> bool:
        return self.state == "active" and (self.expires_on is None or day <= self.expires_on)


def is_news(known: DocumentStatus | None, told: DocumentStatus) -> bool:
    """Notices may come twice and out of order: the latest change is the one that holds."""
    return known is None or (told.changed_at >= known.changed_at and told != known)
