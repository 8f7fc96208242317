"""XAdES signatures (EN 319 132-1 V1.2.1) in an ASiC-E container: bytes to unverified values.

There is no general XMLDSig engine here. One shape is read, by fixed child paths from each ds:Signature, and everything
that is shown later comes from the very nodes whose bytes are verified, so that a wrapped or moved element is never
looked at. Refused: DOCTYPE, comments, processing instructions, repeated Ids, any transform on a data file, any
reference but to a data file and to the one SignedProperties, any unknown algorithm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from lxml import etree

from digiid.formats.asic.container import decode_uri
from digiid.formats.hardened_xml import (
    C14N_10,
    base64_of,
    canonicalize,
    check_no_foreign_nodes,
    is_c14n,
    parse_xml,
    text_of,
)
from digiid.formats.xades.algorithms import DIGEST_METHODS, SIGNATURE_METHODS, SignatureMethod
from digiid.kernel.errors import Malformed

NS_DS = "http://www.w3.org/2000/09/xmldsig#"
NS_XADES = "http://uri.etsi.org/01903/v1.3.2#"
NS_XADES141 = "http://uri.etsi.org/01903/v1.4.1#"
NS_ASIC = "http://uri.etsi.org/02918/v1.2.1#"
TYPE_SIGNED_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"  # EN 319 132-1 §4.4.2


def _tags(namespace: str, names: str) -> dict[str, str]:
    return {name: f"{{{namespace}}}{name}" for name in names.split()}


_DS = _tags(
    NS_DS,
    "Signature SignedInfo SignatureValue KeyInfo Object CanonicalizationMethod SignatureMethod Reference Transforms "
    "Transform DigestMethod DigestValue X509Data X509Certificate X509IssuerName X509SerialNumber",
)
_XADES = _tags(
    NS_XADES,
    "QualifyingProperties SignedProperties SignedSignatureProperties SignedDataObjectProperties SigningTime "
    "SigningCertificate SigningCertificateV2 SignaturePolicyIdentifier SignatureProductionPlace "
    "SignatureProductionPlaceV2 SignerRole SignerRoleV2 ClaimedRoles ClaimedRole Cert CertDigest IssuerSerial "
    "IssuerSerialV2 SignaturePolicyImplied SignaturePolicyId SigPolicyId Identifier SPURI DataObjectFormat MimeType "
    "UnsignedProperties UnsignedSignatureProperties SignatureTimeStamp EncapsulatedTimeStamp CertificateValues "
    "EncapsulatedX509Certificate RevocationValues OCSPValues EncapsulatedOCSPValue CRLValues EncapsulatedCRLValue "
    "City StreetAddress StateOrProvince PostalCode CountryName",
)
_SIGNATURES = f"{{{NS_ASIC}}}XAdESSignatures"
_ELEMENTS_ONLY = {etree._Element}
_SIGNATURE_PARTS = [_DS["SignedInfo"], _DS["SignatureValue"], _DS["KeyInfo"], _DS["Object"]]
_ANONYMOUS_PARTS = [_DS["SignedInfo"], _DS["SignatureValue"], _DS["Object"]]
_OBJECT_PARTS = [_XADES["QualifyingProperties"]]
_SIGNATURE_TIME_STAMP = _XADES["SignatureTimeStamp"]
_CERTIFICATE_VALUES, _REVOCATION_VALUES = _XADES["CertificateValues"], _XADES["RevocationValues"]
_ENCODING_DER = "http://uri.etsi.org/01903/v1.2.2#DER"
_ARCHIVE_TIME_STAMP = f"{{{NS_XADES141}}}ArchiveTimeStamp"
_TIME_STAMP_VALIDATION_DATA = f"{{{NS_XADES141}}}TimeStampValidationData"
# One by one: libxml2 takes quadratic time to unite two sets of nodes.
_ALL_IDS = tuple(f"descendant-or-self::*/@{name}" for name in ("Id", "ID", "id", "xml:id"))
_FIND_IDS = tuple(etree.XPath(path, smart_strings=False) for path in _ALL_IDS)
_ID_NAMES = frozenset(("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id"))
_HAS_OTHER_IDS = etree.XPath(" or ".join(_ALL_IDS[1:]))

MAX_XML_BYTES = 1024 * 1024
_SMALL_BYTES = 64 * 1024  # each element of a document in so little may be looked at one by one
MAX_SIGNATURES = 64
MAX_REFERENCES = 1000
MAX_CERTIFICATES = 64
MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_TOKEN_BYTES = 512 * 1024
MAX_TIME_STAMPS = 32

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_PLAIN_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_POLICY_OID = re.compile(r"(?:urn:oid:)?([0-2](?:\.\d{1,20}){1,32})", re.ASCII)


class Reference(NamedTuple):
    """A ds:Reference. `name` is the data file's name that the URI stands for."""

    id: str | None
    uri: str
    name: str
    hash_name: str
    digest: bytes


