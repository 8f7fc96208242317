"""OCSP responder, time-stamping authority, trusted list, hierarchy and the programs' address."""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digiid.formats import ocsp, trusted_list, tsp
from digiid.formats.ocsp import CertStatus
from digiid.formats.x509.crl import verify_crl
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import SLUGS, CertificateKind, HierarchyNames
from digiid.institutions.trust_services.app import build
from digiid.institutions.trust_services.ca import use_cases
from digiid.institutions.trust_services.hierarchy import (
    Hierarchy,
    create_hierarchy,
    load_hierarchy,
    renew_responder,
)
from digiid.institutions.trust_services.ocsp.responder import Responder
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.institutions.trust_services.status import StatusBoard, _Watch
from digiid.institutions.trust_services.trusted_list import use_cases as lists
from digiid.institutions.trust_services.tsa import store as tsa_store
from digiid.institutions.trust_services.tsa.authority import Authority
from digiid.kernel.errors import Broken, Conflict, Malformed, Refused
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Surroundings
from digiid.platform.pools import Pools
from tests.support.loops import run_async
from tests.unit.formats.fuzz import damaged
from tests.unit.formats.x509.hierarchy import HONEST_NAMES
from tests.unit.institutions.trust_services.ca_setup import (
    CA_PACKAGE,
    LIST_PACKAGE,
    TSA_PACKAGE,
    ca_over,
    order_for,
    shared_hierarchy,
)

NONCE = bytes(range(32))
OCSP_REQUEST = b"application/ocsp-request"
TSA_REQUEST = b"application/timestamp-query"


@dataclass
class Answer:
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


def ask(
    app: Any,
    method: str,
    path: str,
    body: bytes | list[bytes] = b"",
    *,
    content_type: bytes = b"",
    query: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Answer:
    """One request straight to an ASGI callable."""
    chunks = [body] if isinstance(body, bytes) else list(body)
    events = [
        {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks)
    ]
    answer = Answer()

    async def receive() -> Mapping[str, Any]:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], dict(message["headers"])
        else:
            answer.body += message["body"]

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"content-type", content_type), *headers],
    }
    run_async(app(scope, receive, send))
    return answer


# ---------------------------------------------------------------------------------------------- OCSP


@dataclass
class Answering:
    ca: use_cases.Deps
    responder: Responder
    certificate: x509.Certificate
    document_number: str

    def request(self, certificate: x509.Certificate | None = None, hash_name: str = "sha1") -> bytes:
        issuer = shared_hierarchy().issuing.certificate
        return ocsp.build_request(
            certificate=certificate or self.certificate, issuer=issuer, nonce=NONCE, hash_name=hash_name
        )

    def verified(self, response: bytes) -> ocsp.VerifiedOcsp:
        issuer = shared_hierarchy().issuing.certificate
        return ocsp.verify_response(response, certificate=self.certificate, issuer=issuer, nonce=NONCE)


@pytest.fixture
def answering(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> Answering:
    clock.advance(timedelta(hours=3))
    db = Database.sqlite(tmp_path / "ca.sqlite")
    db.migrate(CA_PACKAGE)
    pki = shared_hierarchy()
    ca = ca_over(db, clock, entropy)
    responder = Responder(
        board=ca.board,
        clock=clock,
        issuer=pki.issuing.certificate,
        certificate=pki.responder.certificate,
        key=pki.responder.key,
    )
    issued = use_cases.issue_certificates(ca, order_for())
    return Answering(ca, responder, x509.load_der_x509_certificate(issued.signature_der), "NE0000001")


def test_a_suspension_is_visible_in_the_very_next_answer(answering: Answering) -> None:
    ca, number = answering.ca, answering.document_number
    seen = []
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: use_cases.activate_certificates(ca, number, actor="card_bureau"),
        lambda: use_cases.suspend_certificates(ca, number, actor="police_board"),
        lambda: use_cases.resume_certificates(ca, number, actor="police_board"),
        lambda: use_cases.revoke_certificates(ca, number, reason="superseded", actor="police_board"),
    ]
    for step in steps:
        step()
        verified = answering.verified(answering.responder.answer(answering.request()))
        seen.append((verified.status, verified.reason))
    assert seen == [
        (CertStatus.REVOKED, "certificateHold"),
        (CertStatus.GOOD, None),
        (CertStatus.REVOKED, "certificateHold"),
        (CertStatus.GOOD, None),
        (CertStatus.REVOKED, "superseded"),
    ]


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_answers_are_to_the_profile(answering: Answering, clock: ManualClock, hash_name: str) -> None:
    verified = answering.verified(answering.responder.answer(answering.request(hash_name=hash_name)))
    assert verified.produced_at == verified.this_update_at == clock.now()
    assert verified.next_update_at is None
    assert verified.archive_cutoff_at == shared_hierarchy().issuing.certificate.not_valid_before_utc


