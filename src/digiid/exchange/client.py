"""Calling another institution: one function, typed in and out."""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TypeVar
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from digiid.contracts.operation import Message, Operation
from digiid.exchange.gate import RestAnswer
from digiid.exchange.problems import KIND_BY_STATUS
from digiid.kernel.errors import Broken, Malformed, Refused, Unavailable
from digiid.kernel.identifiers import ClientId, ServiceId
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.http import HttpAnswer, HttpClient
from digiid.platform.log import correlation_id
from digiid.platform.pools import answering_a_service
from digiid.platform.sent_requests import ANSWERED, NOT_KNOWN_YET, REFUSED, Outcome, SentRequests

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
MAX_REPLY_BYTES = 5 * 1024 * 1024


class Client:
    """A subsystem's way onto the exchange. Thread-safe."""

    def __init__(self, me: ClientId, *, gate_url: str, key: str, http: HttpClient, entropy: Entropy) -> None:
        """`gate_url` is the consumer's own gate (`http://127.0.0.1:8801`), `key` this subsystem's secret there."""
        self.me = me
        self._gate_url, self._key, self._http, self._entropy = gate_url.rstrip("/"), key, http, entropy
        self._sent: SentRequests | None = None

    def recording(self, sent: SentRequests) -> "Client":
        """The same client, which writes down in `sent` about whom it asks: the consumer's half of the data tracker."""
        client = copy(self)
        client._sent = sent
        return client

    def call(
        self,
        operation: Operation[Request, Reply],
        request: Request,
        *,
        user_id: str | None = None,
        issue: str | None = None,
        message_id: str | None = None,
        consent: str | None = None,
        purpose: str | None = None,
        about: Sequence[str] | None = None,
    ) -> Reply:
        """Ask the provider and return its reply.

        `user_id` is who asked, in X-Road's form `EE38001085718`; `issue` is the case number; `consent` is the
        person's consent receipt, `purpose` why it is asked. Both travel as signed headers. `about` are the personal
        codes of those whom the request is about, where its own fields do not name them.
        Call it outside any transaction: the network may take its time.

        Raises: the provider's error, of the same kind and code; Unavailable `exchange.unreachable`
        when no answer came (the provider may have acted: repeat with the same content).
        """
        message_id = message_id or self._new_id()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers |= self._headers(user_id, issue, message_id, consent, purpose)
        content = request.model_dump_json().encode()
        # 1 what is asked about whom is on record before it leaves
        persons = self._persons(operation, request, about)
        if operation.discloses:
            self._begin(message_id, operation.service, persons or (NOT_KNOWN_YET,))
        # 2 asked; without an answer the record stays open, since the provider may have told
        answer = self._send(operation.service, "POST", operation.path, content, headers)
        if answer.status != 200:
            if answer.status < 500:
                self._settle(message_id, operation.service, persons, REFUSED)
            raise _error_of(answer, operation)
        # 3 answered, about those whom the reply names too
        try:
            reply = operation.reply.model_validate_json(answer.body)
        except ValidationError as error:
            self._settle(message_id, operation.service, persons, ANSWERED)
            raise Broken(
                "exchange.reply", f"{operation.service} broke its contract: {error.error_count()} errors"
            ) from error
        if operation.discloses:
            persons = tuple(about) if about is not None else operation.persons(request=request, reply=reply)
            self._settle(message_id, operation.service, persons, ANSWERED)
        return reply

    def _persons(
        self, operation: Operation[Request, Reply], request: Request, about: Sequence[str] | None
    ) -> tuple[str, ...]:
        if not operation.discloses:
            return ()
        if about is not None:
            return tuple(about)
        if not operation.about and self._sent is not None:
            raise Broken("exchange.about_whom", f"{operation.service} is asked without saying about whom")
        return operation.persons(request=request)

    def _begin(self, message_id: str, service: ServiceId, persons: Sequence[str]) -> None:
        if self._sent is not None and persons:
            self._sent.begin(message_id, str(service), persons)

    def _settle(self, message_id: str, service: ServiceId, persons: Sequence[str], outcome: Outcome) -> None:
        if self._sent is not None and persons:
            self._sent.settle(message_id, str(service), persons, outcome)

    def rest(
        self,
        service: ServiceId,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        body: bytes | None = None,
        media_type: str = "application/json",
        user_id: str | None = None,
        issue: str | None = None,
        message_id: str | None = None,
        consent: str | None = None,
        purpose: str | None = None,
        about: Sequence[str] = (),
    ) -> RestAnswer:
        """Call a service that has paths and verbs of its own; `path` follows the service code (`/v2/findUsage`).

        The provider's answer comes back whatever its status. `about`: the persons whose data are asked for.

        Raises: Unavailable `exchange.unreachable` as `call` does; the exchange's own refusal.
        """
        message_id = message_id or self._new_id()
        headers = {"Accept": "application/json"} | ({"Content-Type": media_type} if body is not None else {})
        headers |= self._headers(user_id, issue, message_id, consent, purpose)
        target = service.path + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        self._begin(message_id, service, about)
        answer = self._send(service, method, target, body, headers)
        if answer.status < 500:
            self._settle(message_id, service, about, ANSWERED if answer.status < 400 else REFUSED)
        if "x-road-error" in answer.headers:
            raise _refusal_of(answer, service)
        return RestAnswer(answer.status, answer.headers.get("content-type", ""), answer.body)

    def _headers(
        self, user_id: str | None, issue: str | None, message_id: str | None, consent: str | None, purpose: str | None
    ) -> dict[str, str]:
        optional = {
            "X-Road-UserId": user_id,
            "X-Road-Issue": issue,
            "X-Digiid-Consent": consent,
            "X-Digiid-Purpose": quote(purpose, safe=" ") if purpose else None,
        }
        return {
            "X-Road-Client": str(self.me),
            "X-Road-Id": message_id or self._new_id(),
            "X-Digiid-Gate-Key": self._key,
            "X-Digiid-Correlation": correlation_id.get(),
            **{name: value for name, value in optional.items() if value},
        }

    def _new_id(self) -> str:
        return f"{self.me.instance}-{new_id(self._entropy)}"

    def _send(
        self, service: ServiceId, method: str, target: str, content: bytes | None, headers: Mapping[str, str]
    ) -> HttpAnswer:
        if answering_a_service():
            raise Broken("exchange.circular", f"{service} called while a service is being answered")
        try:
            return self._http.request(
                method, self._gate_url + target, content=content, headers=headers, max_bytes=MAX_REPLY_BYTES
            )
        except Unavailable as error:
            raise Unavailable("exchange.unreachable", f"{service}: {error.detail}") from error


def _refusal_of(answer: HttpAnswer, service: ServiceId) -> Exception:
    code = answer.headers["x-road-error"]
    kind = Refused if code.endswith("access_denied") else Malformed if answer.status == 400 else Unavailable
    return kind("exchange.refused", f"{service}: {code}")


def _error_of(answer: HttpAnswer, operation: Operation[Request, Reply]) -> Exception:
    kind = KIND_BY_STATUS.get(answer.status, Broken)
    try:
        problem = json.loads(answer.body)
        code, public = str(problem["code"]), problem.get("detail")
        return kind(
            code, f"{operation.service} answered {answer.status}", public=public if isinstance(public, str) else None
        )
    except (ValueError, KeyError, TypeError) as error:
        if answer.status in (400, 403, 404):
            return Malformed("exchange.answer", f"{operation.service} answered {answer.status} without a problem body")
        return Unavailable("exchange.answer", f"{operation.service} answered {answer.status}: {type(error).__name__}")
