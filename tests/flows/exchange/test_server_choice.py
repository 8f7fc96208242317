"""Which server of a provider is asked: those that answer, the one that answers first, another one when it fails."""

import hashlib
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from digiid.formats.global_conf import SecurityServer
from digiid.kernel.identifiers import ServerId
from tests.support.exchange_peer import http_answer, make_response, played_server
from tests.support.exchange_room import exchange_room, free_message_port, make_keys
from tests.support.global_conf import BOARD, LOANS, POLICE, PRIVATE, STATE

SECOND = ServerId(STATE.instance, STATE.member_class, STATE.owner_code, "second")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("choice")) as room:
        room.second = make_keys(SECOND, [BOARD])
        room.trust.knows(room.second.authentication.certificate)
        yield room


def register(room, port: int, *, first_works: bool = True, certificate_of=None, **changes) -> None:
    """The board has a second server at this port, beside its first one."""
    identity = certificate_of or room.second.authentication
    second = SecurityServer(
        SECOND, f"127.0.0.1:{port}", frozenset({hashlib.sha256(identity.der).digest()}), frozenset({POLICE})
    )
    first = room.registered(STATE, frozenset({POLICE}))
    if not first_works:
        first = replace(first, address=f"127.0.0.1:{free_message_port()}")
    room.republish(servers=(first, replace(second, **changes), room.registered(PRIVATE, frozenset({LOANS}))))


@contextmanager
def second_server(room, port: int):
    def answer(message):
        content = make_response(
            room, STATE, message.find("application/x-road-rest-request"), None, body=b"from the second"
        )
        return http_answer(content.envelope())

    with played_server(room, room.second.authentication, answer, port=port) as server:
        yield server


def test_a_server_that_is_down_is_passed_over(room):
    register(room, free_message_port())
    for _ in range(4):
        assert room.ask().status_code == 200


def test_a_server_that_does_not_finish_the_handshake_is_passed_over(room):
    with socket.create_server(("127.0.0.1", free_message_port())) as listening:

        def hang_up():
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        register(room, listening.getsockname()[1])
        for _ in range(4):
            assert room.ask().status_code == 200
        listening.shutdown(socket.SHUT_RDWR)


def test_the_second_server_answers_when_the_first_is_down(room):
    port = free_message_port()
    with second_server(room, port):
        register(room, port, first_works=False)
        assert room.ask().text == "from the second"


def test_an_impostor_at_the_address_of_a_server_is_sent_nothing_and_another_is_asked(room):
    port, real = free_message_port(), make_keys(SECOND, [BOARD]).authentication
    with second_server(room, port) as impostor:
        register(room, port, certificate_of=real)
        for _ in range(6):
            assert room.ask().status_code == 200
        assert impostor.received == []


def test_a_server_in_maintenance_is_left_out(room):
    port = free_message_port()
    with second_server(room, port) as server:
        register(room, port, maintenance="until noon")
        for _ in range(4):
            assert room.ask().text != "from the second"
        assert server.received == []


def test_the_server_that_is_asked_for_by_name_is_the_only_one(room):
    port = free_message_port()
    with second_server(room, port):
        register(room, port)
        for _ in range(2):
            assert room.ask(headers={"X-Road-Security-Server": str(SECOND)}).text == "from the second"
            assert room.ask(headers={"X-Road-Security-Server": str(STATE)}).text != "from the second"


def test_when_nobody_answers_the_asker_is_told_so(room):
    register(room, free_message_port(), first_works=False)
    answer = room.ask()
    assert (answer.status_code, answer.json()["type"]) == (500, "server.clientproxy.network_error")


def test_messages_share_a_kept_connection(room):
    room.republish()
    assert room.ask().status_code == 200
    before = set(room.private.server.connections.open)
    for _ in range(5):
        assert room.ask().status_code == 200
    opened = {each for each in room.private.server.connections.open if each.is_encrypted} - before
    assert opened == set()
