"""FlatBuffers, as far as a CDOC2 header needs them: tables, vectors of bytes and of tables, strings, small numbers.

Built to the FlatBuffers binary format ("FlatBuffers internals"): little-endian, offsets counted from where they
stand, a vtable in front of or behind each table. Every read is checked against the buffer and for alignment, as the
C++ verifier does and the Python runtime does not. Not supported: structs, vectors of numbers or strings, file
identifiers, size prefixes, nested buffers; fields that we do not know are passed over, as the format wants it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from digiid.kernel.errors import Malformed

_OFFSET_BYTES: Final = 4
_VTABLE_HEAD_BYTES: Final = 4
# Parts may lie on top of one another, so that a small buffer could be read as a huge value: honest ones do not overlap.
_MAX_READ_FACTOR: Final = 2


class Buffer:
    """A whole buffer and how much of it may still be copied out."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._budget_bytes = _MAX_READ_FACTOR * len(content)

    def root(self) -> "TableReader":
        """The root table. Raises: Malformed `cdoc2.header.offset`."""
        return TableReader(self, self.follow(0))

    def number(self, at: int, size_bytes: int, *, signed: bool = False) -> int:
        """An aligned little-endian number."""
        if at < 0 or at % size_bytes or at + size_bytes > len(self.content):
            raise Malformed("cdoc2.header.offset", f"a number of {size_bytes} bytes at {at} is outside or not aligned")
        return int.from_bytes(self.content[at : at + size_bytes], "little", signed=signed)

    def follow(self, at: int) -> int:
        """Where the offset at `at` leads: always forward."""
        distance = self.number(at, _OFFSET_BYTES)
        if distance < _OFFSET_BYTES:
            raise Malformed("cdoc2.header.offset", f"the offset at {at} leads nowhere")
        return at + distance

    def vector(self, at: int, *, extra: int = 0) -> bytes:
        """The bytes of a vector; `extra` more have to be there behind it."""
        count = self.number(at, _OFFSET_BYTES)
        start = at + _OFFSET_BYTES
        if start + count + extra > len(self.content):
            raise Malformed("cdoc2.header.offset", f"the vector at {at} ends outside")
        self._budget_bytes -= count
        if self._budget_bytes < 0:
            raise Malformed("cdoc2.header.overlap", "parts of the header lie on top of one another")
        return self.content[start : start + count]


class TableReader:
    """One table of a buffer. Slots are the fields in the order of the schema, a union being two of them."""

    def __init__(self, buffer: Buffer, at: int) -> None:
        """Raises: Malformed `cdoc2.header.offset`, `cdoc2.header.table`."""
        self._buffer = buffer
        self._at = at
        self._vtable_at = at - buffer.number(at, _OFFSET_BYTES, signed=True)
        self._vtable_bytes = buffer.number(self._vtable_at, 2)
        self._table_bytes = buffer.number(self._vtable_at + 2, 2)
        sizes_fit = (
            self._vtable_bytes >= _VTABLE_HEAD_BYTES
            and self._vtable_bytes % 2 == 0
            and self._vtable_at + self._vtable_bytes <= len(buffer.content)
            and self._table_bytes >= _OFFSET_BYTES
            and at + self._table_bytes <= len(buffer.content)
        )
        if not sizes_fit:
            raise Malformed("cdoc2.header.table", f"the table at {at} has sizes that do not fit")

    def byte(self, slot: int) -> int:
        """A `byte` or an enumeration over it; 0 when absent."""
        at = self._field(slot, 1)
        return 0 if at is None else self._buffer.number(at, 1)

    def int32(self, slot: int) -> int:
        at = self._field(slot, 4)
        return 0 if at is None else self._buffer.number(at, 4, signed=True)

    def octets(self, slot: int) -> bytes:
        """A required `[ubyte]`. Raises: Malformed `cdoc2.header.missing`."""
        return self._buffer.vector(self._required(slot))

    def string(self, slot: int) -> str:
        """A required `string`: UTF-8 with a zero byte behind it. Raises: Malformed `cdoc2.header.string`."""
        at = self._required(slot)
        content = self._buffer.vector(at, extra=1)
        if self._buffer.content[at + _OFFSET_BYTES + len(content)]:
            raise Malformed("cdoc2.header.string", "no zero byte behind a string")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise Malformed("cdoc2.header.string", "a string is not UTF-8") from error

    def table(self, slot: int) -> "TableReader":
        """A required table, or the value of a union."""
        return TableReader(self._buffer, self._required(slot))

    def tables(self, slot: int, *, limit: int) -> Sequence["TableReader"]:
        """A vector of tables; none when absent. Raises: Malformed `cdoc2.header.count`."""
        field = self._field(slot, _OFFSET_BYTES)
        if field is None:
            return ()
        at = self._buffer.follow(field)
        count = self._buffer.number(at, _OFFSET_BYTES)
        if count > limit:
            raise Malformed("cdoc2.header.count", f"{count} entries where at most {limit} are read")
        first = at + _OFFSET_BYTES
        return [TableReader(self._buffer, self._buffer.follow(first + _OFFSET_BYTES * index)) for index in range(count)]

    def _required(self, slot: int) -> int:
        at = self._field(slot, _OFFSET_BYTES)
        if at is None:
            raise Malformed("cdoc2.header.missing", f"required field {slot} of a table is not there")
        return self._buffer.follow(at)

    def _field(self, slot: int, size_bytes: int) -> int | None:
        entry = _VTABLE_HEAD_BYTES + 2 * slot
        if entry + 2 > self._vtable_bytes:
            return None
        offset = self._buffer.number(self._vtable_at + entry, 2)
        if offset == 0:
            return None
        if offset < _OFFSET_BYTES or offset + size_bytes > self._table_bytes:
            raise Malformed("cdoc2.header.table", f"field {slot} lies outside its table")
        return self._at + offset


