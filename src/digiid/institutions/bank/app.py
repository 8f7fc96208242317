"""Builds the bank."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from digiid.contracts.members import BANK, NAMES
from digiid.exchange import anomalies
from digiid.exchange.anomalies import AnomalyReports
from digiid.exchange.client import Client
from digiid.exchange.consent import RevocationCache, revocation_service, revocation_timer
from digiid.exchange.consent_client import ConsentClient
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.formats.consent_receipt import ConsentSeal
from digiid.institutions.bank import store, use_cases
from digiid.institutions.bank.settings import Settings
from digiid.institutions.bank.use_cases import Deps
from digiid.institutions.bank.web.site import NAVIGATION, handlers
from digiid.platform.documents import TrustServices
from digiid.platform.institution import Running, Surroundings
from digiid.platform.outbox import Bell, Worker, check_none_refused
from digiid.platform.sent_requests import SentRequests
from digiid.platform.timers import Timer
from digiid.platform.web import N_
from digiid.platform.web.sessions import Session, SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.signing import CardSigning, PendingSignatures, SignedContainer, ToSign, signing_handlers
from digiid.platform.web.site import Site, SiteSettings

PACKAGE = "digiid.institutions.bank"


def build(
    settings: Settings,
    around: Surroundings,
    *,
    exchange: Client,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    csrf_secret: str,
    seal: ConsentSeal | None = None,
) -> Running[AnyService]:
    """The bank's site. On the exchange it reports what it notices, asks for customers' addresses under their consent,
    and tells who looked at a customer's data. `seal`: whose word on consents counts; None where there is no service.
    """
    db = around.open_database("bank", settings.database_url, PACKAGE)
    exchange = exchange.recording(SentRequests(db, store.SENT_REQUESTS, around.clock))
    revocations = None
    if seal is not None:
        revocations = RevocationCache(db, store.REVOCATIONS, seal=seal, audience=BANK, clock=around.clock)
    origin = around.origins["bank"]
    deps = Deps(db, around.clock, around.entropy, settings, exchange, origin, revocations)
    bell = Bell()
    reports = AnomalyReports(db, store.OUTBOX, exchange, around.entropy, bell)
    worker = Worker("bank", db, store.OUTBOX, around.clock, {anomalies.KIND: reports.deliver}, bell=bell)
    sessions = SessionStore("bank", db, store.SESSIONS, around.clock, around.entropy)
    pending = PendingSignatures(db, store.PENDING_SIGNATURES, around.clock, around.entropy)
    site = Site.within(
        around,
        SiteSettings(
            name="bank",
            title=N_("Test Bank"),
            origin=around.origins["bank"],
            agent_origin=around.origins["agent"],
            navigation=NAVIGATION,
            folders=(Path(__file__).parent / "web",),
            form_targets=(around.origins["consent"],),
            extra_sites={"consent": around.origins["consent"]},
            demonstration=settings.demonstration,
        ),
        sessions,
        csrf_secret,
    )

    def admit(person: SignedInPerson) -> Mapping[str, str]:
        return use_cases.admit(deps, person)

    def report(card: AnomalousCard) -> None:
        reports.put(card, place="bank")

    def get_to_sign(session: Session, reference: str) -> ToSign:
        return ToSign(files=[use_cases.file_to_sign(deps, session.subject or "", reference)])

    def on_signed(session: Session, reference: str, signed: SignedContainer) -> str:
        use_cases.open_account(deps, session.subject or "", reference, signed.content)
        return f"/applications/{reference}"

    def health() -> Mapping[str, Any]:
        db.check()
        check_none_refused(db, store.OUTBOX)
        return {"name": NAMES[BANK]}

    introduction = N_("Sign in with your digi-ID or ID-card and PIN1. The bank's conditions are on the front page.")
    pages = [
        *handlers(deps),
        *sign_in_handlers(CardSignIn(issuers, trust.ocsp, admit, report, introduction=introduction)),
        *signing_handlers(CardSigning(pending, issuers, trust, get_to_sign, on_signed)),
    ]
    tracker = Tracker(BANK, db, around.clock, store.DISCLOSURES, store.SENT_REQUESTS)
    services: list[AnyService] = [*tracker_services(tracker)]
    timers = [
        *tracker_timers(tracker),
        Timer("sessions", timedelta(minutes=10), sessions.purge),
        Timer("signatures", timedelta(minutes=10), pending.purge),
    ]
    if revocations is not None:
        services.append(revocation_service(revocations))
        timers.append(revocation_timer(revocations, ConsentClient(exchange)))
    return Running(
        name="bank",
        sites={"bank": site.build(pages, health=health)},
        services=services,
        workers=(worker,),
        timers=timers,
        health=health,
        close=db.close,
    )
