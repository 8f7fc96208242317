"""OCSP, RFC 6960 and RFC 9654 (nonce): requests and basic responses, both sides.

Supported: one certificate per request, CertIDs with SHA-1 and SHA-256, byName and byKey responders,
nonce and archive cutoff. Not supported: several certificates per request, signed requests (the
signature is ignored), request chains by service locator.

The responder's half puts a response together from parts that were encoded beforehand, because a
response may never be older than two minutes and so each one is signed anew: beside the signature
there should be little to do.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from digiid.formats import der
from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.crl import VerifiedCrl
from digiid.formats.x509.parts import CertificateParts, certificate_der, names_match, parts_of
from digiid.formats.x509.signature import (
    HASH_FUNCTIONS,
    HASH_OIDS,
    hash_of_identifier,
    sign_ecdsa,
    signature_identifier,
    verify_signature,
)
from digiid.kernel.errors import Malformed, Refused

ID_PKIX_OCSP_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
ID_PKIX_OCSP_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
ID_PKIX_OCSP_ARCHIVE_CUTOFF: Final = "1.3.6.1.5.5.7.48.1.6"
ID_KP_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"  # RFC 6960 §4.2.2.2

MAX_REQUEST_BYTES: Final = 4096
MAX_RESPONSE_BYTES: Final = 64 * 1024
_MAX_NONCE_BYTES: Final = 128  # RFC 9654 §2.1
_MAX_EXTENSIONS: Final = 8
_MAX_CERTIFICATES: Final = 8
_MAX_SINGLES: Final = 8
_NONCE_OID: Final = der.oid(ID_PKIX_OCSP_NONCE)[2:]
_FRAME: Final = struct.Struct(">2sH 5sH 2sH 11s 2sH 2sH")
_SHA1_WITH_RSA: Final = der.sequence(der.oid("1.2.840.113549.1.1.5"), b"\x05\x00")  # RFC 3279 §2.2.1


class ResponseStatus(IntEnum):
    """OCSPResponseStatus, RFC 6960 §4.2.1."""

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


class CertStatus(StrEnum):
    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


# CRLReason, RFC 5280 §5.3.1, by the names that RFC 5280 gives them.
REASONS: Final = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "removeFromCRL": 8,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}
_REASON_NAMES: Final = {number: name for name, number in REASONS.items()}


# ---------------------------------------------------------------------------------------------- request


class OcspRequest(NamedTuple):
    """One question. `cert_id_der` and `nonce_der` (the whole nonce extension) go back as they came."""

    cert_id_der: bytes
    hash_name: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int
    nonce_der: bytes | None


def parse_request(request_der: bytes) -> OcspRequest:
    """Read an OCSPRequest for exactly one certificate (RFC 6960 §4.1.1).

    Raises: Malformed `der.…`, `ocsp.request`, `ocsp.request_too_large`.
    """
    if len(request_der) > MAX_REQUEST_BYTES:
        raise Malformed("ocsp.request_too_large", f"{len(request_der)} bytes, at most {MAX_REQUEST_BYTES} are read")
    # Straight down by offsets: this is read as often as a signature is made.
    data = request_der
    body, end = der.expect(data, 0, len(data), der.SEQUENCE)
    if end != len(data):
        raise Malformed("der.trailing", "something after the request")
    at, tbs_end = der.expect(data, body, end, der.SEQUENCE)
    if tbs_end != end and der.expect(data, tbs_end, end, der.CONTEXT_0)[1] != end:
        raise Malformed("der.trailing", "something after the signature")  # nothing here depends on who asks

    tag, body, stop = der.header(data, at, tbs_end)
    if tag == der.CONTEXT_0:
        if data[body:stop] != b"\x02\x01\x00":
            raise Malformed("ocsp.request", "unknown version")
        tag, body, stop = der.header(data, stop, tbs_end)
    if tag == der.CONTEXT_1:
        tag, body, stop = der.header(data, stop, tbs_end)
    if tag != der.SEQUENCE:
        raise Malformed("der.tag", "no list of requests")
    body, request_end = der.expect(data, body, stop, der.SEQUENCE)
    if request_end != stop:
        raise Malformed("ocsp.request", "more than one certificate in the request")
    _, cert_id_end = der.expect(data, body, request_end, der.SEQUENCE)
    if cert_id_end != request_end and _read_request_extensions(data, cert_id_end, request_end, 0) is not None:
        raise Malformed("ocsp.nonce", "a nonce among the extensions of a single request")
    nonce_der = _read_request_extensions(data, stop, tbs_end, 2) if stop != tbs_end else None
    hash_name, name_hash, key_hash, serial_number = _read_cert_id(data, body, cert_id_end)
    return OcspRequest(data[body:cert_id_end], hash_name, name_hash, key_hash, serial_number, nonce_der)


def _read_cert_id(data: bytes, at: int, end: int) -> tuple[str, bytes, bytes, int]:
    body, stop = der.expect(data, at, end, der.SEQUENCE)
    _, algorithm_end = der.expect(data, body, stop, der.SEQUENCE)
    name = hash_of_identifier(data[body:algorithm_end])
    name_hash, name_hash_end = der.expect(data, algorithm_end, stop, der.OCTET_STRING)
    key_hash, key_hash_end = der.expect(data, name_hash_end, stop, der.OCTET_STRING)
    serial, serial_end = der.expect(data, key_hash_end, stop, der.INTEGER)
    if serial_end != stop:
        raise Malformed("der.trailing", "something after the serial number")
    if serial_end - serial > 21 or name_hash_end - name_hash > 64 or key_hash_end - key_hash > 64:
        raise Malformed("ocsp.cert_id", "oversized CertID")
    serial_number = der.decode_integer(data[serial:serial_end])
    return name, data[name_hash:name_hash_end], data[key_hash:key_hash_end], serial_number


def _read_request_extensions(data: bytes, start: int, wrapped_end: int, number: int) -> bytes | None:
    # The nonce extension as it came, and no critical extension that we do not know (RFC 6960 §4.4).
    body, end = der.expect(data, start, wrapped_end, der.context(number))
    at, inner_end = der.expect(data, body, end, der.SEQUENCE)
    if inner_end != end or end != wrapped_end:
        raise Malformed("der.trailing", "something after the extensions")
    nonce_der: bytes | None = None
    count = 0
    while at < end:
        count += 1
        if count > _MAX_EXTENSIONS:
            raise Malformed("der.too_many", f"more than {_MAX_EXTENSIONS} extensions")
        body, stop = der.expect(data, at, end, der.SEQUENCE)
        oid_body, oid_end = der.expect(data, body, stop, der.OBJECT_IDENTIFIER)
        tag, value, value_end = der.header(data, oid_end, stop)
        critical = False
        if tag == der.BOOLEAN:
            critical = der.decode_boolean(data[value:value_end])
            tag, value, value_end = der.header(data, value_end, stop)
        if tag != der.OCTET_STRING or value_end != stop:
            raise Malformed("ocsp.request", "an extension is not an OCTET STRING")
        if data[oid_body:oid_end] == _NONCE_OID:
            # Two bytes more for the OCTET STRING around the nonce, three when it is longer than 127.
            if nonce_der is not None or not 1 <= value_end - value <= _MAX_NONCE_BYTES + 3:
                raise Malformed("ocsp.nonce", "a nonce is 1 to 128 bytes and comes once")
            nonce_der = data[at:stop]
        elif critical:
            raise Malformed("ocsp.request", "unknown critical extension")
        at = stop
    return nonce_der


def build_request(
    *,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    nonce: bytes | None,
    hash_name: str = "sha1",
    certificate_parts: CertificateParts | None = None,
    issuer_parts: CertificateParts | None = None,
) -> bytes:
    """An OCSPRequest for `certificate`. `nonce` is 1 to 128 unpredictable bytes, or None.

    SHA-1 in a CertID names the issuer and protects nothing; it is what every responder understands.
    `certificate_parts` and `issuer_parts` spare a second reading of the two.
    """
    if nonce is not None and not 1 <= len(nonce) <= _MAX_NONCE_BYTES:
        raise ValueError("a nonce has 1 to 128 bytes")
    cert_id = _build_cert_id(certificate_parts or parts_of(certificate), issuer_parts or parts_of(issuer), hash_name)
    listed = der.sequence(der.sequence(cert_id))
    extensions = b""
    if nonce is not None:
        extensions = der.tlv(der.CONTEXT_2, der.sequence(_nonce_extension(nonce)))
    return der.sequence(der.sequence(listed, extensions))


def _nonce_extension(nonce: bytes) -> bytes:
    return der.sequence(der.oid(ID_PKIX_OCSP_NONCE), der.octet_string(der.octet_string(nonce)))


def build_cert_id(*, certificate: x509.Certificate, issuer: x509.Certificate, hash_name: str) -> bytes:
    """The CertID of `certificate` under `issuer` (RFC 6960 §4.1.1)."""
    return _build_cert_id(parts_of(certificate), parts_of(issuer), hash_name)


def _build_cert_id(certificate: CertificateParts, issuer: CertificateParts, hash_name: str) -> bytes:
    if hash_name not in ("sha1", "sha256"):
        raise ValueError("a CertID uses sha1 or sha256")
    name_hash, key_hash = issuer_hashes(issuer, hash_name)
    return der.sequence(
        der.sequence(der.oid(HASH_OIDS[hash_name]), b"\x05\x00"),
        der.octet_string(name_hash),
        der.octet_string(key_hash),
        certificate.serial_der,
    )


def issuer_hashes(issuer: CertificateParts, hash_name: str) -> tuple[bytes, bytes]:
    """issuerNameHash and issuerKeyHash: over the issuer's subject name and its key's BIT STRING content."""
    found: tuple[bytes, bytes] | None = issuer.read_before.get(hash_name)
    if found is None:
        new = HASH_FUNCTIONS[hash_name]
        found = new(issuer.subject_der).digest(), new(issuer.public_key_bits).digest()
        issuer.read_before[hash_name] = found
    return found


# ----------------------------------------------------------------------------------------- responder


@dataclass(frozen=True, slots=True)
class EncodedStatus:
    """A CertStatus as it stands in a response, encoded once when the status changes."""

    status: CertStatus
    status_der: bytes


GOOD: Final = EncodedStatus(CertStatus.GOOD, b"\x80\x00")
UNKNOWN: Final = EncodedStatus(CertStatus.UNKNOWN, b"\x82\x00")


def encode_revoked(*, revoked_at: datetime, reason: str | None) -> EncodedStatus:
    """`revoked` with its time and, when there is one, a reason of REASONS."""
    reason_der = b"" if reason is None else der.tlv(der.CONTEXT_0, der.enumerated(REASONS[reason]))
    encoded = der.tlv(der.CONTEXT_1, der.generalized_time(revoked_at), reason_der)
    return EncodedStatus(CertStatus.REVOKED, encoded)


class ResponseBuilder:
    """Signs responses with one delegated responder key. Holds no status and no clock.

    responderID is byName, producedAt equals thisUpdate, there is no nextUpdate, the archive cutoff is
    a single extension, and the nonce goes back as it came.
    """

    def __init__(
        self, *, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, archive_cutoff_at: datetime
    ) -> None:
        parts = parts_of(certificate)
        self._key = key
        if key.curve.name not in ("secp256r1", "secp384r1"):
            raise ValueError("a responder's key is on P-256 or P-384")
        self._algorithm = signature_identifier(key)
        # P-256 signs through the library's call directly: one function call less on the hot path.
        self._ecdsa = ec.ECDSA(hashes.SHA256()) if key.curve.name == "secp256r1" else None
        self._responder_id = der.tlv(der.CONTEXT_1, parts.subject_der)
        cutoff = der.sequence(
            der.oid(ID_PKIX_OCSP_ARCHIVE_CUTOFF), der.octet_string(der.generalized_time(archive_cutoff_at))
        )
        self._single_extensions = der.tlv(der.CONTEXT_1, der.sequence(cutoff))
        self._certificates = der.tlv(der.CONTEXT_0, der.sequence(certificate_der(certificate)))
        self._basic = der.oid(ID_PKIX_OCSP_BASIC)
        self._time = (0, b"")

    def build(self, *, cert_id_der: bytes, status: EncodedStatus, nonce_der: bytes | None, at: datetime) -> bytes:
        """A signed OCSPResponse. `cert_id_der` and `nonce_der` come from the request, unchanged."""
        tlv = der.tlv
        seconds = int(at.timestamp())
        known, time_der = self._time
        if known != seconds:
            time_der = der.generalized_time(at)
            self._time = (seconds, time_der)
        single = tlv(0x30, cert_id_der + status.status_der + time_der + self._single_extensions)
        body = self._responder_id + time_der + tlv(0x30, single)
        if nonce_der is not None:
            body += tlv(0xA1, tlv(0x30, nonce_der))
        tbs = tlv(0x30, body)
        key = self._key
        signature = key.sign(tbs, self._ecdsa) if self._ecdsa else sign_ecdsa(key, tbs)
        # BIT STRING of an ECDSA signature on P-384 at most: its length fits one byte.
        bits = b"\x03" + bytes((len(signature) + 1, 0)) + signature
        basic = b"".join((tbs, self._algorithm, bits, self._certificates))
        size = len(basic)
        if not 0x100 <= size <= 0xFF00:
            raise ValueError("a response carries one certificate of ordinary size")
        # Five levels around it, each with a length of two bytes: OCSPResponse { successful, [0] { basic, OCTET
        # STRING { BasicOCSPResponse } } }.
        return (
            _FRAME.pack(
                *(b"\x30\x82", size + 30, b"\x0a\x01\x00\xa0\x82", size + 23, b"\x30\x82", size + 19),
                *(self._basic, b"\x04\x82", size + 4, b"\x30\x82", size),
            )
            + basic
        )


def build_error_response(status: ResponseStatus) -> bytes:
    """An OCSPResponse that only says why there is no answer (RFC 6960 §2.3)."""
    if status is ResponseStatus.SUCCESSFUL:
        raise ValueError("a successful response carries an answer")
    return der.sequence(der.enumerated(status))


# ------------------------------------------------------------------------------------------ client


class VerifiedOcsp(NamedTuple):
    """What an authorised responder said. Freshness is the caller's question: check_fresh."""

    status: CertStatus
    produced_at: datetime
    this_update_at: datetime
    next_update_at: datetime | None
    revoked_at: datetime | None
    reason: str | None
    responder: x509.Certificate
    nonce: bytes | None
    archive_cutoff_at: datetime | None


