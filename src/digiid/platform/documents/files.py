"""Files that people name on a command line: read within limits, written whole or not at all."""

import mimetypes
import os
import tempfile
from pathlib import Path

from digiid.kernel.errors import Malformed, NotFound, Unavailable
from digiid.platform.documents.signing import MAX_CONTAINER_BYTES


def guess_media_type(name: str) -> str:
    """By the file's suffix."""
    return mimetypes.guess_type(name, strict=True)[0] or "application/octet-stream"


def read_file(path: Path, *, max_bytes: int = MAX_CONTAINER_BYTES) -> bytes:
    """Raises: NotFound `documents.file`; Malformed `documents.too_large`."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise NotFound("documents.file", f"{path}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise Malformed("documents.too_large", f"{path} is larger than {max_bytes} bytes")
    return data


def make_folder(folder: Path) -> None:
    """The folder that somebody named for what is written, with those above it.

    Raises: NotFound `documents.output`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotFound("documents.output", f"{folder}: {error.strerror}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Whole or not at all: a new file beside the target, renamed over it.

    Raises: NotFound `documents.output`, no such folder; Unavailable `documents.output`.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise NotFound("documents.output", f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise Unavailable("documents.output", f"{path}: {error.strerror}") from error
