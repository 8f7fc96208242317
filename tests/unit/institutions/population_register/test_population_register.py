from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from digiid.contracts.members import INFORMATION_AUTHORITY, POLICE_BOARD
from digiid.contracts.population_register import FindPersons, RegisterPerson
from digiid.exchange.gate import Caller
from digiid.institutions.population_register import store, use_cases
from digiid.institutions.population_register.settings import Settings
from digiid.institutions.population_register.use_cases import Deps, DeskOfficer, Match
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import verify_disclosures
from digiid.platform.entropy import SystemEntropy
from tests.support.schema import schema_differences

PACKAGE = "digiid.institutions.population_register"


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock) -> Deps:
    return Deps(new_database(PACKAGE), clock, SystemEntropy(), Settings())


BOARD = Caller(POLICE_BOARD, "EE-1")
PORTAL = Caller(INFORMATION_AUTHORITY, "EE-2")
OFFICER = DeskOfficer("38001085718", "Test Officer", "request 1")


def register(deps: Deps, request: RegisterPerson, caller: Caller = BOARD) -> str:
    return use_cases.register_person(deps, request, caller=caller).value


def find(deps: Deps, **values: object) -> list[Match]:
    wanted = FindPersons.model_validate({"purpose": "check", **values})
    return use_cases.find_persons(deps, wanted, caller=BOARD).value


def request(application_id: str = "a1", **changes: object) -> RegisterPerson:
    values: dict[str, object] = {
        "application_id": application_id,
        "given_names": "TEST MARY ÄNN",
        "surname": "O’CONNEŽ",
        "sex": "F",
        "born_on": date(1990, 5, 31),
        "citizenships": ("UTO",),
        "residence_country": "UTO",
        "basis": "e_resident",
    }
    return RegisterPerson.model_validate(values | changes)


def test_the_migrated_schema_is_what_the_code_says(deps: Deps) -> None:
    assert schema_differences(deps.db, store.metadata) == []


def test_the_same_application_always_gets_the_same_code(deps: Deps) -> None:
    first = register(deps, request())
    assert register(deps, request()) == first
    assert first.startswith("490053190")


def test_an_application_that_changed_is_refused(deps: Deps) -> None:
    register(deps, request())
    with pytest.raises(Conflict, match="changed_request"):
        register(deps, request(surname="OTHER"))


def test_two_persons_of_one_day_get_different_codes(deps: Deps) -> None:
    codes = {register(deps, request(f"a{n}")) for n in range(5)}
    assert len(codes) == 5


def test_who_has_a_code_keeps_it_and_nobody_else_gets_it(deps: Deps) -> None:
    code = register(deps, request())
    assert register(deps, request("a2", personal_code=code)) == code
    with pytest.raises(Conflict, match="other_person"):
        register(deps, request("a3", personal_code=code, surname="QUITE DIFFERENT"))
    with pytest.raises(Conflict, match="other_person"):
        register(deps, request("a4", personal_code=code, born_on=date(1990, 6, 1)))
    with pytest.raises(NotFound):
        register(deps, request("a5", personal_code="38001085718"))


def test_a_day_without_free_codes_is_said(deps: Deps) -> None:
    full = replace(deps, settings=Settings(first_order_number=999))
    register(full, request())
    with pytest.raises(Conflict, match="no_code_left"):
        register(full, request("a2"))


@pytest.mark.parametrize(("given", "surname"), [("Test Mary Ann", "O'Connez"), ("O'CONNEZ", "TEST MARY ANN")])
def test_a_similar_name_and_birth_date_is_found(deps: Deps, given: str, surname: str) -> None:
    code = register(deps, request())
    found = find(deps, given_names=given, surname=surname, born_on=date(1990, 5, 30))
    assert [match.person.personal_code for match in found] == [code]


def test_another_person_is_not_found(deps: Deps) -> None:
    register(deps, request())
    for surname, born_on in [("HUGO ORAVAS", date(1990, 5, 31)), ("O’CONNEŽ", date(1970, 5, 31))]:
        given_names = "TEST MARY ÄNN" if born_on.year == 1970 else "X"
        assert find(deps, given_names=given_names, surname=surname, born_on=born_on) == []


def test_every_look_is_journaled_without_the_whole_code(deps: Deps) -> None:
    code = register(deps, request())
    use_cases.get_person(deps, code, caller=PORTAL)
    use_cases.search_at_desk(deps, text="O’", officer=OFFICER)
    looks = use_cases.list_look_ups(deps)
    assert [look.kind for look in looks] == ["persons.searched", "person.read", "person.registered"]
    assert all(code not in str(look.payload) for look in looks)
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)
        assert verify_disclosures(tx, store.DISCLOSURES, store.JOURNAL) == 3


def test_the_desk_needs_a_purpose_and_an_officer(deps: Deps) -> None:
    with pytest.raises(Refused, match="no_purpose"):
        use_cases.search_at_desk(deps, text="O", officer=replace(OFFICER, purpose=" "))
    with pytest.raises(Refused, match="not_an_officer"):
        use_cases.admit_officer(deps, "38001085718")
    use_cases.add_officer(deps, "38001085718", "Test Officer")
    assert use_cases.admit_officer(deps, "38001085718") == "Test Officer"


def test_a_wildcard_in_a_search_is_only_a_character(deps: Deps) -> None:
    register(deps, request())
    assert use_cases.search_at_desk(deps, text="%", officer=OFFICER).value == []
