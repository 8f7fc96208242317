"""Which signature algorithms we accept, and the one place that checks them (RFC 5758, RFC 4055, RFC 5480).

Accepted: ECDSA with SHA-256/384/512 on P-256, P-384 and P-521; RSA (2048 to 8192 bits) PKCS#1 v1.5 and
PSS with SHA-256/384/512. SHA-1, MD5, DSA, explicit curve parameters and everything else are refused.
"""

import functools
import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias, TypeGuard

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from digiid.formats import der
from digiid.kernel.errors import Malformed, Refused

SHA1: Final = "1.3.14.3.2.26"
SHA256: Final = "2.16.840.1.101.3.4.2.1"
SHA384: Final = "2.16.840.1.101.3.4.2.2"
SHA512: Final = "2.16.840.1.101.3.4.2.3"
HASH_NAMES: Final = {SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}
HASH_OIDS: Final = {name: oid for oid, name in HASH_NAMES.items()}
# hashlib's own functions: `hashlib.new` looks for the name anew each time. SHA-1 only to compare what names a thing.
HASH_FUNCTIONS: Final[dict[str, Callable[[bytes], "hashlib._Hash"]]] = {
    "sha1": functools.partial(hashlib.sha1, usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
}

ECDSA_WITH_SHA256: Final = "1.2.840.10045.4.3.2"
ECDSA_WITH_SHA384: Final = "1.2.840.10045.4.3.3"
ECDSA_WITH_SHA512: Final = "1.2.840.10045.4.3.4"
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
MGF1: Final = "1.2.840.113549.1.1.8"

AcceptedHash: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
_HASHES: Final[dict[str, AcceptedHash]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ECDSA: Final = {
    ECDSA_WITH_SHA256: ("sha256", ec.ECDSA(hashes.SHA256())),
    ECDSA_WITH_SHA384: ("sha384", ec.ECDSA(hashes.SHA384())),
    ECDSA_WITH_SHA512: ("sha512", ec.ECDSA(hashes.SHA512())),
}
# RFC 5758 §3.2: ECDSA identifiers have no parameters, so each is one sequence of bytes and nothing else.
_ECDSA_DER: Final = {der.sequence(der.oid(oid)): known for oid, known in _ECDSA.items()}
_RSA: Final = {
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_CURVE_NAMES: Final = ("secp256r1", "secp384r1", "secp521r1")
# RFC 5480 §4: the hash that matches the strength of the curve.
_HASH_OF_CURVE: Final = {"secp256r1": "sha256", "secp384r1": "sha384", "secp521r1": "sha512"}
_ECDSA_OF_HASH: Final = {"sha256": ECDSA_WITH_SHA256, "sha384": ECDSA_WITH_SHA384, "sha512": ECDSA_WITH_SHA512}
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_NULL: Final = b"\x05\x00"


def hash_algorithm(name: str) -> AcceptedHash:
    """pyca's hash for `sha256`, `sha384` or `sha512`. Raises: Refused `x509.algorithm`."""
    found = _HASHES.get(name)
    if found is None:
        raise Refused("x509.algorithm", f"hash {name} is not accepted")
    return found


def hash_identifier(name: str) -> bytes:
    """AlgorithmIdentifier of a hash; parameters absent (RFC 5754 §2)."""
    return der.sequence(der.oid(HASH_OIDS[name]))


def hash_name_for(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> str:
    """The hash that we sign with on this key's curve. Raises: Refused `x509.algorithm`."""
    name = _HASH_OF_CURVE.get(key.curve.name)
    if name is None:
        raise Refused("x509.algorithm", f"curve {key.curve.name} is not accepted")
    return name


def signature_identifier(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    """AlgorithmIdentifier of ECDSA with this curve's hash; parameters absent (RFC 5758 §3.2)."""
    return der.sequence(der.oid(_ECDSA_OF_HASH[hash_name_for(key)]))


def sign_ecdsa(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """DER signature with the hash that belongs to the key's curve."""
    return key.sign(message, ec.ECDSA(hash_algorithm(hash_name_for(key))))


def sign_ecdsa_deterministic(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """The same, with the nonce of RFC 6979: signing the same bytes again gives the same signature."""
    return key.sign(message, ec.ECDSA(hash_algorithm(hash_name_for(key)), deterministic_signing=True))


# The library's classes behind its abstract ones, whose own `isinstance` is slow enough to show in every verdict.
_EC_PRIVATE_KEY: Final = type(ec.derive_private_key(1, ec.SECP256R1()))
_EC_PUBLIC_KEY: Final = type(ec.derive_private_key(1, ec.SECP256R1()).public_key())
_RSA_PUBLIC_KEY: Final = type(rsa.RSAPublicNumbers(65537, 2**2047 + 1).public_key())


def is_ec_key(key: object) -> TypeGuard[ec.EllipticCurvePublicKey]:
    """True for a public key on an elliptic curve."""
    return type(key) is _EC_PUBLIC_KEY or isinstance(key, ec.EllipticCurvePublicKey)


def is_ec_private_key(key: object) -> TypeGuard[ec.EllipticCurvePrivateKey]:
    """True for a private key on an elliptic curve."""
    return type(key) is _EC_PRIVATE_KEY or isinstance(key, ec.EllipticCurvePrivateKey)


def is_rsa_key(key: object) -> TypeGuard[rsa.RSAPublicKey]:
    """True for a public RSA key."""
    return type(key) is _RSA_PUBLIC_KEY or isinstance(key, rsa.RSAPublicKey)


def load_public_key(spki_der: bytes) -> PublicKeyTypes:
    """Read a SubjectPublicKeyInfo; the library checks that an EC point is on its named curve.

    Raises: Malformed `x509.public_key`.
    """
    try:
        return load_der_public_key(spki_der)
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise Malformed("x509.public_key", "not a public key that we read") from error


def check_public_key(key: PublicKeyTypes) -> None:
    """Refuse keys that are too weak or of a kind we do not use. Raises: Refused `x509.public_key`."""
    if is_ec_key(key) and key.curve.name in _CURVE_NAMES:
        return
    if isinstance(key, rsa.RSAPublicKey) and _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        return
    raise Refused("x509.public_key", "key type or size is not accepted")


def verify_signature(
    key: PublicKeyTypes, *, algorithm_der: bytes, signature: bytes, message: bytes, digest_name: str | None = None
) -> str:
    """Check `signature` over `message` and return the name of the hash that it used.

    `algorithm_der` is the AlgorithmIdentifier as it stood in the signed structure. `digest_name` is
    what a CMS SignerInfo says apart; plain rsaEncryption takes its hash from there (RFC 8933 §2).

    Raises:
        Malformed: `der.…`, the identifier cannot be read.
        Refused: `x509.algorithm`, `x509.public_key`, or `x509.signature` when it does not verify.
    """
    known = _ECDSA_DER.get(algorithm_der)
    if known is not None and is_ec_key(key):
        if key.curve.name not in _CURVE_NAMES:
            raise Refused("x509.public_key", "key type or size is not accepted")
        try:
            key.verify(signature, message, known[1])
        except InvalidSignature as error:
            raise Refused("x509.signature", "the signature does not verify") from error
        return known[0]
    reader = der.read_whole(algorithm_der, max_bytes=256)
    identifier = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
    parameters = reader.take() if reader.peek() else None
    reader.finish()
    check_public_key(key)
    try:
        if isinstance(key, rsa.RSAPublicKey) and identifier in _RSA:
            if parameters is not None and parameters.raw != _NULL:
                raise Refused("x509.algorithm", "RSA PKCS#1 v1.5 with parameters")
            name = _RSA[identifier]
            key.verify(signature, message, padding.PKCS1v15(), _HASHES[name])
            return name
        if isinstance(key, rsa.RSAPublicKey) and identifier == RSA_ENCRYPTION and digest_name in _HASHES:
            key.verify(signature, message, padding.PKCS1v15(), _HASHES[digest_name])
            return digest_name
        if isinstance(key, rsa.RSAPublicKey) and identifier == RSASSA_PSS and parameters is not None:
            name, salt_bytes = _pss_parameters(parameters)
            pss = padding.PSS(padding.MGF1(_HASHES[name]), salt_bytes)
            key.verify(signature, message, pss, _HASHES[name])
            return name
    except InvalidSignature as error:
        raise Refused("x509.signature", "the signature does not verify") from error
    raise Refused("x509.algorithm", f"signature algorithm {identifier} with this key is not accepted")


def _pss_parameters(parameters: der.Element) -> tuple[str, int]:
    # RFC 4055 §3.1; the same hash for MGF1, explicit, as every profile of it asks for.
    if parameters.tag != der.SEQUENCE:
        raise Malformed("der.tag", "RSASSA-PSS parameters are a SEQUENCE")
    reader = parameters.enter()
    name = _hash_of(reader.take(der.context(0)).enter().take(der.SEQUENCE))
    mask = reader.take(der.context(1)).enter().take(der.SEQUENCE).enter()
    if der.read_oid(mask.take(der.OBJECT_IDENTIFIER)) != MGF1 or _hash_of(mask.take(der.SEQUENCE)) != name:
        raise Refused("x509.algorithm", "RSASSA-PSS with another mask function")
    salt = reader.take_if(der.context(2))
    salt_bytes = der.read_integer(salt.enter().take(der.INTEGER)) if salt else 20
    trailer = reader.take_if(der.context(3))
    if trailer and der.read_integer(trailer.enter().take(der.INTEGER)) != 1:
        raise Refused("x509.algorithm", "RSASSA-PSS with another trailer")
    reader.finish()
    if not 20 <= salt_bytes <= 64:
        raise Refused("x509.algorithm", "RSASSA-PSS salt length")
    return name, salt_bytes


def _hash_of(element: der.Element) -> str:
    name = HASH_NAMES.get(der.read_oid(element.enter().take(der.OBJECT_IDENTIFIER)), "")
    if name not in _HASHES:
        raise Refused("x509.algorithm", "hash is not accepted")
    return name


# Every encoding of a hash that is in use: with NULL parameters, and without any.
_HASH_IDENTIFIERS: Final = {
    der.sequence(der.oid(oid), parameters): name for name, oid in HASH_OIDS.items() for parameters in (_NULL, b"")
}


def hash_of_identifier(encoded: bytes) -> str:
    """The hash that an encoded AlgorithmIdentifier names, as `read_hash_identifier` says it."""
    return _HASH_IDENTIFIERS.get(encoded) or read_hash_identifier(der.Reader(encoded).take())


def read_hash_identifier(element: der.Element) -> str:
    """The hash named by an AlgorithmIdentifier: sha1, sha256, sha384, sha512, or its OID when we know no name."""
    known = _HASH_IDENTIFIERS.get(element.raw)
    if known is not None:
        return known
    reader = element.enter()
    identifier = der.read_oid(reader.take(der.OBJECT_IDENTIFIER))
    if reader.peek():
        reader.take(der.NULL)
    reader.finish()
    return HASH_NAMES.get(identifier, identifier)
