"""Kept connections: no byte of one message is ever read as part of another one, whoever is hostile at the other end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from digiid.exchange.security_server.local_conf import Offer, build_local_conf, write_local_conf
from digiid.formats.exchange.part_order import REST_BODY, REST_REQUEST
from tests.support.exchange_peer import Message, http_answer, make_response, played_server
from tests.support.exchange_room import DOCUMENTS, ExchangeRoom, exchange_room, free_message_port, make_keys
from tests.support.global_conf import BOARD, LOANS, POLICE, PRIVATE, STATE

# ------------------------------------------------------------------ an information system that answers early

_REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!"


@dataclass
class HastySystem:
    """Answers as soon as it has a head, and reads on after it, as an HTTP server does that keeps its connections."""

    port: int = 0
    received: list[bytearray] = field(default_factory=list)  # what came on each connection

    def serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.received.append(bytearray())
            threading.Thread(target=self._answer, args=(connection, self.received[-1]), daemon=True).start()

    def _answer(self, connection: socket.socket, received: bytearray) -> None:
        with connection:
            answered = False
            try:
                while data := connection.recv(64 * 1024):
                    received += data
                    if not answered and b"\r\n\r\n" in received:
                        connection.sendall(_REFUSAL)
                        answered = True
            except OSError:
                return


@contextmanager
def hasty_system() -> Iterator[HastySystem]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        system = HastySystem(listening.getsockname()[1])
        threading.Thread(target=system.serve, args=(listening,), daemon=True).start()
        yield system


def offer_at(room: ExchangeRoom, url: str) -> None:
    settings = build_local_conf({POLICE: ()}, [Offer(DOCUMENTS, (), frozenset({LOANS}), url)], mode="NOSSL")
    write_local_conf(room.folder / STATE.server_code / "local.toml", settings)


def test_a_connection_on_which_a_request_was_left_unfinished_carries_no_other_one(tmp_path):
    with hasty_system() as system, exchange_room(tmp_path) as room:
        offer_at(room, f"http://127.0.0.1:{system.port}")
        smuggled = b"GET /r1/forged HTTP/1.1\r\nX-Road-Client: TEST/GOV/somebody/else\r\n\r\n"
        for content in (b"x" * 24_000_000, smuggled):
            answer = room.ask("POST", content=content)
            assert (answer.status_code, answer.content) == (413, b"no!")
        # each request began a connection of its own; the second one is not the rest of the first one's body
        assert [bytes(received[:5]) for received in system.received] == [b"POST ", b"POST "]


# ------------------------------------------------------------------ a peer that says more than there can be


@contextmanager
def answering_board(folder: Path, *, status: int, body: bytes) -> Iterator[ExchangeRoom]:
    """The board's security server is played, and signs this answer to whatever it is asked."""
    port, identity = free_message_port(), make_keys(STATE, [BOARD]).authentication
    with exchange_room(folder) as room:
        room.trust.knows(identity.certificate)
        original, room.keys[STATE].authentication = room.keys[STATE].authentication, identity
        registered = replace(room.registered(STATE, frozenset({POLICE})), address=f"127.0.0.1:{port}")
        room.keys[STATE].authentication = original
        room.republish(servers=(registered, room.registered(PRIVATE, frozenset({LOANS}))))

        def answer(message: Message) -> bytes:
            asked = dict(message.parts).get(REST_BODY)
            made = make_response(room, STATE, message.find(REST_REQUEST), asked, status=status, body=body)
            return http_answer(made.envelope())

        with played_server(room, identity, answer, port=port):
            yield room


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("size", [100, 400_000])
def test_a_signed_answer_with_a_body_where_there_cannot_be_one_is_not_released(tmp_path, status, size):
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    with answering_board(tmp_path, status=status, body=forged.ljust(size, b" ")) as room:
        told = room.ask("POST", content=b"ask")
        assert told.headers["x-road-error"] == "server.clientproxy.invalid_message"
        assert b"forged" not in told.content


@pytest.mark.parametrize("status", [204, 304])
def test_an_empty_part_is_no_body_and_nothing_is_said_of_its_length(tmp_path, status):
    with answering_board(tmp_path, status=status, body=b"") as room:
        told = room.ask("POST", content=b"ask")
        assert (told.status_code, told.content) == (status, b"")
        assert "content-length" not in told.headers
