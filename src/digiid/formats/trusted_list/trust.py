"""The services of verified lists, looked up at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509

from digiid.formats.trusted_list.model import OCSP, OCSP_QC, Criteria, ServicePeriod, TrustService, VerifiedTrustedList
from digiid.formats.trusted_list.verify import check_current
from digiid.formats.x509.parts import CertificateParts, load_certificate, names_match, parts_of
from digiid.formats.x509.path import TrustAnchors
from digiid.kernel.errors import Malformed


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
