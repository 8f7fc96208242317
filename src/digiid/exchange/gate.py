"""The provider's side: `/r1/…` requests in, access rights, contract decoded, use case called, reply out.

The gate stands behind its institutions' own security server and is served so that nobody else can reach it
(`apps/serving`: TLS, and only that server's certificate). Who asks is therefore whom that server has established, by
signature and configuration. The gate still lets through only the subsystems that a service names, and, where its
contract opens it to others, those to which the operator has given a right (`Granted`).

Two kinds of service answer: an operation (`POST` of a typed request, for what institutions agree on themselves) and a
REST service, for published protocols that have paths and verbs of their own.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

import structlog
from pydantic import ValidationError

from digiid.contracts.operation import Message, Operation
from digiid.exchange import problems
from digiid.exchange.delay import DelayRules, accept_delay, parse_delay
from digiid.kernel.errors import DigiidError, Malformed, Unavailable
from digiid.kernel.identifiers import ClientId, ServiceId, parse_client_id, parse_service_path
from digiid.platform.disclosures import Delay
from digiid.platform.log import correlation_id
from digiid.platform.pools import Pools

MAX_REQUEST_BYTES = 5 * 1024 * 1024
MAX_CONSENT_CHARS = 8 * 1024
MAX_PURPOSE_CHARS = 200
_MAX_QUERY_FIELDS = 50
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")
_CONSENT = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_CONSENT_CHARS}}}")
log = structlog.get_logger("exchange")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, established by the security server. Everything below `message_id` is the caller's own statement.

    `user_id` is the person on whose behalf or at whose hand it is asked (`EE38001085718`), `issue` the case number,
    `request_id` the security server's own number of the message, `consent` a compact consent receipt that nobody has
    verified yet, `purpose` why it is asked, at most 200 characters. `delay` keeps the look back from the person for a
    time: it was ordered with the message, by somebody who may.
    """

    client: ClientId
    message_id: str
    user_id: str | None = None
    issue: str | None = None
    request_id: str | None = None
    consent: str | None = None
    purpose: str | None = None
    represented_party: str | None = None
    delay: Delay | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """An operation and the function that answers it. The function runs on the pool `services`."""

    operation: Operation[Any, Any]
    answer: Callable[[Caller, Any], Message]


@dataclass(frozen=True, slots=True)
class RestCall:
    """A request to a REST service. `path` follows the service code (`/v2/findUsage`); names of `headers` are lower."""

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """What a REST service answers; an error of the service itself is an answer too."""

    status: int
    media_type: str
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises: Malformed `exchange.answer` when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Malformed("exchange.answer", f"status {self.status}, not JSON") from error

    def raise_for_status(self) -> None:
        """Raises: the provider's error, of the same kind and code, when the status is not one of success."""
        if self.status < 400:
            return
        problem = problems.read_problem(self.status, self.body, whom="the provider")
        kind = problems.KIND_BY_STATUS.get(self.status, Unavailable)
        raise problem or kind("exchange.answer", f"the provider answered {self.status} without a problem of ours")


@dataclass(frozen=True, slots=True)
class RestService:
    """A service with paths and verbs of its own. `endpoints` are (method, path) pairs, matched to the letter.

    `for_others` are those of them that a client may be answered at that `allowed` does not name, with a right.
    """

    service: ServiceId
    endpoints: tuple[tuple[str, str], ...]
    allowed: frozenset[ClientId]
    answer: Callable[[Caller, RestCall], RestAnswer]
    for_others: frozenset[tuple[str, str]] = frozenset()


AnyService = Service | RestService


class Granted(Protocol):
    """The rights that the operator gave beside the contracts (`exchange.granted_rights`). Asked on a pool's thread."""

    def may(self, client: ClientId, service: ServiceId, method: str, path: str) -> bool: ...


