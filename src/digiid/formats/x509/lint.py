"""The check before every signature of a CA: does the to-be-signed certificate say what its profile says.

Lint works on a candidate that was signed with a throw-away key, so that nothing the CA's own key
signed exists until everything about it was found in order. It reads the bytes with our own reader,
not with the library that built them, and knows the order from elsewhere: a fault of the builder and
a mistake in the order are both found here. Only a LintedTbs can be signed, and only this module
makes one.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha1, sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from digiid.formats import der
from digiid.formats.x509 import parts as x509_parts
from digiid.formats.x509.parts import BasicConstraints, CertificateParts, parse_parts
from digiid.formats.x509.profile import (
    ANY_POLICY,
    COUNTRY,
    MAX_LEAF_BYTES,
    PROFILES,
    SERIAL_NUMBER,
    SERIAL_NUMBER_BYTES,
    CertificateKind,
    DocumentPolicy,
    HierarchyProfile,
    Profile,
)
from digiid.formats.x509.signature import load_public_key, signature_identifier
from digiid.kernel.errors import DigiidError, Malformed, Refused

MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS, _RSA_EXPONENT = 4096, 65537
_SEAL: Final = object()
_CPS_QUALIFIER: Final = "1.3.6.1.5.5.7.2.1"
_ACCESS_OCSP: Final = "1.3.6.1.5.5.7.48.1"
_ACCESS_CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the order says. `issuer` is the issuing CA's certificate, None for a self-signed one."""

    kind: CertificateKind
    hierarchy: HierarchyProfile
    subject_attributes: tuple[tuple[str, str], ...]
    spki_der: bytes
    serial_number: int
    not_before_at: datetime
    not_after_at: datetime
    issuer: CertificateParts | None
    issuer_kind: CertificateKind | None
    document_policy: DocumentPolicy | None = None


@dataclass(frozen=True, slots=True)
class LintedTbs:
    """To-be-signed bytes that passed lint. Made by lint_candidate and by nothing else."""

    tbs_der: bytes
    algorithm_der: bytes
    issuer_spki_der: bytes
    serial_number: int
    seal: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("only lint_candidate makes a LintedTbs")


def lint_candidate(
    candidate_der: bytes, expected: Expected, *, blocked_key_hashes: Collection[bytes] = frozenset()
) -> LintedTbs:
    """Check a candidate against its profile and its order.

    `blocked_key_hashes` are SHA-256 values of SubjectPublicKeyInfo: keys already certified for
    somebody else, reported as compromised, or otherwise never to be certified.

    Raises: Refused `trust.profile.…`, naming the first rule that does not hold.
    """
    profile = PROFILES[expected.kind]
    try:
        parts = parse_parts(candidate_der)
        _check_frame(parts, expected, candidate_der)
        _check_names(parts, expected)
        issuer_key = _check_keys(parts, expected, profile, blocked_key_hashes)
        _check_validity(parts, expected, profile)
        _check_extension_set(parts, expected, profile)
        _check_usages(parts, profile)
        _check_policies(parts, expected)
        _check_identifiers(parts, expected)
        _check_addresses(parts, expected, profile)
    except Malformed as error:
        raise Refused("trust.profile.encoding", f"{error.code}: {error.detail}") from error
    return LintedTbs(
        tbs_der=parts.tbs_der,
        algorithm_der=signature_identifier(issuer_key),
        issuer_spki_der=expected.issuer.spki_der if expected.issuer else expected.spki_der,
        serial_number=parts.serial_number,
        seal=_SEAL,
    )


def _refuse(rule: str, detail: str) -> DigiidError:
    return Refused(f"trust.profile.{rule}", detail)


def _check_frame(parts: CertificateParts, expected: Expected, candidate_der: bytes) -> None:
    if parts.serial_number != expected.serial_number:
        raise _refuse("serial_number", "another serial number than the one recorded")
    content = der.Reader(parts.serial_der).take(der.INTEGER).content
    if len(content) != SERIAL_NUMBER_BYTES or content[0] & 0x80:
        raise _refuse("serial_number", "a serial number is positive and has 16 bytes")
    if PROFILES[expected.kind].is_personal and len(candidate_der) > MAX_LEAF_BYTES:
        raise _refuse("length", f"{len(candidate_der)} bytes, the chip holds {MAX_LEAF_BYTES}")


def _check_names(parts: CertificateParts, expected: Expected) -> None:
    issuer_der = expected.issuer.subject_der if expected.issuer else parts.subject_der
    if parts.issuer_der != issuer_der:
        raise _refuse("issuer", "the issuer is not the CA's subject, byte for byte")
    # Order, values and string types: C and serialNumber are PrintableString, the rest UTF8String.
    encoded = der.sequence(
        *(
            der.tlv(
                der.SET,
                der.sequence(
                    der.oid(oid),
                    der.tlv(
                        der.PRINTABLE_STRING if oid in (COUNTRY, SERIAL_NUMBER) else der.UTF8_STRING, text.encode()
                    ),
                ),
            )
            for oid, text in expected.subject_attributes
        )
    )
    if parts.subject_der != encoded:
        raise _refuse("subject", "the subject is not the one ordered")


