"""The state's two security servers: what each is given, and their processes beside the state's own.

Authorities stand behind the one server, companies behind the other. Everything that is asked between institutions goes
through them, also on a laptop: the subsystem shows its server a certificate (SSLAUTH), the server signs, logs and asks
the other one, which asks the gate behind it; the gate accepts its own server and nobody else.
"""

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final

import structlog

from digiid.apps.access_rights import OFFERED, RIGHTS, put_in_force
from digiid.apps.central import PRIVATE_SERVER, STATE_SERVER
from digiid.apps.exchange_status import STATUS_ADDRESSES
from digiid.apps.serving import Listener
from digiid.apps.state import ServerPorts, StateFolder, StateSettings, write_new
from digiid.exchange.central_server.registering import KeyFiles, ProvisionedServer
from digiid.exchange.client import Client
from digiid.exchange.delay import DelayRules
from digiid.exchange.gate import AnyService, Gate, Service
from digiid.exchange.granted_rights import FILE_NAME, GrantedRightsFile, Groups, locked
from digiid.exchange.openapi import Descriptions, description_path
from digiid.exchange.security_server.local_conf import Offer, build_local_conf, write_local_conf
from digiid.exchange.security_server.status import write_status_addresses
from digiid.exchange.security_server.tls import (
    InternalIdentity,
    internal_client_context,
    load_or_make_internal_identity,
)
from digiid.kernel.errors import Unavailable
from digiid.kernel.identifiers import ClientId, Party, ServerId
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient
from digiid.platform.pools import Pools

ARCHIVE_KEY: Final = "message-log-archives"
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_RESTART_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1")
log = structlog.get_logger("security_servers")


@dataclass(frozen=True)
class PlacedServer:
    """One of the two: its identifier, ports, folder, and the certificate by which it and its subsystems know it."""

    id: ServerId
    ports: ServerPorts
    folder: Path
    internal: InternalIdentity

    @property
    def url(self) -> str:
        """Where its information systems call it."""
        return f"https://127.0.0.1:{self.ports.information_system}"

    @property
    def health_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.health}"


