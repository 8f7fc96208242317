"""The process that runs a chip is killed before each line of storing it: a counted try is never given back.

The child is a fork under `sys.settrace`; it kills itself before its n-th line in the shelf's module.
What it had answered until then comes through a pipe.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from digiid.devices import card_shelf
from digiid.devices.card_shelf import CardShelf
from digiid.formats.card.chip import Chip
from digiid.formats.card.store import build_chip_file, parse_chip_file
from digiid.platform import eid_card
from digiid.platform.eid_card import CardPin, PinRefused
from digiid.platform.entropy import SeededEntropy, SystemEntropy
from tests.support.cards import DOCUMENT, PIN1, PUK, new_ca, personalise

NUMBER = DOCUMENT.document_number
_MODULE = card_shelf.__file__


@pytest.fixture
def cards(tmp_path: Path, entropy: SeededEntropy) -> Path:
    shelf = CardShelf(tmp_path / "cards", entropy)
    personalise(shelf.new_blank(NUMBER), new_ca())
    shelf.close()
    return shelf.folder


def run_until_line(cards: Path, count: int, work: Callable[[CardShelf], None]) -> tuple[bool, bool]:
    """Do `work` in a child that is killed before its `count`-th line. Returns (killed, said that it was done)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        shelf = CardShelf(cards, SystemEntropy())
        left = count

        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename != _MODULE:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            work(shelf)
            os.write(writing, b"done")
        finally:
            os._exit(0)
    os.close(writing)
    said = os.read(reading, 10) == b"done"
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), said


def stored(cards: Path) -> Chip:
    return parse_chip_file((cards / f"{NUMBER}.chip").read_bytes())


def every_line(cards: Path, work: Callable[[CardShelf], None], check: Callable[[Chip, bool], None]) -> int:
    """Kill before each line in turn, from the same beginning; check the chip that is found afterwards."""
    beginning = cards.with_name("beginning")
    shutil.copytree(cards, beginning)
    for count in range(1, 2000):
        shutil.rmtree(cards)
        shutil.copytree(beginning, cards)
        killed, done = run_until_line(cards, count, work)
        check(stored(cards), done)
        shelf = CardShelf(cards, SystemEntropy())  # whoever comes next finds a working card
        eid_card.read_document(shelf.open(NUMBER))
        shelf.close()
        if not killed:
            return count
    raise AssertionError("the work never ended")


def test_a_wrong_try_that_was_answered_stays_counted(cards: Path) -> None:
    def try_wrong_pin(shelf: CardShelf) -> None:
        try:
            eid_card.authenticate(shelf.open(NUMBER), pin1="9999", digest=bytes(48))
        except PinRefused:
            pass

    seen = set()

    def check(chip: Chip, done: bool) -> None:
        tries_left = chip.memory.pins[0x01].tries_left
        seen.add((tries_left, done))
        assert tries_left == 2 if done else tries_left in (2, 3)

    assert every_line(cards, try_wrong_pin, check) > 20
    assert seen == {(3, False), (2, False), (2, True)}  # killed before it was stored, after it, and not at all


def test_a_changed_pin_is_the_old_one_or_the_new_one_and_never_neither(cards: Path) -> None:
    before = stored(cards).memory.pins[0x01].verifier

    def change(shelf: CardShelf) -> None:
        eid_card.change_pin(shelf.open(NUMBER), CardPin.PIN1, old=PIN1, new="4321")

    def check(chip: Chip, done: bool) -> None:
        assert chip.memory.pins[0x01].tries_left == 3
        if done:
            assert chip.memory.pins[0x01].verifier != before

    every_line(cards, change, check)


def test_an_unblocked_pin_is_unblocked_when_it_was_said_to_be(cards: Path) -> None:
    shelf = CardShelf(cards, SystemEntropy())
    for _ in range(3):
        with pytest.raises(PinRefused):
            eid_card.authenticate(shelf.open(NUMBER), pin1="9999", digest=bytes(48))
    shelf.close()

    def unblock(shelf: CardShelf) -> None:
        eid_card.unblock_pin(shelf.open(NUMBER), CardPin.PIN1, puk=PUK, new="4321")

    def check(chip: Chip, done: bool) -> None:
        assert chip.memory.pins[0x01].tries_left == 3 if done else chip.memory.pins[0x01].tries_left in (0, 3)
        assert chip.memory.pins[0x02].tries_left == 3

    every_line(cards, unblock, check)


def test_a_half_written_file_beside_the_chip_is_not_taken_for_it(cards: Path) -> None:
    whole = build_chip_file(stored(cards))
    (cards / f"{NUMBER}.new").write_bytes(whole[:100])
    shelf = CardShelf(cards, SystemEntropy())
    assert eid_card.read_retry_counters(shelf.open(NUMBER)).pin1 == 3
    assert len(eid_card.authenticate(shelf.open(NUMBER), pin1=PIN1, digest=bytes(48))) == 96
    shelf.close()