def _check_keys(
    parts: CertificateParts, expected: Expected, profile: Profile, blocked: Collection[bytes]
) -> ec.EllipticCurvePublicKey:
    if parts.spki_der != expected.spki_der:
        raise _refuse("key", "another key than the one ordered")
    key = load_public_key(parts.spki_der)  # refuses points that are not on their curve
    _check_key_type(key, parts, profile)
    if sha256(parts.spki_der).digest() in blocked:
        raise _refuse("key_blocked", "this key was certified before or is on the list of keys never to be certified")
    if expected.issuer is None:
        if not profile.is_self_signed or not isinstance(key, ec.EllipticCurvePublicKey):
            raise _refuse("issuer", "this kind is never self-signed")
        issuer_key = key
    else:
        if parts.spki_der == expected.issuer.spki_der:
            raise _refuse("key_blocked", "the CA's own key")
        loaded = load_public_key(expected.issuer.spki_der)
        if not isinstance(loaded, ec.EllipticCurvePublicKey):
            raise _refuse("issuer", "the CA's key is not an EC key")
        issuer_key = loaded
    algorithm = signature_identifier(issuer_key)
    if parts.inner_algorithm_der != algorithm:
        raise _refuse("algorithm", "the signature algorithm is not that of the CA's curve")
    return issuer_key


def _check_key_type(key: PublicKeyTypes, parts: CertificateParts, profile: Profile) -> None:
    if isinstance(key, rsa.RSAPublicKey) and profile.accepts_rsa:
        if key.key_size < MIN_RSA_BITS:
            raise _refuse("key_too_small", f"RSA of {key.key_size} bits")
        if key.key_size > _MAX_RSA_BITS or key.public_numbers().e != _RSA_EXPONENT:
            raise _refuse("key_type", f"RSA keys have at most {_MAX_RSA_BITS} bits and the exponent {_RSA_EXPONENT}")
        return
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _refuse("key_type", "this type of key is not certified in this profile")
    if key.curve.name not in profile.curves:
        smallest = min(int(name[4:7]) for name in profile.curves)
        rule = "key_too_small" if key.curve.key_size < smallest else "key_type"
        raise _refuse(rule, f"{key.curve.name} is not a curve of this profile")
    size = (key.curve.key_size + 7) // 8
    if len(parts.public_key_bits) != 1 + 2 * size or parts.public_key_bits[0] != 4:
        raise _refuse("key_encoding", "EC points are written uncompressed (RFC 5480 §2.2)")


def _check_validity(parts: CertificateParts, expected: Expected, profile: Profile) -> None:
    if (parts.not_before_at, parts.not_after_at) != (expected.not_before_at, expected.not_after_at):
        raise _refuse("validity", "another validity than the one ordered")
    if not parts.not_before_at < parts.not_after_at:
        raise _refuse("validity", "ends before it begins")
    if parts.not_after_at - parts.not_before_at > profile.max_validity:
        raise _refuse("validity", f"longer than {profile.max_validity.days} days")
    issuer = expected.issuer
    if issuer and not (issuer.not_before_at <= parts.not_before_at and parts.not_after_at <= issuer.not_after_at):
        raise _refuse("validity", "not inside the CA's own validity")


def _check_extension_set(parts: CertificateParts, expected: Expected, profile: Profile) -> None:
    wanted: dict[str, bool] = {
        x509_parts.BASIC_CONSTRAINTS: profile.basic_constraints_critical,
        x509_parts.KEY_USAGE: True,
        x509_parts.SUBJECT_KEY_IDENTIFIER: False,
        x509_parts.AUTHORITY_KEY_IDENTIFIER: False,
    }
    if profile.extended_key_usage:
        wanted[x509_parts.EXTENDED_KEY_USAGE] = profile.extended_key_usage_critical
    if expected.hierarchy.policies(expected.kind, expected.document_policy):
        wanted[x509_parts.CERTIFICATE_POLICIES] = False
    if profile.has_qc_statements:
        wanted[x509_parts.QC_STATEMENTS] = False
    if profile.has_ocsp_url or profile.has_ca_issuers_url:
        wanted[x509_parts.AUTHORITY_INFORMATION_ACCESS] = False
    if profile.has_crl_url:
        wanted[x509_parts.CRL_DISTRIBUTION_POINTS] = False
    if profile.has_no_check:
        wanted[x509_parts.OCSP_NO_CHECK] = False
    found = {oid: extension.critical for oid, extension in parts.extensions.items()}
    if found != wanted:
        different = sorted(found.items() ^ wanted.items())
        raise _refuse("extensions", f"extensions or their criticality differ: {different}")


