"""Keys at work: MSE, INTERNAL AUTHENTICATE, the two PSO commands and GET CHALLENGE (ISO/IEC 7816-4 §11.5, -8 §11).

Each control reference template belongs to one key, so PIN1 never opens the signature key.
"""

from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from digiid.formats.apdu import CommandApdu, StatusWord
from digiid.formats.card.chip import (
    ADF_SIGNATURE,
    AUTHENTICATION_KEY,
    KEY_BYTES,
    PIN1,
    PIN2,
    SIGNATURE_KEY,
    Answer,
    Chip,
    Host,
)

AUTHENTICATION_TEMPLATE, SIGNATURE_TEMPLATE, KEY_AGREEMENT_TEMPLATE = 0xA4, 0xB6, 0xB8
_TEMPLATE_KEYS: Final = {
    AUTHENTICATION_TEMPLATE: AUTHENTICATION_KEY,
    SIGNATURE_TEMPLATE: SIGNATURE_KEY,
    KEY_AGREEMENT_TEMPLATE: AUTHENTICATION_KEY,
}
_HASH_BYTES: Final = (20, 28, 32, 48, 64)  # SHA-1, -224, -256, -384, -512
_MAX_CHALLENGE_BYTES: Final = 256
_DEFAULT_CHALLENGE_BYTES: Final = 8
_PREHASHED: Final = ec.ECDSA(utils.Prehashed(hashes.SHA384()))


def manage_security_environment(chip: Chip, command: CommandApdu) -> Answer:
    """MSE SET (P1 = 41): choose a key for what comes. The algorithm reference (80) is read over: there is one."""
    if command.p1 != 0x41 or command.p2 not in _TEMPLATE_KEYS:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    objects = _parse_template(command.data)
    if objects is None:
        return chip, b"", StatusWord.INCORRECT_DATA
    key = objects.get(0x84, b"")
    if len(key) != 1 or key[0] != _TEMPLATE_KEYS[command.p2] or key[0] not in chip.memory.keys:
        return chip, b"", StatusWord.REFERENCED_DATA_NOT_FOUND
    templates = chip.session.templates | {command.p2}
    return replace(chip, session=replace(chip.session, templates=templates)), b"", StatusWord.OK


def internal_authenticate(chip: Chip, command: CommandApdu) -> Answer:
    """INTERNAL AUTHENTICATE: ECDSA over a hash made outside, at most 48 bytes, as r ‖ s of 96."""
    if command.p1_p2 != 0:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    if AUTHENTICATION_TEMPLATE not in chip.session.templates:
        return chip, b"", StatusWord.CONDITIONS_NOT_SATISFIED
    if PIN1 not in chip.session.verified:
        return chip, b"", StatusWord.SECURITY_STATUS_NOT_SATISFIED
    if not 1 <= len(command.data) <= KEY_BYTES:
        return chip, b"", StatusWord.WRONG_LENGTH
    return chip, _sign(chip, AUTHENTICATION_KEY, command.data), StatusWord.OK


def compute_digital_signature(chip: Chip, command: CommandApdu) -> Answer:
    """PSO COMPUTE DIGITAL SIGNATURE. One PIN2, one signature: the PIN is forgotten with the answer."""
    if SIGNATURE_TEMPLATE not in chip.session.templates:
        return chip, b"", StatusWord.CONDITIONS_NOT_SATISFIED
    if chip.session.folder != ADF_SIGNATURE or PIN2 not in chip.session.verified:
        return chip, b"", StatusWord.SECURITY_STATUS_NOT_SATISFIED
    if len(command.data) not in _HASH_BYTES:
        return chip, b"", StatusWord.WRONG_LENGTH
    signature = _sign(chip, SIGNATURE_KEY, command.data)
    return chip.with_verified(PIN2, False), signature, StatusWord.OK


def decipher(chip: Chip, command: CommandApdu) -> Answer:
    """PSO DECIPHER: 00 ‖ an uncompressed point of P-384 in, the X coordinate of the shared point (ECDH) out."""
    if KEY_AGREEMENT_TEMPLATE not in chip.session.templates:
        return chip, b"", StatusWord.CONDITIONS_NOT_SATISFIED
    if PIN1 not in chip.session.verified:
        return chip, b"", StatusWord.SECURITY_STATUS_NOT_SATISFIED
    if len(command.data) != 2 + 2 * KEY_BYTES:
        return chip, b"", StatusWord.WRONG_LENGTH
    if command.data[:2] != b"\x00\x04":  # padding indicator, then uncompressed
        return chip, b"", StatusWord.INCORRECT_DATA
    try:
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), command.data[1:])
    except ValueError:
        return chip, b"", StatusWord.INCORRECT_DATA  # not on the curve: such a point would leak bits of the key
    return chip, chip.memory.keys[AUTHENTICATION_KEY].exchange(ec.ECDH(), peer), StatusWord.OK


def get_challenge(chip: Chip, command: CommandApdu, host: Host) -> Answer:
    """GET CHALLENGE: as many random bytes as asked for."""
    if command.p1_p2 != 0:
        return chip, b"", StatusWord.INCORRECT_P1_P2
    count = command.ne or _DEFAULT_CHALLENGE_BYTES
    if command.data or count > _MAX_CHALLENGE_BYTES:
        return chip, b"", StatusWord.WRONG_LENGTH
    return chip, host.random(count), StatusWord.OK


def sign_hash(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    """ECDSA over a hash made outside: shorter ones are the same integer, of longer ones the first 48 bytes count."""
    value = digest[:KEY_BYTES].rjust(KEY_BYTES, b"\x00")
    r, s = utils.decode_dss_signature(key.sign(value, _PREHASHED))
    return r.to_bytes(KEY_BYTES) + s.to_bytes(KEY_BYTES)


def _sign(chip: Chip, reference: int, digest: bytes) -> bytes:
    return sign_hash(chip.memory.keys[reference], digest)


def _parse_template(data: bytes) -> dict[int, bytes] | None:
    """One-byte tags and lengths, each tag once; None when they do not add up."""
    objects: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        header = data[position : position + 2]
        if len(header) != 2 or header[0] in objects:
            return None
        end = position + 2 + header[1]
        if end > len(data):
            return None
        objects[header[0]] = data[position + 2 : end]
        position = end
    return objects
