"""Message signatures in the very text that `message_signature` writes, verified without an XML parser.

Between our own servers every message has this form, and reading it as XML costs several times what its signature does.
The whole file has to match one pattern, in which every byte is either a literal or of one field; since the text is
canonical already, what is hashed is what stands there. Whatever else comes is for the general reader: this one accepts
nothing that the general one refuses.

From one message to the next by the same signer only the digests, the time and the value differ. A text that was
verified is therefore remembered without them, as its `_Frame`; another one in the same frame is verified without the
pattern, and the SHA-512 of what stands before the first difference goes on from where it was. Of the signed properties
only the time differs: those of the last few times are hashed once.
"""

import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from digiid.formats.exchange.hash_chain import FindDigest, HashChain, verify_hash_chain
from digiid.formats.exchange.message_signature import (
    CHAIN_RESULT,
    DIGEST_METHOD,
    MESSAGE,
    NAMESPACES,
    POLICY,
    verify_message_signature,
)
from digiid.formats.hardened_xml import C14N_10
from digiid.formats.x509.parts import MAX_CERTIFICATE_BYTES
from digiid.formats.xades.algorithms import SIGNATURE_METHODS, SignatureMethod, verify_value
from digiid.formats.xades.parse import TYPE_SIGNED_PROPERTIES
from digiid.kernel.errors import Malformed, Refused

MAX_PLAIN_BYTES: Final = 256 * 1024
_MAX_REPEATED_CHARS: Final = 4096  # longer texts are not remembered: strangers could fill the memory
_MAX_FRAMED_BYTES: Final = 16 * 1024
_MAX_FRAMES: Final = 8  # of texts of one length: signers of the same kind, or one of them with other OCSP responses
_MAX_LENGTHS: Final = 64
_DIGEST_CHARS: Final = 88  # of SHA-512
_METHODS: Final = {uri.encode(): method for uri, method in SIGNATURE_METHODS.items() if method.hash_name == "sha512"}
_BASE64 = rb"[^<]{4,}+"  # where it ends; what it is, `_decode` says
_TEXT = rb"(?:[\x20-\x25\x27-\x3b=\x3f-\x7e]|&amp;|&lt;|&gt;)*+"  # ASCII; names with other letters go the general way
_TIME = rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"


def _literal(text: str) -> bytes:
    return re.escape(text.encode("ascii"))


def _digest(name: str) -> bytes:
    return _literal(DIGEST_METHOD) + rb"<ds:DigestValue>(?P<" + name.encode() + rb">" + _BASE64 + rb")</ds:DigestValue>"


def _reference(identifier: str, number: str) -> bytes:
    uri = rb"(?P<uri" + number.encode() + rb">/[a-z0-9.-]{1,64}+)"
    start = _literal(f'<ds:Reference Id="{identifier}" URI="') + uri + rb'">'
    return start + _digest(f"reference{number}") + rb"</ds:Reference>"


def _media_type(identifier: str) -> bytes:
    return (
        _literal(f'<xades:DataObjectFormat ObjectReference="#{identifier}"><xades:MimeType>')
        + rb"[a-z/-]{1,64}+</xades:MimeType></xades:DataObjectFormat>"
    )


