"""One security server put together: its parts, its listeners, the jobs beside them, and how it ends."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import make_url

from digiid.exchange.global_conf import ConfigurationClient, GlobalConf, read_anchor_file
from digiid.exchange.message_log import MessageLog, authorities_of
from digiid.exchange.security_server.connections import Admission, Connections, Handler, Listener
from digiid.exchange.security_server.consumer import Consumer, InsideAnswer
from digiid.exchange.security_server.deps import Deps
from digiid.exchange.security_server.envelope import ENVELOPE_OVERHEAD_BYTES
from digiid.exchange.security_server.information_systems import InformationSystems
from digiid.exchange.security_server.local_conf import LocalConfFile
from digiid.exchange.security_server.maintenance import MAINTENANCE_FILE, MaintenanceSwitch
from digiid.exchange.security_server.metadata import DescriptionClient, MetadataService
from digiid.exchange.security_server.monitoring import Monitoring, MonitoringService
from digiid.exchange.security_server.own_evidence import (
    ASIC,
    VERIFICATION_CONF,
    answer_asic,
    answer_verification_conf,
)
from digiid.exchange.security_server.own_keys import OwnKeys, OwnKeysWatch, load_own_keys
from digiid.exchange.security_server.own_services import OwnServices
from digiid.exchange.security_server.own_status import OwnStatus, sha1_of
from digiid.exchange.security_server.peers import Peers
from digiid.exchange.security_server.places import Places
from digiid.exchange.security_server.provider import Provider
from digiid.exchange.security_server.settings import SecurityServerSettings
from digiid.exchange.security_server.signing_keys import Signers
from digiid.exchange.security_server.spool import SpoolFolder
from digiid.exchange.security_server.status_port import PeerStatus, StatusPort
from digiid.exchange.security_server.tls import (
    client_context,
    internal_server_context,
    load_or_make_internal_identity,
    server_context,
)
from digiid.exchange.security_server.turns import Turns
from digiid.kernel.errors import Conflict, DigiidError
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.http import HttpClient

log = structlog.get_logger("exchange.security_server")

_HTTP_SECONDS = 10.0
_WATCH_SECONDS = 1.0
_MONITORING_SECONDS = 5.0
_PURGE_SECONDS = 3600.0
_BACKLOG = 1024
_FORMER_TOLD = timedelta(minutes=10)  # longer than a message may take


class SecurityServer:
    """Made from its settings; `start` and `stop` on one event loop."""

    def __init__(self, settings: SecurityServerSettings, *, clock: Clock, entropy: Entropy) -> None:
        """Reads keys, certificates, anchor and rights, and opens the databases; nothing is fetched, nothing listens.

        Raises: Malformed `keys.…`, `x509.…`, `exchange.local_conf.…`, `exchange.global_conf.…`; NotFound
            `certificate_file.absent`, `exchange.global_conf.file`; Unavailable `keys.token`, `exchange.logging_failed`.
        """
        limits, timeouts, folder = settings.limits, settings.timeouts, settings.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings, self._clock, self._entropy = settings, clock, entropy
        self._http = HttpClient(timeout_seconds=_HTTP_SECONDS)
        self._timeouts = timeouts.of_connections()
        self.connections = Connections()

        # 1 whom to trust, and whom this server serves
        anchor = read_anchor_file(settings.configuration.anchor)
        self.configuration = ConfigurationClient(folder / "global-conf", anchor, self._http, clock, entropy)
        self.local = LocalConfFile(settings.local_conf, clock)

        # 2 what it proves itself with
        own = load_own_keys(settings)
        self._authentication = own.authentication
        self._former: tuple[x509.Certificate, datetime] | None = None  # what connections in use may still show
        self.status = OwnStatus(
            folder / "ocsp",
            own.certificates,
            http=self._http,
            entropy=entropy,
            clock=clock,
            find_conf=self.configuration.current,
        )
        self._own = OwnKeysWatch(settings, own, status=self.status, find_conf=self.configuration.current, clock=clock)
        self.signers = Signers(own.identities, self.status, use_hash_chain=settings.signature_form == "hash_chain")
        self.internal_identity = load_or_make_internal_identity(
            folder, name=str(settings.server_id), names=settings.listeners.names, entropy=entropy, now=clock.now()
        )

        # 3 what it keeps
        self.log = MessageLog.open(
            settings.message_log,
            _open_database(settings.database),
            clock,
            authorities=authorities_of(settings.message_log, self._http, entropy, clock),
            verify_unit=lambda certificate, at: self.configuration.current().verify_time_stamping_unit(certificate, at),
        )
        self.monitoring = Monitoring(_open_database(settings.monitoring_url), clock, settings.monitoring)

        # 4 whom it calls
        self._client_context = self._make_client_context()
        self._peers = Peers(
            self.connections,
            PeerStatus(
                self.connections,
                clock,
                refresh_seconds=settings.ocsp.refresh_seconds,
                timeouts=self._timeouts,
                answer_seconds=timeouts.shortest_connect_seconds,
            ),
            timeouts=timeouts,
            max_idle=limits.max_idle_connections,
            find_context=lambda: self._client_context,
        )
        systems = InformationSystems(
            self.connections,
            self.internal_identity,
            timeouts=timeouts,
            max_idle=limits.max_idle_connections,
            max_body_bytes=limits.max_body_bytes,
        )

        # 5 the two directions
        def places() -> Places:
            return Places(
                total=limits.max_messages,
                of_member=min(limits.max_messages_of_member, limits.max_messages),
                max_waiting=limits.max_waiting,
            )

        self.deps = Deps(
            server=settings.server_id,
            settings=settings,
            clock=clock,
            entropy=entropy,
            find_conf=self.configuration.current,
            own_responses=self._own_responses,
            local=self.local,
            log=self.log,
            monitoring=self.monitoring,
            maintenance=MaintenanceSwitch(folder / MAINTENANCE_FILE),
            signers=self.signers,
            peers=self._peers,
            systems=systems,
            own_services=OwnServices(
                MetadataService(DescriptionClient(systems.context_for).fetch),
                MonitoringService(self.monitoring, settings.server_id, clock),
            ),
            spools=SpoolFolder(
                folder / "spool", memory_bytes=limits.memory_body_bytes, max_spooled_bytes=limits.max_spooled_bytes
            ),
            outgoing=places(),
            incoming=places(),
            turns=Turns(),
        )
        inside: dict[str, InsideAnswer] = {
            ASIC: lambda exchange, client: answer_asic(self.log, exchange.head.target.partition("?")[2], client),
            VERIFICATION_CONF: lambda _exchange, _client: answer_verification_conf(self.configuration.current, clock),
        }
        self.consumer, self.provider = Consumer(self.deps, inside), Provider(self.deps)
        self._listeners: list[Listener] = []
        self._message_listener: Listener | None = None
        self._https_listener: Listener | None = None
        self._jobs: list[asyncio.Task[None]] = []
        self._renewing = asyncio.Lock()
        self._roots: frozenset[bytes] = frozenset()
        self._system_certificates: frozenset[bytes] = frozenset()

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen. What cannot be had yet (configuration, OCSP responses) is fetched on; until then messages fail.

        Raises: Conflict `exchange.port_taken`.
        """
        settings, at = self.settings.listeners, self.settings
        self.connections.start()
        self.log.start()
        # 1 what there is to judge by
        await asyncio.to_thread(self._refresh_configuration)
        await asyncio.to_thread(self._refresh_status)
        self._roots, self._system_certificates = self._find_roots(), self._find_system_certificates()
        # 2 other servers
        self._message_listener = await self._listen(
            "messages", self.provider.answer, settings.host, settings.message_port, self._make_server_context()
        )
        await self._listen("ocsp", StatusPort(self.status, self._entropy).answer, settings.host, settings.ocsp_port)
        # 3 our own information systems
        inside = settings.information_system_host
        if settings.http_port:
            await self._listen("http", self.consumer.answer, inside, settings.http_port)
        if settings.https_port:
            context = internal_server_context(self.internal_identity, self._system_certificates)
            self._https_listener = await self._listen(
                "https", self.consumer.answer, inside, settings.https_port, context
            )
        # 4 what goes on beside
        self._jobs = [
            asyncio.create_task(self._every(at.configuration.refresh_seconds, self._refresh_configuration)),
            asyncio.create_task(self._keep_status()),
            asyncio.create_task(self._every(_MONITORING_SECONDS, self.monitoring.flush)),
            asyncio.create_task(self._every(_PURGE_SECONDS, self.monitoring.purge)),
            asyncio.create_task(self._watch()),
        ]
        log.info("exchange.server_started", server=str(at.server_id), message_port=settings.message_port)

    async def stop(self) -> None:
        """Take nothing new, finish what is being answered, write what waits."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        grace = self.settings.timeouts.stop_seconds
        await asyncio.gather(*(each.stop(grace) for each in self._listeners))
        await self.connections.close()
        await asyncio.to_thread(self.log.stop)
        await asyncio.to_thread(self.monitoring.close)
        self._http.close()
        log.info("exchange.server_stopped", server=str(self.settings.server_id))

    async def listen_also(self, name: str, handler: Handler, port: int) -> None:
        """One more listener for the inside, such as health checks. Raises: Conflict `exchange.port_taken`."""
        await self._listen(name, handler, self.settings.listeners.information_system_host, port)

    async def _listen(
        self, name: str, handler: Handler, host: str, port: int, context: ssl.SSLContext | None = None
    ) -> Listener:
        limits = self.settings.limits
        # Other servers share the two ports outside; the information systems inside are few, and often one.
        of_peer = limits.max_connections_of_server if name in ("messages", "ocsp") else limits.max_connections
        admission = Admission(limits.max_connections, of_peer, limits.max_body_bytes + ENVELOPE_OVERHEAD_BYTES)
        listener = Listener(name, handler, self.connections, admission=admission, timeouts=self._timeouts)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise Conflict("exchange.port_taken", f"{name}: {host}:{port}: {error.strerror}") from error
        bound.setblocking(False)
        await listener.start(bound, context)
        self._listeners.append(listener)
        return listener

    # ------------------------------------------------------------------ what changes while it runs

    async def reload(self) -> None:
        """Fetch configuration and OCSP responses now, and take up changed certificates, also those that had to wait."""
        await asyncio.to_thread(self._refresh_configuration)
        await asyncio.to_thread(self._refresh_status)
        async with self._renewing:
            self._own.look_again()
            await self._renew_what_changed()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                await self._renew_contexts()
            except DigiidError as error:
                log.error("exchange.contexts_not_renewed", code=error.code, reason=error.detail)
            except Exception:  # the edge of a job: it goes on with what it has
                log.exception("exchange.contexts_not_renewed")

    async def _renew_contexts(self) -> None:
        """Contexts are made anew when what they show or trust has changed. One caller at a time; the others wait."""
        async with self._renewing:
            await self._renew_what_changed()

    async def _renew_what_changed(self) -> None:
        if (found := await asyncio.to_thread(self._own.look)) is not None:
            await self._take_up(found)
        roots, certificates = self._find_roots(), self._find_system_certificates()
        # keys that wait in the files until they can be used do not come in by new roots
        if roots != self._roots and self._message_listener is not None and self._own.files_are_current:
            self._roots = roots
            await self._message_listener.replace_context(self._make_server_context())
            log.info("exchange.roots_changed", count=len(roots))
        if certificates != self._system_certificates and self._https_listener is not None:
            self._system_certificates = certificates
            context = internal_server_context(self.internal_identity, certificates)
            await self._https_listener.replace_context(context)
            log.info("exchange.system_certificates_changed", count=len(certificates))

    async def _take_up(self, found: OwnKeys) -> None:
        """Other keys or certificates of our own, which can be used."""
        self.status.replace_certificates(found.certificates)
        self.signers.replace(found.identities)
        if found.authentication != self._authentication:
            self._former = self._authentication, self._clock.now()
            self._authentication = found.authentication
        self._client_context = self._make_client_context()
        self._peers.forget_connections()
        if self._message_listener is not None:
            await self._message_listener.replace_context(self._make_server_context())
        log.info("exchange.keys_taken_up", certificates=len(found.certificates))

    def _own_responses(self) -> tuple[bytes, ...]:
        """About the certificate that we show, and for a while the one that a connection may have begun with."""
        now = self._clock.now()
        responses = self.status.responses_for(self._authentication, at=now)
        if self._former is not None and now - self._former[1] < _FORMER_TOLD:
            with contextlib.suppress(DigiidError):
                responses += (self.status.find_by_sha1(sha1_of(self._former[0])),)
        return responses

    @property
    def own_certificates(self) -> tuple[x509.Certificate, ...]:
        """The authentication certificate first."""
        return self._own.current.certificates

    def _find_roots(self) -> frozenset[bytes]:
        conf = self._find_conf()
        return frozenset(each.public_bytes(Encoding.DER) for each in conf.tls_roots()) if conf else self._roots

    def _find_system_certificates(self) -> frozenset[bytes]:
        return frozenset(der for client in self.local.current().clients for der in client.certificates)

    def _find_conf(self) -> GlobalConf | None:
        with contextlib.suppress(DigiidError):
            return self.configuration.current()
        return None

    def _make_server_context(self) -> ssl.SSLContext:
        own = self.settings.authentication
        return server_context(
            certificate=own.certificate,
            key=Path(own.key),
            passphrase_file=own.passphrase_file,
            roots_der=self._roots,
            accepts_tls12=self.settings.accepts_tls12,
        )

    def _make_client_context(self) -> ssl.SSLContext:
        own = self.settings.authentication
        return client_context(
            certificate=own.certificate,
            key=Path(own.key),
            passphrase_file=own.passphrase_file,
            accepts_tls12=self.settings.accepts_tls12,
        )

    # ------------------------------------------------------------------ jobs

    def _refresh_configuration(self) -> None:
        try:
            self.configuration.refresh()
        except DigiidError as error:
            log.warning("exchange.configuration_not_refreshed", code=error.code, reason=error.detail)

    def _refresh_status(self) -> bool:
        try:
            return self.status.refresh()
        except DigiidError as error:
            log.warning("exchange.ocsp_not_refreshed", code=error.code, reason=error.detail)
            return False

    async def _keep_status(self) -> None:
        settings = self.settings.ocsp
        complete = self.status.oldest_update() is not None
        while True:
            await asyncio.sleep(settings.refresh_seconds if complete else settings.retry_seconds)
            complete = await asyncio.to_thread(self._refresh_status)

    async def _every(self, seconds: float, job: Callable[[], object]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(job)
            except Exception:  # the edge of a job: the next time it may succeed
                log.exception("exchange.job_failed")


def _open_database(url: str) -> Database:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return Database.sqlite(Path(parsed.database))
    return Database(url)
