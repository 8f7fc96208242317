"""What the population register offers: entering a person and reading back the little that others may know."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from digiid.contracts.members import INFORMATION_AUTHORITY, POLICE_BOARD, POPULATION_REGISTER
from digiid.contracts.operation import Message, Operation
from digiid.kernel.identifiers import ServiceId

PersonalCode = Annotated[str, Field(pattern=r"^[1-8][0-9]{10}$")]
Name = Annotated[str, Field(min_length=1, max_length=100)]
CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{1,3}$")]
OrderId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]


class RegisterPerson(Message):
    """Enter a person. The same `application_id` always gives the same personal code."""

    application_id: OrderId
    given_names: Name
    surname: Name
    sex: Literal["F", "M"]
    born_on: date
    citizenships: Annotated[tuple[CountryCode, ...], Field(min_length=1, max_length=10)]
    residence_country: CountryCode
    basis: Literal["e_resident", "citizen"]
    personal_code: PersonalCode | None = None
    """Set when the person already has one; the register then checks that name and birth date agree."""


class PersonRegistered(Message):
    personal_code: PersonalCode


class FindPersons(Message):
    """Who in the register could be this person? Asked in the background check for a duplicate person."""

    given_names: Name
    surname: Name
    born_on: date
    purpose: Name


class PersonMatch(Message):
    personal_code: PersonalCode
    given_names: Name
    surname: Name
    born_on: date
    similarity: Annotated[float, Field(ge=0, le=1)]


class PersonsFound(Message):
    matches: tuple[PersonMatch, ...]


class GetPerson(Message):
    """The holder's own entry, asked for by the portal on the holder's behalf."""

    personal_code: PersonalCode


class Person(Message):
    personal_code: PersonalCode
    given_names: Name
    surname: Name
    born_on: date
    citizenships: tuple[CountryCode, ...]
    basis: Literal["e_resident", "citizen"]


def _service(code: str) -> ServiceId:
    return ServiceId(POPULATION_REGISTER, code)


REGISTER_PERSON = Operation(_service("register-person"), RegisterPerson, PersonRegistered, frozenset({POLICE_BOARD}))
FIND_PERSONS = Operation(_service("find-persons"), FindPersons, PersonsFound, frozenset({POLICE_BOARD}))
GET_PERSON = Operation(_service("get-person"), GetPerson, Person, frozenset({INFORMATION_AUTHORITY}))
