"""The host's side of an ESTEID2018 card: what a program sends to read, sign, change PINs and personalise.

Every function takes a Transport, so that a chip in this process, one behind the reader socket and a
plastic card in a PC/SC reader are used alike. What a card says is outside data: sizes are limited and
nothing but Malformed, Refused and Unavailable comes out.

Order of commands as Web eID's own library sends them: SELECT application, MSE, VERIFY, operation.
"""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from digiid.formats import der
from digiid.formats.apdu import (
    ResponseApdu,
    StatusWord,
    Transport,
    build_command,
    describe_status,
    parse_response,
)
from digiid.formats.card import chip as layout
from digiid.formats.card import personalisation
from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import Malformed, Refused

MAX_CERTIFICATE_BYTES: Final = 4096  # a real card may hold more than ours writes
_READ_BLOCK_BYTES: Final = 0xC0  # Cosmo X answers no more at once
_ECDSA_WITH_SHA384: Final = "1.2.840.10045.4.3.3"  # RFC 5758 §3.2
_PIN_FIELD_BYTES: Final = 12


class CardKey(StrEnum):
    """The two key pairs of a card."""

    AUTHENTICATION = "authentication"
    SIGNATURE = "signature"


class CardPin(StrEnum):
    """PIN1 signs in, PIN2 signs, the PUK unblocks both."""

    PIN1 = "pin1"
    PIN2 = "pin2"
    PUK = "puk"

    @property
    def min_digits(self) -> int:
        return layout.MIN_PIN_DIGITS[_PIN_REFERENCE[self]]

    @property
    def max_digits(self) -> int:
        return layout.MAX_PIN_DIGITS


@dataclass(frozen=True, slots=True)
class RetryCounters:
    """Tries left; 0 is blocked."""

    pin1: int
    pin2: int
    puk: int


@dataclass(frozen=True, slots=True)
class CardDocument:
    """The personal data on the chip.

    An e-resident's card has no sex, citizenship or birth data: nothing of that follows from it.
    """

    surname: str
    given_names: str
    personal_code: str
    document_number: str
    expires_on: date
    issued_on: date
    sex: str | None = None
    citizenship: str | None = None
    born_on: date | None = None
    birth_place: str | None = None


class PinRefused(Refused):
    """A PIN was wrong (`card.pin.wrong`) or is blocked (`card.pin.blocked`)."""

    def __init__(self, which: CardPin, tries_left: int) -> None:
        self.which = which
        self.tries_left = tries_left
        name = which.value.upper()
        if tries_left:
            super().__init__(
                "card.pin.wrong",
                f"wrong {name}, {tries_left} tries left",
                public=f"Wrong {name}. Tries left: {tries_left}.",
            )
        else:
            super().__init__("card.pin.blocked", f"{name} is blocked", public=f"{name} is blocked.")


_PIN_REFERENCE: Final = {CardPin.PIN1: layout.PIN1, CardPin.PIN2: layout.PIN2, CardPin.PUK: layout.PUK}
_KEY_REFERENCE: Final = {
    CardKey.AUTHENTICATION: layout.AUTHENTICATION_KEY,
    CardKey.SIGNATURE: layout.SIGNATURE_KEY,
}
_CERTIFICATE_FILE: Final = {
    CardKey.AUTHENTICATION: layout.AUTHENTICATION_CERTIFICATE_FILE,
    CardKey.SIGNATURE: layout.SIGNATURE_CERTIFICATE_FILE,
}
_DATE: Final = re.compile(r"(\d{2}) (\d{2}) (\d{4})(?: .*)?")


# --- reading ---


