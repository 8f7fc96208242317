"""Signers for every place where a key may lie: a PKCS#12 file, a PKCS#11 token; a card comes with its own reader.

Each is a `KeySigner`. RSA signs by PKCS#1 v1.5, or by RSASSA-PSS when the caller says so: the choice is part of what
is signed and cannot be made afterwards.
"""

from pathlib import Path

from digiid.kernel.errors import Refused
from digiid.platform.documents.signing import KeySigner
from digiid.platform.keys import load_pkcs12_file
from digiid.platform.tokens import load_token_identity


def signer_from_pkcs12(file: Path, password_path: Path | None, *, pss: bool = False) -> KeySigner:
    """The key and certificate of a PKCS#12 file. `password_path` is a file that holds the password.

    Raises: Malformed `keys.unreadable`; Refused `keys.no_certificate`.
    """
    identity = load_pkcs12_file(file, password_path)
    if identity.certificate is None:
        raise Refused("keys.no_certificate", f"{file} holds a key and no certificate of it")
    return KeySigner(identity.certificate, identity.key, pss=pss)


def signer_from_token(uri: str, pin_file: Path | None = None, *, pss: bool = False) -> KeySigner:
    """The key in a PKCS#11 token and its certificate on the same token, the one with nonRepudiation.

    `uri` is `pkcs11:token=NAME?module-path=…&pin-source=file:…`; `object=` or `id=` choose where there are several.

    Raises: Malformed `keys.uri`, `keys.unreadable`; NotFound `keys.certificate`; Refused `keys.several`;
        Unavailable `keys.token`.
    """
    key, certificate = load_token_identity(uri, pin_file)
    return KeySigner(certificate, key, pss=pss)
