"""The consumer's side: a request of an information system becomes a signed, logged message, and its answer comes back.

Nothing goes out before it is logged; nothing is released before the answer's signature is verified, its signer is the
provider, it answers this very request, and it is logged.
"""

import hashlib
from collections.abc import Awaitable, Callable

import structlog

from digiid.exchange.global_conf import GlobalConf
from digiid.exchange.security_server.connections import Body, Connection, Exchange, read_response
from digiid.exchange.security_server.deps import Deps
from digiid.exchange.security_server.envelope import (
    ENVELOPE_OVERHEAD_BYTES,
    Envelope,
    encode_beginning,
    encode_body_start,
    encode_end,
    new_boundary,
    read_envelope,
)
from digiid.exchange.security_server.http1 import LAST_CHUNK, WITHOUT_BODY, encode_chunk, encode_head
from digiid.exchange.security_server.local_conf import LocalClient
from digiid.exchange.security_server.messages import (
    Call,
    Passage,
    call_of,
    digests_to_sign,
    party_of,
    record_request,
    record_response,
)
from digiid.exchange.security_server.metadata import list_clients
from digiid.exchange.security_server.own_answers import OwnAnswer
from digiid.exchange.security_server.peers import Peer
from digiid.exchange.security_server.signing_keys import Signed
from digiid.exchange.security_server.spool import Spool
from digiid.exchange.security_server.wire_codes import PeerFault, RequestError, fault_of
from digiid.formats.exchange.faults import (
    MAX_FAULT_BYTES,
    Fault,
    build_json_error,
    build_xml_error,
    parse_soap_fault,
    wants_xml,
)
from digiid.formats.exchange.multipart import content_type_of, parse_boundary
from digiid.formats.exchange.part_order import RESPONSE_ORDER, REST_REQUEST
from digiid.formats.exchange.paths import check_unambiguous_path
from digiid.formats.exchange.plain_signature import verify_wire_signature
from digiid.formats.exchange.rest_message import (
    CLIENT,
    RestRequest,
    RestResponse,
    build_request,
    check_consistent,
    hash_request,
    parse_identifier,
    parse_response,
)
from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.kernel.identifiers import MemberId, Party, ServerId
from digiid.platform.entropy import new_id
from digiid.platform.log import correlation_id

log = structlog.get_logger("exchange.security_server")

SECURITY_SERVER = "x-road-security-server"
PROXY_VERSION = "7.8.0"  # the version of X-Road whose wire format is spoken

InsideAnswer = Callable[[Exchange, Party], Awaitable[OwnAnswer]]


