"""Signing in and signing on a site in Chromium, through the card agent's window; what is told when it fails."""

import io
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import BrowserContext, Page, expect

from digiid.devices.agent.app import AgentSettings, build_agent
from digiid.devices.card_shelf import CardShelf
from digiid.devices.wallet import write_inserted
from digiid.formats.asic import DataFile
from digiid.formats.validation import validate_container
from digiid.platform import eid_card
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.documents import TrustServices
from digiid.platform.eid_card import CardKey
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from digiid.platform.web.dispatch import HostDispatch
from digiid.platform.web.sign_in import CardSignIn, sign_in_handlers
from digiid.platform.web.signing import CardSigning, PendingSignatures, SignedContainer, ToSign, signing_handlers
from tests.support.browser import assert_accessible, complaints_of
from tests.support.cards import DOCUMENT, PIN1, PIN2, PUK
from tests.support.pki import AT, NATURAL_QSCD, Pki, person, shared_pki
from tests.support.reference_site import METADATA, PENDING, build_reference_site
from tests.support.serve import free_port, serving
from tests.support.trust_server import TrustServer, running_trust_server
from tests.unit.formats.test_webeid import FOR_SIGNING_IN

pytestmark = pytest.mark.browser
NUMBER = DOCUMENT.document_number


@dataclass
class Stage:
    """One site with its trust services, one card on the shelf; the agent runs unless it is stopped."""

    origin: str
    trust: TrustServer
    signed: list[SignedContainer] = field(default_factory=list)


def _personalise(card: Any, pki: Pki, server: TrustServer) -> None:
    """What the bureau does, with certificates of the test hierarchy for the keys that the chip made."""
    eid_card.write_personal_data(card, DOCUMENT)
    subject = person(DOCUMENT.surname, DOCUMENT.personal_code)
    extensions = {CardKey.AUTHENTICATION: FOR_SIGNING_IN, CardKey.SIGNATURE: NATURAL_QSCD}
    for kind in CardKey:
        key = eid_card.generate_key(card, kind)
        certificate = _certify(key, pki.issue(subject, extensions=extensions[kind]).certificate, pki)
        server.knows(certificate)
        eid_card.write_certificate(card, kind, certificate.public_bytes(Encoding.DER))
    eid_card.write_pins(card, pin1=PIN1, pin2=PIN2, puk=PUK)
    eid_card.close_personalisation(card)


