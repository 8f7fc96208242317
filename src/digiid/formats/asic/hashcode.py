"""Hashcode containers: an ASiC-E container without its data files, their digests in META-INF/hashcodes-*.xml.

The form of the Estonian signing gateway (SiGa): who signs for a client never sees what is signed. It is a form for
the way between two programs; for keeping, the files are put back in.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from digiid.formats.asic.archive import Archive, Limits, Part, build_archive, build_part, copy_part
from digiid.formats.asic.container import (
    MANIFEST_NAME,
    MEDIA_TYPE_ASIC_E,
    MIMETYPE_NAME,
    Container,
    DataFile,
    build_manifest,
    check_data_files,
    parse_container,
    parse_manifest,
)
from digiid.formats.hardened_xml import check_no_foreign_nodes, escape_attribute, parse_xml
from digiid.kernel.errors import Malformed, Refused

HASHCODES_NAMES: Final[Mapping[str, str]] = {
    "sha256": "META-INF/hashcodes-sha256.xml",
    "sha512": "META-INF/hashcodes-sha512.xml",
}
MAX_HASHCODES_BYTES: Final = 1024 * 1024
MAX_FILE_BYTES: Final = 2**63 - 1
_MEDIA_TYPE: Final = "application/octet-stream"
EXPECTED_PROBLEMS: Final = {"asic.manifest.mismatch", "asic.unknown_meta_file"}


@dataclass(frozen=True, slots=True)
class FileHash:
    """A data file that stays with its owner: its name, its size, and both digests of its raw bytes."""

    name: str
    size_bytes: int
    sha256: bytes
    sha512: bytes
    media_type: str = _MEDIA_TYPE


@dataclass(frozen=True)
class HashcodeContainer:
    """A parsed hashcode container; `container` gives its signature files."""

    container: Container
    files: tuple[FileHash, ...]


def hash_file(file: BinaryIO, *, name: str, media_type: str = _MEDIA_TYPE) -> FileHash:
    """Both digests of a file, read once in pieces."""
    sha256, sha512, size = hashlib.sha256(), hashlib.sha512(), 0
    while piece := file.read(1024 * 1024):
        sha256.update(piece)
        sha512.update(piece)
        size += len(piece)
    return FileHash(name, size, sha256.digest(), sha512.digest(), media_type)


def check_file_hashes(files: Sequence[FileHash]) -> None:
    """What may stand in a new hashcode container. Raises: Malformed `asic.data_file.…`, `asic.hashcode.digest`."""
    check_data_files([DataFile(file.name, file.media_type, b"-" * min(1, file.size_bytes)) for file in files])
    for file in files:
        if len(file.sha256) != 32 or len(file.sha512) != 64 or not 0 < file.size_bytes <= MAX_FILE_BYTES:
            raise Malformed("asic.hashcode.digest", f"{file.name!r}: SHA-256, SHA-512 and a size are needed")


def build_hashcode_container(files: Sequence[FileHash], *, at: datetime, comment: str = "digiid") -> bytes:
    """A new hashcode container without signatures. Raises: Malformed `asic.data_file.…`, `asic.hashcode.digest`."""
    return build_archive(_build_parts(files, at=at), comment=comment.encode())


def is_hashcode_container(container: Container) -> bool:
    """No data file, and digests in their place."""
    return not container.data_files and container.archive.find(HASHCODES_NAMES["sha256"]) is not None


def parse_hashcode_container(file: BinaryIO, limits: Limits | None = None) -> HashcodeContainer:
    """Read a hashcode container. Raises: Malformed `asic.…`."""
    return read_file_hashes(parse_container(file, limits))


def read_file_hashes(container: Container) -> HashcodeContainer:
    """The files that a parsed hashcode container stands for: both lists and the manifest say the same.

    Raises: Malformed `asic.hashcode.…`.
    """
    # 1 digests in the place of files, and of all files
    if container.data_files:
        raise Malformed("asic.hashcode.data_file", "a hashcode container that also holds data files")
    lists = {hash_name: _read_list(container.archive, hash_name) for hash_name in HASHCODES_NAMES}
    media_types = _read_manifest(container.archive)
    if not (lists["sha256"].keys() == lists["sha512"].keys() == media_types.keys()):
        raise Malformed("asic.hashcode.differ", "the lists of digests and the manifest name different files")
    # 2 each file once, of one size
    files = []
    for name, (sha256, size) in lists["sha256"].items():
        sha512, same_size = lists["sha512"][name]
        if size != same_size:
            raise Malformed("asic.hashcode.differ", f"{name!r} has two sizes")
        files.append(FileHash(name, size, sha256, sha512, media_types[name]))
    check_file_hashes(files)
    # 3 what is wrong with the container besides is not what makes it a hashcode container
    problems = tuple(problem for problem in container.problems if problem.code not in EXPECTED_PROBLEMS)
    if any(problem.is_error for problem in problems):
        raise Malformed("asic.hashcode.container", next(problem.message for problem in problems if problem.is_error))
    return HashcodeContainer(container, tuple(files))


def restore_container(hashcode: HashcodeContainer, files: Sequence[DataFile], *, at: datetime) -> bytes:
    """The full ASiC-E container: the files put back in, every signature file with its packed bytes as they were.

    Raises:
        Refused: `asic.hashcode.other_file`, a file is not the one whose digests were signed, or is missing.
        Malformed: `asic.data_file.…`.
    """
    given = {file.name: file for file in files}
    if len(given) != len(files) or given.keys() != {wanted.name for wanted in hashcode.files}:
        raise Refused("asic.hashcode.other_file", "other files than the container stands for")
    parts = [build_part(MIMETYPE_NAME, MEDIA_TYPE_ASIC_E.encode(), at=at, compress=False)]
    for wanted in hashcode.files:
        content = given[wanted.name].content
        digests = (hashlib.sha256(content).digest(), hashlib.sha512(content).digest())
        if len(content) != wanted.size_bytes or not (
            hmac.compare_digest(digests[0], wanted.sha256) and hmac.compare_digest(digests[1], wanted.sha512)
        ):
            raise Refused("asic.hashcode.other_file", f"{wanted.name!r} is not the file whose digests were signed")
        parts.append(build_part(wanted.name, content, at=at))
    # The media types are the hashcode container's: the signatures name them.
    manifest = build_manifest((wanted.name, wanted.media_type) for wanted in hashcode.files)
    parts.append(build_part(MANIFEST_NAME, manifest, at=at))
    archive = hashcode.container.archive
    parts += [copy_part(archive, entry) for entry in hashcode.container.signature_files]
    return build_archive(parts, comment=archive.comment)


def strip_container(container: Container, *, at: datetime) -> bytes:
    """The hashcode form of a full ASiC-E container. Raises: Malformed `asic.…`."""
    files = []
    for entry in container.data_files:
        media_type = container.manifest.get(entry.name, _MEDIA_TYPE)
        digests = (container.digest(entry, "sha256"), container.digest(entry, "sha512"))
        files.append(FileHash(entry.name, entry.size_bytes, *digests, media_type))
    parts = _build_parts(files, at=at)
    parts += [copy_part(container.archive, entry) for entry in container.signature_files]
    return build_archive(parts, comment=container.archive.comment)


def _build_parts(files: Sequence[FileHash], *, at: datetime) -> list[Part]:
    check_file_hashes(files)
    manifest = build_manifest((file.name, file.media_type) for file in files)
    return [
        build_part(MIMETYPE_NAME, MEDIA_TYPE_ASIC_E.encode(), at=at, compress=False),
        build_part(MANIFEST_NAME, manifest, at=at),
        *(build_part(name, _build_hashcodes(files, hash_name), at=at) for hash_name, name in HASHCODES_NAMES.items()),
    ]


def _build_hashcodes(files: Sequence[FileHash], hash_name: str) -> bytes:
    entries = "".join(
        f'<file-entry full-path="{escape_attribute(file.name)}" '
        f'hash="{base64.b64encode(file.sha256 if hash_name == "sha256" else file.sha512).decode()}" '
        f'size="{file.size_bytes}"/>'
        for file in files
    )
    return f'<?xml version="1.0" encoding="UTF-8" standalone="no"?><hashcodes>{entries}</hashcodes>'.encode()


def parse_hashcodes(data: bytes, hash_name: str) -> dict[str, tuple[bytes, int]]:
    """Name to (digest, size). Raises: Malformed `asic.hashcode.…`."""
    code = "asic.hashcode"
    root = parse_xml(data, code=code, max_bytes=MAX_HASHCODES_BYTES)
    check_no_foreign_nodes(root, code=code)
    if root.tag != "hashcodes":
        raise Malformed("asic.hashcode.root", "the root element is not hashcodes")
    found: dict[str, tuple[bytes, int]] = {}
    for child in root:
        name, size = child.get("full-path"), child.get("size") or ""
        if child.tag != "file-entry" or not name or len(child) or not (size.isascii() and size.isdigit()):
            raise Malformed("asic.hashcode.entry", "an entry without full-path, hash and size")
        if name in found or len(size) > 19:
            raise Malformed("asic.hashcode.entry", f"{name!r} is listed twice, or is too large")
        try:
            digest = base64.b64decode(child.get("hash") or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise Malformed("asic.hashcode.digest", f"{name!r}: the digest is not base64") from error
        if len(digest) != hashlib.new(hash_name).digest_size:
            raise Malformed("asic.hashcode.digest", f"{name!r}: {len(digest)} bytes are no {hash_name}")
        found[name] = (digest, int(size))
    return found


def _read_list(archive: Archive, hash_name: str) -> dict[str, tuple[bytes, int]]:
    entry = archive.find(HASHCODES_NAMES[hash_name])
    if entry is None:
        raise Malformed("asic.hashcode.missing", f"there is no {HASHCODES_NAMES[hash_name]}")
    return parse_hashcodes(archive.read(entry, max_bytes=MAX_HASHCODES_BYTES), hash_name)


def _read_manifest(archive: Archive) -> dict[str, str]:
    entry = archive.find(MANIFEST_NAME)
    if entry is None:
        raise Malformed("asic.manifest.missing", f"there is no {MANIFEST_NAME}")
    manifest = parse_manifest(archive.read(entry, max_bytes=MAX_HASHCODES_BYTES))
    if manifest.pop("/", MEDIA_TYPE_ASIC_E) != MEDIA_TYPE_ASIC_E:
        raise Malformed("asic.hashcode.container", "a hashcode container is an ASiC-E container")
    return manifest
