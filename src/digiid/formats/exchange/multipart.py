"""The multipart envelope between two security servers (X-Road message transport protocol; RFC 2046 §5.1.1, narrowed).

Written without preamble, with one header per part, `content-type`, and no transfer encoding. The parser takes the
stream in pieces of any size and keeps no body in memory: it gives events. Not supported, and refused: preamble and
epilogue, other part headers, folded lines, transfer encodings, padding after a delimiter.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Literal

from digiid.kernel.errors import Malformed

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")  # RFC 2046 §5.1.1, without the space
_MULTIPART = {subtype: re.compile(rf"multipart/{subtype}\s*(;.*)?", re.IGNORECASE) for subtype in ("mixed", "related")}
_PARAMETER = re.compile(r';\s*([a-z-]+)=(?:"([^"\\]*)"|([^\s;"]+))\s*', re.IGNORECASE)
_WORD = r"!#$%&'*+.^_`|~0-9A-Za-z-"  # RFC 9110 §5.6.2: no slash, no semicolon, so that there is one way to match
_CONTENT_TYPE = re.compile(rf"[{_WORD}]+/[{_WORD}/]+( *;[\x20-\x7e]*)?")  # signature/bdoc-1.0/ts has two slashes

_CRLF = "\r\n"
_USUAL: Final = "multipart/mixed; charset=UTF-8; boundary="
MAX_PART_HEADER_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class PartStart:
    """A part begins. `content_type` is in lower case, without parameters."""

    content_type: str


@dataclass(frozen=True, slots=True)
class PartData:
    """Some more bytes of the part, never empty."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


Event = PartStart | PartData | PartEnd


@dataclass(frozen=True, slots=True)
class MultipartLimits:
    """What one envelope may cost. A part whose type is not in `max_bytes_of` may have `max_other_bytes`."""

    max_parts: int = 16
    max_other_bytes: int = 1024**2
    max_bytes_of: Mapping[str, int] = field(default_factory=dict)


# ------------------------------------------------------------------ writing


def content_type_of(boundary: str) -> str:
    """The HTTP header of an envelope."""
    return _USUAL + boundary


def open_part(boundary: str, content_type: str, *, is_first: bool) -> bytes:
    """What stands before a part's bytes. Raises: Malformed `exchange.multipart.header`."""
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise Malformed("exchange.multipart.header", "not a content type")
    return f"{'' if is_first else _CRLF}--{boundary}\r\ncontent-type: {content_type}\r\n\r\n".encode("latin-1")


def close_envelope(boundary: str) -> bytes:
    """What stands after the last part's bytes."""
    return f"\r\n--{boundary}--\r\n".encode("latin-1")


