"""Keys of a CDOC2 container: from the file master key (FMK) to the rest, and from each recipient's key to the FMK.

    FMK = HKDF-Extract("CDOC20salt", 64 random bytes)
    CEK = HKDF-Expand(FMK, "CDOC20cek")      the payload's key
    HHK = HKDF-Expand(FMK, "CDOC20hmac")     the header's HMAC key
    encrypted_fmk = FMK xor KEK              one KEK for each recipient

HKDF is RFC 5869 with SHA-256. Only a right KEK gives an FMK whose HMAC over the header fits, so `verify_header`
proves at once that the key is the recipient's and that nobody changed the header.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from digiid.formats.cdoc2.header import (
    KEY_BYTES,
    MAX_LABEL_BYTES,
    Capsule,
    EcCapsule,
    PasswordCapsule,
    Recipient,
    RsaCapsule,
    SymmetricCapsule,
)
from digiid.kernel.errors import Malformed, Refused

MASTER_SECRET_BYTES: Final = 64
SALT_BYTES: Final = 32
MIN_SECRET_BYTES: Final = 32
ITERATIONS: Final = 600_000  # OWASP's floor for PBKDF2-HMAC-SHA-256, and what the format's programs write
OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "secp256r1": ec.SECP256R1(),
    "secp384r1": ec.SECP384R1(),
    "secp521r1": ec.SECP521R1(),
}
_KEK: Final = b"CDOC20kekXOR"  # "CDOC20kek" and the name of the method
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class VerifiedKeys:
    """The keys of a container whose header was checked with them. Only `verify_header` and `seal_header` make them."""

    cek: bytes = field(repr=False)
    header_hmac: bytes


def derive_file_master_key(master_secret: bytes) -> bytes:
    """The FMK from 64 fresh random bytes."""
    if len(master_secret) != MASTER_SECRET_BYTES:
        raise ValueError(f"{MASTER_SECRET_BYTES} random bytes are needed")
    return _extract(b"CDOC20salt", master_secret)


def seal_header(fmk: bytes, header: bytes) -> VerifiedKeys:
    """The payload's key and the HMAC over a header that we wrote."""
    return VerifiedKeys(_expand(fmk, b"CDOC20cek"), hmac.digest(_expand(fmk, b"CDOC20hmac"), header, "sha256"))


def verify_header(recipient: Recipient, kek: bytes, *, header: bytes, header_hmac: bytes) -> VerifiedKeys:
    """Open the file master key and check the header's HMAC with it.

    Raises: Refused `cdoc2.key.wrong`: the key is not this recipient's, or the header was changed.
    """
    keys = seal_header(_xor(recipient.encrypted_fmk, kek), header)
    if not hmac.compare_digest(keys.header_hmac, header_hmac):
        text = "The key does not open this container, or somebody changed it."
        raise Refused("cdoc2.key.wrong", "the header's HMAC does not fit", public=text)
    return keys


# --- recipients, as the sender makes them ---


def seal_to_ec(
    fmk: bytes, label: str, key: ec.EllipticCurvePublicKey, *, ephemeral: ec.EllipticCurvePrivateKey
) -> Recipient:
    """To an EC key on P-256, P-384 or P-521. `ephemeral` is fresh, on the same curve, and used once."""
    recipient_key, sender_key = encode_public_key(key), encode_public_key(ephemeral.public_key())
    kek = derive_ec_kek(ephemeral.exchange(ec.ECDH(), key), recipient_key, sender_key)
    return _seal(fmk, kek, label, EcCapsule(key.curve.name, recipient_key, sender_key))


def seal_to_rsa(fmk: bytes, label: str, key: rsa.RSAPublicKey, *, kek: bytes) -> Recipient:
    """To an RSA key. `kek` is 32 fresh random bytes."""
    return _seal(fmk, kek, label, RsaCapsule(encode_public_key(key), key.encrypt(kek, OAEP)))


def seal_to_secret(fmk: bytes, label: str, secret: bytes, *, salt: bytes) -> Recipient:
    """To a key of at least 32 bytes that both sides have. `salt` is 32 fresh random bytes."""
    return _seal(fmk, derive_secret_kek(SymmetricCapsule(salt), label, secret), label, SymmetricCapsule(salt))


def seal_to_password(
    fmk: bytes, label: str, password: str, *, salt: bytes, password_salt: bytes, iterations: int = ITERATIONS
) -> Recipient:
    """To a password. Both salts are 32 fresh random bytes."""
    capsule = PasswordCapsule(salt, password_salt, iterations)
    return _seal(fmk, derive_password_kek(capsule, label, password), label, capsule)


# --- key encryption keys, as both sides derive them ---


def derive_ec_kek(shared_x: bytes, recipient_key: bytes, sender_key: bytes) -> bytes:
    """From the X coordinate of the shared point (ECDH) and both public points."""
    return _expand(_extract(b"CDOC20kekpremaster", shared_x), _KEK + recipient_key + sender_key)


def derive_secret_kek(capsule: SymmetricCapsule, label: str, secret: bytes) -> bytes:
    """Raises: Refused `cdoc2.key.short`."""
    if len(secret) < MIN_SECRET_BYTES:
        text = f"A key has at least {MIN_SECRET_BYTES} bytes."
        raise Refused("cdoc2.key.short", text, public=text)
    return _expand(_extract(capsule.salt, secret), _KEK + label.encode())


def derive_password_kek(capsule: PasswordCapsule, label: str, password: str) -> bytes:
    """PBKDF2 (RFC 8018 §5.2), then as with a key that both sides have. Takes about 0.2 s at 600,000 iterations."""
    stretched = hashlib.pbkdf2_hmac("sha256", password.encode(), capsule.password_salt, capsule.iterations, KEY_BYTES)
    return _expand(_extract(capsule.salt, stretched), _KEK + label.encode())


def decode_sender_key(capsule: EcCapsule) -> ec.EllipticCurvePublicKey:
    """The sender's point, checked to lie on the curve: any other would leak bits of the recipient's key.

    Raises: Malformed `cdoc2.point`.
    """
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[capsule.curve], capsule.sender_key)
    except ValueError as error:
        raise Malformed("cdoc2.point", f"the sender's key is no point of {capsule.curve}") from error


def is_for_key(capsule: Capsule, key: PublicKey) -> bool:
    """Whether a capsule that can be opened without a server is for this public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return isinstance(capsule, RsaCapsule) and capsule.recipient_key_der == encode_public_key(key)
    return isinstance(capsule, EcCapsule) and capsule.recipient_key == encode_public_key(key)


def encode_public_key(key: PublicKey) -> bytes:
    """04 ‖ X ‖ Y, or RSAPublicKey (RFC 8017 §A.1.1)."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _seal(fmk: bytes, kek: bytes, label: str, capsule: Capsule) -> Recipient:
    if len(label.encode()) > MAX_LABEL_BYTES:
        raise ValueError(f"a label has at most {MAX_LABEL_BYTES} bytes")
    return Recipient(label, capsule, _xor(fmk, kek))


def _xor(left: bytes, right: bytes) -> bytes:
    if not len(left) == len(right) == KEY_BYTES:
        raise Malformed("cdoc2.key.length", f"a key has {KEY_BYTES} bytes")
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _extract(salt: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, material, "sha256")


def _expand(key: bytes, info: bytes) -> bytes:
    return HKDFExpand(algorithm=hashes.SHA256(), length=KEY_BYTES, info=info).derive(key)
