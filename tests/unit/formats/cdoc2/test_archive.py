"""The files inside: what we write is plain tar for others, and hostile archives end in Malformed."""

import hashlib
import io
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.cdoc2 import DEFAULT_LIMITS, ArchiveLimits, SourceFile, check_name, pack_files, unpack_files
from digiid.formats.cdoc2.archive import _build_header, _build_headers
from digiid.kernel.errors import Malformed, Refused
from tests.unit.formats.fuzz import damaged, only_raises

Files = Sequence[tuple[str, bytes]]


def source(name: str, content: bytes) -> SourceFile:
    return SourceFile(name, len(content), lambda: [content])


def pack(files: Files) -> bytes:
    return b"".join(pack_files(source(name, content) for name, content in files))


def unpack(payload: bytes, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> list[tuple[str, bytes]]:
    parts = (payload[at : at + 100] for at in range(0, len(payload), 100))
    found = unpack_files(parts, payload_bytes=len(payload), limits=limits)
    return [(file.name, b"".join(file.chunks)) for file in found]


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive by Python's own tar, with the two blocks at its end and no padding."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        end = archive.offset
    return out.getvalue()[:end] + bytes(1024)


def member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


FILES: Files = (
    ("a.txt", b"hello " * 500),
    ("tühi", b""),
    ("x" * 99, b"1"),
    ("y" * 100, b"2" * 512),
    ("õ" * 100 + ".bin", bytes(range(256)) * 3),
)


def test_files_are_read_back() -> None:
    assert unpack(pack(FILES)) == list(FILES)


def test_other_programs_see_the_same_files_and_exactly_two_blocks_at_the_end() -> None:
    archive = zlib.decompress(pack(FILES))
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        seen = []
        for entry in opened:
            stream = opened.extractfile(entry)
            assert stream is not None and entry.mode == 0o644 and entry.mtime == 0 and not entry.uname
            seen.append((entry.name, stream.read()))
            end = opened.offset
    assert seen == list(FILES)
    assert len(archive) == end + 1024


def test_what_is_compressed_already_is_stored_beside_what_is_not() -> None:
    noise = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)) * 2
    mixed = [("a.txt", b"a" * 9000), ("b.zip", noise[:8192]), ("c.txt", b"c" * 9000), ("d.zip", noise[:8192])]
    payload = pack(mixed)
    assert unpack(payload) == mixed
    assert zlib.decompress(payload)[:5] == b"a.txt"  # the checksum of the parts is that of the whole
    assert len(payload) < 2 * 8192 + 3000
    assert noise[:8192] in payload and b"a" * 9000 not in payload
    sources = [source(name, content) for name, content in mixed]
    assert len(b"".join(pack_files(sources, compresses=False))) > 2 * 8192 + 18000


def test_archives_of_another_program_are_read() -> None:
    plain = tar_of((member("a.txt", mtime=1.5, uname="somebody"), b"a"), (member("õ" * 90), b"b"))
    assert unpack(zlib.compress(plain)) == [("a.txt", b"a"), ("õ" * 90, b"b")]


def test_a_header_for_more_than_eight_gigabytes_names_its_size() -> None:
    def endless() -> Iterator[bytes]:
        yield b"x"

    parts = pack_files([SourceFile("big", 2**40, endless)])
    with pytest.raises(Refused, match=r"cdoc2\.file_changed"):
        list(parts)
    headers = zlib.compressobj()
    payload = headers.compress(_build_headers("big", 2**40) + b"x") + headers.flush()
    with pytest.raises(Malformed, match=r"cdoc2\.archive\.bomb"):
        unpack(payload)
    with pytest.raises(Malformed, match=r"cdoc2\.archive\.cut"):
        unpack(payload, limits=ArchiveLimits(max_bytes=2**41))


@pytest.mark.parametrize("claimed", [2, 4, 512])
def test_a_file_that_changes_while_it_is_read_is_noticed(claimed: int) -> None:
    with pytest.raises(Refused, match=r"cdoc2\.file_changed"):
        list(pack_files([SourceFile("a", claimed, lambda: [b"xyz"])]))


