"""64 people sign in to the portal at once: does each get in, and how far is it from the bare cryptography?

    python -m bench.sign_ins

A whole e-state runs in a process of its own, its OCSP responder included. Its processor time for the challenges and the
tokens is compared with the same signatures made and verified with nothing around them: the token, the card's
certificate, the response and the responder's certificate are verified, the response is signed. What the virtual
cards do between challenge and token is left out: a person's card has a processor of its own.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measure import Ratio, take_turns
from digiid.apps.demonstration import PIN1
from digiid.devices import web_eid
from digiid.devices.reader_socket import open_source
from digiid.platform.entropy import SystemEntropy

PARALLEL, ROUNDS, WANTED = 64, 3, 2.0
_TOKEN = re.compile(r'<meta name="csrf-token" content="([0-9a-f]+)">')
_SERVER = """
import json, sys
from pathlib import Path
from digiid.platform.log import configure_logging
from tests.support.estate import running_estate
configure_logging(Path(sys.argv[1]) / "log")
with running_estate(Path(sys.argv[1]) / "state") as estate:
    person = estate.person("e-resident")
    print(json.dumps([estate.origins["portal"], person.document_number]), flush=True)
    sys.stdin.read()
"""


def measure(portal: str, card: Any, pid: int, *, parallel: int = PARALLEL, rounds: int = ROUNDS) -> Ratio:
    """Sign in `rounds` times `parallel` people at the process `pid`; the quickest round against the cryptography."""
    done = [asyncio.run(_round(portal, card, pid, parallel)) for _ in range(rounds + 1)][1:]
    failed = sum(failed for _, _, failed in done)
    if failed:
        raise RuntimeError(f"{failed} of {parallel * rounds} sign-ins failed")
    cpu, seconds, _ = min(done)
    spent_us, raw_us = cpu / parallel * 1e6, _raw_us()
    detail = (
        f"{parallel} at once, none failed; {spent_us:.0f} µs of processor time each, cryptography {raw_us:.0f} µs, "
        f"all in {seconds:.2f} s"
    )
    return Ratio("sign-in, × its raw cryptography", spent_us / raw_us, WANTED, False, detail)


@contextlib.contextmanager
def running_state(folder: str) -> Iterator[tuple[str, Any, int]]:
    """A whole e-state in a process of its own: its portal's origin, a card of one of its people, the process."""
    root = Path(__file__).resolve().parents[1]
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"},
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        portal, document = json.loads(server.stdout.readline())
        source = open_source(Path(folder) / "state", SystemEntropy())
        yield portal, source.open(document), server.pid
        source.close()
    finally:
        server.stdin.close()
        server.wait(timeout=60)


async def _round(portal: str, card: Any, pid: int, parallel: int) -> tuple[float, float, int]:
    port = httpx.URL(portal).port
    clients = [
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Host": portal.split("//")[1], "Origin": portal, "Accept": "text/html"},
            timeout=60,
        )
        for _ in range(parallel)
    ]
    pages = await asyncio.gather(*(client.get("/sign-in") for client in clients))
    for client, page in zip(clients, pages, strict=True):
        found = _TOKEN.search(page.text)
        assert found is not None
        client.headers["X-CSRF-Token"] = found[1]
        client.headers["Accept"] = "application/json"
        # names below localhost are dialled by address here, so the cookies go along by hand
        client.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    used, begin = _cpu_seconds(pid), time.perf_counter()
    challenges = await asyncio.gather(*(client.post("/sign-in/challenge", json={}) for client in clients))
    used, seconds = _cpu_seconds(pid) - used, time.perf_counter() - begin
    tokens = []
    for client, challenge in zip(clients, challenges, strict=True):
        client.headers["Cookie"] += "".join(f"; {name}={value}" for name, value in challenge.cookies.items())
        tokens.append(web_eid.authenticate(card, origin=portal, nonce=challenge.json()["nonce"], pin1=PIN1))
    before, begin = _cpu_seconds(pid), time.perf_counter()
    answers = await asyncio.gather(
        *(client.post("/sign-in/token", json={"token": token}) for client, token in zip(clients, tokens, strict=True))
    )
    used, seconds = used + _cpu_seconds(pid) - before, seconds + time.perf_counter() - begin
    failed = [answer for answer in answers if answer.status_code != 200]
    for answer in failed[:3]:
        print(f"     failed: {answer.status_code} {answer.text[:200]}", file=sys.stderr)
    for client in clients:
        await client.aclose()
    return used, seconds, len(failed)


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _raw_us() -> float:
    """Token, card's and responder's certificates verified (P-384), the response signed and verified (P-256)."""
    large, small = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    in_384, in_256, data = ec.ECDSA(hashes.SHA384()), ec.ECDSA(hashes.SHA256()), bytes(1000)
    by_large, by_small = large.sign(data, in_384), small.sign(data, in_256)
    of_large, of_small = large.public_key(), small.public_key()
    verify_384, sign_256, verify_256 = take_turns(
        lambda: of_large.verify(by_large, data, in_384),
        lambda: small.sign(data, in_256),
        lambda: of_small.verify(by_small, data, in_256),
    )
    return (3 * verify_384.best + sign_256.best + verify_256.best) * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_state(folder) as (portal, card, pid):
        ratio = measure(portal, card, pid)
    print(f"{'ok  ' if ratio.met else 'MISS'} {ratio.name}: {ratio.value:.2f} (wanted {ratio.target}) — {ratio.detail}")


if __name__ == "__main__":
    main()
