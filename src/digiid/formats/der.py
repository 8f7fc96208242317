"""DER, X.690 (02/2021) §8-11: a small strict reader and writer.

Only what the formats next door need: definite lengths in their shortest form, tag numbers below 31.
BER (indefinite or padded lengths) is refused, as every structure we read is signed and has to be DER.
No recursion: a caller enters exactly the levels that its structure has, so depth is bounded by code.
"""

import functools
from datetime import UTC, datetime
from typing import NamedTuple

from digiid.kernel.errors import Malformed

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

# Context-specific tags [0] to [3], as `context` gives them; parsers meet dozens in every token.
CONTEXT_0, CONTEXT_1, CONTEXT_2, CONTEXT_3 = 0xA0, 0xA1, 0xA2, 0xA3
PRIMITIVE_0, PRIMITIVE_1, PRIMITIVE_2 = 0x80, 0x81, 0x82

_MAX_INTEGER_BYTES = 1024


def context(number: int, *, constructed: bool = True) -> int:
    """The tag byte of a context-specific tag `[number]`."""
    return (0xA0 if constructed else 0x80) | number


def header(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """(tag byte, where the content starts, where it ends) of the element at `at`, which may not pass `end`.

    The one place that reads tags and lengths; hot loops call it directly. Raises: Malformed `der.…`.
    """
    body = at + 2
    if body > end:
        raise Malformed("der.truncated", f"no element at offset {at}")
    tag, length = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise Malformed("der.tag", f"tag number above 30 at offset {at}")
    if length >= 0x80:
        if length == 0x82 and body + 2 <= end and data[body]:  # what nearly all longer elements have
            length = data[body] << 8 | data[body + 1]
            body += 2
        elif length == 0x81 and body < end and data[body] >= 0x80:
            length = data[body]
            body += 1
        else:
            body, length = _long_length(data, body, end, length & 0x7F)
    stop = body + length
    if stop > end:
        raise Malformed("der.truncated", f"element at offset {at} is longer than what holds it")
    return tag, body, stop


def _long_length(data: bytes, at: int, end: int, count: int) -> tuple[int, int]:
    """(where the content starts, how long it is) by the `count` octets at `at`."""
    if not 1 <= count <= 4:
        raise Malformed("der.length", f"indefinite or oversized length before offset {at}")
    if at + count > end:
        raise Malformed("der.truncated", f"length cut off at offset {at}")
    length = int.from_bytes(data[at : at + count], "big")
    if length < 0x80 or data[at] == 0:
        raise Malformed("der.length", f"length not in its shortest form at offset {at}")
    return at + count, length


def expect(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """(content start, content end) of the element at `at`, which has to carry `tag`."""
    body = at + 2
    if body <= end and data[at] == tag:  # the common cases, spared a second call
        length = data[at + 1]
        if length < 0x80:
            stop = body + length
            if stop <= end:
                return body, stop
        elif length == 0x82 and body + 2 <= end and data[body]:
            stop = body + 2 + (data[body] << 8 | data[body + 1])
            if stop <= end:
                return body + 2, stop
    found, body, stop = header(data, at, end)
    if found != tag:
        raise Malformed("der.tag", f"expected tag {tag:#04x}, found {found:#04x} at offset {at}")
    return body, stop


def fields(data: bytes, at: int, end: int, tags: bytes) -> list[int]:
    """Where the content of each of the next elements starts and ends, which have to carry `tags` one after the other.

    An element begins where the one before it ends; what comes behind the last one is the caller's to look at.
    """
    found: list[int] = []
    for tag in tags:
        body = at + 2
        if not (body <= end and data[at] == tag and (length := data[at + 1]) < 0x80 and (at := body + length) <= end):
            body, at = expect(data, body - 2, end, tag)
        found += (body, at)
    return found


def identified(data: bytes, at: int, end: int) -> tuple[str, int, int]:
    """A SEQUENCE that begins with the OBJECT IDENTIFIER of what it holds, as extensions and attributes do: the
    identifier, where that ends, and where the SEQUENCE ends.
    """
    body = at + 2
    if body + 2 <= end and data[at] == SEQUENCE and data[body] == OBJECT_IDENTIFIER:
        length, oid_length = data[at + 1], data[body + 1]
        stop, oid_end = body + length, body + 2 + oid_length
        if length < 0x80 and oid_length < 0x80 and oid_end <= stop <= end:  # the common case, spared two calls
            content = data[body + 2 : oid_end]
            return _OID_TEXT.get(content) or _decode_oid(content), oid_end, stop
    body, stop = expect(data, at, end, SEQUENCE)
    body, oid_end = expect(data, body, stop, OBJECT_IDENTIFIER)
    return decode_oid(data[body:oid_end]), oid_end, stop


class Element(NamedTuple):
    """One tag-length-value inside `data`: header from `start`, content from `body` to `end`."""

    data: bytes
    tag: int
    start: int
    body: int
    end: int

    @property
    def raw(self) -> bytes:
        """The whole encoding, header included."""
        return self.data[self.start : self.end]

    @property
    def content(self) -> bytes:
        return self.data[self.body : self.end]

    def enter(self) -> "Reader":
        """A reader over the elements inside this one."""
        return Reader(self.data, self.body, self.end)

    def only(self, tag: int | None = None) -> "Element":
        """The one element inside this one, which has to carry `tag` when one is given."""
        found, body, stop = header(self.data, self.body, self.end)
        if tag is not None and found != tag:
            raise Malformed("der.tag", f"expected tag {tag:#04x}, found {found:#04x} at offset {self.body}")
        if stop != self.end:
            raise Malformed("der.trailing", f"{self.end - stop} bytes left at offset {stop}")
        return new_tuple(Element, (self.data, found, self.body, body, stop))


# A token holds a hundred elements; the generated constructor of a named tuple would cost as much as reading one.
new_tuple = tuple.__new__


class Reader:
    """Walks over sibling elements. Every method raises Malformed `der.…` and nothing else."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    def peek(self) -> int:
        """The next element's tag byte; 0 when nothing is left."""
        return self.data[self.at] if self.at < self.end else 0

    def take(self, tag: int | None = None) -> Element:
        """The next element, which has to carry `tag` when one is given."""
        data, start, end = self.data, self.at, self.end
        body = start + 2
        if body <= end and data[start] == tag:
            length = data[start + 1]
            if length < 0x80 and body + length <= end:  # the common case, spared a second call
                self.at = stop = body + length
                return new_tuple(Element, (data, tag, start, body, stop))
        found, body, stop = header(data, start, end)
        if tag is not None and found != tag:
            raise Malformed("der.tag", f"expected tag {tag:#04x}, found {found:#04x} at offset {start}")
        self.at = stop
        return new_tuple(Element, (data, found, start, body, stop))

    def raw(self, tag: int) -> bytes:
        """The next element's whole encoding."""
        start = self.at
        _, self.at = expect(self.data, start, self.end, tag)
        return self.data[start : self.at]

    def content(self, tag: int) -> bytes:
        """The next element's content."""
        body, self.at = expect(self.data, self.at, self.end, tag)
        return self.data[body : self.at]

    def open(self, tag: int) -> "Reader":
        """A reader inside the next element."""
        body, self.at = expect(self.data, self.at, self.end, tag)
        return Reader(self.data, body, self.at)

    def take_if(self, tag: int) -> Element | None:
        """The next element when it carries `tag`, else None and nothing moves."""
        return self.take(tag) if self.at < self.end and self.data[self.at] == tag else None

    def all(self, *, limit: int, tag: int | None = None) -> list[Element]:
        """All remaining elements, at most `limit`."""
        data, at, end = self.data, self.at, self.end
        found: list[Element] = []
        while at < end:
            if len(found) >= limit:
                raise Malformed("der.too_many", f"more than {limit} elements")
            kind, body, stop = header(data, at, end)
            if tag is not None and kind != tag:
                raise Malformed("der.tag", f"expected tag {tag:#04x}, found {kind:#04x} at offset {at}")
            found.append(new_tuple(Element, (data, kind, at, body, stop)))
            at = stop
        self.at = end
        return found

    def finish(self) -> None:
        """Raise when anything is left."""
        if self.at != self.end:
            raise Malformed("der.trailing", f"{self.end - self.at} bytes left at offset {self.at}")


def read_whole(data: bytes, tag: int = SEQUENCE, *, max_bytes: int) -> Reader:
    """A reader inside the one element that fills `data` completely."""
    if len(data) > max_bytes:
        raise Malformed("der.too_large", f"{len(data)} bytes, at most {max_bytes} are read")
    size = len(data)
    body, stop = expect(data, 0, size, tag)
    if stop != size:
        raise Malformed("der.trailing", f"{size - stop} bytes left at offset {stop}")
    return Reader(data, body, stop)


def read_integer(element: Element) -> int:
    """INTEGER or ENUMERATED in its shortest form."""
    return decode_integer(element.content)


def decode_integer(content: bytes) -> int:
    """The content of an INTEGER or ENUMERATED in its shortest form."""
    size = len(content)
    if not 1 <= size <= _MAX_INTEGER_BYTES:
        raise Malformed("der.integer", "empty or oversized INTEGER")
    if size > 1 and ((content[0] == 0 and content[1] < 0x80) or (content[0] == 0xFF and content[1] >= 0x80)):
        raise Malformed("der.integer", "INTEGER not in its shortest form")
    return int.from_bytes(content, "big", signed=True)


def read_boolean(element: Element) -> bool:
    return decode_boolean(element.content)


def decode_boolean(content: bytes) -> bool:
    if content not in (b"\x00", b"\xff"):
        raise Malformed("der.boolean", "BOOLEAN is neither 00 nor FF")
    return content == b"\xff"


def read_oid(element: Element) -> str:
    """OBJECT IDENTIFIER in dotted form."""
    return decode_oid(element.content)


def decode_oid(content: bytes) -> str:
    """The content of an OBJECT IDENTIFIER in dotted form."""
    return _OID_TEXT.get(content) or _decode_oid(content)


@functools.lru_cache(maxsize=512)
def _decode_oid(content: bytes) -> str:
    if not content or len(content) > 64 or content[-1] & 0x80:
        raise Malformed("der.oid", "empty, oversized or unfinished OBJECT IDENTIFIER")
    arcs: list[int] = []
    value, fresh = 0, True
    for byte in content:
        if fresh and byte == 0x80:
            raise Malformed("der.oid", "OBJECT IDENTIFIER arc not in its shortest form")
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def read_bit_string(element: Element) -> bytes:
    """BIT STRING of whole bytes (a signature, a public key)."""
    return decode_bit_string(element.content)


def decode_bit_string(content: bytes) -> bytes:
    """The content of a BIT STRING of whole bytes."""
    if not content or content[0] != 0:
        raise Malformed("der.bit_string", "BIT STRING is not whole bytes")
    return content[1:]


def read_named_bits(element: Element) -> frozenset[int]:
    """The set bit numbers of a named-bit BIT STRING (KeyUsage, PKIFailureInfo)."""
    return decode_named_bits(element.content)


def decode_named_bits(content: bytes) -> frozenset[int]:
    """The content of a named-bit BIT STRING, as `read_named_bits` takes it."""
    if not content or content[0] > 7 or len(content) > 9 or (len(content) == 1 and content[0]):
        raise Malformed("der.bit_string", "not a named-bit BIT STRING")
    if len(content) > 1 and content[-1] & ((1 << content[0]) - 1):
        raise Malformed("der.bit_string", "unused bits are set")
    if len(content) == 2:  # nearly every KeyUsage
        return _BITS_OF_BYTE[content[1]]
    return frozenset(8 * index + bit for index, byte in enumerate(content[1:]) for bit in _BITS_OF_BYTE[byte])


_BITS_OF_BYTE = [frozenset(bit for bit in range(8) if byte & (0x80 >> bit)) for byte in range(256)]


def read_time(element: Element) -> datetime:
    """UTCTime or GeneralizedTime in the DER form of RFC 5280 §4.1.2.5, with `Z`; a fraction is refused."""
    return decode_time(element.tag, element.content)


def decode_time(tag: int, content: bytes) -> datetime:
    """The content of a UTCTime or GeneralizedTime, as `read_time` takes it."""
    size = len(content)
    try:
        if tag == GENERALIZED_TIME and size == 15 and content[14] == 0x5A and content[:14].isdigit():
            text = content.decode()
            return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")
        if tag == UTC_TIME and size == 13 and content[12] == 0x5A and content[:12].isdigit():
            text = content.decode()
            century = "19" if content[0] >= 0x35 else "20"  # RFC 5280 §4.1.2.5.1: from 50 on
            return datetime.fromisoformat(f"{century}{text[:6]}T{text[6:]}")
    except ValueError as error:
        raise Malformed("der.time", "no such instant") from error
    raise Malformed("der.time", "not a DER time with seconds and Z")


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element around the given content."""
    content = b"".join(parts) if len(parts) != 1 else parts[0]
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    if size < 0x10000:
        return bytes((tag, 0x82, size >> 8, size & 0xFF)) + content
    encoded = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(encoded))) + encoded + content


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, *parts)


def set_of(*members: bytes) -> bytes:
    """SET OF in DER order (X.690 §11.6)."""
    return tlv(SET, *sorted(members))


def integer(value: int) -> bytes:
    bits = (value if value >= 0 else ~value).bit_length()  # beside that of the sign
    return tlv(INTEGER, value.to_bytes(bits // 8 + 1, "big", signed=True))


def enumerated(value: int) -> bytes:
    return tlv(ENUMERATED, bytes((value,)))


def boolean(value: bool) -> bytes:
    return b"\x01\x01\xff" if value else b"\x01\x01\x00"


def octet_string(content: bytes) -> bytes:
    return tlv(OCTET_STRING, content)


def bit_string(content: bytes) -> bytes:
    """BIT STRING of whole bytes."""
    return tlv(BIT_STRING, b"\x00" + content)


def named_bits(bits: frozenset[int]) -> bytes:
    """Named-bit BIT STRING without trailing zero bits (X.690 §11.2.2)."""
    if not bits:
        return tlv(BIT_STRING, b"\x00")
    size = max(bits) + 1
    value = sum(1 << (size - 1 - bit) for bit in bits)
    unused = -size % 8
    return tlv(BIT_STRING, bytes((unused,)) + (value << unused).to_bytes((size + 7) // 8, "big"))


def oid(dotted: str) -> bytes:
    arcs = [int(arc) for arc in dotted.split(".")]
    content = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        content += bytes(reversed(septets))
    return tlv(OBJECT_IDENTIFIER, bytes(content))


def generalized_time(at: datetime) -> bytes:
    """Whole seconds, UTC; a part of a second is cut off."""
    at = at.astimezone(UTC)
    return b"\x18\x0f%04d%02d%02d%02d%02d%02dZ" % (at.year, at.month, at.day, at.hour, at.minute, at.second)


def utc_time(at: datetime) -> bytes:
    """Whole seconds, UTC, for years 1950 to 2049."""
    at = at.astimezone(UTC)
    return b"\x17\x0d%02d%02d%02d%02d%02d%02dZ" % (at.year % 100, at.month, at.day, at.hour, at.minute, at.second)


# The identifiers met in every certificate and token, decoded once.
_OID_TEXT: dict[bytes, str] = {
    oid(dotted)[2:]: dotted
    for dotted in (
        "0.4.0.1862.1.1",
        "0.4.0.1862.1.4",
        "0.4.0.1862.1.5",
        "0.4.0.1862.1.6",
        "0.4.0.1862.1.6.1",
        "0.4.0.1862.1.6.2",
        "0.4.0.194112.1.2",
        "0.4.0.2023.1.1",
        "1.2.840.10045.2.1",
        "1.2.840.10045.3.1.7",
        "1.2.840.10045.4.3.2",
        "1.2.840.10045.4.3.3",
        "1.2.840.10045.4.3.4",
        "1.2.840.113549.1.1.1",
        "1.2.840.113549.1.1.11",
        "1.2.840.113549.1.1.12",
        "1.2.840.113549.1.1.13",
        "1.2.840.113549.1.7.2",
        "1.2.840.113549.1.9.3",
        "1.2.840.113549.1.9.4",
        "1.2.840.113549.1.9.5",
        "1.2.840.113549.1.9.16.1.4",
        "1.2.840.113549.1.9.16.2.12",
        "1.2.840.113549.1.9.16.2.47",
        "1.2.840.113549.1.9.52",
        "1.3.132.0.34",
        "1.3.14.3.2.26",
        "1.3.6.1.5.5.7.1.1",
        "1.3.6.1.5.5.7.1.3",
        "1.3.6.1.5.5.7.3.8",
        "1.3.6.1.5.5.7.3.9",
        "1.3.6.1.5.5.7.48.1.1",
        "1.3.6.1.5.5.7.48.1.2",
        "1.3.6.1.5.5.7.48.1.5",
        "1.3.6.1.5.5.7.48.1.6",
        "2.16.840.1.101.3.4.2.1",
        "2.16.840.1.101.3.4.2.2",
        "2.16.840.1.101.3.4.2.3",
        "2.5.4.3",
        "2.5.4.4",
        "2.5.4.5",
        "2.5.4.6",
        "2.5.4.10",
        "2.5.4.42",
        "2.5.4.97",
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.19",
        "2.5.29.31",
        "2.5.29.32",
        "2.5.29.35",
        "2.5.29.37",
    )
}