def read_certificate(card: Transport, kind: CardKey) -> x509.Certificate:
    """The certificate of one key, as the card has it: unverified.

    Raises:
        Malformed: `card.certificate`, `card.file`. Unavailable: `card.removed`.
    """
    _select_application(card, layout.AID_MAIN)
    df, ef = _CERTIFICATE_FILE[kind]
    path = df.to_bytes(2, "big") + ef.to_bytes(2, "big")
    control = _expect_ok(_send(card, 0xA4, 0x09, 0x04, path, 256), "SELECT certificate")
    size = _file_size(control.data)
    content = b""
    while len(content) < size:
        offset, wanted = len(content), min(_READ_BLOCK_BYTES, size - len(content))
        part = _expect_ok(_send(card, 0xB0, offset >> 8, offset & 0xFF, ne=wanted), "READ BINARY").data
        if not part:
            raise Malformed("card.file", "the card's file ends before the size it names")
        content += part
    try:
        return load_certificate(content[:size])
    except Malformed as error:
        raise Malformed("card.certificate", f"the {kind} file holds no certificate") from error


def read_document(card: Transport) -> CardDocument:
    """The personal data layout.

    Raises:
        Malformed: `card.personal_data`. Unavailable: `card.removed`.
    """
    _select_application(card, layout.AID_MAIN)
    _expect_ok(_send(card, 0xA4, 0x01, 0x0C, b"\x50\x00"), "SELECT personal data")
    surname, given_names, sex, citizenship, birth, code, number, expires, issued = (
        _read_field(card, identifier) for identifier in range(0x5001, 0x500A)
    )
    expires_on, issued_on = _parse_date(expires), _parse_date(issued)
    if expires_on is None or issued_on is None or not code or not number:
        raise Malformed("card.personal_data", "personal code, document number and both dates are needed")
    return CardDocument(
        surname=surname,
        given_names=given_names,
        personal_code=code,
        document_number=number,
        expires_on=expires_on,
        issued_on=issued_on,
        sex=sex or None,
        citizenship=citizenship or None,
        born_on=_parse_date(birth),
        birth_place=birth[11:] or None,
    )


def read_retry_counters(card: Transport) -> RetryCounters:
    """How many tries each PIN has left. Asking costs none."""
    _select_application(card, layout.AID_MAIN)
    pin1, puk = _read_tries(card, 0x01), _read_tries(card, 0x02)
    _select_application(card, layout.AID_SIGNATURE)
    return RetryCounters(pin1=pin1, pin2=_read_tries(card, 0x05), puk=puk)


# --- using the keys ---


def authenticate(card: Transport, *, pin1: str, digest: bytes) -> bytes:
    """INTERNAL AUTHENTICATE over a digest of at most 48 bytes; raw r‖s, 96 bytes.

    Raises:
        Refused: `card.pin.format`, `card.pin.wrong`, `card.pin.blocked` (both PinRefused), `card.status`.
        Unavailable: `card.removed`.
    """
    padded = _padded(CardPin.PIN1, pin1)
    _select_application(card, layout.AID_AUTHENTICATION)
    _expect_ok(_send(card, 0x22, 0x41, 0xA4, bytes.fromhex("800104840181")), "MSE SET AT")
    _verify_pin(card, CardPin.PIN1, padded)
    try:
        data = digest.rjust(layout.KEY_BYTES, b"\x00")
        response = _expect_ok(_send(card, 0x88, 0x00, 0x00, data, 256), "INTERNAL AUTHENTICATE")
    finally:
        _forget_pin(card, CardPin.PIN1)
    return _signature(response)


def sign(card: Transport, *, pin2: str, digest: bytes) -> bytes:
    """COMPUTE DIGITAL SIGNATURE over a SHA-256, SHA-384 or SHA-512 digest; raw r‖s, 96 bytes.

    Raises: as `authenticate`, for PIN2.
    """
    padded = _padded(CardPin.PIN2, pin2)
    _select_application(card, layout.AID_SIGNATURE)
    _expect_ok(_send(card, 0x22, 0x41, 0xB6, bytes.fromhex("80015484019F")), "MSE SET DST")
    _verify_pin(card, CardPin.PIN2, padded)
    try:
        data = digest[: layout.KEY_BYTES].rjust(layout.KEY_BYTES, b"\x00")
        response = _expect_ok(_send(card, 0x2A, 0x9E, 0x9A, data, 256), "PSO CDS")
    finally:
        _forget_pin(card, CardPin.PIN2)
    return _signature(response)


