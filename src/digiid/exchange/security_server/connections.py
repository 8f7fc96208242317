"""Connections over asyncio: framed HTTP/1.1 on both sides, kept open, with a deadline for every stage.

A connection has one deadline at a time; a sweeper that looks once a second aborts those whose time is over, so that a
message costs no timers. A body may take a while from its beginning and then as long as its bytes need at the lowest
rate that is served: who sends slowly is cut off, however regularly a byte comes.
"""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog

from digiid.exchange.security_server.http1 import (
    LAST_CHUNK,
    MAX_HEAD_BYTES,
    BodyDecoder,
    Framing,
    RequestHead,
    ResponseHead,
    encode_chunk,
    encode_head,
    parse_request_head,
    parse_response_head,
)
from digiid.formats.exchange.rest_message import Header
from digiid.kernel.errors import DigiidError, Malformed, Unavailable

log = structlog.get_logger("exchange.security_server")

SWEEP_SECONDS: Final = 1.0
_HIGH_WATER_BYTES: Final = 512 * 1024  # bytes that may wait unread before the peer is told to stop
_MAX_INTERIM: Final = 8
_UNREAD_BYTES: Final = 1024**2  # of a refused request that are still taken, so that the refusal arrives
_UNREAD_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.1
_TOLD_SECONDS: Final = 1.0  # between two lines of the log about connections that are too many
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_END_OF_HEAD: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `lowest_bytes_per_second`: a body that comes or goes more slowly on the whole is cut off."""

    handshake_seconds: float = 10.0
    idle_seconds: float = 60.0
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    lowest_bytes_per_second: int = 16 * 1024


class Connections:
    """All connections of one server process, and the one sweeper over them."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for connection in list(self.open):
            connection.abort()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.expire(loop.time())

    def expire(self, now: float) -> None:
        """Abort the connections whose deadline is before `now`, on the loop's clock."""
        for connection in list(self.open):
            if connection.deadline is not None and connection.deadline < now:
                connection.expire()


