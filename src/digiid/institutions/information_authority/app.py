"""Builds the information authority: the state portal."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from digiid.contracts.data_tracker import TRACKED
from digiid.contracts.members import INFORMATION_AUTHORITY, NAMES
from digiid.exchange import anomalies
from digiid.exchange.anomalies import AnomalyReports
from digiid.exchange.client import Client
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.institutions.information_authority import jobs, store, use_cases
from digiid.institutions.information_authority.data_tracker import use_cases as data_tracker
from digiid.institutions.information_authority.settings import Settings
from digiid.institutions.information_authority.use_cases import Deps
from digiid.institutions.information_authority.web.files import file_handlers
from digiid.institutions.information_authority.web.signing import INSIDE, document_handlers
from digiid.institutions.information_authority.web.site import NAVIGATION, handlers
from digiid.institutions.information_authority.web.tracker import tracker_handlers
from digiid.institutions.information_authority.web.validation import validation_handlers
from digiid.platform.documents import TrustServices
from digiid.platform.institution import Running, Surroundings
from digiid.platform.outbox import Worker, check_none_refused
from digiid.platform.sent_requests import SentRequests
from digiid.platform.timers import Timer
from digiid.platform.web import N_
from digiid.platform.web.sessions import Session, SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.signing import CardSigning, PendingSignatures, SignedContainer, ToSign, signing_handlers
from digiid.platform.web.site import Site, SiteSettings

PACKAGE = "digiid.institutions.information_authority"


def build(
    settings: Settings,
    around: Surroundings,
    *,
    exchange: Client,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    csrf_secret: str,
) -> Running[AnyService]:
    """The portal. It asks others on a person's behalf, and tells whom it asked about whom."""
    db = around.open_database("information_authority", settings.database_url, PACKAGE)
    exchange = exchange.recording(SentRequests(db, store.SENT_REQUESTS, around.clock))
    deps = Deps(db, around.clock, around.entropy, exchange, trust, settings)
    reports = AnomalyReports(db, store.OUTBOX, exchange, around.entropy, deps.wake_outbox)
    kinds = {**jobs.outbox_handlers(deps), anomalies.KIND: reports.deliver}
    worker = Worker("information_authority", db, store.OUTBOX, around.clock, kinds, bell=deps.wake_outbox)
    sessions = SessionStore("portal", db, store.SESSIONS, around.clock, around.entropy)
    pending = PendingSignatures(db, store.PENDING_SIGNATURES, around.clock, around.entropy)
    site = _site(settings, around, sessions, csrf_secret)

    def admit(person: SignedInPerson) -> Mapping[str, str]:
        return use_cases.admit(deps, person)

    def report(card: AnomalousCard) -> None:
        reports.put(card, place="state portal")

    def get_to_sign(session: Session, reference: str) -> ToSign:
        document_id, _, inside = reference.partition(INSIDE)
        opened = use_cases.open_to_sign(deps, session.subject or "", document_id)
        if inside and opened.pdf is not None:
            return ToSign(pdf=opened.pdf)
        return ToSign(files=opened.files, container=opened.container)

    def on_signed(session: Session, reference: str, signed: SignedContainer) -> str:
        document_id, _, _ = reference.partition(INSIDE)
        use_cases.keep_signed(deps, session.subject or "", document_id, signed.content)
        return f"/sign/{document_id}"

    asking = data_tracker.Asking(TRACKED)
    tracked = data_tracker.Deps(
        db,
        around.clock,
        exchange,
        store.JOURNAL,
        store.OUTBOX,
        deps.wake_outbox,
        TRACKED,
        asking,
        timedelta(seconds=settings.tracker_patience_seconds),
    )

    def health() -> Mapping[str, Any]:
        db.check()
        check_none_refused(db, store.OUTBOX)
        return {"name": NAMES[INFORMATION_AUTHORITY]}

    def close() -> None:
        asking.close()
        db.close()

    pages = [
        *handlers(deps),
        *tracker_handlers(tracked),
        *document_handlers(deps),
        *validation_handlers(deps),
        *file_handlers(deps),
        *sign_in_handlers(CardSignIn(issuers, trust.ocsp, admit, report)),
        *signing_handlers(CardSigning(pending, issuers, trust, get_to_sign, on_signed)),
    ]
    tracker = Tracker(INFORMATION_AUTHORITY, db, around.clock, store.DISCLOSURES, store.SENT_REQUESTS)
    return Running(
        name="information_authority",
        sites={"portal": site.build(pages, health=health)},
        services=tracker_services(tracker),
        workers=(worker,),
        timers=(
            *jobs.timers(deps),
            *tracker_timers(tracker),
            Timer("sessions", timedelta(minutes=10), sessions.purge),
            Timer("signatures", timedelta(minutes=10), pending.purge),
        ),
        health=health,
        close=close,
    )


def _site(settings: Settings, around: Surroundings, sessions: SessionStore, csrf_secret: str) -> Site:
    return Site.within(
        around,
        SiteSettings(
            name="portal",
            title=N_("State portal"),
            origin=around.origins["portal"],
            agent_origin=around.origins["agent"],
            navigation=NAVIGATION,
            folders=(Path(__file__).parent / "web",),
            demonstration=settings.demonstration,
            extra_sites={"apply": around.origins["apply"]},
        ),
        sessions,
        csrf_secret,
    )
