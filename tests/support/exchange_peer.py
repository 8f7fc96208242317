"""A security server played by a test: it speaks TLS with a registered key and sends whatever the test wants."""

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from digiid.formats.exchange.hash_chain import HashChain
from digiid.formats.exchange.message_signature import (
    BODY,
    MESSAGE,
    build_message_signature,
    prepare_message_signature,
)
from digiid.formats.exchange.multipart import MultipartParser, PartData, PartStart, parse_boundary
from digiid.formats.exchange.part_order import (
    HASH_CHAIN,
    HASH_CHAIN_RESULT,
    OCSP,
    REST_BODY,
    REST_REQUEST,
    REST_RESPONSE,
    SIGNATURE,
)
from digiid.formats.exchange.rest_message import build_request, build_response, hash_request, parse_request
from digiid.formats.xades import sign_digest
from digiid.kernel.identifiers import ClientId, MemberId, ServerId
from tests.support.exchange_room import DOCUMENTS, PASSPHRASE, ExchangeRoom, write_identity
from tests.support.global_conf import BANK, BOARD, LOANS, PKI, PRIVATE
from tests.support.pki import Identity

Part = tuple[str, bytes]
BOUNDARY = "xtopAbCdEfGhIjKlMnOpQrStUvWxYzAbCd"
REQUEST_ID = "78b890f3-b1eb-45b2-a512-beec5d7ead23"


