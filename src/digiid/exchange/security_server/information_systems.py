"""Calling the information systems of this server's clients: kept connections, mutual TLS by exact certificates.

The signed target and the signed headers go on as they are; what is added belongs to the connection alone.
"""

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from digiid.exchange.security_server.connections import Body, Connection, Connections, Pool, read_response
from digiid.exchange.security_server.dialling import dial
from digiid.exchange.security_server.http1 import ResponseHead, encode_head
from digiid.exchange.security_server.local_conf import Target
from digiid.exchange.security_server.settings import TimeoutSettings
from digiid.exchange.security_server.spool import Spool
from digiid.exchange.security_server.tls import InternalIdentity, internal_client_context
from digiid.formats.exchange.rest_message import METHODS_WITH_BODY, RestRequest
from digiid.kernel.errors import DigiidError, Unavailable

_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))  # RFC 9110 §9.2.1: asked twice is asked once
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SystemAnswer:
    """The head that came, and the body that is still to be read. `done` gives the connection back, or closes it.

    `is_sent`: the whole request was written; else what is written next would be read as the rest of it.
    """

    head: ResponseHead
    body: Body
    connection: Connection
    key: object
    is_sent: bool


class InformationSystems:
    """Used on one event loop."""

    def __init__(
        self,
        connections: Connections,
        identity: InternalIdentity,
        *,
        timeouts: TimeoutSettings,
        max_idle: int,
        max_body_bytes: int,
    ) -> None:
        self._connections, self._identity = connections, identity
        self._timeouts, self._max_body_bytes = timeouts, max_body_bytes
        self._pool = Pool(max_idle=max_idle, idle_seconds=timeouts.kept_connection_seconds)
        self._contexts: dict[bytes, ssl.SSLContext] = {}

    def context_for(self, certificate_der: bytes) -> ssl.SSLContext:
        """The TLS context for an information system that has this certificate."""
        context = self._contexts.get(certificate_der)
        if context is None:
            context = self._contexts[certificate_der] = internal_client_context(self._identity, certificate_der)
        return context

    async def call(self, target: Target, request: RestRequest, body: Spool | None) -> SystemAnswer:
        """Send the request and read the head of the answer. A body goes along with POST, PUT and PATCH only.

        Raises: Unavailable `exchange.information_system…`.
        """
        key = (target.base_url, target.tls_certificate)
        connection = self._pool.take(key)
        try:
            if connection is not None:
                try:
                    return await self._ask(connection, key, target, request, body)
                except DigiidError as error:
                    # The system may have closed a kept connection just now. It may as well have acted.
                    if error.code != "exchange.http.cut" or request.method not in _SAFE:
                        raise
            connection = await self._dial(target)
            return await self._ask(connection, key, target, request, body)
        except DigiidError as error:
            if error.code.startswith("exchange.information_system"):
                raise
            raise Unavailable("exchange.information_system", f"the information system: {error.detail}") from error

    def done(self, answer: SystemAnswer) -> None:
        """The body was read, or will not be."""
        if answer.is_sent and answer.head.keeps_alive and answer.body.is_done:
            self._pool.give(answer.key, answer.connection)
        else:
            answer.connection.close()

    async def _dial(self, target: Target) -> Connection:
        parts = urlsplit(target.base_url)
        assert parts.hostname is not None
        context = self.context_for(target.tls_certificate) if target.tls_certificate is not None else None
        connection = await dial(
            self._connections,
            parts.hostname,
            parts.port or _PORTS[parts.scheme],
            context=context,
            seconds=min(target.timeout_seconds, self._timeouts.connect_seconds),
            handshake_seconds=self._timeouts.handshake_seconds,
        )
        if connection.peer_certificate_der != target.tls_certificate:
            connection.close()
            raise Unavailable("exchange.information_system.certificate", "it shows another certificate")
        return connection

    async def _ask(
        self, connection: Connection, key: object, target: Target, request: RestRequest, body: Spool | None
    ) -> SystemAnswer:
        added = [("Host", urlsplit(target.base_url).netloc)]
        goes_along = request.method in METHODS_WITH_BODY
        if goes_along:
            added.append(("Content-Length", str(body.size if body is not None else 0)))
        head = encode_head(f"{request.method} {request.target} HTTP/1.1", (*added, *request.headers))
        is_sent = True
        try:
            if not goes_along or body is None or not body.is_large:
                connection.write(head + body.content() if goes_along and body is not None else head)
            else:
                connection.write(head)
                left = body.size
                for piece in body.pieces():
                    connection.expect_within(target.timeout_seconds)
                    connection.write(piece)
                    left -= len(piece)
                    if connection.has_input:
                        break  # it has answered before it had all: the rest would go nowhere
                    await connection.drain()
                is_sent = not left
            answer, stream = await read_response(
                connection,
                method=request.method,
                answer_seconds=target.timeout_seconds,
                max_bytes=self._max_body_bytes,
                timeouts=self._timeouts.of_connections(),
            )
        except BaseException:
            connection.close()
            raise
        return SystemAnswer(answer, stream, connection, key, is_sent)
