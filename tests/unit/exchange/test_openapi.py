"""Every service of every institution is described, and the descriptions are judged by somebody else's validator."""

import json
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from digiid import contracts
from digiid.contracts import business_register, consents, population_register
from digiid.contracts.members import BANK, BUSINESS_REGISTER, POLICE_BOARD, POPULATION_REGISTER
from digiid.contracts.operation import CONSENT, Message, Operation
from digiid.exchange.gate import AnyService, Gate, RestService, Service
from digiid.exchange.openapi import Descriptions, describe, description_path
from digiid.exchange.usage import Tracker, tracker_services
from digiid.kernel.identifiers import ServiceId
from digiid.platform.pools import Pools
from tests.support.loops import run_async

# every module of contracts, so that a new one is never forgotten
CONTRACTS = [import_module(f"digiid.contracts.{found.name}") for found in iter_modules(contracts.__path__)]
OPERATIONS = [value for module in CONTRACTS for value in vars(module).values() if isinstance(value, Operation)]
OPERATIONS.append(consents.consents_revoked(POPULATION_REGISTER))


def never(*_: object) -> Any:
    raise AssertionError("a description asks nobody")


def rest_services() -> list[RestService]:
    tracker = Tracker(POPULATION_REGISTER, None, None, None, None)  # type: ignore[arg-type]
    consent = RestService(consents.CONSENT, consents.ENDPOINTS, consents.CALLERS, never)
    return [*tracker_services(tracker), consent]


SERVICES: list[AnyService] = [*(Service(operation, never) for operation in OPERATIONS), *rest_services()]


def name(service: AnyService) -> str:
    return str(service.operation.service if isinstance(service, Service) else service.service)


@pytest.mark.parametrize("service", SERVICES, ids=name)
def test_a_description_is_valid_openapi_and_its_schemas_are_valid(service: AnyService) -> None:
    document = json.loads(json.dumps(describe(service)))
    OPENAPI_31_VALIDATOR.validate(document)
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": document["jsonSchemaDialect"]})
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


# The registers and the board answer many by different laws; the others answer their own partner about an order.
BY_LAW = [
    each for each in OPERATIONS if each.service.provider in (POPULATION_REGISTER, POLICE_BOARD, BUSINESS_REGISTER)
]


@pytest.mark.parametrize("operation", BY_LAW, ids=lambda operation: str(operation.service))
def test_what_tells_about_persons_says_by_what_right(operation: Operation[Any, Any]) -> None:
    assert bool(operation.discloses) == bool(operation.legal_bases)
    if operation.discloses:
        assert set(operation.legal_bases) == set(operation.allowed)
        post = describe(Service(operation, never))["paths"][f"/v{operation.version}"]["post"]
        assert post["x-digiid-discloses"] == list(operation.discloses)
        assert set(post["x-digiid-legal-bases"]) == {str(client) for client in operation.allowed}


def test_who_may_need_a_consent_reads_so() -> None:
    def headers(operation: Operation[Any, Any]) -> set[str]:
        post = describe(Service(operation, never))["paths"]["/v1"]["post"]
        return {parameter["name"] for parameter in post["parameters"]}

    assert {"X-Digiid-Consent", "X-Digiid-Purpose"} <= headers(population_register.GET_ADDRESS)
    assert "X-Digiid-Consent" not in headers(population_register.IS_OVER_AGE)
    assert "X-Digiid-Purpose" not in headers(business_register.FIND_COMPANIES)


def test_by_what_right_others_are_answered_is_described_where_they_may_be() -> None:
    def described(operation: Operation[Any, Any]) -> Any:
        post = describe(Service(operation, never))["paths"]["/v1"]["post"]
        return post.get("x-digiid-legal-basis-for-others")

    assert described(population_register.GET_ADDRESS) == CONSENT
    assert described(population_register.GET_PERSON) is None


def test_a_service_with_paths_of_its_own_that_nobody_described_is_noticed() -> None:
    service = RestService(ServiceId(BANK, "new"), (("GET", "/v1/x"),), frozenset(), never)
    with pytest.raises(KeyError):
        describe(service)


class Question(Message):
    """Anything? And more."""

    number: int


class Reply(Message):
    number: int


OPERATION = Operation(ServiceId(POPULATION_REGISTER, "double"), Question, Reply, frozenset({POLICE_BOARD}))


@pytest.fixture
def gate() -> Iterator[Gate]:
    pools = Pools(pages=1, services=1)
    services: list[AnyService] = [Service(OPERATION, never)]
    yield Gate(services, pools=pools, descriptions=Descriptions(services))
    pools.close()


def fetch(gate: Gate, path: str, method: str = "GET") -> tuple[int, bytes]:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": method, "raw_path": path.encode(), "headers": [], "query_string": b""}
    run_async(gate(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_the_gate_serves_descriptions_to_a_security_server(gate: Gate) -> None:
    path = description_path(OPERATION.service)
    assert path == "/openapi/EE/GOV/70000103/population/double"
    status, body = fetch(gate, path)
    document = json.loads(body)
    assert status == 200
    assert document["servers"] == [
        {"url": OPERATION.service.path, "description": document["servers"][0]["description"]}
    ]
    assert document["paths"]["/v1"]["post"]["summary"] == "Anything? And more"


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/openapi/EE/GOV/70000103/population/double", "POST"),
        ("/openapi/EE/GOV/70000103/population/other", "GET"),
        ("/openapi/EE/GOV/70000103/population/double/", "GET"),
        ("/openapi/EE/GOV/70000103/population/%64ouble", "GET"),
        ("/openapi/../r1/EE/GOV/70000103/population/double", "GET"),
        (OPERATION.path, "GET"),
    ],
)
def test_nothing_else_is_open_without_a_key(gate: Gate, path: str, method: str) -> None:
    assert fetch(gate, path, method)[0] == 400


def test_the_forms_of_an_error_are_those_that_the_gate_sends() -> None:
    document = describe(Service(OPERATION, never))
    schemas = document["components"]["schemas"]
    problem = {"type": "urn:digiid:error:a.b", "code": "a.b", "status": 404, "detail": None}
    refusal = {"type": "server.serverproxy.access_denied", "message": "m", "detail": "-", "code": "x"}
    assert jsonschema_rs.is_valid(schemas["Problem"], problem)
    assert jsonschema_rs.is_valid(schemas["ExchangeError"], refusal)
    assert str(404) in document["paths"]["/v1"]["post"]["responses"]
