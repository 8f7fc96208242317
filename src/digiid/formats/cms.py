"""CMS SignedData, RFC 5652 §5, as far as signed tokens need it: content inside, certificates, signers.

Supported: DER; signers by issuerAndSerialNumber or subjectKeyIdentifier; signed attributes;
ESSCertID and ESSCertIDv2 (RFC 5035); CMSAlgorithmProtection (RFC 6211); detached content; OCSP responses beside the
certificates (RFC 5940). Not supported: attribute certificates (skipped), counter-signatures.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats import der
from digiid.formats.x509.parts import (
    NONE_KNOWN,
    CertificateParts,
    KnownCertificates,
    certificate_der,
    load_certificate,
    names_match,
    parse_parts,
    parts_of,
    public_key_of,
)
from digiid.formats.x509.signature import (
    HASH_FUNCTIONS,
    HASH_NAMES,
    hash_algorithm,
    hash_identifier,
    hash_name_for,
    hash_of_identifier,
    read_hash_identifier,
    sign_ecdsa,
    signature_identifier,
    verify_signature,
)
from digiid.kernel.errors import Malformed, Refused

ID_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
ID_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
ID_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
ID_SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
ID_SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"  # RFC 2634 §5.4, SHA-1
ID_SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"  # RFC 5035 §3
ID_RI_OCSP_RESPONSE: Final = "1.3.6.1.5.5.7.16.2"  # RFC 5940 §2.1
ID_PKIX_OCSP_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"  # what DSS writes in its place, with the inner structure
ID_CMS_ALGORITHM_PROTECT: Final = "1.2.840.113549.1.9.52"  # RFC 6211 §2
ID_REVOCATION_VALUES: Final = "1.2.840.113549.1.9.16.2.24"  # TS 101 733 §6.3.4

MAX_BYTES: Final = 256 * 1024
_MAX_CERTIFICATES: Final = 64
_MAX_REVOCATION_VALUES: Final = 64
_MAX_SIGNERS: Final = 32
_MAX_ATTRIBUTES: Final = 64


# What stands where, up to the next part that may be left out (RFC 5652 §3, §5.1, §5.3).
_CONTENT_INFO: Final = bytes((der.OBJECT_IDENTIFIER, der.CONTEXT_0))
_SIGNED_DATA: Final = bytes((der.INTEGER, der.SET, der.SEQUENCE))
_ISSUER_AND_SERIAL: Final = bytes((der.SEQUENCE, der.INTEGER))
_SIGNATURE: Final = bytes((der.SEQUENCE, der.OCTET_STRING))
_SIGNED_DATA_OID: Final = der.oid(ID_SIGNED_DATA)[2:]


class SignerInfo(NamedTuple):
    """One signer. `attributes` holds the raw SET OF values of each signed attribute, by OID."""

    issuer_der: bytes | None
    serial_number: int | None
    subject_key_identifier: bytes | None
    digest_name: str
    digest_algorithm_der: bytes
    signed_attributes_der: bytes | None
    attributes: Mapping[str, der.Element]
    algorithm_der: bytes
    signature: bytes
    # OID and raw SET OF values, in the order in which they stand; one OID may come several times.
    unsigned_attributes: tuple[tuple[str, der.Element], ...] = ()


class SignedData(NamedTuple):
    """A parsed SignedData; nothing about it has been verified. `content` is empty when it is detached."""

    content_type: str
    content: bytes
    certificates_der: tuple[bytes, ...]
    certificates: tuple[x509.Certificate, ...]
    signers: tuple[SignerInfo, ...]
    ocsp_der: tuple[bytes, ...] = ()  # whole OCSPResponses
    crls_der: tuple[bytes, ...] = ()
    known: KnownCertificates = NONE_KNOWN


class VerifiedSigner(NamedTuple):
    """`certificate` holds the key that made the signature and is the one that the signer committed to."""

    certificate: x509.Certificate
    certificate_der: bytes
    parts: CertificateParts
    digest_name: str


def parse_signed_data(
    data: bytes, *, is_detached: bool = False, max_bytes: int = MAX_BYTES, known: KnownCertificates = NONE_KNOWN
) -> SignedData:
    """Read a ContentInfo with SignedData inside; `is_detached` says that the content has to be elsewhere, not inside.
    Certificates among `known` are not read again.

    Raises: Malformed `der.…`, `cms.…`, `x509.…`.
    """
    # 1 down to what is inside, by offsets: every time-stamp comes this way
    size = len(data)
    if size > max_bytes:
        raise Malformed("der.too_large", f"{size} bytes, at most {max_bytes} are read")
    at, outer_end = der.expect(data, 0, size, der.SEQUENCE)
    oid, oid_end, explicit, explicit_end = der.fields(data, at, outer_end, _CONTENT_INFO)
    if data[oid:oid_end] != _SIGNED_DATA_OID:
        raise Malformed("cms.content_type", "not SignedData")
    at, end = der.expect(data, explicit, explicit_end, der.SEQUENCE)
    if not end == explicit_end == outer_end == size:
        raise Malformed("der.trailing", "something after the SignedData")

    # 2 what is signed
    version, version_end, _, _, encapsulated, at = der.fields(data, at, end, _SIGNED_DATA)
    if der.decode_integer(data[version:version_end]) not in (1, 3, 4, 5):
        raise Malformed("cms.version", "no such SignedData version")
    content_type, content = _read_content(data, encapsulated, at, is_detached=is_detached)

    # 3 what comes beside it, and the signers
    certificates_der: tuple[bytes, ...] = ()
    ocsp_der: tuple[bytes, ...] = ()
    crls_der: tuple[bytes, ...] = ()
    if at < end and data[at] == der.CONTEXT_0:
        body, at = der.expect(data, at, end, der.CONTEXT_0)
        certificates_der = _read_certificates(data, body, at)
    if at < end and data[at] == der.CONTEXT_1:
        listed = der.Reader(data, at, end).take()
        ocsp_der, crls_der = read_revocation_choices(listed.enter().all(limit=_MAX_REVOCATION_VALUES))
        at = listed.end
    at, signers_end = der.expect(data, at, end, der.SET)
    if signers_end != end:
        raise Malformed("der.trailing", "something after the signers")
    signers: list[SignerInfo] = []
    while at < end:
        if len(signers) >= _MAX_SIGNERS:
            raise Malformed("der.too_many", f"more than {_MAX_SIGNERS} signers")
        body, at = der.expect(data, at, end, der.SEQUENCE)
        signers.append(_read_signer(data, body, at))
    return SignedData(
        content_type,
        content,
        certificates_der,
        tuple([known[encoded][0] if encoded in known else load_certificate(encoded) for encoded in certificates_der]),
        tuple(signers),
        ocsp_der,
        crls_der,
        known,
    )


def _read_content(data: bytes, at: int, end: int, *, is_detached: bool) -> tuple[str, bytes]:
    """What EncapsulatedContentInfo says it holds, and what it holds."""
    oid, at = der.expect(data, at, end, der.OBJECT_IDENTIFIER)
    content_type = der.decode_oid(data[oid:at])
    content = b""
    if not is_detached:
        wrapped, at = der.expect(data, at, end, der.CONTEXT_0)
        body, stop = der.expect(data, wrapped, at, der.OCTET_STRING)
        if stop != at:
            raise Malformed("der.trailing", "something after the content")
        content = data[body:stop]
    if at != end:
        raise Malformed("der.trailing", "something after the content")
    return content_type, content


def _read_certificates(data: bytes, at: int, end: int) -> tuple[bytes, ...]:
    """The certificates; of other kinds, all with tags of their own, none is read."""
    found: list[bytes] = []
    count = 0
    while at < end:
        if (count := count + 1) > _MAX_CERTIFICATES:
            raise Malformed("der.too_many", f"more than {_MAX_CERTIFICATES} certificates")
        tag, _, stop = der.header(data, at, end)
        if tag == der.SEQUENCE:
            found.append(data[at:stop])
        at = stop
    return tuple(found)


def read_revocation_choices(elements: Iterable[der.Element]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Whole OCSPResponses, and CRLs, among RevocationInfoChoices (RFC 5652 §10.2.1). Raises: Malformed `der.…`."""
    # A CRL, or [1] with another format.
    responses: list[bytes] = []
    crls: list[bytes] = []
    for element in elements:
        if element.tag != der.CONTEXT_1:
            crls.append(element.raw)
            continue
        reader = element.enter()
        kind = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
        value = reader.take()
        reader.finish()
        if kind == ID_RI_OCSP_RESPONSE:
            responses.append(value.raw)
        elif kind == ID_PKIX_OCSP_BASIC:
            responses.append(wrap_basic_response(value.raw))
    return tuple(responses), tuple(crls)


