"""The registers' pages as people meet them: the population register's desk, the business register for everybody."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from digiid.contracts.members import BUSINESS_REGISTER, POLICE_BOARD, POPULATION_REGISTER
from digiid.contracts.population_register import RegisterPerson
from digiid.exchange.client import Client
from digiid.exchange.gate import Caller
from digiid.institutions.business_register import app as business_app
from digiid.institutions.business_register import use_cases as business
from digiid.institutions.business_register.domain import CompanyEvent, RoleKind
from digiid.institutions.business_register.settings import Settings as BusinessSettings
from digiid.institutions.population_register import app as population_app
from digiid.institutions.population_register import store as population_store
from digiid.institutions.population_register import use_cases as population
from digiid.institutions.population_register.settings import Settings as PopulationSettings
from digiid.platform.clock import ManualClock
from digiid.platform.disclosures import find_usages
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.pools import Pools
from digiid.platform.trust import AllowedHosts, OcspClient
from tests.flows.provider_room import Holder
from tests.support.page_client import PageClient
from tests.support.pki import NATURAL_QSCD, person, shared_pki
from tests.support.trust_server import TrustServer, running_trust_server
from tests.unit.formats.test_webeid import FOR_SIGNING_IN

OFFICER, SURNAME = "60001019906", "O’CONNEŽ-ŠUSLIK"
WHY = "request 2026-118"


@dataclass
class Room:
    trust: TrustServer
    clock: ManualClock
    population: population.Deps
    business: business.Deps
    running: dict[str, Running[Any]]
    stack: ExitStack

    def browser(self, site: str, *, language: str = "en") -> PageClient:
        origin = f"http://{site}.localhost:8800"
        return self.stack.enter_context(PageClient(self.running[site].sites[site], origin, language=language))

    def signed_in(self, site: str, *, language: str = "en") -> PageClient:
        pki = replace(shared_pki(), aia_base=self.trust.base)
        subject = person(SURNAME, OFFICER)
        holder = Holder(pki.issue(subject, extensions=FOR_SIGNING_IN), pki.issue(subject, extensions=NATURAL_QSCD))
        self.trust.knows(holder.authentication.certificate)
        browser = self.browser(site, language=language)
        assert holder.sign_in(browser).status_code == 200
        return browser

    def person(self, born_on: date, given_names: str = "TEST LIIS") -> str:
        request = RegisterPerson(
            application_id=f"a-{born_on}",
            given_names=given_names,
            surname="KODANIK",
            sex="F",
            born_on=born_on,
            citizenships=("EST",),
            residence_country="EST",
            basis="citizen",
        )
        return population.register_person(self.population, request, caller=Caller(POLICE_BOARD, "EE-1")).value


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[Room]:
    pki, entropy = shared_pki(), SystemEntropy()
    with ExitStack() as stack:
        server = stack.enter_context(running_trust_server(pki, clock))
        pools, http = Pools(pages=4, services=2), HttpClient(timeout_seconds=5)
        stack.callback(pools.close)
        stack.callback(http.close)
        origins = {name: f"http://{name}.localhost:8800" for name in ("population", "business")}
        around = Surroundings(clock, entropy, pools, http, tmp_path, {**origins, "agent": "http://127.0.0.1:8802"})
        ocsp = OcspClient(http, entropy, clock, hosts=AllowedHosts.of_urls(server.base))
        people = population_app.build_deps(PopulationSettings(), around)
        companies = business_app.build_deps(BusinessSettings(), around)
        built: dict[str, Running[Any]] = {}
        for site, build, deps, member in (
            ("population", population_app.build, people, POPULATION_REGISTER),
            ("business", business_app.build, companies, BUSINESS_REGISTER),
        ):
            client = Client(member, server_url="http://127.0.0.1:1", http=http, entropy=entropy)
            built[site] = build(  # type: ignore[operator]
                deps, around, issuers=[pki.ca.certificate], ocsp=ocsp, exchange=client, csrf_secret="c" * 32
            )
            stack.callback(built[site].close)
        population.add_officer(people, OFFICER, "Test Officer")
        yield Room(server, clock, people, companies, built, stack)


def words(text: str) -> str:
    main = text.split("<main", 1)[-1].split("</main>", 1)[0]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


# ------------------------------------------------------------------ the population register's desk


def test_an_officer_opens_an_entry_and_changes_the_address(room: Room) -> None:
    code, desk = room.person(date(1995, 12, 5)), room.signed_in("population")
    desk.get("/")
    found = desk.post_form("/", {"text": "Kodanik", "purpose": WHY})
    assert "Open the entry" in words(found.text)
    entry = desk.post_form("/person", {"personal_code": code, "purpose": WHY})
    assert "No address is known." in words(entry.text)
    assert "No family relation is known." in words(entry.text)
    address = {
        "personal_code": code,
        "purpose": WHY,
        "kind": "residence",
        "street": "Testi 1-5",
        "postcode": "10111",
        "locality": "Tallinn",
        "country": "EST",
        "from_on": "2026-11-23",
    }
    changed = desk.post_form("/person/address", address)
    assert changed.status_code == 200
    assert "Testi 1-5, 10111, Tallinn, EST in force residence" in words(changed.text)
    earlier = desk.post_form("/person/address", {**address, "street": "Testi 2", "from_on": "2026-11-22"})
    assert earlier.status_code == 422
    assert "cannot begin before" in words(earlier.text)
    assert "Testi 2" in earlier.text  # what was typed is still there
    wrong = desk.post_form("/person/address", {**address, "street": "", "country": "Eesti"})
    assert wrong.status_code == 422
    assert "three letters" in words(wrong.text)
    summary = wrong.text.split("govuk-error-summary", 1)[1]
    assert summary.index("Enter street and house") < summary.index("three letters"), "in the order of the page"
    with room.population.db.read() as tx:
        seen = find_usages(tx, population_store.DISCLOSURES, code, now=room.clock.now())
    assert {usage.purpose for usage in seen} == {WHY, f"application a-{date(1995, 12, 5)}"}


def test_an_officer_enters_and_ends_a_family_relation_in_estonian_too(room: Room) -> None:
    parent, child = room.person(date(1995, 12, 5)), room.person(date(2017, 5, 20), "TEST LAPS")
    desk = room.signed_in("population", language="et")
    desk.get("/")
    base = {"personal_code": parent, "purpose": WHY, "relation": "child", "other_code": child}
    entered = desk.post_form("/person/relation", {**base, "custody": "yes", "since_on": "2017-05-20"})
    assert entered.status_code == 200
    assert f"TEST LAPS KODANIK {child} laps jah" in words(entered.text)
    again = desk.post_form("/person/relation", {**base, "custody": "yes", "since_on": "2017-05-20"})
    assert (again.status_code, "juba olemas" in words(again.text)) == (422, True)
    unknown = desk.post_form("/person/relation", {**base, "other_code": "38001085718", "since_on": "2017-05-20"})
    assert unknown.status_code == 404
    from_the_child = {"personal_code": child, "purpose": WHY, "relation": "parent", "other_code": parent}
    ended = desk.post_form("/person/relation-end", {**from_the_child, "until_on": "2026-11-23"})
    assert ended.status_code == 200
    assert f"TEST LIIS KODANIK {parent} vanem jah 20. mai 2017 23. november 2026" in words(ended.text)


@pytest.mark.parametrize("path", ["/person", "/person/address", "/person/relation", "/person/relation-end"])
def test_no_entry_opens_without_a_purpose_or_an_officer(room: Room, path: str) -> None:
    code, desk = room.person(date(1995, 12, 5)), room.signed_in("population")
    desk.get("/")
    assert desk.post_form(path, {"personal_code": code}).status_code == 422
    assert desk.post_form(path, {"personal_code": code, "purpose": "x"}).status_code == 422
    assert desk.post_form(path, {"personal_code": "x", "purpose": WHY}).status_code == 422
    stranger = room.browser("population")
    stranger.get("/sign-in")
    assert stranger.post_form(path, {"personal_code": code, "purpose": WHY}).status_code == 401
    with room.population.db.read() as tx:
        seen = find_usages(tx, population_store.DISCLOSURES, code, now=room.clock.now())
    assert [usage.service for usage in seen] == ["register-person"]


# ------------------------------------------------------------------ the business register


def enter(room: Room, name: str = "TEST Näidis OÜ", code: str = OFFICER, request_id: str = "r1") -> str:
    board = business.Appointment(RoleKind.BOARD_MEMBER, code, "MARY ÄNN TEST", date(2026, 1, 1), representation="joint")
    share = business.Appointment(RoleKind.SHAREHOLDER, code, "MARY ÄNN TEST", date(2026, 1, 1), share_cents=250_000)
    entry = business.Entry(request_id, name, "OÜ", "Testi 1, Tallinn", 250_000, (board, share))
    return business.enter_company(room.business, entry, entered_by="the test")


def test_anybody_finds_a_company_and_reads_its_entry(room: Room) -> None:
    code, visitor = enter(room), room.browser("business")
    assert "Search for a company" in words(visitor.get("/").text)
    found = visitor.get("/", params={"q": "näidis"})
    assert f'href="/companies/{code}"' in found.text
    page = visitor.get(f"/companies/{code}").text
    for part in ("TEST Näidis OÜ", code, "Testi 1, Tallinn", "2500.00 EUR", "MARY ÄNN TEST", "board member"):
        assert part in words(page)
    assert OFFICER not in page  # names are public, personal codes are not
    assert "a role was entered" in words(page)
    estonian = words(room.browser("business", language="et").get(f"/companies/{code}").text)
    assert estonian.count("2500,00 EUR") == 2
    assert "2500.00" not in estonian


def test_a_search_that_finds_nothing_or_asks_for_nothing_says_so(room: Room) -> None:
    visitor = room.browser("business", language="et")
    assert "Ettevõtet ei leitud" in words(visitor.get("/", params={"q": "midagi muud"}).text)
    short = visitor.get("/", params={"q": "x"})
    assert (short.status_code, "vähemalt kaks tähte" in short.text) == (422, True)
    for text in ("%", "<script>", "'; --", "\u202e\u0000"):
        assert visitor.get("/", params={"q": text}).status_code in (200, 422)
    missing = visitor.get("/companies/19999001")
    assert (missing.status_code, "Sellise koodiga ettevõtet ei ole" in missing.text) == (404, True)


def test_what_was_typed_is_shown_as_text(room: Room) -> None:
    answer = room.browser("business").get("/", params={"q": '"><script>alert(1)</script>'})
    assert "<script>alert" not in answer.text


def test_a_company_that_is_no_more_says_so(room: Room) -> None:
    code = enter(room)
    business.change_status(room.business, code, CompanyEvent.DELETE, entered_by="the test")
    assert "This company is deleted." in words(room.browser("business").get(f"/companies/{code}").text)


def test_own_companies_are_for_who_is_signed_in(room: Room) -> None:
    answer = room.browser("business").get("/own")
    assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")
    person = room.signed_in("business")
    assert "You have no role in any company." in words(person.get("/own").text)
    enter(room)
    enter(room, "TEST Teine OÜ", "38001085718", "r2")
    own = words(person.get("/own").text)
    assert "TEST Näidis OÜ" in own
    assert "TEST Teine" not in own
    assert "does not represent the company" in own  # a joint right with nobody to join gives nothing
    assert "shareholder, since 1 January 2026: 2500.00 EUR" in own
