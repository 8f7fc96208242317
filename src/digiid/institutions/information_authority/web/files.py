"""Pages that take files and give a file back: prolong, time-stamp, take out, encrypt, open with a password.

Nobody has to sign in and nothing is kept: what comes in is gone with the answer.
"""

import io
import zipfile
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from litestar import Request, Response, get, post

from digiid.formats.asic import DataFile
from digiid.institutions.information_authority import use_cases
from digiid.institutions.information_authority.domain import clean_file_name
from digiid.institutions.information_authority.use_cases import Deps
from digiid.institutions.information_authority.web.uploads import (
    CONTAINER_TYPE,
    EMPTY_FILE,
    aside,
    size_of,
    uploaded_files,
)
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.certificate_files import parse_certificates
from digiid.platform.documents.pades import PDF_MEDIA_TYPE
from digiid.platform.web import N_
from digiid.platform.web.forms import Form
from digiid.platform.web.rate_limits import RateLimit
from digiid.platform.web.site import download, form_of, page

Ask = Request[Any, Any, Any]
_STAMPED_TYPE = "application/vnd.etsi.asic-s+zip"
_ENCRYPTED_TYPE = "application/x-cdoc2"
_LIMIT = RateLimit(30, timedelta(minutes=1))
_NO_FILE = N_("Choose a file")

# What a person reads, by the beginning of an error's code; the most telling one first.
_TEXTS = (
    ("documents.container.not_valid", N_("A signature in this file is not valid, so there is nothing to prolong.")),
    (
        "documents.time_stamp.not_valid",
        N_("The time stamps in this file are not valid, so there is nothing to prolong."),
    ),
    (
        "documents.extend.level",
        N_("These signatures have no time stamp or are of a kind that cannot be prolonged here."),
    ),
    (
        "documents.certificate.not_good",
        N_("The signer's certificate is not valid any more, so it cannot be confirmed."),
    ),
    ("encryption.recipient.none", N_("Add a recipient's certificate, or type a password.")),
    ("encryption.recipient.twice", N_("The same certificate was given twice.")),
    (
        "encryption.recipient.signing",
        N_("This is a certificate for signing. Take the same person's one for signing in."),
    ),
    ("encryption.recipient.expired", N_("This certificate is not valid now.")),
    ("encryption.recipient", N_("This certificate is not for encryption.")),
    ("encryption.password.length", N_("A password has 20 to 64 characters: whoever has the file can guess for ever.")),
    ("x509.", N_("This is not a certificate that can be read.")),
    ("cdoc2.key.wrong", N_("This password does not open the file.")),
    (
        "cdoc2.recipient",
        N_("This file has no password: it is for somebody's card or key. With the card, open it on your own computer."),
    ),
    ("cdoc2.payload.changed", N_("The file was changed on its way, so nothing of it is given out.")),
    ("cdoc2.name", N_("A file has a name that cannot be used. Rename it.")),
    ("cdoc2.", N_("This is not an encrypted container that can be read. Choose a .cdoc2 file.")),
    ("asic.", N_("This is not a container that can be read. Choose an .asice, .asics or .bdoc file.")),
)
_TEXTS_OF_PROLONGING = (  # where a PDF file would do as well
    (
        "asic.",
        N_("This is not a container or PDF file that can be read. Choose an .asice, .asics, .bdoc or .pdf file."),
    ),
    *_TEXTS,
)
_UNREADABLE = N_("This is not a container that can be read. Choose an .asice, .asics, .bdoc or .ddoc file.")
_TOO_LARGE = N_(
    "The files in this container are together too large to be taken out here. Take them out on your own computer."
)
_TOO_MANY = N_(
    "There are more files or signatures in this container than are read here. Take the files out on your own computer."
)
_TEXTS_OF_TAKING_OUT = (  # where a DigiDoc file would do as well
    ("ddoc.digest_only", N_("The files themselves are not in this container, only their digests.")),
    *((code, _TOO_LARGE) for code in ("ddoc.too_large", "asic.zip.too_large")),
    *((code, _TOO_MANY) for code in ("ddoc.count", "asic.zip.too_many_entries")),
    *((code, _UNREADABLE) for code in ("documents.no_container", "asic.", "ddoc.", "xml.")),
)


def file_handlers(deps: Deps) -> list[Any]:
    return [
        _shown(deps, "/files", "portal_files.html"),
        *_proving_handlers(deps),
        *_taking_out_handlers(deps),
        *_encryption_handlers(deps),
    ]


def _shown(deps: Deps, path: str, template: str) -> Any:
    """A page as its template has it; a form on it posts to the same address."""

    @get(path)
    async def shown(request: Ask) -> Response[Any]:
        return await page(request, template, size_of(deps))

    return shown


async def _refuse(
    request: Ask,
    deps: Deps,
    template: str,
    form: Form[Any],
    *,
    field: str = "file",
    error: DigiidError | str,
    texts: Sequence[tuple[str, str]] = _TEXTS,
) -> Response[Any]:
    form.error(field, error if isinstance(error, str) else _text(error, texts))
    context = {"form": form, "code": None if isinstance(error, str) else error.code, **size_of(deps)}
    return await page(request, template, context, status=422)


def _text(error: DigiidError, texts: Sequence[tuple[str, str]]) -> str:
    found = (text for code, text in texts if error.code.startswith(code))
    return next(found, None) or error.public or N_("This file cannot be used here.")


async def _one_file(request: Ask) -> DataFile | None:
    files = await uploaded_files(request, "file")
    return files[0] if files else None


