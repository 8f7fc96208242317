"""The portal and the bank over their own pages: the real board behind a real gate, real OCSP and time stamps."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from digiid.contracts.members import BANK, CONSENT_SERVICE, INFORMATION_AUTHORITY, POLICE_BOARD
from digiid.exchange.client import Client
from digiid.exchange.gate import AnyService, Gate
from digiid.exchange.usage import Tracker, tracker_services
from digiid.formats.xades import choose_method, sign_digest
from digiid.institutions.bank import app as bank
from digiid.institutions.bank.settings import Settings as BankSettings
from digiid.institutions.information_authority import app as portal
from digiid.institutions.information_authority.consents import app as consents
from digiid.institutions.information_authority.consents.settings import Settings as ConsentSettings
from digiid.institutions.information_authority.settings import Settings as PortalSettings
from digiid.institutions.police_board import api
from digiid.institutions.police_board import store as police_store
from digiid.platform.clock import ManualClock
from digiid.platform.documents import KeySigner, TrustServices
from digiid.platform.entropy import SystemEntropy
from digiid.platform.institution import Running
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from tests.flows.board_room import BoardRoom, open_board_room
from tests.support.consents import consent_sealer
from tests.support.page_client import PageClient
from tests.support.pki import NATURAL_QSCD, Identity, person, shared_pki
from tests.support.serve import free_port, serving
from tests.support.trust_server import TrustServer, running_trust_server
from tests.unit.formats.test_webeid import FOR_SIGNING_IN, make_token


@dataclass
class Holder:
    """A person at a browser with a card: two certificates, and what the page's script would do with them."""

    authentication: Identity
    signature: Identity

    def sign_in(self, browser: PageClient, *, identity: Identity | None = None) -> Any:
        browser.get("/sign-in")
        nonce = browser.post_json("/sign-in/challenge", {}).json()["nonce"]
        token = make_token(identity or self.authentication, origin=browser.origin, nonce=nonce)
        return browser.post_json("/sign-in/token", {"token": token, "next": "/"})

    def sign(self, browser: PageClient, reference: str) -> Any:
        """The last answer: of the certificate's step when it is refused, else of the signature's."""
        certificate = base64.b64encode(self.signature.der).decode()
        asked = browser.post_json("/signing/certificate", {"reference": reference, "certificate": certificate})
        if asked.status_code != 200:
            return asked
        prepared = asked.json()
        method = choose_method(self.signature.certificate.public_key())
        value = sign_digest(method, self.signature.key, base64.b64decode(prepared["hash"]))
        return browser.post_json(
            "/signing/signature", {"id": prepared["id"], "signature": base64.b64encode(value).decode()}
        )


@dataclass
class ProviderRoom:
    board: BoardRoom
    trust: TrustServer
    clock: ManualClock
    portal: Running[AnyService]
    bank: Running[AnyService]
    port: int = 8800
    stack: ExitStack = field(default_factory=ExitStack)

    def browser(self, site: str, *, language: str = "en") -> PageClient:
        running = self.portal if site == "portal" else self.bank
        origin = f"http://{site}.localhost:{self.port}"
        return self.stack.enter_context(PageClient(running.sites[site], origin, language=language))

    def holder(self, surname: str = "O’CONNEŽ-ŠUSLIK", code: str = "60001019906") -> Holder:
        pki = replace(shared_pki(), aia_base=self.trust.base)
        subject = person(surname, code)
        made = Holder(
            pki.issue(subject, extensions=FOR_SIGNING_IN),
            pki.issue(subject, extensions=NATURAL_QSCD),
        )
        self.trust.knows(made.authentication.certificate)
        self.trust.knows(made.signature.certificate)
        return made


@contextmanager
def open_provider_room(
    folder: Path,
    clock: ManualClock,
    *,
    bank_settings: BankSettings | None = None,
    portal_settings: PortalSettings | None = None,
    site_port: int = 8800,
    with_consents: bool = False,
) -> Iterator[ProviderRoom]:
    """`with_consents`: the consent service answers too."""
    pki, entropy = shared_pki(), SystemEntropy()
    with ExitStack() as stack:
        board = stack.enter_context(open_board_room(folder, clock))
        server = stack.enter_context(running_trust_server(pki, clock))
        port = free_port()
        origins = {name: f"http://{name}.localhost:{site_port}" for name in ("portal", "bank", "apply", "consent")}
        around = replace(board.around, origins={**origins, "agent": "http://127.0.0.1:8802"})
        http = around.http
        trust = TrustServices(
            TsaClient(http, entropy, clock, address=f"{server.base}/tsa"),
            OcspClient(http, entropy, clock, hosts=AllowedHosts.of_urls(server.base)),
            pki.trust,
            clock,
        )
        built = []
        for member, build, settings in (
            (INFORMATION_AUTHORITY, portal.build, portal_settings or PortalSettings()),
            (BANK, bank.build, bank_settings or BankSettings()),
        ):
            client = Client(member, server_url=f"http://127.0.0.1:{port}", http=http, entropy=entropy)
            running = build(
                settings,  # type: ignore[arg-type]
                around,
                exchange=client,
                issuers=[pki.ca.certificate],
                trust=trust,
                csrf_secret="c" * 32,
            )
            stack.callback(running.close)
            built.append(running)
        tracker = Tracker(
            POLICE_BOARD, board.deps.db, clock, police_store.schema.DISCLOSURES, police_store.schema.SENT_REQUESTS
        )
        offered = [*api.services(board.deps), *tracker_services(tracker), *built[0].services, *built[1].services]
        if with_consents:
            identity = consent_sealer().identity
            service = consents.build(
                ConsentSettings(),
                around,
                exchange=Client(CONSENT_SERVICE, server_url=f"http://127.0.0.1:{port}", http=http, entropy=entropy),
                issuers=[pki.ca.certificate],
                trust=trust,
                open_seal=lambda: KeySigner(identity.certificate, identity.key),
                csrf_secret="c" * 32,
            )
            stack.callback(service.close)
            offered += service.services
        stack.enter_context(serving(Gate(offered, pools=board.around.pools), port))
        yield ProviderRoom(board, server, clock, *built, port=site_port, stack=stack)
