"""Builds the population register."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from digiid.contracts.members import NAMES, POPULATION_REGISTER
from digiid.exchange import anomalies
from digiid.exchange.anomalies import AnomalyReports
from digiid.exchange.client import Client
from digiid.exchange.consent import TRANSMISSION, RevocationCache, revocation_timer, transmission_handler
from digiid.exchange.consent_client import ConsentClient
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.formats.consent_receipt import ConsentSeal
from digiid.institutions.population_register import api, store, use_cases
from digiid.institutions.population_register.settings import Settings
from digiid.institutions.population_register.use_cases import Consents, Deps
from digiid.institutions.population_register.web.site import NAVIGATION, handlers
from digiid.platform.institution import Running, Surroundings
from digiid.platform.outbox import Worker, check_none_refused
from digiid.platform.sent_requests import SentRequests
from digiid.platform.timers import Timer
from digiid.platform.trust import OcspClient
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.site import Site, SiteSettings

PACKAGE = "digiid.institutions.population_register"


def build_deps(settings: Settings, around: Surroundings, *, seal: ConsentSeal | None = None) -> Deps:
    """Open and migrate the register's database. `seal`: whose consent receipts count; None where there are none."""
    db = around.open_database("population_register", settings.database_url, PACKAGE)
    consents = None
    if seal is not None:
        revocations = RevocationCache(
            db, store.REVOCATIONS, seal=seal, audience=POPULATION_REGISTER, clock=around.clock
        )
        consents = Consents(seal, revocations)
    return Deps(db, around.clock, around.entropy, settings, consents)


def build(
    deps: Deps,
    around: Surroundings,
    *,
    issuers: Sequence[x509.Certificate],
    ocsp: OcspClient,
    exchange: Client,
    csrf_secret: str,
) -> Running[AnyService]:
    """The register's desk and services."""
    exchange = exchange.recording(SentRequests(deps.db, store.SENT_REQUESTS, around.clock))
    reports = AnomalyReports(deps.db, store.OUTBOX, exchange, around.entropy, deps.wake_outbox)
    sessions = SessionStore("population", deps.db, store.SESSIONS, around.clock, around.entropy)
    consents = ConsentClient(exchange)
    outgoing = {anomalies.KIND: reports.deliver, TRANSMISSION: transmission_handler(consents)}
    worker = Worker("population_register", deps.db, store.OUTBOX, around.clock, outgoing, bell=deps.wake_outbox)
    timers = [Timer("sessions", timedelta(minutes=10), sessions.purge)]
    if deps.consents is not None:
        timers.append(revocation_timer(deps.consents.revocations, consents))
    site = Site.within(
        around,
        SiteSettings(
            name="population",
            title=N_("Population register"),
            origin=around.origins["population"],
            agent_origin=around.origins["agent"],
            navigation=NAVIGATION,
            folders=(Path(__file__).parent / "web",),
            demonstration=deps.settings.demonstration,
        ),
        sessions,
        csrf_secret,
    )

    def admit(person: SignedInPerson) -> Mapping[str, str]:
        return {"officer": use_cases.admit_officer(deps, person.personal_code)}

    def report(card: AnomalousCard) -> None:
        reports.put(card, place="population register")

    introduction = N_("For the register's officers: sign in with your card and PIN1.")
    sign_in = CardSignIn(issuers, ocsp, admit, report, introduction=introduction)

    def health() -> Mapping[str, Any]:
        deps.db.check()
        check_none_refused(deps.db, store.OUTBOX)
        return {"name": NAMES[POPULATION_REGISTER]}

    tracker = Tracker(POPULATION_REGISTER, deps.db, around.clock, store.DISCLOSURES, store.SENT_REQUESTS)
    return Running(
        name="population_register",
        sites={"population": site.build([*handlers(deps), *sign_in_handlers(sign_in)], health=health)},
        services=[*api.services(deps), *tracker_services(tracker)],
        workers=(worker,),
        timers=[*timers, *tracker_timers(tracker)],
        health=health,
        close=deps.db.close,
    )
