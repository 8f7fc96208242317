"""Trusted lists (ETSI TS 119 612 V2.1.1 as TLv5, V2.3.1 as TLv6): read, verify, look up at a time, build, sign.

A list is believed only after `verify_trusted_list` with pinned signer certificates; lists of lists bring the pins of
the lists that they point to. Not supported: lists signed by a key that is only named by a chain, and digital identities
without a certificate (services so named are listed but never trusted).
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from digiid.formats.hardened_xml import (
    C14N_10,
    C14N_EXCLUSIVE,
    base64_of,
    canonicalize,
    canonicalize_root_without,
    check_no_foreign_nodes,
    escape_attribute,
    escape_text,
    is_c14n,
    parse_xml,
    text_of,
)
from digiid.formats.x509.parts import CertificateParts, load_certificate, names_match, parts_of
from digiid.formats.x509.path import TrustAnchors
from digiid.formats.xades.algorithms import (
    DIGEST_METHODS,
    DIGEST_URIS,
    SIGNATURE_METHODS,
    choose_method,
    hash_bytes,
    sign_digest,
    verify_value,
)
from digiid.formats.xades.parse import TYPE_SIGNED_PROPERTIES, parse_date_time
from digiid.kernel.errors import Malformed, Refused

NS_TSL: Final = "http://uri.etsi.org/02231/v2#"
NS_QUALIFICATIONS: Final = "http://uri.etsi.org/TrstSvc/SvcInfoExt/eSigDir-1999-93-EC-TrustedList/#"
NS_ADDITIONAL: Final = "http://uri.etsi.org/02231/v2/additionaltypes#"
NS_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
NS_XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
NS_XML: Final = "http://www.w3.org/XML/1998/namespace"

TYPE_LIST_OF_LISTS: Final = "http://uri.etsi.org/TrstSvc/TrustedList/TSLType/EUlistofthelists"
TYPE_GENERIC: Final = "http://uri.etsi.org/TrstSvc/TrustedList/TSLType/EUgeneric"
ID_TSL_KP_SIGNING: Final = "0.4.0.2231.3.0"  # TS 119 612 §5.7.1

_SERVICE: Final = "http://uri.etsi.org/TrstSvc/Svctype/"
CA_QC: Final = _SERVICE + "CA/QC"
TSA_QTST: Final = _SERVICE + "TSA/QTST"
OCSP_QC: Final = _SERVICE + "Certstatus/OCSP/QC"
OCSP: Final = _SERVICE + "Certstatus/OCSP"

_STATUS: Final = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/"
GRANTED: Final = _STATUS + "granted"
WITHDRAWN: Final = _STATUS + "withdrawn"
# TS 119 612 §5.5.4 and, for the time before eIDAS, annex J: what counts as granted.
_ON: Final = frozenset(
    base + name
    for base in (_STATUS, "http://uri.etsi.org/TrstSvc/Svcstatus/eSigDir-1999-93-EC-TrustedList/Svcstatus/")
    for name in (
        "granted",
        "recognisedatnationallevel",
        "undersupervision",
        "supervisionincessation",
        "accredited",
        "setbynationallaw",
    )
)
_QUALIFIER: Final = "http://uri.etsi.org/TrstSvc/TrustedList/SvcInfoExt/"

MAX_LIST_BYTES: Final = 20 * 1024 * 1024
_MAX_CERTIFICATE_BYTES: Final = 64 * 1024
_VERSIONS: Final = (5, 6)


@dataclass(frozen=True, slots=True)
class Criteria:
    """A CriteriaList (TS 119 612 §5.5.9.2.2): which certificates a qualifier is about."""

    mode: str  # all, atLeastOne, none
    key_usages: tuple[tuple[tuple[str, bool], ...], ...]
    policy_sets: tuple[tuple[str, ...], ...]
    nested: tuple["Criteria", ...]
    has_unknown: bool


@dataclass(frozen=True, slots=True)
class Qualification:
    """Short names of qualifiers (`QCWithQSCD`) for the certificates that meet the criteria."""

    qualifiers: tuple[str, ...]
    criteria: Criteria


@dataclass(frozen=True, slots=True)
class ServicePeriod:
    """What a service was from `starting_at` until the next period began."""

    service_type: str
    status: str
    starting_at: datetime
    qualifications: tuple[Qualification, ...] = ()
    additional: tuple[str, ...] = ()

    @property
    def is_granted(self) -> bool:
        return self.status in _ON


@dataclass(frozen=True, slots=True)
class TrustService:
    """One service; `periods` newest first."""

    provider_name: str
    name: str
    certificates_der: tuple[bytes, ...] = field(repr=False)
    periods: tuple[ServicePeriod, ...]
    territory: str = ""

    def period_at(self, at: datetime) -> ServicePeriod | None:
        """The period that `at` lies in; None before the first."""
        return next((period for period in self.periods if period.starting_at <= at), None)

    def was_ever(self, service_type: str) -> bool:
        return any(period.service_type == service_type for period in self.periods)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Another list: where it is, whose it is, and who signs it."""

    location: str
    territory: str | None
    list_type: str | None
    signers_der: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrustedList:
    """A parsed list."""

    version: int
    sequence_number: int
    list_type: str
    territory: str
    operator_name: str
    scheme_name: str
    issued_at: datetime
    next_update_at: datetime | None
    pointers: tuple[Pointer, ...]
    services: tuple[TrustService, ...]


