"""Time-stamp protocol, both sides: RFC 3161, RFC 5816, EN 319 422."""

import hashlib
from datetime import datetime, timedelta

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import tsp as asn1_tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats import cms, der, tsp
from digiid.formats.tsp import FailureInfo, TokenBuilder
from digiid.formats.x509.parts import certificate_der
from digiid.kernel.errors import Malformed, Refused
from tests.unit.formats.fuzz import damaged, only_raises
from tests.unit.formats.x509.hierarchy import NOW, P384, Member, SmallHierarchy

IMPRINT = hashlib.sha384(b"what is stamped").digest()
SERIAL = 2**40 + 7
NONCE = 0x1122334455667788


def token_of(
    pki: SmallHierarchy,
    *,
    unit: Member | None = None,
    imprint: bytes = IMPRINT,
    hash_name: str = "sha384",
    nonce: int = NONCE,
    gen_at: datetime = NOW,
) -> bytes:
    unit = unit or pki.tsu
    request = tsp.parse_request(tsp.build_request(imprint=imprint, hash_name=hash_name, nonce=nonce))
    builder = TokenBuilder(key=unit.key, certificate=unit.certificate)
    return builder.build(request, serial_number=SERIAL, gen_at=gen_at)


# ---------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_request_is_read_back(hash_name: str) -> None:
    imprint = hashlib.new(hash_name, b"x").digest()
    request = tsp.parse_request(tsp.build_request(imprint=imprint, hash_name=hash_name, nonce=NONCE))
    assert (request.hash_name, request.imprint, request.nonce) == (hash_name, imprint, NONCE)
    assert request.wants_certificate and not request.has_extensions and request.policy is None


def test_request_is_what_asn1crypto_reads() -> None:
    request = asn1_tsp.TimeStampReq.load(
        tsp.build_request(imprint=IMPRINT, hash_name="sha384", nonce=NONCE), strict=True
    )
    assert request["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha384"
    assert request["message_imprint"]["hashed_message"].native == IMPRINT
    assert request["nonce"].native == NONCE and request["cert_req"].native is True


def _request(**fields: bytes) -> bytes:
    parts = {
        "version": der.integer(1),
        "imprint": tsp._message_imprint(IMPRINT, "sha384"),
        "policy": b"",
        "nonce": b"",
        "certificate": b"",
        "extensions": b"",
    } | fields
    return der.sequence(*parts.values())


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"policy": der.oid("1.2.3")}, "tsp.unaccepted_policy"),
        ({"extensions": der.tlv(der.context(0), b"")}, "tsp.unaccepted_extension"),
        (
            {"imprint": der.sequence(der.sequence(der.oid("1.3.14.3.2.26")), der.octet_string(bytes(20)))},
            "tsp.bad_alg",
        ),
        ({"imprint": der.sequence(der.sequence(der.oid("1.2.3")), der.octet_string(bytes(20)))}, "tsp.bad_alg"),
    ],
)
def test_what_the_server_does_not_stamp_is_refused(fields: dict[str, bytes], code: str) -> None:
    with pytest.raises(Refused) as caught:
        tsp.check_request(tsp.parse_request(_request(**fields)), policy=tsp.BTSP_POLICY)
    assert caught.value.code == code


def test_our_own_policy_is_accepted_by_name() -> None:
    tsp.check_request(tsp.parse_request(_request(policy=der.oid(tsp.BTSP_POLICY))), policy=tsp.BTSP_POLICY)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": der.integer(2)},
        {"imprint": der.sequence(der.sequence(der.oid("2.16.840.1.101.3.4.2.1")), der.octet_string(bytes(31)))},
        {"nonce": der.integer(2**600)},
        {"certificate": b"\x01\x01\x01"},
        {"nonce": der.integer(1) + der.integer(2)},
    ],
)
def test_malformed_requests(fields: dict[str, bytes]) -> None:
    with pytest.raises(Malformed):
        tsp.parse_request(_request(**fields))


# ---------------------------------------------------------------------------------------------- tokens


def test_token_is_verified_with_everything_that_was_asked(pki: SmallHierarchy) -> None:
    verified = tsp.verify_token(token_of(pki), imprint=IMPRINT, hash_name="sha384", nonce=NONCE)
    assert (verified.gen_at, verified.serial_number, verified.policy) == (NOW, SERIAL, tsp.BTSP_POLICY)
    assert verified.accuracy == timedelta(seconds=1)
    assert verified.tsu == pki.tsu.certificate and verified.certificates == (pki.tsu.certificate,)


