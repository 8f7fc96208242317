"""A list of one's own: written in the order of the schema, canonical from the start, and signed."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from digiid.formats.hardened_xml import (
    C14N_EXCLUSIVE,
    escape_attribute,
    escape_text,
)
from digiid.formats.trusted_list.model import (
    NS_ADDITIONAL,
    NS_DS,
    NS_TSL,
    NS_XADES,
    QUALIFIERS,
    TYPE_GENERIC,
    TYPE_LIST_OF_LISTS,
)
from digiid.formats.trusted_list.parse import parse_document
from digiid.formats.xades.algorithms import (
    DIGEST_URIS,
    choose_method,
    hash_bytes,
    sign_digest,
)
from digiid.formats.xades.parse import TYPE_SIGNED_PROPERTIES
from digiid.kernel.errors import Refused


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
    pivots: tuple[str, ...] = ()  # of a list of lists: where its pivots are, newest first
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
        f"<SchemeInformationURI>{''.join(map(_uri, (*content.pivots, content.information_uri)))}</SchemeInformationURI>"
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
    """Add the enveloped signature (XAdES baseline B, EN 319 132-1 §6, when a signing time is given) to a list of
    `build_trusted_list`.

    Raises: Refused `xades.key`, `xades.key_mismatch`; Malformed `trusted_list.…`.
    """
    root = parse_document(xml)
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
            "</xades:SignedSignatureProperties><xades:SignedDataObjectProperties>"
            '<xades:DataObjectFormat ObjectReference="#TL-RefId0"><xades:MimeType>text/xml</xades:MimeType>'
            "</xades:DataObjectFormat></xades:SignedDataObjectProperties></xades:SignedProperties>"
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
        f'<Extension Critical="true"><AdditionalServiceInformation>{_uri(QUALIFIERS + name)}'
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