class CertificateReference(NamedTuple):
    """One xades:Cert: what the signer says the own certificate is."""

    hash_name: str
    digest: bytes
    issuer_serial_der: bytes | None
    issuer_name: str | None
    serial_number: int | None


@dataclass(frozen=True, slots=True)
class ProductionPlace:
    city: str | None = None
    street_address: str | None = None
    state_or_province: str | None = None
    postal_code: str | None = None
    country_name: str | None = None


class EncapsulatedTimeStamp(NamedTuple):
    """A time-stamp token and the canonicalization that made its message imprint. `place` is its place among the
    unsigned properties: an archive time-stamp covers the places before its own.
    """

    token_der: bytes
    c14n: str
    element: etree._Element
    place: int = 0


class UnverifiedSignature(NamedTuple):
    """One ds:Signature as it stands in the file. Nothing in it has been checked against anything."""

    id: str
    method: SignatureMethod
    c14n: str
    references: tuple[Reference, ...]
    properties_hash_name: str
    properties_digest: bytes
    signed_info: bytes
    signed_properties: bytes
    signature_value: bytes
    certificates_der: tuple[bytes, ...]
    certificate_references: tuple[CertificateReference, ...]
    claimed_signing_at: datetime | None
    claimed_roles: tuple[str, ...]
    production_place: ProductionPlace | None
    policy: str | None  # an OID, another identifier as it stands there, "implied", or None
    media_types: dict[str, str]  # by the Id of the reference
    signature_time_stamps: tuple[EncapsulatedTimeStamp, ...]
    archive_time_stamps: tuple[EncapsulatedTimeStamp, ...]
    certificate_values_der: tuple[bytes, ...]
    ocsp_values_der: tuple[bytes, ...]
    crl_values_der: tuple[bytes, ...]
    unknown_properties: tuple[str, ...]
    element: etree._Element
    time_stamp_ocsp_values_der: tuple[bytes, ...] = ()  # about time-stamping units
    time_stamp_crl_values_der: tuple[bytes, ...] = ()
    revocation_places: Mapping[bytes, int] = MappingProxyType({})  # of each value, the first among the properties
    properties_position: int | None = None  # of the signed properties among the references; None: the last one
    policy_qualifier: str | None = None  # how the policy's identifier says that it is written (§5.2.9)
    policy_uri: str | None = None  # where the policy's document is to be had

    @property
    def level(self) -> str:
        """B, T, LT or LTA by the properties that are there; whether they are right is not said."""
        if not self.signature_time_stamps:
            return "B"
        if not (self.ocsp_values_der or self.crl_values_der):
            return "T"
        return "LTA" if self.archive_time_stamps else "LT"

    def canonical_signature_value(self, c14n: str) -> bytes:
        """The ds:SignatureValue element: what a signature time-stamp covers (EN 319 132-1 §5.3)."""
        return canonicalize(_child(self.element, _DS["SignatureValue"]), c14n)


def parse_signatures(xml: bytes, *, bare_allowed: bool = False) -> tuple[UnverifiedSignature, ...]:
    """Every signature of one signature file. With `bare_allowed` the root may be one ds:Signature by itself.

    Raises: Malformed `xades.…`, `xml.…`.
    """
    root = parse_xml(xml, code="xades", max_bytes=MAX_XML_BYTES)
    is_bare = bare_allowed and root.tag == _DS["Signature"]
    if not is_bare and root.tag != _SIGNATURES:
        raise Malformed("xades.root", f"the root element is {_local(root)}")
    if len(xml) <= _SMALL_BYTES:
        held = list(root.iter())  # while they are held, what reads them below need not make them anew
        _check_elements(root, held)
    else:
        check_no_foreign_nodes(root, code="xades")
        _check_ids(root)
    children = [root] if is_bare else list(root)
    if not children or len(children) > MAX_SIGNATURES:
        raise Malformed("xades.signature_count", f"{len(children)} signatures in one file")
    return tuple([_parse_signature(child) for child in children])


