"""Files taken out of a container, judged by nobody. ASiC by streams; DigiDoc (DDOC) in memory.

Not here: CDOC2, which is decrypted (`encryption`), and PDF files, which hold their signatures inside.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from digiid.formats.asic import Limits, parse_container
from digiid.formats.ddoc import MAX_DDOC_BYTES, parse_ddoc
from digiid.formats.validation.time_stamped import SNIFFED_BYTES, sniff
from digiid.kernel.errors import Malformed, NotFound
from digiid.platform.documents.files import write_folder
from digiid.platform.visible_text import make_visible


def take_out_files(container: Path, folder: Path) -> list[Path]:
    """Every file of the container, in its order: all of them or none. Nothing in `folder` is overwritten.

    A file that lay in a folder of the container lies in `folder` itself; of two with one name the second is
    `2-NAME`. Characters that hide or turn a name around are written so that they are seen.

    Raises:
        NotFound: `documents.file`.
        Malformed: `documents.no_container`, `asic.…`, `ddoc.…`, `xml.…`.
        Refused: `documents.output_exists`. Unavailable: `documents.output`.
    """
    try:
        stream = container.open("rb")
        kind = sniff(stream.read(SNIFFED_BYTES))
        stream.seek(0)
    except OSError as error:  # a pipe's has no strerror
        raise NotFound("documents.file", f"{container}: {error.strerror or error}") from error
    with stream:
        return write_folder(folder, _named_once(_files_of(stream, kind, str(container), Limits())))


def list_files(container: BinaryIO, *, name: str, limits: Limits) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Every file of the container with its name as it stands there, and its content in pieces to be read at once.

    Raises: Malformed `documents.no_container`, `asic.…`, `ddoc.…`, `xml.…`, also while it is gone through.
    """
    kind = sniff(container.read(SNIFFED_BYTES))
    container.seek(0)
    return _files_of(container, kind, name, limits)


def _files_of(
    stream: BinaryIO, kind: str | None, container: str, limits: Limits
) -> Iterator[tuple[str, Iterable[bytes]]]:
    if kind == "ZIP":
        return _of_asic(stream, limits)
    if kind == "DDOC":
        return _of_ddoc(stream, limits)
    text = f"{container} is no container: ASiC (.asice, .sce, .bdoc, .asics) and DigiDoc (.ddoc) files are"
    raise Malformed("documents.no_container", text)


def _of_asic(stream: BinaryIO, limits: Limits) -> Iterator[tuple[str, Iterable[bytes]]]:
    parsed = parse_container(stream, limits, may_be_unnamed=True)
    for entry in parsed.data_files:
        yield entry.name, parsed.archive.stream(entry)


def _of_ddoc(stream: BinaryIO, limits: Limits) -> Iterator[tuple[str, Iterable[bytes]]]:
    files = parse_ddoc(stream.read(MAX_DDOC_BYTES + 1)).data_files
    if len(files) > limits.max_entries:
        raise Malformed("ddoc.count", f"{len(files)} files, at most {limits.max_entries}")
    total = 0
    for file in files:
        if not file.is_there:
            raise Malformed("ddoc.digest_only", f"{file.name!r} is not in the document, only its digest")
        content = file.content()
        total += len(content)
        if total > limits.max_total_bytes:
            raise Malformed("ddoc.too_large", f"files of more than {limits.max_total_bytes} bytes")
        yield file.name, [content]


def _named_once(files: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[tuple[str, Iterable[bytes]]]:
    taken: set[str] = set()
    for position, (name, chunks) in enumerate(files, 1):
        flat = make_visible(name.replace("\\", "/").rsplit("/", 1)[-1])
        if flat in ("", ".", ".."):
            flat = "file"
        # Two names that differ in case only are one name on some systems.
        while flat.casefold() in taken:
            flat = f"{position}-{flat}"
        taken.add(flat.casefold())
        yield flat, chunks
