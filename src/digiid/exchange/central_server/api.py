"""Registration for programs: `POST /registration/requests`, `GET /registration/requests/{id}`.

Who asks is proven by the request itself, so there is no session and no key; the rate limit counts by address, before
anything is verified.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import structlog

from digiid.exchange.central_server.domain import RequestState, StoredRequest
from digiid.exchange.central_server.use_cases import requests
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.exchange.problems import STATUS_BY_KIND
from digiid.formats.exchange.management import MAX_ENVELOPE_BYTES
from digiid.kernel.errors import DigiidError, Malformed
from digiid.platform.asgi import BodyReader, Receive, Scope, Send, header, respond
from digiid.platform.pools import Pools
from digiid.platform.web.rate_limits import RateLimit, RateLimiter, TooMany

PREFIX: Final = "/registration"
_REQUESTS: Final = f"{PREFIX}/requests"
_BODY_SECONDS: Final = 20.0
_BODIES_HELD: Final = 32
_LOOKS_PER_MINUTE: Final = 120

log = structlog.get_logger("central_server")


class Registration:
    """The endpoint as a plain ASGI callable."""

    def __init__(self, deps: Deps, pools: Pools) -> None:
        self._deps, self._pools = deps, pools
        self._limiter = RateLimiter()
        self._limit = RateLimit(deps.settings.registrations_per_minute, timedelta(minutes=1))
        self._look_limit = RateLimit(_LOOKS_PER_MINUTE, timedelta(minutes=1))
        self._bodies = BodyReader(
            max_bytes=MAX_ENVELOPE_BYTES, max_held_bytes=_BODIES_HELD * MAX_ENVELOPE_BYTES, seconds=_BODY_SECONDS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        try:
            if path == _REQUESTS and method == "POST":
                stored = await self._submit(scope, receive)
                status = 200 if stored.state is RequestState.APPLIED else 202
            elif path.startswith(f"{_REQUESTS}/") and method == "GET":
                stored = await self._look(scope, path.removeprefix(f"{_REQUESTS}/"))
                status = 200
            else:
                await _problem(send, 404 if path != _REQUESTS else 405, "http.not_found", "There is nothing here.")
                return
        except TooMany as error:
            seconds = max(1, round(error.retry_after.total_seconds()))
            await _problem(send, 429, error.code, "Too many requests.", ((b"retry-after", b"%d" % seconds),))
            return
        except DigiidError as error:
            log.info("central_server.refused", code=error.code, detail=error.detail)
            await _problem(send, _status_of(error), error.code, error.public or error.detail)
            return
        except Exception:  # the edge: a fault of ours, logged once with its trace
            log.exception("central_server.failed")
            await _problem(send, 500, "central.failed", "The fault is ours and has been recorded.")
            return
        await respond(send, json.dumps(_told(stored)).encode(), b"application/json", status=status)

    async def _submit(self, scope: Scope, receive: Receive) -> StoredRequest:
        self._limiter.check("registration", _address(scope), self._limit, now=self._deps.clock.now())
        if header(scope, b"content-type") != b"application/json":
            raise Malformed("exchange.management.media_type", "A request is application/json.")
        async with self._bodies.reading(receive) as envelope:
            return await self._pools.pages.run(requests.submit_request, self._deps, envelope)

    async def _look(self, scope: Scope, request_id: str) -> StoredRequest:
        self._limiter.check("look", _address(scope), self._look_limit, now=self._deps.clock.now())
        return await self._pools.pages.run(requests.get_request, self._deps, request_id[:36])


def _told(stored: StoredRequest) -> Mapping[str, Any]:
    """What its sender may know; who decided is for the journal."""
    return {
        "requestId": stored.request_id,
        "operation": stored.request.operation.value,
        "state": stored.state.value,
        "reason": stored.reason,
    }


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _status_of(error: DigiidError) -> int:
    return next(status for kind, status in STATUS_BY_KIND.items() if isinstance(error, kind))


async def _problem(
    send: Send, status: int, code: str, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    body = json.dumps({"status": status, "code": code, "detail": detail}).encode()
    await respond(send, body, b"application/problem+json", status=status, headers=headers)
