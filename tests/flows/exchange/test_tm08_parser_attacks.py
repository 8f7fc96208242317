"""TM-08: envelopes and HTTP that are not to the protocol, slow senders, connections cut at every byte class (§7.2)."""

import contextlib
import socket
import time

import pytest

from digiid.exchange.security_server import connections
from digiid.formats.exchange.part_order import OCSP, REST_BODY, REST_REQUEST, SIGNATURE
from tests.support.exchange_peer import (
    BOUNDARY,
    REQUEST_ID,
    connected,
    make_request,
    ocsp_ders,
    read_answer,
    send,
    send_message,
)
from tests.support.exchange_room import DOCUMENTS, exchange_room, wait_until
from tests.support.global_conf import LOANS, PRIVATE

MIME, MESSAGE = "server.serverproxy.mime_parsing_failed", "server.serverproxy.invalid_message"
LIMITS = {"limits": {"max_body_bytes": 1_000_000, "memory_body_bytes": 4096}}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("tm08"), changes=LIMITS) as room:
        yield room


@pytest.fixture(autouse=True)
def nothing_was_delivered(room):
    before = len(room.provider.asked)
    yield
    assert len(room.provider.asked) == before, "the information system was asked all the same"
    assert send_message(room, make_request(room)).fault is None, "the server does not serve others any more"
    # what went on after the test had hung up has gone on by now
    assert len(room.provider.asked) == before + 1, "the information system was asked all the same"
    room.provider.asked.clear()
    for server in ("state", "private"):
        assert list((room.folder / server / "spool").iterdir()) == []


# ------------------------------------------------------------------ envelopes


@pytest.mark.parametrize("order", [[2, 3, 0, 1, 4], [0, 1, 3, 2, 4], [0, 1, 4, 2, 3], [4, 3, 2, 1, 0], [2, 0, 1, 3, 4]])
def test_tm08_parts_in_another_order_are_refused(room, order):
    message = make_request(room)
    message.parts = [message.parts[number] for number in order]
    assert send_message(room, message).fault == MESSAGE


@pytest.mark.parametrize("kind", ["text/plain", "multipart/mixed", "text/xml", "application/x-road-rest-response"])
def test_tm08_a_part_of_another_kind_is_refused(room, kind):
    message = make_request(room).inserted(REST_BODY, (kind, b"--x\r\n\r\n--x--"))
    assert send_message(room, message).fault == MESSAGE


def test_tm08_parts_without_end_are_refused(room):
    message = make_request(room)
    responses = [(OCSP, each) for each in ocsp_ders(room, room.keys[PRIVATE].authentication)] * 20
    message.parts = responses + message.parts
    assert send_message(room, message).fault == MIME


@pytest.mark.parametrize(
    ("kind", "size"),
    [(OCSP, 70_000), (REST_REQUEST, 300_000), (SIGNATURE, 600_000), (REST_BODY, 1_000_001)],
)
def test_tm08_a_part_that_is_too_large_is_refused(room, kind, size):
    message = make_request(room).changed(kind, lambda _: b"x" * size)
    assert send_message(room, message).fault in {MIME, "server.serverproxy.invalid_body"}


@pytest.mark.parametrize(
    "header",
    [
        b"content-type: application/x-road-rest-body\r\nContent-Transfer-Encoding: base64",
        b"content-type: application/x-road-rest-body\r\nx: y",
        b"content-type: application/x-road-rest-body\r\n folded",
        b"content-disposition: form-data",
        b"content-type: \xff",
        b"x" * 2000,
        b"",
    ],
)
def test_tm08_part_headers_that_must_not_be_there_are_refused(room, header):
    plain = make_request(room).http(content_length=None, transfer_encoding="chunked")
    head, _, envelope = plain.partition(b"\r\n\r\n")
    envelope = envelope.replace(b"content-type: application/x-road-rest-body", header)
    assert send(room, head + b"\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(envelope), envelope)).fault == MIME


def chunked(room, envelope: bytes, **changes) -> bytes:
    head, _, _ = (
        make_request(room).http(content_length=None, transfer_encoding="chunked", **changes).partition(b"\r\n\r\n")
    )
    return head + b"\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(envelope), envelope)


@pytest.mark.parametrize(
    "change",
    [
        lambda envelope: b"preamble\r\n" + envelope,
        lambda envelope: envelope + b"epilogue",
        lambda envelope: envelope[:-4],
        lambda envelope: envelope[: len(envelope) // 2],
        lambda envelope: envelope.replace(b"\r\n", b"\n"),
        lambda _: b"",
        lambda _: f"--{BOUNDARY}--\r\n".encode(),
    ],
)
def test_tm08_an_envelope_that_is_not_one_is_refused(room, change):
    data = chunked(room, change(make_request(room).envelope()))
    if len(change(make_request(room).envelope())) == 0:
        data = data.replace(b"0\r\n\r\n0\r\n\r\n", b"0\r\n\r\n")
    assert send(room, data).fault == MIME


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "multipart/related; boundary=x", "multipart/mixed", "multipart/mixed; boundary=a; boundary=b", None],
)
def test_tm08_another_content_type_is_refused(room, content_type):
    assert send_message(room, make_request(room), content_type=content_type).fault == MIME


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x_road_message_type", None),
        ("x_road_message_type", "SOAP"),
        ("x_road_request_id", None),
        ("x_road_request_id", REQUEST_ID.upper()),
        ("x_hash_algorithm", "MD5"),
    ],
)
def test_tm08_http_headers_that_do_not_fit_the_message_are_refused(room, header, value):
    assert send_message(room, make_request(room), **{header: value}).fault == MESSAGE


