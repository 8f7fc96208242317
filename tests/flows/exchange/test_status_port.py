"""Port 5577: OCSP responses about a server's own certificates, as its peers ask for them (X-Road message transport)."""

import contextlib
import hashlib
import socket

import httpx
import pytest

from digiid.formats.exchange.multipart import MultipartParser, PartData, PartStart, parse_boundary
from tests.support.exchange_room import exchange_room
from tests.support.global_conf import PKI, STATE


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("status-port")) as room:
        yield room


def url(room) -> str:
    return f"http://127.0.0.1:{room.state.settings.listeners.ocsp_port}/"


def get(room, query: str) -> httpx.Response:
    return httpx.get(f"{url(room)}{query}", headers={"Accept": "multipart/related"}, trust_env=False)


def sha1(der: bytes) -> str:
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()


def parts(answer: httpx.Response) -> list[bytes]:
    parser, found = MultipartParser(parse_boundary(answer.headers["content-type"], subtype="related")), []
    for event in parser.feed(answer.content):
        if isinstance(event, PartStart):
            assert event.content_type == "application/ocsp-response"
            found.append(b"")
        elif isinstance(event, PartData):
            found[-1] += event.data
    parser.finish()
    return found


def test_responses_come_in_the_order_and_number_of_the_question(room):
    leaf, authority = room.keys[STATE].authentication.der, PKI.ca.der
    first = parts(get(room, f"?cert={sha1(leaf)}&cert={sha1(authority)}&cert_hash={'0' * 64}"))
    second = parts(get(room, f"?cert={sha1(authority)}&cert={sha1(leaf)}&cert={sha1(leaf)}"))
    assert len(first) == 2
    assert second == [first[1], first[0], first[0]]


def test_head_says_that_it_is_alive(room):
    assert httpx.head(url(room), trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?cert=",
        "?cert=xyz",
        f"?cert={'0' * 40}",
        "?cert_hash=" + "0" * 64,
        "?" + "&".join(["cert=" + "0" * 40] * 9),
    ],
)
def test_a_question_that_cannot_be_answered_is_500_with_a_line_of_text(room, query):
    answer = get(room, query)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/plain; charset=utf-8")


def test_other_methods_are_refused(room):
    assert httpx.post(url(room), content=b"x", trust_env=False).status_code == 500


def test_one_stranger_does_not_take_all_connections(tmp_path):
    limits = {"limits": {"max_connections": 8, "max_connections_of_server": 3}}
    with exchange_room(tmp_path, changes=limits) as room, contextlib.ExitStack() as stack:
        port = room.state.settings.listeners.ocsp_port
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(3)]
        for connection in held:
            connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        fourth = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        with contextlib.suppress(ConnectionError):
            assert fourth.recv(1) == b""
