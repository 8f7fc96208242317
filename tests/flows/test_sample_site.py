"""The integrators' sample site, served and visited with a card: what its how-to promises is so."""

import functools
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from digiid.devices import web_eid
from digiid.devices.card_shelf import CardShelf
from digiid.formats.apdu import Transport
from digiid.platform import eid_card
from digiid.platform.clock import ManualClock
from digiid.platform.eid_card import CardKey
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient, loopback_transport
from digiid.platform.trust import AllowedHosts, OcspClient
from tests.support.cards import DOCUMENT, PIN1, TestCa, new_ca, personalise
from tests.support.pki import AT, shared_pki
from tests.support.serve import free_port, serving
from tests.support.trust_server import TrustServer, running_trust_server

FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "sample-site"


@functools.cache
def load_sample() -> ModuleType:
    """The file in the documentation as a module; it is in no package."""
    spec = importlib.util.spec_from_file_location("sample_site", FOLDER / "sample_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["sample_site"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Stage:
    """The sample served, its trust services, a card of the CA that it names, and a browser."""

    origin: str
    clock: ManualClock
    trust: TrustServer
    card: Transport
    browser: httpx.Client
    shelf: CardShelf

    def post(self, path: str, content: object, **headers: str) -> httpx.Response:
        return self.browser.post(path, json=content, headers={"Origin": self.origin, **headers})

    def challenge(self) -> str:
        nonce = self.post("/challenge", {}).json()["nonce"]
        assert isinstance(nonce, str)
        return nonce

    def token(self, *, origin: str | None = None, nonce: str | None = None) -> dict[str, Any]:
        nonce = nonce or self.challenge()
        return web_eid.authenticate(self.card, origin=origin or self.origin, nonce=nonce, pin1=PIN1)

    def sign_in(self, token: object) -> tuple[int, str]:
        """The status, and the name or the code of the refusal."""
        answer = self.post("/sign-in", {"token": token})
        fields = answer.json()
        return answer.status_code, fields.get("code") if answer.is_error else fields["name"]

    @property
    def page(self) -> str:
        return self.browser.get("/").text


@contextmanager
def open_stage(folder: Path, agent: str) -> Iterator[Stage]:
    pki, clock, port = shared_pki(), ManualClock(AT), free_port()
    origin = f"http://sample.localhost:{port}"
    shelf, http = CardShelf(folder / "cards", SystemEntropy()), HttpClient()
    with running_trust_server(pki, clock) as trust:
        ca = TestCa(pki.ca.key, pki.ca.certificate, ocsp_address=f"{trust.base}/ocsp")  # type: ignore[arg-type]
        personalise(shelf.new_blank(DOCUMENT.document_number), ca)
        card = shelf.open(DOCUMENT.document_number)
        trust.knows(eid_card.read_certificate(card, CardKey.AUTHENTICATION))
        site = load_sample().build_site(
            origin=origin,
            agent=agent,
            issuers=[pki.ca.certificate],
            ocsp=OcspClient(http, SystemEntropy(), clock, hosts=AllowedHosts.of_urls(trust.base)),
            clock=clock,
            entropy=SystemEntropy(),
        )
        with serving(site, port), httpx.Client(base_url=origin, transport=loopback_transport()) as browser:
            yield Stage(origin, clock, trust, card, browser, shelf)
    http.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, "http://127.0.0.1:8802") as opened:
        yield opened


def test_the_holder_of_a_good_card_is_signed_in_and_out(stage: Stage) -> None:
    assert "Sign in with a card" in stage.page
    assert stage.sign_in(stage.token()) == (200, "JAAK-KRISTJAN JÕEORG")
    assert "38001085718" in stage.page
    assert "e_resident" in stage.page
    stage.post("/sign-out", {})
    assert "38001085718" not in stage.page


def test_a_token_made_for_another_site_is_refused(stage: Stage) -> None:
    assert stage.sign_in(stage.token(origin="https://evil.example")) == (403, "webeid.signature")
    assert "38001085718" not in stage.page


def test_a_token_is_good_once(stage: Stage) -> None:
    token = stage.token()
    assert stage.sign_in(token)[0] == 200
    assert stage.sign_in(token) == (403, "sample.nonce")


def test_a_challenge_of_another_browser_is_worth_nothing(stage: Stage) -> None:
    with httpx.Client(base_url=stage.origin, transport=loopback_transport()) as other:
        nonce = other.post("/challenge", json={}, headers={"Origin": stage.origin}).json()["nonce"]
    token = stage.token(nonce=nonce)
    stage.challenge()
    assert stage.sign_in(token) == (403, "webeid.signature")


def test_a_challenge_is_too_old_after_five_minutes(stage: Stage) -> None:
    token = stage.token()
    stage.clock.advance(timedelta(minutes=5))
    assert stage.sign_in(token) == (403, "sample.nonce")


@pytest.mark.parametrize("reason", ["certificate_hold", "key_compromise"])
def test_a_suspended_or_annulled_card_is_refused(stage: Stage, reason: str) -> None:
    stage.trust.status, stage.trust.reason = "revoked", reason
    assert stage.sign_in(stage.token()) == (403, "sample.card_not_good")
    assert "38001085718" not in stage.page


def test_nobody_gets_in_when_the_responder_is_silent(stage: Stage) -> None:
    stage.trust.change = lambda _path, _body: (500, b"")
    assert stage.sign_in(stage.token()) == (503, "trust.ocsp.http")


def test_a_card_of_another_issuer_is_refused(stage: Stage) -> None:
    personalise(stage.shelf.new_blank("NS0000777"), new_ca())
    stage.card = stage.shelf.open("NS0000777")
    assert stage.sign_in(stage.token()) == (403, "webeid.certificate_foreign")


def test_signing_in_gives_the_browser_a_new_session(stage: Stage) -> None:
    token = stage.token()
    before = stage.browser.cookies["sample_session"]
    stage.sign_in(token)
    assert stage.browser.cookies["sample_session"] != before


def test_only_its_own_pages_may_post(stage: Stage) -> None:
    for origin in ("https://evil.example", "null"):
        answer = stage.post("/challenge", {}, Origin=origin)
        assert (answer.status_code, answer.json()["code"]) == (403, "sample.origin")


@pytest.mark.parametrize("token", [None, "x", [], {"format": "web-eid:1.0"}, {"x": "y" * 9000}])
def test_what_is_no_token_gets_a_clear_answer(stage: Stage, token: object) -> None:
    stage.challenge()
    assert stage.sign_in(token) == (400, "webeid.token")


def test_a_body_that_is_too_long_or_not_json_is_refused(stage: Stage) -> None:
    stage.challenge()
    assert stage.post("/sign-in", {"token": "x" * 30_000}).status_code == 413
    headers = {"Origin": stage.origin, "Content-Type": "application/json"}
    assert stage.browser.post("/sign-in", content=b"[" * 9000, headers=headers).status_code == 400


def test_pages_may_use_the_card_agents_window_and_run_no_other_script(stage: Stage) -> None:
    answer = stage.browser.get("/")
    assert answer.headers["cross-origin-opener-policy"] == "same-origin-allow-popups"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert '<meta name="digiid-agent" content="http://127.0.0.1:8802">' in answer.text
    assert "export function authenticate" in stage.browser.get("/webeid.js").text
