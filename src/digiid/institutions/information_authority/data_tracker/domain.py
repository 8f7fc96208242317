"""Both halves of every look put together: what the provider told, what the receiver asked, and where they disagree."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from digiid.contracts.data_tracker import Asked, Usage
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import ClientId, parse_client_id

_DECLARATION = re.compile(r"[A-Za-z0-9._-]{1,40}")  # contracts.consents.DeclarationId
TOLERANCE = timedelta(minutes=5)  # a look this young may still be on its way into one of the records


@dataclass(frozen=True, slots=True)
class Answers:
    """What one institution said, or None where it did not answer."""

    institution: ClientId
    usages: tuple[Usage, ...] | None
    asked: tuple[Asked, ...] | None
    is_cut: bool = False
    """There is more than was fetched: narrow the period."""


class Agreement(StrEnum):
    BOTH = "both"  # both parties have it
    OWN = "own"  # the institution looked at its own records: there is one record
    OPEN = "open"  # the other party did not answer, or it is too young to be judged
    ALONE = "alone"  # the other party keeps no record that could be asked for


@dataclass(frozen=True, slots=True)
class SeenLook:
    """One look as the person sees it. `provider` holds the data, `receiver` looked; None: no subsystem is named."""

    provider: ClientId
    receiver: ClientId | None
    usage: Usage
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class RefusedQuestion:
    """What a receiver asked about the person and was not told: the person sees the attempt too."""

    receiver: ClientId
    provider: ClientId
    at: datetime
    message_id: str


class Lacking(StrEnum):
    PROVIDER = "provider"  # the receiver says that it was answered, the provider recorded nothing
    RECEIVER = "receiver"  # the provider says that it answered, the receiver never asked


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A look that one party has on record and the other lacks: an alarm."""

    lacking: Lacking
    provider: ClientId
    receiver: ClientId
    message_id: str
    at: datetime
    service: str

    @property
    def reference(self) -> str:
        """The same for the same mismatch, whoever finds it and however often."""
        text = "\n".join((self.lacking, str(self.provider), str(self.receiver), self.message_id))
        return f"tracker-{sha256(text.encode()).hexdigest()[:40]}"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A look that the other party's page does not show. Whether it is recorded there all the same must be asked."""

    lacking: Lacking
    provider: ClientId
    receiver: ClientId
    message_id: str
    at: datetime
    service: str

    @property
    def whom_to_ask(self) -> ClientId:
        return self.provider if self.lacking is Lacking.PROVIDER else self.receiver


def list_purposes(looks: Iterable[SeenLook]) -> list[str]:
    """The purpose declarations under which these looks were had: of one with a consent, `action` is its identifier."""
    named = {look.usage.action for look in looks if look.usage.consent_reference}
    return sorted(each for each in named if _DECLARATION.fullmatch(each))


def find_doubts(answers: Mapping[ClientId, Answers], *, now: datetime, tolerance: timedelta = TOLERANCE) -> list[Doubt]:
    """Every look of the answers that only one party shows. Not yet alarms: a period may cut one half off, and a
    delayed look is shown by neither.
    """
    doubts: list[Doubt] = []
    judged_until = now - tolerance
    # 1 what a receiver was answered must be with the provider
    for receiver, said in answers.items():
        for asked in said.asked or ():
            provider = provider_of(asked.service)
            known = answers.get(provider) if provider else None
            if asked.outcome != "answered" or asked.time > judged_until or provider is None or known is None:
                continue
            if known.usages is not None and asked.x_road_message_id not in _ids(known.usages):
                doubts.append(
                    Doubt(Lacking.PROVIDER, provider, receiver, asked.x_road_message_id, asked.time, asked.service)
                )
    # 2 what a provider told must have been asked for
    for provider, said in answers.items():
        for usage in said.usages or ():
            asker = client_of(usage.receiver_system)
            known = answers.get(asker) if asker else None
            message_id = usage.x_road_message_id
            if asker is None or asker == provider or known is None or known.asked is None or message_id is None:
                continue
            if usage.logtime <= judged_until and message_id not in {asked.x_road_message_id for asked in known.asked}:
                doubts.append(Doubt(Lacking.RECEIVER, provider, asker, message_id, usage.logtime, str(provider)))
    return doubts