class Gate:
    """An ASGI application that answers `/r1/…` for the institutions of this process."""

    def __init__(
        self,
        services: Sequence[AnyService],
        *,
        pools: Pools,
        descriptions: Mapping[str, bytes] | None = None,
        delays: DelayRules | None = None,
        granted: Granted | None = None,
    ) -> None:
        """`descriptions`: OpenAPI documents by path (`exchange.openapi.Descriptions`), for who reaches the gate.
        `delays`: how orders to keep a look back are judged; without it all are refused. `granted`: who besides those
        of the contracts may ask; without it nobody."""
        self._operations: dict[str, Service] = {}
        self._endpoints: dict[str, dict[str, RestService]] = {}
        for service in services:
            for method, path in _routes(service):
                if path in self._operations or method in self._endpoints.get(path, {}):
                    raise ValueError(f"two services answer at {path}")
                if isinstance(service, Service):
                    self._operations[path] = service
                else:
                    self._endpoints.setdefault(path, {})[method] = service
        self._pools, self._descriptions, self._delays = pools, descriptions or {}, delays
        self._granted = granted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = _headers(scope)
        token = correlation_id.set(_token(headers.get("x-digiid-correlation")) or "-")
        try:
            status, body, extra = await self._answer(scope, headers, receive)
        finally:
            correlation_id.reset(token)
        extra = {"content-type": "application/json", **extra}
        response_headers = [(b"content-length", str(len(body)).encode())]
        for name in ("x-road-id", "x-road-client"):
            if value := _token(headers.get(name)):
                response_headers.append((name.encode(), value.encode()))
        response_headers += [(name.encode(), value.encode()) for name, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive
    ) -> tuple[int, bytes, Mapping[str, str]]:
        # 0 a description says how to ask and nothing about anybody
        if scope["method"] == "GET" and (description := self._descriptions.get(_raw_path(scope))):
            return 200, description, {}
        # 1 who, as the security server says it
        caller = self._caller(headers)
        if caller is None:
            return _refusal(
                400, problems.CLIENT_AUTHENTICATION, "X-Road-Client or X-Road-Id is missing or cannot be read"
            )
        # 2 what: the string matched is the string sent; nothing is normalised
        raw_path = _raw_path(scope)
        try:
            parse_service_path(raw_path)
        except Malformed as error:
            return _refusal(400, problems.INVALID_REQUEST, error.detail)
        # 3 may they: only the subsystems that the service names, or that were given a right where it is open to others
        if operation := self._operations.get(raw_path):
            if refusal := await self._refuse(caller, operation, scope["method"], raw_path):
                return refusal
            if scope["method"] != "POST":
                return _refusal(400, problems.INVALID_REQUEST, "services are called with POST")
            try:
                caller = self._delayed(scope, caller, operation.operation.may_delay)
            except DigiidError as error:
                return _problem(error)
            return await self._answer_operation(operation, caller, receive)
        if by_method := self._endpoints.get(raw_path):
            any_of_them = next(iter(by_method.values()))
            rest = by_method.get(scope["method"])
            if refusal := await self._refuse(caller, rest or any_of_them, scope["method"], raw_path):
                return refusal
            if rest is None:
                return _refusal(400, problems.INVALID_REQUEST, f"this path is called with {', '.join(by_method)}")
            try:
                caller = self._delayed(scope, caller, frozenset())
            except DigiidError as error:
                return _problem(error)
            return await self._answer_rest(rest, caller, scope, receive)
        return _refusal(500, problems.UNKNOWN_SERVICE, "no such service")

    async def _answer_operation(
        self, service: Service, caller: Caller, receive: Receive
    ) -> tuple[int, bytes, Mapping[str, str]]:
        # 4 the contract
        try:
            request = service.operation.request.model_validate_json(await _body(receive))
        except Malformed as error:
            return _problem(error)
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()})) or "body"
            return _problem(Malformed("exchange.request", f"fields: {fields}", public=f"Not to the contract: {fields}"))
        # 5 the use case
        return await self._run(
            service.operation.service,
            caller,
            lambda: (200, service.answer(caller, request).model_dump_json().encode(), {}),
        )

    async def _answer_rest(
        self, service: RestService, caller: Caller, scope: Scope, receive: Receive
    ) -> tuple[int, bytes, Mapping[str, str]]:
        # 4 the query and the body, both bounded; what they mean is the protocol's own matter
        try:
            query = _query(scope.get("query_string", b""))
            body = await _body(receive)
        except Malformed as error:
            return _problem(error)
        path = _raw_path(scope).removeprefix(service.service.path)
        call = RestCall(scope["method"], path, query, _headers(scope), body)

        # 5 the use case
        def answer() -> tuple[int, bytes, Mapping[str, str]]:
            answered = service.answer(caller, call)
            return answered.status, answered.body, {"content-type": answered.media_type}

        return await self._run(service.service, caller, answer)

    async def _run(
        self, service: ServiceId, caller: Caller, answer: Callable[[], tuple[int, bytes, Mapping[str, str]]]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        try:
            return await self._pools.services.run(answer)
        except DigiidError as error:
            log.info("exchange.answered", service=str(service), message_id=caller.message_id, code=error.code)
            return _problem(error)
        except Exception:  # the edge: a fault of ours is logged once with its trace and told without detail
            log.exception("exchange.failed", service=str(service), message_id=caller.message_id)
            return _refusal(500, problems.SERVICE_FAILED, "the service failed")

    async def _refuse(
        self, caller: Caller, service: AnyService, method: str, raw_path: str
    ) -> tuple[int, bytes, Mapping[str, str]] | None:
        if isinstance(service, Service):
            named, allowed = service.operation.service, service.operation.allowed
            path = raw_path.removeprefix(named.path)
            is_open = service.operation.for_others is not None
        else:
            named, allowed = service.service, service.allowed
            path = raw_path.removeprefix(named.path)
            is_open = (method, path) in service.for_others
        if caller.client in allowed:
            return None
        if is_open and (granted := self._granted) is not None:
            try:
                if await self._pools.services.run(lambda: granted.may(caller.client, named, method, path)):
                    return None
            except DigiidError as error:
                return _problem(error)
        log.warning("exchange.access_denied", client=str(caller.client), service=str(named))
        return _refusal(500, problems.ACCESS_DENIED, f"Request is not allowed: {named}")

    def _delayed(self, scope: Scope, caller: Caller, may_delay: frozenset[ClientId]) -> Caller:
        """The caller with what it ordered to be kept back. Raises: as `parse_delay` and `accept_delay`."""
        order = parse_delay(_header_list(scope))
        if order is None:
            return caller
        delay = accept_delay(
            order, client=caller.client, user_id=caller.user_id, may_delay=may_delay, rules=self._delays
        )
        return replace(caller, delay=delay)

    def _caller(self, headers: Mapping[str, str]) -> Caller | None:
        try:
            client = parse_client_id(headers.get("x-road-client", ""))
        except Malformed:
            return None
        message_id = _token(headers.get("x-road-id"))
        if message_id is None:
            return None
        return Caller(
            client,
            message_id,
            user_id=_token(headers.get("x-road-userid")),
            issue=_token(headers.get("x-road-issue")),
            request_id=_token(headers.get("x-road-request-id")),
            consent=_consent(headers.get("x-digiid-consent")),
            purpose=_purpose(headers.get("x-digiid-purpose")),
            represented_party=_token(headers.get("x-road-represented-party")),
        )


def _headers(scope: Scope) -> dict[str, str]:
    return dict(_header_list(scope))


def _header_list(scope: Scope) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]


def _raw_path(scope: Scope) -> str:
    return str(scope.get("raw_path", b"").decode("latin-1"))


def _routes(service: AnyService) -> list[tuple[str, str]]:
    if isinstance(service, Service):
        return [("POST", service.operation.path)]
    return [(method, service.service.path + path) for method, path in service.endpoints]


def _consent(value: str | None) -> str | None:
    return value if value and _CONSENT.fullmatch(value) else None


def _purpose(value: str | None) -> str | None:
    """Why it is asked: UTF-8, percent-encoded on the wire. What cannot be read is as good as not said."""
    if not value or len(value) > 9 * MAX_PURPOSE_CHARS:
        return None
    try:
        purpose = unquote(value, errors="strict")
    except UnicodeDecodeError:
        return None
    return purpose if len(purpose) <= MAX_PURPOSE_CHARS and purpose.isprintable() else None


def _query(raw: bytes) -> Mapping[str, tuple[str, ...]]:
    try:
        parsed = parse_qs(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise Malformed("exchange.request", "the query cannot be read", public="The query cannot be read.") from error
    return {name: tuple(values) for name, values in parsed.items()}


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
