"""Algorithm identifiers of XML signatures (RFC 9231, XMLDSig 1.1) and what each of them means for a key.

Not listed, so refused: DSA, MD5, RIPEMD, HMAC, RSA-PSS with parameters of its own, EdDSA.
"""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from digiid.formats.x509.signature import is_ec_key, is_ec_private_key, is_rsa_key
from digiid.kernel.errors import Malformed, Refused

_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_MORE_2007 = "http://www.w3.org/2007/05/xmldsig-more#"
_MORE_2021 = "http://www.w3.org/2021/04/xmldsig-more#"
_ENC = "http://www.w3.org/2001/04/xmlenc#"

# URI -> hashlib's name
DIGEST_METHODS = {
    _ENC + "sha256": "sha256",
    _MORE + "sha384": "sha384",
    _ENC + "sha512": "sha512",
    _MORE_2007 + "sha3-256": "sha3_256",
    _MORE_2007 + "sha3-384": "sha3_384",
    _MORE_2007 + "sha3-512": "sha3_512",
    _MORE + "sha224": "sha224",
    _DSIG + "sha1": "sha1",
}
DIGEST_URIS = {name: uri for uri, name in DIGEST_METHODS.items()}

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - read in old signatures, reported as weak, never written
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}


# Made once: these objects are asked for with every signature.
_PREHASHED = {name: Prehashed(algorithm) for name, algorithm in _HASHES.items()}
_ECDSA = {name: ec.ECDSA(prehashed) for name, prehashed in _PREHASHED.items()}
_PKCS1 = padding.PKCS1v15()


@dataclass(frozen=True, slots=True)
class SignatureMethod:
    """`family` is ecdsa, rsa (PKCS #1 v1.5) or rsa-pss (MGF1 with the same hash, salt as long as the hash)."""

    uri: str
    family: str
    hash_name: str

    @property
    def hash(self) -> hashes.HashAlgorithm:
        return _HASHES[self.hash_name]


_EC_HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")

SIGNATURE_METHODS = {
    method.uri: method
    for method in (
        *(
            SignatureMethod(f"{_MORE}ecdsa-{name}", "ecdsa", name)
            for name in ("sha1", "sha224", "sha256", "sha384", "sha512")
        ),
        *(SignatureMethod(f"{_MORE_2021}ecdsa-sha3-{bits}", "ecdsa", f"sha3_{bits}") for bits in (256, 384, 512)),
        SignatureMethod(_DSIG + "rsa-sha1", "rsa", "sha1"),
        *(SignatureMethod(f"{_MORE}rsa-{name}", "rsa", name) for name in ("sha224", "sha256", "sha384", "sha512")),
        *(SignatureMethod(f"{_MORE_2007}{name}-rsa-MGF1", "rsa-pss", name) for name in ("sha256", "sha384", "sha512")),
        *(SignatureMethod(f"{_MORE_2007}sha3-{bits}-rsa-MGF1", "rsa-pss", f"sha3_{bits}") for bits in (256, 384, 512)),
    )
}

_CURVE_HASH = {"secp256r1": "sha256", "secp384r1": "sha384", "secp521r1": "sha512"}


def choose_method(key: PublicKeyTypes, *, pss: bool = False, hash_name: str | None = None) -> SignatureMethod:
    """The method to sign with. The curve decides the hash unless `hash_name` does; `pss` only matters for RSA.

    Raises: Refused `xades.key`.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVE_HASH:
            raise Refused("xades.key", f"signing with the curve {key.curve.name} is not supported")
        name = hash_name or _CURVE_HASH[key.curve.name]
        method = SIGNATURE_METHODS.get(f"{_MORE}ecdsa-{name}")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise Refused("xades.key", f"RSA with {key.key_size} bits is too small to sign with")
        name = hash_name or "sha256"
        method = SIGNATURE_METHODS.get(f"{_MORE_2007}{name}-rsa-MGF1" if pss else f"{_MORE}rsa-{name}")
    else:
        raise Refused("xades.key", f"signing with {type(key).__name__} is not supported")
    if method is None or name in ("sha1", "sha224"):
        raise Refused("xades.key", f"signing with the hash {name} is not supported")
    return method


def verify_value(method: SignatureMethod, key: PublicKeyTypes, signature: bytes, *, digest: bytes) -> None:
    """Verify a signature value over `digest`, which the caller made with the method's hash.

    ECDSA values are r and s side by side, each as long as the curve's order (RFC 9231 §2.3.6); a value of
    another length, DER among them, is refused.

    Raises: Refused `xades.key_mismatch`, `xades.signature_value`.
    """
    try:
        if method.family == "ecdsa" and is_ec_key(key):
            size = (key.curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                raise Refused("xades.signature_value", f"{len(signature)} bytes, a value on this curve has {2 * size}")
            r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
            key.verify(encode_dss_signature(r, s), digest, _ECDSA[method.hash_name])
            return
        if method.family == "ecdsa":
            raise Refused("xades.key_mismatch", "the signature method is ECDSA, the certificate's key is not")
        if not is_rsa_key(key):
            raise Refused("xades.key_mismatch", "the signature method is RSA, the certificate's key is not")
        key.verify(signature, digest, _rsa_padding(method), _PREHASHED[method.hash_name])
    except InvalidSignature as error:
        raise Refused("xades.signature_value", "the signature value does not verify") from error
    except ValueError as error:  # the library's word for numbers that cannot be a signature at all
        raise Refused("xades.signature_value", "the signature value is impossible for this key") from error


def sign_digest(method: SignatureMethod, key: PrivateKeyTypes, digest: bytes) -> bytes:
    """A signature value in the form of XMLDSig: ECDSA as r||s.

    Raises: Refused `xades.key_mismatch`.
    """
    if method.family == "ecdsa" and is_ec_private_key(key):
        return _raw_from_own(key.sign(digest, _ECDSA[method.hash_name]), key.curve.key_size)
    if method.family != "ecdsa" and isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, _rsa_padding(method), _PREHASHED[method.hash_name])
    raise Refused("xades.key_mismatch", f"a {type(key).__name__} cannot sign with {method.uri}")


def raw_from_der(signature_der: bytes, key_bits: int) -> bytes:
    """An ECDSA signature as r||s (RFC 9231 §2.3.6) from its DER form.

    Raises: Malformed `xades.signature_value`.
    """
    size = (key_bits + 7) // 8
    try:
        r, s = decode_dss_signature(signature_der)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    except (ValueError, OverflowError) as error:
        raise Malformed("xades.signature_value", "not an ECDSA signature of this curve") from error


def _raw_from_own(signature_der: bytes, key_bits: int) -> bytes:
    """The same for what the library has just written: read by its places, for integers made of r and s would cost more
    than most of what else is around a message's signature."""
    if signature_der[1] >= 0x80:  # a length of two bytes: P-521
        return raw_from_der(signature_der, key_bits)
    size, r_end = (key_bits + 7) // 8, 4 + signature_der[3]
    r, s = signature_der[4:r_end], signature_der[r_end + 2 :]
    return r[-size:].rjust(size, b"\0") + s[-size:].rjust(size, b"\0")


def _rsa_padding(method: SignatureMethod) -> padding.AsymmetricPadding:
    if method.family == "rsa":
        return _PKCS1
    return padding.PSS(padding.MGF1(method.hash), method.hash.digest_size)


_HASH_FUNCTIONS = {name: getattr(hashlib, name) for name in _HASHES}  # `hashlib.new` looks for the name anew each time


def hash_bytes(hash_name: str, data: bytes) -> bytes:
    digest: bytes = _HASH_FUNCTIONS[hash_name](data).digest()
    return digest
