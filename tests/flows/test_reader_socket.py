"""Chips of one process used by another through the reader socket."""

import json
import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from digiid.devices.card_shelf import CardShelf, ShelfCard
from digiid.devices.reader_socket import ReaderClient, ReaderServer, open_source
from digiid.kernel.errors import NotFound, Refused, Unavailable
from digiid.platform import eid_card
from digiid.platform.eid_card import CardKey, PinRefused
from digiid.platform.entropy import SeededEntropy
from tests.support.cards import DOCUMENT, PIN1, PIN2, new_ca, personalise

NUMBER = DOCUMENT.document_number
_OWNER = """
import sys, time
from pathlib import Path
from digiid.devices.card_shelf import CardShelf
from digiid.devices.reader_socket import ReaderServer
from digiid.platform.entropy import SystemEntropy

state = Path(sys.argv[1])
shelf = CardShelf(state / "cards", SystemEntropy())
server = ReaderServer(state / "reader.sock", shelf)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / ("a-long-name-" * 9)  # longer than a socket address
    folder.mkdir()
    return folder


@pytest.fixture
def shelf(state: Path, entropy: SeededEntropy) -> Iterator[CardShelf]:
    shelf = CardShelf(state / "cards", entropy)
    personalise(shelf.new_blank(NUMBER), new_ca())
    yield shelf
    shelf.close()


@pytest.fixture
def inserted() -> list[str]:
    return []


@pytest.fixture
def client(state: Path, shelf: CardShelf, inserted: list[str]) -> Iterator[ReaderClient]:
    server = ReaderServer(
        state / "reader.sock", shelf, on_insert=inserted.append, on_remove=lambda: inserted.append("removed")
    )
    yield ReaderClient(state / "reader.sock")
    server.close()


def test_a_card_is_used_through_the_socket(client: ReaderClient, shelf: CardShelf) -> None:
    assert client.list() == [ShelfCard(NUMBER, personalised=True)]
    card = client.open(NUMBER)
    assert eid_card.read_document(card) == DOCUMENT
    assert len(eid_card.sign(card, pin2=PIN2, digest=bytes(48))) == 96
    with pytest.raises(PinRefused):
        eid_card.authenticate(card, pin1="9999", digest=bytes(48))
    assert eid_card.read_retry_counters(shelf.open(NUMBER)).pin1 == 2


def test_reset_forgets_a_shown_pin(client: ReaderClient) -> None:
    card = client.open(NUMBER)
    assert card.transmit(bytes.fromhex("002000010C") + PIN1.encode() + b"\xff" * 8) == b"\x90\x00"
    card.reset()
    assert card.transmit(bytes.fromhex("00200001")) == b"\x63\xc3"


def test_unknown_cards_and_removed_ones_are_named(client: ReaderClient, shelf: CardShelf) -> None:
    with pytest.raises(NotFound, match=r"card\.unknown"):
        client.open("NS0000010")
    card = client.open(NUMBER)
    shelf.discard(NUMBER)
    with pytest.raises(Unavailable, match=r"card\.removed"):
        card.transmit(bytes.fromhex("00A4000C"))


def test_insert_and_remove_reach_the_owner(client: ReaderClient, inserted: list[str]) -> None:
    client.insert(NUMBER)
    client.remove()
    assert inserted == [NUMBER, "removed"]


def test_without_a_virtual_reader_insert_is_refused(state: Path, shelf: CardShelf) -> None:
    server = ReaderServer(state / "reader.sock", shelf)
    try:
        with pytest.raises(Refused, match=r"card\.reader\.request"):
            ReaderClient(state / "reader.sock").insert(NUMBER)
    finally:
        server.close()


def test_the_socket_is_for_the_owner_only_and_goes_with_the_server(state: Path, shelf: CardShelf) -> None:
    server = ReaderServer(state / "reader.sock", shelf)
    assert stat.S_IMODE((state / "reader.sock").stat().st_mode) == 0o600
    server.close()
    with pytest.raises(Unavailable, match=r"card\.reader\.unreachable"):
        ReaderClient(state / "reader.sock").list()


def test_open_source_owns_the_shelf_or_asks_its_owner(state: Path, client: ReaderClient, shelf: CardShelf) -> None:
    source = open_source(state, SeededEntropy(b"x"))
    assert isinstance(source, ReaderClient)
    shelf.close()
    source = open_source(state, SeededEntropy(b"x"))
    assert isinstance(source, CardShelf)
    source.close()


def test_open_source_makes_no_folder_where_no_state_is(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"card\.no_shelf"):
        open_source(tmp_path / "nothing", SeededEntropy(b"x"))
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("frame", [b"", b"[]", b"{", b'{"do": 1}', b'{"do": "format"}', b"[" * 50000])
def test_nonsense_is_refused_and_the_server_goes_on(state: Path, client: ReaderClient, frame: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        folder = os.open(state, os.O_PATH)
        raw.connect(f"/proc/self/fd/{folder}/reader.sock")
        os.close(folder)
        raw.sendall(struct.pack(">I", len(frame)) + frame)
        answer = raw.recv(65536)
    assert "error" in json.loads(answer[4:])
    assert client.list()


def test_an_oversized_frame_ends_the_connection(state: Path, client: ReaderClient) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        folder = os.open(state, os.O_PATH)
        raw.connect(f"/proc/self/fd/{folder}/reader.sock")
        os.close(folder)
        raw.sendall(struct.pack(">I", 2**31))
        raw.settimeout(5)
        raw.recv(65536)
    assert client.list()


def test_ended_connections_make_room_for_others(client: ReaderClient) -> None:
    for _ in range(40):  # more than are served at once
        client.open(NUMBER)
    assert eid_card.read_document(client.open(NUMBER)) == DOCUMENT


def test_a_killed_owner_leaves_the_tries_counted_and_the_shelf_free(state: Path, shelf: CardShelf) -> None:
    shelf.close()
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _OWNER,
            str(state),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        with pytest.raises(PinRefused):
            eid_card.authenticate(ReaderClient(state / "reader.sock").open(NUMBER), pin1="9999", digest=bytes(48))
    finally:
        owner.kill()
        owner.wait()
    source = open_source(state, SeededEntropy(b"x"))
    try:
        card = source.open(NUMBER)
        assert eid_card.read_retry_counters(card).pin1 == 2
        assert eid_card.read_certificate(card, CardKey.SIGNATURE)
    finally:
        source.close()
