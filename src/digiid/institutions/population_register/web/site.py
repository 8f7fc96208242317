"""The register desk: look up a person, always with a purpose, and see who looked."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from pydantic import BaseModel, ConfigDict, Field

from digiid.institutions.population_register import use_cases
from digiid.institutions.population_register.use_cases import Deps
from digiid.platform.web import N_
from digiid.platform.web.forms import check
from digiid.platform.web.site import form_of, page, require_session, run


class SearchForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: Annotated[str, Field(min_length=2, max_length=100)]
    purpose: Annotated[str, Field(min_length=5, max_length=200)]


_MESSAGES = {
    "text": N_("Enter a personal code, or at least two letters of a surname"),
    "purpose": N_("Say in a few words why you need this look; it is recorded"),
}
_KINDS = {
    "persons.searched": N_("searched"),
    "person.read": N_("read the entry"),
    "person.registered": N_("entered the person"),
    "officer.added": N_("authorised an officer"),
}
NAVIGATION = (("/", N_("Search")), ("/look-ups", N_("Who looked")))


def handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        return await page(request, "population_search.html")

    @post("/")
    async def search(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        form = await form_of(request)
        wanted = check(form, SearchForm, _MESSAGES)
        if wanted is None:
            return await page(request, "population_search.html", {"form": form}, status=422)
        found = await run(
            request,
            use_cases.search_at_desk,
            deps,
            text=wanted.text,
            purpose=wanted.purpose,
            officer=session.data["officer"],
        )
        return await page(request, "population_search.html", {"form": form, "found": found, "searched": True})

    @get("/look-ups")
    async def look_ups(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        entries = await run(request, use_cases.list_look_ups, deps)
        return await page(request, "population_look_ups.html", {"entries": entries, "kinds": _KINDS})

    return [home, search, look_ups]
