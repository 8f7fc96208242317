"""XAdES signatures (EN 319 132-1 V1.2.1) for ASiC-E, levels B, T and LT, in two steps.

The text is written in canonical form from the start (Canonical XML 1.1, no white space between elements), so that what
is hashed and what is stored are the same strings: only the namespaces that an apex inherits are added for hashing.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic.container import encode_uri
from digiid.formats.hardened_xml import C14N_11, escape_attribute, escape_text
from digiid.formats.xades.algorithms import (
    DIGEST_URIS,
    SIGNATURE_METHODS,
    SignatureMethod,
    choose_method,
    sign_digest,
    verify_value,
)
from digiid.formats.xades.parse import NS_ASIC, NS_DS, NS_XADES, TYPE_SIGNED_PROPERTIES, ProductionPlace

_NAMESPACES = f' xmlns:asic="{NS_ASIC}" xmlns:ds="{NS_DS}" xmlns:xades="{NS_XADES}"'
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<asic:XAdESSignatures{_NAMESPACES}>'
_END = "</xades:QualifyingProperties></ds:Object></ds:Signature></asic:XAdESSignatures>"
_CANONICALIZATION = f'<ds:CanonicalizationMethod Algorithm="{C14N_11}"></ds:CanonicalizationMethod>'


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A data file as a signature sees it. `digest` is of the raw bytes, by `hash_name` of `prepare_xades`."""

    name: str
    media_type: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class PreparedXades:
    """A signature without its value, byte-exact. `digest` is what the signer's device signs."""

    signature_id: str
    method_uri: str
    digest: bytes
    before_value: str = field(repr=False)
    after_value: str = field(repr=False)
    certificate_der: bytes = field(repr=False)

    @property
    def method(self) -> SignatureMethod:
        return SIGNATURE_METHODS[self.method_uri]

    @property
    def canonical_signed_info(self) -> bytes:
        """The octets whose hash is `digest`, for a signer that hashes by itself."""
        head = f'{_HEAD}<ds:Signature Id="{self.signature_id}"><ds:SignedInfo'
        info = self.before_value[len(head) : self.before_value.rindex("<ds:SignatureValue ")]
        return f"<ds:SignedInfo{_NAMESPACES}{info}".encode()

    @property
    def hash_name(self) -> str:
        return self.method.hash_name


