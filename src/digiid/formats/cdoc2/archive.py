"""What is inside a CDOC2 payload: files without folders in a tar archive (POSIX ustar with PAX records), under zlib.

Written: one ustar header for each file, a PAX record for a name that is long or not ASCII, or a size above 8 GiB; mode
0644, owner and time 0; exactly two blocks of zeros at the end and no padding behind them, which other programs of the
field take for hidden data. Read: that, and nothing else that tar knows. Links, folders, devices, sparse files, GNU
long names and global records are refused, as is anything behind the end.

What is read here was authenticated before, so a hostile archive is one that a recipient's own correspondent made.
"""

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from digiid.formats.cdoc2.payload import CHUNK_BYTES
from digiid.kernel.errors import Malformed, Refused

_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_COMPRESSED, _STORED = 6, 0
_ZLIB_HEADER: Final = b"\x78\x9c"  # deflate with a window of 32 KiB, RFC 1950 §2.2
_SAMPLE_BYTES: Final = 64 * 1024
_WORTHWHILE: Final = 0.9
_MAX_USTAR_SIZE: Final = 8**11 - 1
_MAX_USTAR_NAME_BYTES: Final = 99  # one short of the field: some readers want the zero behind it
_MAX_PAX_BYTES: Final = 16 * 1024
_MAX_PAX_RECORDS: Final = 64
_MAX_NAME_BYTES: Final = 255
_FREE_BYTES: Final = 10 * 1024 * 1024  # below this the ratio is not asked about
# PAX records that say when and by whom, which nobody needs here (POSIX.1-2017 pax §"Extended Header").
_IGNORED_RECORDS: Final = frozenset({"atime", "mtime", "ctime", "uid", "gid", "uname", "gname", "comment"})
_IGNORED_PREFIXES: Final = ("LIBARCHIVE.creationtime", "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink")
_OCTAL: Final = re.compile(rb"[ \0]*([0-7]{1,11})[ \0]*")
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,5}) ")
# Windows' own names, and the characters that its file systems refuse.
_RESERVED_NAME: Final = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?")
# Control, format (what turns text around or does not show), surrogate, private; line and paragraph separators.
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_RESERVED_CHARACTERS: Final = frozenset('<>:"/\\|?*')


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What one container may unpack to. `max_ratio` is that of all files to the payload, and counts above 10 MB."""

    max_files: int = 1000
    max_bytes: int = 64 * 1024**3
    max_ratio: int = 100


DEFAULT_LIMITS: Final = ArchiveLimits()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to pack. `chunks` is called once and has to give `size` bytes."""

    name: str
    size: int
    chunks: Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file on the way out. `chunks` has to be used up before the next file is asked for."""

    name: str
    size: int
    chunks: Iterator[bytes]


def check_name(name: str) -> None:
    """A name that means the same file, in the folder that was asked for, on every system and to every eye.

    Raises: Malformed `cdoc2.name.empty`, `cdoc2.name.length`, `cdoc2.name.path`, `cdoc2.name.character`,
        `cdoc2.name.reserved`.
    """
    if not name or name.strip(". ") == "":
        raise Malformed("cdoc2.name.empty", f"{name!a} is no name of a file")
    if "/" in name or "\\" in name:
        raise Malformed("cdoc2.name.path", f"{name!a}: a name with folders")
    for character in name:
        if character in _RESERVED_CHARACTERS or unicodedata.category(character) in _HIDDEN_CATEGORIES:
            raise Malformed("cdoc2.name.character", f"{name!a}: the character U+{ord(character):04X} in a name")
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise Malformed("cdoc2.name.length", f"a name of more than {_MAX_NAME_BYTES} bytes")
    if name[0] in " -" or name[-1] in " ." or _RESERVED_NAME.fullmatch(name):
        raise Malformed("cdoc2.name.reserved", f"{name!a}: a name that other systems read as something else")


def fold_name(name: str) -> str:
    """Names with the same fold are one file on some system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", name).casefold())


