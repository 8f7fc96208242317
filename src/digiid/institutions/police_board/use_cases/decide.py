"""Officers on an application: asking, proposing, hearing, deciding with four eyes, challenges, deadlines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy.engine import Connection

from digiid.formats.mrz import Disagreement, Mrz, find_disagreements, parse_mrz
from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain import form, law
from digiid.institutions.police_board.domain.application import (
    ApplicationEvent,
    ApplicationState,
    Outcome,
    Proposal,
    Step,
    check_proposal,
    require_four_eyes,
    require_heard,
    require_no_suspicion,
)
from digiid.institutions.police_board.domain.law import RefusalGround
from digiid.institutions.police_board.store.applications import Application, Photo
from digiid.institutions.police_board.store.checks import StoredCheck, StoredHit
from digiid.institutions.police_board.store.decisions import Challenge, Decision, StoredProposal
from digiid.institutions.police_board.store.deliveries import DeliveryRecord
from digiid.institutions.police_board.store.documents import Document
from digiid.institutions.police_board.store.history import HistoryEntry
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.store.payments import Payment
from digiid.institutions.police_board.store.questions import Question
from digiid.institutions.police_board.use_cases.deps import (
    SYSTEM,
    Actor,
    Deps,
    move_application,
    record_journal,
    require_role,
)
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Refused
from digiid.platform.entropy import new_id

DECIDER = "deciding_officer"
WORK_STATES = (
    ApplicationState.CHECKS_RUNNING,
    ApplicationState.SUBMITTED,
    ApplicationState.HEARING,
    ApplicationState.AWAITING_APPLICANT,
    ApplicationState.DEFICIENT,
    ApplicationState.CHALLENGED,
)


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One line of the officers' queue. `suspicion` counts what stands in the way of an issue."""

    application: Application
    name: str
    citizenships: tuple[str, ...]
    suspicion: int
    proposal: StoredProposal | None
    days_left: int | None


@dataclass(frozen=True, slots=True)
class OfficerView:
    """Everything about one application, for its officers."""

    application: Application
    steps: dict[Step, dict[str, object]]
    mrz: Mrz | None
    disagreements: tuple[Disagreement, ...]
    has_photo: bool
    payments: list[Payment]
    checks: list[StoredCheck]
    hits: list[StoredHit]
    questions: list[Question]
    proposal: StoredProposal | None
    proposals: list[StoredProposal]
    decisions: list[Decision]
    challenges: list[Challenge]
    document: Document | None
    delivery: DeliveryRecord | None
    history: list[HistoryEntry]
    issue_hindrance: DigiidError | None


def list_queue(deps: Deps, states: Sequence[ApplicationState] = WORK_STATES) -> list[QueueEntry]:
    """What waits, the nearest deadline first."""
    today = deps.today()
    with deps.db.read() as tx:
        proposals = store.decisions.find_open_proposals(tx)
        entries = []
        for application in store.applications.find_applications_in(tx, states):
            steps = store.applications.find_steps(tx, application.application_id)
            personal = steps.get(Step.PERSONAL, {})
            outcomes = store.checks.find_check_outcomes(tx, application.application_id)
            suspicion = sum(o.uncleared_hits for o in outcomes)
            due = application.applicant_due_on or application.decide_by
            entries.append(
                QueueEntry(
                    application=application,
                    name=f"{personal.get('given_names', '')} {personal.get('surname', '')}".strip(),
                    citizenships=tuple(personal.get("citizenships", ())),
                    suspicion=suspicion,
                    proposal=proposals.get(application.application_id),
                    days_left=(due - today).days if due else None,
                )
            )
    return entries


def count_queue(deps: Deps) -> dict[ApplicationState, int]:
    with deps.db.read() as tx:
        return store.applications.count_applications(tx)


def get_application(deps: Deps, application_id: str) -> OfficerView:
    """Raises: NotFound `application.unknown`, also for a draft: what is not submitted is nobody's to read."""
    with deps.db.read() as tx:
        return view_application(tx, application_id)