_SIGNING: Final = frozenset((x509_parts.DIGITAL_SIGNATURE, x509_parts.CONTENT_COMMITMENT))
# What stands where, up to the next part that may be left out (RFC 6960 §4.2.1).
_RESPONSE_BYTES: Final = bytes((der.OBJECT_IDENTIFIER, der.OCTET_STRING))
_BASIC_RESPONSE: Final = bytes((der.SEQUENCE, der.SEQUENCE, der.BIT_STRING))
_BASIC_OID: Final = der.oid(ID_PKIX_OCSP_BASIC)[2:]


class _Response(NamedTuple):
    """`singles` are the places in `data` where the single responses begin and end."""

    data: bytes
    tbs_der: bytes
    algorithm_der: bytes
    signature: bytes
    certificates: tuple[bytes, ...]
    responder_name_der: bytes | None
    responder_key_hash: bytes | None
    produced_at: datetime
    singles: tuple[tuple[int, int], ...]
    nonce: bytes | None
    archive_cutoff_at: datetime | None


def verify_response(
    response_der: bytes,
    *,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    nonce: bytes | None = None,
    extra_responders: Sequence[x509.Certificate] = (),
    responder_crls: Sequence[VerifiedCrl] = (),
    certificate_parts: CertificateParts | None = None,
    issuer_parts: CertificateParts | None = None,
    sha1_until: datetime | None = None,
    known: x509_parts.KnownCertificates = x509_parts.NONE_KNOWN,
) -> VerifiedOcsp:
    """Verify a response about `certificate`, which `issuer` issued.

    The responder is authorised by RFC 6960 §4.2.2.2, judged at producedAt: it is the issuer itself,
    or one of `extra_responders` (named by a trusted list), or holds a certificate with OCSPSigning
    that the issuer signed directly. That certificate has to carry ocsp-nocheck, or not be revoked
    on a CRL of the issuer among `responder_crls`; one whose revocation nobody can check is refused.
    `certificate_parts` and `issuer_parts` spare a second reading of the two. A response that was produced before
    `sha1_until` may be signed with RSA (1024 bits and more) and SHA-1, as all of them once were. Certificates among
    `known` are not read again, and are no more trusted for it.

    Raises:
        Malformed: `der.…`, `ocsp.response`.
        Refused: `ocsp.response_status`, `ocsp.cert_id`, `ocsp.responder_unauthorized`,
            `ocsp.responder_expired`, `ocsp.responder_revoked`, `ocsp.responder_revocation_unknown`,
            `ocsp.signature`, `ocsp.nonce`, `ocsp.times`.
    """
    # 1 read
    response = _parse_response(response_der)
    subject = certificate_parts or parts_of(certificate)
    issuer_parts = issuer_parts or parts_of(issuer)

    # 2 the one answer about this certificate
    single = _find_single(response, subject, issuer_parts)

    # 3 the signature, by one of the certificates that carry the responder's name or key
    sha1 = sha1_until is not None and response.produced_at < sha1_until
    responder = _find_signer(response, issuer, issuer_parts, extra_responders, sha1=sha1, known=known)

    # 4 may that one answer for this issuer
    if not responder.is_trusted:
        _check_delegated(responder.parts, issuer, issuer_parts, response.produced_at, responder_crls, sha1=sha1)
    elif not responder.parts.not_before_at <= response.produced_at <= responder.parts.not_after_at:
        raise Refused("ocsp.responder_expired", "the responder's certificate was not valid at producedAt")

    # 5 our own nonce came back
    if nonce is not None and response.nonce != nonce:
        raise Refused("ocsp.nonce", "the response does not carry the nonce of the request")
    return _read_single(single, response, responder.certificate)


