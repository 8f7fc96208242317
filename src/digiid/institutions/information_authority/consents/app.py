"""Builds the consent service: its database, its seal, its pages, its service on the exchange."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from digiid.contracts.members import CONSENT_SERVICE, NAMES
from digiid.exchange import anomalies
from digiid.exchange.anomalies import AnomalyReports
from digiid.exchange.client import Client
from digiid.exchange.gate import RestService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.formats.consent_receipt import ConsentSeal
from digiid.formats.x509.path import TrustAnchors
from digiid.formats.x509.profile import Organization
from digiid.institutions.information_authority.consents import api, jobs, store
from digiid.institutions.information_authority.consents.declarations import read_declarations
from digiid.institutions.information_authority.consents.sealing import Sealer
from digiid.institutions.information_authority.consents.settings import DEMONSTRATION_FILE, Settings
from digiid.institutions.information_authority.consents.use_cases import deciding, declaring
from digiid.institutions.information_authority.consents.use_cases.deps import Deps
from digiid.institutions.information_authority.consents.web.site import (
    NAVIGATION,
    get_to_sign,
    handlers,
    take_signed,
)
from digiid.platform.documents import KeySigner, TrustServices
from digiid.platform.institution import Running, Surroundings
from digiid.platform.outbox import Worker, check_none_refused
from digiid.platform.sent_requests import SentRequests
from digiid.platform.timers import Timer
from digiid.platform.web import N_
from digiid.platform.web.sessions import Session, SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.signing import CardSigning, PendingSignatures, SignedContainer, ToSign, signing_handlers
from digiid.platform.web.site import Site, SiteSettings

PACKAGE: Final = "digiid.institutions.information_authority.consents"
UNIT: Final = "consents"
SEAL_NUMBER: Final = "SEAL-CONSENT"
SEAL_OWNER: Final = Organization(
    CONSENT_SERVICE.member_code, "TEST Information Authority", "TEST Consent Service e-seal"
)


def consent_seal(issuers: Sequence[x509.Certificate]) -> ConsentSeal:
    """What a data provider of this state pins: the consent service's seal, by name, under these issuers."""
    return ConsentSeal(TrustAnchors(issuers), f"NTREE-{SEAL_OWNER.registry_code}", SEAL_OWNER.seal_name)


def build(
    settings: Settings,
    around: Surroundings,
    *,
    exchange: Client,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    open_seal: Callable[[], KeySigner],
    csrf_secret: str,
) -> Running[RestService]:
    """The consent service. `open_seal` gives the seal in force, which receipts are made with."""
    db = around.open_database(UNIT, settings.database_url, PACKAGE)
    exchange = exchange.recording(SentRequests(db, store.SENT_REQUESTS, around.clock))
    deps = Deps(
        db,
        around.clock,
        around.entropy,
        exchange,
        Sealer(open_seal),
        settings,
        around.origins["consent"],
    )
    reports = AnomalyReports(db, store.OUTBOX, exchange, around.entropy, deps.wake_outbox)
    kinds = {**jobs.outbox_handlers(deps), anomalies.KIND: reports.deliver}
    worker = Worker(UNIT, db, store.OUTBOX, around.clock, kinds, bell=deps.wake_outbox)
    declared = (*((DEMONSTRATION_FILE,) if settings.demonstration else ()), *settings.declarations)
    for declarations in declared:
        declaring.declare(deps, read_declarations(declarations, origins=around.origins))
    sessions = SessionStore("consent", db, store.SESSIONS, around.clock, around.entropy)
    pending = PendingSignatures(db, store.PENDING_SIGNATURES, around.clock, around.entropy)
    site = _site(settings, around, sessions, csrf_secret)

    def admit(person: SignedInPerson) -> Mapping[str, str]:
        return deciding.admit(deps, person)

    def report(card: AnomalousCard) -> None:
        reports.put(card, place="consent service")

    def to_sign(session: Session, reference: str) -> ToSign:
        return get_to_sign(deps, session, reference)

    def on_signed(session: Session, reference: str, signed: SignedContainer) -> str:
        return take_signed(deps, session, reference, signed)

    def health() -> Mapping[str, Any]:
        db.check()
        check_none_refused(db, store.OUTBOX)
        return {"name": NAMES[CONSENT_SERVICE]}

    pages = [
        *handlers(deps),
        *sign_in_handlers(CardSignIn(issuers, trust.ocsp, admit, report)),
        *signing_handlers(CardSigning(pending, issuers, trust, to_sign, on_signed)),
    ]
    tracker = Tracker(CONSENT_SERVICE, db, around.clock, store.DISCLOSURES, store.SENT_REQUESTS)
    return Running(
        name=UNIT,
        sites={"consent": site.build(pages, health=health)},
        services=(*api.services(deps), *tracker_services(tracker)),
        workers=(worker,),
        timers=(
            *jobs.timers(deps),
            *tracker_timers(tracker),
            Timer("sessions", timedelta(minutes=10), sessions.purge),
            Timer("signatures", timedelta(minutes=10), pending.purge),
        ),
        health=health,
        close=db.close,
    )


def _site(settings: Settings, around: Surroundings, sessions: SessionStore, csrf_secret: str) -> Site:
    return Site.within(
        around,
        SiteSettings(
            name="consent",
            title=N_("Consents"),
            origin=around.origins["consent"],
            agent_origin=around.origins["agent"],
            navigation=NAVIGATION,
            folders=(Path(__file__).parent / "web",),
            demonstration=settings.demonstration,
            extra_sites={"portal": around.origins["portal"]},
        ),
        sessions,
        csrf_secret,
    )