def _check_elements(root: etree._Element, held: list[etree._Element]) -> None:
    """What `check_no_foreign_nodes` and `_check_ids` say, of all that is in a small document."""
    if {*map(type, held)} != _ELEMENTS_ONLY:
        check_no_foreign_nodes(root, code="xades")
    found = [element.get(name) for element in held for name in element.keys() if name in _ID_NAMES]  # noqa: SIM118
    if len({*found}) != len(found):
        raise Malformed("xades.duplicate_id", "two elements have the same Id")


def _check_ids(root: etree._Element) -> None:
    found: list[object] = []
    for find in _FIND_IDS if _HAS_OTHER_IDS(root) else _FIND_IDS[:1]:
        values = find(root)
        assert isinstance(values, list)
        found += values
    if len(set(found)) != len(found):
        raise Malformed("xades.duplicate_id", "two elements have the same Id")


# ------------------------------------------------------------------ fixed paths


def _child(parent: etree._Element, tag: str) -> etree._Element:
    """The only child of that name."""
    found, count = None, 0
    for child in parent:
        if child.tag == tag:
            found, count = child, count + 1
    if found is None or count != 1:
        name = tag.rpartition("}")[2]
        raise Malformed("xades.structure", f"{count} elements {name} in {_local(parent)}, one is needed")
    return found


def _optional(parent: etree._Element, *tags: str) -> etree._Element | None:
    """The only child that has one of the names (an element and its V2), or none."""
    found = None
    for child in parent:
        if child.tag in tags:
            if found is not None:
                raise Malformed("xades.structure", f"more than one {tags[0].rpartition('}')[2]}")
            found = child
    return found


def _exactly(parent: etree._Element, tags: list[str]) -> list[etree._Element]:
    children = list(parent)
    if [child.tag for child in children] != tags:
        raise Malformed("xades.structure", f"{_local(parent)} does not hold what it must")
    return children


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


def _attribute(element: etree._Element, name: str) -> str:
    value = element.get(name)
    if not value or len(value) > 1024:
        raise Malformed("xades.structure", f"{_local(element)} without {name}")
    return value


# ------------------------------------------------------------------ one signature


