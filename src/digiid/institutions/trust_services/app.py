"""Builds the four units and what is served at the programs' address."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

from cryptography import x509

from digiid.contracts.members import TRUST_SERVICES
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.formats.x509.parts import load_certificate
from digiid.formats.x509.profile import CertificateKind
from digiid.institutions.trust_services.ca import api, jobs
from digiid.institutions.trust_services.ca import store as ca_store
from digiid.institutions.trust_services.ca import use_cases as ca
from digiid.institutions.trust_services.ca.domain import ExchangeOrder, SealOrder
from digiid.institutions.trust_services.hierarchy import Hierarchy, load_hierarchy
from digiid.institutions.trust_services.ocsp.responder import Responder
from digiid.institutions.trust_services.publishing import CAS, Publishing
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.institutions.trust_services.status import StatusBoard, StatusFollower
from digiid.institutions.trust_services.tsa.authority import Authority
from digiid.institutions.trust_services.web.programs import Programs
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.institution import Running, Surroundings
from digiid.platform.timers import Timer

NAME: Final = "trust_services"
_PACKAGE: Final = "digiid.institutions.trust_services"


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

    # 1 the CA; what a crash interrupted is finished before anybody asks
    ca_deps = _ca_deps(hierarchy, settings, databases["ca"], clock=around.clock, entropy=around.entropy)
    board = ca_deps.board
    ca.resume_orders(ca_deps)
    # 2 the responder, which follows what the CA writes
    responder = _responder(hierarchy, settings, ca_deps)
    follower = StatusFollower(board, databases["ca"])
    follower.start()
    # 3 time-stamping
    authority = Authority(
        db=databases["tsa"],
        clock=around.clock,
        certificate=hierarchy.certificate(CertificateKind.TIME_STAMPING_UNIT),
        key=hierarchy.load_key(CertificateKind.TIME_STAMPING_UNIT, settings.passphrase_file),
    )
    authority.start()
    # 4 what everybody fetches
    published = Publishing(hierarchy, settings, ca_deps=ca_deps, list_database=databases["list"])
    renew = partial(published.renew_responder, responder)
    renew()
    ca.issue_crls(ca_deps)
    published.publish_certificates()
    published.publish_crls()
    published.publish_list()

    def health() -> Mapping[str, Any]:
        return {
            "certificates": board.count,
            "ocsp": "current" if board.is_current() else "stale",
            "crls": published.describe_crls(),
        }

    def close() -> None:
        authority.stop()
        follower.stop()
        for database in databases.values():
            database.close()

    programs = Programs(ocsp=responder, tsa=authority, find_file=published.find, page_context=published.page_context)
    tracker = Tracker(TRUST_SERVICES, databases["ca"], around.clock, ca_store.DISCLOSURES, ca_store.SENT_REQUESTS)
    return Running(
        name=NAME,
        sites={"programs": programs},  # type: ignore[dict-item]  # a raw ASGI callable; the library's types are narrower
        services=[*api.services(ca_deps), *tracker_services(tracker)],
        workers=(),
        timers=(
            *jobs.timers(ca_deps),
            *tracker_timers(tracker),
            Timer("trust.publish_crls", timedelta(seconds=30), published.publish_crls),
            Timer("trust.publish_list", timedelta(hours=1), published.publish_list),
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
        return _responder(load_hierarchy(settings.hierarchy_folder), settings, deps).answer(request_der)


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
        cas={kind: _ca_certificate(hierarchy, kind, settings) for kind in CAS},
        board=StatusBoard(database),
    )


def _responder(hierarchy: Hierarchy, settings: TrustServicesSettings, deps: ca.Deps) -> Responder:
    return Responder(
        board=deps.board,
        clock=deps.clock,
        issuer=hierarchy.issuing,
        certificate=hierarchy.certificate(CertificateKind.OCSP_RESPONDER),
        key=hierarchy.load_key(CertificateKind.OCSP_RESPONDER, settings.passphrase_file),
    )


def _ca_certificate(hierarchy: Hierarchy, kind: CertificateKind, settings: TrustServicesSettings) -> ca.CaCertificate:
    key = hierarchy.load_key(kind, settings.passphrase_file) if hierarchy.has_key(kind) else None
    return ca.CaCertificate(hierarchy.certificate(kind), key)
