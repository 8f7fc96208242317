"""Web eID authentication tokens, format `web-eid:1.0` (and later minor versions): read and verify.

The card signs `H(H(origin) ‖ H(nonce))` with the authentication key, so a token is worth something at
one origin, for one nonce, from one key. Source: Web eID system architecture, and the steps of its
reference validation library (web-eid-authtoken-validation-java 3.2). OCSP is the caller's next step.

Not supported: Mobile-ID and RSA keys (no such card in this hierarchy).
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID

from digiid.formats.x509.path import VerifiedPath, verify_path
from digiid.formats.x509.profile import DocumentPolicy, document_policy, has_policy, holder_names, personal_code
from digiid.kernel.errors import DigiidError, Malformed, Refused

MIN_TOKEN_LENGTH: Final = 100
MAX_TOKEN_LENGTH: Final = 10_000
MIN_NONCE_LENGTH: Final = 44  # base64 of 32 bytes
NCP_PLUS: Final = "0.4.0.2042.1.2"  # ETSI EN 319 411-1 §5.3
NCP: Final = "0.4.0.2042.1.1"
_FORMAT: Final = re.compile(r"web-eid:1(\.[0-9]{1,3})?")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_ALGORITHMS: Final = {
    "ES256": (hashes.SHA256(), "sha256", ec.SECP256R1),
    "ES384": (hashes.SHA384(), "sha384", ec.SECP384R1),
    "ES512": (hashes.SHA512(), "sha512", ec.SECP521R1),
}


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What the token says, of which nothing is proven yet."""

    unverified_certificate: x509.Certificate
    algorithm: str
    signature: bytes
    format: str


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A holder who proved possession of the authentication key for this origin and nonce."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    personal_code: str
    given_names: str
    surname: str
    policy: DocumentPolicy


def parse_token(token: str | bytes) -> UnverifiedToken:
    """Read the token's JSON. Raises: Malformed `webeid.token`."""
    if not MIN_TOKEN_LENGTH <= len(token) <= MAX_TOKEN_LENGTH:
        raise Malformed("webeid.token", f"a token has {MIN_TOKEN_LENGTH} to {MAX_TOKEN_LENGTH} characters")
    try:
        fields = json.loads(token)
    except (ValueError, RecursionError) as error:
        raise Malformed("webeid.token", "not JSON") from error
    if not isinstance(fields, dict):
        raise Malformed("webeid.token", "not a JSON object")
    version = _text(fields, "format")
    if not _FORMAT.fullmatch(version):
        raise Malformed("webeid.token", "only formats web-eid:1.x are read")
    algorithm = _text(fields, "algorithm")
    if algorithm not in _ALGORITHMS:
        raise Malformed("webeid.token", "algorithm is none of ES256, ES384, ES512")
    try:
        certificate = x509.load_der_x509_certificate(_base64(_text(fields, "unverifiedCertificate")))
        _read_all(certificate)
    except Malformed:
        raise
    except Exception as error:  # the X.509 parser raises several kinds; whatever it is, the bytes are no certificate
        raise Malformed("webeid.token", "unverifiedCertificate is not a certificate") from error
    return UnverifiedToken(certificate, algorithm, _base64(_text(fields, "signature")), version)


