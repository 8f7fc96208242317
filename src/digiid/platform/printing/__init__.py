"""Pages to print: PDF files with our typeface, written from text that may come from strangers.

DejaVu Sans is used because it has the letters of every language of the Union, Greek and Cyrillic too.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from fpdf import FPDF, FontFace
from fpdf.enums import TableBordersLayout, XPos, YPos

from digiid.platform.visible_text import make_visible

_FONTS: Final = Path(__file__).parent / "fonts"
_FAMILY: Final = "DejaVu"
_INK, _GREY = (11, 12, 12), (80, 90, 95)
TONES: Final = {"green": (0, 94, 56), "red": (148, 37, 20), "yellow": (89, 77, 0)}
_LABEL_MM: Final = 52.0
_MAX_CHARACTERS: Final = 1000  # characters; of the widest ones a page holds more
_MAX_LISTED: Final = 200_000  # characters in all lists of a document; twice as many take four seconds


class PrintedPage(FPDF):
    """A document on A4 with a running foot: headings, paragraphs, a verdict, tables of label and value."""

    def __init__(self, *, title: str, language: str, foot: str, created_at: datetime) -> None:
        super().__init__(unit="mm", format="A4")
        self._foot = make_visible(foot)
        self._may_list = _MAX_LISTED
        self.add_font(_FAMILY, "", _FONTS / "DejaVuSans.ttf")
        self.add_font(_FAMILY, "B", _FONTS / "DejaVuSans-Bold.ttf")
        self.set_title(make_visible(title))
        self.set_lang(language)
        self.set_creation_date(created_at)
        self.set_margins(20, 18, 20)
        self.set_auto_page_break(auto=True, margin=22)
        self.add_page()

    def footer(self) -> None:
        self.set_y(-15)
        self._use(8, colour=_GREY)
        self.cell(0, 5, f"{self._foot}   {self.page_no()} / {{nb}}", align="R")

    def heading(self, text: str, *, size: int = 13) -> None:
        self.ln(4)
        self._use(size, bold=True)
        self._write(text, size * 0.55)
        self.ln(1)

    def paragraph(self, text: str, *, size: int = 10, tone: str = "") -> None:
        self._use(size, colour=TONES.get(tone, _INK))
        self._write(text, size * 0.52)
        self.ln(1.5)

    def verdict(self, text: str, *, tone: str) -> None:
        """The answer in one line on its colour; the words alone say it too."""
        self._use(16, bold=True, colour=(255, 255, 255))
        self.set_fill_color(*TONES[tone])
        self.multi_cell(0, 11, f" {make_visible(text)}", fill=True, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_fill_color(255, 255, 255)
        self.ln(3)

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Labels on the left, values on the right, of which the beginning is printed: a row has to fit a page."""
        self._use(9)
        with self.table(
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            col_widths=(_LABEL_MM, self.epw - _LABEL_MM),
            first_row_as_headings=False,
            line_height=5.2,
            text_align="LEFT",
            padding=(0.8, 0),
            wrapmode="CHAR" if any(len(word) > 60 for _, value in rows for word in value.split()) else "WORD",
        ) as table:
            for label, value in rows:
                row = table.row()
                row.cell(make_visible(label), style=FontFace(emphasis="BOLD"))
                row.cell(_shortened(make_visible(value)) or "–")
        self.ln(2)

    def bullets(self, texts: Sequence[str]) -> None:
        """One below the other. Where strangers' text is without measure, the first ones and how many more there are."""
        self._use(10)
        for number, text in enumerate(texts):
            self._may_list -= len(text)
            if self._may_list < 0 and number:
                self._write(f"•  … (+{len(texts) - number})", 5.2)
                break
            self._write(f"•  {_shortened(text)}", 5.2)
        self.ln(1.5)

    def to_bytes(self) -> bytes:
        return bytes(self.output())

    def _use(self, size: int, *, bold: bool = False, colour: tuple[int, int, int] = _INK) -> None:
        self.set_font(_FAMILY, "B" if bold else "", size)
        self.set_text_color(*colour)

    def _write(self, text: str, height: float) -> None:
        self.multi_cell(0, height, make_visible(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _shortened(text: str) -> str:
    return f"{text[:_MAX_CHARACTERS]} …" if len(text) > _MAX_CHARACTERS else text
