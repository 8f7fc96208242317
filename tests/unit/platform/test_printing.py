"""Pages to print hold whatever strangers write, in bounded time."""

from datetime import UTC, datetime

import pytest
from pypdfium2 import PdfDocument

from digiid.platform.printing import PrintedPage

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def page() -> PrintedPage:
    return PrintedPage(title="TEST", language="en", foot="foot", created_at=AT)


def text_of(printed: PrintedPage) -> str:
    with PdfDocument(printed.to_bytes()) as document:
        return "".join(document[number].get_textpage().get_text_range() for number in range(len(document)))


@pytest.mark.parametrize("character", ["W", "\u2031", " x", "\u202e"])  # wide, widest, words, written as [U+202E]
def test_a_value_of_any_length_fits_a_page(character: str) -> None:
    printed = page()
    printed.pairs([("Files", character * 5000), ("Level", "QESIG")])
    assert "QESIG" in text_of(printed)


def test_a_value_of_ordinary_length_is_whole() -> None:
    printed = page()
    printed.pairs([("Files", ", ".join(f"letter-{number}.txt" for number in range(60)))])
    assert "letter-59.txt" in text_of(printed)


def test_lists_without_measure_end_and_say_how_much_is_missing() -> None:
    printed = page()
    printed.bullets([f"{number} {'x ' * 450}" for number in range(300)])
    printed.bullets(["the error", "another"])
    told = text_of(printed)
    for text in ("\u2026 (+79)", "the error", "\u2026 (+1)"):
        assert text in told
    whole = page()
    whole.bullets([f"file-{number}.txt" for number in range(1000)])
    assert "file-999.txt" in text_of(whole)
