"""Our verdicts beside the verdicts that others assert: a confusion table over many containers.

A table of assertions is a CSV file with the columns `file` (below the table's folder), `expected` (valid, invalid,
indeterminate or error) and, if the verdict depends on one, `policy`. A table of explanations has the columns `file`,
`ours` and `reason`: where we differ on purpose, from what to what, and why. A difference that is not explained there,
or an explanation that is not true any more, is a failure.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from digiid.formats.validation import Indication, Report
from digiid.kernel.errors import Malformed

VERDICTS: Final = ("valid", "invalid", "indeterminate", "error")
MAX_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Expectation:
    """What others say of one file under one policy (None: whichever), and what we say instead, if so, with why."""

    file: Path
    expected: str
    policy: str | None
    explained: str | None = None
    reason: str = ""

    def agrees(self, ours: str) -> bool:
        """Whether our verdict is the asserted one, or the explained one where there is an explanation."""
        return ours == (self.explained or self.expected)


@dataclass(frozen=True, slots=True)
class Compared:
    expectation: Expectation
    ours: str

    @property
    def is_explained(self) -> bool:
        return self.expectation.agrees(self.ours)


def read_expectations(table: Path, explanations: Path | None = None) -> list[Expectation]:
    """Raises: Malformed `documents.expectations`."""
    explained = {}
    if explanations is not None:
        for number, row in _rows(explanations, ("file", "ours", "reason")):
            if not row["reason"] or row["ours"] not in VERDICTS:
                raise Malformed("documents.expectations", f"{explanations}, line {number}: no verdict or no reason")
            explained[row["file"]] = (row["ours"], row["reason"])
    found = []
    for number, row in _rows(table, ("file", "expected")):
        if row["expected"] not in VERDICTS:
            raise Malformed("documents.expectations", f"{table}, line {number}: one of {', '.join(VERDICTS)}")
        ours, reason = explained.get(row["file"], (None, ""))
        policy = row.get("policy") or ""
        known = policy if policy in ("POLv3", "POLv4") else None
        found.append(Expectation(table.parent / row["file"], row["expected"], known, ours, reason))
    return found


def _rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise Malformed("documents.expectations", f"{table}: no column {', '.join(sorted(missing))}")
            for number, row in enumerate(reader, 2):
                if number > MAX_ROWS:
                    raise Malformed("documents.expectations", f"{table}: more than {MAX_ROWS} rows")
                yield number, {name: value or "" for name, value in row.items() if isinstance(name, str)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Malformed("documents.expectations", f"{table}: {error}") from error


def verdict_word(report: Report) -> str:
    """Our verdict in the words of such tables; `indeterminate` when nothing failed and something is not known."""
    if report.is_valid:
        return "valid"
    indications = {signature.indication for signature in report.signatures}
    indications |= {token.indication for token in report.time_stamp_tokens}
    unknown_only = Indication.INDETERMINATE in indications and Indication.TOTAL_FAILED not in indications
    return "indeterminate" if unknown_only else "invalid"


def confusion_table(compared: Sequence[Compared]) -> Table:
    """Rows are what others assert, columns what we say."""
    counts = Counter((item.expectation.expected, item.ours) for item in compared)
    table = Table("asserted ↓  ours →", *VERDICTS, title="Verdicts")
    for expected in VERDICTS:
        cells = [counts[expected, ours] for ours in VERDICTS]
        table.add_row(expected, *(str(count) if count else "·" for count in cells))
    return table
