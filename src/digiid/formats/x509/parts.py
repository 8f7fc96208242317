"""A certificate taken apart into the encoded pieces that comparisons and hashes need (RFC 5280 §4.1).

The library reads keys and checks signatures; this module answers what it does not say or says
slowly: the exact bytes of names and keys, and each extension's value, in one pass over the DER.
"""

import functools
import hashlib
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats import der
from digiid.formats.x509.signature import HASH_FUNCTIONS
from digiid.kernel.errors import Malformed

MAX_CERTIFICATE_BYTES: Final = 16 * 1024
_MAX_EXTENSIONS: Final = 40
_MAX_RDNS: Final = 30
_MAX_NAMES: Final = 100

BASIC_CONSTRAINTS: Final = "2.5.29.19"
KEY_USAGE: Final = "2.5.29.15"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
AUTHORITY_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
QC_STATEMENTS: Final = "1.3.6.1.5.5.7.1.3"
OCSP_NO_CHECK: Final = "1.3.6.1.5.5.7.48.1.5"

# RFC 5280 §4.2.1.3
DIGITAL_SIGNATURE, CONTENT_COMMITMENT, KEY_AGREEMENT, KEY_CERT_SIGN, CRL_SIGN = 0, 1, 4, 5, 6

_STRING_ENCODINGS: Final = {
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "ascii",
    der.IA5_STRING: "ascii",
    0x14: "latin-1",  # TeletexString, as everybody writes it
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


# What stands where in a certificate (RFC 5280 §4.1), between the parts that may be left out.
_CERTIFICATE: Final = bytes((der.SEQUENCE, der.SEQUENCE, der.BIT_STRING))
_TBS_CERTIFICATE: Final = bytes((der.INTEGER, *(der.SEQUENCE,) * 5))
_BOOLEAN: Final = bytes((der.BOOLEAN, 1))
_PUBLIC_KEY: Final = bytes((der.SEQUENCE, der.BIT_STRING))


class Extension(NamedTuple):
    critical: bool
    value: bytes


class BasicConstraints(NamedTuple):
    is_ca: bool
    path_length: int | None


_T = TypeVar("_T")


def _once(read: "Callable[[CertificateParts], _T]") -> "Callable[[CertificateParts], _T]":
    """A path asks the same certificate the same things several times: each extension is read once."""
    name = read.__name__

    @functools.wraps(read)
    def get(parts: "CertificateParts") -> _T:
        known = parts.read_before
        if name not in known:
            known[name] = read(parts)
        value: _T = known[name]
        return value

    return get


class CertificateParts(NamedTuple):
    """What a certificate says, by its own bytes. `extensions` is keyed by dotted OID."""

    tbs_der: bytes
    serial_number: int
    serial_der: bytes
    inner_algorithm_der: bytes
    issuer_der: bytes
    not_before_at: datetime
    not_after_at: datetime
    subject_der: bytes
    spki_der: bytes
    public_key_bits: bytes
    extensions: dict[str, Extension]
    algorithm_der: bytes
    signature: bytes
    read_before: dict[str, Any]  # by the methods below, and what others make of it; begins empty

    @_once
    def basic_constraints(self) -> BasicConstraints | None:
        found = self.extensions.get(BASIC_CONSTRAINTS)
        if found is None:
            return None
        reader = der.read_whole(found.value, max_bytes=16)
        flag = reader.take_if(der.BOOLEAN)
        length = reader.take_if(der.INTEGER)
        reader.finish()
        path_length = der.read_integer(length) if length else None
        if path_length is not None and path_length < 0:
            raise Malformed("x509.extension", "negative path length")
        return BasicConstraints(der.read_boolean(flag) if flag else False, path_length)

    @_once
    def key_usage(self) -> frozenset[int] | None:
        found = self.extensions.get(KEY_USAGE)
        if found is None:
            return None
        return der.decode_named_bits(_content_of(found.value, der.BIT_STRING))

    @_once
    def extended_key_usage(self) -> tuple[str, ...] | None:
        found = self.extensions.get(EXTENDED_KEY_USAGE)
        if found is None:
            return None
        elements = der.read_whole(found.value, max_bytes=1024).all(limit=_MAX_NAMES, tag=der.OBJECT_IDENTIFIER)
        return tuple(der.read_oid(element) for element in elements)

    @_once
    def policies(self) -> tuple[str, ...]:
        """The policy OIDs in the order of the certificate; none when the extension is absent."""
        found = self.extensions.get(CERTIFICATE_POLICIES)
        if found is None:
            return ()
        data = found.value
        if len(data) > 8192:
            raise Malformed("der.too_large", f"{len(data)} bytes of policies")
        at, end = der.expect(data, 0, len(data), der.SEQUENCE)
        if end != len(data):
            raise Malformed("der.trailing", "something after the policies")
        policies: list[str] = []
        while at < end:
            if len(policies) >= _MAX_NAMES:
                raise Malformed("der.too_many", f"more than {_MAX_NAMES} policies")
            identifier, _, at = der.identified(data, at, end)
            policies.append(identifier)
        return tuple(policies)

    @_once
    def subject_key_identifier(self) -> bytes | None:
        found = self.extensions.get(SUBJECT_KEY_IDENTIFIER)
        if found is None:
            return None
        return _content_of(found.value, der.OCTET_STRING)

    @_once
    def authority_key_identifier(self) -> bytes | None:
        """The keyIdentifier; None when absent."""
        found = self.extensions.get(AUTHORITY_KEY_IDENTIFIER)
        if found is None:
            return None
        if len(found.value) > 4096:
            raise Malformed("der.too_large", f"{len(found.value)} bytes of an issuer's name")
        listed = _content_of(found.value, der.SEQUENCE)
        if not listed or listed[0] != der.PRIMITIVE_0:
            return None
        body, end = der.expect(listed, 0, len(listed), der.PRIMITIVE_0)
        return listed[body:end]

    def fingerprint(self, hash_name: str, encoded: bytes) -> bytes:
        """The digest of the whole certificate, which is `encoded`: made once, as listed units sign much."""
        name = "fingerprint by " + hash_name
        found: bytes | None = self.read_before.get(name)
        if found is None:
            found = self.read_before[name] = HASH_FUNCTIONS[hash_name](encoded).digest()
        return found

    def subject_value(self, attribute: str) -> str | None:
        """The one value of a subject attribute; None when absent. Raises: Malformed when it occurs twice."""
        values = [text for oid, text in read_name(self.subject_der) if oid == attribute]
        if len(values) > 1:
            raise Malformed("x509.name", f"attribute {attribute} occurs twice")
        return values[0] if values else None


def _content_of(value: bytes, tag: int) -> bytes:
    """The content of the one element that an extension's value consists of."""
    body, end = der.expect(value, 0, len(value), tag)
    if end != len(value):
        raise Malformed("der.trailing", "something after the value of an extension")
    return value[body:end]


# Certificates that a trusted list names, by their DER: they have been read, and their keys, when the list was.
KnownCertificates = Mapping[bytes, tuple[x509.Certificate, CertificateParts]]
NONE_KNOWN: Final[KnownCertificates] = {}


def read_certificate(data: bytes, known: KnownCertificates) -> tuple[x509.Certificate, CertificateParts]:
    """A certificate and its parts, as it is known or else read. Raises: Malformed `x509.…`, `der.…`."""
    return known.get(data) or (load_certificate(data), parse_parts(data))


def certificate_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def load_certificate(data: bytes) -> x509.Certificate:
    """Read one DER certificate, nothing behind it. Raises: Malformed `x509.certificate` or `der.…`."""
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise Malformed("x509.certificate", f"{len(data)} bytes, at most {MAX_CERTIFICATE_BYTES} are read")
    try:
        return x509.load_der_x509_certificate(data)
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise Malformed("x509.certificate", "not a DER certificate") from error


def public_key_of(certificate: x509.Certificate) -> PublicKeyTypes:
    """The certificate's key, decoded once by the library. Raises: Malformed `x509.public_key`."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise Malformed("x509.public_key", "not a public key that we read") from error


def parts_of(certificate: x509.Certificate) -> CertificateParts:
    """Take a loaded certificate apart. Raises: Malformed `x509.…` or `der.…`."""
    return parse_parts(certificate.public_bytes(Encoding.DER))


def parse_parts(data: bytes) -> CertificateParts:
    """Take a DER certificate apart. Raises: Malformed `x509.…` or `der.…`."""
    size = len(data)
    if size > MAX_CERTIFICATE_BYTES:
        raise Malformed("der.too_large", f"{size} bytes, at most {MAX_CERTIFICATE_BYTES} are read")
    # Straight down by offsets: every path reads several certificates.
    body, end = der.expect(data, 0, size, der.SEQUENCE)
    if end != size:
        raise Malformed("der.trailing", "something after the certificate")
    at, tbs_end, _, algorithm_end, signature, signature_end = der.fields(data, body, end, _CERTIFICATE)
    if signature_end != end:
        raise Malformed("der.trailing", "something after the signature")
    tbs_at, number = body, 0
    if data[at] == der.CONTEXT_0:
        wrapped, stop = der.expect(data, at, tbs_end, der.CONTEXT_0)
        version, version_end = der.expect(data, wrapped, stop, der.INTEGER)
        if version_end != stop:
            raise Malformed("der.trailing", "something after the version")
        number, at = der.decode_integer(data[version:version_end]), stop
    found = der.fields(data, at, tbs_end, _TBS_CERTIFICATE)
    serial, serial_end, _, inner_end, _, issuer_end, validity, validity_end, _, subject_end, key, key_end = found
    not_before_at, not_after_at = _read_validity(data, validity, validity_end)
    _, _, bits, bits_end = der.fields(data, key, key_end, _PUBLIC_KEY)
    if bits_end != key_end:
        raise Malformed("der.trailing", "something after the public key")
    extensions = _find_extensions(data, key_end, tbs_end)
    if extensions is not None and number != 2:
        raise Malformed("x509.certificate", "extensions in a certificate that is not version 3")
    return CertificateParts(
        tbs_der=data[tbs_at:tbs_end],
        serial_number=der.decode_integer(data[serial:serial_end]),
        serial_der=data[at:serial_end],
        inner_algorithm_der=data[serial_end:inner_end],
        issuer_der=data[inner_end:issuer_end],
        not_before_at=not_before_at,
        not_after_at=not_after_at,
        subject_der=data[validity_end:subject_end],
        spki_der=data[subject_end:key_end],
        public_key_bits=der.decode_bit_string(data[bits:bits_end]),
        extensions=_read_extensions(data, *extensions) if extensions else {},
        algorithm_der=data[tbs_end:algorithm_end],
        signature=der.decode_bit_string(data[signature:signature_end]),
        read_before={},
    )


def _read_validity(data: bytes, at: int, end: int) -> tuple[datetime, datetime]:
    tag, body, stop = der.header(data, at, end)
    later_tag, later_body, later_stop = der.header(data, stop, end)
    if later_stop != end:
        raise Malformed("der.trailing", "something after the validity")
    return der.decode_time(tag, data[body:stop]), der.decode_time(later_tag, data[later_body:later_stop])


def _find_extensions(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """The extensions behind the public key; unique identifiers before them are passed over."""
    for tag in (der.PRIMITIVE_1, der.PRIMITIVE_2):
        if at < end and data[at] == tag:
            _, at = der.expect(data, at, end, tag)
    if at == end:
        return None
    wrapped, stop = der.expect(data, at, end, der.CONTEXT_3)
    body, body_end = der.expect(data, wrapped, stop, der.SEQUENCE)
    if body_end != end:
        raise Malformed("der.trailing", "something after the extensions")
    return body, body_end


def read_extensions(listed: der.Element) -> dict[str, Extension]:
    """Extensions (RFC 5280 §4.1.2.9) by OID. Raises: Malformed `x509.extension` when one occurs twice."""
    return _read_extensions(listed.data, listed.body, listed.end)


def _read_extensions(data: bytes, at: int, end: int) -> dict[str, Extension]:
    found: dict[str, Extension] = {}
    while at < end:
        if len(found) >= _MAX_EXTENSIONS:
            raise Malformed("der.too_many", f"more than {_MAX_EXTENSIONS} extensions")
        identifier, oid_end, stop = der.identified(data, at, end)
        critical, value_at = False, oid_end
        if data[oid_end : oid_end + 2] == _BOOLEAN:
            value_at += 3
            critical = der.decode_boolean(data[oid_end + 2 : min(value_at, stop)])
        tag, value_body, value_end = der.header(data, value_at, stop)
        if tag != der.OCTET_STRING or value_end != stop:
            raise Malformed("x509.extension", f"extension {identifier} is not an OCTET STRING")
        if identifier in found:
            raise Malformed("x509.extension", f"extension {identifier} occurs twice")
        found[identifier] = der.new_tuple(Extension, (critical, data[value_body:value_end]))
        at = stop
    return found


def read_name(name_der: bytes) -> list[tuple[str, str]]:
    """The attributes of a Name in encoded order, as (dotted OID, text). Raises: Malformed `x509.name`."""
    found: list[tuple[str, str]] = []
    for rdn in der.read_whole(name_der, max_bytes=8192).all(limit=_MAX_RDNS, tag=der.SET):
        for attribute in rdn.enter().all(limit=_MAX_RDNS, tag=der.SEQUENCE):
            reader = attribute.enter()
            identifier = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
            found.append((identifier, _read_string(reader.take())))
            reader.finish()
    return found


def _read_string(element: der.Element) -> str:
    encoding = _STRING_ENCODINGS.get(element.tag)
    if encoding is None:
        raise Malformed("x509.name", f"attribute value with tag {element.tag:#04x}")
    try:
        return element.content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Malformed("x509.name", "attribute value is not in its own encoding") from error


def names_match(left_der: bytes, right_der: bytes) -> bool:
    """Compare two Names by RFC 5280 §7.1: same RDNs in the same order; case and runs of spaces do not count."""
    if left_der == right_der:
        return True
    return _comparable(left_der) == _comparable(right_der)


@functools.lru_cache(maxsize=512)
def _comparable(name_der: bytes) -> bytes:
    """A digest that is the same for two Names that match. It is remembered, since a stranger's certificate, whose name
    may have hundreds of attributes, is held against every signer of a file; a digest, so that the memory is bounded.
    """
    rdns: list[list[tuple[str, str]]] = []
    for rdn in der.read_whole(name_der, max_bytes=8192).all(limit=_MAX_RDNS, tag=der.SET):
        values: set[tuple[str, str]] = set()
        for attribute in rdn.enter().all(limit=_MAX_RDNS, tag=der.SEQUENCE):
            reader = attribute.enter()
            identifier = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
            text = unicodedata.normalize("NFKC", _read_string(reader.take())).casefold()
            values.add((identifier, " ".join(text.split())))
        rdns.append(sorted(values))
    return hashlib.sha256(ascii(rdns).encode()).digest()
