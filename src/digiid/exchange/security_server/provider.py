"""The provider's side: a message of another security server is judged, logged, answered by the information system.

Nothing reaches the information system before the peer, the sender, the right and the signature hold and the request is
logged; no answer goes out whole before it is signed and logged.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from digiid.exchange.global_conf import GlobalConf
from digiid.exchange.security_server.connections import Exchange
from digiid.exchange.security_server.consumer import SECURITY_SERVER, member_of, verify_signed_by
from digiid.exchange.security_server.deps import Deps
from digiid.exchange.security_server.envelope import (
    Envelope,
    encode_beginning,
    encode_body_start,
    encode_end,
    encode_fault_end,
    new_boundary,
    read_envelope,
)
from digiid.exchange.security_server.http1 import WITHOUT_BODY
from digiid.exchange.security_server.information_systems import SystemAnswer
from digiid.exchange.security_server.local_conf import LocalConf, Target
from digiid.exchange.security_server.messages import (
    Call,
    Passage,
    call_of,
    digests_to_sign,
    record_request,
    record_response,
)
from digiid.exchange.security_server.own_services import OWN_CODES
from digiid.exchange.security_server.peers import load_known
from digiid.exchange.security_server.signing_keys import Signed
from digiid.exchange.security_server.spool import Spool
from digiid.exchange.security_server.wire_codes import fault_of
from digiid.formats.exchange.faults import Fault, build_soap_fault
from digiid.formats.exchange.multipart import content_type_of, parse_boundary
from digiid.formats.exchange.part_order import REQUEST_ORDER, REST_RESPONSE
from digiid.formats.exchange.rest_message import (
    REQUEST_ID,
    Header,
    build_response,
    hash_request,
    parse_identifier,
    parse_request,
)
from digiid.kernel.errors import DigiidError, Malformed, Refused, Unavailable
from digiid.kernel.identifiers import ServerId
from digiid.platform.entropy import new_id
from digiid.platform.log import correlation_id

log = structlog.get_logger("exchange.security_server")

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:[-+.][0-9A-Za-z.+-]{0,64})?", re.ASCII)
_HASHES = frozenset(("SHA-256", "SHA-384", "SHA-512"))
_JUDGED_FOR = timedelta(seconds=1)


@dataclass(slots=True)
class _Answering:
    """One message on its way. `target` is None for what this server answers itself."""

    exchange: Exchange
    boundary: str  # of the answer
    passage: Passage
    target: Target | None = None
    judged_by: tuple[GlobalConf, LocalConf, datetime] | None = None
    has_acted: bool = False

    @property
    def call(self) -> Call:
        assert self.passage.call is not None  # the order of parts demands the one that sets it
        return self.passage.call


class Provider:
    """The handler of the message port."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def answer(self, exchange: Exchange) -> None:
        deps, detail = self._deps, new_id(self._deps.entropy)
        passage = Passage("Producer", deps.clock.now())
        answering = _Answering(exchange, new_boundary(deps.entropy), passage)
        token = correlation_id.set(detail)
        try:
            try:
                await self._answer(answering)
            except DigiidError as error:
                log.info("exchange.provider_refused", code=error.code, reason=error.detail)
                passage.fault = fault_of(error, side="serverproxy", detail=detail)
            except Exception:  # the edge: a fault of ours is logged once with its trace, and told without detail
                log.exception("exchange.provider_failed")
                passage.fault = Fault("server.serverproxy.internal_error", "internal error", detail)
            except asyncio.CancelledError:
                self._log_loss(answering, "server.serverproxy.stopped")  # the server stops before the answer has come
                raise
            if passage.fault is not None:
                self._tell(answering, passage.fault)
            if passage.call is not None:
                address = deps.settings.listeners.host
                deps.monitoring.record(passage.record(own_address=address, at=deps.clock.now()))
        finally:
            correlation_id.reset(token)

    async def _answer(self, answering: _Answering) -> None:
        deps, exchange = self._deps, answering.exchange
        # 1 not in maintenance, the configuration is good, the log may take more, and the peer speaks as one
        deps.maintenance.check_open()
        conf = deps.find_conf()
        deps.log.check_accepting(answering.passage.request_in_at)
        boundary = self._check_head(exchange)

        # 2 the message; who asks for what is judged as soon as its first part is there
        async def check_message(envelope: Envelope) -> None:
            self._judge(conf, answering, envelope)
            envelope.sender = member_of(answering.call.client)

        envelope = await read_envelope(
            exchange.body,
            boundary,
            REQUEST_ORDER,
            spools=deps.spools,
            max_body_bytes=deps.settings.limits.max_body_bytes,
            check_message=check_message,
        )
        try:
            call, body = answering.call, envelope.body
            answering.passage.request_size = len(call.message) + (body.size if body is not None else 0)
            async with deps.incoming.taken(member_of(call.client)):
                await deps.turns.take(member_of(call.client))
                # 3 what was so when the first part came is so now, and it is signed by the sender's member over
                # exactly what came
                conf = self._judge_again(answering, envelope)
                verify_signed_by(deps, conf, envelope, member=member_of(call.client))
                # 4 logged
                await record_request(
                    deps.log,
                    call,
                    party=call.service.provider,
                    body=body,
                    digests=digests_to_sign(call.message_sha512, body),
                    signed=Signed(envelope.signature_xml, envelope.hash_chain),
                    at=deps.clock.now(),
                )
                # 5 asked, signed, logged, answered
                request_hash = hash_request(call.message, body_sha512=body.digest() if body is not None else None)
                answering.has_acted = True
                answering.passage.request_out_at = deps.clock.now()
                if answering.target is None:
                    await self._answer_itself(answering, request_hash, conf)
                else:
                    await self._ask_system(answering, answering.target, body, request_hash)
        finally:
            envelope.close()

    # ------------------------------------------------------------------ judging

    def _check_head(self, exchange: Exchange) -> str:
        head = exchange.head
        if head.method != "POST" or head.target != "/":
            raise Malformed("exchange.message.http", "messages come by POST to /")
        if (head.find("x-road-message-type") or "").upper() != "REST":
            raise Malformed("exchange.message.type", "only REST messages are spoken here")
        hash_name = head.find("x-hash-algorithm")
        if hash_name is not None and hash_name.upper() not in _HASHES:
            raise Malformed("exchange.message.hash", "x-hash-algorithm is not one that is accepted")
        check_version(head.find("x-proxy-version"), lowest=self._deps.settings.lowest_peer_version)
        return parse_boundary(head.find("content-type") or "")

    def _judge_again(self, answering: _Answering, envelope: Envelope) -> GlobalConf:
        """A body may take hours to come, and a place be waited for: who had the right may have lost it since."""
        deps, judged_by = self._deps, answering.judged_by
        conf, local, now = deps.find_conf(), deps.local.current(), deps.clock.now()
        if judged_by is None or judged_by[:2] != (conf, local) or now - judged_by[2] > _JUDGED_FOR:
            self._judge(conf, answering, envelope)
        return conf

    def _judge(self, conf: GlobalConf, answering: _Answering, envelope: Envelope) -> None:
        deps, exchange = self._deps, answering.exchange
        local, now = deps.local.current(), deps.clock.now()
        # 1 the peer's certificate is registered, and good by the responses that it sent along
        certificate_der = exchange.connection.peer_certificate_der
        if certificate_der is None:
            raise Refused("exchange.trust.no_certificate", "the peer showed no certificate")
        server = conf.verify_authentication(load_known(certificate_der), ocsp_ders=envelope.ocsp_ders, at=now)
        # 2 the part is a request, and the one that the HTTP header names
        request = parse_request(envelope.message)
        if exchange.head.fields.find_all(REQUEST_ID) != [request.request_id]:
            raise Malformed("exchange.message.header", f"the HTTP header {REQUEST_ID} is not the message's")
        call = answering.passage.call = call_of(request, envelope.message)
        answering.passage.peer_address = server.address
        client, service = call.client, call.service
        # 3 the sender is registered at that server
        if not conf.is_member(client) or not conf.is_client_of(client, server.id):
            raise Refused("exchange.client_not_registered", f"{client} is not registered on {server.id}")
        # 4 we are asked for, and serve the provider
        named = request.find_all(SECURITY_SERVER)
        if named and [ServerId(*parse_identifier(each, parts=(4,))) for each in named] != [deps.server]:
            raise Refused("exchange.security_server", "the message is for another security server")
        if not conf.is_client_of(service.provider, deps.server):
            raise Refused("exchange.unknown_service", f"{service.provider} is not registered on this security server")
        # 5 the right to it
        answering.judged_by = conf, local, now
        if service.service_code in OWN_CODES:
            return
        if (found := local.find_service(service)) is not None:
            answering.passage.service_type = found.type
        target = local.authorise(client, service, request.method, request.path, conf, headers=request.headers)
        answering.target, answering.passage.endpoint = target, target.endpoint

    # ------------------------------------------------------------------ answering

    async def _answer_itself(self, answering: _Answering, request_hash: str, conf: GlobalConf) -> None:
        deps, call = self._deps, answering.call
        own = await deps.own_services.answer(
            call.client,
            call.service,
            call.request.method,
            call.request.target,
            local=deps.local.current(),
            conf=conf,
        )
        body = deps.spools.open(max_bytes=deps.settings.limits.max_body_bytes, of=call.service.provider.member)
        try:
            body.write(own.body)
            headers = (("Content-Type", own.media_type), *own.headers)
            message = _build_message(own.status, "OK", headers, call, request_hash)
            answering.passage.status = own.status
            await self._respond(answering, message, body)
        finally:
            body.close()

    async def _ask_system(
        self, answering: _Answering, target: Target, request_body: Spool | None, request_hash: str
    ) -> None:
        deps, call = self._deps, answering.call
        answer = await deps.systems.call(target, call.request, request_body)
        body: Spool | None = None
        try:
            head = answer.head
            answering.passage.response_in_at, answering.passage.status = deps.clock.now(), head.status
            message = _build_message(head.status, head.reason, head.headers, call, request_hash)
            # An empty entity is a part all the same; only where there cannot be an entity there is none.
            if call.request.method != "HEAD" and head.status not in WITHOUT_BODY:
                body = deps.spools.open(max_bytes=deps.settings.limits.max_body_bytes, of=call.service.provider.member)
                while not body.is_large and (piece := await _read(answer)):
                    body.write(piece)
            if body is not None and body.is_large:
                await self._respond_large(answering, message, body, answer)
            else:
                await self._respond(answering, message, body)
            deps.systems.done(answer)
        except BaseException:
            answer.connection.close()
            raise
        finally:
            if body is not None:
                body.close()

    async def _respond(self, answering: _Answering, message: bytes, body: Spool | None) -> None:
        boundary = answering.boundary
        signed = await self._sign_and_log(answering, message, body)
        answering.exchange.begin(200, _headers(boundary))
        content = encode_body_start(boundary) + b"".join(body.pieces()) if body is not None else b""
        beginning = encode_beginning(boundary, (), REST_RESPONSE, message)
        answering.exchange.finish(beginning + content + encode_end(boundary, signed))

    async def _respond_large(self, answering: _Answering, message: bytes, body: Spool, answer: SystemAnswer) -> None:
        """The body goes on while it comes. The peer takes nothing for an answer before it has the signature."""
        exchange, boundary, call = answering.exchange, answering.boundary, answering.call
        exchange.begin(200, _headers(boundary))
        await exchange.write(encode_beginning(boundary, (), REST_RESPONSE, message) + encode_body_start(boundary))
        for piece in body.pieces():
            await exchange.write(piece)
        keeps = self._deps.log.settings.keeps_body(client=str(call.client), service=str(call.service))
        while piece := await _read(answer):
            if keeps:
                body.write(piece)
            else:
                body.pass_by(piece)
            await exchange.write(piece)
        exchange.finish(encode_end(boundary, await self._sign_and_log(answering, message, body)))

    async def _sign_and_log(self, answering: _Answering, message: bytes, body: Spool | None) -> Signed:
        deps, call, provider = self._deps, answering.call, answering.call.service.provider
        await deps.turns.take(member_of(call.client))  # the asker's: who asks little is answered soon
        at = deps.clock.now()
        digests = digests_to_sign(hashlib.sha512(message).digest(), body)
        signed = await deps.signers.sign(provider.member, digests, at=at)
        await record_response(
            deps.log, call, party=provider, message=message, body=body, digests=digests, signed=signed, at=at
        )
        answering.passage.response_size = len(message) + (body.size if body is not None else 0)
        return signed

    def _tell(self, answering: _Answering, fault: Fault) -> None:
        exchange, content = answering.exchange, build_soap_fault(fault)
        self._log_loss(answering, fault.code)
        if not exchange.has_started:
            exchange.respond(200, (("content-type", "text/xml; charset=UTF-8"),), content)
        elif not exchange.has_finished:
            exchange.finish(encode_fault_end(answering.boundary, content))

    def _log_loss(self, answering: _Answering, code: str) -> None:
        """The request is logged; that no answer to it is, and why, stands here."""
        if answering.has_acted:
            log.error(
                "exchange.answer_lost",
                message_id=answering.call.request.message_id,
                request_id=answering.call.request.request_id,
                service=str(answering.call.service),
                code=code,
            )


