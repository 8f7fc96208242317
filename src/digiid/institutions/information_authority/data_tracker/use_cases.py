"""Who has looked at my data: asked of every institution at once, put together, told, and forgotten."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Table, select

from digiid.contracts.consents import MAX_PURPOSES, Title
from digiid.contracts.members import CONSENT_SERVICE, NAMES
from digiid.contracts.police_board import ReportMisuse
from digiid.exchange.client import Client
from digiid.institutions.information_authority.data_tracker import peers
from digiid.institutions.information_authority.data_tracker.domain import (
    Answers,
    Doubt,
    Lacking,
    Mismatch,
    RefusedQuestion,
    SeenLook,
    decide_mismatches,
    find_doubts,
    find_refused,
    list_purposes,
    merge_looks,
)
from digiid.kernel.errors import DigiidError
from digiid.kernel.identifiers import ClientId
from digiid.platform import journal, outbox
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.outbox import Bell

_THREADS_EACH = 4
log = structlog.get_logger("tracker")
Key = tuple[ClientId, bool]  # whom to ask, and whether as the one who told


class Asking:
    """The threads on which institutions are asked: each has its own, so that one that hangs holds up nobody else."""

    def __init__(self, institutions: Sequence[ClientId]) -> None:
        self._pools = {each: ThreadPoolExecutor(_THREADS_EACH, "tracker") for each in institutions}

    def ask(self, institution: ClientId, question: Callable[[], Any]) -> "Future[Any]":
        return self._pools[institution].submit(copy_context().run, question)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Deps:
    """`institutions` are those who are asked; `patience` is how long each of three rounds waits for all of them."""

    db: Database
    clock: Clock
    exchange: Client
    journal: Table
    outbox: Table
    wake_outbox: Bell
    institutions: Sequence[ClientId]
    asking: Asking
    patience: timedelta = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Overview:
    """What the person is shown. `silent` did not answer, or not whole; `cut` have more than was fetched."""

    looks: Sequence[SeenLook]
    refused: Sequence[RefusedQuestion]
    mismatches: Sequence[Mismatch]
    silent: Sequence[ClientId]
    cut: Sequence[ClientId]
    names: Mapping[ClientId, str]
    """Of those who looked or asked and are no institutions of the contracts, as the exchange knows them."""


def who_looked(
    deps: Deps, person: str, *, since: datetime | None = None, until: datetime | None = None, asker: str | None = None
) -> Overview:
    """Ask every institution live. `asker` is who looks at this page, when acting for the person.

    An institution that does not answer in time is named as silent; the others are shown.
    """
    by = asker or person
    # 1 both halves of every look, all at once and each within the time that is left

    def question(institution: ClientId, told: bool) -> Callable[[], Any]:
        function = peers.find_usage if told else peers.asked_about
        return lambda: function(deps.exchange, institution, person, asker=by, since=since, until=until)

    keys = [(institution, told) for institution in deps.institutions for told in (True, False)]
    said = _ask_all(deps, {key: question(*key) for key in keys})
    answers = {
        institution: _answers(institution, said.get((institution, True)), said.get((institution, False)))
        for institution in deps.institutions
    }
    # 2 what only one party shows is asked of the other outright
    now = deps.clock.now()
    doubts = find_doubts(answers, now=now)
    mismatches = decide_mismatches_of(deps, doubts, person, by)
    # 3 a look that one side has and the other lacks is told on, once
    if mismatches:
        report_mismatches(deps, mismatches)
    looks, refused = merge_looks(answers, mismatches=mismatches, now=now), find_refused(answers)
    # 4 whoever is not in the contracts has a name on the exchange
    names = _find_names(deps, {*(look.receiver for look in looks), *(each.receiver for each in refused)})
    return Overview(
        looks=[_named(look, names) for look in looks],
        refused=refused,
        mismatches=mismatches,
        silent=[each for each, answer in answers.items() if answer.usages is None or answer.asked is None],
        cut=[each for each, answer in answers.items() if answer.is_cut],
        names=names,
    )


def _find_names(deps: Deps, receivers: Collection[ClientId | None]) -> Mapping[ClientId, str]:
    """Those that the own security server tells in time; of others the person sees the identifier. Raises nothing."""
    unknown = {each for each in receivers if each is not None} - NAMES.keys()
    key = (deps.exchange.me, True)
    if not unknown or deps.exchange.me not in deps.institutions:
        return {}
    said: Mapping[ClientId, str] = _ask_all(deps, {key: deps.exchange.list_names}).get(key, {})
    return {each: said[each] for each in unknown if each in said}


def _named(look: SeenLook, names: Mapping[ClientId, str]) -> SeenLook:
    if look.receiver is None or look.receiver not in names:
        return look
    return replace(look, usage=look.usage.model_copy(update={"receiver_name": names[look.receiver]}))


def find_titles(deps: Deps, looks: Sequence[SeenLook], *, silent: Sequence[ClientId]) -> Mapping[str, Title]:
    """What the purposes of looks under a consent are called, asked of the consent service now; at most MAX_PURPOSES.

    Empty where it does not answer in time; it is not asked where it was silent before. Raises nothing.
    """
    purposes = list_purposes(looks)[:MAX_PURPOSES]
    if not purposes or CONSENT_SERVICE not in deps.institutions or CONSENT_SERVICE in silent:
        return {}
    key = (CONSENT_SERVICE, True)
    said = _ask_all(deps, {key: lambda: peers.find_titles(deps.exchange, purposes)})
    titles: Mapping[str, Title] = said.get(key, {})
    return titles


def decide_mismatches_of(deps: Deps, doubts: Sequence[Doubt], person: str, asker: str) -> list[Mismatch]:
    """Ask the other party of every doubt. Raises nothing: who does not answer is not accused."""
    by_side: dict[Key, list[str]] = defaultdict(list)
    for doubt in doubts:
        by_side[doubt.whom_to_ask, doubt.lacking is Lacking.PROVIDER].append(doubt.message_id)

    def question(institution: ClientId, told: bool, ids: list[str]) -> Callable[[], Any]:
        return lambda: peers.are_recorded(deps.exchange, institution, person, ids, told=told, asker=asker)

    said = _ask_all(deps, {key: question(*key, ids) for key, ids in by_side.items()})
    found = []
    for (institution, told), recorded in said.items():
        mine = [doubt for doubt in doubts if doubt.whom_to_ask == institution and _told(doubt) == told]
        found += decide_mismatches(mine, {institution: recorded})
    return sorted(found, key=lambda mismatch: mismatch.at, reverse=True)


def report_mismatches(deps: Deps, mismatches: Sequence[Mismatch]) -> int:
    """Journal each and tell the Police and Border Guard Board, where it becomes a case. Returns how many are new.

    A mismatch that was reported before is not reported again. The report names the message, never the person:
    the two institutions find the person by it in their own records.
    """
    now, new = deps.clock.now(), 0

    def work() -> int:
        reported = 0
        with deps.db.write() as tx:
            ids = [mismatch.reference for mismatch in mismatches]
            query = select(deps.outbox.c.message_id).where(deps.outbox.c.message_id.in_(ids))
            known = set(tx.execute(query).scalars())
            for mismatch in mismatches:
                if mismatch.reference in known:
                    continue
                known.add(mismatch.reference)
                report = _report(mismatch, now)
                outbox.put(
                    tx,
                    deps.outbox,
                    message_id=report.report_id,
                    kind="report_misuse",
                    payload=report.model_dump(mode="json"),
                    at=now,
                )
                payload: dict[str, journal.JsonValue] = {
                    "lacking": str(mismatch.lacking),
                    "provider": str(mismatch.provider),
                    "receiver": str(mismatch.receiver),
                    "message": mismatch.message_id,
                    "report": report.report_id,
                }
                journal.record(tx, deps.journal, kind="tracker.mismatch", payload=payload, at=now)
                reported += 1
        return reported

    new = deps.db.retry(work)
    if new:
        log.warning("tracker.mismatch", count=new)
        deps.wake_outbox()
    return new


def _report(mismatch: Mismatch, now: datetime) -> ReportMisuse:
    provider, receiver = (f"{NAMES.get(each, 'somebody')} ({each})" for each in (mismatch.provider, mismatch.receiver))
    if mismatch.lacking is Lacking.PROVIDER:
        what = (
            f"{receiver} ({mismatch.receiver}) was answered, and {provider} ({mismatch.provider}) has no record of it."
        )
    else:
        what = (
            f"{provider} ({mismatch.provider}) answered, and {receiver} ({mismatch.receiver}) has no record of asking."
        )
    text = (
        f"Data tracker: the two parties' records of a look at a person's data differ. {what} "
        f"Message {mismatch.message_id}, {mismatch.at:%Y-%m-%d %H:%M:%S} UTC."
    )
    return ReportMisuse(
        report_id=mismatch.reference, what_happened=text, service=mismatch.service[:200], reported_at=now
    )


def _told(doubt: Doubt) -> bool:
    return doubt.lacking is Lacking.PROVIDER


def _ask_all(deps: Deps, questions: Mapping[Key, Callable[[], Any]]) -> dict[Key, Any]:
    """Every answer that comes in time. Who raises or is late is left out."""
    asked = {key: deps.asking.ask(key[0], question) for key, question in questions.items()}
    wait(asked.values(), timeout=deps.patience.total_seconds())
    said: dict[Key, Any] = {}
    for key, future in asked.items():
        if not future.done():
            future.cancel()  # where it still waits for its turn; nobody reads the answer any more
            log.warning("tracker.silent", institution=str(key[0]))
            continue
        try:
            said[key] = future.result()
        except DigiidError as error:
            log.warning("tracker.silent", institution=str(key[0]), code=error.code)
    return said


def _answers(institution: ClientId, told: Any, asked: Any) -> Answers:
    usages, told_cut = told if told is not None else (None, False)
    requests, asked_cut = asked if asked is not None else (None, False)
    return Answers(institution, usages, requests, told_cut or asked_cut)