class ExchangeOfState:
    """The exchange as one state runs it. Made before the institutions, which get their clients from here."""

    def __init__(
        self,
        folder: StateFolder,
        settings: StateSettings,
        members: Iterable[ClientId],
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._state, self._clock, self._entropy = folder, clock, entropy
        self._folder = folder.path / "exchange"
        ports = {STATE_SERVER: settings.state_server, PRIVATE_SERVER: settings.private_server}
        self.servers = {server: self._place(server, own) for server, own in ports.items()}
        self._base_url = settings.base_url
        self._database_url = settings.database.url
        self._systems = {member: self._identity(f"systems/{member.subsystem}", str(member)) for member in members}
        self._clients: list[HttpClient] = []

    def _place(self, server: ServerId, ports: ServerPorts) -> PlacedServer:
        folder = self._folder / server.server_code
        return PlacedServer(server, ports, folder, self._identity(server.server_code, str(server)))

    def _identity(self, place: str, name: str) -> InternalIdentity:
        return load_or_make_internal_identity(
            self._folder / place, name=name, names=_LOOPBACK_NAMES, entropy=self._entropy, now=self._clock.now()
        )

    def server_of(self, member: ClientId) -> PlacedServer:
        return self.servers[STATE_SERVER if member.member_class == "GOV" else PRIVATE_SERVER]

    # ------------------------------------------------------------------ asking

    def client(self, me: ClientId) -> Client:
        """A subsystem's way onto the exchange, with a certificate of its own."""
        server = self.server_of(me)
        context = internal_client_context(self._systems[me], server.internal.certificate_der)
        http = HttpClient(context=context, timeout_seconds=60)
        self._clients.append(http)
        return Client(me, server_url=server.url, http=http, entropy=self._entropy)

    def close(self) -> None:
        for http in self._clients:
            http.close()

    # ------------------------------------------------------------------ answering

    def gates(
        self, services: Sequence[AnyService], pools: Pools, *, longest_delay: timedelta, groups: Groups
    ) -> list[Listener]:
        """For each server the gate behind it, which lets in that server alone, and knows only its own services.

        `longest_delay`: for how long a look may be kept back from its person. `groups`: who is in a global group to
        which the operator gave a right.
        """
        delays = DelayRules(self._clock, longest_delay)
        granted = GrantedRightsFile(self._folder / FILE_NAME, groups)
        listeners = []
        for server in self.servers.values():
            own = [service for service in services if self.server_of(_id_of(service).provider) is server]
            gate = Gate(own, pools=pools, descriptions=Descriptions(own), delays=delays, granted=granted)
            identity = self._gate_identity(server)
            listeners.append(
                Listener(
                    _OnlyHttp(gate),
                    server.ports.gate,
                    certificate=identity.certificate,
                    key=identity.key,
                    passphrase_file=identity.passphrase_file,
                    only_client=server.internal.certificate,
                )
            )
        return listeners

    def _gate_identity(self, server: PlacedServer) -> InternalIdentity:
        return self._identity(f"{server.id.server_code}/gate", f"gate of {server.id.server_code}")

    # ------------------------------------------------------------------ what the processes are given

    def write(self, provisioned: Sequence[ProvisionedServer], services: Sequence[AnyService]) -> None:
        """Settings, rights and addresses of both servers, as this version of the program has its services.

        Raises: Malformed `config.…` when the rights that the operator gave cannot be read.
        """
        for made in provisioned:
            server = self.servers[made.id]
            own = [service for service in services if self.server_of(_id_of(service).provider) is server]
            self._write_offered(server, own)
            write_new(server.folder / "server.toml", self._settings_text(server, made).encode(), 0o600)
        with locked(self._folder):
            put_in_force(self._folder)
        addresses = {str(server.id): f"{server.health_url}/status" for server in self.servers.values()}
        write_status_addresses(self._state.path / STATUS_ADDRESSES, addresses)

    def _write_offered(self, server: PlacedServer, services: Sequence[AnyService]) -> None:
        gate_url, certificate = f"https://127.0.0.1:{server.ports.gate}", self._gate_identity(server).certificate_der
        clients: Mapping[Party, Iterable[bytes]] = {
            member: (identity.certificate_der,)
            for member, identity in self._systems.items()
            if self.server_of(member) is server
        }
        offers = [
            Offer(
                _id_of(service),
                _endpoints_of(service),
                frozenset(_allowed_of(service)),
                gate_url,
                tls_certificate=certificate,
                description_url=gate_url + description_path(_id_of(service)),
            )
            for service in services
        ]
        note = "What the contracts give, written by the state at each start. Changes are lost."
        write_local_conf(server.folder / OFFERED, build_local_conf(clients, offers), note=note)

    def _settings_text(self, server: PlacedServer, made: ProvisionedServer) -> str:
        name = f"exchange_{server.id.server_code}"
        file_url = f"sqlite:///{server.folder.resolve() / 'messages.sqlite'}"
        text = server_settings_text(
            made,
            folder=server.folder,
            database=self._database_url.replace("{institution}", name) if self._database_url else file_url,
            local_conf=server.folder / RIGHTS,
            listeners=Listeners(
                host="127.0.0.1",
                message_port=server.ports.message,
                http_port=0,
                https_port=server.ports.information_system,
                health_port=server.ports.health,
            ),
            tsa_url=self._base_url + "/tsa",
            archive_key=make_archive_key(self._state.secrets / ARCHIVE_KEY, self._entropy),
            log_file=self._state.log_file.with_name(name + ".log"),
        )
        return "# Written by the state at each start. Changes are lost; a server of your own has its own file.\n" + text

    def processes(self) -> "ServerProcesses":
        files = {server.id: server.folder / "server.toml" for server in self.servers.values()}
        urls = {server.id: server.health_url for server in self.servers.values()}
        return ServerProcesses(files, urls)


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where a security server listens. A port that is 0 is not opened."""

    host: str
    message_port: int
    http_port: int
    https_port: int
    health_port: int


def server_settings_text(
    made: ProvisionedServer,
    *,
    folder: Path,
    database: str,
    local_conf: Path,
    listeners: Listeners,
    tsa_url: str,
    archive_key: Path,
    log_file: Path,
) -> str:
    """The settings of a security server as TOML; JSON's strings are TOML's."""
    lines = [
        f"server = {_quoted(made.id)}",
        f"folder = {_quoted(folder)}",
        f"database = {_quoted(database)}",
        f"local_conf = {_quoted(local_conf)}",
        "[configuration]",
        f"anchor = {_quoted(made.anchor.resolve())}",
        "[authentication]",
        *_key_lines(made.authentication, made.passphrase_file),
    ]
    for member, files in made.signing.items():
        lines += ["[[signing]]", f"member = {_quoted(member)}", *_key_lines(files, made.passphrase_file)]
    lines += [
        "[listeners]",
        f"host = {_quoted(listeners.host)}",
        f"message_port = {listeners.message_port}",
        *([f"http_port = {listeners.http_port}"] if listeners.http_port else []),
        f"https_port = {listeners.https_port}",
        f"health_port = {listeners.health_port}",
        "[message_log]",
        f"tsa_urls = [{_quoted(tsa_url)}]",
        "[message_log.archive]",
        f"folder = {_quoted(folder / 'archives')}",
        'grouping = "member"',
        f"key_file = {_quoted(archive_key)}",
        "[log]",
        f"file = {_quoted(log_file)}",
    ]
    return "\n".join(lines) + "\n"


def _key_lines(files: KeyFiles, passphrase_file: Path) -> list[str]:
    return [
        f"key = {_quoted(files.key.resolve())}",
        f"passphrase_file = {_quoted(passphrase_file.resolve())}",
        f"certificate = {_quoted(files.certificate.resolve())}",
    ]


def make_archive_key(file: Path, entropy: Entropy) -> Path:
    """Who has this file can open the archives of a message log: base64, made once."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_new(file, base64.b64encode(entropy.token_bytes(32)) + b"\n", 0o600)
    return file


def _id_of(service: AnyService) -> Any:
    return service.operation.service if isinstance(service, Service) else service.service


def _allowed_of(service: AnyService) -> frozenset[ClientId]:
    return service.operation.allowed if isinstance(service, Service) else service.allowed


def _endpoints_of(service: AnyService) -> tuple[tuple[str, str], ...]:
    if isinstance(service, Service):
        return (("POST", service.operation.path.removeprefix(service.operation.service.path)),)
    return service.endpoints


def _quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)


