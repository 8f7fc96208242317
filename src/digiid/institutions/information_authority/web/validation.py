"""The page on which anybody validates a signed file, and its report: as a page, printed, and for programs."""

import hashlib
import json
from datetime import timedelta
from typing import Any

from litestar import Request, Response, get, post

from digiid.formats.validation import Report
from digiid.institutions.information_authority import use_cases
from digiid.institutions.information_authority.domain import clean_file_name
from digiid.institutions.information_authority.use_cases import Deps
from digiid.institutions.information_authority.web.finding_words import in_plain_words
from digiid.institutions.information_authority.web.uploads import EMPTY_FILE, aside, size_of
from digiid.institutions.information_authority.web.words import Explained, explain
from digiid.kernel.errors import Malformed
from digiid.platform.web import N_
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.site import download, form_of, language_of, page, site_of

Ask = Request[Any, Any, Any]
_LIMIT = RateLimit(60, timedelta(minutes=1))


def validation_handlers(deps: Deps) -> list[Any]:
    size = size_of(deps)

    @get("/validate")
    async def validate_page(request: Ask) -> Response[Any]:
        return await page(request, "portal_validate.html", size)

    @post("/validate", rate_limit=_LIMIT)
    async def validate(request: Ask) -> Response[Any]:
        form = await form_of(request)
        upload = form.files.get("container")
        if upload is None or not upload.content:
            form.error("container", EMPTY_FILE if upload else N_("Choose the signed file to validate"))
            return await page(request, "portal_validate.html", {"form": form, **size}, status=422)
        name = clean_file_name(upload.name)
        try:
            report = await aside(request, use_cases.validate, deps, upload.content, name)
        except Malformed as error:
            form.error("container", N_("This file is not a signed document that can be read, so it proves nothing"))
            context = {"form": form, "unreadable": error.detail, "code": error.code, **size}
            return await page(request, "portal_validate.html", context, status=422)
        if form.value("format") == "json":
            return _as_json(report, name=name)
        explained = explain(report)
        if form.value("format") == "pdf":
            return _as_pdf(request, explained, name=name, content=upload.content)
        context = {"report": report, "explained": explained, "in_plain_words": in_plain_words}
        return await page(request, "portal_report.html", context)

    return [validate_page, validate]


def _as_json(report: Report, *, name: str) -> Response[Any]:
    content = json.dumps(report.to_simple_report(), ensure_ascii=False, indent=2).encode()
    return download(content, name=f"{name}.report.json", media_type="application/json")


def _as_pdf(request: Ask, explained: Explained, *, name: str, content: bytes) -> Response[Any]:
    from digiid.institutions.information_authority.web.report_pdf import build_report_pdf  # its fonts: slow to load

    language, digest = language_of(request), hashlib.sha256(content).hexdigest()

    def translate(text: str) -> str:
        return site_of(request).gettext(language, text)

    printed = build_report_pdf(explained, sha256=digest, language=language, translate=translate)
    return download(printed, name=f"{name}.report.pdf", media_type="application/pdf")