def _give(files: Sequence[DataFile], *, name: str) -> Response[Any]:
    """One file as itself, several in an archive."""
    if len(files) == 1:
        return download(files[0].content, name=files[0].name, media_type="application/octet-stream")
    packed, taken = io.BytesIO(), set[str]()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for position, file in enumerate(files, 1):
            own = file.name
            # Two names that differ in case only are one name on some systems.
            while own.casefold() in taken:
                own = f"{position}-{own}"
            taken.add(own.casefold())
            archive.writestr(own, file.content)
    return download(packed.getvalue(), name=clean_file_name(name), media_type="application/zip")


# --- what proves for longer -------------------------------------------------------------------------------------------


def _proving_handlers(deps: Deps) -> list[Any]:
    @post("/files/prolong", rate_limit=_LIMIT)
    async def prolong(request: Ask) -> Response[Any]:
        form, file = await form_of(request), await _one_file(request)
        if file is None or not file.content:
            return await _refuse(request, deps, "portal_prolong.html", form, error=EMPTY_FILE if file else _NO_FILE)
        try:
            longer = await aside(request, use_cases.prolong, deps, file.content)
        except (Malformed, NotFound, Refused) as error:
            return await _refuse(request, deps, "portal_prolong.html", form, error=error, texts=_TEXTS_OF_PROLONGING)
        except Unavailable as error:
            raise _later(error) from error
        is_pdf = longer.startswith(b"%PDF-")
        return download(longer, name=file.name, media_type=PDF_MEDIA_TYPE if is_pdf else CONTAINER_TYPE)

    @post("/files/time-stamp", rate_limit=_LIMIT)
    async def stamp(request: Ask) -> Response[Any]:
        form, file = await form_of(request), await _one_file(request)
        if file is None or not file.content:
            return await _refuse(request, deps, "portal_time_stamp.html", form, error=EMPTY_FILE if file else _NO_FILE)
        try:
            stamped = await aside(request, use_cases.time_stamp, deps, file)
        except (Malformed, Refused) as error:
            return await _refuse(request, deps, "portal_time_stamp.html", form, error=error)
        except Unavailable as error:
            raise _later(error) from error
        return download(stamped, name=f"{file.name}.asics", media_type=_STAMPED_TYPE)

    return [
        _shown(deps, "/files/prolong", "portal_prolong.html"),
        prolong,
        _shown(deps, "/files/time-stamp", "portal_time_stamp.html"),
        stamp,
    ]


def _later(error: Unavailable) -> Unavailable:
    return Unavailable(
        error.code,
        error.detail,
        public=N_("The time-stamping service does not answer now. Nothing was changed; try later."),
    )


# --- files out of a container -----------------------------------------------------------------------------------------


def _taking_out_handlers(deps: Deps) -> list[Any]:
    @post("/files/take-out", rate_limit=_LIMIT)
    async def take_out(request: Ask) -> Response[Any]:
        form, file = await form_of(request), await _one_file(request)
        if file is None or not file.content:
            return await _refuse(request, deps, "portal_take_out.html", form, error=EMPTY_FILE if file else _NO_FILE)
        try:
            found = await aside(request, use_cases.take_out, deps, file.content)
        except Malformed as error:
            return await _refuse(request, deps, "portal_take_out.html", form, error=error, texts=_TEXTS_OF_TAKING_OUT)
        if not found:
            nothing = N_("There is no file in this container.")
            return await _refuse(request, deps, "portal_take_out.html", form, error=nothing)
        return _give(found, name=f"{file.name}.zip")

    return [_shown(deps, "/files/take-out", "portal_take_out.html"), take_out]


# --- encryption -------------------------------------------------------------------------------------------------------


def _encryption_handlers(deps: Deps) -> list[Any]:
    @post("/files/encrypt", rate_limit=_LIMIT)
    async def encrypt(request: Ask) -> Response[Any]:
        form, files = await form_of(request), await uploaded_files(request, "file")
        certificates = await uploaded_files(request, "certificate")
        password = form.value("password")
        form.values = {name: value for name, value in form.values.items() if name != "password"}
        try:
            known = [one for file in certificates for one in parse_certificates(file.content, name=file.name)]
            sealed = await aside(
                request,
                use_cases.encrypt,
                deps,
                files,
                certificates=known,
                password=password,
                label=form.value("label")[:60],
            )
        except (Malformed, Refused) as error:
            return await _refuse(request, deps, "portal_encrypt.html", form, field=_field(error), error=error)
        return download(sealed, name=f"{files[0].name}.cdoc2", media_type=_ENCRYPTED_TYPE)

    @post("/files/decrypt", rate_limit=_LIMIT)
    async def decrypt(request: Ask) -> Response[Any]:
        form, file = await form_of(request), await _one_file(request)
        password = form.value("password")
        form.values = {}
        if file is None or not file.content:
            return await _refuse(request, deps, "portal_decrypt.html", form, error=EMPTY_FILE if file else _NO_FILE)
        try:
            found = await aside(request, use_cases.decrypt, deps, file.content, password)
        except (Malformed, Refused) as error:
            field = "password" if error.code.startswith("cdoc2.key") else "file"
            return await _refuse(request, deps, "portal_decrypt.html", form, field=field, error=error)
        return _give(found, name=f"{file.name}.zip")

    return [
        _shown(deps, "/files/encrypt", "portal_encrypt.html"),
        encrypt,
        _shown(deps, "/files/decrypt", "portal_decrypt.html"),
        decrypt,
    ]


def _field(error: DigiidError) -> str:
    if error.code.startswith("encryption.password"):
        return "password"
    return "certificate" if error.code.startswith(("encryption.recipient", "x509.")) else "file"
