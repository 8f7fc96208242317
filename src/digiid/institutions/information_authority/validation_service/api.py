"""The validation service over HTTP: reads bodies within limits, lets the workers judge, answers.

Nothing of a document is parsed, kept or logged in this process. Bodies wait in files without a name.
"""

import asyncio
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final
from urllib.parse import parse_qsl

import structlog

from digiid.institutions.information_authority.validation_service.answers import (
    Answer,
    failure,
    problem,
    request_errors,
)
from digiid.institutions.information_authority.validation_service.description import describe
from digiid.institutions.information_authority.validation_service.sealing import ReportSealer
from digiid.institutions.information_authority.validation_service.settings import Settings
from digiid.institutions.information_authority.validation_service.workers import Workers
from digiid.kernel.errors import Broken, DigiidError, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.pools import Pools
from digiid.platform.trust import StoreState

PREFIXES: Final = ("/V3", "/validation", "/monitoring")
VERSION: Final = "3.10.0"
_RETRY_SECONDS: Final = b"2"
_CALLS: Final = {
    "/V3/validate": "validate",
    "/V3/validateHashcode": "validateHashcode",
    "/V3/getDataFiles": "getDataFiles",
    "/validation/report": "report",
}
_READ: Final = ("/V3/openapi.json", "/monitoring/health", "/monitoring/heartbeat", "/monitoring/version")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CONTENT_TYPE: Final = re.compile(r"application/json\s*(;\s*charset\s*=\s*\"?utf-?8\"?\s*)?", re.IGNORECASE)
_RAW_TYPES: Final = frozenset(
    {
        "application/octet-stream",
        "application/vnd.etsi.asic-e+zip",
        "application/vnd.etsi.asic-s+zip",
        "application/x-ddoc",
        "application/pdf",
        "application/zip",
    }
)
_PARAMETERS: Final = frozenset({"filename", "policy", "report"})
log = structlog.get_logger("validation_service")


class _Refusal(Exception):
    """An answer that is given before anything is judged."""

    def __init__(self, status: int, key: str, message: str) -> None:
        super().__init__(key)
        self.status, self.key, self.message = status, key, message


