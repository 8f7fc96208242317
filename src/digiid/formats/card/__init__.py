"""The ESTEID2018 chip as a pure state machine on bytes: `process(chip, apdu, host) -> (chip, response)`.

Standard: RIA "ESTEID chip and application specification" TD-ID1-Chip-App v0.8 (IAS-ECC on Cosmo 8.x),
ISO/IEC 7816-4 and -8. Not supported: PACE and secure messaging (the contactless interface), the
second key slots, and the Police key that unblocks a PUK.

A chip made of software is not a secure signature device: whoever can read its stored bytes has its
keys, and a four-digit PIN is no obstacle to that. It is for tests, demonstrations and development.

`chip` what a chip is · `files` SELECT and READ BINARY · `pins` VERIFY and its kin · `security` keys and
signatures · `personalisation` the commands of the factory · `process` chooses among them · `store`
the chip as bytes on a disk.
"""

from digiid.formats.card.chip import (
    ATR,
    AUTHENTICATION_KEY,
    PIN1,
    PIN2,
    PUK,
    SIGNATURE_KEY,
    Chip,
    Host,
    LifeCycle,
    blank_chip,
    power_off,
)
from digiid.formats.card.process import process
from digiid.formats.card.store import build_chip_file, parse_chip_file

__all__ = [
    "ATR",
    "AUTHENTICATION_KEY",
    "PIN1",
    "PIN2",
    "PUK",
    "SIGNATURE_KEY",
    "Chip",
    "Host",
    "LifeCycle",
    "blank_chip",
    "build_chip_file",
    "parse_chip_file",
    "power_off",
    "process",
]
