"""shared-params.xml: members, security servers, approved services (pr-gconf; X-Road's schema of version 6).

Versions 3 to 6 are read by one function, because each only adds elements. Version 2 is refused: its hashes of
certificates are SHA-1. Version 6 is written, in the order of its schema.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from lxml import etree

from digiid.formats.global_conf import elements as xml
from digiid.formats.global_conf.model import (
    DEFAULT_OCSP_FRESHNESS_SECONDS,
    AcmeServer,
    ApprovedCa,
    ApprovedTsa,
    CaInfo,
    ConfigurationSource,
    GlobalGroup,
    Member,
    MemberClass,
    OcspResponder,
    SecurityServer,
    SharedParams,
    Subsystem,
    split_address,
)
from digiid.formats.global_conf.parties import build_party_element, parse_party_element
from digiid.formats.hardened_xml import base64_of
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import MemberId, Party, ServerId, check_existing_part

MAX_SHARED_PARAMS_BYTES: Final = 16 * 1024 * 1024
MAX_AUTHORITIES: Final = 256
_SHA256_BYTES: Final = 32
_COST_TYPES: Final = ("FREE", "PAID", "UNDEFINED")
_CSR_FORMATS: Final = ("PEM", "DER")


# ------------------------------------------------------------------ reading


def parse_shared_params(data: bytes) -> SharedParams:
    """Read shared parameters of version 3 to 6.

    Raises: Malformed `exchange.global_conf.…`, also for an id that is used twice or names nobody, the same member,
        subsystem, server or group twice, one certificate hash at two servers; `exchange.identifier`.
    """
    # 1 the document
    root = xml.parse_root(data, "conf", max_bytes=MAX_SHARED_PARAMS_BYTES)
    instance = check_existing_part(xml.text(root, "instanceIdentifier"))
    settings = xml.child(root, "globalSettings")

    # 2 members, and what their ids stand for
    parties: dict[str, Party] = {}
    members = tuple(_read_member(found, instance, parties) for found in xml.children(root, "member"))
    _check_once((party for member in members for party in member.parties()), "member or subsystem")

    # 3 servers and groups, which refer to them
    servers = tuple(_read_server(found, parties) for found in xml.children(root, "securityServer"))
    _check_once((server.id for server in servers), "security server")
    _check_once((each for server in servers for each in server.auth_certificate_hashes), "certificate hash")
    groups = tuple(_read_group(found) for found in xml.children(root, "globalGroup"))
    _check_once((group.code for group in groups), "group")

    # 4 approved services
    authorities = tuple(_read_ca(found) for found in xml.children(root, "approvedCA"))
    if sum(len(one.authorities) for one in authorities) > MAX_AUTHORITIES:
        raise Malformed("exchange.global_conf.too_many", f"more than {MAX_AUTHORITIES} authorities")
    return SharedParams(
        instance=instance,
        sources=tuple(_read_source(found) for found in xml.children(root, "source")),
        approved_cas=authorities,
        approved_tsas=tuple(_read_tsa(found) for found in xml.children(root, "approvedTSA")),
        members=members,
        servers=servers,
        groups=groups,
        member_classes=() if settings is None else tuple(map(_read_class, xml.children(settings, "memberClass"))),
        ocsp_freshness_seconds=(
            DEFAULT_OCSP_FRESHNESS_SECONDS
            if settings is None
            else xml.number(settings, "ocspFreshnessSeconds", default=DEFAULT_OCSP_FRESHNESS_SECONDS)
        ),
    )


def _read_source(found: etree._Element) -> ConfigurationSource:
    return ConfigurationSource(
        address=xml.text(found, "address"),
        internal_certificates=xml.certificates(found, "internalVerificationCert"),
        external_certificates=xml.certificates(found, "externalVerificationCert"),
    )


def _read_ca(found: etree._Element) -> ApprovedCa:
    acme = xml.child(found, "acmeServer")
    return ApprovedCa(
        name=xml.text(found, "name"),
        is_authentication_only=xml.flag(found, "authenticationOnly", default=False),
        top=_read_ca_info(xml.needed(found, "topCA")),
        intermediates=tuple(map(_read_ca_info, xml.children(found, "intermediateCA"))),
        certificate_profile=xml.text(found, "certificateProfileInfo"),
        csr_format=_one_of(found, "defaultCsrFormat", _CSR_FORMATS),
        acme=None
        if acme is None
        else AcmeServer(
            directory_url=xml.text(acme, "directoryURL"),
            ip_address=xml.maybe_text(acme, "ipAddress"),
            authentication_profile_id=xml.maybe_text(acme, "authenticationCertificateProfileId"),
            signing_profile_id=xml.maybe_text(acme, "signingCertificateProfileId"),
        ),
    )


def _read_ca_info(found: etree._Element) -> CaInfo:
    return CaInfo(xml.certificate(xml.needed(found, "cert")), tuple(map(_read_ocsp, xml.children(found, "ocsp"))))


def _read_ocsp(found: etree._Element) -> OcspResponder:
    certificate = xml.child(found, "cert")
    return OcspResponder(
        url=xml.text(found, "url"),
        certificate=None if certificate is None else xml.certificate(certificate),
        cost_type=_one_of(found, "costType", _COST_TYPES),
    )


def _read_tsa(found: etree._Element) -> ApprovedTsa:
    return ApprovedTsa(
        name=xml.text(found, "name"),
        url=xml.text(found, "url"),
        certificate=xml.certificate(xml.needed(found, "cert")),
        cost_type=_one_of(found, "costType", _COST_TYPES),
    )


def _read_class(found: etree._Element) -> MemberClass:
    return MemberClass(check_existing_part(xml.text(found, "code")), xml.maybe_text(found, "description") or "")


def _read_member(found: etree._Element, instance: str, parties: dict[str, Party]) -> Member:
    in_class = _read_class(xml.needed(found, "memberClass"))
    subsystem_elements = list(xml.children(found, "subsystem"))
    member = Member(
        id=MemberId(instance, in_class.code, check_existing_part(xml.text(found, "memberCode"))),
        name=xml.text(found, "name"),
        class_description=in_class.description,
        subsystems=tuple(
            Subsystem(check_existing_part(xml.text(one, "subsystemCode")), xml.maybe_text(one, "subsystemName"))
            for one in subsystem_elements
        ),
    )
    for element, party in zip((found, *subsystem_elements), member.parties(), strict=True):
        reference = element.get("id", "")
        if not reference or reference in parties:
            raise Malformed("exchange.global_conf.reference", "an id is missing or used twice")
        parties[reference] = party
    return member


def _read_server(found: etree._Element, parties: Mapping[str, Party]) -> SecurityServer:
    owner = _referred(xml.text(found, "owner"), parties)
    if not isinstance(owner, MemberId):
        raise Malformed("exchange.global_conf.reference", "the owner of a security server is not a member")
    maintenance = xml.child(found, "inMaintenanceMode")
    return SecurityServer(
        id=ServerId(
            owner.instance,
            owner.member_class,
            owner.member_code,
            check_existing_part(xml.text(found, "serverCode")),
        ),
        address=xml.maybe_text(found, "address") or "",  # whatever it is: one server's does not stop the instance
        auth_certificate_hashes=frozenset(map(_read_hash, xml.children(found, "authCertHash"))),
        clients=frozenset(_referred(xml.content(one), parties) for one in xml.children(found, "client")),
        maintenance=None if maintenance is None else xml.maybe_text(maintenance, "message") or "",
    )


def _referred(reference: str, parties: Mapping[str, Party]) -> Party:
    party = parties.get(reference)
    if party is None:
        raise Malformed("exchange.global_conf.reference", f"nobody has the id {reference[:40]!r}")
    return party


def _read_hash(found: etree._Element) -> bytes:
    value = base64_of(found, code=xml.CODE, max_bytes=64)
    if len(value) != _SHA256_BYTES:
        raise Malformed("exchange.global_conf.hash", "the hash of an authentication certificate is not SHA-256")
    return value


def _read_group(found: etree._Element) -> GlobalGroup:
    return GlobalGroup(
        code=check_existing_part(xml.text(found, "groupCode")),
        description=xml.maybe_text(found, "description") or "",
        members=frozenset(map(parse_party_element, xml.children(found, "groupMember"))),
    )


def _one_of(parent: etree._Element, name: str, values: tuple[str, ...]) -> str | None:
    value = xml.maybe_text(parent, name)
    if value is not None and value not in values:
        raise Malformed("exchange.global_conf.value", f"{name} is none of {', '.join(values)}")
    return value


def _check_once(values: Iterable[object], what: str) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise Malformed("exchange.global_conf.twice", f"a {what} stands twice")
        seen.add(value)


# ------------------------------------------------------------------ writing


def build_shared_params(params: SharedParams) -> bytes:
    """shared-params.xml of version 6. The same parameters give the same bytes.

    Raises: Malformed `exchange.global_conf.reference`, a server's owner or client is not a member or subsystem here;
        `exchange.global_conf.address`; `xml.character`.
    """
    ids: dict[Party, str] = {}
    for member in params.members:
        for party in member.parties():
            if party in ids:
                raise Malformed("exchange.global_conf.twice", f"{party} stands twice")
            ids[party] = f"id{len(ids)}"
    return xml.document(
        "conf",
        xml.element("instanceIdentifier", params.instance),
        *map(_source, params.sources),
        *map(_ca, params.approved_cas),
        *map(_tsa, params.approved_tsas),
        *(_member(member, ids) for member in params.members),
        *(_server(server, ids) for server in params.servers),
        *map(_group, params.groups),
        xml.wrap(
            "globalSettings",
            *map(_class, params.member_classes),
            xml.element("ocspFreshnessSeconds", str(params.ocsp_freshness_seconds)),
        ),
    )


def _source(source: ConfigurationSource) -> str:
    return xml.wrap(
        "source",
        xml.element("address", source.address),
        xml.certificate_elements("internalVerificationCert", source.internal_certificates),
        xml.certificate_elements("externalVerificationCert", source.external_certificates),
    )


def _ca(ca: ApprovedCa) -> str:
    acme = ca.acme
    return xml.wrap(
        "approvedCA",
        xml.element("name", ca.name),
        xml.element("authenticationOnly", "true" if ca.is_authentication_only else "false"),
        _ca_info("topCA", ca.top),
        *(_ca_info("intermediateCA", one) for one in ca.intermediates),
        xml.element("certificateProfileInfo", ca.certificate_profile),
        xml.element("defaultCsrFormat", ca.csr_format),
        ""
        if acme is None
        else xml.wrap(
            "acmeServer",
            xml.element("directoryURL", acme.directory_url),
            xml.element("ipAddress", acme.ip_address),
            xml.element("authenticationCertificateProfileId", acme.authentication_profile_id),
            xml.element("signingCertificateProfileId", acme.signing_profile_id),
        ),
    )


def _ca_info(name: str, info: CaInfo) -> str:
    return xml.wrap(
        name,
        xml.certificate_element("cert", info.certificate),
        *(
            xml.wrap(
                "ocsp",
                xml.element("url", one.url),
                xml.certificate_element("cert", one.certificate),
                xml.element("costType", one.cost_type),
            )
            for one in info.ocsp
        ),
    )


def _tsa(tsa: ApprovedTsa) -> str:
    return xml.wrap(
        "approvedTSA",
        xml.element("name", tsa.name),
        xml.element("url", tsa.url),
        xml.certificate_element("cert", tsa.certificate),
        xml.element("costType", tsa.cost_type),
    )


def _class(one: MemberClass) -> str:
    return xml.wrap("memberClass", xml.element("code", one.code), xml.element("description", one.description))


def _member(member: Member, ids: Mapping[Party, str]) -> str:
    mine, *below = member.parties()
    return xml.wrap(
        "member",
        _class(MemberClass(member.id.member_class, member.class_description)),
        xml.element("memberCode", member.id.member_code),
        xml.element("name", member.name),
        *(
            xml.wrap(
                "subsystem",
                xml.element("subsystemCode", one.code),
                xml.element("subsystemName", one.name),
                id=ids[party],
            )
            for party, one in zip(below, member.subsystems, strict=True)
        ),
        id=ids[mine],
    )


def _server(server: SecurityServer, ids: Mapping[Party, str]) -> str:
    split_address(server.address)
    missing = [party for party in (server.id.owner, *server.clients) if party not in ids]
    if missing:
        raise Malformed("exchange.global_conf.reference", f"{missing[0]} is at {server.id}, and not among the members")
    message = server.maintenance
    return xml.wrap(
        "securityServer",
        xml.element("owner", ids[server.id.owner]),
        xml.element("serverCode", server.id.server_code),
        xml.element("address", server.address or None),
        *(xml.base64_element("authCertHash", one) for one in sorted(server.auth_certificate_hashes)),
        *(xml.element("client", one) for one in sorted((ids[party] for party in server.clients), key=_place)),
        "" if message is None else xml.wrap("inMaintenanceMode", xml.element("message", message or None)),
    )


def _place(reference: str) -> int:
    return int(reference.removeprefix("id"))


def _group(group: GlobalGroup) -> str:
    return xml.wrap(
        "globalGroup",
        xml.element("groupCode", group.code),
        xml.element("description", group.description),
        *(build_party_element("groupMember", party) for party in sorted(group.members, key=str)),
    )