BAD_NAMES = [
    ("", "empty"),
    (".", "empty"),
    ("..", "empty"),
    (" ", "empty"),
    ("../a", "path"),
    ("/etc/passwd", "path"),
    ("a/b", "path"),
    ("a\\b", "path"),
    ("C:a", "character"),
    ("a\nb", "character"),
    ("a\x00b", "character"),
    ("a\x85b", "character"),
    ("exe.\u202etxt", "character"),
    ("a\u2066b", "character"),
    ("a\u200bb", "character"),
    ("a\ufeffb", "character"),
    ("a\u2028b", "character"),
    ("\ud800", "character"),
    ("a?", "character"),
    ("-rf", "reserved"),
    (" a", "reserved"),
    ("a.", "reserved"),
    ("a ", "reserved"),
    ("CON", "reserved"),
    ("aux.txt", "reserved"),
    ("LPT1.pdf", "reserved"),
    ("õ" * 128, "length"),
]


@pytest.mark.parametrize(("name", "code"), BAD_NAMES)
def test_names_that_mean_another_place_or_look_like_another_name(name: str, code: str) -> None:
    with pytest.raises(Malformed, match=rf"cdoc2\.name\.{code}"):
        check_name(name)
    with pytest.raises(Malformed, match=rf"cdoc2\.name\.{code}"):
        pack([(name, b"")])


@pytest.mark.parametrize("name", ["../a", "/a", "a\nb", "exe.\u202etxt", "õ" * 128])
def test_such_names_are_refused_from_others_too(name: str) -> None:
    with pytest.raises(Malformed, match=r"cdoc2\.name"):
        unpack(zlib.compress(tar_of((member(name), b""))))


@pytest.mark.parametrize("names", [("a", "a"), ("a.TXT", "A.txt"), ("\u00e4", "a\u0308"), ("Straße", "STRASSE")])
def test_two_names_for_one_file(names: tuple[str, str]) -> None:
    with pytest.raises(Malformed, match=r"cdoc2\.name\.duplicate"):
        pack([(name, b"") for name in names])
    with pytest.raises(Malformed, match=r"cdoc2\.name\.duplicate"):
        unpack(zlib.compress(tar_of(*((member(name), b"") for name in names))))


@pytest.mark.parametrize(
    "kind",
    [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, b"7", b"V"],
)
def test_only_plain_files_are_taken(kind: bytes) -> None:
    hostile = tar_of((member("a", type=kind, linkname="b"), b""))
    with pytest.raises(Malformed, match=r"cdoc2\.archive\.kind"):
        unpack(zlib.compress(hostile))


def test_a_plain_file_that_names_a_link_gnu_names_and_global_records_are_refused() -> None:
    hostile = [
        tar_of((member("a", linkname="/etc/passwd"), b"")),
        tar_of((member("n" * 150), b""), form=tarfile.GNU_FORMAT),
    ]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "evil"}) as archive:
        archive.addfile(member("a"))
    hostile.append(out.getvalue()[:2048] + bytes(1024))
    for archived in hostile:
        with pytest.raises(Malformed, match=r"cdoc2\.archive\.kind"):
            unpack(zlib.compress(archived))


