"""Opening connections: one address, or the fastest of several.

Names below localhost are this machine (RFC 6761 §6.3); resolvers do not all know them.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from digiid.exchange.security_server.connections import Connection, Connections
from digiid.kernel.errors import Unavailable

Address = tuple[str, int]


async def dial(
    connections: Connections,
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None,
    seconds: float,
    handshake_seconds: float,
) -> Connection:
    """A connection to this address, by TLS when there is a context.

    Raises: Unavailable `exchange.unreachable`, `exchange.unreachable.handshake`.
    """
    connected, _ = await connect_fastest([(host, port)], seconds=seconds)
    return await open_connection(connections, connected, context=context, handshake_seconds=handshake_seconds)


async def open_connection(
    connections: Connections, connected: socket.socket, *, context: ssl.SSLContext | None, handshake_seconds: float
) -> Connection:
    """Take over a connected socket. Raises: Unavailable `exchange.unreachable.handshake`."""
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {}
    if context is not None:
        options = {"ssl": context, "server_hostname": "", "ssl_handshake_timeout": handshake_seconds}
    try:
        _, connection = await loop.create_connection(lambda: Connection(connections), sock=connected, **options)
    except (OSError, ssl.SSLError, TimeoutError) as error:
        connected.close()
        raise Unavailable("exchange.unreachable.handshake", f"no TLS with the peer: {type(error).__name__}") from error
    return connection


async def connect_fastest(addresses: Sequence[Address], *, seconds: float) -> tuple[socket.socket, Address]:
    """Race TCP connects; the first that succeeds wins, the others are given up.

    Raises: Unavailable `exchange.unreachable`, none within the time.
    """
    loop = asyncio.get_running_loop()
    racing = {loop.create_task(_connect(*address)): address for address in addresses}
    reasons: list[str] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        async with asyncio.timeout(seconds):
            waiting = set(racing)
            while waiting and winner is None:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                winner = next((each for each in done if each.exception() is None), None)
                reasons += [type(each.exception()).__name__ for each in done if each.exception() is not None]
    except TimeoutError:
        reasons.append("no connection in time")
    finally:
        for each in racing:
            if each is not winner:
                each.cancel()
                each.add_done_callback(_close_loser)
    if winner is None:
        raise Unavailable("exchange.unreachable", f"{len(addresses)} addresses: {', '.join(sorted(set(reasons)))}")
    return winner.result(), racing[winner]


def _close_loser(finished: "asyncio.Task[socket.socket]") -> None:
    if not finished.cancelled() and finished.exception() is None:
        finished.result().close()


async def _connect(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    resolved = await _resolve(host, port)
    failure: OSError | None = None
    for family, address in resolved:
        connecting = socket.socket(family, socket.SOCK_STREAM)
        connecting.setblocking(False)
        try:
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connecting, address)
        except OSError as error:
            connecting.close()
            failure = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise failure or OSError("the name has no address")


async def _resolve(host: str, port: int) -> list[tuple[int, Any]]:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return [(socket.AF_INET, ("127.0.0.1", port))]
    try:
        literal = ip_address(host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]
    return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, (host, port))]
