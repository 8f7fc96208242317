"""Serves an ASGI application on a free loopback port, for as long as a test needs it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from digiid.platform.ports import free_ports


def free_port() -> int:
    """A port that nobody uses now."""
    return free_ports(1)[0]


@contextmanager
def serving(app: Any, port: int) -> Iterator[None]:
    """The application answers at 127.0.0.1:port inside the block."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError(f"the server on port {port} did not start")
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=15)