def check_version(version: str | None, *, lowest: str | None) -> None:
    """The peer's version is one that we still serve (`server-min-supported-client-version` of X-Road).

    Raises: Refused `exchange.peer_version`.
    """
    if lowest is None:
        return
    found, wanted = _VERSION.fullmatch(version or ""), _VERSION.fullmatch(lowest)
    assert wanted is not None  # settings.py checks it
    if found is None or tuple(map(int, found.groups())) < tuple(map(int, wanted.groups())):
        raise Refused("exchange.peer_version", f"security servers from version {lowest} on are served")


def _headers(boundary: str) -> tuple[Header, ...]:
    return (("content-type", content_type_of(boundary)), ("x-hash-algorithm", "SHA-512"))


def _build_message(status: int, reason: str, headers: Iterable[Header], call: Call, request_hash: str) -> bytes:
    try:
        return build_response(status, reason, headers, request=call.request, request_hash=request_hash).encode()
    except Malformed as error:
        detail = f"the information system's answer: {error.detail}"
        raise Unavailable("exchange.information_system.answer", detail) from error


async def _read(answer: SystemAnswer) -> bytes:
    try:
        return await answer.body.read()
    except Malformed as error:
        detail = f"the information system's answer: {error.detail}"
        raise Unavailable("exchange.information_system.answer", detail) from error
