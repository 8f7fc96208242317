"""Certification paths, RFC 5280 §6.1 and §7.1."""

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from digiid.formats import der
from digiid.formats.x509.parts import names_match
from digiid.formats.x509.path import TrustAnchors, verify_path
from digiid.formats.x509.profile import DocumentPolicy
from digiid.kernel.errors import Refused
from tests.unit.formats.x509.hierarchy import NOW, P384, Member, SmallHierarchy


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def made(
    subject: str,
    issuer: Member | None,
    *,
    is_ca: bool = True,
    path_length: int | None = None,
    days: tuple[int, int] = (-1, 100),
    key_cert_sign: bool = True,
    issuer_name: str | None = None,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    key: Any = None,
    signed_by: Any = None,
    constraints: bool = True,
) -> Member:
    """A certificate with whatever this test needs wrong."""
    key = key or ec.generate_private_key(P384)
    issuer_subject = issuer.certificate.subject if issuer else name(subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer_name) if issuer_name else issuer_subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
    )
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(is_ca, path_length), True)
    if is_ca:
        usage = x509.KeyUsage(not key_cert_sign, False, False, False, False, key_cert_sign, False, False, False)
        builder = builder.add_extension(usage, True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signer = signed_by or (issuer.key if issuer else key)
    return Member(builder.sign(signer, hashes.SHA384()), key)


def verify(leaf: Member, *intermediates: Member, anchor: Member, at: datetime = NOW) -> Any:
    return verify_path(
        leaf.certificate,
        intermediates=[member.certificate for member in intermediates],
        anchors=[anchor.certificate],
        at=at,
    )


@pytest.fixture(scope="module")
def root() -> Member:
    return made("root", None)


@pytest.fixture(scope="module")
def ca(root: Member) -> Member:
    return made("ca", root, path_length=0)


def test_the_hierarchy_of_the_profile_is_a_path(pki: SmallHierarchy) -> None:
    path = verify(pki.signature, pki.issuing, anchor=pki.root)
    assert path.certificates == (pki.signature.certificate, pki.issuing.certificate, pki.root.certificate)
    assert (path.leaf, path.issuer, path.anchor) == path.certificates
    assert DocumentPolicy.E_RESIDENT.oid in path.policies


def test_an_issuing_ca_may_be_the_anchor(pki: SmallHierarchy) -> None:
    assert verify(pki.signature, anchor=pki.issuing).anchor == pki.issuing.certificate


def test_a_certificate_may_be_its_own_anchor(pki: SmallHierarchy) -> None:
    path = verify(pki.tsu, anchor=pki.tsu)
    assert path.certificates == (pki.tsu.certificate,) and path.issuer == pki.tsu.certificate


def test_anchors_prepared_once_serve_many_paths(pki: SmallHierarchy) -> None:
    anchors = TrustAnchors([pki.tsa_ca.certificate, pki.issuing.certificate])
    for leaf in (pki.signature, pki.authentication, pki.tsu):
        assert verify_path(leaf.certificate, intermediates=[], anchors=anchors, at=NOW).leaf == leaf.certificate


def refused(code: str, leaf: Member, *intermediates: Member, anchor: Member, at: datetime = NOW) -> None:
    with pytest.raises(Refused) as caught:
        verify(leaf, *intermediates, anchor=anchor, at=at)
    assert caught.value.code == code


def test_a_forged_hierarchy_with_the_same_names_is_refused(pki: SmallHierarchy, other_pki: SmallHierarchy) -> None:
    refused("x509.path.no_anchor", other_pki.signature, other_pki.issuing, anchor=pki.root)


def test_without_key_identifiers_a_wrong_signature_is_refused(root: Member) -> None:
    leaf = made("leaf", root, is_ca=False, signed_by=ec.generate_private_key(P384))
    refused("x509.signature", leaf, anchor=root)


def test_a_self_signed_certificate_is_no_anchor_by_itself(root: Member) -> None:
    refused("x509.path.no_anchor", made("self", None), anchor=root)


def test_a_missing_intermediate_is_refused(pki: SmallHierarchy) -> None:
    refused("x509.path.no_anchor", pki.signature, anchor=pki.root)


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (NOW - timedelta(days=2), "x509.path.not_yet_valid"),
        (NOW + timedelta(days=101), "x509.path.expired"),
    ],
)
def test_validity_is_judged_at_the_given_instant(root: Member, ca: Member, at: datetime, code: str) -> None:
    leaf = made("leaf", ca, is_ca=False)
    verify(leaf, ca, anchor=root)
    refused(code, leaf, ca, anchor=root, at=at)


