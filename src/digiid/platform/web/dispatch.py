"""By Host to the right site; unknown hosts get 421. One port, one origin per site."""

from collections.abc import Mapping
from typing import Any

from litestar.types import ASGIApp, Receive, Send


class HostDispatch:
    """`sites` maps a host with its port (`portal.localhost:8800`) to a site; `programs` answers loopback addresses,
    with their port or without: `openssl ocsp` leaves it out. A site's name without its port is nobody's.
    """

    def __init__(self, sites: Mapping[str, ASGIApp], *, programs: Mapping[str, ASGIApp]) -> None:
        self._sites = {host.lower(): app for host, app in sites.items()}
        self._programs = {
            name: app for host, app in programs.items() for name in (host.lower(), host.lower().rsplit(":", 1)[0])
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        app = self._sites.get(host) or self._programs.get(host)
        if app is None:
            await _misdirected(send)
            return
        await app(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _misdirected(send: Any) -> None:
    body = b"421 Misdirected Request: no site of this name is served here.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
