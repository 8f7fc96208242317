"""Two security servers, an information system on each side, and what they depend on, over real sockets.

`PRIVATE` serves the bank's subsystem `loans`, which asks; `STATE` serves the board's subsystem `police`, which answers
with the service `documents`. A signed configuration, OCSP and time stamps come from the test hierarchy's own server.
The clock stands still until a test moves it.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvloop
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from digiid.exchange.security_server.local_conf import Offer, build_local_conf, write_local_conf
from digiid.exchange.security_server.server import SecurityServer
from digiid.exchange.security_server.settings import SecurityServerSettings
from digiid.formats.global_conf import CaInfo, OcspResponder, SharedParams, build_anchor
from digiid.formats.global_conf import SecurityServer as RegisteredServer
from digiid.kernel.identifiers import ClientId, MemberId, ServerId, ServiceId
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.ports import free_ports
from tests.support.global_conf import (
    AUTHENTICATION,
    BANK,
    BOARD,
    LOANS,
    PKI,
    POLICE,
    PRIVATE,
    SIGNING,
    STATE,
    Central,
    Web,
    approved_ca,
    member_name,
    params,
)
from tests.support.pki import Identity, distinguished_name, key_usage, make_certificate, new_key
from tests.support.serve import serving
from tests.support.trust_server import TrustServer, running_trust_server

T = TypeVar("T")
DOCUMENTS = ServiceId(POLICE, "documents")
CARDS = ClientId(BANK.instance, BANK.member_class, BANK.member_code, "cards")
PASSPHRASE = b"TEST passphrase"


def free_message_port() -> int:
    """A port with the one that is 77 above it, both free."""
    return free_ports(1, beside=(77,))[0]


# ------------------------------------------------------------------ the provider's information system


@dataclass
class Asked:
    """One request as the information system got it."""

    method: str
    target: str
    headers: dict[str, str]
    body_sha256: str
    body_bytes: int


@dataclass
class InformationSystem:
    """Echoes what it is asked. Paths below the service code: `/status/N`, `/big/BYTES`, `/cut/BYTES`, `/empty`."""

    asked: list[Asked] = field(default_factory=list)
    answer_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        digest, size = hashlib.sha256(), 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            digest.update(event.get("body", b""))
            size += len(event.get("body", b""))
            if not event.get("more_body"):
                break
        target = scope["raw_path"].decode() + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.asked.append(Asked(scope["method"], target, headers, digest.hexdigest(), size))
        self.before_answer()
        rest = scope["path"].split("/")[7:]
        await self._answer(rest, scope["method"], digest.hexdigest(), send)

    async def _answer(self, rest: list[str], method: str, digest: str, send: Any) -> None:
        status, body, media_type = 200, json.dumps({"method": method, "sha256": digest}).encode(), b"application/json"
        if rest[:1] == ["status"]:
            status, body = int(rest[1]), b"" if rest[1] in ("204", "304") else b"as it was asked"
        if rest[:1] == ["empty"]:
            body = b""
        headers = [(b"content-type", media_type), *self.answer_headers]
        if rest[:1] in (["big"], ["cut"]):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            left = int(rest[1])
            while left > 0:
                piece = b"\xa5" * min(left, 64 * 1024)
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if rest[0] == "cut":
                raise ConnectionError("the information system breaks off")
            await send({"type": "http.response.body", "body": b""})
            return
        if status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


# ------------------------------------------------------------------ one server


@dataclass
class Keys:
    """What one server proves itself with, and its members sign with."""

    authentication: Identity
    signing: dict[MemberId, Identity]


def make_keys(server: ServerId, members: Sequence[MemberId], *, kind: str = "p256") -> Keys:
    name = distinguished_name(str(server).replace("/", "-"), organization="TEST")
    return Keys(
        PKI.issue(name, kind=kind, extensions=AUTHENTICATION),
        {member: PKI.issue(member_name(member), kind=kind, extensions=SIGNING) for member in members},
    )


def write_identity(folder: Path, name: str, identity: Identity, *others: Identity) -> tuple[Path, Path]:
    """Key and certificate as PEM files, the key encrypted."""
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    key.write_bytes(identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE)))
    certificate.write_bytes(b"".join(one.certificate.public_bytes(Encoding.PEM) for one in (identity, *others)))
    return key, certificate


class RunningServer:
    """A security server on a loop and a thread of its own."""

    def __init__(self, settings: SecurityServerSettings, clock: ManualClock) -> None:
        self.settings, self._clock = settings, clock
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.server: SecurityServer

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

        async def work() -> None:
            self.server = SecurityServer(self.settings, clock=self._clock, entropy=SystemEntropy())
            await self.server.start()

        self.run(work())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """On the server's loop, to its end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=60)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def reload(self) -> None:
        self.run(self.server.reload())

    def stop(self) -> None:
        self.run(self.server.stop())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    @property
    def messages(self) -> str:
        return f"127.0.0.1:{self.settings.listeners.message_port}"

    def logged(self, message_id: str) -> list[Any]:
        return self.server.log.find(message_id)


