"""What every service says about itself: an OpenAPI 3.1 document made from the contract that the gate checks by.

The gate serves it at `GET /openapi/{instance}/{class}/{member}/{subsystem}/{service}` (`description_path`), so that a
security server can be given that address as the service's `description_url` and answer `getOpenAPI` with it. It
is public: it says how to ask, and by what right whom is answered, and nothing about anybody.

A JSON Schema of a pydantic model stands in OpenAPI 3.1 as it is (both are draft 2020-12).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from digiid.contracts import consents, data_tracker
from digiid.contracts.members import NAMES
from digiid.exchange import problems
from digiid.exchange.gate import AnyService, RestService, Service
from digiid.kernel.errors import DigiidError
from digiid.kernel.identifiers import ServiceId

PREFIX: Final = "/openapi/"
_REF: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"


class Problem(BaseModel):
    """How a service refuses: RFC 9457 with our stable `code`. `detail` may be shown to a person."""

    type: str
    code: str
    status: int
    detail: str | None = None


class ExchangeError(BaseModel):
    """How the exchange itself refuses, before a service is reached; the header X-Road-Error stands with it."""

    type: str
    message: str
    detail: str | None = None
    code: str | None = None


class ConsentProblem(BaseModel):
    """How the consent service refuses: the state's key and code."""

    key: str
    code: str
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of a query string. `schema` is a JSON Schema."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of a service with paths and verbs of its own. `reply` None: a JSON object that has no model."""

    summary: str
    reply: type[BaseModel] | None
    request: type[BaseModel] | None = None
    query: tuple[Query, ...] = ()
    error: type[BaseModel] = Problem
    needs_user: bool = False


def description_path(service: ServiceId) -> str:
    """Where the gate serves the description of a service."""
    return PREFIX + service.path.removeprefix("/r1/")


class Descriptions(Mapping[str, bytes]):
    """Every service's document by the path at which a gate serves it, each made when it is first asked for."""

    def __init__(self, services: Sequence[AnyService]) -> None:
        self._services = {_path_of(service): service for service in services}
        self._made: dict[str, bytes] = {}

    def __getitem__(self, path: str) -> bytes:
        if path not in self._made:
            self._made[path] = json.dumps(describe(self._services[path]), ensure_ascii=False).encode()
        return self._made[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)


def _path_of(service: AnyService) -> str:
    return description_path(service.operation.service if isinstance(service, Service) else service.service)


def describe(service: AnyService) -> dict[str, Any]:
    """The OpenAPI document of a service. Raises: KeyError for a REST service that nobody has described."""
    if isinstance(service, Service):
        return _describe_operation(service)
    return _describe_rest(service)


def _describe_operation(service: Service) -> dict[str, Any]:
    operation = service.operation
    schemas = _schemas([operation.request, operation.reply, Problem, ExchangeError])
    content = {_JSON: {"schema": _reference(operation.request)}}
    post: dict[str, Any] = {
        "operationId": operation.service.service_code,
        "summary": _first_sentence(operation.request),
        "description": (operation.request.__doc__ or "").strip(),
        "parameters": _headers(
            needs_purpose=bool(operation.legal_bases),
            may_need_consent=any(operation.needs_consent(client) for client in operation.allowed),
            needs_user=False,
            may_be_delayed=bool(operation.may_delay),
        ),
        "requestBody": {"required": True, "content": content},
        "responses": _responses(operation.reply, Problem),
    }
    if operation.discloses:
        post["x-digiid-discloses"] = list(operation.discloses)
        bases = {str(client): basis for client, basis in operation.legal_bases.items()}
        post["x-digiid-legal-bases"] = dict(sorted(bases.items()))
        if operation.for_others:
            post["x-digiid-legal-basis-for-others"] = operation.for_others
    if operation.may_delay:
        post["x-digiid-may-delay"] = sorted(map(str, operation.may_delay))
    return _document(operation.service, str(operation.version), {f"/v{operation.version}": {"post": post}}, schemas)


