"""One web site of one institution: its own origin, cookies, policies and error pages."""

import hmac
import json
import math
import mimetypes
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast
from urllib.parse import quote, urlsplit

import structlog
from jinja2 import (
    BytecodeCache,
    ChainableUndefined,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
)
from jinja2.bccache import Bucket
from litestar import Litestar, Request, Response, get, post
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send
from markupsafe import Markup, escape

from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy, new_id, token_urlsafe
from digiid.platform.log import correlation_id
from digiid.platform.pools import Pools
from digiid.platform.web import N_
from digiid.platform.web.dates import format_amount, format_day, format_instant, keep_together
from digiid.platform.web.forms import Form, read_form
from digiid.platform.web.rate_limits import RateLimit, RateLimiter, TooMany
from digiid.platform.web.sessions import Session, SessionStore
from digiid.platform.web.translations import LANGUAGES, choose_language, load_translations

if TYPE_CHECKING:
    from digiid.platform.institution import Surroundings

WEB = Path(__file__).parent
DEFAULT_MAX_BODY_BYTES = 15 * 1024 * 1024
MAX_MULTIPART_PARTS = 100

log = structlog.get_logger("web")
P = ParamSpec("P")
R = TypeVar("R")


class NotSignedIn(Refused):
    """The page needs somebody to be signed in; people are led to the sign-in page."""


# The first kind that fits decides, so the particular ones stand above their own kind.
STATUS_BY_KIND: dict[type[DigiidError], int] = {
    NotSignedIn: 401,
    TooMany: 429,
    Malformed: 400,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
    Broken: 500,
}


@dataclass(frozen=True)
class SiteSettings:
    """What is particular to a site.

    `form_targets` are other origins that a form of this site may lead to (a payment page). `navigation`
    lists (path, label); labels are translated when shown. `sign_in_path` is where NotSignedIn leads.
    """

    name: str
    title: str
    origin: str
    agent_origin: str
    navigation: Sequence[tuple[str, str]] = ()
    folders: Sequence[Path] = ()
    form_targets: Sequence[str] = ()
    sign_in_path: str = "/sign-in"
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    demonstration: bool = True
    extra_sites: Mapping[str, str] = field(default_factory=dict)


