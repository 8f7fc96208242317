"""The consent service with both registers and a client: their own pages, a real gate, a clock to move."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from digiid.contracts.consents import RevocationNotice, consents_revoked
from digiid.contracts.members import (
    BANK,
    BUSINESS_REGISTER,
    CONSENT_SERVICE,
    POLICE_BOARD,
    POPULATION_REGISTER,
)
from digiid.contracts.operation import Done
from digiid.contracts.population_register import GET_ADDRESS, Address, GetAddress, PlaceOfAddress, RegisterPerson
from digiid.exchange.client import Client
from digiid.exchange.consent_client import ConsentClient
from digiid.exchange.gate import AnyService, Caller, Gate, Service
from digiid.formats.consent_receipt import verify_revocations
from digiid.institutions.business_register import app as business
from digiid.institutions.business_register import use_cases as business_cases
from digiid.institutions.business_register.domain import RoleKind
from digiid.institutions.business_register.settings import Settings as BusinessSettings
from digiid.institutions.business_register.use_cases import Appointment, Entry
from digiid.institutions.information_authority.consents import app as consents
from digiid.institutions.information_authority.consents.settings import Settings as ConsentSettings
from digiid.institutions.population_register import app as population
from digiid.institutions.population_register import use_cases as population_cases
from digiid.institutions.population_register.domain import Relation
from digiid.institutions.population_register.settings import Settings as PopulationSettings
from digiid.platform.clock import ManualClock
from digiid.platform.documents import KeySigner, TrustServices
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.pools import Pools
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from tests.flows.provider_room import Holder
from tests.support.consent_service import BANK_ORIGIN, CALLBACK
from tests.support.consents import consent_seal, consent_sealer
from tests.support.page_client import PageClient
from tests.support.pki import NATURAL_QSCD, person, shared_pki
from tests.support.serve import free_port, serving
from tests.support.trust_server import TrustServer, running_trust_server
from tests.unit.formats.test_webeid import FOR_SIGNING_IN

PURPOSE = "bank-card-and-letters"
STREET = "Harju 1"
_PAGE = re.compile(r"/consents/([0-9a-f-]{36})")


@dataclass
class ConsentRoom:
    """Pushes and reports leave when the test says so; timers run when the test says so."""

    around: Surroundings
    trust: TrustServer
    clock: ManualClock
    consents: Running[Any]
    register: Running[AnyService]
    register_deps: population_cases.Deps
    bank: Client
    stack: ExitStack
    told: list[str]
    mary: str
    child: str
    company: str

    @property
    def bank_consents(self) -> ConsentClient:
        return ConsentClient(self.bank)

    def browser(self, *, language: str = "en") -> PageClient:
        return self.stack.enter_context(
            PageClient(self.consents.sites["consent"], self.around.origins["consent"], language=language)
        )

    def holder(self, code: str = "", surname: str = "O’CONNEŽ-ŠUSLIK") -> Holder:
        """Mary, or somebody else, with a card."""
        pki = replace(shared_pki(), aia_base=self.trust.base)
        subject = person(surname, code or self.mary)
        made = Holder(pki.issue(subject, extensions=FOR_SIGNING_IN), pki.issue(subject, extensions=NATURAL_QSCD))
        self.trust.knows(made.authentication.certificate)
        self.trust.knows(made.signature.certificate)
        return made

    def link(self) -> str:
        """The bank asks Mary; the path of the link that it is given."""
        url = self.bank_consents.request(self.mary, [PURPOSE], callback=CALLBACK).url
        return url.removeprefix(self.around.origins["consent"])

    def open_link(self, browser: PageClient, path: str) -> str:
        """As the person does. Returns the identifier of the one consent that it leads to."""
        answer = browser.get(path)
        assert answer.status_code == 303, answer.text
        found = _PAGE.fullmatch(answer.headers["location"])
        assert found, answer.headers["location"]
        return found[1]

    def grant(self, browser: PageClient, holder: Holder) -> str:
        consent_id = self.open_link(browser, self.link())
        browser.get(f"/consents/{consent_id}")
        answer = holder.sign(browser, f"{consent_id}?en")
        assert answer.json() == {"next": f"/consents/{consent_id}"}, answer.text
        return consent_id

    def link_for(self, subject: str, relation: str) -> str:
        """The bank asks Mary to decide for another."""
        group = self.bank_consents.request_represented(self.mary, subject, relation, [PURPOSE], callback=CALLBACK)
        return group.url.removeprefix(self.around.origins["consent"])

    def receipt(self, code: str = "") -> str:
        held = self.bank_consents.find_receipt(code or self.mary, PURPOSE)
        assert held is not None
        return held.receipt

    def ask_address(self, receipt: str | None, code: str = "") -> Address:
        code = code or self.mary
        return self.bank.call(
            GET_ADDRESS, GetAddress(personal_code=code), user_id=f"EE{code}", consent=receipt, purpose=PURPOSE
        )

    def push(self) -> None:
        """Empty the outboxes."""
        workers = [*self.consents.workers, *self.register.workers]
        while any(worker.deliver_due() for worker in workers):
            pass

    def poll(self) -> None:
        """What the register's timer does every two minutes."""
        [timer] = [timer for timer in self.register.timers if timer.name == "consent_revocations"]
        timer.run()