def list_serial_numbers(response_der: bytes) -> frozenset[int]:
    """Of the certificates that an unverified response is about, whichever CA issued them. About any other certificate
    `verify_response` refuses it with `ocsp.cert_id`.

    Raises: Malformed `der.…`, `ocsp.response`; Refused `ocsp.response_status`.
    """
    response = _parse_response(response_der)
    found: list[int] = []
    for start, end in response.singles:
        at, _ = der.expect(response.data, start, end, der.SEQUENCE)
        _, cert_id_end = der.expect(response.data, at, end, der.SEQUENCE)
        found.append(_read_cert_id(response.data, at, cert_id_end)[3])
    return frozenset(found)


def check_fresh(verified: VerifiedOcsp, *, now: datetime, max_age: timedelta, max_skew: timedelta) -> None:
    """Refuse an answer that is too old, from the future, or past its nextUpdate.

    Raises: Refused `ocsp.not_fresh`.
    """
    if verified.this_update_at > now + max_skew or verified.produced_at > now + max_skew:
        raise Refused("ocsp.not_fresh", "the response comes from the future")
    if verified.this_update_at < now - max_age:
        raise Refused("ocsp.not_fresh", "the response is too old")
    if verified.next_update_at is not None and verified.next_update_at < now - max_skew:
        raise Refused("ocsp.not_fresh", "the response is past its nextUpdate")


