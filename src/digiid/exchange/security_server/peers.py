"""Reaching the security server of a provider: choice of the target, judgement of the peer, kept connections.

The addresses of all servers where the provider is registered are tried at once; the one that answers first serves the
provider for an hour. A peer is judged after the handshake, before a byte is sent, and again for every message that
goes over a kept connection: its certificate must still belong to a server of the provider, and still be good.
"""

import asyncio
import functools
import ssl
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog
from cryptography import x509

from digiid.exchange.global_conf import GlobalConf
from digiid.exchange.security_server.connections import Connection, Connections, Pool
from digiid.exchange.security_server.dialling import Address, connect_fastest, open_connection
from digiid.exchange.security_server.settings import TimeoutSettings
from digiid.exchange.security_server.status_port import PeerStatus
from digiid.formats.global_conf import SecurityServer
from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import DigiidError, Refused, Unavailable
from digiid.kernel.identifiers import ClientId, ServerId

log = structlog.get_logger("exchange.security_server")

_MAX_REMEMBERED: Final = 10_000
_OF_FORMER_CERTIFICATE: Final = frozenset(
    # not registered any more, not good any more, and nobody fetches its status any more
    {"exchange.trust.unknown_server", "exchange.trust.ocsp_status", "exchange.trust.ocsp_outdated"}
)
_AVOIDED_SECONDS: Final = 30.0  # a server that failed after it answered first is asked again so much later


@dataclass(frozen=True, slots=True)
class Peer:
    """A judged peer and the connection to it. `generation`: how often our own certificate had changed when it began."""

    server: SecurityServer
    address: Address
    connection: Connection
    generation: int


class _Reached(NamedTuple):
    """An open connection of which nothing is judged. `is_kept`: an earlier message opened it."""

    connection: Connection
    address: Address
    is_kept: bool
    generation: int


