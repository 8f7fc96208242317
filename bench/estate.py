"""The whole e-state: how soon it answers, how much memory it needs, what a sign-in costs beside its cryptography."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.ocsp import Ratio, best_us
from digiid.apps import story
from digiid.apps.demonstration import PIN1, PIN2, read_people
from digiid.apps.seed import E_RESIDENT_ROLE
from digiid.apps.state import StateFolder
from digiid.apps.story import CardHolder
from digiid.apps.tour import free_ports
from digiid.apps.visitor import Page, Visitor
from digiid.devices import web_eid
from digiid.devices.card_shelf import CardShelf
from digiid.platform.entropy import SystemEntropy

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
        sign_in = _measure_sign_ins(state, folder / "cards", pid)
        return [
            Ratio("`digiid tour` (seconds)", tour_seconds, 30.0, False, "a new state, its people, the whole story"),
            Ratio("`make up` again (seconds)", up_seconds, 6.0, False, "until every part answers"),
            Ratio("memory of all institutions (MB)", _memory_mb(pid), 500.0, False, "resident, after the sign-ins"),
            sign_in,
        ]
    finally:
        _digiid("down", "--state", str(state.path))
        shutil.rmtree(folder, ignore_errors=True)


def _measure_sign_ins(state: StateFolder, cards: Path, pid: int) -> Ratio:
    origin = state.load().origin("portal")
    person = next(p for p in read_people(state.path) if p.role == E_RESIDENT_ROLE)
    shelf = CardShelf(cards, SystemEntropy())
    waiting = [_challenged(Visitor(), origin) for _ in range(SIGN_INS)]
    holder = CardHolder(Visitor(), shelf.open(person.document_number), PIN1, PIN2)
    tokens = [web_eid.authenticate(holder.card, origin=origin, nonce=nonce, pin1=PIN1) for _, _, nonce in waiting]
    failures: list[Exception] = []
    lock = threading.Lock()

    def sign_in(index: int) -> None:
        visitor, page, _ = waiting[index]
        try:
            story.post(visitor, page, "/sign-in/token", {"token": tokens[index], "next": "/"})
        except Exception as error:  # counted below: none may fail
            with lock:
                failures.append(error)

    before = _cpu_seconds(pid)
    with ThreadPoolExecutor(SIGN_INS) as threads:
        list(threads.map(sign_in, range(SIGN_INS)))
    spent_us = (_cpu_seconds(pid) - before) / SIGN_INS * 1e6
    shelf.close()
    if failures:
        raise RuntimeError(f"{len(failures)} of {SIGN_INS} sign-ins failed") from failures[0]
    raw_us = _raw_cryptography_us()
    detail = f"{SIGN_INS} at once, none failed; {spent_us:.0f} µs of processor time each, cryptography {raw_us:.0f} µs"
    return Ratio("sign-in, × its raw cryptography", spent_us / raw_us, 2.0, False, detail)


def _challenged(visitor: Visitor, origin: str) -> tuple[Visitor, Page, str]:
    page = visitor.open(f"{origin}/sign-in")
    return visitor, page, story.post(visitor, page, "/sign-in/challenge", {})["nonce"]


def _raw_cryptography_us() -> float:
    """Token, certificate and responder's certificate verified (P-384), OCSP signed and verified (P-256)."""
    large, small = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    in_384, in_256 = ec.ECDSA(hashes.SHA384()), ec.ECDSA(hashes.SHA256())
    by_large, by_small = large.sign(b"x", in_384), small.sign(b"x", in_256)
    verify_384, sign_256, verify_256 = best_us(
        lambda: large.public_key().verify(by_large, b"x", in_384),
        lambda: small.sign(b"x", in_256),
        lambda: small.public_key().verify(by_small, b"x", in_256),
    )
    return 3 * verify_384 + sign_256 + verify_256
