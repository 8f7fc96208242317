"""The OpenAPI description of the service, from the contract's own models."""

from collections.abc import Mapping
from typing import Any, Final

from digiid.contracts import consents as contract
from digiid.exchange.problems import STATUS_BY_KIND
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused

_STATUS: Final = {
    "consent.validation": Malformed,
    "consent.not_found": NotFound,
    "consent.no_declaration": NotFound,
    "consent.id_code_invalid": Malformed,
    "consent.invalid_declarations": Conflict,
    "consent.all_approved": Conflict,
    "consent.data_subject": Refused,
    "consent.invalid_status": Conflict,
    "consent.not_minor": Refused,
    "consent.no_representation": Refused,
    "consent.relation_type": Malformed,
    "consent.callback": Refused,
    "consent.too_many": Refused,
}
_ASKING: Final = (
    "consent.validation",
    "consent.id_code_invalid",
    "consent.data_subject",
    "consent.callback",
    "consent.too_many",
    "consent.no_declaration",
    "consent.invalid_declarations",
    "consent.all_approved",
)
_ONE: Final = ("consent.validation", "consent.not_found", "consent.invalid_status")
_REFERENCE: Final = {
    "name": "consentReference",
    "in": "query",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
}
_AFTER: Final = {
    "name": "after",
    "in": "query",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999_999},
}
# Of each: where, its name with the state, what goes in, what comes out, what may be wrong.
_OPERATIONS: Final[tuple[tuple[tuple[str, str], str, Any, Any, Any, tuple[str, ...]], ...]] = (
    (
        contract.REQUEST_CONSENT,
        "getConsentGroupReference",
        contract.ConsentRequest,
        None,
        contract.ConsentGroup,
        _ASKING,
    ),
    (
        contract.REQUEST_CONSENT_REPRESENTABLE,
        "getConsentGroupReferenceRepresentable",
        contract.RepresentedConsentRequest,
        None,
        contract.ConsentGroup,
        (*_ASKING, "consent.not_minor", "consent.relation_type"),
    ),
    (
        contract.GET_REFERENCES,
        "getConsentReferences",
        contract.ReferencesRequest,
        None,
        None,
        ("consent.validation", "consent.not_found"),
    ),
    (contract.VALIDATE_FOR_CLIENT, "validateConsentForClient", None, _REFERENCE, contract.ConsentForClient, _ONE),
    (
        contract.VALIDATE_FOR_DATA_PROVIDER,
        "validateConsentForDataProvider",
        None,
        _REFERENCE,
        contract.ConsentForDataProvider,
        _ONE,
    ),
    (
        contract.FILTER_BY_STATUS,
        "postConsentFilterByStatus",
        contract.StatusRequest,
        None,
        contract.ConsentsByStatus,
        ("consent.validation",),
    ),
    (
        contract.REPORT_TRANSMISSION,
        "reportDataTransmission",
        contract.TransmissionReport,
        None,
        contract.Reported,
        ("consent.validation", "consent.not_found"),
    ),
    (contract.GET_RECEIPT, "getConsentReceipt", None, _REFERENCE, contract.Receipt, _ONE),
    (contract.GET_REVOCATIONS, "getRevocations", None, _AFTER, contract.Revocations, ("consent.validation",)),
    (contract.GET_HEALTH, "getConsentHealth", None, None, contract.Health, ()),
)


def describe() -> Mapping[str, Any]:
    """The description, OpenAPI 3.1."""
    schemas: dict[str, Any] = {"Problem": _problem_schema()}
    paths: dict[str, Any] = {}
    for (method, path), name, request, parameter, reply, errors in _OPERATIONS:
        operation: dict[str, Any] = {"operationId": name, "responses": _responses(schemas, reply, errors)}
        if request is not None:
            operation["requestBody"] = {"required": True, "content": _content(_schema(schemas, request))}
        if parameter is not None:
            operation["parameters"] = [parameter]
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TEST consent service",
            "version": "1.0.0",
            "description": "Built to the state's consent service, version 2; differences in docs/protocols/consent.md.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _responses(schemas: dict[str, Any], reply: Any, errors: tuple[str, ...]) -> dict[str, Any]:
    answer = (
        _schema(schemas, reply)
        if reply is not None
        else {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "purpose declaration: reference",
        }
    )
    responses: dict[str, Any] = {"200": {"description": "done", "content": _content(answer)}}
    for code in errors:
        status = str(STATUS_BY_KIND[_STATUS[code]])
        said = contract.ERROR_KEYS[code][1]
        if status in responses:
            responses[status]["description"] += f", {said}"
        else:
            problem = {"$ref": "#/components/schemas/Problem"}
            responses[status] = {"description": said, "content": _content(problem)}
    return responses


def _schema(schemas: dict[str, Any], model: type[contract.Wire]) -> Mapping[str, str]:
    made = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    schemas.update(made.pop("$defs", {}))
    schemas[model.__name__] = made
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _problem_schema() -> Mapping[str, Any]:
    keys, codes = zip(*contract.ERROR_KEYS.values(), strict=True)
    return {
        "type": "object",
        "required": ["key", "code", "status", "message"],
        "properties": {
            "key": {"type": "string", "enum": list(keys)},
            "code": {"type": "string", "enum": list(codes)},
            "status": {"type": "integer", "minimum": 400, "maximum": 499},
            "message": {"type": "string"},
        },
    }


def _content(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"application/json": {"schema": schema}}
