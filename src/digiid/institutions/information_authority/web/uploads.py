"""Files that people hand in: how the portal's pages take them, how large they may be, where they are worked on."""

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from litestar import Request

from digiid.formats.asic import DataFile
from digiid.institutions.information_authority.domain import clean_file_name
from digiid.institutions.information_authority.use_cases import Deps
from digiid.platform.documents.files import guess_media_type
from digiid.platform.web import N_
from digiid.platform.web.site import site_of

P = ParamSpec("P")
R = TypeVar("R")
CONTAINER_TYPE: Final = "application/vnd.etsi.asic-e+zip"
EMPTY_FILE: Final = N_("This file is empty. Choose another one.")


def size_of(deps: Deps) -> dict[str, int]:
    """What a page with a field for files tells about their size."""
    return {"max_megabytes": deps.settings.max_upload_bytes // (1024 * 1024)}


async def aside(request: Request[Any, Any, Any], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run what draws or takes apart strangers' files where it holds up nobody else's page."""
    return await site_of(request).pools.pictures.run(function, *args, **kwargs)


async def uploaded_files(request: Request[Any, Any, Any], field: str) -> list[DataFile]:
    """Every file of a field that takes several."""
    files = []
    for name, value in (await request.form()).multi_items():
        if name == field and hasattr(value, "filename") and value.filename:
            await value.seek(0)
            clean = clean_file_name(value.filename)
            files.append(DataFile(clean, guess_media_type(clean), await value.read()))
    return files
