"""Signing in and signing on a site, over its own pages, with real tokens, OCSP and time stamps."""

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.asic import DataFile
from digiid.formats.validation import validate_container
from digiid.formats.xades import choose_method, sign_digest
from digiid.kernel.errors import NotFound
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.documents import TrustServices
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, OcspClient, TsaClient
from digiid.platform.web.sessions import Session
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.sign_ins import list_sign_ins, record_sign_in
from digiid.platform.web.signing import (
    PENDING_LIFETIME,
    CardSigning,
    PendingSignatures,
    SignedContainer,
    ToSign,
    signing_handlers,
)
from tests.support.page_client import PageClient
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    NATURAL_QSCD,
    Identity,
    Pki,
    distinguished_name,
    make_certificate,
    new_key,
    person,
    shared_pki,
)
from tests.support.reference_site import METADATA, PENDING, SIGN_INS, Reference, build_reference_site
from tests.support.trust_server import TrustServer, running_trust_server
from tests.unit.formats.test_webeid import FOR_SIGNING_IN, make_token

ORIGIN = "http://reference.localhost:8899"
CODE = "60001019906"
SUBJECT = person("O’CONNEŽ-ŠUSLIK", CODE)


@dataclass
class Stage:
    """One site, its trust services, one card, and what the institution was told."""

    reference: Reference
    visitor: PageClient
    trust: TrustServer
    clock: ManualClock
    database: Database
    authentication: Identity
    signature: Identity
    anomalies: list[AnomalousCard] = field(default_factory=list)
    signed: list[tuple[str, SignedContainer]] = field(default_factory=list)

    def sign_in(self, identity: Identity | None = None, **token: Any) -> Any:
        self.visitor.get("/sign-in")
        nonce = self.visitor.post_json("/sign-in/challenge", {}).json()["nonce"]
        made = make_token(identity or self.authentication, **{"origin": ORIGIN, "nonce": nonce, **token})
        return self.visitor.post_json("/sign-in/token", {"token": made, "next": "/own"})

    def offer_certificate(self, identity: Identity | None = None, reference: str = "letter") -> Any:
        self.visitor.get("/sign-page")
        certificate = base64.b64encode((identity or self.signature).der).decode()
        return self.visitor.post_json("/signing/certificate", {"reference": reference, "certificate": certificate})

    def give_signature(self, prepared: dict[str, str], identity: Identity | None = None) -> Any:
        identity = identity or self.signature
        digest = base64.b64decode(prepared["hash"])
        value = sign_digest(choose_method(identity.certificate.public_key()), identity.key, digest)
        content = {"id": prepared["id"], "signature": base64.b64encode(value).decode()}
        return self.visitor.post_json("/signing/signature", content)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    clock, entropy = ManualClock(AT), SystemEntropy()
    database = Database.sqlite(tmp_path / "reference.sqlite")
    with database.write() as tx:
        METADATA.create_all(tx)
    http = HttpClient(timeout_seconds=10)
    with running_trust_server(shared_pki(), clock) as server:
        pki: Pki = replace(shared_pki(), aia_base=server.base)
        ocsp = OcspClient(http, entropy, clock, hosts=AllowedHosts.of_urls(server.base))
        tsa = TsaClient(http, entropy, clock, address=f"{server.base}/tsa")
        told: dict[str, list[Any]] = {"anomalies": [], "signed": []}

        def on_signed_in(person: SignedInPerson) -> dict[str, str]:
            with database.write() as tx:
                record_sign_in(tx, SIGN_INS, person, site="reference")
            return {}

        def get_to_sign(session: Session, reference: str) -> ToSign:
            if reference != "letter":
                raise NotFound("reference.no_letter", reference, public="There is no such letter.")
            return ToSign(files=[DataFile("letter.txt", "text/plain", f"From {session.subject}".encode())])

        def on_signed(_session: Session, reference: str, container: SignedContainer) -> str:
            told["signed"].append((reference, container))
            return "/table"

        reference = build_reference_site(
            database,
            clock,
            entropy,
            origin=ORIGIN,
            more_handlers=lambda _site: [
                *sign_in_handlers(CardSignIn([pki.ca.certificate], ocsp, on_signed_in, told["anomalies"].append)),
                *signing_handlers(
                    CardSigning(
                        PendingSignatures(database, PENDING, clock, entropy),
                        [pki.ca.certificate],
                        TrustServices(tsa, ocsp, pki.trust, clock),
                        get_to_sign,
                        on_signed,
                    )
                ),
            ],
        )
        authentication = pki.issue(SUBJECT, extensions=FOR_SIGNING_IN)
        signature = pki.issue(SUBJECT, extensions=NATURAL_QSCD)
        for identity in (authentication, signature):
            server.knows(identity.certificate)
        with PageClient(reference.app, ORIGIN) as visitor:
            yield Stage(
                reference,
                visitor,
                server,
                clock,
                database,
                authentication,
                signature,
                told["anomalies"],
                told["signed"],
            )
        reference.pools.close()
    http.close()
    database.close()


