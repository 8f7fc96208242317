"""Containers changed on purpose: read with another program's eyes, written with ours."""

import io
import zipfile
from collections.abc import Callable, Mapping

from digiid.formats.asic.archive import Part, build_archive, build_part
from tests.support.pki import SIGNED_AT

SIGNATURES = "META-INF/signatures0.xml"
MANIFEST = "META-INF/manifest.xml"


def unpack(container: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(container)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def pack(files: Mapping[str, bytes]) -> bytes:
    parts: list[Part] = [
        build_part(name, content, at=SIGNED_AT, compress=name != "mimetype") for name, content in files.items()
    ]
    return build_archive(parts)


def changed(container: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """The container with files replaced, added, or (None) removed."""
    files = {**unpack(container), **changes}
    return pack({name: content for name, content in files.items() if content is not None})


def edited(container: bytes, edit: Callable[[str], str], name: str = SIGNATURES) -> bytes:
    """The container with one text file edited; an edit that changes nothing is a mistake in the test."""
    before = unpack(container)[name].decode()
    after = edit(before)
    assert after != before, "the edit did not change anything"
    return changed(container, {name: after.encode()})
