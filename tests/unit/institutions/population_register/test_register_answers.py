"""What the register answers whom: an address under a consent, the rest by law, in the fewest fields that will do."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from digiid.contracts import population_register as contract
from digiid.contracts.consents import RevocationNotice
from digiid.contracts.members import (
    BANK,
    BUSINESS_REGISTER,
    CONSENT_SERVICE,
    INFORMATION_AUTHORITY,
    POLICE_BOARD,
    POPULATION_REGISTER,
)
from digiid.exchange.consent import RevocationCache
from digiid.exchange.gate import Caller
from digiid.institutions.population_register import api, store, use_cases
from digiid.institutions.population_register.domain import Address, Relation
from digiid.institutions.population_register.settings import Settings
from digiid.institutions.population_register.use_cases import Consents, Deps, DeskOfficer
from digiid.kernel.errors import Conflict, DigiidError, NotFound, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.disclosures import Disclosure, find_usages, verify_disclosures
from digiid.platform.entropy import SystemEntropy
from tests.support.consents import RECEIPT, REFERENCE, SUBJECT, consent_seal, consent_sealer
from tests.support.described import ask_described

PACKAGE = "digiid.institutions.population_register"
SEALER = consent_sealer()
TODAY = date(2026, 11, 23)
HOME = Address("residence", "EST", "Harju maakond", "Tallinn", "Testi 1", "10111", date(2020, 1, 1))
PLACE = {"region": "Harju maakond", "locality": "Tallinn", "street": "Testi 1", "postcode": "10111"}
OFFICER = DeskOfficer("38001085718", "Test Officer", "request 1")


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock) -> Deps:
    db = new_database(PACKAGE)
    revocations = RevocationCache(db, store.REVOCATIONS, seal=consent_seal(), audience=POPULATION_REGISTER, clock=clock)
    # the first code of the day is then that of the receipt's person
    settings = Settings(first_order_number=990)
    deps = Deps(db, clock, SystemEntropy(), settings, Consents(consent_seal(), revocations))
    assert person(deps) == SUBJECT
    use_cases.change_address(deps, SUBJECT, HOME, by="the test", purpose="a move")
    revocations.take(SEALER.revocations(at=clock.now()))
    return deps


def person(deps: Deps, born_on: date = date(2000, 1, 1), **changes: Any) -> str:
    values: dict[str, Any] = {
        "application_id": f"a-{born_on}-{changes.get('sex', 'F')}",
        "given_names": "MARY ÄNN",
        "surname": "O’CONNEŽ-ŠUSLIK",
        "sex": "F",
        "born_on": born_on,
        "citizenships": ("EST",),
        "residence_country": "EST",
        "basis": "citizen",
    }
    request = contract.RegisterPerson.model_validate(values | changes)
    return use_cases.register_person(deps, request, caller=Caller(POLICE_BOARD, "EE-register")).value


def caller(client: Any, **changes: Any) -> Caller:
    return replace(Caller(client, "EE-asked-1", purpose="a question"), **changes)


def ask(deps: Deps, code: str, request: Any, asker: Caller) -> Any:
    return ask_described(api.services(deps), code, asker, request)


def with_consent(**changes: Any) -> Caller:
    return caller(BANK, consent=SEALER.receipt(**changes), purpose=RECEIPT.purpose_declaration)


def usages(deps: Deps, code: str = SUBJECT, service: str = "") -> list[Disclosure]:
    with deps.db.read() as tx:
        verify_disclosures(tx, store.DISCLOSURES, store.JOURNAL)
        found = find_usages(tx, store.DISCLOSURES, code, now=deps.clock.now())
    return [usage for usage in found if usage.service == service or not service]


# ------------------------------------------------------------------ an address, under a consent


def test_the_bank_is_told_what_the_consent_opens_and_no_other_field(deps: Deps) -> None:
    answer = ask(deps, "get-address", contract.GetAddress(personal_code=SUBJECT), with_consent())
    assert answer.model_dump(exclude_none=True) == {
        "kind": "residence",
        "from_on": date(2020, 1, 1),
        "country": "EST",
        "street": "Testi 1",
    }
    (usage,) = usages(deps, service="get-address")
    assert (usage.receiver, usage.message_id) == (str(BANK), "EE-asked-1")
    assert (usage.purpose, usage.consent_reference) == (RECEIPT.purpose_declaration, REFERENCE)
    assert usage.categories == ("address.country", "address.street")
    with deps.db.read() as tx:
        (sent,) = tx.execute(select(store.OUTBOX.c.kind, store.OUTBOX.c.payload)).all()
    assert sent.kind == "consent_transmission"
    assert REFERENCE in sent.payload


def test_fewer_fields_may_be_asked_for(deps: Deps) -> None:
    request = contract.GetAddress(personal_code=SUBJECT, fields=("street", "postcode"))
    answer = ask(deps, "get-address", request, with_consent())
    assert (answer.street, answer.country, answer.postcode) == ("Testi 1", None, None)
    assert usages(deps, service="get-address")[0].categories == ("address.street",)


def test_a_consent_for_the_whole_address_opens_every_field(deps: Deps) -> None:
    answer = ask(
        deps, "get-address", contract.GetAddress(personal_code=SUBJECT), with_consent(data_categories=("address",))
    )
    assert {name: getattr(answer, name) for name in PLACE} == PLACE


@pytest.mark.parametrize(
    ("asker", "code"),
    [
        (caller(BANK), "exchange.consent.missing"),
        (caller(BANK, consent="a.b.c"), "exchange.consent.unreadable"),
        (with_consent(client=str(BUSINESS_REGISTER)), "exchange.consent.client"),
        (with_consent(subject_code="38001085718"), "exchange.consent.person"),
        (with_consent(services=("EE/GOV/70000103/population/check-name",)), "exchange.consent.service"),
        (replace(with_consent(), purpose="marketing"), "exchange.consent.purpose"),
        (with_consent(data_categories=("name",)), "population.fields"),
    ],
)
def test_without_a_fitting_consent_nothing_is_told_and_nothing_is_on_record(
    deps: Deps, asker: Caller, code: str
) -> None:
    with pytest.raises(DigiidError) as caught:
        ask(deps, "get-address", contract.GetAddress(personal_code=SUBJECT), asker)
    assert caught.value.code == code
    assert caught.value.public
    assert usages(deps, service="get-address") == []
    with deps.db.read() as tx:
        assert tx.execute(select(store.OUTBOX.c.kind)).all() == []


def test_who_asks_without_a_consent_does_not_learn_whether_there_is_such_a_person(deps: Deps) -> None:
    codes = set()
    for code in (SUBJECT, "38001085718"):
        with pytest.raises(Refused) as caught:
            ask(deps, "get-address", contract.GetAddress(personal_code=code), caller(BANK))
        codes.add(caught.value.code)
    assert codes == {"exchange.consent.missing"}


def test_after_the_withdrawal_nothing_is_told(deps: Deps) -> None:
    request = contract.GetAddress(personal_code=SUBJECT)
    ask(deps, "get-address", request, with_consent())
    notice = RevocationNotice(statement=SEALER.revocations(REFERENCE, at=deps.clock.now()))
    ask(deps, "consents-revoked", notice, Caller(CONSENT_SERVICE, "EE-push"))
    with pytest.raises(Refused, match=r"exchange\.consent\.revoked"):
        ask(deps, "get-address", request, with_consent())
    assert len(usages(deps, service="get-address")) == 1


def test_when_nothing_was_heard_of_withdrawals_for_too_long_nothing_is_told(deps: Deps, clock: ManualClock) -> None:
    request = contract.GetAddress(personal_code=SUBJECT)
    clock.advance(timedelta(seconds=300))
    ask(deps, "get-address", request, with_consent())
    clock.advance(timedelta(seconds=1))
    with pytest.raises(Unavailable, match="revocations_outdated"):
        ask(deps, "get-address", request, with_consent())


def test_where_there_is_no_consent_service_what_needs_a_consent_is_not_answered(deps: Deps) -> None:
    with pytest.raises(Unavailable, match="no_consents"):
        ask(replace(deps, consents=None), "get-address", contract.GetAddress(personal_code=SUBJECT), with_consent())


def test_who_has_the_law_on_its_side_needs_a_purpose_and_no_consent(deps: Deps) -> None:
    request = contract.GetAddress(personal_code=SUBJECT)
    assert ask(deps, "get-address", request, caller(BUSINESS_REGISTER)).locality == "Tallinn"
    assert "Commercial Register Act" in usages(deps, service="get-address")[0].legal_basis
    with pytest.raises(Refused, match="no_purpose"):
        ask(deps, "get-address", request, caller(BUSINESS_REGISTER, purpose=None))


def test_an_address_that_is_not_known_is_said(deps: Deps) -> None:
    other = person(deps, date(1990, 5, 31))
    with pytest.raises(NotFound, match="no_address"):
        ask(deps, "get-address", contract.GetAddress(personal_code=other), caller(INFORMATION_AUTHORITY))
    # that there is none is told about this person too
    (usage,) = usages(deps, other, service="get-address")
    assert usage.receiver == str(INFORMATION_AUTHORITY)


# ------------------------------------------------------------------ addresses and their history


def test_a_new_address_ends_the_one_before_it(deps: Deps) -> None:
    moved = replace(HOME, street="Testi 2", from_on=TODAY)
    assert use_cases.change_address(deps, SUBJECT, moved, by="x", purpose="a move")
    assert not use_cases.change_address(deps, SUBJECT, replace(moved, from_on=date(2026, 11, 24)), by="x", purpose="y")
    entry = use_cases.open_entry(deps, SUBJECT, officer=OFFICER).value
    assert [(a.street, a.from_on, a.until_on) for a in entry.addresses] == [
        ("Testi 2", TODAY, None),
        ("Testi 1", date(2020, 1, 1), TODAY),
    ]
    assert entry.current == moved
    with pytest.raises(Conflict, match="address_order"):
        use_cases.change_address(deps, SUBJECT, replace(HOME, from_on=date(2026, 11, 22)), by="x", purpose="y")


def test_an_address_of_tomorrow_is_not_the_one_of_today(deps: Deps, clock: ManualClock) -> None:
    use_cases.change_address(
        deps, SUBJECT, replace(HOME, street="Testi 2", from_on=date(2026, 11, 24)), by="x", purpose="y"
    )
    request = contract.GetAddress(personal_code=SUBJECT)
    assert ask(deps, "get-address", request, caller(INFORMATION_AUTHORITY)).street == "Testi 1"
    clock.advance(timedelta(days=1))
    assert ask(deps, "get-address", request, caller(INFORMATION_AUTHORITY)).street == "Testi 2"


def test_an_e_resident_has_a_contact_address_abroad(deps: Deps) -> None:
    place = contract.PlaceOfAddress(country="FIN", locality="Helsinki", street="Example street 1")
    code = person(deps, date(1985, 4, 12), basis="e_resident", citizenships=("UTO",), address=place)
    answer = ask(deps, "get-address", contract.GetAddress(personal_code=code), caller(INFORMATION_AUTHORITY))
    assert (answer.kind, answer.country, answer.from_on) == ("contact", "FIN", TODAY)


def test_a_residence_counts_before_a_contact_address(deps: Deps) -> None:
    use_cases.change_address(deps, SUBJECT, replace(HOME, kind="contact", street="Elsewhere"), by="x", purpose="y")
    answer = ask(deps, "get-address", contract.GetAddress(personal_code=SUBJECT), caller(INFORMATION_AUTHORITY))
    assert answer.street == "Testi 1"


def test_an_address_of_nobody_is_not_entered(deps: Deps) -> None:
    with pytest.raises(NotFound):
        use_cases.change_address(deps, "38001085718", HOME, by="x", purpose="y")


# ------------------------------------------------------------------ age and name


@pytest.mark.parametrize(
    ("born_on", "years", "is_over"),
    [
        (date(2008, 11, 23), 18, True),
        (date(2008, 11, 24), 18, False),
        (date(2000, 2, 29), 26, True),
        (date(2000, 1, 2), 27, False),
    ],
)
def test_only_whether_an_age_is_reached_is_told(deps: Deps, born_on: date, years: int, is_over: bool) -> None:
    code = person(deps, born_on)
    answer = ask(deps, "is-over-age", contract.IsOverAge(personal_code=code, years=years), caller(BANK))
    assert answer.model_dump() == {"is_over": is_over}
    assert usages(deps, code, "is-over-age")[0].categories == ("age_reached",)


@pytest.mark.parametrize(
    ("given_names", "surname", "agrees"),
    [
        ("MARY ÄNN", "O’CONNEŽ-ŠUSLIK", True),
        ("Mary Ann", "O'Connez Suslik", True),
        ("MARY", "O’CONNEŽ-ŠUSLIK", False),
        ("MARY ÄNN", "O’CONNEŽ", False),
        ("O’CONNEŽ-ŠUSLIK", "MARY ÄNN", False),
    ],
)
def test_a_name_is_checked_and_never_told(deps: Deps, given_names: str, surname: str, agrees: bool) -> None:
    request = contract.CheckName(personal_code=SUBJECT, given_names=given_names, surname=surname)
    assert ask(deps, "check-name", request, caller(BANK)).model_dump() == {"agrees": agrees}
    stranger = request.model_copy(update={"personal_code": "38001085718"})
    assert not ask(deps, "check-name", stranger, caller(BANK)).agrees


# ------------------------------------------------------------------ family


@pytest.fixture
def child(deps: Deps) -> str:
    code = person(deps, date(2017, 3, 8), given_names="LAPS")
    use_cases.enter_relation(
        deps, Relation("parent", SUBJECT, code, True, date(2017, 3, 8)), by="the test", purpose="a birth"
    )
    return code


def represents(deps: Deps, parent: str, minor: str) -> tuple[bool, str]:
    request = contract.RepresentsMinor(representative_code=parent, minor_code=minor)
    answer = ask(deps, "represents-minor", request, caller(CONSENT_SERVICE))
    return answer.represents, answer.reason


def test_a_parent_with_custody_may_act_for_the_minor_until_the_child_is_of_age(
    deps: Deps, child: str, clock: ManualClock
) -> None:
    assert represents(deps, SUBJECT, child) == (True, "custody")
    assert represents(deps, child, SUBJECT) == (False, "not_a_minor")
    assert {usage.receiver for usage in usages(deps, child, "represents-minor")} == {str(CONSENT_SERVICE)}
    clock.advance(timedelta(days=365 * 8 + 100))
    assert represents(deps, SUBJECT, child) == (True, "custody")
    clock.advance(timedelta(days=10))
    assert represents(deps, SUBJECT, child) == (False, "not_a_minor")


def test_without_custody_or_relation_nobody_acts_for_the_minor(deps: Deps, child: str) -> None:
    other = person(deps, date(1990, 5, 31))
    assert represents(deps, other, child) == (False, "no_relation")
    use_cases.enter_relation(deps, Relation("parent", other, child, False, date(2017, 3, 8)), by="x", purpose="y")
    assert represents(deps, other, child) == (False, "no_custody")
    assert represents(deps, "38001085718", child) == (False, "no_relation")
    use_cases.end_relation(
        deps, kind="parent", personal_code=SUBJECT, other_code=child, until_on=TODAY, by="x", purpose="y"
    )
    assert represents(deps, SUBJECT, child) == (False, "no_relation")


def test_a_minor_parent_acts_for_nobody(deps: Deps) -> None:
    young, baby = person(deps, date(2010, 1, 1)), person(deps, date(2026, 1, 1))
    use_cases.enter_relation(deps, Relation("parent", young, baby, True, date(2026, 1, 1)), by="x", purpose="y")
    assert represents(deps, young, baby) == (False, "representative_minor")


def test_the_family_is_told_from_both_sides_and_on_record_for_everybody_named(deps: Deps, child: str) -> None:
    spouse = person(deps, date(1999, 9, 9), sex="M")
    use_cases.enter_relation(deps, Relation("spouse", spouse, SUBJECT, False, TODAY), by="x", purpose="y")
    asker = caller(INFORMATION_AUTHORITY, purpose=None)
    family = ask(deps, "get-family", contract.GetFamily(personal_code=SUBJECT), asker)
    assert {(m.relation, m.personal_code, m.has_custody) for m in family.members} == {
        ("spouse", spouse, False),
        ("child", child, True),
    }
    for code in (SUBJECT, child, spouse):
        assert len(usages(deps, code, "get-family")) == 1
    seen = ask(deps, "get-family", contract.GetFamily(personal_code=child), asker)
    assert [(m.relation, m.is_minor, m.has_custody) for m in seen.members] == [("parent", False, True)]


def test_relations_that_cannot_be_are_refused(deps: Deps, child: str) -> None:
    other, third = person(deps, date(1990, 5, 31)), person(deps, date(1991, 5, 31))

    def enter(*values: Any) -> None:
        use_cases.enter_relation(deps, Relation(*values), by="x", purpose="y")

    enter("spouse", other, SUBJECT, False, TODAY)
    for kind, first, second, custody, code in (
        ("parent", SUBJECT, SUBJECT, True, r"population\.relation"),
        ("parent", child, SUBJECT, True, r"population\.relation"),
        ("spouse", third, child, False, r"population\.relation"),
        ("spouse", third, third, True, r"population\.relation"),
        ("spouse", third, person(deps, date(1992, 5, 31)), True, r"population\.relation"),
        ("spouse", third, SUBJECT, False, "married_already"),
    ):
        with pytest.raises(Refused, match=code):
            enter(kind, first, second, custody, TODAY)
    with pytest.raises(Conflict, match="relation_known"):
        enter("parent", SUBJECT, child, False, TODAY)
    with pytest.raises(NotFound):
        enter("parent", SUBJECT, "38001085718", True, TODAY)


def test_a_marriage_ends_from_either_side_and_not_before_it_began(deps: Deps) -> None:
    other = person(deps, date(1990, 5, 31))
    use_cases.enter_relation(deps, Relation("spouse", other, SUBJECT, False, TODAY), by="x", purpose="y")
    ends = {"kind": "spouse", "personal_code": SUBJECT, "other_code": other, "by": "x", "purpose": "y"}
    with pytest.raises(Conflict, match="relation_order"):
        use_cases.end_relation(deps, until_on=date(2026, 11, 22), **ends)
    use_cases.end_relation(deps, until_on=TODAY, **ends)
    with pytest.raises(NotFound):
        use_cases.end_relation(deps, until_on=TODAY, **ends)
    use_cases.enter_relation(deps, Relation("spouse", SUBJECT, other, False, TODAY), by="x", purpose="y")


# ------------------------------------------------------------------ documents, as the board tells


def tell(
    deps: Deps, state: str, *, after: timedelta, number: str = "AS0000001", code: str = SUBJECT, **more: Any
) -> None:
    values = {"expires_on": date(2031, 11, 23), "policy": "citizen", **more}
    notice = contract.RecordDocumentStatus(
        notice_id=f"n-{state}-{after.total_seconds():.0f}",
        personal_code=code,
        document_number=number,
        state=state,
        changed_at=deps.clock.now() + after,
        **values,
    )
    ask(deps, "record-document-status", notice, Caller(POLICE_BOARD, "EE-notice"))


def holds(deps: Deps) -> bool:
    request = contract.HasValidDocument(personal_code=SUBJECT)
    return bool(ask(deps, "has-valid-document", request, caller(BUSINESS_REGISTER)).holds_valid)


def test_the_latest_notice_of_a_document_holds_whatever_the_order_they_come_in(deps: Deps) -> None:
    assert not holds(deps)
    hour = timedelta(hours=1)
    tell(deps, "active", after=hour)
    assert holds(deps)
    tell(deps, "suspended", after=2 * hour)
    tell(deps, "active", after=hour)
    assert not holds(deps)
    tell(deps, "active", after=3 * hour)
    tell(deps, "suspended", after=2 * hour)
    assert holds(deps)


def test_a_document_past_its_day_is_not_valid(deps: Deps, clock: ManualClock) -> None:
    tell(deps, "active", after=timedelta(0), expires_on=TODAY)
    assert holds(deps)
    clock.advance(timedelta(days=1))
    assert not holds(deps)


def test_a_number_stays_with_its_person(deps: Deps) -> None:
    other = person(deps, date(1990, 5, 31))
    tell(deps, "active", after=timedelta(0))
    with pytest.raises(Conflict, match="other_document"):
        tell(deps, "revoked", after=timedelta(hours=1), code=other)
    with pytest.raises(NotFound):
        tell(deps, "active", after=timedelta(0), number="AS0000002", code="38001085718")
    assert holds(deps)


# ------------------------------------------------------------------ the desk


def test_an_officers_look_can_be_seen_by_the_person_and_by_the_family(deps: Deps, child: str) -> None:
    use_cases.open_entry(deps, SUBJECT, officer=OFFICER)
    for code in (SUBJECT, child):
        (usage,) = usages(deps, code, "desk/entry")
        assert (usage.receiver, usage.purpose) == (str(POPULATION_REGISTER), "request 1")
        assert usage.official
        assert "38001085718" not in usage.official
    with pytest.raises(Refused, match="no_purpose"):
        use_cases.open_entry(deps, SUBJECT, officer=replace(OFFICER, purpose="x"))
    with pytest.raises(NotFound):
        use_cases.open_entry(deps, "38001085718", officer=OFFICER)
