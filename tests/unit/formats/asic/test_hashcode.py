"""Containers of digests: what is written is read back; what two readers could read differently is refused."""

import base64
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.asic import build_container, parse_container
from digiid.formats.asic.hashcode import (
    HASHCODES_NAMES,
    FileHash,
    build_hashcode_container,
    hash_file,
    is_hashcode_container,
    parse_hashcode_container,
    parse_hashcodes,
    read_file_hashes,
)
from digiid.kernel.errors import Malformed
from tests.support.pki import AT, FILES

HASHES = tuple(hash_file(io.BytesIO(file.content), name=file.name, media_type=file.media_type) for file in FILES)
CONTAINER = build_hashcode_container(HASHES, at=AT)
SHA256 = base64.b64encode(bytes(32)).decode()


def changed(**files: str | None) -> bytes:
    """The container with one of its files replaced, added or left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(CONTAINER)) as old, zipfile.ZipFile(out, "w") as new:
        contents: dict[str, bytes | None] = {name: old.read(name) for name in old.namelist()}
        contents |= {name: None if text is None else text.encode() for name, text in files.items()}
        for name, content in contents.items():
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def code_of(container: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        parse_hashcode_container(io.BytesIO(container))
    return caught.value.code


def test_what_is_written_is_read_back_and_holds_no_file() -> None:
    found = parse_hashcode_container(io.BytesIO(CONTAINER))
    assert found.files == HASHES
    assert is_hashcode_container(found.container) and not found.container.data_files
    assert not any(file.content in CONTAINER for file in FILES)
    full = parse_container(io.BytesIO(build_container(FILES, (), at=AT)))
    assert not is_hashcode_container(full)
    with pytest.raises(Malformed, match=r"asic\.hashcode\.data_file"):
        read_file_hashes(full)


def test_lists_that_do_not_fit_together_are_refused() -> None:
    one = f'<hashcodes><file-entry full-path="contract.txt" hash="{SHA256}" size="27"/></hashcodes>'
    assert code_of(changed(**{HASHCODES_NAMES["sha256"]: one})) == "asic.hashcode.differ"
    assert code_of(changed(**{HASHCODES_NAMES["sha512"]: None})) == "asic.hashcode.missing"
    assert code_of(changed(**{"contract.txt": "the file itself"})) == "asic.hashcode.data_file"
    other_size = parse_text(HASHCODES_NAMES["sha512"]).replace('size="27"', 'size="28"')
    assert code_of(changed(**{HASHCODES_NAMES["sha512"]: other_size})) == "asic.hashcode.differ"
    manifest = parse_text("META-INF/manifest.xml").replace("contract.txt", "contrakt.txt")
    assert code_of(changed(**{"META-INF/manifest.xml": manifest})) == "asic.hashcode.differ"


def parse_text(name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(CONTAINER)) as archive:
        return archive.read(name).decode()


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        ("<hashcodes", "asic.hashcode.xml"),
        ("<other/>", "asic.hashcode.root"),
        ("<hashcodes><file-entry/></hashcodes>", "asic.hashcode.entry"),
        (f'<hashcodes><file-entry full-path="a" hash="{SHA256}" size="-1"/></hashcodes>', "asic.hashcode.entry"),
        (f'<hashcodes><file-entry full-path="a" hash="{SHA256}" size="٣"/></hashcodes>', "asic.hashcode.entry"),
        (f'<hashcodes><file-entry full-path="a" hash="{SHA256}" size="{10**20}"/></hashcodes>', "asic.hashcode.entry"),
        ('<hashcodes><file-entry full-path="a" hash="AAAA" size="1"/></hashcodes>', "asic.hashcode.digest"),
        ('<hashcodes><file-entry full-path="a" hash="*" size="1"/></hashcodes>', "asic.hashcode.digest"),
        (
            "<hashcodes>" + 2 * f'<file-entry full-path="a" hash="{SHA256}" size="1"/>' + "</hashcodes>",
            "asic.hashcode.entry",
        ),
    ],
)
def test_a_list_that_is_not_one_is_refused(xml: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_hashcodes(xml.encode(), "sha256")
    assert caught.value.code.startswith("asic.hashcode")
    if code != "asic.hashcode.xml":
        assert caught.value.code == code


@pytest.mark.parametrize(
    "file",
    [
        FileHash("../a", 1, bytes(32), bytes(64)),
        FileHash("a", 0, bytes(32), bytes(64)),
        FileHash("a", -5, bytes(32), bytes(64)),
        FileHash("a", 1, bytes(31), bytes(64)),
        FileHash("a", 1, bytes(32), bytes(32)),
        FileHash("a", 2**63, bytes(32), bytes(64)),
        FileHash("a", 1, bytes(32), bytes(64), "no media type"),
    ],
)
def test_what_cannot_stand_in_a_container_is_not_written(file: FileHash) -> None:
    with pytest.raises(Malformed):
        build_hashcode_container([file], at=AT)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_only_malformed_escapes_from_a_damaged_container(data: st.DataObject) -> None:
    damaged = bytearray(CONTAINER)
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    try:
        parse_hashcode_container(io.BytesIO(bytes(damaged)))
    except Malformed:
        pass


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"<hashcodes>{text}</hashcodes>".encode()))
def test_only_malformed_escapes_from_a_damaged_list(xml: bytes) -> None:
    try:
        parse_hashcodes(xml, "sha512")
    except Malformed:
        pass
