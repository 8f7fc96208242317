from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from digiid.contracts import business_register as contract
from digiid.contracts.members import BANK, INFORMATION_AUTHORITY
from digiid.exchange.gate import Caller
from digiid.formats.registry_code import parse_registry_code
from digiid.institutions.business_register import api, store, use_cases
from digiid.institutions.business_register.domain import (
    CompanyEvent,
    CompanyStatus,
    RoleKind,
    next_registry_code,
)
from digiid.institutions.business_register.settings import Settings
from digiid.institutions.business_register.use_cases import Appointment, Deps, Entry
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import find_usages, verify_disclosures
from digiid.platform.entropy import SystemEntropy
from tests.support.described import ask_described
from tests.support.schema import schema_differences

MARY, HUGO, ANN = "60001019906", "38001085718", "47101010033"
TODAY = date(2026, 11, 23)


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock) -> Deps:
    return Deps(new_database("digiid.institutions.business_register"), clock, SystemEntropy(), Settings())


def member(code: str, name: str, **changes: Any) -> Appointment:
    values = {"kind": RoleKind.BOARD_MEMBER, "representation": "sole", "from_on": TODAY, **changes}
    return Appointment(personal_code=code, name=name, **values)


def entry(request_id: str = "r1", name: str = "TEST Näidis OÜ", **changes: Any) -> Entry:
    values = {
        "legal_form": "OÜ",
        "address": "Testi 1, Tallinn",
        "share_capital_cents": 250_000,
        "appointments": (member(MARY, "MARY ÄNN TEST"),),
        **changes,
    }
    return Entry(request_id, name, **values)


def enter(deps: Deps, *args: Any, **changes: Any) -> str:
    return use_cases.enter_company(deps, entry(*args, **changes), entered_by="the test")


def ask(deps: Deps, code: str, asker: Caller, request: Any) -> Any:
    return ask_described(api.services(deps), code, asker, request)


def caller(client: Any = INFORMATION_AUTHORITY, purpose: str | None = "a question") -> Caller:
    return Caller(client, "EE-1", user_id=f"EE{HUGO}", purpose=purpose)


def test_the_migrated_schema_is_what_the_code_says(deps: Deps) -> None:
    assert schema_differences(deps.db, store.metadata) == []


# ------------------------------------------------------------------ entering


def test_a_company_gets_a_code_and_stands_in_the_journal_with_its_roles(deps: Deps) -> None:
    code = enter(deps)
    assert parse_registry_code(code) == code
    view = use_cases.show_company(deps, code)
    assert (view.company.status, view.company.registered_on) == (CompanyStatus.ENTERED, TODAY)
    assert [role.name for role in view.roles] == ["MARY ÄNN TEST"]
    assert [filing.kind for filing in view.filings] == ["role.entered", "company.entered"]
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)


def test_the_same_request_always_gives_the_same_company(deps: Deps) -> None:
    assert enter(deps) == enter(deps)
    with pytest.raises(Conflict, match="changed_request"):
        enter(deps, name="TEST Muu OÜ")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "test naidis oü"},
        {"legal_form": "AS"},
        {"address": "Testi 2, Tallinn"},
        {"share_capital_cents": 250_001},
        {"appointments": ()},
        {"appointments": (member(MARY, "MARY ÄNN TEST", representation="joint"),)},
        {"appointments": (member(MARY, "MARY ÄNN TEST"), member(HUGO, "HUGO"))},
    ],
)
def test_a_request_that_comes_again_with_anything_else_in_it_is_a_conflict(deps: Deps, changes: dict[str, Any]) -> None:
    code = enter(deps)
    with pytest.raises(Conflict, match="changed_request"):
        enter(deps, **changes)
    assert enter(deps) == code


def test_a_company_entered_before_digests_were_kept_is_known_by_its_name(deps: Deps) -> None:
    code = enter(deps)
    with deps.db.write() as tx:
        tx.execute(update(store.COMPANIES).values(request_sha256=None))
    assert enter(deps, address="Testi 2, Tallinn") == code
    with pytest.raises(Conflict, match="changed_request"):
        enter(deps, name="TEST Muu OÜ")


def test_companies_entered_at_once_have_different_codes(deps: Deps) -> None:
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda n: enter(deps, f"r{n}", f"TEST {n} OÜ"), range(8)))
    assert len(set(codes)) == 8