class _Compiled(BytecodeCache):
    """Templates are compiled once in a process, not for each site and language: the components take half a second."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


class Site:
    """Builds pages and answers for one origin. Handlers reach it as `site_of(request)`."""

    def __init__(
        self,
        settings: SiteSettings,
        *,
        sessions: SessionStore,
        pools: Pools,
        clock: Clock,
        entropy: Entropy,
        csrf_secret: str,
    ) -> None:
        self.settings, self.sessions, self.pools, self.clock, self.entropy = settings, sessions, pools, clock, entropy
        self.limiter = RateLimiter()
        self.secure = settings.origin.startswith("https://")
        prefix = "__Host-" if self.secure else ""
        self.session_cookie, self.csrf_cookie = f"{prefix}digiid_session", f"{prefix}digiid_form"
        self._csrf_secret = csrf_secret.encode()
        translations = load_translations([folder / "locale" for folder in settings.folders])
        self._environments = {lang: self._environment(translations[lang], lang) for lang in LANGUAGES}
        self._translations = translations

    @classmethod
    def within(cls, around: "Surroundings", settings: SiteSettings, sessions: SessionStore, csrf_secret: str) -> "Site":
        """A site on the pools, the clock and the entropy of the state around its institution."""
        return cls(
            settings,
            sessions=sessions,
            pools=around.pools,
            clock=around.clock,
            entropy=around.entropy,
            csrf_secret=csrf_secret,
        )

    def _environment(self, translations: Any, lang: str) -> Environment:
        folders = [str(folder / "templates") for folder in self.settings.folders]
        environment = Environment(
            loader=ChoiceLoader(
                [
                    FileSystemLoader([*folders, str(WEB / "templates")]),
                    PrefixLoader({"govuk_frontend_jinja": PackageLoader("govuk_frontend_jinja")}),
                ]
            ),
            autoescape=True,
            undefined=ChainableUndefined,  # the component macros ask for parameters that were not given
            extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
            trim_blocks=True,
            lstrip_blocks=True,
            bytecode_cache=_COMPILED,
        )
        environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
        environment.filters["instant"] = lambda value: keep_together(format_instant(value, lang))
        environment.filters["day"] = lambda value: keep_together(format_day(value, lang))
        environment.filters["amount"] = lambda cents: format_amount(cents, lang)
        environment.filters["breakable"] = _breakable
        environment.globals["static"] = self.static_url
        environment.globals["lang"] = lang
        environment.globals["site"] = self.settings
        return environment

    def gettext(self, language: str, message: str) -> str:
        """Translate a text that was not known when the template was written."""
        return self._translations[language].translate(message)

    def static_url(self, name: str) -> str:
        """The address of a static file, with a fingerprint so that browsers may keep it."""
        found = self._static_file(name)
        return f"/static/{name}" + (f"?v={_fingerprint(found)}" if found else "")

    def _static_file(self, name: str) -> Path | None:
        if ".." in name or name.startswith("/") or "\\" in name or "\0" in name:
            return None
        candidates = [folder / "static" / name for folder in self.settings.folders] + [WEB / "static" / name]
        return next((path for path in candidates if path.is_file()), None)

    def csrf_token(self, scope: Mapping[str, Any]) -> str:
        """The token that a form of this visitor carries: bound to the form cookie and to the session."""
        session: Session | None = scope.get("digiid.session")
        bound = session.id_hash if session and session.subject else b""
        return hmac.new(self._csrf_secret, scope["digiid.form"].encode() + b"\0" + bound, "sha256").hexdigest()

    def render(self, request: Request[Any, Any, Any], template: str, context: Mapping[str, Any]) -> str:
        language = language_of(request)
        environment = self._environments[language]
        session = session_of(request)
        return environment.get_template(template).render(
            {
                "session": session,
                "signed_in": session is not None and session.subject is not None,
                "path": request.scope["path"],
                "here": _place_of(request),
                "csrf_token": self.csrf_token(request.scope),
                "form": Form(),
                "now": self.clock.now(),
                "_t": lambda message: self.gettext(language, message),
                **context,
            }
        )

    def cookie(self, name: str, value: str, *, max_age: int | None = None) -> str:
        """A host-only Set-Cookie value."""
        parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        if self.secure:
            parts.append("Secure")
        if max_age is not None:
            parts.append(f"Max-Age={max_age}")
        return "; ".join(parts)

    def build(self, handlers: Sequence[Any], *, health: Callable[[], Mapping[str, Any]]) -> ASGIApp:
        """The site as an ASGI application. `health` answers GET /health."""

        @get("/health")
        async def health_page(request: Request[Any, Any, Any]) -> Response[Any]:
            try:
                details = dict(await run(request, health))
            except DigiidError as error:
                return Response({"status": "failed", "code": error.code}, status_code=503)
            return Response({"status": "ok", **details})

        app = Litestar(
            route_handlers=[*handlers, health_page, static_file, set_language, sign_out],
            openapi_config=None,
            csrf_config=None,
            request_max_body_size=self.settings.max_body_bytes,
            multipart_form_part_limit=MAX_MULTIPART_PARTS,
            exception_handlers={Exception: answer_exception},
            before_request=check_request,
            on_app_init=[self._remember],
            logging_config=None,
        )
        return _Front(self, cast(ASGIApp, app))

    def _remember(self, config: AppConfig) -> AppConfig:
        config.state["site"] = self
        return config


class _Front:
    """Around the application: who is this, in which language, and the headers that every answer carries."""

    def __init__(self, site: Site, app: ASGIApp) -> None:
        self._site, self._app = site, app
        s = site.settings
        policy = [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "form-action 'self'" + "".join(f" {target}" for target in s.form_targets),
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ]
        self._headers = [
            (b"content-security-policy", "; ".join(policy).encode()),
            (b"cross-origin-opener-policy", b"same-origin-allow-popups"),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
        ]
        if site.secure:
            self._headers.append((b"strict-transport-security", b"max-age=31536000"))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cookies = _cookies(scope)
        extra = scope
        site = self._site
        accept = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"accept-language"), "")
        extra["digiid.language"] = choose_language(cookies.get("digiid_lang"), accept)
        extra["digiid.cookies"] = []
        form = cookies.get(site.csrf_cookie, "")
        if len(form) != 43:
            form = token_urlsafe(site.entropy, 32)
            extra["digiid.cookies"].append(site.cookie(site.csrf_cookie, form))
        extra["digiid.form"] = form
        extra["digiid.session"] = None
        static = scope["path"].startswith("/static/")
        cookie = cookies.get(site.session_cookie)
        if cookie and not static:
            try:
                extra["digiid.session"] = await site.pools.pages.run(site.sessions.find, cookie[:100])
            except DigiidError as error:
                extra["digiid.failed"] = error  # told as a page, once the application can render one
        token = correlation_id.set(new_id(site.entropy))

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *self._headers]
                if not static:
                    headers.append((b"cache-control", b"no-store"))
                    headers += [(b"set-cookie", c.encode()) for c in extra["digiid.cookies"]]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, cast(Send, send_with_headers))
        finally:
            correlation_id.reset(token)


# ------------------------------------------------------------------ what handlers use


def site_of(request: Request[Any, Any, Any]) -> Site:
    return cast(Site, request.app.state["site"])


def language_of(request: Request[Any, Any, Any]) -> str:
    return cast(str, cast("dict[str, Any]", request.scope)["digiid.language"])


def _breakable(value: object) -> Markup:
    """An identifier with slashes that a narrow column may break behind each of them, and nowhere else."""
    return escape(str(value)).replace("/", Markup("/<wbr>"))


def _place_of(request: Request[Any, Any, Any]) -> str:
    """Where a visitor who changes the language comes back to: the page with what was asked for. After a form that was
    refused the page of its own address, or the front page where that address only takes forms."""
    path = request.scope["path"]
    if request.method in ("GET", "HEAD"):
        query = request.scope["query_string"].decode("latin-1")
        return f"{path}?{query}" if query else path
    template = request.scope.get("path_template")
    pages = (route for route in request.app.routes if isinstance(route, HTTPRoute) and "GET" in route.methods)
    return path if any(route.path == template for route in pages) else "/"


def session_of(request: Request[Any, Any, Any]) -> Session | None:
    """The visitor's session, also one that nobody has signed in to."""
    return cast("Session | None", cast("dict[str, Any]", request.scope).get("digiid.session"))


