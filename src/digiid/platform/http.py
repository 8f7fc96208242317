"""HTTP to others: names below localhost dialled on 127.0.0.1, answers capped in size, no redirects followed."""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore
import httpx

from digiid.kernel.errors import Malformed, Unavailable

DEFAULT_TIMEOUT_SECONDS = 10.0
DEFAULT_MAX_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _LoopbackNames(httpcore.NetworkBackend):
    """Dials 127.0.0.1 for `localhost` and every name below it (RFC 6761 §6.3): resolvers do not all know them."""

    def __init__(self) -> None:
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        name = host.rstrip(".").lower()
        address = "127.0.0.1" if name == "localhost" or name.endswith(".localhost") else host
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *(socket_options or ())]
        return self._sockets.connect_tcp(address, port, timeout, local_address, options)


def loopback_transport(authority: Path | None = None, *, context: ssl.SSLContext | None = None) -> httpx.HTTPTransport:
    """An httpx transport that reaches names below localhost whatever the machine's resolver thinks of them.

    `authority` is a PEM file of a CA that is trusted beside the machine's own; `context` says it all in their place.
    """
    trusted = context or ssl.create_default_context()
    if authority is not None:
        trusted.load_verify_locations(authority)
    transport = httpx.HTTPTransport(
        verify=trusted, limits=httpx.Limits(max_connections=100, max_keepalive_connections=32)
    )
    transport._pool._network_backend = _LoopbackNames()  # httpx has no public way to hand one in
    return transport


class HttpClient:
    """A pooled, thread-safe client. One per process and purpose."""

    def __init__(
        self,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        max_bytes: int = DEFAULT_MAX_BYTES,
        cookies: bool = False,
        authority: Path | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        transport = loopback_transport(authority, context=context)
        self._client = httpx.Client(
            transport=transport, timeout=timeout_seconds, follow_redirects=False, trust_env=False
        )
        self._max_bytes = max_bytes
        self._keeps_cookies = cookies

    def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> HttpAnswer:
        """Send one request and read the whole answer.

        Raises:
            Unavailable: `http.unreachable`, no connection, no answer in time.
            Malformed: `http.too_large`, the answer is longer than the limit; `http.url`.
        """
        limit = self._max_bytes if max_bytes is None else max_bytes
        try:
            with self._client.stream(method, url, content=content, headers=dict(headers or {})) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > limit:
                        raise Malformed("http.too_large", f"more than {limit} bytes from {response.url.host}")
                answer = HttpAnswer(response.status_code, response.headers, bytes(body))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Malformed("http.url", str(error)) from error
        except httpx.HTTPError as error:
            raise Unavailable("http.unreachable", _describe(method, httpx.URL(url), error)) from error
        if not self._keeps_cookies:
            self._client.cookies.clear()
        return answer

    def close(self) -> None:
        self._client.close()


def _describe(method: str, url: httpx.URL, error: httpx.HTTPError) -> str:
    """For whoever operates it: which program does not answer, and whether it is there at all."""
    place = url.netloc.decode("ascii", "replace")
    if isinstance(error, httpx.ConnectError):
        return f"nothing answers at {place}: is it running, is the address right? ({method}, {type(error).__name__})"
    if isinstance(error, httpx.TimeoutException):
        return f"{place} did not answer in time ({method}, {type(error).__name__})"
    return f"the connection to {place} broke off ({method}, {type(error).__name__})"
