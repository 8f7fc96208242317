"""Pictures of what is signed: drawn by a limited process, and plain text made safe to look at."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from digiid.kernel.errors import Malformed
from digiid.platform.preview import MAX_TEXT_BYTES, Picture, can_draw, draw_page, read_text
from digiid.platform.printing import PrintedPage
from digiid.platform.visible_text import make_visible
from tests.support.pdf import PLAIN_OBJECTS, written_by_hand
from tests.support.pki import AT


def printed(pages: int) -> bytes:
    page = PrintedPage(title="TEST", language="en", foot="foot", created_at=AT)
    for number in range(pages - 1):
        page.paragraph(f"Page {number}")
        page.add_page()
    return page.to_bytes()


def test_a_page_of_a_pdf_becomes_a_picture() -> None:
    drawn = draw_page(printed(3), page=2)
    assert isinstance(drawn, Picture)
    assert drawn.pages == 3
    with Image.open(io.BytesIO(drawn.png)) as picture:
        assert picture.format == "PNG"
        assert 900 <= picture.width <= 1000


def test_a_picture_is_drawn_small_and_upright() -> None:
    out = io.BytesIO()
    Image.new("RGB", (3000, 1000), "red").save(out, format="JPEG")
    with Image.open(io.BytesIO(draw_page(out.getvalue()).png)) as picture:
        assert picture.size == (1000, 333)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"%PDF-1.7\n", b"%PDF-1.7\n" + b"[" * 100_000, b"\x89PNG\r\n\x1a\n" + bytes(100)],
    ids=["empty", "text", "cut pdf", "deep pdf", "cut png"],
)
def test_what_cannot_be_drawn_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        draw_page(content)
    assert refused.value.code == "preview.unreadable"


def test_a_picture_of_too_many_pixels_is_not_unpacked() -> None:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, format="PNG")
    with pytest.raises(Malformed):
        draw_page(out.getvalue())


def test_a_page_that_is_not_there_is_told_apart() -> None:
    with pytest.raises(Malformed) as refused:
        draw_page(printed(1), page=1)
    assert refused.value.code == "preview.no_page"


def test_only_known_kinds_are_drawn() -> None:
    assert can_draw("application/pdf")
    assert not can_draw("image/svg+xml")
    assert not can_draw("text/html")


def test_text_shows_what_hides() -> None:
    assert read_text("tere\r\nmaailm\u202e!".encode()) == "tere\nmaailm[U+202E]!"
    assert read_text(b"\xff\xfe") is None
    assert read_text(b"a\x00b") is None


def test_a_long_text_is_cut_between_characters() -> None:
    text = read_text("õ".encode() * MAX_TEXT_BYTES)
    assert text is not None
    assert set(text) == {"õ"}
    assert len(text) == MAX_TEXT_BYTES // 2


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_visible_text_never_hides_anything(text: str) -> None:
    assert make_visible(text).isprintable()


def test_a_printed_page_carries_its_words_and_language() -> None:
    page = PrintedPage(title="Aruanne", language="et", foot="TEST", created_at=AT)
    page.heading("Πλάτων Платон Õnne")
    page.verdict("Valid", tone="green")
    page.pairs([("SHA-256", "a" * 128), ("File", "x\u202ey.txt")])
    page.bullets(["one", "two"])
    written = page.to_bytes()
    assert written.startswith(b"%PDF-")
    assert b"/Lang (et)" in written


def test_what_stands_in_a_form_is_shown() -> None:
    """It is signed with the rest, and every reader shows it."""
    objects = dict(PLAIN_OBJECTS)
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [6 0 R] >> >>"
    objects[3] = objects[3].replace(b"/Contents", b"/Annots [6 0 R] /Contents")
    seen = b"0 0 0 rg 0 0 160 40 re f"
    objects[6] = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (amount) /V (x) /Rect [20 20 180 60] /P 3 0 R /F 4"
        b" /AP << /N 7 0 R >> >>"
    )
    objects[7] = b"<< /Type /XObject /Subtype /Form /BBox [0 0 160 40] /Length %d >>\nstream\n%s\nendstream" % (
        len(seen),
        seen,
    )
    picture = Image.open(io.BytesIO(draw_page(written_by_hand(objects)).png)).convert("L")
    scale = picture.width / 300
    assert picture.getpixel((int(100 * scale), picture.height - int(40 * scale))) < 60