class Consumer:
    """The handler of the listeners for information systems."""

    def __init__(self, deps: Deps, inside: dict[str, InsideAnswer] | None = None) -> None:
        """`inside`: other paths that this server answers to its clients' information systems, such as `/asic`."""
        self._deps, self._inside = deps, dict(inside or {})

    async def answer(self, exchange: Exchange) -> None:
        deps, detail = self._deps, new_id(self._deps.entropy)
        passage = Passage("Client", deps.clock.now())
        token = correlation_id.set(detail)
        try:
            try:
                await self._dispatch(exchange, passage)
            except (DigiidError, RequestError) as error:
                cause = error.cause if isinstance(error, RequestError) else error
                log.info("exchange.consumer_refused", code=cause.code, reason=cause.detail)
                passage.fault = fault_of(error, side="clientproxy", detail=detail)
            except Exception:  # the edge: a fault of ours is logged once with its trace, and told without detail
                log.exception("exchange.consumer_failed")
                passage.fault = Fault("server.clientproxy.internal_error", "internal error", detail)
            if passage.fault is not None:
                _tell(exchange, passage.fault)
                passage.status = passage.fault.http_status
            if passage.call is not None:
                address = deps.settings.listeners.host
                deps.monitoring.record(passage.record(own_address=address, at=deps.clock.now()))
        finally:
            correlation_id.reset(token)

    async def _dispatch(self, exchange: Exchange, passage: Passage) -> None:
        path, _, query = exchange.head.target.partition("?")
        if path.startswith("/r1/"):
            await self._exchange(exchange, passage)
        elif path == "/listClients" and exchange.head.method == "GET":
            accept = exchange.head.find("accept")
            answer_own(exchange, list_clients(self._deps.find_conf(), query=query, accept=accept))
        elif path in self._inside and exchange.head.method == "GET":
            answer_own(exchange, await self._inside[path](exchange, self._identify(exchange)))
        else:
            raise RequestError(NotFound("exchange.not_found", "there is nothing at this path"))

    async def _exchange(self, exchange: Exchange, passage: Passage) -> None:
        deps = self._deps
        # 1 the client is one of this server's, and its information system is who it says
        client = self._identify(exchange)
        # 2 not in maintenance, the configuration is good, and the log may take more
        deps.maintenance.check_open()
        conf = deps.find_conf()
        if not conf.is_client_of(client, deps.server):
            raise Refused("exchange.client_not_registered", f"{client} is not registered on this security server")
        deps.log.check_accepting(passage.request_in_at)
        # 3 the part that is signed
        request = self._build_request(exchange)
        wanted = _wanted_server(request)
        call = passage.call = call_of(request, request.encode())
        spool = deps.spools.open(max_bytes=deps.settings.limits.max_body_bytes, of=member_of(client))
        try:
            # 4 the body, all of it while it is small
            await _gather(exchange.body, spool)
            async with deps.outgoing.taken(member_of(client)):
                # 5 a judged peer, by the configuration of now; nothing has been sent yet
                peer = await deps.peers.connect(deps.find_conf(), call.service.provider, wanted=wanted)
                passage.peer_address = peer.server.address
                try:
                    # 6 signed, logged, sent
                    passage.request_out_at = deps.clock.now()
                    if spool.is_large:
                        await self._send_large(exchange, peer.connection, call, spool)
                    else:
                        await self._send_small(peer.connection, call, spool if spool.size else None)
                    # 7 the answer, all of it before any of it goes on
                    envelope = await self._receive(peer, call)
                except BaseException:
                    peer.connection.close()
                    raise
            request_hash = hash_request(call.message, body_sha512=spool.digest() if spool.size else None)
            passage.request_size = len(call.message) + spool.size
        finally:
            spool.close()
        try:
            passage.response_in_at = deps.clock.now()
            # 8 it is the provider's, and the answer to this request
            await deps.turns.take(member_of(client))
            response = self._verify(envelope, call, request_hash)
            # 9 logged
            await self._log_response(envelope, call)
            # 10 released
            passage.status = response.status
            passage.response_size = len(envelope.message) + (envelope.body.size if envelope.body is not None else 0)
            await _release(exchange, response, envelope.body)
        finally:
            envelope.close()

    # ------------------------------------------------------------------ who asks for what

    def _identify(self, exchange: Exchange) -> Party:
        named = exchange.head.fields.find_all(CLIENT)
        try:
            if len(named) != 1:
                raise Malformed("exchange.client.header", f"the header X-Road-Client is there {len(named)} times")
            client = party_of(parse_identifier(named[0], parts=(3, 4)))
        except Malformed as error:
            raise RequestError(error) from error
        local = self._deps.local.current().find_client(client)
        if local is None:
            raise RequestError(Refused("exchange.client.unknown", f"{client} is not a client of this security server"))
        check_information_system(exchange.connection, local)
        if not local.is_enabled:
            raise RequestError(Refused("exchange.client.disabled", f"{client} is switched off on this security server"))
        return client

    def _build_request(self, exchange: Exchange) -> RestRequest:
        head, deps = exchange.head, self._deps
        try:
            check_unambiguous_path(head.target.partition("?")[0])
            return build_request(
                head.method,
                head.target,
                head.headers,
                fresh_message_id=f"{deps.server.instance}-{new_id(deps.entropy)}",
                request_id=new_id(deps.entropy),
            )
        except (Malformed, Refused) as error:
            raise RequestError(error) from error

    # ------------------------------------------------------------------ sending

    async def _send_small(self, connection: Connection, call: Call, body: Spool | None) -> None:
        boundary = new_boundary(self._deps.entropy)
        beginning = encode_beginning(boundary, self._deps.own_responses(), REST_REQUEST, call.message)
        signed = await self._sign_and_log(call, body)
        content = b"" if body is None else encode_body_start(boundary) + body.content()
        envelope = beginning + content + encode_end(boundary, signed)
        connection.write(_head(boundary, call.request) + encode_chunk(envelope) + LAST_CHUNK)
        await connection.drain()

    async def _send_large(self, exchange: Exchange, connection: Connection, call: Call, body: Spool) -> None:
        """The body goes on while it comes. What makes it a message, the signature, goes only when it is logged."""
        boundary = new_boundary(self._deps.entropy)
        beginning = encode_beginning(boundary, self._deps.own_responses(), REST_REQUEST, call.message)
        connection.write(_head(boundary, call.request) + encode_chunk(beginning + encode_body_start(boundary)))
        keeps = self._deps.log.settings.keeps_body(client=str(call.client), service=str(call.service))
        for piece in body.pieces():
            await self._pass_on(connection, call, piece)
        while piece := await _read(exchange.body):
            if keeps:
                body.write(piece)
            else:
                body.pass_by(piece)
            await self._pass_on(connection, call, piece)
        signed = await self._sign_and_log(call, body)
        connection.write(encode_chunk(encode_end(boundary, signed)) + LAST_CHUNK)
        await connection.drain()

    async def _pass_on(self, connection: Connection, call: Call, piece: bytes) -> None:
        if connection.has_input:
            # The peer says no before it has all: what it says is the answer.
            (await self._receive_from(connection, call))[0].close()
            raise Malformed("exchange.message.early", "the peer answered before the message was complete")
        timeouts = self._deps.settings.timeouts
        connection.expect_within(timeouts.body_seconds + len(piece) / timeouts.lowest_bytes_per_second)
        connection.write(encode_chunk(piece))
        await connection.drain()
        connection.deadline = None

    async def _sign_and_log(self, call: Call, body: Spool | None) -> Signed:
        deps = self._deps
        await deps.turns.take(member_of(call.client))
        at, digests = deps.clock.now(), digests_to_sign(call.message_sha512, body)
        signed = await deps.signers.sign(member_of(call.client), digests, at=at)
        await record_request(deps.log, call, party=call.client, body=body, digests=digests, signed=signed, at=at)
        return signed

    # ------------------------------------------------------------------ receiving

    async def _receive(self, peer: Peer, call: Call) -> Envelope:
        envelope, keeps_alive = await self._receive_from(peer.connection, call)
        if keeps_alive:
            self._deps.peers.give_back(peer)
        else:
            peer.connection.close()
        return envelope

    async def _receive_from(self, connection: Connection, call: Call) -> tuple[Envelope, bool]:
        settings = self._deps.settings
        head, stream = await read_response(
            connection,
            method="POST",
            answer_seconds=settings.timeouts.answer_seconds,
            max_bytes=settings.limits.max_body_bytes + ENVELOPE_OVERHEAD_BYTES,
            timeouts=settings.timeouts.of_connections(),
        )
        content_type = head.find("content-type") or ""
        if head.status != 200:
            raise Unavailable("exchange.unreachable.status", f"the peer answered HTTP {head.status}")
        if content_type.partition(";")[0].strip().lower() == "text/xml":
            raise PeerFault(parse_soap_fault(await _read_fault(stream)))
        envelope = await read_envelope(
            stream,
            parse_boundary(content_type),
            RESPONSE_ORDER,
            spools=self._deps.spools,
            max_body_bytes=settings.limits.max_body_bytes,
            sender=call.service.provider.member,
        )
        return envelope, head.keeps_alive and stream.is_done

    def _verify(self, envelope: Envelope, call: Call, request_hash: str) -> RestResponse:
        # 1 a fault where the signature would have been
        if envelope.fault is not None:
            raise PeerFault(parse_soap_fault(envelope.fault))
        # 2 signed by the provider's member over exactly what came
        response = parse_response(envelope.message)
        verify_signed_by(self._deps, self._deps.find_conf(), envelope, member=call.service.provider.member)
        # 3 the answer to this very request
        check_consistent(response, request=call.request, request_hash=request_hash)
        if response.status < 200:
            raise Malformed("exchange.message.status", "an interim status is no answer")
        if response.status in WITHOUT_BODY and envelope.body is not None and envelope.body.size:
            # Written behind such a head it would be read as the answer to the next request.
            raise Malformed("exchange.message.status", "a body where there cannot be one")
        return response

    async def _log_response(self, envelope: Envelope, call: Call) -> None:
        await record_response(
            self._deps.log,
            call,
            party=call.client,
            message=envelope.message,
            body=envelope.body,
            digests=digests_to_sign(hashlib.sha512(envelope.message).digest(), envelope.body),
            signed=Signed(envelope.signature_xml, envelope.hash_chain),
            at=self._deps.clock.now(),
        )


