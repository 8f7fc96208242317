"""Archive time-stamps (EN 319 132-1 §5.5.2, not distributed): what they cover, and writing them into a signature file.

Nothing that is there changes a byte: a new property goes in as text, right before the end tag of the unsigned
properties, where everything before it is covered by it.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat

from lxml import etree

from digiid.formats.hardened_xml import canonicalize, escape_attribute
from digiid.formats.xades.parse import (
    MAX_XML_BYTES,
    NS_DS,
    NS_XADES,
    NS_XADES141,
    EncapsulatedTimeStamp,
    UnverifiedSignature,
    parse_signatures,
)
from digiid.kernel.errors import Malformed, Refused

ARCHIVE_HASH: Final = "sha512"
_NAMESPACES: Final = f' xmlns:ds="{NS_DS}" xmlns:xades="{NS_XADES}"'
_BEFORE_UNSIGNED: Final = ("SignedInfo", "SignatureValue", "KeyInfo")
_UNSIGNED: Final = f"{{{NS_XADES}}}UnsignedProperties/{{{NS_XADES}}}UnsignedSignatureProperties"

# The octets of a data file in pieces; None when they are not at hand.
StreamFile = Callable[[str], Iterator[bytes] | None]


# What has been hashed of data files: by the hash and the files' names in their order.
HashedFiles = dict[tuple[str, tuple[str, ...]], Any]


class ArchiveImprints:
    """The message imprints of one signature's archive time-stamps. Data files are read once for each hash; signatures
    over the same files may share what is `hashed`.
    """

    def __init__(self, signature: UnverifiedSignature, stream: StreamFile, hashed: HashedFiles | None = None) -> None:
        self._signature, self._stream = signature, stream
        self._properties = _unsigned_properties(signature)
        self._hashed: HashedFiles = {} if hashed is None else hashed
        self._canonical: dict[tuple[etree._Element, str], bytes] = {}

    def digest(self, hash_name: str, c14n: str, *, stamp: EncapsulatedTimeStamp | None = None) -> bytes:
        """What `stamp` covers; without one, what a new archive time-stamp at the end would cover.

        Raises: Refused `xades.archive.data`, a data file is not at hand; Malformed `xml.…`, `asic.…`.
        """
        # 1 what SignedInfo refers to, in its order
        hashed = self._hash_references(hash_name)
        # 2 the signature itself
        for name in _BEFORE_UNSIGNED:
            hashed.update(self._canonicalize(self._signature.element.find(f"{{{NS_DS}}}{name}"), c14n))
        # 3 the unsigned properties before this one, in document order
        for element in self._properties:
            if stamp is not None and element is stamp.element:
                break
            hashed.update(self._canonicalize(element, c14n))
        return bytes(hashed.digest())

    def _hash_references(self, hash_name: str) -> Any:
        names = tuple(reference.name for reference in self._signature.references)
        position = self._signature.properties_position
        before = names if position is None else names[:position]
        key = (hash_name, before)
        if key not in self._hashed:
            hashed = hashlib.new(hash_name)
            self._update(hashed, before)
            self._hashed[key] = hashed
        hashed = self._hashed[key].copy()
        hashed.update(self._signature.signed_properties)
        self._update(hashed, names[len(before) :])
        return hashed

    def _update(self, hashed: Any, names: Sequence[str]) -> None:
        for name in names:
            pieces = self._stream(name)
            if pieces is None:
                raise Refused("xades.archive.data", f"the content of {name!r} is not at hand")
            for piece in pieces:
                hashed.update(piece)

    def _canonicalize(self, element: etree._Element | None, c14n: str) -> bytes:
        assert element is not None  # the parser has seen all of them
        key = (element, c14n)
        if key not in self._canonical:
            self._canonical[key] = canonicalize(element, c14n)
        return self._canonical[key]


def _unsigned_properties(signature: UnverifiedSignature) -> list[etree._Element]:
    holder = signature.element.find(f"{{{NS_DS}}}Object/{{{NS_XADES}}}QualifyingProperties/{_UNSIGNED}")
    return [] if holder is None else list(holder)


# ------------------------------------------------------------------ writing


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """A signature file that waits for a time-stamp token over `imprint`."""

    hash_name: str
    imprint: bytes
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)

    def apply(self, token_der: bytes) -> bytes:
        """The signature file with the token in it.

        Raises: Malformed `xades.too_large`.
        """
        token = base64.b64encode(token_der)
        return _checked(
            b"".join(
                (
                    self.before,
                    b"<xades:EncapsulatedTimeStamp>",
                    token,
                    b"</xades:EncapsulatedTimeStamp></xades141:ArchiveTimeStamp>",
                    self.after,
                )
            )
        )


def plan_archive_time_stamp(
    xml: bytes, signature_id: str, *, stream: StreamFile, hash_name: str = ARCHIVE_HASH
) -> ArchivePlan:
    """What a new archive time-stamp on one signature of the file is to be over: all that is there, former archive
    time-stamps among it. It uses the signature's own canonicalization.

    Raises:
        Malformed: `xades.…`, `xml.…`, `asic.…`.
        Refused: `xades.archive.signature`, no such signature; `xades.archive.level`, it is not of level LT or LTA;
            `xades.archive.data`, a data file is not at hand.
    """
    signature = _find(xml, signature_id)
    if signature.level not in ("LT", "LTA"):
        raise Refused("xades.archive.level", f"a signature of level {signature.level} gets no archive time-stamp")
    imprint = ArchiveImprints(signature, stream).digest(hash_name, signature.c14n)
    at = _end_of_unsigned(xml, signature)
    head = (
        f'<xades141:ArchiveTimeStamp xmlns:xades141="{NS_XADES141}"{_NAMESPACES} Id="{_new_id(signature, "A")}">'
        f'<ds:CanonicalizationMethod Algorithm="{signature.c14n}"></ds:CanonicalizationMethod>'
    )
    return ArchivePlan(hash_name, imprint, xml[:at] + head.encode(), xml[at:])


def add_validation_values(
    xml: bytes, signature_id: str, *, certificates_der: Sequence[bytes], ocsp_der: bytes
) -> bytes:
    """Level T to LT: certificates and an OCSP response behind what one signature of the file has.

    Raises:
        Malformed: `xades.…`, `xml.…`.
        Refused: `xades.archive.signature`; `xades.archive.level`, the signature is not of level T.
    """
    signature = _find(xml, signature_id)
    if signature.level != "T" or signature.certificate_values_der:
        raise Refused("xades.archive.level", f"a signature of level {signature.level} is not completed")
    at = _end_of_unsigned(xml, signature)
    name = _new_id(signature, "V")
    certificates = "".join(
        f'<xades:EncapsulatedX509Certificate Id="{name}-CERT{i}">{_b64(der)}</xades:EncapsulatedX509Certificate>'
        for i, der in enumerate(certificates_der)
    )
    values = (
        f"<xades:CertificateValues{_NAMESPACES}>{certificates}</xades:CertificateValues>"
        f"<xades:RevocationValues{_NAMESPACES}><xades:OCSPValues>"
        f'<xades:EncapsulatedOCSPValue Id="{name}-OCSP0">{_b64(ocsp_der)}</xades:EncapsulatedOCSPValue>'
        "</xades:OCSPValues></xades:RevocationValues>"
    )
    return _checked(xml[:at] + values.encode() + xml[at:])


def _checked(xml: bytes) -> bytes:
    if len(xml) > MAX_XML_BYTES:
        raise Malformed("xades.too_large", f"{len(xml)} bytes, at most {MAX_XML_BYTES}")
    return xml


def _find(xml: bytes, signature_id: str) -> UnverifiedSignature:
    found = [signature for signature in parse_signatures(xml) if signature.id == signature_id]
    if len(found) != 1:
        raise Refused("xades.archive.signature", f"{len(found)} signatures are called {signature_id!r}")
    return found[0]


def _new_id(signature: UnverifiedSignature, kind: str) -> str:
    """An Id that is not in the file yet."""
    taken = {value for element in signature.element.getroottree().iter() for value in element.attrib.values()}
    number = 0
    while f"{signature.id}-{kind}{number}" in taken:
        number += 1
    return escape_attribute(f"{signature.id}-{kind}{number}")


def _end_of_unsigned(xml: bytes, signature: UnverifiedSignature) -> int:
    """Where in the file the end tag of the signature's UnsignedSignatureProperties begins."""
    parent = signature.element.getparent()
    assert parent is not None
    return _EndTag(parent.index(signature.element)).find(xml)


class _EndTag:
    """Octet positions, which lxml does not tell. The file has been read by the hardened parser before this."""

    _PATH: Final = (
        f"{NS_DS} Object",
        f"{NS_XADES} QualifyingProperties",
        f"{NS_XADES} UnsignedProperties",
        f"{NS_XADES} UnsignedSignatureProperties",
    )

    def __init__(self, signature_index: int) -> None:
        self._wanted = signature_index
        self._signatures = -1
        self._path: list[str] = []
        self._found: int | None = None

    def find(self, xml: bytes) -> int:
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(xml, True)
        except expat.ExpatError as error:
            raise Malformed("xades.xml", f"not well-formed: {error}") from error
        if self._found is None or xml[self._found : self._found + 2] != b"</":
            raise Malformed("xades.structure", "there are no unsigned properties to add to")
        return self._found

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        if len(self._path) == 1:
            self._signatures += 1
        self._path.append(name)

    def _end(self, _name: str) -> None:
        if self._signatures == self._wanted and tuple(self._path[2:]) == self._PATH:
            self._found = self._parser.CurrentByteIndex
        self._path.pop()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
