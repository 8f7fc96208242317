"""The provider's side: `/r1/…` requests in, access rights, contract decoded, use case called, reply out.

The gate knows every subsystem by its key, lets through only the subsystems that an operation
names, and hands the use case the identity that it has established, never the one claimed.
"""

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError

from digiid.contracts.operation import Message, Operation
from digiid.exchange import problems
from digiid.kernel.errors import DigiidError, Malformed
from digiid.kernel.identifiers import ClientId, parse_client_id, parse_service_path
from digiid.platform.log import correlation_id
from digiid.platform.pools import Pools

MAX_REQUEST_BYTES = 5 * 1024 * 1024
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")
log = structlog.get_logger("exchange")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, established by the gate. `user_id` and `issue` are the caller's own statement."""

    client: ClientId
    message_id: str
    user_id: str | None = None
    issue: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """An operation and the function that answers it. The function runs on the pool `services`."""

    operation: Operation[Any, Any]
    answer: Callable[[Caller, Any], Message]


class Gate:
    """An ASGI application that answers `/r1/…` for the institutions of this process."""

    def __init__(self, services: Sequence[Service], *, keys: Mapping[ClientId, str], pools: Pools) -> None:
        self._services = {service.operation.path: service for service in services}
        if len(self._services) != len(services):
            raise ValueError("two services answer at the same path")
        self._keys, self._pools = dict(keys), pools

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        token = correlation_id.set(_token(headers.get("x-digiid-correlation")) or "-")
        try:
            status, body, extra = await self._answer(scope, headers, receive)
        finally:
            correlation_id.reset(token)
        response_headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        for name in ("x-road-id", "x-road-client"):
            if value := _token(headers.get(name)):
                response_headers.append((name.encode(), value.encode()))
        response_headers += [(name.encode(), value.encode()) for name, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive
    ) -> tuple[int, bytes, Mapping[str, str]]:
        # 1 who: the subsystem's key, compared in constant time, before anything else is looked at
        caller = self._caller(headers)
        if caller is None:
            return _refusal(400, problems.CLIENT_AUTHENTICATION, "X-Road-Client is missing or not authenticated")
        # 2 what: the string matched is the string sent; nothing is normalised
        raw_path = scope.get("raw_path", b"").decode("latin-1")
        try:
            parse_service_path(raw_path)
        except Malformed as error:
            return _refusal(400, problems.INVALID_REQUEST, error.detail)
        service = self._services.get(raw_path)
        if service is None:
            return _refusal(500, problems.UNKNOWN_SERVICE, "no such service")
        # 3 may they: only the subsystems that the operation names
        if caller.client not in service.operation.allowed:
            log.warning("exchange.access_denied", client=str(caller.client), service=str(service.operation.service))
            return _refusal(500, problems.ACCESS_DENIED, f"Request is not allowed: {service.operation.service}")
        if scope["method"] != "POST":
            return _refusal(400, problems.INVALID_REQUEST, "services are called with POST")
        # 4 the contract
        try:
            request = service.operation.request.model_validate_json(await _body(receive))
        except Malformed as error:
            return _problem(error)
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()})) or "body"
            return _problem(Malformed("exchange.request", f"fields: {fields}", public=f"Not to the contract: {fields}"))
        # 5 the use case
        try:
            reply = await self._pools.services.run(service.answer, caller, request)
        except DigiidError as error:
            log.info(
                "exchange.answered",
                service=str(service.operation.service),
                message_id=caller.message_id,
                code=error.code,
            )
            return _problem(error)
        except Exception:  # the edge: a fault of ours is logged once with its trace and told without detail
            log.exception("exchange.failed", service=str(service.operation.service), message_id=caller.message_id)
            return _refusal(500, problems.SERVICE_FAILED, "the service failed")
        return 200, reply.model_dump_json().encode(), {}

    def _caller(self, headers: Mapping[str, str]) -> Caller | None:
        try:
            client = parse_client_id(headers.get("x-road-client", ""))
        except Malformed:
            return None
        expected, given = self._keys.get(client, ""), headers.get("x-digiid-gate-key", "")
        message_id = _token(headers.get("x-road-id"))
        if not expected or not hmac.compare_digest(expected.encode(), given.encode()) or message_id is None:
            return None
        return Caller(client, message_id, _token(headers.get("x-road-userid")), _token(headers.get("x-road-issue")))


def _token(value: str | None) -> str | None:
    return value if value and _TOKEN.fullmatch(value) else None


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Malformed("exchange.request", "the caller hung up")
        body += event.get("body", b"")
        if len(body) > MAX_REQUEST_BYTES:
            raise Malformed(
                "exchange.request", f"more than {MAX_REQUEST_BYTES} bytes", public="The request is too large."
            )
        if not event.get("more_body"):
            return bytes(body)


def _problem(error: DigiidError) -> tuple[int, bytes, Mapping[str, str]]:
    status = problems.STATUS_BY_KIND.get(type(error), 500)
    problem = {"type": f"urn:digiid:error:{error.code}", "code": error.code, "status": status, "detail": error.public}
    return status, json.dumps(problem).encode(), {}


def _refusal(status: int, code: str, detail: str) -> tuple[int, bytes, Mapping[str, str]]:
    # X-Road's own error form (REST message protocol §4.7), and our `code` so that one reader serves both
    body = {"type": code, "message": detail, "detail": correlation_id.get(), "code": code}
    return status, json.dumps(body).encode(), {"x-road-error": code}
