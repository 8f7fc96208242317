"""The pages of the consent service: a request in its exact words, one's own consents, taking one back."""

from datetime import timedelta
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.params import FromPath

from digiid.institutions.information_authority.consents.domain import ConsentState
from digiid.institutions.information_authority.consents.use_cases import deciding
from digiid.institutions.information_authority.consents.use_cases.deps import Deps
from digiid.platform.web import N_
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.sessions import Session
from digiid.platform.web.signing import SignedContainer, ToSign
from digiid.platform.web.site import (
    download,
    language_of,
    page,
    redirect,
    require_session,
    run,
    session_of,
)

NAVIGATION: Final = (("/", N_("My consents")), ("/help", N_("Help")))
CONTAINER_TYPE: Final = "application/vnd.etsi.asic-e+zip"
_WITHDRAW: Final = "withdraw"
_LINK_LIMIT = RateLimit(60, timedelta(minutes=1))


def get_to_sign(deps: Deps, session: Session, reference: str) -> ToSign:
    """What the card signs: `<consent>?en` or `<consent>?et` to consent, `<consent>?withdraw` to take it back."""
    consent_id, _, what = reference.partition("?")
    files = deciding.files_to_sign(deps, session.subject or "", consent_id, is_withdrawal=what == _WITHDRAW)
    return ToSign(files=files)


def take_signed(deps: Deps, session: Session, reference: str, signed: SignedContainer) -> str:
    """The decision that the signature makes. Returns the page to show next."""
    consent_id, _, what = reference.partition("?")
    if what == _WITHDRAW:
        deciding.withdraw(deps, session.subject or "", consent_id, container=signed.content)
    else:
        deciding.grant(deps, session.subject or "", consent_id, language=what, container=signed.content)
    return f"/consents/{consent_id}"


def handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        session = session_of(request)
        if session is None or session.subject is None:
            return await page(request, "consent_start.html")
        listed = await run(request, deciding.own_consents, deps, session.subject)
        groups = {
            "waiting": [each for each in listed if each.consent.state is ConsentState.REQUESTED],
            "holding": [each for each in listed if each.consent.state is ConsentState.APPROVED],
        }
        groups["past"] = [each for each in listed if each not in groups["waiting"] and each not in groups["holding"]]
        return await page(request, "consent_mine.html", groups)

    @get("/requests/{link:str}", rate_limit=_LINK_LIMIT)
    async def open_link(request: Request[Any, Any, Any], link: FromPath[str]) -> Response[Any]:
        # the link is used only once somebody is signed in, so that nothing that prefetches can use it up
        session = require_session(request, kind="card")
        asked = await run(request, deciding.open_link, deps, session.subject or "", link[:100])
        return redirect(f"/consents/{asked[0].consent_id}" if len(asked) == 1 else "/")

    @get("/consents/{consent_id:str}")
    async def show(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        shown = await run(request, deciding.show_consent, deps, session.subject or "", consent_id)
        template = "consent_request.html" if shown.consent.state is ConsentState.REQUESTED else "consent_detail.html"
        return await page(request, template, _context(request, shown))

    @post("/consents/{consent_id:str}/grant")
    async def grant(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        language = language_of(request)
        await run(request, deciding.grant, deps, session.subject or "", consent_id, language=language)
        return redirect(f"/consents/{consent_id}")

    @post("/consents/{consent_id:str}/refuse")
    async def refuse(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        await run(request, deciding.refuse, deps, session.subject or "", consent_id)
        return redirect(f"/consents/{consent_id}")

    @get("/consents/{consent_id:str}/withdraw")
    async def withdraw_page(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        shown = await run(request, deciding.show_consent, deps, session.subject or "", consent_id)
        if not shown.holds or not shown.may_decide:
            return redirect(f"/consents/{consent_id}")
        return await page(request, "consent_withdraw.html", _context(request, shown))

    @post("/consents/{consent_id:str}/withdraw")
    async def withdraw(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        await run(request, deciding.withdraw, deps, session.subject or "", consent_id)
        return redirect(f"/consents/{consent_id}")

    @post("/consents/{consent_id:str}/extend")
    async def extend(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        asked = await run(request, deciding.extend, deps, session.subject or "", consent_id)
        return redirect(f"/consents/{asked.consent_id}")

    @get("/consents/{consent_id:str}/signed")
    async def signed(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        content = await run(request, deciding.read_signed, deps, session.subject or "", consent_id, is_withdrawal=False)
        return download(content, name=f"consent-{consent_id[:8]}.asice", media_type=CONTAINER_TYPE)

    @get("/consents/{consent_id:str}/signed-withdrawal")
    async def signed_withdrawal(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        content = await run(request, deciding.read_signed, deps, session.subject or "", consent_id, is_withdrawal=True)
        return download(content, name=f"withdrawal-{consent_id[:8]}.asice", media_type=CONTAINER_TYPE)

    @get("/consents/{consent_id:str}/receipt")
    async def receipt(request: Request[Any, Any, Any], consent_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        content = await run(request, deciding.read_own_receipt, deps, session.subject or "", consent_id)
        return download(content.encode(), name=f"receipt-{consent_id[:8]}.jwt", media_type="application/jwt")

    @get("/help")
    async def help_page(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "consent_help.html")

    return [
        home,
        open_link,
        show,
        grant,
        refuse,
        withdraw_page,
        withdraw,
        extend,
        signed,
        signed_withdrawal,
        receipt,
        help_page,
    ]


def _context(request: Request[Any, Any, Any], shown: deciding.Shown) -> dict[str, Any]:
    language = language_of(request)
    return {
        "shown": shown,
        "consent": shown.consent,
        "sections": shown.snapshot.sections[language],
        "name": shown.purpose.name.in_language(language),
    }