def require_session(request: Request[Any, Any, Any], *, kind: str | None = None) -> Session:
    """The session of somebody who signed in. Raises: NotSignedIn, which leads to the sign-in page."""
    session = session_of(request)
    if session is None or session.subject is None or (kind and session.data.get("kind") != kind):
        raise NotSignedIn("web.not_signed_in", "nobody is signed in", public=N_("Sign in first."))
    return session


async def run(request: Request[Any, Any, Any], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a use case on the pool for pages."""
    return await site_of(request).pools.pages.run(function, *args, **kwargs)


async def page(
    request: Request[Any, Any, Any], template: str, context: Mapping[str, Any] | None = None, *, status: int = 200
) -> Response[Any]:
    """Render a template into an answer."""
    body = site_of(request).render(request, template, context or {})
    return Response(body, status_code=status, media_type="text/html")


def redirect(path: str) -> Response[Any]:
    """See Other: the browser opens `path` with GET, so that a reload never posts again."""
    return Response(None, status_code=303, headers={"Location": path})


def download(content: bytes, *, name: str, media_type: str) -> Response[Any]:
    """A file for the person to keep. `name` is reduced to harmless characters."""
    ascii_name = "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in name)[:150] or "file"
    headers = {"Content-Disposition": f'attachment; filename="{ascii_name}"'}
    return Response(content, status_code=200, media_type=media_type, headers=headers)


async def form_of(request: Request[Any, Any, Any]) -> Form[Any]:
    """The posted form; its token was checked before the handler ran."""
    return await read_form(request)


async def start_session(request: Request[Any, Any, Any], subject: str | None, data: Mapping[str, str]) -> Session:
    """Begin a session under a new identifier (sign-in, change of role); the cookie goes out with the answer."""
    site = site_of(request)
    cookie, session = await run(request, site.sessions.start, subject, data, replaces=session_of(request))
    keep_session(request, cookie, session)
    return session


def keep_session(request: Request[Any, Any, Any], cookie: str, session: Session) -> None:
    """The visitor has this session from now on: what `SessionStore.start` returned."""
    site, scope = site_of(request), cast("dict[str, Any]", request.scope)
    scope["digiid.session"] = session
    scope["digiid.cookies"].append(site.cookie(site.session_cookie, cookie))


async def end_session(request: Request[Any, Any, Any]) -> None:
    site = site_of(request)
    if session := session_of(request):
        await run(request, site.sessions.end, session)
    scope = cast("dict[str, Any]", request.scope)
    scope["digiid.session"] = None
    scope["digiid.cookies"].append(site.cookie(site.session_cookie, "", max_age=0))


# ------------------------------------------------------------------ pages that every site has


@get("/static/{path:path}")
async def static_file(request: Request[Any, Any, Any], path: FromPath[Path]) -> Response[Any]:
    found = site_of(request)._static_file(str(path).lstrip("/"))
    if found is None:
        raise NotFound("web.no_file", str(path), public=N_("There is no such file."))
    media_type = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    if found.suffix == ".woff2":
        media_type = "font/woff2"
    keep = "public, max-age=31536000, immutable" if request.query_params.get("v") else "public, max-age=300"
    return Response(_read(found), media_type=media_type, headers={"Cache-Control": keep})


@post("/language")
async def set_language(request: Request[Any, Any, Any]) -> Response[Any]:
    form = await form_of(request)
    language = form.value("language")
    if language in LANGUAGES:
        site = site_of(request)
        cookie = site.cookie("digiid_lang", language, max_age=365 * 86400)
        cast("dict[str, Any]", request.scope)["digiid.cookies"].append(cookie)
    back = form.value("back")
    return redirect(back if is_own_path(back) else "/")


@post("/sign-out")
async def sign_out(request: Request[Any, Any, Any]) -> Response[Any]:
    await end_session(request)
    return redirect("/")


def is_own_path(path: str) -> bool:
    """True for an absolute path on this site: never another origin, not even by `//` or a backslash."""
    parts = urlsplit(path)
    return path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and path.isprintable()


# ------------------------------------------------------------------ guards and errors


def check_rate(request: Request[Any, Any, Any], name: str, key: str, limit: RateLimit) -> None:
    """Count one attempt of `key` (an e-mail address, a personal code) at `name`. Raises: TooMany."""
    site = site_of(request)
    site.limiter.check(name, key, limit, now=site.clock.now())


async def check_request(request: Request[Any, Any, Any]) -> None:
    """What holds before any handler runs: the visitor's session was read, is not too busy, and meant this."""
    # 1 the session store answered
    if failed := cast("dict[str, Any]", request.scope).get("digiid.failed"):
        raise failed
    # 2 a handler's own option `rate_limit` counts attempts by address
    if limit := request.route_handler.opt.get("rate_limit"):
        check_rate(request, request.scope["path"], request.client.host if request.client else "", limit)
    # 3 the form is ours
    await check_csrf(request)


async def check_csrf(request: Request[Any, Any, Any]) -> None:
    """Every POST comes from this origin and carries this visitor's token, in the form or in a header."""
    if request.method in ("GET", "HEAD", "OPTIONS") or "no_csrf" in request.route_handler.opt:
        return
    site = site_of(request)
    origin = request.headers.get("origin")
    if origin is not None and origin != site.settings.origin:
        raise Refused(
            "web.foreign_origin", f"a form from {origin[:100]}", public=N_("This form came from another site.")
        )
    given = request.headers.get("x-csrf-token") or ""
    if not given and request.headers.get("content-type", "").split(";")[0] in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ):
        value = (await request.form()).get("csrf_token")
        given = value if isinstance(value, str) else ""
    if not hmac.compare_digest(given.encode(), site.csrf_token(request.scope).encode()):
        raise Refused(
            "web.form_token",
            "wrong or missing form token",
            public=N_("This page was open too long. Go back, reload it and try again."),
        )


