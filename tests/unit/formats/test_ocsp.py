"""OCSP, both sides: RFC 6960, RFC 9654."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as library
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats import der, ocsp
from digiid.formats.ocsp import CertStatus, ResponseBuilder, ResponseStatus
from digiid.formats.x509.crl import RevokedEntry, build_crl, verify_crl
from digiid.kernel.errors import Malformed, Refused
from tests.unit.formats.fuzz import damaged, only_raises
from tests.unit.formats.x509.hierarchy import NOW, P256, Member, SmallHierarchy

NONCE = bytes(range(32))


def builder_of(responder: Member) -> ResponseBuilder:
    return ResponseBuilder(
        key=responder.key, certificate=responder.certificate, archive_cutoff_at=NOW - timedelta(days=400)
    )


def respond(
    pki: SmallHierarchy,
    *,
    responder: Member | None = None,
    status: ocsp.EncodedStatus = ocsp.GOOD,
    nonce: bytes | None = NONCE,
    hash_name: str = "sha1",
    certificate: x509.Certificate | None = None,
) -> bytes:
    request = ocsp.parse_request(
        ocsp.build_request(
            certificate=certificate or pki.signature.certificate,
            issuer=pki.issuing.certificate,
            nonce=nonce,
            hash_name=hash_name,
        )
    )
    return builder_of(responder or pki.responder).build(
        cert_id_der=request.cert_id_der, status=status, nonce_der=request.nonce_der, at=NOW
    )


def verify(pki: SmallHierarchy, response: bytes, **more: object) -> ocsp.VerifiedOcsp:
    return ocsp.verify_response(response, certificate=pki.signature.certificate, issuer=pki.issuing.certificate, **more)


# ---------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_request_is_what_the_library_reads(pki: SmallHierarchy, hash_name: str) -> None:
    request = library.load_der_ocsp_request(
        ocsp.build_request(
            certificate=pki.signature.certificate, issuer=pki.issuing.certificate, nonce=NONCE, hash_name=hash_name
        )
    )
    assert request.serial_number == pki.signature.certificate.serial_number
    assert request.hash_algorithm.name == hash_name
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_request_of_the_library_is_read(pki: SmallHierarchy, algorithm: hashes.HashAlgorithm) -> None:
    built = (
        library.OCSPRequestBuilder()
        .add_certificate(pki.signature.certificate, pki.issuing.certificate, algorithm)  # type: ignore[arg-type]
        .add_extension(x509.OCSPNonce(NONCE), critical=False)
        .build()
    )
    request = ocsp.parse_request(built.public_bytes(Encoding.DER))
    assert request.hash_name == algorithm.name
    assert request.serial_number == pki.signature.certificate.serial_number
    assert (request.issuer_name_hash, request.issuer_key_hash) == (built.issuer_name_hash, built.issuer_key_hash)
    assert request.nonce_der is not None and request.nonce_der.endswith(NONCE)


def _request_body(pki: SmallHierarchy) -> bytes:
    return ocsp.build_cert_id(certificate=pki.signature.certificate, issuer=pki.issuing.certificate, hash_name="sha1")


def test_two_certificates_in_one_request_are_refused(pki: SmallHierarchy) -> None:
    single = der.sequence(_request_body(pki))
    with pytest.raises(Malformed, match=r"ocsp\.request"):
        ocsp.parse_request(der.sequence(der.sequence(der.sequence(single, single))))


def test_a_request_without_a_certificate_is_malformed() -> None:
    with pytest.raises(Malformed):
        ocsp.parse_request(der.sequence(der.sequence(der.sequence())))


def test_an_unknown_critical_extension_is_malformed(pki: SmallHierarchy) -> None:
    extension = der.sequence(der.oid("1.2.3.4"), der.boolean(True), der.octet_string(b"x"))
    listed = der.sequence(der.sequence(_request_body(pki)))
    body = der.sequence(der.sequence(listed, der.tlv(der.context(2), der.sequence(extension))))
    with pytest.raises(Malformed, match="critical"):
        ocsp.parse_request(body)


@pytest.mark.parametrize("size", [0, 132, 1000])
def test_a_nonce_of_impossible_length_is_malformed(pki: SmallHierarchy, size: int) -> None:
    extension = der.sequence(der.oid(ocsp.ID_PKIX_OCSP_NONCE), der.octet_string(bytes(size)))
    listed = der.sequence(der.sequence(_request_body(pki)))
    body = der.sequence(der.sequence(listed, der.tlv(der.context(2), der.sequence(extension))))
    with pytest.raises(Malformed, match=r"ocsp\.nonce"):
        ocsp.parse_request(body)


def test_an_oversized_request_is_malformed() -> None:
    with pytest.raises(Malformed, match=r"ocsp\.request_too_large"):
        ocsp.parse_request(bytes(ocsp.MAX_REQUEST_BYTES + 1))


def test_a_signed_request_is_read_without_its_signature(pki: SmallHierarchy) -> None:
    tbs = der.sequence(der.sequence(der.sequence(_request_body(pki))))
    signature = der.tlv(der.context(0), der.sequence(der.sequence(der.oid("1.2.3")), der.bit_string(b"sig")))
    assert ocsp.parse_request(der.sequence(tbs, signature)).serial_number == pki.signature.certificate.serial_number


# ---------------------------------------------------------------------------------------------- responses


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_cert_id_and_nonce_come_back_byte_for_byte(pki: SmallHierarchy, hash_name: str) -> None:
    request_der = ocsp.build_request(
        certificate=pki.signature.certificate, issuer=pki.issuing.certificate, nonce=NONCE, hash_name=hash_name
    )
    request = ocsp.parse_request(request_der)
    response = respond(pki, hash_name=hash_name)
    assert request.nonce_der is not None
    assert request.cert_id_der in request_der and request.cert_id_der in response
    assert request.nonce_der in request_der and request.nonce_der in response


def test_response_is_what_the_library_reads(pki: SmallHierarchy) -> None:
    loaded = library.load_der_ocsp_response(respond(pki))
    assert loaded.response_status is library.OCSPResponseStatus.SUCCESSFUL
    assert loaded.certificate_status is library.OCSPCertStatus.GOOD
    assert loaded.responder_name == pki.responder.certificate.subject and loaded.responder_key_hash is None
    assert loaded.produced_at_utc == loaded.this_update_utc == NOW
    assert loaded.next_update_utc is None
    assert loaded.certificates == [pki.responder.certificate]
    assert loaded.signature_hash_algorithm.name == "sha256"  # type: ignore[union-attr]
    assert [extension.oid.dotted_string for extension in loaded.single_extensions] == [ocsp.ID_PKIX_OCSP_ARCHIVE_CUTOFF]
    pki.responder.key.public_key().verify(loaded.signature, loaded.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_good_answer_is_verified(pki: SmallHierarchy) -> None:
    verified = verify(pki, respond(pki), nonce=NONCE)
    assert (verified.status, verified.reason, verified.revoked_at) == (CertStatus.GOOD, None, None)
    assert verified.archive_cutoff_at == NOW - timedelta(days=400)
    assert verified.responder == pki.responder.certificate and verified.nonce == NONCE


@pytest.mark.parametrize("reason", [*ocsp.REASONS, None])
def test_every_revocation_reason_is_said_and_understood(pki: SmallHierarchy, reason: str | None) -> None:
    status = ocsp.encode_revoked(revoked_at=NOW - timedelta(days=3), reason=reason)
    verified = verify(pki, respond(pki, status=status))
    assert verified.status is CertStatus.REVOKED and verified.reason == reason
    assert verified.revoked_at == NOW - timedelta(days=3)


def test_unknown_is_said_and_understood(pki: SmallHierarchy) -> None:
    assert verify(pki, respond(pki, status=ocsp.UNKNOWN)).status is CertStatus.UNKNOWN


def test_answers_in_two_seconds_carry_two_times(pki: SmallHierarchy) -> None:
    builder = builder_of(pki.responder)
    request = ocsp.parse_request(
        ocsp.build_request(certificate=pki.signature.certificate, issuer=pki.issuing.certificate, nonce=None)
    )
    for at in (NOW, NOW + timedelta(seconds=1), NOW):
        response = builder.build(cert_id_der=request.cert_id_der, status=ocsp.GOOD, nonce_der=None, at=at)
        assert verify(pki, response).produced_at == at


def test_another_certificates_answer_is_refused(pki: SmallHierarchy) -> None:
    with pytest.raises(Refused, match=r"ocsp\.cert_id"):
        verify(pki, respond(pki, certificate=pki.authentication.certificate))


def test_an_answer_about_the_same_serial_of_another_issuer_is_refused(pki: SmallHierarchy) -> None:
    response = respond(pki)
    with pytest.raises(Refused, match=r"ocsp\.cert_id"):
        ocsp.verify_response(response, certificate=pki.signature.certificate, issuer=pki.tsa_ca.certificate)


@pytest.mark.parametrize("sent", [None, b"another nonce of a replayed reply"])
def test_an_answer_without_our_nonce_is_refused(pki: SmallHierarchy, sent: bytes | None) -> None:
    with pytest.raises(Refused, match=r"ocsp\.nonce"):
        verify(pki, respond(pki, nonce=sent), nonce=NONCE)


@pytest.mark.parametrize("status", [status for status in ResponseStatus if status])
def test_an_error_response_is_refused_by_its_name(pki: SmallHierarchy, status: ResponseStatus) -> None:
    with pytest.raises(Refused, match=status.name.lower()):
        verify(pki, ocsp.build_error_response(status))


def test_a_changed_status_breaks_the_signature(pki: SmallHierarchy) -> None:
    revoked = ocsp.encode_revoked(revoked_at=NOW, reason=None)
    response = respond(pki, status=revoked)
    forged = response.replace(
        revoked.status_der, der.tlv(der.context(1), der.generalized_time(NOW + timedelta(days=9)))
    )
    assert forged != response
    with pytest.raises(Refused, match=r"ocsp\.signature"):
        verify(pki, forged)


# ------------------------------------------------------------------------- RFC 6960 §4.2.2.2: who may answer


def test_the_issuer_itself_may_answer(pki: SmallHierarchy) -> None:
    assert verify(pki, respond(pki, responder=pki.issuing)).responder == pki.issuing.certificate


def _certified(
    pki: SmallHierarchy,
    issuer: Member,
    *,
    eku: bool = True,
    nocheck: bool = True,
    key_usage: bool = True,
    days: tuple[int, int] = (-1, 100),
) -> Member:
    """A responder's certificate as another CA's software would make it, with one thing different."""
    key = ec.generate_private_key(P256)
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki.responder.certificate.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(pki.next_serial())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
    )
    if eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING]), False)
    if nocheck:
        builder = builder.add_extension(x509.OCSPNoCheck(), False)
    if not key_usage:
        usage = x509.KeyUsage(False, False, False, False, True, False, False, False, False)
        builder = builder.add_extension(usage, True)
    return Member(builder.sign(issuer.key, hashes.SHA384()), key)


def test_a_delegated_responder_of_the_issuer_may_answer(pki: SmallHierarchy) -> None:
    responder = _certified(pki, pki.issuing)
    assert verify(pki, respond(pki, responder=responder)).responder == responder.certificate


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"eku": False}, "ocsp.responder_unauthorized"),
        ({"key_usage": False}, "ocsp.responder_unauthorized"),
        ({"days": (-10, -1)}, "ocsp.responder_expired"),
        ({"days": (1, 10)}, "ocsp.responder_expired"),
        ({"nocheck": False}, "ocsp.responder_revocation_unknown"),
    ],
)
def test_a_delegated_responder_with_one_thing_wrong_is_refused(
    pki: SmallHierarchy, changes: dict[str, object], code: str
) -> None:
    responder = _certified(pki, pki.issuing, **changes)  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        verify(pki, respond(pki, responder=responder))
    assert caught.value.code == code


def test_a_responder_of_another_ca_is_refused(pki: SmallHierarchy) -> None:
    with pytest.raises(Refused, match=r"ocsp\.responder_unauthorized"):
        verify(pki, respond(pki, responder=_certified(pki, pki.tsa_ca)))


def test_a_responder_of_a_ca_with_the_same_name_and_another_key_is_refused(
    pki: SmallHierarchy, other_pki: SmallHierarchy
) -> None:
    with pytest.raises(Refused, match=r"ocsp\.responder_unauthorized"):
        verify(pki, respond(pki, responder=_certified(other_pki, other_pki.issuing)))


def test_an_ordinary_end_entity_of_the_same_ca_is_refused(pki: SmallHierarchy) -> None:
    with pytest.raises(Refused, match=r"ocsp\.responder_unauthorized"):
        verify(pki, respond(pki, responder=pki.authentication))


def test_the_subject_itself_may_not_answer_about_itself(pki: SmallHierarchy) -> None:
    with pytest.raises(Refused, match=r"ocsp\.responder_unauthorized"):
        verify(pki, respond(pki, responder=pki.signature))


def test_a_responder_named_by_a_trusted_list_may_answer(pki: SmallHierarchy, other_pki: SmallHierarchy) -> None:
    listed = other_pki.responder
    assert (
        verify(pki, respond(pki, responder=listed), extra_responders=[listed.certificate]).responder
        == listed.certificate
    )


def test_a_listed_responder_is_judged_at_produced_at(pki: SmallHierarchy) -> None:
    ended = _certified(pki, pki.tsa_ca, days=(-10, -1))
    with pytest.raises(Refused, match=r"ocsp\.responder_expired"):
        verify(pki, respond(pki, responder=ended), extra_responders=[ended.certificate])


def test_a_renewed_responder_beside_a_listed_one_of_the_same_name_may_answer(pki: SmallHierarchy) -> None:
    renewed = _certified(pki, pki.issuing)
    verified = verify(pki, respond(pki, responder=renewed), extra_responders=[pki.responder.certificate])
    assert verified.responder == renewed.certificate


@pytest.mark.parametrize("nocheck", [True, False])
def test_a_responder_on_a_revocation_list_is_refused(pki: SmallHierarchy, nocheck: bool) -> None:
    responder = _certified(pki, pki.issuing, nocheck=nocheck)
    entry = RevokedEntry(responder.certificate.serial_number, NOW - timedelta(hours=1), "keyCompromise")
    crl = verify_crl(_crl(pki, [entry]), issuer=pki.issuing.certificate)
    with pytest.raises(Refused, match=r"ocsp\.responder_revoked"):
        verify(pki, respond(pki, responder=responder), responder_crls=[crl])


def test_a_responder_that_a_revocation_list_does_not_name_may_answer(pki: SmallHierarchy) -> None:
    responder = _certified(pki, pki.issuing, nocheck=False)
    crl = verify_crl(_crl(pki, []), issuer=pki.issuing.certificate)
    assert verify(pki, respond(pki, responder=responder), responder_crls=[crl]).status is CertStatus.GOOD


def _crl(pki: SmallHierarchy, entries: list[RevokedEntry]) -> bytes:
    return build_crl(
        issuer=pki.issuing.certificate,
        key=pki.issuing.key,
        entries=entries,
        number=1,
        this_update_at=NOW,
        next_update_at=NOW + timedelta(hours=12),
    )


# ---------------------------------------------------------------------------------------------- freshness


@pytest.mark.parametrize(("seconds_later", "fresh"), [(0, True), (120, True), (121, False), (-60, True), (-61, False)])
def test_freshness_has_an_age_and_a_skew(pki: SmallHierarchy, seconds_later: int, fresh: bool) -> None:
    verified = verify(pki, respond(pki))
    now = NOW + timedelta(seconds=seconds_later)
    limits = {"max_age": timedelta(minutes=2), "max_skew": timedelta(minutes=1)}
    if fresh:
        ocsp.check_fresh(verified, now=now, **limits)
    else:
        with pytest.raises(Refused, match=r"ocsp\.not_fresh"):
            ocsp.check_fresh(verified, now=now, **limits)


def test_an_answer_past_its_next_update_is_not_fresh(pki: SmallHierarchy) -> None:
    verified = verify(pki, respond(pki))._replace(next_update_at=NOW + timedelta(minutes=1))
    with pytest.raises(Refused, match=r"ocsp\.not_fresh"):
        ocsp.check_fresh(
            verified, now=NOW + timedelta(minutes=5), max_age=timedelta(hours=1), max_skew=timedelta(seconds=1)
        )


# ---------------------------------------------------------------------------------------------- hostile input


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_requests_raise_only_malformed(pki: SmallHierarchy, data: st.DataObject) -> None:
    valid = ocsp.build_request(certificate=pki.signature.certificate, issuer=pki.issuing.certificate, nonce=NONCE)
    request = data.draw(damaged(valid))
    only_raises(Malformed, lambda: ocsp.parse_request(request))


@pytest.fixture(scope="module")
def signed_response(pki: SmallHierarchy) -> bytes:
    return respond(pki, nonce=NONCE)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_responses_are_malformed_or_refused(
    pki: SmallHierarchy, signed_response: bytes, data: st.DataObject
) -> None:
    response = data.draw(damaged(signed_response))
    only_raises((Malformed, Refused), lambda: verify(pki, response))


@given(st.binary(max_size=200))
def test_any_bytes_as_request_raise_only_malformed(data: bytes) -> None:
    only_raises(Malformed, lambda: ocsp.parse_request(data))