_FIRST, _SECOND = "signature-reference-0", "signature-reference-2"
_PATTERN = re.compile(
    _literal(f'<?xml version="1.0" encoding="UTF-8" standalone="no"?><asic:XAdESSignatures{NAMESPACES}>')
    + rb'<ds:Signature Id="signature"><ds:SignedInfo(?P<info>'
    + _literal(f'><ds:CanonicalizationMethod Algorithm="{C14N_10}"></ds:CanonicalizationMethod>')
    + rb'<ds:SignatureMethod Algorithm="(?P<method>[a-z0-9:/.#-]{1,100}+)"></ds:SignatureMethod>'
    + _reference(_FIRST, "0")
    + rb"(?:"
    + _reference(_SECOND, "1")
    + rb")?"
    + _literal(f'<ds:Reference Id="signature-reference-1" Type="{TYPE_SIGNED_PROPERTIES}" URI="#signed-properties">')
    + _digest("properties_digest")
    + rb'</ds:Reference></ds:SignedInfo>)<ds:SignatureValue Id="signature-value">(?P<value>'
    + _BASE64
    + rb")</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>(?P<certificate>"
    + _BASE64
    + rb")</ds:X509Certificate></ds:X509Data></ds:KeyInfo><ds:Object>"
    + rb'<xades:QualifyingProperties Target="#signature"><xades:SignedProperties(?P<properties>'
    + rb' Id="signed-properties"><xades:SignedSignatureProperties><xades:SigningTime>'
    + rb"(?P<time>"
    + _TIME
    + rb")</xades:SigningTime>"
    + rb"<xades:SigningCertificate><xades:Cert><xades:CertDigest>"
    + _digest("certificate_digest")
    + rb"</xades:CertDigest><xades:IssuerSerial><ds:X509IssuerName>"
    + _TEXT
    + rb"</ds:X509IssuerName><ds:X509SerialNumber>(?P<serial>[1-9][0-9]{0,59}+)</ds:X509SerialNumber>"
    + rb"</xades:IssuerSerial></xades:Cert></xades:SigningCertificate>"
    + _literal(POLICY)
    + rb"</xades:SignedSignatureProperties><xades:SignedDataObjectProperties>"
    + _media_type(_FIRST)
    + rb"(?(uri1)"
    + _media_type(_SECOND)
    + rb")</xades:SignedDataObjectProperties></xades:SignedProperties>)<xades:UnsignedProperties>"
    + rb"<xades:UnsignedSignatureProperties><xades:RevocationValues><xades:OCSPValues>(?P<ocsp>"
    + rb'(?:<xades:EncapsulatedOCSPValue Id="ocsp-response-[1-8]">'
    + _BASE64
    + rb"</xades:EncapsulatedOCSPValue>){1,8}+)</xades:OCSPValues></xades:RevocationValues>"
    + rb"</xades:UnsignedSignatureProperties></xades:UnsignedProperties></xades:QualifyingProperties></ds:Object>"
    + rb"</ds:Signature></asic:XAdESSignatures>"
)
_TIME_ALONE = re.compile(_TIME)
_OCSP = re.compile(rb'<xades:EncapsulatedOCSPValue Id="([^"]+)">([^<]+)</xades:EncapsulatedOCSPValue>')
_BEFORE_INFO: Final = f"<ds:SignedInfo{NAMESPACES}".encode()
_BEFORE_PROPERTIES: Final = f"<xades:SignedProperties{NAMESPACES}".encode()


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """The certificate's key signed exactly the parts that were there; whether to trust it is the caller's question."""

    certificate: x509.Certificate
    certificates_der: tuple[bytes, ...] = field(repr=False)  # that may stand above it
    ocsp_ders: tuple[bytes, ...] = field(repr=False)


def verify_wire_signature(
    xml: bytes, parts: Mapping[str, FindDigest], *, hash_chain: HashChain | None
) -> VerifiedMessage:
    """Verify value and coverage of a signature of any accepted form, as it comes between two servers.

    Raises: as `verify_message_signature`.
    """
    for frame in _frames.get(len(xml), ()):
        if (framed := _verify_framed(frame, xml, parts, hash_chain)) is not None:
            return framed
    found = _PATTERN.fullmatch(xml) if len(xml) <= MAX_PLAIN_BYTES else None
    plain = _read(found) if found is not None else None
    if found is None or plain is None:
        general = verify_message_signature(xml, parts, hash_chain=hash_chain).verified
        signature = general.signature
        return VerifiedMessage(general.certificate, signature.certificate_values_der, signature.ocsp_values_der)
    verified = _verify(plain, parts, hash_chain)
    _remember(found, plain, verified)
    return verified


# ------------------------------------------------------------------ by the pattern


class _Plain(NamedTuple):  # made for every message: several times quicker than a frozen dataclass
    method: bytes
    references: dict[str, bytes]
    info: bytes
    properties: bytes
    properties_digest: bytes
    value: bytes
    certificate_der: bytes
    certificate_digest: bytes
    serial_number: int
    ocsp_ders: tuple[bytes, ...]


def _read(found: re.Match[bytes]) -> _Plain | None:
    """The fields, or None where the general reader may see something else in them."""
    try:
        references = {found["uri0"].decode(): _decode(found["reference0"])}
        if found["uri1"] is not None:
            references[found["uri1"].decode()] = _decode(found["reference1"])
        _check_time(found["time"])
        plain = _Plain(
            method=found["method"],
            references=references,
            info=found["info"],
            properties=found["properties"],
            properties_digest=_decode(found["properties_digest"]),
            value=_decode(found["value"]),
            certificate_der=_decode_repeated(found["certificate"]),
            certificate_digest=_decode(found["certificate_digest"]),
            serial_number=int(found["serial"]),
            ocsp_ders=_read_responses(found["ocsp"]),
        )
    except ValueError:  # binascii's error is one
        return None
    is_usual = (
        plain.method in _METHODS
        and len(references) == 1 + (found["uri1"] is not None)
        and set(map(len, references.values())) == {64}
        and len(plain.properties_digest) == len(plain.certificate_digest) == 64
        and len(plain.certificate_der) <= MAX_CERTIFICATE_BYTES  # others are trusted by nobody, and not remembered
    )
    return plain if is_usual else None


