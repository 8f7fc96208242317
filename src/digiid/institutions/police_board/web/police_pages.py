"""The officers' desk."""

from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from digiid.institutions.police_board.domain import law
from digiid.institutions.police_board.domain.application import ApplicationState, Outcome
from digiid.institutions.police_board.domain.case import CaseState
from digiid.institutions.police_board.domain.form import InvalidForm
from digiid.institutions.police_board.domain.law import MeasureBasis, RefusalGround
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.use_cases import check, decide, looks, officers, stuck, supervise
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.institutions.police_board.web import words
from digiid.kernel.errors import Malformed, NotFound, Refused
from digiid.platform.web import N_
from digiid.platform.web.forms import Form
from digiid.platform.web.site import form_of, language_of, page, redirect, require_session, run

Ask = Request[Any, Any, Any]
NAVIGATION = (
    ("/", N_("Work")),
    ("/documents", N_("Documents")),
    ("/cases", N_("Cases")),
    ("/applications", N_("Decided applications")),
)
_DECIDED = (ApplicationState.DECIDED, ApplicationState.FINAL, ApplicationState.RETURNED_UNEXAMINED)
_EXAMINED = (ApplicationState.SUBMITTED, ApplicationState.CHECKS_RUNNING, ApplicationState.CHALLENGED)
_Act = Callable[[Deps, Officer, str, Form[Any]], None]
_Again = Callable[[Ask, Deps, Officer, str, Form[Any]], Awaitable[Response[Any]]]


def handlers(deps: Deps) -> list[Any]:
    """The handlers of the site `police`; signing in is added by the composition of the site."""
    return [
        *_work_handlers(deps),
        *_application_handlers(deps),
        *_document_handlers(deps),
        *_case_handlers(deps),
    ]


async def _officer_of(request: Ask, deps: Deps) -> Officer:
    # asked at every request: an officer who is struck from the list has no access from that moment
    session = require_session(request, kind="card")
    return await run(request, officers.get_officer, deps, session.subject or "")


async def _show(request: Ask, template: str, context: dict[str, Any], *, status: int = 200) -> Response[Any]:
    return await page(request, template, {**words.words(language_of(request)), **context}, status=status)


def _posting(deps: Deps, kind: str, path: str, act: _Act, *, again: _Again, first_field: str) -> Any:
    """A POST that does one thing: on wrong input the page again with the errors, otherwise back to it."""
    whole = f"/{kind}/{{key:str}}/{path}"

    @post(whole, name=f"post {whole}")
    async def take(request: Ask, key: FromPath[str]) -> Response[Any]:
        officer, form = await _officer_of(request, deps), await form_of(request)
        try:
            await run(request, act, deps, officer, key, form)
        except InvalidForm as error:
            form.errors.update(words.problem_texts(error.problems))
            return await again(request, deps, officer, key, form)
        except Malformed as error:
            if error.code not in words.PROBLEMS:
                raise
            form.error("grounds" if error.code.endswith("basis") else first_field, words.PROBLEMS[error.code])
            return await again(request, deps, officer, key, form)
        return redirect(f"/{kind}/{key}")

    return take


# --- queues -----------------------------------------------------------------------------------------------------------