class Connection(asyncio.Protocol):
    """One TCP or TLS connection: bytes in the order they came, and out with the peer's consent."""

    def __init__(self, connections: Connections, on_made: "Callable[[Connection], None] | None" = None) -> None:
        self._connections, self._on_made = connections, on_made
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_reading, self._may_write = True, True
        self._is_ended = False  # nothing more comes
        self._failure: DigiidError | None = None
        self.transport: Any = None  # uvloop's transports have no common type with asyncio's
        self.is_lost = False
        self.is_reused = False
        self.deadline: float | None = None
        self.is_encrypted = False
        self.peer_certificate_der: bytes | None = None

    # ------------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._connections.open.add(self)
        encryption = transport.get_extra_info("ssl_object")
        if encryption is not None:
            self.is_encrypted = True
            self.peer_certificate_der = encryption.getpeercert(binary_form=True)
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _HIGH_WATER_BYTES and self._is_reading:
            self._is_reading = False
            self.transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> bool:
        self._is_ended = True
        self._wake_reader()
        return not self.is_encrypted  # TLS has no half of a connection that stays open

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.open.discard(self)
        self._is_ended = self.is_lost = True
        self._wake_reader()
        self._wake_writer()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._wake_writer()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    # ------------------------------------------------------------------ reading

    @property
    def peer(self) -> object:
        """Who is at the other end: its certificate, else its address."""
        if self.peer_certificate_der is not None:
            return self.peer_certificate_der
        address = self.transport.get_extra_info("peername")
        return address[0] if isinstance(address, tuple) else address

    @property
    def has_input(self) -> bool:
        """Whether bytes, or the end, have come that nobody asked for yet."""
        return self._held > 0 or self._is_ended

    async def read(self) -> bytes:
        """What has come, at least one byte; nothing at the end. Raises: Malformed `exchange.http.too_slow`."""
        while not self._held:
            if self._failure is not None:
                raise self._failure
            if self._is_ended:
                return b""
            self._reader = self._loop.create_future()
            await self._reader
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if not self._is_reading and self._held <= _HIGH_WATER_BYTES // 2:
            self._is_reading = True
            if not self.is_lost:
                self.transport.resume_reading()
        return piece

    def push_back(self, data: bytes) -> None:
        """These bytes belong to what is read next."""
        if data:
            self._pieces.appendleft(data)
            self._held += len(data)

    async def read_head(self, *, idle_seconds: float, head_seconds: float) -> bytes | None:
        """A head up to and with its empty line; None when the peer closed before its first byte.

        Raises: Malformed `exchange.http.too_large`, `exchange.http.truncated`, `exchange.http.too_slow`.
        """
        self.expect_within(idle_seconds)
        data = await self.read()
        if not data:
            return None
        end = data.find(_END_OF_HEAD)
        if end < 0:
            self.expect_within(head_seconds)
            gathered = bytearray(data)
            while end < 0:
                if len(gathered) > MAX_HEAD_BYTES:
                    raise Malformed("exchange.http.too_large", f"a head has at most {MAX_HEAD_BYTES} bytes")
                piece = await self.read()
                if not piece:
                    raise Malformed("exchange.http.truncated", "the connection was cut inside a head")
                start = max(0, len(gathered) - 3)
                gathered += piece
                end = gathered.find(_END_OF_HEAD, start)
            data = bytes(gathered)
        self.deadline = None
        if end > MAX_HEAD_BYTES:
            raise Malformed("exchange.http.too_large", f"a head has at most {MAX_HEAD_BYTES} bytes")
        self.push_back(data[end + 4 :])
        return data[: end + 4]

    # ------------------------------------------------------------------ writing

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport. They are lost when the peer is; `drain` and reading tell."""
        if not self.is_lost:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written. Raises: Unavailable `exchange.http.cut`."""
        while not self._may_write and not self.is_lost:
            self._writer = self._loop.create_future()
            await self._writer
        if self.is_lost:
            raise self._failure or Unavailable("exchange.http.cut", "the peer closed the connection")

    # ------------------------------------------------------------------ time and end

    def expect_within(self, seconds: float) -> None:
        """What is waited for next comes within so many seconds, or the connection is aborted."""
        self.deadline = self._loop.time() + seconds

    def expire(self) -> None:
        self._failure = Malformed("exchange.http.too_slow", "the peer took too long")
        self.abort()

    def abort(self) -> None:
        if self.transport is not None and not self.is_lost:
            self.transport.abort()

    def close(self) -> None:
        """End the connection when what was written is gone."""
        self.deadline = None
        if self.transport is not None and not self.is_lost:
            self.expect_within(_UNREAD_SECONDS)
            self.transport.close()


class Body:
    """A body as it comes in, decoded, limited in size and by its deadline."""

    def __init__(
        self,
        connection: Connection,
        framing: Framing,
        *,
        max_bytes: int,
        timeouts: Timeouts,
        before_first: bytes | None = None,
    ) -> None:
        """`before_first` is written when the body is first asked for: the peer waits for the word to continue."""
        self._connection, self._decoder = connection, BodyDecoder(framing)
        self._max_bytes, self._timeouts = max_bytes, timeouts
        self._before_first = before_first
        self._read_bytes = 0
        self._began_at: float | None = None
        self.framing = framing
        if framing.length is not None and framing.length > max_bytes:
            raise Malformed("exchange.http.too_large", f"a body has at most {max_bytes} bytes")

    @property
    def is_done(self) -> bool:
        return self._decoder.is_done

    async def read(self) -> bytes:
        """Some more bytes; nothing at the end.

        Raises: Malformed `exchange.http.…`: too large, too slow, truncated, not framed as it says.
        """
        connection, decoder, timeouts = self._connection, self._decoder, self._timeouts
        if self._before_first is not None and not decoder.is_done:
            connection.write(self._before_first)
        self._before_first = None
        if self._began_at is None:
            self._began_at = asyncio.get_running_loop().time()
        while not self.is_done:
            rated = self._read_bytes / timeouts.lowest_bytes_per_second
            connection.deadline = self._began_at + timeouts.body_seconds + rated
            data = await connection.read()
            if not data:
                decoder.finish()
            body = decoder.feed(data) if data else b""
            self._read_bytes += len(body)
            if self._read_bytes > self._max_bytes:
                raise Malformed("exchange.http.too_large", f"a body has at most {self._max_bytes} bytes")
            if decoder.is_done:
                connection.deadline = None
                connection.push_back(decoder.rest)
            if body:
                return body
        return b""

    async def read_all(self) -> bytes:
        """The whole body, which is small. Raises: as `read`."""
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)


