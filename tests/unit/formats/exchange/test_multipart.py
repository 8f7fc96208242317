import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.exchange.multipart import (
    MAX_PART_HEADER_BYTES,
    Event,
    MultipartLimits,
    MultipartParser,
    PartData,
    PartEnd,
    PartStart,
    content_type_of,
    parse_boundary,
    write_envelope,
)
from digiid.kernel.errors import Malformed

B = "xtopAbCdEfGhIjKlMnOpQrStUvWxYzAbCd"
PARTS = [
    ("application/ocsp-response", b"\x30\x00\r\n--"),
    ("application/x-road-rest-request", b"GET\r\n/r1/\r\n"),
    ("application/x-road-rest-body", b"\r\n--xtop\r\n\r\r\n"),
    ("signature/bdoc-1.0/ts", b""),
]
ENVELOPE = b"".join(write_envelope(B, [(kind, iter([body])) for kind, body in PARTS]))


def read(pieces: list[bytes], limits: MultipartLimits | None = None, boundary: str = B) -> list[tuple[str, bytes]]:
    parser = MultipartParser(boundary, limits)
    events: list[Event] = [event for piece in pieces for event in parser.feed(piece)]
    parser.finish()
    return joined(events)


def joined(events: list[Event]) -> list[tuple[str, bytes]]:
    parts: list[tuple[str, bytes]] = []
    is_open = False
    for event in events:
        match event:
            case PartStart(content_type):
                assert not is_open
                parts.append((content_type, b""))
                is_open = True
            case PartData(data):
                assert is_open and data
                parts[-1] = (parts[-1][0], parts[-1][1] + data)
            case PartEnd():
                assert is_open
                is_open = False
    assert not is_open
    return parts


def test_the_writer_writes_the_documented_bytes():
    written = b"".join(write_envelope("b", [("a/b", [b"one\r\n"]), ("c/d", [b"t", b"wo"])]))
    assert written == b"--b\r\ncontent-type: a/b\r\n\r\none\r\n\r\n--b\r\ncontent-type: c/d\r\n\r\ntwo\r\n--b--\r\n"


def test_an_envelope_is_read_as_it_was_written():
    assert read([ENVELOPE]) == PARTS
    assert read([ENVELOPE[:-2]]) == PARTS  # the last CRLF may be missing (RFC 2046)


def test_every_single_cut_gives_the_same_events():
    for at in range(len(ENVELOPE) + 1):
        assert read([ENVELOPE[:at], ENVELOPE[at:]]) == PARTS
    assert read([ENVELOPE[at : at + 1] for at in range(len(ENVELOPE))]) == PARTS


@given(st.lists(st.integers(0, len(ENVELOPE)), max_size=12))
def test_any_chunking_gives_the_same_events(cuts):
    places = [0, *sorted(cuts), len(ENVELOPE)]
    assert read([ENVELOPE[a:b] for a, b in itertools.pairwise(places)]) == PARTS


@given(st.lists(st.lists(st.sampled_from([b"\r", b"\n", b"-", b"b", b"x", b"--", b"\r\n"])).map(b"".join), min_size=1))
def test_bodies_that_look_like_delimiters_come_out_whole(bodies):
    boundary = "bxbx-bx"
    if any(f"\r\n--{boundary}".encode() in b"\r\n" + body for body in bodies):
        return
    parts = [("a/b", body) for body in bodies]
    written = b"".join(write_envelope(boundary, [(kind, [body]) for kind, body in parts]))
    assert read([written[at : at + 3] for at in range(0, len(written), 3)], MultipartLimits(1000), boundary) == parts


def test_a_stream_cut_off_anywhere_is_an_error():
    for at in range(len(ENVELOPE) - 2):
        with pytest.raises(Malformed):
            read([ENVELOPE[:at]])


def test_memory_does_not_grow_with_the_body():
    parser = MultipartParser(B, MultipartLimits(max_other_bytes=10**9))
    parser.feed(f"--{B}\r\ncontent-type: a/b\r\n\r\n".encode())
    for _ in range(100):
        (event,) = parser.feed(b"x" * 1000)
        assert event == PartData(b"x" * 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"preamble\r\n" + ENVELOPE,
        b"\r\n" + ENVELOPE,
        ENVELOPE + b"x",
        ENVELOPE + b"\r\n",
        f"--{B}--\r\n".encode(),
        ENVELOPE.replace(b"\r\ncontent", b" \r\ncontent"),
        ENVELOPE.replace(b"\r\n", b"\n"),
        ENVELOPE.replace(b"content-type: ", b"content-type "),
        ENVELOPE.replace(b"content-type: ", b"content-disposition: "),
        ENVELOPE.replace(b"content-type: ", b"x-other: a\r\ncontent-type: "),
        ENVELOPE.replace(b"application/ocsp-response", b"a/b\r\ncontent-transfer-encoding: base64"),
        ENVELOPE.replace(b"application/ocsp-response", b"application/ocsp-response;\r\n charset=x"),
        ENVELOPE.replace(b"application/ocsp-response", b"a" * MAX_PART_HEADER_BYTES + b"/b"),
        ENVELOPE.replace(b"application/ocsp-response", b"application"),
        ENVELOPE.replace(b"application/ocsp-response", b"appli\xe4/x"),
    ],
)
def test_anything_else_is_malformed_however_it_is_cut(data):
    for size in (1, 7, len(data)):
        with pytest.raises(Malformed):
            read([data[at : at + size] for at in range(0, len(data), size)])


def test_limits_on_parts_and_their_sizes():
    assert read([ENVELOPE], MultipartLimits(max_parts=4)) == PARTS
    for limits in (
        MultipartLimits(max_parts=3),
        MultipartLimits(max_other_bytes=11),
        MultipartLimits(max_bytes_of={"application/ocsp-response": 5}),
    ):
        for size in (1, 5, len(ENVELOPE)):
            with pytest.raises(Malformed):
                read([ENVELOPE[at : at + size] for at in range(0, len(ENVELOPE), size)], limits)


def test_a_refused_envelope_stays_refused():
    parser = MultipartParser(B)
    for _ in range(2):
        with pytest.raises(Malformed):
            parser.feed(b"x")
    with pytest.raises(Malformed):
        parser.finish()


def test_the_boundary_is_read_from_the_content_type():
    assert parse_boundary(content_type_of(B)) == B
    assert parse_boundary(f'Multipart/Mixed;boundary="{B}"') == B


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text/xml",
        "multipart/mixed",
        "multipart/related; boundary=b",
        "multipart/mixed; boundary=",
        "multipart/mixed; boundary=a; boundary=b",
        'multipart/mixed; boundary="a\r\nb"',
        "multipart/mixed; boundary=" + "a" * 71,
        "multipart/mixed; boundary=a b",
        "multipart/mixed; boundary=õ",
    ],
)
def test_other_content_types_are_malformed(value):
    with pytest.raises(Malformed):
        parse_boundary(value)


@pytest.mark.parametrize(
    "header", [b"/;" * 500 + b"\x80", b"a/" + b"/" * 990 + b"\x80", b"a/b" + b" ;" * 480 + b"\x80"]
)
def test_a_header_that_is_made_to_be_tried_in_many_ways_costs_little(header: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(Malformed, match="header"):
        MultipartParser(B).feed(f"--{B}\r\ncontent-type: ".encode() + header + b"\r\n\r\n")
    assert time.process_time() - begin < 0.2
