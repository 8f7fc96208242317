"""The service `consent` on the exchange: the seven operations of the state's consent service, and four of ours.

Each error carries the state's key and code; a business error is a client error here (4xx), never a 500.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from digiid.contracts import consents as contract
from digiid.exchange.gate import Caller, RestAnswer, RestCall, RestService
from digiid.exchange.openapi import describe
from digiid.exchange.problems import STATUS_BY_KIND
from digiid.institutions.information_authority.consents.use_cases import asking, receipts
from digiid.institutions.information_authority.consents.use_cases.deps import Deps
from digiid.kernel.errors import Broken, DigiidError, Malformed

MAX_BODY_BYTES: Final = 512 * 1024
_JSON: Final = "application/json"
_PURPOSES: Final = TypeAdapter(contract.PurposeIds)
T = TypeVar("T", bound=contract.Wire)
Handler = Callable[[Caller, RestCall], Any]
log = structlog.get_logger("consent")


def services(deps: Deps) -> list[RestService]:
    """The one service with all its paths."""

    def request(caller: Caller, call: RestCall) -> contract.ConsentGroup:
        return asking.request_consent(deps, caller.client, _read(call, contract.ConsentRequest))

    def request_represented(caller: Caller, call: RestCall) -> contract.ConsentGroup:
        return asking.request_represented(deps, caller.client, _read(call, contract.RepresentedConsentRequest))

    def references(caller: Caller, call: RestCall) -> Mapping[str, str]:
        return asking.get_references(deps, caller.client, _read(call, contract.ReferencesRequest))

    def validate_for_client(caller: Caller, call: RestCall) -> contract.ConsentForClient:
        consent = asking.validate_for_client(deps, caller.client, _reference(call))
        return contract.ConsentForClient(
            consent_reference=consent.consent_reference,
            consent_expiration=consent.expires_at,
            id_code=consent.subject_code,
            purpose_declaration_id=consent.purpose_declaration,
        )

    def validate_for_provider(caller: Caller, call: RestCall) -> contract.ConsentForDataProvider:
        consent = asking.validate_for_data_provider(deps, caller.client, _reference(call))
        return contract.ConsentForDataProvider(
            consent_reference=consent.consent_reference,
            consent_expiration=consent.expires_at,
            id_code=consent.subject_code,
            client_subsystem_identifier=consent.client,
            service_declaration_id=consent.service_declaration,
        )

    def filter_by_status(caller: Caller, call: RestCall) -> contract.ConsentsByStatus:
        listed, unknown = asking.filter_by_status(deps, caller.client, _read(call, contract.StatusRequest))
        return contract.ConsentsByStatus(
            consent=tuple(
                contract.ConsentWithStatus.model_validate(
                    {
                        "consentReference": consent.consent_reference,
                        "consentStatus": status,
                        "consentExpiration": consent.expires_at,
                        "idCode": consent.subject_code,
                        "purposeDeclarationId": consent.purpose_declaration,
                    }
                )
                for consent, status in listed
            ),
            invalid_consents=tuple(unknown),
        )

    def report(caller: Caller, call: RestCall) -> contract.Reported:
        asking.report_transmission(deps, caller.client, _read(call, contract.TransmissionReport))
        return contract.Reported()

    def receipt(caller: Caller, call: RestCall) -> contract.Receipt:
        reference = _reference(call)
        return contract.Receipt(
            consent_reference=reference, receipt=receipts.get_receipt(deps, caller.client, reference)
        )

    def revocations(caller: Caller, call: RestCall) -> contract.Revocations:
        after = _parameter(call, "after")
        if not after.isascii() or not after.isdigit() or len(after) > 12:
            raise _invalid("after")
        return contract.Revocations(statement=receipts.get_revocations(deps, caller.client, int(after)))

    def titles(_: Caller, call: RestCall) -> contract.PurposeTitles:
        return asking.get_titles(deps, _purposes(call))

    def health(_: Caller, call: RestCall) -> contract.Health:
        deps.db.check()
        return contract.Health()

    def description(_: Caller, call: RestCall) -> Mapping[str, Any]:
        return describe(service)

    handlers: dict[tuple[str, str], Handler] = {
        contract.REQUEST_CONSENT: request,
        contract.REQUEST_CONSENT_REPRESENTABLE: request_represented,
        contract.GET_REFERENCES: references,
        contract.VALIDATE_FOR_CLIENT: validate_for_client,
        contract.VALIDATE_FOR_DATA_PROVIDER: validate_for_provider,
        contract.FILTER_BY_STATUS: filter_by_status,
        contract.REPORT_TRANSMISSION: report,
        contract.GET_RECEIPT: receipt,
        contract.GET_REVOCATIONS: revocations,
        contract.GET_TITLES: titles,
        contract.GET_HEALTH: health,
        contract.GET_DESCRIPTION: description,
    }

    def answer(caller: Caller, call: RestCall) -> RestAnswer:
        try:
            reply = handlers[call.method, call.path](caller, call)
        except DigiidError as error:
            return _problem(error, caller)
        return RestAnswer(200, _JSON, _encode(reply))

    service = RestService(contract.CONSENT, tuple(handlers), contract.CALLERS, answer, contract.FOR_OTHERS)
    return [service]


def _read(call: RestCall, model: type[T]) -> T:
    if len(call.body) > MAX_BODY_BYTES:
        raise _invalid("body")
    try:
        return model.model_validate_json(call.body)
    except ValidationError as error:
        fields = sorted({".".join(map(str, each["loc"])) or "body" for each in error.errors()})
        raise _invalid(", ".join(fields)[:500]) from error


def _reference(call: RestCall) -> str:
    reference = _parameter(call, "consentReference")
    if len(reference) > 64:
        raise _invalid("consentReference")
    return reference


def _parameter(call: RestCall, name: str) -> str:
    values = call.query.get(name, ())
    if len(values) != 1 or not values[0] or call.query.keys() != {name}:
        raise _invalid(name)
    return values[0]


def _purposes(call: RestCall) -> tuple[str, ...]:
    name = "purposeDeclarationBusinessIdentifiers"
    if call.query.keys() != {name}:
        raise _invalid(name)
    try:
        return _PURPOSES.validate_python(call.query[name])
    except ValidationError as error:
        raise _invalid(name) from error


def _invalid(fields: str) -> Malformed:
    return Malformed("consent.validation", fields, public=f"Missing, unknown or not of its form: {fields}")


def _encode(reply: Any) -> bytes:
    if isinstance(reply, contract.Wire):
        return reply.model_dump_json(by_alias=True).encode()
    return json.dumps(reply, ensure_ascii=False).encode()


def _problem(error: DigiidError, caller: Caller) -> RestAnswer:
    """The state's key and code; a fault of ours has neither, and goes to the gate."""
    known = contract.ERROR_KEYS.get(error.code)
    if known is None or isinstance(error, Broken):
        raise error
    (key, code), status = known, STATUS_BY_KIND[type(error)]
    log.info("consent.answered", client=str(caller.client), message_id=caller.message_id, code=error.code)
    problem = {"key": key, "code": code, "status": status, "message": error.public or ""}
    return RestAnswer(status, _JSON, json.dumps(problem, ensure_ascii=False).encode())
