"""The register desk: look up a person, always with a purpose; change the address and the family; see who looked."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from pydantic import BaseModel, ConfigDict, Field

from digiid.institutions.population_register import use_cases
from digiid.institutions.population_register.domain import Address, Relation
from digiid.institutions.population_register.use_cases import Deps, DeskOfficer
from digiid.kernel.errors import Conflict, DigiidError, NotFound, Refused
from digiid.platform.web import N_
from digiid.platform.web.forms import Form, check
from digiid.platform.web.site import form_of, page, require_session, run

Code = Annotated[str, Field(pattern=r"^[1-8][0-9]{10}$")]
Purpose = Annotated[str, Field(min_length=5, max_length=200)]


class SearchForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: Annotated[str, Field(min_length=2, max_length=100)]
    purpose: Purpose


class EntryForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    personal_code: Code
    purpose: Purpose


class AddressForm(EntryForm):
    # in the order of the page, which errors are told in
    kind: Literal["residence", "contact"]
    street: Annotated[str, Field(min_length=2, max_length=200)]
    postcode: Annotated[str, Field(max_length=20)] = ""
    locality: Annotated[str, Field(max_length=100)] = ""
    region: Annotated[str, Field(max_length=100)] = ""
    country: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    from_on: date


class RelationForm(EntryForm):
    relation: Literal["child", "parent", "spouse"]
    other_code: Code
    custody: Literal["yes", "no"] = "no"
    since_on: date


class EndForm(EntryForm):
    relation: Literal["child", "parent", "spouse"]
    other_code: Code
    until_on: date


_MESSAGES = {
    "text": N_("Enter a personal code, or at least two letters of a surname"),
    "purpose": N_("Say in a few words why you need this look; it is recorded"),
    "personal_code": N_("Enter a personal code of 11 digits"),
    "other_code": N_("Enter a personal code of 11 digits"),
    "kind": N_("Choose the kind of address"),
    "country": N_("Enter the country's three letters, for example EST"),
    "street": N_("Enter street and house"),
    "relation": N_("Choose what the other person is"),
}
_KINDS = {
    "persons.searched": N_("searched"),
    "person.read": N_("read the entry"),
    "person.registered": N_("entered the person"),
    "officer.added": N_("authorised an officer"),
    "address.changed": N_("changed the address"),
    "relation.entered": N_("entered a family relation"),
    "relation.ended": N_("ended a family relation"),
    "document.told": N_("told the state of a document"),
}
NAVIGATION = (("/", N_("Search")), ("/look-ups", N_("Who looked")))


def handlers(deps: Deps) -> list[Any]:
    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        return await page(request, "population_search.html")

    @post("/")
    async def search(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        form = await form_of(request)
        wanted = check(form, SearchForm, _MESSAGES)
        if wanted is None:
            return await page(request, "population_search.html", {"form": form}, status=422)
        officer = _officer(request, wanted.purpose)
        found = await run(request, use_cases.search_at_desk, deps, text=wanted.text, officer=officer)
        return await page(request, "population_search.html", {"form": form, "found": found.value, "searched": True})

    @post("/person")
    async def open_entry(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        form = await form_of(request)
        wanted = check(form, EntryForm, _MESSAGES)
        if wanted is None:
            return await page(request, "population_search.html", {"form": form}, status=422)
        return await _entry_page(request, wanted, Form())

    @post("/person/address")
    async def change_address(request: Request[Any, Any, Any]) -> Response[Any]:
        def change(filled: AddressForm, officer: DeskOfficer) -> None:
            fields = filled.model_dump(exclude={"personal_code", "purpose"})
            address = Address(**fields)
            use_cases.change_address(deps, filled.personal_code, address, by=officer.name, purpose=officer.purpose)

        return await _change(request, AddressForm, change, beside="from_on")

    @post("/person/relation")
    async def enter_relation(request: Request[Any, Any, Any]) -> Response[Any]:
        def enter(filled: RelationForm, officer: DeskOfficer) -> None:
            kind, first, second = _sides(filled.relation, filled.personal_code, filled.other_code)
            relation = Relation(kind, first, second, filled.custody == "yes", filled.since_on)
            use_cases.enter_relation(deps, relation, by=officer.name, purpose=officer.purpose)

        return await _change(request, RelationForm, enter, beside="other_code")

    @post("/person/relation-end")
    async def end_relation(request: Request[Any, Any, Any]) -> Response[Any]:
        def end(filled: EndForm, officer: DeskOfficer) -> None:
            kind, first, second = _sides(filled.relation, filled.personal_code, filled.other_code)
            use_cases.end_relation(
                deps,
                kind=kind,
                personal_code=first,
                other_code=second,
                until_on=filled.until_on,
                by=officer.name,
                purpose=officer.purpose,
            )

        return await _change(request, EndForm, end, beside="until_on")

    @get("/look-ups")
    async def look_ups(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        entries = await run(request, use_cases.list_look_ups, deps)
        return await page(request, "population_look_ups.html", {"entries": entries, "kinds": _KINDS})

    async def _change(
        request: Request[Any, Any, Any],
        model: type[Any],
        change: Callable[[Any, DeskOfficer], None],
        *,
        beside: str,
    ) -> Response[Any]:
        require_session(request, kind="card")
        form = await form_of(request)
        filled = check(form, model, _MESSAGES)
        if filled is None:
            # the page cannot be shown again without knowing whose it is
            known = check(Form({n: form.value(n) for n in ("personal_code", "purpose")}), EntryForm, _MESSAGES)
            if known is None:
                return await page(request, "population_search.html", {"form": form}, status=422)
            return await _entry_page(request, known, form, status=422)
        try:
            await run(request, change, filled, _officer(request, filled.purpose))
        except (Refused, Conflict, NotFound) as error:
            form.error(beside, error.public or error.detail)
            return await _entry_page(request, filled, form, status=_status(error))
        return await _entry_page(request, filled, Form(), done=True)

    async def _entry_page(
        request: Request[Any, Any, Any], wanted: EntryForm, form: Form[Any], *, status: int = 200, done: bool = False
    ) -> Response[Any]:
        officer = _officer(request, wanted.purpose)
        entry = await run(request, use_cases.open_entry, deps, wanted.personal_code, officer=officer)
        context = {"entry": entry.value, "purpose": wanted.purpose, "form": form, "done": done}
        return await page(request, "population_person.html", context, status=status)

    return [home, search, open_entry, change_address, enter_relation, end_relation, look_ups]


def _officer(request: Request[Any, Any, Any], purpose: str) -> DeskOfficer:
    session = require_session(request, kind="card")
    return DeskOfficer(session.subject or "", session.data["officer"], purpose)


def _sides(relation: str, personal_code: str, other_code: str) -> tuple[Literal["parent", "spouse"], str, str]:
    """The relation as the register keeps it: a parent stands first."""
    if relation == "spouse":
        return "spouse", personal_code, other_code
    return ("parent", personal_code, other_code) if relation == "child" else ("parent", other_code, personal_code)


def _status(error: DigiidError) -> int:
    return 404 if isinstance(error, NotFound) else 422
