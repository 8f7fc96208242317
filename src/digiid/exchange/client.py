"""Calling another institution: one function, typed in and out.

For anybody's information system:

    exchange = Client.connect("EE/COM/10000299/shop", server="https://10.0.0.5:8443", certificate="shop.pem",
                              key="shop.key", server_certificate="server.pem")
    answer = exchange.rest("EE/GOV/70000106/business/find-companies", "POST", "/v1", json_body={"text": "näidis"})
    companies = answer.json()["companies"]

docs/how-to/join-the-exchange.md tells the rest.
"""

import json
import ssl
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import ValidationError

from digiid.contracts.operation import Message, Operation
from digiid.exchange.delay import DelayOrder, not_allowed
from digiid.exchange.gate import RestAnswer
from digiid.exchange.problems import read_problem
from digiid.kernel.errors import Broken, Malformed, Refused, Unavailable
from digiid.kernel.identifiers import ClientId, ServiceId, check_existing_part, parse_client_id, parse_service_path
from digiid.platform.entropy import Entropy, SystemEntropy, new_id
from digiid.platform.http import HttpAnswer, HttpClient
from digiid.platform.log import correlation_id
from digiid.platform.pools import answering_a_service
from digiid.platform.sent_requests import ANSWERED, NOT_KNOWN_YET, REFUSED, Outcome, SentRequests

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
MAX_REPLY_BYTES = 5 * 1024 * 1024


