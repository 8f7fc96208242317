"""Checks, hits, proposals, four eyes, hearing, challenge and deadlines."""

from datetime import date, timedelta

import pytest

from digiid.institutions.police_board import jobs, store
from digiid.institutions.police_board.domain.application import ApplicationState, CheckState, HitState, Outcome, Step
from digiid.institutions.police_board.domain.form import InvalidForm
from digiid.institutions.police_board.domain.law import RefusalGround
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.applications import Application
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.use_cases import apply, check, decide, officers, stuck
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.kernel.errors import Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.journal import verify_chain
from digiid.platform.outbox import Handler, OutboxMessage, Worker
from tests.support.board import (
    add_account,
    checked,
    complete_draft,
    current,
    letters,
    outbox_kinds,
    submitted,
    two_officers,
)

REASONS = "The name, the birth date and the passport number are those of a person on the list."
SECURITY = [RefusalGround.SECURITY]


@pytest.fixture
def account(deps: Deps) -> Account:
    return add_account(deps)


def propose_issue(deps: Deps, officer: Officer, application: Application) -> None:
    decide.propose(deps, officer, application.application_id, outcome=Outcome.ISSUE, reasons="")


def propose_refusal(deps: Deps, officer: Officer, application: Application) -> None:
    decide.propose(deps, officer, application.application_id, outcome=Outcome.REFUSE, reasons=REASONS, grounds=SECURITY)


def test_a_clear_application_is_proposed_by_one_and_decided_by_another(deps: Deps, account: Account) -> None:
    mari, otto = two_officers(deps)
    application = checked(deps, account)
    propose_issue(deps, mari, application)
    with pytest.raises(Refused, match=r"decision\.four_eyes"):
        decide.decide(deps, mari, application.application_id, agreed=True)
    decide.decide(deps, otto, application.application_id, agreed=True)
    decided = current(deps, application)
    assert (decided.state, decided.outcome) == (ApplicationState.DECIDED, Outcome.ISSUE)
    assert outbox_kinds(deps) == ["run_checks", "population_register.register_person"]
    with deps.db.read() as tx:
        assert verify_chain(tx, store.schema.JOURNAL) is not None


def test_a_plain_officer_proposes_and_does_not_decide(deps: Deps, account: Account) -> None:
    mari, _ = two_officers(deps)
    plain = officers.add_officer(deps, personal_code="38001019016", name="Peeter Plain", role="officer")
    application = checked(deps, account)
    propose_issue(deps, mari, application)
    with pytest.raises(Refused, match=r"officer\.not_allowed"):
        decide.decide(deps, plain, application.application_id, agreed=True)


@pytest.mark.parametrize("state", [CheckState.OPEN, CheckState.INCOMPLETE])
def test_no_issue_while_a_check_is_open_or_could_not_be_run(deps: Deps, account: Account, state: CheckState) -> None:
    mari, _ = two_officers(deps)
    application = checked(deps, account, lists=state)
    with pytest.raises(Refused, match=r"decision\.check_open"):
        propose_issue(deps, mari, application)


def test_no_issue_before_any_check_has_run(deps: Deps, account: Account) -> None:
    mari, _ = two_officers(deps)
    with pytest.raises(Refused, match=r"decision\.check_open"):
        propose_issue(deps, mari, submitted(deps, account))


def hit_ids(deps: Deps, application: Application) -> list[str]:
    with deps.db.read() as tx:
        return [hit.hit_id for hit in store.checks.find_hits(tx, application.application_id)]


def test_no_issue_until_every_hit_is_cleared_by_a_named_officer_with_a_reason(deps: Deps, account: Account) -> None:
    mari, otto = two_officers(deps)
    application = checked(deps, account, hits=2)
    first, second = hit_ids(deps, application)
    with pytest.raises(InvalidForm):
        check.settle_hit(deps, mari, first, confirmed=False, reason="no")
    check.settle_hit(deps, mari, first, confirmed=False, reason="Another birth date and another nationality.")
    with pytest.raises(Refused, match=r"decision\.hit_uncleared"):
        propose_issue(deps, mari, application)
    check.settle_hit(deps, otto, second, confirmed=False, reason="Another person, seen in the passport.")
    propose_issue(deps, mari, application)
    with deps.db.read() as tx:
        assert store.checks.get_hit(tx, first).settled_by == "Mari Menetleja"


def test_a_confirmed_hit_stays_in_the_way(deps: Deps, account: Account) -> None:
    mari, _ = two_officers(deps)
    application = checked(deps, account, hits=1)
    check.settle_hit(deps, mari, hit_ids(deps, application)[0], confirmed=True, reason="It is the same person.")
    with pytest.raises(Refused, match=r"decision\.hit_uncleared"):
        propose_issue(deps, mari, application)


