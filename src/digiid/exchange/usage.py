"""The data tracker's services, the same at every institution: who looked (`findUsage`), what we asked (`askedAbout`).

`findUsage` is built to the published protocol Andmejälgija (specification 1.6 of 19.01.2026, OpenAPI 2.1.0): three
endpoints, times as RFC 3339, 400 for a request that is not to it and 500 for a failure, newest first, a total that does
not depend on the page. An institution has one tracker of its own and answers for itself only.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Table

from digiid.contracts import data_tracker as contract
from digiid.contracts.data_tracker import TrackerModel
from digiid.contracts.members import CONSENT_SERVICE, INFORMATION_AUTHORITY, NAMES
from digiid.exchange.gate import Caller, RestAnswer, RestCall, RestService
from digiid.kernel.errors import DigiidError, Malformed, Refused
from digiid.kernel.identifiers import ClientId, parse_client_id
from digiid.platform import disclosures, sent_requests
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.disclosures import Disclosure
from digiid.platform.timers import Timer

_PERSON = re.compile(r"EE[1-8][0-9]{10}")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_NUMBER = re.compile(r"[0-9]{1,10}")
_MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_OFFSET = 2**31 - 1  # int32
log = structlog.get_logger("tracker")


@dataclass(frozen=True, slots=True)
class Tracker:
    """One institution's records, and whose they are."""

    institution: ClientId
    db: Database
    clock: Clock
    disclosures: Table
    sent_requests: Table


def tracker_services(tracker: Tracker) -> list[RestService]:
    """Both services of an institution. Only the portal may call them."""
    return [
        RestService(
            contract.find_usage_service(tracker.institution),
            contract.FIND_USAGE_ENDPOINTS,
            contract.ALLOWED,
            _answering(
                {
                    "/v2/findUsage": lambda caller, call: _find_usage(tracker, caller, call),
                    "/v2/usagePeriod": lambda caller, call: _usage_period(tracker),
                    "/v2/heartbeat": lambda caller, call: _heartbeat(tracker),
                    "/v2/isRecorded": lambda caller, call: _is_recorded(tracker, caller, call),
                }
            ),
        ),
        RestService(
            contract.asked_about_service(tracker.institution),
            contract.ASKED_ABOUT_ENDPOINTS,
            contract.ALLOWED,
            _answering(
                {
                    "/v1/askedAbout": lambda caller, call: _asked_about(tracker, caller, call),
                    "/v1/isRecorded": lambda caller, call: _is_sent(tracker, caller, call),
                }
            ),
        ),
    ]


def tracker_timers(tracker: Tracker) -> tuple[Timer, ...]:
    """Once a day, and at the start: are all records what was journaled? What does not fit is an error in the log."""

    def verify() -> None:
        table = tracker.disclosures
        with tracker.db.read() as tx:
            count = disclosures.verify_disclosures(tx, table, table.metadata.tables["journal"])
        log.info("tracker.verified", institution=str(tracker.institution), records=count)

    return (Timer(f"tracker.verify.{tracker.institution.subsystem}", timedelta(days=1), verify),)


# ------------------------------------------------------------------ endpoints


def _find_usage(tracker: Tracker, caller: Caller, call: RestCall) -> contract.UsageList:
    person, page = _person(caller, call), _page_of(call)
    now = tracker.clock.now()
    with tracker.db.read() as tx:
        total = disclosures.count_usages(tx, tracker.disclosures, person, now=now, since=page.since, until=page.until)
        found = disclosures.find_usages(
            tx,
            tracker.disclosures,
            person,
            now=now,
            since=page.since,
            until=page.until,
            offset=page.offset,
            limit=page.limit,
        )
    return contract.UsageList(total_usages=total, usages=tuple(map(_usage, found)))


def _usage_period(tracker: Tracker) -> contract.UsagePeriod:
    with tracker.db.read() as tx:
        first = disclosures.first_recorded_at(tx, tracker.disclosures)
    return contract.UsagePeriod(period_start=first or tracker.clock.now())


def _heartbeat(tracker: Tracker) -> contract.Heartbeat:
    try:
        with tracker.db.read() as tx:
            disclosures.first_recorded_at(tx, tracker.disclosures)
    except DigiidError as error:
        return contract.Heartbeat(status="FAIL", message=error.code)
    return contract.Heartbeat(status="OK")


def _is_recorded(tracker: Tracker, caller: Caller, call: RestCall) -> contract.Recorded:
    person, messages = _person(caller, call), _messages(call)
    with tracker.db.read() as tx:
        found = disclosures.recorded_messages(tx, tracker.disclosures, person, messages)
    return contract.Recorded(recorded=tuple(sorted(found)))


def _asked_about(tracker: Tracker, caller: Caller, call: RestCall) -> contract.AskedList:
    person, page = _person(caller, call), _page_of(call)
    now = tracker.clock.now()
    table = tracker.sent_requests
    with tracker.db.read() as tx:
        total = sent_requests.count_sent(tx, table, person, now=now, since=page.since, until=page.until)
        found = sent_requests.find_sent(
            tx, table, person, now=now, since=page.since, until=page.until, offset=page.offset, limit=page.limit
        )
    asked = tuple(
        contract.Asked.model_validate(
            {"time": each.at, "xRoadMessageId": each.message_id, "service": each.service, "outcome": each.outcome}
        )
        for each in found
    )
    return contract.AskedList(total_requests=total, requests=asked)