def _parse_response(response_der: bytes) -> _Response:
    # 1 down to the basic response, by offsets: it is read in every verdict
    data, size = response_der, len(response_der)
    if size > MAX_RESPONSE_BYTES:
        raise Malformed("der.too_large", f"{size} bytes, at most {MAX_RESPONSE_BYTES} are read")
    at, outer_end = der.expect(data, 0, size, der.SEQUENCE)
    body, at = der.expect(data, at, outer_end, der.ENUMERATED)
    status = der.decode_integer(data[body:at])
    wrapped, wrapped_end = (at, at) if at == outer_end else der.expect(data, at, outer_end, der.CONTEXT_0)
    if not wrapped_end == outer_end == size:
        raise Malformed("der.trailing", "something after the response")
    if status != ResponseStatus.SUCCESSFUL:
        names = {int(member): member.name.lower() for member in ResponseStatus}
        raise Refused("ocsp.response_status", f"the responder answered {names.get(status, status)}")
    if at == outer_end:
        raise Malformed("ocsp.response", "successful without responseBytes")
    at, end = der.expect(data, wrapped, wrapped_end, der.SEQUENCE)
    oid, oid_end, holder, holder_end = der.fields(data, at, end, _RESPONSE_BYTES)
    if data[oid:oid_end] != _BASIC_OID:
        raise Malformed("ocsp.response", "not a basic response")
    at, end = der.expect(data, holder, holder_end, der.SEQUENCE)
    if not end == holder_end == outer_end:
        raise Malformed("der.trailing", "something after the basic response")

    # 2 its parts
    tbs_at, (body, tbs_end, _, algorithm_end, bits, bits_end) = at, der.fields(data, at, end, _BASIC_RESPONSE)
    certificates = () if bits_end == end else _read_certificates(data, bits_end, end)

    # 3 what is signed
    at = body
    if at < tbs_end and data[at] == der.CONTEXT_0:
        body, at = der.expect(data, at, tbs_end, der.CONTEXT_0)
        if data[body:at] != b"\x02\x01\x00":
            raise Malformed("ocsp.response", "unknown version")
    name_der, key_hash, at = _read_responder_id(data, at, tbs_end)
    body, at = der.expect(data, at, tbs_end, der.GENERALIZED_TIME)
    produced_at = der.decode_time(der.GENERALIZED_TIME, data[body:at])
    body, at = der.expect(data, at, tbs_end, der.SEQUENCE)
    singles = _list_sequences(data, body, at, limit=_MAX_SINGLES)
    nonce, cutoff_at = (None, None) if at == tbs_end else _read_response_extensions(data, at, tbs_end)
    return _Response(
        data,
        data[tbs_at:tbs_end],
        data[tbs_end:algorithm_end],
        der.decode_bit_string(data[bits:bits_end]),
        certificates,
        name_der,
        key_hash,
        produced_at,
        singles,
        nonce,
        cutoff_at,
    )