def test_a_hit_that_comes_between_proposal_and_decision_stops_the_decision(deps: Deps, account: Account) -> None:
    mari, otto = two_officers(deps)
    application = checked(deps, account)
    propose_issue(deps, mari, application)
    with deps.db.write() as tx:
        kind = store.checks.find_checks(tx, application.application_id)[-1].kind
        hit = store.checks.StoredHit("h", application.application_id, kind, "s", "r", 1.0, "", (), HitState.OPEN)
        store.checks.add_hit(tx, hit)
    with pytest.raises(Refused, match=r"decision\.hit_uncleared"):
        decide.decide(deps, otto, application.application_id, agreed=True)


def test_a_refusal_needs_a_legal_basis_and_reasons(deps: Deps, account: Account) -> None:
    mari, _ = two_officers(deps)
    application_id = checked(deps, account).application_id
    with pytest.raises(Malformed, match=r"decision\.no_legal_basis"):
        decide.propose(deps, mari, application_id, outcome=Outcome.REFUSE, reasons=REASONS)
    with pytest.raises(Malformed, match=r"decision\.no_reasons"):
        decide.propose(deps, mari, application_id, outcome=Outcome.REFUSE, reasons="No.", grounds=SECURITY)


def test_the_applicant_is_heard_before_a_refusal(deps: Deps, account: Account, clock: ManualClock) -> None:
    mari, otto = two_officers(deps)
    application = checked(deps, account, hits=1)
    propose_refusal(deps, mari, application)
    assert current(deps, application).state is ApplicationState.HEARING
    assert letters(deps)[-1] == "hearing"
    with pytest.raises(Conflict, match=r"decision\.not_heard"):
        decide.decide(deps, otto, application.application_id, agreed=True)
    apply.be_heard(deps, account, application.application_id, {"answer": "That is another person of this name."})
    decide.decide(deps, otto, application.application_id, agreed=True)
    decided = current(deps, application)
    assert (decided.state, decided.outcome) == (ApplicationState.DECIDED, Outcome.REFUSE)
    assert decided.challenge_until_on == date(2026, 12, 23)


def test_silence_until_the_day_is_a_hearing_too(deps: Deps, account: Account, clock: ManualClock) -> None:
    mari, otto = two_officers(deps)
    application = checked(deps, account, hits=1)
    propose_refusal(deps, mari, application)
    clock.advance(timedelta(days=14, hours=11))  # 7 December 23:00 in Tallinn: the last day is not over
    with pytest.raises(Conflict, match=r"decision\.not_heard"):
        decide.decide(deps, otto, application.application_id, agreed=True)
    clock.advance(timedelta(hours=2))
    with pytest.raises(Conflict, match=r"hearing\.over"):
        apply.be_heard(deps, account, application.application_id, {"answer": "Too late."})
    decide.decide(deps, otto, application.application_id, agreed=True)
    assert current(deps, application).outcome is Outcome.REFUSE


def test_a_dropped_refusal_goes_back_to_the_examination(deps: Deps, account: Account) -> None:
    mari, otto = two_officers(deps)
    application = checked(deps, account, hits=1)
    propose_refusal(deps, mari, application)
    with pytest.raises(InvalidForm):
        decide.decide(deps, otto, application.application_id, agreed=False)
    decide.decide(deps, otto, application.application_id, agreed=False, note="The hit is of another person.")
    assert current(deps, application).state is ApplicationState.CHECKS_RUNNING


def refused(deps: Deps, account: Account) -> tuple[Application, Officer, Officer]:
    mari, otto = two_officers(deps)
    application = checked(deps, account, hits=1)
    propose_refusal(deps, mari, application)
    apply.be_heard(deps, account, application.application_id, {"answer": "No."})
    decide.decide(deps, otto, application.application_id, agreed=True)
    return application, mari, otto


def test_a_refusal_can_be_challenged_until_its_date(deps: Deps, account: Account, clock: ManualClock) -> None:
    application, _, _ = refused(deps, account)
    clock.advance(timedelta(days=31))
    with pytest.raises(Conflict, match=r"challenge\.too_late"):
        apply.challenge(deps, account, application.application_id, {"text": "I am another person of that name."})
    decide.pass_deadlines(deps)
    assert current(deps, application).state is ApplicationState.FINAL


def test_a_challenge_is_decided_by_an_officer_who_did_not_decide(deps: Deps, account: Account) -> None:
    application, mari, otto = refused(deps, account)
    apply.challenge(deps, account, application.application_id, {"text": "I am another person of that name."})
    with pytest.raises(Refused, match=r"decision\.four_eyes"):
        decide.settle_challenge(deps, otto, application.application_id, granted=False, reasons=REASONS)
    decide.settle_challenge(deps, mari, application.application_id, granted=True, reasons=REASONS)
    again = current(deps, application)
    assert (again.state, again.outcome) == (ApplicationState.CHECKS_RUNNING, None)


def test_a_rejected_challenge_is_final(deps: Deps, account: Account) -> None:
    application, mari, _ = refused(deps, account)
    apply.challenge(deps, account, application.application_id, {"text": "I am another person of that name."})
    decide.settle_challenge(deps, mari, application.application_id, granted=False, reasons=REASONS)
    assert current(deps, application).state is ApplicationState.FINAL