def test_what_was_never_issued_is_unknown(answering: Answering) -> None:
    stranger = shared_hierarchy().signature.certificate  # made by the same CA's key, but never by this CA
    response = answering.responder.answer(answering.request(stranger))
    issuer = shared_hierarchy().issuing.certificate
    assert ocsp.verify_response(response, certificate=stranger, issuer=issuer).status is CertStatus.UNKNOWN


def test_what_another_process_issued_a_moment_ago_is_not_called_unknown(
    tmp_path: Path, clock: ManualClock, entropy: SeededEntropy, answering: Answering
) -> None:
    elsewhere = ca_over(Database(answering.ca.db.url), clock, entropy)  # a board of its own
    issued = use_cases.issue_certificates(elsewhere, order_for(2))
    certificate = x509.load_der_x509_certificate(issued.signature_der)

    async def asked_before_the_look() -> bytes:
        sent: list[Mapping[str, Any]] = []

        async def receive() -> Mapping[str, Any]:
            return {"type": "http.request", "body": answering.request(certificate), "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/ocsp-request")]
        scope = {"type": "http", "method": "POST", "path": "/ocsp", "headers": headers}
        question = asyncio.ensure_future(answering.responder(scope, receive, send))
        await asyncio.sleep(0.05)
        assert not question.done()
        answering.ca.board.refresh()
        await question
        return bytes(sent[-1]["body"])

    response = run_async(asked_before_the_look())
    issuer = shared_hierarchy().issuing.certificate
    assert ocsp.verify_response(response, certificate=certificate, issuer=issuer).reason == "certificateHold"


def test_a_serial_that_is_only_recorded_is_unknown(answering: Answering) -> None:
    assert answering.ca.board.find(answering.certificate.serial_number + 1) is None


def test_another_issuers_certificate_is_unauthorized(answering: Answering) -> None:
    pki = shared_hierarchy()
    request = ocsp.build_request(certificate=pki.tsu.certificate, issuer=pki.tsa_ca.certificate, nonce=None)
    with pytest.raises(Refused, match="unauthorized"):
        answering.verified(answering.responder.answer(request))


def test_the_same_name_with_another_key_is_unauthorized(answering: Answering) -> None:
    request = ocsp.parse_request(answering.request())
    changed = answering.request().replace(request.issuer_key_hash, bytes(20))
    with pytest.raises(Refused, match="unauthorized"):
        answering.verified(answering.responder.answer(changed))


def test_what_cannot_be_read_is_a_malformed_request(answering: Answering) -> None:
    with pytest.raises(Refused, match="malformed_request"):
        answering.verified(answering.responder.answer(b"\x30\x00"))


def test_a_board_that_has_not_been_looked_at_says_try_later(
    tmp_path: Path, clock: ManualClock, answering: Answering
) -> None:
    seconds = [100.0]
    board = StatusBoard(answering.ca.db, monotonic=lambda: seconds[0])
    pki = shared_hierarchy()
    responder = Responder(
        board=board,
        clock=clock,
        issuer=pki.issuing.certificate,
        certificate=pki.responder.certificate,
        key=pki.responder.key,
    )
    with pytest.raises(Refused, match="try_later"):
        answering.verified(responder.answer(answering.request()))
    board.refresh()
    assert answering.verified(responder.answer(answering.request())).status is CertStatus.REVOKED
    seconds[0] += 11
    with pytest.raises(Refused, match="try_later"):
        answering.verified(responder.answer(answering.request()))
    board.seen(seconds[0])
    assert answering.verified(responder.answer(answering.request())).status is CertStatus.REVOKED


def test_an_expired_responder_does_not_answer(answering: Answering, clock: ManualClock) -> None:
    clock.advance(timedelta(days=400))
    with pytest.raises(Refused, match="try_later"):
        answering.verified(answering.responder.answer(answering.request()))


