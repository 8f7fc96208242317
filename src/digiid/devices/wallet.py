"""The cards that a person at this machine can use now: those on the shelf and those in PC/SC readers."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from digiid.devices import pcsc
from digiid.devices.card_shelf import CardSource
from digiid.formats.apdu import Transport
from digiid.kernel.errors import DigiidError, NotFound, Unavailable
from digiid.platform import eid_card

INSERTED_FILE: Final = "inserted"  # holds the document number of the card in the virtual reader
_SHELF, _READER = "shelf:", "reader:"
_MAX_INSERTED_BYTES: Final = 64


class ReaderList(Protocol):
    """PC/SC, or none of it."""

    def list_readers(self) -> Sequence[pcsc.ReaderStatus]: ...

    def connect(self, reader: str) -> pcsc.PcscCard: ...


@dataclass(frozen=True, slots=True)
class PresentCard:
    """A card that can be used. `holder` is empty for a card that could not be read; `problem` says why."""

    id: str
    place: Literal["shelf", "reader"]
    reader: str
    holder: str
    document_number: str
    inserted: bool
    problem: str = ""


class Wallet:
    """Lists and opens cards. `readers` is the module `pcsc`, or None to leave PC/SC alone."""

    def __init__(self, shelf: CardSource, *, folder: Path, readers: ReaderList | None) -> None:
        self._shelf = shelf
        self._folder = folder
        self._readers = readers

    def list(self) -> Sequence[PresentCard]:
        """Usable cards, the inserted one first, then those in readers, then the shelf."""
        inserted = read_inserted(self._folder)
        cards = [
            self._look(f"{_SHELF}{card.document_number}", "shelf", "", card.document_number, inserted)
            for card in self._shelf.list()
            if card.personalised
        ]
        if self._readers is not None:
            cards += [
                self._look(f"{_READER}{reader.name}", "reader", reader.name, "", inserted)
                for reader in self._readers.list_readers()
                if reader.atr
            ]
        return sorted(cards, key=lambda card: (not card.inserted, card.place, card.holder, card.document_number))

    @contextlib.contextmanager
    def open(self, card_id: str) -> Iterator[Transport]:
        """Power up one card for one piece of work.

        Raises: NotFound `card.unknown`. Unavailable `card.removed`, `card.reader`.
        """
        if card_id.startswith(_SHELF):
            number = card_id.removeprefix(_SHELF)
            if not any(card.document_number == number and card.personalised for card in self._shelf.list()):
                raise NotFound("card.unknown", "no such card on the shelf", public="That card is not there any more.")
            card = self._shelf.open(number)
            try:
                yield card
            finally:
                with contextlib.suppress(Unavailable):  # an owner that ended has powered its cards off
                    card.reset()
        elif card_id.startswith(_READER) and self._readers is not None:
            with self._readers.connect(card_id.removeprefix(_READER)) as plastic:
                yield plastic
        else:
            raise NotFound("card.unknown", "no such place for a card", public="That card is not there any more.")

    def _look(
        self, card_id: str, place: Literal["shelf", "reader"], reader: str, number: str, inserted: str
    ) -> PresentCard:
        try:
            with self.open(card_id) as card:
                document = eid_card.read_document(card)
        except DigiidError as error:
            return PresentCard(card_id, place, reader, "", number, False, error.code)
        holder = f"{document.given_names} {document.surname}"
        number = document.document_number
        return PresentCard(card_id, place, reader, holder, number, place == "shelf" and number == inserted)


def read_inserted(folder: Path) -> str:
    """The document number of the card that somebody put into the virtual reader, or nothing."""
    try:
        with (folder / INSERTED_FILE).open("rb") as file:
            return file.read(_MAX_INSERTED_BYTES).decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def write_inserted(folder: Path, document_number: str) -> None:
    """Remember which card is in the virtual reader; an empty number means none."""
    if document_number:
        (folder / INSERTED_FILE).write_text(document_number + "\n", encoding="ascii")
    else:
        (folder / INSERTED_FILE).unlink(missing_ok=True)