def ask(deps: Deps, officer: Officer, application: Application, kind: str) -> None:
    decide.ask_applicant(deps, officer, application.application_id, text="Who are your partners?", kind=kind)


def answer(deps: Deps, account: Account, application: Application) -> None:
    view = apply.get_own_application(deps, account, application.application_id)
    fields = {f"answer-{q.question_id}": "Example Partners." for q in view.questions}
    apply.answer_questions(deps, account, application.application_id, fields)


@pytest.mark.parametrize(
    ("kind", "state"),
    [("question", ApplicationState.AWAITING_APPLICANT), ("deficiency", ApplicationState.DEFICIENT)],
)
def test_a_question_waits_for_its_answer(deps: Deps, account: Account, kind: str, state: ApplicationState) -> None:
    mari, _ = two_officers(deps)
    application = checked(deps, account)
    ask(deps, mari, application, kind)
    assert current(deps, application).state is state
    with pytest.raises(InvalidForm):
        apply.answer_questions(deps, account, application.application_id, {})
    answer(deps, account, application)
    assert current(deps, application).state is ApplicationState.CHECKS_RUNNING
    assert current(deps, application).applicant_due_on is None


def test_a_deadline_that_passes_returns_a_deficient_application_and_ends_a_wait(
    deps: Deps, account: Account, clock: ManualClock
) -> None:
    mari, _ = two_officers(deps)
    deficient = checked(deps, account)
    ask(deps, mari, deficient, "deficiency")
    waiting = checked(deps, add_account(deps, "other@example.org"))
    ask(deps, mari, waiting, "question")
    decide.pass_deadlines(deps)
    assert current(deps, deficient).state is ApplicationState.DEFICIENT
    clock.advance(timedelta(days=15))
    decide.pass_deadlines(deps)
    assert current(deps, deficient).state is ApplicationState.RETURNED_UNEXAMINED
    assert current(deps, waiting).state is ApplicationState.CHECKS_RUNNING


def test_a_term_is_extended_with_a_reason_and_within_limits(deps: Deps, account: Account) -> None:
    mari, _ = two_officers(deps)
    application_id = checked(deps, account).application_id
    with pytest.raises(InvalidForm):
        decide.extend_term(deps, mari, application_id, until_on=date(2026, 12, 1), reason="An earlier day is none.")
    with pytest.raises(InvalidForm):
        decide.extend_term(deps, mari, application_id, until_on=date(2028, 1, 1), reason="Years are too long.")
    decide.extend_term(deps, mari, application_id, until_on=date(2027, 1, 29), reason="An answer from abroad.")
    assert current(deps, checked_again(deps, application_id)).decide_by == date(2027, 1, 29)


def checked_again(deps: Deps, application_id: str) -> Application:
    with deps.db.read() as tx:
        return store.applications.get_application(tx, application_id)


def test_the_applicant_can_withdraw(deps: Deps, account: Account) -> None:
    application = checked(deps, account)
    apply.withdraw(deps, account, application.application_id)
    withdrawn = current(deps, application)
    assert (withdrawn.state, withdrawn.outcome) == (ApplicationState.DECIDED, Outcome.TERMINATE)


def test_a_register_that_does_not_answer_leaves_the_duplicate_check_open(deps: Deps, account: Account) -> None:
    application = submitted(deps, account)
    with pytest.raises(Unavailable):
        check.run_checks(deps, application.application_id)
    with deps.db.read() as tx:
        states = {c.kind.value: c.state.value for c in store.checks.find_checks(tx, application.application_id)}
    assert states == {"identity": "clear", "duplicate": "open", "lists": "clear"}


def test_a_submitted_application_cannot_be_changed_and_a_draft_cannot_be_read_by_officers(
    deps: Deps, account: Account
) -> None:
    application = submitted(deps, account)
    with pytest.raises(Conflict, match=r"application\.not_draft"):
        apply.save_step(deps, account, application.application_id, Step.MOTIVATION, {}, language="en")
    other = complete_draft(deps, add_account(deps, "other@example.org"))
    with pytest.raises(NotFound):
        decide.get_application(deps, other.application_id)


def test_a_message_that_its_receiver_refused_is_shown_and_can_be_sent_again(deps: Deps, account: Account) -> None:
    _, otto = two_officers(deps)
    application = submitted(deps, account)
    answers: list[DigiidError | None] = [Conflict("population.other_person", "the names differ"), None]

    def register(_message: OutboxMessage) -> None:
        answer = answers.pop(0)
        if answer:
            raise answer

    handlers: dict[str, Handler] = {**jobs.outbox_handlers(deps), "run_checks": register}
    worker = Worker("t", deps.db, store.schema.OUTBOX, deps.clock, handlers)
    worker.deliver_due()
    (message,) = stuck.list_stuck(deps)
    assert (message.kind, message.code) == ("run_checks", "population.other_person")
    assert message.application_id == application.application_id
    stuck.send_again(deps, otto, message.position)
    worker.deliver_due()
    assert stuck.list_stuck(deps) == []
    with pytest.raises(NotFound):
        stuck.send_again(deps, otto, message.position)