def test_a_failing_key_gives_internal_error(answering: Answering) -> None:
    answering.responder._builder._key = None  # type: ignore[assignment]  # a token that went away
    with pytest.raises(Refused, match="internal_error"):
        answering.verified(answering.responder.answer(answering.request()))


def test_ocsp_by_post_and_by_get(answering: Answering) -> None:
    request = answering.request()
    posted = ask(answering.responder, "POST", "/ocsp", [request[:10], request[10:]], content_type=OCSP_REQUEST)
    assert posted.status == 200
    assert posted.headers[b"content-type"] == b"application/ocsp-response"
    assert posted.headers[b"content-length"] == str(len(posted.body)).encode()
    assert posted.headers[b"cache-control"] == b"no-store"
    assert answering.verified(posted.body).status is CertStatus.REVOKED
    text = base64.b64encode(request).decode()
    for path in (f"/ocsp/{quote(text, safe='')}", f"/ocsp/{text}"):
        assert answering.verified(ask(answering.responder, "GET", path).body).status is CertStatus.REVOKED


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status"),
    [
        ("POST", "/ocsp", bytes(5000), OCSP_REQUEST, 413),
        ("POST", "/ocsp", b"", b"text/plain", 415),
        ("PUT", "/ocsp", b"", OCSP_REQUEST, 405),
        ("DELETE", "/ocsp", b"", OCSP_REQUEST, 405),
    ],
)
def test_http_limits_of_ocsp(
    answering: Answering, method: str, path: str, body: bytes, content_type: bytes, status: int
) -> None:
    assert ask(answering.responder, method, path, body, content_type=content_type).status == status


@pytest.mark.parametrize("path", ["/ocsp/", "/ocsp/!!!", "/ocsp/" + "A" * 3000, "/ocsp/%FF%FE", "/ocsp/MAA="])
def test_a_get_that_is_no_request_is_answered_malformed(answering: Answering, path: str) -> None:
    answer = ask(answering.responder, "GET", path)
    assert answer.status == 200
    with pytest.raises(Refused, match="malformed_request"):
        answering.verified(answer.body)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_questions_always_get_an_answer(answering: Answering, data: st.DataObject) -> None:
    request = data.draw(damaged(answering.request()))
    assert answering.responder.answer(request).startswith(b"\x30")


# ---------------------------------------------------------------------------------------------- TSA


IMPRINT = hashlib.sha256(b"stamped").digest()
SHA256_OID = bytes.fromhex("0609608648016503040201")


def request_stamp(nonce: int = 7) -> bytes:
    return tsp.build_request(imprint=IMPRINT, hash_name="sha256", nonce=nonce)


def authority_over(db: Database, clock: ManualClock) -> Authority:
    pki = shared_hierarchy()
    authority = Authority(db=db, clock=clock, certificate=pki.tsu.certificate, key=pki.tsu.key)
    authority.start()
    return authority


def stamp(authority: Authority, nonce: int = 7) -> tsp.VerifiedTimeStamp:
    answer = ask(authority, "POST", "/tsa", request_stamp(nonce), content_type=TSA_REQUEST)
    assert (answer.status, answer.headers[b"content-type"]) == (200, b"application/timestamp-reply")
    return tsp.verify_token(tsp.parse_response(answer.body), imprint=IMPRINT, hash_name="sha256", nonce=nonce)


@pytest.fixture
def tsa_database(new_database: Callable[[str], Database], clock: ManualClock) -> Database:
    clock.advance(timedelta(hours=3))
    return new_database(TSA_PACKAGE)


def test_serial_numbers_are_unique_across_restarts_and_every_token_is_recorded(
    tsa_database: Database, clock: ManualClock
) -> None:
    tokens: list[tsp.VerifiedTimeStamp] = []
    for _ in range(3):
        authority = authority_over(tsa_database, clock)
        tokens += [stamp(authority, nonce) for nonce in range(1, 4)]
        authority.stop()
    serials = [token.serial_number for token in tokens]
    assert len(set(serials)) == 9 and all(number.bit_length() <= 64 for number in serials)
    with tsa_database.read() as tx:
        for token in tokens:
            record = tsa_store.find_token(tx, serial_number=token.serial_number)
            assert record is not None
            assert (record.gen_at, record.imprint) == (token.gen_at, IMPRINT)
            assert record.token_sha256 == hashlib.sha256(token.token_der).digest()


