"""The flow that the whole exchange is for: the bank asks for an address, and the person decides and sees it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from digiid.contracts.members import BANK, CONSENT_SERVICE, POLICE_BOARD, POPULATION_REGISTER
from digiid.contracts.population_register import PlaceOfAddress, RegisterPerson
from digiid.exchange.client import Client
from digiid.exchange.gate import AnyService, Caller, Gate
from digiid.institutions.bank import app as bank
from digiid.institutions.bank.settings import Settings as BankSettings
from digiid.institutions.information_authority.consents import app as consents
from digiid.institutions.information_authority.consents.settings import Settings as ConsentSettings
from digiid.institutions.population_register import app as population
from digiid.institutions.population_register import store as population_store
from digiid.institutions.population_register import use_cases as register
from digiid.institutions.population_register.settings import Settings as PopulationSettings
from digiid.platform.clock import ManualClock
from digiid.platform.disclosures import find_usages, verify_disclosures
from digiid.platform.documents import KeySigner, TrustServices
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.pools import Pools
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from tests.flows.provider_room import Holder
from tests.support.consents import consent_sealer
from tests.support.page_client import PageClient
from tests.support.pki import NATURAL_QSCD, person, shared_pki
from tests.support.serve import free_port, serving
from tests.support.trust_server import TrustServer, running_trust_server
from tests.unit.formats.test_webeid import FOR_SIGNING_IN

MARY, SURNAME = "60001019906", "O’CONNEŽ-ŠUSLIK"


@dataclass
class Room:
    clock: ManualClock
    trust: TrustServer
    around: Surroundings
    register: register.Deps
    running: dict[str, Running[Any]]
    stack: ExitStack

    def browser(self, site: str, *, language: str = "en") -> PageClient:
        running = next(each for each in self.running.values() if site in each.sites)
        origin = self.around.origins[site]
        return self.stack.enter_context(PageClient(running.sites[site], origin, language=language))

    def holder(self) -> Holder:
        pki = replace(shared_pki(), aia_base=self.trust.base)
        subject = person(SURNAME, MARY)
        made = Holder(pki.issue(subject, extensions=FOR_SIGNING_IN), pki.issue(subject, extensions=NATURAL_QSCD))
        self.trust.knows(made.authentication.certificate)
        self.trust.knows(made.signature.certificate)
        return made

    def deliver(self) -> None:
        while any(worker.deliver_due() for each in self.running.values() for worker in each.workers):
            pass

    def poll(self) -> None:
        for each in self.running.values():
            for timer in each.timers:
                if timer.name == "consent_revocations":
                    timer.run()


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[Room]:
    pki, entropy = shared_pki(), SystemEntropy()
    with ExitStack() as stack:
        server = stack.enter_context(running_trust_server(pki, clock))
        pools, http, port = Pools(pages=4, services=4), HttpClient(timeout_seconds=5), free_port()
        stack.callback(pools.close)
        stack.callback(http.close)
        names = ("consent", "population", "portal", "bank")
        origins = {name: f"http://{name}.localhost:8800" for name in names}
        around = Surroundings(
            clock, entropy, pools, http, tmp_path, {**origins, "agent": "http://127.0.0.1:8802", "programs": "http://x"}
        )
        trust = TrustServices(
            TsaClient(http, entropy, clock, address=f"{server.base}/tsa"),
            OcspClient(http, entropy, clock, hosts=AllowedHosts.of_urls(server.base)),
            pki.trust,
            clock,
        )
        issuers = [pki.ca.certificate]
        seal, identity = consents.consent_seal(issuers), consent_sealer().identity

        def client(member: Any) -> Client:
            return Client(member, server_url=f"http://127.0.0.1:{port}", http=http, entropy=entropy)

        deps = population.build_deps(PopulationSettings(first_order_number=990), around, seal=seal)
        running: dict[str, Running[Any]] = {
            "consents": consents.build(
                ConsentSettings(),
                around,
                exchange=client(CONSENT_SERVICE),
                issuers=issuers,
                trust=trust,
                open_seal=lambda: KeySigner(identity.certificate, identity.key),
                csrf_secret="c" * 32,
            ),
            "population": population.build(
                deps,
                around,
                issuers=issuers,
                ocsp=trust.ocsp,
                exchange=client(POPULATION_REGISTER),
                csrf_secret="c" * 32,
            ),
            "bank": bank.build(
                BankSettings(),
                around,
                exchange=client(BANK),
                issuers=issuers,
                trust=trust,
                csrf_secret="c" * 32,
                seal=seal,
            ),
        }
        services: list[AnyService] = []
        for each in running.values():
            stack.callback(each.close)
            services += each.services
        stack.enter_context(serving(Gate(services, pools=pools), port))
        enter_mary(deps)
        opened = Room(clock, server, around, deps, running, stack)
        opened.poll()
        yield opened


def enter_mary(deps: register.Deps) -> None:
    request = RegisterPerson(
        application_id="mary",
        given_names="MARY ÄNN",
        surname=SURNAME,
        sex="F",
        born_on=date(2000, 1, 1),
        citizenships=("UTO",),
        residence_country="FIN",
        basis="e_resident",
        address=PlaceOfAddress(country="FIN", locality="Helsinki", street="Testikatu 7 B", postcode="00100"),
    )
    assert register.register_person(deps, request, caller=Caller(POLICE_BOARD, "EE-1")).value == MARY


def words(text: str) -> str:
    main = text.split("<main", 1)[-1].split("</main>", 1)[0]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def told(room: Room) -> int:
    """How often the register told the bank the address; what it wrote down holds together."""
    with room.register.db.read() as tx:
        verify_disclosures(tx, population_store.DISCLOSURES, population_store.JOURNAL)
        found = find_usages(tx, population_store.DISCLOSURES, MARY, now=room.clock.now())
    return sum(usage.service == "get-address" and usage.receiver == str(BANK) for usage in found)


def sent_to_consents(room: Room, browser: PageClient) -> str:
    """Press the button at the bank; returns the path at the consent service to which the person is led."""
    browser.get("/address")
    answer = browser.post_form("/address", {})
    assert answer.status_code == 303, words(answer.text)
    origin = room.around.origins["consent"]
    location = str(answer.headers["location"])
    assert location.startswith(origin)
    return location.removeprefix(origin)


def opened(browser: PageClient, path: str) -> str:
    found = re.fullmatch(r"/consents/([0-9a-f-]{36})", browser.get(path).headers["location"])
    assert found
    return found[1]


def test_refused_before_the_grant_answered_after_it_refused_after_the_withdrawal(room: Room) -> None:
    holder, at_bank, at_consents = room.holder(), room.browser("bank"), room.browser("consent")
    holder.sign_in(at_bank)
    holder.sign_in(at_consents)
    # 1 before: the register refuses, the person is asked
    assert "The bank does not have your address" in words(at_bank.get("/address").text)
    path = sent_to_consents(room, at_bank)
    assert "the register refused" in words(at_bank.get("/address").text)
    assert told(room) == 0
    room.clock.advance(timedelta(seconds=1))
    # 2 granted with PIN2: the bank is told
    consent = opened(at_consents, path)
    at_consents.get(f"/consents/{consent}")
    assert holder.sign(at_consents, f"{consent}?en").status_code == 200
    assert 'href="http://bank.localhost:8800/address/back"' in at_consents.get(f"/consents/{consent}").text
    assert at_bank.get("/address/back").headers["location"] == "/address"
    shown = words(at_bank.get("/address").text)
    for part in ("Testikatu 7 B", "Helsinki", "FIN", "contact address", "the register answered"):
        assert part in shown
    assert told(room) == 1
    room.clock.advance(timedelta(seconds=1))
    # 3 asked again under the same consent
    assert at_bank.post_form("/address", {}).headers["location"] == "/address"
    assert told(room) == 2
    room.clock.advance(timedelta(seconds=1))
    # 4 withdrawn: the register refuses at once, and says so
    at_consents.get(f"/consents/{consent}/withdraw")
    assert at_consents.post_form(f"/consents/{consent}/withdraw", {}).status_code == 303
    room.deliver()
    assert "You withdrew your consent" in words(at_bank.get("/address").text)
    refused = at_bank.post_form("/address", {})
    assert refused.status_code == 403
    assert "Your consent does not hold any more" in words(refused.text)
    assert told(room) == 2
    outcomes = re.findall(r"the register (refused|answered)", words(at_bank.get("/address").text))
    assert outcomes == ["refused", "answered", "answered", "refused"]
    # 5 and may be asked anew
    assert sent_to_consents(room, at_bank).startswith("/requests/")


def test_a_withdrawal_works_without_the_push_once_it_is_polled_or_the_news_are_too_old(room: Room) -> None:
    holder, at_bank, at_consents = room.holder(), room.browser("bank"), room.browser("consent")
    holder.sign_in(at_bank)
    holder.sign_in(at_consents)
    consent = opened(at_consents, sent_to_consents(room, at_bank))
    at_consents.get(f"/consents/{consent}")
    holder.sign(at_consents, f"{consent}?en")
    at_bank.get("/address/back")
    at_consents.get(f"/consents/{consent}/withdraw")
    at_consents.post_form(f"/consents/{consent}/withdraw", {})
    room.clock.advance(timedelta(seconds=601))
    at_bank.get("/address")
    outdated = at_bank.post_form("/address", {})
    assert outdated.status_code == 503
    assert "cannot be checked now" in words(outdated.text)
    room.poll()
    assert at_bank.post_form("/address", {}).status_code == 403
    assert told(room) == 1


def test_who_refuses_keeps_the_account_and_the_bank_learns_nothing(room: Room) -> None:
    holder, at_bank, at_consents = room.holder(), room.browser("bank", language="et"), room.browser("consent")
    holder.sign_in(at_bank)
    holder.sign_in(at_consents)
    consent = opened(at_consents, sent_to_consents(room, at_bank))
    at_consents.get(f"/consents/{consent}")
    at_consents.post_form(f"/consents/{consent}/refuse", {})
    back = at_bank.get("/address/back")
    assert back.status_code == 403
    assert "Te ei andnud nõusolekut" in words(back.text)
    assert at_bank.get("/address/back").headers["location"] == "/address"
    assert told(room) == 0


def test_a_link_to_the_way_back_fetches_nothing_for_who_was_not_sent(room: Room) -> None:
    holder, at_bank, at_consents = room.holder(), room.browser("bank"), room.browser("consent")
    holder.sign_in(at_bank)
    holder.sign_in(at_consents)
    consent = opened(at_consents, sent_to_consents(room, at_bank))
    at_consents.get(f"/consents/{consent}")
    holder.sign(at_consents, f"{consent}?en")
    at_bank.get("/address/back")
    at_bank.get("/address")
    assert at_bank.post_form("/address/forget", {}).headers["location"] == "/address"
    assert "The bank does not have your address" in words(at_bank.get("/address").text)
    assert at_bank.get("/address/back").headers["location"] == "/address"
    assert told(room) == 1


def test_nobody_reaches_the_address_without_signing_in(room: Room) -> None:
    for path in ("/address", "/address/back"):
        answer = room.browser("bank").get(path)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")