def _read_certificates(data: bytes, at: int, end: int) -> tuple[bytes, ...]:
    body, stop = der.expect(data, at, end, der.CONTEXT_0)
    body, body_end = der.expect(data, body, stop, der.SEQUENCE)
    if not body_end == stop == end:
        raise Malformed("der.trailing", "something after the certificates")
    return tuple([data[start:stop] for start, stop in _list_sequences(data, body, end, limit=_MAX_CERTIFICATES)])


def _list_sequences(data: bytes, at: int, end: int, *, limit: int) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    while at < end:
        if len(found) >= limit:
            raise Malformed("der.too_many", f"more than {limit} elements")
        start, (_, at) = at, der.expect(data, at, end, der.SEQUENCE)
        found.append((start, at))
    return tuple(found)


def _read_responder_id(data: bytes, at: int, end: int) -> tuple[bytes | None, bytes | None, int]:
    """The responder's name or else the hash of its key, and where that ends."""
    is_name = at < end and data[at] == der.CONTEXT_1
    body, at = der.expect(data, at, end, der.CONTEXT_1 if is_name else der.CONTEXT_2)
    inner, inner_end = der.expect(data, body, at, der.SEQUENCE if is_name else der.OCTET_STRING)
    if inner_end != at:
        raise Malformed("der.trailing", "something after the responder's name")
    return (data[body:at], None, at) if is_name else (None, data[inner:inner_end], at)