@dataclass(frozen=True, slots=True)
class VerifiedTrustedList:
    """A list whose signature was made by one of the pinned signers over the very document that was parsed."""

    content: TrustedList
    signer: x509.Certificate


# ------------------------------------------------------------------ parse


def parse_trusted_list(xml: bytes) -> TrustedList:
    """Read a list; nothing in it is verified.

    Raises: Malformed `trusted_list.…`.
    """
    return _parse_root(_parse_document(xml))


def _parse_document(xml: bytes) -> etree._Element:
    root = parse_xml(xml, code="trusted_list", max_bytes=MAX_LIST_BYTES)
    if root.tag != _t("TrustServiceStatusList"):
        raise Malformed("trusted_list.root", f"the root element is {etree.QName(root).localname}")
    check_no_foreign_nodes(root, code="trusted_list")
    return root


def _t(name: str) -> str:
    return f"{{{NS_TSL}}}{name}"


def _one(parent: etree._Element, name: str) -> etree._Element:
    found = parent.findall(_t(name))
    if len(found) != 1:
        raise Malformed("trusted_list.structure", f"{len(found)} elements {name} in {etree.QName(parent).localname}")
    return found[0]


def _maybe(parent: etree._Element, name: str) -> etree._Element | None:
    found = parent.findall(_t(name))
    if len(found) > 1:
        raise Malformed("trusted_list.structure", f"{len(found)} elements {name} in {etree.QName(parent).localname}")
    return found[0] if found else None


def _text(parent: etree._Element, name: str) -> str:
    return text_of(_one(parent, name), code="trusted_list").strip()


def _number(parent: etree._Element, name: str) -> int:
    text = _text(parent, name)
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Malformed("trusted_list.structure", f"{name} is not a number")
    return int(text)


def _name(parent: etree._Element, name: str) -> str:
    """The English name, else the first."""
    names = _one(parent, name).findall(_t("Name"))
    if not names:
        raise Malformed("trusted_list.structure", f"{name} without a name")
    english = [element for element in names if element.get(f"{{{NS_XML}}}lang", "").lower() == "en"]
    return text_of((english or names)[0], code="trusted_list").strip()


def _parse_root(root: etree._Element) -> TrustedList:
    scheme = _one(root, "SchemeInformation")
    version = _number(scheme, "TSLVersionIdentifier")
    if version not in _VERSIONS:
        raise Malformed("trusted_list.version", f"version {version}; 5 and 6 are read")
    territory = _text(scheme, "SchemeTerritory")
    next_update = _one(scheme, "NextUpdate")
    moment = _maybe(next_update, "dateTime")
    pointers = _maybe(scheme, "PointersToOtherTSL")
    providers = _maybe(root, "TrustServiceProviderList")
    return TrustedList(
        version=version,
        sequence_number=_number(scheme, "TSLSequenceNumber"),
        list_type=_text(scheme, "TSLType"),
        territory=territory,
        operator_name=_name(scheme, "SchemeOperatorName"),
        scheme_name=_name(scheme, "SchemeName"),
        issued_at=parse_date_time(_text(scheme, "ListIssueDateTime")),
        # TS 119 612 §5.3.15: empty in a closed list
        next_update_at=None if moment is None else parse_date_time(text_of(moment, code="trusted_list")),
        pointers=() if pointers is None else tuple(map(_parse_pointer, pointers.findall(_t("OtherTSLPointer")))),
        services=()
        if providers is None
        else tuple(
            _parse_service(service, _name(_one(provider, "TSPInformation"), "TSPName"), territory)
            for provider in providers.findall(_t("TrustServiceProvider"))
            for service in _one(provider, "TSPServices").findall(_t("TSPService"))
        ),
    )


def _parse_identities(holder: etree._Element) -> tuple[bytes, ...]:
    return tuple(
        base64_of(element, code="trusted_list", max_bytes=_MAX_CERTIFICATE_BYTES)
        for identity in holder.findall(_t("DigitalId"))
        for element in identity.findall(_t("X509Certificate"))
    )


def _parse_pointer(pointer: etree._Element) -> Pointer:
    identities = _maybe(pointer, "ServiceDigitalIdentities")
    additional = _maybe(pointer, "AdditionalInformation")
    facts: dict[str, str] = {}
    for information in () if additional is None else additional.findall(_t("OtherInformation")):
        for element in information:
            if element.tag in (_t("SchemeTerritory"), _t("TSLType")):
                facts[etree.QName(element).localname] = text_of(element, code="trusted_list").strip()
    return Pointer(
        location=_text(pointer, "TSLLocation"),
        territory=facts.get("SchemeTerritory"),
        list_type=facts.get("TSLType"),
        signers_der=()
        if identities is None
        else tuple(
            der for identity in identities.findall(_t("ServiceDigitalIdentity")) for der in _parse_identities(identity)
        ),
    )