def _describe_rest(service: RestService) -> dict[str, Any]:
    shapes = ENDPOINTS[service.service.service_code]
    models: list[type[BaseModel]] = [ExchangeError]
    paths: dict[str, dict[str, Any]] = {}
    for method, path in service.endpoints:
        shape = shapes[method, path]
        models += [model for model in (shape.request, shape.reply, shape.error) if model is not None]
        operation: dict[str, Any] = {
            "operationId": path.strip("/").replace("/", "-"),
            "summary": shape.summary,
            "parameters": [
                *_headers(needs_purpose=False, may_need_consent=False, needs_user=shape.needs_user),
                *(
                    {"name": query.name, "in": "query", "required": query.required, "schema": dict(query.schema)}
                    for query in shape.query
                ),
            ],
            "responses": _responses(shape.reply, shape.error),
        }
        if shape.request is not None:
            content = {_JSON: {"schema": _reference(shape.request)}}
            operation["requestBody"] = {"required": True, "content": content}
        paths.setdefault(path, {})[method.lower()] = operation
    version = "2.1.0" if service.service.service_code == data_tracker.FIND_USAGE_CODE else "1"
    return _document(service.service, version, paths, _schemas(models))


def _document(service: ServiceId, version: str, paths: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    name = NAMES.get(service.provider, str(service.provider))
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": f"{name}: {service.service_code}", "version": version},
        "servers": [{"url": service.path, "description": "through the caller's own security server"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _responses(reply: type[BaseModel] | None, error: type[BaseModel]) -> dict[str, Any]:
    schema = {"type": "object"} if reply is None else _reference(reply)
    responses: dict[str, Any] = {"200": {"description": "the answer", "content": {_JSON: {"schema": schema}}}}
    for kind, status in sorted(problems.STATUS_BY_KIND.items(), key=lambda item: item[1]):
        either = {"anyOf": [_reference(error), _reference(ExchangeError)]}
        responses[str(status)] = {
            "description": _kind(kind),
            "headers": {"X-Road-Error": {"description": "set when the exchange refused", "schema": {"type": "string"}}},
            "content": {_JSON: {"schema": either}},
        }
    return responses


def _headers(
    *, needs_purpose: bool, may_need_consent: bool, needs_user: bool, may_be_delayed: bool = False
) -> list[dict[str, Any]]:
    """The headers of the exchange and ours; Content-Type and Accept are not parameters in OpenAPI."""
    headers = [
        _header("X-Road-Client", "who asks: instance/class/member/subsystem", required=True),
        _header("X-Road-Id", "the message's own identifier; the security server makes one when there is none"),
        _header("X-Road-UserId", "the person who asks, EE and the personal code", required=needs_user),
        _header("X-Road-Issue", "the number of the case"),
    ]
    if needs_purpose:
        text = "why it is asked, at most 200 characters, percent-encoded UTF-8; the person can read it"
        headers.append(_header("X-Digiid-Purpose", text, max_length=1800))
    if may_need_consent:
        text = "the person's consent receipt, for those who are answered with a consent only"
        headers.append(_header("X-Digiid-Consent", text, max_length=8192))
    if may_be_delayed:
        text = "the last day (2027-03-01) on which the person is not shown this look, for those who may order that"
        headers.append(_header("X-Digiid-Hidden-Until", text))
        text = "why it is kept back, 10 to 200 characters, percent-encoded UTF-8; the person can read it afterwards"
        headers.append(_header("X-Digiid-Hidden-Reason", text, max_length=1800))
    return headers


def _header(name: str, text: str, *, required: bool = False, max_length: int = 128) -> dict[str, Any]:
    schema = {"type": "string", "maxLength": 420 if name == "X-Road-Client" else max_length}
    return {"name": name, "in": "header", "required": required, "description": text, "schema": schema}


def _schemas(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The components. A reply is described as it may be read: a field with a default need not be there."""
    distinct = list(dict.fromkeys(models))
    _, definitions = models_json_schema([(model, "validation") for model in distinct], ref_template=_REF)
    return dict(sorted(definitions["$defs"].items()))


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _first_sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or model.__name__).split()).split(". ")[0].rstrip(".")


def _kind(kind: type[DigiidError]) -> str:
    return " ".join((kind.__doc__ or kind.kind).split())


# ------------------------------------------------------------------ services with paths of their own

_DATE_TIME: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_PERSON: Final = Query("userCode", {"type": "string", "pattern": "^EE[0-9]{11}$"}, required=True)
_PERIOD: Final = (
    _PERSON,
    Query("periodStart", _DATE_TIME),
    Query("periodEnd", _DATE_TIME),
    Query("offset", _COUNT),
    Query("limit", _COUNT),
)
_MESSAGES: Final = (
    _PERSON,
    Query(
        "xRoadMessageId",
        {"type": "array", "items": {"type": "string"}, "maxItems": data_tracker.MAX_MESSAGE_IDS},
        required=True,
    ),
)
_CONSENT: Final = (Query("consentReference", {"type": "string", "maxLength": 64}, required=True),)
_DECLARATIONS: Final = Query(
    "purposeDeclarationBusinessIdentifiers",
    {"type": "array", "items": {"type": "string", "maxLength": 40}, "maxItems": consents.MAX_PURPOSES},
    required=True,
)


def _tracker(summary: str, reply: type[BaseModel], *query: Query) -> Endpoint:
    return Endpoint(summary, reply, query=query, error=data_tracker.TrackerError, needs_user=bool(query))


def _consent(
    summary: str,
    reply: type[BaseModel] | None,
    *,
    request: type[BaseModel] | None = None,
    query: tuple[Query, ...] = (),
) -> Endpoint:
    return Endpoint(summary, reply, request=request, query=query, error=ConsentProblem)


ENDPOINTS: Final[Mapping[str, Mapping[tuple[str, str], Endpoint]]] = {
    data_tracker.FIND_USAGE_CODE: {
        ("GET", "/v2/findUsage"): _tracker("Who looked at this person's data", data_tracker.UsageList, *_PERIOD),
        ("GET", "/v2/usagePeriod"): _tracker("Since when looks are kept", data_tracker.UsagePeriod),
        ("GET", "/v2/heartbeat"): _tracker("Whether the tracker works", data_tracker.Heartbeat),
        ("GET", "/v2/isRecorded"): _tracker(
            "Which of these messages are on record (not in the published protocol)", data_tracker.Recorded, *_MESSAGES
        ),
    },
    data_tracker.ASKED_ABOUT_CODE: {
        ("GET", "/v1/askedAbout"): _tracker(
            "What was asked of others about this person", data_tracker.AskedList, *_PERIOD
        ),
        ("GET", "/v1/isRecorded"): _tracker("Which of these messages were sent", data_tracker.Recorded, *_MESSAGES),
    },
    consents.CONSENT.service_code: {
        consents.REQUEST_CONSENT: _consent(
            "Ask a person for consents", consents.ConsentGroup, request=consents.ConsentRequest
        ),
        consents.REQUEST_CONSENT_REPRESENTABLE: _consent(
            "Ask somebody who acts for another", consents.ConsentGroup, request=consents.RepresentedConsentRequest
        ),
        consents.GET_REFERENCES: _consent(
            "The references of consents that hold, by purpose declaration", None, request=consents.ReferencesRequest
        ),
        consents.VALIDATE_FOR_CLIENT: _consent(
            "Does the consent hold, for its client", consents.ConsentForClient, query=_CONSENT
        ),
        consents.VALIDATE_FOR_DATA_PROVIDER: _consent(
            "Does the consent hold, for its data provider", consents.ConsentForDataProvider, query=_CONSENT
        ),
        consents.FILTER_BY_STATUS: _consent(
            "Which of these consents hold", consents.ConsentsByStatus, request=consents.StatusRequest
        ),
        consents.REPORT_TRANSMISSION: _consent(
            "Data went out under a consent", consents.Reported, request=consents.TransmissionReport
        ),
        consents.GET_RECEIPT: _consent("The receipt of a consent that holds", consents.Receipt, query=_CONSENT),
        consents.GET_REVOCATIONS: _consent(
            "What was revoked since", consents.Revocations, query=(Query("after", _COUNT, required=True),)
        ),
        consents.GET_TITLES: _consent(
            "What purpose declarations are called", consents.PurposeTitles, query=(_DECLARATIONS,)
        ),
        consents.GET_HEALTH: _consent("Whether the consent service works", consents.Health),
        consents.GET_DESCRIPTION: _consent("The consent service's own description", None),
    },
}
