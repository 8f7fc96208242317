"""What a global configuration says: anchor, shared and private parameters, optional parts (X-Road pr-gconf).

Fields are what the XML holds, with references resolved to identifiers. Certificates are loaded, not judged.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509

from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import ClientId, MemberId, Party, ServerId

READ_VERSIONS: Final = (6, 5, 4, 3)  # newest first: the order in which they are asked for
WRITTEN_VERSION: Final = 6
MESSAGE_PORT: Final = 5500
OCSP_PORT_DISTANCE: Final = 77  # X-Road's 5577 beside 5500; kept for every other message port
DEFAULT_OCSP_FRESHNESS_SECONDS: Final = 3600


# ------------------------------------------------------------------ anchor


@dataclass(frozen=True, slots=True)
class AnchorSource:
    """One address of the configuration, `http(s)://host[:port]/internalconf`, and who may sign what is there."""

    url: str
    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Given to an operator out of band. `generated_at` is None in anchors that do not say it."""

    instance: str
    generated_at: datetime | None
    sources: tuple[AnchorSource, ...]


# ------------------------------------------------------------------ shared parameters


@dataclass(frozen=True, slots=True)
class ConfigurationSource:
    """A node of the central server, `host` or `host:port`, and the keys it signs with now or will sign with next."""

    address: str
    internal_certificates: tuple[x509.Certificate, ...] = ()
    external_certificates: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class OcspResponder:
    """`certificate` may answer for the CA beside the CA itself. `cost_type`: FREE, PAID or UNDEFINED (V6)."""

    url: str
    certificate: x509.Certificate | None = None
    cost_type: str | None = None


@dataclass(frozen=True, slots=True)
class CaInfo:
    certificate: x509.Certificate
    ocsp: tuple[OcspResponder, ...] = ()


@dataclass(frozen=True, slots=True)
class AcmeServer:
    directory_url: str
    ip_address: str | None = None
    authentication_profile_id: str | None = None
    signing_profile_id: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovedCa:
    """`certificate_profile` is a Java class name; its last part says how a signing certificate names its member."""

    name: str
    top: CaInfo
    certificate_profile: str
    intermediates: tuple[CaInfo, ...] = ()
    is_authentication_only: bool = False
    csr_format: str | None = None  # PEM or DER (V6)
    acme: AcmeServer | None = None

    @property
    def authorities(self) -> tuple[CaInfo, ...]:
        """The topmost CA, then those below it."""
        return (self.top, *self.intermediates)


@dataclass(frozen=True, slots=True)
class ApprovedTsa:
    name: str
    url: str
    certificate: x509.Certificate
    cost_type: str | None = None


@dataclass(frozen=True, slots=True)
class MemberClass:
    code: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Subsystem:
    code: str
    name: str | None = None  # V5


@dataclass(frozen=True, slots=True)
class Member:
    id: MemberId
    name: str
    class_description: str = ""
    subsystems: tuple[Subsystem, ...] = ()

    def parties(self) -> tuple[Party, ...]:
        """The member, then its subsystems."""
        mine = self.id
        below = (ClientId(mine.instance, mine.member_class, mine.member_code, one.code) for one in self.subsystems)
        return (mine, *below)


@dataclass(frozen=True, slots=True)
class SecurityServer:
    """A registered security server.

    `address` is a host, or `host:port` when its message port is not 5500, or empty; a configuration of others may have
    anything there. `authentication_certificate_hashes` are SHA-256 over DER. `maintenance` is None outside maintenance
    mode, else its message, which may be empty.
    """

    id: ServerId
    address: str
    auth_certificate_hashes: frozenset[bytes] = frozenset()
    clients: frozenset[Party] = frozenset()
    maintenance: str | None = None

    @property
    def has_address(self) -> bool:
        """Whether `address` is one; ask before the properties below, which raise `exchange.global_conf.address`."""
        try:
            return bool(split_address(self.address)[0])
        except Malformed:
            return False

    @property
    def host(self) -> str:
        return split_address(self.address)[0]

    @property
    def message_port(self) -> int:
        return split_address(self.address)[1]

    @property
    def ocsp_port(self) -> int:
        """Where it answers with the OCSP responses about its own certificate."""
        return self.message_port + OCSP_PORT_DISTANCE


@dataclass(frozen=True, slots=True)
class GlobalGroup:
    code: str
    description: str = ""
    members: frozenset[Party] = frozenset()


@dataclass(frozen=True, slots=True)
class SharedParams:
    """What every member of an instance may know. Legacy central services are not read."""

    instance: str
    sources: tuple[ConfigurationSource, ...] = ()
    approved_cas: tuple[ApprovedCa, ...] = ()
    approved_tsas: tuple[ApprovedTsa, ...] = ()
    members: tuple[Member, ...] = ()
    servers: tuple[SecurityServer, ...] = ()
    groups: tuple[GlobalGroup, ...] = ()
    member_classes: tuple[MemberClass, ...] = ()
    ocsp_freshness_seconds: int = DEFAULT_OCSP_FRESHNESS_SECONDS


# ------------------------------------------------------------------ private parameters and optional parts


@dataclass(frozen=True, slots=True)
class ManagementService:
    """Where security servers are registered, and who answers management requests: a subsystem, where it is ours."""

    registration_address: str | None = None
    registration_certificate: x509.Certificate | None = None
    provider: Party | None = None


@dataclass(frozen=True, slots=True)
class PrivateParams:
    """What only the instance's own security servers get. `federated` are the anchors of other instances."""

    instance: str
    federated: tuple[Anchor, ...] = ()
    management: ManagementService = field(default_factory=ManagementService)
    time_stamping_interval_seconds: int = 60


@dataclass(frozen=True, slots=True)
class OptionalParts:
    """`monitoring_client` reads every server's operational data; the others are about OCSP responses."""

    monitoring_client: Party | None = None
    ocsp_fetch_interval_seconds: int = 1200
    verify_next_update: bool = True


# ------------------------------------------------------------------ addresses


def split_address(address: str) -> tuple[str, int]:
    """Host and message port of a security server's address: `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6.

    Raises: Malformed `exchange.global_conf.address`.
    """
    host, port = address, ""
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise Malformed("exchange.global_conf.address", f"not an address: {address[:80]!r}")
        port = port[1:]
    elif address.count(":") == 1:
        host, _, port = address.partition(":")
        if not port:
            raise Malformed("exchange.global_conf.address", f"not an address: {address[:80]!r}")
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535 - 77):
        raise Malformed("exchange.global_conf.address", f"not a port: {port[:20]!r}")
    return host, int(port) if port else MESSAGE_PORT
