"""Builds the business register."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from digiid.contracts.members import BUSINESS_REGISTER, NAMES
from digiid.exchange import anomalies
from digiid.exchange.anomalies import AnomalyReports
from digiid.exchange.client import Client
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.institutions.business_register import api, store
from digiid.institutions.business_register.settings import Settings
from digiid.institutions.business_register.use_cases import Deps
from digiid.institutions.business_register.web.site import NAVIGATION, handlers
from digiid.platform.db import Database
from digiid.platform.institution import Running, Surroundings
from digiid.platform.outbox import Bell, Worker, check_none_refused
from digiid.platform.sent_requests import SentRequests
from digiid.platform.timers import Timer
from digiid.platform.trust import OcspClient
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.site import Site, SiteSettings

PACKAGE = "digiid.institutions.business_register"


def build_deps(settings: Settings, around: Surroundings) -> Deps:
    """Open and migrate the register's database."""
    file = around.database_folder / "business_register.sqlite"
    db = Database(settings.database_url) if settings.database_url else Database.sqlite(file)
    db.migrate(PACKAGE)
    return Deps(db, around.clock, around.entropy, settings)


def build(
    deps: Deps,
    around: Surroundings,
    *,
    issuers: Sequence[x509.Certificate],
    ocsp: OcspClient,
    exchange: Client,
    csrf_secret: str,
) -> Running[AnyService]:
    """The register's site and services."""
    exchange = exchange.recording(SentRequests(deps.db, store.SENT_REQUESTS, around.clock))
    tracker = Tracker(BUSINESS_REGISTER, deps.db, around.clock, store.DISCLOSURES, store.SENT_REQUESTS)
    bell = Bell()
    reports = AnomalyReports(deps.db, store.OUTBOX, exchange, around.entropy, bell)
    worker = Worker(
        "business_register", deps.db, store.OUTBOX, around.clock, {anomalies.KIND: reports.deliver}, bell=bell
    )
    sessions = SessionStore("business", deps.db, store.SESSIONS, around.clock, around.entropy)
    site = Site.within(
        around,
        SiteSettings(
            name="business",
            title=N_("Business register"),
            origin=around.origins["business"],
            agent_origin=around.origins["agent"],
            navigation=NAVIGATION,
            folders=(Path(__file__).parent / "web",),
            demonstration=deps.settings.demonstration,
        ),
        sessions,
        csrf_secret,
    )

    def admit(_person: SignedInPerson) -> Mapping[str, str]:
        return {}

    def report(card: AnomalousCard) -> None:
        reports.put(card, place="business register")

    introduction = N_("To see your own companies: sign in with your card and PIN1.")
    sign_in = CardSignIn(issuers, ocsp, admit, report, introduction=introduction)

    def health() -> Mapping[str, Any]:
        deps.db.check()
        check_none_refused(deps.db, store.OUTBOX)
        return {"name": NAMES[BUSINESS_REGISTER]}

    return Running(
        name="business_register",
        sites={"business": site.build([*handlers(deps), *sign_in_handlers(sign_in)], health=health)},
        services=[*api.services(deps), *tracker_services(tracker)],
        workers=(worker,),
        timers=(Timer("sessions", timedelta(minutes=10), sessions.purge), *tracker_timers(tracker)),
        health=health,
        close=deps.db.close,
    )