@contextmanager
def open_consent_room(folder: Path, clock: ManualClock, *, site_port: int | None = None) -> Iterator[ConsentRoom]:
    """`site_port`: where the consent site answers a real browser; without it there are no sockets for people."""
    pki, entropy = shared_pki(), SystemEntropy()
    with ExitStack() as stack:
        server = stack.enter_context(running_trust_server(pki, clock))
        pools, http = Pools(pages=4, services=4), HttpClient(timeout_seconds=5)
        stack.callback(pools.close)
        stack.callback(http.close)
        port = free_port()
        names = ("consent", "population", "business", "portal")
        origins = {name: f"http://{name}.localhost:{site_port or 8800}" for name in names}
        origins |= {"bank": BANK_ORIGIN, "agent": "http://127.0.0.1:8802", "programs": "http://127.0.0.1:8800"}
        around = Surroundings(clock, entropy, pools, http, folder, origins)
        trust = TrustServices(
            TsaClient(http, entropy, clock, address=f"{server.base}/tsa"),
            OcspClient(http, entropy, clock, hosts=AllowedHosts.of_urls(server.base)),
            pki.trust,
            clock,
        )

        def client(member: Any) -> Client:
            return Client(member, server_url=f"http://127.0.0.1:{port}", http=http, entropy=entropy)

        issuers = [pki.ca.certificate]
        identity = consent_sealer().identity
        consent_service = consents.build(
            ConsentSettings(),
            around,
            exchange=client(CONSENT_SERVICE),
            issuers=issuers,
            trust=trust,
            open_seal=lambda: KeySigner(identity.certificate, identity.key),
            csrf_secret="c" * 32,
        )
        stack.callback(consent_service.close)
        register_deps = population.build_deps(PopulationSettings(), around, seal=consents.consent_seal(issuers))
        register = population.build(
            register_deps,
            around,
            issuers=issuers,
            ocsp=trust.ocsp,
            exchange=client(POPULATION_REGISTER),
            csrf_secret="c" * 32,
        )
        stack.callback(register.close)
        business_deps = business.build_deps(BusinessSettings(), around)
        business_register = business.build(
            business_deps,
            around,
            issuers=issuers,
            ocsp=trust.ocsp,
            exchange=client(BUSINESS_REGISTER),
            csrf_secret="c" * 32,
        )
        stack.callback(business_register.close)
        mary, child = _enter_family(register_deps)
        company = business_cases.enter_company(business_deps, _company_of(mary), entered_by="the test")
        told: list[str] = []
        gate = Gate(
            [*consent_service.services, *register.services, *business_register.services, _bank(told, clock)],
            pools=pools,
        )
        stack.enter_context(serving(gate, port))
        if site_port is not None:
            stack.enter_context(serving(consent_service.sites["consent"], site_port))
        yield ConsentRoom(
            around,
            server,
            clock,
            consent_service,
            register,
            register_deps,
            client(BANK),
            stack,
            told,
            mary,
            child,
            company,
        )


def _enter_family(deps: population_cases.Deps) -> tuple[str, str]:
    """Mary with an address, and her minor child."""
    codes = []
    for number, (name, born_on) in enumerate((("MARY ÄNN", date(1990, 1, 1)), ("PIA", date(2012, 4, 4)))):
        request = RegisterPerson(
            application_id=f"family-{number}",
            given_names=name,
            surname="O’CONNEŽ-ŠUSLIK",
            sex="F",
            born_on=born_on,
            citizenships=("EST",),
            residence_country="EST",
            basis="citizen",
            address=PlaceOfAddress(country="EST", locality="Tallinn", street=STREET, postcode="10111"),
        )
        caller = Caller(POLICE_BOARD, f"EE-family-{number}")
        codes.append(population_cases.register_person(deps, request, caller=caller).value)
    relation = Relation("parent", codes[0], codes[1], True, date(2012, 4, 4))
    population_cases.enter_relation(deps, relation, by="the test", purpose="the test's family")
    return codes[0], codes[1]


def _company_of(personal_code: str) -> Entry:
    member = Appointment(RoleKind.BOARD_MEMBER, personal_code, "MARY ÄNN O’CONNEŽ-ŠUSLIK", date(2026, 11, 1), "sole")
    return Entry("company-1", "TEST Näidis OÜ", "OÜ", "Harju 1, Tallinn", 100_000, (member,))


def _bank(told: list[str], clock: ManualClock) -> Service:
    """The client's own ear: it writes down which references it was told of."""

    def take(_: Caller, notice: RevocationNotice) -> Done:
        statement = verify_revocations(notice.statement, seal=consent_seal(), audience=str(BANK), at=clock.now())
        told.extend(revocation.consent_reference for revocation in statement.revocations)
        return Done()

    return Service(consents_revoked(BANK), take)
