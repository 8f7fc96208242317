"""What `digiid card …` does, with or without a running state. Functions return values; the command line prints them.

A card is named by its document number, by `reader:NAME` for one in a PC/SC reader, or not at all: then
it is the one in the virtual reader, or the only one there is.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from digiid.devices import pcsc
from digiid.devices.card_shelf import CardShelf, CardSource, OpenCard, ShelfCard
from digiid.devices.card_slot import CardSlot
from digiid.devices.reader_socket import CARDS_FOLDER, ReaderClient, open_source
from digiid.devices.virtual_reader import DEFAULT_PORT
from digiid.devices.wallet import PresentCard, ReaderList, Wallet, read_inserted, write_inserted
from digiid.formats.apdu import Transport
from digiid.kernel.errors import NotFound, Refused
from digiid.platform import eid_card
from digiid.platform.eid_card import CardDocument, CardKey, CardPin, RetryCounters
from digiid.platform.entropy import Entropy


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """What a card's certificate says of itself; whether it is to be trusted is not asked here."""

    kind: CardKey
    subject: str
    issuer: str
    serial_number: str
    not_before_at: datetime
    not_after_at: datetime


@dataclass(frozen=True, slots=True)
class CardInfo:
    """Everything that a card tells without a PIN."""

    card: PresentCard
    document: CardDocument
    tries_left: RetryCounters
    certificates: Sequence[CertificateSummary]


def list_cards(state: Path, entropy: Entropy, *, readers: ReaderList | None = pcsc) -> Sequence[PresentCard]:
    """The finished cards on the shelf and the cards in PC/SC readers; the inserted one comes first.

    Raises:
        NotFound: `card.no_shelf`. Unavailable: `card.reader.unreachable`.
    """
    with _wallet(state, entropy, readers) as wallet:
        return wallet.list()


def read_card_info(
    state: Path, entropy: Entropy, *, card: str | None = None, readers: ReaderList | None = pcsc
) -> CardInfo:
    """Personal data, tries left and certificates of one card.

    Raises:
        NotFound: `card.unknown`. Refused: `card.which`: several cards are there and none was named.
    """
    with opened_card(state, entropy, card, readers) as (present, opened):
        return CardInfo(
            card=present,
            document=eid_card.read_document(opened),
            tries_left=eid_card.read_retry_counters(opened),
            certificates=[_summary(opened, kind) for kind in CardKey],
        )


def change_pin(
    state: Path,
    entropy: Entropy,
    which: CardPin,
    *,
    old: str,
    new: str,
    card: str | None = None,
    readers: ReaderList | None = pcsc,
) -> PresentCard:
    """Change PIN1, PIN2 or the PUK of one card.

    Raises:
        Refused: `card.pin.wrong` and `card.pin.blocked` (PinRefused), `card.pin.format`, `card.pin.unchanged`,
            `card.which`.
    """
    with opened_card(state, entropy, card, readers) as (present, opened):
        eid_card.change_pin(opened, which, old=old, new=new)
        return present


def unblock_pin(
    state: Path,
    entropy: Entropy,
    which: CardPin,
    *,
    puk: str,
    new: str,
    card: str | None = None,
    readers: ReaderList | None = pcsc,
) -> PresentCard:
    """Give PIN1 or PIN2 of one card a new value and all its tries, with the PUK. Raises: as `change_pin`."""
    with opened_card(state, entropy, card, readers) as (present, opened):
        eid_card.unblock_pin(opened, which, puk=puk, new=new)
        return present


def insert_card(state: Path, entropy: Entropy, document_number: str) -> bool:
    """Put a card of the shelf into the virtual reader.

    Returns whether a running state took it; otherwise the card is only marked as inserted, and
    `serve_inserted_card` shows it to PC/SC for as long as it runs.

    Raises:
        NotFound: `card.unknown`. Refused: `card.unfinished`.
    """
    source = open_source(state, entropy)
    try:
        if isinstance(source, ReaderClient):
            source.insert(document_number)
            return True
        CardSlot(source, state / CARDS_FOLDER).mark(document_number)
        return False
    finally:
        source.close()


def remove_card(state: Path, entropy: Entropy) -> str:
    """Take the card out of the virtual reader. Returns its document number, empty when none was in."""
    number = read_inserted(state / CARDS_FOLDER)
    source = open_source(state, entropy)
    try:
        if isinstance(source, ReaderClient):
            source.remove()
        else:
            write_inserted(state / CARDS_FOLDER, "")
    finally:
        source.close()
    return number


def serve_inserted_card(state: Path, entropy: Entropy, *, until: threading.Event, port: int = DEFAULT_PORT) -> None:
    """Show the inserted card to PC/SC from this process, where no state runs that does it.

    Raises:
        Conflict: `card.shelf.owned`: a running state has the cards. NotFound: `card.none_inserted`.
    """
    cards = state / CARDS_FOLDER
    number = read_inserted(cards)
    if not number:
        raise NotFound("card.none_inserted", "no card is inserted", public="No card is in the reader.")
    shelf = CardShelf(cards, entropy)
    slot = CardSlot(shelf, cards, port=port)
    try:
        slot.insert(number)
        until.wait()
    finally:
        slot.close()
        shelf.close()


@contextlib.contextmanager
def _wallet(state: Path, entropy: Entropy, readers: ReaderList | None) -> Iterator[Wallet]:
    source: CardSource
    try:
        source = open_source(state, entropy)
    except NotFound:
        if readers is None or not readers.list_readers():
            raise
        source = _NoShelf()
    try:
        yield Wallet(source, folder=state / CARDS_FOLDER, readers=readers)
    finally:
        source.close()


@contextlib.contextmanager
def opened_card(
    state: Path, entropy: Entropy, wanted: str | None, readers: ReaderList | None
) -> Iterator[tuple[PresentCard, Transport]]:
    with _wallet(state, entropy, readers) as wallet:
        present = _choose(wallet.list(), wanted)
        with wallet.open(present.id) as opened:
            yield present, opened


def _choose(cards: Sequence[PresentCard], wanted: str | None) -> PresentCard:
    if wanted:
        matching = [card for card in cards if wanted in (card.document_number, card.id)]
        if not matching:
            raise NotFound("card.unknown", f"no card {wanted}", public=f"There is no card {wanted}.")
        return matching[0]
    inserted = [card for card in cards if card.inserted] or list(cards)
    if len(inserted) == 1:
        return inserted[0]
    if not inserted:
        raise NotFound("card.none", "no card is there", public="There is no card.")
    numbers = ", ".join(card.document_number or card.id for card in inserted)
    raise Refused("card.which", "several cards are there", public=f"Say which card, --card NUMBER: {numbers}.")


def _summary(card: Transport, kind: CardKey) -> CertificateSummary:
    certificate = eid_card.read_certificate(card, kind)
    return CertificateSummary(
        kind=kind,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial_number=f"{certificate.serial_number:x}",
        not_before_at=certificate.not_valid_before_utc,
        not_after_at=certificate.not_valid_after_utc,
    )


class _NoShelf:
    """A machine with card readers and no state."""

    def list(self) -> Sequence[ShelfCard]:
        return ()

    def open(self, document_number: str) -> OpenCard:
        raise NotFound("card.unknown", f"no card {document_number}", public="That card is not there.")

    def close(self) -> None:
        """Nothing was opened."""
