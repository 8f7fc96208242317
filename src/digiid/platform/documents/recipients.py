"""To whom files are encrypted: holders of certificates, those who know a password, those who share a key."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from digiid.formats import cdoc2
from digiid.formats.cdoc2 import PublicKey, Recipient
from digiid.formats.x509.parts import CONTENT_COMMITMENT, KEY_AGREEMENT, parts_of, public_key_of
from digiid.kernel.errors import Refused
from digiid.platform.entropy import Entropy
from digiid.platform.keys import generate_ec_key
from digiid.platform.tokens import ACCEPTED_CURVES

MIN_PASSWORD_CHARACTERS: Final = 20  # CDOC2's own rule: whoever has the file may guess for as long as they like
MAX_PASSWORD_CHARACTERS: Final = 64
_KEY_ENCIPHERMENT: Final = 2  # RFC 5280 §4.2.1.3
_MIN_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class KeyRecipient:
    """Somebody whose public key we have."""

    label: str
    key: PublicKey


@dataclass(frozen=True, slots=True)
class PasswordRecipient:
    """Whoever knows a password. `recipient_of_password` checks it."""

    label: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecretRecipient:
    """Whoever has the same key of at least 32 bytes."""

    label: str
    secret: bytes = field(repr=False)


NewRecipient = KeyRecipient | PasswordRecipient | SecretRecipient


def recipient_of_certificate(certificate: x509.Certificate, *, at: datetime) -> KeyRecipient:
    """The holder of a certificate for authentication or key agreement.

    Whether the certificate is revoked, or by whom it was issued, is not asked.

    Raises:
        Refused: `encryption.recipient.signing`, `encryption.recipient.unsuitable`, `encryption.recipient.expired`,
            `encryption.recipient.key`.
        Malformed: `x509.…`, `der.…`.
    """
    # 1 A key that the format knows.
    key = public_key_of(certificate)
    is_ec = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ACCEPTED_CURVES
    is_rsa = isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS
    if not is_ec and not is_rsa:
        raise Refused("encryption.recipient.key", "Encryption is to keys on P-256, P-384, P-521, and RSA of 2048 bits.")
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    # 2 In its time.
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        text = f"The recipient's certificate is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d} (UTC) only."
        raise Refused("encryption.recipient.expired", text)
    # 3 A key of a person or a system, meant for this: a signing key never decrypts, and its card refuses to.
    parts = parts_of(certificate)
    usage = parts.key_usage() or frozenset()
    constraints = parts.basic_constraints()
    if CONTENT_COMMITMENT in usage:
        text = (
            "This is the certificate for signing; nobody can decrypt with its key. "
            "Use the certificate for authentication of the same person or document."
        )
        raise Refused("encryption.recipient.signing", text)
    if (constraints is not None and constraints.is_ca) or (KEY_AGREEMENT if is_ec else _KEY_ENCIPHERMENT) not in usage:
        wanted = "key agreement" if is_ec else "key encipherment"
        text = f"The certificate is not for encryption: its key usage has no {wanted}, or it is a CA's."
        raise Refused("encryption.recipient.unsuitable", text)
    return KeyRecipient(cdoc2.label_of_certificate(certificate), key)


def recipient_of_password(label: str, password: str) -> PasswordRecipient:
    """Whoever knows a password of 20 to 64 characters.

    Raises: Refused `encryption.password.length`.
    """
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        text = (
            f"A password has {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters: "
            "whoever gets the container can guess without limit. Five random words are a good one."
        )
        raise Refused("encryption.password.length", text)
    return PasswordRecipient(cdoc2.build_label("pw", {"label": label}), password)


def recipient_of_secret(label: str, secret: bytes) -> SecretRecipient:
    """Whoever has the same key. Raises: Refused `cdoc2.key.short`."""
    if len(secret) < cdoc2.MIN_SECRET_BYTES:
        raise Refused("cdoc2.key.short", f"A key has at least {cdoc2.MIN_SECRET_BYTES} bytes.")
    return SecretRecipient(cdoc2.build_label("secret", {"label": label}), secret)


def seal(fmk: bytes, recipient: NewRecipient, entropy: Entropy) -> Recipient:
    """The file master key for one recipient, under keys and salts used once."""
    match recipient:
        case KeyRecipient(label, rsa.RSAPublicKey() as key):
            return cdoc2.seal_to_rsa(fmk, label, key, kek=entropy.token_bytes(len(fmk)))
        case KeyRecipient(label, key):
            assert isinstance(key, ec.EllipticCurvePublicKey)
            return cdoc2.seal_to_ec(fmk, label, key, ephemeral=generate_ec_key(key.curve.name))
        case PasswordRecipient(label, password):
            salt, password_salt = entropy.token_bytes(cdoc2.SALT_BYTES), entropy.token_bytes(cdoc2.SALT_BYTES)
            return cdoc2.seal_to_password(fmk, label, password, salt=salt, password_salt=password_salt)
        case SecretRecipient(label, secret):
            return cdoc2.seal_to_secret(fmk, label, secret, salt=entropy.token_bytes(cdoc2.SALT_BYTES))


def check_recipients(recipients: Sequence[NewRecipient]) -> None:
    """Raises: Refused `encryption.recipient.none`, `encryption.recipient.twice`."""
    if not recipients:
        raise Refused("encryption.recipient.none", "Name at least one recipient, a password or a key.")
    seen: list[PublicKey] = []
    for recipient in recipients:
        if isinstance(recipient, KeyRecipient):
            if recipient.key in seen:
                raise Refused("encryption.recipient.twice", "The same recipient is named twice.")
            seen.append(recipient.key)
