"""Signing keys from files: encrypted PEM, and PKCS#12 with its certificate. Keys inside tokens are next door.

All of them are the library's own key types, so that whoever signs need not know where a key lies.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12, serialize_key_and_certificates

from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import Malformed
from digiid.platform.entropy import Entropy, token_urlsafe
from digiid.platform.secret_file import read_passphrase
from digiid.platform.tokens import ACCEPTED_CURVES, load_token_key

_MAX_KEY_FILE_BYTES: Final = 16 * 1024
_MAX_PKCS12_BYTES: Final = 256 * 1024
_CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
}
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What a PKCS#12 file holds. `certificate` is None in a file that still waits for it."""

    key: SigningKey = field(repr=False)
    certificate: x509.Certificate | None
    others: tuple[x509.Certificate, ...] = ()


def generate_ec_key(curve_name: str) -> ec.EllipticCurvePrivateKey:
    """A fresh key on `secp256r1`, `secp384r1` or `secp521r1`, from the operating system's generator."""
    return ec.generate_private_key(_CURVES[curve_name]())


def load_or_create_passphrase(file: Path, entropy: Entropy) -> bytes:
    """The passphrase in `file`; made with 32 random bytes and mode 0600 when the file is not there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_private(file, token_urlsafe(entropy, 32).encode())
    return read_passphrase(file)


def write_private_key(file: Path, key: ec.EllipticCurvePrivateKey, *, passphrase: bytes) -> None:
    """Write a PKCS#8 PEM encrypted under `passphrase`, mode 0600, whole or not at all."""
    _write_private(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)))


def load_signing_key(path_or_uri: Path | str, passphrase_path: Path | None) -> SigningKey:
    """Load an EC key, or an RSA key of 2048 bits at least, from an encrypted PEM file or a PKCS#11 URI.

    `passphrase_path` is the file with the passphrase of a PEM file; a PKCS#11 URI names its own
    `pin-source`, or `passphrase_path` holds the PIN.

    Raises:
        Malformed: `keys.unreadable`, `keys.uri`, the file or the URI is not one.
        Unavailable: `keys.token`, the token or the key is not there.
    """
    if isinstance(path_or_uri, str) and path_or_uri.startswith("pkcs11:"):
        return load_token_key(path_or_uri, passphrase_path)
    file = Path(path_or_uri)
    try:
        if file.stat().st_size > _MAX_KEY_FILE_BYTES:
            raise Malformed("keys.unreadable", f"{file} is too large for a key")
        passphrase = read_passphrase(passphrase_path) if passphrase_path else None
        key = load_pem_private_key(file.read_bytes(), passphrase)
    except OSError as error:
        raise Malformed("keys.unreadable", f"{file}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise _unopened(file, "PEM", passphrase_path) from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ACCEPTED_CURVES:
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    raise Malformed("keys.unreadable", f"{file} holds neither an EC key on an accepted curve nor RSA of 2048 bits")


def load_private_key(path_or_uri: Path | str, passphrase_path: Path | None) -> ec.EllipticCurvePrivateKey:
    """Load an EC signing key. Raises: as `load_signing_key`, and Malformed `keys.unreadable` for an RSA key."""
    key = load_signing_key(path_or_uri, passphrase_path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Malformed("keys.unreadable", "the key is not an EC key on an accepted curve")
    return key


def load_pkcs12_file(file: Path, password_path: Path | None) -> FileIdentity:
    """The key of a PKCS#12 file (RFC 7292) and the certificate that belongs to it.

    Raises: Malformed `keys.unreadable`, also for a wrong password.
    """
    password = read_passphrase(password_path) if password_path else None
    try:
        if file.stat().st_size > _MAX_PKCS12_BYTES:
            raise Malformed("keys.unreadable", f"{file} is too large for a PKCS#12 file")
        found = load_pkcs12(file.read_bytes(), password)
    except OSError as error:
        raise Malformed("keys.unreadable", f"{file}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise _unopened(file, "PKCS#12", password_path) from None
    key = found.key
    is_accepted = (isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ACCEPTED_CURVES) or (
        isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048
    )
    if not is_accepted:
        raise Malformed("keys.unreadable", f"{file} holds neither an EC key on an accepted curve nor RSA of 2048 bits")
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    certificate = _reload(found.cert.certificate) if found.cert else None
    if certificate is not None and certificate.public_key() != key.public_key():
        raise Malformed("keys.unreadable", f"{file}: the certificate is not that of the key")
    return FileIdentity(key, certificate, tuple(_reload(other.certificate) for other in found.additional_certs))


def write_pkcs12_file(file: Path, identity: FileIdentity, *, password: bytes, name: str) -> None:
    """Write a PKCS#12 file encrypted under `password`, mode 0600, whole or not at all."""
    encoded = serialize_key_and_certificates(
        name.encode(), identity.key, identity.certificate, identity.others or None, BestAvailableEncryption(password)
    )
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_private(file, encoded)


def _unopened(file: Path, form: str, password_path: Path | None) -> Malformed:
    # The library's text may quote the file, and does not tell a wrong password from a file of another kind.
    if password_path is None:
        return Malformed(
            "keys.unreadable", f"{file} is no {form} file, or needs a password: name the file that holds it"
        )
    return Malformed("keys.unreadable", f"{file} is no {form} file, or the password in {password_path} is not its own")


def _reload(certificate: x509.Certificate) -> x509.Certificate:
    # Read with our own reader's strictness, as every certificate from outside.
    return load_certificate(certificate.public_bytes(Encoding.DER))


def _write_private(file: Path, content: bytes) -> None:
    part = file.with_name(file.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
