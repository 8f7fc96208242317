"""BER to DER, X.690 (02/2021) §8 and §10: the encodings that signed messages of the field are wrapped in.

CMS allows BER around what is signed (RFC 5652 §1, §5.1); programs of the field write indefinite lengths and octet
strings in pieces when they add certificates to a token. What is inside a signature is DER already and keeps its bytes:
only lengths are written anew and octet strings put together. Sets are not sorted.
"""

from typing import Final

from digiid.formats import der
from digiid.kernel.errors import Malformed

_MAX_DEPTH: Final = 32
_MAX_ELEMENTS: Final = 100_000
_CONSTRUCTED_OCTET_STRING: Final = 0x24


def to_der(data: bytes, *, max_bytes: int) -> bytes:
    """The same structure with definite lengths in their shortest form and octet strings in one piece.

    Raises: Malformed `ber.…`.
    """
    if len(data) > max_bytes:
        raise Malformed("ber.too_large", f"{len(data)} bytes, at most {max_bytes} are read")
    walk = _Walk(data)
    encoded, end = walk.element(0, len(data), 0)
    if end != len(data):
        raise Malformed("ber.trailing", f"{len(data) - end} bytes left at offset {end}")
    return encoded


class _Walk:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = _MAX_ELEMENTS

    def element(self, at: int, end: int, depth: int) -> tuple[bytes, int]:
        """One element re-encoded, and where it ends."""
        self.left -= 1
        if depth > _MAX_DEPTH or self.left < 0:
            raise Malformed("ber.depth", "nested too deep, or too many elements")
        tag, length, body = self._head(at, end)
        constructed = bool(tag & 0x20)
        if length is None:
            if not constructed:
                raise Malformed("ber.length", f"a primitive element of indefinite length at offset {at}")
            parts, stop = self._until_end(body, end, depth)
        else:
            stop = body + length
            if stop > end:
                raise Malformed("ber.truncated", f"element at offset {at} is longer than what holds it")
            if not constructed:
                return der.tlv(tag, self.data[body:stop]), stop
            parts = self._within(body, stop, depth)
        if tag == _CONSTRUCTED_OCTET_STRING:
            return der.tlv(der.OCTET_STRING, b"".join(_octets(part) for part in parts)), stop
        return der.tlv(tag, b"".join(parts)), stop

    def _head(self, at: int, end: int) -> tuple[int, int | None, int]:
        if at + 2 > end:
            raise Malformed("ber.truncated", f"no element at offset {at}")
        tag, length = self.data[at], self.data[at + 1]
        if tag & 0x1F == 0x1F:
            raise Malformed("ber.tag", f"tag number above 30 at offset {at}")
        if length < 0x80:
            return tag, length, at + 2
        if length == 0x80:
            return tag, None, at + 2
        count = length & 0x7F
        if count > 4 or at + 2 + count > end:
            raise Malformed("ber.length", f"oversized or cut off length at offset {at}")
        return tag, int.from_bytes(self.data[at + 2 : at + 2 + count], "big"), at + 2 + count

    def _until_end(self, at: int, end: int, depth: int) -> tuple[list[bytes], int]:
        parts = []
        while self.data[at : at + 2] != b"\0\0":
            part, at = self.element(at, end, depth + 1)
            parts.append(part)
        if at + 2 > end:
            raise Malformed("ber.truncated", "the end of an element of indefinite length is missing")
        return parts, at + 2

    def _within(self, at: int, end: int, depth: int) -> list[bytes]:
        parts = []
        while at < end:
            part, at = self.element(at, end, depth + 1)
            parts.append(part)
        return parts


def _octets(encoded: bytes) -> bytes:
    tag, body, stop = der.header(encoded, 0, len(encoded))
    if tag != der.OCTET_STRING:
        raise Malformed("ber.octet_string", "a piece of an octet string is something else")
    return encoded[body:stop]
