"""The page "Who has looked at my data": the answers of every institution as they are now, kept nowhere."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get

from digiid.contracts.members import NAMES
from digiid.institutions.information_authority.data_tracker import use_cases
from digiid.institutions.information_authority.data_tracker.domain import SeenLook, draw_months, receiver_name
from digiid.institutions.information_authority.data_tracker.use_cases import Deps
from digiid.platform.web import N_
from digiid.platform.web.dates import TIME_ZONE
from digiid.platform.web.forms import Form
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.site import language_of, page, require_session, run

PATH: Final = "/who-looked"
_PER_PAGE = 20
_REFUSED_SHOWN = 50
_DAYS_SHOWN = 365  # where the person chose no period
_RAISED: Final = re.compile(r"(§ [0-9]{1,4})\^([0-9]{1,3})(?![0-9])")
_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LIMIT = RateLimit(60, timedelta(minutes=1))  # every view asks every institution

# What institutions write in their records, in words. What is not here stands as it was written.
CATEGORIES: Final = {
    "name": N_("name"),
    "birth_date": N_("date of birth"),
    "personal_code": N_("personal code"),
    "citizenship": N_("citizenship"),
    "residence": N_("country of residence"),
    "address": N_("address"),
    "address.country": N_("address: country"),
    "address.region": N_("address: region"),
    "address.locality": N_("address: town or village"),
    "address.street": N_("address: street and house"),
    "address.postcode": N_("address: postcode"),
    "age_reached": N_("whether an age is reached"),
    "name_agrees": N_("whether a name is right"),
    "family": N_("family"),
    "custody": N_("custody of a child"),
    "document": N_("documents"),
    "document_status": N_("whether a document is valid"),
    "right": N_("the right to a digi-ID"),
    "hand_over_permit": N_("whether a document may be handed over"),
    "delivery": N_("where a document is"),
    "certificate_status": N_("whether certificates are valid"),
    "application": N_("application for a digi-ID"),
    "case": N_("case file"),
    "photo": N_("photo"),
    "role": N_("role in a company"),
    "representation": N_("right to represent"),
    "share": N_("share in a company"),
}
LEGAL_BASES: Final = (
    N_("GDPR art. 15: asked by the person"),
    N_("consent of the person"),
    N_("Identity Documents Act § 20^5: issue of a digi-ID"),
    N_("Identity Documents Act § 20^6: checks before and after the issue of a digi-ID"),
    N_("Identity Documents Act § 9: the holder is identified when a document is handed over"),
    N_("Identity Documents Act § 15: issue and annulment of documents"),
    N_("Population Register Act § 46: keeping the register"),
    N_("Commercial Register Act § 17: the register is public"),
    N_("Commercial Register Act § 30: who stands in an entry is checked"),
    N_("General Part of the Civil Code Act § 8: whether a customer can act alone"),
    N_("General Part of the Civil Code Act § 34: who acts for a company is checked"),
    N_("Family Law Act § 120: who acts for a minor is checked"),
    N_("Money Laundering and Terrorist Financing Prevention Act § 20: representation of a customer"),
    N_("Money Laundering and Terrorist Financing Prevention Act § 21: identification of a customer"),
)
PURPOSES: Final = (
    N_("the holder's own documents"),
    N_("asked by the holder through the portal"),
    N_("background check"),
    N_("examination of an application"),
    N_("supervision of a document"),
    N_("investigation of a case"),
    N_("hand-over of a document"),
    N_("production and hand-over of a document"),
    N_("where an ordered document is"),
)
_NUMBERED_PURPOSES: Final = (N_("application"), N_("notice"))  # and then its number
INSTITUTION_NAMES: Final = (
    N_("Police and Border Guard Board"),
    N_("Card Bureau"),
    N_("Population Register"),
    N_("Trust Services"),
    N_("Information Authority"),
    N_("Consent Service"),
    N_("Business Register"),
    N_("Test Bank"),
)


def split_purpose(action: str) -> tuple[str, str]:
    """The words of a purpose, which can be translated, and the number of the case that they may end with."""
    kind, _, number = action.partition(" ")
    return (kind, number) if number and kind in _NUMBERED_PURPOSES else (action, "")


def raise_numbers(basis: str) -> str:
    """`§ 20^5` as laws print it, § 20⁵: what travels in records is plain."""
    return _RAISED.sub(lambda found: found[1] + found[2].translate(_SUPERSCRIPTS), basis)


@dataclass(frozen=True, slots=True)
class _Filter:
    first: date
    last: date
    who: str
    own: bool
    form: Form[Any]

    @property
    def since(self) -> datetime:
        return datetime.combine(self.first, time.min, TIME_ZONE)

    @property
    def until(self) -> datetime:
        return datetime.combine(self.last, time.max, TIME_ZONE)

    def query(self, number: int) -> str:
        fields = {"from": self.first.isoformat(), "to": self.last.isoformat(), "who": self.who}
        return urlencode({**fields, **({"own": "1"} if self.own else {}), "page": str(number)})


def tracker_handlers(deps: Deps) -> list[Any]:
    @get(PATH, rate_limit=_LIMIT)
    async def who_looked(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        asked = _filter(request, deps.clock.now().astimezone(TIME_ZONE).date())
        context: dict[str, Any] = {"form": asked.form, "categories": CATEGORIES, "names": NAMES, "asked": asked}
        if asked.form.errors:
            return await page(request, "portal_who_looked.html", context, status=422)
        seen = await run(
            request, use_cases.who_looked, deps, session.subject or "", since=asked.since, until=asked.until
        )
        everybody = sorted({(look.usage.receiver_system, receiver_name(look)) for look in seen.looks})
        chosen = _chosen(seen.looks, asked)
        pages = max(1, math.ceil(len(chosen) / _PER_PAGE))
        number = min(_whole(request.query_params.get("page", "")), pages)
        shown = chosen[(number - 1) * _PER_PAGE : number * _PER_PAGE]
        titles = await run(request, use_cases.find_titles, deps, shown, silent=seen.silent)
        return await page(
            request,
            "portal_who_looked.html",
            context
            | {
                "seen": seen,
                "names": {**NAMES, **seen.names},
                "refused": [each for each in seen.refused if asked.who in ("", str(each.receiver))][:_REFUSED_SHOWN],
                "everybody": everybody,
                "shown": shown,
                "count": len(chosen),
                "own_count": sum(1 for look in seen.looks if look.usage.by_the_person),
                "picture": draw_months(chosen, today=asked.last),
                "number": number,
                "pages": pages,
                "query": asked.query,
                "purpose": split_purpose,
                "raised": raise_numbers,
                "titles": {key: getattr(title, language_of(request)) for key, title in titles.items()},
            },
        )

    return [who_looked]


def _chosen(looks: Sequence[SeenLook], asked: _Filter) -> list[SeenLook]:
    return [
        look
        for look in looks
        if (asked.own or not look.usage.by_the_person) and asked.who in ("", look.usage.receiver_system)
    ]


def _filter(request: Request[Any, Any, Any], today: date) -> _Filter:
    given = {name: request.query_params.get(name, "").strip()[:420] for name in ("from", "to", "who", "own")}
    given["from"] = given["from"] or (today - timedelta(days=_DAYS_SHOWN)).isoformat()
    given["to"] = given["to"] or today.isoformat()
    form: Form[Any] = Form(given)
    first, last = _day(form, "from", today), _day(form, "to", today)
    if not form.errors and first > last:
        form.error("from", N_("The first day is after the last"))
    return _Filter(first, last, given["who"], given["own"] == "1", form)


def _day(form: Form[Any], name: str, otherwise: date) -> date:
    text = form.value(name)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if len(text) != 10 or not 1900 <= day.year <= 2200:
        form.error(name, N_("Enter the day as year-month-day"))
        return otherwise
    return day


def _whole(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) <= 6 else 1
