"""The CDOC2 header: who may open a container, and by what (CDOC2 format, header.fbs and recipients.fbs).

A header is hostile until `keys.verify_header` has checked its HMAC, so everything here is limited: 1 MiB, 1,000
recipients, fixed lengths of keys. Recipients that need a key server are read and named, and cannot be opened here.
"""

from dataclasses import dataclass
from typing import Final

from digiid.formats.cdoc2.flatbuffers import Buffer, Byte, Int32, Table, TableReader, build_buffer
from digiid.kernel.errors import Malformed

MAX_HEADER_BYTES: Final = 1 << 20
MAX_RECIPIENTS: Final = 1000
MAX_LABEL_BYTES: Final = 4096
KEY_BYTES: Final = 32  # FMK, KEK, CEK and HHK alike
_MAX_RSA_BYTES: Final = 2200  # RSA of 16384 bits, PKCS#1 DER
_MIN_SALT_BYTES: Final = 16
_MAX_SALT_BYTES: Final = 256
_MAX_TEXT_BYTES: Final = 2048
_MAX_SHARES: Final = 16
# A sender names the count: below, a password is guessed too easily for us to call it encrypted; above, it is a trap.
MIN_ITERATIONS: Final = 1_000
MAX_ITERATIONS: Final = 10_000_000

_CHACHA20_POLY1305: Final = 1
_XOR: Final = 1
_PBKDF2_HMAC_SHA256: Final = 1
_ECC, _RSA, _KEY_SERVER, _SYMMETRIC, _PBKDF2, _KEY_SHARES = range(1, 7)
_ECC_DETAILS, _RSA_DETAILS = 1, 2

CURVE_NUMBERS: Final = {"secp384r1": 1, "secp256r1": 2, "secp521r1": 3}
_CURVES: Final = {number: name for name, number in CURVE_NUMBERS.items()}
POINT_BYTES: Final = {"secp256r1": 65, "secp384r1": 97, "secp521r1": 133}


@dataclass(frozen=True, slots=True)
class EcCapsule:
    """To an EC key: both points uncompressed (RFC 8446 §4.2.8.2), unverified."""

    curve: str
    recipient_key: bytes
    sender_key: bytes


@dataclass(frozen=True, slots=True)
class RsaCapsule:
    """To an RSA key: RSAPublicKey of PKCS#1, and the KEK under RSA-OAEP."""

    recipient_key_der: bytes
    encrypted_kek: bytes


@dataclass(frozen=True, slots=True)
class KeyServerCapsule:
    """The sender's part lies on a key server. `recipient_key` is a point or PKCS#1 DER, empty when of another kind."""

    recipient_key: bytes
    keyserver_id: str
    transaction_id: str


@dataclass(frozen=True, slots=True)
class SymmetricCapsule:
    """To a key that both sides have."""

    salt: bytes


@dataclass(frozen=True, slots=True)
class PasswordCapsule:
    """To a password, by PBKDF2 with HMAC-SHA-256."""

    salt: bytes
    password_salt: bytes
    iterations: int


@dataclass(frozen=True, slots=True)
class KeySharesCapsule:
    """The key is split over several servers."""

    recipient_id: str
    server_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnknownCapsule:
    """A recipient of a kind that this program does not know."""

    reason: str


