"""Builds the four units and what is served at the programs' address."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

import structlog
from cryptography import x509

from digiid.contracts.members import TRUST_SERVICES
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.formats.x509.parts import certificate_der, load_certificate
from digiid.formats.x509.profile import COMMON_NAME, SLUGS, CertificateKind, DocumentPolicy
from digiid.institutions.trust_services.ca import api, jobs
from digiid.institutions.trust_services.ca import store as ca_store
from digiid.institutions.trust_services.ca import use_cases as ca
from digiid.institutions.trust_services.ca.domain import ExchangeOrder, SealOrder
from digiid.institutions.trust_services.hierarchy import Hierarchy, load_hierarchy, renew_responder
from digiid.institutions.trust_services.ocsp.responder import Responder
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.institutions.trust_services.status import StatusBoard, StatusFollower
from digiid.institutions.trust_services.trusted_list import use_cases as trusted_list
from digiid.institutions.trust_services.tsa.authority import Authority
from digiid.institutions.trust_services.web.programs import File, Programs
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.institution import Running, Surroundings
from digiid.platform.timers import Timer

NAME: Final = "trust_services"
_PACKAGE: Final = "digiid.institutions.trust_services"
_CAS: Final = (CertificateKind.ROOT_CA, CertificateKind.ISSUING_CA, CertificateKind.TSA_CA)

log = structlog.get_logger("trust_services")


class _Published:
    """The files at the programs' address, held as bytes; jobs replace them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}

    def put(self, path: str, content: bytes, media_type: bytes) -> None:
        with self._lock:
            self._files = {**self._files, path: (content, media_type)}

    def find(self, path: str) -> File | None:
        return self._files.get(path)