def _check_time(text: bytes) -> None:
    """Raises: ValueError, such as for the 31st of June."""
    datetime.fromisoformat(text.decode("ascii"))


def _read_responses(block: bytes) -> tuple[bytes, ...]:
    """The OCSP responses, the same in many messages. Raises: ValueError, two with one Id among them."""
    return _read_responses_once(block) if len(block) <= 2 * _MAX_REPEATED_CHARS else _split_responses(block)


def _split_responses(block: bytes) -> tuple[bytes, ...]:
    responses = _OCSP.findall(block)
    if len({identifier for identifier, _ in responses}) != len(responses):
        raise ValueError("an Id is there twice")
    return tuple(_decode(value) for _, value in responses)


_read_responses_once = lru_cache(maxsize=1024)(_split_responses)


def _verify(plain: _Plain, parts: Mapping[str, FindDigest], hash_chain: HashChain | None) -> VerifiedMessage:
    # 1 it refers to a chain's result or to parts, never to both, and no chain lies beside it unsigned
    references = plain.references
    if CHAIN_RESULT in references and len(references) > 1:
        raise Malformed("exchange.signature.references", "a hash chain and direct references in one signature")
    if (CHAIN_RESULT in references) != (hash_chain is not None):
        raise Refused("exchange.signature.coverage", "the hash chain is not there, or is not what was signed")
    # 2 the parts it stands for are exactly those that are there, and are unchanged
    covered = references.keys() if hash_chain is None else verify_hash_chain(hash_chain, parts)
    if covered != parts.keys() or MESSAGE not in parts:
        raise Refused("exchange.signature.coverage", "the signature does not cover exactly the parts that are there")
    for uri, digest in references.items():
        actual = parts[uri]("sha512") if hash_chain is None else hashlib.sha512(hash_chain.result).digest()
        if actual is None or not hmac.compare_digest(actual, digest):
            raise Refused("xades.reference.digest", f"the part {uri!r} is not the one that was signed")
    # 3 the signed properties name the certificate
    if not hmac.compare_digest(_sha512(_BEFORE_PROPERTIES, plain.properties), plain.properties_digest):
        raise Refused("xades.reference.digest", "the signed properties were changed")
    certificate, key, certificate_sha512 = _load(plain.certificate_der)
    if not hmac.compare_digest(certificate_sha512, plain.certificate_digest):
        raise Refused("xades.certificate.mismatch", "the signed properties name another certificate than KeyInfo has")
    if certificate.serial_number != plain.serial_number:
        raise Refused("xades.certificate.mismatch", "the serial number in the signed properties does not match")
    # 4 the value
    verify_value(_METHODS[plain.method], key, plain.value, digest=_sha512(_BEFORE_INFO, plain.info))
    return VerifiedMessage(certificate, (), plain.ocsp_ders)


@lru_cache(maxsize=1024)
def _load(certificate_der: bytes) -> tuple[x509.Certificate, PublicKeyTypes, bytes]:
    """The certificate, its key and its SHA-512."""
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        return certificate, certificate.public_key(), _sha512(certificate_der)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise Malformed("xades.certificate.der", "the signing certificate cannot be read") from error


def _sha512(*pieces: bytes) -> bytes:
    digest = hashlib.sha512()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


# ------------------------------------------------------------------ by a frame


class _Frame(NamedTuple):
    """A verified text without the digests, the time and the value: these may differ, all else has to be there again."""

    pieces: tuple[tuple[int, bytes], ...]  # where each begins
    uris: tuple[str, ...]  # what is referred to, in this order, all of it signed
    digests_at: tuple[int, ...]
    properties_digest_at: int
    time: slice
    value: slice
    info_end: int
    info_begun: "hashlib._Hash"  # of all before the first digest
    properties_digest: Callable[[bytes], bytes]  # in Base64, by the time; ValueError: it is no time
    method: SignatureMethod
    key: PublicKeyTypes
    verified: VerifiedMessage


_frames: dict[int, tuple[_Frame, ...]] = {}  # by the length of the text