@dataclass(frozen=True, slots=True)
class Byte:
    """A number of one byte."""

    value: int


@dataclass(frozen=True, slots=True)
class Int32:
    """A number of four bytes."""

    value: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be written; None leaves a slot out."""

    slots: Sequence["Byte | Int32 | bytes | str | Table | Sequence[Table] | None"]


def build_buffer(root: Table) -> bytes:
    """Write a buffer, parents before children."""
    out = bytearray(_OFFSET_BYTES)
    _point(out, 0, _place_table(out, root))
    return bytes(out)


def _place_table(out: bytearray, table: Table) -> int:
    # 1 Fields of four bytes come first in the table, so that all are aligned.
    offsets: dict[int, int] = {}
    size = _OFFSET_BYTES
    for wide in (True, False):
        for slot, value in enumerate(table.slots):
            if value is not None and isinstance(value, Byte) is not wide:
                offsets[slot] = size
                size += 4 if wide else 1
    # 2 The vtable, then the table itself at a multiple of four.
    vtable_bytes = _VTABLE_HEAD_BYTES + 2 * len(table.slots)
    out += bytes(-(len(out) + vtable_bytes) % 4)
    vtable_at = len(out)
    out += vtable_bytes.to_bytes(2, "little") + size.to_bytes(2, "little")
    for slot in range(len(table.slots)):
        out += offsets.get(slot, 0).to_bytes(2, "little")
    at = len(out)
    out += (at - vtable_at).to_bytes(4, "little") + bytes(size - _OFFSET_BYTES)
    # 3 Numbers in their places, everything else behind, with an offset to it.
    for slot, offset in offsets.items():
        value = table.slots[slot]
        if isinstance(value, Byte):
            out[at + offset] = value.value
        elif isinstance(value, Int32):
            out[at + offset : at + offset + 4] = value.value.to_bytes(4, "little", signed=True)
        else:
            assert value is not None
            _point(out, at + offset, _place(out, value))
    return at


def _place(out: bytearray, value: "bytes | str | Table | Sequence[Table]") -> int:
    if isinstance(value, Table):
        return _place_table(out, value)
    out += bytes(-len(out) % 4)
    at = len(out)
    if isinstance(value, str | bytes):
        content = value.encode() if isinstance(value, str) else value
        out += len(content).to_bytes(4, "little") + content + (b"\x00" if isinstance(value, str) else b"")
        return at
    out += len(value).to_bytes(4, "little") + bytes(_OFFSET_BYTES * len(value))
    for index, entry in enumerate(value):
        _point(out, at + _OFFSET_BYTES * (1 + index), _place_table(out, entry))
    return at


def _point(out: bytearray, at: int, target: int) -> None:
    out[at : at + _OFFSET_BYTES] = (target - at).to_bytes(_OFFSET_BYTES, "little")
