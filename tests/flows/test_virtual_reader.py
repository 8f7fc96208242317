"""The card behind vpcd's protocol, driven by a reader that is written here from the protocol's description."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from digiid.devices import card_commands
from digiid.devices.card_shelf import CardShelf
from digiid.devices.card_slot import CardSlot
from digiid.devices.reader_socket import ReaderServer
from digiid.devices.virtual_reader import VirtualReader
from digiid.formats.card import ATR
from digiid.platform import eid_card
from digiid.platform.eid_card import PinRefused
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import DOCUMENT, PIN1, ChipInMemory, new_ca, personalise

NUMBER = DOCUMENT.document_number
SHOW_PIN1 = bytes.fromhex("002000010C") + PIN1.encode() + b"\xff" * 8
ASK_PIN1 = bytes.fromhex("00200001")


class Driver:
    """vpcd's side: listens, and talks to the card that connects."""

    def __init__(self, port: int = 0) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.settimeout(10)
        self.port = self.listener.getsockname()[1]

    def accept(self) -> "Slot":
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        return Slot(connection)

    def close(self) -> None:
        self.listener.close()


class Slot:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def control(self, byte: int) -> None:
        self.connection.sendall(b"\x00\x01" + bytes([byte]))

    def atr(self) -> bytes:
        self.control(4)
        return self.receive()

    def transmit(self, command: bytes) -> bytes:
        self.connection.sendall(len(command).to_bytes(2, "big"))
        self.connection.sendall(command)  # apart, as the driver does it
        return self.receive()

    def receive(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(2), "big"))

    def ended(self) -> bool:
        return self.connection.recv(1) == b""

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self.connection.recv(count - len(got))
            assert part, "the card went away"
            got += part
        return got


@pytest.fixture
def driver() -> Iterator[Driver]:
    with contextlib.closing(Driver()) as opened:
        yield opened


@pytest.fixture
def state(tmp_path: Path, entropy: SeededEntropy) -> Path:
    shelf = CardShelf(tmp_path / "cards", entropy)
    personalise(shelf.new_blank(NUMBER), new_ca())
    shelf.close()
    return tmp_path


@pytest.fixture
def shelf(state: Path, entropy: SeededEntropy) -> Iterator[CardShelf]:
    with contextlib.closing(CardShelf(state / "cards", entropy)) as opened:
        yield opened


@pytest.fixture
def slot(shelf: CardShelf, driver: Driver) -> Iterator[Slot]:
    reader = VirtualReader(shelf.open(NUMBER), port=driver.port, retry_seconds=0.05)
    reader.insert()
    yield driver.accept()
    reader.remove()


def test_atr_is_the_one_that_every_client_knows(slot: Slot) -> None:
    assert slot.atr() == ATR


@pytest.mark.parametrize("control", [0, 1, 2])
def test_power_and_reset_forget_the_shown_pin_and_are_not_answered(slot: Slot, control: int) -> None:
    assert slot.transmit(SHOW_PIN1) == b"\x90\x00"
    assert slot.transmit(ASK_PIN1) == b"\x90\x00"
    slot.control(control)
    assert slot.transmit(ASK_PIN1) == b"\x63\xc3"


def test_host_functions_work_through_the_reader(slot: Slot) -> None:
    assert eid_card.read_document(slot) == DOCUMENT
    with pytest.raises(PinRefused):
        eid_card.authenticate(slot, pin1="9999", digest=bytes(48))
    assert eid_card.read_retry_counters(slot).pin1 == 2


def test_the_card_comes_back_after_the_driver_was_restarted(shelf: CardShelf, driver: Driver) -> None:
    reader = VirtualReader(shelf.open(NUMBER), port=driver.port, retry_seconds=0.05)
    reader.insert()
    try:
        first = driver.accept()
        first.transmit(SHOW_PIN1)
        first.connection.close()
        second = driver.accept()
        assert second.transmit(ASK_PIN1) == b"\x63\xc3"
    finally:
        reader.remove()


def test_a_card_waits_for_a_driver_that_is_not_there_yet(shelf: CardShelf) -> None:
    with contextlib.closing(Driver()) as probe:
        port = probe.port
    reader = VirtualReader(shelf.open(NUMBER), port=port, retry_seconds=0.05)
    reader.insert()
    try:
        assert not reader.wait_until_inserted(0.2)
        with contextlib.closing(Driver(port)) as late:
            assert late.accept().atr() == ATR
    finally:
        reader.remove()


def test_taking_the_card_out_ends_the_connection(shelf: CardShelf, driver: Driver) -> None:
    reader = VirtualReader(shelf.open(NUMBER), port=driver.port, retry_seconds=0.05)
    reader.insert()
    slot = driver.accept()
    reader.remove()
    assert slot.ended()
    assert not reader.inserted


def test_a_discarded_card_is_taken_out(slot: Slot, shelf: CardShelf) -> None:
    shelf.discard(NUMBER)
    slot.connection.sendall(b"\x00\x04\x00\xa4\x00\x0c")
    assert slot.ended()


def test_nonsense_from_the_driver_ends_the_connection_and_nothing_else(driver: Driver) -> None:
    reader = VirtualReader(ChipInMemoryWithReset(), port=driver.port, retry_seconds=0.05)
    reader.insert()
    try:
        slot = driver.accept()
        slot.connection.sendall(b"\x00\x00")
        assert slot.ended()
        assert driver.accept().atr() == ATR
    finally:
        reader.remove()


class ChipInMemoryWithReset(ChipInMemory):
    def reset(self) -> None:
        """Nothing was shown to this chip."""


def test_inserting_into_a_running_state_shows_the_card_to_the_driver(
    state: Path, shelf: CardShelf, driver: Driver, entropy: SeededEntropy
) -> None:
    slot = CardSlot(shelf, shelf.folder, port=driver.port)
    server = ReaderServer(state / "reader.sock", shelf, on_insert=slot.insert, on_remove=slot.remove)
    try:
        assert card_commands.insert_card(state, entropy, NUMBER)
        connection = driver.accept()
        assert connection.atr() == ATR
        assert slot.seen_by_pcsc
        assert [card.inserted for card in card_commands.list_cards(state, entropy, readers=None)] == [True]
        assert card_commands.read_card_info(state, entropy, readers=None).document == DOCUMENT
        assert card_commands.remove_card(state, entropy) == NUMBER
        assert connection.ended()
    finally:
        slot.close()
        server.close()


def test_the_inserted_card_is_in_again_after_a_restart(shelf: CardShelf, driver: Driver) -> None:
    slot = CardSlot(shelf, shelf.folder, port=driver.port)
    slot.insert(NUMBER)
    driver.accept()
    slot.close()
    again = CardSlot(shelf, shelf.folder, port=driver.port)
    again.restore()
    assert driver.accept().atr() == ATR
    again.remove()
    shelf.discard(NUMBER)
    again.restore()
    assert not again.seen_by_pcsc


def test_a_card_is_served_without_a_running_state_until_told_to_stop(
    state: Path, driver: Driver, entropy: SeededEntropy
) -> None:
    card_commands.insert_card(state, entropy, NUMBER)
    stop = threading.Event()
    serving = threading.Thread(
        target=card_commands.serve_inserted_card,
        args=(state, entropy),
        kwargs={"until": stop, "port": driver.port},
        daemon=True,
    )
    serving.start()
    connection = driver.accept()
    assert connection.atr() == ATR
    stop.set()
    serving.join(timeout=10)
    assert connection.ended()