def write_envelope(boundary: str, parts: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """The whole envelope in pieces, each body as its own iterator gives it."""
    is_first = True
    for content_type, body in parts:
        yield open_part(boundary, content_type, is_first=is_first)
        yield from body
        is_first = False
    yield close_envelope(boundary)


# ------------------------------------------------------------------ reading


def parse_boundary(content_type: str, *, subtype: Literal["mixed", "related"] = "mixed") -> str:
    """The boundary that the HTTP header names; `related` is for OCSP responses on their own port.

    Raises: Malformed `exchange.multipart.content_type`.
    """
    if subtype == "mixed" and content_type.startswith(_USUAL) and _BOUNDARY.fullmatch(content_type, len(_USUAL)):
        return content_type[len(_USUAL) :]  # as it is written above: a boundary has neither quotes nor semicolons
    found = _MULTIPART[subtype].fullmatch(content_type) if len(content_type) <= MAX_PART_HEADER_BYTES else None
    if found is None:
        raise Malformed("exchange.multipart.content_type", f"not multipart/{subtype}")
    parameters = found[1] or ""
    read = list(_PARAMETER.finditer(parameters))
    boundaries = [each[2] or each[3] for each in read if each[1].lower() == "boundary"]
    if "".join(each[0] for each in read) != parameters or len(boundaries) != 1:
        raise Malformed("exchange.multipart.content_type", "there is not exactly one boundary")
    if not boundaries[0] or not _BOUNDARY.fullmatch(boundaries[0]):
        raise Malformed("exchange.multipart.content_type", "not a boundary")
    return boundaries[0]


class _State(Enum):
    BEFORE_FIRST = auto()
    AFTER_DELIMITER = auto()
    HEADERS = auto()
    BODY = auto()
    END = auto()
    FAILED = auto()


class MultipartParser:
    """Takes pieces by `feed`, gives events, and is told by `finish` that the stream has ended.

    The events do not depend on how the stream was cut, but for where one PartData ends and the next begins. After an
    error every further call is an error.
    """

    def __init__(self, boundary: str, limits: MultipartLimits | None = None) -> None:
        self._first = f"--{boundary}".encode("latin-1")
        self._delimiter = b"\r\n" + self._first
        self._limits = limits or MultipartLimits()
        self._buffer = b""
        self._state = _State.BEFORE_FIRST
        self._parts = 0
        self._room = 0  # bytes that the current part may still have

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete. Raises: Malformed `exchange.multipart.…`."""
        if self._state is _State.FAILED:
            raise Malformed("exchange.multipart.delimiter", "the envelope was refused before")
        self._buffer += data
        events: list[Event] = []
        try:
            while self._step(events):
                pass
        except Malformed:
            self._state = _State.FAILED
            raise
        return events

    def finish(self) -> None:
        """The stream has ended. Raises: Malformed `exchange.multipart.truncated`."""
        if self._state is not _State.END or self._buffer not in (b"", b"\r\n"):
            self._state = _State.FAILED
            raise Malformed("exchange.multipart.truncated", "the envelope is cut off")

    def _step(self, events: list[Event]) -> bool:
        """Read one thing off the buffer; False when that needs more bytes."""
        match self._state:
            case _State.BEFORE_FIRST:
                return self._read_first()
            case _State.AFTER_DELIMITER:
                return self._read_after_delimiter()
            case _State.HEADERS:
                return self._read_headers(events)
            case _State.BODY:
                return self._read_body(events)
            case _:
                return self._read_end()

    def _read_first(self) -> bool:
        if not (self._first.startswith(self._buffer) or self._buffer.startswith(self._first)):
            raise Malformed("exchange.multipart.delimiter", "the envelope does not begin with its boundary")
        if len(self._buffer) < len(self._first):
            return False
        self._take(len(self._first))
        self._state = _State.AFTER_DELIMITER
        return True

    def _read_after_delimiter(self) -> bool:
        if len(self._buffer) < 2:
            return False
        mark = self._take(2)
        if mark == b"\r\n":
            self._state = _State.HEADERS
        elif mark == b"--" and self._parts:
            self._state = _State.END
        else:
            raise Malformed("exchange.multipart.delimiter", "a boundary with something after it, or no part at all")
        return True

    def _read_headers(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_PART_HEADER_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_PART_HEADER_BYTES:
                raise Malformed("exchange.multipart.header", "the headers of a part are too long")
            return False
        content_type = _parse_part_header(self._take(end + 4)[:-4])
        self._parts += 1
        if self._parts > self._limits.max_parts:
            raise Malformed("exchange.multipart.part_count", f"more than {self._limits.max_parts} parts")
        self._room = self._limits.max_bytes_of.get(content_type, self._limits.max_other_bytes)
        self._state = _State.BODY
        events.append(PartStart(content_type))
        return True

    def _read_body(self, events: list[Event]) -> bool:
        end = self._buffer.find(self._delimiter)
        if end < 0:
            # What could be the beginning of a delimiter stays until it is told.
            self._give(events, len(self._buffer) - _overlap(self._buffer, self._delimiter))
            return False
        self._give(events, end)
        self._take(len(self._delimiter))
        events.append(PartEnd())
        self._state = _State.AFTER_DELIMITER
        return True

    def _read_end(self) -> bool:
        if not b"\r\n".startswith(self._buffer):
            raise Malformed("exchange.multipart.epilogue", "there is something after the end")
        return False

    def _give(self, events: list[Event], length: int) -> None:
        if length > self._room:
            raise Malformed("exchange.multipart.too_large", "a part is longer than allowed")
        if length:
            self._room -= length
            events.append(PartData(self._take(length)))

    def _take(self, length: int) -> bytes:
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken


def _parse_part_header(lines: bytes) -> str:
    name, colon, value = lines.decode("latin-1").partition(":")
    value = value.strip(" ")
    if not colon or name.lower() != "content-type" or not _CONTENT_TYPE.fullmatch(value):
        raise Malformed("exchange.multipart.header", "a part has exactly one header, its content type")
    return value.partition(";")[0].strip().lower()


def _overlap(data: bytes, delimiter: bytes) -> int:
    """How many bytes at the end of `data` could begin a delimiter."""
    for length in range(min(len(data), len(delimiter) - 1), 0, -1):
        if data.endswith(delimiter[:length]):
            return length
    return 0
