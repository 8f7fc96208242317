"""The Web eID operations on a card, for the agent and for programs that play a person: no others exist.

The authentication key signs H(H(origin) ‖ H(nonce)) and never a hash that a page supplies; the origin
is the one that the browser vouched for. Signing takes PIN2 every time.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.apdu import Transport
from digiid.kernel.errors import Malformed, Refused
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey

TOKEN_FORMAT: Final = "web-eid:1.0"  # noqa: S105 - the name of a format
APP_VERSION: Final = "https://digiid.example/card-agent/0.1"
# what the signing key takes; a longer or shorter hash is the card's business (FIPS 186-5 §6.4)
HASH_BYTES: Final[Mapping[str, int]] = {
    "SHA-224": 28,
    "SHA-256": 32,
    "SHA-384": 48,
    "SHA-512": 64,
    "SHA3-224": 28,
    "SHA3-256": 32,
    "SHA3-384": 48,
    "SHA3-512": 64,
}
_NONCE: Final = re.compile(r"[\x21-\x7e]{44,128}")
_MAX_CERTIFICATE_TEXT: Final = 8192


def check_nonce(nonce: object) -> str:
    """A challenge nonce as Web eID has it: 44 to 128 printable characters. Raises: Malformed `agent.nonce`."""
    if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
        raise Malformed("agent.nonce", "a nonce has 44 to 128 printable characters")
    return nonce


def check_hash(hash_b64: object, hash_function: object) -> bytes:
    """The hash to sign, as long as its function says. Raises: Malformed `agent.hash`."""
    if not isinstance(hash_function, str) or hash_function not in HASH_BYTES:
        raise Malformed("agent.hash", "unknown hash function")
    digest = _base64(hash_b64, "agent.hash")
    if len(digest) != HASH_BYTES[hash_function]:
        raise Malformed("agent.hash", f"{len(digest)} bytes are no {hash_function}")
    return digest


def authenticate(card: Transport, *, origin: str, nonce: str, pin1: str) -> dict[str, Any]:
    """The authentication token for `origin`. Raises: Refused `card.pin.…`; what reading a card raises."""
    certificate = eid_card.read_certificate(card, CardKey.AUTHENTICATION)
    signed = hashlib.sha384(origin.encode()).digest() + hashlib.sha384(nonce.encode()).digest()
    signature = eid_card.authenticate(card, pin1=pin1, digest=hashlib.sha384(signed).digest())
    return {
        "unverifiedCertificate": _certificate_text(certificate),
        "algorithm": "ES384",
        "signature": base64.b64encode(signature).decode(),
        "format": TOKEN_FORMAT,
        "appVersion": APP_VERSION,
    }


def get_signing_certificate(card: Transport) -> dict[str, Any]:
    """The signing certificate and what its key can sign."""
    certificate = eid_card.read_certificate(card, CardKey.SIGNATURE)
    algorithms = [_algorithm(name) for name in HASH_BYTES]
    return {"certificate": _certificate_text(certificate), "supportedSignatureAlgorithms": algorithms}


def sign(card: Transport, *, certificate: object, digest: bytes, hash_function: str, pin2: str) -> dict[str, Any]:
    """Sign a hash with PIN2, if this is the card whose certificate the page prepared the signature for.

    Raises:
        Refused: `agent.other_card`, `card.pin.…`.
        Malformed: `agent.certificate`.
    """
    if _base64(certificate, "agent.certificate") != _certificate_der(card):
        raise Refused("agent.other_card", "the certificate is another card's")
    signature = eid_card.sign(card, pin2=pin2, digest=digest)
    return {"signature": base64.b64encode(signature).decode(), "signatureAlgorithm": _algorithm(hash_function)}


def _certificate_der(card: Transport) -> bytes:
    return eid_card.read_certificate(card, CardKey.SIGNATURE).public_bytes(Encoding.DER)


def _certificate_text(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def _algorithm(hash_function: str) -> dict[str, str]:
    return {"cryptoAlgorithm": "ECC", "hashFunction": hash_function, "paddingScheme": "NONE"}


def _base64(value: object, code: str) -> bytes:
    if not isinstance(value, str) or len(value) > _MAX_CERTIFICATE_TEXT:
        raise Malformed(code, "not base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(code, "not base64 text") from error
