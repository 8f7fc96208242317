"""Keys that decrypt, from every place where one may lie: a card, a file, a PKCS#11 token."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from digiid.formats.apdu import Transport
from digiid.formats.cdoc2 import OAEP
from digiid.kernel.errors import Malformed, Refused
from digiid.platform import eid_card
from digiid.platform.documents.encryption import AgreementKey, TransportKey
from digiid.platform.eid_card import CardKey
from digiid.platform.keys import load_pkcs12_file
from digiid.platform.secret_file import read_passphrase
from digiid.platform.tokens import ACCEPTED_CURVES, load_token_key

_MAX_KEY_FILE_BYTES: Final = 16 * 1024
_PKCS12_SUFFIXES: Final = (".p12", ".pfx")


def key_of_card(card: Transport, pin1: Callable[[], str]) -> AgreementKey:
    """The authentication key of a card. `pin1` is asked only when a container is encrypted to it.

    Raises: Malformed `card.…`; Unavailable `card.removed`.
    """
    public_key = eid_card.read_certificate(card, CardKey.AUTHENTICATION).public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise Malformed("card.certificate", "the card's authentication key is not an EC key")
    return AgreementKey(public_key, lambda peer: eid_card.derive(card, pin1=pin1(), peer=peer))


def key_of_private_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> AgreementKey | TransportKey:
    """A key of the library's types, in memory or in a token."""
    if isinstance(key, rsa.RSAPrivateKey):
        return TransportKey(key.public_key(), lambda encrypted: key.decrypt(encrypted, OAEP))
    return AgreementKey(key.public_key(), lambda peer: key.exchange(ec.ECDH(), peer))


def load_decryption_key(source: str, password_path: Path | None) -> AgreementKey | TransportKey:
    """The key in a PEM or PKCS#12 file, or in a token that a `pkcs11:` URI names. `password_path` is a file that holds
    the password or the PIN.

    Raises: Malformed `keys.unreadable`, `keys.uri`; Refused `encryption.key.token_rsa`; Unavailable `keys.token`.
    """
    if source.startswith("pkcs11:"):
        in_token = load_token_key(source, password_path)
        if isinstance(in_token, rsa.RSAPrivateKey):
            text = "A token's RSA key does not decrypt here: only EC keys do."
            raise Refused("encryption.key.token_rsa", text, public=text)
        return key_of_private_key(in_token)
    file = Path(source)
    if file.suffix.lower() in _PKCS12_SUFFIXES:
        return key_of_private_key(load_pkcs12_file(file, password_path).key)
    try:
        if file.stat().st_size > _MAX_KEY_FILE_BYTES:
            raise Malformed("keys.unreadable", f"{file} is too large for a key")
        key = load_pem_private_key(file.read_bytes(), read_passphrase(password_path) if password_path else None)
    except OSError as error:
        raise Malformed("keys.unreadable", f"{file}: {error.strerror}") from None
    except (ValueError, TypeError):
        # The library's text may quote the file: only that it is none is told.
        text = f"{file} holds no private key (PEM, PKCS#12) that this password opens"
        raise Malformed("keys.unreadable", text) from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ACCEPTED_CURVES:
        return key_of_private_key(key)
    if isinstance(key, rsa.RSAPrivateKey):
        return key_of_private_key(key)
    raise Malformed("keys.unreadable", f"{file} holds neither an EC key on an accepted curve nor an RSA key")
