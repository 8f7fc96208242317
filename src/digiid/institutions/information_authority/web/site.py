"""The state portal's pages."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, ParamSpec, TypeVar

from litestar import Request, Response, get, post
from litestar.params import FromPath
from pydantic import BaseModel, ConfigDict, Field

from digiid.formats.asic import DataFile
from digiid.institutions.information_authority import use_cases
from digiid.institutions.information_authority.domain import clean_file_name
from digiid.institutions.information_authority.use_cases import Deps
from digiid.institutions.information_authority.web.words import explain
from digiid.kernel.errors import Malformed, Refused, Unavailable
from digiid.platform.documents.files import guess_media_type
from digiid.platform.documents.pades import PDF_MEDIA_TYPE
from digiid.platform.web import N_
from digiid.platform.web.forms import Form, check
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.site import (
    download,
    end_session,
    form_of,
    language_of,
    page,
    redirect,
    require_session,
    run,
    session_of,
    site_of,
)

P = ParamSpec("P")
R = TypeVar("R")
NAVIGATION = (
    ("/", N_("My state")),
    ("/who-looked", N_("Who looked")),
    ("/sign", N_("Sign")),
    ("/validate", N_("Validate a document")),
    ("/files", N_("More with files")),
    ("/report-misuse", N_("Report misuse")),
    ("/help", N_("Help")),
)
CONTAINER_TYPE = "application/vnd.etsi.asic-e+zip"
INSIDE = "?inside="  # behind a document's identifier: the signature goes into the PDF file
EMPTY_FILE = N_("This file is empty. Choose another one.")
_PAGES_SHOWN = 40
_PICTURE_LIMIT = RateLimit(120, timedelta(minutes=1))
_VALIDATE_LIMIT, _REPORT_LIMIT = RateLimit(60, timedelta(minutes=1)), RateLimit(20, timedelta(minutes=1))


class MisuseForm(BaseModel):
    model_config = ConfigDict(frozen=True)

    what_happened: Annotated[str, Field(min_length=10, max_length=4000)]
    document_number: Annotated[str, Field(max_length=20)] = ""
    service: Annotated[str, Field(max_length=200)] = ""
    contact: Annotated[str, Field(max_length=200)] = ""


_MISUSE_MESSAGES = {"what_happened": N_("Say in at least ten characters what happened")}


def handlers(deps: Deps) -> list[Any]:
    size = {"max_megabytes": deps.settings.max_upload_bytes // (1024 * 1024)}

    @get("/")
    async def home(request: Request[Any, Any, Any]) -> Response[Any]:
        session = session_of(request)
        if session is None or session.subject is None:
            return await page(request, "portal_home.html")
        documents, problem = [], False
        try:
            documents = list(await run(request, use_cases.own_identity_documents, deps, session.subject))
        except Unavailable:
            problem = True  # the rest of the page is still of use
        sign_ins = await run(request, use_cases.own_sign_ins, deps, session.subject)
        context = {"documents": documents, "problem": problem, "sign_ins": sign_ins[:5]}
        return await page(request, "portal_mine.html", context)

    @get("/sign-ins")
    async def sign_ins(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        entries = await run(request, use_cases.own_sign_ins, deps, session.subject or "")
        return await page(request, "portal_sign_ins.html", {"sign_ins": entries})

    @get("/lost/{number:str}")
    async def lost(request: Request[Any, Any, Any], number: FromPath[str]) -> Response[Any]:
        require_session(request, kind="card")
        return await page(request, "portal_lost.html", {"number": number})

    @post("/lost/{number:str}")
    async def report_lost(request: Request[Any, Any, Any], number: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        form = await form_of(request)
        note = form.value("note")[:1000]
        reported = await run(request, use_cases.report_loss, deps, session.subject or "", number, note)
        await end_session(request)
        return await page(request, "portal_lost_done.html", {"number": number, "reported": reported})

    @get("/sign")
    async def sign(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        documents = await run(request, use_cases.own_documents, deps, session.subject or "")
        return await page(
            request, "portal_sign.html", {"documents": documents, "days": deps.settings.keep_days, **size}
        )

    @post("/sign")
    async def upload(request: Request[Any, Any, Any]) -> Response[Any]:
        session = require_session(request, kind="card")
        form = await form_of(request)
        files = await uploaded_files(request, "file")
        try:
            document_id = await run(request, use_cases.upload_files, deps, session.subject or "", files)
        except Refused as error:
            form.error("file", error.public or error.detail)
            documents = await run(request, use_cases.own_documents, deps, session.subject or "")
            context = {"form": form, "documents": documents, "days": deps.settings.keep_days, **size}
            return await page(request, "portal_sign.html", context, status=422)
        return redirect(f"/sign/{document_id}")

    @get("/sign/{document_id:str}")
    async def show(request: Request[Any, Any, Any], document_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        shown = await aside(request, use_cases.show_document, deps, session.subject or "", document_id)
        document = shown.document
        inside = shown.can_be_inside and (shown.report is not None or request.query_params.get("inside") == "1")
        report = None
        if document.signed_at is not None:
            _, container = await run(request, use_cases.read_container, deps, session.subject or "", document_id)
            report = await run(request, use_cases.validate, deps, container, document.container_name)
        context = {
            "document": document,
            "files": shown.files,
            "report": report,
            "earlier": explain(shown.report) if shown.report else None,
            "can_be_inside": shown.can_be_inside,
            "inside": inside,
            "reference": document_id + (f"{INSIDE}1" if inside else ""),
        }
        return await page(request, "portal_document.html", context)

    @get("/sign/{document_id:str}/files/{position:int}")
    async def see_file(
        request: Request[Any, Any, Any], document_id: FromPath[str], position: FromPath[int]
    ) -> Response[Any]:
        session = require_session(request, kind="card")
        file = await run(request, use_cases.read_file, deps, session.subject or "", document_id, position)
        return download(file.content, name=file.name, media_type="application/octet-stream")

    @get("/sign/{document_id:str}/files/{position:int}/look")
    async def look(
        request: Request[Any, Any, Any], document_id: FromPath[str], position: FromPath[int]
    ) -> Response[Any]:
        session = require_session(request, kind="card")
        looked = await aside(request, use_cases.look_at_file, deps, session.subject or "", document_id, position)
        shown = min(looked.pages, _PAGES_SHOWN)
        context = {"document_id": document_id, "position": position, "looked": looked, "shown": shown}
        return await page(request, "portal_look.html", context)

    @get("/sign/{document_id:str}/files/{position:int}/pages/{number:int}", rate_limit=_PICTURE_LIMIT)
    async def picture(
        request: Request[Any, Any, Any], document_id: FromPath[str], position: FromPath[int], number: FromPath[int]
    ) -> Response[Any]:
        session = require_session(request, kind="card")
        png = await aside(request, use_cases.draw_file, deps, session.subject or "", document_id, position, number)
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, no-store"})

    @get("/sign/{document_id:str}/container")
    async def container(request: Request[Any, Any, Any], document_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        document, content = await run(request, use_cases.read_container, deps, session.subject or "", document_id)
        return download(
            content, name=document.container_name, media_type=PDF_MEDIA_TYPE if document.is_pdf else CONTAINER_TYPE
        )

    @post("/sign/{document_id:str}/delete")
    async def delete(request: Request[Any, Any, Any], document_id: FromPath[str]) -> Response[Any]:
        session = require_session(request, kind="card")
        await run(request, use_cases.delete_document, deps, session.subject or "", document_id)
        return redirect("/sign")

    @get("/validate")
    async def validate_page(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "portal_validate.html", size)

    @post("/validate", rate_limit=_VALIDATE_LIMIT)
    async def validate(request: Request[Any, Any, Any]) -> Response[Any]:
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
            content = json.dumps(report.to_simple_report(), ensure_ascii=False, indent=2).encode()
            return download(content, name=f"{name}.report.json", media_type="application/json")
        explained = explain(report)
        if form.value("format") == "pdf":
            from digiid.institutions.information_authority.web.report_pdf import (
                build_report_pdf,
            )  # its fonts: slow to load

            language, digest = language_of(request), hashlib.sha256(upload.content).hexdigest()

            def translate(text: str) -> str:
                return site_of(request).gettext(language, text)

            printed = build_report_pdf(explained, sha256=digest, language=language, translate=translate)
            return download(printed, name=f"{name}.report.pdf", media_type="application/pdf")
        return await page(request, "portal_report.html", {"report": report, "explained": explained})

    @get("/report-misuse")
    async def misuse_page(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "portal_misuse.html")

    @post("/report-misuse", rate_limit=_REPORT_LIMIT)
    async def misuse(request: Request[Any, Any, Any]) -> Response[Any]:
        form = await form_of(request)
        filled = check(form, MisuseForm, _MISUSE_MESSAGES)
        if filled is None:
            return await page(request, "portal_misuse.html", {"form": form}, status=422)
        receipt = await run(request, use_cases.report_misuse, deps, **filled.model_dump())
        return await page(request, "portal_misuse_done.html", {"receipt": receipt, "form": Form()})

    @get("/help")
    async def help_page(request: Request[Any, Any, Any]) -> Response[Any]:
        return await page(request, "portal_help.html")

    return [
        home,
        sign_ins,
        lost,
        report_lost,
        sign,
        upload,
        show,
        see_file,
        look,
        picture,
        container,
        delete,
        validate_page,
        validate,
        misuse_page,
        misuse,
        help_page,
    ]


async def aside(request: Request[Any, Any, Any], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run what draws or takes apart strangers' files where it holds up nobody else's page."""
    return await site_of(request).pools.pictures.run(function, *args, **kwargs)


async def uploaded_files(request: Request[Any, Any, Any], field: FromPath[str]) -> list[DataFile]:
    """Every file of a field that takes several."""
    files = []
    for name, value in (await request.form()).multi_items():
        if name == field and hasattr(value, "filename") and value.filename:
            await value.seek(0)
            clean = clean_file_name(value.filename)
            files.append(DataFile(clean, guess_media_type(clean), await value.read()))
    return files
