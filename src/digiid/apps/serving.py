"""Several ASGI applications on several loopback ports in one process, stopped together."""

import asyncio
import contextlib
import gc
import signal
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from digiid.platform.secret_file import read_passphrase

_GRACE_SECONDS = 5
_LIMIT_CONCURRENCY = 512


@dataclass(frozen=True, slots=True)
class Listener:
    """One application on one address. `certificate` and `key` (PEM files) make it HTTPS; with `only_client` (a PEM
    file) nobody else gets through the handshake."""

    app: Any
    port: int
    host: str = "127.0.0.1"
    certificate: Path | None = None
    key: Path | None = None
    passphrase_file: Path | None = None
    only_client: Path | None = None


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has several servers and stops them together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(listener: Listener) -> _Server:
    return _Server(
        uvicorn.Config(
            listener.app,
            host=listener.host,
            port=listener.port,
            ssl_certfile=str(listener.certificate) if listener.certificate else None,
            ssl_keyfile=str(listener.key) if listener.key else None,
            ssl_keyfile_password=read_passphrase(listener.passphrase_file).decode()
            if listener.passphrase_file
            else None,
            ssl_ca_certs=str(listener.only_client) if listener.only_client else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if listener.only_client else ssl.CERT_NONE,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            lifespan="on",
            limit_concurrency=_LIMIT_CONCURRENCY,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            http="httptools",
            ws="none",
        )
    )


class ServerGroup:
    """Serves listeners until it is told to stop. `before_stop` is called first, while they still answer: for who must
    finish something with them."""

    def __init__(self, listeners: Sequence[Listener], *, before_stop: Callable[[], None] | None = None) -> None:
        self._servers = [_server(listener) for listener in listeners]
        self._before_stop = before_stop
        self._is_stopping = False

    async def serve(self, on_ready: Callable[[], None] | None = None) -> None:
        tasks = [asyncio.create_task(server.serve()) for server in self._servers]
        try:
            while not all(server.started for server in self._servers):
                if any(task.done() for task in tasks):
                    break
                await asyncio.sleep(0.01)
            else:
                # What was made to serve lives as long as the process: collections of garbage need not walk over it.
                gc.collect()
                gc.freeze()
                if on_ready:
                    on_ready()
            await asyncio.gather(*tasks)
        finally:
            gc.unfreeze()
            self.stop()

    def stop(self) -> None:
        """Finish running requests and end. Safe from any thread and from a signal handler."""
        if not self._is_stopping:
            self._is_stopping = True
            threading.Thread(target=self._stop, name="digiid-stop", daemon=True).start()

    def _stop(self) -> None:
        try:
            if self._before_stop is not None:
                self._before_stop()
        finally:
            for server in self._servers:
                server.should_exit = True

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve on this thread until SIGTERM or SIGINT."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            await self.serve(on_ready)

        uvloop.run(main())

    @contextlib.contextmanager
    def running(self, *, timeout_seconds: float = 30.0) -> Iterator[None]:
        """Serve on a thread of its own while the block runs: the tour and tests are their own clients."""
        ready = threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                uvloop.run(self.serve(ready.set))
            except BaseException as error:  # handed to the waiting thread below
                failures.append(error)
                ready.set()

        thread = threading.Thread(target=work, name="digiid-servers", daemon=True)
        thread.start()
        if not ready.wait(timeout_seconds) or failures:
            raise RuntimeError("the servers did not start") from (failures[0] if failures else None)
        try:
            yield
        finally:
            self.stop()
            thread.join(timeout=30)
