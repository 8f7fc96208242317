"""Lint before signing: every rule refuses, and only what was linted can be signed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from digiid.formats.x509.build import Plan, build_candidate, rebuild_candidate, sign_tbs, spki_der, tbs_of
from digiid.formats.x509.lint import LintedTbs, lint_candidate
from digiid.formats.x509.parts import load_certificate
from digiid.formats.x509.profile import CertificateKind, DocumentPolicy, Holder
from digiid.kernel.errors import Broken, Refused
from tests.unit.formats.x509.hierarchy import NOW, P256, P384, P521, SmallHierarchy

KINDS = [CertificateKind.AUTHENTICATION, CertificateKind.SIGNATURE]


def plan_for(pki: SmallHierarchy, kind: CertificateKind = CertificateKind.SIGNATURE) -> Plan:
    return pki.leaf_plan(kind, key=ec.generate_private_key(P384))


def throwaway() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(P384)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code.removeprefix("trust.profile.")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_builder_makes_passes_and_can_be_signed(pki: SmallHierarchy, kind: CertificateKind) -> None:
    plan = plan_for(pki, kind)
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    linted = lint_candidate(candidate, plan.expected(pki.profile))
    certificate = load_certificate(sign_tbs(linted, key=pki.issuing.key))
    certificate.verify_directly_issued_by(pki.issuing.certificate)
    assert tbs_of(certificate.public_bytes(Encoding.DER)) == tbs_of(candidate)


def test_signing_the_same_bytes_again_gives_the_same_certificate(pki: SmallHierarchy) -> None:
    plan = plan_for(pki)
    linted = lint_candidate(build_candidate(plan, pki.profile, throwaway_key=throwaway()), plan.expected(pki.profile))
    assert sign_tbs(linted, key=pki.issuing.key) == sign_tbs(linted, key=pki.issuing.key)


def test_stored_bytes_can_be_linted_again(pki: SmallHierarchy) -> None:
    plan = plan_for(pki)
    tbs = tbs_of(build_candidate(plan, pki.profile, throwaway_key=throwaway()))
    again = rebuild_candidate(tbs, throwaway_key=throwaway())
    assert lint_candidate(again, plan.expected(pki.profile)).tbs_der == tbs


def test_nobody_else_makes_a_linted_tbs() -> None:
    with pytest.raises(TypeError):
        LintedTbs(b"tbs", b"algorithm", b"key", 1, seal=object())


def test_another_key_than_the_issuers_does_not_sign(pki: SmallHierarchy) -> None:
    plan = plan_for(pki)
    linted = lint_candidate(build_candidate(plan, pki.profile, throwaway_key=throwaway()), plan.expected(pki.profile))
    with pytest.raises(Broken, match=r"trust\.issue\.wrong_key"):
        sign_tbs(linted, key=pki.root.key)


class _FaultyKey:
    """A signing device that answers with a signature over something else."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key, self.curve = key, key.curve

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    def sign(self, data: bytes, algorithm: Any) -> bytes:
        return self._key.sign(data + b"!", algorithm)


def test_a_faulty_signature_does_not_leave(pki: SmallHierarchy) -> None:
    plan = plan_for(pki)
    linted = lint_candidate(build_candidate(plan, pki.profile, throwaway_key=throwaway()), plan.expected(pki.profile))
    with pytest.raises(Broken, match=r"trust\.issue\.bad_signature"):
        sign_tbs(linted, key=_FaultyKey(pki.issuing.key))  # type: ignore[arg-type]


