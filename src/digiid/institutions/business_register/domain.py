"""Companies, roles in them, and who may act for whom: decided from the entries alone."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from digiid.formats.registry_code import MAX_NUMBER, build_registry_code
from digiid.kernel.errors import Conflict, Refused
from digiid.kernel.states import Edge, StateTable

REGISTRAR = "registrar"
MAX_NAME_LENGTH = 100


class CompanyStatus(StrEnum):
    """The register's own letters."""

    ENTERED = "R"
    LIQUIDATION = "L"
    BANKRUPT = "N"
    DELETED = "K"


class CompanyEvent(StrEnum):
    DISSOLVE = "dissolve"
    CONTINUE = "continue"
    DECLARE_BANKRUPT = "declare_bankrupt"
    END_BANKRUPTCY = "end_bankruptcy"
    DELETE = "delete"


S: TypeAlias = CompanyStatus
E: TypeAlias = CompanyEvent


def _edge(to: S, basis: str) -> Edge[S]:
    return Edge(to, basis, frozenset({REGISTRAR}))


_DELETE = _edge(S.DELETED, "Commercial Code § 59")
TABLE: StateTable[S, E] = {
    S.ENTERED: {
        E.DISSOLVE: _edge(S.LIQUIDATION, "Commercial Code § 201"),
        E.DECLARE_BANKRUPT: _edge(S.BANKRUPT, "Bankruptcy Act § 31"),
        E.DELETE: _DELETE,
    },
    S.LIQUIDATION: {
        E.CONTINUE: _edge(S.ENTERED, "Commercial Code § 218"),
        E.DECLARE_BANKRUPT: _edge(S.BANKRUPT, "Bankruptcy Act § 31"),
        E.DELETE: _DELETE,
    },
    S.BANKRUPT: {E.END_BANKRUPTCY: _edge(S.ENTERED, "Bankruptcy Act § 157"), E.DELETE: _DELETE},
    S.DELETED: {},
}


@dataclass(frozen=True, slots=True)
class Company:
    """One entry. The registry code is for good; `address` is one line as the register shows it."""

    registry_code: str
    name: str
    legal_form: str
    status: CompanyStatus
    address: str
    share_capital_cents: int
    registered_on: date
    deleted_on: date | None = None


class RoleKind(StrEnum):
    BOARD_MEMBER = "board_member"
    SHAREHOLDER = "shareholder"
    PROCURIST = "procurist"
    LIQUIDATOR = "liquidator"
    TRUSTEE = "bankruptcy_trustee"


Representing = Literal["sole", "joint"]


@dataclass(frozen=True, slots=True)
class Role:
    """A person's role in a company from a day on; `until_on` is the first day on which it was no longer so."""

    role_id: str
    registry_code: str
    kind: RoleKind
    personal_code: str
    name: str
    from_on: date
    until_on: date | None = None
    representation: Representing | None = None
    share_cents: int | None = None

    def is_in_force(self, day: date) -> bool:
        return self.from_on <= day and (self.until_on is None or day < self.until_on)


@dataclass(frozen=True, slots=True)
class Filing:
    """What was entered, when, by whom, and what it rests on. Nothing is ever taken out of this journal."""

    number: int
    registry_code: str
    kind: str
    text: str
    basis: str
    entered_by: str
    entered_at: datetime


@dataclass(frozen=True, slots=True)
class Representation:
    """The answer to "may this person act for this company"; `together_with` names who may join a joint one."""

    kind: Literal["sole", "joint", "none"]
    reason: str
    together_with: tuple[Role, ...] = ()


def fold_name(name: str) -> str:
    """A name for finding: no accents, no case, no marks, single spaces."""
    decomposed = unicodedata.normalize("NFKD", name)
    letters = "".join(c if c.isalnum() else " " for c in decomposed if not unicodedata.combining(c))
    return " ".join(letters.casefold().split())


def next_registry_code(*, taken: int | None, first: int) -> str:
    """The code after the highest number that is taken. Raises: Conflict `business.no_code_left`."""
    number = first if taken is None else max(first, taken + 1)
    if number > MAX_NUMBER:
        raise Conflict("business.no_code_left", f"every number up to {MAX_NUMBER} is taken")
    return build_registry_code(number)