def test_many_requests_at_once_share_commits_and_all_are_recorded(tsa_database: Database, clock: ManualClock) -> None:
    authority = authority_over(tsa_database, clock)

    async def many() -> list[bytes]:
        return await asyncio.gather(*(authority.answer(request_stamp(nonce)) for nonce in range(1, 51)))

    replies = run_async(many())
    authority.stop()
    serials = {tsp.verify_token(tsp.parse_response(reply)).serial_number for reply in replies}
    assert len(serials) == 50
    with tsa_database.read() as tx:
        assert tsa_store.count_tokens(tx) == 50


def test_a_clock_that_went_back_gives_no_time(tsa_database: Database, clock: ManualClock) -> None:
    authority = authority_over(tsa_database, clock)
    stamp(authority)
    authority.stop()
    behind = ManualClock(clock.now() - timedelta(hours=1))
    authority = authority_over(tsa_database, behind)
    with pytest.raises(Refused, match="time_not_available"):
        stamp(authority)
    behind.advance(timedelta(hours=2))
    stamp(authority)
    authority.stop()


def test_a_token_whose_record_cannot_be_kept_does_not_leave(tsa_database: Database, clock: ManualClock) -> None:
    authority = authority_over(tsa_database, clock)
    with tsa_database.write() as tx:
        tx.exec_driver_sql("ALTER TABLE token RENAME TO elsewhere")
    with pytest.raises(Refused, match="system_failure"):
        stamp(authority)
    authority.stop()


def test_an_authority_that_is_stopped_rejects(tsa_database: Database, clock: ManualClock) -> None:
    authority = authority_over(tsa_database, clock)
    authority.stop()
    with pytest.raises(Refused, match="system_failure"):
        stamp(authority)


def test_an_expired_unit_rejects(tsa_database: Database, clock: ManualClock) -> None:
    clock.advance(timedelta(days=3000))
    authority = authority_over(tsa_database, clock)
    with pytest.raises(Refused, match="time_not_available"):
        stamp(authority)
    authority.stop()


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b"\x30\x00", "bad_data_format"),
        (
            request_stamp().replace(bytes.fromhex("0609608648016503040201"), bytes.fromhex("06092b0102030405060708")),
            "bad_alg",
        ),
    ],
    ids=["malformed", "unknown hash"],
)
def test_what_is_not_stamped_says_why(tmp_path: Path, clock: ManualClock, body: bytes, failure: str) -> None:
    db = Database.sqlite(tmp_path / "tsa.sqlite")
    db.migrate(TSA_PACKAGE)
    authority = authority_over(db, clock)
    answer = ask(authority, "POST", "/tsa", body, content_type=TSA_REQUEST)
    authority.stop()
    with pytest.raises(Refused, match=failure):
        tsp.parse_response(answer.body)


@pytest.mark.parametrize(
    ("method", "body", "content_type", "status"),
    [("GET", b"", TSA_REQUEST, 405), ("POST", b"", b"text/plain", 415), ("POST", bytes(5000), TSA_REQUEST, 413)],
)
def test_http_limits_of_the_tsa(
    tmp_path: Path, clock: ManualClock, method: str, body: bytes, content_type: bytes, status: int
) -> None:
    db = Database.sqlite(tmp_path / "tsa.sqlite")
    db.migrate(TSA_PACKAGE)
    authority = authority_over(db, clock)
    assert ask(authority, method, "/tsa", body, content_type=content_type).status == status
    authority.stop()


# ---------------------------------------------------------------------------------------------- trusted list


@pytest.fixture
def list_deps(new_database: Callable[[str], Database], clock: ManualClock) -> lists.Deps:
    pki = shared_hierarchy()
    return lists.Deps(
        db=new_database(LIST_PACKAGE),
        clock=clock,
        profile=pki.profile,
        key=pki.tl_signer.key,
        certificate=pki.tl_signer.certificate,
        issuing=pki.issuing.certificate,
        responder=pki.responder.certificate,
        tsu=pki.tsu.certificate,
    )


def test_the_list_names_ca_responder_and_unit_and_says_test(list_deps: lists.Deps) -> None:
    pki = shared_hierarchy()
    published = lists.publish_list(list_deps)
    verified = trusted_list.verify_trusted_list(published.xml, signers=[pki.tl_signer.certificate])
    assert b"TEST" in published.xml and b"TEST LIST" in published.xml
    assert {(one.periods[0].service_type, one.certificates_der[0]) for one in verified.content.services} == {
        (trusted_list.CA_QC, certificate_der(pki.issuing.certificate)),
        (trusted_list.OCSP_QC, certificate_der(pki.responder.certificate)),
        (trusted_list.TSA_QTST, certificate_der(pki.tsu.certificate)),
    }


