"""ZIP files that two programs could read in two ways, that want out of their folder, or that explode."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from tests.hostile.case import GOOD, PKI, Case, failed, odd, refused
from tests.support.containers import MANIFEST, SIGNATURES, RawEntry, changed, pack, raw_entries, raw_zip, unpack
from tests.support.pki import FILES, SIGNED_AT
from tests.support.time_stamped import stamped

MINUTE = timedelta(minutes=1)

ENTRIES = raw_entries(GOOD)
MIMETYPE, CONTRACT = ENTRIES[0], ENTRIES[1]
NAMES, COPIES, LAYOUT, BOMBS = "names", "directories that disagree", "layout", "bombs"


def _with(*more: RawEntry) -> Callable[[], bytes]:
    return lambda: raw_zip([*ENTRIES, *more])


def _named(name: str | bytes) -> Callable[[], bytes]:
    return _with(RawEntry(name if isinstance(name, bytes) else name.encode(), b"x"))


def _spoiled(**fields: object) -> Callable[[], bytes]:
    """The local header of the contract says something else than the central directory."""
    return lambda: raw_zip([replace(entry, local=fields) if entry is CONTRACT else entry for entry in ENTRIES])


def _both(**fields: object) -> Callable[[], bytes]:
    return lambda: raw_zip([entry.both(**fields) if entry is CONTRACT else entry for entry in ENTRIES])


def _central(**fields: object) -> Callable[[], bytes]:
    return lambda: raw_zip([replace(entry, central=fields) if entry is CONTRACT else entry for entry in ENTRIES])


NAME_CASES = [
    refused(NAMES, "the same name twice", _with(replace(CONTRACT, content=b"other")), "asic.zip.duplicate_name"),
    refused(NAMES, "two signature files of one name", _with(ENTRIES[-1]), "asic.zip.duplicate_name"),
    refused(NAMES, "equal but for case", _named("CONTRACT.TXT"), "asic.zip.duplicate_name"),
    refused(
        NAMES,
        "equal but for Unicode form (NFC and NFD)",
        _with(RawEntry("é".encode(), b"1"), RawEntry("e\N{COMBINING ACUTE ACCENT}".encode(), b"2")),
        "asic.zip.duplicate_name",
    ),
    refused(
        NAMES,
        "equal after case folding",
        _with(RawEntry("Straße".encode(), b"1"), RawEntry(b"STRASSE", b"2")),
        "asic.zip.duplicate_name",
    ),
    refused(NAMES, "a file that is also a folder", _with(RawEntry(b"contract.txt/")), "asic.zip.duplicate_name"),
    refused(NAMES, "a file below another file", _with(RawEntry(b"Contract.txt/more", b"x")), "asic.zip.duplicate_name"),
    refused(NAMES, "absolute path", _named("/etc/passwd"), "asic.zip.name", "absolute"),
    refused(NAMES, "a share", _named("//host/share"), "asic.zip.name", "absolute"),
    refused(NAMES, "parent folder", _named("../evil"), "asic.zip.name", "dotted"),
    refused(NAMES, "parent folder in the middle", _named("a/../../evil"), "asic.zip.name", "dotted"),
    refused(NAMES, "only a parent folder", _named(".."), "asic.zip.name", "dotted"),
    refused(NAMES, "dot segment", _named("./contract.txt"), "asic.zip.name", "dotted"),
    refused(NAMES, "empty segment", _named("a//b"), "asic.zip.name", "empty"),
    refused(NAMES, "backslash", _named("..\\evil"), "asic.zip.name", "backslash"),
    refused(NAMES, "drive and backslash", _named("C:\\evil"), "asic.zip.name", "backslash"),
    refused(NAMES, "drive letter", _named("C:evil"), "asic.zip.name", "drive"),
    refused(NAMES, "NUL", _named("contract.txt\0.pdf"), "asic.zip.name", "control"),
    refused(NAMES, "line break", _named("a\r\nb"), "asic.zip.name", "control"),
    refused(NAMES, "a C1 control character", _named("a\x9bb"), "asic.zip.name", "control"),
    refused(NAMES, "not UTF-8", _named(b"\xff\xfe"), "asic.zip.name", "UTF-8"),
    refused(NAMES, "a surrogate in UTF-8", _named(b"\xed\xa0\x80"), "asic.zip.name", "UTF-8"),
    refused(NAMES, "overlong UTF-8", _named(b"..\xc0\xafevil"), "asic.zip.name", "UTF-8"),
    refused(NAMES, "no name", _named(""), "asic.zip.name"),
    refused(NAMES, "a name of 60,000 bytes", _named("x" * 60000), "asic.zip.name", "60000"),
    refused(
        NAMES,
        "another name in a Unicode path extra field",
        _both(extra=struct.pack("<HHBI", 0x7075, 5 + 8, 1, zlib.crc32(b"contract.txt")) + b"evil.txt"),
        "asic.zip.extra",
        "another name",
    ),
    refused(NAMES, "a symbolic link", _central(external=0o120777 << 16), "asic.zip.link"),
    refused(
        NAMES,
        "a symbolic link made by another system",
        _central(external=0o120777 << 16, made_by=0x1314),
        "asic.zip.link",
    ),
    refused(NAMES, "a device", _central(external=0o020666 << 16), "asic.zip.link"),
    refused(NAMES, "a folder with content", _with(RawEntry(b"folder/", b"x")), "asic.zip.size"),
]


def _signed_as(name: str) -> Callable[[], bytes]:
    """A file of this name that is signed like any other."""
    return lambda: _container_with((name, b"x"))


def _container_with(*files: tuple[str, bytes]) -> bytes:
    from digiid.formats.asic import DataFile, build_manifest

    data = [DataFile(name, "text/plain", content) for name, content in files]
    manifest = build_manifest((file.name, file.media_type) for file in data)
    return pack(
        {
            "mimetype": unpack(GOOD)["mimetype"],
            **{file.name: file.content for file in data},
            MANIFEST: manifest,
            SIGNATURES: PKI.sign(data),
        }
    )


ODD_NAME_CASES = [
    odd(NAMES, "right-to-left override", _signed_as("invoice\N{RIGHT-TO-LEFT OVERRIDE}fdp.exe"), "asic.name.hidden"),
    odd(NAMES, "bidirectional isolate", _signed_as("a\N{RIGHT-TO-LEFT ISOLATE}b.txt"), "asic.name.hidden"),
    odd(NAMES, "zero width space", _signed_as("pass\N{ZERO WIDTH SPACE}word.txt"), "asic.name.hidden"),
    odd(NAMES, "homoglyph", _signed_as("c\N{CYRILLIC SMALL LETTER O}ntract.txt"), "asic.name.mixed_scripts"),
    odd(
        NAMES,
        "two names that look alike",
        lambda: _container_with(
            ("cop.txt", b"1"),
            ("\N{CYRILLIC SMALL LETTER ES}\N{CYRILLIC SMALL LETTER O}\N{CYRILLIC SMALL LETTER ER}.txt", b"2"),
        ),
        "asic.name.alike",
    ),
]


def _streamed(**spoiled: object) -> bytes:
    content = CONTRACT.content
    entry = replace(CONTRACT, deflated=False).both(flags=8)
    known: dict[str, object] = {"crc": zlib.crc32(content), "packed": len(content), "size": len(content)}
    descriptor = spoiled.pop("descriptor", None)
    if descriptor is None:
        descriptor = b"PK\x07\x08" + struct.pack("<3I", *{**known, **spoiled}.values())
    assert isinstance(descriptor, bytes)
    entry = replace(entry, local={**entry.local, "crc": 0, "packed": 0, "size": 0}, after=descriptor)
    return raw_zip([entry if other is CONTRACT else other for other in ENTRIES])


def _at(index: int, **changes: bytes) -> Callable[[], bytes]:
    return lambda: raw_zip(
        [replace(entry, **changes) if i == index else entry for i, entry in enumerate(ENTRIES)]  # type: ignore[arg-type]
    )


EMPTY = raw_zip([])
HIDDEN = raw_zip([RawEntry(b"hidden.txt", b"hidden")])


def _zip64_end() -> bytes:
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 46, 0)
    return record + b"PK\x06\x07" + struct.pack("<IQI", 0, 0, 1)


def _overlapping() -> bytes:
    """Two names over the same bytes."""
    first, second = ENTRIES[1], replace(ENTRIES[1], name=b"kontract.txt")
    at = 30 + len(b"mimetype") + len(MIMETYPE.content)
    return raw_zip([MIMETYPE, first, replace(second, in_directory=True, central={"offset": at}), *ENTRIES[2:]])


def _nested_entry() -> bytes:
    """The second entry lies inside the stored data of the first, as in the overlapping bombs of 2019."""
    inner = b"PK\x03\x04" + struct.pack("<5H3I2H", 20, 0, 0, 0x4800, 0x5D77, zlib.crc32(b"x"), 1, 1, 1, 0) + b"nx"
    outer = RawEntry(b"outer", inner)
    at = 30 + len(b"mimetype") + len(MIMETYPE.content) + 30 + len(b"outer")
    return raw_zip([MIMETYPE, outer, RawEntry(b"n", b"x", central={"offset": at}), *ENTRIES[1:]])


def _trailing_deflate() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(CONTRACT.content) + packer.flush() + b"hidden"
    return raw_zip([replace(entry, packed=packed) if entry is CONTRACT else entry for entry in ENTRIES])


def _zeros(size_bytes: int) -> bytes:
    """Deflated zeros, without ever holding them."""
    packer, block = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(1024 * 1024)
    return b"".join(packer.compress(block) for _ in range(size_bytes // len(block))) + packer.flush()


def _bomb(size_bytes: int, told_bytes: int, **fields: int) -> bytes:
    packed = _zeros(size_bytes)
    return raw_zip([*ENTRIES, RawEntry(b"bomb", packed=packed).both(method=8, size=told_bytes, crc=0, **fields)])


def _many_small_bombs() -> bytes:
    """Each entry stays below the size where ratios count; together they do not."""
    size = 1024 * 1024
    packed, crc = _zeros(size), zlib.crc32(bytes(size))
    parts = [RawEntry(b"%03d" % i, packed=packed).both(method=8, size=size, crc=crc) for i in range(900)]
    return raw_zip([*ENTRIES, *parts])


def _lying_bomb_that_is_signed() -> bytes:
    """64 MB in the place of the signed contract, told to be 27 bytes long."""
    packed = _zeros(64 * 1024 * 1024)
    return raw_zip([replace(entry, packed=packed) if entry is CONTRACT else entry for entry in ENTRIES])


COPY_CASES = [
    refused(COPIES, "flags", _spoiled(flags=0x0800), "asic.zip.mismatch"),
    refused(COPIES, "method", _spoiled(method=0), "asic.zip.mismatch"),
    refused(COPIES, "time", _spoiled(time=1), "asic.zip.mismatch"),
    refused(COPIES, "date", _spoiled(date=0x21), "asic.zip.mismatch"),
    refused(COPIES, "CRC-32", _spoiled(crc=1), "asic.zip.mismatch", "CRC"),
    refused(COPIES, "compressed size", _spoiled(packed=1), "asic.zip.mismatch", "size"),
    refused(COPIES, "uncompressed size", _spoiled(size=1), "asic.zip.mismatch", "size"),
    refused(COPIES, "name", _spoiled(name=b"kontract.txt"), "asic.zip.mismatch"),
    refused(COPIES, "longer name", _spoiled(name=b"contract.txt2"), "asic.zip.mismatch"),
    refused(
        COPIES,
        "name, with a file behind it",
        _spoiled(name=b"contract.tx", extra=b"t"),
        "asic.zip.mismatch",
    ),
    refused(
        COPIES,
        "ZIP64 sizes in the local header only",
        _spoiled(packed=0xFFFFFFFF, size=0xFFFFFFFF, extra=struct.pack("<HHQQ", 1, 16, 27, 27)),
        "asic.zip.",
    ),
    refused(
        COPIES, "ZIP64 extra field that is not needed", _both(extra=struct.pack("<HHQQ", 1, 16, 5, 5)), "asic.zip.zip64"
    ),
    refused(COPIES, "an extra field that is cut off", _both(extra=struct.pack("<HH", 0x7075, 99)), "asic.zip.extra"),
    refused(COPIES, "a data descriptor that lies", lambda: _streamed(crc=1), "asic.zip.mismatch", "descriptor"),
    refused(COPIES, "a data descriptor that is missing", lambda: _streamed(descriptor=b""), "asic.zip.mismatch"),
    failed(COPIES, "a wrong CRC in both", _both(crc=1), "FORMAT_FAILURE", "asic.zip.data", "CRC"),
    failed(COPIES, "a wrong size in both", _both(size=26), "FORMAT_FAILURE", "asic.zip.data", "longer"),
    refused(COPIES, "encrypted", _both(flags=1), "asic.zip.encrypted"),
    refused(COPIES, "strong encryption", _both(flags=0x40), "asic.zip.flags"),
    refused(COPIES, "masked headers", _both(flags=0x2000), "asic.zip.flags"),
    refused(COPIES, "a patch", _both(flags=0x20), "asic.zip.flags"),
    *(refused(COPIES, f"method {method}", _both(method=method), "asic.zip.method") for method in (9, 12, 14, 93, 99)),
    refused(COPIES, "another disk", _central(disk=1), "asic.zip.zip64"),
]

LAYOUT_CASES = [
    refused(LAYOUT, "data before the first entry", lambda: raw_zip(ENTRIES, prefix=b"#!/bin/sh\n"), "asic.zip.layout"),
    refused(LAYOUT, "data before the file, offsets not told", lambda: b"MZ" + GOOD, "asic.zip.layout"),
    refused(LAYOUT, "data between two entries", _at(2, before=b"hidden"), "asic.zip.layout"),
    refused(
        LAYOUT, "an entry that no directory names", _with(replace(CONTRACT, in_directory=False)), "asic.zip.layout"
    ),
    refused(LAYOUT, "an entry hidden between two others", _at(2, before=HIDDEN), "asic.zip.layout"),
    refused(LAYOUT, "data behind the last entry", lambda: raw_zip(ENTRIES, before_directory=b"x"), "asic.zip.layout"),
    refused(LAYOUT, "data behind the directory", lambda: raw_zip(ENTRIES, before_end=b"x"), "asic.zip.layout"),
    refused(LAYOUT, "data behind the end", lambda: raw_zip(ENTRIES, suffix=b"x"), "asic.zip.end", "data behind it"),
    refused(LAYOUT, "a page break behind the end", lambda: raw_zip(ENTRIES, suffix=b"\n"), "asic.zip.end"),
    refused(LAYOUT, "one container behind the other", lambda: GOOD + GOOD, "asic.zip.layout"),
    refused(
        LAYOUT, "a container in the comment", lambda: raw_zip(ENTRIES, comment=GOOD), "asic.zip.end", "more than one"
    ),
    refused(LAYOUT, "two end records", lambda: raw_zip(ENTRIES, comment=EMPTY), "asic.zip.end", "more than one"),
    refused(
        LAYOUT,
        "an end record in the comment that only a lenient reader takes",
        lambda: raw_zip(ENTRIES, comment=EMPTY + b"x"),
        "asic.zip.end",
        "more than one",
    ),
    refused(
        LAYOUT,
        "a locator of ZIP64 in the last entry's comment",
        lambda: raw_zip([*ENTRIES[:-1], replace(ENTRIES[-1], central={"comment": _zip64_end()})]),
        "asic.zip.zip64",
    ),
    refused(LAYOUT, "an end record of ZIP64", lambda: raw_zip(ENTRIES, before_end=_zip64_end()), "asic.zip.layout"),
    refused(
        LAYOUT, "counts of ZIP64", lambda: raw_zip(ENTRIES, end={"here": 0xFFFF, "count": 0xFFFF}), "asic.zip.zip64"
    ),
    refused(LAYOUT, "an offset of ZIP64", lambda: raw_zip(ENTRIES, end={"offset": 0xFFFFFFFF}), "asic.zip.zip64"),
    refused(
        LAYOUT,
        "fewer entries counted than listed",
        lambda: raw_zip(ENTRIES, end={"here": 3, "count": 3}),
        "asic.zip.central",
    ),
    refused(
        LAYOUT, "more entries counted than listed", lambda: raw_zip(ENTRIES, end={"here": 9, "count": 9}), "asic.zip."
    ),
    refused(LAYOUT, "counts that differ", lambda: raw_zip(ENTRIES, end={"here": 3}), "asic.zip.disks"),
    refused(LAYOUT, "several disks", lambda: raw_zip(ENTRIES, end={"disk": 1, "central_disk": 1}), "asic.zip.disks"),
    refused(LAYOUT, "a comment longer than the file", lambda: raw_zip(ENTRIES, end={"comment": 9}), "asic.zip.end"),
    refused(LAYOUT, "overlapping entries", _overlapping, "asic.zip."),
    refused(LAYOUT, "an entry inside another", _nested_entry, "asic.zip."),
    refused(LAYOUT, "an offset behind the file", _central(offset=0x7FFFFFFF), "asic.zip."),
    refused(LAYOUT, "a hole where the local header is", _central(offset=3), "asic.zip."),
    refused(LAYOUT, "an empty archive", lambda: raw_zip([]), "asic.mimetype.missing"),
    refused(LAYOUT, "an empty file", lambda: b"", "asic.zip.end"),
    refused(LAYOUT, "cut off", lambda: GOOD[:-30], "asic.zip.end"),
    failed(
        LAYOUT,
        "deflated data with more behind it",
        _trailing_deflate,
        "FORMAT_FAILURE",
        "asic.zip.data",
        "not end where",
    ),
    failed(LAYOUT, "not deflated data", _at(1, packed=b"\xff" * 30), "FORMAT_FAILURE", "asic.zip.data", "not deflated"),
]


def _many_signatures() -> bytes:
    """Small, and minutes of work for a judge who does not stop counting."""
    xml = unpack(GOOD)[SIGNATURES]
    return changed(GOOD, {f"META-INF/signatures{i}.xml": xml for i in range(900)})


def _nested() -> bytes:
    """Time-stamped containers inside one another."""
    inner = GOOD
    for _ in range(12):
        inner = stamped(inner, name="inner.asics", at=SIGNED_AT + MINUTE)
    return inner


BOMB_CASES = [
    refused(BOMBS, "900 signature files", _many_signatures, "validation.too_many_signatures", seconds=10.0),
    Case(BOMBS, "12 containers inside one another", _nested, "validation.nested.depth", "not judged", ""),
    refused(BOMBS, "ratio", lambda: _bomb(32 * 1024 * 1024, 32 * 1024 * 1024), "asic.zip.ratio"),
    refused(BOMBS, "ratio over all entries together", _many_small_bombs, "asic.zip.ratio", seconds=5.0),
    failed(
        BOMBS,
        "a size that is a lie",
        _lying_bomb_that_is_signed,
        "FORMAT_FAILURE",
        "asic.zip.data",
        "longer than it says",
    ),
    refused(BOMBS, "4 GB told", lambda: _bomb(1024 * 1024, 0xFFFFFFFE), "asic.zip."),
    refused(
        BOMBS,
        "a directory of 6 MB",
        lambda: raw_zip([*ENTRIES, *(RawEntry(b"%d" % i, central={"comment": bytes(60000)}) for i in range(100))]),
        "asic.zip.central",
        "bytes, at most",
    ),
    refused(
        BOMBS,
        "1,001 entries",
        lambda: raw_zip([*ENTRIES, *(RawEntry(b"%d" % i) for i in range(1001 - len(ENTRIES)))]),
        "asic.zip.too_many_entries",
    ),
    refused(
        BOMBS,
        "65,534 entries",
        lambda: raw_zip([RawEntry(b"%d" % i) for i in range(65534)]),
        "asic.zip.too_many_entries",
        seconds=5.0,
    ),
    refused(
        BOMBS,
        "a mimetype of 30 MB",
        lambda: raw_zip([RawEntry(b"mimetype", bytes(30_000_000)), *ENTRIES[1:]]),
        "asic.zip.entry_too_large",
    ),
    refused(
        BOMBS,
        "a manifest of 30 MB",
        lambda: changed(GOOD, {MANIFEST: b" " * 1_000_000 + bytes(29_000_000)}),
        "asic.zip.",
    ),
]


def all_cases() -> list[Case]:
    cases = [*NAME_CASES, *ODD_NAME_CASES, *COPY_CASES, *LAYOUT_CASES, *BOMB_CASES]
    assert FILES[0].name.encode() == CONTRACT.name
    assert len({str(case) for case in cases}) == len(cases)
    return cases
