"""The bureau's desk and the pick-up desk: one site, and each officer sees what the authorisation allows."""

from datetime import date
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.params import FromPath
from pydantic import BaseModel, ConfigDict, Field

from digiid.institutions.card_bureau.domain import Officer, OrderEvent, TravelDocument
from digiid.institutions.card_bureau.use_cases import desk, hand_over, movements
from digiid.institutions.card_bureau.use_cases.deps import Deps
from digiid.institutions.card_bureau.use_cases.hand_over import DeskCheck
from digiid.kernel.errors import Conflict, Refused, Unavailable
from digiid.platform.web import N_
from digiid.platform.web.forms import Form, check
from digiid.platform.web.site import form_of, language_of, page, redirect, require_session, run, site_of

NAVIGATION = (("/", N_("Documents")), ("/points", N_("Pick-up points")))

# What the holder accepts at the desk; the same words as before the application was submitted.
CONDITIONS = (
    N_("The digi-ID is a digital identity document. It is a possibility given by the state, not a right."),
    N_("It gives no citizenship, no residence and no right to travel to or stay in Estonia or the European Union."),
    N_("It gives no right to vote and no right to belong to a political party."),
    N_("I keep the card and the PINs to myself and answer for how they are used."),
    N_("If I lose the card or somebody else learns a PIN, I report it at once."),
)


class HandOverForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    kind: Literal["passport", "identity_card"]
    number: Annotated[str, Field(min_length=3, max_length=20)]
    issuing_country: Annotated[str, Field(pattern=r"^[A-Za-z]{1,3}$")]
    expires_on: date
    face: Literal["yes"]
    accepted: Literal["yes"]


_MESSAGES = {
    "kind": N_("Choose which document is shown"),
    "number": N_("Enter the number of the document that is shown"),
    "issuing_country": N_("Enter the issuing country's letters as in the document's machine-readable zone"),
    "expires_on": N_("Enter the date of expiry as year-month-day"),
    "face": N_("Compare the face with the document and the application's photo"),
    "accepted": N_("The holder must read and accept the conditions"),
}


def handlers(deps: Deps) -> list[Any]:
    async def officer_of(request: Request[Any, Any, Any]) -> Officer:
        session = require_session(request, kind="card")
        return await run(request, desk.admit_officer, deps, session.subject or "")

    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        officer = await officer_of(request)
        if officer.role == "bureau_officer":
            orders, counts = await run(request, desk.list_work, deps)
            return await page(request, "bureau_work.html", {"orders": orders, "counts": counts, "officer": officer})
        text = request.query_params.get("q", "").strip()[:60]
        if len(text) >= 2:
            orders = (await run(request, desk.search_at_desk, deps, officer, text)).value
        else:
            orders = await run(request, desk.list_at_desk, deps, officer)
        points = {point.code: point for point in await run(request, desk.list_points, deps)}
        context = {"orders": orders, "officer": officer, "points": points, "q": text}
        return await page(request, "bureau_desk.html", context)

    @get("/orders/{order_id:str}")
    async def show(request: Request[Any, Any, Any], order_id: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        view = (await run(request, desk.look_at_order, deps, order_id, officer)).value
        points = await run(request, desk.list_points, deps)
        context = {"view": view, "officer": officer, "points": points, "conditions": CONDITIONS}
        return await page(request, "bureau_order.html", context)

    @post("/orders/{order_id:str}/step")
    async def step(request: Request[Any, Any, Any], order_id: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        _require_bureau(officer)
        form = await form_of(request)
        events = {"ship": OrderEvent.SHIP, "arrive": OrderEvent.ARRIVE}
        event = events.get(form.value("event"))
        if event is None:
            raise Refused("bureau.step", "no such step", public=N_("Choose a step."))
        await run(request, movements.record_step, deps, order_id, event, by=officer.name)
        return redirect(f"/orders/{order_id}")

    @post("/orders/{order_id:str}/reroute")
    async def reroute(request: Request[Any, Any, Any], order_id: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        _require_bureau(officer)
        form = await form_of(request)
        await run(request, movements.reroute, deps, order_id, form.value("point"), by=officer.name)
        return redirect(f"/orders/{order_id}")

    @get("/orders/{order_id:str}/hand-over")
    async def hand_over_page(request: Request[Any, Any, Any], order_id: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        view = (await run(request, desk.look_at_order, deps, order_id, officer)).value
        return await page(request, "bureau_hand_over.html", {"view": view, "conditions": CONDITIONS, "form": Form()})

    @post("/orders/{order_id:str}/hand-over")
    async def do_hand_over(request: Request[Any, Any, Any], order_id: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        form = await form_of(request)
        filled = check(form, HandOverForm, _MESSAGES)
        view = await run(request, desk.show_order, deps, order_id, officer)
        context = {"view": view, "conditions": CONDITIONS, "form": form}
        if filled is None:
            return await page(request, "bureau_hand_over.html", context, status=422)
        site, language = site_of(request), language_of(request)
        shown = TravelDocument(filled.kind, filled.number, filled.issuing_country.upper(), filled.expires_on)
        text = "\n".join(site.gettext(language, condition) for condition in CONDITIONS)
        attested = DeskCheck(shown, face_compared=True, accepted=True, accepted_text=text)
        try:
            await run(request, hand_over.hand_over, deps, officer, order_id, attested)
        except (Refused, Conflict) as error:
            form.error("number", error.public or error.detail)
            return await page(request, "bureau_hand_over.html", context, status=422)
        except Unavailable:
            view = await run(request, desk.show_order, deps, order_id, officer)
            if view.hand_over is None:  # not begun: the officer tries again
                raise
        return redirect(f"/orders/{order_id}")

    @get("/points")
    async def points_page(request: Request[Any, Any, Any]) -> Response[Any]:
        officer = await officer_of(request)
        points = await run(request, desk.list_points, deps)
        return await page(request, "bureau_points.html", {"points": points, "officer": officer})

    @post("/points/{code:str}")
    async def switch_point(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        officer = await officer_of(request)
        _require_bureau(officer)
        form = await form_of(request)
        if form.value("target"):
            await run(request, movements.reroute_point, deps, code, form.value("target"), by=officer.name)
        else:
            is_open = form.value("open") == "yes"
            await run(request, movements.set_point_open, deps, code, is_open=is_open, by=officer.name)
        return redirect("/points")

    return [home, show, step, reroute, hand_over_page, do_hand_over, points_page, switch_point]


def _require_bureau(officer: Officer) -> None:
    if officer.role != "bureau_officer":
        raise Refused("bureau.bureau_only", officer.role, public=N_("Only officers of the bureau may do this."))