def _parse_signature(signature: etree._Element) -> UnverifiedSignature:
    if signature.tag != _DS["Signature"]:
        raise Malformed("xades.structure", f"{_local(signature)} where a Signature belongs")
    # 1 the four parts, in order, each once; without KeyInfo (XMLDSig §4.5) it is not known whose it is
    key_info = None
    if len(signature) == len(_ANONYMOUS_PARTS):
        signed_info, value, data_object = _exactly(signature, _ANONYMOUS_PARTS)
    else:
        signed_info, value, key_info, data_object = _exactly(signature, _SIGNATURE_PARTS)
    (qualifying,) = _exactly(data_object, _OBJECT_PARTS)
    signature_id = _attribute(signature, "Id")
    if _attribute(qualifying, "Target") != "#" + signature_id:
        raise Malformed("xades.target", "the qualifying properties belong to another signature")
    properties = _child(qualifying, _XADES["SignedProperties"])
    if qualifying[0] is not properties or len(qualifying) > 2:
        raise Malformed("xades.structure", "QualifyingProperties does not hold what it must")

    # 2 SignedInfo: data files without transforms, and the signed properties
    parts = list(signed_info)
    if len(parts) < 2 or parts[1].tag != _DS["SignatureMethod"] or len(parts[1]):
        raise Malformed("xades.structure", "SignedInfo does not hold what it must")
    c14n = _algorithm_c14n(parts[0], _DS["CanonicalizationMethod"])
    method = SIGNATURE_METHODS.get(_attribute(parts[1], "Algorithm"))
    if method is None:
        raise Malformed("xades.signature_method", "an unknown signature method")
    references, properties_reference, position = _parse_references(parts[2:], _attribute(properties, "Id"))

    # 3 what the signer says
    signed = _child(properties, _XADES["SignedSignatureProperties"])
    about_data = _optional(properties, _XADES["SignedDataObjectProperties"])
    said = _Said(signed)
    unknown = said.unknown()
    if about_data is not None:
        unknown += [_local(child) for child in about_data if child.tag != _XADES["DataObjectFormat"]]
    time_element = said.find("SigningTime")

    # 4 what was added later
    unsigned = _parse_unsigned(qualifying)

    properties_c14n, properties_hash_name, properties_digest = properties_reference
    policy = _parse_policy(said)
    return UnverifiedSignature(
        id=signature_id,
        method=method,
        c14n=c14n,
        references=references,
        properties_hash_name=properties_hash_name,
        properties_digest=properties_digest,
        signed_info=canonicalize(signed_info, c14n),
        signed_properties=canonicalize(properties, properties_c14n),
        signature_value=base64_of(value, code="xades", max_bytes=2048),
        certificates_der=() if key_info is None else _parse_key_info(key_info),
        certificate_references=_parse_certificate_references(said),
        claimed_signing_at=None if time_element is None else parse_date_time(text_of(time_element, code="xades")),
        claimed_roles=_parse_roles(said),
        production_place=_parse_place(said),
        policy=policy.identifier,
        media_types=_parse_media_types(about_data),
        signature_time_stamps=unsigned.signature_time_stamps,
        archive_time_stamps=unsigned.archive_time_stamps,
        certificate_values_der=unsigned.certificates_der,
        ocsp_values_der=unsigned.ocsp_der,
        crl_values_der=unsigned.crls_der,
        unknown_properties=(*unknown, *unsigned.unknown),
        element=signature,
        time_stamp_ocsp_values_der=unsigned.time_stamp_ocsp_der,
        time_stamp_crl_values_der=unsigned.time_stamp_crls_der,
        revocation_places=unsigned.revocation_places,
        properties_position=position,
        policy_qualifier=policy.qualifier,
        policy_uri=policy.uri,
    )


class _Said:
    """The children of SignedSignatureProperties, each at most once."""

    _KNOWN = frozenset(
        _XADES[name]
        for name in (
            "SigningTime",
            "SigningCertificate",
            "SigningCertificateV2",
            "SignaturePolicyIdentifier",
            "SignatureProductionPlace",
            "SignatureProductionPlaceV2",
            "SignerRole",
            "SignerRoleV2",
        )
    )

    def __init__(self, signed: etree._Element) -> None:
        children = list(signed)
        self._children: dict[object, etree._Element] = {child.tag: child for child in children}
        if len(self._children) != len(children):
            raise Malformed("xades.structure", "a signed property is given twice")

    def find(self, name: str, older: str = "") -> etree._Element | None:
        """The property, or its older form; both at once is an error."""
        found = self._children.get(_XADES[name])
        if older and (old := self._children.get(_XADES[older])) is not None:
            if found is not None:
                raise Malformed("xades.structure", f"more than one {name}")
            return old
        return found

    def unknown(self) -> list[str]:
        if self._children.keys() <= self._KNOWN:
            return []
        return [_local(child) for tag, child in self._children.items() if tag not in self._KNOWN]


def _algorithm_c14n(element: etree._Element, tag: str) -> str:
    if element.tag != tag or len(element):
        raise Malformed("xades.structure", f"no plain {tag.rpartition('}')[2]} where one belongs")
    algorithm = _attribute(element, "Algorithm")
    if not is_c14n(algorithm):
        raise Malformed("xades.c14n", "an unknown canonicalization")
    return algorithm


def _parse_digest(method: etree._Element, value: etree._Element) -> tuple[str, bytes]:
    if method.tag != _DS["DigestMethod"] or value.tag != _DS["DigestValue"] or len(method):
        raise Malformed("xades.structure", "no digest where one belongs")
    hash_name = DIGEST_METHODS.get(method.get("Algorithm", ""))
    if hash_name is None:
        raise Malformed("xades.digest_method", "an unknown digest method")
    return hash_name, base64_of(value, code="xades", max_bytes=64)


