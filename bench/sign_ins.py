"""64 people sign in to the portal at once: does each get in, and how far is it from the bare cryptography?

    python bench/sign_ins.py

A whole e-state runs in a process of its own, its OCSP responder included. Its CPU time for the challenges and the
tokens is compared with the same signatures made and verified with nothing around them: the token, the card's
certificate, the response and the responder's certificate are verified, the response is signed. What the virtual
cards do between challenge and token is left out: a person's card has a processor of its own.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

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


@dataclass(frozen=True)
class Measured:
    """CPU milliseconds for one sign-in; `failed` of PARALLEL × ROUNDS sign-ins."""

    server_ms: float
    raw_ms: float
    seconds_for_all: float
    failed: int

    @property
    def ratio(self) -> float:
        return self.server_ms / self.raw_ms


def measure() -> Measured:
    """Start a state, sign in ROUNDS times PARALLEL people, compare the quickest round with the bare cryptography."""
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
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
            card = source.open(document)
            rounds = [asyncio.run(_round(portal, card, server.pid)) for _ in range(ROUNDS + 1)][1:]
            source.close()
        finally:
            server.stdin.close()
            server.wait(timeout=60)
    cpu, seconds, _ = min(rounds)
    return Measured(cpu / PARALLEL * 1000, _raw_ms(), seconds, sum(failed for _, _, failed in rounds))


async def _round(portal: str, card: Any, pid: int) -> tuple[float, float, int]:
    port = httpx.URL(portal).port
    clients = [
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Host": portal.split("//")[1], "Origin": portal, "Accept": "text/html"},
            timeout=60,
        )
        for _ in range(PARALLEL)
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


def _raw_ms() -> float:
    algorithm = ec.ECDSA(hashes.SHA384())
    key, data = ec.generate_private_key(ec.SECP384R1()), bytes(1000)
    value, public = key.sign(data, algorithm), key.public_key()
    responder, responder_algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    answer, responder_public = responder.sign(data, responder_algorithm), responder.public_key()
    verify_384 = _best(lambda: public.verify(value, data, algorithm))
    verify_256 = _best(lambda: responder_public.verify(answer, data, responder_algorithm))
    sign_256 = _best(lambda: responder.sign(data, responder_algorithm))
    # the token, the card's certificate, the responder's certificate; the response
    return (3 * verify_384 + verify_256 + sign_256) * 1000


def _best(function: Callable[[], object], calls: int = 200) -> float:
    best = float("inf")
    for _ in range(10):
        begin = time.thread_time()
        for _ in range(calls):
            function()
        best = min(best, (time.thread_time() - begin) / calls)
    return best


def main() -> None:
    found = measure()
    met = found.ratio <= WANTED and not found.failed
    print(
        f"{'ok  ' if met else 'MISS'} {PARALLEL} sign-ins at once: {found.ratio:.2f} × raw (wanted ≤ {WANTED}) — "
        f"{found.server_ms:.2f} ms of CPU each, bare cryptography {found.raw_ms:.2f} ms, all in "
        f"{found.seconds_for_all:.2f} s, {found.failed} failed"
    )


if __name__ == "__main__":
    main()
