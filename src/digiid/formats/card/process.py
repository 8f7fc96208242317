"""The chip's one door: a command in, the chip afterwards and its answer out."""

from digiid.formats.apdu import CommandApdu, StatusWord, build_response, parse_command
from digiid.formats.card.chip import Answer, Chip, Host, LifeCycle
from digiid.formats.card.files import read_binary, select
from digiid.formats.card.personalisation import PERSONALISATION_CLA, personalise
from digiid.formats.card.pins import change_reference_data, get_data, reset_retry_counter, verify
from digiid.formats.card.security import (
    compute_digital_signature,
    decipher,
    get_challenge,
    internal_authenticate,
    manage_security_environment,
)
from digiid.kernel.errors import Malformed


def process(chip: Chip, apdu: bytes, host: Host) -> tuple[Chip, bytes]:
    """Answer one command APDU. Never raises for bytes from outside: every answer ends in a status word.

    When the returned chip's `memory` is another object than before, it must be on the disk before the
    answer goes out: otherwise pulling the plug would give a PIN back its tries.
    """
    try:
        command = parse_command(apdu)
    except Malformed:
        return chip, build_response(b"", StatusWord.WRONG_LENGTH)
    chip, data, status = _answer(chip, command, host)
    return chip, build_response(data, status)


def _answer(chip: Chip, command: CommandApdu, host: Host) -> Answer:
    if command.cla == PERSONALISATION_CLA:
        return personalise(chip, command, host)
    if command.cla != 0x00:
        return chip, b"", StatusWord.CLA_NOT_SUPPORTED
    match command.ins:
        case 0xA4:
            return select(chip, command)
        case 0xB0:
            return read_binary(chip, command)
        case 0xCB:
            return get_data(chip, command)
        case 0x84:
            return get_challenge(chip, command, host)
        case 0x20 | 0x24 | 0x2C | 0x22 | 0x88 | 0x2A if chip.memory.life_cycle is not LifeCycle.OPERATIONAL:
            return chip, b"", StatusWord.CONDITIONS_NOT_SATISFIED
        case 0x20:
            return verify(chip, command)
        case 0x24:
            return change_reference_data(chip, command, host)
        case 0x2C:
            return reset_retry_counter(chip, command, host)
        case 0x22:
            return manage_security_environment(chip, command)
        case 0x88:
            return internal_authenticate(chip, command)
        case 0x2A if command.p1_p2 == 0x9E9A:
            return compute_digital_signature(chip, command)
        case 0x2A if command.p1_p2 == 0x8086:
            return decipher(chip, command)
        case 0x2A:
            return chip, b"", StatusWord.INCORRECT_P1_P2
        case _:
            return chip, b"", StatusWord.INS_NOT_SUPPORTED
