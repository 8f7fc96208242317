"""Where a body waits until its message may go on: in memory while it is small, else in a file of mode 0600.

Its SHA-512 is computed while it comes. All files together have a limit, of which one member has half at most: who
sends many large bodies, slowly, does not take the room from others. What a killed process left is removed at the next
start.
"""

import hashlib
import os
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from digiid.kernel.errors import Malformed, Unavailable

PIECE_BYTES: Final = 256 * 1024
_PREFIX: Final = "body-"


class SpoolFolder:
    """The folder of all spooled bodies of a process."""

    def __init__(self, folder: Path, *, memory_bytes: int, max_spooled_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(f"{_PREFIX}*"):
            left.unlink(missing_ok=True)
        self.folder, self.memory_bytes = folder, memory_bytes
        self._room, self._room_of_one = max_spooled_bytes, max_spooled_bytes // 2
        self._taken: dict[Hashable, int] = {}

    def open(self, *, max_bytes: int, of: Hashable) -> "Spool":
        """`of` is the member whose body it is."""
        return Spool(self, max_bytes=max_bytes, of=of)

    def take_room(self, count: int, of: Hashable) -> None:
        """Raises: Unavailable `exchange.spool_full`."""
        taken = self._taken.get(of, 0) + count
        if count > self._room or taken > self._room_of_one:
            raise Unavailable("exchange.spool_full", "too many bytes of bodies wait at once")
        self._room -= count
        self._taken[of] = taken

    def give_room(self, count: int, of: Hashable) -> None:
        self._room += count
        left = self._taken.pop(of, 0) - count
        if left > 0:
            self._taken[of] = left


class Spool:
    """One body. Close it when nobody needs it any more."""

    def __init__(self, folder: SpoolFolder, *, max_bytes: int, of: Hashable) -> None:
        self._folder, self._max_bytes, self._of = folder, max_bytes, of
        self._pieces: list[bytes] = []
        self._hash = hashlib.sha512()
        self._descriptor: int | None = None
        self._on_disk = 0
        self.path: Path | None = None
        self.size = 0

    @property
    def is_large(self) -> bool:
        """Whether it has left the memory."""
        return self.path is not None

    def write(self, data: bytes) -> None:
        """Raises: Malformed `exchange.body_too_large`; Unavailable `exchange.spool_full`, `exchange.spool`."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise Malformed("exchange.body_too_large", f"a body has at most {self._max_bytes} bytes")
        self._hash.update(data)
        if self._descriptor is None and self.size <= self._folder.memory_bytes:
            self._pieces.append(data)
            return
        try:
            if self._descriptor is None:
                self._descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=self._folder.folder)
                self.path = Path(name)
                data, self._pieces = b"".join((*self._pieces, data)), []
            self._folder.take_room(len(data), self._of)
            self._on_disk += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise Unavailable("exchange.spool", f"a body cannot be kept: {error.strerror}") from error

    def pass_by(self, data: bytes) -> None:
        """Count and digest bytes that go on at once and are not kept: after them `pieces` is no longer the body.

        Raises: Malformed `exchange.body_too_large`.
        """
        self.size += len(data)
        if self.size > self._max_bytes:
            raise Malformed("exchange.body_too_large", f"a body has at most {self._max_bytes} bytes")
        self._hash.update(data)

    def digest(self) -> bytes:
        """SHA-512 of all that was written."""
        return self._hash.digest()

    def find_digest(self, hash_name: str) -> bytes:
        """By any hash that a signature may name; others than SHA-512 cost a second reading."""
        if hash_name == "sha512":
            return self._hash.digest()
        other = hashlib.new(hash_name)
        for piece in self.pieces():
            other.update(piece)
        return other.digest()

    def pieces(self) -> Iterator[bytes]:
        """The body from its beginning."""
        if self._descriptor is None:
            yield from self._pieces
            return
        at = 0
        while piece := os.pread(self._descriptor, PIECE_BYTES, at):
            at += len(piece)
            yield piece

    def content(self) -> bytes:
        """A small body whole."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self.pieces())

    def close(self) -> None:
        """Forget the body."""
        self._pieces = []
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()
            self.path = None
        self._folder.give_room(self._on_disk, self._of)
        self._on_disk = 0