def _work_handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def work(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        entries = await run(request, decide.list_queue, deps)
        cases = await run(request, supervise.list_cases, deps, CaseState.OPEN)
        to_decide = [e for e in entries if e.proposal]
        examined = [e for e in entries if not e.proposal and e.application.state in _EXAMINED]
        waiting = [e for e in entries if not e.proposal and e.application.state not in _EXAMINED]
        context = {"officer": officer, "to_decide": to_decide, "examined": examined, "waiting": waiting, "cases": cases}
        context["stuck"] = await run(request, stuck.list_stuck, deps)
        return await _show(request, "police_work.html", context)

    @post("/messages/{position:int}/again")
    async def send_again(request: Ask, position: FromPath[int]) -> Response[Any]:
        await run(request, stuck.send_again, deps, await _officer_of(request, deps), position)
        return redirect("/")

    @get("/applications")
    async def decided(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        entries = await run(request, decide.list_queue, deps, _DECIDED)
        return await _show(request, "police_decided.html", {"officer": officer, "entries": entries})

    return [work, send_again, decided]


# --- one application --------------------------------------------------------------------------------------------------


def _application_handlers(deps: Deps) -> list[Any]:
    @get("/applications/{application_id:str}")
    async def application(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        return await _show_application(request, deps, await _officer_of(request, deps), application_id, Form())

    @get("/applications/{application_id:str}/photo.jpg")
    async def photo(request: Ask, application_id: FromPath[str]) -> Response[Any]:
        await _officer_of(request, deps)
        found = await run(request, decide.get_photo, deps, application_id)
        return Response(found.jpeg, media_type="image/jpeg")

    posting = partial(_posting, deps, "applications", again=_show_application)
    return [
        application,
        photo,
        posting("checks", _run_checks, first_field="checks"),
        posting("hits", _settle_hit, first_field="reason"),
        posting("questions", _ask, first_field="text"),
        posting("extend", _extend, first_field="until_on"),
        posting("propose", _propose, first_field="reasons"),
        posting("decide", _decide, first_field="note"),
        posting("challenge", _settle_challenge, first_field="challenge_reasons"),
    ]


async def _show_application(
    request: Ask, deps: Deps, officer: Officer, application_id: str, form: Form[Any]
) -> Response[Any]:
    view = (await run(request, looks.look_at_application, deps, officer, application_id)).value
    context = {"officer": officer, "view": view, "form": form, "grounds": list(RefusalGround)}
    return await _show(request, "police_application.html", context, status=422 if form.errors else 200)


def _run_checks(deps: Deps, officer: Officer, application_id: str, _form: Form[Any]) -> None:
    check.run_checks_again(deps, officer, application_id)


def _settle_hit(deps: Deps, officer: Officer, _application_id: str, form: Form[Any]) -> None:
    hit_id = form.value("hit")
    try:
        confirmed = form.value("verdict") == "confirm"
        check.settle_hit(deps, officer, hit_id, confirmed=confirmed, reason=form.value(f"reason-{hit_id}"))
    except InvalidForm as error:
        raise InvalidForm({f"reason-{hit_id}": code for code in error.problems.values()}) from error


def _ask(deps: Deps, officer: Officer, application_id: str, form: Form[Any]) -> None:
    kind = "deficiency" if form.value("kind") == "deficiency" else "question"
    decide.ask_applicant(deps, officer, application_id, text=form.value("text"), kind=kind)


def _extend(deps: Deps, officer: Officer, application_id: str, form: Form[Any]) -> None:
    try:
        until_on = date.fromisoformat(form.value("until_on"))
    except ValueError as error:
        raise InvalidForm({"until_on": "date"}) from error
    try:
        decide.extend_term(deps, officer, application_id, until_on=until_on, reason=form.value("extend_reason"))
    except InvalidForm as error:
        raise InvalidForm({"extend_reason" if f == "reason" else f: c for f, c in error.problems.items()}) from error


def _propose(deps: Deps, officer: Officer, application_id: str, form: Form[Any]) -> None:
    try:
        outcome = Outcome(form.value("outcome"))
    except ValueError as error:
        raise InvalidForm({"outcome": "choose"}) from error
    known = {ground.value for ground in RefusalGround}
    grounds = [RefusalGround(g) for g in form.chosen("grounds") if g in known] if outcome is Outcome.REFUSE else []
    decide.propose(deps, officer, application_id, outcome=outcome, reasons=form.value("reasons"), grounds=grounds)


def _decide(deps: Deps, officer: Officer, application_id: str, form: Form[Any]) -> None:
    verdict = form.value("verdict")
    if verdict not in ("agree", "send_back"):
        raise InvalidForm({"verdict": "choose"})
    decide.decide(deps, officer, application_id, agreed=verdict == "agree", note=form.value("note"))


def _settle_challenge(deps: Deps, officer: Officer, application_id: str, form: Form[Any]) -> None:
    verdict = form.value("challenge_verdict")
    if verdict not in ("grant", "reject"):
        raise InvalidForm({"challenge_verdict": "choose"})
    try:
        decide.settle_challenge(
            deps, officer, application_id, granted=verdict == "grant", reasons=form.value("challenge_reasons")
        )
    except InvalidForm as error:
        raise InvalidForm({f"challenge_{field}": code for field, code in error.problems.items()}) from error


# --- documents --------------------------------------------------------------------------------------------------------


def _document_handlers(deps: Deps) -> list[Any]:
    @get("/documents")
    async def documents(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        text = request.query_params.get("q", "")[:40]
        found = await run(request, supervise.list_documents, deps, text=text)
        search: Form[Any] = Form(values={"q": text})
        context = {"officer": officer, "documents": found, "form": search}
        return await _show(request, "police_documents.html", context)

    @get("/documents/{number:str}")
    async def document(request: Ask, number: FromPath[str]) -> Response[Any]:
        return await _show_document(request, deps, await _officer_of(request, deps), number, Form())

    posting = partial(_posting, deps, "documents", again=_show_document)
    return [documents, document, posting("measures", _measure, first_field="reason")]


async def _show_document(request: Ask, deps: Deps, officer: Officer, number: str, form: Form[Any]) -> Response[Any]:
    view = (await run(request, looks.look_at_document, deps, officer, number)).value
    bases = {"suspend": law.SUSPENSION_BASES, "lift": law.LIFTING_BASES, "annul": law.ANNULMENT_BASES}
    context: dict[str, Any] = {"officer": officer, "view": view, "form": form, "bases": bases}
    context["opened"] = form.value("measure")
    return await _show(request, "police_document.html", context, status=422 if form.errors else 200)


def _measure(deps: Deps, officer: Officer, number: str, form: Form[Any]) -> None:
    measure, of_right = form.value("measure"), form.value("of") == "right"
    try:
        basis = MeasureBasis(form.value(f"basis-{measure}"))
    except ValueError as error:
        raise InvalidForm({f"basis-{measure}": "choose"}) from error
    acts = {
        ("suspend", False): supervise.suspend_document,
        ("lift", False): supervise.lift_suspension,
        ("annul", False): supervise.annul_document,
        ("suspend", True): supervise.suspend_right,
        ("lift", True): supervise.lift_right,
        ("annul", True): supervise.annul_right,
    }
    act = acts.get((measure, of_right))
    if act is None:
        raise NotFound("document.no_measure", measure[:20], public="There is no such measure.")
    key = supervise.get_document(deps, number).right.right_id if of_right else number
    try:
        act(deps, officer, key, basis=basis, reason=form.value(f"reason-{measure}"))
    except InvalidForm as error:
        raise InvalidForm({f"{field}-{measure}": code for field, code in error.problems.items()}) from error


# --- cases ------------------------------------------------------------------------------------------------------------


def _case_handlers(deps: Deps) -> list[Any]:
    @get("/cases")
    async def cases(request: Ask) -> Response[Any]:
        officer = await _officer_of(request, deps)
        is_open = await run(request, supervise.list_cases, deps, CaseState.OPEN)
        closed = await run(request, supervise.list_cases, deps, CaseState.CLOSED)
        return await _show(request, "police_cases.html", {"officer": officer, "open_cases": is_open, "closed": closed})

    @get("/cases/{case_id:str}")
    async def case(request: Ask, case_id: FromPath[str]) -> Response[Any]:
        return await _show_case(request, deps, await _officer_of(request, deps), case_id, Form())

    posting = partial(_posting, deps, "cases", again=_show_case)
    return [
        cases,
        case,
        posting("notes", _note, first_field="text"),
        posting("delay", _keep_back, first_field="until_on"),
        posting("close", _close, first_field="reason"),
    ]


async def _show_case(request: Ask, deps: Deps, officer: Officer, case_id: str, form: Form[Any]) -> Response[Any]:
    view = (await run(request, looks.look_at_case, deps, officer, case_id)).value
    context = {"officer": officer, "view": view, "form": form}
    return await _show(request, "police_case.html", context, status=422 if form.errors else 200)


def _note(deps: Deps, officer: Officer, case_id: str, form: Form[Any]) -> None:
    supervise.add_note(deps, officer, case_id, text=form.value("text"))


def _keep_back(deps: Deps, officer: Officer, case_id: str, form: Form[Any]) -> None:
    try:
        until_on = date.fromisoformat(form.value("until_on"))
    except ValueError as error:
        raise InvalidForm({"until_on": "date"}) from error
    try:
        looks.keep_looks_back(deps, officer, case_id, until_on=until_on, reason=form.value("delay_reason"))
    except Refused as error:
        if error.code != "disclosures.delay_length":
            raise
        raise InvalidForm({"until_on": "date_range"}) from error


def _close(deps: Deps, officer: Officer, case_id: str, form: Form[Any]) -> None:
    supervise.close_case(deps, officer, case_id, reason=form.value("reason"))
