"""`digiid journal verify`: what a copy of checkpoints may hold, and how sums are told."""

import json
from pathlib import Path

import pytest

from digiid.apps.counted import counted
from digiid.apps.journal_cli import _lines, _read_copy
from digiid.kernel.errors import Malformed

LINE = {"unit": "bank", "number": 1, "statement": "a.b.c", "time_stamp": "AAAA", "at": "2026-11-23T10:00:00+00:00"}


def test_a_line_is_a_checkpoint(tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_text(json.dumps(LINE) + "\n")
    [stored] = _read_copy(copy)
    assert (stored.unit, stored.number, stored.time_stamp_der) == ("bank", 1, bytes(3))


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "1",
        "[" * 100_000,
        *(
            json.dumps(LINE | changed)
            for changed in (
                {"number": float("inf")},
                {"number": "x"},
                {"number": None},
                {"time_stamp": "A"},
                {"time_stamp": 1},
                {"at": "yesterday"},
                {"at": 1},
            )
        ),
    ],
)
def test_what_is_no_checkpoint_is_said_in_words(tmp_path: Path, text: str) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_text(text)
    with pytest.raises(Malformed, match=r"journal\.copy"):
        list(_read_copy(copy))


@pytest.mark.parametrize(
    ("entries", "disclosures", "checkpoints", "said"),
    [
        (1, 1, 1, "1 entry (1 disclosure), 1 checkpoint, sealed up to 1 at"),
        (2, 0, 2, "2 entries (0 disclosures), 2 checkpoints, sealed up to 2 at"),
        (12_345, 0, 0, "12,345 entries (0 disclosures), 0 checkpoints, not sealed yet"),
    ],
)
def test_one_is_told_as_one(entries: int, disclosures: int, checkpoints: int, said: str) -> None:
    at = "2026-11-23T10:00:00+00:00" if checkpoints else None
    told = {"entries": entries, "disclosures": disclosures, "checkpoints": checkpoints}
    [line] = _lines("bank", told | {"valid": True, "sealed_entries": entries, "sealed_at": at})
    assert said in line


def test_numbers_have_their_nouns() -> None:
    assert [counted(n, "file") for n in (0, 1, 2, 1000)] == ["0 files", "1 file", "2 files", "1,000 files"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
