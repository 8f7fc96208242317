"""Keys inside a PKCS#11 token: a smart card, an HSM, SoftHSM. Their private half never leaves it.

A key is named by a URI (RFC 7512):
`pkcs11:token=NAME;object=LABEL;id=%01?module-path=/usr/lib/…/libsofthsm2.so&pin-source=file:/path/pin`.
We hash, the token signs: CKM_ECDSA, CKM_RSA_PKCS over a DigestInfo, CKM_RSA_PKCS_PSS (PKCS#11 v2.40 §2.1, §2.3).
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from pkcs11.util.ec import encode_ec_public_key
from pkcs11.util.rsa import encode_rsa_public_key

from digiid.formats import der
from digiid.formats.x509.parts import CONTENT_COMMITMENT, load_certificate, parts_of
from digiid.formats.x509.signature import HASH_OIDS
from digiid.kernel.errors import Broken, DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.secret_file import read_passphrase

ACCEPTED_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_MAX_CERTIFICATES: Final = 64
_PSS_MECHANISMS: Final = {
    "sha256": (pkcs11.Mechanism.SHA256, pkcs11.MGF.SHA256),
    "sha384": (pkcs11.Mechanism.SHA384, pkcs11.MGF.SHA384),
    "sha512": (pkcs11.Mechanism.SHA512, pkcs11.MGF.SHA512),
}
_NULL: Final = b"\x05\x00"
_PIN_REFUSED: Final = (pkcs11.PinIncorrect, pkcs11.PinExpired, pkcs11.PinLocked)


class _InToken:
    """What both kinds of key share: one session, so one signature at a time; nothing comes out."""

    def __init__(self, private: Any, find_again: Callable[[], Any] | None = None) -> None:
        self._private, self._find_again = private, find_again
        self._lock = threading.Lock()

    def _sign(self, data: bytes, mechanism: Any, parameter: Any = None) -> bytes:
        with self._lock:
            try:
                return bytes(self._private.sign(data, mechanism=mechanism, mechanism_param=parameter))
            except pkcs11.PKCS11Error as error:
                if self._find_again is None:
                    raise Unavailable("keys.token", f"the token did not sign: {type(error).__name__}") from error
            # The token may have been away: sessions and handles do not outlive that.
            try:
                self._private = self._find_again()
                return bytes(self._private.sign(data, mechanism=mechanism, mechanism_param=parameter))
            except pkcs11.PKCS11Error as error:
                raise Unavailable("keys.token", f"the token did not sign: {type(error).__name__}") from error
            except Unavailable as error:
                if isinstance(error.__cause__, _PIN_REFUSED):
                    self._find_again = None  # trying a wrong PIN again and again would lock the token
                raise

    def private_numbers(self) -> NoReturn:
        raise Broken("keys.not_exportable", "a token's key does not leave it")

    def private_bytes(
        self, encoding: Encoding, format: PrivateFormat, encryption_algorithm: KeySerializationEncryption
    ) -> NoReturn:
        raise Broken("keys.not_exportable", "a token's key does not leave it")


class Pkcs11Key(_InToken, ec.EllipticCurvePrivateKey):
    """An EC private key in a token, usable wherever the library takes one for signing."""

    def __init__(
        self, private: Any, public: ec.EllipticCurvePublicKey, find_again: Callable[[], Any] | None = None
    ) -> None:
        """`private` is python-pkcs11's key object; `find_again` gets a new one when the token has been away.

        It raises Unavailable `keys.token`, caused by what the token said.
        """
        super().__init__(private, find_again)
        self._public = public

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
        digest, _ = _digest_of(data, signature_algorithm.algorithm)
        size = (self.key_size + 7) // 8
        # CKM_ECDSA takes no more than the order's length; the leftmost bits count (FIPS 186-5 §6.4).
        raw = self._sign(digest[:size], pkcs11.Mechanism.ECDSA)
        if len(raw) != 2 * size:
            raise Broken("keys.token", f"the token returned {len(raw)} bytes")
        return encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """The X coordinate of the shared point (CKM_ECDH1_DERIVE without a KDF, PKCS#11 v2.40 §2.3.7).

        Raises: Unavailable `keys.token`.
        """
        size = (self.key_size + 7) // 8
        point = peer_public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        template = {pkcs11.Attribute.SENSITIVE: False, pkcs11.Attribute.EXTRACTABLE: True}
        try:
            with self._lock:
                secret = self._private.derive_key(
                    pkcs11.KeyType.GENERIC_SECRET,
                    8 * size,
                    mechanism=pkcs11.Mechanism.ECDH1_DERIVE,
                    mechanism_param=(pkcs11.KDF.NULL, None, point),
                    template=template,
                )
                shared_x = bytes(secret[pkcs11.Attribute.VALUE])
        except pkcs11.PKCS11Error as error:
            raise Unavailable("keys.token", f"the token did not derive: {type(error).__name__}") from error
        if len(shared_x) != size:
            raise Broken("keys.token", f"the token returned {len(shared_x)} bytes")
        return shared_x

    def __copy__(self) -> "Pkcs11Key":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pkcs11Key":
        return self


class Pkcs11RsaKey(_InToken, rsa.RSAPrivateKey):
    """An RSA private key in a token: PKCS#1 v1.5, and PSS with MGF1 over the same hash."""

    def __init__(self, private: Any, public: rsa.RSAPublicKey, find_again: Callable[[], Any] | None = None) -> None:
        super().__init__(private, find_again)
        self._public = public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """The signature value. The salt of PSS is as long as the hash, whatever length is asked for.

        Raises: Unavailable `keys.token`; Refused `keys.padding`.
        """
        digest, hash_name = _digest_of(data, algorithm)
        signature = self._sign(*self._mechanism(padding, digest, hash_name))
        if len(signature) != (self.key_size + 7) // 8:
            raise Broken("keys.token", f"the token returned {len(signature)} bytes")
        return signature

    def _mechanism(self, asked: Any, digest: bytes, hash_name: str) -> tuple[bytes, Any, Any]:
        if hash_name not in _PSS_MECHANISMS:
            raise Refused("keys.padding", f"RSA with the hash {hash_name} is not signed by a token")
        if isinstance(asked, padding.PKCS1v15):
            # RFC 8017 §9.2: CKM_RSA_PKCS pads, the DigestInfo is ours to make; its NULL is written.
            algorithm = der.sequence(der.oid(HASH_OIDS[hash_name]), _NULL)
            return der.sequence(algorithm, der.tlv(der.OCTET_STRING, digest)), pkcs11.Mechanism.RSA_PKCS, None
        if isinstance(asked, padding.PSS):
            return digest, pkcs11.Mechanism.RSA_PKCS_PSS, (*_PSS_MECHANISMS[hash_name], len(digest))
        raise Refused("keys.padding", f"{type(asked).__name__} is not a padding to sign with")

    def decrypt(self, ciphertext: bytes, padding: Any) -> NoReturn:
        raise Broken("keys.not_exportable", "a token's RSA key is used for signing only")

    def __copy__(self) -> "Pkcs11RsaKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pkcs11RsaKey":
        return self


TokenKey = Pkcs11Key | Pkcs11RsaKey


@dataclass(frozen=True, slots=True)
class TokenAddress:
    """A parsed URI. `label` and `key_id` may be absent: then the certificate's own identifier finds the key."""

    token: str
    module_path: str
    label: str | None
    key_id: bytes | None
    pin_file: Path | None


def parse_token_uri(uri: str) -> TokenAddress:
    """Read a PKCS#11 URI (RFC 7512 §2.3).

    Raises: Malformed `keys.uri`.
    """
    path, _, query_text = uri.removeprefix("pkcs11:").partition("?")
    raw: dict[str, str] = {}
    for part in filter(None, path.split(";")):
        name, sign, value = part.partition("=")
        if not sign or name in raw:
            raise Malformed("keys.uri", f"attribute {name!r} of the PKCS#11 URI")
        raw[name] = value
    query = dict(parse_qsl(query_text, keep_blank_values=True))
    for name, found in (("token", raw), ("module-path", query)):
        if not found.get(name):
            raise Malformed("keys.uri", f"the PKCS#11 URI does not name {name}")
    source = query.get("pin-source", "")
    pin_file = Path(urlsplit(source).path if source.startswith("file:") else source) if source else None
    label = unquote(raw["object"]) if raw.get("object") else None
    key_id = unquote_to_bytes(raw["id"]) if raw.get("id") else None
    return TokenAddress(unquote(raw["token"]), query["module-path"], label, key_id, pin_file)


def load_token_key(uri: str, pin_file: Path | None) -> TokenKey:
    """The signing key that a URI names; `pin_file` holds the PIN when the URI names no `pin-source`.

    Raises:
        Malformed: `keys.uri`; `keys.unreadable`, the key is of a kind we do not sign with.
        Unavailable: `keys.token`, the token or the key is not there.
    """
    address = parse_token_uri(uri)
    if address.label is None and address.key_id is None:
        raise Malformed("keys.uri", "the PKCS#11 URI names no object and no id")
    private, public = _find_pair(address, pin_file)

    def find_again() -> Any:
        found, its_public = _find_pair(address, pin_file)
        if its_public != public:
            raise Unavailable("keys.token", f"{address.token}: another key is in the place of the one that was loaded")
        return found

    return _key_of(private, public, find_again)


def _find_pair(address: TokenAddress, pin_file: Path | None) -> tuple[Any, Any]:
    """The private key as the token's object, the public one as the library's."""
    try:
        session = _open(address, pin_file)
        private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=address.label, id=address.key_id)
        public = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=address.label, id=address.key_id)
        encode = encode_rsa_public_key if public.key_type is pkcs11.KeyType.RSA else encode_ec_public_key
        return private, load_der_public_key(_spki(encode(public), public.key_type))
    except (pkcs11.PKCS11Error, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise Unavailable("keys.token", f"{address.token}: {type(error).__name__}") from error


def load_token_identity(uri: str, pin_file: Path | None) -> tuple[TokenKey, x509.Certificate]:
    """A signing key with its certificate, both on the token: the certificate with nonRepudiation is picked.

    `object` or `id` of the URI choose where a token holds several.

    Raises:
        Malformed: `keys.uri`, `keys.unreadable`.
        NotFound: `keys.certificate`, no certificate for signing that has its key there.
        Refused: `keys.several`, more than one, and the URI does not choose.
        Unavailable: `keys.token`.
    """
    address = parse_token_uri(uri)
    try:
        session = _open(address, pin_file)
        found = _signing_certificates(session, address)
        usable = [
            (private, certificate)
            for key_id, certificate in found
            for private in [_find_private(session, key_id, address.label)]
            if private is not None
        ]
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise Unavailable("keys.token", f"{address.token}: {type(error).__name__}") from error
    if not usable:
        raise NotFound("keys.certificate", f"{address.token} holds no certificate for signing with its key")
    if len(usable) > 1:
        raise Refused("keys.several", f"{address.token} holds {len(usable)} certificates for signing; name one by id")
    [(private, certificate)] = usable
    return _key_of(private, certificate.public_key()), certificate


def _open(address: TokenAddress, pin_file: Path | None) -> Any:
    source = address.pin_file or pin_file
    pin = read_passphrase(source).decode() if source else None
    token = pkcs11.lib(address.module_path).get_token(token_label=address.token)
    try:
        return token.open(user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:
        return token.open()  # a process logs in once for all its sessions (PKCS#11 v2.40 §5.6)


def _signing_certificates(session: Any, address: TokenAddress) -> Sequence[tuple[bytes, x509.Certificate]]:
    wanted: dict[Any, Any] = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE}
    if address.key_id is not None:
        wanted[pkcs11.Attribute.ID] = address.key_id
    elif address.label is not None:
        wanted[pkcs11.Attribute.LABEL] = address.label
    found: list[tuple[bytes, x509.Certificate]] = []
    for count, item in enumerate(session.get_objects(wanted)):
        if count >= _MAX_CERTIFICATES:
            raise Malformed("keys.unreadable", f"more than {_MAX_CERTIFICATES} certificates on a token")
        try:
            certificate = load_certificate(bytes(item[pkcs11.Attribute.VALUE]))
            usage = parts_of(certificate).key_usage()
        except DigiidError:
            continue  # a token may hold what we do not read; it is then not the one to sign with
        if usage is not None and CONTENT_COMMITMENT in usage:
            found.append((bytes(item[pkcs11.Attribute.ID]), certificate))
    return found


def _find_private(session: Any, key_id: bytes, label: str | None) -> Any:
    try:
        if key_id:
            return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, id=key_id)
        return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
    except pkcs11.NoSuchKey:
        return None


def _spki(encoded: bytes, key_type: Any) -> bytes:
    if key_type is not pkcs11.KeyType.RSA:
        return encoded
    # RFC 3279 §2.3.1: python-pkcs11 gives the bare RSAPublicKey.
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"), _NULL)
    return der.sequence(algorithm, der.bit_string(encoded))


def _key_of(private: Any, public: Any, find_again: Callable[[], Any] | None = None) -> TokenKey:
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in ACCEPTED_CURVES:
        return Pkcs11Key(private, public, find_again)
    if isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048:
        return Pkcs11RsaKey(private, public, find_again)
    raise Malformed("keys.unreadable", "the token's key is neither EC on an accepted curve nor RSA of 2048 bits")


def _digest_of(data: Any, algorithm: Any) -> tuple[bytes, str]:
    if isinstance(algorithm, Prehashed):
        return bytes(data), algorithm._algorithm.name  # the library has no public name for it
    context = hashes.Hash(algorithm)
    context.update(bytes(data))
    return context.finalize(), algorithm.name
