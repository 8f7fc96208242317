"""PC/SC on a machine that has none of it: no error at import, no readers, a clear answer."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from digiid.devices import pcsc
from digiid.kernel.errors import Unavailable

# A process of its own: the library is looked up once a process, and the loader is made to find nothing.
_WITHOUT_LIBRARY = """
import ctypes, ctypes.util
def nothing(name, *arguments, **options):
    raise OSError(f"{name}: cannot open shared object file")
ctypes.CDLL = nothing
ctypes.util.find_library = lambda name: None
from digiid.devices import pcsc
from digiid.kernel.errors import Unavailable
assert pcsc.list_readers() == []
try:
    pcsc.connect("Reader")
except Unavailable as error:
    print(error.code, "-", error.public)
"""


def test_machine_without_the_library_has_no_readers_and_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_LIBRARY], capture_output=True, text=True, check=False)
    assert done.stdout == "card.reader - No card reader software is installed.\n", done.stderr


def test_no_service_means_no_readers_and_a_reason(tmp_path: Path) -> None:
    if pcsc._load() is None:
        pytest.skip("libpcsclite is not installed")
    program = (
        "from digiid.devices import pcsc\nprint(list(pcsc.list_readers()))\n"
        "try:\n    pcsc.connect('Reader')\nexcept Exception as error:\n    print(error.code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PCSCLITE_CSOCK_NAME": str(tmp_path / "no.socket"), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[]\ncard.reader\n", done.stderr


@pytest.mark.parametrize(
    ("answer", "code"),
    [(0x80100069, "card.removed"), (-0x7FEFFF97, "card.removed"), (0x8010000B, "card.reader"), (1, "card.reader")],
)
def test_answers_of_the_library_become_named_errors(answer: int, code: str) -> None:
    with pytest.raises(Unavailable) as raised:
        pcsc._check(answer)
    assert raised.value.code == code
    pcsc._check(0)


def test_structures_have_the_sizes_of_pcsclite_on_this_machine() -> None:
    word = ctypes.sizeof(ctypes.c_ulong)
    assert ctypes.sizeof(pcsc._IoRequest) == 2 * word
    assert ctypes.sizeof(pcsc._ReaderState) == 2 * ctypes.sizeof(ctypes.c_void_p) + 3 * word + (40 if word == 8 else 36)
