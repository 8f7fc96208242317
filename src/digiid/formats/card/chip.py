"""What a chip is: what it keeps without power, what it forgets, and what it needs from its surroundings."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

ATR: Final = bytes.fromhex("3BDB960080B1FE451F830012233F536549440F9000F1")  # Cosmo 8.x; known to every client

# Files: (folder, file). Folders are children of the MF, there is no deeper level.
MF, PERSONAL_DATA, ADF_AUTHENTICATION, ADF_SIGNATURE = 0x3F00, 0x5000, 0xADF1, 0xADF2
FOLDERS: Final = (PERSONAL_DATA, ADF_AUTHENTICATION, ADF_SIGNATURE)
DOCUMENT_NUMBER_FILE: Final = (MF, 0xD003)
AUTHENTICATION_CERTIFICATE_FILE: Final = (ADF_AUTHENTICATION, 0x3401)
SIGNATURE_CERTIFICATE_FILE: Final = (ADF_SIGNATURE, 0x341F)
SECOND_SLOT_FILES: Final = ((ADF_AUTHENTICATION, 0x3402), (ADF_SIGNATURE, 0x341E))
PERSONAL_DATA_FILES: Final = tuple((PERSONAL_DATA, fid) for fid in range(0x5001, 0x5010))
EMPTY_FILE: Final = b"\x00"  # a field without a value is a file of one zero byte

# What each file may hold at most. Certificates: OpenSC before 0.27 reads no more than 1536 bytes.
MAX_CERTIFICATE_BYTES: Final = 1536
MAX_FILE_BYTES: Final[Mapping[tuple[int, int], int]] = {
    DOCUMENT_NUMBER_FILE: 11,
    AUTHENTICATION_CERTIFICATE_FILE: MAX_CERTIFICATE_BYTES,
    SIGNATURE_CERTIFICATE_FILE: MAX_CERTIFICATE_BYTES,
    **dict.fromkeys(SECOND_SLOT_FILES, 1),
    **dict.fromkeys(PERSONAL_DATA_FILES, 255),
}

AID_MAIN: Final = bytes.fromhex("A000000077010800070000FE00000100")
AID_AUTHENTICATION: Final = bytes.fromhex("E828BD080FF2504F5420415750")  # ends in "OT AWP"
AID_SIGNATURE: Final = b"QSCD Application"
AIDS: Final[Mapping[int, bytes]] = {
    MF: AID_MAIN,
    ADF_AUTHENTICATION: AID_AUTHENTICATION,
    ADF_SIGNATURE: AID_SIGNATURE,
}

PIN1, PUK, PIN2 = 0x01, 0x02, 0x85  # PIN2 is local to the signature application
MIN_PIN_DIGITS: Final[Mapping[int, int]] = {PIN1: 4, PUK: 8, PIN2: 5}
MAX_PIN_DIGITS: Final = 12
MAX_TRIES: Final = 3

AUTHENTICATION_KEY, SIGNATURE_KEY = 0x81, 0x9F
KEY_BYTES: Final = 48  # P-384
CERTIFICATE_FILES: Final[Mapping[int, tuple[int, int]]] = {
    AUTHENTICATION_KEY: AUTHENTICATION_CERTIFICATE_FILE,
    SIGNATURE_KEY: SIGNATURE_CERTIFICATE_FILE,
}

# Cheap enough to type a PIN (15 ms, 4 MiB), and no more would help: ten thousand PINs are few for any cost.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 4096, 8, 1
SALT_BYTES: Final = 16
VERIFIER_BYTES: Final = 32


class Host(Protocol):
    """What the chip has on board and this pure machine has not: a random generator."""

    def random(self, count: int) -> bytes: ...

    def new_key(self) -> ec.EllipticCurvePrivateKey:
        """A new key on P-384."""
        ...


class LifeCycle(StrEnum):
    """ISO/IEC 7816-4 §7.4.10, as far as this chip goes. There is no way back."""

    PERSONALISATION = "personalisation"
    OPERATIONAL = "operational"


@dataclass(frozen=True, slots=True)
class Pin:
    """A PIN as the chip keeps it: a salted scrypt value and the tries left."""

    salt: bytes = field(repr=False)
    verifier: bytes = field(repr=False)
    tries_left: int = MAX_TRIES


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives power-off. Mappings are never changed in place: a new value means a new Memory."""

    life_cycle: LifeCycle
    files: Mapping[tuple[int, int], bytes]
    pins: Mapping[int, Pin]
    keys: Mapping[int, ec.EllipticCurvePrivateKey] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """What power-off and reset clear: where the client is, what it prepared, which PINs it showed."""

    folder: int = MF
    file: int | None = None
    templates: frozenset[int] = frozenset()  # control reference templates set by MSE
    verified: frozenset[int] = frozenset()  # PIN references


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip: `memory` is to be stored whenever it is another object than before, `session` never."""

    memory: Memory
    session: Session = Session()

    def with_pin(self, reference: int, pin: Pin) -> "Chip":
        return replace(self, memory=replace(self.memory, pins={**self.memory.pins, reference: pin}))

    def with_file(self, path: tuple[int, int], content: bytes) -> "Chip":
        return replace(self, memory=replace(self.memory, files={**self.memory.files, path: content}))

    def with_verified(self, reference: int, verified: bool) -> "Chip":
        shown = self.session.verified | {reference} if verified else self.session.verified - {reference}
        return replace(self, session=replace(self.session, verified=shown))


Answer = tuple[Chip, bytes, int]  # the chip afterwards, response data, status word


def blank_chip() -> Chip:
    """A chip as it arrives at the bureau: every file there and empty, no key, no PIN."""
    return Chip(Memory(LifeCycle.PERSONALISATION, dict.fromkeys(MAX_FILE_BYTES, EMPTY_FILE), {}, {}))


def power_off(chip: Chip) -> Chip:
    """The chip after power-off or reset: its memory, and nothing else."""
    return Chip(chip.memory)


def new_pin(digits: bytes, host: Host) -> Pin:
    """A PIN with all its tries, under a salt of its own."""
    salt = host.random(SALT_BYTES)
    return Pin(salt, _stretch(digits, salt))


def is_pin(pin: Pin, digits: bytes) -> bool:
    """Compare typed digits with the stored value in constant time."""
    return hmac.compare_digest(pin.verifier, _stretch(digits, pin.salt))


def _stretch(digits: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(digits, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, dklen=VERIFIER_BYTES)