# ------------------------------------------------------------------ the room


@dataclass
class ExchangeRoom:
    """`ask` is the bank's information system calling the board's service through both servers.

    `changes` are made to every configuration that is published.
    """

    folder: Path
    clock: ManualClock
    trust: TrustServer
    central: Central
    provider: InformationSystem
    provider_url: str
    keys: dict[ServerId, Keys]
    servers: dict[ServerId, RunningServer] = field(default_factory=dict)
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def private(self) -> RunningServer:
        return self.servers[PRIVATE]

    @property
    def state(self) -> RunningServer:
        return self.servers[STATE]

    @property
    def base_url(self) -> str:
        """Where the bank's information system calls its security server."""
        return f"http://127.0.0.1:{self.private.settings.listeners.http_port}"

    # -------------------------------------------------------------- configuration

    def registered(self, server: ServerId, clients: frozenset[ClientId]) -> RegisteredServer:
        """The server as the configuration lists it."""
        fingerprint = hashlib.sha256(self.keys[server].authentication.der).digest()
        port = self.servers[server].settings.listeners.message_port
        return RegisteredServer(server, f"127.0.0.1:{port}", frozenset({fingerprint}), clients)

    def shared(self, **changes: object) -> SharedParams:
        servers = (self.registered(STATE, frozenset({POLICE})), self.registered(PRIVATE, frozenset({LOANS, CARDS})))
        responder = (OcspResponder(f"{self.trust.base}/ocsp"),)
        ca = approved_ca(
            top=CaInfo(PKI.root.certificate, responder), intermediates=(CaInfo(PKI.ca.certificate, responder),)
        )
        values = {"servers": servers, "sources": (self.central.source(),), "approved_cas": (ca,)}
        return params(**(values | self.changes | changes))

    def publish(self, **changes: object) -> None:
        """A new configuration, one instant newer than the one before."""
        web = self.central.web
        self.central.publish(self.clock.now(), shared=self.shared(**changes))
        self.trust.lists.clear()
        for url, answer in web.answers.items():
            assert isinstance(answer, bytes)
            self.trust.lists[url.removeprefix(self.trust.base)] = answer

    def republish(self, **changes: object) -> None:
        """Publish, and have both servers take it up now."""
        self.clock.advance(timedelta(seconds=1))
        self.publish(**changes)
        for server in self.servers.values():
            server.reload()

    def write_rights(self, server: ServerId, **options: Any) -> None:
        """The local configuration of a server."""
        clients: Mapping[ClientId, tuple[bytes, ...]] = {LOANS: (), CARDS: ()} if server == PRIVATE else {POLICE: ()}
        offers = []
        if server == STATE:
            offers = [Offer(DOCUMENTS, (), frozenset({LOANS}), self.provider_url, **options)]
        settings = build_local_conf(clients, offers, mode="NOSSL")
        write_local_conf(self.folder / server.server_code / "local.toml", settings)

    # -------------------------------------------------------------- asking

    def ask(
        self,
        method: str = "GET",
        path: str = "",
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        client: ClientId = LOANS,
        service: ServiceId = DOCUMENTS,
        base_url: str | None = None,
        **options: Any,
    ) -> httpx.Response:
        sent = {"X-Road-Client": str(client), **(headers or {})}
        url = f"{base_url or self.base_url}{service.path}{path}"
        return httpx.request(method, url, content=content, headers=sent, timeout=60, trust_env=False, **options)


