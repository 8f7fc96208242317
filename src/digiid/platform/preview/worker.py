"""The process that draws one page: bytes on standard input, a line of JSON and a PNG on standard output.

It limits itself before the first byte of the file is looked at, and needs nothing but its own program files.
"""

import io
import json
import resource
import sys
from typing import Final

MAX_WIDTH: Final = 1000  # pixels
MAX_HEIGHT: Final = 4000
MAX_PIXELS: Final = 50_000_000  # of a picture before it is made smaller
_MEMORY_BYTES: Final = 1024 * 1024 * 1024
_CPU_SECONDS: Final = 8
_SCALE: Final = 1.6  # a page of A4 becomes 950 pixels wide


def main() -> int:
    """Draw the page that the first argument names. Exit code 0, or 1 when it cannot be drawn."""
    for limit, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(limit, (most, most))
    content, page = sys.stdin.buffer.read(), int(sys.argv[1])
    try:
        pages, png = _draw_pdf(content, page) if content.startswith(b"%PDF-") else _draw_picture(content, page)
    except Exception:
        return 1
    sys.stdout.buffer.write(json.dumps({"pages": pages}).encode() + b"\n" + png)
    return 0


def _draw_pdf(content: bytes, page: int) -> tuple[int, bytes]:
    import pypdfium2

    document = pypdfium2.PdfDocument(content)  # type: ignore[no-untyped-call]
    # What stands in forms is signed too, and every reader shows it; the library runs no scripts.
    document.init_forms()  # type: ignore[no-untyped-call]
    pages = len(document)
    if not 0 <= page < pages:
        return pages, b""
    width, height = document[page].get_size()
    scale = min(_SCALE, MAX_WIDTH / width, MAX_HEIGHT / height)
    drawn = document[page].render(scale=scale).to_pil()
    return pages, _encode(drawn)


def _draw_picture(content: bytes, page: int) -> tuple[int, bytes]:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "GIF", "WEBP", "TIFF")) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        if page != 0:
            return 1, b""
        upright = ImageOps.exif_transpose(picture).convert("RGBA")
    upright.thumbnail((MAX_WIDTH, MAX_HEIGHT))
    return 1, _encode(upright)


def _encode(picture: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format="PNG")  # type: ignore[attr-defined]
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
