"""Calling another institution: one function, typed in and out."""

import json
from typing import TypeVar

from pydantic import ValidationError

from digiid.contracts.operation import Message, Operation
from digiid.exchange.problems import KIND_BY_STATUS
from digiid.kernel.errors import Broken, Malformed, Unavailable
from digiid.kernel.identifiers import ClientId
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.http import HttpAnswer, HttpClient
from digiid.platform.log import correlation_id
from digiid.platform.pools import answering_a_service

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
MAX_REPLY_BYTES = 5 * 1024 * 1024


class Client:
    """A subsystem's way onto the exchange. Thread-safe."""

    def __init__(self, me: ClientId, *, gate_url: str, key: str, http: HttpClient, entropy: Entropy) -> None:
        """`gate_url` is the consumer's own gate (`http://127.0.0.1:8801`), `key` this subsystem's secret there."""
        self.me = me
        self._gate_url, self._key, self._http, self._entropy = gate_url.rstrip("/"), key, http, entropy

    def call(
        self,
        operation: Operation[Request, Reply],
        request: Request,
        *,
        user_id: str | None = None,
        issue: str | None = None,
        message_id: str | None = None,
    ) -> Reply:
        """Ask the provider and return its reply.

        `user_id` is who asked, in X-Road's form `EE38001085718`; `issue` is the case number.
        Call it outside any transaction: the network may take its time.

        Raises: the provider's error, of the same kind and code; Unavailable `exchange.unreachable`
        when no answer came (the provider may have acted: repeat with the same content).
        """
        if answering_a_service():
            raise Broken("exchange.circular", f"{operation.service} called while a service is being answered")
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "X-Road-Client": str(self.me),
            "X-Road-Id": message_id or f"{self.me.instance}-{new_id(self._entropy)}",
            "X-Digiid-Gate-Key": self._key,
            "X-Digiid-Correlation": correlation_id.get(),
        }
        if user_id:
            headers["X-Road-UserId"] = user_id
        if issue:
            headers["X-Road-Issue"] = issue
        try:
            answer = self._http.request(
                "POST",
                self._gate_url + operation.path,
                content=request.model_dump_json().encode(),
                headers=headers,
                max_bytes=MAX_REPLY_BYTES,
            )
        except Unavailable as error:
            raise Unavailable("exchange.unreachable", f"{operation.service}: {error.detail}") from error
        if answer.status != 200:
            raise _error_of(answer, operation)
        try:
            return operation.reply.model_validate_json(answer.body)
        except ValidationError as error:
            raise Broken(
                "exchange.reply", f"{operation.service} broke its contract: {error.error_count()} errors"
            ) from error


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
