"""Asking for a consent, and for the receipt that opens another institution's service.

How an e-service provider uses it:

    consents = ConsentClient(exchange)                       # exchange: this subsystem's Client
    found = consents.find_receipt(code, PURPOSE)             # did the person consent already?
    if found is None:
        group = consents.request(code, [PURPOSE], callback="https://bank.example/consent-given")
        # lead the person to group.url (it works once); they come back to the callback; then find_receipt again
    address = exchange.call(GET_ADDRESS, …, consent=found.receipt, purpose=PURPOSE)

A receipt may be kept and used until it expires. When the data provider answers Refused
`exchange.consent.revoked`, forget it: the person has withdrawn, and can be asked anew.
Call it from pages, workers and timers, never while answering a service of one's own, and outside any transaction.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from digiid.contracts import consents as contract
from digiid.contracts.consents import (
    ConsentForClient,
    ConsentForDataProvider,
    ConsentGroup,
    ConsentRequest,
    ConsentsByStatus,
    PurposeTitles,
    Receipt,
    ReferencesRequest,
    Reported,
    RepresentedConsentRequest,
    Revocations,
    StatusRequest,
    Title,
    TransmissionReport,
    Wire,
)
from digiid.exchange.client import Client
from digiid.exchange.gate import RestAnswer
from digiid.exchange.problems import KIND_BY_STATUS
from digiid.kernel.errors import Broken, Malformed, NotFound, Unavailable

T = TypeVar("T", bound=Wire)
_OUR_CODE: Final = {code: ours for ours, (_, code) in contract.ERROR_KEYS.items()}
_REFERENCES: Final = TypeAdapter(dict[contract.DeclarationId, contract.Reference])


@dataclass(frozen=True, slots=True)
class HeldReceipt:
    """A consent that was given: its reference, and the receipt that is shown to the data provider."""

    consent_reference: str
    receipt: str


class ConsentClient:
    """One subsystem's way to the consent service. Thread-safe."""

    def __init__(self, exchange: Client) -> None:
        self._exchange = exchange

    # ------------------------------------------------------------------ an e-service provider

    def request(self, personal_code: str, purposes: Sequence[str], *, callback: str) -> ConsentGroup:
        """Ask for consents by the identifiers of our purpose declarations.

        The answer's `url` is for this person only and works once; ask again for another. `callback` (where the
        person may go on afterwards) has to begin with one of the addresses in the purpose declaration.

        Raises: Conflict `consent.all_approved` (use `find_receipt`), `consent.invalid_declarations`; NotFound
            `consent.no_declaration`; Refused `consent.data_subject` (a minor), `consent.callback`; Malformed
            `consent.id_code_invalid`, `consent.validation`; Unavailable.
        """
        request = ConsentRequest(
            id_code=personal_code, callback=callback, purpose_declaration_business_identifiers=tuple(purposes)
        )
        return self._post(contract.REQUEST_CONSENT, request, ConsentGroup, person=personal_code)

    def request_represented(
        self, representative_code: str, represented_code: str, relation: str, purposes: Sequence[str], *, callback: str
    ) -> ConsentGroup:
        """Ask somebody who acts for another: a parent (`LAPS`) for a minor, a board member (`ETTEVOTE`) for a company.

        Whether they may is asked of the registers when they open the page.

        Raises: as `request`, and Refused `consent.not_minor`, Malformed `consent.relation_type`.
        """
        request = RepresentedConsentRequest(
            representative_id_code=representative_code,
            representee_id_code=represented_code,
            relation_type=relation,
            callback=callback,
            purpose_declaration_business_identifiers=tuple(purposes),
        )
        return self._post(contract.REQUEST_CONSENT_REPRESENTABLE, request, ConsentGroup, person=representative_code)

    def find_references(self, subject_code: str, purposes: Sequence[str]) -> Mapping[str, str]:
        """The references of consents that hold now, by purpose declaration; empty when there is none."""
        request = ReferencesRequest(id_code=subject_code, purpose_declaration_business_identifiers=tuple(purposes))
        method, path = contract.GET_REFERENCES
        answer = self._exchange.rest(contract.CONSENT, method, path, body=_encode(request))
        try:
            _check(answer)
        except NotFound:
            return {}
        try:
            return _REFERENCES.validate_json(answer.body)
        except ValidationError as error:
            raise Broken("exchange.reply", "the consent service broke its contract") from error

    def fetch_receipt(self, consent_reference: str) -> str:
        """The receipt of a consent that holds.

        Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`.
        """
        return self._get(contract.GET_RECEIPT, {"consentReference": consent_reference}, Receipt).receipt

    def find_receipt(self, subject_code: str, purpose: str) -> HeldReceipt | None:
        """The person's consent for one purpose declaration of ours, None if there is none that holds."""
        reference = self.find_references(subject_code, [purpose]).get(purpose)
        if reference is None:
            return None
        return HeldReceipt(reference, self.fetch_receipt(reference))

    def validate(self, consent_reference: str) -> ConsentForClient:
        """Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`, it does not hold any more."""
        return self._get(contract.VALIDATE_FOR_CLIENT, {"consentReference": consent_reference}, ConsentForClient)

    def filter_by_status(self, statuses: Sequence[str], references: Sequence[str]) -> ConsentsByStatus:
        """Of at most 5000 references those that are VALID, or INVALID, as `statuses` say."""
        request = StatusRequest.model_validate(
            {"consentStatus": tuple(statuses), "consentReferences": tuple(references)}
        )
        return self._post(contract.FILTER_BY_STATUS, request, ConsentsByStatus)

    # ------------------------------------------------------------------ a data provider

    def validate_as_data_provider(self, consent_reference: str) -> ConsentForDataProvider:
        """Ask instead of verifying a receipt.

        Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`.
        """
        query = {"consentReference": consent_reference}
        return self._get(contract.VALIDATE_FOR_DATA_PROVIDER, query, ConsentForDataProvider)

    def report_transmission(self, consent_reference: str, at: datetime) -> None:
        """Tell that data went out under a consent; from the outbox, since every transfer is told. Repeats are one."""
        report = TransmissionReport(transmission_timestamp=at, consent_reference=consent_reference)
        self._post(contract.REPORT_TRANSMISSION, report, Reported)

    def fetch_revocations(self, after: int) -> str:
        """The signed statement of our consents that were revoked after number `after` (exchange.consent reads it)."""
        return self._get(contract.GET_REVOCATIONS, {"after": str(after)}, Revocations).statement

    # ------------------------------------------------------------------ anybody who shows what was asked for

    def find_titles(self, purposes: Sequence[str]) -> Mapping[str, Title]:
        """What these purpose declarations are called, at most 50; one that is not declared is left out."""
        query = {"purposeDeclarationBusinessIdentifiers": tuple(purposes)}
        return self._get(contract.GET_TITLES, query, PurposeTitles).titles

    # ------------------------------------------------------------------

    def _post(self, endpoint: tuple[str, str], request: Wire, reply: type[T], *, person: str | None = None) -> T:
        method, path = endpoint
        user_id = f"EE{person}" if person else None
        return _read(self._exchange.rest(contract.CONSENT, method, path, body=_encode(request), user_id=user_id), reply)

    def _get(self, endpoint: tuple[str, str], query: Mapping[str, str | Sequence[str]], reply: type[T]) -> T:
        method, path = endpoint
        return _read(self._exchange.rest(contract.CONSENT, method, path, query=query), reply)


def _encode(request: Wire) -> bytes:
    return request.model_dump_json(by_alias=True).encode()


def _read(answer: RestAnswer, reply: type[T]) -> T:
    _check(answer)
    try:
        return reply.model_validate_json(answer.body)
    except ValidationError as error:
        raise Broken(
            "exchange.reply", f"the consent service broke its contract: {error.error_count()} errors"
        ) from error


def _check(answer: RestAnswer) -> None:
    """Raises: the service's error, of its kind and with our code."""
    if answer.status == 200:
        return
    kind = KIND_BY_STATUS.get(answer.status, Unavailable)
    try:
        problem = json.loads(answer.body)
        code, public = str(problem["code"]), problem.get("message")
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("exchange.answer", f"the consent service answered {answer.status}") from error
    ours = _OUR_CODE.get(code)
    if ours is None:
        unknown = Malformed if kind is Malformed else Unavailable
        raise unknown("exchange.answer", f"the consent service answered {answer.status}")
    raise kind(ours, f"the consent service: {code}", public=public if isinstance(public, str) else None)