# What differs between the order and the candidate, and the rule that has to notice.
ORDER_CHANGES: list[tuple[str, Callable[[Plan, SmallHierarchy], Plan]]] = [
    ("serial_number", lambda plan, pki: replace(plan, serial_number=pki.next_serial())),
    ("subject", lambda plan, pki: replace(plan, subject_attributes=Holder("60001019906", "X", "Y").subject_attributes)),
    ("subject", lambda plan, pki: replace(plan, subject_attributes=tuple(reversed(plan.subject_attributes)))),
    ("key", lambda plan, pki: replace(plan, public_key=throwaway().public_key())),
    ("validity", lambda plan, pki: replace(plan, not_after_at=plan.not_after_at - timedelta(seconds=1))),
    ("validity", lambda plan, pki: replace(plan, not_before_at=plan.not_before_at + timedelta(seconds=1))),
    ("policies", lambda plan, pki: replace(plan, document_policy=DocumentPolicy.CITIZEN)),
    ("extensions", lambda plan, pki: replace(plan, kind=CertificateKind.AUTHENTICATION)),
    ("issuer", lambda plan, pki: replace(plan, issuer=pki.tsa_ca.certificate)),
    ("addresses", lambda plan, pki: replace(plan, issuer_kind=CertificateKind.ROOT_CA)),
]


@pytest.mark.parametrize(("rule", "change"), ORDER_CHANGES)
def test_a_candidate_that_differs_from_the_order_is_refused(
    pki: SmallHierarchy, rule: str, change: Callable[[Plan, SmallHierarchy], Plan]
) -> None:
    plan = plan_for(pki)
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    expected = change(plan, pki).expected(pki.profile)
    assert refused(lambda: lint_candidate(candidate, expected)) == rule


@pytest.mark.parametrize(("rule", "curve"), [("key_too_small", P256), ("key_type", P521)], ids=["p256", "p521"])
def test_a_leaf_key_on_another_curve_is_refused(pki: SmallHierarchy, rule: str, curve: ec.EllipticCurve) -> None:
    plan = replace(plan_for(pki), public_key=ec.generate_private_key(curve).public_key())
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    assert refused(lambda: lint_candidate(candidate, plan.expected(pki.profile))) == rule


def test_a_blocked_key_is_refused(pki: SmallHierarchy) -> None:
    plan = plan_for(pki)
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    blocked = {sha256(spki_der(plan.public_key)).digest()}
    expected = plan.expected(pki.profile)
    assert refused(lambda: lint_candidate(candidate, expected, blocked_key_hashes=blocked)) == "key_blocked"


def test_the_cas_own_key_is_refused(pki: SmallHierarchy) -> None:
    plan = replace(plan_for(pki), public_key=pki.issuing.key.public_key())
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    assert refused(lambda: lint_candidate(candidate, plan.expected(pki.profile))) == "key_blocked"


@pytest.mark.parametrize(
    "change",
    [
        {"not_after_at": NOW + timedelta(days=6 * 366 + 1)},
        {"not_after_at": NOW + timedelta(days=366 * 40)},
        {"not_before_at": NOW - timedelta(days=1)},
        {"not_after_at": NOW - timedelta(seconds=1), "not_before_at": NOW},
    ],
    ids=["too long", "beyond the CA", "before the CA", "ends before it begins"],
)
def test_an_impossible_validity_is_refused(pki: SmallHierarchy, change: dict[str, Any]) -> None:
    plan = replace(plan_for(pki), **change)
    try:
        candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    except ValueError:
        return  # the library does not even encode it
    assert refused(lambda: lint_candidate(candidate, plan.expected(pki.profile))) == "validity"


def _hand_made(
    pki: SmallHierarchy,
    plan: Plan,
    *,
    drop: type[x509.ExtensionType] | None = None,
    put: tuple[x509.ExtensionType, bool] | None = None,
    hash_algorithm: Any = None,
    public_key: Any = None,
) -> bytes:
    """The builder's own candidate with one extension dropped or put in place."""
    model = load_certificate(build_candidate(plan, pki.profile, throwaway_key=throwaway()))
    builder = (
        x509.CertificateBuilder()
        .subject_name(model.subject)
        .issuer_name(model.issuer)
        .public_key(public_key or plan.public_key)
        .serial_number(model.serial_number)
        .not_valid_before(model.not_valid_before_utc)
        .not_valid_after(model.not_valid_after_utc)
    )
    for extension in model.extensions:
        value, critical = extension.value, extension.critical
        if drop is not None and isinstance(value, drop):
            continue
        if put is not None and put[0].oid == extension.oid:
            continue
        builder = builder.add_extension(value, critical)
    if put is not None:
        builder = builder.add_extension(*put)
    return builder.sign(throwaway(), hash_algorithm or hashes.SHA384()).public_bytes(Encoding.DER)