# ------------------------------------------------------------------ signing in


def test_a_holder_signs_in_and_sees_the_sign_in(stage: Stage) -> None:
    answer = stage.sign_in()
    assert (answer.status_code, answer.json()) == (200, {"next": "/own"})
    page = stage.visitor.get("/own").text
    assert CODE in page
    assert "MARY ÄNN" in page
    with stage.database.read() as tx:
        (seen,) = list_sign_ins(tx, SIGN_INS, CODE)
    assert (seen.site, seen.policy, seen.signed_in_at) == ("reference", "e_resident", AT)
    assert stage.anomalies == []


def test_the_session_has_a_new_identifier_after_signing_in(stage: Stage) -> None:
    stage.visitor.get("/sign-in")
    stage.visitor.post_json("/sign-in/challenge", {})
    before = stage.visitor.cookies["digiid_session"]
    stage.sign_in()
    assert stage.visitor.cookies["digiid_session"] != before
    assert stage.reference.sessions.find(before) is None


def test_a_token_is_good_once(stage: Stage) -> None:
    stage.visitor.get("/sign-in")
    nonce = stage.visitor.post_json("/sign-in/challenge", {}).json()["nonce"]
    token = make_token(stage.authentication, origin=ORIGIN, nonce=nonce)
    assert stage.visitor.post_json("/sign-in/token", {"token": token}).status_code == 200
    stage.visitor.get("/own")
    again = stage.visitor.post_json("/sign-in/token", {"token": token})
    assert (again.status_code, again.json()["code"]) == (403, "sign_in.nonce")


def test_a_nonce_of_another_session_is_worth_nothing(stage: Stage) -> None:
    with PageClient(stage.reference.app, ORIGIN) as other:
        other.get("/sign-in")
        nonce = other.post_json("/sign-in/challenge", {}).json()["nonce"]
    answer = stage.sign_in(nonce=nonce)
    assert (answer.status_code, answer.json()["code"]) == (403, "webeid.signature")


def test_a_nonce_is_too_old_after_five_minutes(stage: Stage) -> None:
    stage.visitor.get("/sign-in")
    nonce = stage.visitor.post_json("/sign-in/challenge", {}).json()["nonce"]
    stage.clock.advance(timedelta(minutes=5, seconds=1))
    token = make_token(stage.authentication, origin=ORIGIN, nonce=nonce)
    assert stage.visitor.post_json("/sign-in/token", {"token": token}).json()["code"] == "sign_in.nonce"


def test_without_a_challenge_nobody_gets_in(stage: Stage) -> None:
    stage.visitor.get("/sign-in")
    token = make_token(stage.authentication, origin=ORIGIN)
    assert stage.visitor.post_json("/sign-in/token", {"token": token}).json()["code"] == "sign_in.nonce"


@pytest.mark.parametrize(
    ("status", "reason", "code", "words", "anomaly"),
    [
        ("revoked", "certificate_hold", "sign_in.card_suspended", "suspended", "suspended_used"),
        ("revoked", "key_compromise", "sign_in.card_revoked", "annulled for good", "revoked_used"),
        ("revoked", None, "sign_in.card_revoked", "annulled for good", "revoked_used"),
        ("unknown", None, "sign_in.card_unknown", "does not know this card", None),
    ],
)
def test_a_card_that_is_not_good_is_refused_with_the_reason(
    stage: Stage, status: str, reason: str | None, code: str, words: str, anomaly: str | None
) -> None:
    stage.trust.status, stage.trust.reason = status, reason
    answer = stage.sign_in()
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert words in answer.json()["detail"]
    assert [card.kind for card in stage.anomalies] == ([anomaly] if anomaly else [])
    assert stage.visitor.get("/own").status_code == 303