class Client:
    """A subsystem's way onto the exchange. Thread-safe."""

    def __init__(self, me: ClientId, *, server_url: str, http: HttpClient, entropy: Entropy) -> None:
        """`server_url` is the inside address of the own security server (`https://127.0.0.1:8443`); `http` shows it the
        certificate that is registered there for this subsystem."""
        self.me = me
        self._server_url, self._http, self._entropy = server_url.rstrip("/"), http, entropy
        self._sent: SentRequests | None = None

    @classmethod
    def connect(
        cls,
        me: str | ClientId,
        *,
        server: str,
        certificate: Path | str | None = None,
        key: Path | str | None = None,
        server_certificate: Path | str | None = None,
        timeout_seconds: float = 60.0,
    ) -> "Client":
        """A client of one's own, for an information system outside this program.

        `me` is the own subsystem (`EE/COM/10000299/shop`), `server` the inside address of the own security server.
        With https, `server_certificate` is that server's internal certificate (PEM): it and no other is believed.
        `certificate` and `key` (PEM) are the own TLS certificate that is registered at the server, where it asks for
        one (connection mode SSLAUTH).

        Raises: Malformed `exchange.identifier`, `exchange.client.address`, `exchange.client.certificate`.
        """
        subsystem = me if isinstance(me, ClientId) else parse_client_id(me)
        scheme = urlsplit(server).scheme
        if scheme not in ("http", "https") or not urlsplit(server).hostname:
            raise Malformed("exchange.client.address", f"not an address: {server!r}; for example https://10.0.0.5:8443")
        if scheme == "http" and (certificate or server_certificate):
            raise Malformed("exchange.client.address", "certificates are for https, and the address says http")
        if scheme == "https" and not server_certificate:
            raise Malformed(
                "exchange.client.certificate", "https needs server_certificate: the security server's internal one"
            )
        context = _tls_context(certificate, key, server_certificate) if server_certificate else None
        http = HttpClient(timeout_seconds=timeout_seconds, context=context)
        return cls(subsystem, server_url=server, http=http, entropy=SystemEntropy())

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
        delay: DelayOrder | None = None,
    ) -> Reply:
        """Ask the provider and return its reply.

        `user_id` is who asked, in X-Road's form `EE38001085718`; `issue` is the case number; `consent` is the
        person's consent receipt, `purpose` why it is asked. Both travel as signed headers. `about` are the personal
        codes of those whom the request is about, where its own fields do not name them. `delay` orders that the look is
        shown to the person only after a day; our own record keeps it back until then as well. It needs `user_id`.
        Call it outside any transaction: the network may take its time.

        Raises: the provider's error, of the same kind and code; Unavailable `exchange.unreachable`
        when no answer came (the provider may have acted: repeat with the same content); Refused
        `exchange.delay_not_allowed`, Malformed `exchange.delay`, before anything is sent.
        """
        if delay is not None and self.me not in operation.may_delay:
            raise not_allowed(self.me)
        message_id = message_id or self._new_id()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers |= self._headers(
            user_id=user_id, issue=issue, message_id=message_id, consent=consent, purpose=purpose, delay=delay
        )
        content = request.model_dump_json().encode()
        # 1 what is asked about whom is on record before it leaves
        persons = self._persons(operation, request, about)
        if operation.discloses:
            self._begin(message_id, operation.service, persons or (NOT_KNOWN_YET,), delay)
        # 2 asked; without an answer the record stays open, since the provider may have told
        answer = self._send(operation.service, "POST", operation.path, content, headers)
        if answer.status != 200:
            if answer.status < 500:
                self._settle(message_id, operation.service, persons, REFUSED, delay)
            raise _error_of(answer, operation)
        # 3 answered, about those whom the reply names too
        try:
            reply = operation.reply.model_validate_json(answer.body)
        except ValidationError as error:
            self._settle(message_id, operation.service, persons, ANSWERED, delay)
            raise Broken(
                "exchange.reply", f"{operation.service} broke its contract: {error.error_count()} errors"
            ) from error
        if operation.discloses:
            persons = tuple(about) if about is not None else operation.persons(request=request, reply=reply)
            self._settle(message_id, operation.service, persons, ANSWERED, delay)
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

    def _begin(self, message_id: str, service: ServiceId, persons: Sequence[str], delay: DelayOrder | None) -> None:
        if self._sent is not None and persons:
            until = delay.until if delay else None
            self._sent.begin(message_id, str(service), persons, hidden_until=until)

    def _settle(
        self,
        message_id: str,
        service: ServiceId,
        persons: Sequence[str],
        outcome: Outcome,
        delay: DelayOrder | None,
    ) -> None:
        if self._sent is not None and persons:
            until = delay.until if delay else None
            self._sent.settle(message_id, str(service), persons, outcome, hidden_until=until)

    def rest(
        self,
        service: str | ServiceId,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        body: bytes | None = None,
        json_body: Any = None,
        media_type: str = "application/json",
        user_id: str | None = None,
        issue: str | None = None,
        message_id: str | None = None,
        consent: str | None = None,
        purpose: str | None = None,
        about: Sequence[str] = (),
        delay: DelayOrder | None = None,
    ) -> RestAnswer:
        """Call a service that has paths and verbs of its own; `path` follows the service code (`/v2/findUsage`).

        `service` is a whole identifier (`EE/GOV/70000106/business/find-companies`), `json_body` a body that is made
        JSON of. The provider's answer comes back whatever its status. `about`: the persons whose data are asked for.

        Raises: Unavailable `exchange.unreachable` as `call` does; the exchange's own refusal.
        """
        asked = service if isinstance(service, ServiceId) else _service_id(service)
        if json_body is not None:
            body = json.dumps(json_body, ensure_ascii=False).encode()
        message_id = message_id or self._new_id()
        headers = {"Accept": "application/json"} | ({"Content-Type": media_type} if body is not None else {})
        headers |= self._headers(
            user_id=user_id, issue=issue, message_id=message_id, consent=consent, purpose=purpose, delay=delay
        )
        target = asked.path + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        self._begin(message_id, asked, about, delay)
        answer = self._send(asked, method, target, body, headers)
        if answer.status < 500:
            self._settle(message_id, asked, about, ANSWERED if answer.status < 400 else REFUSED, delay)
        if "x-road-error" in answer.headers:
            raise _refusal_of(answer, asked)
        return RestAnswer(answer.status, answer.headers.get("content-type", ""), answer.body)

    def list_names(self) -> Mapping[ClientId, str]:
        """What every subsystem of the instance is called: by its own name, else by its member's.

        The own security server answers it from the global configuration (X-Road's `listClients`, pr-meta §3.1), and
        nobody else is asked.
        Raises: Unavailable `exchange.unreachable`; Broken `exchange.reply`.
        """
        address = f"{self._server_url}/listClients"
        headers = {"X-Road-Client": str(self.me), "Accept": "application/json"}
        try:
            answer = self._http.request("GET", address, headers=headers, max_bytes=MAX_REPLY_BYTES)
        except Unavailable as error:
            raise Unavailable("exchange.unreachable", f"listClients: {error.detail}") from error
        if answer.status != 200:
            raise Unavailable("exchange.unavailable", f"listClients was answered with {answer.status}")
        return _read_names(answer.body)

    def _headers(
        self,
        *,
        user_id: str | None,
        issue: str | None,
        message_id: str,
        consent: str | None,
        purpose: str | None,
        delay: DelayOrder | None,
    ) -> dict[str, str]:
        if delay is not None and user_id is None:
            raise Malformed("exchange.delay", "user_id names the official who orders a look to be kept back")
        optional = {
            "X-Road-UserId": user_id,
            "X-Road-Issue": issue,
            "X-Digiid-Consent": consent,
            "X-Digiid-Purpose": quote(purpose, safe=" ") if purpose else None,
        }
        return {
            "X-Road-Client": str(self.me),
            "X-Road-Id": message_id,
            "X-Digiid-Correlation": correlation_id.get(),
            **{name: value for name, value in optional.items() if value},
            **(delay.headers() if delay else {}),
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
                method, self._server_url + target, content=content, headers=headers, max_bytes=MAX_REPLY_BYTES
            )
        except Unavailable as error:
            raise Unavailable("exchange.unreachable", f"{service}: {error.detail}") from error


