"""What the register does: enters companies and roles, answers who may act for whom, and records who asked.

The register is public by law: anybody may look at a company. Which companies a person has, and whether a person may
act for one, is answered with a purpose and on record only.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Literal, TypeVar

from sqlalchemy.engine import Connection

from digiid.formats.registry_code import parse_registry_code
from digiid.institutions.business_register import store
from digiid.institutions.business_register.domain import (
    REGISTRAR,
    TABLE,
    Company,
    CompanyEvent,
    CompanyStatus,
    Filing,
    Representation,
    Role,
    RoleKind,
    check_company,
    check_role,
    decide_representation,
    fold_name,
    next_registry_code,
)
from digiid.institutions.business_register.settings import Settings
from digiid.kernel.errors import Conflict, Malformed, NotFound
from digiid.kernel.states import take_edge
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.disclosures import Disclosed, Look, record_disclosure, record_disclosures
from digiid.platform.entropy import Entropy, new_id

T = TypeVar("T")


@dataclass(frozen=True)
class Deps:
    db: Database
    clock: Clock
    entropy: Entropy
    settings: Settings


@dataclass(frozen=True, slots=True)
class Appointment:
    """A role that is to be entered."""

    kind: RoleKind
    personal_code: str
    name: str
    from_on: date
    representation: Literal["sole", "joint"] | None = None
    share_cents: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A company that is to be entered, with its first roles. The same `request_id` always gives the same company."""

    request_id: str
    name: str
    legal_form: str
    address: str
    share_capital_cents: int
    appointments: tuple[Appointment, ...]


@dataclass(frozen=True, slots=True)
class CompanyView:
    """A company with its roles of today and its entries."""

    company: Company
    roles: tuple[Role, ...]
    filings: tuple[Filing, ...]


@dataclass(frozen=True, slots=True)
class OwnRole:
    company: Company
    role: Role
    representation: Representation


# --- entering --------------------------------------------------------------------------------------------------------


def enter_company(deps: Deps, entry: Entry, *, entered_by: str) -> str:
    """Enter a company and return its registry code.

    Raises: Refused `business.company`, `business.role`; Conflict `business.name_taken`, `business.changed_request`,
    `business.no_code_left`.
    """
    return deps.db.retry(lambda: _enter_company(deps, entry, entered_by))


def _enter_company(deps: Deps, entry: Entry, entered_by: str) -> str:
    at = deps.clock.now()
    folded, digest = fold_name(entry.name), _sha256_of(entry)
    with deps.db.write() as tx:
        # 1 a repeat gets the same answer
        if found := store.find_company_of_request(tx, entry.request_id):
            earlier, sha256 = found
            if sha256 != digest if sha256 else fold_name(earlier.name) != folded:
                raise Conflict("business.changed_request", "this request entered a company with other data")
            return earlier.registry_code
        # 2 what the law asks of the entry
        check_company(name=entry.name, legal_form=entry.legal_form, share_capital_cents=entry.share_capital_cents)
        if any(other.status is not CompanyStatus.DELETED for other in store.find_companies_named(tx, folded)):
            raise Conflict("business.name_taken", folded, public="Another company has this name.")
        # 3 the next code
        taken = store.highest_registry_code(tx)
        code = next_registry_code(taken=int(taken[:7]) if taken else None, first=deps.settings.first_number)
        company = Company(
            code,
            entry.name,
            entry.legal_form,
            CompanyStatus.ENTERED,
            entry.address,
            entry.share_capital_cents,
            deps.clock.now().date(),
        )
        store.insert_company(tx, company, folded_name=folded, request_id=entry.request_id, request_sha256=digest)
        text = f"{entry.name}, {entry.legal_form}"
        _file(tx, code, "company.entered", text=text, basis="Commercial Code § 33", by=entered_by, at=at)
        # 4 its first roles
        for appointment in entry.appointments:
            _appoint(deps, tx, company, appointment, entered_by)
    return code


