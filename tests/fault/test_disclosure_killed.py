"""kill -9 between any two lines of an answer about a person: no answer leaves without its record, no record is half.

The victim is a forked process that answers and then writes the answer down for the test to find, killed at its n-th
executed line of the disclosures, the journal or the use case.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType

import pytest

from digiid.institutions.card_bureau.store import DISCLOSURES, JOURNAL
from digiid.platform import disclosures, journal
from digiid.platform.db import Database
from digiid.platform.disclosures import Look, find_usages, record_disclosures, verify_disclosures
from tests.support import killed
from tests.support.killed import statements_of

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
MARI, JAAN = "60001019906", "38001085718"
LOOK = Look("EE/GOV/70000101/police", "a test", "a law", "find-persons", receiver_user="EE47101010033", message_id="m")
_FILES = (disclosures.__file__, journal.__file__, __file__)
_STATEMENTS = statements_of(_FILES)


def is_traced(code: CodeType) -> bool:
    return code.co_filename in _FILES[:2] or code.co_name == "answer"


@dataclass
class Bench:
    folder: Path
    db: Database
    empty: bytes

    @property
    def left(self) -> Path:
        """There once the answer has left the institution."""
        return self.folder / "answer"

    def reset(self) -> None:
        self.db.close()
        self.left.unlink(missing_ok=True)
        for end in ("", "-wal", "-shm"):
            (self.folder / f"b.sqlite{end}").unlink(missing_ok=True)
        (self.folder / "b.sqlite").write_bytes(self.empty)

    def run(self, *, kill_at: int | None) -> bool:
        self.reset()

        def work() -> Callable[[], object]:
            return lambda: answer(self)

        log = self.folder / "log"
        return killed.run_until(work, statements=_STATEMENTS, is_traced=is_traced, kill_at=kill_at, log=log)


def answer(bench: Bench) -> None:
    with bench.db.write() as tx:
        disclosed = record_disclosures(
            tx,
            DISCLOSURES,
            JOURNAL,
            b"two people",
            personal_codes=(MARI, JAAN),
            look=LOOK,
            categories=("name",),
            at=AT,
        )
    bench.left.write_bytes(disclosed.value)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        db = Database.sqlite(Path(name) / "b.sqlite")
        db.migrate("digiid.institutions.card_bureau")
        db.close()
        yield Bench(Path(name), db, (Path(name) / "b.sqlite").read_bytes())


def test_no_answer_leaves_without_its_record_wherever_it_is_killed(bench: Bench) -> None:
    assert not bench.run(kill_at=None)
    lines = int((bench.folder / "log").read_text())
    assert lines > 30
    outcomes = set()
    for line in range(1, lines + 1):
        assert bench.run(kill_at=line), f"line {line} of {lines} was not reached"
        with bench.db.read() as tx:
            count = verify_disclosures(tx, DISCLOSURES, JOURNAL)
            seen = [find_usages(tx, DISCLOSURES, person, now=AT) for person in (MARI, JAAN)]
        assert count in (0, 2), f"half an answer is on record after line {line}"
        assert [len(each) for each in seen] == [count // 2] * 2
        if bench.left.exists():
            assert count == 2, f"an answer left without its record at line {line}"
        outcomes.add((count, bench.left.exists()))
    assert (0, False) in outcomes
    assert (2, False) in outcomes, "killed between the commit and the answer: recorded, and nobody was told"
