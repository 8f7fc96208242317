"""ASiCManifest and ASiCArchiveManifest files (EN 319 162-1 §A.4, §A.7): which files one CAdES signature or time-stamp
token covers, through their digests.

Critical extensions are refused; other extensions are not read.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from lxml import etree

from digiid.formats.asic.container import MAX_MANIFEST_BYTES, encode_uri
from digiid.formats.hardened_xml import base64_of, check_no_foreign_nodes, escape_attribute, parse_xml
from digiid.formats.xades.algorithms import DIGEST_METHODS, DIGEST_URIS
from digiid.kernel.errors import Malformed

NS_ASIC = "http://uri.etsi.org/02918/v1.2.1#"
NS_DS = "http://www.w3.org/2000/09/xmldsig#"
MEDIA_TYPE_TST = "application/vnd.etsi.timestamp-token"
ARCHIVE_MANIFEST_NAME = "META-INF/ASiCArchiveManifest.xml"

_MAX_OBJECTS = 2000
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class DataObject:
    """One covered file. `name` is empty when the URI cannot name a file of the container."""

    name: str
    media_type: str
    hash_name: str
    digest: bytes
    is_root: bool = False

    @property
    def told_name(self) -> str:
        """What a sentence about it calls it."""
        return self.name or "its address names no file of a container"


@dataclass(frozen=True, slots=True)
class AsicManifest:
    """What one signature or token covers; `signature_name` is where it is."""

    signature_name: str
    signature_media_type: str
    objects: tuple[DataObject, ...]

    def find(self, name: str) -> DataObject | None:
        return next((item for item in self.objects if item.name == name), None)


def parse_asic_manifest(data: bytes) -> AsicManifest:
    """Read a manifest; nothing is compared with anything.

    Raises: Malformed `asic.asic_manifest.…`.
    """
    code = "asic.asic_manifest"
    root = parse_xml(data, code=code, max_bytes=MAX_MANIFEST_BYTES)
    check_no_foreign_nodes(root, code=code)
    if root.tag != _asic("ASiCManifest"):
        raise Malformed(f"{code}.root", f"the root element is {etree.QName(root).localname}")
    children = list(root)
    if not children or children[0].tag != _asic("SigReference"):
        raise Malformed(f"{code}.structure", "a manifest begins with its SigReference")
    reference = children.pop(0)
    if children and children[-1].tag == _asic("ASiCManifestExtensions"):
        _check_extensions(children.pop())
    if not children or len(children) > _MAX_OBJECTS:
        raise Malformed(f"{code}.structure", f"{len(children)} data objects in one manifest")
    objects = tuple(map(_parse_object, children))
    names = [item.name for item in objects if item.name]
    if len(set(names)) != len(names):
        raise Malformed(f"{code}.duplicate", "one file is listed twice")
    return AsicManifest(_name_of(reference.get("URI")), reference.get("MimeType", ""), objects)


def _asic(name: str) -> str:
    return f"{{{NS_ASIC}}}{name}"


def _parse_object(element: etree._Element) -> DataObject:
    code = "asic.asic_manifest"
    children = list(element)
    if children and children[-1].tag == _asic("DataObjectReferenceExtensions"):
        _check_extensions(children.pop())
    tags = [child.tag for child in children]
    if element.tag != _asic("DataObjectReference") or tags != [f"{{{NS_DS}}}DigestMethod", f"{{{NS_DS}}}DigestValue"]:
        raise Malformed(f"{code}.structure", "a data object without its digest")
    hash_name = DIGEST_METHODS.get(children[0].get("Algorithm", ""))
    if hash_name is None or len(children[0]):
        raise Malformed(f"{code}.algorithm", "an unknown digest method")
    is_root = element.get("Rootfile", "false").strip()
    if is_root not in ("true", "false", "1", "0"):
        raise Malformed(f"{code}.structure", "Rootfile is neither true nor false")
    return DataObject(
        name=_name_of(element.get("URI")),
        media_type=element.get("MimeType", ""),
        hash_name=hash_name,
        digest=base64_of(children[1], code=code, max_bytes=64),
        is_root=is_root in ("true", "1"),
    )


def _check_extensions(holder: etree._Element) -> None:
    if any(child.get("Critical", "false").strip() not in ("false", "0") for child in holder):
        raise Malformed("asic.asic_manifest.extension", "a critical extension that is not known")


def _name_of(uri: str | None) -> str:
    """The file that a URI names. A lone per cent sign is not taken as written, as XAdES of the field wants it taken:
    two programs would see two files."""
    if not uri or len(uri) > 4096 or _SCHEME.match(uri) or _ESCAPE.search(uri):
        return ""
    try:
        return unquote_to_bytes(uri).decode("utf-8")
    except UnicodeDecodeError:
        return ""


def build_asic_manifest(
    signature_name: str, objects: Sequence[DataObject], *, signature_media_type: str = MEDIA_TYPE_TST
) -> bytes:
    """A manifest over `objects`.

    Raises: Malformed `xml.character`.
    """
    references = "".join(
        f'<asic:DataObjectReference MimeType="{escape_attribute(item.media_type)}"'
        + (' Rootfile="true"' if item.is_root else "")
        + f' URI="{escape_attribute(encode_uri(item.name))}">'
        f'<ds:DigestMethod Algorithm="{DIGEST_URIS[item.hash_name]}"/>'
        f"<ds:DigestValue>{base64.b64encode(item.digest).decode()}</ds:DigestValue></asic:DataObjectReference>"
        for item in objects
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        f'<asic:ASiCManifest xmlns:asic="{NS_ASIC}" xmlns:ds="{NS_DS}">'
        f'<asic:SigReference MimeType="{signature_media_type}" URI="{escape_attribute(encode_uri(signature_name))}"/>'
        f"{references}</asic:ASiCManifest>"
    ).encode()
