"""Associated Signature Containers, EN 319 162-1: ASiC-E with XAdES as Estonia uses it (.asice, .sce, .bdoc), ASiC-E
with CAdES, and ASiC-S with one data file and a time-stamp token, XAdES or CAdES (.asics, .scs).

Here a container is taken apart by the names of its files; what is in them is read next door. Evidence records are
refused by name in ASiC-S, and not taken into account in ASiC-E.
"""

import codecs
import contextlib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from lxml import etree

from digiid.formats.asic.archive import (
    STORED,
    Archive,
    Entry,
    Limits,
    build_archive,
    build_part,
    copy_part,
    parse_archive,
)
from digiid.formats.asic.names import find_odd_names
from digiid.formats.hardened_xml import check_no_foreign_nodes, escape_attribute, parse_xml
from digiid.kernel.errors import Malformed

MEDIA_TYPE_ASIC_E = "application/vnd.etsi.asic-e+zip"
MEDIA_TYPE_ASIC_S = "application/vnd.etsi.asic-s+zip"
NS_MANIFEST = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"  # ODF 1.2 part 3 §4
MANIFEST_NAME = "META-INF/manifest.xml"
MIMETYPE_NAME = "mimetype"

MAX_SIGNATURE_FILE_BYTES = 1024 * 1024
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_CMS_BYTES = 1024 * 1024
MAX_TOKEN_BYTES = 256 * 1024
_SMALL_BYTES = 64 * 1024  # need not be streamed
_SIGNATURES = re.compile(r"META-INF/[^/]*signatures[^/]*\.xml")  # EN 319 162-1 §A.4
# The rest without regard to case: what another program would take for a signature must not pass as something else.
_CMS = re.compile(r"META-INF/[^/]*signature[^/]*\.p7s", re.IGNORECASE)
_TOKEN = re.compile(r"META-INF/[^/]*timestamp[^/]*\.tst", re.IGNORECASE)
_EVIDENCE = re.compile(r"META-INF/[^/]*evidencerecord[^/]*\.(?:ers|xml)", re.IGNORECASE)
_ASIC_MANIFEST = re.compile(r"META-INF/ASiC(?:Archive)?Manifest[^/]*\.xml", re.IGNORECASE)
# A manifest in the one form that needs no XML parser; see `_read_plain_manifest`.
_PLAIN_MANIFEST = re.compile(
    rb'(?:<\?xml version="1\.0" encoding="UTF-8"(?: standalone="(?:no|yes)")? ?\?>[ \n]*)?'
    rb'<manifest:manifest xmlns:manifest="%s"(?: manifest:version="1\.[0-9]")?>' % re.escape(NS_MANIFEST.encode())
)
_PLAIN_ENTRY = re.compile(
    rb'[ \n]*<manifest:file-entry manifest:full-path="([ !#-%\x27-;=?-~]+)"'
    rb' manifest:media-type="([ !#-%\x27-;=?-~]*)" ?/>'
)
_PLAIN_END = re.compile(rb"[ \n]*</manifest:manifest>[ \n]*")
_OTHER_FORMAT = re.compile(r"application/(?:vnd\.|epub)", re.IGNORECASE)  # which other programs open as what it is
# By these files, which no signature covers, other programs know their own whatever `mimetype` says: EPUB (EPUB 3.3
# §4.2.6.3.1), whose pages could then be other ones than those that were signed, and JAR, which would be run.
_OTHER_FORMAT_FILES = frozenset(("meta-inf/container.xml", "meta-inf/manifest.mf"))
# Of these one has to be there if `mimetype` does not say what it is.
_BASELINE_PROOF = re.compile(r"META-INF/(?:signatures[^/]*\.xml|signature[^/]*\.p7s|timestamp[^/]*\.tst)")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}( *;.{1,128})?")


@dataclass(frozen=True, slots=True)
class ContainerProblem:
    """Something about the container itself. `is_error`: no signature in it can be called valid."""

    code: str
    message: str
    is_error: bool


# In the words of the state's validator, whose clients look for them.
_UNNAMED = ContainerProblem("asic.mimetype.absent", '"mimetype" should be the first file in the container', False)
_UNLISTED = ContainerProblem("asic.manifest.missing", "The manifest file is absent!", True)
_MISNAMED = ContainerProblem(
    "asic.mimetype.other",
    f'Container should have one of the expected mimetypes: "{MEDIA_TYPE_ASIC_E}", "{MEDIA_TYPE_ASIC_S}"',
    False,
)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file to be signed."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