def _read_names(body: bytes) -> dict[ClientId, str]:
    names = {}
    try:
        for entry in json.loads(body)["member"]:
            if (party := entry["id"])["object_type"] == "SUBSYSTEM":
                parts = (party["xroad_instance"], party["member_class"], party["member_code"], party["subsystem_code"])
                names[ClientId(*map(check_existing_part, parts))] = str(entry.get("subsystem_name") or entry["name"])
    except (ValueError, LookupError, TypeError, RecursionError, Malformed) as error:
        raise Broken("exchange.reply", f"listClients was answered in another form: {type(error).__name__}") from error
    return names


def _service_id(text: str) -> ServiceId:
    service, rest = parse_service_path(f"/r1/{text}")
    if rest:
        raise Malformed("exchange.identifier", "a service has five parts; what follows belongs into the path")
    return service


def _tls_context(
    certificate: Path | str | None, key: Path | str | None, server_certificate: Path | str
) -> ssl.SSLContext:
    """Trusts the security server's own certificate and nothing else: it names no host that a CA vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(server_certificate)
        if certificate is not None:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        files = f"{server_certificate}, {certificate}, {key}"
        raise Malformed("exchange.client.certificate", f"{type(error).__name__} with {files}") from error
    return context


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")  # else OpenSSL would ask on the terminal


def _error_of(answer: HttpAnswer, operation: Operation[Request, Reply]) -> Exception:
    if problem := read_problem(answer.status, answer.body, whom=str(operation.service)):
        return problem
    if "x-road-error" in answer.headers:
        return _refusal_of(answer, operation.service)
    kind = Malformed if answer.status in (400, 403, 404) else Unavailable
    return kind("exchange.answer", f"{operation.service} answered {answer.status} without a problem body")


def _refusal_of(answer: HttpAnswer, service: ServiceId) -> Exception:
    """What a security server says itself: it has no code of ours. Only a right that is missing is for good; whatever
    else stops the exchange may be over at the next try."""
    code = answer.headers["x-road-error"]
    if code.endswith(".access_denied"):
        return Refused("exchange.access_denied", f"{service}: {code}")
    if answer.status == 400:
        return Malformed("exchange.refused", f"{service}: {code}")
    return Unavailable("exchange.unavailable", f"{service}: {code}")
