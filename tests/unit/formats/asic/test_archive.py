"""The ZIP reader: one file, one reading, bounded cost."""

import io
import struct
import zipfile
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.asic.archive import Limits, build_archive, build_part, copy_part, parse_archive
from digiid.kernel.errors import Malformed

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def archive_of(*files: tuple[str, bytes], comment: bytes = b"") -> bytes:
    return build_archive([build_part(name, content, at=AT) for name, content in files], comment=comment)


def refused(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(Malformed) as caught:
        archive = parse_archive(io.BytesIO(data), limits)
        for entry in archive.entries:
            for _ in archive.stream(entry):
                pass
    return caught.value.code


def test_what_is_written_is_read_back_and_other_programs_agree() -> None:
    files = (("mimetype", b"x/y"), ("õ ä.txt", b"abc" * 1000), ("empty.bin", b""), ("noise", bytes(range(256))))
    data = archive_of(*files, comment=b"made by a test")
    archive = parse_archive(io.BytesIO(data))
    assert [(entry.name, archive.read(entry, max_bytes=10000)) for entry in archive.entries] == list(files)
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert other.testzip() is None
        assert [(info.filename, other.read(info)) for info in other.infolist()] == list(files)
        assert other.comment == b"made by a test"


def test_what_other_programs_write_to_a_stream_is_read() -> None:
    class Unseekable(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as other:  # type: ignore[arg-type]
        other.writestr("a.txt", b"with a data descriptor " * 100)
    archive = parse_archive(io.BytesIO(stream.data))
    assert archive.entries[0].flags & 8
    assert archive.read(archive.entries[0], max_bytes=10000) == b"with a data descriptor " * 100


def test_copied_entries_keep_their_packed_bytes() -> None:
    data = archive_of(("a", b"aaaa" * 500), ("b", b"b"))
    archive = parse_archive(io.BytesIO(data))
    copied = build_archive([copy_part(archive, entry) for entry in archive.entries])
    assert copied == data


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/.",
        "a\\b",
        "..",
        "a\x00b",
        "tab\there",
        "a\x9bb",
        "/",
    ],
)
def test_names_that_leave_the_container_or_hide_are_refused(name: str) -> None:
    plain = archive_of(("X" * len(name.encode()), b"data"))
    data = plain.replace(b"X" * len(name.encode()), name.encode())
    assert refused(data) == "asic.zip.name"


@pytest.mark.parametrize("second", ["A.TXT", "a.txt", "A.txt"])
def test_names_equal_but_for_case_are_refused(second: str) -> None:
    assert refused(archive_of(("a.txt", b"1"), (second, b"2"))) == "asic.zip.duplicate_name"


def test_names_equal_after_normalization_are_refused() -> None:
    assert refused(archive_of(("é.txt", b"1"), ("e\u0301.txt", b"2"))) == "asic.zip.duplicate_name"


def test_data_before_the_first_entry_is_refused() -> None:
    assert refused(b"#!/bin/sh\n" + archive_of(("a", b"1"))) == "asic.zip.layout"


def test_data_behind_the_end_is_refused() -> None:
    assert refused(archive_of(("a", b"1")) + b"more") == "asic.zip.end"


def test_an_offset_correct_prefix_is_refused() -> None:
    data = archive_of(("a", b"1"))
    prefix = b"hidden"
    archive = bytearray(prefix + data)
    end = archive.rindex(b"PK\x05\x06")
    central = archive.rindex(b"PK\x01\x02")
    struct.pack_into("<I", archive, end + 16, central)
    struct.pack_into("<I", archive, central + 42, len(prefix))
    assert refused(bytes(archive)) == "asic.zip.layout"


def test_two_end_records_are_refused() -> None:
    inner = archive_of(("a", b"1"))
    end = inner[-22:]
    # The outer comment is itself an end record that fits: readers disagree about which one counts.
    outer = bytearray(archive_of(("a", b"1"), comment=end))
    assert refused(bytes(outer)) == "asic.zip.end"


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (8, 1, "asic.zip.encrypted"),
        (8, 1 << 13, "asic.zip.flags"),
        (10, 12, "asic.zip.method"),
        (28, 3, "asic.zip.name"),
        (34, 1, "asic.zip.zip64"),
    ],
)
def test_fields_of_the_central_directory_that_are_not_supported(offset: int, value: int, code: str) -> None:
    data = bytearray(archive_of(("a", b"1")))
    central = data.rindex(b"PK\x01\x02")
    struct.pack_into("<H", data, central + offset, value)
    assert refused(bytes(data)).split(".")[1] == "zip"
    if code != "asic.zip.name":
        assert refused(bytes(data)) == code