def _parse_service(service: etree._Element, provider_name: str, territory: str) -> TrustService:
    current = _one(service, "ServiceInformation")
    history = _maybe(service, "ServiceHistory")
    periods = [_parse_period(current)]
    periods += [
        _parse_period(past) for past in (() if history is None else history.findall(_t("ServiceHistoryInstance")))
    ]
    periods.sort(key=lambda period: period.starting_at, reverse=True)
    return TrustService(
        provider_name=provider_name,
        name=_name(current, "ServiceName"),
        certificates_der=_parse_identities(_one(current, "ServiceDigitalIdentity")),
        periods=tuple(periods),
        territory=territory,
    )


def _parse_period(information: etree._Element) -> ServicePeriod:
    extensions = _maybe(information, "ServiceInformationExtensions")
    qualifications: list[Qualification] = []
    additional: list[str] = []
    for extension in () if extensions is None else extensions.findall(_t("Extension")):
        for element in extension:
            if element.tag == f"{{{NS_QUALIFICATIONS}}}Qualifications":
                qualifications += map(_parse_qualification, element)
            elif element.tag == _t("AdditionalServiceInformation"):
                additional.append(_text(element, "URI").rpartition("/")[2])
    return ServicePeriod(
        service_type=_text(information, "ServiceTypeIdentifier"),
        status=_text(information, "ServiceStatus").rstrip("/"),
        starting_at=parse_date_time(_text(information, "StatusStartingTime")),
        qualifications=tuple(qualifications),
        additional=tuple(additional),
    )


def _parse_qualification(element: etree._Element) -> Qualification:
    prefix = f"{{{NS_QUALIFICATIONS}}}"
    qualifiers, criteria = element.find(prefix + "Qualifiers"), element.find(prefix + "CriteriaList")
    if element.tag != prefix + "QualificationElement" or qualifiers is None or criteria is None:
        raise Malformed("trusted_list.structure", "a qualification without qualifiers or criteria")
    return Qualification(
        qualifiers=tuple(child.get("uri", "").rpartition("/")[2] for child in qualifiers),
        criteria=_parse_criteria(criteria, depth=0),
    )


def _parse_criteria(element: etree._Element, *, depth: int) -> Criteria:
    if depth > 8:
        raise Malformed("trusted_list.structure", "criteria nested too deep")
    prefix = f"{{{NS_QUALIFICATIONS}}}"
    usages: list[tuple[tuple[str, bool], ...]] = []
    policies: list[tuple[str, ...]] = []
    nested: list[Criteria] = []
    has_unknown = False
    for child in element:
        if child.tag == prefix + "KeyUsage":
            usages.append(
                tuple((bit.get("name", ""), (bit.text or "").strip() in ("true", "1")) for bit in child),
            )
        elif child.tag == prefix + "PolicySet":
            identifiers = child.iterfind(f"{prefix}PolicyIdentifier/{{{NS_XADES}}}Identifier")
            policies.append(
                tuple(text_of(i, code="trusted_list").strip().removeprefix("urn:oid:") for i in identifiers)
            )
        elif child.tag == prefix + "CriteriaList":
            nested.append(_parse_criteria(child, depth=depth + 1))
        elif child.tag != prefix + "Description":
            has_unknown = True
    return Criteria(
        mode=element.get("assert", "all"),
        key_usages=tuple(usages),
        policy_sets=tuple(policies),
        nested=tuple(nested),
        has_unknown=has_unknown,
    )


# ------------------------------------------------------------------ verify