def _check_usages(parts: CertificateParts, profile: Profile) -> None:
    if parts.key_usage() != profile.key_usage:
        raise _refuse("key_usage", "key usage differs")
    if (parts.extended_key_usage() or ()) != profile.extended_key_usage:
        raise _refuse("extended_key_usage", "extended key usage differs")
    if parts.basic_constraints() != BasicConstraints(profile.is_ca, profile.path_length):
        raise _refuse("basic_constraints", "basic constraints differ")
    no_check = parts.extensions.get(x509_parts.OCSP_NO_CHECK)
    if no_check and no_check.value != b"\x05\x00":
        raise _refuse("extensions", "ocsp-nocheck holds NULL")


def _check_policies(parts: CertificateParts, expected: Expected) -> None:
    hierarchy, kind = expected.hierarchy, expected.kind
    wanted = hierarchy.policies(kind, expected.document_policy)
    if parts.policies() != wanted:
        raise _refuse("policies", "policies differ")
    if PROFILES[kind].is_personal != (expected.document_policy is not None):
        raise _refuse("policies", "personal certificates, and only they, name a document")
    if wanted:
        _check_practice_statement(parts, expected)
    statements = parts.extensions.get(x509_parts.QC_STATEMENTS)
    if (statements.value if statements else None) != hierarchy.qc_statements(kind):
        raise _refuse("qc_statements", "QcStatements differ")


def _check_practice_statement(parts: CertificateParts, expected: Expected) -> None:
    # The first policy names the practice statement, and no other qualifier occurs.
    value = parts.extensions[x509_parts.CERTIFICATE_POLICIES].value
    elements = der.read_whole(value, max_bytes=8192).all(limit=8, tag=der.SEQUENCE)
    for index, element in enumerate(elements):
        reader = element.enter()
        oid = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
        qualifiers = reader.take_if(der.SEQUENCE)
        reader.finish()
        uri = der.tlv(der.IA5_STRING, expected.hierarchy.practice_statement_url.encode("ascii"))
        wanted = der.sequence(der.sequence(der.oid(_CPS_QUALIFIER), uri)) if index == 0 else None
        if (qualifiers.raw if qualifiers else None) != wanted:
            raise _refuse("policies", f"the qualifiers of policy {oid} differ")
        if oid == ANY_POLICY and not PROFILES[expected.kind].is_ca:
            raise _refuse("policies", "anyPolicy is for CAs")


def _check_identifiers(parts: CertificateParts, expected: Expected) -> None:
    own = sha1(parts.public_key_bits, usedforsecurity=False).digest()  # RFC 5280 §4.2.1.2 (1)
    if parts.subject_key_identifier() != own:
        raise _refuse("key_identifier", "the subject key identifier is not that of the key")
    issuer = expected.issuer.subject_key_identifier() if expected.issuer else own
    if parts.authority_key_identifier() != issuer:
        raise _refuse("key_identifier", "the authority key identifier is not the CA's")


def _check_addresses(parts: CertificateParts, expected: Expected, profile: Profile) -> None:
    hierarchy, issuer_kind = expected.hierarchy, expected.issuer_kind
    wanted_access: list[tuple[str, str]] = []
    wanted_crl: list[str] = []
    if issuer_kind is not None:
        if profile.has_ocsp_url:
            wanted_access.append((_ACCESS_OCSP, hierarchy.ocsp_url))
        if profile.has_ca_issuers_url:
            wanted_access.append((_ACCESS_CA_ISSUERS, hierarchy.certificate_url(issuer_kind)))
        if profile.has_crl_url:
            wanted_crl.append(hierarchy.crl_url(issuer_kind))
    access = parts.extensions.get(x509_parts.AUTHORITY_INFORMATION_ACCESS)
    if (_read_access(access.value) if access else []) != wanted_access:
        raise _refuse("addresses", "authority information access differs")
    points = parts.extensions.get(x509_parts.CRL_DISTRIBUTION_POINTS)
    if (_read_distribution_points(points.value) if points else []) != wanted_crl:
        raise _refuse("addresses", "CRL distribution points differ")


def _read_access(value: bytes) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for element in der.read_whole(value, max_bytes=4096).all(limit=8, tag=der.SEQUENCE):
        reader = element.enter()
        method = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
        found.append((method, _read_uri(reader.take(der.context(6, constructed=False)))))
        reader.finish()
    return found


def _read_distribution_points(value: bytes) -> list[str]:
    found: list[str] = []
    for element in der.read_whole(value, max_bytes=4096).all(limit=8, tag=der.SEQUENCE):
        reader = element.enter()
        full_name = reader.take(der.context(0)).enter().take(der.context(0)).enter()
        found.append(_read_uri(full_name.take(der.context(6, constructed=False))))
        full_name.finish()
        reader.finish()
    return found


def _read_uri(element: der.Element) -> str:
    try:
        return element.content.decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("x509.extension", "a URI is ASCII") from error