def _read_response_extensions(data: bytes, at: int, end: int) -> tuple[bytes | None, datetime | None]:
    """Nonce and archive cutoff among the `[1] Extensions`, which are the last thing before `end`."""
    body, stop = der.expect(data, at, end, der.CONTEXT_1)
    listed = der.Reader(data, body, stop).take(der.SEQUENCE)
    if not listed.end == stop == end:
        raise Malformed("der.trailing", "something after the extensions")
    nonce: bytes | None = None
    cutoff_at: datetime | None = None
    for oid, extension in x509_parts.read_extensions(listed).items():
        if oid == ID_PKIX_OCSP_NONCE:
            nonce = _unwrap_nonce(extension.value)
        elif oid == ID_PKIX_OCSP_ARCHIVE_CUTOFF:
            cutoff_at = der.read_time(der.Reader(extension.value).take(der.GENERALIZED_TIME))
        elif extension.critical:
            raise Malformed("ocsp.response", f"unknown critical extension {oid}")
    return nonce, cutoff_at


def _unwrap_nonce(value: bytes) -> bytes:
    # RFC 6960 puts an OCTET STRING around it; some responders of the time before RFC 8954 do not.
    try:
        outer = der.Reader(value)
        content = outer.take(der.OCTET_STRING).content
        outer.finish()
    except Malformed:
        return value
    return content