def test_a_silent_responder_lets_nobody_in(stage: Stage) -> None:
    stage.trust.change = lambda _path, _body: (500, b"")
    assert stage.sign_in().status_code == 503
    assert stage.visitor.get("/own").status_code == 303


def test_a_counterfeit_and_a_foreign_card_are_told_to_the_institution(stage: Stage) -> None:
    ours = shared_pki().ca
    pretender = make_certificate(ours.certificate.subject, new_key(), None, CA_EXTENSIONS)
    stranger = make_certificate(distinguished_name("Stranger CA"), new_key(), None, CA_EXTENSIONS)
    for issuer, code, kind in (
        (pretender, "webeid.certificate_counterfeit", "counterfeit"),
        (stranger, "webeid.certificate_foreign", "foreign"),
    ):
        card = make_certificate(SUBJECT, new_key(), issuer, FOR_SIGNING_IN)
        answer = stage.sign_in(card)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert stage.anomalies[-1].kind == kind
        assert stage.anomalies[-1].certificate_sha256 == hashlib.sha256(card.der).hexdigest()


def test_refusals_are_told_in_the_visitors_language(stage: Stage) -> None:
    stage.trust.status, stage.trust.reason = "revoked", "certificate_hold"
    with PageClient(stage.reference.app, ORIGIN, language="et") as visitor:
        stage.visitor = visitor
        assert "kehtivus on peatatud" in stage.sign_in().json()["detail"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token":5}', b'{"token":"x"}', b"[" * 9000, b"\xff" * 300])
def test_a_body_that_is_no_token_gets_a_clear_answer(stage: Stage, body: bytes) -> None:
    stage.visitor.get("/sign-in")
    stage.visitor.post_json("/sign-in/challenge", {})
    headers = {"Origin": ORIGIN, "Accept": "application/json", "X-CSRF-Token": stage.visitor._token}
    answer = stage.visitor.request("POST", "/sign-in/token", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] == "webeid.token"


def test_a_flood_of_challenges_is_slowed_down(stage: Stage) -> None:
    stage.visitor.get("/sign-in")
    answers = [stage.visitor.post_json("/sign-in/challenge", {}) for _ in range(301)]
    assert {answer.status_code for answer in answers[:300]} == {200}
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_without_script_the_pages_say_what_they_need(stage: Stage) -> None:
    without_script = stage.visitor.get("/sign-in").text.split("<noscript>")[1].split("</noscript>")[0]
    assert "Signing in with a card needs JavaScript." in without_script
    stage.sign_in()
    without_script = stage.visitor.get("/sign-page").text.split("<noscript>")[1].split("</noscript>")[0]
    assert "sign with the program digiid on your computer" in without_script


def test_after_signing_in_nobody_is_led_to_another_site(stage: Stage) -> None:
    stage.visitor.get("/sign-in?next=//evil.example")
    nonce = stage.visitor.post_json("/sign-in/challenge", {}).json()["nonce"]
    token = make_token(stage.authentication, origin=ORIGIN, nonce=nonce)
    answer = stage.visitor.post_json("/sign-in/token", {"token": token, "next": "//evil.example"})
    assert answer.json() == {"next": "/"}


# ------------------------------------------------------------------ signing


def test_a_holder_signs_and_the_validator_agrees(stage: Stage) -> None:
    stage.sign_in()
    prepared = stage.offer_certificate()
    assert prepared.status_code == 200, prepared.text
    assert prepared.json()["hashFunction"] == "SHA-384"
    answer = stage.give_signature(prepared.json())
    assert (answer.status_code, answer.json()) == (200, {"next": "/table"}), answer.text
    ((reference, signed),) = stage.signed
    assert (reference, signed.personal_code) == ("letter", CODE)
    report = validate_container(io.BytesIO(signed.content), trust=shared_pki().trust(), at=AT + timedelta(minutes=1))
    assert report.is_valid
    assert [signature.signed_by for signature in report.signatures] == [f"O’CONNEŽ-ŠUSLIK,MARY ÄNN,{CODE}"]


def test_nobody_signs_without_being_signed_in(stage: Stage) -> None:
    stage.visitor.get("/sign-in")
    assert stage.offer_certificate().status_code == 401


def test_a_signature_is_taken_once(stage: Stage) -> None:
    stage.sign_in()
    prepared = stage.offer_certificate().json()
    assert stage.give_signature(prepared).status_code == 200
    again = stage.give_signature(prepared)
    assert (again.status_code, again.json()["code"]) == (409, "signing.not_pending")
    assert len(stage.signed) == 1


def test_what_waits_belongs_to_its_session(stage: Stage) -> None:
    stage.sign_in()
    prepared = stage.offer_certificate().json()
    own = stage.visitor
    with PageClient(stage.reference.app, ORIGIN) as other:
        stage.visitor = other
        stage.sign_in()
        other.get("/sign-page")
        assert stage.give_signature(prepared).json()["code"] == "signing.not_pending"
    stage.visitor = own
    assert stage.give_signature(prepared).status_code == 200


def test_what_waits_too_long_is_forgotten(stage: Stage) -> None:
    stage.sign_in()
    prepared = stage.offer_certificate().json()
    stage.clock.advance(PENDING_LIFETIME + timedelta(seconds=1))
    assert stage.give_signature(prepared).json()["code"] == "signing.not_pending"


def test_another_persons_card_does_not_sign(stage: Stage) -> None:
    stage.sign_in()
    other = shared_pki().issue(person("TEINE", "38001085718"), extensions=NATURAL_QSCD)
    answer = stage.offer_certificate(other)
    assert (answer.status_code, answer.json()["code"]) == (403, "signing.other_person")


def test_the_certificate_for_signing_in_does_not_sign(stage: Stage) -> None:
    stage.sign_in()
    answer = stage.offer_certificate(stage.authentication)
    assert (answer.status_code, answer.json()["code"]) == (403, "documents.certificate.usage")


def test_a_value_of_another_key_is_refused_and_nothing_is_kept(stage: Stage) -> None:
    stage.sign_in()
    prepared = stage.offer_certificate().json()
    thief = Identity(stage.signature.certificate, ec.generate_private_key(ec.SECP384R1()))
    answer = stage.give_signature(prepared, thief)
    assert answer.status_code == 403
    assert stage.signed == []


def test_a_suspended_card_signs_nothing_and_says_so(stage: Stage) -> None:
    stage.sign_in()
    prepared = stage.offer_certificate().json()
    stage.trust.status, stage.trust.reason = "revoked", "certificate_hold"
    answer = stage.give_signature(prepared)
    assert (answer.status_code, answer.json()["code"]) == (403, "documents.certificate.suspended")
    assert "suspended" in answer.json()["detail"]
    assert stage.signed == []


def test_nobody_types_a_pin_for_a_card_that_is_suspended_or_revoked(stage: Stage) -> None:
    stage.sign_in()
    for reason, code, words in (
        ("certificate_hold", "documents.certificate.suspended", "suspended"),
        ("key_compromise", "documents.certificate.revoked", "revoked"),
    ):
        stage.clock.advance(timedelta(seconds=10))  # so long an answer is remembered
        stage.trust.status, stage.trust.reason = "revoked", reason
        answer = stage.offer_certificate()
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert words in answer.json()["detail"]


def test_a_silent_responder_keeps_nobody_from_preparing(stage: Stage) -> None:
    stage.sign_in()
    stage.trust.change = lambda _path, _body: (503, b"")
    prepared = stage.offer_certificate()
    assert prepared.status_code == 200
    stage.trust.change = lambda _path, body: (200, body)
    assert stage.give_signature(prepared.json()).status_code == 200


def test_what_is_not_theirs_cannot_be_signed(stage: Stage) -> None:
    stage.sign_in()
    assert stage.offer_certificate(reference="somebody else's").status_code == 404


@pytest.mark.parametrize("path", ["/signing/certificate", "/signing/signature"])
@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        "x",
        {"reference": 1, "certificate": 2},
        {"id": "x", "signature": "!"},
        {"reference": "letter", "certificate": "AAAA"},
        {"reference": "x" * 200, "certificate": "AAAA"},
        {"reference": "letter", "certificate": "A" * 20_000},
        {"reference": "letter", "certificate": "A" * 60_000},
    ],
    ids=lambda content: str(content)[:40],
)
def test_a_step_that_is_malformed_gets_a_clear_answer(stage: Stage, path: str, content: object) -> None:
    stage.sign_in()
    stage.visitor.get("/sign-page")
    assert stage.visitor.post_json(path, content).status_code == 400