def read_revocation_values(values: der.Element) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Whole OCSPResponses, and CRLs, of a revocation-values attribute. Raises: Malformed `der.…`."""
    # RevocationValues ::= SEQUENCE { [0] SEQUENCE OF CertificateList, [1] SEQUENCE OF BasicOCSPResponse, … }
    reader = values.enter().take(der.SEQUENCE).enter()
    crls = reader.take_if(der.context(0))
    responses = reader.take_if(der.context(1))
    return (
        () if responses is None else tuple(wrap_basic_response(element.raw) for element in _sequence_of(responses)),
        () if crls is None else tuple(element.raw for element in _sequence_of(crls)),
    )


def _sequence_of(holder: der.Element) -> list[der.Element]:
    return holder.enter().take(der.SEQUENCE).enter().all(limit=_MAX_REVOCATION_VALUES, tag=der.SEQUENCE)


def wrap_basic_response(basic_der: bytes) -> bytes:
    """A successful OCSPResponse around a BasicOCSPResponse (RFC 6960 §4.2.1)."""
    inner = der.sequence(der.oid(ID_PKIX_OCSP_BASIC), der.octet_string(basic_der))
    return der.sequence(der.enumerated(0), der.tlv(der.CONTEXT_0, inner))


def _read_signer(data: bytes, at: int, end: int) -> SignerInfo:
    version, at = der.expect(data, at, end, der.INTEGER)
    if der.decode_integer(data[version:at]) not in (1, 3):
        raise Malformed("cms.version", "no such SignerInfo version")
    issuer_der: bytes | None = None
    serial_number: int | None = None
    key_identifier: bytes | None = None
    if at < end and data[at] == der.PRIMITIVE_0:
        body, at = der.expect(data, at, end, der.PRIMITIVE_0)
        key_identifier = data[body:at]
    else:
        issuer_at, at = der.expect(data, at, end, der.SEQUENCE)
        _, issuer_end, serial, serial_end = der.fields(data, issuer_at, at, _ISSUER_AND_SERIAL)
        if serial_end != at:
            raise Malformed("der.trailing", "something after the serial number")
        issuer_der, serial_number = data[issuer_at:issuer_end], der.decode_integer(data[serial:serial_end])
    digest_at, (_, at) = at, der.expect(data, at, end, der.SEQUENCE)
    digest_algorithm_der = data[digest_at:at]
    attributes: dict[str, der.Element] = {}
    signed_attributes_der: bytes | None = None
    if at < end and data[at] == der.CONTEXT_0:
        start, (body, at) = at, der.expect(data, at, end, der.CONTEXT_0)
        attributes = _read_attributes(data, body, at)
        # RFC 5652 §5.4: signed with the tag of SET OF, not with the [0] it travels under.
        signed_attributes_der = b"\x31" + data[start + 1 : at]
    _, algorithm_end, signature, signature_end = der.fields(data, at, end, _SIGNATURE)
    unsigned: tuple[tuple[str, der.Element], ...] = ()
    if signature_end != end:
        body, stop = der.expect(data, signature_end, end, der.CONTEXT_1)
        if stop != end:
            raise Malformed("der.trailing", "something after the unsigned attributes")
        unsigned = tuple(_list_attributes(data, body, end))
    return SignerInfo(
        issuer_der,
        serial_number,
        key_identifier,
        hash_of_identifier(digest_algorithm_der),
        digest_algorithm_der,
        signed_attributes_der,
        attributes,
        data[at:algorithm_end],
        data[signature:signature_end],
        unsigned,
    )


def _list_attributes(data: bytes, at: int, end: int) -> list[tuple[str, der.Element]]:
    found: list[tuple[str, der.Element]] = []
    while at < end:
        if len(found) >= _MAX_ATTRIBUTES:
            raise Malformed("der.too_many", f"more than {_MAX_ATTRIBUTES} attributes")
        identifier, oid_end, at = der.identified(data, at, end)
        values, values_end = der.expect(data, oid_end, at, der.SET)
        if values_end != at:
            raise Malformed("der.trailing", "something after the values of an attribute")
        found.append((identifier, der.new_tuple(der.Element, (data, der.SET, oid_end, values, values_end))))
    return found


def _read_attributes(data: bytes, at: int, end: int) -> dict[str, der.Element]:
    listed = _list_attributes(data, at, end)
    found = dict(listed)
    if len(found) != len(listed):
        names = [identifier for identifier, _ in listed]
        raise Malformed("cms.attribute", f"attribute {max(names, key=names.count)} occurs twice")
    return found


def single_value(signer: SignerInfo, identifier: str) -> der.Element | None:
    """The only value of a signed attribute, or None when there is no such attribute. Raises: Malformed `der.…`."""
    values = signer.attributes.get(identifier)
    return None if values is None else values.only()


def verify_signer(
    signed_data: SignedData,
    signer: SignerInfo,
    *,
    extra_certificates_der: Sequence[bytes] = (),
    content_digest: bytes | None = None,
) -> VerifiedSigner:
    """Verify one signer: its attributes, the certificate that it committed to, and its signature.

    Signed attributes are required, and among them the ESS signing certificate: without it a
    signature could be moved under another certificate for the same key. Trust in the certificate
    is the caller's. `content_digest` is that of a detached content, made with the signer's `digest_name`.

    Raises:
        Malformed: `der.…`, `cms.…`, `x509.…`.
        Refused: `cms.signer_certificate`, `cms.attributes`, `cms.digest`, `cms.algorithm`, `cms.signature`.
    """
    # 1 the signer's certificate
    certificate, encoded, parts = find_signing_certificate(signed_data, signer, extra_certificates_der)

    # 2 what the attributes say about content and algorithms
    content_type = single_value(signer, ID_CONTENT_TYPE)
    if content_type is None or der.read_oid(content_type) != signed_data.content_type:
        raise Refused("cms.attributes", "the signed content type is not that of the content")
    digest = single_value(signer, ID_MESSAGE_DIGEST)
    if digest is None or signer.signed_attributes_der is None:
        raise Refused("cms.attributes", "no signed message digest")
    hash_algorithm(signer.digest_name)
    expected = content_digest or HASH_FUNCTIONS[signer.digest_name](signed_data.content).digest()
    if digest.content != expected:
        raise Refused("cms.digest", "the content is not what was signed")
    _check_algorithm_protection(signer)

    # 3 the signature over the attributes
    try:
        verify_signature(
            public_key_of(certificate),
            algorithm_der=signer.algorithm_der,
            signature=signer.signature,
            message=signer.signed_attributes_der,
            digest_name=signer.digest_name,
        )
    except Refused as error:
        raise Refused("cms.signature", error.detail) from error
    return VerifiedSigner(certificate, encoded, parts, signer.digest_name)


def find_signing_certificate(
    signed_data: SignedData, signer: SignerInfo, extra_certificates_der: Sequence[bytes] = ()
) -> tuple[x509.Certificate, bytes, CertificateParts]:
    """The certificate that the signer's attributes commit to (RFC 5035 §5).

    Raises: Refused `cms.signer_certificate`; Malformed `der.…`, `cms.…`, `x509.…`.
    """
    certificate, encoded, parts = _find_certificate(signed_data, signer, extra_certificates_der)
    _check_ess_certificate(signer, encoded, parts)
    return certificate, encoded, parts


def _find_certificate(
    signed_data: SignedData, signer: SignerInfo, extra_der: Sequence[bytes]
) -> tuple[x509.Certificate, bytes, CertificateParts]:
    offered = list(zip(signed_data.certificates, signed_data.certificates_der, strict=True))
    offered += _readable(extra_der)
    known = signed_data.known
    for certificate, encoded in offered:
        parts = known[encoded][1] if encoded in known else parse_parts(encoded)
        if signer.issuer_der is not None:
            if parts.serial_number == signer.serial_number and names_match(parts.issuer_der, signer.issuer_der):
                return certificate, encoded, parts
        elif parts.subject_key_identifier() == signer.subject_key_identifier:
            return certificate, encoded, parts
    raise Refused("cms.signer_certificate", "no certificate for the signer")


def _readable(certificates_der: Iterable[bytes]) -> Iterator[tuple[x509.Certificate, bytes]]:
    """Certificates from beside a message, which is none the worse for others that cannot be read."""
    for encoded in certificates_der:
        try:
            certificate = load_certificate(encoded)
            parse_parts(encoded)
        except Malformed:
            continue
        yield certificate, encoded


def _check_ess_certificate(signer: SignerInfo, encoded: bytes, parts: CertificateParts) -> None:
    second = single_value(signer, ID_SIGNING_CERTIFICATE_V2)
    value = second or single_value(signer, ID_SIGNING_CERTIFICATE)
    if value is None or value.tag != der.SEQUENCE:
        raise Refused("cms.signer_certificate", "the signer does not name its certificate")
    # The first one is the signer's own (RFC 5035 §5.4.1); the rest would be its chain.
    data = value.data
    at, end = der.expect(data, value.body, value.end, der.SEQUENCE)
    at, end = der.expect(data, at, end, der.SEQUENCE)
    hash_name = "sha256" if second else "sha1"
    if second and at < end and data[at] == der.SEQUENCE:
        named, (_, at) = at, der.expect(data, at, end, der.SEQUENCE)
        hash_name = hash_of_identifier(data[named:at])
    if hash_name not in HASH_NAMES.values():
        raise Refused("cms.algorithm", f"certificate hash {hash_name} is not accepted")
    digest, at = der.expect(data, at, end, der.OCTET_STRING)
    if data[digest:at] != parts.fingerprint(hash_name, encoded):
        raise Refused("cms.signer_certificate", "the certificate is not the one that the signer named")
    if at != end:
        body, stop = der.expect(data, at, end, der.SEQUENCE)
        if stop != end:
            raise Malformed("der.trailing", "something after issuer and serial number")
        _check_issuer_serial(der.Reader(data, body, end), parts)


def _check_issuer_serial(reader: der.Reader, parts: CertificateParts) -> None:
    names = reader.take(der.SEQUENCE).enter().all(limit=4)
    serial_number = der.read_integer(reader.take(der.INTEGER))
    issuer_matches = any(
        name.tag == der.context(4) and names_match(name.enter().take(der.SEQUENCE).raw, parts.issuer_der)
        for name in names
    )
    if serial_number != parts.serial_number or not issuer_matches:
        raise Refused("cms.signer_certificate", "issuer and serial number are not those of the certificate")


def _check_algorithm_protection(signer: SignerInfo) -> None:
    value = single_value(signer, ID_CMS_ALGORITHM_PROTECT)
    if value is None or value.content == signer.digest_algorithm_der + b"\xa1" + signer.algorithm_der[1:]:
        return
    reader = value.enter()  # written otherwise, and perhaps the same
    digest = reader.take(der.SEQUENCE)
    signature = reader.take_if(der.CONTEXT_1)
    if read_hash_identifier(digest) != signer.digest_name:
        raise Refused("cms.algorithm", "the protected digest algorithm is another one")
    if signature is None or b"\x30" + signature.raw[1:] != signer.algorithm_der:
        raise Refused("cms.algorithm", "the protected signature algorithm is another one")


class SignedDataBuilder:
    """Signs contents of one type with one key; everything that does not change is encoded once."""

    def __init__(self, *, content_type: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        parts = parts_of(certificate)
        hash_name = hash_name_for(key)
        self._key = key
        self._hash_name = hash_name
        self._content_type = der.oid(content_type)
        digest_algorithm = hash_identifier(hash_name)
        algorithm = signature_identifier(key)
        encoded = certificate_der(certificate)
        self._head = der.oid(ID_SIGNED_DATA)
        self._version_and_digests = der.integer(3) + der.set_of(digest_algorithm)
        self._certificates = der.tlv(der.CONTEXT_0, encoded)
        self._signer_head = der.integer(1) + der.sequence(parts.issuer_der, parts.serial_der) + digest_algorithm
        self._algorithm = algorithm
        ess_hash = b"" if hash_name == "sha256" else digest_algorithm  # DEFAULT sha256 is left out in DER
        ess = der.sequence(
            der.sequence(der.sequence(ess_hash, der.octet_string(HASH_FUNCTIONS[hash_name](encoded).digest())))
        )
        protection = der.sequence(digest_algorithm, der.tlv(der.CONTEXT_1, algorithm[2:]))
        self._fixed_attributes = (
            _attribute(ID_CONTENT_TYPE, self._content_type),
            _attribute(ID_SIGNING_CERTIFICATE_V2, ess),
            _attribute(ID_CMS_ALGORITHM_PROTECT, protection),
        )

    def build(self, content: bytes, *, signing_at: datetime, include_certificate: bool) -> bytes:
        """ContentInfo DER. `include_certificate` puts the signer's own certificate inside."""
        digest = HASH_FUNCTIONS[self._hash_name](content).digest()
        attributes = der.set_of(
            *self._fixed_attributes,
            _attribute(ID_MESSAGE_DIGEST, der.octet_string(digest)),
            _attribute(ID_SIGNING_TIME, _signing_time(signing_at)),
        )
        signature = sign_ecdsa(self._key, attributes)
        signer = der.sequence(self._signer_head, b"\xa0" + attributes[1:], self._algorithm, der.octet_string(signature))
        signed_data = der.sequence(
            self._version_and_digests,
            der.sequence(self._content_type, der.tlv(der.CONTEXT_0, der.octet_string(content))),
            self._certificates if include_certificate else b"",
            der.tlv(der.SET, signer),
        )
        return der.sequence(self._head, der.tlv(der.CONTEXT_0, signed_data))


def _attribute(identifier: str, value: bytes) -> bytes:
    return der.sequence(der.oid(identifier), der.tlv(der.SET, value))


def _signing_time(at: datetime) -> bytes:
    # RFC 5652 §11.3: UTCTime through 2049, GeneralizedTime after.
    return der.utc_time(at) if 1950 <= at.year < 2050 else der.generalized_time(at)


def certificates_only(certificates: Iterable[x509.Certificate]) -> bytes:
    """A degenerate SignedData that only carries certificates (RFC 5652 §5.1)."""
    body = der.sequence(
        der.integer(1),
        der.tlv(der.SET),
        der.sequence(der.oid("1.2.840.113549.1.7.1")),
        der.tlv(der.CONTEXT_0, *(certificate_der(certificate) for certificate in certificates)),
        der.tlv(der.SET),
    )
    return der.sequence(der.oid(ID_SIGNED_DATA), der.tlv(der.CONTEXT_0, body))