def test_token_has_the_fields_of_the_profile(pki: SmallHierarchy) -> None:
    content = asn1_cms.ContentInfo.load(token_of(pki), strict=True)
    signed_data = content["content"]
    info = signed_data["encap_content_info"]["content"].parsed
    assert info["version"].native == "v1" and info["ordering"].native is False
    assert info["accuracy"]["seconds"].native == 1
    assert info["gen_time"].native == NOW
    assert info["tsa"].chosen.native["common_name"] == pki.profile.names.time_stamping_unit
    assert signed_data["version"].native == "v3"
    (signer,) = signed_data["signer_infos"]
    assert {attribute["type"].native for attribute in signer["signed_attrs"]} == {
        "content_type",
        "message_digest",
        "signing_time",
        "signing_certificate_v2",
        "cms_algorithm_protection",
    }
    assert signer["signature_algorithm"]["algorithm"].native == "sha384_ecdsa"
    encoded = [attribute.dump() for attribute in signer["signed_attrs"]]
    assert encoded == sorted(encoded)


def test_token_without_certificate_is_verified_with_one_handed_in(pki: SmallHierarchy) -> None:
    request = tsp.parse_request(_request())
    builder = TokenBuilder(key=pki.tsu.key, certificate=pki.tsu.certificate)
    token = builder.build(request, serial_number=1, gen_at=NOW)
    assert certificate_der(pki.tsu.certificate) not in token
    with pytest.raises(Refused, match=r"cms\.signer_certificate"):
        tsp.verify_token(token)
    verified = tsp.verify_token(token, imprint=IMPRINT, extra_certificates_der=[certificate_der(pki.tsu.certificate)])
    assert verified.nonce is None and verified.certificates == ()


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"imprint": hashlib.sha384(b"something else").digest()}, "tsp.imprint"),
        ({"hash_name": "sha256"}, "tsp.imprint"),
        ({"nonce": NONCE + 1}, "tsp.nonce"),
    ],
)
def test_a_token_about_something_else_is_refused(pki: SmallHierarchy, asked: dict[str, object], code: str) -> None:
    with pytest.raises(Refused) as caught:
        tsp.verify_token(token_of(pki), **asked)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_changed_time_is_refused(pki: SmallHierarchy) -> None:
    token = token_of(pki)
    changed = token.replace(der.generalized_time(NOW), der.generalized_time(NOW - timedelta(days=1)), 1)
    assert changed != token
    with pytest.raises(Refused, match=r"cms\.digest"):
        tsp.verify_token(changed)


def test_another_key_under_the_same_certificate_is_refused(pki: SmallHierarchy) -> None:
    forged = Member(pki.tsu.certificate, ec.generate_private_key(P384))
    with pytest.raises(Refused, match=r"cms\.signature"):
        tsp.verify_token(token_of(pki, unit=forged))


def test_a_certificate_swapped_for_one_with_the_same_name_and_serial_is_refused(pki: SmallHierarchy) -> None:
    twin = _unit(pki, serial_number=pki.tsu.certificate.serial_number, key=pki.tsu.key)
    token = token_of(pki)
    swapped = _with_certificate(token, pki.tsu.certificate, twin.certificate)
    with pytest.raises(Refused, match=r"cms\.signer_certificate"):
        tsp.verify_token(swapped)


def _with_certificate(token: bytes, old: x509.Certificate, new: x509.Certificate) -> bytes:
    content = asn1_cms.ContentInfo.load(token)
    content["content"]["certificates"] = [asn1_cms.CertificateChoices.load(certificate_der(new))]
    assert certificate_der(old) in token
    return content.dump(force=True)


def _unit(
    pki: SmallHierarchy,
    *,
    eku: tuple[str, ...] = (tsp.ID_KP_TIME_STAMPING,),
    critical: bool = True,
    key_agreement: bool = False,
    days: tuple[int, int] = (-1, 100),
    serial_number: int | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Member:
    key = key or ec.generate_private_key(P384)
    usage = x509.KeyUsage(True, False, False, False, key_agreement, False, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki.tsu.certificate.subject)
        .issuer_name(pki.tsa_ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial_number or pki.next_serial())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(usage, True)
    )
    if eku:
        oids = [x509.ObjectIdentifier(oid) for oid in eku]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical)
    return Member(builder.sign(pki.tsa_ca.key, hashes.SHA384()), key)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"eku": ()}, "tsp.usage"),
        ({"critical": False}, "tsp.usage"),
        ({"eku": (tsp.ID_KP_TIME_STAMPING, "1.3.6.1.5.5.7.3.2")}, "tsp.usage"),
        ({"eku": ("1.3.6.1.5.5.7.3.2",)}, "tsp.usage"),
        ({"key_agreement": True}, "tsp.usage"),
        ({"days": (-10, -1)}, "tsp.time"),
        ({"days": (1, 10)}, "tsp.time"),
    ],
)
def test_a_unit_with_one_thing_wrong_is_refused(pki: SmallHierarchy, changes: dict[str, object], code: str) -> None:
    with pytest.raises(Refused) as caught:
        tsp.verify_token(token_of(pki, unit=_unit(pki, **changes)))  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_token_with_two_signers_is_refused(pki: SmallHierarchy) -> None:
    content = asn1_cms.ContentInfo.load(token_of(pki))
    signer = content["content"]["signer_infos"][0].copy()
    content["content"]["signer_infos"] = [signer, signer]
    with pytest.raises(Refused, match=r"tsp\.signer"):
        tsp.verify_token(content.dump(force=True))