def _remember(found: re.Match[bytes], plain: _Plain, verified: VerifiedMessage) -> None:
    text = found.string
    if len(text) > _MAX_FRAMED_BYTES:
        return
    references = ["reference0"] if found["uri1"] is None else ["reference0", "reference1"]
    differing = [found.span(name) for name in (*references, "properties_digest", "value", "time")]
    starts, ends = [0, *(end for _, end in differing)], [*(start for start, _ in differing), len(text)]
    digests_at = tuple(start for start, _ in differing[: len(references)])
    time = slice(*found.span("time"))
    frame = _Frame(
        pieces=tuple((start, text[start:end]) for start, end in zip(starts, ends, strict=True)),
        uris=tuple(plain.references),
        digests_at=digests_at,
        properties_digest_at=found.start("properties_digest"),
        time=time,
        value=slice(*found.span("value")),
        info_end=found.end("info"),
        info_begun=hashlib.sha512(_BEFORE_INFO + text[found.start("info") : digests_at[0]]),
        properties_digest=_properties_digest(
            _BEFORE_PROPERTIES + text[found.start("properties") : time.start], text[time.stop : found.end("properties")]
        ),
        method=_METHODS[plain.method],
        key=_load(plain.certificate_der)[1],
        verified=verified,
    )
    known = _frames.get(len(text), ())
    if any(each.pieces == frame.pieces for each in known):
        return  # a digest or a time that only the pattern takes, or two threads at once
    if not known and len(_frames) >= _MAX_LENGTHS:
        _frames.clear()
    _frames[len(text)] = (frame, *known[: _MAX_FRAMES - 1])


def _verify_framed(
    frame: _Frame, xml: bytes, parts: Mapping[str, FindDigest], hash_chain: HashChain | None
) -> VerifiedMessage | None:
    """None where anything is not as in the frame; what that is, and what it is called, is for the others to say.

    Raises: Refused `exchange.hash_chain.…`; `xades.…`, the value.
    """
    # 1 all that does not differ, and the form of what does: the digests' follows from what they are compared with
    for at, piece in frame.pieces:
        if not xml.startswith(piece, at):
            return None
    try:
        value = _decode(xml[frame.value])
        properties_digest = frame.properties_digest(xml[frame.time])
    except ValueError:
        return None
    # 2 exactly the parts that are there, unchanged
    if (frame.uris == (CHAIN_RESULT,)) != (hash_chain is not None):
        return None
    covered = frozenset(frame.uris) if hash_chain is None else verify_hash_chain(hash_chain, parts)
    if covered != parts.keys() or MESSAGE not in parts:
        return None
    if hash_chain is None:
        digests = [parts[uri]("sha512") for uri in frame.uris]
    else:
        digests = [hashlib.sha512(hash_chain.result).digest()]
    for at, digest in zip(frame.digests_at, digests, strict=True):
        if digest is None or not _is_there(xml, at, digest):
            return None
    # 3 the signed properties, which name the certificate
    at = frame.properties_digest_at
    if not hmac.compare_digest(xml[at : at + _DIGEST_CHARS], properties_digest):
        return None
    # 4 the value
    info = frame.info_begun.copy()
    info.update(xml[frame.digests_at[0] : frame.info_end])
    verify_value(frame.method, frame.key, value, digest=info.digest())
    return frame.verified


def _is_there(xml: bytes, at: int, digest: bytes) -> bool:
    """Whether this digest stands there in Base64."""
    return hmac.compare_digest(xml[at : at + _DIGEST_CHARS], binascii.b2a_base64(digest, newline=False))


def _properties_digest(before_time: bytes, after_time: bytes) -> Callable[[bytes], bytes]:
    """The Base64 of the SHA-512 of the signed properties, by the time in them. Who signs hundreds of messages a second
    writes the same time in many."""

    @lru_cache(maxsize=4)
    def digest(time: bytes) -> bytes:
        if not _TIME_ALONE.fullmatch(time):
            raise ValueError("not a time in the form of the pattern")
        _check_time(time)
        return binascii.b2a_base64(_sha512(before_time, time, after_time), newline=False)

    return digest


def _decode(text: bytes) -> bytes:
    value = binascii.a2b_base64(text, strict_mode=True)
    if len(text) != 4 * ((len(value) + 2) // 3):
        raise binascii.Error("too much padding")
    return value


def _decode_repeated(text: bytes) -> bytes:
    """Of what is the same in many messages."""
    return _decode_once(text) if len(text) <= _MAX_REPEATED_CHARS else _decode(text)


_decode_once = lru_cache(maxsize=1024)(_decode)