@pytest.mark.parametrize(
    ("records", "accepted"),
    [
        (b"13 mtime=1.5\n", True),
        (b"10 path=b\n", True),
        (b"10 size=1\n", True),
        (b"9 path=b\n", True),
        (b"8 path=b\n", False),
        (b"11 path=b\n", False),
        (b"010 path=b\n", False),
        (b"x path=b\n", False),
        (b"10 path=b\n10 path=c\n", False),
        (b"14 linkpath=b\n", False),
        (b"22 GNU.sparse.major=1\n", False),
        (b"11 size=-1\n", False),
        (b"11 path=\xffb\n", False),
        (b"9 path b\n", False),
        (b"", False),
    ],
)
def test_records_before_a_file(records: bytes, accepted: bool) -> None:
    padded = records + bytes(-len(records) % 512)
    archive = _build_header(b"PaxHeaders/a", len(records), b"x") + padded + _build_header(b"a", 1, b"0")
    payload = zlib.compress(archive + b"1" + bytes(511 + 1024))
    if accepted:
        assert unpack(payload) == [("b" if b"path" in records else "a", b"1")]
    else:
        with pytest.raises(Malformed, match=r"cdoc2\.archive\.record"):
            unpack(payload)


def valid_tar() -> bytes:
    return tar_of((member("a"), b"1"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda tar: tar[:-512], "archive.cut"),
        (lambda tar: tar[:-512] + b"x" * 512, "archive.end"),
        (lambda tar: tar + bytes(512), "archive.trailing"),
        (lambda tar: tar + b"x", "archive.trailing"),
        (lambda tar: tar[:513] + b"hidden" + tar[519:], "archive.padding"),
        (lambda tar: tar[:148] + b"0000000\0" + tar[156:], "archive.checksum"),
        (lambda tar: b"b" + tar[1:], "archive.checksum"),
        (lambda _: _build_header(b"a\0b", 0, b"0") + bytes(1024), "archive.name"),
        (lambda _: _build_header(b"\xff", 0, b"0") + bytes(1024), "archive.name"),
        (lambda _: bytes(1024), "archive.empty"),
    ],
)
def test_what_hides_in_an_archive(change: Callable[[bytes], bytes], code: str) -> None:
    with pytest.raises(Malformed, match=rf"cdoc2\.{code}"):
        unpack(zlib.compress(change(valid_tar())))


def test_nothing_may_follow_the_compressed_stream() -> None:
    payload = zlib.compress(valid_tar())
    for hostile, code in ((payload + b"x", "trailing"), (payload + bytes(300), "trailing")):
        with pytest.raises(Malformed, match=rf"cdoc2\.archive\.{code}"):
            unpack(hostile)
    for hostile in (payload[:-5], payload[:20], b"", b"no zlib", payload[:-1] + b"x"):
        with pytest.raises(Malformed, match=r"cdoc2\.zlib"):
            unpack(hostile)


def test_bombs_are_stopped_early_and_in_little_memory() -> None:
    squeeze = zlib.compressobj(1)
    payload = squeeze.compress(_build_header(b"a", 40 << 20, b"0"))
    payload += b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(40)) + squeeze.flush()
    tracemalloc.start()
    given_bytes = 0
    with pytest.raises(Malformed, match=r"cdoc2\.archive\.bomb"):
        for file in unpack_files(iter([payload]), payload_bytes=len(payload)):
            for chunk in file.chunks:
                given_bytes += len(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert given_bytes < 20 << 20 and peak < 4 << 20


def test_limits_on_count_and_size() -> None:
    many = pack([(f"{number}.txt", b"") for number in range(6)])
    with pytest.raises(Malformed, match=r"cdoc2\.archive\.count"):
        unpack(many, limits=ArchiveLimits(max_files=5))
    large = pack([("a", b"x" * 2000), ("b", b"x" * 2000)])
    with pytest.raises(Malformed, match=r"cdoc2\.archive\.bomb"):
        unpack(large, limits=ArchiveLimits(max_bytes=3000))


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_archives_raise_malformed_and_nothing_else(data: st.DataObject) -> None:
    hostile = data.draw(damaged(zlib.decompress(pack([FILES[0], FILES[1], FILES[3]]))))
    only_raises(Malformed, lambda: unpack(zlib.compress(hostile, 1)))


@given(data=st.data())
def test_damaged_compressed_streams_raise_malformed_and_nothing_else(data: st.DataObject) -> None:
    hostile = data.draw(damaged(pack(FILES)))
    only_raises(Malformed, lambda: unpack(hostile))
