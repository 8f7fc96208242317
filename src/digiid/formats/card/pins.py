"""PINs: VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (ISO/IEC 7816-4 §11.6) and their counters (GET DATA).

A PIN is 4 (PIN1), 5 (PIN2) or 8 (PUK) to 12 ASCII digits, on the wire always twelve bytes padded with FF.
"""

from dataclasses import replace
from typing import Final

from digiid.formats.apdu import CommandApdu, StatusWord, tries_left_status
from digiid.formats.card.chip import (
    ADF_SIGNATURE,
    MAX_PIN_DIGITS,
    MAX_TRIES,
    MIN_PIN_DIGITS,
    PIN1,
    PIN2,
    PUK,
    Answer,
    Chip,
    Host,
    Pin,
    is_pin,
    new_pin,
)

FIELD_BYTES: Final = 12
_PADDING: Final = b"\xff"
_COUNTER_REFERENCES: Final = {0x01: PIN1, 0x02: PUK, 0x05: PIN2}


def verify(chip: Chip, command: CommandApdu) -> Answer:
    """VERIFY: show a PIN, ask after one (no data), or give up what was shown (P1 = FF)."""
    reference = command.p2
    if command.p1 not in (0x00, 0xFF):
        return chip, b"", StatusWord.INCORRECT_P1_P2
    pin = _find_pin(chip, reference)
    if pin is None:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    if command.p1 == 0xFF:
        if command.data:
            return chip, b"", StatusWord.WRONG_LENGTH
        return chip.with_verified(reference, False), b"", StatusWord.OK
    if not command.data:
        verified = reference in chip.session.verified
        return chip, b"", StatusWord.OK if verified else tries_left_status(pin.tries_left)
    if len(command.data) != FIELD_BYTES:
        return chip, b"", StatusWord.WRONG_LENGTH
    chip, status = _try_pin(chip, reference, pin, command.data)
    return chip, b"", status


def change_reference_data(chip: Chip, command: CommandApdu, host: Host) -> Answer:
    """CHANGE REFERENCE DATA: the old PIN counts as a try; afterwards no PIN of this reference is shown."""
    reference = command.p2
    if command.p1 != 0x00:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    pin = _find_pin(chip, reference)
    if pin is None:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    if len(command.data) != 2 * FIELD_BYTES:
        return chip, b"", StatusWord.WRONG_LENGTH
    old, new = command.data[:FIELD_BYTES], command.data[FIELD_BYTES:]
    chip, status = _try_pin(chip, reference, pin, old)
    if status != StatusWord.OK:
        return chip, b"", status
    chip = chip.with_verified(reference, False)
    digits = parse_pin_field(new, reference)
    if digits is None:
        return chip, b"", StatusWord.WRONG_LENGTH
    if new == old:
        return chip, b"", StatusWord.INCORRECT_DATA
    return chip.with_pin(reference, new_pin(digits, host)), b"", StatusWord.OK


def reset_retry_counter(chip: Chip, command: CommandApdu, host: Host) -> Answer:
    """RESET RETRY COUNTER under a PUK shown before: with a new PIN (P1 = 02, or 00) or only all tries again (03)."""
    reference = command.p2
    if command.p1 not in (0x00, 0x02, 0x03):
        return chip, b"", StatusWord.INCORRECT_P1_P2
    pin = _find_pin(chip, reference)
    if pin is None or reference == PUK:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    if PUK not in chip.session.verified:
        return chip, b"", StatusWord.SECURITY_STATUS_NOT_SATISFIED
    if command.p1 == 0x03:
        if command.data:
            return chip, b"", StatusWord.WRONG_LENGTH
        unblocked = replace(pin, tries_left=MAX_TRIES)
    else:
        digits = parse_pin_field(command.data, reference)
        if digits is None:
            return chip, b"", StatusWord.WRONG_LENGTH
        unblocked = new_pin(digits, host)
    return chip.with_pin(reference, unblocked).with_verified(reference, False), b"", StatusWord.OK


def get_data(chip: Chip, command: CommandApdu) -> Answer:
    """GET DATA of a PIN's counters: the one form that clients send, the one answer that they parse."""
    data = command.data
    if (
        command.p1_p2 != 0x3FFF
        or len(data) != 10
        or data[:6] != b"\x4d\x08\x70\x06\xbf\x81"
        or data[7:] != b"\x02\xa0\x80"
    ):
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    pin = _find_pin(chip, _COUNTER_REFERENCES.get(data[6], 0))
    if pin is None:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    rule = b"\xf3\x00\x00\x73" + (b"\xff" if data[6] == 0x05 else b"\x43") + b"\x00"
    answer = (
        b"\x70\x1e\xbf\x81"
        + data[6:7]
        + b"\x1a\xa0\x18\x9a\x01"
        + bytes((MAX_TRIES,))
        + b"\x9b\x01"
        + bytes((pin.tries_left,))
        + b"\xa1\x10\x8c\x06"
        + rule
        + b"\x9c\x06"
        + rule
    )
    return chip, answer, StatusWord.OK


def parse_pin_field(value: bytes, reference: int) -> bytes | None:
    """The digits of a twelve-byte field, or None when they may not become the PIN `reference`."""
    digits = value.rstrip(_PADDING)
    if len(value) != FIELD_BYTES or not MIN_PIN_DIGITS[reference] <= len(digits) <= MAX_PIN_DIGITS:
        return None
    return digits if digits.isdigit() else None


def _find_pin(chip: Chip, reference: int) -> Pin | None:
    if reference == PIN2 and chip.session.folder != ADF_SIGNATURE:
        return None
    return chip.memory.pins.get(reference)


def _try_pin(chip: Chip, reference: int, pin: Pin, value: bytes) -> tuple[Chip, int]:
    """One try. Right or wrong, the memory becomes another object and is stored before the answer goes out.

    If only wrong tries were stored, a disk that is full would tell them from right ones without counting.
    """
    if pin.tries_left == 0:
        return chip.with_verified(reference, False), StatusWord.AUTHENTICATION_BLOCKED
    if is_pin(pin, value.rstrip(_PADDING)):
        chip = chip.with_pin(reference, replace(pin, tries_left=MAX_TRIES))
        return chip.with_verified(reference, True), StatusWord.OK
    left = pin.tries_left - 1
    chip = chip.with_pin(reference, replace(pin, tries_left=left)).with_verified(reference, False)
    return chip, tries_left_status(left)
