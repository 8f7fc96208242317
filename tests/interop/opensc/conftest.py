"""A card in a real pcscd, for OpenSC and everything above it."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from digiid.devices.card_shelf import CardShelf
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey, RetryCounters
from digiid.platform.entropy import SystemEntropy
from tests.support.cards import DOCUMENT, TestCa, new_ca, personalise
from tests.support.pcsc_room import Room, missing, open_room

MODULE = Path("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so")
NUMBER = DOCUMENT.document_number


@dataclass(frozen=True)
class CardInRoom:
    """A card in the reader, with its folder for the time after."""

    room: Room
    shelf_folder: Path
    certificates: dict[CardKey, bytes]
    public_keys: dict[CardKey, Path]

    def pkcs11_tool(self, *arguments: str, check: bool = True) -> str:
        done = self.room.run("pkcs11-tool", "--module", str(find_module()), *arguments, check=check)
        return done.stdout.decode() + done.stderr.decode()


def find_module() -> Path | None:
    if MODULE.exists():
        return MODULE
    return next(Path("/usr/lib").glob("*/opensc-pkcs11.so"), None)


@pytest.fixture(scope="session")
def room() -> Iterator[Room]:
    reason = missing()
    if not reason and (shutil.which("pkcs11-tool") is None or find_module() is None):
        reason = "OpenSC is not installed"
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="digiid-pcsc-"))
    try:
        with open_room(folder) as opened:
            yield opened
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ca() -> TestCa:
    return new_ca()


@pytest.fixture
def card(room: Room, ca: TestCa, tmp_path: Path) -> Iterator[CardInRoom]:
    """A fresh card in the reader."""
    shelf = CardShelf(tmp_path / "cards", SystemEntropy())
    personalise(shelf.new_blank(NUMBER), ca)
    certificates, public_keys = {}, {}
    for kind in CardKey:
        certificate = eid_card.read_certificate(shelf.open(NUMBER), kind)
        certificates[kind] = certificate.public_bytes(Encoding.DER)
        public_keys[kind] = tmp_path / f"{kind}.pub"
        public_keys[kind].write_bytes(
            certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    shelf.close()
    with room.inserted(shelf.folder, NUMBER):
        yield CardInRoom(room, shelf.folder, certificates, public_keys)


def counters_after(card: CardInRoom) -> RetryCounters:
    """What the chip file says about the PINs, read from a copy while the card is in the reader."""
    copy = card.shelf_folder.parent / "copy"
    shutil.copytree(card.shelf_folder, copy)
    shelf = CardShelf(copy, SystemEntropy())
    try:
        return eid_card.read_retry_counters(shelf.open(NUMBER))
    finally:
        shelf.close()
        shutil.rmtree(copy)
