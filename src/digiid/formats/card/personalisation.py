"""The commands of the factory. They carry class byte 80 and exist until CLOSE; afterwards 80 is an unknown class.

    80 46 00 kk               make a key pair in the chip (kk 81 or 9F)      -> 7F49 {86 point}
    80 CA 00 kk               the public key made before                     -> 7F49 {86 point}
    80 2A 9E kk  request info sign the CertificationRequestInfo of this key  -> r ‖ s
    80 DA ff ff  content      write a file of the current folder, whole
    80 24 01 pp  12 bytes     set PIN1 (01), PIN2 (85) or PUK (02)
    80 44 00 00               close: the chip is complete, and this door shuts for good

Nothing here reads a private key, and the chip signs only a request that carries its own public key.
"""

from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats import der
from digiid.formats.apdu import CommandApdu, StatusWord
from digiid.formats.card.chip import (
    CERTIFICATE_FILES,
    DOCUMENT_NUMBER_FILE,
    EMPTY_FILE,
    MAX_FILE_BYTES,
    MIN_PIN_DIGITS,
    PERSONAL_DATA_FILES,
    Answer,
    Chip,
    Host,
    LifeCycle,
    new_pin,
)
from digiid.formats.card.pins import parse_pin_field
from digiid.formats.card.security import sign_hash
from digiid.formats.x509.parts import load_certificate, public_key_of
from digiid.kernel.errors import Malformed

PERSONALISATION_CLA: Final = 0x80
GENERATE_KEY, READ_KEY, SIGN_REQUEST, PUT_FILE, SET_PIN, CLOSE = 0x46, 0xCA, 0x2A, 0xDA, 0x24, 0x44
_MAX_REQUEST_BYTES: Final = 2048


def personalise(chip: Chip, command: CommandApdu, host: Host) -> Answer:
    """One command of the factory."""
    if chip.memory.life_cycle is not LifeCycle.PERSONALISATION:
        return chip, b"", StatusWord.CLA_NOT_SUPPORTED
    match command.ins:
        case 0x46:
            return _generate_key(chip, command, host)
        case 0xCA:
            return _read_key(chip, command)
        case 0x2A:
            return _sign_request(chip, command)
        case 0xDA:
            return _put_file(chip, command)
        case 0x24:
            return _set_pin(chip, command, host)
        case 0x44:
            return _close(chip, command)
        case _:
            return chip, b"", StatusWord.INS_NOT_SUPPORTED


def _generate_key(chip: Chip, command: CommandApdu, host: Host) -> Answer:
    if command.p1 != 0 or command.p2 not in CERTIFICATE_FILES:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    if command.data:
        return chip, b"", StatusWord.WRONG_LENGTH
    key = host.new_key()
    keys = {**chip.memory.keys, command.p2: key}
    # a certificate of the key that was here before would be a lie now
    chip = chip.with_file(CERTIFICATE_FILES[command.p2], EMPTY_FILE)
    return replace(chip, memory=replace(chip.memory, keys=keys)), _public_key_template(key), StatusWord.OK


def _read_key(chip: Chip, command: CommandApdu) -> Answer:
    if command.p1 != 0:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    key = chip.memory.keys.get(command.p2)
    if key is None:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    return chip, _public_key_template(key), StatusWord.OK


def _public_key_template(key: ec.EllipticCurvePrivateKey) -> bytes:
    """ISO/IEC 7816-8 §5.5: tag 7F49 with the uncompressed point in tag 86."""
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    public = b"\x86" + bytes((len(point),)) + point
    return b"\x7f\x49" + bytes((len(public),)) + public


def _sign_request(chip: Chip, command: CommandApdu) -> Answer:
    if command.p1 != 0x9E or command.p2 not in CERTIFICATE_FILES:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    key = chip.memory.keys.get(command.p2)
    if key is None:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    try:
        spki_der = _read_request_key(command.data)
    except Malformed:
        return chip, b"", StatusWord.INCORRECT_DATA
    if spki_der != _spki_der(key.public_key()):
        return chip, b"", StatusWord.INCORRECT_DATA
    digest = hashes.Hash(hashes.SHA384())
    digest.update(command.data)
    return chip, sign_hash(key, digest.finalize()), StatusWord.OK


def _put_file(chip: Chip, command: CommandApdu) -> Answer:
    path = (chip.session.folder, command.p1_p2)
    if path not in MAX_FILE_BYTES:
        return chip, b"", StatusWord.NOT_FOUND
    if not 1 <= len(command.data) <= MAX_FILE_BYTES[path]:
        return chip, b"", StatusWord.WRONG_LENGTH
    if not _may_hold(chip, path, command.data):
        return chip, b"", StatusWord.INCORRECT_DATA
    return chip.with_file(path, command.data), b"", StatusWord.OK


def _may_hold(chip: Chip, path: tuple[int, int], content: bytes) -> bool:
    if path == DOCUMENT_NUMBER_FILE:
        number = content[2:]
        return content[:2] == b"\x04\x09" and len(number) == 9 and number.isalnum() and number.isascii()
    if path in PERSONAL_DATA_FILES:
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True
    for reference, file in CERTIFICATE_FILES.items():
        if path == file:
            key = chip.memory.keys.get(reference)
            return key is not None and _certified_key(content) == _spki_der(key.public_key())
    return content == EMPTY_FILE  # the second slots stay empty


def _set_pin(chip: Chip, command: CommandApdu, host: Host) -> Answer:
    if command.p1 != 0x01:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    if command.p2 not in MIN_PIN_DIGITS:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    digits = parse_pin_field(command.data, command.p2)
    if digits is None:
        return chip, b"", StatusWord.WRONG_LENGTH
    return chip.with_pin(command.p2, new_pin(digits, host)), b"", StatusWord.OK


def _close(chip: Chip, command: CommandApdu) -> Answer:
    if command.p1_p2 != 0:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    if command.data:
        return chip, b"", StatusWord.WRONG_LENGTH
    memory = chip.memory
    needed = (DOCUMENT_NUMBER_FILE, *CERTIFICATE_FILES.values())
    if memory.pins.keys() != MIN_PIN_DIGITS.keys() or memory.keys.keys() != CERTIFICATE_FILES.keys():
        return chip, b"", StatusWord.CONDITIONS_NOT_SATISFIED
    if any(memory.files[path] == EMPTY_FILE for path in needed):
        return chip, b"", StatusWord.CONDITIONS_NOT_SATISFIED
    closed = Chip(replace(memory, life_cycle=LifeCycle.OPERATIONAL))  # and as after a reset
    return closed, b"", StatusWord.OK


def _certified_key(certificate_der: bytes) -> bytes | None:
    try:
        key = public_key_of(load_certificate(certificate_der))
    except Malformed:
        return None
    return _spki_der(key) if isinstance(key, ec.EllipticCurvePublicKey) else None


def _read_request_key(request_info_der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a CertificationRequestInfo, RFC 2986 §4.1. Raises: Malformed."""
    info = der.read_whole(request_info_der, max_bytes=_MAX_REQUEST_BYTES)
    if der.read_integer(info.take(der.INTEGER)) != 0:
        raise Malformed("apdu.request_info", "unknown version")
    info.take(der.SEQUENCE)
    spki_der = info.take(der.SEQUENCE).raw
    info.take_if(der.context(0))
    info.finish()
    return spki_der


def _spki_der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
