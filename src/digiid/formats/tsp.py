"""Time-stamp protocol, RFC 3161 with RFC 5816 (ESSCertIDv2), profile of ETSI EN 319 422.

Both sides. Imprints are SHA-256, SHA-384 or SHA-512; SHA-1 and MD5 are refused. Not supported:
request extensions (none is defined that we would know), ordering, tokens with several signers. Requests and responses
are DER; a token may be BER around what it signs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats import ber, cms, der
from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.parts import parts_of
from digiid.formats.x509.signature import HASH_OIDS, hash_of_identifier
from digiid.kernel.errors import Malformed, Refused

ID_CT_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
ID_KP_TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"  # RFC 3161 §2.3
BTSP_POLICY: Final = "0.4.0.2023.1.1"  # EN 319 421: best practices time-stamp policy

MAX_REQUEST_BYTES: Final = 4096
MAX_RESPONSE_BYTES: Final = 256 * 1024
IMPRINT_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
_MAX_NONCE_BITS: Final = 512
_MAX_SERIAL_BITS: Final = 160  # RFC 3161 §2.4.2
_MAX_REVOCATION_VALUES: Final = 4  # of each kind that are passed on, of the token of one unit
_ACCURACY_ONE_SECOND: Final = b"\x30\x03\x02\x01\x01"
_SIGNING: Final = frozenset((x509_parts.DIGITAL_SIGNATURE, x509_parts.CONTENT_COMMITMENT))
_ONE_SECOND: Final = timedelta(seconds=1)
_DIRECTORY_NAME: Final = der.context(4)  # among the GeneralNames
_NO_ACCURACY: Final = timedelta(0)
# What stands where, up to the next part that may be left out.
_TST_INFO: Final = bytes((der.INTEGER, der.OBJECT_IDENTIFIER, der.SEQUENCE, der.INTEGER))
_IMPRINT: Final = bytes((der.SEQUENCE, der.OCTET_STRING))


class FailureInfo(IntEnum):
    """PKIFailureInfo bits, RFC 3161 §2.4.2."""

    BAD_ALG = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    SYSTEM_FAILURE = 25


# ---------------------------------------------------------------------------------------------- request


@dataclass(frozen=True, slots=True)
class TimeStampRequest:
    """`hash_name` is a dotted OID when we know no name for it; the server refuses it then."""

    hash_name: str
    imprint: bytes
    policy: str | None
    nonce: int | None
    wants_certificate: bool
    has_extensions: bool


def build_request(*, imprint: bytes, hash_name: str, nonce: int) -> bytes:
    """A TimeStampReq that asks for the TSU certificate. `imprint` is the digest itself."""
    if IMPRINT_BYTES.get(hash_name) != len(imprint):
        raise ValueError("imprint and hash do not fit together")
    return der.sequence(der.integer(1), _message_imprint(imprint, hash_name), der.integer(nonce), der.boolean(True))


def _message_imprint(imprint: bytes, hash_name: str) -> bytes:
    # NULL parameters: what OpenSSL and every deployed TSA writes and expects to get back.
    return der.sequence(der.sequence(der.oid(HASH_OIDS[hash_name]), b"\x05\x00"), der.octet_string(imprint))


def parse_request(request_der: bytes) -> TimeStampRequest:
    """Read a TimeStampReq (RFC 3161 §2.4.1). Raises: Malformed `der.…`, `tsp.request`, `tsp.request_too_large`."""
    if len(request_der) > MAX_REQUEST_BYTES:
        raise Malformed("tsp.request_too_large", f"{len(request_der)} bytes, at most {MAX_REQUEST_BYTES} are read")
    reader = der.read_whole(request_der, max_bytes=MAX_REQUEST_BYTES)
    if der.read_integer(reader.take(der.INTEGER)) != 1:
        raise Malformed("tsp.request", "unknown version")
    hash_name, imprint = _read_imprint(reader.take(der.SEQUENCE))
    policy = reader.take_if(der.OBJECT_IDENTIFIER)
    nonce = reader.take_if(der.INTEGER)
    wants_certificate = reader.take_if(der.BOOLEAN)
    extensions = reader.take_if(der.CONTEXT_0)
    reader.finish()
    return TimeStampRequest(
        hash_name=hash_name,
        imprint=imprint,
        policy=der.read_oid(policy) if policy else None,
        nonce=_read_nonce(nonce) if nonce else None,
        wants_certificate=der.read_boolean(wants_certificate) if wants_certificate else False,
        has_extensions=extensions is not None,
    )


def _read_imprint(element: der.Element) -> tuple[str, bytes]:
    return _imprint_at(element.data, element.start, element.end)


def _imprint_at(data: bytes, at: int, end: int) -> tuple[str, bytes]:
    body, stop = der.expect(data, at, end, der.SEQUENCE)
    _, algorithm_end, digest, digest_end = der.fields(data, body, stop, _IMPRINT)
    if digest_end != stop:
        raise Malformed("der.trailing", "something after the imprint")
    hash_name, imprint = hash_of_identifier(data[body:algorithm_end]), data[digest:digest_end]
    expected = IMPRINT_BYTES.get(hash_name)
    if len(imprint) > 64 or (expected is not None and len(imprint) != expected):
        raise Malformed("tsp.imprint", "the imprint has not the length of its hash")
    return hash_name, imprint


def _read_nonce(element: der.Element) -> int:
    nonce = der.read_integer(element)
    if nonce.bit_length() > _MAX_NONCE_BITS:
        raise Malformed("tsp.nonce", "oversized nonce")
    return nonce


def check_request(request: TimeStampRequest, *, policy: str) -> None:
    """What this server stamps: a known hash, its own policy, no extensions.

    Raises: Refused `tsp.bad_alg`, `tsp.unaccepted_policy`, `tsp.unaccepted_extension`.
    """
    if request.hash_name not in IMPRINT_BYTES:
        raise Refused("tsp.bad_alg", f"imprints with {request.hash_name} are not stamped")
    if request.policy is not None and request.policy != policy:
        raise Refused("tsp.unaccepted_policy", f"policy {request.policy} is not offered")
    if request.has_extensions:
        raise Refused("tsp.unaccepted_extension", "request extensions are not known here")


# ----------------------------------------------------------------------------------------------- server


class TokenBuilder:
    """Makes tokens with one time-stamping unit. Holds no serial numbers and no clock."""

    def __init__(
        self, *, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, policy: str = BTSP_POLICY
    ) -> None:
        self.policy = policy
        self._signed_data = cms.SignedDataBuilder(content_type=ID_CT_TST_INFO, key=key, certificate=certificate)
        self._policy = der.oid(policy)
        # GeneralName directoryName inside the EXPLICIT [0] of `tsa`
        self._tsa = der.tlv(der.CONTEXT_0, der.tlv(der.context(4), parts_of(certificate).subject_der))

    def build(self, request: TimeStampRequest, *, serial_number: int, gen_at: datetime) -> bytes:
        """A token (ContentInfo DER) for a request that passed check_request; genTime in whole seconds."""
        info = der.sequence(
            der.integer(1),
            self._policy,
            _message_imprint(request.imprint, request.hash_name),
            der.integer(serial_number),
            der.generalized_time(gen_at),
            _ACCURACY_ONE_SECOND,
            der.integer(request.nonce) if request.nonce is not None else b"",
            self._tsa,
        )
        return self._signed_data.build(info, signing_at=gen_at, include_certificate=request.wants_certificate)


def build_granted(token_der: bytes) -> bytes:
    """TimeStampResp with status granted."""
    return der.sequence(b"\x30\x03\x02\x01\x00", token_der)


def build_rejection(failure: FailureInfo, text: str) -> bytes:
    """TimeStampResp with status rejection, one failInfo bit and a sentence for a person."""
    free_text = der.sequence(der.tlv(der.UTF8_STRING, text.encode()))
    return der.sequence(der.sequence(der.integer(2), free_text, der.named_bits(frozenset({int(failure)}))))


# ----------------------------------------------------------------------------------------------- client


class VerifiedTimeStamp(NamedTuple):
    """A token whose signature holds. Whether the TSU is trusted is the caller's question.

    `ocsp_der` and `crls_der` are the OCSP responses and revocation lists that somebody put into the token, unverified:
    the unit's signature does not cover them.
    """

    gen_at: datetime
    accuracy: timedelta
    serial_number: int
    policy: str
    hash_name: str
    imprint: bytes
    nonce: int | None
    tsu: x509.Certificate
    tsu_der: bytes
    tsu_parts: x509_parts.CertificateParts
    certificates: tuple[x509.Certificate, ...]
    token_der: bytes
    ocsp_der: tuple[bytes, ...] = ()
    crls_der: tuple[bytes, ...] = ()


class _TstInfo(NamedTuple):
    gen_at: datetime
    accuracy: timedelta
    serial_number: int
    policy: str
    hash_name: str
    imprint: bytes
    nonce: int | None
    tsa: der.Element | None


def parse_response(response_der: bytes) -> bytes:
    """The token of a TimeStampResp, unverified.

    Raises:
        Malformed: `der.…`, `tsp.response`.
        Refused: `tsp.rejected`, naming failInfo.
    """
    reader = der.read_whole(response_der, max_bytes=MAX_RESPONSE_BYTES)
    status_info = reader.take(der.SEQUENCE).enter()
    status = der.read_integer(status_info.take(der.INTEGER))
    status_info.take_if(der.SEQUENCE)
    failure = status_info.take_if(der.BIT_STRING)
    status_info.finish()
    token = reader.take_if(der.SEQUENCE)
    reader.finish()
    if status not in (0, 1):  # granted, grantedWithMods
        names = {int(member): member.name.lower() for member in FailureInfo}
        bits = sorted(der.read_named_bits(failure)) if failure else []
        reasons = ", ".join(names.get(bit, str(bit)) for bit in bits) or "no reason given"
        raise Refused("tsp.rejected", f"status {status}: {reasons}")
    if token is None:
        raise Malformed("tsp.response", "granted without a token")
    return token.raw


def verify_token(
    token_der: bytes,
    *,
    imprint: bytes | None = None,
    hash_name: str | None = None,
    nonce: int | None = None,
    extra_certificates_der: Sequence[bytes] = (),
    known: x509_parts.KnownCertificates = x509_parts.NONE_KNOWN,
) -> VerifiedTimeStamp:
    """Verify a token: one signer, its certificate, its signature, and what was asked for.

    What is given of `imprint`, `hash_name` and `nonce` has to be what the token says.
    `extra_certificates_der` may hold the TSU's when the token does not. Certificates among `known` are not read again.

    Raises:
        Malformed: `der.…`, `cms.…`, `x509.…`, `tsp.token`.
        Refused: `tsp.signer`, `tsp.usage`, `tsp.imprint`, `tsp.nonce`, `tsp.time`, `cms.…`.
    """
    # 1 read
    signed_data = _parse_signed_data(token_der, known)
    if signed_data.content_type != ID_CT_TST_INFO:
        raise Malformed("tsp.token", "the content is not a TSTInfo")
    info = _parse_tst_info(signed_data.content)
    if len(signed_data.signers) != 1:
        raise Refused("tsp.signer", f"{len(signed_data.signers)} signers, a token has one (RFC 3161 §2.4.2)")

    # 2 is it about what was asked
    if info.hash_name not in IMPRINT_BYTES:
        raise Refused("tsp.imprint", f"imprint with {info.hash_name}")
    if (imprint is not None and info.imprint != imprint) or (hash_name is not None and info.hash_name != hash_name):
        raise Refused("tsp.imprint", "the token is about something else")
    if nonce is not None and info.nonce != nonce:
        raise Refused("tsp.nonce", "the token does not carry the nonce of the request")

    # 3 the signature
    signer = cms.verify_signer(signed_data, signed_data.signers[0], extra_certificates_der=extra_certificates_der)

    # 4 the certificate is for this use, and was valid at genTime
    _check_usage(signer.parts)
    if not signer.parts.not_before_at <= info.gen_at <= signer.parts.not_after_at:
        raise Refused("tsp.time", "the TSU's certificate was not valid at genTime")
    if info.tsa is not None:
        _check_tsa_name(info.tsa, signer.parts)
    ocsp_der, crls_der = _revocation_data(signed_data)
    return VerifiedTimeStamp(
        gen_at=info.gen_at,
        accuracy=info.accuracy,
        serial_number=info.serial_number,
        policy=info.policy,
        hash_name=info.hash_name,
        imprint=info.imprint,
        nonce=info.nonce,
        tsu=signer.certificate,
        tsu_der=signer.certificate_der,
        tsu_parts=signer.parts,
        certificates=signed_data.certificates,
        token_der=token_der,
        ocsp_der=ocsp_der,
        crls_der=crls_der,
    )


def _revocation_data(signed_data: cms.SignedData) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """OCSP responses and revocation lists from the two places for them: beside the certificates (RFC 5652 §5.1), and an
    unsigned attribute (TS 101 733 §6.3.4)."""
    responses, crls = list(signed_data.ocsp_der), list(signed_data.crls_der)
    for identifier, values in signed_data.signers[0].unsigned_attributes:
        if identifier != cms.ID_REVOCATION_VALUES:
            continue
        try:
            more_responses, more_crls = cms.read_revocation_values(values)
        except Malformed:
            continue  # the token holds without what anybody could have added
        responses += more_responses
        crls += more_crls
    return tuple(responses[:_MAX_REVOCATION_VALUES]), tuple(crls[:_MAX_REVOCATION_VALUES])


def _parse_signed_data(token_der: bytes, known: x509_parts.KnownCertificates) -> cms.SignedData:
    """The token's SignedData. Around what is signed CMS allows BER (RFC 5652 §5.1), and programs that add certificates
    to a token make use of it; what is signed has to be DER all the same."""
    try:
        return cms.parse_signed_data(token_der, known=known)
    except Malformed as error:
        if error.code not in ("der.length", "der.tag"):
            raise
        encoded = ber.to_der(token_der, max_bytes=MAX_RESPONSE_BYTES)
        if encoded == token_der:
            raise
        return cms.parse_signed_data(encoded, known=known)


def _parse_tst_info(data: bytes) -> _TstInfo:
    # RFC 3161 §2.4.2, by offsets; the parts that may be left out come in their order, each at most once.
    size = len(data)
    at, end = der.expect(data, 0, size, der.SEQUENCE)
    if end != size:
        raise Malformed("der.trailing", "something after the TSTInfo")
    version, version_end, policy, policy_end, _, imprint_end, serial, at = der.fields(data, at, end, _TST_INFO)
    if data[version:version_end] != b"\x01":
        raise Malformed("tsp.token", "unknown version")
    hash_name, imprint = _imprint_at(data, policy_end, imprint_end)
    serial_number = der.decode_integer(data[serial:at])
    if serial_number.bit_length() > _MAX_SERIAL_BITS or serial_number < 0:
        raise Malformed("tsp.token", "serial number out of range")
    body, at = der.expect(data, at, end, der.GENERALIZED_TIME)
    gen_at = _decode_gen_time(data[body:at])

    accuracy, nonce = _NO_ACCURACY, None
    reader = der.Reader(data, at, end)
    if found := reader.take_if(der.SEQUENCE):
        accuracy = _read_accuracy(found)
    if found := reader.take_if(der.BOOLEAN):  # ordering
        der.read_boolean(found)
    if found := reader.take_if(der.INTEGER):
        nonce = _read_nonce(found)
    tsa = reader.take_if(der.CONTEXT_0)
    if found := reader.take_if(der.CONTEXT_1):
        _check_extensions(found)
    reader.finish()
    named = der.decode_oid(data[policy:policy_end])
    return _TstInfo(gen_at, accuracy, serial_number, named, hash_name, imprint, nonce, tsa)


def _check_extensions(extensions: der.Element) -> None:
    # [1] IMPLICIT Extensions; EN 319 422 puts qcStatements there, not critical.
    for identifier, extension in x509_parts.read_extensions(extensions).items():
        if extension.critical:
            raise Malformed("tsp.token", f"unknown critical extension {identifier}")


def _decode_gen_time(content: bytes) -> datetime:
    # RFC 3161 §2.4.2 allows a fraction of a second here, unlike certificates.
    if len(content) == 15:
        return der.decode_time(der.GENERALIZED_TIME, content)
    whole, dot, fraction = content[:-1].partition(b".")
    if content[-1:] != b"Z" or (dot and (not fraction.isdigit() or fraction.endswith(b"0") or len(fraction) > 9)):
        raise Malformed("tsp.token", "genTime is not a DER GeneralizedTime")
    at = der.decode_time(der.GENERALIZED_TIME, whole + b"Z")
    return at + timedelta(microseconds=int(fraction.ljust(6, b"0")[:6])) if dot else at


def _read_accuracy(element: der.Element) -> timedelta:
    if element.raw == _ACCURACY_ONE_SECOND:  # what units of the field say
        return _ONE_SECOND
    reader = element.enter()
    seconds = reader.take_if(der.INTEGER)
    millis = reader.take_if(der.PRIMITIVE_0)
    micros = reader.take_if(der.PRIMITIVE_1)
    reader.finish()
    values = [der.read_integer(part) if part else 0 for part in (seconds, millis, micros)]
    if values[0] < 0 or values[0] > 86400 or not all(0 <= value <= 999 for value in values[1:]):
        raise Malformed("tsp.token", "accuracy out of range")
    return timedelta(seconds=values[0], milliseconds=values[1], microseconds=values[2])


def _check_usage(parts: x509_parts.CertificateParts) -> None:
    # RFC 3161 §2.3: exactly one extended key usage, timeStamping, critical.
    extension = parts.extensions.get(x509_parts.EXTENDED_KEY_USAGE)
    if extension is None or not extension.critical or parts.extended_key_usage() != (ID_KP_TIME_STAMPING,):
        raise Refused("tsp.usage", "the certificate is not for time-stamping alone, marked critical")
    usage = parts.key_usage()
    if usage is not None and not (usage and usage <= _SIGNING):
        raise Refused("tsp.usage", "the key usage is not signing alone")


def _check_tsa_name(tsa: der.Element, parts: x509_parts.CertificateParts) -> None:
    # RFC 3161 §2.4.2: when present it is one of the subject names of the certificate.
    tag, body, end = der.header(tsa.data, tsa.body, tsa.end)
    if tag != _DIRECTORY_NAME:
        return
    _, name_end = der.expect(tsa.data, body, end, der.SEQUENCE)
    if not x509_parts.names_match(tsa.data[body:name_end], parts.subject_der):
        raise Refused("tsp.signer", "the token names another TSA")