def verify_token(
    token: str | bytes, *, origin: str, nonce: str, anchors: Iterable[x509.Certificate], at: datetime
) -> VerifiedToken:
    """Check everything about a token but the certificate's revocation.

    `origin` is this site's own (`https://host[:port]`, no trailing slash), `nonce` the one issued to this
    session, `anchors` the issuing CAs that the site trusts.

    Raises:
        Malformed: `webeid.token`.
        Refused: `webeid.certificate_foreign` (no CA of ours is named), `webeid.certificate_counterfeit`
            (ours is named and did not sign it), `webeid.certificate_time`, `webeid.certificate_usage`,
            `webeid.certificate_policy`, `webeid.signature` (another origin or nonce, or no key).
    """
    if len(nonce) < MIN_NONCE_LENGTH:
        raise Refused("webeid.nonce", "the nonce is shorter than 32 bytes")
    trusted = list(anchors)
    # 1 the form
    unverified = parse_token(token)
    certificate = unverified.unverified_certificate
    # 2 the purpose: for signing in, and not a certificate for signatures
    _check_usage(certificate)
    # 3 the path to one of the CAs that this site names
    path = _verify_path(certificate, trusted, at)
    # 4 the kind of document, from a policy that the path allows
    policy = document_policy(path.leaf)
    if policy is None or policy.oid not in path.policies or not has_policy(path.leaf, NCP_PLUS, NCP):
        raise Refused("webeid.certificate_policy", "no document policy of this hierarchy")
    # 5 possession of the key, for this origin and this nonce
    _verify_signature(unverified, origin=origin, nonce=nonce)
    # 6 who it is
    try:
        code, (given_names, surname) = personal_code(path.leaf), holder_names(path.leaf)
    except DigiidError as error:
        raise Refused("webeid.certificate_policy", "the subject is not a person's") from error
    return VerifiedToken(path.leaf, path.issuer, code, given_names, surname, policy)


def build_signed_data(*, origin: str, nonce: str, hash_name: str = "sha384") -> bytes:
    """`H(origin) ‖ H(nonce)`: what the algorithm's hash is taken of before the card signs it."""
    return hashlib.new(hash_name, origin.encode()).digest() + hashlib.new(hash_name, nonce.encode()).digest()


def _read_all(certificate: x509.Certificate) -> None:
    """Read every part that is used later: the library reads them only when asked, and raises only then."""
    _ = (certificate.issuer, certificate.subject, certificate.serial_number, certificate.extensions)
    _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    certificate.public_key()


def _verify_path(certificate: x509.Certificate, anchors: list[x509.Certificate], at: datetime) -> VerifiedPath:
    if not any(certificate.issuer == anchor.subject for anchor in anchors):
        raise Refused("webeid.certificate_foreign", "issued by a CA that this site does not name")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise Refused("webeid.certificate_time", "outside the certificate's validity")
    try:
        return verify_path(certificate, intermediates=[], anchors=anchors, at=at)
    except Refused as error:
        raise Refused("webeid.certificate_counterfeit", f"names our CA, and: {error}") from error


def _check_usage(certificate: x509.Certificate) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        raise Refused("webeid.certificate_usage", "no key usage or no extended key usage") from error
    except Exception as error:  # duplicate or undecodable extensions: several kinds, all of them hostile input
        raise Malformed("webeid.token", "the certificate's extensions cannot be read") from error
    if not usage.digital_signature or ExtendedKeyUsageOID.CLIENT_AUTH not in extended:
        raise Refused("webeid.certificate_usage", "not a certificate for signing in")


def _verify_signature(token: UnverifiedToken, *, origin: str, nonce: str) -> None:
    algorithm, hash_name, curve = _ALGORITHMS[token.algorithm]
    key = token.unverified_certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, curve):
        raise Refused("webeid.signature", f"{token.algorithm} does not fit the certificate's key")
    size = (key.curve.key_size + 7) // 8
    if len(token.signature) != 2 * size:
        raise Refused("webeid.signature", f"an {token.algorithm} signature has {2 * size} bytes")
    r, s = int.from_bytes(token.signature[:size], "big"), int.from_bytes(token.signature[size:], "big")
    digest = hashlib.new(hash_name, build_signed_data(origin=origin, nonce=nonce, hash_name=hash_name)).digest()
    try:
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(algorithm)))
    except InvalidSignature as error:
        raise Refused("webeid.signature", "not for this origin and nonce, or not by this key") from error


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed("webeid.token", f"{name} is missing or not a text")
    return value


def _base64(text: str) -> bytes:
    if not _BASE64.fullmatch(text):
        raise Malformed("webeid.token", "not base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("webeid.token", "not base64") from error