def is_bomb(archive_bytes: int, payload_bytes: int, limits: ArchiveLimits) -> bool:
    """Whether an archive is too much larger than the payload that it came out of."""
    return archive_bytes > _FREE_BYTES and archive_bytes > limits.max_ratio * payload_bytes


# --- writing ---


def pack_files(files: Iterable[SourceFile], *, compresses: bool = True) -> Iterator[bytes]:
    """The payload of a container: tar under zlib, in parts. Files that are compressed already are only stored.

    Raises: Malformed `cdoc2.name.…`; Refused `cdoc2.file_changed`: a file is longer or shorter than it was.
    """
    deflater = _Deflater()
    yield deflater.begin()
    for chunk, gains in _tar(files):
        yield deflater.add(chunk, level=_COMPRESSED if gains and compresses else _STORED)
    yield deflater.finish()


class _Deflater:
    """A zlib stream (RFC 1950) whose parts have levels of their own, each part a row of whole deflate blocks."""

    def __init__(self) -> None:
        self._level = _COMPRESSED
        self._deflate = self._new(self._level)
        self._checksum = zlib.adler32(b"")

    def begin(self) -> bytes:
        return _ZLIB_HEADER

    def add(self, chunk: bytes, *, level: int) -> bytes:
        out = b""
        if level != self._level:
            out = self._deflate.flush(zlib.Z_FULL_FLUSH)
            self._deflate, self._level = self._new(level), level
        self._checksum = zlib.adler32(chunk, self._checksum)
        return out + self._deflate.compress(chunk)

    def finish(self) -> bytes:
        return self._deflate.flush() + self._checksum.to_bytes(4)

    @staticmethod
    def _new(level: int) -> "zlib._Compress":
        return zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)


def _tar(files: Iterable[SourceFile]) -> Iterator[tuple[bytes, bool]]:
    """The archive in parts, and of each whether compressing it gains anything."""
    seen: set[str] = set()
    gains = True
    for file in files:
        _check_new_name(file.name, seen)
        headers = _build_headers(file.name, file.size)
        written = 0
        for chunk in file.chunks():
            if not written:
                sample = (headers + chunk)[:_SAMPLE_BYTES]
                gains = len(zlib.compress(sample, 1)) < _WORTHWHILE * len(sample)
            written += len(chunk)
            if written > file.size:
                break
            yield headers + chunk, gains
            headers = b""
        if written != file.size:
            text = f"{file.name} changed while it was read."
            raise Refused("cdoc2.file_changed", text, public=text)
        yield headers + bytes(-file.size % _BLOCK), gains
    yield 2 * _ZEROS, gains


def _build_headers(name: str, size: int) -> bytes:
    records = b""
    encoded = name.encode()
    if not name.isascii() or len(encoded) > _MAX_USTAR_NAME_BYTES:
        records += _pax_record("path", encoded)
    if size > _MAX_USTAR_SIZE:
        records += _pax_record("size", str(size).encode())
    # Readers that know no PAX see something close to the name.
    plain = name.encode("ascii", errors="replace").replace(b"?", b"_")[:_MAX_USTAR_NAME_BYTES]
    main = _build_header(plain, size if size <= _MAX_USTAR_SIZE else 0, b"0")
    if not records:
        return main
    pax = _build_header(b"PaxHeaders/" + plain[:80], len(records), b"x")
    return pax + records + bytes(-len(records) % _BLOCK) + main


def _build_header(name: bytes, size: int, kind: bytes) -> bytes:
    """POSIX.1-2017 pax §"ustar Interchange Format"."""
    before = name.ljust(100, b"\0") + b"0000644\0" + 2 * b"0000000\0" + b"%011o\0" % size + b"%011o\0" % 0
    after = kind + bytes(100) + b"ustar\x0000" + bytes(64) + 2 * b"0000000\0" + bytes(155 + 12)
    return before + b"%06o\0 " % sum(before + b" " * 8 + after) + after