def test_a_name_is_taken_whatever_its_case_and_accents_until_the_company_is_deleted(deps: Deps) -> None:
    code = enter(deps)
    with pytest.raises(Conflict, match="name_taken"):
        enter(deps, "r2", "test naidis oü")
    use_cases.change_status(deps, code, CompanyEvent.DELETE, entered_by="the test")
    assert enter(deps, "r2", "test naidis oü") != code


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "TEST Näidis"},
        {"name": "TEST " + "x" * 100 + " OÜ"},
        {"legal_form": "GmbH"},
        {"legal_form": "AS", "name": "TEST AS"},
        {"share_capital_cents": 0},
    ],
)
def test_what_breaks_the_law_is_not_entered(deps: Deps, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"business\.company"):
        enter(deps, **changes)
    assert use_cases.find_companies(deps, "TEST") == []


@pytest.mark.parametrize(
    "wrong",
    [
        member(HUGO, "HUGO", representation=None),
        member(HUGO, "HUGO", share_cents=100),
        member(HUGO, "HUGO", kind=RoleKind.SHAREHOLDER, share_cents=100),
        member(HUGO, "HUGO", kind=RoleKind.SHAREHOLDER, representation=None, share_cents=250_001),
    ],
)
def test_a_role_that_contradicts_itself_enters_nothing(deps: Deps, wrong: Appointment) -> None:
    with pytest.raises(Refused, match=r"business\.role"):
        enter(deps, appointments=(member(MARY, "MARY"), wrong))
    assert use_cases.find_companies(deps, "TEST") == []


def test_nobody_has_the_same_role_twice_and_shares_fit_the_capital(deps: Deps) -> None:
    code = enter(deps)
    with pytest.raises(Conflict, match="role_known"):
        use_cases.enter_role(deps, code, member(MARY, "MARY"), entered_by="x")
    shares = member(MARY, "MARY", kind=RoleKind.SHAREHOLDER, representation=None, share_cents=200_000)
    use_cases.enter_role(deps, code, shares, entered_by="x")
    with pytest.raises(Refused, match=r"business\.role"):
        use_cases.enter_role(deps, code, replace(shares, personal_code=HUGO, share_cents=50_001), entered_by="x")


def test_a_role_ends_once_and_may_begin_again(deps: Deps) -> None:
    code = enter(deps)
    role_id = use_cases.show_company(deps, code).roles[0].role_id
    use_cases.end_role(deps, role_id, until_on=TODAY, entered_by="x")
    use_cases.end_role(deps, role_id, until_on=TODAY, entered_by="x")
    assert use_cases.show_company(deps, code).roles == ()
    for day in (TODAY - timedelta(days=1), TODAY + timedelta(days=1)):
        with pytest.raises(Conflict, match="role_ended"):
            use_cases.end_role(deps, role_id, until_on=day, entered_by="x")
    with pytest.raises(NotFound):
        use_cases.end_role(deps, "nobody", until_on=TODAY, entered_by="x")
    use_cases.enter_role(deps, code, member(MARY, "MARY"), entered_by="x")
    kinds = [filing.kind for filing in use_cases.show_company(deps, code).filings]
    assert kinds == ["role.entered", "role.ended", "role.entered", "company.entered"]


def test_a_deleted_company_takes_no_role_and_no_further_step(deps: Deps) -> None:
    code = enter(deps)
    use_cases.change_status(deps, code, CompanyEvent.DISSOLVE, entered_by="x")
    assert use_cases.change_status(deps, code, CompanyEvent.DELETE, entered_by="x") is CompanyStatus.DELETED
    assert use_cases.show_company(deps, code).company.deleted_on == TODAY
    with pytest.raises(Refused, match="company_deleted"):
        use_cases.enter_role(deps, code, member(HUGO, "HUGO"), entered_by="x")
    for event in CompanyEvent:
        with pytest.raises(Conflict, match="illegal_event"):
            use_cases.change_status(deps, code, event, entered_by="x")


def test_codes_go_on_from_the_highest_and_end() -> None:
    assert next_registry_code(taken=None, first=1_999_900)[:7] == "1999900"
    assert next_registry_code(taken=1_999_950, first=1_999_900)[:7] == "1999951"
    with pytest.raises(Conflict, match="no_code_left"):
        next_registry_code(taken=9_999_999, first=1_999_900)


# ------------------------------------------------------------------ searching


def test_a_company_is_found_by_code_and_by_the_beginning_of_any_word(deps: Deps) -> None:
    code = enter(deps)
    other = enter(deps, "r2", "TEST Teine Naidis OÜ")
    assert [c.registry_code for c in use_cases.find_companies(deps, code)] == [code]
    assert [c.registry_code for c in use_cases.find_companies(deps, "näid")] == [code, other]
    assert [c.registry_code for c in use_cases.find_companies(deps, " TEST TEINE ")] == [other]
    assert use_cases.find_companies(deps, "idis") == []


