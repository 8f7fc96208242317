"""A CAdES signature in two steps around the signer's device, for content that is elsewhere: signed attributes first,
their digest to the device, then the SignedData around the value.

No signing time is written: PDF files, the one place where we write CAdES, say it elsewhere (EN 319 142-1 §6.3).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from digiid.formats import cms, der
from digiid.formats.cades.parse import ID_DATA, ID_SIGNATURE_TIME_STAMP, ID_SIGNER_ATTRIBUTES_V2
from digiid.formats.x509.parts import certificate_der, load_certificate, parts_of
from digiid.formats.x509.signature import HASH_OIDS, MGF1, RSASSA_PSS, hash_identifier
from digiid.formats.xades.algorithms import SignatureMethod, verify_value
from digiid.kernel.errors import Malformed, Refused

ID_AT_NAME: Final = "2.5.4.41"  # what the field's programs put a claimed role under
MAX_ROLES: Final = 8
MAX_ROLE_CHARACTERS: Final = 256

_HASHES: Final = ("sha256", "sha384", "sha512")
_NULL: Final = b"\x05\x00"
_ECDSA: Final = dict(zip(_HASHES, ("1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4"), strict=True))
_RSA: Final = dict(
    zip(_HASHES, ("1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13"), strict=True)
)


@dataclass(frozen=True, slots=True)
class PreparedCades:
    """Signed attributes that wait for their signature value."""

    signed_attributes_der: bytes = field(repr=False)
    method: SignatureMethod
    certificate_der: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What the device signs, made with the method's hash."""
        return hashlib.new(self.method.hash_name, self.signed_attributes_der).digest()


def prepare_cades(
    content_digest: bytes, *, certificate: x509.Certificate, method: SignatureMethod, roles: Sequence[str] = ()
) -> PreparedCades:
    """The signed attributes over a content whose digest was made with the hash of `method`: content type, message
    digest, signing certificate (EN 319 122-1 §5.2.2.3) and claimed roles (§5.2.6.1).

    Raises: Refused `cades.algorithm`, a hash that is not written; Malformed `cades.role`.
    """
    if method.hash_name not in _HASHES:
        raise Refused("cades.algorithm", f"signing with the hash {method.hash_name} is not supported")
    encoded = certificate_der(certificate)
    hash_name = method.hash_name
    named = b"" if hash_name == "sha256" else hash_identifier(hash_name)  # DEFAULT sha256 is left out in DER
    ess = der.sequence(der.sequence(der.sequence(named, der.octet_string(hashlib.new(hash_name, encoded).digest()))))
    attributes = [
        _attribute(cms.ID_CONTENT_TYPE, der.oid(ID_DATA)),
        _attribute(cms.ID_MESSAGE_DIGEST, der.octet_string(content_digest)),
        _attribute(cms.ID_SIGNING_CERTIFICATE_V2, ess),
    ]
    if roles:
        attributes.append(_attribute(ID_SIGNER_ATTRIBUTES_V2, _claimed(roles)))
    return PreparedCades(der.set_of(*attributes), method, encoded)


def verify_prepared_cades(prepared: PreparedCades, signature_value: bytes) -> None:
    """The value is the signer's; ECDSA values as r||s.

    Raises: Refused `xades.key_mismatch`, `xades.signature_value`.
    """
    key = load_certificate(prepared.certificate_der).public_key()
    verify_value(prepared.method, key, signature_value, digest=prepared.digest)


def build_cades(
    prepared: PreparedCades,
    signature_value: bytes,
    *,
    certificates: Sequence[x509.Certificate] = (),
    time_stamp_der: bytes | None = None,
) -> bytes:
    """ContentInfo DER with one signer. `signature_value` is r||s for ECDSA; CMS gets it as DER (RFC 5753 §7.2).

    `certificates` go beside the signer's own; `time_stamp_der` is a token over the value as CMS has it.
    Whether the value is right is not looked at here.
    """
    parts = parts_of(load_certificate(prepared.certificate_der))
    hash_name = prepared.method.hash_name
    unsigned = _attribute(ID_SIGNATURE_TIME_STAMP, time_stamp_der) if time_stamp_der else b""
    signer = der.sequence(
        der.integer(1),
        der.sequence(parts.issuer_der, parts.serial_der),
        hash_identifier(hash_name),
        b"\xa0" + prepared.signed_attributes_der[1:],
        _algorithm(prepared.method),
        der.octet_string(cms_signature_value(prepared, signature_value)),
        der.tlv(der.context(1), unsigned) if unsigned else b"",
    )
    beside = dict.fromkeys([prepared.certificate_der, *map(certificate_der, certificates)])
    signed_data = der.sequence(
        der.integer(1),
        der.set_of(hash_identifier(hash_name)),
        der.sequence(der.oid(ID_DATA)),
        der.tlv(der.context(0), *beside),
        der.tlv(der.SET, signer),
    )
    return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.context(0), signed_data))


def cms_signature_value(prepared: PreparedCades, signature_value: bytes) -> bytes:
    """The value as CMS has it, which is what a signature time-stamp is over (EN 319 122-1 §5.3).

    Raises: Malformed `cades.signature_value`.
    """
    if prepared.method.family != "ecdsa":
        return signature_value
    key = load_certificate(prepared.certificate_der).public_key()
    size = (key.curve.key_size + 7) // 8 if isinstance(key, ec.EllipticCurvePublicKey) else 0
    if not size or len(signature_value) != 2 * size:
        raise Malformed("cades.signature_value", "not r||s of the certificate's curve")
    return encode_dss_signature(
        int.from_bytes(signature_value[:size], "big"), int.from_bytes(signature_value[size:], "big")
    )


def _algorithm(method: SignatureMethod) -> bytes:
    if method.family == "ecdsa":
        return der.sequence(der.oid(_ECDSA[method.hash_name]))
    if method.family == "rsa":
        return der.sequence(der.oid(_RSA[method.hash_name]), _NULL)
    hashed = der.sequence(der.oid(HASH_OIDS[method.hash_name]), _NULL)
    parameters = der.sequence(
        der.tlv(der.context(0), hashed),
        der.tlv(der.context(1), der.sequence(der.oid(MGF1), hashed)),
        der.tlv(der.context(2), der.integer(method.hash.digest_size)),
    )
    return der.sequence(der.oid(RSASSA_PSS), parameters)


def _claimed(roles: Sequence[str]) -> bytes:
    """SignerAttributeV2 with nothing but claimed attributes."""
    if len(roles) > MAX_ROLES or not all(0 < len(role) <= MAX_ROLE_CHARACTERS for role in roles):
        raise Malformed("cades.role", f"at most {MAX_ROLES} roles of 1 to {MAX_ROLE_CHARACTERS} characters")
    values = (der.tlv(der.UTF8_STRING, role.encode()) for role in roles)
    claimed = der.sequence(der.oid(ID_AT_NAME), der.set_of(*values))
    return der.sequence(der.tlv(der.context(0), der.sequence(claimed)))


def _attribute(identifier: str, value: bytes) -> bytes:
    return der.sequence(der.oid(identifier), der.tlv(der.SET, value))
