"""A lean client with kept connections, in a process of its own: the same for both ways to the provider.

It is told on standard input, a line of JSON for each round, and answers each with one: how long it took, and what a
request took in the middle. `python -m bench.exchange_client FILE`: the file names the ways.
"""

import asyncio
import itertools
import json
import ssl
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

NUMBER = "bench-0000000000"  # in the message: its place is taken by a number of its own for each request
_numbers = itertools.count(1)
_PIECE = bytes(256 * 1024)


class _Connection(asyncio.Protocol):
    """One connection: `ask` gives the next answer's length."""

    transport: Any

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._held, self._left = b"", -1
        self._length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._held += data
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data, self._held = self._held[:end].lower(), self._held[end + 4 :], b""
            if not head.startswith(b"http/1.1 200 "):
                assert self._answer is not None
                self._answer.set_exception(AssertionError(f"{head!r}: {data[:500]!r}"))
                return
            self._length = self._left = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        self._left -= len(data)
        if self._left == 0 and self._answer is not None:
            self._left = -1
            self._answer.set_result(self._length)

    async def ask(self, message: bytes, body_bytes: int) -> int:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(message)
        while body_bytes > 0:
            await self._may_write.wait()
            piece = _PIECE[:body_bytes]
            self.transport.write(piece)
            body_bytes -= len(piece)
        return await self._answer


def tls_context(certificate: str, key: str, passphrase: str, peer: str) -> ssl.SSLContext:
    """Shows our certificate, and trusts the peer's and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(peer)
    context.load_cert_chain(certificate, key, passphrase)
    return context


class _Way:
    """Where to: an address, its certificate, and ours."""

    def __init__(self, port: int, certificate: str, key: str, passphrase: str, peer: str) -> None:
        self.port = port
        self.context = tls_context(certificate, key, passphrase, peer)
        self.open: list[_Connection] = []

    async def connections(self, count: int) -> list[_Connection]:
        loop = asyncio.get_running_loop()
        while len(self.open) < count:
            _, connection = await loop.create_connection(
                _Connection, "127.0.0.1", self.port, ssl=self.context, server_hostname=""
            )
            self.open.append(connection)
        return self.open[:count]


async def _round(way: _Way, message: bytes, body_bytes: int, count: int, clients: int) -> dict[str, float]:
    left, took, marked = count, [], NUMBER.encode()

    async def ask_on(connection: _Connection) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            numbered = message.replace(marked, b"bench-%010x" % next(_numbers))
            begin = time.perf_counter()
            await connection.ask(numbered, body_bytes)
            took.append(time.perf_counter() - begin)

    connections = await way.connections(clients)
    begin = time.perf_counter()
    await asyncio.gather(*map(ask_on, connections))
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "per_second": count / seconds, "median": statistics.median(took)}


async def _main(file: Path) -> None:
    ways = {name: _Way(**fields) for name, fields in json.loads(file.read_text()).items()}
    loop = asyncio.get_running_loop()
    read: Callable[[], str] = sys.stdin.readline
    while line := await loop.run_in_executor(None, read):
        asked = json.loads(line)
        message = asked["message"].encode()
        told = await _round(ways[asked["way"]], message, asked["body_bytes"], asked["count"], asked["clients"])
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1])))
