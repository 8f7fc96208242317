"""What the population register offers: entering a person and reading back the little that others may know.

Whoever asks about a person says why in the header X-Digiid-Purpose. A service that a consent opens needs the consent
receipt in X-Digiid-Consent; its scope then says which fields are answered, and no others are.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from digiid.contracts.members import (
    BANK,
    BUSINESS_REGISTER,
    CONSENT_SERVICE,
    INFORMATION_AUTHORITY,
    POLICE_BOARD,
    POPULATION_REGISTER,
)
from digiid.contracts.operation import CONSENT, Done, Message, Operation
from digiid.kernel.identifiers import ServiceId

PersonalCode = Annotated[str, Field(pattern=r"^[1-8][0-9]{10}$")]
Name = Annotated[str, Field(min_length=1, max_length=100)]
CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{1,3}$")]
OrderId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]


AddressField = Literal["country", "region", "locality", "street", "postcode"]
AddressKind = Literal["residence", "contact"]
ADDRESS_FIELDS: tuple[AddressField, ...] = ("country", "region", "locality", "street", "postcode")
DocumentNumber = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,20}$")]


class PlaceOfAddress(Message):
    """Where a person can be reached: from the country down to the street and house."""

    country: CountryCode
    region: Annotated[str, Field(max_length=100)] = ""
    locality: Annotated[str, Field(max_length=100)] = ""
    street: Annotated[str, Field(max_length=200)] = ""
    postcode: Annotated[str, Field(max_length=20)] = ""


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
    address: PlaceOfAddress | None = None
    """Of a citizen the residence, of an e-resident a contact address, wherever that is."""


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


class GetAddress(Message):
    """The person's address of today. `fields` may ask for fewer than the consent or the law would open."""

    personal_code: PersonalCode
    fields: tuple[AddressField, ...] = ADDRESS_FIELDS


class Address(Message):
    """Only the fields that were asked for and are open to this asker; the others are absent, not empty."""

    kind: AddressKind
    from_on: date
    country: CountryCode | None = None
    region: str | None = None
    locality: str | None = None
    street: str | None = None
    postcode: str | None = None


class IsOverAge(Message):
    """Is the person at least so many years old today? The birth date stays in the register."""

    personal_code: PersonalCode
    years: Annotated[int, Field(ge=1, le=120)]


class OverAge(Message):
    is_over: bool


class CheckName(Message):
    """Does the name belong to the code? The register's own spelling stays in the register."""

    personal_code: PersonalCode
    given_names: Name
    surname: Name


class NameChecked(Message):
    agrees: bool


class GetFamily(Message):
    """The holder's own family relations, asked for by the portal on the holder's behalf."""

    personal_code: PersonalCode


class FamilyMember(Message):
    """`relation` says what the other one is to the person. `has_custody`: over the child, of today."""

    relation: Literal["child", "parent", "spouse"]
    personal_code: PersonalCode
    name: Annotated[str, Field(max_length=201)]
    is_minor: bool
    has_custody: bool = False
    from_on: date


class Family(Message):
    members: tuple[FamilyMember, ...]


class RepresentsMinor(Message):
    """May this person act for this minor today, as a parent with custody?"""

    representative_code: PersonalCode
    minor_code: PersonalCode


class MinorRepresentation(Message):
    """`reason` is a code: `custody`, or why not: `not_a_minor`, `no_relation`, `no_custody`, `representative_minor`."""

    represents: bool
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]


class RecordDocumentStatus(Message):
    """The board tells what a document is now. An older notice than the last one changes nothing."""

    notice_id: OrderId
    personal_code: PersonalCode
    document_number: DocumentNumber
    policy: Literal["citizen", "e_resident"]
    state: Literal["active", "suspended", "revoked", "expired", "superseded"]
    expires_on: date | None = None
    changed_at: datetime


class HasValidDocument(Message):
    """Does the person hold a valid identity document of this state today?"""

    personal_code: PersonalCode