def _usage(**bits: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names})


def _access(url: str) -> x509.AuthorityInformationAccess:
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))]
    )


def _policy(*oids: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids])


EXTENSION_CHANGES: list[tuple[str, dict[str, Any]]] = [
    *(
        ("extensions", {"drop": kind})
        for kind in (
            x509.KeyUsage,
            x509.BasicConstraints,
            x509.CertificatePolicies,
            x509.SubjectKeyIdentifier,
            x509.AuthorityKeyIdentifier,
            x509.AuthorityInformationAccess,
            x509.CRLDistributionPoints,
            x509.UnrecognizedExtension,
        )
    ),
    ("extensions", {"put": (x509.OCSPNoCheck(), False)}),
    ("extensions", {"put": (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)}),
    ("extensions", {"put": (x509.ExtendedKeyUsage([ObjectIdentifier("1.3.6.1.5.5.7.3.2")]), False)}),
    ("extensions", {"put": (_usage(content_commitment=True), False)}),
    ("key_usage", {"put": (_usage(content_commitment=True, digital_signature=True), True)}),
    ("key_usage", {"put": (_usage(key_cert_sign=True, content_commitment=True), True)}),
    ("basic_constraints", {"put": (x509.BasicConstraints(True, None), False)}),
    ("policies", {"put": (_policy("1.3.6.1.4.1.51361.1.2.1", "0.4.0.194112.1.2"), False)}),
    ("policies", {"put": (_policy("1.3.6.1.4.1.51361.1.2.4", "0.4.0.194112.1.2"), False)}),
    ("qc_statements", {"put": (x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.5.5.7.1.3"), b"0\x00"), False)}),
    ("addresses", {"put": (_access("http://evil.example/ocsp"), False)}),
    ("key_identifier", {"put": (x509.SubjectKeyIdentifier(bytes(20)), False)}),
    ("key_identifier", {"put": (x509.AuthorityKeyIdentifier(bytes(20), None, None), False)}),
    ("algorithm", {"hash_algorithm": hashes.SHA256()}),
    ("key", {"public_key": rsa.generate_private_key(65537, 2048).public_key()}),
]


@pytest.mark.parametrize(("rule", "change"), EXTENSION_CHANGES, ids=lambda value: str(value)[:60])
def test_a_candidate_with_one_thing_different_is_refused(
    pki: SmallHierarchy, rule: str, change: dict[str, Any]
) -> None:
    plan = plan_for(pki)
    candidate = _hand_made(pki, plan, **change)
    assert refused(lambda: lint_candidate(candidate, plan.expected(pki.profile))) == rule


def test_the_hand_made_candidate_without_a_change_passes(pki: SmallHierarchy) -> None:
    plan = plan_for(pki)
    assert lint_candidate(_hand_made(pki, plan), plan.expected(pki.profile)).serial_number == plan.serial_number


def test_a_truncated_candidate_is_refused(pki: SmallHierarchy) -> None:
    plan = plan_for(pki)
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    assert refused(lambda: lint_candidate(candidate[:-1], plan.expected(pki.profile))) == "encoding"


def test_a_personal_certificate_without_a_document_is_refused(pki: SmallHierarchy) -> None:
    plan = replace(plan_for(pki), document_policy=None)
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    assert refused(lambda: lint_candidate(candidate, plan.expected(pki.profile))) == "policies"


def test_a_ca_that_signs_itself_has_to_be_of_a_self_signed_kind(pki: SmallHierarchy) -> None:
    plan = replace(plan_for(pki), issuer=None, issuer_kind=None)
    candidate = build_candidate(plan, pki.profile, throwaway_key=throwaway())
    assert refused(lambda: lint_candidate(candidate, plan.expected(pki.profile))) == "issuer"