def verify_trusted_list(xml: bytes, *, signers: Sequence[x509.Certificate]) -> VerifiedTrustedList:
    """Verify the enveloped signature (TS 119 612 §5.7, annex B) with one of the pinned certificates, byte for byte.

    Whether the list is still current is another question: `check_current`.

    Raises:
        Malformed: `trusted_list.…`.
        Refused: `trusted_list.unsigned`, `.signer` (not a pinned one), `.digest`, `.signature_value`, `.reference`.
    """
    root = _parse_document(xml)
    # 1 exactly one signature, a child of the document element
    signatures = root.findall(f"{{{NS_DS}}}Signature")
    if not signatures:
        raise Refused("trusted_list.unsigned", "the list is not signed")
    if len(signatures) > 1:
        raise Refused("trusted_list.reference", "the list has more than one signature")
    signature = signatures[0]
    signed_info = _ds(signature, "SignedInfo")

    # 2 by a pinned signer
    wanted = {certificate.public_bytes(Encoding.DER): certificate for certificate in signers}
    found = [
        base64_of(element, code="trusted_list", max_bytes=_MAX_CERTIFICATE_BYTES)
        for element in signature.iterfind(f"{{{NS_DS}}}KeyInfo/{{{NS_DS}}}X509Data/{{{NS_DS}}}X509Certificate")
    ]
    signer = next((wanted[der] for der in found if der in wanted), None)
    if signer is None:
        raise Refused("trusted_list.signer", "the list is not signed by a certificate that was named for it")

    # 3 the value over SignedInfo
    c14n = _algorithm(signed_info, "CanonicalizationMethod")
    method = SIGNATURE_METHODS.get(_algorithm(signed_info, "SignatureMethod"))
    if not is_c14n(c14n) or method is None or method.hash_name == "sha1":
        raise Refused("trusted_list.algorithm", "the list is signed by an algorithm that is not accepted")
    value = base64_of(_ds(signature, "SignatureValue"), code="trusted_list", max_bytes=2048)
    digest = hash_bytes(method.hash_name, canonicalize(signed_info, c14n))
    try:
        key = signer.public_key()
    except ValueError as error:
        raise Refused("trusted_list.signer", "the signer's key cannot be read") from error
    try:
        verify_value(method, key, value, digest=digest)
    except Refused as error:
        raise Refused("trusted_list.signature_value", "the list's signature does not verify") from error

    # 4 SignedInfo covers the whole document, and the signed properties when there are some
    document_transforms: tuple[str, str, bytes] | None = None
    for reference in signed_info.findall(f"{{{NS_DS}}}Reference"):
        hash_name = DIGEST_METHODS.get(_algorithm(reference, "DigestMethod"))
        expected = base64_of(_ds(reference, "DigestValue"), code="trusted_list", max_bytes=64)
        if hash_name is None or hash_name == "sha1":
            raise Refused("trusted_list.algorithm", "a reference is hashed by an algorithm that is not accepted")
        transforms = [
            element.get("Algorithm", "")
            for element in reference.iterfind(f"{{{NS_DS}}}Transforms/{{{NS_DS}}}Transform")
        ]
        if reference.get("Type") == TYPE_SIGNED_PROPERTIES:
            _check_properties(signature, reference.get("URI", ""), transforms, hash_name, expected)
            continue
        if reference.get("URI") not in ("", f"#{root.get('Id')}") or document_transforms is not None:
            raise Refused("trusted_list.reference", "a reference to something other than the whole list")
        if transforms[:1] != [NS_DS + "enveloped-signature"] or len(transforms) > 2:
            raise Refused("trusted_list.reference", "the list is not signed as an enveloped signature")
        document_c14n = transforms[1] if len(transforms) == 2 else C14N_10
        if not is_c14n(document_c14n):
            raise Refused("trusted_list.algorithm", "an unknown canonicalization")
        document_transforms = document_c14n, hash_name, expected
    if document_transforms is None:
        raise Refused("trusted_list.reference", "the signature does not cover the list")
    document_c14n, hash_name, expected = document_transforms
    document = canonicalize_root_without(root, signature, document_c14n)
    if not hmac.compare_digest(hash_bytes(hash_name, document), expected):
        raise Refused("trusted_list.digest", "the list was changed after it was signed")

    # 5 what is returned is read from the very tree that was hashed
    return VerifiedTrustedList(content=_parse_root(root), signer=signer)


def _ds(parent: etree._Element, name: str) -> etree._Element:
    found = parent.findall(f"{{{NS_DS}}}{name}")
    if len(found) != 1:
        raise Malformed("trusted_list.structure", f"{len(found)} elements {name} in {etree.QName(parent).localname}")
    return found[0]


def _algorithm(parent: etree._Element, name: str) -> str:
    element = _ds(parent, name)
    if len(element):
        raise Refused("trusted_list.algorithm", f"{name} with parameters")
    return element.get("Algorithm", "")


def _check_properties(
    signature: etree._Element, uri: str, transforms: list[str], hash_name: str, expected: bytes
) -> None:
    path = f"{{{NS_DS}}}Object/{{{NS_XADES}}}QualifyingProperties/{{{NS_XADES}}}SignedProperties"
    found = signature.findall(path)
    if len(found) != 1 or uri != f"#{found[0].get('Id')}" or len(transforms) > 1:
        raise Refused("trusted_list.reference", "the reference to the signed properties is wrong")
    c14n = transforms[0] if transforms else C14N_10
    if not is_c14n(c14n):
        raise Refused("trusted_list.algorithm", "an unknown canonicalization")
    if not hmac.compare_digest(hash_bytes(hash_name, canonicalize(found[0], c14n)), expected):
        raise Refused("trusted_list.digest", "the signed properties of the list were changed")


def check_current(verified: VerifiedTrustedList, *, at: datetime) -> None:
    """The list has not run out (TS 119 612 §5.3.15).

    Raises: Refused `trusted_list.expired`, `trusted_list.not_yet`.
    """
    content = verified.content
    if content.next_update_at is None or content.next_update_at < at:
        raise Refused("trusted_list.expired", f"list {content.territory} {content.sequence_number} has run out")
    if content.issued_at > at:
        raise Refused("trusted_list.not_yet", f"list {content.territory} {content.sequence_number} is from the future")