def derive(card: Transport, *, pin1: str, peer: ec.EllipticCurvePublicKey) -> bytes:
    """PSO DECIPHER: the X coordinate of ECDH between the authentication key and `peer`, 48 bytes.

    Raises: as `authenticate`; Refused `card.peer`: a key that is not on P-384; Malformed `card.shared_secret`.
    """
    if peer.curve.name != "secp384r1":
        raise Refused("card.peer", f"the card's key is on P-384, the other one on {peer.curve.name}")
    padded = _padded(CardPin.PIN1, pin1)
    point = peer.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    _select_application(card, layout.AID_AUTHENTICATION)
    _expect_ok(_send(card, 0x22, 0x41, 0xB8, bytes.fromhex("80010B840181")), "MSE SET CT")
    _verify_pin(card, CardPin.PIN1, padded)
    try:
        response = _expect_ok(_send(card, 0x2A, 0x80, 0x86, b"\x00" + point, 256), "PSO DECIPHER")
    finally:
        _forget_pin(card, CardPin.PIN1)
    if len(response.data) != layout.KEY_BYTES:
        raise Malformed("card.shared_secret", f"a shared secret of P-384 has {layout.KEY_BYTES} bytes")
    return response.data


# --- PINs ---


def change_pin(card: Transport, which: CardPin, *, old: str, new: str) -> None:
    """CHANGE REFERENCE DATA for PIN1, PIN2 or the PUK.

    Raises:
        Refused: `card.pin.format`, `card.pin.unchanged`, `card.pin.wrong`, `card.pin.blocked`.
    """
    old_padded, new_padded = _padded(which, old), _padded(which, new)
    if old_padded == new_padded:
        raise _unchanged(which)
    _select_application_of(card, which)
    response = _send(card, 0x24, 0x00, _PIN_REFERENCE[which], old_padded + new_padded)
    if response.status in (StatusWord.INCORRECT_DATA, StatusWord.CONDITIONS_NOT_SATISFIED):
        raise _unchanged(which)
    _expect_pin_ok(response, which)


def unblock_pin(card: Transport, which: CardPin, *, puk: str, new: str) -> None:
    """Give PIN1 or PIN2 a new value and all its tries, with the PUK.

    Raises:
        Refused: `card.pin.format`, `card.pin.wrong` and `card.pin.blocked` (of the PUK).
    """
    if which is CardPin.PUK:
        raise Refused("card.puk.final", "a PUK cannot be unblocked", public="A blocked PUK cannot be unblocked.")
    puk_padded, new_padded = _padded(CardPin.PUK, puk), _padded(which, new)
    _select_application(card, layout.AID_MAIN)
    _verify_pin(card, CardPin.PUK, puk_padded)
    try:
        if which is CardPin.PIN2:
            _select_application(card, layout.AID_SIGNATURE)
        _expect_ok(_send(card, 0x2C, 0x02, _PIN_REFERENCE[which], new_padded), "RESET RETRY COUNTER")
    finally:
        _forget_pin(card, CardPin.PUK)


# --- personalisation ---


def generate_key(card: Transport, kind: CardKey) -> ec.EllipticCurvePublicKey:
    """Make a key inside the chip; it never leaves it. Doing it again replaces the key."""
    return _public_key(_personalise(card, personalisation.GENERATE_KEY, 0x00, _KEY_REFERENCE[kind]))


def build_certificate_request(card: Transport, kind: CardKey) -> bytes:
    """PKCS#10 DER (RFC 2986) signed inside the chip: proof that it holds the key. Subject and attributes are empty."""
    reference = _KEY_REFERENCE[kind]
    public_key = _public_key(_personalise(card, personalisation.READ_KEY, 0x00, reference))
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = der.sequence(der.integer(0), der.sequence(), spki, der.tlv(der.context(0)))
    raw = _signature(_personalise(card, personalisation.SIGN_REQUEST, 0x9E, reference, info))
    half = layout.KEY_BYTES
    value = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
    return der.sequence(info, der.sequence(der.oid(_ECDSA_WITH_SHA384)), der.bit_string(value))