def test_links_are_refused() -> None:
    data = bytearray(archive_of(("a", b"/etc/passwd")))
    central = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 38, 0o120777 << 16)
    assert refused(bytes(data)) == "asic.zip.link"


@pytest.mark.parametrize(
    ("offset", "size"), [(6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (30, "B")]
)
def test_local_header_and_central_directory_must_agree(offset: int, size: str) -> None:
    data = bytearray(archive_of(("abc", b"some content")))
    value = struct.unpack_from("<" + size, data, offset)[0]
    struct.pack_into("<" + size, data, offset, value ^ (8 if offset == 6 else 1))
    assert refused(bytes(data)).startswith("asic.zip.")


def test_two_entries_over_the_same_bytes_are_refused() -> None:
    data = archive_of(("a", b"1"), ("b", b"1"))
    shifted = bytearray(data)
    second = shifted.rindex(b"PK\x01\x02")
    struct.pack_into("<I", shifted, second + 42, 0)
    assert refused(bytes(shifted)) in ("asic.zip.layout", "asic.zip.mismatch")


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    assert refused(archive_of(("zeros", bytes(5 * 1024 * 1024)))) == "asic.zip.ratio"


def test_a_bomb_that_lies_about_its_size_stops_one_byte_too_late_at_most() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(50 * 1024 * 1024)) + packer.flush()
    data = bytearray(archive_of(("bomb", bytes(1000))))
    archive = parse_archive(io.BytesIO(bytes(data)))
    old = archive.entries[0]
    honest = bytes(data)
    body = honest[: old.data_offset] + packed + honest[old.data_offset + old.packed_bytes :]
    lying = bytearray(body)
    struct.pack_into("<I", lying, 18, len(packed))
    central = lying.rindex(b"PK\x01\x02")
    struct.pack_into("<I", lying, central + 20, len(packed))
    struct.pack_into("<I", lying, lying.rindex(b"PK\x05\x06") + 16, central)
    opened = parse_archive(io.BytesIO(bytes(lying)))
    seen = 0
    with pytest.raises(Malformed) as caught:
        for piece in opened.stream(opened.entries[0]):
            seen += len(piece)
    assert caught.value.code == "asic.zip.data"
    assert seen <= 1000


def test_count_and_total_size_have_limits() -> None:
    many = archive_of(*((f"f{i}", b"") for i in range(20)))
    assert refused(many, Limits(max_entries=19)) == "asic.zip.too_many_entries"
    assert refused(archive_of(("a", bytes(1000))), Limits(max_total_bytes=999)) == "asic.zip.too_large"
    archive = parse_archive(io.BytesIO(archive_of(("a", bytes(1000)))))
    with pytest.raises(Malformed, match="entry_too_large"):
        archive.read(archive.entries[0], max_bytes=999)


def test_changed_content_is_noticed() -> None:
    data = bytearray(archive_of(("noise", bytes(range(256)))))
    data[100] ^= 1
    assert refused(bytes(data)) == "asic.zip.data"


def test_every_cut_is_refused() -> None:
    data = archive_of(("mimetype", b"x/y"), ("a.txt", b"abc" * 100))
    for length in range(len(data)):
        assert refused(data[:length]).startswith("asic.zip.")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_only_malformed_escapes_from_noise(data: bytes) -> None:
    assert refused(data).startswith("asic.zip.")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_only_malformed_escapes_from_damaged_archives(data: st.DataObject) -> None:
    good = bytearray(archive_of(("mimetype", b"x/y"), ("a.txt", b"abc" * 100), comment=b"c"))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(good) - 1))
        good[position] = data.draw(st.integers(0, 255))
    try:
        archive = parse_archive(io.BytesIO(bytes(good)))
        for entry in archive.entries:
            archive.read(entry, max_bytes=10000)
    except Malformed:
        pass
