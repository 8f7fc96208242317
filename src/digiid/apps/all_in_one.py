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
from pathlib import Path
from typing import Any

import structlog

from digiid.apps.access_rights import GroupsNow
from digiid.apps.databases import check_databases
from digiid.apps.institutions import Common, build_institutions
from digiid.apps.local_tls import local_tls
from digiid.apps.security_servers import ExchangeOfState, ServerProcesses
from digiid.apps.seed import Seeder, seed
from digiid.apps.serving import Listener, ServerGroup
from digiid.apps.state import StateFolder, StateSettings
from digiid.contracts import members
from digiid.devices.agent.app import AgentSettings, build_agent
from digiid.devices.card_shelf import CardShelf
from digiid.devices.card_slot import CardSlot
from digiid.devices.reader_socket import ReaderServer
from digiid.formats.x509.profile import CertificateKind, HierarchyNames
from digiid.institutions.trust_services.hierarchy import Hierarchy, create_hierarchy, load_hierarchy
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import DigiidError
from digiid.platform.clock import Clock, SystemClock
from digiid.platform.documents import TrustServices
from digiid.platform.entropy import Entropy, SystemEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Running, Surroundings
from digiid.platform.log import configure_logging
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
    check_databases(settings)
    closing = ExitStack()
    # 1 the hierarchy, whose certificates name this state's addresses for good
    hierarchy_settings = TrustServicesSettings(
        hierarchy_folder=folder.path / "hierarchy", passphrase_file=folder.secrets / "hierarchy-passphrase"
    )
    hierarchy = _hierarchy(settings, hierarchy_settings, clock=clock, entropy=entropy)
    # 2 the machine and the state around every institution
    tls = local_tls(folder, at=clock.now(), entropy=entropy) if settings.tls else None
    pools, http = Pools(), HttpClient(authority=tls.authority if tls else None)
    closing.callback(pools.close)
    closing.callback(http.close)
    around = Surroundings(clock, entropy, pools, http, folder.path, settings.origins)
    csrf_secret = folder.secret("forms", entropy)
    # 3 the exchange, by which they reach one another
    exchange = ExchangeOfState(folder, settings, members.NAMES, clock=clock, entropy=entropy)
    closing.callback(exchange.close)
    servers = exchange.processes()
    closing.callback(servers.stop)
    servers.load()
    # 4 whom everybody trusts: the issuing CA, its OCSP, the time stamps, the list
    lists = _lists(folder, settings, hierarchy, http=http, clock=clock)
    trust = _trust(settings, lists, http=http, clock=clock, entropy=entropy)
    # 5 the institutions
    shelf = CardShelf(folder.cards, entropy)
    closing.callback(shelf.close)
    common = Common(
        folder=folder,
        settings=settings,
        around=around,
        csrf_secret=csrf_secret,
        exchange=exchange.client,
        hierarchy=hierarchy,
        hierarchy_settings=hierarchy_settings,
        lists=lists,
        trust=trust,
    )
    built = build_institutions(common, shelf)
    for institution in built.running:
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
    programs, sites = _sites(settings, built.running)
    answering = _WithHealth(_ByPrefix(built.programs, programs), built.running, pools, ready)
    services = [service for institution in built.running for service in institution.services]
    listeners = _listeners(settings, sites=sites, programs=answering, agent=agent)
    groups = GroupsNow(built.central)
    listeners += exchange.gates(services, pools, longest_delay=built.police.longest_delay, groups=groups)
    exchange.write(built.provisioned, services)
    if tls:
        secure = HostDispatch(sites, programs={})
        listeners.append(Listener(secure, settings.tls_port, certificate=tls.certificate, key=tls.key))
    seeder = Seeder(
        folder,
        settings,
        built.population,
        built.business,
        built.bureau,
        built.police,
        built.central,
        shelf,
        tls.authority if tls else None,
    )
    return EState(folder, settings, hierarchy, built.running, listeners, servers, shelf, seeder, ready, closing)


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
    try:
        serve(state_folder)
    except DigiidError as unstarted:
        # It names what is wrong with a file, a setting or the database; where it was raised helps nobody who reads it.
        sys.exit(f"{unstarted.code}: {unstarted.public or unstarted.detail}")