class ValidDocument(Message):
    holds_valid: bool


def _service(code: str) -> ServiceId:
    return ServiceId(POPULATION_REGISTER, code)


_PORTAL = frozenset({INFORMATION_AUTHORITY})
_OWN = "GDPR art. 15: asked by the person"
_ISSUE = "Identity Documents Act § 20^5: issue of a digi-ID"
_ENTRY = "Commercial Register Act § 30: who stands in an entry is checked"
REGISTER_PERSON = Operation(
    _service("register-person"),
    RegisterPerson,
    PersonRegistered,
    frozenset({POLICE_BOARD}),
    discloses=("personal_code",),
    about=("reply.personal_code",),
    legal_bases={POLICE_BOARD: _ISSUE},
)
FIND_PERSONS = Operation(
    _service("find-persons"),
    FindPersons,
    PersonsFound,
    frozenset({POLICE_BOARD}),
    discloses=("name", "birth_date", "personal_code"),
    about=("reply.matches.personal_code",),
    legal_bases={POLICE_BOARD: _ISSUE},
    may_delay=frozenset({POLICE_BOARD}),
)
GET_PERSON = Operation(
    _service("get-person"),
    GetPerson,
    Person,
    _PORTAL,
    discloses=("name", "birth_date", "citizenship"),
    legal_bases={INFORMATION_AUTHORITY: _OWN},
)
GET_ADDRESS = Operation(
    _service("get-address"),
    GetAddress,
    Address,
    frozenset({BANK, BUSINESS_REGISTER, INFORMATION_AUTHORITY}),
    discloses=tuple(f"address.{name}" for name in ADDRESS_FIELDS),
    legal_bases={BANK: CONSENT, BUSINESS_REGISTER: _ENTRY, INFORMATION_AUTHORITY: _OWN},
    for_others=CONSENT,
)
IS_OVER_AGE = Operation(
    _service("is-over-age"),
    IsOverAge,
    OverAge,
    frozenset({BANK, INFORMATION_AUTHORITY}),
    discloses=("age_reached",),
    legal_bases={
        BANK: "General Part of the Civil Code Act § 8: whether a customer can act alone",
        INFORMATION_AUTHORITY: _OWN,
    },
)
CHECK_NAME = Operation(
    _service("check-name"),
    CheckName,
    NameChecked,
    frozenset({BANK, BUSINESS_REGISTER}),
    discloses=("name_agrees",),
    legal_bases={
        BANK: "Money Laundering and Terrorist Financing Prevention Act § 21: identification of a customer",
        BUSINESS_REGISTER: _ENTRY,
    },
)
GET_FAMILY = Operation(
    _service("get-family"),
    GetFamily,
    Family,
    _PORTAL,
    discloses=("family",),
    about=("request.personal_code", "reply.members.personal_code"),
    legal_bases={INFORMATION_AUTHORITY: _OWN},
)
REPRESENTS_MINOR = Operation(
    _service("represents-minor"),
    RepresentsMinor,
    MinorRepresentation,
    _PORTAL | {CONSENT_SERVICE},
    discloses=("custody",),
    about=("request.representative_code", "request.minor_code"),
    legal_bases=dict.fromkeys(_PORTAL | {CONSENT_SERVICE}, "Family Law Act § 120: who acts for a minor is checked"),
)
RECORD_DOCUMENT_STATUS = Operation(
    _service("record-document-status"), RecordDocumentStatus, Done, frozenset({POLICE_BOARD})
)
HAS_VALID_DOCUMENT = Operation(
    _service("has-valid-document"),
    HasValidDocument,
    ValidDocument,
    frozenset({BUSINESS_REGISTER, INFORMATION_AUTHORITY}),
    discloses=("document_status",),
    legal_bases={BUSINESS_REGISTER: _ENTRY, INFORMATION_AUTHORITY: _OWN},
)
