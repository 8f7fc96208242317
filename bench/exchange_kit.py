"""The client kit as an information system uses it, in a process of its own: the same for both ways to the provider.

It is told on standard input, a line of JSON for each round, and answers each with one, as bench/exchange_client does.
`python -m bench.exchange_kit FILE`: the file names the ways.
"""

import json
import statistics
import sys
import threading
import time
from pathlib import Path

from tests.support.global_conf import LOANS

from bench.exchange_client import tls_context
from bench.exchange_room import QUESTION, REGISTER
from digiid.exchange.client import Client
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient


def _connect(*, port: int, certificate: str, key: str, passphrase: str, peer: str) -> Client:
    http = HttpClient(context=tls_context(certificate, key, passphrase, peer), timeout_seconds=60)
    return Client(LOANS, server_url=f"https://127.0.0.1:{port}", http=http, entropy=SystemEntropy())


def _round(client: Client, count: int, clients: int) -> dict[str, float]:
    took: list[float] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(count // clients):
                begin = time.perf_counter()
                client.call(REGISTER, QUESTION)
                took.append(time.perf_counter() - begin)
        except Exception as error:  # told by the process below: a thread that ends early must not look quick
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    if failed:
        raise failed[0]
    return {"seconds": seconds, "per_second": len(took) / seconds, "median": statistics.median(took)}


def _main(file: Path) -> None:
    ways = {name: _connect(**fields) for name, fields in json.loads(file.read_text()).items()}
    for line in sys.stdin:
        asked = json.loads(line)
        told = _round(ways[asked["way"]], asked["count"], asked["clients"])
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
