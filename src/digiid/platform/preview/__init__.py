"""Pictures of what is about to be signed, made from files that strangers may have sent.

Programs that draw PDF files and pictures are large and read hostile input. So they run in a process of their own, one
for each picture, without inherited secrets, with limits on memory, processor time and files, and are killed when they
take too long. What comes back is a PNG that this side only checks for its size and form.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Final

from digiid.kernel.errors import Malformed
from digiid.platform.visible_text import make_visible

MAX_SOURCE_BYTES: Final = 32 * 1024 * 1024
MAX_PNG_BYTES: Final = 8 * 1024 * 1024
MAX_TEXT_BYTES: Final = 200 * 1024
_TIMEOUT_SECONDS: Final = 10
_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """One page drawn, and how many there are."""

    pages: int
    png: bytes = field(repr=False)


def can_draw(media_type: str) -> bool:
    """Whether `draw_page` can try: PDF files and the common kinds of picture."""
    return media_type in ("application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp", "image/tiff")


def draw_page(content: bytes, *, page: int = 0) -> Picture:
    """Draw one page, counted from 0, of a PDF file or a picture, at most 1,000 pixels wide.

    Raises:
        Malformed: `preview.unreadable`, it cannot be drawn, or not within the limits; `preview.no_page`.
    """
    if len(content) > MAX_SOURCE_BYTES:
        raise Malformed("preview.unreadable", "too large to be shown")
    try:
        drawn = subprocess.run(  # noqa: S603 - our own program and a number
            [sys.executable, "-I", "-m", "digiid.platform.preview.worker", str(page)],
            input=content,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            env={},  # nothing of this process's surroundings
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Malformed("preview.unreadable", "drawing it took too long") from error
    return _read(drawn.returncode, drawn.stdout)


def _read(code: int, output: bytes) -> Picture:
    header, _, png = output[: MAX_PNG_BYTES + 200].partition(b"\n")
    if code != 0:
        raise Malformed("preview.unreadable", "it cannot be drawn")
    try:
        pages = int(json.loads(header)["pages"])
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed("preview.unreadable", "it cannot be drawn") from error
    if not png:
        raise Malformed("preview.no_page", "there is no such page")
    if not png.startswith(_PNG) or len(png) > MAX_PNG_BYTES:
        raise Malformed("preview.unreadable", "what was drawn is no picture of a reasonable size")
    return Picture(pages, png)


def read_text(content: bytes) -> str | None:
    """The text of a file that is plain UTF-8, with characters that hide or turn writing made visible; else None.

    At most the first 200 KiB are shown; the caller says so when the file is longer.
    """
    try:
        text = content[:MAX_TEXT_BYTES].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) <= MAX_TEXT_BYTES or error.start < MAX_TEXT_BYTES - 4:
            return None
        text = content[: error.start].decode("utf-8-sig")
    if "\x00" in text:
        return None
    return make_visible(text.replace("\r\n", "\n"), keep="\n\t")
