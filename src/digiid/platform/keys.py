"""Signing keys: encrypted PEM files, or keys inside a PKCS#11 token. Both are the library's own key type.

A PKCS#11 key is named by a URI (RFC 7512):
`pkcs11:token=NAME;object=LABEL?module-path=/usr/lib/…/libsofthsm2.so&pin-source=file:/path/pin`.
Its private half never leaves the token; we hash, the token signs (CKM_ECDSA).
"""

import os
import threading
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_private_key,
)
from pkcs11.util.ec import encode_ec_public_key

from digiid.kernel.errors import Broken, Malformed, Unavailable
from digiid.platform.entropy import Entropy, token_urlsafe

_MAX_KEY_FILE_BYTES: Final = 16 * 1024
_CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
}


def generate_ec_key(curve_name: str) -> ec.EllipticCurvePrivateKey:
    """A fresh key on `secp256r1`, `secp384r1` or `secp521r1`, from the operating system's generator."""
    return ec.generate_private_key(_CURVES[curve_name]())


def load_or_create_passphrase(file: Path, entropy: Entropy) -> bytes:
    """The passphrase in `file`; made with 32 random bytes and mode 0600 when the file is not there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_private(file, token_urlsafe(entropy, 32).encode())
    return _read_passphrase(file)


def write_private_key(file: Path, key: ec.EllipticCurvePrivateKey, *, passphrase: bytes) -> None:
    """Write a PKCS#8 PEM encrypted under `passphrase`, mode 0600, whole or not at all."""
    _write_private(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)))


def load_private_key(path_or_uri: Path | str, passphrase_path: Path | None) -> ec.EllipticCurvePrivateKey:
    """Load an EC signing key from an encrypted PEM file or a PKCS#11 URI.

    `passphrase_path` is the file with the passphrase of a PEM file; a PKCS#11 URI names its own
    `pin-source`, or `passphrase_path` holds the PIN.

    Raises:
        Malformed: `keys.unreadable`, `keys.uri`, the file or the URI is not one.
        Unavailable: `keys.token`, the token or the key is not there.
    """
    if isinstance(path_or_uri, str) and path_or_uri.startswith("pkcs11:"):
        return _load_pkcs11(path_or_uri, passphrase_path)
    file = Path(path_or_uri)
    try:
        if file.stat().st_size > _MAX_KEY_FILE_BYTES:
            raise Malformed("keys.unreadable", f"{file} is too large for a key")
        passphrase = _read_passphrase(passphrase_path) if passphrase_path else None
        key = load_pem_private_key(file.read_bytes(), passphrase)
    except (OSError, ValueError, TypeError) as error:
        # The library's text may quote the file: only what kind of error it was is told.
        raise Malformed("keys.unreadable", f"{file}: {type(error).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise Malformed("keys.unreadable", f"{file} does not hold an EC key on an accepted curve")
    return key


def _read_passphrase(file: Path) -> bytes:
    try:
        passphrase = file.read_bytes().strip()
    except OSError as error:
        raise Malformed("keys.unreadable", f"passphrase file {file}: {type(error).__name__}") from error
    if not passphrase:
        raise Malformed("keys.unreadable", f"passphrase file {file} is empty")
    return passphrase


def _write_private(file: Path, content: bytes) -> None:
    part = file.with_name(file.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


# ------------------------------------------------------------------------------------------ PKCS#11


class Pkcs11Key(ec.EllipticCurvePrivateKey):
    """A private key in a token, usable wherever the library takes an EC private key for signing."""

    def __init__(self, private: Any, public: ec.EllipticCurvePublicKey) -> None:
        """`private` is python-pkcs11's key object; one session, so one signature at a time."""
        self._private, self._public = private, public
        self._lock = threading.Lock()

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.curve.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """DER signature. A wish for a deterministic signature is not honoured: tokens choose their own nonce.

        Raises: Unavailable `keys.token`.
        """
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, Prehashed):
            digest = bytes(data)
        else:
            context = hashes.Hash(algorithm)
            context.update(bytes(data))
            digest = context.finalize()
        size = (self.key_size + 7) // 8
        try:
            with self._lock:
                # CKM_ECDSA takes no more than the order's length; the leftmost bits count (FIPS 186-5 §6.4).
                raw = self._private.sign(digest[:size], mechanism=pkcs11.Mechanism.ECDSA)
        except pkcs11.PKCS11Error as error:
            raise Unavailable("keys.token", f"the token did not sign: {type(error).__name__}") from error
        if len(raw) != 2 * size:
            raise Broken("keys.token", f"the token returned {len(raw)} bytes")
        return encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise Broken("keys.not_exportable", "a token's key is used for signing only")

    def private_numbers(self) -> NoReturn:
        raise Broken("keys.not_exportable", "a token's key does not leave it")

    def private_bytes(
        self, encoding: Encoding, format: PrivateFormat, encryption_algorithm: KeySerializationEncryption
    ) -> NoReturn:
        raise Broken("keys.not_exportable", "a token's key does not leave it")

    def __copy__(self) -> "Pkcs11Key":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pkcs11Key":
        return self


def _load_pkcs11(uri: str, pin_file: Path | None) -> Pkcs11Key:
    attributes, query = _parse_uri(uri)
    source = query.get("pin-source", "")
    if source:
        pin_file = Path(urlsplit(source).path if source.startswith("file:") else source)
    pin = _read_passphrase(pin_file).decode() if pin_file else None
    try:
        token = pkcs11.lib(query["module-path"]).get_token(token_label=attributes["token"])
        session = token.open(user_pin=pin)
        label = attributes["object"]
        private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        public = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label)
        if not isinstance(public, pkcs11.PublicKey):
            raise TypeError("not a public key")
        loaded = load_der_public_key(encode_ec_public_key(public))
    except (pkcs11.PKCS11Error, RuntimeError, ValueError, TypeError) as error:
        raise Unavailable("keys.token", f"{attributes['token']}: {type(error).__name__}") from error
    if not isinstance(loaded, ec.EllipticCurvePublicKey) or loaded.curve.name not in _CURVES:
        raise Malformed("keys.unreadable", "the token's key is not an EC key on an accepted curve")
    return Pkcs11Key(private, loaded)


def _parse_uri(uri: str) -> tuple[dict[str, str], dict[str, str]]:
    path, _, query_text = uri.removeprefix("pkcs11:").partition("?")
    attributes: dict[str, str] = {}
    for part in filter(None, path.split(";")):
        name, sign, value = part.partition("=")
        if not sign or name in attributes:
            raise Malformed("keys.uri", f"attribute {name!r} of the PKCS#11 URI")
        attributes[name] = unquote(value)
    query = dict(parse_qsl(query_text, keep_blank_values=True))
    for name, found in (("token", attributes), ("object", attributes), ("module-path", query)):
        if not found.get(name):
            raise Malformed("keys.uri", f"the PKCS#11 URI does not name {name}")
    return attributes, query