def resolve_trusted_lists(
    documents: Sequence[bytes], *, signers: Sequence[x509.Certificate], at: datetime
) -> tuple[VerifiedTrustedList, ...]:
    """Verify several lists that may point to one another: `signers` are pinned for the first ones, a verified list of
    lists pins the signers of those that it points to (by territory). Every document must be verified in the end.

    Raises:
        Malformed: `trusted_list.…`.
        Refused: `trusted_list.…`, for the first document that nobody vouches for, is changed, or has run out.
    """
    waiting = [(document, parse_trusted_list(document)) for document in documents]
    verified: list[VerifiedTrustedList] = []
    pins: list[tuple[str | None, x509.Certificate]] = [(None, certificate) for certificate in signers]
    while waiting:
        progress = False
        problem: Refused | None = None
        for item in list(waiting):
            document, unverified = item
            usable = [pin for territory, pin in pins if territory in (None, unverified.territory)]
            try:
                result = verify_trusted_list(document, signers=usable)
            except Refused as error:
                if error.code != "trusted_list.signer":
                    raise
                problem = problem or error
                continue
            check_current(result, at=at)
            verified.append(result)
            waiting.remove(item)
            progress = True
            if result.content.list_type == TYPE_LIST_OF_LISTS:
                pins += _pins(result.content.pointers)
        if not progress and problem is not None:
            raise problem
    return tuple(verified)


def _pins(pointers: Iterable[Pointer]) -> list[tuple[str | None, x509.Certificate]]:
    found: list[tuple[str | None, x509.Certificate]] = []
    for pointer in pointers:
        if pointer.territory is None:  # a pin for every territory is what --tl-cert is for, not a pointer
            continue
        for der in pointer.signers_der:
            try:
                found.append((pointer.territory, x509.load_der_x509_certificate(der)))
            except (ValueError, x509.InvalidVersion) as error:
                raise Malformed("trusted_list.certificate", "a pointer's certificate cannot be read") from error
    return found


# ------------------------------------------------------------------ look up


@dataclass(frozen=True, slots=True)
class ServiceCertificate:
    """One digital identity of a listed service."""

    service: TrustService
    certificate: x509.Certificate
    der: bytes = field(repr=False)
    parts: CertificateParts = field(repr=False)
    key_identifier: bytes | None
    anchors: TrustAnchors = field(repr=False, compare=False)


class VerifiedTrust:
    """The services of verified, current lists, to be asked who was trusted for what, and when.

    A listed certificate that cannot be read is never trusted; its service is counted in `unreadable`.
    """

    def __init__(self, lists: Sequence[VerifiedTrustedList], *, at: datetime) -> None:
        """Raises: Refused `trusted_list.expired`, `trusted_list.not_yet`."""
        self.lists = tuple(lists)
        self.unreadable = 0
        self._by_subject: dict[bytes, list[ServiceCertificate]] = {}
        self._by_der: dict[bytes, list[ServiceCertificate]] = {}
        self.known: dict[bytes, tuple[x509.Certificate, CertificateParts]] = {}  # what need not be read again
        for verified in lists:
            check_current(verified, at=at)
            for service in verified.content.services:
                for der in service.certificates_der:
                    self._add(service, der)
        listed = (item for items in self._by_der.values() for item in items)
        responders = [item for item in listed if item.service.was_ever(OCSP_QC) or item.service.was_ever(OCSP)]
        self.responders: tuple[x509.Certificate, ...] = tuple(item.certificate for item in responders)

    def _add(self, service: TrustService, der: bytes) -> None:
        try:
            certificate = load_certificate(der)
            parts = parts_of(certificate)
            item = ServiceCertificate(
                service=service,
                certificate=certificate,
                der=der,
                parts=parts,
                key_identifier=parts.subject_key_identifier(),
                anchors=TrustAnchors([certificate]),
            )
        except Malformed:
            self.unreadable += 1
            return
        self._by_subject.setdefault(parts.subject_der, []).append(item)
        self._by_der.setdefault(der, []).append(item)
        self.known[der] = (certificate, parts)

    def check_current(self, *, at: datetime) -> None:
        """Raises: Refused `trusted_list.expired`, `trusted_list.not_yet`."""
        for verified in self.lists:
            check_current(verified, at=at)

    def find_issuers(
        self, issuer_name_der: bytes, *, key_identifier: bytes | None, service_type: str
    ) -> list[ServiceCertificate]:
        """Listed certificates that bear the issuer's name, and its key identifier when both sides have one."""
        named = self._by_subject.get(issuer_name_der)
        if named is None:  # the same name in another encoding
            named = [
                item
                for subject_der, items in self._by_subject.items()
                if names_match(subject_der, issuer_name_der)
                for item in items
            ]
        return [
            item
            for item in named
            if item.service.was_ever(service_type)
            and (key_identifier is None or item.key_identifier is None or item.key_identifier == key_identifier)
        ]

    def find_services(self, certificate_der: bytes, *, service_type: str) -> list[ServiceCertificate]:
        """Services whose listed identity is this very certificate."""
        return [item for item in self._by_der.get(certificate_der, ()) if item.service.was_ever(service_type)]

    def was_responder(self, certificate_der: bytes, *, at: datetime) -> bool:
        """True if the certificate was listed as that of a granted OCSP service at that time."""
        return any(granted_period(item.service, (OCSP_QC, OCSP), at) for item in self._by_der.get(certificate_der, ()))