def view_application(tx: Connection, application_id: str) -> OfficerView:
    """Raises: NotFound `application.unknown`, also for a draft."""
    application = store.applications.get_application(tx, application_id)
    if application.submitted_at is None:
        raise NotFound("application.unknown", "a draft", public="There is no such application.")
    steps = store.applications.find_steps(tx, application_id)
    mrz, disagreements = _compared(steps, application.submitted_at.date())
    hindrance: DigiidError | None = None
    try:
        require_no_suspicion(store.checks.find_check_outcomes(tx, application_id))
    except Refused as error:
        hindrance = error
    return OfficerView(
        application=application,
        steps={step: dict(data) for step, data in steps.items()},
        mrz=mrz,
        disagreements=disagreements,
        has_photo=store.applications.find_photo(tx, application_id) is not None,
        payments=store.payments.find_payments(tx, application_id),
        checks=store.checks.find_checks(tx, application_id),
        hits=store.checks.find_hits(tx, application_id),
        questions=store.questions.find_questions(tx, application_id),
        proposal=store.decisions.find_open_proposal(tx, application_id),
        proposals=store.decisions.find_proposals(tx, application_id),
        decisions=store.decisions.find_decisions(tx, application_id),
        challenges=store.decisions.find_challenges(tx, application_id),
        document=store.documents.find_document_of_application(tx, application_id),
        delivery=store.deliveries.find_delivery(tx, application_id=application_id),
        history=store.history.find_history(tx, "application", application_id),
        issue_hindrance=hindrance,
    )


def get_photo(deps: Deps, application_id: str) -> Photo:
    """Raises: NotFound `photo.unknown`."""
    with deps.db.read() as tx:
        application = store.applications.get_application(tx, application_id)
        photo = store.applications.find_photo(tx, application_id)
    if photo is None or application.submitted_at is None:
        raise NotFound("photo.unknown", application_id)
    return photo


def _compared(steps: dict[Step, dict[str, object]], day: date) -> tuple[Mrz | None, tuple[Disagreement, ...]]:
    try:
        document = form.travel_document_from_json(steps[Step.TRAVEL_DOCUMENT])
        personal = form.personal_from_json(steps[Step.PERSONAL])
        mrz = parse_mrz(document.mrz, today=day)
    except (KeyError, Malformed):
        return None, ()
    return mrz, find_disagreements(mrz, form.travel_document_form(document, personal))


# --- asking ----------------------------------------------------------------------------------------------------------


def ask_applicant(deps: Deps, officer: Officer, application_id: str, *, text: str, kind: str) -> None:
    """Ask the applicant something (`question`), or to put something right (`deficiency`), with a deadline.

    Raises: InvalidForm; Conflict when the application is not being examined or waits for a second officer.
    """
    require_role(officer)
    question_text = form.parse_text({"text": text}, "text", shortest=10)
    deficiency = kind == "deficiency"
    event = ApplicationEvent.ASK_CORRECTION if deficiency else ApplicationEvent.ASK_APPLICANT
    period = law.DEFICIENCY_PERIOD if deficiency else law.QUESTION_PERIOD
    due_on = law.last_day_of_period(deps.today(), period)
    with deps.db.write() as tx:
        application = store.applications.get_application(tx, application_id)
        _require_no_open_proposal(tx, application_id)
        now = deps.clock.now()
        store.questions.add_question(
            tx,
            Question(
                question_id=new_id(deps.entropy),
                application_id=application_id,
                kind="deficiency" if deficiency else "question",
                text=question_text,
                asked_by=officer.name,
                asked_at=now,
                due_on=due_on,
            ),
        )
        move_application(deps, tx, application, event, Actor.of(officer), applicant_due_on=due_on)
    deps.wake_outbox()


def extend_term(deps: Deps, officer: Officer, application_id: str, *, until_on: date, reason: str) -> None:
    """Put off the day of the decision, with a reason that the applicant is told of."""
    require_role(officer)
    text = form.parse_text({"reason": reason}, "reason", shortest=10)
    with deps.db.write() as tx:
        application = store.applications.get_application(tx, application_id)
        latest = law.add_working_days(deps.today(), 2 * law.DECISION_WORKING_DAYS)
        if application.decide_by is None or not application.decide_by < until_on <= latest:
            raise form.InvalidForm({"until_on": "date_range"})
        move_application(
            deps, tx, application, ApplicationEvent.EXTEND, Actor.of(officer), note=text, decide_by=until_on
        )
    deps.wake_outbox()


# --- proposing and deciding ------------------------------------------------------------------------------------------


