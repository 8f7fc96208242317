"""The applicant's side: saving the form step by step, submitting it, answering, being heard, challenging."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from digiid.formats.photo import parse_photo
from digiid.institutions.police_board import peers, store
from digiid.institutions.police_board.domain import form
from digiid.institutions.police_board.domain.application import (
    ApplicationEvent,
    ApplicationState,
    Outcome,
    Step,
    require_challengeable,
)
from digiid.institutions.police_board.domain.form import Fields, InvalidForm
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.store.applications import Application, Photo
from digiid.institutions.police_board.store.decisions import Challenge, Decision, StoredProposal
from digiid.institutions.police_board.store.deliveries import DeliveryRecord
from digiid.institutions.police_board.store.documents import Document
from digiid.institutions.police_board.store.payments import Payment
from digiid.institutions.police_board.store.questions import Question
from digiid.institutions.police_board.use_cases.deps import (
    APPLICANT,
    Deps,
    move_application,
    record_journal,
)
from digiid.kernel.errors import Conflict, NotFound
from digiid.platform.entropy import new_id

_MAX_DRAFTS = 5


@dataclass(frozen=True, slots=True)
class PointOfPickUp:
    code: str
    name: str
    country: str
    address: str


@dataclass(frozen=True, slots=True)
class OwnApplication:
    """An application as its applicant sees it: no checks, no hits, no officers' notes."""

    application: Application
    steps: dict[Step, dict[str, Any]]
    agreeing: dict[Step, bool]
    has_photo: bool
    payments: list[Payment]
    questions: list[Question]
    hearing: StoredProposal | None
    decision: Decision | None
    challenge: Challenge | None
    document: Document | None
    delivery: DeliveryRecord | None


def start_application(deps: Deps, account: Account, *, language: str) -> Application:
    """A new draft; the unfinished one if there is one."""
    now = deps.clock.now()
    with deps.db.write() as tx:
        own = store.applications.find_applications_of(tx, account.account_id)
        drafts = [each for each in own if each.state is ApplicationState.DRAFT]
        if drafts:
            return drafts[0]
        if len(own) >= _MAX_DRAFTS * 4:
            raise Conflict("application.too_many", account.account_id, public="This account has too many applications.")
        application = new_application(deps, tx, kind="e_resident", account_id=account.account_id, language=language)
        record_journal(tx, "application.started", at=now, subject=application.application_id)
    return application


def new_application(deps: Deps, tx: Connection, *, kind: str, account_id: str | None, language: str) -> Application:
    """A draft with its number, inside the caller's transaction."""
    now = deps.clock.now()
    number = f"{now:%Y}-{store.counters.next_number(tx, 'application'):06d}"
    application = Application(
        application_id=new_id(deps.entropy),
        number=number,
        account_id=account_id,
        kind=kind,
        state=ApplicationState.DRAFT,
        outcome=None,
        language=language,
        created_at=now,
        changed_at=now,
    )
    store.applications.add_application(tx, application)
    return application


def list_applications(deps: Deps, account: Account) -> list[Application]:
    """The account's applications, newest first."""
    with deps.db.read() as tx:
        return sorted(
            store.applications.find_applications_of(tx, account.account_id), key=lambda a: a.created_at, reverse=True
        )


def get_own_application(deps: Deps, account: Account, application_id: str) -> OwnApplication:
    """Raises: NotFound `application.unknown`, also when it is somebody else's."""
    with deps.db.read() as tx:
        application = _own(tx, account, application_id)
        steps = store.applications.find_steps(tx, application_id)
        photo = store.applications.find_photo(tx, application_id) is not None
        proposals = store.decisions.find_proposals(tx, application_id)
        decisions = store.decisions.find_decisions(tx, application_id)
        challenges = store.decisions.find_challenges(tx, application_id)
        return OwnApplication(
            application=application,
            steps=steps,
            agreeing=agreeing_steps(deps, steps, has_photo=photo),
            has_photo=photo,
            payments=store.payments.find_payments(tx, application_id),
            questions=store.questions.find_questions(tx, application_id),
            hearing=next((p for p in reversed(proposals) if p.hearing_due_on and p.state == "open"), None),
            decision=decisions[-1] if decisions else None,
            challenge=challenges[-1] if challenges else None,
            document=store.documents.find_document_of_application(tx, application_id),
            delivery=store.deliveries.find_delivery(tx, application_id=application_id),
        )


