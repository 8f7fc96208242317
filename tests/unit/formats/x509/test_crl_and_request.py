"""Revocation lists (RFC 5280 §5) and certification requests (RFC 2986)."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.ocsp import REASONS
from digiid.formats.x509.crl import RevokedEntry, build_crl, parse_crl, verify_crl
from digiid.formats.x509.request import verify_certificate_request
from digiid.kernel.errors import Malformed, Refused
from tests.unit.formats.fuzz import damaged, only_raises
from tests.unit.formats.x509.hierarchy import NOW, P384, Member, SmallHierarchy


def crl_of(pki: SmallHierarchy, entries: list[RevokedEntry], issuer: Member | None = None) -> bytes:
    issuer = issuer or pki.issuing
    return build_crl(
        issuer=issuer.certificate,
        key=issuer.key,
        entries=entries,
        number=77,
        this_update_at=NOW,
        next_update_at=NOW + timedelta(hours=12),
    )


ENTRIES = [RevokedEntry(2**126 + number, NOW - timedelta(days=number), reason) for number, reason in enumerate(REASONS)]


def test_a_list_is_read_back_and_verified(pki: SmallHierarchy) -> None:
    crl = verify_crl(crl_of(pki, ENTRIES), issuer=pki.issuing.certificate)
    assert (crl.number, crl.this_update_at, crl.next_update_at) == (77, NOW, NOW + timedelta(hours=12))
    for entry in ENTRIES:
        found = crl.find(entry.serial_number)
        assert found is not None and found.revoked_at == entry.revoked_at
        assert found.reason == (None if entry.reason == "unspecified" else entry.reason)
    assert crl.find(5) is None


def test_an_empty_list_is_a_list(pki: SmallHierarchy) -> None:
    assert verify_crl(crl_of(pki, []), issuer=pki.issuing.certificate).entries == {}


def test_the_library_agrees(pki: SmallHierarchy) -> None:
    loaded = x509.load_der_x509_crl(crl_of(pki, ENTRIES))
    assert loaded.is_signature_valid(pki.issuing.key.public_key())
    assert len(loaded) == len(ENTRIES)
    parsed = parse_crl(crl_of(pki, []))
    ski = pki.issuing.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert parsed.authority_key_identifier == ski


def test_a_list_of_another_ca_is_refused(pki: SmallHierarchy) -> None:
    with pytest.raises(Refused, match=r"x509\.crl_issuer"):
        verify_crl(crl_of(pki, [], pki.tsa_ca), issuer=pki.issuing.certificate)


def test_a_forged_list_is_refused(pki: SmallHierarchy, other_pki: SmallHierarchy) -> None:
    with pytest.raises(Refused, match=r"x509\.signature"):
        verify_crl(crl_of(other_pki, []), issuer=pki.issuing.certificate)


def test_a_certificate_that_may_not_sign_lists_is_refused(pki: SmallHierarchy) -> None:
    with pytest.raises(Refused, match=r"x509\.crl_issuer"):
        verify_crl(crl_of(pki, [], pki.signature), issuer=pki.signature.certificate)


def test_a_delta_list_is_malformed(pki: SmallHierarchy) -> None:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(pki.issuing.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + timedelta(hours=1))
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
    )
    with pytest.raises(Malformed, match="critical"):
        parse_crl(builder.sign(pki.issuing.key, hashes.SHA384()).public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def signed_list(pki: SmallHierarchy) -> bytes:
    return crl_of(pki, ENTRIES)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_lists_raise_only_malformed(signed_list: bytes, data: st.DataObject) -> None:
    crl = data.draw(damaged(signed_list))
    only_raises(Malformed, lambda: parse_crl(crl))


# ---------------------------------------------------------------------------------------------- requests


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "whatever the chip says")])
    built = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA384())
    return built.public_bytes(Encoding.DER)


def test_a_request_proves_possession_of_its_key() -> None:
    key = ec.generate_private_key(P384)
    verified = verify_certificate_request(request_of(key))
    assert verified.public_key == key.public_key()
    assert verified.spki_der == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_request_for_somebody_elses_key_is_refused() -> None:
    mine, theirs = ec.generate_private_key(P384), ec.generate_private_key(P384)
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    forged = request_of(mine).replace(
        mine.public_key().public_bytes(*encoding), theirs.public_key().public_bytes(*encoding)
    )
    with pytest.raises(Refused, match=r"trust\.profile\.proof_of_possession"):
        verify_certificate_request(forged)


def test_an_rsa_key_is_refused() -> None:
    with pytest.raises(Refused, match=r"trust\.profile\.key_type"):
        verify_certificate_request(request_of(rsa.generate_private_key(65537, 2048)))


def test_a_point_that_is_not_on_its_curve_is_malformed() -> None:
    key = ec.generate_private_key(P384)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    off_curve = spki[:-1] + bytes((spki[-1] ^ 1,))
    with pytest.raises(Malformed, match=r"x509\.public_key"):
        verify_certificate_request(request_of(key).replace(spki, off_curve))


@pytest.fixture(scope="module")
def signed_request() -> bytes:
    return request_of(ec.generate_private_key(P384))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_requests_are_malformed_or_refused(signed_request: bytes, data: st.DataObject) -> None:
    request = data.draw(damaged(signed_request))
    only_raises((Malformed, Refused), lambda: verify_certificate_request(request))
