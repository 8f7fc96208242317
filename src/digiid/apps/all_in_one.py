"""The whole e-state in one process: every institution built, seamed together and served on loopback.

The institutions do not know that they are neighbours: they call each other over the exchange's
address like strangers, each with its own key and its own database.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from digiid.apps import central, journals, mailbox, test_payments
from digiid.apps.exchange_status import STATUS_ADDRESSES
from digiid.apps.local_tls import local_tls
from digiid.apps.seals import SealAuthority, ServiceSeal, renewal
from digiid.apps.security_servers import ExchangeOfState, ServerProcesses
from digiid.apps.seed import Seeder, seed
from digiid.apps.serving import Listener, ServerGroup
from digiid.apps.state import StateFolder, StateSettings
from digiid.contracts import members
from digiid.devices.agent.app import AgentSettings, build_agent
from digiid.devices.card_shelf import CardShelf
from digiid.devices.card_slot import CardSlot
from digiid.devices.reader_socket import ReaderServer
from digiid.exchange.central_server import app as central_server
from digiid.exchange.status_site import app as status_site
from digiid.formats.x509.profile import CertificateKind, HierarchyNames, Organization
from digiid.institutions.bank import app as bank
from digiid.institutions.bank.settings import Settings as BankSettings
from digiid.institutions.business_register import app as business_register
from digiid.institutions.business_register.settings import Settings as BusinessSettings
from digiid.institutions.card_bureau import app as card_bureau
from digiid.institutions.card_bureau.settings import Settings as BureauSettings
from digiid.institutions.information_authority import app as information_authority
from digiid.institutions.information_authority.consents import app as consents
from digiid.institutions.information_authority.consents.settings import Settings as ConsentSettings
from digiid.institutions.information_authority.settings import Settings as PortalSettings
from digiid.institutions.information_authority.signing_service import app as signing_service
from digiid.institutions.information_authority.signing_service.settings import Settings as SigningServiceSettings
from digiid.institutions.information_authority.validation_service import app as validation_service
from digiid.institutions.police_board import app as police_board
from digiid.institutions.police_board.settings import Settings as PoliceSettings
from digiid.institutions.population_register import app as population_register
from digiid.institutions.population_register.settings import Settings as PopulationSettings
from digiid.institutions.trust_services import app as trust_services
from digiid.institutions.trust_services.hierarchy import Hierarchy, create_hierarchy, load_hierarchy
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import DigiidError, NotFound
from digiid.platform.clock import Clock, SystemClock
from digiid.platform.db import Database
from digiid.platform.documents import TrustServices
from digiid.platform.entropy import Entropy, SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.log import configure_logging
from digiid.platform.mail import FolderTransport, MailTransport, SmtpTransport
from digiid.platform.pools import Pools
from digiid.platform.timers import TimerThread
from digiid.platform.trust import AllowedHosts, ListSource, OcspClient, TrustedListStore, TsaClient
from digiid.platform.web.dispatch import HostDispatch

log = structlog.get_logger("state")


@dataclass(frozen=True)
class EState:
    """A built state, ready to be served. `seeder` makes the first people once everything answers."""

    folder: StateFolder
    settings: StateSettings
    hierarchy: Hierarchy
    institutions: Sequence[Running[Any]]
    listeners: Sequence[Listener]
    security_servers: ServerProcesses
    shelf: CardShelf
    seeder: Seeder
    ready: threading.Event
    closing: ExitStack

    def start(self) -> None:
        """The security servers start, then workers and timers begin; call it when the listeners answer.

        Raises: Unavailable `state.exchange_not_ready`.
        """
        self.security_servers.start()
        for institution in self.institutions:
            for worker in institution.workers:
                worker.start()
                self.closing.callback(worker.stop)
            timers = TimerThread(institution.timers)
            timers.start()
            self.closing.callback(timers.stop)

    def close(self) -> None:
        self.closing.close()


def build_state(folder: StateFolder, *, clock: Clock, entropy: Entropy) -> EState:
    """Build every institution of the state in `folder`, which has its settings. What is not there yet is made.

    Raises: Malformed `config.…`, Broken or Unavailable when a part of the state cannot be opened.
    """
    settings = folder.load()
    closing = ExitStack()
    # 1 the hierarchy, whose certificates name this state's addresses for good
    hierarchy_settings = TrustServicesSettings(
        hierarchy_folder=folder.path / "hierarchy", passphrase_file=folder.secrets / "hierarchy-passphrase"
    )
    hierarchy = _hierarchy(settings, hierarchy_settings, clock=clock, entropy=entropy)
    # 2 what every institution is given
    tls = local_tls(folder, at=clock.now(), entropy=entropy) if settings.tls else None
    pools, http = Pools(), HttpClient(authority=tls.authority if tls else None)
    closing.callback(pools.close)
    closing.callback(http.close)
    around = Surroundings(clock, entropy, pools, http, folder.path, settings.origins)
    csrf_secret = folder.secret("forms", entropy)
    exchange_of_state = ExchangeOfState(folder, settings, members.NAMES, clock=clock, entropy=entropy)
    closing.callback(exchange_of_state.close)
    exchange = exchange_of_state.client
    servers = exchange_of_state.processes()
    closing.callback(servers.stop)
    servers.load()

    def database_url(institution: str) -> str:
        return settings.database.url.replace("{institution}", institution)

    def open_database(unit: str) -> Database:
        url = database_url(unit)
        return Database(url) if url else Database.sqlite(around.database_folder / f"{unit}.sqlite")

    # 3 whom everybody trusts: the issuing CA, its OCSP, the time stamps, the list
    issuers = [hierarchy.issuing]
    lists = _lists(folder, settings, hierarchy, http=http, clock=clock)
    trust = _trust(settings, lists, http=http, clock=clock, entropy=entropy)
    # 4 the institutions
    shelf = CardShelf(folder.cards, entropy)
    closing.callback(shelf.close)
    running: list[Running[Any]] = [
        trust_services.build(around, settings=hierarchy_settings, open_database=open_database)
    ]
    demonstration = settings.demonstration
    population_deps = population_register.build_deps(
        PopulationSettings(database_url=database_url("population_register"), demonstration=demonstration),
        around,
        seal=consents.consent_seal(issuers),
    )
    running.append(
        population_register.build(
            population_deps,
            around,
            issuers=issuers,
            ocsp=trust.ocsp,
            exchange=exchange(members.POPULATION_REGISTER),
            csrf_secret=csrf_secret,
        )
    )
    business_deps = business_register.build_deps(
        BusinessSettings(database_url=database_url("business_register"), demonstration=demonstration), around
    )
    running.append(
        business_register.build(
            business_deps,
            around,
            issuers=issuers,
            ocsp=trust.ocsp,
            exchange=exchange(members.BUSINESS_REGISTER),
            csrf_secret=csrf_secret,
        )
    )
    bureau_deps, bureau = card_bureau.build(
        BureauSettings(database_url=database_url("card_bureau"), auto_ship=demonstration, demonstration=demonstration),
        around,
        exchange=exchange(members.CARD_BUREAU),
        issuers=issuers,
        ocsp=trust.ocsp,
        blank_card=shelf.new_blank,
        discard_card=_discard(shelf),
        csrf_secret=csrf_secret,
    )
    running.append(bureau)
    police_settings = PoliceSettings(
        database_url=database_url("police_board"),
        demonstration=demonstration,
        lists=settings.screening.lists,
        test_list=settings.screening.test_list,
    )
    police_deps = police_board.build_deps(
        police_settings, around, exchange=exchange(members.POLICE_BOARD), mail=_mail(folder, settings)
    )
    running.append(
        police_board.build(
            police_settings, around, deps=police_deps, issuers=issuers, ocsp=trust.ocsp, csrf_secret=csrf_secret
        )
    )
    running.append(
        information_authority.build(
            PortalSettings(database_url=database_url("information_authority"), demonstration=demonstration),
            around,
            exchange=exchange(members.INFORMATION_AUTHORITY),
            issuers=issuers,
            trust=trust,
            csrf_secret=csrf_secret,
        )
    )

    seal_authority = SealAuthority(hierarchy_settings, open_database, clock, entropy)
    receipts_seal = ServiceSeal(
        folder.secrets,
        seal_authority,
        seal_number=consents.SEAL_NUMBER,
        organization=consents.SEAL_OWNER,
        needed_for="consent receipts",
    )
    running.append(
        consents.build(
            ConsentSettings(
                database_url=database_url(consents.UNIT),
                declarations=settings.consent_declarations,
                demonstration=demonstration,
            ),
            around,
            exchange=exchange(members.CONSENT_SERVICE),
            issuers=issuers,
            trust=trust,
            open_seal=receipts_seal.open,
            csrf_secret=csrf_secret,
        )
    )
    signing = signing_service.build(
        SigningServiceSettings(
            **settings.signing.model_dump(),
            database_url=database_url(signing_service.UNIT),
            demonstration=demonstration,
        ),
        around,
        issuers=issuers,
        trust=trust,
        secrets_folder=folder.secrets,
    )
    running.append(signing.running)

    reports_seal = ServiceSeal(
        folder.secrets,
        seal_authority,
        seal_number="SEAL-VALIDATION",
        organization=Organization("70006317", "TEST Information Authority", "TEST Information Authority e-seal"),
        needed_for="validation reports",
    )
    validation = validation_service.build(
        settings.validation, around, trust=trust, issuers=issuers, open_seal=reports_seal.open, lists=lists
    )
    running.append(validation.running)
    journal_seals = journals.open_seals(folder, seal_authority)
    running.append(renewal([reports_seal, receipts_seal, *dict.fromkeys(journal_seals.values())]))
    running.append(
        bank.build(
            BankSettings(database_url=database_url("bank"), demonstration=demonstration),
            around,
            exchange=exchange(members.BANK),
            issuers=issuers,
            trust=trust,
            csrf_secret=csrf_secret,
            seal=consents.consent_seal(issuers),
        )
    )
    central_deps = central.open_central(folder, clock=clock, entropy=entropy)
    plan = central.demonstration_plan(
        state_port=settings.state_server.message, private_port=settings.private_server.message
    )
    authority = central.Authority(central_deps, hierarchy, hierarchy_settings, open_database)
    provisioned = central.provision_demonstration(
        central_deps, plan, folder=folder.path / "exchange" / "keys", authority=authority
    )
    running.append(central.renewal(central_deps, plan, provisioned, authority=authority))
    exchange_center = central_server.build(
        central_deps,
        around,
        issuers=issuers,
        ocsp=trust.ocsp,
        exchange=exchange(members.INFORMATION_AUTHORITY),
        csrf_secret=csrf_secret,
    )
    running.append(exchange_center.running)
    addresses_file = folder.path / STATUS_ADDRESSES
    running.append(
        status_site.build(around, addresses_file=addresses_file, csrf_secret=csrf_secret, demonstration=demonstration)
    )
    # 5 what only a demonstration has: somebody to pay to, a mailbox to look into
    if demonstration:
        secret_file = police_board.payment_secret_file(police_settings, around)
        running.append(test_payments.build(around, secret_file=secret_file, csrf_secret=csrf_secret))
        if settings.mail.transport == "mailbox":
            running.append(mailbox.build(around, csrf_secret=csrf_secret))
    running.append(journals.build(journal_seals, open_database=open_database, tsa=trust.tsa, clock=clock))
    for institution in running:
        closing.callback(institution.close)
    # 6 the card agent, and the shelf for other processes
    slot = CardSlot(shelf, folder.cards)
    slot.restore()
    closing.callback(slot.close)
    reader = ReaderServer(folder.path / "reader.sock", shelf, on_insert=slot.insert, on_remove=slot.remove)
    closing.callback(reader.close)
    agent = build_agent(shelf, clock, entropy, AgentSettings(folder=folder.path, origin=settings.origins["agent"]))
    # 7 the addresses
    ready = threading.Event()
    programs, sites = _sites(settings, running)
    prefixed = {signing.prefix: signing.app, **dict.fromkeys(validation.prefixes, validation.app)}
    prefixed |= exchange_center.programs
    answering = _WithHealth(_ByPrefix(prefixed, programs), running, pools, ready)
    services = [service for institution in running for service in institution.services]
    listeners = _listeners(settings, sites=sites, programs=answering, agent=agent)
    longest_delay = timedelta(days=police_settings.longest_delay_days)
    listeners += exchange_of_state.gates(services, pools, longest_delay=longest_delay)
    exchange_of_state.write(provisioned, services)
    if tls:
        secure = HostDispatch(sites, programs={})
        listeners.append(Listener(secure, settings.tls_port, certificate=tls.certificate, key=tls.key))
    seeder = Seeder(
        folder,
        settings,
        population_deps,
        business_deps,
        bureau_deps,
        police_deps,
        central_deps,
        shelf,
        tls.authority if tls else None,
    )
    return EState(folder, settings, hierarchy, running, listeners, servers, shelf, seeder, ready, closing)


def _hierarchy(
    settings: StateSettings, hierarchy_settings: TrustServicesSettings, *, clock: Clock, entropy: Entropy
) -> Hierarchy:
    if hierarchy_settings.hierarchy_folder.exists():
        return load_hierarchy(hierarchy_settings.hierarchy_folder)
    return create_hierarchy(
        hierarchy_settings.hierarchy_folder,
        names=HierarchyNames(),
        base_url=settings.base_url,
        passphrase_path=hierarchy_settings.passphrase_file,
        clock=clock,
        entropy=entropy,
    )


def _lists(
    folder: StateFolder, settings: StateSettings, hierarchy: Hierarchy, *, http: HttpClient, clock: Clock
) -> TrustedListStore:
    signer = hierarchy.certificate(CertificateKind.TRUSTED_LIST_SIGNER)
    return TrustedListStore(
        ListSource(f"{settings.base_url}/tl.xml", (signer,)),
        folder=folder.path / "trusted-lists",
        http=http,
        clock=clock,
        hosts=AllowedHosts.of_urls(settings.base_url),
    )


def _trust(
    settings: StateSettings, lists: TrustedListStore, *, http: HttpClient, clock: Clock, entropy: Entropy
) -> TrustServices:
    hosts = AllowedHosts.of_urls(settings.base_url)
    return TrustServices(
        tsa=TsaClient(http, entropy, clock, address=f"{settings.base_url}/tsa", hosts=hosts),
        ocsp=OcspClient(http, entropy, clock, hosts=hosts),
        trust=lists.trust,
        clock=clock,
    )


def _mail(folder: StateFolder, settings: StateSettings) -> MailTransport:
    mail = settings.mail
    if mail.transport == "mailbox":
        return FolderTransport(folder.path / "mailbox", sender=mail.sender)
    return SmtpTransport(
        host=mail.host,
        port=mail.port,
        sender=mail.sender,
        username=mail.username or None,
        password_path=mail.password_file,
    )


def _discard(shelf: CardShelf) -> Any:
    def discard(document_number: str) -> None:
        try:
            shelf.discard(document_number)
        except NotFound:
            log.info("card.gone_already", document=document_number)

    return discard


def _sites(settings: StateSettings, running: Sequence[Running[Any]]) -> tuple[Any, dict[str, Any]]:
    """The application at the programs' address, and every site by its host."""
    sites: dict[str, Any] = {}
    programs: Any = None
    for institution in running:
        for name, site in institution.sites.items():
            if name == "programs":
                programs = site
            else:
                sites[settings.origin(name).split("://", 1)[1]] = site
    return programs, sites


