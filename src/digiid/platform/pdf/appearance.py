"""What a visible signature looks like: who, when, why and where, in our typeface, as large as its field."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from fpdf import FPDF
from fpdf.enums import XPos, YPos

from digiid.formats.validation.report import subject_value
from digiid.platform.visible_text import make_visible

_FONTS: Final = Path(__file__).parent.parent / "printing" / "fonts"
_INK, _LINE = (11, 12, 12), (29, 66, 120)
_MARGIN: Final = 3.0
_LARGEST, _SMALLEST = 12.0, 3.0  # points


def draw_appearance(
    width: int, height: int, *, certificate: x509.Certificate, at: datetime, reason: str | None, location: str | None
) -> bytes:
    """A PDF file of one page, `width` by `height` points. The text is as large as fits."""
    lines = [make_visible(line) for line in _lines(certificate, at, reason, location)]
    page = FPDF(unit="pt", format=(width, height))
    page.set_creation_date(at)
    page.add_font("DejaVu", "", _FONTS / "DejaVuSans.ttf")
    page.set_auto_page_break(auto=False)
    page.set_margins(0, 0, 0)
    page.add_page()
    page.set_draw_color(*_LINE)
    page.set_line_width(0.8)
    page.rect(0.4, 0.4, width - 0.8, height - 0.8)
    size = _fitting_size(page, lines, width, height)
    page.set_font("DejaVu", "", size)
    page.set_text_color(*_INK)
    page.set_y(_MARGIN)
    for line in lines:
        page.set_x(_MARGIN)
        page.multi_cell(width - 2 * _MARGIN, size * 1.25, line, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    return bytes(page.output())


def _lines(certificate: x509.Certificate, at: datetime, reason: str | None, location: str | None) -> list[str]:
    lines = [_name(certificate), f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"]
    return lines + [text for text in (reason, location) if text]


def _name(certificate: x509.Certificate) -> str:
    """The person's name without the personal code, which has no business on a page; else the common name."""
    names = [subject_value(certificate, oid) for oid in (NameOID.GIVEN_NAME, NameOID.SURNAME)]
    full = " ".join(name for name in names if name)
    return full or subject_value(certificate, NameOID.COMMON_NAME) or certificate.subject.rfc4514_string()


def _fitting_size(page: FPDF, lines: list[str], width: int, height: int) -> float:
    size = _LARGEST
    while size > _SMALLEST:
        page.set_font("DejaVu", "", size)
        if sum(_rows(page, line, width, size) for line in lines) * size * 1.25 <= height - 2 * _MARGIN:
            break
        size -= 0.5
    return size


def _rows(page: FPDF, line: str, width: int, size: float) -> int:
    rows: Any = page.multi_cell(width - 2 * _MARGIN, size * 1.25, line, dry_run=True, output="LINES")
    return len(rows)
