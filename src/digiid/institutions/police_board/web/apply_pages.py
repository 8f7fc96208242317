"""The applicant's pages."""

from collections.abc import Callable
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from digiid.institutions.police_board.domain import acceptance, law
from digiid.institutions.police_board.domain.application import ApplicationState, Outcome, Step, list_tasks
from digiid.institutions.police_board.domain.document import DocumentState
from digiid.institutions.police_board.domain.form import InvalidForm
from digiid.institutions.police_board.store.accounts import Account
from digiid.institutions.police_board.use_cases import accounts, apply, issue, payments, supervise
from digiid.institutions.police_board.use_cases.apply import OwnApplication
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.institutions.police_board.web import words
from digiid.kernel.errors import Malformed, NotFound
from digiid.platform.web.forms import Form
from digiid.platform.web.site import (
    form_of,
    language_of,
    page,
    redirect,
    require_session,
    run,
    session_of,
    start_session,
)

Ask = Request[Any, Any, Any]
_MAX_CALLBACK_BYTES = 10_000
_PORTRAIT_STATES = (DocumentState.ACTIVE, DocumentState.SUSPENDED)


def handlers(deps: Deps) -> list[Any]:
    """The handlers of the site `apply`."""
    return [
        *_sign_in_handlers(deps),
        *_form_handlers(deps),
        *_fee_handlers(deps),
        *_answer_handlers(deps),
        *_card_handlers(deps),
    ]


async def _account_of(request: Ask, deps: Deps) -> Account:
    session = require_session(request, kind="account")
    return await run(request, accounts.get_account, deps, session.subject or "")


async def _own(request: Ask, deps: Deps, application_id: str) -> OwnApplication:
    account = await _account_of(request, deps)
    return await run(request, apply.get_own_application, deps, account, application_id)


async def _show(request: Ask, template: str, context: dict[str, Any], *, status: int = 200) -> Response[Any]:
    return await page(request, template, {**words.words(language_of(request)), **context}, status=status)


# --- in and out -------------------------------------------------------------------------------------------------------


def _sign_in_handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def front(request: Ask) -> Response[Any]:
        session = session_of(request)
        if session is None or session.data.get("kind") != "account":
            return await _show(request, "apply_front.html", {"fee_cents": deps.fee_cents, "currency": deps.currency})
        account = await _account_of(request, deps)
        applications = await run(request, apply.list_applications, deps, account)
        return await _show(request, "apply_list.html", {"applications": applications, "account": account})

    @get("/sign-in")
    async def sign_in(request: Ask) -> Response[Any]:
        return await _show(request, "apply_sign_in.html", {"form": Form()})

    @post("/sign-in")
    async def send_link(request: Ask) -> Response[Any]:
        form = await form_of(request)
        client = request.client.host if request.client else ""
        try:
            await run(
                request,
                accounts.request_link,
                deps,
                email=form.value("email"),
                language=language_of(request),
                client=client,
            )
        except InvalidForm as error:
            form.errors.update(words.problem_texts(error.problems))
            return await _show(request, "apply_sign_in.html", {"form": form}, status=422)
        return redirect("/link-sent")

    @get("/link-sent")
    async def link_sent(request: Ask) -> Response[Any]:
        return await _show(request, "apply_link_sent.html", {})

    @get("/link/{token:str}")
    async def open_link(request: Ask, token: FromPath[str]) -> Response[Any]:
        # nothing is looked up and nothing is used up: mail scanners open links too
        return await _show(request, "apply_link.html", {"token": token})

    @post("/link/{token:str}")
    async def use_link(request: Ask, token: FromPath[str]) -> Response[Any]:
        account = await run(request, accounts.consume_link, deps, token[:200])
        await start_session(request, account.account_id, {"kind": "account", "email": account.email})
        return redirect("/")

    return [front, sign_in, send_link, link_sent, open_link, use_link]


# --- the form ---------------------------------------------------------------------------------------------------------


