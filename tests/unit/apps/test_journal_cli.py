"""`digiid journal verify --checkpoints COPY`: what a copy may hold."""

import json
from pathlib import Path

import pytest

from digiid.apps.journal_cli import _read_copy
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
