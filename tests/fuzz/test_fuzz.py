"""A short run of every target, and everything that ever escaped from one; the ten minutes are in `make nightly`."""

import importlib.util
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
SECONDS_A_TARGET = 0.3
_TELLING = (
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x30\x80",
    b"\x84\xff\xff\xff\xff",
    b"PK",
    b"<",
    b"&#0;",
    b'"',
)

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this machine"
)


def _mutate(data: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(spoiled) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            spoiled[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del spoiled[at : at + chance.randint(1, 16)]
        elif kind == 2:
            spoiled[at:at] = chance.choice(_TELLING)
        elif kind == 3:
            spoiled[at:at] = spoiled[at : at + chance.randint(1, 64)]
        elif chance.randrange(4) == 0:
            del spoiled[at:]
    return bytes(spoiled)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_only_malformed_escapes(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        target.run(seed)  # a seed is valid: a target that refuses its own seed tests nothing
    chance = random.Random(target.name)
    end = time.monotonic() + SECONDS_A_TARGET
    while time.monotonic() < end:
        target.check(_mutate(chance.choice(seeds), chance))


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_what_once_escaped_does_not_any_more(target: Target) -> None:
    for data in target.crashes():
        target.check(data)


@needs_atheris
def test_the_fuzzer_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--target", "der", "--seconds", "2", "--found", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "der" in done.stdout
    assert "nothing escapes" in done.stdout


@needs_atheris
@pytest.mark.nightly
def test_ten_minutes_of_fuzzing_find_nothing() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "600"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
