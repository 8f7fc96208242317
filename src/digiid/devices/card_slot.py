"""The virtual reader of one state: which card is in it, remembered across restarts."""

import threading
from pathlib import Path

from digiid.devices.card_shelf import CardSource, OpenCard
from digiid.devices.virtual_reader import DEFAULT_HOST, DEFAULT_PORT, VirtualReader
from digiid.devices.wallet import read_inserted, write_inserted
from digiid.kernel.errors import DigiidError, Refused


class CardSlot:
    """Takes one card at a time. PC/SC sees it where vsmartcard's driver listens; the card agent sees it anyway."""

    def __init__(
        self, source: CardSource, cards_folder: Path, *, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT
    ) -> None:
        self._source = source
        self._folder = cards_folder
        self._address = (host, port)
        self._lock = threading.Lock()
        self._reader: VirtualReader | None = None

    @property
    def seen_by_pcsc(self) -> bool:
        """Does a reader driver have the card now?"""
        reader = self._reader
        return reader is not None and reader.inserted

    def insert(self, document_number: str) -> None:
        """Put a card in; one that is there already comes out first.

        Raises:
            NotFound: `card.unknown`. Refused: `card.unfinished`: the bureau still works on it.
        """
        with self._lock:
            card = self._find(document_number)
            self._take_out()
            write_inserted(self._folder, document_number)
            host, port = self._address
            self._reader = VirtualReader(card, host=host, port=port)
            self._reader.insert()

    def mark(self, document_number: str) -> None:
        """Remember a card as inserted without showing it to a reader driver. Raises: as `insert`."""
        self._find(document_number)
        write_inserted(self._folder, document_number)

    def remove(self) -> None:
        """Take the card out. Without one nothing happens."""
        with self._lock:
            self._take_out()
            write_inserted(self._folder, "")

    def restore(self) -> None:
        """Put in what was in when the last process ended; a card that is gone is forgotten."""
        number = read_inserted(self._folder)
        if not number:
            return
        try:
            self.insert(number)
        except DigiidError:
            write_inserted(self._folder, "")

    def close(self) -> None:
        """End without forgetting which card is in."""
        with self._lock:
            self._take_out()

    def _find(self, document_number: str) -> OpenCard:
        card = self._source.open(document_number)
        if not any(known.document_number == document_number and known.personalised for known in self._source.list()):
            text = f"Card {document_number} is not finished yet."
            raise Refused("card.unfinished", text, public=text)
        return card

    def _take_out(self) -> None:
        if self._reader is not None:
            self._reader.remove()
            self._reader = None
