"""Certificates of the exchange's members and security servers: profile, issuing, revocation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats import ocsp
from digiid.formats.x509.build import build_candidate
from digiid.formats.x509.lint import lint_candidate
from digiid.formats.x509.parts import CONTENT_COMMITMENT, DIGITAL_SIGNATURE, parts_of
from digiid.formats.x509.path import verify_path
from digiid.formats.x509.profile import (
    EKU_CLIENT_AUTH,
    EKU_SERVER_AUTH,
    CertificateKind,
    ExchangeSubject,
    HierarchyNames,
)
from digiid.institutions.trust_services.app import issue_exchange_certificate, revoke_exchange_certificate
from digiid.institutions.trust_services.ca import store, use_cases
from digiid.institutions.trust_services.ca.domain import ExchangeOrder
from digiid.institutions.trust_services.ca.use_cases import Deps
from digiid.institutions.trust_services.domain import CertificateState
from digiid.institutions.trust_services.hierarchy import create_hierarchy
from digiid.institutions.trust_services.ocsp.responder import Responder
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.institutions.trust_services.status import StatusBoard
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.unit.formats.x509.hierarchy import SmallHierarchy
from tests.unit.institutions.trust_services.ca_setup import (
    CA_PACKAGE,
    ca_over,
    chip_request,
    order_for,
    shared_hierarchy,
)
from tests.unit.institutions.trust_services.test_seals import seal_order

AUTHENTICATION, SIGNING = CertificateKind.EXCHANGE_AUTHENTICATION, CertificateKind.EXCHANGE_SIGNING
BOARD = ExchangeSubject("GOV", "70000101", "TEST Politsei- ja Piirivalveamet", "TEST police")


@pytest.fixture
def deps(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> Deps:
    clock.advance(timedelta(hours=3))  # the shared hierarchy is valid from 11:00
    database = Database.sqlite(tmp_path / "ca.sqlite")
    database.migrate(CA_PACKAGE)
    return ca_over(database, clock, entropy)


@pytest.fixture
def any_deps(new_database: Callable[[str], Database], clock: ManualClock, entropy: SeededEntropy) -> Deps:
    """The same on SQLite and on PostgreSQL."""
    clock.advance(timedelta(hours=3))
    return ca_over(new_database(CA_PACKAGE), clock, entropy)


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return built.public_bytes(Encoding.DER)


def exchange_order(number: int = 1, **changes: Any) -> ExchangeOrder:
    order = ExchangeOrder(f"exchange-{number}", SIGNING, BOARD, date(2029, 6, 30), chip_request())
    return replace(order, **changes)


def issued(deps: Deps, order: ExchangeOrder) -> x509.Certificate:
    return x509.load_der_x509_certificate(use_cases.issue_exchange_certificate(deps, order).certificate_der)


def said(deps: Deps, certificate: x509.Certificate) -> ocsp.EncodedStatus | None:
    return deps.board.find(certificate.serial_number)


KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("key_type", list(KEYS))
@pytest.mark.parametrize("kind", [AUTHENTICATION, SIGNING])
def test_a_certificate_names_its_member_by_the_basic_rule_and_is_good_at_once(
    deps: Deps, kind: CertificateKind, key_type: str
) -> None:
    certificate = issued(deps, exchange_order(kind=kind, request_der=request_of(KEYS[key_type]())))
    pki = shared_hierarchy()
    path = verify_path(certificate, intermediates=[], anchors=[pki.issuing.certificate], at=deps.clock.now())
    assert path.issuer == pki.issuing.certificate
    parts = parts_of(certificate)
    assert parts.subject_value("2.5.4.15") == "GOV"
    assert parts.subject_value("2.5.4.5") == "70000101"
    assert parts.subject_value("2.5.4.6") == "EE"
    assert parts.subject_value("2.5.4.10") == BOARD.name
    assert parts.subject_value("2.5.4.3") == "TEST police"
    assert said(deps, certificate) == ocsp.GOOD
    if kind is SIGNING:
        assert parts.key_usage() == frozenset({CONTENT_COMMITMENT})
        assert parts.extended_key_usage() is None
    else:
        assert parts.key_usage() == frozenset({DIGITAL_SIGNATURE})
        assert parts.extended_key_usage() == (EKU_CLIENT_AUTH, EKU_SERVER_AUTH)


def test_the_responder_answers_for_them_to_sha1_and_to_sha256_cert_ids(deps: Deps) -> None:
    pki = shared_hierarchy()
    responder = Responder(
        board=deps.board,
        clock=deps.clock,
        issuer=pki.issuing.certificate,
        certificate=pki.responder.certificate,
        key=pki.responder.key,
    )
    certificate = issued(deps, exchange_order())
    for revoked, expected in ((False, ocsp.CertStatus.GOOD), (True, ocsp.CertStatus.REVOKED)):
        if revoked:
            use_cases.revoke_exchange_certificate(deps, certificate, reason="keyCompromise")
        for hash_name in ("sha1", "sha256"):
            request = ocsp.build_request(
                certificate=certificate, issuer=pki.issuing.certificate, nonce=None, hash_name=hash_name
            )
            verified = ocsp.verify_response(
                responder.answer(request), certificate=certificate, issuer=pki.issuing.certificate, nonce=None
            )
            assert verified.status is expected


def test_the_same_order_gives_the_same_certificate_and_another_content_is_a_conflict(any_deps: Deps) -> None:
    deps = any_deps
    key = ec.generate_private_key(ec.SECP256R1())
    order = exchange_order(request_der=chip_request(key))
    first = issued(deps, order)
    assert issued(deps, replace(order, request_der=chip_request(key))) == first  # another signature, the same key
    assert issued(deps, replace(order, expires_on=date(2030, 6, 30))) == first  # asked again after New Year
    for changes in (
        {"request_der": chip_request()},
        {"subject": replace(BOARD, member_class="COM")},
        {"kind": AUTHENTICATION},
    ):
        with pytest.raises(Conflict, match=r"trust\.issue\.order_differs"):
            use_cases.issue_exchange_certificate(deps, replace(order, **changes))
    with deps.db.read() as tx:
        stored = store.find_order(tx, order_id=order.order_id)
        journal.verify_chain(tx, store.JOURNAL)
    assert stored is not None and stored.holder == BOARD and stored.kinds == (SIGNING,)


def test_transport_and_evidence_never_share_a_key(deps: Deps) -> None:
    request = chip_request()
    use_cases.issue_exchange_certificate(deps, exchange_order(1, request_der=request))
    with pytest.raises(Refused, match=r"trust\.profile\.key_blocked"):
        use_cases.issue_exchange_certificate(deps, exchange_order(2, kind=AUTHENTICATION, request_der=request))
    with pytest.raises(Refused, match=r"trust\.profile\.key_blocked"):
        use_cases.issue_certificates(deps, order_for(signature_request_der=request))


def test_requests_without_proof_and_weak_keys_are_refused(deps: Deps) -> None:
    request = bytearray(chip_request())
    request[-1] ^= 1
    with pytest.raises(Refused, match=r"trust\.profile\.proof_of_possession"):
        use_cases.issue_exchange_certificate(deps, exchange_order(request_der=bytes(request)))
    with pytest.raises(Refused, match=r"x509\.public_key|trust\.profile"):
        weak = request_of(rsa.generate_private_key(65537, 1024))
        use_cases.issue_exchange_certificate(deps, exchange_order(request_der=weak))
    with pytest.raises(Refused, match=r"trust\.profile\.key_type"):
        use_cases.issue_exchange_certificate(
            deps, exchange_order(request_der=request_of(rsa.generate_private_key(3, 2048)))
        )
    with pytest.raises(Refused, match=r"trust\.profile\.key_type"):
        curve = request_of(ec.generate_private_key(ec.SECP521R1()))
        use_cases.issue_exchange_certificate(deps, exchange_order(request_der=curve))
    with deps.db.read() as tx:
        assert store.find_order(tx, order_id="exchange-1") is None


def test_rsa_keys_are_certified_for_the_exchange_only(deps: Deps) -> None:
    with pytest.raises(Refused, match=r"trust\.profile\.key_type"):
        use_cases.issue_seal(deps, seal_order(request_der=request_of(KEYS["RSA-2048"]())))


@pytest.mark.parametrize(
    "changes",
    [
        {"member_class": "gov"},
        {"member_class": ""},
        {"member_class": "GOV/70000101"},
        {"member_code": "7000010"},
        {"member_code": "7000010\n"},
        {"name": ""},
        {"name": "T" * 65},
        {"common_name": "a\nb"},
    ],
)
def test_subjects_that_no_register_has_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(Refused, match=r"trust\.profile\."):
        replace(BOARD, **changes)


def test_an_order_is_for_a_kind_of_the_exchange() -> None:
    with pytest.raises(Refused, match=r"trust\.profile\.kind"):
        exchange_order(kind=CertificateKind.SEAL)


def test_a_revoked_certificate_is_never_good_again_and_only_ours_are_revoked(any_deps: Deps) -> None:
    deps = any_deps
    certificate = issued(deps, exchange_order())
    revoked = use_cases.revoke_exchange_certificate(deps, certificate, reason="cessationOfOperation")
    assert revoked.state is CertificateState.REVOKED
    assert use_cases.revoke_exchange_certificate(deps, certificate, reason="superseded") == revoked
    seal = x509.load_der_x509_certificate(use_cases.issue_seal(deps, seal_order()).certificate_der)
    for other in (seal, shared_hierarchy().authentication.certificate):
        with pytest.raises(NotFound, match=r"trust\.document"):
            use_cases.revoke_exchange_certificate(deps, other, reason="superseded")


@pytest.mark.parametrize("field", ["key_usage", "extended_key_usage", "subject"])
def test_lint_finds_what_is_not_in_the_order(field: str) -> None:
    pki = SmallHierarchy()
    key = ec.generate_private_key(ec.SECP256R1())
    plan = replace(
        pki.leaf_plan(AUTHENTICATION, key=key, expires_on=date(2028, 6, 30)),
        subject_attributes=BOARD.subject_attributes,
        document_policy=None,
    )
    candidate = build_candidate(plan, pki.profile, throwaway_key=ec.generate_private_key(pki.issuing.key.curve))
    lint_candidate(candidate, plan.expected(pki.profile))
    expected = plan.expected(pki.profile)
    if field == "subject":
        other = replace(BOARD, member_code="70000102").subject_attributes
        expected = replace(expected, subject_attributes=other)
    else:
        expected = replace(expected, kind=SIGNING)
    with pytest.raises(Refused, match=r"trust\.profile\."):
        lint_candidate(candidate, expected)


def test_from_beside_a_running_state(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> None:
    settings = TrustServicesSettings(hierarchy_folder=tmp_path / "h", passphrase_file=tmp_path / "passphrase")
    create_hierarchy(
        settings.hierarchy_folder,
        names=HierarchyNames(),
        base_url="http://127.0.0.1:8800",
        passphrase_path=settings.passphrase_file,
        clock=clock,
        entropy=entropy,
    )

    def open_database(unit: str) -> Database:
        return Database.sqlite(tmp_path / f"{unit}.sqlite")

    certificate = issue_exchange_certificate(
        settings, exchange_order(), open_database=open_database, clock=clock, entropy=entropy
    )
    board = StatusBoard(open_database("trust_ca"))
    board.refresh()
    assert board.find(certificate.serial_number) == ocsp.GOOD
    revoke_exchange_certificate(
        settings, certificate, reason="superseded", open_database=open_database, clock=clock, entropy=entropy
    )
    board.refresh()
    found = board.find(certificate.serial_number)
    assert found is not None and found.status is ocsp.CertStatus.REVOKED
