"""What the business register offers: companies, who has which role in them, and who may act for them.

Whoever asks about a person says why in the header X-Digiid-Purpose; without it the register refuses.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from digiid.contracts.members import BANK, BUSINESS_REGISTER, CONSENT_SERVICE, INFORMATION_AUTHORITY, POLICE_BOARD
from digiid.contracts.operation import NO_PERSONS, Message, Operation
from digiid.contracts.population_register import Name, PersonalCode
from digiid.kernel.identifiers import ServiceId

RegistryCode = Annotated[str, Field(pattern=r"^[1-9][0-9]{7}$")]
CompanyStatus = Literal["R", "L", "N", "K"]
"""As the register writes it: R entered, L in liquidation, N bankrupt, K deleted."""
RoleKind = Literal["board_member", "shareholder", "procurist", "liquidator", "bankruptcy_trustee"]
RepresentationKind = Literal["sole", "joint", "none"]


class FindCompanies(Message):
    """Companies by the beginning of a name, or by the registry code."""

    text: Annotated[str, Field(min_length=2, max_length=100)]


class CompanySummary(Message):
    registry_code: RegistryCode
    name: Name
    status: CompanyStatus


class CompaniesFound(Message):
    """At most 50, by name."""

    companies: tuple[CompanySummary, ...]


class GetCompany(Message):
    """A company's entry with the persons who have a role in it today."""

    registry_code: RegistryCode


class Role(Message):
    """`representation` is empty for a role that never represents. `share_cents` stands with a shareholder only."""

    kind: RoleKind
    personal_code: PersonalCode
    name: Name
    from_on: date
    until_on: date | None = None
    representation: Literal["sole", "joint"] | None = None
    share_cents: Annotated[int, Field(ge=1)] | None = None


class Company(Message):
    registry_code: RegistryCode
    name: Name
    legal_form: Annotated[str, Field(max_length=20)]
    status: CompanyStatus
    address: Annotated[str, Field(max_length=300)]
    share_capital_cents: Annotated[int, Field(ge=0)]
    registered_on: date
    deleted_on: date | None = None
    roles: tuple[Role, ...]
    """The roles of today."""


class RolesOfPerson(Message):
    """In which companies has this person a role today?"""

    personal_code: PersonalCode


class RoleInCompany(Message):
    company: CompanySummary
    kind: RoleKind
    from_on: date
    representation: RepresentationKind


class PersonRoles(Message):
    roles: tuple[RoleInCompany, ...]


class RightOfRepresentation(Message):
    """May this person act for this company today?"""

    personal_code: PersonalCode
    registry_code: RegistryCode


class Representation(Message):
    """`joint`: only together with another holder of the same role. `reason`: what the answer rests on, a code."""

    representation: RepresentationKind
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    company_name: Name


def _service(code: str) -> ServiceId:
    return ServiceId(BUSINESS_REGISTER, code)


_ANYBODY = frozenset({BANK, INFORMATION_AUTHORITY, POLICE_BOARD})
_PUBLIC = "Commercial Register Act § 17: the register is public"
_CHECKS = "Identity Documents Act § 20^6: checks before and after the issue of a digi-ID"
_OWN = "GDPR art. 15: asked by the person"
FIND_COMPANIES = Operation(_service("find-companies"), FindCompanies, CompaniesFound, _ANYBODY, for_others=NO_PERSONS)
GET_COMPANY = Operation(
    _service("get-company"),
    GetCompany,
    Company,
    _ANYBODY,
    discloses=("role", "representation", "share"),
    about=("reply.roles.personal_code",),
    legal_bases=dict.fromkeys(_ANYBODY, _PUBLIC),
    for_others=_PUBLIC,
)
ROLES_OF_PERSON = Operation(
    _service("roles-of-person"),
    RolesOfPerson,
    PersonRoles,
    frozenset({INFORMATION_AUTHORITY, POLICE_BOARD}),
    discloses=("role", "representation"),
    legal_bases={INFORMATION_AUTHORITY: _OWN, POLICE_BOARD: _CHECKS},
    may_delay=frozenset({POLICE_BOARD}),
)
RIGHT_OF_REPRESENTATION = Operation(
    _service("right-of-representation"),
    RightOfRepresentation,
    Representation,
    frozenset({BANK, CONSENT_SERVICE, INFORMATION_AUTHORITY}),
    discloses=("representation",),
    legal_bases={
        BANK: "Money Laundering and Terrorist Financing Prevention Act § 20: representation of a customer",
        CONSENT_SERVICE: "General Part of the Civil Code Act § 34: who acts for a company is checked",
        INFORMATION_AUTHORITY: "General Part of the Civil Code Act § 34: who acts for a company is checked",
    },
)