def get_own_photo(deps: Deps, account: Account, application_id: str) -> Photo:
    """Raises: NotFound `application.unknown`, `photo.unknown`."""
    with deps.db.read() as tx:
        _own(tx, account, application_id)
        photo = store.applications.find_photo(tx, application_id)
    if photo is None:
        raise NotFound("photo.unknown", application_id)
    return photo


def save_step(deps: Deps, account: Account, application_id: str, step: Step, fields: Fields, *, language: str) -> None:
    """Check one page and save it. `language` is the one in which the page was shown.

    Raises: InvalidForm with a problem per field; Conflict `application.not_draft` once it is submitted.
    """
    # 1 what the page's check needs from elsewhere, before the transaction
    points = {point.code: point.name for point in list_open_points(deps)} if step is Step.PICK_UP else {}
    with deps.db.write() as tx:
        # 2 own, and still a draft
        application = _own_draft(tx, account, application_id)
        steps = store.applications.find_steps(tx, application_id)
        # 3 check
        data: form.StepData
        today = deps.today()
        match step:
            case Step.PERSONAL:
                data = form.parse_personal(fields, today=today, specimens=deps.accepts_specimens)
            case Step.TRAVEL_DOCUMENT:
                if Step.PERSONAL not in steps:
                    raise Conflict("application.step_order", step, public="Fill in your personal data first.")
                personal = form.personal_from_json(steps[Step.PERSONAL])
                data = form.parse_travel_document(fields, personal, today=today, specimens=deps.accepts_specimens)
            case Step.MOTIVATION:
                data = form.parse_motivation(fields)
            case Step.BUSINESS:
                data = form.parse_business(fields)
            case Step.DECLARATIONS:
                data = form.parse_declarations(fields)
            case Step.PICK_UP:
                data = form.parse_pick_up(fields, points=points)
            case Step.ACCEPTANCE:
                data = form.parse_acceptance(fields, language=language)
            case Step.PHOTO:
                raise Conflict("application.step_order", step, public="The photo is a file.")
        # 4 save
        values = form.to_json(data)
        if step is Step.ACCEPTANCE:
            values["accepted_at"] = deps.clock.now().isoformat()
        store.applications.save_step(tx, application_id, step, values, at=deps.clock.now())
        store.applications.change_application(tx, application.application_id, changed_at=deps.clock.now())


def save_photo(deps: Deps, account: Account, application_id: str, unverified: bytes) -> None:
    """Check and keep the photo. Raises: Malformed `photo.…`, Conflict `application.not_draft`."""
    checked = parse_photo(unverified)
    with deps.db.write() as tx:
        _own_draft(tx, account, application_id)
        at = deps.clock.now()
        store.applications.save_photo(tx, Photo(application_id, checked.jpeg, checked.width, checked.height, at))


def list_open_points(deps: Deps) -> list[PointOfPickUp]:
    """Pick-up points that are open now, asked of the card bureau. Raises: Unavailable."""
    points = peers.list_pick_up_points(deps.exchange)
    return [PointOfPickUp(p.code, p.name, p.country, p.address) for p in points if p.open]


def agreeing_steps(deps: Deps, steps: dict[Step, dict[str, Any]], *, has_photo: bool) -> dict[Step, bool]:
    """Which steps have data, and whether they agree with the others: personal data changed after the zone was typed
    make the travel document incomplete again."""
    saved = dict.fromkeys(steps, True)
    if has_photo:
        saved[Step.PHOTO] = True
    if Step.TRAVEL_DOCUMENT in steps:
        personal = form.personal_from_json(steps[Step.PERSONAL])
        document = form.travel_document_from_json(steps[Step.TRAVEL_DOCUMENT])
        saved[Step.TRAVEL_DOCUMENT] = not form.compare_with_zone(document, personal, today=deps.today())
    return saved


def duplicate_keys(steps: dict[Step, dict[str, Any]]) -> dict[str, Any]:
    """What the duplicate check asks other applications by, from a complete form."""
    personal = form.personal_from_json(steps[Step.PERSONAL])
    document = form.travel_document_from_json(steps[Step.TRAVEL_DOCUMENT])
    return {"born_on": personal.born_on, "document_number": document.number}


