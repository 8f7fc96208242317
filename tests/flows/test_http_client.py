"""What the HTTP client says when nobody answers: which program, and whether it is there."""

import socket
import threading

import pytest

from digiid.kernel.errors import Unavailable
from digiid.platform.http import HttpClient
from tests.support.serve import free_port


def said_of(port: int, method: str = "GET") -> str:
    http = HttpClient(timeout_seconds=0.3)
    try:
        with pytest.raises(Unavailable) as caught:
            http.request(method, f"http://127.0.0.1:{port}/tsa")
    finally:
        http.close()
    assert caught.value.code == "http.unreachable"
    return caught.value.detail


def test_where_nothing_listens() -> None:
    port = free_port()
    expected = f"nothing answers at 127.0.0.1:{port}: is it running, is the address right? (POST, ConnectError)"
    assert said_of(port, "POST") == expected


def test_who_listens_and_says_nothing_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert said_of(port) == f"127.0.0.1:{port} did not answer in time (GET, ReadTimeout)"


def test_who_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(4096)
            connection.close()

        peer = threading.Thread(target=hang_up)
        peer.start()
        said = said_of(port)
        peer.join()
    assert said == f"the connection to 127.0.0.1:{port} broke off (GET, RemoteProtocolError)"
