"""The bank's pages: its conditions, own accounts, opening one with a signed application, the registered address."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.params import FromPath
from pydantic import BaseModel, ConfigDict, Field

from digiid.institutions.bank import use_cases
from digiid.institutions.bank.use_cases import Deps
from digiid.kernel.errors import Broken, DigiidError
from digiid.platform.web import N_
from digiid.platform.web.forms import check
from digiid.platform.web.sessions import Session
from digiid.platform.web.site import (
    STATUS_BY_KIND,
    download,
    form_of,
    page,
    redirect,
    require_session,
    run,
    session_of,
)

NAVIGATION = (("/", N_("Accounts")), ("/open", N_("Open an account")), ("/address", N_("My address")))
OUTCOMES = {
    "sent": N_("no answer is known"),
    "answered": N_("the register answered"),
    "refused": N_("the register refused"),
}


class AccountForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    purpose: Literal["business", "personal", "savings"]
    currency: Literal["EUR", "USD", "GBP"]
    expected_use: Annotated[str, Field(min_length=5, max_length=1000)]


_UNAVAILABLE = N_("The register or the consent service does not answer now. Nothing was told; try again in a while.")
_MESSAGES = {
    "purpose": N_("Choose what the account is for"),
    "currency": N_("Choose the currency"),
    "expected_use": N_("Say in a few words what payments you expect"),
}


def handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        session = session_of(request)
        applications = []
        if session is not None and session.subject is not None:
            applications = await run(request, use_cases.own_applications, deps, session.subject)
        accepted = sorted(deps.settings.accepted_policies)
        return await page(request, "bank_home.html", {"applications": applications, "accepted": accepted})

    @get("/open")
    async def open_page(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        return await page(request, "bank_open.html")

    @post("/open")
    async def apply(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        form = await form_of(request)
        filled = check(form, AccountForm, _MESSAGES)
        if filled is None:
            return await page(request, "bank_open.html", {"form": form}, status=422)
        application_id = await run(
            request,
            use_cases.apply_for_account,
            deps,
            personal_code=session.subject or "",
            name=session.data["name"],
            policy=session.data["policy"],
            purpose=filled.purpose,
            currency=filled.currency,
            expected_use=filled.expected_use,
        )
        return redirect(f"/applications/{application_id}")

    @get("/applications/{application_id:str}")
    async def show(request: Request[Any, Any, Any], application_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        application, text = await run(request, use_cases.show_application, deps, session.subject or "", application_id)
        return await page(request, "bank_application.html", {"application": application, "text": text})

    @get("/applications/{application_id:str}/container")
    async def container(request: Request[Any, Any, Any], application_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        content = await run(request, use_cases.read_container, deps, session.subject or "", application_id)
        name = f"account-application-{application_id[:8]}.asice"
        return download(content, name=name, media_type="application/vnd.etsi.asic-e+zip")

    @get("/address")
    async def address(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        return await _address_page(request, session)

    @post("/address")
    async def use_address(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        try:
            url = await run(request, use_cases.use_registered_address, deps, session.subject or "")
        except DigiidError as error:
            return await _address_page(request, session, error)
        return redirect(url or "/address")

    @get(use_cases.BACK_PATH)
    async def come_back(request: Request[Any, Any, Any]) -> Response[Any]:
        # the person comes from the consent service: only somebody who was sent there is waited for
        session = require_session(request, kind="card")
        try:
            await run(request, use_cases.come_back, deps, session.subject or "")
        except DigiidError as error:
            return await _address_page(request, session, error)
        return redirect("/address")

    @post("/address/forget")
    async def forget(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        await run(request, use_cases.forget_address, deps, session.subject or "")
        return redirect("/address")

    async def _address_page(
        request: Request[Any, Any, Any], session: Session, error: DigiidError | None = None
    ) -> Response[Any]:
        if isinstance(error, Broken):
            raise error
        view = await run(request, use_cases.show_address, deps, session.subject or "")
        refused = (error.public or _UNAVAILABLE) if error else ""
        context = {"view": view, "refused": refused, "outcomes": OUTCOMES}
        return await page(request, "bank_address.html", context, status=STATUS_BY_KIND[type(error)] if error else 200)

    return [home, open_page, apply, show, container, address, use_address, come_back, forget]
