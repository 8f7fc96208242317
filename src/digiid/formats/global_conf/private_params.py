"""private-params.xml, and the optional parts of a configuration (pr-gconf)."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from lxml import etree

from digiid.formats.global_conf import elements as xml
from digiid.formats.global_conf.anchor import anchor_content, read_anchor
from digiid.formats.global_conf.model import Anchor, ManagementService, PrivateParams
from digiid.formats.global_conf.parties import build_party_element, parse_party_element
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import Party, check_existing_part

MAX_PRIVATE_PARAMS_BYTES: Final = 4 * 1024 * 1024
MAX_OPTIONAL_PART_BYTES: Final = 64 * 1024


def parse_private_params(data: bytes) -> PrivateParams:
    """Read private parameters. Raises: Malformed `exchange.global_conf.…`, `exchange.identifier`."""
    root = xml.parse_root(data, "conf", max_bytes=MAX_PRIVATE_PARAMS_BYTES)
    management = xml.child(root, "managementService")
    return PrivateParams(
        instance=check_existing_part(xml.text(root, "instanceIdentifier")),
        federated=tuple(_read_federated(root)),
        management=ManagementService() if management is None else _read_management(management),
        time_stamping_interval_seconds=xml.number(root, "timeStampingIntervalSeconds", default=60),
    )


def _read_federated(root: etree._Element) -> Iterator[Anchor]:
    """Other instances' anchors. One that cannot be read leads to its instance only, and stops nobody in this one."""
    for element in xml.children(root, "configurationAnchor"):
        with suppress(Malformed):
            yield read_anchor(element)


def _read_management(found: etree._Element) -> ManagementService:
    certificate = xml.child(found, "authCertRegServiceCert")
    provider = xml.child(found, "managementRequestServiceProviderId")
    return ManagementService(
        registration_address=xml.maybe_text(found, "authCertRegServiceAddress"),
        registration_certificate=None if certificate is None else xml.certificate(certificate),
        provider=None if provider is None else parse_party_element(provider),
    )


def build_private_params(params: PrivateParams) -> bytes:
    """private-params.xml. Raises: Malformed `exchange.global_conf.url`, `xml.character`."""
    management = params.management
    return xml.document(
        "conf",
        xml.element("instanceIdentifier", params.instance),
        *(xml.wrap("configurationAnchor", anchor_content(anchor)) for anchor in params.federated),
        xml.wrap(
            "managementService",
            xml.element("authCertRegServiceAddress", management.registration_address),
            xml.certificate_element("authCertRegServiceCert", management.registration_certificate),
            ""
            if management.provider is None
            else build_party_element("managementRequestServiceProviderId", management.provider),
        ),
        xml.element("timeStampingIntervalSeconds", str(params.time_stamping_interval_seconds)),
    )


# ------------------------------------------------------------------ optional parts


def parse_monitoring(data: bytes) -> Party | None:
    """MONITORING: the client that may read every server's operational data; None when there is none.

    Raises: Malformed `exchange.global_conf.…`, `exchange.identifier`.
    """
    client = xml.child(_root(data), "monitoringClient")
    found = None if client is None else xml.child(client, "monitoringClientId")
    return None if found is None else parse_party_element(found)


def parse_fetch_interval(data: bytes) -> int:
    """FETCHINTERVAL: seconds between two requests for an OCSP response. Raises: Malformed `exchange.global_conf.…`."""
    seconds = xml.number(_root(data), "ocspFetchIntervalSeconds", default=0)
    if seconds <= 0:
        raise Malformed("exchange.global_conf.value", "ocspFetchIntervalSeconds is missing or not positive")
    return seconds


def parse_next_update(data: bytes) -> bool:
    """NEXTUPDATE: whether an OCSP response past its nextUpdate is refused; true unless it says false.

    Raises: Malformed `exchange.global_conf.…`.
    """
    return xml.flag(_root(data), "verifyNextUpdate", default=True)


def build_monitoring(client: Party | None) -> bytes:
    """monitoring-params.xml."""
    inside = "" if client is None else build_party_element("monitoringClientId", client)
    return xml.document("conf", xml.wrap("monitoringClient", inside))


def build_fetch_interval(seconds: int) -> bytes:
    """fetchinterval-params.xml."""
    return xml.document("conf", xml.element("ocspFetchIntervalSeconds", str(seconds)))


def build_next_update(*, verify: bool) -> bytes:
    """nextupdate-params.xml."""
    return xml.document("conf", xml.element("verifyNextUpdate", "true" if verify else "false"))


def _root(data: bytes) -> etree._Element:
    return xml.parse_root(data, "conf", max_bytes=MAX_OPTIONAL_PART_BYTES)
