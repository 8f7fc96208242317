"""Port 5577: OCSP responses about a server's own authentication certificate and those above it, told to its peers.

`GET /?cert=<SHA-1 of DER, hex>&cert=…&cert_hash=<SHA-256>…`; only `cert` is read. One part for each that was asked
for, in that order (X-Road message transport protocol). Plain HTTP: what is told is signed by the responder.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.exchange.global_conf import GlobalConf
from digiid.exchange.security_server.connections import Connections, Exchange, Timeouts, read_response
from digiid.exchange.security_server.dialling import dial
from digiid.exchange.security_server.http1 import encode_head
from digiid.exchange.security_server.own_status import OwnStatus, sha1_of
from digiid.formats.exchange.multipart import (
    MultipartLimits,
    MultipartParser,
    PartData,
    PartEnd,
    PartStart,
    parse_boundary,
    write_envelope,
)
from digiid.formats.exchange.part_order import OCSP
from digiid.formats.ocsp import MAX_RESPONSE_BYTES
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy

log = structlog.get_logger("exchange.security_server")

_MAX_ASKED: Final = 8
_MAX_ANSWER_BYTES: Final = _MAX_ASKED * (MAX_RESPONSE_BYTES + 1024)
_MAX_KEPT_PEERS: Final = 10_000
_RETRY_SECONDS: Final = 5.0
_NOT_GOOD: Final = "exchange.trust.ocsp_status"  # a response that was verified says revoked or unknown


# ------------------------------------------------------------------ telling


class StatusPort:
    """The handler of the listener on port 5577."""

    def __init__(self, status: OwnStatus, entropy: Entropy) -> None:
        self._status, self._entropy = status, entropy

    async def answer(self, exchange: Exchange) -> None:
        """HEAD says that the port is alive; what goes wrong is 500 with a line of text, as peers expect it."""
        head = exchange.head
        if head.method == "HEAD":
            exchange.respond(200, (), b"")
            return
        try:
            if head.method != "GET":
                raise Malformed("exchange.ocsp.method", "only GET and HEAD are answered here")
            responses = [self._status.find_by_sha1(each) for each in _parse_asked(head.target)]
        except DigiidError as error:
            log.info("exchange.status_port_refused", code=error.code)
            exchange.respond(500, (("Content-Type", "text/plain; charset=utf-8"),), f"{error.detail}\n".encode())
            return
        boundary = f"ocsp{self._entropy.token_bytes(16).hex()}"
        content_type = f'multipart/related; type="{OCSP}"; charset=UTF-8; boundary={boundary}'
        envelope = b"".join(write_envelope(boundary, [(OCSP, [each]) for each in responses]))
        exchange.respond(200, (("Content-Type", content_type),), envelope)


def _parse_asked(target: str) -> list[bytes]:
    path, _, query = target.partition("?")
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=4 * _MAX_ASKED)
        asked = [bytes.fromhex(value) for name, value in fields if name == "cert"]
    except ValueError as error:
        raise Malformed("exchange.ocsp.query", "the query cannot be read") from error
    if path != "/" or not 1 <= len(asked) <= _MAX_ASKED or any(len(each) != 20 for each in asked):
        raise Malformed("exchange.ocsp.query", "cert is the SHA-1 of a certificate, and there are 1 to 8 of them")
    return asked


# ------------------------------------------------------------------ asking


@dataclass(slots=True)
class _Kept:
    response_ders: tuple[bytes, ...] = field(repr=False)
    fetched_at: datetime
    tried_at: datetime


class PeerStatus:
    """What peers told about their certificates. It is kept, and fetched anew long before it is too old."""

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        *,
        refresh_seconds: float,
        timeouts: Timeouts,
        answer_seconds: float,
    ) -> None:
        self._connections, self._clock = connections, clock
        self._refresh = timedelta(seconds=refresh_seconds)
        self._timeouts, self._answer_seconds = timeouts, answer_seconds
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[tuple[bytes, ...]]] = {}  # messages that wait for one answer share it

    async def verify(self, conf: GlobalConf, certificate: x509.Certificate, *, host: str, port: int) -> None:
        """Is the peer's certificate good now, by what its server tells on port 5577?

        What was told before and was good is replaced only by what is good as well: a port that is silent or tells what
        nobody can believe changes nothing until the answers in hand are too old. A responder's signed answer of now
        that the certificate is not good counts at once, and nothing before it counts any more; one that is too old was
        made before the answers in hand, and anybody on the way can tell it again.

        Raises: Unavailable `exchange.ocsp.peer`; Malformed `exchange.ocsp.…`, `exchange.multipart.…`;
            Refused `exchange.trust.…`.
        """
        key = sha1_of(certificate)
        kept, now = self._kept.get(key), self._clock.now()
        # 1 the answers in hand, while they are young or were asked for just now
        if kept is not None and not self._is_due(kept, now):
            self._judge_kept(conf, certificate, kept)
            return
        # 2 new ones, judged before they take the others' place
        try:
            responses = await self._fetch(conf, certificate, host, port)
            conf.verify_authentication(certificate, ocsp_ders=responses, at=self._clock.now())
        except DigiidError as error:
            if kept is None or error.code == _NOT_GOOD:
                self._kept.pop(key, None)
                raise
            log.warning("exchange.peer_status_not_taken", host=host, port=port, code=error.code, reason=error.detail)
            kept.tried_at = now
        else:
            self._kept[key] = _Kept(responses, now, now)
            if len(self._kept) > _MAX_KEPT_PEERS:
                self._kept.popitem(last=False)
            return
        # 3 else those in hand, as long as they hold
        self._judge_kept(conf, certificate, kept)

    def _is_due(self, kept: _Kept, now: datetime) -> bool:
        return now - kept.fetched_at >= self._refresh and now - kept.tried_at >= timedelta(seconds=_RETRY_SECONDS)

    def _judge_kept(self, conf: GlobalConf, certificate: x509.Certificate, kept: _Kept) -> None:
        try:
            conf.verify_authentication(certificate, ocsp_ders=kept.response_ders, at=self._clock.now())
        except DigiidError:
            self._kept.pop(sha1_of(certificate), None)  # the next message asks anew
            raise

    async def _fetch(self, conf: GlobalConf, certificate: x509.Certificate, host: str, port: int) -> tuple[bytes, ...]:
        """Responses for the certificate and those above it, leaf first. They are not verified here."""
        key = sha1_of(certificate)
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(self._ask(conf.chain_of(certificate), host, port))
            self._asking[key] = asking
            asking.add_done_callback(lambda done: self._asked(key, done))
        return await asyncio.shield(asking)

    def _asked(self, key: bytes, asking: "asyncio.Task[tuple[bytes, ...]]") -> None:
        del self._asking[key]
        if not asking.cancelled():
            asking.exception()  # told to whoever still waits; nobody may

    async def _ask(self, chain: Sequence[x509.Certificate], host: str, port: int) -> tuple[bytes, ...]:
        sha1 = [f"cert={sha1_of(each).hex()}" for each in chain]
        sha256 = [f"cert_hash={hashlib.sha256(each.public_bytes(Encoding.DER)).hexdigest()}" for each in chain]
        head = encode_head(
            f"GET /?{'&'.join(sha1 + sha256)} HTTP/1.1",
            (("Host", f"{host}:{port}"), ("Accept", "multipart/related"), ("Connection", "close")),
        )
        connection = await dial(
            self._connections, host, port, context=None, seconds=self._answer_seconds, handshake_seconds=1.0
        )
        try:
            connection.write(head)
            answer, body = await read_response(
                connection,
                method="GET",
                answer_seconds=self._answer_seconds,
                max_bytes=_MAX_ANSWER_BYTES,
                timeouts=self._timeouts,
            )
            content = await body.read_all()
        finally:
            connection.close()
        if answer.status != 200:
            raise Unavailable("exchange.ocsp.peer", f"{host}:{port} answered HTTP {answer.status}")
        responses = _parse_responses(answer.find("content-type") or "", content)
        if len(responses) != len(chain):
            raise Malformed("exchange.ocsp.count", "the peer answered another number of OCSP responses")
        return responses


def _parse_responses(content_type: str, content: bytes) -> tuple[bytes, ...]:
    limits = MultipartLimits(max_parts=_MAX_ASKED, max_other_bytes=MAX_RESPONSE_BYTES)
    parser = MultipartParser(parse_boundary(content_type, subtype="related"), limits)
    responses, part = [], bytearray()
    for event in parser.feed(content):
        if isinstance(event, PartStart):
            if event.content_type != OCSP:
                raise Malformed("exchange.ocsp.part", "a part that is no OCSP response")
            part = bytearray()
        elif isinstance(event, PartData):
            part += event.data
        elif isinstance(event, PartEnd):
            responses.append(bytes(part))
    parser.finish()
    return tuple(responses)