# ------------------------------------------------------------------ the serving side


class Exchange:
    """One request and the response to it."""

    def __init__(self, connection: Connection, head: RequestHead, *, max_bytes: int, timeouts: Timeouts) -> None:
        self.connection, self.head = connection, head
        self._timeouts = timeouts
        self._is_head = head.method == "HEAD"
        self._is_chunked = False
        self._unsent = b""  # a head, which goes with the first piece of its body
        self._body: Body | None = None
        self._max_bytes = max_bytes
        self.has_started = False
        self.has_finished = False
        self.keeps_alive = head.keeps_alive

    @property
    def body(self) -> Body:
        """The request's body. Raises: Malformed `exchange.http.too_large`, by what the head says."""
        if self._body is None:
            self._body = Body(
                self.connection,
                self.head.framing,
                max_bytes=self._max_bytes,
                timeouts=self._timeouts,
                before_first=_CONTINUE if self.head.expects_continue else None,
            )
        return self._body

    @property
    def is_read(self) -> bool:
        """Whether nothing of the request is left on the connection."""
        return self._body.is_done if self._body is not None else self.head.framing.is_empty

    def respond(self, status: int, headers: Iterable[Header], body: bytes | None, *, reason: str | None = None) -> None:
        """The whole response in one write. `body` is None where there cannot be one (204, 304)."""
        length = () if body is None else (("Content-Length", str(len(body))),)
        head = self._begin(status, reason, (*headers, *length))
        self.connection.write(head if self._is_head or body is None else head + body)
        self.has_finished = True

    def begin(
        self, status: int, headers: Iterable[Header], *, length: int | None = None, reason: str | None = None
    ) -> None:
        """Start a response that is written piece by piece: of this length, or chunked."""
        self._is_chunked = length is None
        framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        self._unsent = self._begin(status, reason, (*headers, framing))

    async def write(self, data: bytes) -> None:
        """A piece of the body. Raises: Unavailable `exchange.http.cut`."""
        if data and not self._is_head:
            rated = len(data) / self._timeouts.lowest_bytes_per_second
            self.connection.expect_within(self._timeouts.body_seconds + rated)
            self.connection.write(self._take_unsent() + (encode_chunk(data) if self._is_chunked else data))
            await self.connection.drain()
            self.connection.deadline = None

    def finish(self, data: bytes = b"") -> None:
        """The last piece, and the end."""
        last = self._take_unsent()
        if not self._is_head:
            last += encode_chunk(data) if data and self._is_chunked else data
            last += LAST_CHUNK if self._is_chunked else b""
        self.connection.write(last)
        self.has_finished = True

    def _take_unsent(self) -> bytes:
        unsent, self._unsent = self._unsent, b""
        return unsent

    def _begin(self, status: int, reason: str | None, headers: Iterable[Header]) -> bytes:
        self.has_started = True
        if not self.is_read:
            self.keeps_alive = False
        closing = () if self.keeps_alive else (("Connection", "close"),)
        return encode_head(f"HTTP/1.1 {status} {_phrase(status) if reason is None else reason}", (*headers, *closing))


Handler = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Admission:
    """How many connections one listener holds, in all and of one peer, and how large a body of a request may be."""

    max_connections: int
    max_of_peer: int
    max_body_bytes: int