def build(
    around: Surroundings, *, settings: TrustServicesSettings, open_database: Callable[[str], Database]
) -> Running[AnyService]:
    """Build the units, finish what a crash interrupted, and start following and recording.

    `open_database(name)` gives the database of a unit: `trust_ca`, `trust_tsa` and `trust_list`.

    Raises: Malformed or Broken when the hierarchy cannot be read or its keys are other ones.
    """
    hierarchy = load_hierarchy(settings.hierarchy_folder)
    databases = {unit: open_database(f"trust_{unit}") for unit in ("ca", "tsa", "list")}
    for unit, package in (("ca", "ca"), ("tsa", "tsa"), ("list", "trusted_list")):
        databases[unit].migrate(f"{_PACKAGE}.{package}")
    passphrase = settings.passphrase_file
    published = _Published()

    # 1 the CA; what a crash interrupted is finished before anybody asks
    ca_deps = _ca_deps(hierarchy, settings, databases["ca"], clock=around.clock, entropy=around.entropy)
    board = ca_deps.board
    ca.resume_orders(ca_deps)

    # 2 the responder, which follows what the CA writes
    responder = Responder(
        board=board,
        clock=around.clock,
        issuer=hierarchy.issuing,
        certificate=hierarchy.certificate(CertificateKind.OCSP_RESPONDER),
        key=hierarchy.load_key(CertificateKind.OCSP_RESPONDER, passphrase),
    )
    follower = StatusFollower(board, databases["ca"])
    follower.start()

    # 3 time-stamping
    authority = Authority(
        db=databases["tsa"],
        clock=around.clock,
        certificate=hierarchy.certificate(CertificateKind.TIME_STAMPING_UNIT),
        key=hierarchy.load_key(CertificateKind.TIME_STAMPING_UNIT, passphrase),
    )
    authority.start()

    # 4 the trusted list
    present = {"hierarchy": hierarchy}
    list_key = hierarchy.load_key(CertificateKind.TRUSTED_LIST_SIGNER, passphrase)

    def publish_list() -> None:
        now = present["hierarchy"]
        deps = trusted_list.Deps(
            db=databases["list"],
            clock=around.clock,
            profile=now.profile,
            key=list_key,
            certificate=now.certificate(CertificateKind.TRUSTED_LIST_SIGNER),
            issuing=now.issuing,
            responder=now.certificate(CertificateKind.OCSP_RESPONDER),
            tsu=now.certificate(CertificateKind.TIME_STAMPING_UNIT),
        )
        published.put("/tl.xml", trusted_list.publish_list(deps).xml, b"application/vnd.etsi.tsl+xml")

    def publish_crls() -> None:
        for kind in _CAS:
            crl = ca.find_crl(ca_deps, kind)
            if crl is not None:
                published.put(f"/crl/{crl.ca}.crl", crl.crl_der, b"application/pkix-crl")

    def publish_certificates() -> None:
        for kind, certificate in present["hierarchy"].certificates.items():
            published.put(f"/certs/{SLUGS[kind]}.crt", certificate_der(certificate), b"application/pkix-cert")

    def renew() -> None:
        if not present["hierarchy"].has_key(CertificateKind.ISSUING_CA):
            return
        renewed = renew_responder(
            present["hierarchy"], passphrase_path=passphrase, clock=around.clock, entropy=around.entropy
        )
        if renewed is not present["hierarchy"]:
            present["hierarchy"] = renewed
            certificate = renewed.certificate(CertificateKind.OCSP_RESPONDER)
            responder.use(certificate, renewed.load_key(CertificateKind.OCSP_RESPONDER, passphrase))
            publish_certificates()
            publish_list()
            log.info("trust_services.responder_renewed", valid_until=certificate.not_valid_after_utc.isoformat())

    renew()
    ca.issue_crls(ca_deps)
    publish_certificates()
    publish_crls()
    publish_list()

    programs = Programs(
        ocsp=responder,
        tsa=authority,
        find_file=published.find,
        page_context=lambda: _page_context(present["hierarchy"]),
    )

    def health() -> Mapping[str, Any]:
        return {
            "certificates": board.count,
            "ocsp": "current" if board.is_current() else "stale",
            "crls": {kind.value: published.find(f"/crl/{SLUGS[kind]}.crl") is not None for kind in _CAS},
        }

    def close() -> None:
        authority.stop()
        follower.stop()
        for database in databases.values():
            database.close()

    tracker = Tracker(TRUST_SERVICES, databases["ca"], around.clock, ca_store.DISCLOSURES, ca_store.SENT_REQUESTS)
    return Running(
        name=NAME,
        sites={"programs": programs},  # type: ignore[dict-item]  # a raw ASGI callable; the library's types are narrower
        services=[*api.services(ca_deps), *tracker_services(tracker)],
        workers=(),
        timers=(
            *jobs.timers(ca_deps),
            *tracker_timers(tracker),
            Timer("trust.publish_crls", timedelta(seconds=30), publish_crls),
            Timer("trust.publish_list", timedelta(hours=1), publish_list),
            Timer("trust.renew_responder", timedelta(hours=6), renew),
        ),
        health=health,
        close=close,
    )


