"""Everything at the programs' address, dispatched by path: OCSP, TSA, lists, certificates, the repository pages.

No path here needs a database: responders sign from memory, files are held as bytes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from digiid.platform.asgi import AsgiApp, Receive, Scope, Send, respond, respond_status
from digiid.platform.web.translations import LANGUAGES, choose_language, load_translations

WEB: Final = Path(__file__).parent
_HTML: Final = b"text/html; charset=utf-8"
_PAGES: Final = {
    "/": "repository.html",
    "/repository": "repository.html",
    "/repository/cps": "practice_statement.html",
    "/repository/pds-en": "disclosure_statement.html",
}
_PAGE_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"accept-language"),
)

File = tuple[bytes, bytes]  # content, media type


class Programs:
    """The ASGI application of the programs' address.

    `find_file` answers for a path with (content, media type) or None; `page_context` gives what the
    repository pages show.
    """

    def __init__(
        self,
        *,
        ocsp: AsgiApp,
        tsa: AsgiApp,
        find_file: Callable[[str], File | None],
        page_context: Callable[[], Mapping[str, object]],
    ) -> None:
        self._ocsp, self._tsa, self._find_file, self._page_context = ocsp, tsa, find_file, page_context
        self._style = (WEB / "static" / "repository.css").read_bytes()
        self._environments = {
            language: self._environment(language, translations)
            for language, translations in load_translations([WEB / "locale"]).items()
        }

    def _environment(self, language: str, translations: object) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(WEB / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
        environment.globals["lang"] = language
        return environment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path == "/ocsp" or path.startswith("/ocsp/"):
            await self._ocsp(scope, receive, send)
            return
        if path == "/tsa":
            await self._tsa(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await respond_status(send, 405, allow=b"GET, HEAD")
            return
        if path in _PAGES:
            await respond(send, self._render(scope, _PAGES[path]), _HTML, headers=_PAGE_HEADERS)
        elif path == "/repository/style.css":
            await respond(send, self._style, b"text/css; charset=utf-8", cache_control=b"max-age=3600")
        elif (found := self._find_file(path)) is not None:
            await respond(send, found[0], found[1], cache_control=b"no-cache")
        else:
            await respond_status(send, 404)

    def _render(self, scope: Scope, template: str) -> bytes:
        query: bytes = scope.get("query_string", b"")
        wanted = next((language for language in LANGUAGES if query == f"lang={language}".encode()), None)
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"), "")
        environment = self._environments[choose_language(wanted, accept)]
        return environment.get_template(template).render(path=scope["path"], **self._page_context()).encode()