def granted_period(service: TrustService, service_types: Sequence[str], at: datetime) -> ServicePeriod | None:
    """The service's period at `at` if it was granted as one of these types then."""
    period = service.period_at(at)
    return period if period is not None and period.is_granted and period.service_type in service_types else None


_KEY_USAGE_BITS: Final = {
    "digitalSignature": 0,
    "nonRepudiation": 1,
    "keyEncipherment": 2,
    "dataEncipherment": 3,
    "keyAgreement": 4,
    "keyCertSign": 5,
    "crlSign": 6,
    "encipherOnly": 7,
    "decipherOnly": 8,
}


def qualifiers_for(period: ServicePeriod, *, key_usage: frozenset[int], policies: Sequence[str]) -> frozenset[str]:
    """The qualifiers that the list gives to a certificate with these key usage bits and policies (§5.5.9.2)."""
    return frozenset(
        qualifier
        for qualification in period.qualifications
        if _meets(qualification.criteria, key_usage, policies)
        for qualifier in qualification.qualifiers
    )


def _meets(criteria: Criteria, key_usage: frozenset[int], policies: Sequence[str]) -> bool:
    results = [
        all((_KEY_USAGE_BITS.get(name) in key_usage) == wanted for name, wanted in bits) for bits in criteria.key_usages
    ]
    results += [all(policy in policies for policy in wanted) for wanted in criteria.policy_sets]
    results += [_meets(nested, key_usage, policies) for nested in criteria.nested]
    if criteria.has_unknown:
        results.append(False)  # a criterion that is not understood is not met
    if criteria.mode == "atLeastOne":
        return any(results)
    if criteria.mode == "none":
        return not any(results) and not criteria.has_unknown
    return bool(results) and all(results)


# ------------------------------------------------------------------ build and sign


@dataclass(frozen=True, slots=True)
class PostalAddress:
    street: str
    locality: str
    postal_code: str
    country: str


@dataclass(frozen=True, slots=True)
class ListedPeriod:
    status: str
    starting_at: datetime


@dataclass(frozen=True, slots=True)
class ListedService:
    """A service to be listed; `history` are earlier periods, newest first."""

    service_type: str
    name: str
    certificate: x509.Certificate
    status: str
    starting_at: datetime
    history: tuple[ListedPeriod, ...] = ()
    additional: tuple[str, ...] = ()  # ForeSignatures, ForeSeals, ForWebSiteAuthentication


@dataclass(frozen=True, slots=True)
class ListedProvider:
    name: str
    trade_name: str
    address: PostalAddress
    electronic_address: str
    information_uri: str
    services: tuple[ListedService, ...]


@dataclass(frozen=True, slots=True)
class ListedPointer:
    location: str
    territory: str
    operator_name: str
    signers: tuple[x509.Certificate, ...]
    list_type: str = TYPE_GENERIC


@dataclass(frozen=True, slots=True)
class ListContent:
    """Everything that `build_trusted_list` writes. A list of our own says TEST in its scheme's name."""

    sequence_number: int
    territory: str
    operator_name: str
    address: PostalAddress
    electronic_address: str
    scheme_name: str
    information_uri: str
    legal_notice: str
    issued_at: datetime
    next_update_at: datetime
    distribution_point: str
    providers: tuple[ListedProvider, ...] = ()
    pointers: tuple[ListedPointer, ...] = ()
    list_type: str = TYPE_GENERIC
    version: int = 6
    community_rule: str = "http://uri.etsi.org/TrstSvc/TrustedList/schemerules/EUcommon"


