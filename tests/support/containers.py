"""Containers changed on purpose: read with another program's eyes, written with ours."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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


# ------------------------------------------------------------------ ZIP files byte by byte, right and wrong


@dataclass(frozen=True)
class RawEntry:
    """One entry, every field as it is to be written. `local` and `central` replace fields of the two headers:
    version, flags, method, time, date, crc, packed, size, disk, external, made_by, offset, name, extra.
    """

    name: bytes
    content: bytes = b""
    deflated: bool = False
    packed: bytes | None = None
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)
    before: bytes = b""
    after: bytes = b""
    in_directory: bool = True

    def both(self, **fields: Any) -> "RawEntry":
        """The same entry with fields of both headers replaced."""
        return replace(self, local={**self.local, **fields}, central={**self.central, **fields})


def raw_entries(container: bytes) -> list[RawEntry]:
    """The files of a container as entries to be spoiled."""
    return [
        RawEntry(name.encode(), content, deflated=name != "mimetype") for name, content in unpack(container).items()
    ]


def raw_zip(
    entries: Sequence[RawEntry],
    *,
    prefix: bytes = b"",
    before_directory: bytes = b"",
    before_end: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    end: Mapping[str, int] | None = None,
) -> bytes:
    """A ZIP file of exactly these parts; without replaced fields it is a right one (`prefix` is counted in offsets)."""
    out, directory = bytearray(prefix), bytearray()
    count = 0
    for entry in entries:
        packed = entry.packed
        if packed is None:
            packed = _deflate(entry.content) if entry.deflated else entry.content
        known = {
            "version": 20,
            "flags": 0 if entry.name.isascii() else 0x0800,
            "method": 8 if entry.deflated else 0,
            "time": 0x4800,
            "date": 0x5D77,
            "crc": zlib.crc32(entry.content),
            "packed": len(packed),
            "size": len(entry.content),
            "name": entry.name,
            "extra": b"",
        }
        out += entry.before
        offset = len(out)
        f = {**known, **entry.local}
        out += b"PK\x03\x04" + struct.pack(
            "<5H3I2H",
            *(f[key] for key in ("version", "flags", "method", "time", "date", "crc", "packed", "size")),
            len(f["name"]),
            len(f["extra"]),
        )
        out += f["name"] + f["extra"] + packed + entry.after
        if not entry.in_directory:
            continue
        known |= {"made_by": 0x0314, "disk": 0, "external": 0o100644 << 16, "offset": offset, "comment": b""}
        f = {**known, **entry.central}
        count += 1
        directory += b"PK\x01\x02" + struct.pack(
            "<6H3I5H2I",
            *(f[key] for key in ("made_by", "version", "flags", "method", "time", "date", "crc", "packed", "size")),
            len(f["name"]),
            len(f["extra"]),
            len(f["comment"]),
            f["disk"],
            0,
            f["external"],
            f["offset"],
        )
        directory += f["name"] + f["extra"] + f["comment"]
    out += before_directory
    fields = {
        "disk": 0,
        "central_disk": 0,
        "here": count,
        "count": count,
        "bytes": len(directory),
        "offset": len(out),
        "comment": len(comment),
        **(end or {}),
    }
    out += directory + before_end
    return bytes(out) + b"PK\x05\x06" + struct.pack("<4H2IH", *fields.values()) + comment + suffix


def _deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()
