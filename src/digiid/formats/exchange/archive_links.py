"""`linkinginfo`: the text file that chains the containers of one message archive, and archives to one another.

First line: digest and file name of the archive before (`-` when there is none) and the hash's name; then one line
`digest name` for each container. Every digest is hex of H(digest before, as hex, then hex of H(file)).
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from digiid.kernel.errors import Malformed, Refused

MAX_BYTES: Final = 4 * 1024**2
_HASH: Final = "SHA-512"
_FIRST = re.compile(r"(-|[0-9a-f]{128}) (-|[A-Za-z0-9._+-]{1,200}) SHA-512")
_LINE = re.compile(r"([0-9a-f]{128}) ([A-Za-z0-9._+-]{1,200})")


@dataclass(frozen=True, slots=True)
class ArchiveLinks:
    """One archive's chain. `previous` is the last digest and the name of the archive before, or None."""

    previous: tuple[str, str] | None
    links: tuple[tuple[str, str], ...]  # digest in hex, file name

    @property
    def last_digest(self) -> str | None:
        """What the next archive links to."""
        return self.links[-1][0] if self.links else None

    def encode(self) -> bytes:
        digest, name = self.previous or ("-", "-")
        lines = [f"{digest} {name} {_HASH}", *(" ".join(link) for link in self.links)]
        return "".join(f"{line}\n" for line in lines).encode("ascii")


def build_archive_links(files: Sequence[tuple[str, bytes]], *, previous: tuple[str, str] | None) -> ArchiveLinks:
    """Chain files, given as name and SHA-512 digest, in this order."""
    digest, links = previous[0] if previous else "", []
    for name, file_sha512 in files:
        digest = _next(digest, file_sha512)
        links.append((digest, name))
    return ArchiveLinks(previous, tuple(links))


def parse_archive_links(data: bytes) -> ArchiveLinks:
    """Read a linkinginfo file. Raises: Malformed `exchange.archive_links`."""
    if len(data) > MAX_BYTES or not data.isascii():
        raise Malformed("exchange.archive_links", "too large, or not ASCII")
    first, *rest = data.decode("ascii").removesuffix("\n").split("\n")
    head = _FIRST.fullmatch(first)
    lines = [_LINE.fullmatch(line) for line in rest]
    if head is None or (head[1] == "-") != (head[2] == "-"):
        raise Malformed("exchange.archive_links", "the first line does not say what comes before")
    links = tuple((line[1], line[2]) for line in lines if line)
    if len(links) != len(lines) or len({name for _, name in links}) != len(links):
        raise Malformed("exchange.archive_links", "a line that is no link, or two for one file")
    return ArchiveLinks(None if head[1] == "-" else (head[1], head[2]), links)


def verify_archive_links(links: ArchiveLinks, files: dict[str, bytes]) -> None:
    """The chain is over exactly these files: name to SHA-512 digest.

    Raises: Refused `exchange.archive_links.files`, `exchange.archive_links.digest`.
    """
    if {name for _, name in links.links} != files.keys():
        raise Refused("exchange.archive_links.files", "the archive does not hold exactly the files that are linked")
    digest = links.previous[0] if links.previous else ""
    for linked, name in links.links:
        digest = _next(digest, files[name])
        if not hmac.compare_digest(digest, linked):
            raise Refused("exchange.archive_links.digest", f"the chain breaks at {name}")


def _next(digest: str, file_sha512: bytes) -> str:
    return hashlib.sha512((digest + file_sha512.hex()).encode("ascii")).hexdigest()