@pytest.mark.parametrize("text", ["%", "_", "\\", "' OR 1=1 --", "\x00", "💰", "99999999", "１２３４５６７８"])
def test_a_strange_search_finds_nothing(deps: Deps, text: str) -> None:
    enter(deps)
    assert use_cases.find_companies(deps, text) == []


@pytest.mark.parametrize("code", ["", "1", "19999008", "70006317", "x" * 500, "\x00"])
def test_a_company_that_is_not_there_is_not_found(deps: Deps, code: str) -> None:
    with pytest.raises(NotFound, match=r"business\.company"):
        use_cases.show_company(deps, code)


# ------------------------------------------------------------------ services


def test_a_right_of_representation_is_answered_and_on_record(deps: Deps) -> None:
    code = enter(deps)
    asked = contract.RightOfRepresentation(personal_code=MARY, registry_code=code)
    answer = ask(deps, "right-of-representation", caller(BANK), asked)
    assert (answer.representation, answer.reason, answer.company_name) == ("sole", "board_member", "TEST Näidis OÜ")
    with deps.db.read() as tx:
        (usage,) = find_usages(tx, store.DISCLOSURES, MARY, now=deps.clock.now())
        assert verify_disclosures(tx, store.DISCLOSURES, store.JOURNAL) == 1
    assert (usage.receiver, usage.purpose, usage.message_id) == (str(BANK), "a question", "EE-1")
    assert (usage.service, usage.categories) == ("right-of-representation", ("representation",))
    assert "Money Laundering" in usage.legal_basis


def test_that_somebody_has_no_role_is_an_answer_on_record_too(deps: Deps) -> None:
    enter(deps)
    answer = ask(deps, "roles-of-person", caller(), contract.RolesOfPerson(personal_code=HUGO))
    assert answer.roles == ()
    with deps.db.read() as tx:
        assert len(find_usages(tx, store.DISCLOSURES, HUGO, now=deps.clock.now())) == 1


def test_the_companys_entry_is_on_record_for_each_of_its_persons(deps: Deps) -> None:
    code = enter(deps, appointments=(member(MARY, "MARY"), member(HUGO, "HUGO")))
    company = ask(deps, "get-company", caller(), contract.GetCompany(registry_code=code))
    assert {role.personal_code for role in company.roles} == {MARY, HUGO}
    with deps.db.read() as tx:
        for person in (MARY, HUGO):
            assert len(find_usages(tx, store.DISCLOSURES, person, now=deps.clock.now())) == 1


@pytest.mark.parametrize("purpose", [None, "", "   "])
def test_nothing_about_a_person_is_answered_without_a_purpose(deps: Deps, purpose: str | None) -> None:
    code = enter(deps)
    for name, request in (
        ("get-company", contract.GetCompany(registry_code=code)),
        ("roles-of-person", contract.RolesOfPerson(personal_code=MARY)),
        ("right-of-representation", contract.RightOfRepresentation(personal_code=MARY, registry_code=code)),
    ):
        with pytest.raises(Refused, match="no_purpose"):
            ask(deps, name, caller(BANK if "of-rep" in name else INFORMATION_AUTHORITY, purpose), request)
    with deps.db.read() as tx:
        assert find_usages(tx, store.DISCLOSURES, MARY, now=deps.clock.now()) == []


def test_own_roles_are_told_one_by_one(deps: Deps) -> None:
    share = member(MARY, "MARY", kind=RoleKind.SHAREHOLDER, representation=None, share_cents=100)
    enter(deps, appointments=(member(MARY, "MARY", representation="joint"), member(HUGO, "HUGO"), share))
    gone = enter(deps, "r2", "TEST Kadunud OÜ")
    use_cases.change_status(deps, gone, CompanyEvent.DELETE, entered_by="x")
    roles = ask(deps, "roles-of-person", caller(), contract.RolesOfPerson(personal_code=MARY)).roles
    assert [(role.kind, role.representation) for role in roles] == [("board_member", "joint"), ("shareholder", "none")]


def test_a_search_on_the_exchange_says_who_and_not_more(deps: Deps) -> None:
    code = enter(deps)
    found = ask(deps, "find-companies", caller(purpose=None), contract.FindCompanies(text="näidis"))
    assert [company.model_dump() for company in found.companies] == [
        {"registry_code": code, "name": "TEST Näidis OÜ", "status": "R"}
    ]
