"""Publishing the list: a new one when the services change and in good time before the old one ends."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.formats import trusted_list as tl
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import HierarchyProfile
from digiid.institutions.trust_services.trusted_list import store
from digiid.institutions.trust_services.trusted_list.store import PublishedList
from digiid.platform.clock import Clock
from digiid.platform.db import Database

LIFETIME: Final = timedelta(days=150)  # at most six months (TS 119 612 §5.3.15)
_RENEWED_BEFORE: Final = timedelta(days=90)
_ADDRESS: Final = tl.PostalAddress("Test Street 1", "Tallinn", "10111", "EE")
_CONTACT: Final = "mailto:trusted-list@digiid.example"
_NOTICE: Final = (
    "TEST LIST. This list and every service on it are part of a demonstration. It is not a trusted list of "
    "the European Union, it has no legal effect, and signatures that rest on it have none."
)


@dataclass(frozen=True)
class Deps:
    """`issuing`, `responder` and `tsu` are what is listed."""

    db: Database
    clock: Clock
    profile: HierarchyProfile
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    issuing: x509.Certificate
    responder: x509.Certificate
    tsu: x509.Certificate


def publish_list(deps: Deps) -> PublishedList:
    """The list in force: the stored one, or a new one when it is time or the services changed.

    Raises: Refused `trusted_list.not_test`.
    """
    at = deps.clock.now().replace(microsecond=0)
    services = _services(deps)
    digest = _digest(services)
    with deps.db.write() as tx:
        # 1 is the present one still right
        latest = store.find_latest_list(tx)
        if latest and latest.services_sha256 == digest and latest.next_update_at - at > _RENEWED_BEFORE:
            return latest
        # 2 build and sign the next one
        number = latest.sequence_number + 1 if latest else 1
        content = _content(deps, services, sequence_number=number, at=at)
        xml = tl.sign_trusted_list(
            tl.build_trusted_list(content), key=deps.key, certificate=deps.certificate, claimed_signing_at=at
        )
        # 3 nothing is published that we would not believe ourselves
        tl.verify_trusted_list(xml, signers=[deps.certificate])
        published = PublishedList(number, at, content.next_update_at, digest, xml)
        store.record_list(tx, published)
    return published


def _services(deps: Deps) -> tuple[tl.ListedService, ...]:
    names = deps.profile.names
    for_signatures_and_seals = ("ForeSignatures", "ForeSeals")

    def listed(
        service_type: str, name: str, certificate: x509.Certificate, additional: tuple[str, ...] = ()
    ) -> tl.ListedService:
        starting_at = certificate.not_valid_before_utc
        return tl.ListedService(service_type, name, certificate, tl.GRANTED, starting_at, additional=additional)

    return (
        listed(tl.CA_QC, names.issuing_ca, deps.issuing, for_signatures_and_seals),
        listed(tl.OCSP_QC, names.ocsp_responder, deps.responder),
        listed(tl.TSA_QTST, names.time_stamping_unit, deps.tsu),
    )


def _digest(services: tuple[tl.ListedService, ...]) -> bytes:
    hashed = sha256()
    for service in services:
        texts = (service.service_type, service.status, *service.additional)
        for part in (*(text.encode() for text in texts), certificate_der(service.certificate)):
            hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


def _content(
    deps: Deps, services: tuple[tl.ListedService, ...], *, sequence_number: int, at: datetime
) -> tl.ListContent:
    names, base_url = deps.profile.names, deps.profile.base_url
    provider = tl.ListedProvider(
        name=names.organization,
        trade_name=names.organization_identifier,
        address=_ADDRESS,
        electronic_address=_CONTACT,
        information_uri=f"{base_url}/repository",
        services=services,
    )
    return tl.ListContent(
        sequence_number=sequence_number,
        territory="EE",
        operator_name=names.organization,
        address=_ADDRESS,
        electronic_address=_CONTACT,
        scheme_name="EE:TEST list of trust services of a demonstration state",
        information_uri=f"{base_url}/repository",
        legal_notice=_NOTICE,
        issued_at=at,
        next_update_at=at + LIFETIME,
        distribution_point=f"{base_url}/tl.xml",
        providers=(provider,),
    )