def _parse_references(
    elements: list[etree._Element], properties_id: str
) -> tuple[tuple[Reference, ...], tuple[str, str, bytes], int]:
    if len(elements) > MAX_REFERENCES + 1:
        raise Malformed("xades.reference_count", f"{len(elements)} references")
    references: list[Reference] = []
    properties: tuple[str, str, bytes] | None = None
    position = 0
    for element in elements:
        if element.tag != _DS["Reference"]:
            raise Malformed("xades.structure", f"{_local(element)} where a Reference belongs")
        children = list(element)
        transforms = children.pop(0) if len(children) == 3 and children[0].tag == _DS["Transforms"] else None
        if len(children) != 2:
            raise Malformed("xades.structure", "a Reference does not hold what it must")
        uri = element.get("URI")
        hash_name, digest = _parse_digest(*children)
        if element.get("Type") == TYPE_SIGNED_PROPERTIES:
            if properties is not None or uri != "#" + properties_id:
                raise Malformed("xades.signed_properties", "the signed properties are referred to wrongly or twice")
            properties = _parse_properties_c14n(transforms), hash_name, digest
            position = len(references)
            continue
        if transforms is not None:
            raise Malformed("xades.transform", "a data file is signed as it is, without transforms")
        if not uri or uri[0] == "#" or len(uri) > 4096 or (":" in uri and _SCHEME.match(uri)):
            raise Malformed("xades.reference_uri", "a reference to something other than a data file")
        references.append(Reference(element.get("Id"), uri, decode_uri(uri), hash_name, digest))
    if properties is None:
        raise Malformed("xades.signed_properties", "the signed properties are not signed")
    if not references or len({reference.name for reference in references}) != len(references):
        raise Malformed("xades.reference_count", "no data file is signed, or one is signed twice")
    return tuple(references), properties, position


def _parse_properties_c14n(transforms: etree._Element | None) -> str:
    if transforms is None:
        return C14N_10  # XMLDSig §4.4.3.2: a node-set becomes octets by Canonical XML 1.0
    if len(transforms) != 1:
        raise Malformed("xades.transform", "the signed properties need one canonicalization and nothing else")
    return _algorithm_c14n(transforms[0], _DS["Transform"])


def _parse_key_info(key_info: etree._Element) -> tuple[bytes, ...]:
    """Certificates only: keys, names and retrieval methods in KeyInfo are never used."""
    certificates = [
        base64_of(element, code="xades", max_bytes=MAX_CERTIFICATE_BYTES)
        for data in key_info
        if data.tag == _DS["X509Data"]
        for element in data
        if element.tag == _DS["X509Certificate"]
    ]
    if len(certificates) > MAX_CERTIFICATES:
        raise Malformed("xades.certificate_count", f"{len(certificates)} certificates in KeyInfo")
    return tuple(certificates)


def _parse_certificate_references(said: _Said) -> tuple[CertificateReference, ...]:
    holder = said.find("SigningCertificateV2", "SigningCertificate")
    if holder is None:
        return ()
    references = []
    for element in holder[:MAX_CERTIFICATES]:
        if element.tag != _XADES["Cert"]:
            raise Malformed("xades.structure", "SigningCertificate holds something other than Cert")
        parts = list(element)
        if not parts or parts[0].tag != _XADES["CertDigest"] or len(parts[0]) != 2:
            raise Malformed("xades.structure", "Cert does not begin with a digest")
        hash_name, digest = _parse_digest(*parts[0])
        v2 = _optional(element, _XADES["IssuerSerialV2"]) if len(parts) > 1 else None
        v1 = _optional(element, _XADES["IssuerSerial"]) if len(parts) > 1 else None
        issuer_name, serial_number = None, None
        if v1 is not None:
            issuer_name = text_of(_child(v1, _DS["X509IssuerName"]), code="xades")
            serial = text_of(_child(v1, _DS["X509SerialNumber"]), code="xades", max_chars=64).strip()
            if not serial.isascii() or not serial.removeprefix("-").isdigit():
                raise Malformed("xades.value", "a serial number that is not a number")
            serial_number = int(serial)
        references.append(
            CertificateReference(
                hash_name=hash_name,
                digest=digest,
                issuer_serial_der=None if v2 is None else base64_of(v2, code="xades", max_bytes=16384),
                issuer_name=issuer_name,
                serial_number=serial_number,
            )
        )
    return tuple(references)