def propose(
    deps: Deps,
    officer: Officer,
    application_id: str,
    *,
    outcome: Outcome,
    reasons: str,
    grounds: Sequence[RefusalGround] = (),
) -> None:
    """Propose what another officer will decide. A proposed refusal opens the hearing of the applicant.

    Raises: Malformed `decision.no_legal_basis`, `decision.no_reasons`; Refused `decision.check_open`,
    `decision.hit_uncleared` for an issue under suspicion; Conflict.
    """
    # 1 who, and a proposal that can become a decision
    require_role(officer)
    text = form.parse_text({"reasons": reasons}, "reasons") if reasons.strip() else ""
    proposal = check_proposal(Proposal(outcome, officer.officer_id, text, tuple(grounds)))
    today = deps.today()
    with deps.db.write() as tx:
        application = store.applications.get_application(tx, application_id)
        if application.state is not ApplicationState.CHECKS_RUNNING:
            raise Conflict("decision.not_now", application.state, public="The application is not being examined now.")
        _require_no_open_proposal(tx, application_id)
        # 2 suspicion means no document
        if outcome is Outcome.ISSUE:
            require_no_suspicion(store.checks.find_check_outcomes(tx, application_id))
        # 3 the proposal; the one who is refused is heard first
        hearing_due_on = law.last_day_of_period(today, law.HEARING_PERIOD) if outcome is Outcome.REFUSE else None
        store.decisions.add_proposal(
            tx,
            StoredProposal(
                proposal_id=new_id(deps.entropy),
                application_id=application_id,
                outcome=proposal.outcome.value,
                grounds=tuple(ground.value for ground in proposal.grounds),
                reasons=proposal.reasons,
                proposed_by=officer.officer_id,
                proposed_by_name=officer.name,
                proposed_at=deps.clock.now(),
                state="open",
                hearing_due_on=hearing_due_on,
            ),
        )
        if hearing_due_on is not None:
            move_application(
                deps, tx, application, ApplicationEvent.OPEN_HEARING, Actor.of(officer), applicant_due_on=hearing_due_on
            )
        record_journal(
            tx, "decision.proposed", at=deps.clock.now(), subject=application_id, outcome=outcome.value,
            by=officer.officer_id,
        )  # fmt: skip
    deps.wake_outbox()


def decide(deps: Deps, officer: Officer, application_id: str, *, agreed: bool, note: str = "") -> None:
    """A second officer decides on the open proposal: agrees, or sends it back with a note.

    Raises: Refused `decision.four_eyes`, `decision.check_open`, `decision.hit_uncleared`; Conflict
    `decision.not_heard`.
    """
    # 1 a deciding officer, and not the one who proposed
    require_role(officer, DECIDER)
    with deps.db.write() as tx:
        application = store.applications.get_application(tx, application_id)
        proposal = store.decisions.find_open_proposal(tx, application_id)
        if proposal is None:
            raise Conflict("decision.no_proposal", application_id, public="Nothing is proposed.")
        require_four_eyes(proposed_by=proposal.proposed_by, decided_by=officer.officer_id)
        now, outcome = deps.clock.now(), Outcome(proposal.outcome)
        settled = {"settled_by_name": officer.name, "settled_note": note.strip()[:2000], "settled_at": now}
        # 2 not agreed: back to the examination
        if not agreed:
            form.parse_text({"note": note}, "note", shortest=10)
            store.decisions.change_proposal(tx, proposal.proposal_id, state="rejected", **settled)
            if application.state is ApplicationState.HEARING:
                event = ApplicationEvent.DROP_REFUSAL
                move_application(deps, tx, application, event, Actor.of(officer), note=note, applicant_due_on=None)
            record_journal(tx, "proposal.rejected", at=now, subject=application_id, by=officer.officer_id)
            return
        # 3 what must hold at this moment, whatever held when it was proposed
        if outcome is Outcome.ISSUE:
            require_no_suspicion(store.checks.find_check_outcomes(tx, application_id))
        elif proposal.hearing_due_on is not None:
            require_heard(answered_at=proposal.hearing_answered_at, due_on=proposal.hearing_due_on, today=deps.today())
        # 4 the decision
        store.decisions.change_proposal(tx, proposal.proposal_id, state="taken", **settled)
        store.decisions.add_decision(
            tx,
            Decision(
                decision_id=new_id(deps.entropy),
                application_id=application_id,
                outcome=outcome.value,
                grounds=proposal.grounds,
                reasons=proposal.reasons,
                proposed_by_name=proposal.proposed_by_name,
                decided_by_name=officer.name,
                decided_at=now,
            ),
        )
        _move_decided(deps, tx, application, outcome, officer=officer, now=now)
    deps.wake_outbox()