def _find_single(response: _Response, subject: CertificateParts, issuer: CertificateParts) -> tuple[int, int]:
    """The place, behind the CertID, of the one answer about this certificate."""
    data = response.data
    matching: list[tuple[int, int]] = []
    for start, end in response.singles:
        at, _ = der.expect(data, start, end, der.SEQUENCE)
        _, cert_id_end = der.expect(data, at, end, der.SEQUENCE)
        hash_name, name_hash, key_hash, serial_number = _read_cert_id(data, at, cert_id_end)
        if hash_name not in HASH_OIDS or serial_number != subject.serial_number:
            continue
        if (name_hash, key_hash) == issuer_hashes(issuer, hash_name):
            matching.append((cert_id_end, end))
    if len(matching) != 1:
        raise Refused("ocsp.cert_id", f"{len(matching)} answers about this certificate, expected one")
    if not names_match(subject.issuer_der, issuer.subject_der):
        raise Refused("ocsp.cert_id", "the certificate does not name this issuer")
    return matching[0]


class _Responder(NamedTuple):
    certificate: x509.Certificate
    parts: CertificateParts
    is_trusted: bool  # the issuer itself, or named by the caller


def _find_signer(
    response: _Response,
    issuer: x509.Certificate,
    issuer_parts: CertificateParts,
    extra_responders: Sequence[x509.Certificate],
    *,
    sha1: bool,
    known: x509_parts.KnownCertificates,
) -> _Responder:
    # A name alone does not say which key: a responder keeps its name when its certificate is renewed.
    offered = [_Responder(issuer, issuer_parts, True)]
    offered += [_Responder(certificate, parts_of(certificate), True) for certificate in extra_responders]
    offered += [_Responder(*x509_parts.read_certificate(encoded, known), False) for encoded in response.certificates]
    # Names equal byte for byte come first: to compare the others costs more than reading the response.
    candidates = [one for one in offered if response.responder_name_der == one.parts.subject_der]
    candidates = candidates or [one for one in offered if _is_responder(response, one.parts)]
    if not candidates:
        raise Refused("ocsp.responder_unauthorized", "no certificate for the responder")
    for candidate in candidates:
        try:
            _verify(candidate.certificate, response.algorithm_der, response.signature, response.tbs_der, sha1=sha1)
        except Refused:
            continue
        return candidate
    raise Refused("ocsp.signature", "no certificate of the responder verifies the signature")


def _verify(signer: x509.Certificate, algorithm_der: bytes, signature: bytes, message: bytes, *, sha1: bool) -> None:
    key = x509_parts.public_key_of(signer)
    if not (sha1 and algorithm_der == _SHA1_WITH_RSA and isinstance(key, rsa.RSAPublicKey) and key.key_size >= 1024):
        verify_signature(key, algorithm_der=algorithm_der, signature=signature, message=message)
        return
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - as at its time, see sha1_until
    except InvalidSignature as error:
        raise Refused("ocsp.signature", "the signature does not verify") from error


def _is_responder(response: _Response, parts: CertificateParts) -> bool:
    if response.responder_name_der is not None:
        return names_match(response.responder_name_der, parts.subject_der)
    key_hash = hashlib.sha1(parts.public_key_bits, usedforsecurity=False).digest()
    return key_hash == response.responder_key_hash