@pytest.mark.parametrize(
    "line",
    [
        b"host:elsewhere",
        b"transfer-encoding:chunked",
        b"Content-Length:3",
        b"connection:upgrade",
        b"x-road-id:TWICE",
        b"x-road-client:TEST/GOV/70000101/police",
        b"X-Road-Request-Id:another",
        b"no colon",
        b"x: \x00",
        b"bad name : x",
    ],
)
def test_tm08_headers_that_must_not_be_in_a_signed_part_are_refused(room, line):
    whole = make_request(room)
    part = whole.find(REST_REQUEST) + line + b"\r\n"
    message = make_request(room, signed={"/message.xml": part, "/attachment1": whole.find(REST_BODY)})
    answer = send_message(room, message.changed(REST_REQUEST, lambda _: part))
    assert answer.fault == MESSAGE


@pytest.mark.parametrize("target", [f"{DOCUMENTS.path}/a%2Fb", f"{DOCUMENTS.path}/../x", f"{DOCUMENTS.path}//x"])
def test_tm08_an_ambiguous_path_in_a_signed_part_is_refused(room, target):
    assert send_message(room, make_request(room, target=target)).fault == "server.serverproxy.invalid_request"


def test_tm08_an_overriding_header_in_a_signed_part_is_refused(room):
    message = make_request(room, headers=[("X-HTTP-Method-Override", "DELETE")])
    assert send_message(room, message).fault == "server.serverproxy.access_denied"


def test_tm08_an_xml_bomb_for_a_signature_is_refused(room):
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    answer = send_message(room, make_request(room).changed(SIGNATURE, lambda _: bomb))
    assert answer.fault in {"server.serverproxy.malformed_signature", "server.serverproxy.invalid_xml"}


# ------------------------------------------------------------------ HTTP


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding: gzip, chunked",
        b"X: a\r\n folded",
        b"X: a\nY: b",
        b"X : a",
    ],
)
def test_tm08_a_request_that_can_be_framed_in_two_ways_is_refused_and_the_connection_closed(room, lines):
    with connected(room) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n" + lines + b"\r\n\r\n")
        assert read_answer(connection).status == 400
        assert connection.recv(1) == b""


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1", b"POST /elsewhere HTTP/1.1", b"PUT / HTTP/1.1"])
def test_tm08_anything_but_a_message_is_refused(room, head):
    assert send(room, head + b"\r\nContent-Length: 0\r\n\r\n").fault == MESSAGE


def test_tm08_a_head_without_end_is_cut_off(room):
    with connected(room) as connection, contextlib.suppress(OSError):
        connection.sendall(b"POST / HTTP/1.1\r\n")
        for _ in range(100):
            connection.sendall(b"X: " + b"y" * 1000 + b"\r\n")
        assert read_answer(connection).status == 400


