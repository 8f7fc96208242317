"""The whole e-state: how soon it answers, how much memory it needs, what a sign-in costs beside its cryptography."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import sign_ins
from bench.measure import Ratio
from digiid.apps.demonstration import read_people
from digiid.apps.seed import E_RESIDENT_ROLE
from digiid.apps.state import StateFolder
from digiid.devices.card_shelf import CardShelf
from digiid.platform.entropy import SystemEntropy
from digiid.platform.ports import free_ports

SIGN_INS = 64


def _digiid(*arguments: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "digiid.apps.cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def measure() -> list[Ratio]:
    folder = Path(tempfile.mkdtemp(prefix="digiid-bench-"))
    state = StateFolder(folder / "state")
    port = str(free_ports(1)[0])
    try:
        tour_seconds = _digiid("tour")
        _digiid("up", "--state", str(state.path), "--port", port)
        _digiid("down", "--state", str(state.path))
        (folder / "cards").mkdir()
        for chip in state.cards.glob("*.chip"):
            shutil.copy(chip, folder / "cards")
        up_seconds = _digiid("up", "--state", str(state.path))
        pid = int(state.pid_file.read_text())
        person = next(person for person in read_people(state.path) if person.role == E_RESIDENT_ROLE)
        shelf = CardShelf(folder / "cards", SystemEntropy())
        sign_in = sign_ins.measure(state.load().origin("portal"), shelf.open(person.document_number), pid)
        shelf.close()
        return [
            Ratio("`digiid tour` (seconds)", tour_seconds, 30.0, False, "a new state, its people, the whole story"),
            Ratio("`make up` again (seconds)", up_seconds, 6.0, False, "until every part answers"),
            Ratio("memory of all institutions (MB)", _memory_mb(pid), 500.0, False, "resident, after the sign-ins"),
            sign_in,
        ]
    finally:
        _digiid("down", "--state", str(state.path))
        shutil.rmtree(folder, ignore_errors=True)