def build_trusted_list(content: ListContent) -> bytes:
    """The unsigned list in the order of the schema of TS 119 612, canonical from the start.

    Raises:
        Refused: `trusted_list.not_test`, the scheme's name does not say TEST.
        Malformed: `xml.character`.
    """
    if "TEST" not in content.scheme_name:
        raise Refused("trusted_list.not_test", "a list made by this program says TEST in its scheme's name")
    is_lotl = content.list_type == TYPE_LIST_OF_LISTS
    approach = "http://uri.etsi.org/TrstSvc/TrustedList/StatusDetn/" + (
        "EUlistofthelists" if is_lotl else "EUappropriate"
    )
    pointers = "".join(map(_pointer_xml, content.pointers))
    scheme = (
        f"{_tag('TSLVersionIdentifier', str(content.version))}"
        f"{_tag('TSLSequenceNumber', str(content.sequence_number))}"
        f"{_tag('TSLType', content.list_type)}"
        f"<SchemeOperatorName>{_named(content.operator_name)}</SchemeOperatorName>"
        f"<SchemeOperatorAddress>{_address_xml(content.address, content.electronic_address)}</SchemeOperatorAddress>"
        f"<SchemeName>{_named(content.scheme_name)}</SchemeName>"
        f"<SchemeInformationURI>{_uri(content.information_uri)}</SchemeInformationURI>"
        f"{_tag('StatusDeterminationApproach', approach)}"
        f"<SchemeTypeCommunityRules>{_uri(content.community_rule)}</SchemeTypeCommunityRules>"
        f"{_tag('SchemeTerritory', content.territory)}"
        f'<PolicyOrLegalNotice><TSLLegalNotice xml:lang="en">{escape_text(content.legal_notice)}</TSLLegalNotice>'
        "</PolicyOrLegalNotice>"
        f"{_tag('HistoricalInformationPeriod', '65535')}"
        + (f"<PointersToOtherTSL>{pointers}</PointersToOtherTSL>" if pointers else "")
        + f"{_tag('ListIssueDateTime', _time(content.issued_at))}"
        f"<NextUpdate>{_tag('dateTime', _time(content.next_update_at))}</NextUpdate>"
        f"<DistributionPoints>{_tag('URI', content.distribution_point)}</DistributionPoints>"
    )
    providers = "".join(map(_provider_xml, content.providers))
    return (
        f'<TrustServiceStatusList xmlns="{NS_TSL}" Id="TL-{escape_attribute(content.territory)}" '
        'TSLTag="http://uri.etsi.org/19612/TSLTag">'
        f"<SchemeInformation>{scheme}</SchemeInformation>"
        + (f"<TrustServiceProviderList>{providers}</TrustServiceProviderList>" if providers else "")
        + "</TrustServiceStatusList>"
    ).encode()


def sign_trusted_list(
    xml: bytes, *, key: PrivateKeyTypes, certificate: x509.Certificate, claimed_signing_at: datetime | None = None
) -> bytes:
    """Add the enveloped signature (XAdES-B when a signing time is given) to a list of `build_trusted_list`.

    Raises: Refused `xades.key`, `xades.key_mismatch`; Malformed `trusted_list.…`.
    """
    root = _parse_document(xml)
    method = choose_method(certificate.public_key())
    certificate_der = certificate.public_bytes(Encoding.DER)
    digest_method = f'<ds:DigestMethod Algorithm="{DIGEST_URIS["sha256"]}"></ds:DigestMethod>'
    c14n = f'<ds:Transform Algorithm="{C14N_EXCLUSIVE}"></ds:Transform>'

    def digest_of(data: bytes) -> str:
        return f"{digest_method}<ds:DigestValue>{_b64(hashlib.sha256(data).digest())}</ds:DigestValue>"

    document = etree.tostring(root, method="c14n", exclusive=True, with_comments=False)
    references = (
        f'<ds:Reference Id="TL-RefId0" URI=""><ds:Transforms><ds:Transform Algorithm="{NS_DS}enveloped-signature">'
        f"</ds:Transform>{c14n}</ds:Transforms>{digest_of(document)}</ds:Reference>"
    )
    properties = ""
    if claimed_signing_at is not None:
        # Exclusive canonicalization puts each namespace where it is first used, so that is where it is written.
        reference = digest_of(certificate_der).replace("<ds:DigestMethod ", f'<ds:DigestMethod xmlns:ds="{NS_DS}" ', 1)
        reference = reference.replace("<ds:DigestValue>", f'<ds:DigestValue xmlns:ds="{NS_DS}">', 1)
        properties = (
            f'<xades:SignedProperties xmlns:xades="{NS_XADES}" Id="TL-SignedProperties">'
            f"<xades:SignedSignatureProperties><xades:SigningTime>{_time(claimed_signing_at)}</xades:SigningTime>"
            "<xades:SigningCertificateV2><xades:Cert>"
            f"<xades:CertDigest>{reference}</xades:CertDigest></xades:Cert></xades:SigningCertificateV2>"
            "</xades:SignedSignatureProperties></xades:SignedProperties>"
        )
        references += (
            f'<ds:Reference Id="TL-RefId1" Type="{TYPE_SIGNED_PROPERTIES}" URI="#TL-SignedProperties"><ds:Transforms>'
            f"{c14n}</ds:Transforms>{digest_of(properties.encode())}</ds:Reference>"
        )
    info = (
        f'<ds:CanonicalizationMethod Algorithm="{C14N_EXCLUSIVE}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{method.uri}"></ds:SignatureMethod>{references}</ds:SignedInfo>'
    )
    signed_info = f'<ds:SignedInfo xmlns:ds="{NS_DS}">{info}'.encode()
    value = sign_digest(method, key, hash_bytes(method.hash_name, signed_info))
    data_object = (
        f'<ds:Object><xades:QualifyingProperties xmlns:xades="{NS_XADES}" Target="#TL-Signature">{properties}'
        "</xades:QualifyingProperties></ds:Object>"
        if properties
        else ""
    )
    signature = (
        f'<ds:Signature xmlns:ds="{NS_DS}" Id="TL-Signature"><ds:SignedInfo>{info}'
        f"<ds:SignatureValue>{_b64(value)}</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>"
        f"{_b64(certificate_der)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>{data_object}</ds:Signature>"
    ).encode()
    end = b"</TrustServiceStatusList>"
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + document.removesuffix(end) + signature + end


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tag(name: str, value: str) -> str:
    return f"<{name}>{escape_text(value)}</{name}>"