def test_the_list_is_published_again_in_good_time_and_when_a_service_changes(
    list_deps: lists.Deps, clock: ManualClock
) -> None:
    first = lists.publish_list(list_deps)
    assert lists.publish_list(list_deps) == first
    clock.advance(timedelta(days=61))
    second = lists.publish_list(list_deps)
    assert second.sequence_number == first.sequence_number + 1 and clock.now() < first.next_update_at
    third = lists.publish_list(replace(list_deps, tsu=shared_hierarchy().tsa_ca.certificate))
    assert third.sequence_number == second.sequence_number + 1


# ---------------------------------------------------------------------------------------------- hierarchy


def made(folder: Path, clock: ManualClock, entropy: SeededEntropy, **changes: Any) -> Hierarchy:
    fields: dict[str, Any] = {
        "names": HierarchyNames(),
        "base_url": "http://127.0.0.1:8800",
        "passphrase_path": folder / "secrets" / "passphrase",
        "clock": clock,
        "entropy": entropy,
    }
    return create_hierarchy(folder / "hierarchy", **(fields | changes))


def test_a_hierarchy_is_read_back_as_it_was_made(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    hierarchy = made(tmp_path, clock, entropy)
    again = load_hierarchy(tmp_path / "hierarchy")
    assert again.certificates == hierarchy.certificates and again.profile == hierarchy.profile
    for kind in SLUGS:
        key = again.load_key(kind, tmp_path / "secrets" / "passphrase")
        assert key.public_key() == again.certificate(kind).public_key()
    assert again.issuing.public_key().curve.name == "secp384r1"  # type: ignore[union-attr]


def test_keys_lie_encrypted_and_for_their_owner_only(
    tmp_path: Path, clock: ManualClock, entropy: SeededEntropy
) -> None:
    hierarchy = made(tmp_path, clock, entropy)
    for kind, slug in SLUGS.items():
        file = hierarchy.folder / f"{slug}.key"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        wrong = tmp_path / "wrong"
        wrong.write_bytes(b"not the passphrase")
        with pytest.raises(Malformed, match=r"keys\.unreadable"):
            hierarchy.load_key(kind, wrong)
    assert (tmp_path / "secrets" / "passphrase").stat().st_mode & 0o777 == 0o600


def test_a_hierarchy_is_made_once(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    made(tmp_path, clock, entropy)
    with pytest.raises(Conflict, match=r"trust\.hierarchy\.exists"):
        made(tmp_path, clock, entropy)


def test_a_half_made_hierarchy_is_begun_anew(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    (tmp_path / "hierarchy.part").mkdir()
    (tmp_path / "hierarchy.part" / "root.key").write_bytes(b"half")
    assert made(tmp_path, clock, entropy).root
    assert not (tmp_path / "hierarchy.part").exists()


@pytest.mark.parametrize("url", ["https://x.ee", "http://", "x.ee", "http://x.ee/", "http://x y.ee", "http://õ.ee"])
def test_base_urls_that_certificates_cannot_carry_are_malformed(
    tmp_path: Path, clock: ManualClock, entropy: SeededEntropy, url: str
) -> None:
    with pytest.raises(Malformed, match=r"trust\.hierarchy\.base_url"):
        made(tmp_path, clock, entropy, base_url=url)
    assert not (tmp_path / "hierarchy").exists()


def test_a_swapped_certificate_is_found(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    hierarchy = made(tmp_path, clock, entropy)
    other = made(tmp_path / "other", clock, entropy)
    (hierarchy.folder / "ocsp.crt").write_bytes((other.folder / "ocsp.crt").read_bytes())
    with pytest.raises(Broken, match=r"trust\.hierarchy\.path"):
        load_hierarchy(hierarchy.folder)


def test_a_swapped_key_is_found(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    hierarchy = made(tmp_path, clock, entropy)
    (hierarchy.folder / "issuing.key").write_bytes((hierarchy.folder / "root.key").read_bytes())
    with pytest.raises(Broken, match=r"trust\.hierarchy\.key"):
        hierarchy.load_key(CertificateKind.ISSUING_CA, tmp_path / "secrets" / "passphrase")


def test_a_missing_file_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"trust\.hierarchy\.unreadable"):
        load_hierarchy(tmp_path)


def test_an_offline_root_key_is_not_at_hand(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    hierarchy = made(tmp_path, clock, entropy)
    (hierarchy.folder / "root.key").unlink()
    assert not load_hierarchy(hierarchy.folder).has_key(CertificateKind.ROOT_CA)
    assert load_hierarchy(hierarchy.folder).has_key(CertificateKind.ISSUING_CA)


def test_the_responder_is_renewed_before_it_ends(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    hierarchy = made(tmp_path, clock, entropy)
    passphrase = tmp_path / "secrets" / "passphrase"
    assert renew_responder(hierarchy, passphrase_path=passphrase, clock=clock, entropy=entropy) is hierarchy
    clock.advance(timedelta(days=310))
    renewed = renew_responder(hierarchy, passphrase_path=passphrase, clock=clock, entropy=entropy)
    kind = CertificateKind.OCSP_RESPONDER
    assert renewed.certificate(kind) != hierarchy.certificate(kind)
    assert renewed.certificate(kind).not_valid_after_utc > clock.now() + timedelta(days=360)
    renewed.load_key(kind, passphrase)
    assert load_hierarchy(hierarchy.folder).certificates == renewed.certificates


def test_names_without_test_make_no_device_claims(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    assert not made(tmp_path, clock, entropy, names=HONEST_NAMES).profile.claims_device


# ---------------------------------------------------------------------------------------------- all together


def test_the_programs_address_serves_everything(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    hierarchy = made(tmp_path, clock, entropy)
    pools = Pools(pages=1, services=1)
    running = build(
        Surroundings(clock, entropy, pools, HttpClient(), tmp_path, {}),
        settings=TrustServicesSettings(
            hierarchy_folder=hierarchy.folder, passphrase_file=tmp_path / "secrets" / "passphrase"
        ),
        open_database=lambda name: Database.sqlite(tmp_path / "db" / f"{name}.sqlite"),
    )
    try:
        programs = running.sites["programs"]
        for kind, slug in SLUGS.items():
            answer = ask(programs, "GET", f"/certs/{slug}.crt")
            assert answer.body == certificate_der(hierarchy.certificate(kind))
            assert answer.headers[b"content-type"] == b"application/pkix-cert"
        for kind in (CertificateKind.ROOT_CA, CertificateKind.ISSUING_CA, CertificateKind.TSA_CA):
            answer = ask(programs, "GET", f"/crl/{SLUGS[kind]}.crl")
            verify_crl(answer.body, issuer=hierarchy.certificate(kind))
        tl_signer = hierarchy.certificate(CertificateKind.TRUSTED_LIST_SIGNER)
        trusted_list.verify_trusted_list(ask(programs, "GET", "/tl.xml").body, signers=[tl_signer])
        english = ask(programs, "GET", "/")
        assert english.status == 200 and b'lang="en"' in english.body and b"http://127.0.0.1:8800/ocsp" in english.body
        assert b"default-src 'none'" in english.headers[b"content-security-policy"]
        estonian = ask(programs, "GET", "/repository", query=b"lang=et")
        assert "Usaldusteenuste repositoorium" in estonian.body.decode()
        for path in ("/repository/cps", "/repository/pds-en"):
            assert ask(programs, "GET", path, headers=((b"accept-language", b"et"),)).body.count(b'lang="et"') == 1
        for path in ("/x", "/certs/../secrets", "/crl/", "/certs/root.key", "/ocspx"):
            assert ask(programs, "GET", path).status == 404
        assert ask(programs, "POST", "/").status == 405
        for timer in running.timers:
            timer.run()
        assert running.health()["ocsp"] == "current"
    finally:
        running.close()
        pools.close()


def test_a_follower_sees_what_another_process_wrote(
    tmp_path: Path, clock: ManualClock, entropy: SeededEntropy, answering: Answering
) -> None:
    board = StatusBoard(answering.ca.db)
    watch = _Watch(answering.ca.db)
    assert watch.has_changed()
    board.refresh()
    assert not watch.has_changed()
    other = Database(answering.ca.db.url)
    elsewhere = ca_over(other, clock, entropy)
    use_cases.activate_certificates(elsewhere, answering.document_number, actor="card_bureau")
    assert watch.has_changed()
    board.refresh()
    assert board.find(answering.certificate.serial_number) == ocsp.GOOD
    watch.close()
    other.close()