def prepare_xades(
    files: Sequence[FileDigest],
    *,
    certificate: x509.Certificate,
    claimed_signing_at: datetime,
    signature_id: str = "S0",
    method: SignatureMethod | None = None,
    file_hash_name: str = "sha256",
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    certificate_der: bytes | None = None,
) -> PreparedXades:
    """First step: everything but the signature value. `certificate_der` spares encoding the certificate again.

    Raises:
        Refused: `xades.key`, the certificate's key cannot sign.
        Malformed: `xml.character`, a name, role or place that XML cannot carry.
    """
    method = method or choose_method(certificate.public_key())
    if certificate_der is None:
        certificate_der = certificate.public_bytes(Encoding.DER)
    digest_method = f'<ds:DigestMethod Algorithm="{DIGEST_URIS[file_hash_name]}"></ds:DigestMethod>'

    def digest_of(data: bytes) -> str:
        return _b64(hashlib.new(file_hash_name, data).digest())

    # 1 the signed properties
    formats = "".join(
        f'<xades:DataObjectFormat ObjectReference="#{signature_id}-RefId{i}">'
        f"<xades:MimeType>{escape_text(file.media_type)}</xades:MimeType></xades:DataObjectFormat>"
        for i, file in enumerate(files)
    )
    properties = (
        f' Id="{signature_id}-SignedProperties"><xades:SignedSignatureProperties>'
        f"<xades:SigningTime>{claimed_signing_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}</xades:SigningTime>"
        f"<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>{digest_method}<ds:DigestValue>"
        f"{digest_of(certificate_der)}</ds:DigestValue></xades:CertDigest></xades:Cert>"
        f"</xades:SigningCertificateV2>{_place(place)}{_roles(roles)}</xades:SignedSignatureProperties>"
        f"<xades:SignedDataObjectProperties>{formats}</xades:SignedDataObjectProperties></xades:SignedProperties>"
    )
    canonical_properties = f"<xades:SignedProperties{_NAMESPACES}{properties}".encode()

    # 2 SignedInfo over the files and the properties
    references = "".join(
        f'<ds:Reference Id="{signature_id}-RefId{i}" URI="{escape_attribute(encode_uri(file.name))}">{digest_method}'
        f"<ds:DigestValue>{_b64(file.digest)}</ds:DigestValue></ds:Reference>"
        for i, file in enumerate(files)
    )
    info = (
        f'>{_CANONICALIZATION}<ds:SignatureMethod Algorithm="{method.uri}"></ds:SignatureMethod>{references}'
        f'<ds:Reference Id="{signature_id}-RefId{len(files)}" Type="{TYPE_SIGNED_PROPERTIES}" '
        f'URI="#{signature_id}-SignedProperties"><ds:Transforms><ds:Transform Algorithm="{C14N_11}"></ds:Transform>'
        f"</ds:Transforms>{digest_method}<ds:DigestValue>"
        f"{digest_of(canonical_properties)}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )

    # 3 the document around the value
    return PreparedXades(
        signature_id=signature_id,
        method_uri=method.uri,
        digest=hashlib.new(method.hash_name, f"<ds:SignedInfo{_NAMESPACES}{info}".encode()).digest(),
        before_value=(
            f'{_HEAD}<ds:Signature Id="{signature_id}"><ds:SignedInfo{info}<ds:SignatureValue Id="{signature_id}-SIG">'
        ),
        after_value=(
            f"</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{_b64(certificate_der)}"
            "</ds:X509Certificate></ds:X509Data></ds:KeyInfo><ds:Object>"
            f'<xades:QualifyingProperties Target="#{signature_id}"><xades:SignedProperties{properties}'
        ),
        certificate_der=certificate_der,
    )


def verify_prepared_value(prepared: PreparedXades, certificate: x509.Certificate, signature_value: bytes) -> None:
    """The value that came back is the signer's over what was prepared.

    Raises: Refused `xades.key_mismatch`, `xades.signature_value`.
    """
    verify_value(prepared.method, certificate.public_key(), signature_value, digest=prepared.digest)


def canonical_signature_value(prepared: PreparedXades, signature_value: bytes) -> bytes:
    """What the signature time-stamp covers: the canonical ds:SignatureValue element."""
    return (
        f'<ds:SignatureValue{_NAMESPACES} Id="{prepared.signature_id}-SIG">{_b64(signature_value)}</ds:SignatureValue>'
    ).encode()


def build_xades(
    prepared: PreparedXades,
    signature_value: bytes,
    *,
    time_stamp_der: bytes | None = None,
    certificates_der: Sequence[bytes] = (),
    ocsp_der: bytes | None = None,
) -> bytes:
    """Second step: the signature file. With a time-stamp token it is level T, with an OCSP response as well level LT.

    Raises: ValueError, an OCSP response without a time-stamp (there is no such level).
    """
    if time_stamp_der is None and (ocsp_der is not None or certificates_der):
        raise ValueError("validation data belong to a time-stamped signature")
    unsigned, name = "", prepared.signature_id
    if time_stamp_der is not None:
        unsigned += (
            f'<xades:SignatureTimeStamp Id="{name}-T0">{_CANONICALIZATION}<xades:EncapsulatedTimeStamp>'
            f"{_b64(time_stamp_der)}</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp>"
        )
    if certificates_der:
        values = "".join(
            f'<xades:EncapsulatedX509Certificate Id="{name}-CERT{i}">{_b64(der)}</xades:EncapsulatedX509Certificate>'
            for i, der in enumerate(certificates_der)
        )
        unsigned += f"<xades:CertificateValues>{values}</xades:CertificateValues>"
    if ocsp_der is not None:
        unsigned += (
            f'<xades:RevocationValues><xades:OCSPValues><xades:EncapsulatedOCSPValue Id="{name}-OCSP0">{_b64(ocsp_der)}'
            "</xades:EncapsulatedOCSPValue></xades:OCSPValues></xades:RevocationValues>"
        )
    if unsigned:
        unsigned = (
            f"<xades:UnsignedProperties><xades:UnsignedSignatureProperties>{unsigned}"
            "</xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
        )
    return f"{prepared.before_value}{_b64(signature_value)}{prepared.after_value}{unsigned}{_END}".encode()


def sign_xades(
    files: Sequence[FileDigest],
    *,
    key: PrivateKeyTypes,
    certificate: x509.Certificate,
    claimed_signing_at: datetime,
    signature_id: str = "S0",
    method: SignatureMethod | None = None,
    certificate_der: bytes | None = None,
) -> bytes:
    """Both steps with a key at hand: a signature file of level B."""
    prepared = prepare_xades(
        files,
        certificate=certificate,
        claimed_signing_at=claimed_signing_at,
        signature_id=signature_id,
        method=method,
        certificate_der=certificate_der,
    )
    return build_xades(prepared, sign_digest(prepared.method, key, prepared.digest))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _roles(roles: Sequence[str]) -> str:
    if not roles:
        return ""
    claimed = "".join(f"<xades:ClaimedRole>{escape_text(role)}</xades:ClaimedRole>" for role in roles)
    return f"<xades:SignerRoleV2><xades:ClaimedRoles>{claimed}</xades:ClaimedRoles></xades:SignerRoleV2>"


def _place(place: ProductionPlace | None) -> str:
    if place is None:
        return ""
    values = (
        ("City", place.city),
        ("StreetAddress", place.street_address),
        ("StateOrProvince", place.state_or_province),
        ("PostalCode", place.postal_code),
        ("CountryName", place.country_name),
    )
    inner = "".join(f"<xades:{name}>{escape_text(value)}</xades:{name}>" for name, value in values if value)
    return f"<xades:SignatureProductionPlaceV2>{inner}</xades:SignatureProductionPlaceV2>" if inner else ""
