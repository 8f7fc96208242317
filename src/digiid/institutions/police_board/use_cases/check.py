"""The background check of one application: run it, run it again, settle its hits."""

from dataclasses import replace
from datetime import date

from sqlalchemy.engine import Connection

from digiid.formats.mrz import find_disagreements, parse_mrz
from digiid.institutions.police_board import peers, store
from digiid.institutions.police_board.domain import N_, form
from digiid.institutions.police_board.domain.application import ApplicationState, CheckKind, CheckState, HitState, Step
from digiid.institutions.police_board.domain.countries import RETURNED_UNEXAMINED_SINCE
from digiid.institutions.police_board.domain.law import ITDS_UNEXAMINED
from digiid.institutions.police_board.domain.screening import (
    Applicant,
    Check,
    Hit,
    KnownPerson,
    ScreeningReport,
    check_duplicates,
    check_identity,
    screen,
)
from digiid.institutions.police_board.store.checks import StoredCheck, StoredHit
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.use_cases.deps import Deps, put_message, record_journal, require_role
from digiid.kernel.errors import Conflict, Malformed, Unavailable
from digiid.platform.entropy import new_id

_RUNNING = (ApplicationState.CHECKS_RUNNING, ApplicationState.AWAITING_APPLICANT, ApplicationState.DEFICIENT)


def run_checks(deps: Deps, application_id: str) -> None:
    """Run every check and store what it found. A hit that an officer has settled stays settled while it is the same.

    Raises: Unavailable while the population register does not answer: the other checks are stored, this one is open.
    """
    # 1 what is compared
    with deps.db.read() as tx:
        application = store.applications.get_application(tx, application_id)
        steps = store.applications.find_steps(tx, application_id)
    if application.state not in _RUNNING:
        return
    personal = form.personal_from_json(steps[Step.PERSONAL])
    document = form.travel_document_from_json(steps[Step.TRAVEL_DOCUMENT])
    applicant = Applicant(
        given_names=personal.given_names,
        surname=personal.surname,
        born_on=personal.born_on,
        previous_names=personal.previous_names,
        citizenships=personal.citizenships,
        document_number=document.number,
    )
    # 2 what others know: the register over the exchange, the lists from their files
    waiting: Unavailable | None = None
    in_register: list[KnownPerson] | None = None
    try:
        in_register = peers.find_persons(
            deps.exchange,
            given_names=personal.given_names,
            surname=personal.surname,
            born_on=personal.born_on,
            issue=application.number,
        )
        if personal.personal_code:
            # the applicant said so: not a duplicate, the register compares name and birth date when it enters them
            in_register = [p for p in in_register if p.reference != personal.personal_code]
    except Unavailable as error:
        waiting = error
    try:
        report = screen(applicant, deps.lists.load())
    except (Unavailable, Malformed):
        report = ScreeningReport(CheckState.INCOMPLETE, (), ())
    # 3 what we know ourselves
    disagreements = find_disagreements(
        parse_mrz(document.mrz, today=deps.today()), form.travel_document_form(document, personal)
    )
    identity = check_identity(
        disagreements=disagreements,
        document_expires_on=document.expires_on,
        born_on=personal.born_on,
        today=deps.today(),
    )
    identity = _with_country_rule(identity, personal.citizenships, deps.today())
    with deps.db.write() as tx:
        known = store.applications.find_known_persons(
            tx, but=application_id, born_on=personal.born_on, document_number=document.number
        )
        duplicates = check_duplicates(applicant, in_register=in_register, in_applications=known)
        # 4 stored together
        now = deps.clock.now()
        settled = store.checks.find_hits(tx, application_id)
        for check in (identity, duplicates, report.as_check()):
            store.checks.save_check(tx, StoredCheck(application_id, check.kind, check.state, check.summary, now))
            _store_hits(deps, tx, application_id, check, [hit for hit in settled if hit.kind is check.kind])
        counts = ", ".join(f"{c.kind}: {c.state} {len(c.hits)}" for c in (identity, duplicates, report.as_check()))
        record_journal(tx, "checks.run", at=now, subject=application_id, outcome=counts)
    if waiting is not None:
        raise waiting


def run_checks_again(deps: Deps, officer: Officer, application_id: str) -> None:
    """An officer asks for a new run: lists or data have changed."""
    require_role(officer)
    with deps.db.write() as tx:
        application = store.applications.get_application(tx, application_id)
        if application.state not in _RUNNING:
            raise Conflict("checks.not_now", application.state, public="Checks run while the application is examined.")
    try:
        run_checks(deps, application_id)
    except Unavailable:
        with deps.db.write() as tx:
            put_message(deps, tx, "run_checks", {"application_id": application_id}, key=application_id)


def settle_hit(deps: Deps, officer: Officer, hit_id: str, *, confirmed: bool, reason: str) -> None:
    """Clear a hit, or confirm it. The officer's name and reason stay with it.

    Raises: InvalidForm without a reason; Conflict when it is settled already or the application is decided.
    """
    require_role(officer)
    text = form.parse_text({"reason": reason}, "reason", shortest=10)
    with deps.db.write() as tx:
        hit = store.checks.get_hit(tx, hit_id)
        application = store.applications.get_application(tx, hit.application_id)
        if application.state not in _RUNNING:
            raise Conflict("checks.not_now", application.state, public="The application is not being examined now.")
        state = HitState.CONFIRMED if confirmed else HitState.CLEARED
        now = deps.clock.now()
        store.checks.settle_hit(tx, hit_id, state=state, by=officer.name, reason=text, at=now)
        record_journal(tx, f"hit.{state}", at=now, subject=hit.application_id, hit=hit_id, by=officer.officer_id)


def _store_hits(deps: Deps, tx: Connection, application_id: str, check: Check, before: list[StoredHit]) -> None:
    """Replace the check's hits. One with the same source, reference and evidence keeps how it was settled; when
    either side has changed, it must be looked at anew."""
    known = {(hit.source, hit.reference, hit.evidence): hit for hit in before}
    for hit in before:
        store.checks.delete_hit(tx, hit.hit_id)
    for found in check.hits:
        source, reference = found.source[:200], found.reference[:200]
        stored = StoredHit(
            hit_id=new_id(deps.entropy),
            application_id=application_id,
            kind=found.check,
            source=source,
            reference=reference,
            score=found.score,
            summary=found.summary,
            evidence=found.evidence,
            state=HitState.OPEN,
        )
        earlier = known.get((source, reference, found.evidence))
        if earlier is not None:
            stored = replace(
                stored,
                hit_id=earlier.hit_id,
                state=earlier.state,
                settled_by=earlier.settled_by,
                settled_reason=earlier.settled_reason,
                settled_at=earlier.settled_at,
            )
        store.checks.add_hit(tx, stored)


def _with_country_rule(check: Check, citizenships: tuple[str, ...], today: date) -> Check:
    """ITDS § 20⁶ (11)-(12): an officer looks whether an exception holds; otherwise it is returned unexamined."""
    in_force = [rule for since, rule in RETURNED_UNEXAMINED_SINCE if date.fromisoformat(since) <= today]
    listed = sorted(set(citizenships) & in_force[-1]) if in_force else []
    if not listed:
        return check
    hits = tuple(
        Hit(CheckKind.IDENTITY, N_("country rule"), code, 1.0, ITDS_UNEXAMINED, (("citizenship", code),))
        for code in listed
    )
    return Check(CheckKind.IDENTITY, CheckState.HITS, N_("A country rule applies."), check.hits + hits)