def verify_signed_by(deps: Deps, conf: GlobalConf, envelope: Envelope, *, member: MemberId) -> None:
    """The member signed exactly the parts that came.

    Raises: Malformed, Refused: `exchange.signature.…`, `exchange.hash_chain.…`, `xades.…`, `exchange.trust.signer`.
    """
    verified = verify_wire_signature(envelope.signature_xml, envelope.parts(), hash_chain=envelope.hash_chain)
    try:
        conf.verify_signer(
            verified.certificate,
            extra_certificates=[load_certificate(each) for each in verified.certificates_der],
            ocsp_ders=verified.ocsp_ders,
            member=member,
            at=deps.clock.now(),
        )
    except Refused as error:
        raise Refused("exchange.trust.signer", f"the message's signer: {error.code}: {error.detail}") from error


def check_information_system(connection: Connection, client: LocalClient) -> None:
    """The information system proves itself as the client's mode wants it.

    Raises: RequestError, `exchange.client.authentication`.
    """
    shown = connection.peer_certificate_der
    if client.mode == "NOSSL":
        return
    if not connection.is_encrypted:
        problem = f"{client.id} is reached by HTTPS only"
    elif client.mode == "SSLNOAUTH" or (shown is not None and shown in client.certificates):
        return
    elif shown is None:
        problem = f"{client.id} has to show a TLS certificate, and showed none"
    else:
        problem = f"the TLS certificate that was shown is not registered for {client.id}"
    raise RequestError(Refused("exchange.client.authentication", problem))


