"""The agent's pages and their own small interface, at one loopback address.

Whom it trusts: pages of its own origin that carry the token of this installation (the browser lets no
other page read it), and nobody else. Requests must name the agent's own Host (no DNS rebinding) and,
where they change or use anything, its own Origin. No page may frame it. There is deliberately no
Cross-Origin-Opener-Policy: the pop-up has to reach the site that opened it.

Anybody who can open connections to this machine's loopback address can see the pages; what protects
a card from them is the PIN and its three tries.
"""

import hmac
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Litestar, Request, Response, get, post
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from pydantic import Field

from digiid.devices import pcsc, web_eid
from digiid.devices.agent.origins import KnownOrigins, check_origin
from digiid.devices.agent.texts import LANGUAGES, TEXTS, choose_language, text
from digiid.devices.card_shelf import CardSource
from digiid.devices.wallet import PresentCard, Wallet
from digiid.formats.apdu import Transport
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform import eid_card
from digiid.platform.clock import Clock
from digiid.platform.config import Settings
from digiid.platform.eid_card import CardPin, PinRefused
from digiid.platform.entropy import Entropy
from digiid.platform.pools import Pool
from digiid.platform.secret_file import read_or_make_secret

_FOLDER: Final = Path(__file__).parent
_MAX_BODY_BYTES: Final = 64 * 1024
_THREADS, _MAX_WAITING = 4, 16
_STATIC: Final = {
    "popup.js": "text/javascript",
    "agent.css": "text/css",
    "agent.svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a form of ours would be posted with Origin: null
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_CARD_ERRORS: Final = frozenset({"card.unknown", "card.removed", "card.reader", "card.storage", "agent.other_card"})
_STATUS: Final = {Malformed: 400, Refused: 403, NotFound: 404, Unavailable: 503}

log = structlog.get_logger("agent")
T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]


class AgentSettings(Settings):
    """`folder` is the state's folder: secrets/agent-token, agent-origins.json and cards/ lie in it."""

    folder: Path
    origin: str = Field(default="http://127.0.0.1:8802", pattern=r"^http://127\.0\.0\.1:[0-9]{4,5}$")
    pcsc: bool = True


def build_agent(shelf: CardSource, clock: Clock, entropy: Entropy, settings: AgentSettings) -> ASGIApp:
    """The agent as an ASGI application, to be served at `settings.origin` and nowhere else."""
    agent = _Agent(shelf, clock, entropy, settings)
    app = Litestar(
        route_handlers=[
            show_home, show_card, change_pin, unblock_pin, forget_origin, show_popup, static_file,
            begin, list_cards, allow_origin, authenticate, get_signing_certificate, sign, health,
        ],
        openapi_config=None,
        request_max_body_size=_MAX_BODY_BYTES,
        exception_handlers={Exception: _answer_exception},
        logging_config=None,
        on_shutdown=[agent.pool.close],
        state=None,
    )  # fmt: skip
    app.state["agent"] = agent
    return _Front(agent, cast(ASGIApp, app))


class _Agent:
    """What the handlers share."""

    def __init__(self, shelf: CardSource, clock: Clock, entropy: Entropy, settings: AgentSettings) -> None:
        self.clock = clock
        self.origin = settings.origin
        self.host = urlsplit(settings.origin).netloc
        self.token = read_or_make_secret(settings.folder / "secrets" / "agent-token", entropy).hex()
        self.origins = KnownOrigins(settings.folder / "agent-origins.json")
        self.wallet = Wallet(shelf, folder=settings.folder / "cards", readers=pcsc if settings.pcsc else None)
        self.pool = Pool("agent", _THREADS, max_waiting=_MAX_WAITING, answers_services=False)
        self.templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def with_card(self, card_id: str, work: Callable[[Transport], T]) -> T:
        """Do one piece of work on one card, on a thread: a reader may take its time."""

        def run() -> T:
            with self.wallet.open(card_id) as card:
                return work(card)

        return await self.pool.run(run)


# --- pages ---