def _certify(key: ec.EllipticCurvePublicKey, like: x509.Certificate, pki: Pki) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(like.not_valid_before_utc)
        .not_valid_after(like.not_valid_after_utc)
    )
    for extension in like.extensions:
        if not isinstance(extension.value, x509.SubjectKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(pki.ca.key, hashes.SHA384())


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    clock, entropy, http = ManualClock(AT), SystemEntropy(), HttpClient(timeout_seconds=10)
    database = Database.sqlite(tmp_path / "reference.sqlite")
    with database.write() as tx:
        METADATA.create_all(tx)
    site_port, agent_port = free_port(), free_port()
    host, agent_origin = f"reference.localhost:{site_port}", f"http://127.0.0.1:{agent_port}"
    shelf = CardShelf(tmp_path / "cards", entropy)
    agent = build_agent(shelf, clock, entropy, AgentSettings(folder=tmp_path, origin=agent_origin, pcsc=False))
    with running_trust_server(shared_pki(), clock) as server:
        pki = replace(shared_pki(), aia_base=server.base)
        _personalise(shelf.new_blank(NUMBER), pki, server)
        write_inserted(tmp_path / "cards", NUMBER)
        stage = Stage(f"http://{host}", server)
        ocsp = OcspClient(http, entropy, clock, hosts=AllowedHosts.of_urls(server.base))
        tsa = TsaClient(http, entropy, clock, address=f"{server.base}/tsa")
        issuers = [pki.ca.certificate]

        def on_signed(_session: Any, _reference: str, container: SignedContainer) -> str:
            stage.signed.append(container)
            return "/table"

        signing = CardSigning(
            PendingSignatures(database, PENDING, clock, entropy),
            issuers,
            TrustServices(tsa, ocsp, pki.trust, clock),
            lambda _session, reference: ToSign(files=[DataFile(f"{reference}.txt", "text/plain", b"Dear state\n")]),
            on_signed,
        )
        sign_in = CardSignIn(issuers, ocsp, lambda _person: {}, lambda _card: None)
        reference = build_reference_site(
            database,
            clock,
            entropy,
            origin=stage.origin,
            agent_origin=agent_origin,
            more_handlers=lambda _site: [*sign_in_handlers(sign_in), *signing_handlers(signing)],
        )
        agent_runs = serving(agent, agent_port) if getattr(request, "param", True) else nullcontext()
        with serving(HostDispatch({host: reference.app}, programs={}), site_port), agent_runs:
            yield stage
        reference.pools.close()
    shelf.close()
    http.close()
    database.close()


def _press(page: Page, button: str) -> Page:
    with page.expect_popup() as opened:
        page.locator(button).click()
    return opened.value


def _sign_in(page: Page, stage: Stage, *, then: str) -> None:
    page.goto(f"{stage.origin}/sign-in?next={then}")
    agent = _press(page, "#card-sign-in")
    agent.get_by_role("button", name="Allow this site").click()
    agent.get_by_label("PIN1").fill(PIN1)
    agent.keyboard.press("Enter")


def test_a_holder_signs_in_and_signs_with_one_window_each(browser_page: Page, stage: Stage) -> None:
    complaints = complaints_of(browser_page)
    _sign_in(browser_page, stage, then="/sign-page")
    browser_page.wait_for_url("**/sign-page")
    expect(browser_page.get_by_text(DOCUMENT.surname)).to_be_visible()
    assert_accessible(browser_page)
    agent = _press(browser_page, "#card-sign")
    agent.locator("#go:enabled").click()
    agent.get_by_label("PIN2").fill(PIN2)
    agent.keyboard.press("Enter")
    browser_page.wait_for_url("**/table")
    (container,) = stage.signed
    report = validate_container(io.BytesIO(container.content), trust=shared_pki().trust(), at=AT)
    assert report.is_valid
    assert complaints == []


def test_a_suspended_card_is_refused_in_words_on_the_page(browser_page: Page, stage: Stage) -> None:
    stage.trust.status, stage.trust.reason = "revoked", "certificate_hold"
    _sign_in(browser_page, stage, then="/own")
    error = browser_page.locator("#card-error")
    expect(error).to_contain_text("This card is suspended")
    expect(error).to_be_focused()
    expect(browser_page.locator("#card-sign-in")).to_be_enabled()
    assert_accessible(browser_page)


def test_a_closed_window_changes_nothing_and_can_be_tried_again(browser_page: Page, stage: Stage) -> None:
    browser_page.goto(f"{stage.origin}/sign-in")
    agent = _press(browser_page, "#card-sign-in")
    agent.get_by_role("button", name="Allow this site").wait_for()
    agent.close()
    expect(browser_page.locator("#card-error")).to_contain_text("You closed the window")
    _press(browser_page, "#card-sign-in")


def test_a_blocked_window_is_told(browser_context: BrowserContext, stage: Stage) -> None:
    browser_context.add_init_script("window.open = () => null;")
    page = browser_context.new_page()
    page.goto(f"{stage.origin}/sign-in")
    page.wait_for_timeout(600)  # the extension has its 400 ms to answer
    page.locator("#card-sign-in").click()
    expect(page.locator("#card-error")).to_contain_text("Allow pop-ups for this site")


@pytest.mark.parametrize("stage", [False], indirect=True, ids=["no agent"])
def test_an_agent_that_does_not_run_is_told(browser_page: Page, stage: Stage) -> None:
    browser_page.goto(f"{stage.origin}/sign-in")
    _press(browser_page, "#card-sign-in")
    expect(browser_page.locator("#card-error")).to_contain_text("Start it, then try again.", timeout=20_000)