def answer_own(exchange: Exchange, answer: OwnAnswer) -> None:
    """Something that this server answers by itself."""
    exchange.respond(answer.status, (("Content-Type", answer.media_type), *answer.headers), answer.body)


def member_of(party: Party) -> MemberId:
    """Who signs for it."""
    return party if isinstance(party, MemberId) else party.member


def _head(boundary: str, request: RestRequest) -> bytes:
    headers = [
        ("Host", "security-server"),
        ("content-type", content_type_of(boundary)),
        ("x-road-message-type", "REST"),
        ("x-road-request-id", request.request_id),
        ("x-hash-algorithm", "SHA-512"),
        ("x-proxy-version", PROXY_VERSION),
    ]
    headers += [("x-original-content-type", value) for value in request.find_all("content-type")[:1]]
    return encode_head("POST / HTTP/1.1", (*headers, ("transfer-encoding", "chunked")))


def _wanted_server(request: RestRequest) -> ServerId | None:
    values = request.find_all(SECURITY_SERVER)
    if not values:
        return None
    try:
        if len(values) > 1:
            raise Malformed("exchange.message.header", f"the header {SECURITY_SERVER} is there {len(values)} times")
        return ServerId(*parse_identifier(values[0], parts=(4,)))
    except Malformed as error:
        raise RequestError(error) from error


async def _gather(stream: Body, spool: Spool) -> None:
    while not spool.is_large and (piece := await _read(stream)):
        spool.write(piece)


async def _read(stream: Body) -> bytes:
    try:
        return await stream.read()
    except Malformed as error:
        raise RequestError(error) from error


async def _read_fault(stream: Body) -> bytes:
    fault = bytearray()
    while piece := await stream.read():
        fault += piece
        if len(fault) > MAX_FAULT_BYTES:
            raise Malformed("exchange.fault.too_large", "the peer's fault is too long")
    return bytes(fault)


async def _release(exchange: Exchange, response: RestResponse, body: Spool | None) -> None:
    if body is None or response.status in WITHOUT_BODY:
        has_no_length = exchange.head.method == "HEAD" or response.status in WITHOUT_BODY
        exchange.respond(response.status, response.headers, None if has_no_length else b"", reason=response.reason)
    elif not body.is_large:
        exchange.respond(response.status, response.headers, body.content(), reason=response.reason)
    else:
        exchange.begin(response.status, response.headers, length=body.size, reason=response.reason)
        for piece in body.pieces():
            await exchange.write(piece)
        exchange.finish()


def _tell(exchange: Exchange, fault: Fault) -> None:
    if exchange.has_started:
        return  # the connection is cut instead: half an answer must not look like one
    as_xml = wants_xml(exchange.head.find("accept"))
    media_type = "text/xml;charset=utf-8" if as_xml else "application/json;charset=utf-8"
    headers = [("Content-Type", media_type), ("X-Road-Error", fault.code)]
    headers += [("x-road-id", value) for value in exchange.head.fields.find_all("x-road-id")[:1]]
    exchange.respond(fault.http_status, headers, build_xml_error(fault) if as_xml else build_json_error(fault))