@get("/")
async def show_home(request: AnyRequest) -> Response[str]:
    """All cards and all sites that the person allowed."""
    agent = _agent(request)
    cards = await agent.pool.run(agent.wallet.list)
    origins = sorted((await agent.pool.run(agent.origins.all)).items())
    return _page(request, "home.html", {"cards": cards, "origins": origins})


@get("/card")
async def show_card(request: AnyRequest) -> Response[str]:
    """One card, with the forms for its PINs."""
    return await _card_page(request, {})


@post("/card/pin")
async def change_pin(request: AnyRequest) -> Response[str]:
    """Change PIN1, PIN2 or the PUK."""
    return await _change(
        request, "change", (CardPin.PIN1, CardPin.PIN2, CardPin.PUK), "changed",
        lambda card, which, old, new: eid_card.change_pin(card, which, old=old, new=new),
    )  # fmt: skip


@post("/card/unblock")
async def unblock_pin(request: AnyRequest) -> Response[str]:
    """Give PIN1 or PIN2 a new value with the PUK."""
    return await _change(
        request, "unblock", (CardPin.PIN1, CardPin.PIN2), "unblocked",
        lambda card, which, old, new: eid_card.unblock_pin(card, which, puk=old, new=new),
    )  # fmt: skip


@post("/forget")
async def forget_origin(request: AnyRequest) -> Redirect:
    """Ask again before this site may use a card."""
    form = await _form(request)
    await _agent(request).pool.run(_agent(request).origins.forget, form.get("origin", ""))
    return Redirect(f"/?lang={_language(request)}", status_code=303)


@get("/popup")
async def show_popup(request: AnyRequest) -> Response[str]:
    """The window that sites open."""
    return _page(request, "popup.html", {})


@get("/static/{name:str}")
async def static_file(name: FromPath[str]) -> Response[bytes]:
    """The script, the style sheet and the icon."""
    if name not in _STATIC:
        raise NotFound("agent.unknown_page", "no such static file")
    return Response((_FOLDER / "static" / name).read_bytes(), media_type=_STATIC[name])


@get("/health")
async def health() -> Response[Mapping[str, str]]:
    """Is the agent there?"""
    return Response({"status": "ok"})


# --- the pop-up's own interface ---


@post("/api/begin", status_code=200)
async def begin(request: AnyRequest) -> Response[Mapping[str, Any]]:
    """May this origin ask, and does the person know it?"""
    body = await _json(request)
    agent = _agent(request)
    origin = check_origin(_string(body, "origin"))
    return Response({"known": await agent.pool.run(agent.origins.is_known, origin)})


@post("/api/allow", status_code=200)
async def allow_origin(request: AnyRequest) -> Response[Mapping[str, Any]]:
    """The person pressed "allow"."""
    body = await _json(request)
    agent = _agent(request)
    origin = check_origin(_string(body, "origin"))
    await agent.pool.run(lambda: agent.origins.allow(origin, at=agent.clock.now()))
    log.info("origin_allowed", origin=origin)
    return Response({})


@post("/api/cards", status_code=200)
async def list_cards(request: AnyRequest) -> Response[Mapping[str, Any]]:
    """The cards to choose from. Names are shown in the agent's own page only."""
    await _allowed(request)
    agent = _agent(request)
    cards: Sequence[PresentCard] = await agent.pool.run(agent.wallet.list)
    language = _language(request)
    usable = [
        {"id": card.id, "holder": card.holder, "where": _where(language, card), "inserted": card.inserted}
        for card in cards
        if not card.problem
    ]
    return Response({"cards": usable})


@post("/api/authenticate", status_code=200)
async def authenticate(request: AnyRequest) -> Response[Mapping[str, Any]]:
    """An authentication token for the origin that the browser named."""
    body, origin = await _allowed(request)
    nonce, pin = web_eid.check_nonce(body.get("challengeNonce")), _string(body, "pin")
    token = await _agent(request).with_card(
        _string(body, "card"),
        lambda card: web_eid.authenticate(card, origin=origin, nonce=nonce, pin1=pin),
    )
    log.info("authenticated", origin=origin)
    return Response(token)