class Listener:
    """One listening address. The TLS context may be replaced while it listens; connections that are open stay.

    A stranger costs a descriptor from the first packet on: connections count before they have shown who they are, by
    their address until the handshake is over and by their certificate afterwards.
    """

    def __init__(
        self, name: str, handler: Handler, connections: Connections, *, admission: Admission, timeouts: Timeouts
    ) -> None:
        self._name, self._handler, self._connections = name, handler, connections
        self._admission, self._timeouts = admission, timeouts
        self._context: ssl.SSLContext | None = None
        self._socket: Any = None
        self._accepting: asyncio.Task[None] | None = None
        self._greeted: set[asyncio.Task[None]] = set()  # their handshake goes on
        self._of_address: dict[object, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._of_peer: dict[object, int] = {}
        self._is_stopping = False
        self._idle: set[Connection] = set()
        self._told_at = -_TOLD_SECONDS

    async def start(self, listening: Any, context: ssl.SSLContext | None) -> None:
        """`listening` is a bound socket that does not block; it is this object's from now on."""
        self._socket, self._context = listening, context
        self._accepting = asyncio.get_running_loop().create_task(self._accept_all())

    async def replace_context(self, context: ssl.SSLContext) -> None:
        """New connections are judged by this context. Those that wait in the socket's queue are not lost."""
        self._context = context

    async def stop(self, grace_seconds: float) -> None:
        """Take no more connections; finish what is being answered."""
        self._is_stopping = True
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait((self._accepting,))
        if self._socket is not None:
            self._socket.close()
        for greeted in list(self._greeted):
            greeted.cancel()
        for connection in list(self._idle):
            connection.close()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)

    async def _accept_all(self) -> None:
        loop, limits = asyncio.get_running_loop(), self._admission
        while True:
            try:
                connected, name = await loop.sock_accept(self._socket)
            except OSError as error:  # no descriptors are left, or the peer has gone already: others still wait
                log.error("exchange.not_accepted", listener=self._name, reason=error.strerror)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            address = name[0]
            held = self._of_address.get(address, 0)
            if held >= limits.max_of_peer or len(self._tasks) + len(self._greeted) >= limits.max_connections:
                self._tell_refused(held)
                connected.close()
                continue
            self._of_address[address] = held + 1
            greeted = loop.create_task(self._greet(connected))
            self._greeted.add(greeted)
            greeted.add_done_callback(functools.partial(self._greeting_over, address))

    async def _greet(self, connected: socket.socket) -> None:
        """The handshake, where there is one; then `_accept` goes on."""
        loop, context = asyncio.get_running_loop(), self._context
        options: dict[str, Any] = {"ssl_handshake_timeout": self._timeouts.handshake_seconds} if context else {}
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: Connection(self._connections, self._accept), connected, ssl=context, **options
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            connected.close()
            log.debug("exchange.no_handshake", listener=self._name, reason=type(error).__name__)
        except BaseException:
            connected.close()
            raise

    def _greeting_over(self, address: object, greeted: "asyncio.Task[None]") -> None:
        self._greeted.discard(greeted)
        _count_down(self._of_address, address)
        if not greeted.cancelled() and (error := greeted.exception()) is not None:
            log.error("exchange.listener_failed", listener=self._name, exc_info=error)

    def _accept(self, connection: Connection) -> None:
        peer = connection.peer
        held, limits = self._of_peer.get(peer, 0), self._admission
        if len(self._tasks) >= limits.max_connections or held >= limits.max_of_peer or self._is_stopping:
            self._tell_refused(held)
            connection.abort()
            return
        self._of_peer[peer] = held + 1
        task = asyncio.get_running_loop().create_task(self._answer_all(connection))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._leave(done, peer))

    def _tell_refused(self, held: int) -> None:
        """Now and then: who knocks without end must not fill the log."""
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TOLD_SECONDS:
            self._told_at = now
            in_all = len(self._tasks) + len(self._greeted)
            log.warning("exchange.too_many_connections", listener=self._name, of_peer=held, in_all=in_all)

    def _leave(self, task: "asyncio.Task[None]", peer: object) -> None:
        self._tasks.discard(task)
        _count_down(self._of_peer, peer)

    async def _answer_all(self, connection: Connection) -> None:
        try:
            while await self._answer_one(connection):
                pass
        except Malformed as error:
            # What cannot be read as HTTP gets the shortest answer there is; nothing else is sent on this connection.
            log.info("exchange.http_refused", listener=self._name, code=error.code, reason=error.detail)
            connection.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except Unavailable as error:
            log.info("exchange.connection_cut", listener=self._name, code=error.code)
        except Exception:  # the edge: a fault of ours ends this connection, and no other
            log.exception("exchange.listener_failed", listener=self._name)
        finally:
            self._idle.discard(connection)
            connection.close()

    async def _answer_one(self, connection: Connection) -> bool:
        self._idle.add(connection)
        timeouts = self._timeouts
        head = await connection.read_head(idle_seconds=timeouts.idle_seconds, head_seconds=timeouts.head_seconds)
        self._idle.discard(connection)
        if head is None:
            return False
        parsed = parse_request_head(head)
        exchange = Exchange(connection, parsed, max_bytes=self._admission.max_body_bytes, timeouts=timeouts)
        if self._is_stopping:
            exchange.keeps_alive = False
        await self._handler(exchange)
        if not exchange.has_finished:
            connection.abort()  # a response that was begun and not ended must not look like a whole one
            return False
        if not exchange.is_read:
            await _take_unread(exchange)
            return False
        return exchange.keeps_alive and not self._is_stopping and not connection.is_lost


