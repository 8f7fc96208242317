"""What a trusted list says, as values; the identifiers of TS 119 612 that are used here."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509

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
QUALIFIERS: Final = "http://uri.etsi.org/TrstSvc/TrustedList/SvcInfoExt/"

MAX_LIST_BYTES: Final = 20 * 1024 * 1024
MAX_CERTIFICATE_BYTES: Final = 64 * 1024
VERSIONS: Final = (5, 6)


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
    information_uris: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifiedTrustedList:
    """A list whose signature was made by one of the pinned signers over the very document that was parsed."""

    content: TrustedList
    signer: x509.Certificate
