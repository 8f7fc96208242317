"""The applicant's photo: a real JPEG in colour, large enough, in the proportions 40:50 mm, and nothing beside it.

What is kept is drawn anew from the pixels. So metadata (place, time, camera, thumbnails) and
anything hidden behind or between the segments is gone, and what an officer opens is only a picture.
"""

import io
from dataclasses import dataclass

from PIL import Image, ImageOps

from digiid.kernel.errors import Malformed

MIN_WIDTH = 1300
MIN_HEIGHT = 1600
MAX_BYTES = 5 * 1024 * 1024
MAX_SIDE = 8000  # a header may promise any size: nothing larger is decoded
PROPORTION = 40 / 50
PROPORTION_TOLERANCE = 0.03  # 1300 × 1600 itself is 1.6 % wider than 40:50
_QUALITY = 92
_SOI = b"\xff\xd8\xff"  # ISO/IEC 10918-1 §B.1.1.3: start of image, then another marker


@dataclass(frozen=True, slots=True)
class CheckedPhoto:
    """A photo that passed. `jpeg` is baseline JPEG without metadata."""

    jpeg: bytes
    width: int
    height: int


def parse_photo(unverified: bytes) -> CheckedPhoto:
    """Check an uploaded photo and draw it anew without metadata.

    Raises: Malformed `photo.too_large`, `photo.not_jpeg`, `photo.dimensions`, `photo.proportions`,
    `photo.colour`, each with a public text that says what to do.
    """
    # 1 size before anything is decoded
    if len(unverified) > MAX_BYTES:
        raise Malformed("photo.too_large", f"{len(unverified)} bytes", public="The photo is larger than 5 MB.")
    if not unverified.startswith(_SOI):
        raise Malformed("photo.not_jpeg", "no SOI marker", public="The photo must be a JPEG file (.jpg).")
    try:
        with Image.open(io.BytesIO(unverified), formats=("JPEG",)) as image:
            # 2 the header's promise, before memory is given to the pixels
            if max(image.size) > MAX_SIDE:
                raise _dimensions(*image.size)
            if image.mode != "RGB":
                raise Malformed("photo.colour", image.mode, public="The photo must be in colour (RGB).")
            # 3 every pixel: a truncated file raises here
            image.load()
            upright = ImageOps.exif_transpose(image)
            pixels = Image.frombytes("RGB", upright.size, upright.tobytes())
    except Malformed:
        raise
    except Exception as error:  # the decoder answers broken bytes with OSError, SyntaxError, struct.error and others
        raise Malformed(
            "photo.not_jpeg", type(error).__name__, public="The photo cannot be read. Save it as JPEG again."
        ) from error
    # 4 the picture itself, the right way up
    width, height = pixels.size
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise _dimensions(width, height)
    if abs(width / height / PROPORTION - 1) > PROPORTION_TOLERANCE:
        raise Malformed(
            "photo.proportions",
            f"{width} × {height}",
            public="The photo must have the proportions 40:50, for example 1300 × 1600 pixels.",
        )
    out = io.BytesIO()
    pixels.save(out, "JPEG", quality=_QUALITY)
    return CheckedPhoto(out.getvalue(), width, height)


def _dimensions(width: int, height: int) -> Malformed:
    return Malformed(
        "photo.dimensions",
        f"{width} × {height}",
        public=f"The photo is {width} × {height} pixels. It must be at least {MIN_WIDTH} × {MIN_HEIGHT} "
        f"and at most {MAX_SIDE} on a side.",
    )
