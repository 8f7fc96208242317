"""What is accepted as an applicant's photo, and what is kept of it."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from digiid.formats import photo
from digiid.formats.photo import parse_photo
from digiid.kernel.errors import Malformed


def jpeg(width: int = 1300, height: int = 1600, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), "#8899aa" if mode == "RGB" else 128).save(out, "JPEG", **options)
    return out.getvalue()


SMALL = jpeg(60, 75)


def code_of(data: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        parse_photo(data)
    assert caught.value.public, "the applicant is told what to do"
    return caught.value.code


def test_the_smallest_allowed_photo_passes() -> None:
    checked = parse_photo(jpeg())
    assert (checked.width, checked.height) == (1300, 1600)


def test_metadata_and_trailing_bytes_are_not_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    checked = parse_photo(jpeg(exif=exif.tobytes(), comment=b"secret place") + b"PK\x03\x04 hidden archive")
    assert b"taken at home" not in checked.jpeg
    assert b"secret place" not in checked.jpeg
    assert b"hidden archive" not in checked.jpeg


def test_a_photo_that_lies_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    checked = parse_photo(jpeg(1600, 1300, exif=exif.tobytes()))
    assert (checked.width, checked.height) == (1300, 1600)


@pytest.mark.parametrize(
    ("width", "height", "code"),
    [
        (1299, 1600, "photo.dimensions"),
        (1300, 1599, "photo.dimensions"),
        (1600, 1600, "photo.proportions"),
        (1300, 2000, "photo.proportions"),
        (8001, 100, "photo.dimensions"),
    ],
)
def test_size_and_proportions(width: int, height: int, code: str) -> None:
    assert code_of(jpeg(width, height)) == code


def test_grey_is_refused() -> None:
    assert code_of(jpeg(mode="L")) == "photo.colour"


def test_other_formats_and_lies_about_the_format_are_refused() -> None:
    png = io.BytesIO()
    Image.new("RGB", (1300, 1600)).save(png, "PNG")
    assert code_of(png.getvalue()) == "photo.not_jpeg"
    assert code_of(b"\xff\xd8\xff" + png.getvalue()) == "photo.not_jpeg"
    assert code_of(b"") == "photo.not_jpeg"


def test_a_truncated_photo_is_refused() -> None:
    whole = jpeg()
    assert code_of(whole[: len(whole) // 2]) == "photo.not_jpeg"


def test_too_many_bytes_are_refused_before_they_are_decoded() -> None:
    assert code_of(jpeg() + bytes(photo.MAX_BYTES)) == "photo.too_large"


def test_a_header_that_promises_an_enormous_picture_is_refused_before_decoding() -> None:
    data = bytearray(SMALL)
    frame = data.index(b"\xff\xc0")  # SOF0: length, precision, height, width
    data[frame + 5 : frame + 9] = (65500).to_bytes(2, "big") * 2
    assert code_of(bytes(data)) in ("photo.dimensions", "photo.not_jpeg")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=6), st.integers(0, len(SMALL)))
def test_only_malformed_escapes_the_parser(position: int, noise: bytes, cut: int) -> None:
    for data in (SMALL[:position] + noise + SMALL[position + len(noise) :], SMALL[:cut], noise):
        with pytest.raises(Malformed):  # it is too small in any case
            parse_photo(data)