class _OnlyHttp:
    """Answers the server's lifespan messages for an application that only speaks HTTP."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        await self._app(scope, receive, send)


# ------------------------------------------------------------------ their processes


@dataclass
class _Child:
    server: ServerId
    file: Path
    health_url: str
    process: "subprocess.Popen[bytes] | None" = None
    ended: int = 0
    alive: IO[bytes] | None = field(default=None, repr=False)


class ServerProcesses:
    """Starts the servers, starts one anew that has ended, stops them with the state.

    Each child reads from a pipe whose other end only this process has: when this process dies, however it dies, the
    child reads its end and stops too.
    """

    def __init__(self, files: Mapping[ServerId, Path], health_urls: Mapping[ServerId, str]) -> None:
        self._children = [_Child(server, file, health_urls[server]) for server, file in files.items()]
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._watch = threading.Thread(target=self._watching, name="digiid-security-servers", daemon=True)
        self._http = HttpClient(timeout_seconds=2)

    @property
    def process_ids(self) -> Mapping[ServerId, int]:
        """Of those that run."""
        return {child.server: child.process.pid for child in self._children if child.process is not None}

    def load(self) -> None:
        """Have the programs loaded beside what the caller does; they begin with `start`, and read their files then."""
        for child in self._children:
            self._spawn(child)

    def start(self) -> None:
        """Begin, and wait until each answers that it is healthy. Raises: Unavailable `state.exchange_not_ready`."""
        for child in self._children:
            if child.process is None:
                self._spawn(child)
            self._begin(child)
        self._watch.start()
        deadline = time.monotonic() + _READY_SECONDS
        for child in self._children:
            while not self._is_healthy(child):
                if time.monotonic() > deadline or self._stopping.is_set():
                    raise Unavailable(
                        "state.exchange_not_ready", f"{child.server} does not become ready; its log says why"
                    )
                time.sleep(0.05)

    def _spawn(self, child: _Child) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            command = [sys.executable, "-m", "digiid.apps.security_server", "--with-parent", str(child.file)]
            child.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603

    def _begin(self, child: _Child) -> None:
        assert child.process is not None
        assert child.process.stdin is not None
        try:
            child.process.stdin.write(b"begin\n")
            child.process.stdin.flush()
        except OSError:
            return  # it has ended already: the watch starts another one
        log.info("security_server.started", server=str(child.server), process=child.process.pid)

    def _is_healthy(self, child: _Child) -> bool:
        try:
            return self._http.request("GET", f"{child.health_url}/").status == 200
        except Unavailable:
            return False

    def _watching(self) -> None:
        again: dict[ServerId, float] = {}
        while not self._stopping.wait(0.2):
            for child in self._children:
                if child.process is None or child.process.poll() is None:
                    continue
                now = time.monotonic()
                if child.server not in again:
                    pause = _RESTART_SECONDS[min(child.ended, len(_RESTART_SECONDS) - 1)]
                    child.ended += 1
                    again[child.server] = now + pause
                    log.error("security_server.ended", server=str(child.server), code=child.process.returncode)
                elif now >= again[child.server]:
                    del again[child.server]
                    self._spawn(child)
                    self._begin(child)

    def stop(self) -> None:
        """Let them finish what they answer. May be called again."""
        self._stopping.set()
        if self._watch.is_alive():
            self._watch.join(timeout=5)
        with self._lock:
            running = [child.process for child in self._children if child.process and child.process.poll() is None]
            for process in running:
                process.terminate()
            for process in running:
                try:
                    process.wait(timeout=_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for child in self._children:
                if child.process and child.process.stdin:
                    child.process.stdin.close()
        self._http.close()