@post("/api/get-signing-certificate", status_code=200)
async def get_signing_certificate(request: AnyRequest) -> Response[Mapping[str, Any]]:
    """The signing certificate of the chosen card."""
    body, origin = await _allowed(request)
    answer = await _agent(request).with_card(_string(body, "card"), web_eid.get_signing_certificate)
    log.info("signing_certificate_given", origin=origin)
    return Response(answer)


@post("/api/sign", status_code=200)
async def sign(request: AnyRequest) -> Response[Mapping[str, Any]]:
    """A signature over the page's hash, with PIN2."""
    body, origin = await _allowed(request)
    hash_function = _string(body, "hashFunction")
    digest, pin = web_eid.check_hash(body.get("hash"), hash_function), _string(body, "pin")
    certificate = _string(body, "certificate")
    answer = await _agent(request).with_card(
        _string(body, "card"),
        lambda card: web_eid.sign(card, certificate=certificate, digest=digest, hash_function=hash_function, pin2=pin),
    )
    log.info("signed", origin=origin)
    return Response(answer)


# --- helpers of the handlers ---


def _agent(request: AnyRequest) -> _Agent:
    return cast(_Agent, request.app.state["agent"])


def _language(request: AnyRequest) -> str:
    return choose_language(request.query_params.get("lang", ""), request.headers.get("accept-language", ""))


def _card_id(request: AnyRequest) -> str:
    return request.query_params.get("id", "")


def _page(request: AnyRequest, template: str, context: Mapping[str, Any], *, status: int = 200) -> Response[str]:
    agent, language = _agent(request), _language(request)
    other = LANGUAGES[1 - LANGUAGES.index(language)]
    card_id = _card_id(request)
    values = {
        "lang": language,
        "t": lambda key, **blanks: text(language, key, **blanks),
        "token": agent.token,
        "other_language_url": agent.templates.from_string(
            "{{ path }}?lang={{ lang }}{% if id %}&id={{ id | urlencode }}{% endif %}"
        ).render(path="/card" if card_id else "/", lang=other, id=card_id),
        **context,
    }
    body = agent.templates.get_template(template).render(values)
    return Response(body, media_type="text/html", status_code=status)


async def _card_page(request: AnyRequest, context: Mapping[str, Any], *, status: int = 200) -> Response[str]:
    agent = _agent(request)
    card_id = _card_id(request)

    def read(card: Transport) -> tuple[eid_card.CardDocument, eid_card.RetryCounters]:
        return eid_card.read_document(card), eid_card.read_retry_counters(card)

    document, counters = await agent.with_card(card_id, read)
    tries = [("PIN1", counters.pin1), ("PIN2", counters.pin2), ("PUK", counters.puk)]
    values = {"errors": {}, "success": "", "action": "", "which": "pin1", **context}
    return _page(request, "card.html", {"card": document, "card_id": card_id, "tries": tries, **values}, status=status)


async def _change(
    request: AnyRequest,
    action: str,
    choices: Sequence[CardPin],
    success: str,
    work: Callable[[Transport, CardPin, str, str], None],
) -> Response[str]:
    form, language = await _form(request), _language(request)
    which = next((choice for choice in choices if choice.value == form.get("which")), None)
    if which is None:
        raise Malformed("agent.request", "no such PIN")
    old, new = form.get("old", ""), form.get("new", "")
    errors: dict[str, str] = {}
    if new != form.get("again", ""):
        errors["again"] = text(language, "pin.repeat")
    else:
        try:
            await _agent(request).with_card(_card_id(request), lambda card: work(card, which, old, new))
        except PinRefused as error:
            errors["old"] = _explain(language, error)
        except Refused as error:
            if error.code not in ("card.pin.format", "card.pin.unchanged"):
                raise
            errors["new"] = _explain(language, error, which=which)
    if errors:
        context = {"errors": errors, "action": action, "which": which.value}
        return await _card_page(request, context, status=422)
    log.info("pin_changed", which=which.value, by=action)
    return await _card_page(request, {"success": text(language, success, which=which.value.upper())})


