"""PKCS#10 certification requests, RFC 2986: only the key and the proof that somebody holds it.

Subject and attributes of a request are read over and never used: what a certificate says about a
person comes from the order, not from whoever made the request.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from digiid.formats import der
from digiid.formats.x509.signature import load_public_key, verify_signature
from digiid.kernel.errors import Refused

MAX_REQUEST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """A public key whose private half signed the request."""

    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    spki_der: bytes


def verify_certificate_request(unverified_request_der: bytes, *, accepts_rsa: bool = False) -> VerifiedRequest:
    """Verify the proof of possession of an EC key, or of an RSA key where the profile has them.

    Raises:
        Malformed: `der.…`, `x509.public_key`.
        Refused: `trust.profile.key_type`, `trust.profile.proof_of_possession`.
    """
    outer = der.read_whole(unverified_request_der, max_bytes=MAX_REQUEST_BYTES)
    info = outer.take(der.SEQUENCE)
    algorithm = outer.take(der.SEQUENCE)
    signature = der.read_bit_string(outer.take(der.BIT_STRING))
    outer.finish()
    reader = info.enter()
    if der.read_integer(reader.take(der.INTEGER)) != 0:
        raise Refused("trust.profile.proof_of_possession", "unknown version of the request")
    reader.take(der.SEQUENCE)
    spki = reader.take(der.SEQUENCE)
    reader.take_if(der.context(0))
    reader.finish()

    key = load_public_key(spki.raw)
    if not isinstance(key, ec.EllipticCurvePublicKey) and not (accepts_rsa and isinstance(key, rsa.RSAPublicKey)):
        raise Refused("trust.profile.key_type", "this type of key is not certified")
    try:
        verify_signature(key, algorithm_der=algorithm.raw, signature=signature, message=info.raw)
    except Refused as error:
        raise Refused("trust.profile.proof_of_possession", error.detail) from error
    return VerifiedRequest(key, spki.raw)