@pytest.mark.parametrize("kind", ["signing_certificate_v2", "content_type", "message_digest"])
def test_a_token_without_a_required_attribute_is_refused(pki: SmallHierarchy, kind: str) -> None:
    content = asn1_cms.ContentInfo.load(token_of(pki))
    signer = content["content"]["signer_infos"][0]
    signer["signed_attrs"] = [one for one in signer["signed_attrs"] if one["type"].native != kind]
    with pytest.raises(Refused, match=r"cms\."):
        tsp.verify_token(content.dump(force=True))


def test_another_digest_algorithm_than_the_protected_one_is_refused(pki: SmallHierarchy) -> None:
    token = token_of(pki)
    content = asn1_cms.ContentInfo.load(token)
    protection = next(
        one
        for one in content["content"]["signer_infos"][0]["signed_attrs"]
        if one["type"].native == "cms_algorithm_protection"
    )
    old = protection.dump()
    new = old.replace(der.oid("2.16.840.1.101.3.4.2.2"), der.oid("2.16.840.1.101.3.4.2.3"))
    assert old != new
    with pytest.raises(Refused, match=r"cms\.algorithm"):
        tsp.verify_token(token.replace(old, new))


def test_content_that_is_no_tst_info_is_malformed(pki: SmallHierarchy) -> None:
    builder = cms.SignedDataBuilder(
        content_type="1.2.840.113549.1.7.1", key=pki.tsu.key, certificate=pki.tsu.certificate
    )
    with pytest.raises(Malformed, match=r"tsp\.token"):
        tsp.verify_token(builder.build(b"data", signing_at=NOW, include_certificate=True))


@pytest.mark.parametrize(("content", "microseconds"), [(b"20261123120000.5Z", 500_000), (b"20261123120000.000001Z", 1)])
def test_a_fraction_of_a_second_in_gen_time_is_read(content: bytes, microseconds: int) -> None:
    assert tsp._decode_gen_time(content) == NOW + timedelta(microseconds=microseconds)


@pytest.mark.parametrize("content", [b"20261123120000.50Z", b"20261123120000.Z", b"20261123120000.5", b"202611231200Z"])
def test_a_gen_time_that_is_not_der_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        tsp._decode_gen_time(content)


# ---------------------------------------------------------------------------------------------- responses


def test_a_granted_response_gives_the_token(pki: SmallHierarchy) -> None:
    token = token_of(pki)
    assert tsp.parse_response(tsp.build_granted(token)) == token


@pytest.mark.parametrize("failure", list(FailureInfo))
def test_a_rejection_names_its_failure(failure: FailureInfo) -> None:
    rejection = tsp.build_rejection(failure, "why")
    with pytest.raises(Refused, match=failure.name.lower()):
        tsp.parse_response(rejection)
    info = asn1_tsp.PKIStatusInfo.load(der.Reader(rejection).take().enter().take().raw, strict=True)
    assert info["status"].native == "rejection" and info["status_string"].native == ["why"]


def test_granted_without_a_token_is_malformed() -> None:
    with pytest.raises(Malformed, match=r"tsp\.response"):
        tsp.parse_response(der.sequence(der.sequence(der.integer(0))))


# ---------------------------------------------------------------------------------------------- hostile input


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_requests_raise_only_malformed(data: st.DataObject) -> None:
    request = data.draw(damaged(tsp.build_request(imprint=IMPRINT, hash_name="sha384", nonce=NONCE)))
    only_raises(Malformed, lambda: tsp.parse_request(request))


@pytest.fixture(scope="module")
def signed_token(pki: SmallHierarchy) -> bytes:
    return token_of(pki)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_tokens_are_malformed_or_refused(signed_token: bytes, data: st.DataObject) -> None:
    token = data.draw(damaged(signed_token))
    only_raises((Malformed, Refused), lambda: tsp.verify_token(token))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_responses_are_malformed_or_refused(signed_token: bytes, data: st.DataObject) -> None:
    response = data.draw(damaged(tsp.build_granted(signed_token)))
    only_raises((Malformed, Refused), lambda: tsp.parse_response(response))
    only_raises(Malformed, lambda: cms.parse_signed_data(response))
