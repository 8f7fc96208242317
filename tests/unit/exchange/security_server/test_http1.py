"""HTTP/1.1 is read in one way only: what could be framed differently elsewhere is refused (TM-08)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.exchange.security_server.http1 import (
    LAST_CHUNK,
    MAX_FIELDS,
    BodyDecoder,
    Framing,
    encode_chunk,
    parse_request_head,
    parse_response_head,
)
from digiid.kernel.errors import Malformed


def request(*lines: bytes, first: bytes = b"POST /r1/x HTTP/1.1") -> bytes:
    return b"".join(line + b"\r\n" for line in (first, *lines)) + b"\r\n"


def test_a_request_is_read_with_its_headers_in_order_and_case():
    head = parse_request_head(request(b"Host: x", b"X-Name:  a value \t", b"x-name:b", b"Content-Length: 3"))
    assert (head.method, head.target) == ("POST", "/r1/x")
    assert head.headers == (("Host", "x"), ("X-Name", "a value"), ("x-name", "b"), ("Content-Length", "3"))
    assert head.framing == Framing(3)
    assert head.keeps_alive
    assert head.find("x-name") == "a value"


def test_a_request_without_a_length_has_no_body():
    assert parse_request_head(request()).framing.is_empty


@pytest.mark.parametrize(
    "head",
    [
        request(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        request(b"Content-Length: 3", b"Content-Length: 3"),
        request(b"Content-Length: 3", b"content-length: 4"),
        request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        request(b"Transfer-Encoding: gzip, chunked"),
        request(b"Transfer-Encoding: identity"),
        request(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
        request(b"Content-Length: +3"),
        request(b"Content-Length: -3"),
        request(b"Content-Length: 3, 3"),
        request(b"Content-Length: 0x3"),
        request("Content-Length: ٣".encode()),
        request(b"Content-Length:"),
        request(b"Content-Length: 9999999999999999"),
        request(b"Transfer-Encoding : chunked"),
        request(b"X: a", b" folded"),
        request(b"X: a", b"\tfolded"),
        request(b": no name"),
        request(b"no colon"),
        request(b"X: a\rb"),
        request(b"X: a\nY: b"),
        request(b"X: a\x00b"),
        request(b"X: a\x7fb"),
        request(b"X: \xff\xfe"),
        request(b"X(y): a"),
        request(b"Expect: something else"),
        request(first=b"POST  / HTTP/1.1"),
        request(first=b"POST /a b HTTP/1.1"),
        request(first=b"POST http://elsewhere/ HTTP/1.1"),
        request(first=b"POST * HTTP/1.1"),
        request(first=b"POST / HTTP/2.0"),
        request(first=b"POST / HTTP/1.1 "),
        request(first=b" POST / HTTP/1.1"),
        request(first=b"POST / http/1.1"),
        request(first=b"POST /\xc3\xa4 HTTP/1.1"),
        b"\r\n" + request(),
        b"POST / HTTP/1.1\nHost: x\r\n\r\n",
        request(*(b"X: y" for _ in range(MAX_FIELDS + 1))),
        request(b"X: " + b"y" * 17_000),
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(head):
    with pytest.raises(Malformed) as refusal:
        parse_request_head(head)
    assert refusal.value.code.startswith("exchange.http.")


def test_connection_close_ends_the_connection():
    assert not parse_request_head(request(b"Connection: keep-alive, Close")).keeps_alive
    assert not parse_request_head(request(first=b"GET / HTTP/1.0")).keeps_alive


def response(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return request(*lines, first=first)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 103)])
def test_some_responses_have_no_body_whatever_they_say(method, status):
    first = f"HTTP/1.1 {status} Word".encode()
    head = parse_response_head(response(b"Content-Length: 10", first=first), method=method)
    assert head.framing.is_empty


def test_a_response_without_a_length_goes_on_until_the_connection_ends():
    head = parse_response_head(response(), method="GET")
    assert head.framing.is_until_close
    assert not head.keeps_alive


@pytest.mark.parametrize("first", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK"])
def test_reasons_may_be_absent(first):
    assert parse_response_head(response(b"Content-Length: 0", first=first), method="GET").status == 200


@pytest.mark.parametrize(
    "head",
    [
        response(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        response(b"Content-Length: 3", b"Content-Length: 3"),
        response(first=b"HTTP/1.1 2000 OK"),
        response(first=b"HTTP/1.1 099 OK"),
        response(first=b"HTTP/3 200 OK"),
        response(first=b"ICY 200 OK"),
    ],
)
def test_a_response_that_can_be_read_in_two_ways_is_refused(head):
    with pytest.raises(Malformed):
        parse_response_head(head, method="GET")


def decode(framing: Framing, pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    decoder, body = BodyDecoder(framing), b""
    rest = b""
    for piece in pieces:
        if decoder.is_done:
            rest += piece
            continue
        body += decoder.feed(piece)
        rest += decoder.rest
        decoder.rest = b""
    return body, rest, decoder.is_done


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a != b]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=10), st.lists(st.integers(0, 400)))
def test_a_chunked_body_comes_out_however_it_was_cut(chunks, after, places):
    stream = b"".join(map(encode_chunk, chunks)) + LAST_CHUNK + after
    assert decode(Framing(None, True), cut(stream, places)) == (b"".join(chunks), after, True)


@given(st.binary(max_size=60), st.binary(max_size=10), st.lists(st.integers(0, 100)))
def test_a_body_with_a_length_comes_out_however_it_was_cut(body, after, places):
    expected = (body, after, True)
    assert decode(Framing(len(body)), cut(body + after, places)) == expected


@pytest.mark.parametrize(
    "stream",
    [
        b"3;name=value\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n" + b"x" * 40,
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"0\r\nTrailer: x\r\n\r\n",
        b"fffffffff\r\n",
        b"0" * 64,
    ],
)
def test_chunks_that_can_be_read_in_two_ways_are_refused(stream):
    decoder = BodyDecoder(Framing(None, True))
    with pytest.raises(Malformed):
        decoder.feed(stream)


@pytest.mark.parametrize(
    "stream", [b"", b"3", b"3\r\n", b"3\r\nab", b"3\r\nabc", b"3\r\nabc\r\n", b"0\r\n", b"0\r\n\r"]
)
def test_a_chunked_body_that_is_cut_is_not_whole(stream):
    decoder = BodyDecoder(Framing(None, True))
    decoder.feed(stream)
    assert not decoder.is_done
    with pytest.raises(Malformed, match="truncated"):
        decoder.finish()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_malformed(data):
    for parse in (parse_request_head, lambda head: parse_response_head(head, method="GET")):
        try:
            parse(data + b"\r\n\r\n")
        except Malformed:
            pass
