"""Seals of organisations: profile, issuing, the life of a seal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats import ocsp
from digiid.formats.validation import qualification
from digiid.formats.validation.qualification import assess
from digiid.formats.x509.crl import verify_crl
from digiid.formats.x509.parts import CONTENT_COMMITMENT, parts_of
from digiid.formats.x509.path import verify_path
from digiid.formats.x509.profile import (
    QCP_L,
    QCP_L_QSCD,
    CertificateKind,
    HierarchyNames,
    Organization,
    has_policy,
)
from digiid.institutions.trust_services.app import issue_seal
from digiid.institutions.trust_services.ca import store, use_cases
from digiid.institutions.trust_services.ca.domain import SealOrder
from digiid.institutions.trust_services.ca.use_cases import Deps
from digiid.institutions.trust_services.domain import CertificateState
from digiid.institutions.trust_services.hierarchy import create_hierarchy
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused, Unavailable
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.unit.formats.x509.hierarchy import HONEST_NAMES, SmallHierarchy
from tests.unit.institutions.trust_services.ca_setup import (
    CA_PACKAGE,
    ca_over,
    chip_request,
    order_for,
    shared_hierarchy,
)

BAKERY = Organization("12345678", "TEST Pagariäri OÜ", "TEST Pagariäri e-tempel")


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


def seal_order(number: int = 1, **changes: Any) -> SealOrder:
    order = SealOrder(
        order_id=f"seal-order-{number}",
        seal_number=f"SEAL-{number}",
        organization=BAKERY,
        expires_on=date(2029, 12, 31),
        request_der=chip_request(ec.generate_private_key(ec.SECP256R1())),
    )
    return replace(order, **changes)


def issued(deps: Deps, order: SealOrder) -> x509.Certificate:
    return x509.load_der_x509_certificate(use_cases.issue_seal(deps, order).certificate_der)


def said(deps: Deps, certificate: x509.Certificate) -> ocsp.EncodedStatus | None:
    return deps.board.find(certificate.serial_number)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_seal_is_good_at_once_and_says_whose_it_is(deps: Deps, curve: ec.EllipticCurve) -> None:
    certificate = issued(deps, seal_order(request_der=chip_request(ec.generate_private_key(curve))))
    pki = shared_hierarchy()
    path = verify_path(certificate, intermediates=[], anchors=[pki.issuing.certificate], at=deps.clock.now())
    assert path.issuer == pki.issuing.certificate
    parts = parts_of(certificate)
    assert parts.key_usage() == frozenset({CONTENT_COMMITMENT})
    assert parts.subject_value("2.5.4.97") == "NTREE-12345678"
    assert parts.subject_value("2.5.4.10") == "TEST Pagariäri OÜ"
    assert said(deps, certificate) == ocsp.GOOD


def test_a_key_in_a_file_claims_no_device_and_one_in_a_device_does(deps: Deps) -> None:
    in_file = issued(deps, seal_order(1))
    in_device = issued(deps, seal_order(2, on_device=True))
    assert has_policy(in_file, QCP_L) and not has_policy(in_file, QCP_L_QSCD)
    assert has_policy(in_device, QCP_L_QSCD) and not has_policy(in_device, QCP_L)
    assert _level(in_file) == "ADESEAL_QC"
    assert _level(in_device) == "QESEAL"


def test_outside_test_no_seal_claims_a_device(clock: ManualClock, entropy: SeededEntropy, tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    for names, policy in ((HONEST_NAMES, QCP_L), (HierarchyNames(), QCP_L_QSCD)):
        folder = tmp_path / "h" / policy
        settings = TrustServicesSettings(hierarchy_folder=folder, passphrase_file=tmp_path / "passphrase")
        create_hierarchy(
            folder,
            names=names,
            base_url="http://pki.digiid.ee",
            passphrase_path=settings.passphrase_file,
            clock=clock,
            entropy=entropy,
        )
        certificate = issue_seal(
            settings,
            seal_order(on_device=True),
            open_database=partial(_open, tmp_path / policy),
            clock=clock,
            entropy=entropy,
        )
        assert has_policy(certificate, policy)


def _open(folder: Path, unit: str) -> Database:
    return Database.sqlite(folder / f"{unit}.sqlite")


def _level(certificate: x509.Certificate) -> str:
    parts = parts_of(certificate)
    statements = qualification.parse_qc_statements(parts)
    assert statements[qualification.QC_TYPE] == (qualification.QC_TYPE_ESEAL,)
    on_device = qualification.QC_SSCD in statements
    assert not assess(parts, ()).is_qualified  # nothing is without a list
    return qualification.Qualification(qualification.QC_COMPLIANCE in statements, on_device, True).level


def test_the_same_order_gives_the_same_seal_and_another_content_is_a_conflict(any_deps: Deps) -> None:
    deps = any_deps
    key = ec.generate_private_key(ec.SECP256R1())
    order = seal_order(request_der=chip_request(key))
    first = issued(deps, order)
    assert issued(deps, replace(order, request_der=chip_request(key))) == first  # another signature, the same key
    assert issued(deps, replace(order, expires_on=order.expires_on.replace(year=2030))) == first
    for changes in (
        {"request_der": chip_request()},
        {"organization": replace(BAKERY, name="TEST Teine OÜ")},
        {"on_device": True},
        {"seal_number": "SEAL-2"},
    ):
        with pytest.raises(Conflict, match=r"trust\.issue\.order_differs"):
            use_cases.issue_seal(deps, replace(order, **changes))
    with pytest.raises(Conflict, match=r"trust\.issue\.document_taken"):
        use_cases.issue_seal(deps, seal_order(1, order_id="another"))


def test_a_key_seals_for_one_organisation_and_signs_for_nobody(deps: Deps) -> None:
    request = chip_request()
    use_cases.issue_seal(deps, seal_order(1, request_der=request))
    with pytest.raises(Refused, match=r"trust\.profile\.key_blocked"):
        use_cases.issue_seal(deps, seal_order(2, request_der=request))
    with pytest.raises(Refused, match=r"trust\.profile\.key_blocked"):
        use_cases.issue_certificates(deps, order_for(signature_request_der=request))


def test_a_request_without_proof_of_possession_is_refused(deps: Deps) -> None:
    request = bytearray(chip_request())
    request[-1] ^= 1
    with pytest.raises(Refused, match=r"trust\.profile\.proof_of_possession"):
        use_cases.issue_seal(deps, seal_order(request_der=bytes(request)))
    with pytest.raises(Malformed):
        use_cases.issue_seal(deps, seal_order(request_der=b"\x30\x00"))


@pytest.mark.parametrize(
    ("code", "name", "seal_name"),
    [
        ("1234567", "TEST OÜ", "TEST"),
        ("02345678", "TEST OÜ", "TEST"),
        ("12345678", "", "TEST"),
        ("12345678", " TEST", "TEST"),
        ("12345678", "TEST\n", "TEST"),
        ("12345678", "O\u0308U", "TEST"),
        ("12345678", "TEST OÜ", "T" * 65),
        ("12345678", "TEST OÜ", "Ü" * 33),
    ],
)
def test_names_and_codes_that_no_register_has_are_refused(code: str, name: str, seal_name: str) -> None:
    with pytest.raises(Refused, match=r"trust\.profile\."):
        Organization(code, name, seal_name)


@pytest.mark.parametrize("number", ["SEAL", "NE0000001", "SEAL-", "SEAL-1234567890123456", "SEAL-1\n"])
def test_a_seals_number_is_never_a_documents(number: str) -> None:
    with pytest.raises(Refused, match=r"trust\.profile\.seal_number"):
        seal_order(seal_number=number)


def test_a_revoked_seal_is_on_the_list_and_never_good_again(any_deps: Deps) -> None:
    deps = any_deps
    certificate = issued(deps, seal_order())
    revoked = use_cases.revoke_seal(deps, "SEAL-1", reason="keyCompromise")
    assert revoked.state is CertificateState.REVOKED
    assert use_cases.revoke_seal(deps, "SEAL-1", reason="superseded") == revoked
    answer = said(deps, certificate)
    assert answer is not None and answer.status is ocsp.CertStatus.REVOKED
    use_cases.issue_crls(deps)
    crl = use_cases.find_crl(deps, CertificateKind.ISSUING_CA)
    assert crl is not None
    assert certificate.serial_number in verify_crl(crl.crl_der, issuer=shared_hierarchy().issuing.certificate).entries
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)


def test_a_document_is_not_a_seal_and_a_seal_not_a_document(deps: Deps) -> None:
    order = order_for()
    use_cases.issue_certificates(deps, order)
    use_cases.issue_seal(deps, seal_order())
    with pytest.raises(NotFound):
        use_cases.revoke_seal(deps, order.document_number, reason="superseded")
    with pytest.raises(Conflict):
        use_cases.revoke_certificates(deps, "SEAL-1", reason="superseded", actor="police_board")


def test_a_seal_past_its_end_is_marked(deps: Deps, clock: ManualClock) -> None:
    certificate = issued(deps, seal_order())
    clock.advance(timedelta(days=4 * 366))
    assert use_cases.expire_certificates(deps) == 1
    assert use_cases.get_statuses(deps, "SEAL-1")[0].state is CertificateState.EXPIRED
    assert said(deps, certificate) == ocsp.GOOD


def test_an_interrupted_seal_is_finished_later(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setitem(deps.cas, CertificateKind.ISSUING_CA, _KeyAway(deps))
        with pytest.raises(Unavailable):
            use_cases.issue_seal(deps, seal_order())
    with deps.db.read() as tx:
        assert store.find_unfinished_orders(tx) == ["seal-order-1"]
    assert use_cases.resume_orders(deps) == 1
    assert use_cases.get_statuses(deps, "SEAL-1")[0].state is CertificateState.GOOD


class _KeyAway:
    """The issuing CA with its key in a device that stops answering when it has to sign."""

    def __init__(self, deps: Deps) -> None:
        present = deps.cas[CertificateKind.ISSUING_CA]
        assert present.key is not None
        self.certificate, self._key = present.certificate, present.key

    @property
    def key(self) -> "_KeyAway":
        return self

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._key.curve

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    def sign(self, data: bytes, algorithm: Any) -> bytes:
        raise Unavailable("keys.token", "the device does not answer")


def test_a_seal_never_outgrows_the_order_tables(deps: Deps) -> None:
    issued_certificate = issued(deps, seal_order(seal_number="SEAL-123456789012345"))
    with deps.db.read() as tx:
        order = store.find_order(tx, order_id="seal-order-1")
    assert order is not None and order.holder == BAKERY and order.policy is None
    assert issued_certificate.public_bytes(Encoding.DER)


def test_a_small_hierarchy_lints_both_kinds() -> None:
    pki = SmallHierarchy()
    key = ec.generate_private_key(ec.SECP256R1())
    for kind in (CertificateKind.SEAL, CertificateKind.DEVICE_SEAL):
        plan = replace(pki.leaf_plan(kind, key=key), subject_attributes=BAKERY.subject_attributes, document_policy=None)
        assert pki.certify(plan, key, pki.issuing).kind is kind
