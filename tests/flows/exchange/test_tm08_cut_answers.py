"""TM-08: answers that are cut or slow, at every byte class, from another server, a status port, an information system.

Nothing of them is released, and the asker's log has the request alone.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from digiid.exchange.security_server import connections
from digiid.formats.exchange.part_order import REST_BODY, REST_REQUEST
from tests.support.exchange_peer import BOUNDARY, PlayedServer, http_answer, make_response, played_server
from tests.support.exchange_room import ExchangeRoom, exchange_room, free_message_port, make_keys
from tests.support.global_conf import BOARD, LOANS, POLICE, PRIVATE, STATE

CHANGES = {
    "limits": {"memory_body_bytes": 4096},
    "timeouts": {"answer_seconds": 0.5, "head_seconds": 0.3, "body_seconds": 0.3, "shortest_connect_seconds": 0.5},
}


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Iterator[ExchangeRoom]:
    patience, connections.SWEEP_SECONDS = connections.SWEEP_SECONDS, 0.05
    try:
        with exchange_room(tmp_path_factory.mktemp("tm08-answers"), changes=CHANGES) as room:
            yield room
    finally:
        connections.SWEEP_SECONDS = patience


@pytest.fixture(scope="module")
def board(room) -> Iterator[PlayedServer]:
    """A server of the board's, played; `body` is what it answers, and `cut` says how much of it goes out."""
    port, keys, original = free_message_port(), make_keys(STATE, [BOARD]), room.keys[STATE]
    room.trust.knows(keys.authentication.certificate)
    room.keys[STATE] = replace(original, authentication=keys.authentication)
    registered = replace(room.registered(STATE, frozenset({POLICE})), address=f"127.0.0.1:{port}")
    room.keys[STATE] = original
    room.republish(servers=(registered, room.registered(PRIVATE, frozenset({LOANS}))))

    def answer(message) -> bytes:
        made = make_response(
            room, STATE, message.find(REST_REQUEST), dict(message.parts).get(REST_BODY), body=board.body
        )
        return board.cut(http_answer(made.envelope()))

    with played_server(room, keys.authentication, answer, port=port) as board:
        board.body, board.cut = b"done" * 25, lambda data: data
        yield board
    room.republish()


def asked(room: ExchangeRoom, message_id: str) -> httpx.Response:
    return room.ask("POST", content=b"ask", headers={"X-Road-Id": message_id}, verify=False)


def assert_not_released(room: ExchangeRoom, answer: httpx.Response, message_id: str) -> None:
    assert answer.status_code == 500
    assert answer.headers["x-road-error"].startswith("server.clientproxy.")
    assert b"done" not in answer.content
    assert [each.is_response for each in room.private.logged(message_id)] == [False]
    assert list((room.folder / "private" / "spool").iterdir()) == []


# One place in every class of bytes: what stands there, and how far inside it.
PLACES = {
    "before anything": (b"HTTP/1.1", 0),
    "status line": (b"HTTP/1.1", 5),
    "HTTP header name": (b"content-type", 5),
    "HTTP header value": (b"multipart/mixed", 5),
    "between CR and LF": (b"\r\n", 1),
    "end of head": (b"\r\n\r\n", 2),
    "after head": (b"\r\n\r\n", 4),
    "boundary": (b"\r\n\r\n", 13),
    "part header": (b"content-type: application/x-road-rest-response", 7),
    "REST part": (b"x-road-client", 5),
    "end of REST part": (b"x-road-request-hash", 40),
    "between parts": (b"application/x-road-rest-body", -30),
    "body": (b"done", 10),
    "body, at its end": (b"done" * 25, -1),
    "signature": (b"SignatureValue", 5),
    "OCSP response in the signature": (b"EncapsulatedOCSPValue", 100),
    "last boundary": (f"--{BOUNDARY}--".encode(), 10),
    "last dashes": (f"--{BOUNDARY}--".encode(), -1),
    "last CRLF": (f"--{BOUNDARY}--\r\n".encode(), -1),
}


@pytest.mark.parametrize("place", PLACES)
def test_tm08_an_answer_that_is_cut_is_not_released(room, board, place):
    mark, inside = PLACES[place]
    board.body = b"done" * 25
    board.cut = lambda data: data[: data.index(mark) + (inside if inside >= 0 else len(mark) + inside)]
    message_id = f"cut-{place}".replace(" ", "-").replace(",", "")
    before = len(board.received)
    assert_not_released(room, asked(room, message_id), message_id)
    assert len(board.received) == before + 1
    # the next one is judged for itself
    board.cut = lambda data: data
    assert asked(room, f"{message_id}-whole").content == b"done" * 25


