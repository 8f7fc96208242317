"""The state portal's first pages: what a person has here, a lost card, misuse, help.

What else the portal has on pages is beside this: `signing`, `validation`, `files`, `tracker`.
"""

from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import FromPath
from pydantic import BaseModel, ConfigDict, Field

from digiid.institutions.information_authority import use_cases
from digiid.institutions.information_authority.use_cases import Deps
from digiid.kernel.errors import Unavailable
from digiid.platform.web import N_
from digiid.platform.web.forms import Form, check
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.site import end_session, form_of, page, require_session, run, session_of

Ask = Request[Any, Any, Any]
NAVIGATION = (
    ("/", N_("My state")),
    ("/who-looked", N_("Who looked")),
    ("/sign", N_("Sign")),
    ("/validate", N_("Validate a document")),
    ("/files", N_("More with files")),
    ("/report-misuse", N_("Report misuse")),
    ("/help", N_("Help")),
)
_REPORT_LIMIT = RateLimit(20, timedelta(minutes=1))


class MisuseForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    what_happened: Annotated[str, Field(min_length=10, max_length=4000)]
    document_number: Annotated[str, Field(max_length=20)] = ""
    service: Annotated[str, Field(max_length=200)] = ""
    contact: Annotated[str, Field(max_length=200)] = ""


_MISUSE_MESSAGES = {"what_happened": N_("Say in at least ten characters what happened")}


def handlers(deps: Deps) -> list[Any]:
    return [
        *_own_handlers(deps),
        *_lost_handlers(deps),
        *_misuse_handlers(deps),
        *_help_handlers(),
    ]


# --- what a person has here -------------------------------------------------------------------------------------------


def _own_handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def home(request: Ask) -> Response[Any]:
        session = session_of(request)
        if session is None or session.subject is None:
            return await page(request, "portal_home.html")
        documents, problem = [], False
        try:
            documents = list(await run(request, use_cases.own_identity_documents, deps, session.subject))
        except Unavailable:
            problem = True  # the rest of the page is still of use
        sign_ins = await run(request, use_cases.own_sign_ins, deps, session.subject)
        context = {"documents": documents, "problem": problem, "sign_ins": sign_ins[:5]}
        return await page(request, "portal_mine.html", context)

    @get("/sign-ins")
    async def sign_ins(request: Ask) -> Response[Any]:
        session = require_session(request, kind="card")
        entries = await run(request, use_cases.own_sign_ins, deps, session.subject or "")
        return await page(request, "portal_sign_ins.html", {"sign_ins": entries})

    return [home, sign_ins]


# --- a lost card ------------------------------------------------------------------------------------------------------


def _lost_handlers(deps: Deps) -> list[Any]:
    @get("/lost/{number:str}")
    async def lost(request: Ask, number: FromPath[str]) -> Response[Any]:
        require_session(request, kind="card")
        return await page(request, "portal_lost.html", {"number": number})

    @post("/lost/{number:str}")
    async def report_lost(request: Ask, number: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        form = await form_of(request)
        note = form.value("note")[:1000]
        reported = await run(request, use_cases.report_loss, deps, session.subject or "", number, note)
        await end_session(request)
        return await page(request, "portal_lost_done.html", {"number": number, "reported": reported})

    return [lost, report_lost]


# --- misuse -----------------------------------------------------------------------------------------------------------


def _misuse_handlers(deps: Deps) -> list[Any]:
    @get("/report-misuse")
    async def misuse_page(request: Ask) -> Response[Any]:
        return await page(request, "portal_misuse.html")

    @post("/report-misuse", rate_limit=_REPORT_LIMIT)
    async def misuse(request: Ask) -> Response[Any]:
        form = await form_of(request)
        filled = check(form, MisuseForm, _MISUSE_MESSAGES)
        if filled is None:
            return await page(request, "portal_misuse.html", {"form": form}, status=422)
        receipt = await run(request, use_cases.report_misuse, deps, **filled.model_dump())
        return await page(request, "portal_misuse_done.html", {"receipt": receipt, "form": Form()})

    return [misuse_page, misuse]


# --- help -------------------------------------------------------------------------------------------------------------


def _help_handlers() -> list[Any]:
    @get("/help")
    async def help_page(request: Ask) -> Response[Any]:
        return await page(request, "portal_help.html")

    return [help_page]
