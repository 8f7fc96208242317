"""What the register does. A personal code in the journal is shortened; the whole one stands in the entry itself."""

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy.engine import Connection

from digiid.contracts.population_register import RegisterPerson
from digiid.institutions.population_register import store
from digiid.institutions.population_register.domain import (
    SIMILAR_ENOUGH,
    Person,
    check_same_person,
    name_similarity,
    next_personal_code,
)
from digiid.institutions.population_register.settings import Settings
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database


@dataclass(frozen=True)
class Deps:
    db: Database
    clock: Clock
    settings: Settings


@dataclass(frozen=True, slots=True)
class Match:
    person: Person
    similarity: float


def register_person(deps: Deps, request: RegisterPerson, *, asked_by: str) -> str:
    """Enter a person and return the personal code; the same application always gets the same one.

    Raises: Conflict `population.changed_request` (the id came before with other content),
    `population.other_person`, `population.no_code_left`; NotFound `population.person`.
    """
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    with deps.db.write() as tx:
        # 1 a repeat gets the same answer
        if earlier := store.find_registration(tx, request.application_id):
            if earlier.request_sha256 != digest:
                raise Conflict("population.changed_request", "this application was registered with other data")
            return earlier.personal_code
        # 2 somebody who has a code keeps it
        if request.personal_code:
            entry = store.find_person(tx, request.personal_code)
            if entry is None:
                raise NotFound("population.person", "nobody has this code", public="No such personal code.")
            check_same_person(entry, given_names=request.given_names, surname=request.surname, born_on=request.born_on)
            code = entry.personal_code
        # 3 a new person gets the first free code of the day
        else:
            taken = store.order_numbers(tx, request.born_on, request.sex)
            made = next_personal_code(
                born_on=request.born_on, sex=request.sex, taken=taken, first=deps.settings.first_order_number
            )
            code = made.code
            person = Person(
                code,
                request.given_names,
                request.surname,
                request.sex,
                request.born_on,
                request.citizenships,
                request.residence_country,
                request.basis,
                deps.clock.now(),
            )
            store.insert_person(tx, person, made.order_number)
        # 4 remembered and journaled with the entry
        store.insert_registration(tx, request.application_id, store.Registration(code, digest))
        _record(deps, tx, "person.registered", code, by=asked_by, purpose=f"application {request.application_id}")
    return code


def find_persons(deps: Deps, *, given_names: str, surname: str, born_on: date, purpose: str, by: str) -> list[Match]:
    """Entries that could be this person: a similar name and a birth date at most a year away."""
    year = timedelta(days=366)
    with deps.db.write() as tx:
        found = [
            Match(person, name_similarity(f"{given_names} {surname}", f"{person.given_names} {person.surname}"))
            for person in store.persons_born_between(tx, born_on - year, born_on + year)
        ]
        matches = sorted((m for m in found if m.similarity >= SIMILAR_ENOUGH), key=lambda m: -m.similarity)[:20]
        codes = [_short(match.person.personal_code) for match in matches]
        payload: dict[str, journal.JsonValue] = {"by": by, "purpose": purpose, "found": codes}
        journal.record(tx, store.JOURNAL, kind="persons.searched", payload=payload, at=deps.clock.now())
    return matches


def get_person(deps: Deps, personal_code: str, *, by: str, purpose: str) -> Person:
    """One entry; the look is journaled in the same transaction. Raises: NotFound `population.person`."""
    with deps.db.write() as tx:
        person = store.find_person(tx, personal_code)
        if person is None:
            raise NotFound("population.person", "no such code", public="There is nobody with this personal code.")
        _record(deps, tx, "person.read", personal_code, by=by, purpose=purpose)
    return person


def search_at_desk(deps: Deps, *, text: str, purpose: str, officer: str) -> list[Person]:
    """The register desk's search, by personal code or the beginning of a surname. A purpose is required.

    Raises: Refused `population.no_purpose`.
    """
    if len(purpose.strip()) < 5:
        raise Refused("population.no_purpose", "no purpose given", public="Say why you need this look.")
    with deps.db.write() as tx:
        exact = store.find_person(tx, text) if text.isdigit() else None
        found = [exact] if exact else [] if text.isdigit() else store.persons_with_surname_like(tx, text)
        payload: dict[str, journal.JsonValue] = {
            "by": officer,
            "purpose": purpose,
            "found": [_short(person.personal_code) for person in found],
        }
        journal.record(tx, store.JOURNAL, kind="persons.searched", payload=payload, at=deps.clock.now())
    return found


def add_officer(deps: Deps, personal_code: str, name: str) -> None:
    """Authorise an officer of the register desk, by personal code."""
    with deps.db.write() as tx:
        store.insert_officer(tx, personal_code, name)
        _record(deps, tx, "officer.added", personal_code, by="administrator", purpose="authorisation")


def admit_officer(deps: Deps, personal_code: str) -> str:
    """The name of the officer who may enter the desk. Raises: Refused `population.not_an_officer`."""
    with deps.db.read() as tx:
        name = store.find_officer(tx, personal_code)
    if name is None:
        raise Refused("population.not_an_officer", "not an officer", public="You are not an officer of this register.")
    return name


def list_look_ups(deps: Deps) -> list[store.LookUp]:
    with deps.db.read() as tx:
        return store.recent_look_ups(tx)


def _record(deps: Deps, tx: Connection, kind: str, code: str, *, by: str, purpose: str) -> None:
    payload: dict[str, journal.JsonValue] = {"person": _short(code), "by": by, "purpose": purpose}
    journal.record(tx, store.JOURNAL, kind=kind, payload=payload, at=deps.clock.now())


def _short(code: str) -> str:
    return code[:7] + "****"