def test_an_expired_ca_is_refused_though_the_leaf_is_valid(root: Member) -> None:
    ended = made("ended", root, days=(-10, -1))
    refused("x509.path.expired", made("leaf", ended, is_ca=False), ended, anchor=root)


def test_both_ends_of_the_validity_belong_to_it(root: Member) -> None:
    leaf = made("leaf", root, is_ca=False, days=(-1, 3))
    for at in (leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc):
        verify(leaf, anchor=root, at=at)


@pytest.mark.parametrize("changes", [{"is_ca": False}, {"key_cert_sign": False}, {"constraints": False}])
def test_an_issuer_that_is_no_ca_is_refused(root: Member, changes: dict[str, Any]) -> None:
    issuer = made("issuer", root, **changes)
    refused("x509.path.not_a_ca", made("leaf", issuer, is_ca=False), issuer, anchor=root)


def test_a_leaf_may_not_issue(pki: SmallHierarchy) -> None:
    issued = Member(
        made("x", None, is_ca=False, signed_by=pki.signature.key).certificate,
        pki.signature.key,
    )
    fake = made("child", Member(pki.signature.certificate, pki.signature.key), is_ca=False)
    refused("x509.path.not_a_ca", fake, pki.signature, pki.issuing, anchor=pki.root)
    assert issued.certificate.subject == name("x")


def test_path_length_zero_allows_no_further_ca(root: Member, ca: Member) -> None:
    below = made("below", ca)
    refused("x509.path.length", made("leaf", below, is_ca=False), below, ca, anchor=root)


def test_a_self_issued_ca_does_not_count(root: Member, ca: Member) -> None:
    renewed = made("ca", ca)
    assert len(verify(made("leaf", renewed, is_ca=False), renewed, ca, anchor=root).certificates) == 4


def test_a_path_of_more_than_six_is_refused(root: Member) -> None:
    chain = [root]
    for number in range(6):
        chain.append(made(f"ca{number}", chain[-1]))
    refused("x509.path.too_long", made("leaf", chain[-1], is_ca=False), *chain[1:], anchor=root)


def test_a_loop_of_cross_certificates_ends(root: Member) -> None:
    first_key, second_key = ec.generate_private_key(P384), ec.generate_private_key(P384)
    first = made("one", Member(made("two", None, key=second_key).certificate, second_key), key=first_key)
    second = made("two", Member(made("one", None, key=first_key).certificate, first_key), key=second_key)
    refused("x509.path.no_anchor", made("leaf", first, is_ca=False), first, second, anchor=root)


def test_a_bundle_of_lookalikes_is_given_up(root: Member) -> None:
    real = made("ca", root)
    lookalikes = [made("ca", root) for _ in range(30)]
    leaf = made("leaf", real, is_ca=False)
    refused("x509.path.too_many", leaf, *lookalikes, real, anchor=root)


def test_more_intermediates_than_the_limit_are_refused(root: Member) -> None:
    refused("x509.path.too_many", made("leaf", root, is_ca=False), *([root] * 33), anchor=root)


@pytest.mark.parametrize(
    "extension",
    [
        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
        (x509.NameConstraints([x509.DNSName("example.ee")], None), True),
        (x509.PolicyConstraints(0, None), True),
        (x509.InhibitAnyPolicy(0), False),
    ],
    ids=["unknown critical", "name constraints", "policy constraints", "inhibit any policy"],
)
def test_extensions_that_are_not_supported_are_refused(
    root: Member, extension: tuple[x509.ExtensionType, bool]
) -> None:
    middle = made("middle", root, extensions=(extension,))
    refused("x509.path.extension", made("leaf", middle, is_ca=False), middle, anchor=root)
    refused("x509.path.extension", made("leaf", root, is_ca=False, extensions=(extension,)), anchor=root)


def test_an_unknown_extension_that_is_not_critical_does_not_matter(root: Member) -> None:
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    verify(made("leaf", root, is_ca=False, extensions=((unknown, False),)), anchor=root)


def _policies(*oids: str) -> tuple[x509.ExtensionType, bool]:
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids]), False


