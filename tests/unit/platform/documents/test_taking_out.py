"""Files taken out of containers into a folder: all of them or none, whatever the container says."""

import io
import os
import re
import threading
import zipfile
from pathlib import Path

import pytest

from digiid.formats.asic import DataFile, Limits
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused
from digiid.platform.documents.taking_out import list_files, take_out_files
from tests.support.ddoc import DdocMaker

MEDIA_TYPE = "application/vnd.etsi.asic-e+zip"
MANIFEST = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'


def container(tmp_path: Path, *files: tuple[str, bytes]) -> Path:
    """By hand: our own builder makes no such names."""
    path = tmp_path / "signed.asice"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", MEDIA_TYPE)
        archive.writestr("META-INF/manifest.xml", MANIFEST)
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def test_the_files_of_a_container_come_out_with_their_bytes(tmp_path: Path) -> None:
    path = container(tmp_path, ("a.txt", b"a"), ("õ.bin", bytes(300_000)))
    taken = take_out_files(path, tmp_path / "new" / "out")
    assert taken == [tmp_path / "new" / "out" / "a.txt", tmp_path / "new" / "out" / "õ.bin"]
    assert [one.read_bytes() for one in taken] == [b"a", bytes(300_000)]


def test_two_files_of_one_name_in_two_folders_both_come_out(tmp_path: Path) -> None:
    path = container(tmp_path, ("a/x.txt", b"1"), ("b/X.txt", b"2"))
    taken = take_out_files(path, tmp_path / "out")
    assert [one.name for one in taken] == ["x.txt", "2-X.txt"]
    assert [one.read_bytes() for one in taken] == [b"1", b"2"]


def test_a_file_that_has_the_second_name_already_keeps_it(tmp_path: Path) -> None:
    path = container(tmp_path, ("3-x", b"1"), ("x", b"2"), ("a/x", b"3"), ("b/3-X", b"4"))
    taken = take_out_files(path, tmp_path / "out")
    assert [one.name for one in taken] == ["3-x", "x", "3-3-x", "4-3-X"]
    assert [one.read_bytes() for one in taken] == [b"1", b"2", b"3", b"4"]


def test_a_name_that_hides_its_ending_is_written_so_that_it_is_seen(tmp_path: Path) -> None:
    path = container(tmp_path, ("bill\u202efdp.exe", b"x"))
    assert [one.name for one in take_out_files(path, tmp_path / "out")] == ["bill[U+202E]fdp.exe"]


def test_nothing_appears_when_one_file_is_damaged_or_there_already(tmp_path: Path) -> None:
    path = container(tmp_path, ("a.txt", b"a"), ("b.bin", bytes(range(256)) * 8))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "b.bin").write_bytes(b"mine")
    with pytest.raises(Refused, match="output_exists"):
        take_out_files(path, folder)
    assert [(one.name, one.read_bytes()) for one in folder.iterdir()] == [("b.bin", b"mine")]
    changed = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(changed))) as archive:
        entry = archive.getinfo("b.bin")
    changed[entry.header_offset + 30 + len("b.bin") + 5] ^= 1
    path.write_bytes(changed)
    with pytest.raises(Malformed, match=r"asic\.zip"):
        take_out_files(path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_ddoc_files_come_out_too(tmp_path: Path) -> None:
    maker = DdocMaker(files=(DataFile("vana & uus.txt", "text/plain", b"old"),))
    path = tmp_path / "old.ddoc"
    path.write_bytes(maker.document())
    (taken,) = take_out_files(path, tmp_path / "out")
    assert (taken.name, taken.read_bytes()) == ("vana & uus.txt", b"old")


@pytest.mark.parametrize("content", [b"", b"junk", b"<x/>", b"%PDF-1.7"])
def test_what_is_no_container_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.asice"
    path.write_bytes(content)
    with pytest.raises(DigiidError) as refused:
        take_out_files(path, tmp_path / "out")
    assert refused.value.code == "documents.no_container" and not (tmp_path / "out").exists()


def test_a_pipe_is_no_file_to_take_something_out_of(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = container(tmp_path, ("a.txt", b"a")).read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    with pytest.raises(NotFound, match="seekable"):
        take_out_files(pipe, tmp_path / "out")
    writer.join()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(max_entries=1), "ddoc.count"), (Limits(max_total_bytes=2999), "ddoc.too_large"), (Limits(), None)],
    ids=["entries", "bytes", "usual"],
)
def test_a_digidoc_file_keeps_to_the_limits_of_containers(limits: Limits, code: str | None) -> None:
    files = [DataFile("a", "text/plain", bytes(1000)), DataFile("b", "text/plain", bytes(2000))]
    document = io.BytesIO(DdocMaker(files=files).document())
    if code is None:
        assert [(name, b"".join(content)) for name, content in list_files(document, name="x", limits=limits)] == [
            (file.name, file.content) for file in files
        ]
        return
    with pytest.raises(Malformed, match=re.escape(code)):
        list(list_files(document, name="x", limits=limits))


def test_a_digidoc_file_with_digests_only_has_no_files_to_take_out(tmp_path: Path) -> None:
    path = tmp_path / "old.ddoc"
    path.write_bytes(DdocMaker(hashcode=True).document())
    with pytest.raises(Malformed, match=r"ddoc\.digest_only"):
        take_out_files(path, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