def _pax_record(keyword: str, value: bytes) -> bytes:
    """`length keyword=value\\n`, the length counting its own digits."""
    body = b" " + keyword.encode() + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


# --- reading ---


class _Inflater:
    """Bytes of a zlib stream on demand, never more than asked for in memory."""

    def __init__(self, chunks: Iterator[bytes], payload_bytes: int, limits: ArchiveLimits) -> None:
        self._chunks = chunks
        self._limits = limits
        self._payload_bytes = payload_bytes
        self._inflate = zlib.decompressobj()
        self._pending = b""
        self._given = 0

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, none at the end. Raises: Malformed `cdoc2.zlib`, `cdoc2.archive.bomb`."""
        while not self._inflate.eof:
            if not self._pending:
                chunk = next(self._chunks, b"")
                if not chunk:
                    raise Malformed("cdoc2.zlib", "the compressed payload ends early")
                self._pending = chunk
            try:
                part = self._inflate.decompress(self._pending, count)
            except zlib.error as error:
                raise Malformed("cdoc2.zlib", "the payload is not zlib") from error
            self._pending = self._inflate.unconsumed_tail
            if part:
                self._count(len(part))
                return part
        return b""

    def read_exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self.read(count - len(content))
            if not part:
                raise Malformed("cdoc2.archive.cut", "the archive ends early")
            content += part
        return content

    def finish(self) -> None:
        """Nothing may be left: not in the archive, not behind the zlib stream. Takes the last part of the payload."""
        if self.read(1) or self._inflate.unused_data or any(self._chunks):
            raise Malformed("cdoc2.archive.trailing", "something is hidden behind the end of the archive")

    def _count(self, given: int) -> None:
        self._given += given
        if self._given > self._limits.max_bytes:
            raise Malformed("cdoc2.archive.bomb", f"unpacks to more than {self._limits.max_bytes} bytes")
        if is_bomb(self._given, self._payload_bytes, self._limits):
            raise Malformed("cdoc2.archive.bomb", f"unpacks to more than {self._limits.max_ratio} times its size")


def unpack_files(
    chunks: Iterator[bytes], *, payload_bytes: int, limits: ArchiveLimits = DEFAULT_LIMITS
) -> Iterator[PackedFile]:
    """The files of a payload of `payload_bytes`, one after the other. After the last one `chunks` is used up.

    Raises: Malformed `cdoc2.archive.…`, `cdoc2.name.…`, `cdoc2.zlib`.
    """
    inflater = _Inflater(chunks, payload_bytes, limits)
    seen: set[str] = set()
    while True:
        # 1 A header, or the two blocks of zeros that end the archive.
        header = inflater.read_exactly(_BLOCK)
        if header == _ZEROS:
            break
        # 2 PAX records for the next header.
        records: dict[str, str] = {}
        if _check_header(header) == b"x":
            records = _parse_records(_read_content(inflater, _size(header), limit=_MAX_PAX_BYTES))
            header = inflater.read_exactly(_BLOCK)
            if _check_header(header) == b"x":
                raise Malformed("cdoc2.archive.kind", "two records in a row")
        # 3 Name and size.
        name = records.get("path") or _name(header)
        size = int(records["size"]) if "size" in records else _size(header)
        _check_new_name(name, seen)
        if len(seen) > limits.max_files:
            raise Malformed("cdoc2.archive.count", f"more than {limits.max_files} files")
        if size > limits.max_bytes:
            raise Malformed("cdoc2.archive.bomb", f"unpacks to more than {limits.max_bytes} bytes")
        # 4 Content, used up by the caller or by nobody.
        content = _content_chunks(inflater, size)
        yield PackedFile(name, size, content)
        if next(content, None) is not None:
            raise RuntimeError("a file was not read to its end")
    if inflater.read_exactly(_BLOCK) != _ZEROS:
        raise Malformed("cdoc2.archive.end", "one block of zeros where two end an archive")
    inflater.finish()
    if not seen:
        raise Malformed("cdoc2.archive.empty", "no file is inside")


def _content_chunks(inflater: _Inflater, size: int) -> Iterator[bytes]:
    left = size
    while left:
        part = inflater.read(min(CHUNK_BYTES, left))
        if not part:
            raise Malformed("cdoc2.archive.cut", "the archive ends early")
        left -= len(part)
        yield part
    if any(inflater.read_exactly(-size % _BLOCK)):
        raise Malformed("cdoc2.archive.padding", "something is hidden behind the end of a file")


def _read_content(inflater: _Inflater, size: int, *, limit: int) -> bytes:
    if not 0 < size <= limit:
        raise Malformed("cdoc2.archive.record", f"records of {size} bytes")
    return b"".join(_content_chunks(inflater, size))


def _check_header(header: bytes) -> bytes:
    """The type of an entry: a file, or records for the next one."""
    stated = _octal(header[148:156])
    if stated != sum(header[:148] + b" " * 8 + header[156:]):
        raise Malformed("cdoc2.archive.checksum", "the checksum of a tar header does not fit")
    # A program of the field leaves the magic empty.
    if header[257:263] not in (b"ustar\0", b"ustar ", bytes(6)):
        raise Malformed("cdoc2.archive.kind", "not a ustar header")
    kind = header[156:157]
    if kind == b"x":
        return kind
    if kind not in (b"0", b"\0"):
        raise Malformed("cdoc2.archive.kind", f"an entry of type {kind!a}: only plain files are taken")
    if any(header[157:257]):
        raise Malformed("cdoc2.archive.kind", "a file that names a link")
    return b"0"


def _name(header: bytes) -> str:
    name, _, rest = header[:100].partition(b"\0")
    if any(rest):
        raise Malformed("cdoc2.archive.name", "something is hidden behind a name")
    if header[257:263] == b"ustar\0" and any(header[345:500]):
        raise Malformed("cdoc2.name.path", "a name with folders")
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise Malformed("cdoc2.archive.name", "a name is not UTF-8") from error


def _size(header: bytes) -> int:
    return _octal(header[124:136])


def _octal(field: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise Malformed("cdoc2.archive.number", "a number of a tar header is not octal")
    return int(match[1], 8)


def _parse_records(content: bytes) -> dict[str, str]:
    """PAX records, each keyword once."""
    records: dict[str, str] = {}
    at = 0
    while at < len(content):
        match = _PAX_RECORD.match(content, at)
        length = int(match[1]) if match else 0
        record = content[at : at + length]
        if match is None or len(record) != length or not record.endswith(b"\n") or len(records) >= _MAX_PAX_RECORDS:
            raise Malformed("cdoc2.archive.record", "a PAX record has a wrong length")
        keyword, sign, value = record[len(match[0]) : -1].partition(b"=")
        try:
            name, text = keyword.decode("ascii"), value.decode()
        except UnicodeDecodeError as error:
            raise Malformed("cdoc2.archive.record", "a PAX record is not UTF-8") from error
        known = name in ("path", "size") or name in _IGNORED_RECORDS or name.startswith(_IGNORED_PREFIXES)
        if not sign or name in records or not known:
            raise Malformed("cdoc2.archive.record", f"the PAX record {name!a}")
        if name == "size" and not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
            raise Malformed("cdoc2.archive.record", "a PAX size is not a number")
        records[name] = text
        at += length
    return records


def _check_new_name(name: str, seen: set[str]) -> None:
    check_name(name)
    folded = fold_name(name)
    if folded in seen:
        raise Malformed("cdoc2.name.duplicate", f"{name!a}: two files with that name")
    seen.add(folded)