def check_company(*, name: str, legal_form: str, share_capital_cents: int) -> None:
    """Raises: Refused `business.company` when an entry would break the Commercial Code."""
    if legal_form not in ("OÜ", "AS"):
        raise Refused("business.company", f"form {legal_form}", public="The legal form is OÜ or AS.")
    if legal_form.casefold() not in name.casefold().split() or len(name) > MAX_NAME_LENGTH:
        raise Refused("business.company", "name", public="The name says the legal form and has at most 100 letters.")
    least = 2_500_000 if legal_form == "AS" else 1  # Commercial Code § 222; § 136 since 1 February 2023
    if share_capital_cents < least:
        raise Refused("business.company", "share capital", public="The share capital is too small for the legal form.")


def check_role(new: Role, *, company: Company, roles: Sequence[Role]) -> None:
    """May this role be entered beside the others?

    Raises: Refused `business.role` (a role that never represents cannot have a representation, a representing one
    needs it, only a shareholder has a share, shares exceed the capital), `business.company_deleted`;
    Conflict `business.role_known`.
    """
    if company.status is CompanyStatus.DELETED:
        raise Refused("business.company_deleted", company.registry_code, public="The company has been deleted.")
    represents = new.kind is not RoleKind.SHAREHOLDER
    if represents != (new.representation is not None) or represents == (new.share_cents is not None):
        raise Refused(
            "business.role",
            f"{new.kind}: {new.representation}, {new.share_cents}",
            public="A shareholder has a share; every other role says whether it represents alone or jointly.",
        )
    standing = [role for role in roles if role.kind is new.kind and role.is_in_force(new.from_on)]
    if any(role.personal_code == new.personal_code for role in standing):
        raise Conflict("business.role_known", new.kind, public="The person has this role already.")
    held = sum(role.share_cents or 0 for role in standing)
    if new.share_cents is not None and held + new.share_cents > company.share_capital_cents:
        raise Refused("business.role", "shares", public="The shares are more than the share capital.")


_REPRESENTED_BY = {
    CompanyStatus.ENTERED: (RoleKind.BOARD_MEMBER, RoleKind.PROCURIST),
    CompanyStatus.LIQUIDATION: (RoleKind.LIQUIDATOR,),  # § 209: the board's rights have ended
    CompanyStatus.BANKRUPT: (RoleKind.TRUSTEE,),  # Bankruptcy Act § 36
    CompanyStatus.DELETED: (),
}


def decide_representation(company: Company, roles: Sequence[Role], *, personal_code: str, day: date) -> Representation:
    """May the person act for the company on this day: alone, only together with another, or not at all?

    Who represents depends on the company's status. Of several roles the strongest counts. A joint right is one with
    another holder of the same kind of role, whatever that one could do alone (Commercial Code § 181 (1)); with nobody
    there to join, it gives nothing.
    """
    if company.status is CompanyStatus.DELETED:
        return Representation("none", "company_deleted")
    in_force = [role for role in roles if role.is_in_force(day)]
    own = [role for role in in_force if role.personal_code == personal_code]
    representing = [role for role in own if role.kind in _REPRESENTED_BY[company.status] and role.representation]
    # 1 no role, or one that does not represent now
    if not representing:
        if not own:
            return Representation("none", "ended" if _had_role(roles, personal_code, day) else "no_role")
        status_ended = any(role.representation for role in own)
        return Representation("none", "not_in_this_status" if status_ended else "does_not_represent")
    # 2 alone
    for role in representing:
        if role.representation == "sole":
            return Representation("sole", role.kind.value)
    # 3 together with another one
    for role in representing:
        others = tuple(r for r in in_force if r.kind is role.kind and r.personal_code != personal_code)
        if others:
            return Representation("joint", role.kind.value, others)
    return Representation("none", "nobody_to_join")


def _had_role(roles: Sequence[Role], personal_code: str, day: date) -> bool:
    return any(r.personal_code == personal_code and r.until_on is not None and r.until_on <= day for r in roles)