def _listeners(settings: StateSettings, *, sites: Mapping[str, Any], programs: Any, agent: Any) -> list[Listener]:
    addresses = {f"{host}:{settings.port}": programs for host in ("127.0.0.1", "localhost")}
    return [
        Listener(HostDispatch({} if settings.tls else sites, programs=addresses), settings.port),
        Listener(agent, settings.agent_port),
    ]


class _ByPrefix:
    """Sends paths below a prefix to the application that has it, all others to the programs' own."""

    def __init__(self, apps: Mapping[str, Any], others: Any) -> None:
        self._apps, self._others = dict(apps), others

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        found = (app for prefix, app in self._apps.items() if path == prefix or path.startswith(f"{prefix}/"))
        await next(found, self._others)(scope, receive, send)


class _WithHealth:
    """The programs' address with `/health` and `/health/<institution>` before it."""

    def __init__(self, programs: Any, running: Sequence[Running[Any]], pools: Pools, ready: threading.Event) -> None:
        self._programs, self._pools, self._ready = programs, pools, ready
        self._running = {institution.name: institution for institution in running}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/health":
            answers = {name: await self._ask(name) for name in self._running}
            healthy = self._ready.is_set() and all(answer["status"] == "ok" for answer in answers.values())
            await _send_json(send, 200 if healthy else 503, {"ready": self._ready.is_set(), "institutions": answers})
        elif path.removeprefix("/health/") in self._running:
            answer = await self._ask(path.removeprefix("/health/"))
            await _send_json(send, 200 if answer["status"] == "ok" else 503, answer)
        else:
            await self._programs(scope, receive, send)

    async def _ask(self, name: str) -> Mapping[str, Any]:
        try:
            details = await self._pools.pages.run(self._running[name].health)
        except DigiidError as error:
            return {"status": "failed", "code": error.code, "detail": error.detail}
        return {"status": "ok", **details}


async def _send_json(send: Any, status: int, content: Mapping[str, Any]) -> None:
    body = json.dumps(content, default=str).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(folder: StateFolder) -> None:
    """Serve a state in the foreground until SIGTERM: what `digiid up` starts in the background."""
    clock, entropy = SystemClock(), SystemEntropy()
    with folder.serving():
        folder.pid_file.write_text(str(os.getpid()), encoding="ascii")
        state = build_state(folder, clock=clock, entropy=entropy)
        servers = ServerGroup(state.listeners, before_stop=state.security_servers.stop)

        def begin() -> None:
            try:
                state.start()
                if state.settings.demonstration:
                    seed(state.seeder)
                state.ready.set()
                log.info("state.ready", state=str(folder.path))
            except Exception as error:  # the edge of this thread: a state that cannot begin must end visibly
                log.exception("state.not_begun", error=type(error).__name__)
                servers.stop()

        try:
            servers.run(on_ready=lambda: threading.Thread(target=begin, name="digiid-begin", daemon=True).start())
        finally:
            state.close()
        if not state.ready.is_set():
            sys.exit(1)


if __name__ == "__main__":
    state_folder = StateFolder(Path(sys.argv[1]))
    configure_logging(state_folder.log_file)
    serve(state_folder)