def answer_exception(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The one table from errors to answers, for people as a page and for programs as a problem (RFC 9457)."""
    headers: dict[str, str] = {}
    if isinstance(error, NotSignedIn) and request.method == "GET" and not _wants_json(request):
        return redirect(f"{site_of(request).settings.sign_in_path}?next={quote(request.scope['path'])}")
    if isinstance(error, DigiidError):
        status, code, public = _status_of(error), error.code, error.public
        if isinstance(error, TooMany):
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
        level = log.error if status == 500 else log.info
        level("web.answered", code=code, status=status, detail=error.detail, path=request.scope["path"])
    elif isinstance(error, HTTPException):
        status, code, public = error.status_code, f"http.status_{error.status_code}", None
        headers = {k: v for k, v in (error.headers or {}).items() if k.lower() in ("allow", "retry-after")}
    else:
        status, code, public = 500, "web.failed", None
        log.error("web.failed", path=request.scope["path"], exc_info=error)
    reference = correlation_id.get()
    if _wants_json(request):
        problem = {
            "type": f"urn:digiid:error:{code}",
            "status": status,
            "code": code,
            "detail": site_of(request).gettext(language_of(request), public) if public else None,
            "instance": reference,
        }
        headers["Content-Type"] = "application/problem+json"
        return Response(json.dumps(problem), status_code=status, headers=headers, media_type="application/problem+json")
    context = {"status": status, "code": code, "public": public, "reference": reference}
    body = site_of(request).render(request, "problem.html", context)
    return Response(body, status_code=status, headers=headers, media_type="text/html")


def _status_of(error: DigiidError) -> int:
    return next((status for kind, status in STATUS_BY_KIND.items() if isinstance(error, kind)), 500)


def _wants_json(request: Request[Any, Any, Any]) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept or "application/problem+json" in accept


@cache
def _read(file: Path) -> bytes:
    return file.read_bytes()


@cache
def _fingerprint(file: Path) -> str:
    return f"{zlib.crc32(_read(file)):08x}"


def _cookies(scope: Scope) -> dict[str, str]:
    """Cookies by name; the first of a name wins, as browsers send the most specific first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            for part in value.decode("latin-1")[:8192].split(";"):
                key, _, text = part.strip().partition("=")
                found.setdefault(key, text)
    return found
