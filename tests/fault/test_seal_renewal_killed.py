"""A process killed while it makes or renews a seal: whatever was written, there is one seal that can be used."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType

import pytest

from digiid.apps import seals
from digiid.platform import keys
from digiid.platform.clock import ManualClock
from tests.support import killed
from tests.support.killed import statements_of
from tests.unit.apps.test_seals import NUMBER, Room, files, open_room

_STATEMENTS = statements_of((seals.__file__, keys.__file__))
_WRITING = ("load_or_create_passphrase", "write_pkcs12_file", "_write_private")


def is_traced(code: CodeType) -> bool:
    return code.co_filename == seals.__file__ or (code.co_filename == keys.__file__ and code.co_name in _WRITING)


@pytest.fixture
def room() -> Iterator[Room]:
    """In memory where there is such a folder: a killed process leaves what it wrote, flushed to a disk or not."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield open_room(Path(name) / "state", ManualClock(datetime(2026, 11, 23, 10, 0, tzinfo=UTC)))


def every_kill(room: Room, *, step: Callable[[Room], object], check: Callable[[], None]) -> int:
    """Kill before each statement in turn, from the same beginning. How many statements there are."""
    beginning, log = room.path.with_name("beginning"), room.path.with_name("log")
    shutil.copytree(room.path, beginning)
    for count in range(1, 1000):
        shutil.rmtree(room.path)
        shutil.copytree(beginning, room.path)
        was_killed = killed.run_until(
            lambda: lambda: step(room), statements=_STATEMENTS, is_traced=is_traced, kill_at=count, log=log
        )
        check()
        if not was_killed:
            return count
    raise AssertionError("it never ended")


def test_a_first_seal_that_was_interrupted_is_finished(room: Room) -> None:
    def check() -> None:
        made = room.started().open()
        assert room.on_disk().certificate == made.certificate
        assert {name for name in files(room) if not name.endswith(".part")} == {f"{NUMBER}.p12", f"{NUMBER}.password"}

    assert every_kill(room, step=lambda room: room.started().open(), check=check) > 30


def test_a_renewal_that_was_interrupted_leaves_the_former_or_the_renewed_one_and_is_finished(room: Room) -> None:
    seal = room.started()
    former = seal.open().certificate
    room.wait_until_due(seal)
    found = set()

    def check() -> None:
        # 1 what a state that starts now seals with
        started = room.started()
        first = started.open()
        assert first.key.public_key() == first.certificate.public_key()
        assert first.certificate.not_valid_before_utc <= room.clock.now() < first.certificate.not_valid_after_utc
        found.add(first.certificate == former)
        # 2 and what the clock makes of it
        started.look()
        assert "not renewed" not in started.health()
        assert started.open().certificate == room.on_disk().certificate != former
        assert {name for name in files(room) if not name.endswith(".part")} == {f"{NUMBER}.p12", f"{NUMBER}.password"}

    assert every_kill(room, step=lambda room: room.started().look(), check=check) > 40
    assert found == {True, False}