def _parse_roles(said: _Said) -> tuple[str, ...]:
    holder = said.find("SignerRoleV2", "SignerRole")
    claimed = None if holder is None else _optional(holder, _XADES["ClaimedRoles"])
    if claimed is None:
        return ()
    # A claimed role may be any XML; only plain text is shown.
    return tuple(text_of(role, code="xades") for role in claimed if role.tag == _XADES["ClaimedRole"] and not len(role))


def _parse_place(said: _Said) -> ProductionPlace | None:
    holder = said.find("SignatureProductionPlaceV2", "SignatureProductionPlace")
    if holder is None:
        return None

    def value(name: str) -> str | None:
        element = _optional(holder, f"{{{NS_XADES}}}{name}")
        return None if element is None else text_of(element, code="xades") or None

    return ProductionPlace(
        city=value("City"),
        street_address=value("StreetAddress"),
        state_or_province=value("StateOrProvince"),
        postal_code=value("PostalCode"),
        country_name=value("CountryName"),
    )


class _Policy(NamedTuple):
    identifier: str | None
    qualifier: str | None = None
    uri: str | None = None


def _parse_policy(said: _Said) -> _Policy:
    holder = said.find("SignaturePolicyIdentifier")
    if holder is None:
        return _Policy(None)
    if len(holder) == 1 and holder[0].tag == _XADES["SignaturePolicyImplied"]:
        return _Policy("implied")
    policy_id = _child(holder, _XADES["SignaturePolicyId"])
    element = _child(_child(policy_id, _XADES["SigPolicyId"]), _XADES["Identifier"])
    identifier = text_of(element, code="xades", max_chars=1024).strip()
    match = _POLICY_OID.fullmatch(identifier)
    place = next(policy_id.iter(_XADES["SPURI"]), None)
    uri = None if place is None else text_of(place, code="xades", max_chars=1024).strip()
    return _Policy(match.group(1) if match else identifier, element.get("Qualifier"), uri)


def _parse_media_types(about_data: etree._Element | None) -> dict[str, str]:
    found: dict[str, str] = {}
    if about_data is None:
        return found
    for element in about_data:
        if element.tag != _XADES["DataObjectFormat"]:
            continue
        reference = _attribute(element, "ObjectReference").removeprefix("#")
        media_type = _optional(element, _XADES["MimeType"])
        if reference in found:
            raise Malformed("xades.data_object_format", "two formats are given for one data file")
        if media_type is not None:
            found[reference] = text_of(media_type, code="xades", max_chars=512)
    return found