def _named(value: str) -> str:
    return f'<Name xml:lang="en">{escape_text(value)}</Name>'


def _uri(value: str) -> str:
    return f'<URI xml:lang="en">{escape_text(value)}</URI>'


def _address_xml(address: PostalAddress, electronic: str) -> str:
    return (
        f'<PostalAddresses><PostalAddress xml:lang="en">{_tag("StreetAddress", address.street)}'
        f"{_tag('Locality', address.locality)}{_tag('PostalCode', address.postal_code)}"
        f"{_tag('CountryName', address.country)}</PostalAddress></PostalAddresses>"
        f"<ElectronicAddress>{_uri(electronic)}</ElectronicAddress>"
    )


def _identity_xml(certificate: x509.Certificate) -> str:
    der = _b64(certificate.public_bytes(Encoding.DER))
    return f"<DigitalId><X509Certificate>{der}</X509Certificate></DigitalId>"


def _pointer_xml(pointer: ListedPointer) -> str:
    identities = "".join(
        f"<ServiceDigitalIdentity>{_identity_xml(signer)}</ServiceDigitalIdentity>" for signer in pointer.signers
    )
    facts: Mapping[str, str] = {
        "type": _tag("TSLType", pointer.list_type),
        "territory": _tag("SchemeTerritory", pointer.territory),
        "media": f'<tslx:MimeType xmlns:tslx="{NS_ADDITIONAL}">application/vnd.etsi.tsl+xml</tslx:MimeType>',
        "operator": f"<SchemeOperatorName>{_named(pointer.operator_name)}</SchemeOperatorName>",
    }
    information = "".join(f"<OtherInformation>{fact}</OtherInformation>" for fact in facts.values())
    return (
        f"<OtherTSLPointer><ServiceDigitalIdentities>{identities}</ServiceDigitalIdentities>"
        f"{_tag('TSLLocation', pointer.location)}<AdditionalInformation>{information}</AdditionalInformation>"
        "</OtherTSLPointer>"
    )


def _provider_xml(provider: ListedProvider) -> str:
    services = "".join(map(_service_xml, provider.services))
    return (
        "<TrustServiceProvider><TSPInformation>"
        f"<TSPName>{_named(provider.name)}</TSPName><TSPTradeName>{_named(provider.trade_name)}</TSPTradeName>"
        f"<TSPAddress>{_address_xml(provider.address, provider.electronic_address)}</TSPAddress>"
        f"<TSPInformationURI>{_uri(provider.information_uri)}</TSPInformationURI></TSPInformation>"
        f"<TSPServices>{services}</TSPServices></TrustServiceProvider>"
    )


def _service_xml(service: ListedService) -> str:
    additional = "".join(
        f'<Extension Critical="true"><AdditionalServiceInformation>{_uri(_QUALIFIER + name)}'
        "</AdditionalServiceInformation></Extension>"
        for name in service.additional
    )
    extensions = f"<ServiceInformationExtensions>{additional}</ServiceInformationExtensions>" if additional else ""
    identity = f"<ServiceDigitalIdentity>{_identity_xml(service.certificate)}</ServiceDigitalIdentity>"
    # §5.6.3: an earlier period names the service without its certificate
    subject = _tag("X509SubjectName", service.certificate.subject.rfc4514_string())
    history = "".join(
        "<ServiceHistoryInstance>"
        f"{_tag('ServiceTypeIdentifier', service.service_type)}<ServiceName>{_named(service.name)}</ServiceName>"
        f"<ServiceDigitalIdentity><DigitalId>{subject}</DigitalId></ServiceDigitalIdentity>"
        f"{_tag('ServiceStatus', past.status)}{_tag('StatusStartingTime', _time(past.starting_at))}"
        "</ServiceHistoryInstance>"
        for past in service.history
    )
    return (
        "<TSPService><ServiceInformation>"
        f"{_tag('ServiceTypeIdentifier', service.service_type)}<ServiceName>{_named(service.name)}</ServiceName>"
        f"{identity}{_tag('ServiceStatus', service.status)}"
        f"{_tag('StatusStartingTime', _time(service.starting_at))}{extensions}</ServiceInformation>"
        + (f"<ServiceHistory>{history}</ServiceHistory>" if history else "")
        + "</TSPService>"
    )