def _form_handlers(deps: Deps) -> list[Any]:
    @post("/applications")
    async def start(request: Ask) -> Response[Any]:
        account = await _account_of(request, deps)
        application = await run(request, apply.start_application, deps, account, language=language_of(request))
        return redirect(f"/applications/{application.application_id}")

    @get("/applications/{application_id:str}")
    async def application_page(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        view = await _own(request, deps, application_id)
        if view.application.state is ApplicationState.DRAFT:
            tasks = list_tasks(view.agreeing)
            done = sum(state == "completed" for state in tasks.values())
            return await _show(request, "apply_tasks.html", {"view": view, "tasks": tasks, "done": done})
        return await _show(request, "apply_status.html", {"view": view, **_what_next(view)})

    @get("/applications/{application_id:str}/step/{name:str}")
    async def step_page(request: Ask, application_id: FromPath[str], name: FromPath[str]) -> Response[Any]:
        view, step = await _own(request, deps, application_id), _step(name)
        if view.application.state is not ApplicationState.DRAFT:
            return redirect(f"/applications/{application_id}")
        return await _show_step(request, deps, view, step, Form(values=_typed(step, view.steps.get(step, {}))))

    @post("/applications/{application_id:str}/step/{name:str}")
    async def save_step(request: Ask, application_id: FromPath[str], name: FromPath[str]) -> Response[Any]:
        account, step, form = await _account_of(request, deps), _step(name), await form_of(request)
        try:
            if step is Step.PHOTO:
                upload = form.files.get("photo")
                if upload is None:
                    raise InvalidForm({"photo": "photo.required"})
                await run(request, apply.save_photo, deps, account, application_id, upload.content)
            else:
                fields = {field: form.value(field) for field in form.values}
                language = language_of(request)
                await run(request, apply.save_step, deps, account, application_id, step, fields, language=language)
        except InvalidForm as error:
            form.errors.update(words.problem_texts(error.problems))
        except Malformed as error:
            if not error.code.startswith("photo."):
                raise
            form.error("photo", words.PROBLEMS[error.code])
        if form.errors:
            return await _show_step(request, deps, await _own(request, deps, application_id), step, form, status=422)
        return redirect(f"/applications/{application_id}")

    @get("/applications/{application_id:str}/photo.jpg")
    async def photo(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account = await _account_of(request, deps)
        found = await run(request, apply.get_own_photo, deps, account, application_id)
        return Response(found.jpeg, media_type="image/jpeg")

    @get("/applications/{application_id:str}/review")
    async def review(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        view = await _own(request, deps, application_id)
        if view.application.state is not ApplicationState.DRAFT:
            return redirect(f"/applications/{application_id}")
        complete = all(state == "completed" for state in list_tasks(view.agreeing).values())
        context = {"view": view, "complete": complete, "fee_cents": deps.fee_cents, "currency": deps.currency}
        return await _show(request, "apply_review.html", context)

    return [start, application_page, step_page, save_step, photo, review]


async def _show_step(
    request: Ask, deps: Deps, view: OwnApplication, step: Step, form: Form[Any], *, status: int = 200
) -> Response[Any]:
    language = language_of(request)
    context: dict[str, Any] = {"view": view, "step": step, "form": form}
    if step in (Step.PERSONAL, Step.TRAVEL_DOCUMENT):
        context["countries"] = words.country_options(language, specimens=deps.accepts_specimens)
    if step is Step.PICK_UP:
        context["points"] = await run(request, apply.list_open_points, deps)
    if step is Step.ACCEPTANCE:
        context |= {"texts": acceptance.TEXTS[language], "version": acceptance.VERSION}
    return await _show(request, f"step_{step.value}.html", context, status=status)


def _step(name: str) -> Step:
    try:
        return Step(name)
    except ValueError:
        raise NotFound("application.no_step", name[:40], public="There is no such page.") from None


def _typed(step: Step, data: dict[str, Any]) -> dict[str, Any]:
    """Saved values as the fields in which they were typed."""
    values = dict(data)
    if step is Step.PERSONAL and data:
        values["previous_names"] = "; ".join(data["previous_names"])
        values |= {f"citizenships-{number}": code for number, code in enumerate(data["citizenships"], 1)}
    if step is Step.DECLARATIONS and data:
        for name, value in data.items():
            if isinstance(value, bool):
                values[name] = "yes" if value else "no"
    return values


def _what_next(view: OwnApplication) -> dict[str, Any]:
    """Which of the status page's texts apply. The decision what a state means to a person is made here once."""
    application, document = view.application, view.document
    key: str = application.state.value
    if application.state in (ApplicationState.DECIDED, ApplicationState.FINAL):
        if application.outcome is Outcome.ISSUE:
            key = f"issue_{document.state.value}" if document else "issue_ordering"
        elif application.outcome is Outcome.REFUSE:
            key = "refused_final" if application.state is ApplicationState.FINAL else "refused"
        else:
            key = "terminated"
    envelope = (
        view.delivery is not None
        and document is not None
        and document.state in _PORTRAIT_STATES
        and view.delivery.envelope_key is not None
    )
    withdrawable = application.state in (
        ApplicationState.CHECKS_RUNNING,
        ApplicationState.AWAITING_APPLICANT,
        ApplicationState.DEFICIENT,
        ApplicationState.HEARING,
    )
    return {
        "next_key": key,
        "envelope_waits": envelope,
        "can_report_lost": document is not None and document.state is DocumentState.ACTIVE,
        "can_withdraw": withdrawable,
        "open_questions": [q for q in view.questions if q.answered_at is None],
        "working_days": law.DECISION_WORKING_DAYS,
    }


# --- the state fee ----------------------------------------------------------------------------------------------------


def _fee_handlers(deps: Deps) -> list[Any]:
    @post("/applications/{application_id:str}/submit")
    async def submit(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account = await _account_of(request, deps)
        begun = await run(
            request, payments.submit_application, deps, account, application_id, language=language_of(request)
        )
        return redirect(begun.payment_url or f"/applications/{application_id}")

    @get("/applications/{application_id:str}/paid")
    async def back_from_payment(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account = await _account_of(request, deps)
        await run(request, payments.refresh_payments, deps, account, application_id)
        return redirect(f"/applications/{application_id}")

    @post("/applications/{application_id:str}/edit")
    async def edit(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account = await _account_of(request, deps)
        await run(request, payments.refresh_payments, deps, account, application_id)
        await run(request, apply.reopen_draft, deps, account, application_id)
        return redirect(f"/applications/{application_id}")

    @post("/payment/callback", no_csrf=True, status_code=200)
    async def callback(request: Ask) -> Response[Any]:
        body = await request.body()
        if len(body) > _MAX_CALLBACK_BYTES:
            raise Malformed("payment.message", "too long")
        await run(request, payments.take_callback, deps, body.decode("ascii", "replace"))
        return Response("ok", media_type="text/plain")

    return [submit, back_from_payment, edit, callback]


# --- after submitting -------------------------------------------------------------------------------------------------


def _answer_handlers(deps: Deps) -> list[Any]:
    @get("/applications/{application_id:str}/withdraw")
    async def withdraw_page(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        return await _show(request, "apply_withdraw.html", {"view": await _own(request, deps, application_id)})

    @post("/applications/{application_id:str}/withdraw")
    async def withdraw(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account = await _account_of(request, deps)
        await run(request, apply.withdraw, deps, account, application_id)
        return redirect(f"/applications/{application_id}")

    return [
        withdraw_page,
        withdraw,
        *_text_page(deps, "answers", "apply_answers.html", apply.answer_questions),
        *_text_page(deps, "hearing", "apply_hearing.html", apply.be_heard),
        *_text_page(deps, "challenge", "apply_challenge.html", apply.challenge),
    ]


def _text_page(deps: Deps, path: str, template: str, act: Callable[..., None], *, goes_to: str = "") -> list[Any]:
    """A page with a form whose fields go to a use case as they are."""

    @get(f"/applications/{{application_id:str}}/{path}", name=f"{path}_form")
    async def show_form(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        view = await _own(request, deps, application_id)
        return await _show(request, template, {"view": view, "form": Form()})

    @post(f"/applications/{{application_id:str}}/{path}", name=path)
    async def take_form(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account, form = await _account_of(request, deps), await form_of(request)
        try:
            fields = {field: form.value(field) for field in form.values}
            await run(request, act, deps, account, application_id, fields)
        except InvalidForm as error:
            form.errors.update(words.problem_texts(error.problems))
            view = await _own(request, deps, application_id)
            return await _show(request, template, {"view": view, "form": form}, status=422)
        return redirect(f"/applications/{application_id}{goes_to}")

    return [show_form, take_form]


# --- after the hand-over ----------------------------------------------------------------------------------------------


def _card_handlers(deps: Deps) -> list[Any]:
    @get("/applications/{application_id:str}/pins")
    async def pins_page(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        view = await _own(request, deps, application_id)
        return await _show(request, "apply_pins.html", {"view": view, "pins": None})

    @post("/applications/{application_id:str}/pins")
    async def open_pins(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account = await _account_of(request, deps)
        pins = await run(request, issue.open_pin_envelope, deps, account, application_id)
        view = await _own(request, deps, application_id)
        return await _show(request, "apply_pins.html", {"view": view, "pins": pins})

    @post("/applications/{application_id:str}/pins/confirm")
    async def confirm_pins(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account = await _account_of(request, deps)
        await run(request, issue.confirm_pin_envelope, deps, account, application_id)
        return redirect(f"/applications/{application_id}")

    @get("/applications/{application_id:str}/lost")
    async def lost_page(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        return await _show(request, "apply_lost.html", {"view": await _own(request, deps, application_id)})

    @post("/applications/{application_id:str}/lost")
    async def lost(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        account, form = await _account_of(request, deps), await form_of(request)
        note = form.value("note")
        await run(request, supervise.report_loss_by_account, deps, account, application_id, note=note)
        return redirect(f"/applications/{application_id}")

    return [pins_page, open_pins, confirm_pins, lost_page, lost]
