"""An application: its state table, the steps that make it up, and when it may be decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TypeAlias

from digiid.institutions.police_board.domain import law
from digiid.institutions.police_board.domain.law import RefusalGround
from digiid.kernel.errors import Conflict, Malformed, Refused
from digiid.kernel.states import Edge, StateTable

APPLICANT, OFFICER, DECIDER, SYSTEM = "applicant", "officer", "deciding_officer", "system"
MIN_REASONS_LENGTH = 40


class ApplicationState(StrEnum):
    DRAFT = "draft"
    FEE_PENDING = "fee_pending"
    SUBMITTED = "submitted"
    RETURNED_UNEXAMINED = "returned_unexamined"
    DEFICIENT = "deficient"
    CHECKS_RUNNING = "checks_running"
    AWAITING_APPLICANT = "awaiting_applicant"
    HEARING = "hearing"
    DECIDED = "decided"
    CHALLENGED = "challenged"
    FINAL = "final"


class ApplicationEvent(StrEnum):
    ASK_FEE = "ask_fee"
    CANCEL_FEE = "cancel_fee"
    RECEIVE_FEE = "receive_fee"
    START_CHECKS = "start_checks"
    ASK_CORRECTION = "ask_correction"
    CORRECT = "correct"
    RETURN_UNEXAMINED = "return_unexamined"
    ASK_APPLICANT = "ask_applicant"
    ANSWER = "answer"
    PASS_DEADLINE = "pass_deadline"  # noqa: S105 the word of the procedure, no password
    EXTEND = "extend"
    OPEN_HEARING = "open_hearing"
    BE_HEARD = "be_heard"
    DROP_REFUSAL = "drop_refusal"
    DECIDE_ISSUE = "decide_issue"
    DECIDE_REFUSE = "decide_refuse"
    WITHDRAW = "withdraw"
    CHALLENGE = "challenge"
    BECOME_FINAL = "become_final"
    REJECT_CHALLENGE = "reject_challenge"
    GRANT_CHALLENGE = "grant_challenge"


class Outcome(StrEnum):
    ISSUE = "issue"
    REFUSE = "refuse"
    TERMINATE = "terminate"


S: TypeAlias = ApplicationState
E: TypeAlias = ApplicationEvent


def _edge(to: S, basis: str, *actors: str, publishes: tuple[str, ...] = ()) -> Edge[S]:
    return Edge(to, basis, frozenset(actors), publishes)


_WITHDRAW = _edge(S.DECIDED, law.HMS_WITHDRAWAL, APPLICANT, publishes=("mail.withdrawn",))

TABLE: StateTable[S, E] = {
    S.DRAFT: {E.ASK_FEE: _edge(S.FEE_PENDING, law.ITDS_FEE, APPLICANT)},
    S.FEE_PENDING: {
        E.CANCEL_FEE: _edge(S.DRAFT, law.ITDS_FEE, APPLICANT, SYSTEM),
        E.RECEIVE_FEE: _edge(S.SUBMITTED, law.ITDS_FEE, SYSTEM, publishes=("mail.received",)),
    },
    S.SUBMITTED: {
        E.START_CHECKS: _edge(S.CHECKS_RUNNING, law.ITDS_IDENTITY, SYSTEM),
        E.RETURN_UNEXAMINED: _edge(
            S.RETURNED_UNEXAMINED, law.ITDS_UNEXAMINED, DECIDER, publishes=("mail.returned_unexamined",)
        ),
        E.WITHDRAW: _WITHDRAW,
    },
    S.CHECKS_RUNNING: {
        E.ASK_CORRECTION: _edge(S.DEFICIENT, law.HMS_DEFICIENCY, OFFICER, publishes=("mail.deficient",)),
        E.ASK_APPLICANT: _edge(S.AWAITING_APPLICANT, law.HMS_EVIDENCE, OFFICER, publishes=("mail.question",)),
        E.EXTEND: _edge(S.CHECKS_RUNNING, law.HMS_EVIDENCE, OFFICER, publishes=("mail.extended",)),
        E.OPEN_HEARING: _edge(S.HEARING, law.HMS_HEARING, OFFICER, publishes=("mail.hearing",)),
        E.DECIDE_ISSUE: _edge(
            S.DECIDED,
            law.ITDS_ISSUE,
            DECIDER,
            publishes=("population_register.register_person", "mail.decided_issue"),
        ),
        E.RETURN_UNEXAMINED: _edge(
            S.RETURNED_UNEXAMINED, law.ITDS_UNEXAMINED, DECIDER, publishes=("mail.returned_unexamined",)
        ),
        E.WITHDRAW: _WITHDRAW,
    },
    S.DEFICIENT: {
        E.CORRECT: _edge(S.CHECKS_RUNNING, law.HMS_DEFICIENCY, APPLICANT),
        E.PASS_DEADLINE: _edge(
            S.RETURNED_UNEXAMINED, law.HMS_DEFICIENCY, SYSTEM, publishes=("mail.returned_unexamined",)
        ),
        E.WITHDRAW: _WITHDRAW,
    },
    S.AWAITING_APPLICANT: {
        E.ANSWER: _edge(S.CHECKS_RUNNING, law.HMS_EVIDENCE, APPLICANT),
        E.PASS_DEADLINE: _edge(S.CHECKS_RUNNING, law.HMS_EVIDENCE, SYSTEM),
        E.WITHDRAW: _WITHDRAW,
    },
    S.HEARING: {
        E.BE_HEARD: _edge(S.HEARING, law.HMS_HEARING, APPLICANT),
        E.DROP_REFUSAL: _edge(S.CHECKS_RUNNING, law.HMS_HEARING, DECIDER),
        E.DECIDE_REFUSE: _edge(S.DECIDED, law.HMS_DECISION, DECIDER, publishes=("mail.decided_refuse",)),
        E.WITHDRAW: _WITHDRAW,
    },
    S.DECIDED: {
        E.CHALLENGE: _edge(S.CHALLENGED, law.HMS_CHALLENGE, APPLICANT),
        E.BECOME_FINAL: _edge(S.FINAL, law.HMS_CHALLENGE, SYSTEM),
    },
    S.CHALLENGED: {
        E.REJECT_CHALLENGE: _edge(S.FINAL, law.HMS_CHALLENGE, DECIDER, publishes=("mail.challenge_rejected",)),
        E.GRANT_CHALLENGE: _edge(S.CHECKS_RUNNING, law.HMS_CHALLENGE, DECIDER, publishes=("mail.challenge_granted",)),
    },
    S.RETURNED_UNEXAMINED: {},
    S.FINAL: {},
}


class Step(StrEnum):
    """The pages of the form, in the order in which they are shown. Each is saved by itself."""

    PERSONAL = "personal"
    TRAVEL_DOCUMENT = "travel_document"
    PHOTO = "photo"
    MOTIVATION = "motivation"
    BUSINESS = "business"
    DECLARATIONS = "declarations"
    PICK_UP = "pick_up"
    ACCEPTANCE = "acceptance"


class TaskState(StrEnum):
    """What the task list says of a step."""

    CANNOT_START = "cannot_start"
    NOT_STARTED = "not_started"
    INCOMPLETE = "incomplete"
    COMPLETED = "completed"


def list_tasks(saved: Mapping[Step, bool]) -> dict[Step, TaskState]:
    """The state of each step. `saved` maps a step that has data to whether they still agree with the others."""
    tasks = {
        step: (TaskState.COMPLETED if saved[step] else TaskState.INCOMPLETE) if step in saved else TaskState.NOT_STARTED
        for step in Step
    }
    # The zone is compared with the personal data, so these come first
    if Step.PERSONAL not in saved:
        tasks[Step.TRAVEL_DOCUMENT] = TaskState.CANNOT_START
    return tasks


def require_complete(saved: Mapping[Step, bool]) -> None:
    """Raises: Conflict `application.incomplete` naming the steps that are missing."""
    missing = [step.value for step, state in list_tasks(saved).items() if state is not TaskState.COMPLETED]
    if missing:
        raise Conflict(
            "application.incomplete", ", ".join(missing), public="Complete every step before you pay the state fee."
        )


class CheckKind(StrEnum):
    IDENTITY = "identity"
    DUPLICATE = "duplicate"
    LISTS = "lists"


class CheckState(StrEnum):
    """`open`: not run to its end. `incomplete`: it could not be run. `hits`: something to clear. `clear`: nothing."""

    OPEN = "open"
    INCOMPLETE = "incomplete"
    HITS = "hits"
    CLEAR = "clear"


class HitState(StrEnum):
    OPEN = "open"
    CLEARED = "cleared"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    kind: CheckKind
    state: CheckState
    uncleared_hits: int


def require_no_suspicion(checks: Sequence[CheckOutcome]) -> None:
    """Suspicion means no document: every check has run to its end and every hit is cleared by a named officer.

    Raises: Refused `decision.check_open` or `decision.hit_uncleared`.
    """
    by_kind = {check.kind: check for check in checks}
    for kind in CheckKind:
        check = by_kind.get(kind)
        if check is None or check.state in (CheckState.OPEN, CheckState.INCOMPLETE):
            raise Refused(
                "decision.check_open",
                f"check {kind} has not run to its end",
                public="A check has not run to its end. Until it has, a document cannot be issued.",
            )
    uncleared = sum(check.uncleared_hits for check in checks)
    if uncleared:
        raise Refused(
            "decision.hit_uncleared",
            f"{uncleared} hits are not cleared",
            public="A hit is not cleared. Until an officer has cleared it with a reason, a document cannot be issued.",
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one officer proposes for another one to decide. `grounds` and `reasons` are the draft of the decision."""

    outcome: Outcome
    proposed_by: str
    reasons: str
    grounds: tuple[RefusalGround, ...] = ()


