"""The agent's interface as HTTP: whom it answers, what it asks of a card, what it says when something is wrong."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.devices.agent.app import AgentSettings, build_agent
from digiid.devices.card_shelf import CardShelf
from digiid.platform import eid_card
from digiid.platform.clock import ManualClock
from digiid.platform.eid_card import CardKey, CardPin
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import DOCUMENT, PIN1, PIN2, PUK, new_ca, personalise
from tests.support.loops import run_async

ORIGIN = "http://127.0.0.1:8802"
SITE = "https://bank.example"
NONCE = base64.b64encode(bytes(32)).decode()
CARD = "shelf:NS0000009"
HASH = base64.b64encode(hashlib.sha384(b"document").digest()).decode()


@dataclass
class Agent:
    """The agent without a network."""

    app: Any
    shelf: CardShelf
    folder: Path
    token: str = ""

    def send(self, method: str, path: str, *, base: str = ORIGIN, **options: Any) -> httpx.Response:
        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **options)

        return run_async(exchange())

    def ask(self, path: str, body: Mapping[str, Any], **headers: str) -> httpx.Response:
        sent = {"Origin": ORIGIN, "X-Agent-Token": self.token, **headers}
        return self.send("POST", f"/api/{path}", json={"origin": SITE, **body}, headers=sent)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        return self.send("POST", path, data={"token": self.token, **fields}, headers={"Origin": ORIGIN, **headers})

    def signing_certificate(self) -> str:
        certificate = eid_card.read_certificate(self.shelf.open("NS0000009"), CardKey.SIGNATURE)
        return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


@pytest.fixture(scope="module")
def personalised(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    shelf = CardShelf(tmp_path_factory.mktemp("factory"), SeededEntropy(b"agent"))
    personalise(shelf.new_blank("NS0000009"), new_ca())
    shelf.close()
    return (shelf.folder / "NS0000009.chip").read_bytes()


@pytest.fixture
def agent(tmp_path: Path, clock: ManualClock, personalised: bytes) -> Iterator[Agent]:
    entropy = SeededEntropy(b"agent")
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "NS0000009.chip").write_bytes(personalised)
    shelf = CardShelf(cards, entropy)
    app = build_agent(shelf, clock, entropy, AgentSettings(folder=tmp_path, pcsc=False))
    made = Agent(app, shelf, tmp_path)
    found = re.search(r'name="agent-token" content="([0-9a-f]{64})"', made.send("GET", "/popup").text)
    assert found
    made.token = found.group(1)
    yield made
    shelf.close()


@pytest.fixture
def allowed(agent: Agent) -> Agent:
    assert agent.ask("allow", {}).status_code == 200
    return agent


@pytest.mark.parametrize("host", ["http://bank.example:8802", "http://localhost:8802", "http://127.0.0.1:8803"])
def test_other_hosts_are_misdirected(agent: Agent, host: str) -> None:
    assert agent.send("GET", "/", base=host).status_code == 421


@pytest.mark.parametrize("path", ["/", "/popup", f"/card?id={CARD}", "/static/popup.js", "/nowhere"])
def test_every_answer_forbids_framing_and_foreign_scripts_and_keeps_the_opener(agent: Agent, path: str) -> None:
    answer = agent.send("GET", path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "cross-origin-opener-policy" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


def test_pages_have_no_inline_script_or_style(agent: Agent) -> None:
    for path in ("/", "/popup", f"/card?id={CARD}"):
        page = agent.send("GET", path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page), path


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://bank.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8802"},
        {"X-Agent-Token": ""},
        {"X-Agent-Token": "0" * 64},
        {"X-Agent-Token": "é"},
    ],
)
@pytest.mark.parametrize("path", ["begin", "allow", "cards", "authenticate", "get-signing-certificate", "sign"])
def test_interface_answers_only_its_own_page(allowed: Agent, path: str, headers: dict[str, str]) -> None:
    encoded = {name: value.encode() for name, value in headers.items()}
    body = {"card": CARD, "pin": PIN1, "challengeNonce": NONCE}
    answer = allowed.ask(path, body, **encoded)  # type: ignore[arg-type]
    assert answer.status_code == 403
    assert answer.json()["code"] == "agent.session"


def test_new_site_gets_nothing_before_the_person_allows_it(agent: Agent) -> None:
    assert agent.ask("begin", {}).json() == {"known": False}
    for path in ("cards", "authenticate", "get-signing-certificate", "sign"):
        answer = agent.ask(path, {"card": CARD, "pin": PIN1, "challengeNonce": NONCE})
        assert answer.json()["code"] == "agent.origin_not_allowed"
    agent.ask("allow", {})
    assert agent.ask("begin", {}).json() == {"known": True}


def test_plain_http_site_cannot_even_be_allowed(agent: Agent) -> None:
    for path in ("begin", "allow"):
        assert agent.ask(path, {"origin": "http://bank.example"}).json()["code"] == "agent.insecure_origin"


def test_token_is_signed_for_the_origin_and_the_nonce(allowed: Agent) -> None:
    answer = allowed.ask("authenticate", {"card": CARD, "pin": PIN1, "challengeNonce": NONCE})
    token = answer.json()
    assert (token["format"], token["algorithm"]) == ("web-eid:1.0", "ES384")
    certificate = x509.load_der_x509_certificate(base64.b64decode(token["unverifiedCertificate"]))
    both = hashlib.sha384(SITE.encode()).digest() + hashlib.sha384(NONCE.encode()).digest()
    _verify(certificate, base64.b64decode(token["signature"]), hashlib.sha384(both).digest())


def _verify(certificate: x509.Certificate, raw: bytes, digest: bytes) -> None:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    value = encode_dss_signature(int.from_bytes(raw[:48]), int.from_bytes(raw[48:]))
    key.verify(value, digest, ec.ECDSA(Prehashed(hashes.SHA384())))


def test_signature_is_over_the_given_hash_and_takes_pin2_each_time(allowed: Agent) -> None:
    certificate = allowed.ask("get-signing-certificate", {"card": CARD}).json()["certificate"]
    assert certificate == allowed.signing_certificate()
    body = {"card": CARD, "pin": PIN2, "certificate": certificate, "hash": HASH, "hashFunction": "SHA-384"}
    answer = allowed.ask("sign", body).json()
    loaded = x509.load_der_x509_certificate(base64.b64decode(certificate))
    _verify(loaded, base64.b64decode(answer["signature"]), base64.b64decode(HASH))
    assert allowed.ask("sign", {**body, "pin": ""}).json()["code"] == "card.pin.format"


def test_wrong_pin_says_how_many_tries_are_left_and_then_how_to_unblock(allowed: Agent) -> None:
    body = {"card": CARD, "pin": "9999", "challengeNonce": NONCE}
    first = allowed.ask("authenticate", body, **{"Accept-Language": "et"})
    assert first.status_code == 403
    assert first.json() == {
        "code": "card.pin.wrong",
        "message": "Vale PIN1. Katseid jäänud: 2.",
        "field": "pin",
        "blocked": False,
    }
    allowed.ask("authenticate", body)
    assert allowed.ask("authenticate", body).json()["blocked"] is True
    assert allowed.ask("authenticate", {**body, "pin": PIN1}).json()["code"] == "card.pin.blocked"


def test_pin_shown_to_one_request_does_not_serve_the_next(allowed: Agent) -> None:
    allowed.ask("authenticate", {"card": CARD, "pin": PIN1, "challengeNonce": NONCE})
    answer = allowed.ask("authenticate", {"card": CARD, "pin": "0000", "challengeNonce": NONCE})
    assert answer.json()["code"] == "card.pin.wrong"


def test_hash_for_another_cards_certificate_is_not_signed(allowed: Agent) -> None:
    other = base64.b64encode(new_ca().certificate.public_bytes(Encoding.DER)).decode()
    body = {"card": CARD, "pin": PIN2, "certificate": other, "hash": HASH, "hashFunction": "SHA-384"}
    answer = allowed.ask("sign", body).json()
    assert (answer["code"], answer["field"]) == ("agent.other_card", "card")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("authenticate", {"challengeNonce": "short"}, "agent.nonce"),
        ("authenticate", {"challengeNonce": "x" * 129}, "agent.nonce"),
        ("authenticate", {"challengeNonce": "x" * 43 + "\n"}, "agent.nonce"),
        ("authenticate", {"challengeNonce": 7}, "agent.nonce"),
        ("authenticate", {"challengeNonce": NONCE, "card": "shelf:../NS0000009"}, "card.unknown"),
        ("authenticate", {"challengeNonce": NONCE, "card": "reader:none"}, "card.unknown"),
        ("authenticate", {"challengeNonce": NONCE, "card": 7}, "agent.request"),
        ("authenticate", {"challengeNonce": NONCE, "pin": "12a4"}, "card.pin.format"),
        ("sign", {"hashFunction": "MD5", "hash": HASH}, "agent.hash"),
        ("sign", {"hashFunction": "SHA-256", "hash": HASH}, "agent.hash"),
        ("sign", {"hashFunction": "SHA-384", "hash": "***"}, "agent.hash"),
        ("sign", {"hashFunction": "SHA-384", "hash": HASH, "certificate": "***"}, "agent.certificate"),
    ],
)
def test_malformed_requests_are_named_and_cost_no_try(
    allowed: Agent, path: str, body: dict[str, Any], code: str
) -> None:
    answer = allowed.ask(path, {"card": CARD, "pin": "99999", **body})
    assert answer.json()["code"] == code
    counters = eid_card.read_retry_counters(allowed.shelf.open("NS0000009"))
    assert (counters.pin1, counters.pin2) == (3, 3)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 20_000])
def test_bytes_that_are_no_request_get_an_answer(agent: Agent, content: bytes) -> None:
    headers = {"Origin": ORIGIN, "X-Agent-Token": agent.token, "Content-Type": "application/json"}
    answer = agent.send("POST", "/api/begin", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] == "agent.request"


def test_oversized_request_is_refused(agent: Agent) -> None:
    headers = {"Origin": ORIGIN, "X-Agent-Token": agent.token, "Content-Type": "application/json"}
    answer = agent.send("POST", "/api/begin", content=b'"' + b"x" * 100_000 + b'"', headers=headers)
    assert answer.status_code == 413


def test_cards_are_listed_with_holder_and_number_only(allowed: Agent) -> None:
    (card,) = allowed.ask("cards", {}).json()["cards"]
    assert card == {
        "id": CARD,
        "holder": "JAAK-KRISTJAN JÕEORG",
        "where": "virtual card NS0000009",
        "inserted": False,
    }


def test_pin_is_changed_and_unblocked_in_the_cards_own_page(agent: Agent) -> None:
    path = f"/card/pin?id={CARD}"
    changed = agent.post(path, {"which": "pin1", "old": PIN1, "new": "4321", "again": "4321"})
    assert changed.status_code == 200
    assert "PIN1 is changed." in changed.text
    card = agent.shelf.open("NS0000009")
    eid_card.change_pin(card, CardPin.PIN1, old="4321", new=PIN1)
    unblocked = agent.post(f"/card/unblock?id={CARD}", {"which": "pin2", "old": PUK, "new": "54321", "again": "54321"})
    assert "PIN2 is unblocked and has its new value." in unblocked.text
    eid_card.change_pin(card, CardPin.PIN2, old="54321", new=PIN2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"old": "9999", "new": "4321", "again": "4321"}, "Wrong PIN1. Tries left: 2."),
        ({"old": PIN1, "new": "4321", "again": "4322"}, "The two new values differ."),
        ({"old": PIN1, "new": PIN1, "again": PIN1}, "The new value must differ from the old one."),
        ({"old": PIN1, "new": "12", "again": "12"}, "PIN1 has 4 to 12 digits."),
    ],
)
def test_mistakes_in_the_form_stand_beside_the_field_and_echo_no_pin(
    agent: Agent, fields: dict[str, str], message: str
) -> None:
    answer = agent.post(f"/card/pin?id={CARD}", {"which": "pin1", **fields})
    assert answer.status_code == 422
    assert answer.text.count(message) == 2  # in the summary and at the field
    assert 'aria-invalid="true"' in answer.text
    assert not re.search(r'type="password"[^>]*\bvalue=', answer.text)


def test_forms_without_the_token_or_from_elsewhere_change_nothing(agent: Agent) -> None:
    fields = {"which": "pin1", "old": PIN1, "new": "4321", "again": "4321"}
    assert agent.post(f"/card/pin?id={CARD}", {**fields, "token": "0" * 64}).status_code == 403
    assert agent.post(f"/card/pin?id={CARD}", fields, Origin="https://bank.example").status_code == 403
    eid_card.change_pin(agent.shelf.open("NS0000009"), CardPin.PIN1, old=PIN1, new="1111")


def test_unknown_card_and_page_are_problem_pages(agent: Agent) -> None:
    missing = agent.send("GET", "/card?id=shelf:NS7777777&lang=et")
    assert missing.status_code == 404
    assert "Seda kaarti enam ei ole" in missing.text
    assert agent.send("GET", "/nowhere").status_code == 404
    assert agent.send("GET", "/static/..%2fapp.py").status_code == 404


def test_names_from_a_card_are_text_and_never_markup(agent: Agent) -> None:
    hostile = replace(DOCUMENT, surname="<script>alert(1)</script>", document_number="NS0000010")
    personalise(agent.shelf.new_blank("NS0000010"), new_ca(), document=hostile)
    page = agent.send("GET", "/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_token_of_the_installation_is_private_and_stays(agent: Agent, clock: ManualClock) -> None:
    file = agent.folder / "secrets" / "agent-token"
    assert file.stat().st_mode & 0o777 == 0o600
    again = build_agent(agent.shelf, clock, SeededEntropy(b"other"), AgentSettings(folder=agent.folder, pcsc=False))
    assert agent.token in Agent(again, agent.shelf, agent.folder).send("GET", "/popup").text


def test_nothing_secret_is_logged(allowed: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    allowed.ask("authenticate", {"card": CARD, "pin": "9876543", "challengeNonce": NONCE})
    allowed.post(f"/card/pin?id={CARD}", {"which": "pin1", "old": "7654321", "new": "2345678", "again": "2345678"})
    shown = "".join(capsys.readouterr())
    assert "card.pin.wrong" in shown
    for secret in ("9876543", "7654321", "2345678", allowed.token, "38001085718"):
        assert secret not in shown
    assert json.loads(allowed.send("GET", "/health").text) == {"status": "ok"}