class _Gone(Exception):
    """The client went away; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    kind: str | None
    headers: Mapping[bytes, bytes]
    client: str
    id: bytes


class ValidationServiceApp:
    """The ASGI application for paths below `/V3`, `/validation` and `/monitoring`."""

    def __init__(
        self,
        workers: Workers,
        settings: Settings,
        *,
        clock: Clock,
        entropy: Entropy,
        pools: Pools,
        sealer: ReportSealer | None = None,
        list_state: Callable[[], StoreState] | None = None,
    ) -> None:
        self._list_state = list_state
        self._workers, self._settings, self._sealer = workers, settings, sealer
        self._clock, self._entropy, self._pools = clock, entropy, pools
        self._started_at = clock.now()
        self._per_client: Counter[str] = Counter()
        self._spooled = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request = _Request(
            method=scope["method"],
            path=scope["path"],
            kind=_CALLS.get(scope["path"]),
            headers=headers,
            client=(scope.get("client") or ("", 0))[0],
            id=given if _REQUEST_ID.fullmatch(given) else new_id(self._entropy).encode(),
        )
        try:
            found = await self._answer(request, scope, receive)
        except _Gone:
            return
        except _Refusal as refused:
            found = _refused(request, refused)
        except Unavailable as error:
            found = _refused(request, _Refusal(503, "unavailable", error.detail))
        except Broken as error:
            log.warning("validation.failed", code=error.code, request_id=request.id.decode())
            found = failure(request.kind or "")
        except DigiidError as error:  # the trusted lists are refused: nobody is called valid, nobody invalid
            log.error("validation.no_trust", code=error.code, request_id=request.id.decode())
            found = _refused(request, _Refusal(503, "unavailable", "The trusted lists cannot be relied upon now"))
        await _send(send, found, request)

    async def _answer(self, request: _Request, scope: Any, receive: Any) -> Answer:
        # 1 what is asked
        if request.kind is None and request.path not in _READ:
            raise _Refusal(404, "endpointNotFound", "Endpoint not found")
        if request.kind is None:
            if request.method not in ("GET", "HEAD"):
                raise _Refusal(405, "methodNotAllowed", "Method not allowed")
            return Answer(200, json.dumps(self._read(request.path)).encode())
        if request.method != "POST":
            raise _Refusal(405, "methodNotAllowed", "Method not allowed")
        _check_content_type(request)
        parameters = _parameters(scope["query_string"]) if request.kind == "report" else {}
        # 2 how much of it one client may ask at once
        if self._per_client[request.client] >= self._settings.max_per_client:
            raise _Refusal(429, "tooManyRequests", "Too many requests at once from this client")
        self._per_client[request.client] += 1
        try:
            return await self._judge(request, parameters, receive)
        finally:
            self._per_client[request.client] -= 1
            if not self._per_client[request.client]:
                del self._per_client[request.client]

    async def _judge(self, request: _Request, parameters: Mapping[str, str], receive: Any) -> Answer:
        raw = request.kind == "report"
        limits = self._settings
        largest, seconds = (
            (limits.max_raw_bytes, limits.raw_seconds) if raw else (limits.max_json_bytes, limits.json_seconds)
        )
        # 3 the body, into a file without a name: nothing stays behind, whoever goes away
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, or by the worker pool that takes it
        size = 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    async with asyncio.timeout(limits.chunk_seconds):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part = message.get("body", b"")
                    size += len(part)
                    self._spooled += len(part)
                    if size > largest:
                        raise _Refusal(400 if not raw else 413, "request", f"Request is larger than {largest} bytes")
                    if self._spooled > limits.max_spooled_bytes:
                        raise Unavailable("validation.busy", "too many large documents wait to be judged")
                    file.write(part)
                    if not message.get("more_body", False):
                        break
            file.flush()
        except TimeoutError as error:
            self._spooled -= size
            file.close()
            raise _Refusal(408, "requestTimeout", "The body did not come in time") from error
        except BaseException:  # nothing is handled here: whatever ends the request, the file and its bytes are let go
            self._spooled -= size
            file.close()
            raise
        # 4 the verdict
        try:
            status, body = await self._workers.run(
                request.kind or "",
                file,
                parameters,
                seconds=limits.judge_raw_seconds if raw else limits.judge_seconds,
            )
        finally:
            self._spooled -= size
        # 5 its seal, when it is wanted
        if status == 200 and request.kind == "validate" and self._sealer and self._wants_seal(request, body):
            try:
                body = await self._pools.pages.run(self._sealer.seal, body)
            except DigiidError as error:
                log.warning("validation.not_sealed", code=error.code, request_id=request.id.decode())
                raise Unavailable("validation.seal", "The report cannot be signed now") from error
        return Answer(status, body)

    def _wants_seal(self, request: _Request, body: bytes) -> bool:
        asked = request.headers.get(b"x-sign-report", b"").lower() == b"true"
        return asked or (self._settings.sign_reports and b'"validationProcess"' in body)

    def _read(self, path: str) -> Mapping[str, Any]:
        if path == "/V3/openapi.json":
            return describe()
        if path == "/monitoring/heartbeat":
            return {"status": "UP"}
        application = {"name": "digiid-validation-service", "version": VERSION}
        if path == "/monitoring/version":
            return application
        now = self._clock.now()
        lists = {} if self._list_state is None else {"trustedLists": _lists_health(self._list_state())}
        return {
            "status": "DOWN" if any(component["status"] == "DOWN" for component in lists.values()) else "UP",
            "components": {
                **lists,
                "health": {
                    "status": "UP",
                    "details": {
                        **application,
                        "startTime": self._started_at.isoformat(),
                        "currentTime": now.isoformat(),
                        "upTime": f"PT{int((now - self._started_at).total_seconds())}S",
                    },
                },
            },
        }


def _lists_health(state: StoreState) -> dict[str, Any]:
    """UNKNOWN before the first list was needed; DOWN when one has run out, since nothing is judged then."""
    return {
        "status": "UNKNOWN" if not state.lists else "UP" if state.is_good else "DOWN",
        "details": {
            "fetchedAt": None if state.fetched_at is None else state.fetched_at.isoformat(),
            "problem": state.problem,
            "problemAt": None if state.problem_at is None else state.problem_at.isoformat(),
            "lists": [
                {
                    "territory": found.territory,
                    "sequenceNumber": found.sequence_number,
                    "issueDate": found.issued_at.isoformat(),
                    "nextUpdate": None if found.next_update_at is None else found.next_update_at.isoformat(),
                    "daysLeft": None if found.left is None else found.left.days,
                }
                for found in state.lists
            ],
        },
    }


def _check_content_type(request: _Request) -> None:
    given = request.headers.get(b"content-type", b"").decode("latin-1").strip()
    if request.kind == "report":
        if given.partition(";")[0].strip().lower() not in _RAW_TYPES:
            text = "Content type is not supported: the file itself comes as application/octet-stream"
            raise _Refusal(415, "contentTypeNotSupported", text)
    elif not _CONTENT_TYPE.fullmatch(given):
        raise _Refusal(415, "contentTypeNotSupported", "Content type is not supported")
    if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _Refusal(415, "contentTypeNotSupported", "Content encoding is not supported")


def _parameters(query: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=8
        )
    except ValueError as error:
        raise _Refusal(400, "validation.request", "the query cannot be read") from error
    found = dict(pairs)
    if len(found) != len(pairs) or not found.keys() <= _PARAMETERS:
        raise _Refusal(400, "validation.request", "a parameter comes twice or is not known")
    return found


def _refused(request: _Request, refused: _Refusal) -> Answer:
    if request.path.startswith("/validation"):
        code = refused.key if "." in refused.key else "validation.request"
        return Answer(refused.status, problem(refused.status, code, refused.message))
    return Answer(refused.status, request_errors((refused.key, refused.message)))


async def _send(send: Any, found: Answer, request: _Request) -> None:
    is_problem = request.path.startswith("/validation") and found.status != 200
    headers = [
        (b"content-type", b"application/problem+json" if is_problem else b"application/json"),
        (b"content-length", str(len(found.body)).encode()),
        (b"x-request-id", request.id),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if found.status in (429, 503):
        headers.append((b"retry-after", _RETRY_SECONDS))
    if found.status == 405:
        headers.append((b"allow", b"POST" if request.kind else b"GET, HEAD"))
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else found.body})