Capsule = (
    EcCapsule | RsaCapsule | KeyServerCapsule | SymmetricCapsule | PasswordCapsule | KeySharesCapsule | UnknownCapsule
)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One way to the file master key: the capsule gives a KEK, `encrypted_fmk` is the FMK under it."""

    label: str
    capsule: Capsule
    encrypted_fmk: bytes


def parse_header(content: bytes) -> tuple[Recipient, ...]:
    """The recipients of a header, unverified.

    Raises: Malformed `cdoc2.header.…`.
    """
    if len(content) > MAX_HEADER_BYTES:
        raise Malformed("cdoc2.header.size", f"a header has at most {MAX_HEADER_BYTES} bytes")
    root = Buffer(content).root()
    if root.byte(1) != _CHACHA20_POLY1305:
        raise Malformed("cdoc2.header.method", "the payload is encrypted by a method that is not ChaCha20-Poly1305")
    recipients = tuple(_parse_recipient(record) for record in root.tables(0, limit=MAX_RECIPIENTS))
    if not recipients:
        raise Malformed("cdoc2.header.recipients", "no recipient: nobody could open this")
    return recipients


def build_header(recipients: tuple[Recipient, ...]) -> bytes:
    """The header for recipients that were sealed by `keys`."""
    header = build_buffer(Table([[_record(recipient) for recipient in recipients], Byte(_CHACHA20_POLY1305)]))
    if not recipients or len(recipients) > MAX_RECIPIENTS or len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"1 to {MAX_RECIPIENTS} recipients in at most {MAX_HEADER_BYTES} bytes")
    return header


def _parse_recipient(record: TableReader) -> Recipient:
    label = record.string(2)
    encrypted_fmk = record.octets(3)
    if len(label.encode()) > MAX_LABEL_BYTES:
        raise Malformed("cdoc2.header.label", f"a label has at most {MAX_LABEL_BYTES} bytes")
    if record.byte(4) != _XOR:
        return Recipient(label, UnknownCapsule(f"method {record.byte(4)} over the file master key"), encrypted_fmk)
    if len(encrypted_fmk) != KEY_BYTES:
        raise Malformed("cdoc2.header.length", f"an encrypted file master key has {KEY_BYTES} bytes")
    return Recipient(label, _parse_capsule(record), encrypted_fmk)


def _parse_capsule(record: TableReader) -> Capsule:
    match record.byte(0):
        case 1:
            return _parse_ec(record.table(1))
        case 2:
            capsule = record.table(1)
            return RsaCapsule(
                _limited(capsule.octets(0), 1, _MAX_RSA_BYTES), _limited(capsule.octets(1), 1, _MAX_RSA_BYTES)
            )
        case 3:
            return _parse_key_server(record.table(1))
        case 4:
            return SymmetricCapsule(_salt(record.table(1).octets(0)))
        case 5:
            return _parse_password(record.table(1))
        case 6:
            return _parse_key_shares(record.table(1))
        case other:
            return UnknownCapsule(f"kind {other}")


def _parse_ec(capsule: TableReader) -> Capsule:
    curve = _CURVES.get(capsule.byte(0))
    recipient_key, sender_key = capsule.octets(1), capsule.octets(2)
    if curve is None:
        return UnknownCapsule(f"elliptic curve {capsule.byte(0)}")
    if not len(recipient_key) == len(sender_key) == POINT_BYTES[curve]:
        raise Malformed("cdoc2.header.length", f"a point of {curve} has {POINT_BYTES[curve]} bytes")
    return EcCapsule(curve, recipient_key, sender_key)


def _parse_key_server(capsule: TableReader) -> Capsule:
    kind = capsule.byte(0)
    recipient_key = b""
    if kind in (_ECC_DETAILS, _RSA_DETAILS):
        recipient_key = _limited(capsule.table(1).octets(1 if kind == _ECC_DETAILS else 0), 1, _MAX_RSA_BYTES)
    return KeyServerCapsule(recipient_key, _text(capsule.string(2)), _text(capsule.string(3)))


def _parse_password(capsule: TableReader) -> Capsule:
    salt, password_salt = _salt(capsule.octets(0)), _salt(capsule.octets(1))
    if capsule.byte(2) != _PBKDF2_HMAC_SHA256:
        return UnknownCapsule(f"password function {capsule.byte(2)}")
    iterations = capsule.int32(3)
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise Malformed("cdoc2.header.iterations", f"{iterations} iterations of PBKDF2")
    return PasswordCapsule(salt, password_salt, iterations)


def _parse_key_shares(capsule: TableReader) -> Capsule:
    shares = capsule.tables(0, limit=_MAX_SHARES)
    servers = tuple(_text(share.string(0)) for share in shares)
    return KeySharesCapsule(_text(capsule.string(4)), servers)


def _limited(content: bytes, low: int, high: int) -> bytes:
    if not low <= len(content) <= high:
        raise Malformed("cdoc2.header.length", f"{len(content)} bytes where {low} to {high} are read")
    return content


def _salt(content: bytes) -> bytes:
    return _limited(content, _MIN_SALT_BYTES, _MAX_SALT_BYTES)


def _text(content: str) -> str:
    if len(content) > _MAX_TEXT_BYTES:
        raise Malformed("cdoc2.header.length", f"a text has at most {_MAX_TEXT_BYTES} characters")
    return content


def _record(recipient: Recipient) -> Table:
    number, capsule = _capsule(recipient.capsule)
    return Table([Byte(number), capsule, recipient.label, recipient.encrypted_fmk, Byte(_XOR)])


def _capsule(capsule: Capsule) -> tuple[int, Table]:
    match capsule:
        case EcCapsule():
            return _ECC, Table([Byte(CURVE_NUMBERS[capsule.curve]), capsule.recipient_key, capsule.sender_key])
        case RsaCapsule():
            return _RSA, Table([capsule.recipient_key_der, capsule.encrypted_kek])
        case SymmetricCapsule():
            return _SYMMETRIC, Table([capsule.salt])
        case PasswordCapsule():
            numbers = (Byte(_PBKDF2_HMAC_SHA256), Int32(capsule.iterations))
            return _PBKDF2, Table([capsule.salt, capsule.password_salt, *numbers])
        case KeyServerCapsule() | KeySharesCapsule() | UnknownCapsule():
            raise ValueError("such a recipient is read and never written")
