"""The test mailbox: a page that shows the letters a state has sent, for states without a mail server.

Whoever can open this page can open every account: it exists only where the letters go into a folder.
"""

import re
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath
from sqlalchemy import MetaData

from digiid.kernel.errors import NotFound
from digiid.platform.db import Database
from digiid.platform.institution import Running, Surroundings
from digiid.platform.mail import ReceivedLetter, list_letters, parse_letter
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore, sessions_table
from digiid.platform.web.site import Site, SiteSettings, page, run

_WEB = Path(__file__).parent / "test_pages"
_LINK = re.compile(r"https?://[^\s<>\"']+")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,150}\.eml")

metadata = MetaData()
SESSIONS = sessions_table(metadata)


def split_links(text: str) -> list[tuple[str, bool]]:
    """The text in pieces, each with whether it is a link."""
    pieces, end = [], 0
    for found in _LINK.finditer(text):
        pieces += [(text[end : found.start()], False), (found.group(), True)]
        end = found.end()
    return [piece for piece in [*pieces, (text[end:], False)] if piece[0]]


def get_letter(folder: Path, name: str) -> ReceivedLetter:
    """One letter by its file's name. Raises: NotFound `mail.unknown`."""
    file = folder / name
    if not _NAME.fullmatch(name) or not file.is_file():
        raise NotFound("mail.unknown", name[:100], public="There is no such letter.")
    return parse_letter(name, file.read_bytes())


def handlers(folder: Path) -> list[Any]:
    @get("/")
    async def letters(request: Request[Any, Any, Any]) -> Response[Any]:
        to = request.query_params.get("to", "")[:200].strip().lower()
        found = await run(request, list_letters, folder)
        shown = [letter for letter in found if not to or letter.to.lower() == to]
        return await page(request, "mailbox.html", {"letters": shown, "to": to})

    @get("/letters/{name:str}")
    async def letter(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Any]:
        found = await run(request, get_letter, folder, name)
        return await page(request, "letter.html", {"letter": found, "pieces": split_links(found.text)})

    return [letters, letter]


def build(around: Surroundings, *, csrf_secret: str, folder: Path | None = None) -> Running[Any]:
    """The site `mail` over `folder` (by default `mailbox` in the state's folder)."""
    mailbox = folder or around.state_folder / "mailbox"
    db = Database.sqlite(around.database_folder / "mailbox.sqlite")
    with db.write() as tx:
        metadata.create_all(tx)
    site = Site.within(
        around,
        SiteSettings(
            name="mail",
            title=N_("Test mailbox"),
            origin=around.origins["mail"],
            agent_origin=around.origins["agent"],
            folders=(_WEB,),
        ),
        SessionStore("mail", db, SESSIONS, around.clock, around.entropy),
        csrf_secret,
    )

    def health() -> dict[str, Any]:
        return {"name": "Test mailbox"}

    return Running(
        name="mailbox",
        sites={"mail": site.build(handlers(mailbox), health=health)},
        services=(),
        workers=(),
        timers=(),
        health=health,
        close=db.close,
    )
