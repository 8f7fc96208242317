"""What the portal decides itself: names of files, how long a container is kept, what a document state means."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from digiid.formats.asic import DataFile
from digiid.kernel.errors import Refused

CONTAINER_SUFFIXES = (".asice", ".sce", ".bdoc")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Document:
    """Files that a person wants to sign, or has signed: then `container_size` is set."""

    document_id: str
    personal_code: str
    name: str
    file_count: int
    created_at: datetime
    signed_at: datetime | None
    keep_until: datetime
    container_size: int | None
    is_pdf: bool = False  # signed inside the PDF file, so there is no container

    @property
    def container_name(self) -> str:
        """What the signed container or file is called: a container that was signed again keeps its name."""
        if self.is_pdf:
            stem = self.name.removesuffix(".pdf").removesuffix(".PDF").removesuffix("-signed")
            return f"{stem}-signed.pdf"
        return self.name if self.name.lower().endswith(CONTAINER_SUFFIXES) else f"{self.name}.asice"


def clean_file_name(name: str) -> str:
    """A flat file name that shows what it is: no folders, no control or direction characters."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    base = unicodedata.normalize("NFC", _CONTROL.sub("", base)).strip(" .")
    return base[:150] or "file"


def check_files(files: Sequence[DataFile], *, max_files: int, max_bytes: int) -> None:
    """Can these files be signed together? Raises: Refused `portal.files`."""
    if not files:
        raise Refused("portal.files", "none", public="Choose at least one file.")
    if len(files) > max_files:
        raise Refused("portal.files", f"{len(files)} files", public="These are too many files for one container.")
    if sum(len(file.content) for file in files) > max_bytes:
        raise Refused("portal.files", "too large", public="These files are too large together.")
    if any(not file.content for file in files):
        raise Refused("portal.files", "empty", public="A file is empty. Leave it out, or choose another one.")
    names = [unicodedata.normalize("NFC", file.name).casefold() for file in files]
    if len(set(names)) != len(names) or "mimetype" in names:
        raise Refused("portal.files", "names", public="Two files have the same name. Rename one of them.")


def keep_until(at: datetime, days: int) -> datetime:
    return at + timedelta(days=days)
