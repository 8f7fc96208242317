"""`digiid card …` on a state that does not run. With a running one: tests/flows/test_virtual_reader.py."""

from pathlib import Path

import pytest

from digiid.devices import card_commands
from digiid.devices.card_shelf import CardShelf
from digiid.kernel.errors import NotFound, Refused
from digiid.platform.eid_card import CardPin, PinRefused, RetryCounters
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import DOCUMENT, PIN1, PUK, document_numbered, new_ca, personalise

FIRST, SECOND, UNFINISHED = "NS0000009", "NS0000017", "NS0000025"


@pytest.fixture
def state(tmp_path: Path, entropy: SeededEntropy) -> Path:
    shelf = CardShelf(tmp_path / "cards", entropy)
    ca = new_ca()
    for number in (FIRST, SECOND):
        personalise(shelf.new_blank(number), ca, document=document_numbered(number))
    shelf.new_blank(UNFINISHED)
    shelf.close()
    return tmp_path


def test_finished_cards_are_listed_and_the_inserted_one_first(state: Path, entropy: SeededEntropy) -> None:
    listed = card_commands.list_cards(state, entropy, readers=None)
    assert [card.document_number for card in listed] == [FIRST, SECOND]
    assert not card_commands.insert_card(state, entropy, SECOND)
    listed = card_commands.list_cards(state, entropy, readers=None)
    assert [(card.document_number, card.inserted) for card in listed] == [(SECOND, True), (FIRST, False)]


def test_info_says_everything_that_needs_no_pin(state: Path, entropy: SeededEntropy) -> None:
    info = card_commands.read_card_info(state, entropy, card=FIRST, readers=None)
    assert info.document == DOCUMENT
    assert info.tries_left == RetryCounters(3, 3, 3)
    assert all("JÕEORG" in certificate.subject for certificate in info.certificates)


def test_without_a_name_it_is_the_inserted_card_or_a_question(state: Path, entropy: SeededEntropy) -> None:
    with pytest.raises(Refused, match=r"card\.which") as caught:
        card_commands.read_card_info(state, entropy, readers=None)
    assert FIRST in (caught.value.public or "")
    card_commands.insert_card(state, entropy, SECOND)
    assert card_commands.read_card_info(state, entropy, readers=None).document.document_number == SECOND


def test_a_card_comes_out_of_the_reader_once(state: Path, entropy: SeededEntropy) -> None:
    card_commands.insert_card(state, entropy, FIRST)
    assert card_commands.remove_card(state, entropy) == FIRST
    assert card_commands.remove_card(state, entropy) == ""


@pytest.mark.parametrize(("number", "kind"), [("NS9999999", NotFound), (UNFINISHED, Refused), ("../x", NotFound)])
def test_only_a_finished_card_goes_into_the_reader(
    state: Path, entropy: SeededEntropy, number: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        card_commands.insert_card(state, entropy, number)
    assert not any(card.inserted for card in card_commands.list_cards(state, entropy, readers=None))


def test_pins_are_changed_blocked_and_unblocked(state: Path, entropy: SeededEntropy) -> None:
    card_commands.change_pin(state, entropy, CardPin.PIN1, old=PIN1, new="4321", card=FIRST, readers=None)
    for _ in range(3):
        with pytest.raises(PinRefused):
            card_commands.change_pin(state, entropy, CardPin.PIN1, old=PIN1, new="5555", card=FIRST, readers=None)
    assert card_commands.read_card_info(state, entropy, card=FIRST, readers=None).tries_left.pin1 == 0
    card_commands.unblock_pin(state, entropy, CardPin.PIN1, puk=PUK, new="7777", card=FIRST, readers=None)
    assert card_commands.read_card_info(state, entropy, card=FIRST, readers=None).tries_left.pin1 == 3


def test_where_no_state_is_nothing_is_made(tmp_path: Path, entropy: SeededEntropy) -> None:
    with pytest.raises(NotFound):
        card_commands.list_cards(tmp_path / "none", entropy, readers=None)
    assert not (tmp_path / "none").exists()