def _check_delegated(
    responder: CertificateParts,
    issuer: x509.Certificate,
    issuer_parts: CertificateParts,
    at: datetime,
    crls: Sequence[VerifiedCrl],
    *,
    sha1: bool,
) -> None:
    if ID_KP_OCSP_SIGNING not in (responder.extended_key_usage() or ()):
        raise Refused("ocsp.responder_unauthorized", "the responder's certificate lacks OCSPSigning")
    usage = responder.key_usage()
    if usage is not None and usage.isdisjoint(_SIGNING):
        raise Refused("ocsp.responder_unauthorized", "the responder's key may not sign")
    if not names_match(responder.issuer_der, issuer_parts.subject_der):
        raise Refused("ocsp.responder_unauthorized", "another CA issued the responder's certificate")
    if responder.inner_algorithm_der != responder.algorithm_der:
        raise Refused("ocsp.responder_unauthorized", "the two signature algorithms of the certificate differ")
    try:
        _verify(issuer, responder.algorithm_der, responder.signature, responder.tbs_der, sha1=sha1)
    except Refused as error:
        raise Refused("ocsp.responder_unauthorized", "the issuer did not sign the responder's certificate") from error
    if not responder.not_before_at <= at <= responder.not_after_at:
        raise Refused("ocsp.responder_expired", "the responder's certificate was not valid at producedAt")
    _check_responder_revocation(responder, issuer_parts, at, crls)


def _check_responder_revocation(
    responder: CertificateParts, issuer: CertificateParts, at: datetime, crls: Sequence[VerifiedCrl]
) -> None:
    own = [crl for crl in crls if names_match(crl.issuer_der, issuer.subject_der)]
    for crl in own:
        entry = crl.find(responder.serial_number)
        if entry is not None and entry.revoked_at <= at:
            raise Refused("ocsp.responder_revoked", "the responder's certificate was revoked at producedAt")
    if not own and x509_parts.OCSP_NO_CHECK not in responder.extensions:
        raise Refused("ocsp.responder_revocation_unknown", "no ocsp-nocheck and no CRL for the responder's certificate")


def _read_single(place: tuple[int, int], response: _Response, responder: x509.Certificate) -> VerifiedOcsp:
    data, (at, end) = response.data, place
    status, revoked_at, reason, at = _read_status(data, at, end)
    body, at = der.expect(data, at, end, der.GENERALIZED_TIME)
    this_update_at = der.decode_time(der.GENERALIZED_TIME, data[body:at])
    next_update_at, cutoff_at = None, None
    if at < end and data[at] == der.CONTEXT_0:
        wrapped, at = der.expect(data, at, end, der.CONTEXT_0)
        body, stop = der.expect(data, wrapped, at, der.GENERALIZED_TIME)
        if stop != at:
            raise Malformed("der.trailing", "something after nextUpdate")
        next_update_at = der.decode_time(der.GENERALIZED_TIME, data[body:stop])
    if at != end:
        _, cutoff_at = _read_response_extensions(data, at, end)
    if this_update_at > response.produced_at or (next_update_at is not None and next_update_at < this_update_at):
        raise Refused("ocsp.times", "thisUpdate, producedAt and nextUpdate contradict one another")
    return VerifiedOcsp(
        status,
        response.produced_at,
        this_update_at,
        next_update_at,
        revoked_at,
        reason,
        responder,
        response.nonce,
        cutoff_at or response.archive_cutoff_at,
    )


def _read_status(data: bytes, at: int, end: int) -> tuple[CertStatus, datetime | None, str | None, int]:
    """The status, when and why it was revoked, and where that ends."""
    tag, body, end = der.header(data, at, end)
    if tag == der.PRIMITIVE_0 and end == body:
        return CertStatus.GOOD, None, None, end
    if tag == der.PRIMITIVE_2 and end == body:
        return CertStatus.UNKNOWN, None, None, end
    if tag != der.CONTEXT_1:
        raise Malformed("ocsp.response", "no such certStatus")
    at, at_end = der.expect(data, body, end, der.GENERALIZED_TIME)
    revoked_at = der.decode_time(der.GENERALIZED_TIME, data[at:at_end])
    if at_end == end:
        return CertStatus.REVOKED, revoked_at, None, end
    reader = der.Reader(data, at_end, end)
    number = der.read_integer(reader.take(der.CONTEXT_0).only(der.ENUMERATED))
    reader.finish()
    if number not in _REASON_NAMES:
        raise Malformed("ocsp.response", f"no such reason {number}")
    return CertStatus.REVOKED, revoked_at, _REASON_NAMES[number], end
