"""HTTP/1.1 framing (RFC 9112), narrowed: bytes in, values out; no socket is touched here.

llhttp's leniencies, and its silence about HEAD, are why this is ours: there is one way to read a message, and what two
programs on the way could frame differently is refused. Not supported, and refused: folded lines, bare CR and LF, both
framings in one message, a framing given twice, chunk extensions, trailers, other transfer codings, HTTP/1.0 with a
transfer coding, request targets that are not a path.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from digiid.formats.exchange.rest_message import Header
from digiid.kernel.errors import Malformed

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 128
MAX_LINE_BYTES: Final = 16 * 1024

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # RFC 9110 §5.6.2
_FIELDS = rb"((?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"  # RFC 9112 §5, without obs-fold
_REQUEST = re.compile(rb"(" + _TOKEN + rb") (/[\x21-\x7e]*+) HTTP/1\.([01])\r\n" + _FIELDS)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + _FIELDS)
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_CHUNK_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,8})")
_MAX_SIZE_LINE: Final = 32
WITHOUT_BODY: Final = frozenset((204, 304))


@dataclass(frozen=True, slots=True)
class Framing:
    """How long a body is: `length` bytes, or chunked, or (responses only) until the connection ends."""

    length: int | None = 0
    is_chunked: bool = False

    @property
    def is_until_close(self) -> bool:
        return self.length is None and not self.is_chunked

    @property
    def is_empty(self) -> bool:
        return self.length == 0


class Fields:
    """The headers of one head, in their order and case; found by their names in lower case."""

    __slots__ = ("_values", "all")

    def __init__(self, headers: tuple[Header, ...]) -> None:
        self.all = headers
        self._values: dict[str, list[str]] = {}
        for name, value in headers:
            self._values.setdefault(name.lower(), []).append(value)

    def find(self, name: str) -> str | None:
        """The first value."""
        values = self._values.get(name)
        return values[0] if values else None

    def find_all(self, name: str) -> list[str]:
        return self._values.get(name, [])


@dataclass(frozen=True, slots=True)
class RequestHead:
    method: str
    target: str
    fields: Fields = field(repr=False)
    framing: Framing
    keeps_alive: bool
    expects_continue: bool

    @property
    def headers(self) -> tuple[Header, ...]:
        return self.fields.all

    def find(self, name: str) -> str | None:
        """The first value of a header, its name in lower case."""
        return self.fields.find(name)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    status: int
    reason: str
    fields: Fields = field(repr=False)
    framing: Framing
    keeps_alive: bool

    @property
    def headers(self) -> tuple[Header, ...]:
        return self.fields.all

    def find(self, name: str) -> str | None:
        """The first value of a header, its name in lower case."""
        return self.fields.find(name)


# ------------------------------------------------------------------ reading heads


def parse_request_head(head: bytes) -> RequestHead:
    """Read a request up to and with its empty line. Raises: Malformed `exchange.http.…`."""
    found = _REQUEST.fullmatch(head)
    if found is None:
        raise Malformed("exchange.http.head", "not a request of HTTP/1.1, or a line that can be read in two ways")
    fields = _read_fields(found[4])
    is_1_1 = found[3] == b"1"
    length, is_chunked = _read_framing(fields, is_1_1=is_1_1)
    expectation = fields.find("expect")
    if expectation is not None and expectation.lower() != "100-continue":
        raise Malformed("exchange.http.expect", "an expectation that is not known")
    return RequestHead(
        method=found[1].decode("ascii"),
        target=found[2].decode("ascii"),
        fields=fields,
        framing=Framing(length or 0) if not is_chunked else Framing(None, True),
        keeps_alive=is_1_1 and not _has_close(fields),
        expects_continue=is_1_1 and expectation is not None,
    )


def parse_response_head(head: bytes, *, method: str) -> ResponseHead:
    """Read the head of the response to a request by `method`. Raises: Malformed `exchange.http.…`."""
    found = _RESPONSE.fullmatch(head)
    if found is None:
        raise Malformed("exchange.http.head", "not a response of HTTP/1.1, or a line that can be read in two ways")
    fields = _read_fields(found[4])
    status, is_1_1 = int(found[2]), found[1] == b"1"
    length, is_chunked = _read_framing(fields, is_1_1=is_1_1)
    framing = Framing(None, True) if is_chunked else Framing(length)
    if method == "HEAD" or status in WITHOUT_BODY or status < 200:
        framing = Framing(0)  # RFC 9112 §6.3: whatever the headers say about another one
    return ResponseHead(
        status=status,
        reason=_decode(found[3] or b""),
        fields=fields,
        framing=framing,
        keeps_alive=is_1_1 and not framing.is_until_close and not _has_close(fields),
    )


def _read_fields(block: bytes) -> Fields:
    lines = _decode(block).split("\r\n")
    lines.pop()
    if len(lines) > MAX_FIELDS:
        raise Malformed("exchange.http.header_count", f"more than {MAX_FIELDS} headers")
    headers = []
    for each in lines:
        if len(each) > MAX_LINE_BYTES:
            raise Malformed("exchange.http.too_large", "a header is too long")
        name, _, value = each.partition(":")
        headers.append((name, value.strip(" \t")))
    return Fields(tuple(headers))


def _read_framing(fields: Fields, *, is_1_1: bool) -> tuple[int | None, bool]:
    lengths, codings = fields.find_all("content-length"), fields.find_all("transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Malformed("exchange.http.framing", "more than one length of the body")
    if codings:
        if codings[0].lower() != "chunked" or not is_1_1:
            raise Malformed("exchange.http.framing", "a transfer coding that is not read")
        return None, True
    if not lengths:
        return None, False
    if not _LENGTH.fullmatch(lengths[0]):
        raise Malformed("exchange.http.framing", "not a length")
    return int(lengths[0]), False


def _has_close(fields: Fields) -> bool:
    return any(
        token.strip().lower() == "close" for value in fields.find_all("connection") for token in value.split(",")
    )


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")  # as the signed parts have it; nothing is read in two ways
    except UnicodeDecodeError as error:
        raise Malformed("exchange.http.encoding", "a header that is not UTF-8") from error


# ------------------------------------------------------------------ reading bodies


class BodyDecoder:
    """Takes a body off the stream. `rest` is what came after its end, once `is_done`."""

    def __init__(self, framing: Framing) -> None:
        self._is_chunked = framing.is_chunked
        self._is_until_close = framing.is_until_close
        self._room = framing.length or 0  # of the body, or of the present chunk
        self._after_chunk = False
        self._is_last = False
        self._kept = b""
        self.is_done = framing.is_empty
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body that these bytes bring. Raises: Malformed `exchange.http.framing`."""
        if self._is_chunked:
            return self._feed_chunked(data)
        if self._is_until_close:
            return data
        if len(data) < self._room:
            self._room -= len(data)
            return data
        self.is_done = True
        if len(data) == self._room:
            return data
        body, self.rest = data[: self._room], data[self._room :]
        return body

    def finish(self) -> None:
        """The stream has ended. Raises: Malformed `exchange.http.truncated`."""
        if self._is_until_close:
            self.is_done = True
        if not self.is_done:
            raise Malformed("exchange.http.truncated", "the connection was cut inside a body")

    def _feed_chunked(self, data: bytes) -> bytes:
        if self._kept:
            data, self._kept = self._kept + data, b""
        at, pieces = 0, []
        while True:
            if self._room:
                piece = data[at : at + self._room]
                at += len(piece)
                self._room -= len(piece)
                if piece:
                    pieces.append(piece)
                if self._room:
                    break
                self._after_chunk = True
            # 1 the CRLF behind a chunk, or behind the last one
            if self._after_chunk:
                mark = data[at : at + 2]
                if not b"\r\n".startswith(mark):
                    raise Malformed("exchange.http.framing", "a chunk is longer than it says, or a trailer follows")
                if len(mark) < 2:
                    self._kept = mark
                    break
                at += 2
                self._after_chunk = False
                if self._is_last:
                    self.is_done, self.rest = True, data[at:]
                    break
            # 2 the size of the next one
            end = data.find(b"\r\n", at, at + _MAX_SIZE_LINE)
            if end < 0:
                self._kept = data[at:]
                if len(self._kept) >= _MAX_SIZE_LINE:
                    raise Malformed("exchange.http.framing", "not the size of a chunk")
                break
            size = _CHUNK_SIZE.fullmatch(data, at, end)
            if size is None:
                raise Malformed("exchange.http.framing", "not the size of a chunk")
            at = end + 2
            self._room = int(size[1], 16)
            if not self._room:
                self._is_last = self._after_chunk = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


# ------------------------------------------------------------------ writing


def encode_head(first_line: str, headers: Iterable[Header]) -> bytes:
    """A head with its empty line. Names and values were checked where they came in."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{first_line}\r\n{lines}\r\n".encode()


def encode_chunk(data: bytes) -> bytes:
    """One chunk; no data would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"