@pytest.mark.parametrize(
    ("above", "allowed"),
    [(("1.2.3",), {"1.2.3"}), (("2.5.29.32.0",), {"1.2.3", "1.2.4"}), (("1.9",), set()), ((), set())],
)
def test_policies_are_kept_when_every_ca_between_allows_them(
    root: Member, above: tuple[str, ...], allowed: set[str]
) -> None:
    middle = made("middle", root, extensions=(_policies(*above),) if above else ())
    leaf = made("leaf", middle, is_ca=False, extensions=(_policies("1.2.3", "1.2.4"),))
    assert verify(leaf, middle, anchor=root).policies == allowed


def test_a_weak_rsa_issuer_is_refused(root: Member) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    issuer = made("weak", root, key=weak)
    refused("x509.public_key", made("leaf", issuer, is_ca=False), issuer, anchor=root)


def test_an_rsa_issuer_of_2048_bits_is_accepted(root: Member) -> None:
    issuer = made("rsa", root, key=rsa.generate_private_key(65537, 2048))
    verify(made("leaf", issuer, is_ca=False), issuer, anchor=root)


@pytest.mark.parametrize("salt", [padding.PSS.DIGEST_LENGTH, 20])
def test_an_rsa_pss_signature_is_accepted(root: Member, salt: Any) -> None:
    key = rsa.generate_private_key(65537, 2048)
    issuer = made("pss", root, key=key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("leaf"))
        .issuer_name(name("pss"))
        .public_key(ec.generate_private_key(P384).public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    leaf = Member(builder.sign(key, hashes.SHA256(), rsa_padding=pss), ec.generate_private_key(P384))
    verify(leaf, issuer, anchor=root)


# --------------------------------------------------------------------------------------- names, §7.1


def _named(*rdns: tuple[str, int, bytes]) -> bytes:
    return der.sequence(
        *(der.tlv(der.SET, der.sequence(der.oid(oid), der.tlv(tag, value))) for oid, tag, value in rdns)
    )


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (("2.5.4.3", der.UTF8_STRING, b"Some  CA "), ("2.5.4.3", der.PRINTABLE_STRING, b"some ca"), True),
        (("2.5.4.3", der.UTF8_STRING, "ŠUSLIK".encode()), ("2.5.4.3", der.UTF8_STRING, "šuslik".encode()), True),
        (("2.5.4.3", der.UTF8_STRING, b"Some CA"), ("2.5.4.10", der.UTF8_STRING, b"Some CA"), False),
        (("2.5.4.3", der.UTF8_STRING, b"Some CA"), ("2.5.4.3", der.UTF8_STRING, b"SomeCA"), False),
    ],
)
def test_names_are_compared_without_case_and_runs_of_spaces(left: Any, right: Any, same: bool) -> None:
    assert names_match(_named(left), _named(right)) is same


def test_the_order_of_rdns_matters() -> None:
    one, two = ("2.5.4.3", der.UTF8_STRING, b"a"), ("2.5.4.10", der.UTF8_STRING, b"b")
    assert not names_match(_named(one, two), _named(two, one))


def test_which_attributes_are_in_one_rdn_matters() -> None:
    one, two = ("2.5.4.3", der.UTF8_STRING, b"a"), ("2.5.4.10", der.UTF8_STRING, b"b")
    together = der.sequence(der.tlv(der.SET, *(_named(each)[4:] for each in (one, two))))
    assert not names_match(together, _named(one, two))
    assert names_match(together, der.sequence(der.tlv(der.SET, *(_named(each)[4:] for each in (two, one)))))


def test_a_very_long_name_is_taken_apart_once_and_not_for_each_signer_whose_it_might_be() -> None:
    def attribute(number: int) -> bytes:
        return der.sequence(der.oid(f"1.{number}"), der.tlv(der.UTF8_STRING, b"a"))

    rdn = der.tlv(der.SET, *(attribute(number) for number in range(29)))
    names = [der.sequence(*[rdn] * 28, der.tlv(der.SET, attribute(number))) for number in range(4)]
    other = _named(("2.5.4.3", der.UTF8_STRING, b"a"))
    started = time.process_time()
    for _ in range(100):
        assert not any(names_match(name, other) for name in names)
    assert time.process_time() - started < 0.3  # one after the other it was 1


def test_a_leaf_whose_issuer_is_written_in_another_string_type_finds_it(root: Member) -> None:
    leaf = made("leaf", root, is_ca=False, issuer_name="ROOT")
    assert verify(leaf, anchor=root).anchor == root.certificate