class Container(NamedTuple):
    """A parsed container. Contents are read from the file that was handed in when they are asked for."""

    form: str
    media_type: str
    archive: Archive
    data_files: tuple[Entry, ...]
    signature_files: tuple[Entry, ...]
    manifest: Mapping[str, str]
    problems: tuple[ContainerProblem, ...]
    digests: dict[tuple[str, str], bytes]  # by file and hash, as they are made
    cms_files: tuple[Entry, ...] = ()  # CAdES
    token_files: tuple[Entry, ...] = ()  # time-stamp tokens
    asic_manifest_files: tuple[Entry, ...] = ()  # ASiCManifest*.xml, ASiCArchiveManifest*.xml
    names_its_form: bool = True  # False: what its form is follows from its files, as `mimetype` does not say it

    def find_data_file(self, name: str) -> Entry | None:
        entry = self.archive.find(name)
        return entry if entry is not None and entry in self.data_files else None

    def digest(self, entry: Entry, hash_name: str) -> bytes:
        """The digest of a data file, streamed once per hash.

        Raises: Malformed `asic.zip.data`.
        """
        key = (entry.name, hash_name)
        found = self.digests.get(key)
        if found is None:
            if entry.size_bytes <= _SMALL_BYTES:
                found = hashlib.new(hash_name, self.archive.read(entry, max_bytes=_SMALL_BYTES)).digest()
            else:
                digest = hashlib.new(hash_name)
                for piece in self.archive.stream(entry):
                    digest.update(piece)
                found = digest.digest()
            self.digests[key] = found
        return found

    def read_signature_file(self, entry: Entry) -> bytes:
        """Raises: Malformed `asic.zip.entry_too_large`, `asic.zip.data`."""
        return self.archive.read(entry, max_bytes=MAX_SIGNATURE_FILE_BYTES)


def parse_container(
    file: BinaryIO, limits: Limits | None = None, *, may_be_unnamed: bool = False, may_be_unlisted: bool = False
) -> Container:
    """Read a container's structure: type, manifest, data files, signature files, oddities.

    `may_be_unnamed`: for who only reads it, a container without a proper `mimetype` may be one by its other files.
    `may_be_unlisted`: for who judges it, one with XAdES signatures and without the manifest that it must have is read,
    with an error among its problems.

    Raises: Malformed `asic.…`: it cannot be read in one single way.
    """
    # 1 what it says it is
    archive = parse_archive(file, limits)
    problems: list[ContainerProblem] = []
    named = _read_media_type(archive, problems, may_be_unnamed=may_be_unnamed)

    # 2 what its files are, by their names
    found = _sort_entries(archive, problems)
    media_type = named or _infer_media_type(archive, found)
    form = "ASiC-E" if media_type == MEDIA_TYPE_ASIC_E else "ASiC-S"
    if form == "ASiC-S":
        _check_simple(archive, found, problems)
    for entry in found.data:
        if not entry.size_bytes:
            problems.append(ContainerProblem("asic.empty_file", f"Data file '{entry.name}' is empty", False))

    if not all(entry.name.isascii() for entry in found.data):
        for code, text in find_odd_names(entry.name for entry in found.data):
            problems.append(ContainerProblem(code, text, False))

    # 3 the manifest: a must in ASiC-E with XAdES, else told of when it is wrong
    if form == "ASiC-E" and (found.xml or not found.manifests):
        if may_be_unlisted and found.xml and archive.find(MANIFEST_NAME) is None:
            problems.append(_UNLISTED)
            manifest = {}
        else:
            manifest = _read_manifest(archive, media_type, found.data, problems)
    else:
        manifest = _read_optional_manifest(archive, media_type, found.data, problems)
    return Container(
        form=form,
        media_type=media_type,
        archive=archive,
        data_files=tuple(found.data),
        signature_files=tuple(found.xml),
        manifest=manifest,
        problems=tuple(problems),
        digests={},
        cms_files=tuple(found.cms),
        token_files=tuple(found.tokens),
        asic_manifest_files=tuple(found.manifests),
        names_its_form=named is not None,
    )


@dataclass(slots=True)
class _Found:
    data: list[Entry] = field(default_factory=list)
    xml: list[Entry] = field(default_factory=list)
    cms: list[Entry] = field(default_factory=list)
    tokens: list[Entry] = field(default_factory=list)
    manifests: list[Entry] = field(default_factory=list)
    evidence: list[Entry] = field(default_factory=list)


