"""What the tracker asks one institution. An answer that is not to the protocol is no answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from digiid.contracts import data_tracker as contract
from digiid.contracts.consents import Title
from digiid.contracts.data_tracker import Asked, TrackerModel, Usage
from digiid.exchange.client import Client
from digiid.exchange.consent_client import ConsentClient
from digiid.kernel.errors import Unavailable
from digiid.kernel.identifiers import ClientId, ServiceId

MAX_FETCHED = 5000  # of one institution for one page view; beyond that the person narrows the period
T = TypeVar("T", bound=TrackerModel)
Query = dict[str, str | Sequence[str]]


def find_usage(
    exchange: Client,
    institution: ClientId,
    person: str,
    *,
    asker: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[tuple[Usage, ...], bool]:
    """Everything of the period, page by page, and whether it was cut at MAX_FETCHED. Raises: Unavailable."""
    service, found = contract.find_usage_service(institution), list[Usage]()
    while len(found) < MAX_FETCHED:
        query = _period(person, since, until) | {"offset": str(len(found)), "limit": str(contract.DEFAULT_LIMIT)}
        page = _ask(exchange, service, "/v2/findUsage", contract.UsageList, query=query, asker=asker)
        found += page.usages
        if len(page.usages) < contract.DEFAULT_LIMIT:
            return tuple(found), False
    return tuple(found), True


def asked_about(
    exchange: Client,
    institution: ClientId,
    person: str,
    *,
    asker: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[tuple[Asked, ...], bool]:
    """The same of what the institution asked others. Raises: Unavailable."""
    service, found = contract.asked_about_service(institution), list[Asked]()
    while len(found) < MAX_FETCHED:
        query = _period(person, since, until) | {"offset": str(len(found)), "limit": str(contract.DEFAULT_LIMIT)}
        page = _ask(exchange, service, "/v1/askedAbout", contract.AskedList, query=query, asker=asker)
        found += page.requests
        if len(page.requests) < contract.DEFAULT_LIMIT:
            return tuple(found), False
    return tuple(found), True


def are_recorded(
    exchange: Client, institution: ClientId, person: str, message_ids: Sequence[str], *, told: bool, asker: str
) -> set[str]:
    """Which messages the institution has on record, as one that told (`told`) or as one that asked.

    Raises: Unavailable.
    """
    service = contract.find_usage_service(institution) if told else contract.asked_about_service(institution)
    path, found = "/v2/isRecorded" if told else "/v1/isRecorded", set[str]()
    for start in range(0, len(message_ids), contract.MAX_MESSAGE_IDS):
        some = list(message_ids[start : start + contract.MAX_MESSAGE_IDS])
        query: Query = {"userCode": f"EE{person}", "xRoadMessageId": some}
        found |= set(_ask(exchange, service, path, contract.Recorded, query=query, asker=asker).recorded)
    return found


def find_titles(exchange: Client, purposes: Sequence[str]) -> Mapping[str, Title]:
    """What the consent service calls these purpose declarations. Raises: DigiidError, it does not say."""
    return ConsentClient(exchange).find_titles(purposes)


def _ask(exchange: Client, service: ServiceId, path: str, model: type[T], *, query: Query, asker: str) -> T:
    answer = exchange.rest(service, "GET", path, query=query, user_id=f"EE{asker}")
    if answer.status != 200:
        raise Unavailable("tracker.answer", f"{service}{path} answered {answer.status}")
    try:
        return model.model_validate_json(answer.body)
    except ValidationError as error:
        raise Unavailable("tracker.answer", f"{service}{path}: {error.error_count()} errors") from error


def _period(person: str, since: datetime | None, until: datetime | None) -> Query:
    query: Query = {"userCode": f"EE{person}"}
    if since:
        query["periodStart"] = since.isoformat()
    if until:
        query["periodEnd"] = until.isoformat()
    return query
