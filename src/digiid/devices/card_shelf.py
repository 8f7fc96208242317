"""Chips as files in a folder, and the one process that owns them.

A changed chip is on the disk before the answer leaves: a counted try cannot be undone by pulling the
plug. Each opened card is a power-up of its own (own current file, own verified PINs), while all of
them share the chip's memory; so two users of one card cannot use each other's PIN.
"""

import fcntl
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from digiid.devices.card_host import EntropyHost
from digiid.formats.apdu import Transport
from digiid.formats.card.chip import Chip, Host, LifeCycle, Session, blank_chip
from digiid.formats.card.process import process
from digiid.formats.card.store import MAX_CHIP_FILE_BYTES, build_chip_file, parse_chip_file
from digiid.kernel.errors import Broken, Conflict, Malformed, NotFound, Unavailable
from digiid.platform.entropy import Entropy

_DOCUMENT_NUMBER: Final = re.compile(r"[A-Z]{1,2}[0-9]{7,8}")  # nine characters in all
_SUFFIX: Final = ".chip"
_LOCK_RETRY_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class ShelfCard:
    """A card on the shelf. `personalised` is false while the bureau still works on it."""

    document_number: str
    personalised: bool


class OpenCard(Transport, Protocol):
    """A powered card that can be powered off and on again."""

    def reset(self) -> None: ...


class CardSource(Protocol):
    """Where cards are listed and opened: the shelf itself, or the process that owns it."""

    def list(self) -> Sequence[ShelfCard]: ...

    def open(self, document_number: str) -> OpenCard: ...

    def close(self) -> None: ...


class CardShelf:
    """The chips in one folder.

    Raises:
        Conflict: `card.shelf.owned`: another process has this folder; reach it through its reader socket.
    """

    def __init__(self, folder: Path, entropy: Entropy, *, patience_seconds: float = 0.0) -> None:
        """`patience_seconds`: how long to wait for a short-lived owner, such as a command, to finish."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._host: Host = EntropyHost(entropy)
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._owner = _own(folder / ".lock", patience_seconds)

    def close(self) -> None:
        """Let another process own the folder; opened cards answer no more."""
        with self._lock:
            for slot in self._slots.values():
                slot.withdraw()
            self._slots.clear()
            self._owner.close()

    def list(self) -> Sequence[ShelfCard]:
        """Every card, in order of document numbers; a damaged file is left out."""
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if not _DOCUMENT_NUMBER.fullmatch(path.stem):
                continue
            try:
                chip = self._slot(path.stem).chip()
            except (Broken, NotFound):
                continue
            found.append(ShelfCard(path.stem, chip.memory.life_cycle is LifeCycle.OPERATIONAL))
        return found

    def new_blank(self, document_number: str) -> OpenCard:
        """Put a blank chip on the shelf, in personalisation, and open it.

        A chip of this number that is still in personalisation is given again, so that the bureau can
        go on after an interruption.

        Raises:
            Conflict: `card.exists`: a personalised card has this number.
        """
        path = self._path(document_number)
        with self._lock:
            if not path.exists():
                _store(path, build_chip_file(blank_chip()))
        slot = self._slot(document_number)
        if slot.chip().memory.life_cycle is LifeCycle.OPERATIONAL:
            raise Conflict("card.exists", f"a personalised card has the number {document_number}")
        return OpenedCard(slot, self._host)

    def open(self, document_number: str) -> OpenCard:
        """Power up a card.

        Raises:
            NotFound: `card.unknown`. Broken: `card.damaged`.
        """
        slot = self._slot(document_number)
        slot.chip()
        return OpenedCard(slot, self._host)

    def discard(self, document_number: str) -> None:
        """Destroy a chip, keys and all. Opened ones answer `card.removed` from now on.

        Raises:
            NotFound: `card.unknown`.
        """
        path = self._path(document_number)
        with self._lock:
            slot = self._slots.pop(document_number, None)
            if slot is not None:
                slot.withdraw()
            try:
                path.unlink()
            except FileNotFoundError as error:
                raise NotFound("card.unknown", f"no card {document_number} on the shelf") from error
            _sync_folder(self.folder)

    def _path(self, document_number: str) -> Path:
        if not _DOCUMENT_NUMBER.fullmatch(document_number):
            raise NotFound("card.unknown", "that is no document number")
        return self.folder / f"{document_number}{_SUFFIX}"

    def _slot(self, document_number: str) -> "_Slot":
        path = self._path(document_number)
        with self._lock:
            return self._slots.setdefault(document_number, _Slot(path))


class _Slot:
    """One chip file. The lock makes each command one step: read, carry out, store, answer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._chip: Chip | None = None
        self._withdrawn = False

    def chip(self) -> Chip:
        with self._lock:
            return self._load()

    def transmit(self, session: Session, command: bytes, host: Host) -> tuple[Session, bytes]:
        with self._lock:
            before = self._load()
            chip, response = process(Chip(before.memory, session), command, host)
            if chip.memory is not before.memory:
                self._chip = None  # whatever happens below, the disk says what the chip is
                try:
                    _store(self.path, build_chip_file(chip))
                except OSError as error:
                    raise Unavailable("card.storage", f"{self.path.name} cannot be stored: {error.strerror}") from error
                self._chip = chip
            return chip.session, response

    def withdraw(self) -> None:
        with self._lock:
            self._withdrawn = True
            self._chip = None

    def _load(self) -> Chip:
        if self._withdrawn:
            raise Unavailable("card.removed", "the card was taken away", public="The card was removed.")
        if self._chip is None:
            try:
                with self.path.open("rb") as file:
                    stored = file.read(MAX_CHIP_FILE_BYTES + 1)
            except FileNotFoundError as error:
                raise NotFound("card.unknown", f"no card {self.path.stem} on the shelf") from error
            try:
                self._chip = parse_chip_file(stored)
            except Malformed as error:
                raise Broken("card.damaged", f"{self.path.name}: {error.detail}") from error
        return self._chip


class OpenedCard:
    """A powered card of the shelf."""

    def __init__(self, slot: _Slot, host: Host) -> None:
        self._slot = slot
        self._host = host
        self._session = Session()
        self._lock = threading.Lock()

    def transmit(self, command: bytes) -> bytes:
        with self._lock:
            self._session, response = self._slot.transmit(self._session, command, self._host)
            return response

    def reset(self) -> None:
        """Power off and on: the session is forgotten."""
        with self._lock:
            self._session = Session()


def _own(path: Path, patience_seconds: float) -> IO[bytes]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    file = os.fdopen(descriptor, "r+b")
    until = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < until:
                time.sleep(_LOCK_RETRY_SECONDS)
                continue
            file.close()
            raise Conflict("card.shelf.owned", f"another process owns the cards in {path.parent}") from error
        return file


def _store(path: Path, content: bytes) -> None:
    """Replace the file: after a crash it is the old one or the new one, whole."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
