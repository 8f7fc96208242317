"""The cards that can be used now, from the shelf and from readers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from digiid.devices.card_shelf import CardShelf
from digiid.devices.pcsc import ReaderStatus
from digiid.devices.wallet import Wallet, read_inserted, write_inserted
from digiid.formats.card import ATR
from digiid.kernel.errors import NotFound, Unavailable
from digiid.platform import eid_card
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import DOCUMENT, PIN1, document_numbered, new_ca, personalise


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[CardShelf]:
    made = CardShelf(tmp_path / "cards", SeededEntropy(b"wallet"))
    yield made
    made.close()


def wallet_of(shelf: CardShelf) -> Wallet:
    return Wallet(shelf, folder=shelf.folder, readers=None)


def test_inserted_card_comes_first_and_the_rest_by_holder(shelf: CardShelf) -> None:
    ca = new_ca()
    for number, given in (("NS0000001", "ANNE"), ("NS0000002", "BERTA"), ("NS0000003", "CARL")):
        personalise(shelf.new_blank(number), ca, document=replace(document_numbered(number), given_names=given))
    write_inserted(shelf.folder, "NS0000003")
    cards = wallet_of(shelf).list()
    assert [card.document_number for card in cards] == ["NS0000003", "NS0000001", "NS0000002"]
    assert [card.inserted for card in cards] == [True, False, False]
    assert cards[0].holder == f"CARL {DOCUMENT.surname}"


def test_chip_in_personalisation_is_not_offered_and_cannot_be_opened(shelf: CardShelf) -> None:
    personalise(shelf.new_blank("NS0000009"), new_ca(), close=False)
    wallet = wallet_of(shelf)
    assert wallet.list() == []
    with pytest.raises(NotFound), wallet.open("shelf:NS0000009"):
        pytest.fail("the chip was opened")


@pytest.mark.parametrize("card_id", ["", "shelf:", "shelf:NS0000001", "shelf:../x", "reader:Any", "NS0000009"])
def test_card_that_is_not_there_is_not_found(shelf: CardShelf, card_id: str) -> None:
    with pytest.raises(NotFound), wallet_of(shelf).open(card_id):
        pytest.fail("something was opened")


def test_each_opening_is_a_power_up_of_its_own(shelf: CardShelf) -> None:
    personalise(shelf.new_blank("NS0000009"), new_ca())
    wallet = wallet_of(shelf)
    with wallet.open("shelf:NS0000009") as card:
        assert card.transmit(bytes.fromhex("002000010C31323334FFFFFFFFFFFFFFFF")) == b"\x90\x00"
        assert card.transmit(bytes.fromhex("00200001")) == b"\x90\x00"
    assert card.transmit(bytes.fromhex("00200001")) == b"\x63\xc3"
    with wallet.open("shelf:NS0000009") as other:
        assert other.transmit(bytes.fromhex("00200001")) == b"\x63\xc3"
        assert len(eid_card.authenticate(other, pin1=PIN1, digest=bytes(48))) == 96


class _EmptyReader:
    """A reader whose card was pulled out between the list and the opening."""

    def list_readers(self) -> Sequence[ReaderStatus]:
        return [ReaderStatus("Reader 0", ATR), ReaderStatus("Reader 1", b"")]

    def connect(self, reader: str) -> "object":
        raise Unavailable("card.removed", f"nothing in {reader}")


def test_reader_without_a_card_is_left_out_and_an_unreadable_card_says_why(shelf: CardShelf) -> None:
    wallet = Wallet(shelf, folder=shelf.folder, readers=_EmptyReader())  # type: ignore[arg-type]
    (card,) = wallet.list()
    assert (card.id, card.place, card.problem) == ("reader:Reader 0", "reader", "card.removed")


def test_mark_of_the_inserted_card_is_kept_until_it_is_taken_out(tmp_path: Path) -> None:
    assert read_inserted(tmp_path) == ""
    write_inserted(tmp_path, "NS0000009")
    assert read_inserted(tmp_path) == "NS0000009"
    write_inserted(tmp_path, "")
    write_inserted(tmp_path, "")
    assert read_inserted(tmp_path) == ""
