"""How many LT containers the validation service judges a second over HTTP, with as many workers as there are cores."""

import base64
import contextlib
import json
import os
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

from tests.support.pki import AT
from tests.support.serve import free_port, serving
from tests.support.signing_room import signing_room

from bench.measure import Ratio
from digiid.formats.asic import DataFile
from digiid.institutions.information_authority.validation_service.app import ValidationService, build
from digiid.institutions.information_authority.validation_service.settings import Settings
from digiid.platform.clock import ManualClock
from digiid.platform.documents.signing import sign_files
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Surroundings
from digiid.platform.pools import Pools

_ASKED = 300


def _ask(port: int, body: bytes, count: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(count):
        connection.request("POST", "/V3/validate", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200 and b'"TOTAL-PASSED"' in content, content[:200]
    connection.close()


def _processor_seconds(service: ValidationService) -> float:
    ticks = 0
    for process_id in service.workers.process_ids:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure() -> list[Ratio]:
    """LT containers a second: by the processor time of the workers (one core), and by the clock on the wall."""
    clock, entropy, pools, http = ManualClock(AT), SystemEntropy(), Pools(), HttpClient()
    with (
        signing_room(clock, entropy) as room,
        tempfile.TemporaryDirectory() as folder,
        contextlib.ExitStack() as closing,
    ):
        closing.callback(pools.close)
        closing.callback(http.close)
        cores = os.cpu_count() or 1
        around = Surroundings(clock, entropy, pools, http, Path(folder), {})
        service = build(Settings(workers=cores), around, trust=room.trust)
        closing.callback(service.running.close)
        files = [DataFile("a.txt", "text/plain", bytes(10_240))]
        container = sign_files(files, signer=room.signer(), issuers=room.issuers, trust=room.trust)
        port = free_port()
        closing.enter_context(serving(service.app, port))
        body = json.dumps({"filename": "a.asice", "document": base64.b64encode(container).decode()}).encode()
        clients = [threading.Thread(target=_ask, args=(port, body, _ASKED // 4)) for _ in range(4)]
        _ask(port, body, 2 * cores)
        begin, worked = time.perf_counter(), _processor_seconds(service)
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        wall, worked = time.perf_counter() - begin, _processor_seconds(service) - worked
        used = len(service.workers.process_ids)
    detail = f"10 KB, all P-384; {_ASKED / wall:.0f}/s over HTTP with {used} workers, the clients on the same cores"
    return [
        Ratio("LT containers judged, a second and core", _ASKED / worked, 150, True, detail),
        Ratio("worker processes used", used, min(2, cores), True, detail),
    ]


if __name__ == "__main__":
    for ratio in measure():
        print(ratio)