def reopen_draft(deps: Deps, account: Account, application_id: str) -> None:
    """Go back from the payment to the form. Raises: Conflict when the fee is paid already."""
    with deps.db.write() as tx:
        application = _own(tx, account, application_id)
        move_application(deps, tx, application, ApplicationEvent.CANCEL_FEE, APPLICANT)


def withdraw(deps: Deps, account: Account, application_id: str) -> None:
    """The applicant ends the procedure. The state fee is not paid back."""
    with deps.db.write() as tx:
        application = _own(tx, account, application_id)
        move_application(
            deps, tx, application, ApplicationEvent.WITHDRAW, APPLICANT, outcome=Outcome.TERMINATE.value,
            applicant_due_on=None,
        )  # fmt: skip
        proposal = store.decisions.find_open_proposal(tx, application_id)
        if proposal is not None:
            values = {"state": "rejected", "settled_note": "withdrawn", "settled_at": deps.clock.now()}
            store.decisions.change_proposal(tx, proposal.proposal_id, **values)
    deps.wake_outbox()


def answer_questions(deps: Deps, account: Account, application_id: str, fields: Fields) -> None:
    """Answer every open question (fields `answer-<question id>`), or put the deficiency right in words.

    Raises: InvalidForm; Conflict when nothing is asked.
    """
    with deps.db.write() as tx:
        application = _own(tx, account, application_id)
        is_open = [q for q in store.questions.find_questions(tx, application_id) if q.answered_at is None]
        if not is_open:
            raise Conflict("question.none", application_id, public="There is no open question.")
        problems: dict[str, str] = {}
        for question in is_open:
            name = f"answer-{question.question_id}"
            try:
                answer = form.parse_text(fields, name)
                store.questions.answer_question(tx, question.question_id, answer=answer, at=deps.clock.now())
            except InvalidForm as error:
                problems |= error.problems
        if problems:
            raise InvalidForm(problems)
        event = ApplicationEvent.CORRECT if application.state is ApplicationState.DEFICIENT else ApplicationEvent.ANSWER
        move_application(deps, tx, application, event, APPLICANT, applicant_due_on=None)


def be_heard(deps: Deps, account: Account, application_id: str, fields: Fields) -> None:
    """Answer the intended refusal. Raises: InvalidForm; Conflict when there is no hearing or it was answered."""
    with deps.db.write() as tx:
        application = _own(tx, account, application_id)
        proposal = store.decisions.find_open_proposal(tx, application_id)
        if proposal is None or proposal.hearing_due_on is None or proposal.hearing_answered_at is not None:
            raise Conflict("hearing.none", application_id, public="There is no hearing to answer.")
        if deps.today() > proposal.hearing_due_on:
            raise Conflict("hearing.over", application_id, public="The time to answer is over.")
        answer = form.parse_text(fields, "answer")
        now = deps.clock.now()
        store.decisions.change_proposal(tx, proposal.proposal_id, hearing_answer=answer, hearing_answered_at=now)
        move_application(deps, tx, application, ApplicationEvent.BE_HEARD, APPLICANT)


def challenge(deps: Deps, account: Account, application_id: str, fields: Fields) -> None:
    """Challenge a decision until its date. Raises: InvalidForm; Conflict `challenge.too_late`, `…not_possible`."""
    with deps.db.write() as tx:
        application = _own(tx, account, application_id)
        if application.outcome is None:
            raise Conflict("challenge.not_possible", application_id, public="There is no decision yet.")
        require_challengeable(outcome=application.outcome, until_on=application.challenge_until_on, today=deps.today())
        text = form.parse_text(fields, "text", shortest=20)
        move_application(deps, tx, application, ApplicationEvent.CHALLENGE, APPLICANT)
        now = deps.clock.now()
        store.decisions.add_challenge(tx, Challenge(new_id(deps.entropy), application_id, text, now))


def _own(tx: Connection, account: Account, application_id: str) -> Application:
    application = store.applications.get_application(tx, application_id)
    if application.account_id != account.account_id:
        raise NotFound("application.unknown", "another account's", public="There is no such application.")
    return application


def _own_draft(tx: Connection, account: Account, application_id: str) -> Application:
    application = _own(tx, account, application_id)
    if application.state is not ApplicationState.DRAFT:
        raise Conflict(
            "application.not_draft", application.state, public="The application is submitted and cannot be changed."
        )
    return application
