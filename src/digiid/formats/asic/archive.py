"""ZIP (APPNOTE 6.3.10) as ASiC uses it, read from strangers and written byte for byte.

Read: every byte of the file belongs to exactly one local entry, the central directory or the end record; what the
two directories say must agree. Not supported, and refused: ZIP64, encryption, several disks, methods other than
stored and deflated, links, names outside the container.
"""

import io
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import BinaryIO, NamedTuple

from digiid.kernel.errors import Malformed

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_DESCRIPTOR = struct.Struct("<3I")
_EXTRA = struct.Struct("<2H")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC, _DESCRIPTOR_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x07\x08"
_ZIP64_LOCATOR_MAGIC, _ZIP64_LOCATOR_BYTES = b"PK\x06\x07", 20

STORED, DEFLATED = 0, 8
_FLAG_ENCRYPTED, _FLAG_LEVEL, _FLAG_DESCRIPTOR, _FLAG_UTF8 = 0x0001, 0x0006, 0x0008, 0x0800
_UNIX = 3
_KIND, _PLAIN_KINDS = 0xF000, frozenset((0, 0x4000, 0x8000))  # not told, folder, file
_EXTRA_ZIP64, _EXTRA_UNICODE_PATH = 0x0001, 0x7075  # APPNOTE §4.5.3, §4.6.9
_CHUNK = 256 * 1024
_MAX_DIRECTORY_BYTES = 4 * 1024**2
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_PLAIN = re.compile(rb"[A-Za-z0-9._/-]+")
_DRIVE = re.compile(r"[A-Za-z]:")
_DOTTED = frozenset(("", ".", ".."))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one container may cost. Sizes in bytes, uncompressed unless it says otherwise."""

    max_entries: int = 1000
    max_total_bytes: int = 2 * 1024**3
    max_name_bytes: int = 1024
    max_ratio: int = 100
    ratio_free_bytes: int = 1024**2  # below this size an entry may be compressed as well as it likes
    total_ratio_free_bytes: int = 16 * 1024**2  # and all of them together


_LIMITS = Limits()


class Entry(NamedTuple):
    """One file of the archive, as both directories describe it."""

    name: str
    raw_name: bytes
    method: int
    flags: int
    crc: int
    packed_bytes: int
    size_bytes: int
    data_offset: int
    has_extra: bool
    dos_time: int
    dos_date: int

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")


class Archive:
    """A checked archive over a seekable file that somebody else opened."""

    def __init__(self, file: BinaryIO, entries: tuple[Entry, ...], comment: bytes, limits: Limits) -> None:
        self._file = file
        self.entries = entries
        self.comment = comment
        self.limits = limits
        self._by_name = {entry.name: entry for entry in entries}

    @property
    def file(self) -> BinaryIO:
        """The file that was handed in."""
        return self._file

    def find(self, name: str) -> Entry | None:
        return self._by_name.get(name)

    def stream(self, entry: Entry) -> Iterator[bytes]:
        """The content in pieces; CRC and length are right or the last piece never comes.

        Raises: Malformed `asic.zip.data`.
        """
        left, crc, total = entry.packed_bytes, 0, 0
        inflater = zlib.decompressobj(-15) if entry.method == DEFLATED else None
        position = entry.data_offset
        while left:
            self._file.seek(position)
            packed = self._file.read(min(left, _CHUNK))
            if not packed:
                raise Malformed("asic.zip.data", f"{entry.name!r} ends early")
            left -= len(packed)
            position += len(packed)
            while packed:
                if inflater is None:
                    piece, packed = packed, b""
                else:
                    # At most one byte more than was declared is ever unpacked.
                    try:
                        piece = inflater.decompress(packed, min(_CHUNK, entry.size_bytes - total + 1))
                    except zlib.error as error:
                        raise Malformed("asic.zip.data", f"{entry.name!r} is not deflated data") from error
                    packed = inflater.unconsumed_tail
                total += len(piece)
                if total > entry.size_bytes:
                    raise Malformed("asic.zip.data", f"{entry.name!r} is longer than it says")
                crc = zlib.crc32(piece, crc)
                if piece:
                    yield piece
                elif packed:
                    raise Malformed("asic.zip.data", f"{entry.name!r} has data after its end")
        if inflater is not None and (not inflater.eof or inflater.unused_data):
            raise Malformed("asic.zip.data", f"{entry.name!r} does not end where it says")
        if total != entry.size_bytes or crc != entry.crc:
            raise Malformed("asic.zip.data", f"{entry.name!r} does not match its length and CRC-32")

    def read(self, entry: Entry, *, max_bytes: int) -> bytes:
        """The whole content.

        Raises: Malformed `asic.zip.entry_too_large`, `asic.zip.data`.
        """
        if entry.size_bytes > max_bytes:
            raise Malformed(
                "asic.zip.entry_too_large", f"{entry.name!r}: {entry.size_bytes} bytes, at most {max_bytes}"
            )
        return b"".join(self.stream(entry)) if entry.packed_bytes > _CHUNK else self._read_at_once(entry)

    def _read_at_once(self, entry: Entry) -> bytes:
        """What `stream` says, of an entry that is one piece."""
        content = packed = self.read_packed(entry)
        if len(packed) != entry.packed_bytes:
            raise Malformed("asic.zip.data", f"{entry.name!r} ends early")
        if entry.method == DEFLATED:
            inflater = zlib.decompressobj(-15)
            try:
                content = inflater.decompress(packed, entry.size_bytes + 1)  # at most one byte more than was declared
            except zlib.error as error:
                raise Malformed("asic.zip.data", f"{entry.name!r} is not deflated data") from error
            if len(content) > entry.size_bytes:
                raise Malformed("asic.zip.data", f"{entry.name!r} is longer than it says")
            if not inflater.eof or inflater.unused_data:
                raise Malformed("asic.zip.data", f"{entry.name!r} does not end where it says")
        if len(content) != entry.size_bytes or zlib.crc32(content) != entry.crc:
            raise Malformed("asic.zip.data", f"{entry.name!r} does not match its length and CRC-32")
        return content

    def read_packed(self, entry: Entry) -> bytes:
        """The bytes as they stand in the file, still compressed."""
        self._file.seek(entry.data_offset)
        return self._file.read(entry.packed_bytes)


def parse_archive(file: BinaryIO, limits: Limits | None = None) -> Archive:
    """Check the whole structure; no content is unpacked yet.

    Raises: Malformed `asic.zip.…`.
    """
    limits = limits or _LIMITS
    try:
        return _parse_archive(file, limits)
    except struct.error as error:
        raise Malformed("asic.zip.truncated", "a record is cut off") from error


def _parse_archive(file: BinaryIO, limits: Limits) -> Archive:
    # 1 the end record is the last thing in the file
    size = file.seek(0, io.SEEK_END)
    end_offset, end = _find_end(file, size)
    _, disk, central_disk, count_here, count, central_bytes, central_offset, comment_bytes = end
    if disk or central_disk or count_here != count:
        raise Malformed("asic.zip.disks", "the archive spans several disks")
    if 0xFFFF in (count, count_here) or 0xFFFFFFFF in (central_bytes, central_offset):
        raise Malformed("asic.zip.zip64", "ZIP64 is not supported")
    if count > limits.max_entries:
        raise Malformed("asic.zip.too_many_entries", f"{count} entries, at most {limits.max_entries}")
    if central_bytes > _MAX_DIRECTORY_BYTES:
        raise Malformed("asic.zip.central", f"a directory of {central_bytes} bytes, at most {_MAX_DIRECTORY_BYTES}")
    if central_offset + central_bytes != end_offset:
        raise Malformed("asic.zip.layout", "the central directory does not end where the end record begins")
    file.seek(central_offset)
    directory = file.read(central_bytes)
    if directory[-_ZIP64_LOCATOR_BYTES:].startswith(_ZIP64_LOCATOR_MAGIC):
        raise Malformed("asic.zip.zip64", "other readers would find an end record of ZIP64")
    file.seek(end_offset + _END.size)
    comment = file.read(comment_bytes)

    # 2 the central directory, name by name
    position, total, has_folders = 0, 0, False
    headers: list[tuple[int, tuple[int, ...], bytes, str]] = []
    seen: dict[str, bool] = {}  # is it a folder
    for _ in range(count):
        fields = _CENTRAL.unpack_from(directory, position)
        if fields[0] != _CENTRAL_MAGIC:
            raise Malformed("asic.zip.central", "not a central directory record")
        name_at = position + _CENTRAL.size
        raw_name = directory[name_at : name_at + fields[10]]
        position = name_at + fields[10] + fields[11] + fields[12]
        if position > len(directory):
            raise Malformed("asic.zip.truncated", "the central directory is cut off")
        name = _decode_name(raw_name, limits)
        key = _same_name(name).removesuffix("/")
        if key in seen:
            raise Malformed("asic.zip.duplicate_name", f"two entries are called {name!r} (case and form ignored)")
        seen[key] = name.endswith("/")
        has_folders = has_folders or "/" in key
        _check_central(fields, name, limits)
        if fields[11]:
            _check_extra(directory[name_at + fields[10] : name_at + fields[10] + fields[11]], raw_name, name)
        headers.append((fields[16], fields, raw_name, name))
        total += fields[9]
    if has_folders:
        _check_folders(seen)
    if position != len(directory):
        raise Malformed("asic.zip.central", "the central directory has bytes that belong to no entry")
    if total > limits.max_total_bytes:
        raise Malformed("asic.zip.too_large", f"unpacked it is larger than {limits.max_total_bytes} bytes")
    if total > limits.total_ratio_free_bytes and total > size * limits.max_ratio:
        raise Malformed("asic.zip.ratio", f"all in all it unpacks to more than {limits.max_ratio} times its size")

    # 3 the local entries: they fill the file from its first byte to the central directory and say the same
    headers.sort(key=itemgetter(0))
    ends = [offset for offset, _, _, _ in headers[1:]]
    ends.append(central_offset)
    entries, expected = [], 0
    for (offset, fields, raw_name, name), following in zip(headers, ends, strict=False):
        if offset != expected:
            raise Malformed("asic.zip.layout", f"bytes before {name!r} belong to no entry, or entries overlap")
        entries.append(_read_local(file, fields, raw_name, name, following))
        expected = following
    if expected != central_offset or (not entries and central_offset):
        raise Malformed("asic.zip.layout", "bytes before the central directory belong to no entry")
    return Archive(file, tuple(entries), comment, limits)


def _find_end(file: BinaryIO, size: int) -> tuple[int, tuple[bytes, int, int, int, int, int, int, int]]:
    start = max(0, size - _END.size - 0xFFFF)
    file.seek(start)
    tail = file.read(size - start)
    found = []
    at = tail.rfind(_END_MAGIC)
    while at >= 0:
        if at + _END.size <= len(tail):
            fields = _END.unpack_from(tail, at)
            if at + _END.size + fields[7] == len(tail):
                found.append((start + at, fields))
        at = tail.rfind(_END_MAGIC, 0, at)
    if not found:
        raise Malformed("asic.zip.end", "no end record that ends with the file: not a ZIP, cut off, or data behind it")
    if len(found) > 1 or tail.find(_END_MAGIC, found[0][0] - start + 1) >= 0:
        raise Malformed("asic.zip.end", "more than one end record fits: two readers could see two containers")
    return found[0]


def _decode_name(raw: bytes, limits: Limits) -> str:
    if not 0 < len(raw) <= limits.max_name_bytes:
        raise Malformed("asic.zip.name", f"a name of {len(raw)} bytes")
    try:
        # Bit 11 announces UTF-8; programs of the field write UTF-8 without it as well.
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("asic.zip.name", "a name that is not UTF-8") from error
    # Most names need no closer look: plain characters, and no segment that is empty or begins with a dot.
    rooted = b"/" + raw
    if b"/." in rooted or b"//" in rooted or not _PLAIN.fullmatch(raw):
        check_name(name.removesuffix("/"))
    return name


def _same_name(name: str) -> str:
    """What two names share that some system takes for one."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_name(name: str) -> None:
    """A relative path that stays inside the container and hides nothing.

    Raises: Malformed `asic.zip.name`.
    """
    if _HIDDEN.search(name):
        raise Malformed("asic.zip.name", f"{name!r} has a control character or a backslash")
    if not _DOTTED.isdisjoint(name.split("/")):
        raise Malformed("asic.zip.name", f"{name!r} is absolute or has an empty or dotted segment")
    if _DRIVE.match(name):
        raise Malformed("asic.zip.name", f"{name!r} begins with a drive letter")


