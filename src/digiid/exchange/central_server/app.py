"""Builds the central server: its database, its keys, its pages, and what programs ask it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from digiid.exchange import anomalies
from digiid.exchange.anomalies import AnomalyReports
from digiid.exchange.central_server import api, jobs, publishing, store
from digiid.exchange.central_server.jobs import Publisher
from digiid.exchange.central_server.publishing import Publishing
from digiid.exchange.central_server.settings import Settings
from digiid.exchange.central_server.use_cases import configuration, officers
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.exchange.central_server.web.site import handlers
from digiid.exchange.central_server.web.words import NAVIGATION
from digiid.exchange.client import Client
from digiid.exchange.gate import Service
from digiid.formats.global_conf import anchor_fingerprint
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.institution import Running, Surroundings
from digiid.platform.keys import load_or_create_passphrase
from digiid.platform.outbox import Bell, Worker, check_none_refused
from digiid.platform.timers import Timer
from digiid.platform.trust import OcspClient
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.site import Site, SiteSettings

NAME: Final = "central_server"
PACKAGE: Final = "digiid.exchange.central_server"
SITE: Final = "central"


def open_deps(settings: Settings, database: Database, *, secrets_folder: Path, clock: Clock, entropy: Entropy) -> Deps:
    """Migrate the database and see to the first signing key: for the server, and for who works beside it."""
    database.migrate(PACKAGE)
    passphrase_file = secrets_folder / "global-conf-passphrase"
    load_or_create_passphrase(passphrase_file, entropy)
    deps = Deps(database, clock, entropy, settings, secrets_folder / "global-conf", passphrase_file)
    configuration.ensure_signing_key(deps)
    return deps


class CentralServer:
    """A built central server. `programs` maps path prefixes at the programs' address to ASGI applications."""

    def __init__(
        self, deps: Deps, publisher: Publisher, programs: Mapping[str, Any], running: Running[Service]
    ) -> None:
        self.deps, self.publisher, self.programs, self.running = deps, publisher, programs, running


def build(
    deps: Deps,
    around: Surroundings,
    *,
    issuers: Sequence[x509.Certificate],
    ocsp: OcspClient,
    exchange: Client,
    csrf_secret: str,
) -> CentralServer:
    """Build everything and publish a first configuration, so that what is served from the first moment holds."""
    published = Publishing(around.clock)
    publisher = Publisher(deps, published)
    publisher.publish()
    registration = api.Registration(deps, around.pools)

    # the officers' pages
    bell = Bell()
    reports = AnomalyReports(deps.db, store.schema.OUTBOX, exchange, around.entropy, bell)
    worker = Worker(NAME, deps.db, store.schema.OUTBOX, around.clock, {anomalies.KIND: reports.deliver}, bell=bell)
    sessions = SessionStore(SITE, deps.db, store.schema.SESSIONS, around.clock, around.entropy)
    site = Site.within(
        around,
        SiteSettings(
            name=SITE,
            title=N_("Central server of the exchange"),
            origin=around.origins[SITE],
            agent_origin=around.origins["agent"],
            navigation=NAVIGATION,
            folders=(Path(__file__).parent / "web",),
            demonstration=deps.settings.demonstration,
        ),
        sessions,
        csrf_secret,
    )

    def admit(person: SignedInPerson) -> Mapping[str, str]:
        officer = officers.admit_officer(deps, person.personal_code)
        return {"officer": officer.name}

    def report(card: AnomalousCard) -> None:
        reports.put(card, place="central server")

    introduction = N_("For the central server's officers: sign in with your card and PIN1.")
    sign_in = CardSignIn(issuers, ocsp, admit, report, introduction=introduction)

    def health() -> Mapping[str, Any]:
        deps.db.check()
        check_none_refused(deps.db, store.schema.OUTBOX)
        return {"name": "Central server", **_configuration_health(published, around.clock)}

    running: Running[Service] = Running(
        name=NAME,
        sites={SITE: site.build([*handlers(deps, published), *sign_in_handlers(sign_in)], health=health)},
        services=(),
        workers=(worker,),
        timers=(*jobs.timers(publisher), Timer("sessions", timedelta(minutes=10), sessions.purge)),
        health=health,
        close=deps.db.close,
    )
    programs: dict[str, Any] = {**dict.fromkeys(publishing.PREFIXES, published), api.PREFIX: registration}
    return CentralServer(deps, publisher, programs, running)


def present_anchor(deps: Deps) -> tuple[bytes, str]:
    """The anchor as a file, and its fingerprint to be compared out of band."""
    anchor = configuration.build_present_anchor(deps)
    return anchor, anchor_fingerprint(anchor)


def _configuration_health(published: Publishing, clock: Clock) -> Mapping[str, Any]:
    present = published.published
    if present is None:
        return {"configuration": "none"}
    left = round((present.directory.expires_at - clock.now()).total_seconds())
    return {"configuration": "expired" if left <= 0 else f"holds for {left} s"}
