"""The signature of one message: XAdES in the form of X-Road 7, over exactly the parts of the message.

Two forms are read and written: direct references to every part, or one reference to the result of a hash chain. The
text is written in canonical form from the start, as formats/xades does; prefixes and the absence of white space are
part of the format, because peers look elements up by them.
"""

import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.exchange.hash_chain import (
    ACCEPTED_HASHES,
    FindDigest,
    HashChain,
    build_hash_chain,
    digests_of,
    verify_hash_chain,
)
from digiid.formats.hardened_xml import C14N_10, escape_attribute, escape_text
from digiid.formats.x509.remembered import once_per_certificate
from digiid.formats.xades import (
    Reference,
    SignatureMethod,
    UnverifiedSignature,
    VerifiedSignature,
    choose_method,
    parse_signatures,
    verify_signature,
)
from digiid.formats.xades.algorithms import DIGEST_URIS, hash_bytes
from digiid.formats.xades.parse import NS_ASIC, NS_DS, NS_XADES, TYPE_SIGNED_PROPERTIES
from digiid.kernel.errors import Malformed, Refused

MESSAGE: Final = "/message.xml"
BODY: Final = "/attachment1"
CHAIN_RESULT: Final = "/sig-hashchainresult.xml"

_MAX_FRAMES: Final = 64
_HASH: Final = "sha512"  # of parts, properties and certificates; X-Road's default
NAMESPACES = (
    f' xmlns:asic="{NS_ASIC}" xmlns:ds="{NS_DS}" xmlns:xades="{NS_XADES}"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_INFO_END: Final = b"</ds:DigestValue></ds:Reference></ds:SignedInfo>"
_VALUE_BEGIN: Final = b'<ds:SignatureValue Id="signature-value">'
DIGEST_METHOD = f'<ds:DigestMethod Algorithm="{DIGEST_URIS[_HASH]}"></ds:DigestMethod>'
# The policy that X-Road 7 names in every signature, with the hash of its text.
POLICY = (
    "<xades:SignaturePolicyIdentifier><xades:SignaturePolicyId><xades:SigPolicyId>"
    '<xades:Identifier Qualifier="OIDAsURN">urn:oid:1.3.6.1.4.1.3516.16.2</xades:Identifier>'
    "<xades:Description>Profile for High Performance Digital Signatures (version 1.2)</xades:Description>"
    f"</xades:SigPolicyId><xades:SigPolicyHash>{DIGEST_METHOD}<ds:DigestValue>"
    "BuO0EDNfkxSVlUbxCzmQPzX1AUF1/xx9ytWHk3/6SAOePxQiniEfDYk+90QeYb3lWpV3Izhuz9fKaYyE+lTcXw==</ds:DigestValue>"
    "</xades:SigPolicyHash><xades:SigPolicyQualifiers><xades:SigPolicyQualifier>"
    "<xades:SPURI>https://repo.cyber.ee/dsig-profile-1.2.pdf</xades:SPURI></xades:SigPolicyQualifier>"
    "</xades:SigPolicyQualifiers></xades:SignaturePolicyId></xades:SignaturePolicyIdentifier>"
)


class PreparedSignature(NamedTuple):  # made for every message: several times quicker than a frozen dataclass
    """A message signature without its value. `digest` is what the member's key signs, by `method`."""

    method: SignatureMethod
    digest: bytes
    hash_chain: HashChain | None
    before_value: bytes
    after_value: bytes


@dataclass(frozen=True, slots=True)
class VerifiedMessageSignature:
    """The certificate's key signed exactly the parts in `covered`; of those in `absent` only digests are known."""

    verified: VerifiedSignature
    covered: frozenset[str]
    absent: frozenset[str] = frozenset()


# ------------------------------------------------------------------ signing, in two steps


def prepare_message_signature(
    parts: Mapping[str, bytes], *, certificate: x509.Certificate, claimed_signing_at: datetime, use_hash_chain: bool
) -> PreparedSignature:
    """First step. `parts`: URI to SHA-512 digest, the message first. A chain is only used for more than one part.

    Raises: Refused `xades.key`, the certificate's key cannot sign.
    """
    # 1 what is referred to
    hash_chain = build_hash_chain(parts, hash_name=_HASH) if use_hash_chain and len(parts) > 1 else None
    references = parts if hash_chain is None else {CHAIN_RESULT: _hash(hash_chain.result)}
    frame = _frames_of(certificate).find(tuple(references))

    # 2 the signed properties
    info_end, after_value = frame.properties_at(int(claimed_signing_at.timestamp()))

    # 3 SignedInfo
    info = frame.from_digests % (*map(_b64, references.values()), info_end)
    info_digest = _hash_on(frame.info_begun, info)
    before_value = frame.before_digests + info + _VALUE_BEGIN
    return PreparedSignature(frame.method, info_digest, hash_chain, before_value, after_value)


def build_message_signature(prepared: PreparedSignature, signature_value: bytes, *, ocsp_der: Sequence[bytes]) -> bytes:
    """Second step: the XML with the OCSP responses about the signing certificate and those above it."""
    end = _unsigned_properties(tuple(ocsp_der))
    return b"".join((prepared.before_value, _b64(signature_value), prepared.after_value, end))


# ------------------------------------------------------------------ verifying


def verify_message_signature(
    xml: bytes,
    parts: Mapping[str, FindDigest],
    *,
    hash_chain: HashChain | None,
    may_be_absent: frozenset[str] = frozenset(),
) -> VerifiedMessageSignature:
    """Verify value and coverage. Trust in the certificate, its status and its member's name are the caller's to check.

    `may_be_absent` is for logs that do not keep every part, never for the wire: these may be known by their digests.

    Raises:
        Malformed: `xades.…`, `exchange.hash_chain.…`, `exchange.signature.references`.
        Refused: `exchange.signature.algorithm`; `exchange.signature.coverage`, the signature does not cover exactly
            these parts; `exchange.hash_chain.…`; `xades.…`, what was signed is something else.
    """
    # 1 one signature, by algorithms that hold
    signatures = parse_signatures(xml, bare_allowed=True)
    if len(signatures) != 1:
        raise Malformed("exchange.signature.references", f"{len(signatures)} signatures over one message")
    (signature,) = signatures
    _check_algorithms(signature)

    # 2 it refers to a chain's result or to parts, never to both, and no chain lies beside it unsigned
    referred = frozenset(reference.uri for reference in signature.references)
    if CHAIN_RESULT in referred and len(referred) > 1:
        raise Malformed("exchange.signature.references", "a hash chain and direct references in one signature")
    if (CHAIN_RESULT in referred) != (hash_chain is not None):
        raise Refused("exchange.signature.coverage", "the hash chain is not there, or is not what was signed")

    # 3 the parts it stands for are exactly those that are there
    inputs = dict(parts)
    covered = referred
    if hash_chain is not None:
        covered = verify_hash_chain(hash_chain, parts, may_be_absent=may_be_absent)
        inputs = {CHAIN_RESULT: digests_of(hash_chain.result)}
    absent = (covered - parts.keys()) & may_be_absent
    if covered - absent != parts.keys() or MESSAGE not in covered:
        raise Refused("exchange.signature.coverage", "the signature does not cover exactly the parts that are there")

    # 4 value, properties and references
    def find_digest(reference: Reference) -> bytes | None:
        if reference.uri in absent:
            return reference.digest
        find = inputs.get(reference.uri)
        return find(reference.hash_name) if find else None

    return VerifiedMessageSignature(verify_signature(signature, find_digest), covered, absent)


def _check_algorithms(signature: UnverifiedSignature) -> None:
    names = {signature.method.hash_name, signature.properties_hash_name}
    names |= {reference.hash_name for reference in signature.references}
    names |= {reference.hash_name for reference in signature.certificate_references}
    if not names <= ACCEPTED_HASHES:
        raise Refused("exchange.signature.algorithm", f"hashes {sorted(names - ACCEPTED_HASHES)} are not accepted")


# ------------------------------------------------------------------ the text around digests, time and value


_AtSecond = Callable[[int], tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The text of every signature by one certificate over the same URIs: all but the digests, the time and the value.

    It is canonical. `info_begun` has hashed SignedInfo up to the first digest, so that of each signature only the rest
    is hashed. `properties_at` gives for a second (of POSIX time) the end of SignedInfo with the digest of the signed
    properties, and the text from the value on to their end: the same for all that is signed within that second.
    """

    method: SignatureMethod
    before_digests: bytes
    from_digests: bytes  # a %b for the digest of each reference, and one for the digest of the properties and the end
    info_begun: "hashlib._Hash"
    properties_at: _AtSecond


class _Frames:
    """By the URIs that are signed: a handful, for a message has one or two parts or is signed by a chain's result."""

    def __init__(self, certificate: x509.Certificate) -> None:
        certificate_der = certificate.public_bytes(Encoding.DER)
        self._method = choose_method(certificate.public_key(), hash_name=_HASH)
        self._certificate_b64 = _b64(certificate_der).decode()
        self._reference = _certificate_reference(certificate, certificate_der)
        self._made: dict[tuple[str, ...], _Frame] = {}

    def find(self, uris: tuple[str, ...]) -> _Frame:
        found = self._made.get(uris)
        if found is None:
            if len(self._made) >= _MAX_FRAMES:
                self._made.clear()
            found = self._made[uris] = self._make(uris)
        return found

    def _make(self, uris: tuple[str, ...]) -> _Frame:
        ids = _ids(len(uris))
        opened = [f'Id="{each}" URI="{escape_attribute(uri)}"' for each, uri in zip(ids, uris, strict=True)]
        opened.append(f'Id="signature-reference-1" Type="{TYPE_SIGNED_PROPERTIES}" URI="#signed-properties"')
        befores = [f"<ds:Reference {each}>{DIGEST_METHOD}<ds:DigestValue>" for each in opened]
        info = (
            f'><ds:CanonicalizationMethod Algorithm="{C14N_10}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{self._method.uri}"></ds:SignatureMethod>{befores[0]}'
        )
        media_type = "application/hash-chain-result" if uris == (CHAIN_RESULT,) else "text/xml"
        return _Frame(
            method=self._method,
            before_digests=(
                f'<?xml version="1.0" encoding="UTF-8" standalone="no"?><asic:XAdESSignatures{NAMESPACES}>'
                f'<ds:Signature Id="signature"><ds:SignedInfo{info}'
            ).encode(),
            from_digests=b"".join(
                b"%b" + f"</ds:DigestValue></ds:Reference>{each}".replace("%", "%%").encode() for each in befores[1:]
            )
            + b"%b",
            info_begun=hashlib.new(_HASH, f"<ds:SignedInfo{NAMESPACES}{info}".encode()),
            properties_at=_properties(
                f"</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{self._certificate_b64}"
                "</ds:X509Certificate></ds:X509Data></ds:KeyInfo><ds:Object>"
                '<xades:QualifyingProperties Target="#signature">',
                f"</xades:SigningTime><xades:SigningCertificate>{self._reference}</xades:SigningCertificate>"
                f"{_after_certificate(ids, media_type)}",
            ),
        )


_frames_of = once_per_certificate(_Frames)


def _properties(before: str, after_time: str) -> _AtSecond:
    """`before`: what stands before the signed properties. X-Road's times have three decimals; ours are zeros."""
    begin = ' Id="signed-properties"><xades:SignedSignatureProperties><xades:SigningTime>'

    @lru_cache(maxsize=4)
    def at_second(second: int) -> tuple[bytes, bytes]:
        properties = f"{begin}{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.000Z{after_time}"
        digest = _hash(f"<xades:SignedProperties{NAMESPACES}{properties}".encode())
        return _b64(digest) + _INFO_END, f"{before}<xades:SignedProperties{properties}".encode()

    return at_second


def _certificate_reference(certificate: x509.Certificate, certificate_der: bytes) -> str:
    return (
        f"<xades:Cert><xades:CertDigest>{_digest(_hash(certificate_der))}</xades:CertDigest><xades:IssuerSerial>"
        f"<ds:X509IssuerName>{escape_text(certificate.issuer.rfc4514_string())}</ds:X509IssuerName>"
        f"<ds:X509SerialNumber>{certificate.serial_number}</ds:X509SerialNumber></xades:IssuerSerial></xades:Cert>"
    )


def _ids(count: int) -> tuple[str, ...]:
    """Of the references to parts; 1 is that to the signed properties."""
    return tuple(f"signature-reference-{i if i == 0 else i + 1}" for i in range(count))


def _after_certificate(ids: tuple[str, ...], media_type: str) -> str:
    """The rest of the signed properties."""
    formats = "".join(
        f'<xades:DataObjectFormat ObjectReference="#{each}"><xades:MimeType>{media_type}</xades:MimeType>'
        "</xades:DataObjectFormat>"
        for each in ids
    )
    return (
        f"{POLICY}</xades:SignedSignatureProperties><xades:SignedDataObjectProperties>{formats}"
        "</xades:SignedDataObjectProperties></xades:SignedProperties>"
    )


@lru_cache(maxsize=64)
def _unsigned_properties(ocsp_der: tuple[bytes, ...]) -> bytes:
    """The end of the text. Our own OCSP responses go with every message until the next ones come."""
    responses = "".join(
        f'<xades:EncapsulatedOCSPValue Id="ocsp-response-{i}">{_b64(each).decode()}</xades:EncapsulatedOCSPValue>'
        for i, each in enumerate(ocsp_der, 1)
    )
    return (
        "<xades:UnsignedProperties>"
        f"<xades:UnsignedSignatureProperties><xades:RevocationValues><xades:OCSPValues>{responses}</xades:OCSPValues>"
        "</xades:RevocationValues></xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
        "</xades:QualifyingProperties></ds:Object></ds:Signature></asic:XAdESSignatures>"
    ).encode()


def _digest(digest: bytes) -> str:
    return f"{DIGEST_METHOD}<ds:DigestValue>{_b64(digest).decode()}</ds:DigestValue>"


def _hash(data: bytes) -> bytes:
    return hash_bytes(_HASH, data)


def _hash_on(begun: "hashlib._Hash", rest: bytes) -> bytes:
    going_on = begun.copy()
    going_on.update(rest)
    return going_on.digest()


def _b64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)
