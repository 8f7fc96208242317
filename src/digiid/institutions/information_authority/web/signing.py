"""The pages of what a person signs: files in, the document and its files before and after, the signed file out.

Signing itself is the platform's: the page of a document leads there.
"""

from datetime import timedelta
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.params import FromPath

from digiid.institutions.information_authority import use_cases
from digiid.institutions.information_authority.use_cases import Deps
from digiid.institutions.information_authority.web.uploads import CONTAINER_TYPE, aside, size_of, uploaded_files
from digiid.institutions.information_authority.web.words import explain
from digiid.kernel.errors import Refused
from digiid.platform.documents.pades import PDF_MEDIA_TYPE
from digiid.platform.web.forms import Form
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.site import download, form_of, page, redirect, require_session, run

Ask = Request[Any, Any, Any]
INSIDE: Final = "?inside="  # behind a document's identifier: the signature goes into the PDF file
_PAGES_SHOWN = 40
_PICTURE_LIMIT = RateLimit(120, timedelta(minutes=1))


def document_handlers(deps: Deps) -> list[Any]:
    return [
        *_upload_handlers(deps),
        *_one_document_handlers(deps),
        *_one_file_handlers(deps),
    ]


def _person_of(request: Ask) -> str:
    return require_session(request, kind="card").subject or ""


# --- files in ---------------------------------------------------------------------------------------------------------


def _upload_handlers(deps: Deps) -> list[Any]:
    @get("/sign")
    async def sign(request: Ask) -> Response[Any]:
        return await _show_upload(request, deps, _person_of(request), Form())

    @post("/sign")
    async def upload(request: Ask) -> Response[Any]:
        person = _person_of(request)
        form = await form_of(request)
        files = await uploaded_files(request, "file")
        try:
            document_id = await run(request, use_cases.upload_files, deps, person, files)
        except Refused as error:
            form.error("file", error.public or error.detail)
            return await _show_upload(request, deps, person, form)
        return redirect(f"/sign/{document_id}")

    return [sign, upload]


async def _show_upload(request: Ask, deps: Deps, person: str, form: Form[Any]) -> Response[Any]:
    documents = await run(request, use_cases.own_documents, deps, person)
    context = {"form": form, "documents": documents, "days": deps.settings.keep_days, **size_of(deps)}
    return await page(request, "portal_sign.html", context, status=422 if form.errors else 200)


# --- a document -------------------------------------------------------------------------------------------------------


def _one_document_handlers(deps: Deps) -> list[Any]:
    @get("/sign/{document_id:str}")
    async def show(request: Ask, document_id: FromPath[str]) -> Response[Any]:
        person = _person_of(request)
        shown = await aside(request, use_cases.show_document, deps, person, document_id)
        document = shown.document
        inside = shown.can_be_inside and (shown.report is not None or request.query_params.get("inside") == "1")
        report = None
        if document.signed_at is not None:
            _, container = await run(request, use_cases.read_container, deps, person, document_id)
            report = await run(request, use_cases.validate, deps, container, document.container_name)
        context = {
            "document": document,
            "files": shown.files,
            "explained": explain(report) if report else None,
            "earlier": explain(shown.report) if shown.report else None,
            "can_be_inside": shown.can_be_inside,
            "inside": inside,
            "reference": document_id + (f"{INSIDE}1" if inside else ""),
        }
        return await page(request, "portal_document.html", context)

    @get("/sign/{document_id:str}/container")
    async def container(request: Ask, document_id: FromPath[str]) -> Response[Any]:
        document, content = await run(request, use_cases.read_container, deps, _person_of(request), document_id)
        media_type = PDF_MEDIA_TYPE if document.is_pdf else CONTAINER_TYPE
        return download(content, name=document.container_name, media_type=media_type)

    @post("/sign/{document_id:str}/delete")
    async def delete(request: Ask, document_id: FromPath[str]) -> Response[Any]:
        await run(request, use_cases.delete_document, deps, _person_of(request), document_id)
        return redirect("/sign")

    return [show, container, delete]


# --- a file of a document ---------------------------------------------------------------------------------------------


def _one_file_handlers(deps: Deps) -> list[Any]:
    @get("/sign/{document_id:str}/files/{position:int}")
    async def see_file(request: Ask, document_id: FromPath[str], position: FromPath[int]) -> Response[Any]:
        file = await run(request, use_cases.read_file, deps, _person_of(request), document_id, position)
        return download(file.content, name=file.name, media_type="application/octet-stream")

    @get("/sign/{document_id:str}/files/{position:int}/look")
    async def look(request: Ask, document_id: FromPath[str], position: FromPath[int]) -> Response[Any]:
        looked = await aside(request, use_cases.look_at_file, deps, _person_of(request), document_id, position)
        shown = min(looked.pages, _PAGES_SHOWN)
        context = {"document_id": document_id, "position": position, "looked": looked, "shown": shown}
        return await page(request, "portal_look.html", context)

    @get("/sign/{document_id:str}/files/{position:int}/pages/{number:int}", rate_limit=_PICTURE_LIMIT)
    async def picture(
        request: Ask, document_id: FromPath[str], position: FromPath[int], number: FromPath[int]
    ) -> Response[Any]:
        person = _person_of(request)
        png = await aside(request, use_cases.draw_file, deps, person, document_id, position, number)
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, no-store"})

    return [see_file, look, picture]