def _check_folders(seen: Mapping[str, bool]) -> None:
    """No file is below another file: who unpacks could get either of them."""
    for key in seen:
        end = key.find("/")
        while end > 0:
            if seen.get(key[:end]) is False:
                raise Malformed("asic.zip.duplicate_name", f"{key[:end]!r} is both a file and a folder")
            end = key.find("/", end + 1)


def _check_extra(extra: bytes, raw_name: bytes, name: str) -> None:
    """Extra fields are not used; those that tell other readers something else than the header are refused."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, position)
        content = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if kind == _EXTRA_ZIP64:
            raise Malformed("asic.zip.zip64", f"{name!r} uses ZIP64, which is not supported")
        if kind == _EXTRA_UNICODE_PATH and content[5:] != raw_name:
            raise Malformed("asic.zip.extra", f"{name!r} has another name in an extra field")
    if position > len(extra) or extra[position:].strip(b"\0"):
        raise Malformed("asic.zip.extra", f"{name!r} has an extra field that is cut off")


def _check_central(fields: tuple[int, ...], name: str, limits: Limits) -> None:
    flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
    if flags & _FLAG_ENCRYPTED:
        raise Malformed("asic.zip.encrypted", f"{name!r} is encrypted")
    if flags & ~(_FLAG_LEVEL | _FLAG_DESCRIPTOR | _FLAG_UTF8):
        raise Malformed("asic.zip.flags", f"{name!r} uses flags {flags:#06x}")
    if method not in (STORED, DEFLATED):
        raise Malformed("asic.zip.method", f"{name!r} uses compression method {method}")
    if fields[13] or 0xFFFFFFFF in (packed, size, fields[16]):
        raise Malformed("asic.zip.zip64", f"{name!r} uses ZIP64 or another disk")
    if (fields[15] >> 16) & _KIND not in _PLAIN_KINDS:  # whichever system the entry says it comes from
        raise Malformed("asic.zip.link", f"{name!r} is a link or a device")
    if (method == STORED and packed != size) or (name.endswith("/") and size):
        raise Malformed("asic.zip.size", f"{name!r} has impossible sizes")
    if size > limits.ratio_free_bytes and size > packed * limits.max_ratio:
        raise Malformed("asic.zip.ratio", f"{name!r} unpacks to more than {limits.max_ratio} times its size")


def _read_local(file: BinaryIO, central: tuple[int, ...], raw_name: bytes, name: str, following: int) -> Entry:
    flags, method, time, date, crc, packed, size = central[3:10]
    offset = central[16]
    file.seek(offset)
    record = file.read(_LOCAL.size + len(raw_name))
    header = _LOCAL.unpack_from(record)
    if header[0] != _LOCAL_MAGIC:
        raise Malformed("asic.zip.local", f"no local header where the directory says {name!r} is")
    if (
        header[9] != len(raw_name)
        or record[_LOCAL.size :] != raw_name
        or header[3:6] != (method, time, date)
        or (header[2] ^ flags) & ~_FLAG_LEVEL
    ):
        raise Malformed("asic.zip.mismatch", f"local header and central directory differ about {name!r}")
    if header[10]:
        _check_extra(file.read(header[10]), raw_name, name)
    streamed = bool(flags & _FLAG_DESCRIPTOR)
    told, known = header[6:9], (crc, packed, size)
    agree = told == known or (streamed and all(a in (0, b) for a, b in zip(told, known, strict=True)))
    if not agree:
        raise Malformed(
            "asic.zip.mismatch", f"local header and central directory differ about the size or CRC-32 of {name!r}"
        )
    data_offset = offset + _LOCAL.size + header[9] + header[10]
    gap = following - data_offset - packed
    if streamed:
        file.seek(data_offset + packed)
        descriptor = file.read(gap) if gap in (12, 16) else b""
        if gap == 16 and descriptor[:4] == _DESCRIPTOR_MAGIC:
            descriptor = descriptor[4:]
        if len(descriptor) != 12 or _DESCRIPTOR.unpack(descriptor) != known:
            raise Malformed("asic.zip.mismatch", f"the data descriptor of {name!r} is wrong")
    elif gap:
        raise Malformed("asic.zip.layout", f"bytes after {name!r} belong to no entry, or entries overlap")
    has_extra = bool(header[10] or central[11])
    return Entry(name, raw_name, method, flags, crc, packed, size, data_offset, has_extra, time, date)


@dataclass(frozen=True, slots=True)
class Part:
    """One entry to be written; `packed` is what goes into the file."""

    name: str
    method: int
    crc: int
    size_bytes: int
    packed: bytes
    dos_time: int
    dos_date: int


def build_part(name: str, content: bytes, *, at: datetime, compress: bool = True) -> Part:
    """Pack one entry; content that does not shrink is stored.

    Raises: Malformed `asic.zip.name`, `asic.zip.too_large`.
    """
    check_name(name)
    if len(content) >= 0xFFFFFFFF:
        raise Malformed("asic.zip.too_large", f"{name!r} needs ZIP64, which is not written")
    packed, method = content, STORED
    if compress and content:
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        deflated = packer.compress(content) + packer.flush()
        if len(deflated) < len(content):
            packed, method = deflated, DEFLATED
    year = min(max(at.year, 1980), 2107)  # what two bytes of MS-DOS date can say
    return Part(
        name=name,
        method=method,
        crc=zlib.crc32(content),
        size_bytes=len(content),
        packed=packed,
        dos_time=at.hour << 11 | at.minute << 5 | at.second // 2,
        dos_date=(year - 1980) << 9 | at.month << 5 | at.day,
    )


def copy_part(archive: Archive, entry: Entry) -> Part:
    """An entry of another archive, its packed bytes unchanged."""
    return Part(
        name=entry.name,
        method=entry.method,
        crc=entry.crc,
        size_bytes=entry.size_bytes,
        packed=archive.read_packed(entry),
        dos_time=entry.dos_time,
        dos_date=entry.dos_date,
    )


def build_archive(parts: Sequence[Part], *, comment: bytes = b"") -> bytes:
    """The whole file: no extra fields, no data descriptors, UTF-8 names, nothing between the entries.

    Raises: Malformed `asic.zip.too_large`.
    """
    out, directory = io.BytesIO(), []
    for part in parts:
        raw_name = part.name.encode("utf-8")
        flags = 0 if raw_name.isascii() else _FLAG_UTF8
        offset = out.tell()
        common = (flags, part.method, part.dos_time, part.dos_date, part.crc, len(part.packed), part.size_bytes)
        if offset + len(part.packed) >= 0xFFFFFFFF or len(parts) >= 0xFFFF:
            raise Malformed("asic.zip.too_large", "the container needs ZIP64, which is not written")
        out.write(_LOCAL.pack(_LOCAL_MAGIC, 20, *common, len(raw_name), 0))
        out.write(raw_name)
        out.write(part.packed)
        external = 0o100644 << 16
        place = (len(raw_name), 0, 0, 0, 0, external, offset)
        directory.append(_CENTRAL.pack(_CENTRAL_MAGIC, _UNIX << 8 | 20, 20, *common, *place) + raw_name)
    central_offset = out.tell()
    central = b"".join(directory)
    out.write(central)
    out.write(_END.pack(_END_MAGIC, 0, 0, len(parts), len(parts), len(central), central_offset, len(comment)))
    out.write(comment)
    return out.getvalue()
