"""A small site with every component of the platform's pages on it: for tests of the plumbing, and to look at.

`python -m tests.support.reference_site` serves it at http://reference.localhost:8899 until interrupted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.types import ASGIApp
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import MetaData

from digiid.kernel.errors import Broken, Conflict, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.pools import Pools
from digiid.platform.web import N_
from digiid.platform.web.forms import check
from digiid.platform.web.sessions import SessionStore, sessions_table
from digiid.platform.web.sign_ins import sign_ins_table
from digiid.platform.web.signing import pending_signatures_table
from digiid.platform.web.site import (
    Site,
    SiteSettings,
    download,
    form_of,
    page,
    redirect,
    require_session,
    run,
    start_session,
)

HERE = Path(__file__).parent
METADATA = MetaData()
SESSIONS = sessions_table(METADATA)
SIGN_INS = sign_ins_table(METADATA)
PENDING = pending_signatures_table(METADATA)
MAX_BODY_BYTES = 200_000
KINDS = {"refused": Refused, "not_found": NotFound, "conflict": Conflict, "malformed": Malformed}
KINDS |= {"unavailable": Unavailable, "broken": Broken}


class EveryField(BaseModel):
    model_config = ConfigDict(frozen=True)

    surname: Annotated[str, Field(min_length=2, max_length=40)]
    sex: Literal["F", "M"]
    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    visits: int = 0


@dataclass
class Reference:
    """The site's parts, as a test wants to reach them."""

    site: Site
    sessions: SessionStore
    app: ASGIApp
    pools: Pools


def build_reference_site(
    db: Database,
    clock: Clock,
    entropy: Entropy,
    *,
    origin: str = "http://reference.localhost:8899",
    agent_origin: str = "http://127.0.0.1:8802",
    more_handlers: Callable[[Site], Sequence[Any]] = lambda _site: (),
) -> Reference:
    """`db` needs the tables of METADATA."""
    sessions = SessionStore("reference", db, SESSIONS, clock, entropy)
    pools = Pools(pages=4, services=1)
    site = Site(
        SiteSettings(
            name="reference",
            title="Reference site",
            origin=origin,
            agent_origin=agent_origin,
            navigation=(("/", "Components"), ("/table", "Table"), ("/own", "Own page"), ("/sign-page", "Sign")),
            folders=(HERE,),
            form_targets=("http://pay.localhost:8899",),
            max_body_bytes=MAX_BODY_BYTES,
        ),
        sessions=sessions,
        pools=pools,
        clock=clock,
        entropy=entropy,
        csrf_secret="reference",
    )
    app = site.build([*_handlers(), *more_handlers(site)], health=lambda: {"name": "Reference"})
    return Reference(site, sessions, app, pools)


def _handlers() -> list[Any]:
    @get("/")
    async def components(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "components.html")

    @post("/")
    async def send(request: Request[Any, Any, Any]) -> Response[Any]:
        form = await form_of(request)
        wanted = check(form, EveryField, {"surname": N_("Enter the surname as it stands in the document")})
        if wanted is None:
            return await page(request, "components.html", {"form": form}, status=422)
        files = {name: len(upload.content) for name, upload in form.files.items()}
        return await page(request, "sent.html", {"wanted": wanted, "files": files})

    @get(["/table", "/table/deeper", "/table-of-another-kind"])
    async def table(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "table.html")

    @get("/own")
    async def own(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request)
        return await page(request, "sent.html", {"wanted": session.subject, "files": {}})

    @get("/sign-page")
    async def sign_page(request: Request[Any, Any, Any]) -> Response[Any]:
        require_session(request, kind="card")
        return await page(request, "sign_page.html")

    @post(["/table", "/only-posted"])
    async def refuse(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "table.html", status=422)

    @post("/enter")
    async def enter(request: Request[Any, Any, Any]) -> Response[Any]:
        form = await form_of(request)
        await start_session(request, form.value("subject"), {"kind": "account", "name": "Mari Maasikas"})
        return redirect("/own")

    @get("/fail/{kind:str}")
    async def fail(request: Request[Any, Any, Any], kind: FromPath[str]) -> Response[Any]:
        if kind == "bug":
            raise ZeroDivisionError("a secret that nobody may read")
        raise KINDS[kind]("reference.failed", "internal detail", public="Words for people.")

    @get("/slow")
    async def fails_in_pool(request: Request[Any, Any, Any]) -> Response[Any]:
        await run(request, _refuse)
        return redirect("/")

    @get("/file")
    async def file(request: Request[Any, Any, Any]) -> Response[Any]:
        return download(b"content", name='x"\r\nSet-Cookie: a=b/../ž.txt', media_type="text/plain")

    return [components, send, table, refuse, own, sign_page, enter, fail, fails_in_pool, file]


def _refuse() -> None:
    raise Refused("reference.refused", "from the pool", public=N_("This is not possible"))