def _count_down(counts: dict[object, int], of: object) -> None:
    left = counts[of] - 1
    if left:
        counts[of] = left
    else:
        del counts[of]


async def _take_unread(exchange: Exchange) -> None:
    """Closing with unread bytes would reset the connection, and the peer would never read why."""
    taken = 0
    with contextlib.suppress(DigiidError):
        exchange.connection.expect_within(_UNREAD_SECONDS)
        while taken < _UNREAD_BYTES and (data := await exchange.connection.read()):
            taken += len(data)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


# ------------------------------------------------------------------ the asking side


async def read_response(
    connection: Connection, *, method: str, answer_seconds: float, max_bytes: int, timeouts: Timeouts
) -> tuple[ResponseHead, Body]:
    """The final response. Raises: Malformed `exchange.http.…`; Unavailable `exchange.http.cut`."""
    for _ in range(_MAX_INTERIM):
        head = await connection.read_head(idle_seconds=answer_seconds, head_seconds=timeouts.head_seconds)
        if head is None:
            raise Unavailable("exchange.http.cut", "the peer closed the connection without an answer")
        parsed = parse_response_head(head, method=method)
        if parsed.status >= 200:
            return parsed, Body(connection, parsed.framing, max_bytes=max_bytes, timeouts=timeouts)
        if parsed.status == 101:
            break
    raise Malformed("exchange.http.interim", "a change of protocol, or interim responses without end")


class Pool:
    """Connections that wait for their next request, by where they lead."""

    def __init__(self, *, max_idle: int, idle_seconds: float) -> None:
        self._idle: dict[object, list[Connection]] = {}
        self._max_idle, self._idle_seconds = max_idle, idle_seconds

    def take(self, key: object) -> Connection | None:
        """The connection used last; one that has ended, or on which something came unasked, is thrown away."""
        waiting = self._idle.get(key)
        while waiting:
            connection = waiting.pop()
            if not connection.has_input and not connection.is_lost:
                connection.deadline, connection.is_reused = None, True
                return connection
            connection.close()
        return None

    def give(self, key: object, connection: Connection) -> None:
        """Its exchange is complete on both sides."""
        waiting = self._idle.setdefault(key, [])
        if connection.is_lost or connection.has_input or len(waiting) >= self._max_idle:
            connection.close()
            return
        connection.expect_within(self._idle_seconds)
        waiting.append(connection)

    def clear(self) -> None:
        """Close all that wait: what was concluded about their peers no longer holds."""
        for waiting in self._idle.values():
            for connection in waiting:
                connection.close()
        self._idle.clear()
