"""DigiDoc, read only: SK-XML 1.0 and DIGIDOC-XML 1.1, 1.2, 1.3, whole or with digests in the place of files.

One XML document holds the files and, over them, XAdES 1.1.1 signatures whose proof of time is the nonce of the OCSP
response: the SHA-1 of the signature value. A signature is read into the same value as one of today's, by fixed child
paths from its element; nothing is looked up by Id but the data files, whose Ids are unique.

What is peculiar: DataFile elements are digested canonicalized as they stand, base64 and all (in SK-XML 1.0 the decoded
content, and the media type apart); namespaces of 1.0 to 1.2 vary, so that elements go by their local names within the
known ones; dates of the first versions have dots. No program of the field writes the format any more, and neither does
this one. Not supported: 1.4 and transforms other than those that the formats themselves prescribe.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from lxml import etree

from digiid.formats.hardened_xml import (
    C14N_10,
    base64_of,
    canonicalize,
    check_no_foreign_nodes,
    escape_attribute,
    is_c14n,
    namespaces_bytes,
    parse_xml,
    text_of,
    write_canonical,
)
from digiid.formats.xades.algorithms import DIGEST_METHODS, SIGNATURE_METHODS
from digiid.formats.xades.parse import (
    MAX_CERTIFICATE_BYTES,
    MAX_TOKEN_BYTES,
    CertificateReference,
    ProductionPlace,
    Reference,
    UnverifiedSignature,
    parse_date_time,
)
from digiid.kernel.errors import Malformed

NS_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
NS_XADES_111: Final = "http://uri.etsi.org/01903/v1.1.1#"
NS_DDOC_13: Final = "http://www.sk.ee/DigiDoc/v1.3.0#"
_NAMESPACES: Final = frozenset((None, NS_DS, NS_XADES_111, NS_DDOC_13))
_TYPE_SIGNED_PROPERTIES: Final = "http://uri.etsi.org/01903/v1.1.1#SignedProperties"
_ENVELOPED: Final = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_DETACHED: Final = "http://www.sk.ee/2002/10/digidoc#detatched-document-signature"

# (format, version) to the name that the field's validation service gives the form
FORMS: Final = {
    ("SK-XML", "1.0"): "DIGIDOC_XML_1.0",
    ("DIGIDOC-XML", "1.1"): "DIGIDOC_XML_1.1",
    ("DIGIDOC-XML", "1.2"): "DIGIDOC_XML_1.2",
    ("DIGIDOC-XML", "1.3"): "DIGIDOC_XML_1.3",
}

MAX_DDOC_BYTES: Final = 64 * 1024 * 1024
_PIECE: Final = 1024 * 1024
MAX_DATA_FILES: Final = 1000
# Of the document itself: every file and signature is canonicalized with them, and files are taken out with them.
_MAX_NAMESPACES_BYTES: Final = 4096
MAX_DDOC_SIGNATURES: Final = 1024
_MAX_FILE_NAME: Final = 1024

EMBEDDED_BASE64, EMBEDDED = "EMBEDDED_BASE64", "EMBEDDED"
_BY_DIGEST: Final = frozenset(("HASHCODE", "DETATCHED", "DETACHED"))
_OLD_DATE: Final = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)T")
_DEFAULT_NAMESPACE: Final = re.compile(rb"\A(<[^>\"]*) xmlns=\"[^\"]*\"")
_ROOT_NAME: Final = re.compile(rb"<[^\s/>]+")
_ATTRIBUTES: Final = re.compile(rb"\s+([^\s=]+)=(?:\"[^\"]*\"|'[^']*')")
_START_TAG: Final = re.compile(rb"<[^\s>\"']+(?:\s+[^\s=]+=(?:\"[^\"]*\"|'[^']*'))*\s*>")
_WHITE_SPACE: Final = " \t\r\n"
_WHITE: Final = re.compile(f"[{_WHITE_SPACE}]+")
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/= \t\n]")  # a carriage return would be escaped by canonicalization


@dataclass(frozen=True, slots=True)
class DdocFile:
    """One data file. `is_there` is False when only its digest is."""

    id: str
    name: str
    media_type: str
    content_type: str
    size_bytes: int | None
    is_there: bool
    digest: bytes | None  # what DigestValue says, when only that is there
    is_frame_signed: bool  # with what is declared above; in SK-XML 1.0 only the content is
    element: etree._Element = field(repr=False, compare=False)

    @property
    def content_bytes(self) -> int | None:
        """How long base64 content is; None when there is none."""
        if self.content_type != EMBEDDED_BASE64:
            return None
        text = self.element.text or ""
        used = len(text) - sum(map(text.count, " \t\r\n"))
        return used // 4 * 3 - text[-8:].count("=")

    def content(self) -> bytes:
        """The file itself; XML that is embedded as it is comes out as it stands between the tags.

        Where that is a document which is only well-formed with prefixes that are declared above it (Namespaces in XML
        1.0 §6.1, §7), their declarations are written into its root's tag, if signatures cover them. The default
        namespace there is DigiDoc's and not the file's.

        Raises: Malformed `ddoc.base64`, `ddoc.data_file`: it is not in the document.
        """
        written = self.written()
        if self.content_type != EMBEDDED or not self.is_frame_signed or not self._is_document():
            return written
        above = {prefix: uri for prefix, uri in self.element.nsmap.items() if prefix and prefix != "xml"}
        mentioned = {prefix: uri for prefix, uri in above.items() if f"{prefix}:".encode() in written}
        return _declare(mentioned, written) if mentioned and not _is_well_formed(written) else written

    def _is_document(self) -> bool:
        """One element and nothing else but white space."""
        around = (self.element.text or "") + "".join(child.tail or "" for child in self.element[:1])
        return len(self.element) == 1 and not around.strip(_WHITE_SPACE)

    def written(self) -> bytes:
        """What stands between the tags, base64 decoded. Raises: Malformed `ddoc.base64`, `ddoc.data_file`."""
        if self.content_type == EMBEDDED_BASE64:
            return _decode(self.element)
        if self.content_type != EMBEDDED:
            raise Malformed("ddoc.data_file", f"the content of {self.name!r} is not in the document")
        if not len(self.element):
            return (self.element.text or "").encode()
        # Cut out between the tags: a child written alone would repeat every namespace above it, thousands of times.
        text = etree.tostring(self.element, encoding="utf-8", with_tail=False)
        start = _START_TAG.match(text)
        assert start is not None
        return text[start.end() : text.rindex(b"</")]


@dataclass(frozen=True, slots=True)
class Ddoc:
    """A parsed document; nothing in it has been checked against anything."""

    form: str
    version: str
    is_hashcode: bool
    data_files: tuple[DdocFile, ...]
    signatures: tuple[UnverifiedSignature, ...] = field(repr=False)
    # Signature files that cannot be read, by their Id: counted, as what cannot be read must not disappear.
    broken: tuple[tuple[str, Malformed], ...] = ()
    _by_uri: dict[str, DdocFile] = field(default_factory=dict, repr=False, compare=False)
    _digests: dict[tuple[str, str, bool], bytes | None] = field(default_factory=dict, repr=False, compare=False)

    def find_file(self, uri: str) -> DdocFile | None:
        if not self._by_uri:
            self._by_uri.update((f"#{file.id}", file) for file in self.data_files)
        return self._by_uri.get(uri)

    def digest(self, file: DdocFile, hash_name: str) -> bytes:
        """What a signature's reference to the file has to say; made once per hash.

        Raises: Malformed `ddoc.…`, `xml.inherited_attribute`.
        """
        key = (file.id, hash_name, False)
        found = self._digests.get(key)
        if found is None:
            found = self._digests[key] = _digest_of(file, hash_name)
        return found

    def alternate_digest(self, file: DdocFile, hash_name: str) -> bytes | None:
        """The digest that programs of the field made of a DataFile whose namespace was only declared further up: as if
        it had none. The content is the same; None when only its digest is in the document.

        Raises: Malformed `ddoc.…`.
        """
        key = (file.id, hash_name, True)
        if key not in self._digests:
            self._digests[key] = _alternate_digest_of(file, hash_name)
        return self._digests[key]


def parse_ddoc(data: bytes) -> Ddoc:
    """Read a document.

    Raises: Malformed `ddoc.…`, `xml.…`.
    """
    # 1 the frame
    root = parse_xml(data, code="ddoc", max_bytes=MAX_DDOC_BYTES, has_long_text=True)
    check_no_foreign_nodes(root, code="ddoc")
    form = FORMS.get((root.get("format", ""), root.get("version", "")))
    if _local(root) != "SignedDoc" or form is None:
        raise Malformed("ddoc.version", "not SK-XML 1.0 or DIGIDOC-XML 1.1 to 1.3")
    above_bytes = namespaces_bytes(root.nsmap)
    if above_bytes > _MAX_NAMESPACES_BYTES:
        raise Malformed("ddoc.namespaces", f"namespaces of {above_bytes} bytes, at most {_MAX_NAMESPACES_BYTES}")
    version = root.get("version", "")
    files: list[etree._Element] = []
    signatures: list[etree._Element] = []
    for child in root:
        name = _local(child)
        if name not in ("DataFile", "Signature"):
            raise Malformed("ddoc.structure", f"{name} in SignedDoc")
        (files if name == "DataFile" else signatures).append(child)
    if len(files) > MAX_DATA_FILES or len(signatures) > MAX_DDOC_SIGNATURES:
        raise Malformed("ddoc.count", f"{len(files)} files and {len(signatures)} signatures")

    # 2 the files
    data_files = tuple(_parse_file(file, version) for file in files)
    ids = [file.id for file in data_files]
    if len(set(ids)) != len(ids):
        raise Malformed("ddoc.duplicate_id", "two data files have the same Id")
    taken = {_attribute(signature, "Id") for signature in signatures}
    if len(taken) != len(signatures) or not taken.isdisjoint(ids):
        raise Malformed("ddoc.duplicate_id", "two signatures, or a signature and a file, have the same Id")

    # 3 the signatures
    parsed: list[UnverifiedSignature] = []
    broken: list[tuple[str, Malformed]] = []
    by_id = {file.id: file for file in data_files}
    for signature in signatures:
        try:
            parsed.append(_parse_signature(signature, by_id, version))
        except Malformed as error:
            broken.append((_attribute(signature, "Id"), error))
    is_hashcode = bool(data_files) and not any(file.is_there for file in data_files)
    return Ddoc(
        form=form + ("_hashcode" if is_hashcode else ""),
        version=version,
        is_hashcode=is_hashcode,
        data_files=data_files,
        signatures=tuple(parsed),
        broken=tuple(broken),
    )


def _digest_of(file: DdocFile, hash_name: str) -> bytes:
    if file.digest is not None:
        return file.digest
    if not file.is_frame_signed:
        return hashlib.new(hash_name, file.written()).digest()
    if file.content_type == EMBEDDED_BASE64:
        return _digest_base64(file.element, hash_name, dict(file.element.nsmap))
    return hashlib.new(hash_name, canonicalize(file.element, C14N_10)).digest()


def _alternate_digest_of(file: DdocFile, hash_name: str) -> bytes | None:
    if not file.is_there:
        return None
    if file.content_type == EMBEDDED_BASE64:
        return _digest_base64(file.element, hash_name, {})
    return hashlib.new(hash_name, _canonicalize_alone(file.element)).digest()


def _digest_base64(element: etree._Element, hash_name: str, nsmap: dict[str | None, str]) -> bytes:
    """The digest of the canonical form of an element with nothing but base64 in it, without a copy of the whole: the
    tags are canonicalized around nothing, the text needs no escapes."""
    name = etree.QName(element)
    tag = element.tag if nsmap else name.localname
    frame = write_canonical(etree.Element(tag, dict(element.attrib), nsmap=nsmap))
    end_at = frame.rindex(b"</")
    digest = hashlib.new(hash_name, frame[:end_at])
    text = element.text or ""
    for at in range(0, len(text), _PIECE):
        piece = text[at : at + _PIECE]
        if _NOT_BASE64.search(piece):
            raise Malformed("ddoc.base64", "content that is not base64")
        digest.update(piece.encode("ascii"))
    digest.update(frame[end_at:])
    return digest.digest()


def _canonicalize_alone(element: etree._Element) -> bytes:
    """The element as programs of the field canonicalized it: cut out of the document as text, so without the default
    namespace that it inherits. Which namespace that is changes nothing that is read here."""
    text = etree.tostring(element, encoding="utf-8", with_tail=False)
    text = _DEFAULT_NAMESPACE.sub(rb"\1", text, count=1)
    alone = parse_xml(text, code="ddoc", max_bytes=2 * MAX_DDOC_BYTES, has_long_text=True)
    return write_canonical(alone)


def _canonical_properties(properties: etree._Element, hash_name: str, digest: bytes) -> bytes:
    """The canonical form of the signed properties that the reference is about: alone, or as XMLDSig has it."""
    alone = _canonicalize_alone(properties)
    return alone if hashlib.new(hash_name, alone).digest() == digest else canonicalize(properties, C14N_10)


def _is_well_formed(document: bytes) -> bool:
    """By itself, namespaces and all; without building a tree of it once more."""
    try:
        expat.ParserCreate(namespace_separator=" ").Parse(document, True)
    except expat.ExpatError:
        return False
    return True


def _declare(namespaces: Mapping[str, str], document: bytes) -> bytes:
    """The document with those of the prefixes declared in its root's tag that are not declared there. It is what
    `etree.tostring` wrote."""
    root = _ROOT_NAME.search(document)
    assert root is not None
    at, own = root.end(), set[bytes]()
    while attribute := _ATTRIBUTES.match(document, at):
        own.add(attribute[1])
        at = attribute.end()
    added = b"".join(
        f' xmlns:{prefix}="{escape_attribute(uri)}"'.encode()
        for prefix, uri in sorted(namespaces.items())
        if f"xmlns:{prefix}".encode() not in own
    )
    return document[: root.end()] + added + document[root.end() :]


# ------------------------------------------------------------------ by local name, in the known namespaces


def _local(element: etree._Element) -> str:
    name = etree.QName(element)
    if name.namespace not in _NAMESPACES:
        raise Malformed("ddoc.namespace", f"{name.localname} in the namespace {name.namespace}")
    return name.localname


def _children(parent: etree._Element, name: str) -> list[etree._Element]:
    return [child for child in parent if _local(child) == name]


def _child(parent: etree._Element, name: str) -> etree._Element:
    found = _children(parent, name)
    if len(found) != 1:
        raise Malformed("ddoc.structure", f"{len(found)} elements {name} in {_local(parent)}, one is needed")
    return found[0]


def _optional(parent: etree._Element | None, name: str) -> etree._Element | None:
    found = [] if parent is None else _children(parent, name)
    if len(found) > 1:
        raise Malformed("ddoc.structure", f"more than one {name}")
    return found[0] if found else None


def _attribute(element: etree._Element, name: str) -> str:
    value = element.get(name)
    if not value or len(value) > _MAX_FILE_NAME:
        raise Malformed("ddoc.structure", f"{_local(element)} without {name}")
    return value


# ------------------------------------------------------------------ files


def _parse_file(element: etree._Element, version: str) -> DdocFile:
    content_type = _attribute(element, "ContentType")
    name = _attribute(element, "Filename")
    size = element.get("Size", "")
    digest = None
    if content_type in _BY_DIGEST:
        if len(element) or (element.text or "").strip():
            raise Malformed("ddoc.data_file", f"{name!r} has content and says that it has none")
        if element.get("DigestType", "").lower() != "sha1":
            raise Malformed("ddoc.data_file", f"{name!r} is digested with {element.get('DigestType')!r}, expected sha1")
        digest = _decode_text(_attribute(element, "DigestValue"))
    elif content_type == EMBEDDED_BASE64:
        if len(element):
            raise Malformed("ddoc.data_file", f"{name!r} is base64 and has child elements")
    elif content_type != EMBEDDED:
        raise Malformed("ddoc.data_file", f"content type {content_type!r}")
    return DdocFile(
        id=_attribute(element, "Id"),
        name=name,
        media_type=element.get("MimeType", ""),
        content_type=content_type,
        size_bytes=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None,
        is_there=digest is None,
        digest=digest,
        is_frame_signed=version != "1.0",
        element=element,
    )


def _decode(element: etree._Element) -> bytes:
    return _decode_text(element.text or "")


def _decode_text(text: str) -> bytes:
    try:
        return binascii.a2b_base64(_WHITE.sub("", text), strict_mode=True)
    except ValueError as error:
        raise Malformed("ddoc.base64", "content that is not base64") from error


# ------------------------------------------------------------------ one signature


def _parse_signature(signature: etree._Element, files: dict[str, DdocFile], version: str) -> UnverifiedSignature:
    # 1 the four parts, in order, each once
    parts = list(signature)
    if [_local(part) for part in parts] != ["SignedInfo", "SignatureValue", "KeyInfo", "Object"]:
        raise Malformed("ddoc.structure", "Signature does not hold what it must")
    signed_info, value, key_info, holder = parts
    signature_id = _attribute(signature, "Id")
    qualifying = _child(holder, "QualifyingProperties")
    if qualifying.get("Target", f"#{signature_id}").lstrip("#") != signature_id or len(holder) != 1:
        raise Malformed("ddoc.target", "the qualifying properties belong to another signature")
    properties = _child(qualifying, "SignedProperties")
    properties_id = _attribute(properties, "Id")
    if properties_id in files:
        raise Malformed("ddoc.duplicate_id", "the signed properties have the Id of a file")

    # 2 SignedInfo
    children = list(signed_info)
    if len(children) < 3 or _local(children[0]) != "CanonicalizationMethod" or _local(children[1]) != "SignatureMethod":
        raise Malformed("ddoc.structure", "SignedInfo does not hold what it must")
    c14n = _attribute(children[0], "Algorithm")
    method = SIGNATURE_METHODS.get(_attribute(children[1], "Algorithm"))
    if c14n != C14N_10 or not is_c14n(c14n) or method is None or len(children[0]) or len(children[1]):
        raise Malformed("ddoc.algorithm", "an unknown canonicalization or signature method")
    references, properties_reference = _parse_references(children[2:], properties_id, files, version)

    # 3 what the signer says, and what was added later
    signed = _child(properties, "SignedSignatureProperties")
    said_at = _optional(signed, "SigningTime")
    unsigned = _optional(_optional(qualifying, "UnsignedProperties"), "UnsignedSignatureProperties")
    return UnverifiedSignature(
        id=signature_id,
        method=method,
        c14n=c14n,
        references=references,
        properties_hash_name=properties_reference[0],
        properties_digest=properties_reference[1],
        signed_info=canonicalize(signed_info, c14n),
        signed_properties=_canonical_properties(properties, *properties_reference),
        signature_value=base64_of(value, code="ddoc", max_bytes=2048),
        certificates_der=(_parse_certificate(key_info),),
        certificate_references=(_parse_certificate_reference(signed),),
        claimed_signing_at=None
        if said_at is None
        else parse_date_time(_OLD_DATE.sub(r"\1-\2-\3T", text_of(said_at, code="ddoc"))),
        claimed_roles=_parse_roles(signed),
        production_place=_parse_place(signed),
        policy=None,
        media_types={},
        signature_time_stamps=(),
        archive_time_stamps=(),
        certificate_values_der=(),
        ocsp_values_der=_parse_ocsp(unsigned),
        crl_values_der=(),
        unknown_properties=(),
        element=signature,
    )


def _parse_references(
    elements: list[etree._Element], properties_id: str, files: dict[str, DdocFile], version: str
) -> tuple[tuple[Reference, ...], tuple[str, bytes]]:
    found: list[Reference] = []
    about_properties: tuple[str, bytes] | None = None
    for element in elements:
        if _local(element) != "Reference":
            raise Malformed("ddoc.structure", f"{_local(element)} in SignedInfo")
        uri = _attribute(element, "URI")
        hash_name, digest = _parse_digest(element)
        transforms = _parse_transforms(element)
        # SK-XML 1.0 names a transform that changes nothing there; 1.1 and 1.2 name one for detached files.
        allowed: tuple[list[str], ...] = ([], [_ENVELOPED]) if version == "1.0" else ([], [_DETACHED])
        if transforms not in allowed or (version == "1.3" and transforms):
            raise Malformed("ddoc.transform", "a transform that the format does not prescribe")
        if uri == f"#{properties_id}":
            if about_properties is not None or element.get("Type", _TYPE_SIGNED_PROPERTIES) != _TYPE_SIGNED_PROPERTIES:
                raise Malformed("ddoc.reference", "two references to the signed properties, or one of another type")
            about_properties = hash_name, digest
            continue
        file_id = uri.removeprefix("#")
        if version == "1.0" and file_id.endswith("-MIME") and file_id not in files:
            _check_media_type(files.get(file_id.removesuffix("-MIME")), hash_name, digest)
            continue
        file = files.get(file_id)
        if uri == file_id or file is None:
            raise Malformed("ddoc.reference", "a reference to something other than a data file")
        found.append(Reference(element.get("Id"), uri, file.name, hash_name, digest))
    if about_properties is None:
        raise Malformed("ddoc.reference", "the signed properties are not signed")
    if len({reference.uri for reference in found}) != len(found):
        raise Malformed("ddoc.reference", "one file is referred to twice")
    return tuple(found), about_properties


def _check_media_type(file: DdocFile | None, hash_name: str, digest: bytes) -> None:
    if file is None or hashlib.new(hash_name, file.media_type.encode()).digest() != digest:
        raise Malformed("ddoc.media_type", "the media type of a file is not the one that was signed")


def _parse_digest(holder: etree._Element) -> tuple[str, bytes]:
    method = _child(holder, "DigestMethod")
    hash_name = DIGEST_METHODS.get(_attribute(method, "Algorithm"))
    if hash_name is None or len(method):
        raise Malformed("ddoc.algorithm", "an unknown digest method")
    return hash_name, base64_of(_child(holder, "DigestValue"), code="ddoc", max_bytes=64)


def _parse_transforms(reference: etree._Element) -> list[str]:
    holder = _optional(reference, "Transforms")
    if holder is None:
        return []
    if any(_local(child) != "Transform" or len(child) for child in holder):
        raise Malformed("ddoc.transform", "a transform with parameters")
    return [_attribute(child, "Algorithm") for child in holder]


def _parse_certificate(key_info: etree._Element) -> bytes:
    element = _child(_child(key_info, "X509Data"), "X509Certificate")
    return base64_of(element, code="ddoc", max_bytes=MAX_CERTIFICATE_BYTES)


def _parse_certificate_reference(signed: etree._Element) -> CertificateReference:
    cert = _child(_child(signed, "SigningCertificate"), "Cert")
    hash_name, digest = _parse_digest(_child(cert, "CertDigest"))
    issuer_serial = _child(cert, "IssuerSerial")
    # In 1.0 to 1.2 the element holds the bare number.
    number = _child(issuer_serial, "X509SerialNumber") if len(issuer_serial) else issuer_serial
    serial = text_of(number, code="ddoc", max_chars=64).strip()
    if not serial.isascii() or not serial.removeprefix("-").isdigit():
        raise Malformed("ddoc.value", "a serial number that is not a number")
    return CertificateReference(hash_name, digest, None, None, int(serial))


def _parse_roles(signed: etree._Element) -> tuple[str, ...]:
    claimed = _optional(_optional(signed, "SignerRole"), "ClaimedRoles")
    roles = [] if claimed is None else _children(claimed, "ClaimedRole")
    return tuple(text_of(role, code="ddoc") for role in roles)


def _parse_place(signed: etree._Element) -> ProductionPlace | None:
    holder = _optional(signed, "SignatureProductionPlace")
    if holder is None:
        return None

    def value(name: str) -> str | None:
        element = _optional(holder, name)
        return None if element is None else text_of(element, code="ddoc") or None

    return ProductionPlace(
        city=value("City"),
        state_or_province=value("StateOrProvince"),
        postal_code=value("PostalCode"),
        country_name=value("CountryName"),
    )


def _parse_ocsp(unsigned: etree._Element | None) -> tuple[bytes, ...]:
    holder = _optional(unsigned, "RevocationValues")
    if holder is None:
        return ()
    values = _optional(holder, "OCSPValues")  # 1.3 only
    found = _children(holder if values is None else values, "EncapsulatedOCSPValue")
    if len(found) > 8:
        raise Malformed("ddoc.count", f"{len(found)} OCSP responses in one signature")
    return tuple(base64_of(element, code="ddoc", max_bytes=MAX_TOKEN_BYTES) for element in found)
