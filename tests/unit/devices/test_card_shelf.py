"""Chips on the disk: what is counted stays counted, and one process owns them."""

import os
import stat
from pathlib import Path

import pytest

from digiid.devices.card_shelf import CardShelf, ShelfCard
from digiid.kernel.errors import Broken, Conflict, NotFound, Unavailable
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey, PinRefused
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import PIN1, PIN2, document_numbered, new_ca, personalise

NUMBER = "NS0000009"


@pytest.fixture
def shelf(tmp_path: Path, entropy: SeededEntropy) -> CardShelf:
    shelf = CardShelf(tmp_path / "cards", entropy)
    personalise(shelf.new_blank(NUMBER), new_ca())
    return shelf


def again(shelf: CardShelf) -> CardShelf:
    shelf.close()
    return CardShelf(shelf.folder, SeededEntropy(b"again"))


def test_a_card_works_after_a_restart(shelf: CardShelf) -> None:
    certificate = eid_card.read_certificate(shelf.open(NUMBER), CardKey.SIGNATURE)
    shelf = again(shelf)
    assert shelf.list() == [ShelfCard(NUMBER, personalised=True)]
    assert eid_card.read_certificate(shelf.open(NUMBER), CardKey.SIGNATURE) == certificate
    assert len(eid_card.sign(shelf.open(NUMBER), pin2=PIN2, digest=bytes(32))) == 96


def test_a_wrong_try_survives_a_restart(shelf: CardShelf) -> None:
    with pytest.raises(PinRefused):
        eid_card.authenticate(shelf.open(NUMBER), pin1="9999", digest=bytes(48))
    assert eid_card.read_retry_counters(again(shelf).open(NUMBER)).pin1 == 2


def test_no_answer_leaves_when_the_chip_cannot_be_stored(shelf: CardShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    card = shelf.open(NUMBER)
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        for pin in ("9999", PIN1):  # right and wrong look the same
            with pytest.raises(Unavailable, match=r"card\.storage"):
                eid_card.authenticate(card, pin1=pin, digest=bytes(48))
    assert len(eid_card.authenticate(card, pin1=PIN1, digest=bytes(48))) == 96


def test_two_users_of_one_card_do_not_share_a_shown_pin(shelf: CardShelf) -> None:
    first, second = shelf.open(NUMBER), shelf.open(NUMBER)
    shown = bytes.fromhex("002000010C") + b"1234" + b"\xff" * 8
    assert first.transmit(shown) == b"\x90\x00"
    assert first.transmit(bytes.fromhex("00200001")) == b"\x90\x00"
    assert second.transmit(bytes.fromhex("00200001")) == b"\x63\xc3"


def test_another_owner_is_turned_away(shelf: CardShelf) -> None:
    with pytest.raises(Conflict, match=r"card\.shelf\.owned"):
        CardShelf(shelf.folder, SeededEntropy(b"other"))


def test_chip_files_are_for_the_owner_only(shelf: CardShelf) -> None:
    for path in shelf.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(shelf.folder.stat().st_mode) == 0o700


def test_an_interrupted_personalisation_goes_on_and_a_finished_one_is_not_overwritten(shelf: CardShelf) -> None:
    number = "NS0000017"
    key = eid_card.generate_key(shelf.new_blank(number), CardKey.SIGNATURE)
    card = again(shelf).new_blank(number)
    eid_card.build_certificate_request(card, CardKey.SIGNATURE)
    assert key is not None
    personalise(card, new_ca(), document=document_numbered(number))


def test_a_personalised_card_is_never_made_blank(shelf: CardShelf) -> None:
    with pytest.raises(Conflict, match=r"card\.exists"):
        shelf.new_blank(NUMBER)


@pytest.mark.parametrize("number", ["../NS0000009", "NS0000010", "", "ns0000009", "NS0000009.chip"])
def test_unknown_cards_are_not_found(shelf: CardShelf, number: str) -> None:
    with pytest.raises(NotFound):
        shelf.open(number)


def test_a_damaged_chip_is_said_to_be_damaged_and_the_others_work(shelf: CardShelf) -> None:
    other = "NS0000017"
    personalise(shelf.new_blank(other), new_ca(), document=document_numbered(other))
    path = shelf.folder / f"{NUMBER}.chip"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    shelf.close()
    path.write_bytes(content)
    shelf = CardShelf(shelf.folder, SeededEntropy(b"again"))
    with pytest.raises(Broken, match=r"card\.damaged"):
        shelf.open(NUMBER)
    assert [card.document_number for card in shelf.list()] == [other]


def test_a_discarded_card_answers_no_more(shelf: CardShelf) -> None:
    card = shelf.open(NUMBER)
    shelf.discard(NUMBER)
    with pytest.raises(Unavailable, match=r"card\.removed"):
        card.transmit(bytes.fromhex("00A4000C"))
    assert shelf.list() == []
    assert not list(shelf.folder.glob("*.chip"))