@dataclass
class Message:
    """The parts of an envelope in order, and the HTTP headers around it."""

    parts: list[Part]
    headers: dict[str, str] = field(default_factory=dict)
    boundary: str = BOUNDARY

    def without(self, content_type: str) -> "Message":
        return replace(self, parts=[part for part in self.parts if part[0] != content_type])

    def changed(self, content_type: str, change: Callable[[bytes], bytes]) -> "Message":
        return replace(
            self, parts=[(kind, change(body) if kind == content_type else body) for kind, body in self.parts]
        )

    def inserted(self, before: str, part: Part) -> "Message":
        position = next(number for number, (kind, _) in enumerate(self.parts) if kind == before)
        return replace(self, parts=[*self.parts[:position], part, *self.parts[position:]])

    def appended(self, part: Part) -> "Message":
        return replace(self, parts=[*self.parts, part])

    def find(self, content_type: str) -> bytes:
        return next(body for kind, body in self.parts if kind == content_type)

    def envelope(self) -> bytes:
        pieces = [
            f"--{self.boundary}\r\ncontent-type: {kind}\r\n\r\n".encode() + body + b"\r\n" for kind, body in self.parts
        ]
        return b"".join(pieces) + f"--{self.boundary}--\r\n".encode()

    def http(self, **changes: str | None) -> bytes:
        """A whole HTTP request; a change of None leaves a header out."""
        content = self.envelope()
        headers: dict[str, str | None] = {
            "Host": "x",
            "content-type": f"multipart/mixed; charset=UTF-8; boundary={self.boundary}",
            "x-road-message-type": "REST",
            "x-road-request-id": REQUEST_ID,
            "x-hash-algorithm": "SHA-512",
            "x-proxy-version": "7.8.0",
            "content-length": str(len(content)),
            **self.headers,
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
        return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + content


def sign_parts(
    signed: dict[str, bytes],
    identity: Identity,
    ocsp_ders: Sequence[bytes],
    *,
    use_hash_chain: bool,
    room: ExchangeRoom,
) -> tuple[bytes, HashChain | None]:
    digests = {uri: hashlib.sha512(data).digest() for uri, data in signed.items()}
    prepared = prepare_message_signature(
        digests, certificate=identity.certificate, claimed_signing_at=room.clock.now(), use_hash_chain=use_hash_chain
    )
    value = sign_digest(prepared.method, identity.key, prepared.digest)
    return build_message_signature(prepared, value, ocsp_der=ocsp_ders), prepared.hash_chain


def ocsp_ders(room: ExchangeRoom, identity: Identity, **changes: Any) -> list[bytes]:
    """The two responses about a leaf of the hierarchy and its CA."""
    at = room.clock.now()
    return [
        PKI.ocsp(identity.certificate, at=at, **changes),
        PKI.ocsp(PKI.ca.certificate, at=at, issuer=PKI.root, responder=PKI.root),
    ]


def make_request(
    room: ExchangeRoom,
    *,
    body: bytes | None = b'{"todo": true}',
    use_hash_chain: bool = False,
    client: ClientId = LOANS,
    target: str = DOCUMENTS.path,
    method: str = "POST",
    headers: Sequence[tuple[str, str]] = (),
    signer: Identity | None = None,
    authentication: Identity | None = None,
    signed: dict[str, bytes] | None = None,
    signer_ocsp: list[bytes] | None = None,
    authentication_ocsp: list[bytes] | None = None,
) -> Message:
    """What the bank's security server would send, right unless told otherwise."""
    request = build_request(
        method,
        target,
        [("X-Road-Client", str(client)), ("Content-Type", "application/json"), *headers],
        fresh_message_id="TEST-1",
        request_id=REQUEST_ID,
    )
    message = request.encode()
    own = room.keys[PRIVATE]
    signer = signer or own.signing[BANK]
    parts = {MESSAGE: message} | ({BODY: body} if body is not None else {})
    signature, chain = sign_parts(
        parts if signed is None else signed,
        signer,
        signer_ocsp or ocsp_ders(room, signer),
        use_hash_chain=use_hash_chain,
        room=room,
    )
    responses = authentication_ocsp
    if responses is None:
        responses = ocsp_ders(room, authentication or own.authentication)
    return Message(
        [
            *((OCSP, each) for each in responses),
            (REST_REQUEST, message),
            *(((REST_BODY, body),) if body is not None else ()),
            *_chain_parts(chain),
            (SIGNATURE, signature),
        ]
    )


def make_response(
    room: ExchangeRoom,
    server: ServerId,
    request_part: bytes,
    request_body: bytes | None,
    *,
    body: bytes | None = b'{"done": true}',
    use_hash_chain: bool = False,
    signer: Identity | None = None,
    member: MemberId = BOARD,
    status: int = 200,
    alter: Callable[[bytes], bytes] = lambda part: part,
) -> Message:
    """What the board's security server would answer; `alter` changes the response part before it is signed."""
    request = parse_request(request_part)
    digest = None if request_body is None else hashlib.sha512(request_body).digest()
    response = build_response(
        status,
        "OK",
        [("Content-Type", "application/json")],
        request=request,
        request_hash=hash_request(request_part, body_sha512=digest),
    )
    message = alter(response.encode())
    signer = signer or room.keys[server].signing[member]
    parts = {MESSAGE: message} | ({BODY: body} if body is not None else {})
    signature, chain = sign_parts(parts, signer, ocsp_ders(room, signer), use_hash_chain=use_hash_chain, room=room)
    return Message(
        [
            (REST_RESPONSE, message),
            *(((REST_BODY, body),) if body is not None else ()),
            *_chain_parts(chain),
            (SIGNATURE, signature),
        ]
    )


def _chain_parts(chain: HashChain | None) -> list[Part]:
    return [] if chain is None else [(HASH_CHAIN_RESULT, chain.result), (HASH_CHAIN, chain.chain)]


# ------------------------------------------------------------------ asking


@dataclass(frozen=True)
class Answer:
    """What came back: faults have a code, envelopes have parts."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def fault(self) -> str | None:
        if "text/xml" in self.headers.get("content-type", ""):
            return self.body.decode().partition("<faultcode>")[2].partition("</faultcode>")[0]
        ending = self.body.rpartition(b"content-type: text/xml")[2]
        return ending.decode("latin-1").partition("<faultcode>")[2].partition("</faultcode>")[0] or None

    @property
    def parts(self) -> list[Part]:
        return parse_parts(self.headers["content-type"], self.body)


def parse_parts(content_type: str, envelope: bytes) -> list[Part]:
    parser, parts = MultipartParser(parse_boundary(content_type)), []
    for event in parser.feed(envelope):
        if isinstance(event, PartStart):
            parts.append((event.content_type, b""))
        elif isinstance(event, PartData):
            parts[-1] = (parts[-1][0], parts[-1][1] + event.data)
    parser.finish()
    return parts


def peer_context(room: ExchangeRoom, identity: Identity, name: str = "peer") -> ssl.SSLContext:
    """TLS 1.3 with this authentication certificate."""
    key, certificate = write_identity(room.folder / "peers", name, identity, PKI.ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key, PASSPHRASE.decode())
    return context


@contextmanager
def connected(
    room: ExchangeRoom, identity: Identity | None = None, *, port: int | None = None
) -> Iterator[ssl.SSLSocket]:
    """A connection to the message port of the board's server."""
    context = peer_context(room, identity or room.keys[PRIVATE].authentication)
    address = ("127.0.0.1", port or room.state.settings.listeners.message_port)
    with socket.create_connection(address, timeout=10) as plain, context.wrap_socket(plain) as encrypted:
        yield encrypted


def send(room: ExchangeRoom, data: bytes, identity: Identity | None = None) -> Answer:
    """One request on a connection of its own."""
    with connected(room, identity) as connection:
        connection.sendall(data)
        return read_answer(connection)


def send_message(
    room: ExchangeRoom, message: Message, identity: Identity | None = None, **changes: str | None
) -> Answer:
    return send(room, message.http(**changes), identity)


def read_answer(connection: socket.socket) -> Answer:
    """Read one HTTP response. Raises: ConnectionError when the connection ends before it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        content = b""
        while True:
            while b"\r\n" not in body:
                body += _some(connection)
            size_line, _, body = body.partition(b"\r\n")
            size = int(size_line, 16)
            while len(body) < size + 2:
                body += _some(connection)
            content, body = content + body[:size], body[size + 2 :]
            if not size:
                return Answer(int(first.split()[1]), headers, content)
    while len(body) < int(headers.get("content-length", "0")):
        body += _some(connection)
    return Answer(int(first.split()[1]), headers, body)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(256 * 1024)
    if not data:
        raise ConnectionError("the connection ended")
    return data


# ------------------------------------------------------------------ answering


Script = Callable[[Message], bytes]
"""From the envelope that came to the bytes that go back, HTTP and all; nothing cuts the connection."""


def http_answer(
    content: bytes, content_type: str | None = None, *, boundary: str = BOUNDARY, status: int = 200
) -> bytes:
    content_type = content_type or f"multipart/mixed; charset=UTF-8; boundary={boundary}"
    head = f"HTTP/1.1 {status} OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


class PlayedServer:
    """Listens at the ports of a registered server, and answers by a script."""

    def __init__(self, room: ExchangeRoom, identity: Identity, port: int, script: Script) -> None:
        self.room, self.script, self.port = room, script, port
        self.received: list[Message] = []
        self.status_answers: list[bytes] | None = None
        self.status_script: Callable[[socket.socket], None] | None = None  # instead of the usual answer
        key, certificate = write_identity(room.folder / "peers", f"played-{port}", identity, PKI.ca)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key, PASSPHRASE.decode())
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.load_verify_locations(cadata=PKI.root.der + PKI.ca.der)
        self._identity = identity
        self._sockets = [socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 77))]
        self._threads = [
            threading.Thread(target=self._serve, args=(self._sockets[0], self._answer_message), daemon=True),
            threading.Thread(target=self._serve, args=(self._sockets[1], self._answer_any_status), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for listening in self._sockets:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()

    def _serve(self, listening: socket.socket, answer: Callable[[socket.socket], None]) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(10)
                    answer(connection)
                except (OSError, ValueError):
                    continue

    def _answer_message(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(plain, server_side=True) as connection:
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                piece = connection.recv(256 * 1024)
                if not piece:
                    return
                data += piece
            head, _, chunked = data.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            parts = parse_parts(headers["content-type"], _unchunk(chunked))
            message = Message(parts, headers)
            self.received.append(message)
            connection.sendall(self.script(message))
            connection.unwrap()

    def _answer_any_status(self, connection: socket.socket) -> None:
        (self.status_script or self.answer_status)(connection)

    def answer_status(self, connection: socket.socket) -> None:
        connection.recv(64 * 1024)
        responses = self.status_answers
        if responses is None:
            responses = ocsp_ders(self.room, self._identity)
        content = Message([(OCSP, each) for each in responses]).envelope()
        kind = f'multipart/related; type="{OCSP}"; charset=UTF-8; boundary={BOUNDARY}'
        connection.sendall(http_answer(content, kind))


def _unchunk(data: bytes) -> bytes:
    content = b""
    while True:
        size_line, _, data = data.partition(b"\r\n")
        size = int(size_line, 16)
        if not size:
            return content
        content, data = content + data[:size], data[size + 2 :]


@contextmanager
def played_server(room: ExchangeRoom, identity: Identity, script: Script, *, port: int) -> Iterator[PlayedServer]:
    server = PlayedServer(room, identity, port, script)
    try:
        yield server
    finally:
        server.close()