@dataclass(slots=True)
class _Unsigned:
    signature_time_stamps: tuple[EncapsulatedTimeStamp, ...] = ()
    archive_time_stamps: tuple[EncapsulatedTimeStamp, ...] = ()
    certificates_der: tuple[bytes, ...] = ()
    ocsp_der: tuple[bytes, ...] = ()
    time_stamp_ocsp_der: tuple[bytes, ...] = ()
    crls_der: tuple[bytes, ...] = ()
    time_stamp_crls_der: tuple[bytes, ...] = ()
    revocation_places: dict[bytes, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def _parse_unsigned(qualifying: etree._Element) -> _Unsigned:
    found = _Unsigned()
    if len(qualifying) < 2:
        return found
    if qualifying[1].tag != _XADES["UnsignedProperties"]:
        raise Malformed("xades.structure", "QualifyingProperties does not hold what it must")
    holder = _optional(qualifying[1], _XADES["UnsignedSignatureProperties"])
    if len(qualifying[1]) != (0 if holder is None else 1):
        raise Malformed("xades.structure", "UnsignedProperties holds something other than signature properties")
    for place, element in enumerate(() if holder is None else holder):
        tag = element.tag
        if tag == _SIGNATURE_TIME_STAMP:
            found.signature_time_stamps += (_parse_time_stamp(element, place),)
        elif tag == _ARCHIVE_TIME_STAMP:
            found.archive_time_stamps += (_parse_time_stamp(element, place),)
        elif tag in (_CERTIFICATE_VALUES, _REVOCATION_VALUES):
            ocsp_count, crl_count = len(found.ocsp_der), len(found.crls_der)
            _parse_values(element, found)
            for value_der in (*found.ocsp_der[ocsp_count:], *found.crls_der[crl_count:]):
                found.revocation_places.setdefault(value_der, place)
        elif tag == _TIME_STAMP_VALIDATION_DATA:
            for values in element:
                _parse_values(values, found, about_time_stamps=True)
        else:
            found.unknown += (_local(element),)
    stamps = (found.signature_time_stamps, found.archive_time_stamps)
    listed = (found.certificates_der, found.ocsp_der, found.time_stamp_ocsp_der)
    lists = (found.crls_der, found.time_stamp_crls_der)
    if max(map(len, stamps)) > MAX_TIME_STAMPS or max(map(len, listed + lists)) > MAX_CERTIFICATES:
        raise Malformed("xades.value_count", "more validation values than are read")
    return found


def _parse_values(element: etree._Element, found: _Unsigned, *, about_time_stamps: bool = False) -> None:
    """CertificateValues and RevocationValues, of the signature or of its time-stamps (EN 319 132-1 §5.4, §5.5)."""
    if element.tag == _CERTIFICATE_VALUES:
        found.certificates_der += _encapsulated(element, "EncapsulatedX509Certificate", MAX_CERTIFICATE_BYTES)
    elif element.tag == _REVOCATION_VALUES:
        for values in element:
            if values.tag == _XADES["OCSPValues"]:
                responses = _encapsulated(values, "EncapsulatedOCSPValue", MAX_TOKEN_BYTES)
                if about_time_stamps:
                    found.time_stamp_ocsp_der += responses
                else:
                    found.ocsp_der += responses
            elif values.tag == _XADES["CRLValues"]:
                lists = _encapsulated(values, "EncapsulatedCRLValue", MAX_XML_BYTES)
                if about_time_stamps:
                    found.time_stamp_crls_der += lists
                else:
                    found.crls_der += lists
    else:
        found.unknown += (_local(element),)


def _encapsulated(holder: etree._Element, name: str, max_bytes: int) -> tuple[bytes, ...]:
    tag = _XADES[name]
    found: list[bytes] = []
    for element in holder:
        if element.tag == tag:
            if element.get("Encoding", _ENCODING_DER) != _ENCODING_DER:
                raise Malformed("xades.encoding", "validation data in an encoding other than DER")
            found.append(base64_of(element, code="xades", max_bytes=max_bytes))
    return tuple(found)


def _parse_time_stamp(element: etree._Element, place: int) -> EncapsulatedTimeStamp:
    children = list(element)
    c14n = C14N_10  # EN 319 132-1 §4.5: when the method is absent
    if children and children[0].tag == _DS["CanonicalizationMethod"]:
        c14n = _algorithm_c14n(children.pop(0), _DS["CanonicalizationMethod"])
    if len(children) != 1 or children[0].tag != _XADES["EncapsulatedTimeStamp"]:
        raise Malformed("xades.time_stamp", "a time-stamp property holds exactly one token, and no Include")
    token_der = base64_of(children[0], code="xades", max_bytes=MAX_TOKEN_BYTES)
    return EncapsulatedTimeStamp(token_der=token_der, c14n=c14n, element=element, place=place)


def parse_date_time(text: str) -> datetime:
    """xsd:dateTime as aware UTC; without a zone it is read as UTC.

    Raises: Malformed `xades.date_time`.
    """
    text = text.strip()
    if _PLAIN_DATE_TIME.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError as error:
            raise Malformed("xades.date_time", "no such date and time") from error
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise Malformed("xades.date_time", "not a date and time")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        local = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second),
            int((fraction or "0").ljust(9, "0")) // 1000,
            tzinfo=UTC,
        )
        if zone and zone != "Z":
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
            local = local - offset if zone[0] == "+" else local + offset
    except (ValueError, OverflowError) as error:
        raise Malformed("xades.date_time", "no such date and time") from error
    return local
