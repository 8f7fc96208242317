"""Files that people name on a command line: read within limits, written whole or not at all."""

import mimetypes
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from digiid.kernel.errors import Malformed, NotFound, Refused, Unavailable

MAX_CONTAINER_BYTES = 512 * 1024 * 1024


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


def write_folder(folder: Path, files: Iterable[tuple[str, Iterable[bytes]]]) -> list[Path]:
    """Write every file, mode 0600, into a private folder inside `folder`, then move them up: all of them, or none.
    Nothing there is overwritten. The names are checked: no folders, none twice.

    Raises: Refused `documents.output_exists`; Unavailable `documents.output`; whatever the content raises.
    """
    is_new = not folder.exists()
    placed: list[Path] = []
    private: Path | None = None
    is_complete = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(dir=folder, prefix=".digiid-"))
        # 1 To the very end, since only there what is read may turn out to be damaged.
        names = [_write_file(private / name, chunks) for name, chunks in files]
        # 2 Up, without overwriting.
        for name in names:
            if os.path.lexists(folder / name):
                raise Refused("documents.output_exists", f"{folder / name} is there already.")
        for name in names:
            move_aside(private / name, folder / name)
            placed.append(folder / name)
        is_complete = True
    except OSError as error:
        raise Unavailable("documents.output", f"{folder}: {error.strerror}") from error
    finally:
        # 3 Whatever stopped it, an interrupt too: what was moved is taken back, and nothing of the content stays.
        if not is_complete:
            for target in placed:
                target.unlink(missing_ok=True)
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)
        if is_new and not is_complete:
            with suppress(OSError):
                folder.rmdir()
    return placed


def _write_file(path: Path, chunks: Iterable[bytes]) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        for chunk in chunks:
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return path.name


def move_aside(source: Path, target: Path) -> None:
    """Rename without overwriting, where the file system has hard links; elsewhere after a look.

    Raises: Refused `documents.output_exists`; OSError.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise Refused("documents.output_exists", f"{target} is there already.") from None
    except OSError:
        if os.path.lexists(target):
            raise Refused("documents.output_exists", f"{target} is there already.") from None
        source.rename(target)
    else:
        source.unlink()
