"""What endpoints without a framework share: raw ASGI, limited bodies, short answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from digiid.kernel.errors import Malformed, Unavailable

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_COMMON_HEADERS: Final = ((b"x-content-type-options", b"nosniff"),)
_TEXTS: Final = {
    400: b"bad request\n",
    404: b"not found\n",
    405: b"method not allowed\n",
    413: b"too large\n",
    415: b"unsupported media type\n",
    503: b"unavailable\n",
}


async def read_body(receive: Receive, *, max_bytes: int) -> bytes:
    """The request's body. Raises: Malformed `http.too_large`, `http.disconnected`."""
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Malformed("http.disconnected", "the client went away")
        body += event.get("body", b"")
        if len(body) > max_bytes:
            raise Malformed("http.too_large", f"more than {max_bytes} bytes")
        if not event.get("more_body", False):
            return bytes(body)


class BodyReader:
    """Reads the bodies of one endpoint into memory: each of at most `max_bytes`, within `seconds`, and all that are
    held at once of at most `max_held_bytes`: strangers who send slowly or all together cannot fill the memory.
    """

    def __init__(self, *, max_bytes: int, max_held_bytes: int, seconds: float) -> None:
        self._max_bytes, self._max_held_bytes, self._seconds = max_bytes, max_held_bytes, seconds
        self._held_bytes = 0

    @asynccontextmanager
    async def reading(self, receive: Receive) -> AsyncIterator[bytes]:
        """The body; it counts as held until the block ends.

        Raises: Malformed `http.too_large`, `http.too_slow`, `http.disconnected`; Unavailable `http.busy`.
        """
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._read(receive, body)
            except TimeoutError as error:
                raise Malformed("http.too_slow", f"The body did not come within {self._seconds:.0f} s.") from error
            yield bytes(body)
        finally:
            self._held_bytes -= len(body)

    async def _read(self, receive: Receive, body: bytearray) -> None:
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Malformed("http.disconnected", "the client went away")
            part = event.get("body", b"")
            body += part
            self._held_bytes += len(part)
            if len(body) > self._max_bytes:
                raise Malformed("http.too_large", f"A body has at most {self._max_bytes} bytes.")
            if self._held_bytes > self._max_held_bytes:
                raise Unavailable("http.busy", "too many bodies are held at once")
            if not event.get("more_body", False):
                return


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of this lower-case name, without parameters, lower-case; empty when absent."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for found, value in headers:
        if found == name:
            return value.partition(b";")[0].strip().lower()
    return b""


async def respond(
    send: Send,
    body: bytes,
    content_type: bytes,
    *,
    status: int = 200,
    cache_control: bytes = b"no-store",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """One whole response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", cache_control),
                *_COMMON_HEADERS,
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def respond_status(send: Send, status: int, *, allow: bytes = b"") -> None:
    """An HTTP status with one line of text."""
    headers = ((b"allow", allow),) if allow else ()
    await respond(send, _TEXTS[status], b"text/plain; charset=utf-8", status=status, headers=headers)
