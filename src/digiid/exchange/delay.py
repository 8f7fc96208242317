"""A delay of disclosure that is ordered over the exchange: two signed headers, and who may send them.

    X-Digiid-Hidden-Until: 2027-03-01
    X-Digiid-Hidden-Reason: criminal proceedings 26230100001

The first is an RFC 3339 full-date, and the look is shown from the end of that day in Estonia; the second is UTF-8,
percent-encoded, 10 to 200 characters. X-Road's extension for the data tracker (`pdu`, identity.md §2) knows only
`hidden` without an end, for SOAP; nothing is published for REST.

Denied by default: the contract names the clients whose look the law lets be kept back (`Operation.may_delay`). An order
that cannot be obeyed is an error, never a look that the person sees at once against the order, nor one without an end.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import quote, unquote

from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import ClientId
from digiid.platform.clock import Clock
from digiid.platform.disclosures import MAX_TEXT, Delay, order_delay, short_code
from digiid.platform.web.dates import TIME_ZONE

HIDDEN_UNTIL: Final = "X-Digiid-Hidden-Until"
HIDDEN_REASON: Final = "X-Digiid-Hidden-Reason"
_MIN_REASON: Final = 10
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OFFICIAL = re.compile(r"EE[1-8][0-9]{10}")


@dataclass(frozen=True, slots=True)
class DelayOrder:
    """Show the look to its person only after the day `until_on`. The person can read the reason then."""

    until_on: date
    reason: str

    @property
    def until(self) -> datetime:
        """The end of the day, as officers' pages count it too."""
        return datetime.combine(self.until_on, time.max, TIME_ZONE).astimezone(UTC)

    def headers(self) -> dict[str, str]:
        """Raises: Malformed `exchange.delay` when no provider would read the reason."""
        _check_reason(self.reason)
        return {HIDDEN_UNTIL: self.until_on.isoformat(), HIDDEN_REASON: quote(self.reason, safe=" ")}


@dataclass(frozen=True, slots=True)
class DelayRules:
    """By what a provider judges an order. `longest`: as for its officers' own."""

    clock: Clock
    longest: timedelta


def parse_delay(headers: Sequence[tuple[str, str]]) -> DelayOrder | None:
    """The order in a request's headers (names in lower case), or None when there is none.

    Raises: Malformed `exchange.delay`.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name in (HIDDEN_UNTIL.lower(), HIDDEN_REASON.lower()):
            if name in found:
                raise _malformed(f"{name} stands more than once")
            found[name] = value
    if not found:
        return None
    until, reason = found.get(HIDDEN_UNTIL.lower()), found.get(HIDDEN_REASON.lower())
    if until is None or reason is None:
        raise _malformed("a look is kept back until a day and for a reason; one of them is missing")
    return DelayOrder(_parse_day(until), _parse_reason(reason))


def accept_delay(
    order: DelayOrder,
    *,
    client: ClientId,
    user_id: str | None,
    may_delay: frozenset[ClientId],
    rules: DelayRules | None,
) -> Delay:
    """The order as something that a record of disclosure obeys.

    Raises: Refused `exchange.delay_not_allowed`, this client's look is not one that the law lets be kept back;
    `disclosures.delay_length`, `disclosures.delay_reason`; Malformed `exchange.delay` when nobody orders it.
    """
    # 1 who may
    if rules is None or client not in may_delay:
        raise not_allowed(client)
    # 2 which official: the whole code stands in the record as the one who asked, not in the journal
    if user_id is None or not _OFFICIAL.fullmatch(user_id):
        raise _malformed("the header X-Road-UserId names the official who orders it: EE and eleven digits")
    by = f"{client}, {short_code(user_id.removeprefix('EE'))}"
    # 3 until when and why
    return order_delay(
        until=order.until, reason=order.reason, ordered_by=by, at=rules.clock.now(), longest=rules.longest
    )


def not_allowed(client: ClientId) -> Refused:
    return Refused(
        "exchange.delay_not_allowed",
        f"{client} may not have this look kept back",
        public="A look at this cannot be kept back from the person.",
    )


def _parse_day(text: str) -> date:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _malformed(f"{HIDDEN_UNTIL} is a day as 2027-03-01")


def _parse_reason(text: str) -> str:
    if len(text) > 9 * MAX_TEXT:
        raise _malformed(f"{HIDDEN_REASON} is too long")
    if not text.isascii():  # what the person reads later would be another text than the one that was meant
        raise _malformed(f"{HIDDEN_REASON} is percent-encoded UTF-8")
    try:
        reason = unquote(text, errors="strict").strip()
    except UnicodeDecodeError as error:
        raise _malformed(f"{HIDDEN_REASON} is percent-encoded UTF-8") from error
    _check_reason(reason)
    return reason


def _check_reason(reason: str) -> None:
    if not _MIN_REASON <= len(reason.strip()) <= MAX_TEXT or not reason.isprintable():
        raise _malformed(f"{HIDDEN_REASON} has {_MIN_REASON} to {MAX_TEXT} characters on one line")


def _malformed(why: str) -> Malformed:
    return Malformed("exchange.delay", why, public=why)