def _sha256_of(entry: Entry) -> bytes:
    """What tells a repeat from another request: every field of it. A new field may count only where it is not None."""
    text = json.dumps(asdict(entry), default=date.isoformat, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


def enter_role(deps: Deps, registry_code: str, appointment: Appointment, *, entered_by: str) -> str:
    """Enter one more role. Returns its id. Raises: NotFound `business.company`; what `check_role` raises."""
    with deps.db.write() as tx:
        return _appoint(deps, tx, _company(tx, registry_code), appointment, entered_by)


def end_role(deps: Deps, role_id: str, *, until_on: date, entered_by: str) -> None:
    """A role ends on a day; ending it again for the same day changes nothing.

    Raises: NotFound `business.role`; Conflict `business.role_ended` when it ended on another day or would end before
    it began.
    """
    with deps.db.write() as tx:
        role = store.find_role(tx, role_id)
        if role is None:
            raise NotFound("business.role", role_id, public="There is no such role.")
        if role.until_on == until_on:
            return
        if role.until_on is not None or until_on < role.from_on:
            raise Conflict("business.role_ended", role_id, public="The role cannot end on that day.")
        store.end_role(tx, role_id, until_on=until_on)
        _file(
            tx,
            role.registry_code,
            "role.ended",
            text=f"{role.kind.value}: {role.name}",
            basis="Commercial Code § 184",
            by=entered_by,
            at=deps.clock.now(),
            role_id=role_id,
        )


def change_status(deps: Deps, registry_code: str, event: CompanyEvent, *, entered_by: str) -> CompanyStatus:
    """Take one edge of the company's table. Raises: NotFound `business.company`; Conflict `state.illegal_event`."""
    at = deps.clock.now()
    with deps.db.write() as tx:
        company = _company(tx, registry_code)
        edge = take_edge(TABLE, company.status, event, actor=REGISTRAR)
        deleted_on = at.date() if edge.to is CompanyStatus.DELETED else None
        store.change_status(tx, registry_code, edge.to, deleted_on=deleted_on)
        kind, text = f"company.{event.value}", edge.to.value
        _file(tx, registry_code, kind, text=text, basis=edge.legal_basis, by=entered_by, at=at)
    return edge.to


def _appoint(deps: Deps, tx: Connection, company: Company, appointment: Appointment, entered_by: str) -> str:
    role = Role(
        role_id=new_id(deps.entropy),
        registry_code=company.registry_code,
        kind=appointment.kind,
        personal_code=appointment.personal_code,
        name=appointment.name,
        from_on=appointment.from_on,
        representation=appointment.representation,
        share_cents=appointment.share_cents,
    )
    check_role(role, company=company, roles=store.list_roles(tx, company.registry_code))
    store.insert_role(tx, role)
    _file(
        tx,
        company.registry_code,
        "role.entered",
        text=f"{role.kind.value}: {role.name}",
        basis="Commercial Code § 64",
        by=entered_by,
        at=deps.clock.now(),
        role_id=role.role_id,
    )
    return role.role_id


def _file(
    tx: Connection, registry_code: str, kind: str, *, text: str, basis: str, by: str, at: datetime, role_id: str = ""
) -> None:
    number = store.record_filing(tx, registry_code, kind=kind, text=text, basis=basis, entered_by=by, at=at)
    payload: dict[str, journal.JsonValue] = {"company": registry_code, "filing": number, "by": by}
    if role_id:
        payload["role"] = role_id
    journal.record(tx, store.JOURNAL, kind=kind, payload=payload, at=at)


# --- the public register ---------------------------------------------------------------------------------------------


def find_companies(deps: Deps, text: str) -> list[Company]:
    """Companies by registry code, or by how the name or a word of it begins; at most `store.MAX_FOUND`."""
    wanted = text.strip()
    with deps.db.read() as tx:
        if wanted.isdigit() and len(wanted) == 8:
            company = store.find_company(tx, wanted)
            return [company] if company else []
        folded = fold_name(wanted)
        return store.find_companies_like(tx, folded) if folded else []


def show_company(deps: Deps, registry_code: str) -> CompanyView:
    """What the public sees of one company. Raises: NotFound `business.company`."""
    with deps.db.read() as tx:
        company = _company(tx, registry_code)
        today = deps.clock.now().date()
        roles = tuple(r for r in store.list_roles(tx, registry_code) if r.is_in_force(today))
        return CompanyView(company, roles, tuple(store.list_filings(tx, registry_code)))


def own_companies(deps: Deps, personal_code: str) -> list[OwnRole]:
    """The signed-in person's own roles of today."""
    with deps.db.read() as tx:
        return _roles_of(deps, tx, personal_code)


# --- answers about persons -------------------------------------------------------------------------------------------


def get_company(deps: Deps, registry_code: str, *, look: Look, categories: Sequence[str]) -> Disclosed[CompanyView]:
    """The entry with its persons' codes, one disclosure for each of them. Raises: NotFound `business.company`."""

    def work() -> Disclosed[CompanyView]:
        with deps.db.write() as tx:
            company = _company(tx, registry_code)
            today = deps.clock.now().date()
            roles = tuple(r for r in store.list_roles(tx, registry_code) if r.is_in_force(today))
            return record_disclosures(
                tx,
                store.DISCLOSURES,
                store.JOURNAL,
                CompanyView(company, roles, ()),
                personal_codes=[role.personal_code for role in roles],
                look=look,
                categories=categories,
                at=deps.clock.now(),
            )

    return deps.db.retry(work)


def roles_of_person(
    deps: Deps, personal_code: str, *, look: Look, categories: Sequence[str]
) -> Disclosed[list[OwnRole]]:
    """In which companies the person has a role today; that there are none is an answer too, and on record."""

    def work() -> Disclosed[list[OwnRole]]:
        with deps.db.write() as tx:
            found = _roles_of(deps, tx, personal_code)
            return _disclose(deps, tx, found, personal_code, look=look, categories=categories)

    return deps.db.retry(work)


def right_of_representation(
    deps: Deps, *, personal_code: str, registry_code: str, look: Look, categories: Sequence[str]
) -> Disclosed[tuple[Company, Representation]]:
    """May the person act for the company today? Raises: NotFound `business.company`."""

    def work() -> Disclosed[tuple[Company, Representation]]:
        with deps.db.write() as tx:
            company = _company(tx, registry_code)
            right = decide_representation(
                company,
                store.list_roles(tx, registry_code),
                personal_code=personal_code,
                day=deps.clock.now().date(),
            )
            return _disclose(deps, tx, (company, right), personal_code, look=look, categories=categories)

    return deps.db.retry(work)


def _disclose(
    deps: Deps, tx: Connection, value: T, personal_code: str, *, look: Look, categories: Sequence[str]
) -> Disclosed[T]:
    return record_disclosure(
        tx,
        store.DISCLOSURES,
        store.JOURNAL,
        value,
        personal_code=personal_code,
        look=look,
        categories=categories,
        at=deps.clock.now(),
    )


def _roles_of(deps: Deps, tx: Connection, personal_code: str) -> list[OwnRole]:
    today = deps.clock.now().date()
    found = []
    for role in store.list_roles_of_person(tx, personal_code):
        if not role.is_in_force(today):
            continue
        company = _company(tx, role.registry_code)
        if company.status is CompanyStatus.DELETED:
            continue
        # what this one role gives: other roles of the person in the company have lines of their own
        others = store.list_roles(tx, role.registry_code)
        only_this = [r for r in others if r.role_id == role.role_id or r.personal_code != personal_code]
        right = decide_representation(company, only_this, personal_code=personal_code, day=today)
        found.append(OwnRole(company, role, right))
    return found


def _company(tx: Connection, registry_code: str) -> Company:
    try:
        company = store.find_company(tx, parse_registry_code(registry_code))
    except Malformed as error:
        raise NotFound("business.company", error.detail, public="There is no company with this code.") from error
    if company is None:
        raise NotFound("business.company", registry_code, public="There is no company with this code.")
    return company
