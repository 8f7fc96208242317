"""The chip's memory as bytes, our own format, version 1. All integers are big-endian.

    "DIGICHIP" 01 ‖ SHA-256 of what follows ‖
    life cycle u8 ‖ count u8 × (folder u16, file u16, length u16, content)
                  ‖ count u8 × (PIN reference u8, tries left u8, salt 16, verifier 32)
                  ‖ count u8 × (key reference u8, private value 48)

The hash finds a damaged file, not an attacker: whoever can write the file owns the chip.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats.card.chip import (
    CERTIFICATE_FILES,
    KEY_BYTES,
    MAX_FILE_BYTES,
    MAX_TRIES,
    MIN_PIN_DIGITS,
    SALT_BYTES,
    VERIFIER_BYTES,
    Chip,
    LifeCycle,
    Memory,
    Pin,
)
from digiid.kernel.errors import Malformed

MAX_CHIP_FILE_BYTES: Final = 16 * 1024
_MAGIC: Final = b"DIGICHIP\x01"
_HASH_BYTES: Final = 32
_LIFE_CYCLES: Final = {1: LifeCycle.PERSONALISATION, 2: LifeCycle.OPERATIONAL}


def build_chip_file(chip: Chip) -> bytes:
    """The chip's memory, private keys and all; its session is not part of it."""
    body = b"".join(_parts(chip.memory))
    return _MAGIC + hashlib.sha256(body).digest() + body


def _parts(memory: Memory) -> Iterator[bytes]:
    yield next(bytes((number,)) for number, state in _LIFE_CYCLES.items() if state is memory.life_cycle)
    yield bytes((len(memory.files),))
    for (folder, file), content in memory.files.items():
        yield folder.to_bytes(2) + file.to_bytes(2) + len(content).to_bytes(2) + content
    yield bytes((len(memory.pins),))
    for reference, pin in memory.pins.items():
        yield bytes((reference, pin.tries_left)) + pin.salt + pin.verifier
    yield bytes((len(memory.keys),))
    for reference, key in memory.keys.items():
        yield bytes((reference,)) + key.private_numbers().private_value.to_bytes(KEY_BYTES)


def parse_chip_file(content: bytes) -> Chip:
    """Read a chip back, powered off.

    Raises: Malformed `card.store.format`, `card.store.checksum`, `card.store.content`.
    """
    if not len(_MAGIC) + _HASH_BYTES < len(content) <= MAX_CHIP_FILE_BYTES or content[: len(_MAGIC)] != _MAGIC:
        raise Malformed("card.store.format", "not a chip file of version 1")
    checksum, body = content[len(_MAGIC) : len(_MAGIC) + _HASH_BYTES], content[len(_MAGIC) + _HASH_BYTES :]
    if hashlib.sha256(body).digest() != checksum:
        raise Malformed("card.store.checksum", "the chip file is damaged")
    reader = _Reader(body)
    life_cycle = _LIFE_CYCLES.get(reader.number(1))
    if life_cycle is None:
        raise Malformed("card.store.content", "unknown life cycle")
    files = _read_files(reader)
    pins = _read_pins(reader)
    keys = _read_keys(reader)
    reader.finish()
    complete = pins.keys() == MIN_PIN_DIGITS.keys() and keys.keys() == CERTIFICATE_FILES.keys()
    if files.keys() != MAX_FILE_BYTES.keys() or (life_cycle is LifeCycle.OPERATIONAL and not complete):
        raise Malformed("card.store.content", "a file, a PIN or a key is missing")
    return Chip(Memory(life_cycle, files, pins, keys))


class _Reader:
    """Takes fixed and counted parts off the front of bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._content):
            raise Malformed("card.store.content", "the chip file ends early")
        part = self._content[self._position : end]
        self._position = end
        return part

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count))

    def finish(self) -> None:
        if self._position != len(self._content):
            raise Malformed("card.store.content", "bytes after the end")


def _read_files(reader: _Reader) -> dict[tuple[int, int], bytes]:
    files: dict[tuple[int, int], bytes] = {}
    for _ in range(reader.number(1)):
        path = (reader.number(2), reader.number(2))
        content = reader.take(reader.number(2))
        if path in files or not 1 <= len(content) <= MAX_FILE_BYTES.get(path, 0):
            raise Malformed("card.store.content", "a file is twice there, unknown, or of a wrong size")
        files[path] = content
    return files


def _read_pins(reader: _Reader) -> dict[int, Pin]:
    pins: dict[int, Pin] = {}
    for _ in range(reader.number(1)):
        reference, tries_left = reader.number(1), reader.number(1)
        pin = Pin(reader.take(SALT_BYTES), reader.take(VERIFIER_BYTES), tries_left)
        if reference in pins or reference not in MIN_PIN_DIGITS or tries_left > MAX_TRIES:
            raise Malformed("card.store.content", "a PIN is twice there, unknown, or has too many tries")
        pins[reference] = pin
    return pins


def _read_keys(reader: _Reader) -> dict[int, ec.EllipticCurvePrivateKey]:
    keys: dict[int, ec.EllipticCurvePrivateKey] = {}
    for _ in range(reader.number(1)):
        reference, value = reader.number(1), reader.number(KEY_BYTES)
        if reference in keys or reference not in CERTIFICATE_FILES:
            raise Malformed("card.store.content", "a key is twice there or unknown")
        try:
            keys[reference] = ec.derive_private_key(value, ec.SECP384R1())
        except ValueError as error:
            raise Malformed("card.store.content", "not a private key of P-384") from error
    return keys