class Peers:
    """Used on one event loop."""

    def __init__(
        self,
        connections: Connections,
        status: PeerStatus,
        *,
        timeouts: TimeoutSettings,
        max_idle: int,
        find_context: Callable[[], ssl.SSLContext],
    ) -> None:
        self._connections, self._status = connections, status
        self._timeouts, self._find_context = timeouts, find_context
        self._pool = Pool(max_idle=max_idle, idle_seconds=timeouts.kept_connection_seconds)
        self._fastest: dict[frozenset[Address], tuple[Address, float]] = {}
        self._avoided: dict[Address, float] = {}
        self._generation = 0

    async def connect(self, conf: GlobalConf, provider: ClientId, *, wanted: ServerId | None) -> Peer:
        """A judged connection to a server of the provider. Nothing has been sent on it for this message.

        Raises:
            Refused: `exchange.client_not_registered`, nobody serves the provider; `exchange.security_server`, the
                server that is asked for does not; `exchange.trust.…`, `ocsp.…`, no peer is who it should be.
            Unavailable: `exchange.maintenance`, `exchange.unreachable`, `exchange.ocsp.peer`.
        """
        # 1 whose servers may answer for the provider
        candidates = {_address_of(each): each for each in choose_servers(conf, provider, wanted=wanted)}
        tried: set[Address] = set()
        seconds = self._timeouts.connect_seconds
        failure: DigiidError | None = None
        while left := self._not_avoided(candidates.keys() - tried):
            address: Address | None = None
            is_kept = False
            try:
                # 2 one that is connected already, else the fastest
                reached = await self._reach(left, seconds)
                address, is_kept = reached.address, reached.is_kept
                # 3 it is who it should be
                return await self._judged(conf, candidates, reached)
            except DigiidError as error:
                if is_kept and error.code in _OF_FORMER_CERTIFICATE:
                    continue  # it began when the peer had another certificate; a new connection shows the present one
                failure = error
                if isinstance(error, _NoHandshake):
                    address = error.address
                log.warning("exchange.peer_not_usable", provider=str(provider), code=error.code, reason=error.detail)
            # 4 nothing was sent yet: another one may be better
            self._fastest.pop(left, None)
            if address is not None:
                self._avoided[address] = asyncio.get_running_loop().time() + _AVOIDED_SECONDS
            tried |= left if address is None else {address}
            seconds = max(seconds / 2, self._timeouts.shortest_connect_seconds)
        assert failure is not None
        raise failure

    def _not_avoided(self, addresses: Set[Address]) -> frozenset[Address]:
        """Those that have not failed lately; all of them when all have."""
        now = asyncio.get_running_loop().time()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}
        return frozenset(addresses - self._avoided.keys()) or frozenset(addresses)

    def give_back(self, peer: Peer) -> None:
        """The exchange on this connection is complete and the peer keeps it open."""
        if peer.generation == self._generation:
            self._pool.give(peer.address, peer.connection)
        else:
            peer.connection.close()

    def forget_connections(self) -> None:
        """Our own certificate has changed: connections are opened anew, and those in use are not kept."""
        self._generation += 1
        self._pool.clear()

    async def _reach(self, addresses: frozenset[Address], seconds: float) -> _Reached:
        loop, generation = asyncio.get_running_loop(), self._generation
        remembered = self._fastest.get(addresses)
        first: list[Address] = []
        if remembered is not None and loop.time() - remembered[1] < self._timeouts.fastest_remembered_seconds:
            first = [remembered[0]]
            if (kept := self._pool.take(remembered[0])) is not None:
                return _Reached(kept, remembered[0], True, generation)
        for choice in (first, list(addresses)):
            if not choice:
                continue
            try:
                connected, address = await connect_fastest(choice, seconds=seconds)
            except Unavailable:
                if choice is first and len(addresses) > 1:
                    continue
                raise
            break
        if address not in first:
            if len(self._fastest) >= _MAX_REMEMBERED:
                self._fastest.clear()
            self._fastest[addresses] = (address, loop.time())
        try:
            connection = await open_connection(
                self._connections,
                connected,
                context=self._find_context(),
                handshake_seconds=self._timeouts.handshake_seconds,
            )
        except Unavailable as error:
            raise _NoHandshake(error, address) from error
        return _Reached(connection, address, False, generation)

    async def _judged(self, conf: GlobalConf, candidates: dict[Address, SecurityServer], reached: _Reached) -> Peer:
        connection, address = reached.connection, reached.address
        try:
            certificate_der = connection.peer_certificate_der
            if certificate_der is None:
                raise Refused("exchange.trust.no_certificate", "the peer showed no certificate")
            server = conf.server_of_authentication_certificate(certificate_der)
            if server is None or all(server.id != each.id for each in candidates.values()):
                raise Refused("exchange.trust.unknown_server", "the peer is not a server of the provider")
            certificate = load_known(certificate_der)
            addressed = candidates[address]
            await self._status.verify(conf, certificate, host=addressed.host, port=addressed.ocsp_port)
        except DigiidError:
            connection.close()
            raise
        return Peer(server, address, connection, reached.generation)


class _NoHandshake(Unavailable):
    """The address that was chosen does not speak TLS with us."""

    def __init__(self, cause: Unavailable, address: Address) -> None:
        super().__init__(cause.code, cause.detail)
        self.address = address


@functools.lru_cache(maxsize=1024)
def load_known(certificate_der: bytes) -> x509.Certificate:
    """A certificate that comes with every message, read once. Raises: Malformed `x509.certificate`."""
    return load_certificate(certificate_der)


def choose_servers(conf: GlobalConf, provider: ClientId, *, wanted: ServerId | None) -> list[SecurityServer]:
    """The servers that may be asked now. Raises: as `Peers.connect`."""
    servers = list(conf.servers_of(provider))
    if not servers:
        raise Refused("exchange.client_not_registered", f"{provider} is not registered on any security server")
    if wanted is not None:
        servers = [each for each in servers if each.id == wanted]
        if not servers:
            raise Refused("exchange.security_server", f"{provider} is not registered on {wanted}")
    working = [each for each in servers if each.maintenance is None]
    if not working:
        notice = next((each.maintenance for each in servers if each.maintenance), None)
        detail = f"every security server of {provider} is in maintenance"
        raise Unavailable("exchange.maintenance", detail, public=f"{detail}: {notice}" if notice else detail)
    reachable = [each for each in working if each.has_address]
    if not reachable:
        raise Unavailable("exchange.unreachable", f"no security server of {provider} has an address")
    return reachable


def _address_of(server: SecurityServer) -> Address:
    return server.host, server.message_port