async def _form(request: AnyRequest) -> Mapping[str, str]:
    """The fields of a posted form of ours. Raises: Refused `agent.session`."""
    form = await request.form()
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    _check_token(request, fields.get("token", ""))
    return fields


async def _json(request: AnyRequest) -> Mapping[str, Any]:
    """The pop-up's request. Raises: Refused `agent.session`, Malformed `agent.request`."""
    _check_token(request, request.headers.get("x-agent-token", ""))
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise Malformed("agent.request", "not JSON")
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Malformed("agent.request", "not JSON") from error
    if not isinstance(body, dict):
        raise Malformed("agent.request", "not a JSON object")
    return body


async def _allowed(request: AnyRequest) -> tuple[Mapping[str, Any], str]:
    body = await _json(request)
    agent = _agent(request)
    return body, await agent.pool.run(agent.origins.require, _string(body, "origin"))


def _check_token(request: AnyRequest, token: str) -> None:
    agent = _agent(request)
    if request.headers.get("origin") != agent.origin:
        raise Refused("agent.session", "the request comes from another origin")
    if not hmac.compare_digest(token.encode(), agent.token.encode()):
        raise Refused("agent.session", "wrong token")


def _string(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise Malformed("agent.request", f"{name} is missing")
    return value


def _where(language: str, card: PresentCard) -> str:
    where = text(language, f"card.place.{card.place}", number=card.document_number, reader=card.reader)
    return f"{where}, {text(language, 'card.inserted')}" if card.inserted else where


def _explain(language: str, error: DigiidError, *, which: CardPin | None = None) -> str:
    if isinstance(error, PinRefused):
        which = error.which
    if error.code == "card.pin.blocked" and which is CardPin.PUK:
        return text(language, "card.pin.blocked.puk")
    key = error.code if error.code in TEXTS else "agent.failed"
    least = which.min_digits if which else 4
    tries = error.tries_left if isinstance(error, PinRefused) else 0
    return text(language, key, which=which.value.upper() if which else "PIN", least=least, tries=tries)


def _answer_exception(request: AnyRequest, error: Exception) -> Response[Any]:
    """The agent's edge: every error becomes a page, or JSON for the pop-up, in the person's language."""
    language = _language(request)
    if isinstance(error, HTTPException):
        missing = error.status_code in (404, 405)
        code = "agent.unknown_page" if missing else "agent.request"
        status, message = error.status_code, text(language, code)
    elif isinstance(error, DigiidError):
        code = error.code
        status = next((number for kind, number in _STATUS.items() if isinstance(error, kind)), 500)
        which = {"/api/authenticate": CardPin.PIN1, "/api/sign": CardPin.PIN2}.get(request.url.path)
        message = _explain(language, error, which=which)
        log.info("refused", code=code, path=request.url.path)
    else:
        code, status, message = "agent.failed", 500, text(language, "agent.failed")
        # frames without their local variables: a PIN may be among them
        log.error("failed", path=request.url.path, trace="".join(traceback.format_exception(error)))
    if not request.url.path.startswith("/api/"):
        return _page(request, "problem.html", {"message": message}, status=status)
    answer: dict[str, Any] = {"code": code, "message": message}
    if code.startswith("card.pin."):
        answer |= {"field": "pin", "blocked": code == "card.pin.blocked"}
    elif code in _CARD_ERRORS:
        answer |= {"field": "card"}
    return Response(answer, status_code=status)


class _Front:
    """Before and after the application: only our own Host, and the headers that every answer carries."""

    def __init__(self, agent: _Agent, app: ASGIApp) -> None:
        self._agent = agent
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:  # the server's own start and stop; there are no websockets
            await self._app(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        if hosts != [self._agent.host.encode()]:
            await _misdirected(send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ENCODED_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


_ENCODED_HEADERS: Final = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


async def _misdirected(send: Send) -> None:
    """421: this address is not the agent's, whatever the network made it point to."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_ENCODED_HEADERS]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send(
        {"type": "http.response.body", "body": b"This is not the address of the card agent.\n", "more_body": False}
    )