def test_tm08_an_answer_that_is_cut_inside_a_large_body_leaves_no_file(room, board):
    board.body, board.cut = b"done" * 100_000, lambda data: data[: len(data) // 2]
    assert_not_released(room, asked(room, "cut-large"), "cut-large")


@pytest.mark.parametrize("bytes_sent", [0, 20, 150, 700], ids=["nothing", "head", "after the head", "envelope"])
def test_tm08_an_answer_that_does_not_go_on_is_given_up(room, board, bytes_sent):
    gone = threading.Event()

    def dawdle(data: bytes) -> bytes:
        board.connection.sendall(data[:bytes_sent])
        gone.wait(5)
        return b""

    board.body, board.cut = b"done" * 1000, dawdle
    with holding_connections(board):
        began = time.monotonic()
        answer = asked(room, f"slow-{bytes_sent}")
        assert time.monotonic() - began < 3
        gone.set()
    assert_not_released(room, answer, f"slow-{bytes_sent}")


@contextmanager
def holding_connections(board: PlayedServer) -> Iterator[None]:
    """`board.connection` is the connection that is being answered."""
    context, plain = board._context, board._context.wrap_socket

    class Holding:
        def wrap_socket(self, connection: socket.socket, *, server_side: bool) -> socket.socket:
            board.connection = plain(connection, server_side=server_side)
            return board.connection

    board._context = Holding()
    try:
        yield
    finally:
        board._context = context


# ------------------------------------------------------------------ port 5577


@pytest.mark.parametrize(
    "cut",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[: data.index(b"\r\n\r\n") + 20],
        lambda data: data[: data.index(b"application/ocsp-response") + 200],
        lambda data: data[:-1],
    ],
    ids=["nothing", "head", "boundary", "response", "last byte"],
)
def test_tm08_a_status_answer_that_is_cut_means_that_nothing_is_sent(room, board, cut):
    board.body, board.cut = b"done", lambda data: data
    room.private.run(forget_statuses(room))

    def answer_status(connection: socket.socket) -> None:
        class Cutting:
            def recv(self, count: int) -> bytes:
                return connection.recv(count)

            def sendall(self, data: bytes) -> None:
                connection.sendall(cut(data))

        board.answer_status(Cutting())

    board.status_script = answer_status
    received = len(board.received)
    try:
        answer = asked(room, "no-status")
    finally:
        board.status_script = None
    assert answer.headers["x-road-error"].startswith("server.clientproxy.")
    assert len(board.received) == received
    assert asked(room, "status-again").status_code == 200


async def forget_statuses(room: ExchangeRoom) -> None:
    room.private.server._peers._status._kept.clear()
    room.private.server._peers.forget_connections()


# ------------------------------------------------------------------ information systems


@contextmanager
def system_that_answers(room: ExchangeRoom, data: bytes, *, holds: bool) -> Iterator[None]:
    """The board's information system sends these bytes, and then closes, or waits."""
    room.republish()
    released = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(data)
                    if holds:
                        released.wait(5)

        threading.Thread(target=serve, daemon=True).start()
        url, room.provider_url = room.provider_url, f"http://127.0.0.1:{listening.getsockname()[1]}"
        room.write_rights(STATE, timeout_seconds=1)
        try:
            yield
        finally:
            released.set()
            listening.shutdown(socket.SHUT_RDWR)
            room.provider_url = url
            room.write_rights(STATE)


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20000\r\n\r\n" + b"done" * 5000


@pytest.mark.parametrize("holds", [False, True], ids=["cut", "slow"])
@pytest.mark.parametrize("sent", [0, 5, 30, WHOLE.index(b"\r\n\r\n") + 2, WHOLE.index(b"done"), 3000, 12_000])
def test_tm08_an_information_systems_answer_that_is_cut_or_stops_is_no_answer(room, sent, holds):
    message_id = f"system-{sent}-{holds}"
    with system_that_answers(room, WHOLE[:sent], holds=holds):
        began = time.monotonic()
        answer = asked(room, message_id)
        assert time.monotonic() - began < 4
    assert answer.json()["type"] in {"server.serverproxy.service_failed", "server.clientproxy.network_error"}
    assert b"done" not in answer.content
    for server in (room.private, room.state):
        assert [each.is_response for each in server.logged(message_id)] == [False]
    for server in ("private", "state"):
        assert list((room.folder / server / "spool").iterdir()) == []


def test_tm08_an_information_system_that_goes_away_while_it_is_answered_harms_nobody_else(room):
    room.republish()
    head = f"GET /r1/{POLICE}/documents/big/3000000 HTTP/1.1\r\nX-Road-Client: {LOANS}\r\nX-Road-Id: gone\r\n\r\n"
    for taken in (0, 1, 50_000):
        port = room.private.settings.listeners.http_port
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(head.encode())
            left = taken
            while left > 0:
                left -= len(connection.recv(min(left, 4096)))
    answer = room.ask("GET", "/big/3000000", verify=False)
    assert (answer.status_code, len(answer.content)) == (200, 3_000_000)