def _move_decided(
    deps: Deps, tx: Connection, application: Application, outcome: Outcome, *, officer: Officer, now: datetime
) -> None:
    if outcome is Outcome.ISSUE:
        move_application(deps, tx, application, ApplicationEvent.DECIDE_ISSUE, Actor.of(officer), outcome=outcome.value)
        return
    if outcome is Outcome.REFUSE:
        move_application(
            deps,
            tx,
            application,
            ApplicationEvent.DECIDE_REFUSE,
            Actor.of(officer),
            outcome=outcome.value,
            applicant_due_on=None,
            challenge_until_on=law.last_day_of_period(deps.today(), law.CHALLENGE_PERIOD),
        )
        return
    move_application(
        deps, tx, application, ApplicationEvent.RETURN_UNEXAMINED, Actor.of(officer), outcome=outcome.value
    )


def settle_challenge(deps: Deps, officer: Officer, application_id: str, *, granted: bool, reasons: str) -> None:
    """Decide on a challenge. The officers who made the decision do not decide on the challenge of it.

    Raises: Refused `decision.four_eyes`; InvalidForm without reasons; Conflict.
    """
    require_role(officer, DECIDER)
    text = form.parse_text({"reasons": reasons}, "reasons", shortest=40)
    with deps.db.write() as tx:
        application = store.applications.get_application(tx, application_id)
        challenge = next((c for c in store.decisions.find_challenges(tx, application_id) if c.outcome is None), None)
        decisions = store.decisions.find_decisions(tx, application_id)
        if challenge is None or not decisions:
            raise Conflict("challenge.none", application_id, public="There is no open challenge.")
        if officer.name == decisions[-1].decided_by_name:
            raise Refused(
                "decision.four_eyes",
                "the decider cannot decide on the challenge",
                public="You made this decision. Another officer has to decide on the challenge.",
            )
        now = deps.clock.now()
        store.decisions.change_challenge(
            tx,
            challenge.challenge_id,
            outcome="granted" if granted else "rejected",
            reasons=text,
            settled_by_name=officer.name,
            settled_at=now,
        )
        if granted:
            event, values = (
                ApplicationEvent.GRANT_CHALLENGE,
                {
                    "outcome": None,
                    "challenge_until_on": None,
                    "decide_by": law.add_working_days(deps.today(), law.DECISION_WORKING_DAYS),
                },
            )
            move_application(deps, tx, application, event, Actor.of(officer), note=text, **values)
        else:
            move_application(deps, tx, application, ApplicationEvent.REJECT_CHALLENGE, Actor.of(officer), note=text)
    deps.wake_outbox()


# --- deadlines -------------------------------------------------------------------------------------------------------


def pass_deadlines(deps: Deps) -> None:
    """The timer: what was not answered in time, and decisions that nobody challenged."""
    today = deps.today()
    steps = (
        (ApplicationState.DEFICIENT, "applicant_due_on", ApplicationEvent.PASS_DEADLINE),
        (ApplicationState.AWAITING_APPLICANT, "applicant_due_on", ApplicationEvent.PASS_DEADLINE),
        (ApplicationState.DECIDED, "challenge_until_on", ApplicationEvent.BECOME_FINAL),
    )
    moved = 0
    for state, column, event in steps:
        with deps.db.read() as tx:
            due = store.applications.find_applications_due(tx, state, column, before=today)
        for application in due:
            with deps.db.write() as tx:
                current = store.applications.get_application(tx, application.application_id)
                if current.state is state:
                    values: dict[str, Any] = {"applicant_due_on": None} if column == "applicant_due_on" else {}
                    if state is ApplicationState.DEFICIENT:
                        values["outcome"] = Outcome.TERMINATE.value
                    move_application(deps, tx, current, event, SYSTEM, **values)
                    moved += 1
    if moved:
        deps.wake_outbox()


def _require_no_open_proposal(tx: Connection, application_id: str) -> None:
    if store.decisions.find_open_proposal(tx, application_id) is not None:
        raise Conflict(
            "decision.proposal_open", application_id, public="A proposal waits for a second officer's decision."
        )
