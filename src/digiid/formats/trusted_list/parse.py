"""From XML to values: TS 119 612 V2.1.1 (TLv5) and V2.3.1 (TLv6), within limits. Nothing is believed yet."""

from lxml import etree

from digiid.formats.hardened_xml import (
    base64_of,
    check_no_foreign_nodes,
    parse_xml,
    text_of,
)
from digiid.formats.trusted_list.model import (
    MAX_CERTIFICATE_BYTES,
    MAX_LIST_BYTES,
    NS_QUALIFICATIONS,
    NS_TSL,
    NS_XADES,
    NS_XML,
    VERSIONS,
    Criteria,
    Pointer,
    Qualification,
    ServicePeriod,
    TrustedList,
    TrustService,
)
from digiid.formats.xades.parse import parse_date_time
from digiid.kernel.errors import Malformed


def parse_trusted_list(xml: bytes) -> TrustedList:
    """Read a list; nothing in it is verified.

    Raises: Malformed `trusted_list.…`.
    """
    return parse_root(parse_document(xml))


def parse_document(xml: bytes) -> etree._Element:
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


def parse_root(root: etree._Element) -> TrustedList:
    scheme = _one(root, "SchemeInformation")
    version = _number(scheme, "TSLVersionIdentifier")
    if version not in VERSIONS:
        raise Malformed("trusted_list.version", f"version {version}; 5 and 6 are read")
    territory = _text(scheme, "SchemeTerritory")
    next_update = _one(scheme, "NextUpdate")
    moment = _maybe(next_update, "dateTime")
    pointers = _maybe(scheme, "PointersToOtherTSL")
    providers = _maybe(root, "TrustServiceProviderList")
    information = _maybe(scheme, "SchemeInformationURI")
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
        information_uris=()
        if information is None
        else tuple(text_of(uri, code="trusted_list").strip() for uri in information.findall(_t("URI"))),
    )


def _parse_identities(holder: etree._Element) -> tuple[bytes, ...]:
    return tuple(
        base64_of(element, code="trusted_list", max_bytes=MAX_CERTIFICATE_BYTES)
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
