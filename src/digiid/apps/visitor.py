"""A person at a browser without pictures: follows links, fills in forms, keeps cookies per site.

The tour walks the same pages that people use; what a page does not offer, the visitor cannot do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
from lxml import html

from digiid.kernel.errors import Broken, NotFound, Refused
from digiid.platform.http import loopback_transport

_MAX_REDIRECTS = 8
_TIMEOUT_SECONDS = 60.0

Upload = tuple[str, bytes, str]  # file name, content, media type


@dataclass(frozen=True)
class Page:
    """What came back: where one is now, the status, and the page itself."""

    url: str
    status: int
    content: bytes
    media_type: str
    headers: Mapping[str, str]

    @property
    def tree(self) -> html.HtmlElement:
        return html.document_fromstring(self.content, base_url=self.url)

    @property
    def heading(self) -> str:
        found = self.tree.xpath("//h1")
        return _text(found[0]) if found else ""

    @property
    def text(self) -> str:
        """The words a person reads, white space folded."""
        main = self.tree.xpath("//main") or [self.tree]
        return _text(main[0])

    @property
    def errors(self) -> str:
        """What the error summary says, or nothing."""
        found = self.tree.xpath("//*[contains(@class, 'error-summary')]")
        return _text(found[0]) if found else ""

    def link(self, *, text: str = "", href: str = "") -> str:
        """The address of the first link whose words contain `text` and whose address contains `href`."""
        for anchor in self.tree.xpath("//a[@href]"):
            if text.lower() in _text(anchor).lower() and href in anchor.get("href"):
                return urljoin(self.url, str(anchor.get("href")))
        raise NotFound("tour.no_link", f"{self.url} has no link {text or href!r}")

    def links(self, *, href: str) -> list[str]:
        return [urljoin(self.url, a.get("href")) for a in self.tree.xpath("//a[@href]") if href in a.get("href")]


class Visitor:
    """One person's browser. `authority` is a CA (PEM file) that the person has imported."""

    def __init__(self, *, language: str = "en", authority: Path | None = None) -> None:
        self._client = httpx.Client(
            transport=loopback_transport(authority),
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept-Language": language, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
        )

    def open(self, url: str) -> Page:
        """Go to an address. Raises: Refused `tour.page` when it answers with an error."""
        return _checked(self._follow(self._client.build_request("GET", url)))

    def look(self, url: str) -> Page:
        """Go to an address and take whatever comes, an error page too."""
        return self._follow(self._client.build_request("GET", url))

    def submit(
        self,
        page: Page,
        values: Mapping[str, str | list[str]] | None = None,
        *,
        files: Mapping[str, Upload] | None = None,
        action: str = "",
        button: str = "",
        expect_error: bool = False,
    ) -> Page:
        """Fill in a form of `page` and send it. `action` or `button` (part of its words) chooses among several.

        Raises:
            Broken: `tour.form`, the page has no such form, or the form has no such field.
            Refused: `tour.page`, the answer is an error and none was expected.
        """
        form = _find_form(page, action, button)
        return self._send(page, form, values, files, button=button, expect_error=expect_error)

    def submit_form(self, page: Page, number: int, values: Mapping[str, str | list[str]]) -> Page:
        """Fill in and send the form that stands at `number` in the page, where several look alike."""
        return self._send(page, page.tree.forms[number], values, None, button="", expect_error=False)

    def _send(
        self,
        page: Page,
        form: html.FormElement,
        values: Mapping[str, str | list[str]] | None,
        files: Mapping[str, Upload] | None,
        *,
        button: str,
        expect_error: bool,
    ) -> Page:
        fields = _form_values(form, button)
        known = {e.get("name") for e in form.xpath(".//input|.//select|.//textarea|.//button") if e.get("name")}
        for name, value in (values or {}).items():
            if name not in known:
                raise Broken("tour.form", f"{page.url}: the form has no field {name!r}; it has {sorted(known)}")
            fields[name] = value
        url = urljoin(page.url, form.get("action") or page.url)
        if (form.get("method") or "get").lower() == "get":
            return _checked(self._follow(self._client.build_request("GET", url, params=fields)))
        multipart = form.get("enctype") == "multipart/form-data"
        origin = str(httpx.URL(page.url).copy_with(path="/", query=None, fragment=None)).rstrip("/")
        request = self._client.build_request(
            "POST",
            url,
            data=fields,
            files=_parts(files, form) if multipart else None,
            headers={"Origin": origin, "Referer": page.url},
        )
        answer = self._follow(request)
        return answer if expect_error else _checked(answer)

    def post_json(self, page: Page, path: str, content: object, *, csrf: Mapping[str, str]) -> httpx.Response:
        """What a page's script does: a JSON request to its own origin."""
        origin = str(httpx.URL(page.url).copy_with(path="/", query=None, fragment=None)).rstrip("/")
        headers = {"Origin": origin, "Referer": page.url, "Accept": "application/json", **csrf}
        return self._client.post(urljoin(page.url, path), json=content, headers=headers)

    def close(self) -> None:
        self._client.close()

    def _follow(self, request: httpx.Request) -> Page:
        for _ in range(_MAX_REDIRECTS):
            response = self._client.send(request)
            if not response.is_redirect:
                media_type = response.headers.get("content-type", "").split(";")[0]
                return Page(str(response.url), response.status_code, response.content, media_type, response.headers)
            target = urljoin(str(response.url), response.headers["location"])
            request = self._client.build_request("GET", target)
        raise Broken("tour.redirects", f"{request.url} redirects without end")


def _checked(page: Page) -> Page:
    if page.status >= 400:
        words = page.text if page.media_type == "text/html" else page.content[:300].decode(errors="replace")
        raise Refused("tour.page", f"{page.url} answered {page.status}: {words[:300]}")
    return page


def _text(element: html.HtmlElement) -> str:
    return " ".join(str(element.text_content()).split())


def _find_form(page: Page, action: str, button: str) -> html.FormElement:
    for form in page.tree.forms:
        buttons = form.xpath(".//button|.//input[@type='submit']")
        words = " ".join(_text(press) + " " + (press.get("value") or "") for press in buttons)
        in_page = bool(form.xpath("ancestor::main"))
        if in_page and action in (form.get("action") or page.url) and button.lower() in words.lower():
            return form
    raise Broken("tour.form", f"{page.url} ({page.heading}) has no form {action or button!r}")


def _form_values(form: html.FormElement, button: str) -> dict[str, str | list[str]]:
    values: dict[str, str | list[str]] = {}
    for name, value in form.form_values():
        if name in values:
            earlier = values[name]
            values[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
        else:
            values[name] = value
    for press in form.xpath(".//button[@name]"):
        if button and button.lower() in (_text(press) + " " + (press.get("value") or "")).lower():
            values[press.get("name")] = press.get("value") or ""
            break
    return values


def _parts(files: Mapping[str, Upload] | None, form: html.FormElement) -> list[tuple[str, Upload]]:
    names = [e.get("name") for e in form.xpath(".//input[@type='file']")]
    given = dict(files or {})
    return [(name, given.get(name, ("", b"", "application/octet-stream"))) for name in names]


def write_artefact(folder: Path, name: str, content: bytes) -> Path:
    """Keep a file that the tour made."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(content)
    return file
