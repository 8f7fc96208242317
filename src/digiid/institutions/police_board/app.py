"""Builds the board: one database, two sites (`apply`, `police`), its services, outbox and timers."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from digiid.contracts.members import NAMES, POLICE_BOARD
from digiid.exchange.client import Client
from digiid.exchange.gate import AnyService
from digiid.exchange.usage import Tracker, tracker_services, tracker_timers
from digiid.institutions.police_board import api, jobs, store
from digiid.institutions.police_board.peers import ListFiles, PaymentProvider
from digiid.institutions.police_board.settings import Settings
from digiid.institutions.police_board.use_cases import officers, supervise
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.institutions.police_board.web import apply_pages, police_pages
from digiid.platform.entropy import new_id
from digiid.platform.institution import Running, Surroundings
from digiid.platform.mail import MailTransport
from digiid.platform.outbox import Worker, check_none_refused
from digiid.platform.secret_file import read_or_make_secret
from digiid.platform.sent_requests import SentRequests
from digiid.platform.timers import Timer
from digiid.platform.trust import OcspClient
from digiid.platform.web import N_
from digiid.platform.web.sessions import SessionStore
from digiid.platform.web.sign_in import AnomalousCard, CardSignIn, SignedInPerson, sign_in_handlers
from digiid.platform.web.site import Site, SiteSettings

PACKAGE = "digiid.institutions.police_board"
_WEB = Path(__file__).parent / "web"


def payment_secret_file(settings: Settings, around: Surroundings) -> Path:
    """Where the secret shared with the payment provider lies."""
    return settings.payment_secret_file or around.state_folder / "secrets" / "payments.key"


def build_deps(
    settings: Settings,
    around: Surroundings,
    *,
    exchange: Client,
    mail: MailTransport,
) -> Deps:
    """Open and migrate the board's database, and put together what its use cases need."""
    db = around.open_database("police_board", settings.database_url, PACKAGE)
    secret = read_or_make_secret(payment_secret_file(settings, around), around.entropy)
    return Deps(
        db=db,
        clock=around.clock,
        entropy=around.entropy,
        exchange=exchange.recording(SentRequests(db, store.schema.SENT_REQUESTS, around.clock)),
        payments=PaymentProvider(around.origins["pay"], settings.payment_merchant, secret, around.http),
        lists=ListFiles(settings.named_lists()),
        mail=mail,
        apply_url=around.origins["apply"],
        fee_cents=settings.fee_cents,
        currency=settings.currency,
        accepts_specimens=settings.demonstration,
        longest_delay=timedelta(days=settings.longest_delay_days),
    )


def build(
    settings: Settings,
    around: Surroundings,
    *,
    deps: Deps,
    issuers: Sequence[x509.Certificate],
    ocsp: OcspClient,
    csrf_secret: str,
) -> Running[AnyService]:
    """The board's sites, services, outbox worker and timers. `issuers` are the issuing CA's certificates."""
    outgoing = jobs.outbox_handlers(deps)
    worker = Worker("police_board", deps.db, store.schema.OUTBOX, deps.clock, outgoing, bell=deps.wake_outbox)

    def sessions(site: str) -> SessionStore:
        return SessionStore(site, deps.db, store.schema.SESSIONS, deps.clock, deps.entropy)

    apply_site = _apply_site(settings, around, sessions("apply"), csrf_secret)
    police_site = _police_site(settings, around, sessions("police"), csrf_secret)

    def admit(person: SignedInPerson) -> Mapping[str, str]:
        officer = officers.get_officer(deps, person.personal_code)
        return {"role": officer.role}

    def open_case(card: AnomalousCard) -> None:
        supervise.open_anomaly_case(
            deps,
            report_id=new_id(deps.entropy),
            kind=card.kind,
            place=NAMES[POLICE_BOARD],
            observed_at=card.observed_at,
            personal_code=card.personal_code,
            certificate_sha256=card.certificate_sha256,
            note=card.note,
        )

    sign_in = CardSignIn(
        issuers,
        ocsp,
        admit,
        open_case,
        introduction=N_("For the board's officers: sign in with your card and PIN1."),
    )

    def health() -> Mapping[str, Any]:
        deps.db.check()
        check_none_refused(deps.db, store.schema.OUTBOX)
        return {"name": NAMES[POLICE_BOARD]}

    tracker = Tracker(POLICE_BOARD, deps.db, deps.clock, store.schema.DISCLOSURES, store.schema.SENT_REQUESTS)
    return Running(
        name="police_board",
        sites={
            "apply": apply_site.build(apply_pages.handlers(deps), health=health),
            "police": police_site.build([*police_pages.handlers(deps), *sign_in_handlers(sign_in)], health=health),
        },
        services=[*api.services(deps), *tracker_services(tracker)],
        workers=(worker,),
        timers=(
            *jobs.timers(deps),
            *tracker_timers(tracker),
            Timer("police_board.sessions", jobs.HOURLY, sessions("apply").purge),
        ),
        health=health,
        close=deps.db.close,
    )


def _apply_site(settings: Settings, around: Surroundings, sessions: SessionStore, csrf_secret: str) -> Site:
    return Site.within(
        around,
        SiteSettings(
            name="apply",
            title=N_("Apply for e-residency"),
            origin=around.origins["apply"],
            agent_origin=around.origins["agent"],
            folders=(_WEB,),
            form_targets=(around.origins["pay"],),
            demonstration=settings.demonstration,
        ),
        sessions,
        csrf_secret,
    )


def _police_site(settings: Settings, around: Surroundings, sessions: SessionStore, csrf_secret: str) -> Site:
    return Site.within(
        around,
        SiteSettings(
            name="police",
            title=N_("Officers' desk"),
            origin=around.origins["police"],
            agent_origin=around.origins["agent"],
            navigation=police_pages.NAVIGATION,
            folders=(_WEB,),
            demonstration=settings.demonstration,
        ),
        sessions,
        csrf_secret,
    )