def _sort_entries(archive: Archive, problems: list[ContainerProblem]) -> _Found:
    found = _Found()
    others = ((_CMS, found.cms), (_TOKEN, found.tokens), (_ASIC_MANIFEST, found.manifests))
    for entry in archive.entries:
        name = entry.name
        if name in (MIMETYPE_NAME, MANIFEST_NAME) or name[-1] == "/":
            continue
        if name[:9].upper() != "META-INF/":
            found.data.append(entry)
            continue
        if _SIGNATURES.fullmatch(name):
            found.xml.append(entry)
            continue
        kind = next((entries for pattern, entries in others if pattern.fullmatch(name)), None)
        if kind is not None:
            kind.append(entry)
        elif _EVIDENCE.fullmatch(name):
            found.evidence.append(entry)
            text = f"The evidence record '{name}' was not taken into account"
            problems.append(ContainerProblem("asic.evidence_record", text, False))
        else:
            text = f"'{name}' is not covered by any signature"
            problems.append(ContainerProblem("asic.unknown_meta_file", text, False))
    return found


def _check_simple(archive: Archive, found: _Found, problems: list[ContainerProblem]) -> None:
    """EN 319 162-1 §4.3.3: one data object in the root, and one kind of proof about it."""
    for entry in archive.entries:
        if "/" in entry.name and not entry.name.startswith("META-INF/"):
            raise Malformed("asic.simple.folder", f"{entry.name!r}: an ASiC-S container has no folder but META-INF")
    if len(found.data) != 1:
        raise Malformed("asic.simple.data_file", f"{len(found.data)} data files; an ASiC-S container has one")
    if found.evidence:
        raise Malformed("asic.simple.evidence_record", f"the evidence record {found.evidence[0].name!r} is not judged")
    if sum(map(bool, (found.xml, found.cms, found.tokens))) > 1:
        raise Malformed("asic.simple.mixed", "signatures and time-stamp tokens cannot stand together in ASiC-S")
    for entries, name in ((found.xml, "META-INF/signatures.xml"), (found.cms, "META-INF/signature.p7s")):
        if entries and [entry.name for entry in entries] != [name]:
            names = ", ".join(entry.name for entry in entries)
            text = f"The signatures of an ASiC-S container are all in {name}, not in {names}"
            problems.append(ContainerProblem("asic.simple.signature_file", text, True))
    if found.tokens and all(entry.name != "META-INF/timestamp.tst" for entry in found.tokens):
        text = "The first time-stamp token of an ASiC-S container is META-INF/timestamp.tst, and it is not there"
        problems.append(ContainerProblem("asic.simple.token_file", text, True))


def _read_optional_manifest(
    archive: Archive, media_type: str, data_files: Sequence[Entry], problems: list[ContainerProblem]
) -> dict[str, str]:
    """Nothing rests on the manifest of such a container; where it is wrong is told, and it counts for nothing then."""
    if archive.find(MANIFEST_NAME) is None:
        return {}
    found: list[ContainerProblem] = []
    try:
        manifest = _read_manifest(archive, media_type, data_files, found)
    except Malformed as error:
        problems.append(ContainerProblem(error.code, f"The manifest cannot be read: {error.detail}", False))
        return {}
    problems += [ContainerProblem(problem.code, problem.message, False) for problem in found]
    return manifest


def _read_media_type(archive: Archive, problems: list[ContainerProblem], *, may_be_unnamed: bool) -> str | None:
    """None, and told as a problem, where it is no container's and the container may be one by its files."""
    entry = archive.find(MIMETYPE_NAME)
    content = b"" if entry is None else archive.read(entry, max_bytes=256)
    text = content.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace")
    media_type = text.strip()
    if entry is None or media_type not in (MEDIA_TYPE_ASIC_E, MEDIA_TYPE_ASIC_S):
        is_other = _OTHER_FORMAT.match(media_type) or any(
            each.name.lower() in _OTHER_FORMAT_FILES for each in archive.entries
        )
        if is_other or not (may_be_unnamed and _has_proofs(archive)):
            raise unnamed(archive)
        problems.append(_UNNAMED if entry is None else _MISNAMED)
        return None

    # EN 319 162-1 §A.1 wants all of these; the field's programs differ, so they are shown and not hidden.
    def warn(code: str, message: str) -> None:
        problems.append(ContainerProblem(code, message, False))

    if archive.entries[0] is not entry:
        warn("asic.mimetype.not_first", '"mimetype" should be the first file in the container')
    if entry.method != STORED:
        warn("asic.mimetype.compressed", 'Container "mimetype" file must not be compressed')
    if entry.has_extra:
        warn("asic.mimetype.extra", 'Container "mimetype" file must not contain "Extra fields" in its ZIP header')
    if content.startswith(codecs.BOM_UTF8):
        warn("asic.mimetype.byte_order_mark", 'Container "mimetype" file begins with a byte order mark')
    if text != media_type:
        warn("asic.mimetype.white_space", 'Container "mimetype" file has white space around the media type')
    return media_type


