"""Letters: into a folder once, never with a header that somebody smuggled in."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.kernel.errors import Malformed, Refused, Unavailable
from digiid.platform.mail import FolderTransport, Letter, ReceivedLetter, build_message, list_letters, parse_letter

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
LETTER = Letter("0b6f-1", "anna@example.org", "Taotlus: vastu võetud", "Tere!\n\nhttp://apply.example/link/x\n", AT)


def test_a_letter_is_written_and_read_again(tmp_path: Path) -> None:
    transport = FolderTransport(tmp_path / "box", sender="Board <board@digiid.example>")
    transport.send(LETTER)
    (read,) = list_letters(tmp_path / "box")
    assert (read.to, read.subject, read.text) == (LETTER.to, LETTER.subject, LETTER.text)
    assert read.at == AT
    assert next((tmp_path / "box").iterdir()).stat().st_mode & 0o077 == 0


def test_the_same_letter_again_makes_no_second_one(tmp_path: Path) -> None:
    transport = FolderTransport(tmp_path, sender="board@digiid.example")
    transport.send(LETTER)
    transport.send(Letter(LETTER.message_id, LETTER.to, LETTER.subject, LETTER.text, AT.replace(hour=11)))
    assert len(list_letters(tmp_path)) == 1


def test_the_newest_letter_is_first_and_what_is_no_letter_is_left_out(tmp_path: Path) -> None:
    transport = FolderTransport(tmp_path, sender="board@digiid.example")
    for hour in (9, 11, 10):
        transport.send(Letter(f"m{hour}", LETTER.to, f"at {hour}", "x", AT.replace(hour=hour)))
    (tmp_path / "big.eml").write_bytes(b"x" * 300_000)
    assert [letter.subject for letter in list_letters(tmp_path)] == ["at 11", "at 10", "at 9"]


@pytest.mark.parametrize("address", ["", "anna", "a@b, c@d", "a@b\nBcc: x@y", "<a@b>", 'a"@b'])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(Refused, match=r"mail\.refused"):
        build_message(Letter("m", address, "s", "t", AT), sender="board@digiid.example")


def test_a_subject_with_a_line_break_is_refused() -> None:
    with pytest.raises(Refused, match=r"mail\.refused"):
        build_message(Letter("m", "a@example.org", "s\nBcc: x@example.org", "t", AT), sender="board@digiid.example")


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match=r"mail\.unreachable"):
        FolderTransport(tmp_path / "file", sender="board@digiid.example").send(LETTER)


@given(st.binary(max_size=400))
def test_only_malformed_escapes_the_parser(data: bytes) -> None:
    try:
        assert isinstance(parse_letter("x.eml", data), ReceivedLetter)
    except Malformed:
        pass
