"""Files taken out of a container into a folder, judged by nobody. ASiC by streams; DigiDoc (DDOC) in memory.

Not here: CDOC2, which is decrypted (`encryption`), and PDF files, which hold their signatures inside.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from digiid.formats.asic import parse_container
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
        if kind == "ZIP":
            files: Iterable[tuple[str, Iterable[bytes]]] = _of_asic(stream)
        elif kind == "DDOC":
            files = _of_ddoc(stream)
        else:
            text = f"{container} is no container: ASiC (.asice, .sce, .bdoc, .asics) and DigiDoc (.ddoc) files are"
            raise Malformed("documents.no_container", text)
        return write_folder(folder, _named_once(files))


def _of_asic(stream: BinaryIO) -> Iterator[tuple[str, Iterable[bytes]]]:
    parsed = parse_container(stream)
    for entry in parsed.data_files:
        yield entry.name, parsed.archive.stream(entry)


def _of_ddoc(stream: BinaryIO) -> Iterator[tuple[str, Iterable[bytes]]]:
    for file in parse_ddoc(stream.read(MAX_DDOC_BYTES + 1)).data_files:
        yield file.name, [file.content()]


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