def write_personal_data(card: Transport, data: CardDocument) -> None:
    """Write the personal data files and the document number.

    Raises:
        Refused: `card.status`: a field does not fit, or the document number has not nine characters.
    """
    birth = "" if data.born_on is None else f"{_card_date(data.born_on)} {data.birth_place or ''}".rstrip()
    fields = (
        data.surname,
        data.given_names,
        data.sex or "",
        data.citizenship or "",
        birth,
        data.personal_code,
        data.document_number,
        _card_date(data.expires_on),
        _card_date(data.issued_on),
        *[""] * 6,  # residence permit and five notes
    )
    for path, text in zip(layout.PERSONAL_DATA_FILES, fields, strict=True):
        _put_file(card, path, text.encode() or layout.EMPTY_FILE)
    number = data.document_number.encode()
    _put_file(card, layout.DOCUMENT_NUMBER_FILE, b"\x04" + bytes([len(number)]) + number)


def write_certificate(card: Transport, kind: CardKey, certificate_der: bytes) -> None:
    """Write one certificate.

    Raises:
        Refused: `card.certificate.too_large`: above 1536 bytes OpenSC before 0.27 cannot read it;
            `card.status`: it is not for the key of this chip.
    """
    if len(certificate_der) > layout.MAX_CERTIFICATE_BYTES:
        detail = f"{len(certificate_der)} bytes, a chip takes {layout.MAX_CERTIFICATE_BYTES}"
        raise Refused("card.certificate.too_large", detail)
    _put_file(card, _CERTIFICATE_FILE[kind], certificate_der)


def write_pins(card: Transport, *, pin1: str, pin2: str, puk: str) -> None:
    """Set the first PIN1, PIN2 and PUK.

    Raises:
        Refused: `card.pin.format`.
    """
    fields = [(which, _padded(which, value)) for which, value in zip(CardPin, (pin1, pin2, puk), strict=True)]
    for which, padded in fields:
        _personalise(card, personalisation.SET_PIN, 0x01, _PIN_REFERENCE[which], padded)


def close_personalisation(card: Transport) -> None:
    """Close the chip for good.

    Raises:
        Refused: `card.status`: a key, a certificate, a PIN or the document number is missing.
    """
    _personalise(card, personalisation.CLOSE, 0x00, 0x00)


# --- helpers ---


def _send(  # noqa: PLR0917 - the fields of a command in their order on the wire
    card: Transport, ins: int, p1: int, p2: int, data: bytes = b"", ne: int | None = None
) -> ResponseApdu:
    return parse_response(card.transmit(build_command(0x00, ins, p1, p2, data, ne)))


def _expect_ok(response: ResponseApdu, what: str) -> ResponseApdu:
    if response.status != StatusWord.OK:
        raise Refused("card.status", f"{what}: the card answered {describe_status(response.status)}")
    return response


def _select_application(card: Transport, aid: bytes) -> None:
    _expect_ok(_send(card, 0xA4, 0x04, 0x0C, aid), "SELECT application")


def _select_application_of(card: Transport, which: CardPin) -> None:
    _select_application(card, layout.AID_SIGNATURE if which is CardPin.PIN2 else layout.AID_MAIN)


def _file_size(control: bytes) -> int:
    """Size from FCP: tag 80, else 81, two bytes (ISO/IEC 7816-4 table 12)."""
    position = 2 if control[:1] == b"\x62" else len(control)
    sizes: dict[int, bytes] = {}
    while position + 2 <= len(control):
        end = position + 2 + control[position + 1]
        sizes[control[position]] = control[position + 2 : end]
        position = end
    value = sizes.get(0x80, sizes.get(0x81, b""))
    size = int.from_bytes(value, "big")
    if len(value) != 2 or not 1 <= size <= MAX_CERTIFICATE_BYTES:
        raise Malformed("card.file", "the card names no size, or one beyond the limit")
    return size


def _read_field(card: Transport, identifier: int) -> str:
    _expect_ok(_send(card, 0xA4, 0x02, 0x0C, identifier.to_bytes(2, "big")), "SELECT field")
    content = _expect_ok(_send(card, 0xB0, 0, 0, ne=256), "READ BINARY").data
    if content == layout.EMPTY_FILE:
        return ""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Malformed("card.personal_data", "a personal data file is not UTF-8") from error
    if not text.isprintable():
        raise Malformed("card.personal_data", "a personal data file holds control characters")
    return text


