from collections.abc import Callable
from datetime import date

import pytest

from digiid.contracts.population_register import RegisterPerson
from digiid.institutions.population_register import store, use_cases
from digiid.institutions.population_register.settings import Settings
from digiid.institutions.population_register.use_cases import Deps
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from tests.support.schema import schema_differences

PACKAGE = "digiid.institutions.population_register"


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock) -> Deps:
    return Deps(new_database(PACKAGE), clock, Settings())


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
    first = use_cases.register_person(deps, request(), asked_by="police")
    assert use_cases.register_person(deps, request(), asked_by="police") == first
    assert first.startswith("490053190")


def test_an_application_that_changed_is_refused(deps: Deps) -> None:
    use_cases.register_person(deps, request(), asked_by="police")
    with pytest.raises(Conflict, match="changed_request"):
        use_cases.register_person(deps, request(surname="OTHER"), asked_by="police")


def test_two_persons_of_one_day_get_different_codes(deps: Deps) -> None:
    codes = {use_cases.register_person(deps, request(f"a{n}"), asked_by="police") for n in range(5)}
    assert len(codes) == 5


def test_who_has_a_code_keeps_it_and_nobody_else_gets_it(deps: Deps) -> None:
    code = use_cases.register_person(deps, request(), asked_by="police")
    assert use_cases.register_person(deps, request("a2", personal_code=code), asked_by="police") == code
    with pytest.raises(Conflict, match="other_person"):
        use_cases.register_person(deps, request("a3", personal_code=code, surname="QUITE DIFFERENT"), asked_by="police")
    with pytest.raises(Conflict, match="other_person"):
        use_cases.register_person(deps, request("a4", personal_code=code, born_on=date(1990, 6, 1)), asked_by="police")
    with pytest.raises(NotFound):
        use_cases.register_person(deps, request("a5", personal_code="38001085718"), asked_by="police")


def test_a_day_without_free_codes_is_said(deps: Deps) -> None:
    full = Deps(deps.db, deps.clock, Settings(first_order_number=999))
    use_cases.register_person(full, request(), asked_by="police")
    with pytest.raises(Conflict, match="no_code_left"):
        use_cases.register_person(full, request("a2"), asked_by="police")


@pytest.mark.parametrize(("given", "surname"), [("Test Mary Ann", "O'Connez"), ("O'CONNEZ", "TEST MARY ANN")])
def test_a_similar_name_and_birth_date_is_found(deps: Deps, given: str, surname: str) -> None:
    code = use_cases.register_person(deps, request(), asked_by="police")
    found = use_cases.find_persons(
        deps, given_names=given, surname=surname, born_on=date(1990, 5, 30), purpose="check", by="police"
    )
    assert [match.person.personal_code for match in found] == [code]


def test_another_person_is_not_found(deps: Deps) -> None:
    use_cases.register_person(deps, request(), asked_by="police")
    for surname, born_on in [("HUGO ORAVAS", date(1990, 5, 31)), ("O’CONNEŽ", date(1970, 5, 31))]:
        assert not use_cases.find_persons(
            deps,
            given_names="TEST MARY ÄNN" if born_on.year == 1970 else "X",
            surname=surname,
            born_on=born_on,
            purpose="check",
            by="police",
        )


def test_every_look_is_journaled_without_the_whole_code(deps: Deps) -> None:
    code = use_cases.register_person(deps, request(), asked_by="police")
    use_cases.get_person(deps, code, by="portal", purpose="own data")
    use_cases.search_at_desk(deps, text="O’", purpose="request 1", officer="Test Officer")
    looks = use_cases.list_look_ups(deps)
    assert [look.kind for look in looks] == ["persons.searched", "person.read", "person.registered"]
    assert all(code not in str(look.payload) for look in looks)
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)


def test_the_desk_needs_a_purpose_and_an_officer(deps: Deps) -> None:
    with pytest.raises(Refused, match="no_purpose"):
        use_cases.search_at_desk(deps, text="O", purpose=" ", officer="x")
    with pytest.raises(Refused, match="not_an_officer"):
        use_cases.admit_officer(deps, "38001085718")
    use_cases.add_officer(deps, "38001085718", "Test Officer")
    assert use_cases.admit_officer(deps, "38001085718") == "Test Officer"


def test_a_wildcard_in_a_search_is_only_a_character(deps: Deps) -> None:
    use_cases.register_person(deps, request(), asked_by="police")
    assert use_cases.search_at_desk(deps, text="%", purpose="request 1", officer="x") == []