@contextmanager
def exchange_room(
    folder: Path,
    *,
    kind: str = "p256",
    signature_form: str = "direct",
    changes: Mapping[str, Mapping[str, object]] | None = None,
    keys: Mapping[ServerId, Keys] | None = None,
    prepare: Callable[[ExchangeRoom], None] | None = None,
) -> Iterator[ExchangeRoom]:
    """`changes` by section of the settings; `prepare` is called before the servers start."""
    clock = ManualClock(datetime.now(UTC).replace(microsecond=0))
    with ExitStack() as stack:
        trust = stack.enter_context(running_trust_server(PKI, clock))
        provider, provider_port = InformationSystem(), free_ports(1)[0]
        stack.enter_context(serving(provider, provider_port))
        made = keys or {STATE: make_keys(STATE, [BOARD], kind=kind), PRIVATE: make_keys(PRIVATE, [BANK], kind=kind)}
        central = Central(Web(), host=trust.base)
        room = ExchangeRoom(folder, clock, trust, central, provider, f"http://127.0.0.1:{provider_port}", dict(made))
        trust.knows(PKI.ca.certificate, issuer=PKI.root)
        anchor = folder / "anchor.xml"
        folder.mkdir(parents=True, exist_ok=True)
        anchor.write_bytes(build_anchor(central.anchor))
        (folder / "passphrase").write_bytes(PASSPHRASE)
        for server, own in made.items():
            settings = _settings(room, server, own, anchor, signature_form, changes or {})
            room.servers[server] = RunningServer(settings, clock)
            room.write_rights(server)
            for identity in (own.authentication, *own.signing.values()):
                trust.knows(identity.certificate)
        if prepare is not None:
            prepare(room)
        room.publish()
        for running in room.servers.values():
            running.start()
            stack.callback(running.close)
            stack.callback(running.stop)
        yield room


def _settings(
    room: ExchangeRoom,
    server: ServerId,
    own: Keys,
    anchor: Path,
    signature_form: str,
    changes: Mapping[str, Mapping[str, object]],
) -> SecurityServerSettings:
    folder = room.folder / server.server_code
    authentication = write_identity(folder, "authentication", own.authentication)
    http_port, https_port = free_ports(2)
    values: dict[str, Any] = {
        "server": str(server),
        "folder": folder,
        "database": f"sqlite:///{folder / 'log.sqlite'}",
        "local_conf": folder / "local.toml",
        "configuration": {"anchor": anchor, "refresh_seconds": 3600},
        "authentication": _key_settings(room, *authentication),
        "signing": [
            {"member": str(member), **_key_settings(room, *write_identity(folder, member.member_code, identity))}
            for member, identity in own.signing.items()
        ],
        "signature_form": signature_form,
        "listeners": {
            "host": "127.0.0.1",
            "message_port": free_message_port(),
            "http_port": http_port,
            "https_port": https_port,
        },
        "message_log": {"tsa_urls": [f"{room.trust.base}/tsa"]},
    }
    for section, fields in changes.items():
        if section == "":
            values |= fields
        else:
            values[section] = {**values.get(section, {}), **fields}
    return SecurityServerSettings.model_validate(values)


def _key_settings(room: ExchangeRoom, key: Path, certificate: Path) -> dict[str, object]:
    return {"key": str(key), "passphrase_file": room.folder / "passphrase", "certificate": certificate}


def self_signed(common_name: str) -> Identity:
    """A certificate of an information system, trusted by nobody but who registered it."""
    name = distinguished_name(common_name, organization="TEST")
    return make_certificate(name, new_key("p256"), None, (key_usage(digital_signature=True),))


def wait_until(holds: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """For what another thread does in its own time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


def write_toml(file: Path, settings: SecurityServerSettings) -> None:
    """The settings as the file that a process of its own is started with."""
    values = json.loads(settings.model_dump_json(exclude_none=True))
    file.write_text("\n".join(_toml_lines(values)) + "\n", encoding="utf-8")


def _toml_lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    nested = {name: value for name, value in values.items() if isinstance(value, dict)}
    tables = {
        name: value
        for name, value in values.items()
        if isinstance(value, list) and value[:1] and isinstance(value[0], dict)
    }
    for name, value in values.items():
        if name not in nested and name not in tables:
            yield f"{name} = {json.dumps(value)}"
    for name, value in nested.items():
        yield f"[{prefix}{name}]"
        yield from _toml_lines(value, f"{prefix}{name}.")
    for name, entries in tables.items():
        for entry in entries:
            yield f"[[{prefix}{name}]]"
            yield from _toml_lines(entry, f"{prefix}{name}.")