def check_proposal(proposal: Proposal) -> Proposal:
    """A refusal has a legal basis and a reasoned text; an issue has none of the grounds.

    Raises: Malformed `decision.no_legal_basis`, `decision.no_reasons`.
    """
    if proposal.outcome is Outcome.REFUSE:
        if not proposal.grounds:
            raise Malformed(
                "decision.no_legal_basis", "a refusal without a ground", public="Choose the legal basis of the refusal."
            )
        if len(proposal.reasons.strip()) < MIN_REASONS_LENGTH:
            raise Malformed(
                "decision.no_reasons",
                "a refusal without reasons",
                public=f"Write the reasons in at least {MIN_REASONS_LENGTH} characters; the applicant will read them.",
            )
    elif proposal.grounds:
        raise Malformed("decision.no_legal_basis", "a ground of refusal on another outcome")
    return proposal


def require_four_eyes(*, proposed_by: str, decided_by: str) -> None:
    """Raises: Refused `decision.four_eyes` when the same officer proposes and decides."""
    if proposed_by == decided_by:
        raise Refused(
            "decision.four_eyes",
            "the proposer cannot decide",
            public="You made this proposal. Another officer has to decide on it.",
        )


def require_heard(*, answered_at: datetime | None, due_on: date, today: date) -> None:
    """Raises: Conflict `decision.not_heard` while the applicant may still answer and has not."""
    if answered_at is None and today <= due_on:
        raise Conflict(
            "decision.not_heard",
            f"the hearing is open until {due_on}",
            public=f"The applicant may answer until {due_on.isoformat()}. The refusal can be decided after that, or "
            "when the answer has come.",
        )


def require_challengeable(*, outcome: Outcome, until_on: date | None, today: date) -> None:
    """Raises: Conflict `challenge.not_possible`, `challenge.too_late`."""
    if outcome is Outcome.ISSUE or until_on is None:
        raise Conflict("challenge.not_possible", "nothing to challenge", public="This decision is in your favour.")
    if today > until_on:
        raise Conflict(
            "challenge.too_late",
            f"until {until_on}",
            public=f"The decision could be challenged until {until_on.isoformat()}.",
        )