def _parse_date(text: str) -> date | None:
    match = _DATE.fullmatch(text)
    if match is None:
        if text:
            raise Malformed("card.personal_data", "a date on the card is not DD MM YYYY")
        return None
    try:
        return date(int(match[3]), int(match[2]), int(match[1]))
    except ValueError as error:
        raise Malformed("card.personal_data", "a date on the card does not exist") from error


def _card_date(day: date) -> str:
    return f"{day.day:02} {day.month:02} {day.year:04}"


def _read_tries(card: Transport, reference: int) -> int:
    asked = bytes.fromhex("4D087006BF81") + bytes([reference]) + bytes.fromhex("02A080")
    answer = _expect_ok(_send(card, 0xCB, 0x3F, 0xFF, asked, 256), "GET DATA").data
    if len(answer) < 32 or answer[11:13] != b"\x9b\x01":
        raise Malformed("card.retry_counters", "the card's PIN information has another form")
    return answer[13]


def _padded(which: CardPin, value: str) -> bytes:
    """Refuse what cannot be right before it costs a try."""
    if not (value.isascii() and value.isdigit() and which.min_digits <= len(value) <= which.max_digits):
        name, low, high = which.value.upper(), which.min_digits, which.max_digits
        text = f"{name} has {low} to {high} digits."
        raise Refused("card.pin.format", text, public=text)
    return value.encode().ljust(_PIN_FIELD_BYTES, b"\xff")


def _unchanged(which: CardPin) -> Refused:
    text = f"The new {which.value.upper()} must differ from the old one."
    return Refused("card.pin.unchanged", text, public=text)


def _verify_pin(card: Transport, which: CardPin, padded: bytes) -> None:
    _expect_pin_ok(_send(card, 0x20, 0x00, _PIN_REFERENCE[which], padded), which)


def _expect_pin_ok(response: ResponseApdu, which: CardPin) -> None:
    status = response.status
    if status & 0xFFF0 == 0x63C0:
        raise PinRefused(which, status & 0x0F)
    if status in (StatusWord.AUTHENTICATION_BLOCKED, StatusWord.REFERENCE_DATA_NOT_USABLE):
        raise PinRefused(which, 0)
    _expect_ok(response, which.value.upper())


def _forget_pin(card: Transport, which: CardPin) -> None:
    """VERIFY with P1 = FF: whoever uses the card next on this session has to know the PIN again.

    Not every card knows it, so its answer is not asked about.
    """
    _send(card, 0x20, 0xFF, _PIN_REFERENCE[which])


def _signature(response: ResponseApdu) -> bytes:
    if len(response.data) != 2 * layout.KEY_BYTES:
        raise Malformed("card.signature", "a P-384 signature has 96 bytes")
    return response.data


def _public_key(response: ResponseApdu) -> ec.EllipticCurvePublicKey:
    """The point in tag 86 of template 7F49, ISO/IEC 7816-8 §5.5."""
    point_bytes = 1 + 2 * layout.KEY_BYTES
    header = b"\x7f\x49" + bytes([point_bytes + 2]) + b"\x86" + bytes([point_bytes])
    try:
        if not response.data.startswith(header):
            raise ValueError("another template")
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), response.data[len(header) :])
    except ValueError as error:
        raise Malformed("card.public_key", "the chip's public key is no point of P-384") from error


def _personalise(card: Transport, ins: int, p1: int, p2: int, data: bytes = b"") -> ResponseApdu:
    command = build_command(personalisation.PERSONALISATION_CLA, ins, p1, p2, data, 256)
    return _expect_ok(parse_response(card.transmit(command)), f"personalisation {ins:02X}")


def _put_file(card: Transport, path: tuple[int, int], content: bytes) -> None:
    folder, file = path
    _expect_ok(_send(card, 0xA4, 0x00, 0x0C, folder.to_bytes(2, "big")), "SELECT folder")
    _personalise(card, personalisation.PUT_FILE, file >> 8, file & 0xFF, content)