def decide_mismatches(doubts: Iterable[Doubt], recorded: Mapping[ClientId, Collection[str]]) -> list[Mismatch]:
    """Those of the doubts that their other party, asked outright, does not have. One that did not answer: no alarm."""
    return [
        Mismatch(doubt.lacking, doubt.provider, doubt.receiver, doubt.message_id, doubt.at, doubt.service)
        for doubt in doubts
        if doubt.whom_to_ask in recorded and doubt.message_id not in recorded[doubt.whom_to_ask]
    ]


def merge_looks(
    answers: Mapping[ClientId, Answers],
    *,
    mismatches: Sequence[Mismatch],
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> list[SeenLook]:
    """Every provider's record in one list, the newest first. What is a mismatch stands with the alarms instead."""
    alarms = {(mismatch.provider, mismatch.message_id) for mismatch in mismatches}
    looks = [
        SeenLook(
            provider, client_of(usage.receiver_system), usage, _agreement(provider, usage, answers, now - tolerance)
        )
        for provider, said in answers.items()
        for usage in said.usages or ()
        if (provider, usage.x_road_message_id) not in alarms
    ]
    return sorted(looks, key=lambda look: (look.usage.logtime, look.usage.x_road_message_id or ""), reverse=True)


def find_refused(answers: Mapping[ClientId, Answers]) -> list[RefusedQuestion]:
    """Every question that the one who asked it says was refused, the newest first."""
    refused = [
        RefusedQuestion(receiver, provider, asked.time, asked.x_road_message_id)
        for receiver, said in answers.items()
        for asked in said.asked or ()
        if asked.outcome == "refused" and (provider := provider_of(asked.service)) is not None
    ]
    return sorted(refused, key=lambda question: question.at, reverse=True)


def _agreement(
    provider: ClientId, usage: Usage, answers: Mapping[ClientId, Answers], judged_until: datetime
) -> Agreement:
    receiver = client_of(usage.receiver_system)
    if receiver == provider:
        return Agreement.OWN
    if receiver is None or usage.x_road_message_id is None or receiver not in answers:
        return Agreement.ALONE
    if answers[receiver].asked is None or usage.logtime > judged_until:
        return Agreement.OPEN
    return Agreement.BOTH


def client_of(text: str) -> ClientId | None:
    try:
        return parse_client_id(text)
    except Malformed:
        return None


def provider_of(service: str) -> ClientId | None:
    """The subsystem in `EE/GOV/70000103/population/get-person`."""
    return client_of(service.rpartition("/")[0])


def _ids(usages: Iterable[Usage]) -> set[str | None]:
    return {usage.x_road_message_id for usage in usages}


# ------------------------------------------------------------------ the picture

MONTHS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Part:
    """A bar's piece: `who` looked `count` times. `kind` numbers the colours, the same institution always has one."""

    who: str
    count: int
    kind: int
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Month:
    first: date
    total: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    months: tuple[Month, ...]
    legend: tuple[tuple[str, int, int], ...]
    """(who, how often, kind), the most frequent first."""


def draw_months(looks: Sequence[SeenLook], *, today: date, width: int = 210) -> Picture:
    """Looks by month and by who looked, the last months up to today; empty months between them stand too.

    `width` is that of the longest bar, in pixels: with its labels it fits on a telephone.
    """
    counts: Counter[tuple[date, str]] = Counter()
    firsts = [_months_before(today.replace(day=1), back) for back in range(MONTHS_SHOWN)]
    for look in looks:
        month = look.usage.logtime.date().replace(day=1)
        if month in firsts:
            counts[month, receiver_name(look)] += 1
    totals: Counter[str] = Counter()
    for (_, who), count in counts.items():
        totals[who] += count
    kinds = {who: kind for kind, (who, _) in enumerate(sorted(totals.items(), key=lambda item: (-item[1], item[0])))}
    longest = max((sum(counts[first, who] for who in kinds) for first in firsts), default=0)
    months = []
    for first in firsts:
        parts, start = [], 0
        for who, kind in kinds.items():
            if count := counts[first, who]:
                size = max(2, count * width // longest)
                parts.append(Part(who, count, min(kind, 5), start, size))
                start += size
        months.append(Month(first, sum(part.count for part in parts), tuple(parts)))
    while len(months) > 1 and not months[-1].parts:
        months.pop()
    return Picture(tuple(months), tuple((who, totals[who], min(kind, 5)) for who, kind in kinds.items()))


def receiver_name(look: SeenLook) -> str:
    return look.usage.receiver_name or look.usage.receiver_system


def _months_before(first: date, back: int) -> date:
    months = first.year * 12 + first.month - 1 - back
    return date(months // 12, months % 12 + 1, 1)
