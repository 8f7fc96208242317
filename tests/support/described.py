"""A service's answers against the service's own OpenAPI description, by a validator that is not ours."""

from typing import Any

import jsonschema_rs

from digiid.contracts.operation import Message
from digiid.exchange.gate import Caller, Service
from digiid.exchange.openapi import describe


def ask_described(services: list[Service], code: str, caller: Caller, request: Message) -> Any:
    """What the service answers; question and answer fit its description, and the caller may ask."""
    [service] = [each for each in services if each.operation.service.service_code == code]
    assert caller.client in service.operation.allowed
    document = describe(service)
    [path] = document["paths"].values()
    asked = path["post"]["requestBody"]["content"]["application/json"]["schema"]
    told = path["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    _check(document, asked, request)
    answer = service.answer(caller, request)
    _check(document, told, answer)
    return answer


def _check(document: dict[str, Any], schema: dict[str, Any], message: Message) -> None:
    jsonschema_rs.validate({**schema, "components": document["components"]}, message.model_dump(mode="json"))