def _is_sent(tracker: Tracker, caller: Caller, call: RestCall) -> contract.Recorded:
    person, messages = _person(caller, call), _messages(call)
    with tracker.db.read() as tx:
        found = sent_requests.sent_messages(tx, tracker.sent_requests, person, messages)
    return contract.Recorded(recorded=tuple(sorted(found)))


_PORTALS = frozenset({INFORMATION_AUTHORITY, CONSENT_SERVICE})


def _usage(record: Disclosure) -> contract.Usage:
    receiver = _receiver(record.receiver)
    # Who asked is the receiver's own statement: only the state's portals are believed that it was the person, or a
    # provider could keep its looks out of the person's sight by saying so.
    by_the_person = receiver in _PORTALS and record.receiver_user == f"EE{record.personal_code}"
    return contract.Usage(
        logtime=record.at,
        action=record.purpose,
        receiver_code=receiver.member_code if receiver else record.receiver,
        receiver_name=NAMES.get(receiver) if receiver else None,
        receiver_system=record.receiver,
        x_road_message_id=record.message_id,
        consent_reference=record.consent_reference,
        legal_basis=record.legal_basis,
        data_categories=record.categories,
        official_pseudonym=None if by_the_person else record.official,
        by_the_person=True if by_the_person else None,
        hidden_until=record.hidden_until,
        hidden_reason=record.delay_reason,
    )


def _receiver(text: str) -> ClientId | None:
    try:
        return parse_client_id(text)
    except Malformed:
        return None


# ------------------------------------------------------------------ what is asked


@dataclass(frozen=True, slots=True)
class _Page:
    since: datetime | None
    until: datetime | None
    offset: int
    limit: int


def _person(caller: Caller, call: RestCall) -> str:
    # 1 who asks: mandatory, and may be somebody else than the person when acting by representation
    if caller.user_id is None or not _PERSON.fullmatch(caller.user_id):
        raise _not_to_it("the header X-Road-UserId is mandatory: EE and eleven digits")
    # 2 about whom
    code = _one(call, "userCode")
    if code is None or not _PERSON.fullmatch(code):
        raise _not_to_it("userCode is mandatory: EE and eleven digits")
    return code.removeprefix("EE")


def _page_of(call: RestCall) -> _Page:
    since, until = _instant(call, "periodStart"), _instant(call, "periodEnd")
    if since and until and since > until:
        raise _not_to_it("periodStart is after periodEnd")
    offset = _number(call, "offset", default=0, lowest=0, highest=_MAX_OFFSET)
    limit = _number(call, "limit", default=contract.DEFAULT_LIMIT, lowest=1, highest=contract.MAX_LIMIT)
    return _Page(since, until, offset, limit)


def _instant(call: RestCall, name: str) -> datetime | None:
    text = _one(call, name)
    if text is None:
        return None
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise _not_to_it(f"{name} is no RFC 3339 time; a plus sign in it travels as %2B")
    clock_time, fraction, zone = match.groups()
    try:
        at = datetime.fromisoformat(clock_time + (zone or "Z").replace("Z", "+00:00"))
        # a time without zone stands in the published examples: it is read as UTC
        return at.astimezone(UTC) + timedelta(microseconds=int(((fraction or ".0")[1:] + "000000")[:6]))
    except (ValueError, OverflowError) as error:
        raise _not_to_it(f"{name} is no time") from error


def _number(call: RestCall, name: str, *, default: int, lowest: int, highest: int) -> int:
    text = _one(call, name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
        raise _not_to_it(f"{name} is a whole number from {lowest} to {highest}")
    return int(text)


def _messages(call: RestCall) -> tuple[str, ...]:
    messages = call.query.get("xRoadMessageId", ())
    if not 1 <= len(messages) <= contract.MAX_MESSAGE_IDS or not all(map(_MESSAGE_ID.fullmatch, messages)):
        raise _not_to_it(f"xRoadMessageId stands once to {contract.MAX_MESSAGE_IDS} times")
    return tuple(messages)


def _one(call: RestCall, name: str) -> str | None:
    values = call.query.get(name, ())
    if len(values) > 1:
        raise _not_to_it(f"{name} stands {len(values)} times")
    return values[0] if values else None


def _not_to_it(why: str) -> Malformed:
    return Malformed("tracker.request", why, public=why)


# ------------------------------------------------------------------ how it is answered

_Endpoint = Callable[[Caller, RestCall], TrackerModel]


def _answering(endpoints: Mapping[str, _Endpoint]) -> Callable[[Caller, RestCall], RestAnswer]:
    """400 and 500 in the protocol's own form: it knows no other statuses."""

    def answer(caller: Caller, call: RestCall) -> RestAnswer:
        status, body = 200, b""
        try:
            body = endpoints[call.path](caller, call).to_json()
        except (Malformed, Refused) as error:
            status, body = 400, contract.TrackerError(message=error.public or error.code).to_json()
        except DigiidError as error:
            log.warning("tracker.failed", path=call.path, code=error.code, message_id=caller.message_id)
            status, body = 500, contract.TrackerError(message=error.code).to_json()
        return RestAnswer(status, "application/json", body)

    return answer
