"""Builds the card bureau."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from digiid.contracts.members import CARD_BUREAU, NAMES
from digiid.exchange import anomalies
from digiid.exchange.anomalies import AnomalyReports
from digiid.exchange.client import Client
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.formats.apdu import Transport
from digiid.institutions.card_bureau import api, jobs, store
from digiid.institutions.card_bureau.settings import Settings
from digiid.institutions.card_bureau.use_cases import desk
from digiid.institutions.card_bureau.use_cases.deps import Deps
from digiid.institutions.card_bureau.web.site import NAVIGATION, handlers
from digiid.platform.institution import Running, Surroundings
from digiid.platform.outbox import Worker, check_none_refused
from digiid.platform.sent_requests import SentRequests
from digiid.platform.timers import Timer
from digiid.platform.trust import OcspClient
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.site import Site, SiteSettings

PACKAGE = "digiid.institutions.card_bureau"


def build_deps(
    settings: Settings,
    around: Surroundings,
    *,
    exchange: Client,
    blank_card: Callable[[str], Transport],
    discard_card: Callable[[str], None],
) -> Deps:
    """Open and migrate the bureau's database and enter its pick-up points."""
    db = around.open_database("card_bureau", settings.database_url, PACKAGE)
    exchange = exchange.recording(SentRequests(db, store.SENT_REQUESTS, around.clock))
    deps = Deps(db, around.clock, around.entropy, exchange, blank_card, discard_card, settings)
    desk.open_points(deps)
    return deps


def build(
    settings: Settings,
    around: Surroundings,
    *,
    exchange: Client,
    issuers: Sequence[x509.Certificate],
    ocsp: OcspClient,
    blank_card: Callable[[str], Transport],
    discard_card: Callable[[str], None],
    csrf_secret: str,
) -> tuple[Deps, Running[AnyService]]:
    """The bureau's site, services and worker. The Deps are for the seed, which acts before there are officers."""
    deps = build_deps(settings, around, exchange=exchange, blank_card=blank_card, discard_card=discard_card)
    reports = AnomalyReports(deps.db, store.OUTBOX, exchange, around.entropy, deps.wake_outbox)
    outgoing = {**jobs.outbox_handlers(deps), anomalies.KIND: reports.deliver}
    worker = Worker("card_bureau", deps.db, store.OUTBOX, around.clock, outgoing, bell=deps.wake_outbox)
    sessions = SessionStore("bureau", deps.db, store.SESSIONS, around.clock, around.entropy)
    site = Site.within(
        around,
        SiteSettings(
            name="bureau",
            title=N_("Card bureau"),
            origin=around.origins["bureau"],
            agent_origin=around.origins["agent"],
            navigation=NAVIGATION,
            folders=(Path(__file__).parent / "web",),
            demonstration=settings.demonstration,
        ),
        sessions,
        csrf_secret,
    )

    def admit(person: SignedInPerson) -> Mapping[str, str]:
        return {"role": desk.admit_officer(deps, person.personal_code).role}

    def report(card: AnomalousCard) -> None:
        reports.put(card, place="card bureau")

    introduction = N_("For officers of the bureau and of the pick-up points: sign in with your card and PIN1.")
    sign_in = CardSignIn(issuers, ocsp, admit, report, introduction=introduction)

    def health() -> Mapping[str, Any]:
        deps.db.check()
        check_none_refused(deps.db, store.OUTBOX)
        return {"name": NAMES[CARD_BUREAU]}

    tracker = Tracker(CARD_BUREAU, deps.db, around.clock, store.DISCLOSURES, store.SENT_REQUESTS)
    running: Running[AnyService] = Running(
        name="card_bureau",
        sites={"bureau": site.build([*handlers(deps), *sign_in_handlers(sign_in)], health=health)},
        services=[*api.services(deps), *tracker_services(tracker)],
        workers=(worker,),
        timers=(*jobs.timers(deps), *tracker_timers(tracker), Timer("sessions", timedelta(minutes=10), sessions.purge)),
        health=health,
        close=deps.db.close,
    )
    return deps, running
