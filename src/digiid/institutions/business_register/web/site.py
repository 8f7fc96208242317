"""The register's pages: search and company for everybody, own companies after the sign-in."""

from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import FromPath
from pydantic import BaseModel, ConfigDict, Field

from digiid.institutions.business_register import use_cases
from digiid.institutions.business_register.use_cases import Deps
from digiid.platform.web import N_
from digiid.platform.web.forms import Form, check
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.site import page, require_session, run

_SEARCH_LIMIT = RateLimit(120, timedelta(minutes=1))
NAVIGATION = (("/", N_("Search")), ("/own", N_("Own companies")))
STATUSES = {
    "R": N_("entered in the register"),
    "L": N_("in liquidation"),
    "N": N_("bankrupt"),
    "K": N_("deleted"),
}
ROLES = {
    "board_member": N_("board member"),
    "shareholder": N_("shareholder"),
    "procurist": N_("procurist"),
    "liquidator": N_("liquidator"),
    "bankruptcy_trustee": N_("trustee in bankruptcy"),
}
REPRESENTATION = {
    "sole": N_("represents the company alone"),
    "joint": N_("represents the company together with another one"),
    "none": N_("does not represent the company"),
}
FILINGS = {
    "company.entered": N_("the company was entered"),
    "company.dissolve": N_("liquidation began"),
    "company.continue": N_("the company goes on"),
    "company.declare_bankrupt": N_("bankruptcy was declared"),
    "company.end_bankruptcy": N_("bankruptcy ended"),
    "company.delete": N_("the company was deleted"),
    "role.entered": N_("a role was entered"),
    "role.ended": N_("a role ended"),
}


class SearchForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    q: Annotated[str, Field(min_length=2, max_length=100)]


_MESSAGES = {"q": N_("Enter at least two letters of the name, or the registry code")}


def handlers(deps: Deps) -> list[Any]:
    @get("/", rate_limit=_SEARCH_LIMIT)
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        context: dict[str, Any] = {"statuses": STATUSES}
        if "q" not in request.query_params:
            return await page(request, "business_search.html", context)
        form: Form[Any] = Form({"q": request.query_params["q"].strip()[:200]})
        wanted = check(form, SearchForm, _MESSAGES)
        if wanted is None:
            return await page(request, "business_search.html", context | {"form": form}, status=422)
        found = await run(request, use_cases.find_companies, deps, wanted.q)
        return await page(request, "business_search.html", context | {"form": form, "found": found, "searched": True})

    @get("/companies/{registry_code:str}")
    async def show(request: Request[Any, Any, Any], registry_code: FromPath[str]) -> Response[Any]:
        view = await run(request, use_cases.show_company, deps, registry_code)
        words = {"statuses": STATUSES, "roles": ROLES, "representation": REPRESENTATION, "filings": FILINGS}
        return await page(request, "business_company.html", {"view": view, **words})

    @get("/own")
    async def own(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        found = await run(request, use_cases.own_companies, deps, session.subject or "")
        words = {"statuses": STATUSES, "roles": ROLES, "representation": REPRESENTATION}
        return await page(request, "business_own.html", {"found": found, **words})

    return [home, show, own]