def unnamed(archive: Archive) -> Malformed:
    """What is said of a file whose `mimetype` does not say that it is a container."""
    entry = archive.find(MIMETYPE_NAME)
    if entry is None:
        return Malformed("asic.mimetype.missing", "there is no file called mimetype")
    content = archive.read(entry, max_bytes=256)
    media_type = content.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").strip()
    return Malformed("asic.mimetype.unknown", f"the media type {media_type!r} is not an ASiC container")


def _has_proofs(archive: Archive) -> bool:
    """Files by the names that baseline containers give to proofs (EN 319 162-1 §5): other formats keep to other ones,
    as OpenDocument does with `documentsignatures.xml`."""
    return any(_BASELINE_PROOF.fullmatch(entry.name) for entry in archive.entries)


def _infer_media_type(archive: Archive, found: "_Found") -> str:
    """What a container is that does not say it: what its manifest says, or what its files can be."""
    # 1 which files a signature covers is told by such manifests in ASiC-E alone
    if any(entry.name[:21].casefold() == "meta-inf/asicmanifest" for entry in found.manifests):
        return MEDIA_TYPE_ASIC_E
    # 2 its manifest; one that cannot be read is told of when it is
    entry = archive.find(MANIFEST_NAME)
    if entry is not None:
        with contextlib.suppress(Malformed):
            said = parse_manifest(archive.read(entry, max_bytes=MAX_MANIFEST_BYTES)).get("/")
            return MEDIA_TYPE_ASIC_S if said == MEDIA_TYPE_ASIC_S else MEDIA_TYPE_ASIC_E
    # 3 only ASiC-S is sure to have one file, in no folder
    has_one_file = len(found.data) == 1 and "/" not in found.data[0].name
    return MEDIA_TYPE_ASIC_S if has_one_file and entry is None else MEDIA_TYPE_ASIC_E


def _read_manifest(
    archive: Archive, media_type: str, data_files: Sequence[Entry], problems: list[ContainerProblem]
) -> dict[str, str]:
    entry = archive.find(MANIFEST_NAME)
    if entry is None:
        raise Malformed("asic.manifest.missing", f"there is no {MANIFEST_NAME}")
    manifest = parse_manifest(archive.read(entry, max_bytes=MAX_MANIFEST_BYTES))

    def fail(message: str) -> None:
        problems.append(ContainerProblem("asic.manifest.mismatch", message, True))

    if manifest.pop("/", media_type) != media_type:
        fail("The manifest names another container type than the file mimetype")
    listed = {name for name in manifest if name[-1] != "/"}
    present = {file.name for file in data_files}
    if listed == present:
        return manifest
    for name in sorted(present - listed):
        fail(f"Container contains a file named <{name}> which is not found in the manifest")
    for name in sorted(listed - present):
        fail(f"Manifest file has an entry for file <{name}> which is not in the container")
    return manifest


def parse_manifest(data: bytes) -> dict[str, str]:
    """full-path to media-type.

    Raises: Malformed `asic.manifest.…`.
    """
    entries = _read_plain_manifest(data) if len(data) <= MAX_MANIFEST_BYTES else None
    entries = _read_xml_manifest(data) if entries is None else entries
    files: dict[str, str] = {}
    for path, media_type in entries:
        if path in files:
            raise Malformed("asic.manifest.duplicate", f"{path!r} is listed twice")
        files[path] = media_type
    return files


def _read_xml_manifest(data: bytes) -> list[tuple[str, str]]:
    code = "asic.manifest"
    root = parse_xml(data, code=code, max_bytes=MAX_MANIFEST_BYTES)
    check_no_foreign_nodes(root, code=code)
    if root.tag != f"{{{NS_MANIFEST}}}manifest":
        raise Malformed("asic.manifest.root", f"the root element is {etree.QName(root).localname}")
    found: list[tuple[str, str]] = []
    for child in root:
        path = child.get(f"{{{NS_MANIFEST}}}full-path")
        media_type = child.get(f"{{{NS_MANIFEST}}}media-type")
        if child.tag != f"{{{NS_MANIFEST}}}file-entry" or not path or media_type is None or len(child):
            raise Malformed("asic.manifest.entry", "an entry without full-path or media-type")
        found.append((path, media_type))
    return found