def issue_seal(
    settings: TrustServicesSettings,
    order: SealOrder,
    *,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> x509.Certificate:
    """Certify an organisation's seal from beside a running state; its responder sees the new status by itself.

    Raises: what `ca.use_cases.issue_seal` raises; Malformed or Broken when the hierarchy cannot be read.
    """
    with _beside(settings, open_database=open_database, clock=clock, entropy=entropy) as deps:
        return load_certificate(ca.issue_seal(deps, order).certificate_der)


def revoke_seal(
    settings: TrustServicesSettings,
    seal_number: str,
    *,
    reason: str,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> None:
    """Revoke an organisation's seal from beside a running state; its responder sees the new status by itself.

    Raises: NotFound `trust.document`; what `ca.use_cases.revoke_seal` raises.
    """
    with _beside(settings, open_database=open_database, clock=clock, entropy=entropy) as deps:
        ca.revoke_seal(deps, seal_number, reason=reason)


def is_revoked(
    settings: TrustServicesSettings,
    certificate: x509.Certificate,
    *,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> bool:
    """Whether the CA revoked a certificate of its own, as it knows at this moment, from beside a running state.

    Raises: NotFound `trust.document`; Malformed or Broken when the hierarchy cannot be read.
    """
    with _beside(settings, open_database=open_database, clock=clock, entropy=entropy) as deps:
        return ca.is_revoked(deps, certificate)


def get_number(
    settings: TrustServicesSettings,
    certificate: x509.Certificate,
    *,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> str:
    """The number by which a certificate of the CA's own is revoked, from beside a running state.

    Raises: as `is_revoked`.
    """
    with _beside(settings, open_database=open_database, clock=clock, entropy=entropy) as deps:
        return ca.get_number(deps, certificate)


def issue_exchange_certificate(
    settings: TrustServicesSettings,
    order: ExchangeOrder,
    *,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> x509.Certificate:
    """Certify a key for the exchange from beside a running state; its responder sees the new status by itself.

    Raises: what the use case of this name raises; Malformed or Broken when the hierarchy cannot be read.
    """
    with _beside(settings, open_database=open_database, clock=clock, entropy=entropy) as deps:
        return load_certificate(ca.issue_exchange_certificate(deps, order).certificate_der)


def revoke_exchange_certificate(
    settings: TrustServicesSettings,
    certificate: x509.Certificate,
    *,
    reason: str,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> None:
    """Revoke a certificate for the exchange from beside a running state; its responder sees it by itself.

    Raises: NotFound `trust.document`; what `ca.use_cases.revoke_exchange_certificate` raises.
    """
    with _beside(settings, open_database=open_database, clock=clock, entropy=entropy) as deps:
        ca.revoke_exchange_certificate(deps, certificate, reason=reason)


def ask_responder(
    settings: TrustServicesSettings,
    request_der: bytes,
    *,
    open_database: Callable[[str], Database],
    clock: Clock,
    entropy: Entropy,
) -> bytes:
    """An OCSP response as the responder would give it, for a state that is being made and does not answer yet.

    Raises: Malformed or Broken when the hierarchy cannot be read.
    """
    with _beside(settings, open_database=open_database, clock=clock, entropy=entropy) as deps:
        deps.board.refresh()
        hierarchy = load_hierarchy(settings.hierarchy_folder)
        responder = Responder(
            board=deps.board,
            clock=clock,
            issuer=hierarchy.issuing,
            certificate=hierarchy.certificate(CertificateKind.OCSP_RESPONDER),
            key=hierarchy.load_key(CertificateKind.OCSP_RESPONDER, settings.passphrase_file),
        )
        return responder.answer(request_der)


@contextmanager
def _beside(
    settings: TrustServicesSettings, *, open_database: Callable[[str], Database], clock: Clock, entropy: Entropy
) -> Iterator[ca.Deps]:
    database = open_database("trust_ca")
    try:
        database.migrate(f"{_PACKAGE}.ca")
        hierarchy = load_hierarchy(settings.hierarchy_folder)
        yield _ca_deps(hierarchy, settings, database, clock=clock, entropy=entropy)
    finally:
        database.close()


def _ca_deps(
    hierarchy: Hierarchy, settings: TrustServicesSettings, database: Database, *, clock: Clock, entropy: Entropy
) -> ca.Deps:
    return ca.Deps(
        db=database,
        clock=clock,
        entropy=entropy,
        profile=hierarchy.profile,
        cas={kind: _ca_certificate(hierarchy, kind, settings) for kind in _CAS},
        board=StatusBoard(database),
    )


def _ca_certificate(hierarchy: Hierarchy, kind: CertificateKind, settings: TrustServicesSettings) -> ca.CaCertificate:
    key = hierarchy.load_key(kind, settings.passphrase_file) if hierarchy.has_key(kind) else None
    return ca.CaCertificate(hierarchy.certificate(kind), key)


def _page_context(hierarchy: Hierarchy) -> Mapping[str, object]:
    return {
        "organization": hierarchy.profile.names.organization,
        "base_url": hierarchy.profile.base_url,
        "certificates": [
            {
                "name": _common_name(certificate),
                "path": f"/certs/{SLUGS[kind]}.crt",
                "valid_until": f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}",
                "fingerprint": sha256(certificate_der(certificate)).hexdigest(),
            }
            for kind, certificate in hierarchy.certificates.items()
        ],
        "crls": [
            {"name": _common_name(hierarchy.certificate(kind)), "path": f"/crl/{SLUGS[kind]}.crl"} for kind in _CAS
        ],
        "policies": {policy.value: policy.oid for policy in DocumentPolicy},
    }


def _common_name(certificate: x509.Certificate) -> str:
    values = certificate.subject.get_attributes_for_oid(x509.ObjectIdentifier(COMMON_NAME))
    return str(values[0].value)