def test_tm08_a_length_beyond_the_limit_is_refused_before_the_body_comes(room):
    with connected(room) as connection:
        message = make_request(room).http(content_length="100000000")
        connection.sendall(message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert read_answer(connection).fault is not None


def test_tm08_a_kept_connection_serves_message_after_message(room):
    with connected(room) as connection:
        for _ in range(3):
            connection.sendall(make_request(room).http())
            assert read_answer(connection).fault is None
        connection.sendall(make_request(room).http(connection="close"))
        assert read_answer(connection).fault is None
        assert connection.recv(1) == b""
    room.provider.asked.clear()


def test_tm08_bytes_one_by_one_are_a_message_like_any_other(room):
    data = make_request(room, body=b"x").http()
    with connected(room) as connection:
        for position in range(0, len(data), 7):
            connection.sendall(data[position : position + 7])
        assert read_answer(connection).fault is None
    room.provider.asked.clear()


# ------------------------------------------------------------------ cuts and slow senders


# One place in every class of bytes: what stands there, and how far inside it.
PLACES = {
    "before anything": (b"POST", 0),
    "request line": (b"POST", 7),
    "between CR and LF": (b"\r\n", 1),
    "HTTP header name": (b"x-road-message-type", 5),
    "HTTP header value": (b"multipart/mixed", 5),
    "end of head": (b"\r\n\r\n", 2),
    "after head": (b"\r\n\r\n", 4),
    "boundary": (b"\r\n\r\n", 13),
    "part header": (b"content-type: application/ocsp", 7),
    "OCSP response": (b"application/ocsp-response", 100),
    "REST part": (b"X-Road-Client", 5),
    "end of REST part": (b"x-road-request-id:78", 30),
    "body": (b"application/x-road-rest-body", 40),
    "signature": (b"SignatureValue", 5),
    "last boundary": (f"--{BOUNDARY}--".encode(), 10),
    "last dashes": (f"--{BOUNDARY}--".encode(), -1),
    "last CRLF": (f"--{BOUNDARY}--\r\n".encode(), -1),
}


@pytest.mark.parametrize("place", PLACES)
def test_tm08_a_connection_that_is_cut_delivers_nothing(room, place):
    data = make_request(room, body=b"b" * 100).http()
    with connected(room) as connection:
        mark, inside = PLACES[place]
        connection.sendall(data[: data.index(mark) + (inside if inside >= 0 else len(mark) + inside)])
        connection.shutdown(socket.SHUT_RDWR)


def test_tm08_a_cut_inside_a_large_body_leaves_no_file(room):
    data = make_request(room, body=b"b" * 500_000).http()
    with connected(room) as connection:
        connection.sendall(data[:300_000])
        wait_until(lambda: bool(list((room.folder / "state" / "spool").iterdir())))
    wait_until(lambda: not list((room.folder / "state" / "spool").iterdir()))


def test_tm08_an_information_system_that_is_cut_inside_its_request_sends_nothing(room):
    for size, body in ((20, b"x" * 10), (500_000, b"x" * 300_000)):
        with socket.create_connection(("127.0.0.1", room.private.settings.listeners.http_port)) as connection:
            head = f"POST {DOCUMENTS.path} HTTP/1.1\r\nX-Road-Client: {LOANS}\r\nContent-Length: {size}\r\n\r\n"
            connection.sendall(head.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                assert read_answer(connection).status in (400, 500)


SLOW = {"timeouts": {"idle_seconds": 0.3, "head_seconds": 0.3, "body_seconds": 0.3, "handshake_seconds": 0.5}}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    patience, connections.SWEEP_SECONDS = connections.SWEEP_SECONDS, 0.05
    try:
        with exchange_room(tmp_path_factory.mktemp("tm08-hasty"), changes=SLOW) as hasty:
            yield hasty
    finally:
        connections.SWEEP_SECONDS = patience


def is_cut_off(connection: socket.socket) -> bool:
    connection.settimeout(5)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("stage", ["idle", "head", "envelope", "body"])
def test_tm08_a_slow_sender_is_cut_off_at_every_stage(hasty, stage):
    data = make_request(hasty, body=b"b" * 100).http()
    sent = {
        "idle": 0,
        "head": 30,
        "envelope": data.index(b"\r\n\r\n") + 30,
        "body": data.index(b"x-road-rest-body") + 40,
    }[stage]
    with connected(hasty) as connection:
        connection.sendall(data[:sent])
        began = time.monotonic()
        assert is_cut_off(connection)
        assert time.monotonic() - began < 4
    assert hasty.provider.asked == []


@pytest.mark.parametrize("sent", ["", "POST /r1/", "head", "body"])
def test_tm08_a_slow_information_system_is_cut_off_at_every_stage(hasty, sent):
    head = f"POST {DOCUMENTS.path} HTTP/1.1\r\nX-Road-Client: {LOANS}\r\nContent-Length: 100\r\n\r\n"
    data = {"head": head, "body": head + "b" * 50}.get(sent, sent)
    with socket.create_connection(("127.0.0.1", hasty.private.settings.listeners.http_port)) as connection:
        connection.sendall(data.encode())
        began = time.monotonic()
        assert is_cut_off(connection)
        assert time.monotonic() - began < 4
    assert hasty.provider.asked == []


def test_tm08_a_byte_now_and_then_does_not_keep_a_connection(hasty):
    data = make_request(hasty, body=b"b" * 1000).http()
    start = data.index(b"x-road-rest-body") + 40
    with connected(hasty) as connection:
        connection.sendall(data[:start])
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for position in range(start, start + 200):
                connection.sendall(data[position : position + 1])
                time.sleep(0.05)
        assert time.monotonic() - began < 4
    assert hasty.provider.asked == []


def test_tm08_who_does_not_finish_the_handshake_is_cut_off(hasty):
    port = hasty.state.settings.listeners.message_port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"\x16\x03\x01")
        assert is_cut_off(connection)


def test_tm08_strangers_who_only_connect_do_not_take_the_descriptors(tmp_path):
    limits = {"limits": {"max_connections": 8, "max_connections_of_server": 3}}
    with exchange_room(tmp_path, changes=limits) as room:
        port = room.state.settings.listeners.message_port
        with contextlib.ExitStack() as stack:
            # not one of them says a word, and none is waited for until the time for a handshake is over
            strangers = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
            wait_until(lambda: sum(map(is_closed, strangers)) >= 17, seconds=3)
        wait_until(lambda: room.ask().status_code == 200)


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
