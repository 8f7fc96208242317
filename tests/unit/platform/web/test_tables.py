"""Tables on a phone: a row becomes a block whose cells say what they are, instead of a strip cut off at the edge."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[4] / "src" / "digiid"
TABLES = [
    (template.name, number, table)
    for template in sorted(SOURCE.rglob("templates/*.html"))
    for number, table in enumerate(re.findall(r"<table.*?</table>", template.read_text(encoding="utf-8"), re.DOTALL))
]
# These stay strips: rows that are made to be compared, and a page in a frame of its own.
STRIPS = {("police_application.html", 0), ("police_work.html", 0), ("repository.html", 0)}
_CELL = re.compile(r"<t[dh]\b[^>]*>")
_LABEL = re.compile(r'data-label="\{\{ (.+?) \}\}"')


def _headings(table: str) -> list[str]:
    head = re.search(r"<thead.*?</thead>", table, re.DOTALL)
    return re.findall(r"_\(\"[^\"]+\"\)", head.group(0)) if head else []


@pytest.mark.parametrize(("template", "number", "table"), TABLES, ids=lambda value: str(value)[:30])
def test_a_table_of_more_than_two_columns_is_readable_on_a_phone(template: str, number: int, table: str) -> None:
    headings = _headings(table)
    if len(headings) < 3 or (template, number) in STRIPS:
        return
    assert "digiid-stacked" in table
    body = table[table.index("</thead>") :]
    for row in re.findall(r"<tr\b.*?</tr>", body, re.DOTALL):
        labels = [(_LABEL.search(cell) or [None, None])[1] for cell in _CELL.findall(row)]
        assert labels == headings
