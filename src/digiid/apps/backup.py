"""Backup and restore of a state, by one command each, also while it runs.

SQLite databases are copied by SQLite's own online backup, one consistent view each. Between
institutions nothing needs to be simultaneous: messages are delivered at least once and receivers
recognise repeats, so a sender that is a moment older than its receiver only says something again.
"""

import io
import os
import sqlite3
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from digiid.apps.state import StateFolder
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused
from digiid.platform.checkpoints import DATABASE as CHECKPOINTS

_LEFT_OUT = {"log", "state.lock", "digiid.pid", "reader.sock"}
_PASSING = ("-wal", "-shm", ".part")  # SQLite's side files and half-written ones
_MAX_FILES = 100_000
_MAX_FILE_BYTES = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class BackupSummary:
    files: int
    size_bytes: int


def write_backup(folder: StateFolder, target: Path) -> BackupSummary:
    """Write the state in `folder` to a gzip-compressed tar file of mode 0600, which must not exist yet.

    Raises: NotFound `backup.no_state`; Conflict `backup.exists`; Refused `backup.not_embedded`.
    """
    if not folder.exists:
        raise NotFound("backup.no_state", f"there is no state in {folder.path}")
    if folder.load().database.url:
        raise Refused("backup.not_embedded", "this state keeps its data in PostgreSQL; back it up there (pg_dump)")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict("backup.exists", f"{target} is there already; name another file") from error
    count = 0
    with os.fdopen(descriptor, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
            # checkpoints first: one that is newer than the copied journal would say that its end was cut off
            files = sorted(folder.path.rglob("*"), key=lambda file: (file.stem != CHECKPOINTS, file))
            for file in files:
                relative = file.relative_to(folder.path)
                if (
                    not file.is_file()
                    or relative.parts[0] in _LEFT_OUT
                    or file.name.endswith(("-wal", "-shm", ".part"))
                ):
                    continue
                if file.suffix == ".sqlite":
                    _add_database(archive, file, str(relative))
                else:
                    _add_bytes(archive, str(relative), file.read_bytes(), file.stat().st_mode & 0o777)
                count += 1
        stream.flush()
        os.fsync(stream.fileno())
    return BackupSummary(count, target.stat().st_size)


def read_backup(source: Path, folder: StateFolder) -> BackupSummary:
    """Restore a backup into a folder that does not hold a state.

    Raises: NotFound `backup.no_file`; Conflict `backup.state_exists`; Malformed `backup.unreadable`.
    """
    if not source.is_file():
        raise NotFound("backup.no_file", f"{source} is not a file")
    if folder.path.exists() and any(folder.path.iterdir()):
        raise Conflict("backup.state_exists", f"{folder.path} is not empty; restore into a new folder")
    count = size = 0
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with tarfile.open(source, mode="r:gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isreg() or name.is_absolute() or ".." in name.parts:
                    raise Malformed("backup.unreadable", f"a backup holds plain files only, not {member.name!r}")
                if count >= _MAX_FILES or member.size > _MAX_FILE_BYTES:
                    raise Malformed("backup.unreadable", "more or larger files than a state has")
                content = archive.extractfile(member)
                assert content is not None  # a regular file has content
                file = folder.path / name
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, member.mode & 0o700), "wb") as out:
                    while chunk := content.read(1 << 20):
                        out.write(chunk)
                        size += len(chunk)
                count += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Malformed("backup.unreadable", f"{source}: {error}") from error
    if not folder.exists:
        raise Malformed("backup.unreadable", f"{source} is not a backup of a state")
    return BackupSummary(count, size)


def _add_database(archive: tarfile.TarFile, file: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy.sqlite"
        source, target = sqlite3.connect(file), sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        _add_bytes(archive, name, copy.read_bytes(), 0o600)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