def _read_plain_manifest(data: bytes) -> list[tuple[str, str]] | None:
    """The entries of a manifest that is written, character by character, as the field's programs write one; None for
    any other, which is the XML parser's to read and to refuse. Of such a manifest that parser says the same: it is
    ASCII, with one prefix, no reference, no comment, and nothing in an attribute's value that would be normalized.
    """
    begin = _PLAIN_MANIFEST.match(data)
    if begin is None:
        return None
    found, at = [], begin.end()
    while entry := _PLAIN_ENTRY.match(data, at):
        path, media_type = entry.groups()
        found.append((path.decode(), media_type.decode()))
        at = entry.end()
    return found if _PLAIN_END.fullmatch(data, at) else None


def build_manifest(files: Iterable[tuple[str, str]], *, media_type: str = MEDIA_TYPE_ASIC_E) -> bytes:
    """The ODF manifest over (name, media type) of a container that is itself of `media_type`."""
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{escape_attribute(name)}" '
        f'manifest:media-type="{escape_attribute(kind)}"/>'
        for name, kind in (("/", media_type), *files)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        f'<manifest:manifest xmlns:manifest="{NS_MANIFEST}" manifest:version="1.2">{entries}</manifest:manifest>'
    ).encode()


def check_data_files(files: Sequence[DataFile]) -> None:
    """What may be put into a new container: flat, unique, printable names, content, a media type.

    Raises: Malformed `asic.data_file.…`.
    """
    if not files:
        raise Malformed("asic.data_file.none", "there is nothing to sign")
    seen = set()
    for file in files:
        name = unicodedata.normalize("NFC", file.name)
        if (
            not name
            or name.casefold() in (MIMETYPE_NAME, "meta-inf", ".", "..")
            or any(char in "/\\" or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in name)
            or len(name.encode("utf-8", "surrogatepass")) > 255
        ):
            raise Malformed("asic.data_file.name", f"{file.name!r} cannot be a file's name in a container")
        if name.casefold() in seen:
            raise Malformed("asic.data_file.duplicate", f"two files are called {file.name!r}")
        seen.add(name.casefold())
        if not file.content:
            raise Malformed("asic.data_file.empty", f"{file.name!r} is empty")
        if not _MEDIA_TYPE.fullmatch(file.media_type):
            raise Malformed("asic.data_file.media_type", f"{file.media_type!r} is not a media type")


def build_container(
    files: Sequence[DataFile], signatures: Sequence[tuple[str, bytes]], *, at: datetime, comment: str = "digiid"
) -> bytes:
    """A new ASiC-E container: `mimetype` first and stored, the data files, the manifest, the signature files.

    Raises: Malformed `asic.data_file.…`.
    """
    check_data_files(files)
    parts = [build_part(MIMETYPE_NAME, MEDIA_TYPE_ASIC_E.encode(), at=at, compress=False)]
    parts += [build_part(file.name, file.content, at=at) for file in files]
    parts.append(build_part(MANIFEST_NAME, build_manifest((file.name, file.media_type) for file in files), at=at))
    parts += [build_part(name, xml, at=at) for name, xml in signatures]
    return build_archive(parts, comment=comment.encode())


def add_signature_file(container: Container, name: str, xml: bytes, *, at: datetime) -> bytes:
    """The same container with one signature file more; every other entry keeps its packed bytes.

    Raises: Malformed `asic.signature_name`.
    """
    if not _SIGNATURES.fullmatch(name) or container.archive.find(name) is not None:
        raise Malformed("asic.signature_name", f"{name!r} is taken or is not a signature file's name")
    archive = container.archive
    parts = [copy_part(archive, entry) for entry in archive.entries]
    return build_archive([*parts, build_part(name, xml, at=at)], comment=archive.comment)


def next_signature_name(container: Container) -> str:
    """`META-INF/signaturesN.xml` with the first N that is free (also in another case)."""
    taken = {entry.name.casefold() for entry in container.archive.entries}
    number = 0
    while f"meta-inf/signatures{number}.xml" in taken:
        number += 1
    return f"META-INF/signatures{number}.xml"


def encode_uri(name: str) -> str:
    """A data file's name as a reference URI: UTF-8, percent-encoded but for A-Z a-z 0-9 - . _ ~ /."""
    return quote(name, safe="-._~/")


def decode_uri(uri: str) -> str:
    """The name that a reference URI stands for; `+` is a plus sign, what is not encoded stays as it is. The container
    is the root of a path that begins with one slash (RFC 3986 §5.2.2); two of them would name a host.

    Raises: Malformed `asic.uri`, the octets are not UTF-8.
    """
    if uri.startswith("/") and not uri.startswith("//"):
        uri = uri[1:]
    if "%" not in uri:
        return uri
    try:
        return unquote_to_bytes(uri).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("asic.uri", "a reference URI that is not UTF-8") from error
