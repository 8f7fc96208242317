"""An exchange of real processes: two security servers, a provider by mutual TLS, and what they depend on.

Keys, configuration, OCSP and time stamps are the test hierarchy's. The room's own process serves those three:
`python -m bench.exchange_room FOLDER KIND`; the provider is `python -m bench.exchange_room --provider FILE`.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Annotated, Any

import uvicorn
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import Field
from tests.support.exchange_room import (
    DOCUMENTS,
    PASSPHRASE,
    Keys,
    free_message_port,
    make_keys,
    write_identity,
    write_toml,
)
from tests.support.global_conf import BANK, BOARD, LOANS, PKI, POLICE, PRIVATE, STATE, Central, Web, approved_ca, params
from tests.support.trust_server import TrustServer, running_trust_server

from bench.exchange_client import NUMBER
from digiid.contracts.operation import Message, Operation
from digiid.exchange.gate import Caller, Gate, Service
from digiid.exchange.security_server.local_conf import Offer, build_local_conf, write_local_conf
from digiid.exchange.security_server.settings import SecurityServerSettings
from digiid.exchange.security_server.tls import InternalIdentity, load_or_make_internal_identity
from digiid.formats.global_conf import CaInfo, OcspResponder, SecurityServer, build_anchor
from digiid.kernel.identifiers import ServerId, ServiceId
from digiid.platform.clock import SystemClock
from digiid.platform.entropy import SystemEntropy
from digiid.platform.pools import Pools
from digiid.platform.ports import free_ports

CLIENT, PROVIDER = "client", "provider"
BARE_PATH = f"{DOCUMENTS.path}/v1"
BIG_PATH = f"{DOCUMENTS.path}/big/"
_VALID_FOR = timedelta(hours=12)
_READY_SECONDS = 60.0
_ANSWER = json.dumps({"document": "AA1234567", "status": "valid", "text": "x" * 440}).encode()


# ------------------------------------------------------------------ the provider


class Question(Message):
    """What the service behind the gate is asked."""

    personal_code: Annotated[str, Field(pattern=r"^[1-8][0-9]{10}$")]
    text: Annotated[str, Field(max_length=1000)]


class Answer(Message):
    """And what it answers, from memory."""

    document_number: str
    status: str
    text: str


REGISTER = Operation(ServiceId(POLICE, "register"), Question, Answer, frozenset({LOANS}))
QUESTION = Question(personal_code="39001010000", text="x" * 200)


def _provider() -> Any:
    """Two services: one behind our own gate, with a typed contract and on a thread of the pool, as every institution
    answers; and a bare one, which is nothing but HTTP.
    """

    def answer(_caller: Caller, question: Question) -> Answer:
        return Answer(document_number="AA1234567", status="valid", text=question.text)

    gate = Gate([Service(REGISTER, answer)], pools=Pools())

    async def provide(scope: Any, receive: Any, send: Any) -> None:
        application = gate if scope["path"] == REGISTER.path else _answer_bare
        await application(scope, receive, send)

    return provide


async def _answer_bare(scope: Any, receive: Any, send: Any) -> None:
    """Takes a body of any length. `/big/BYTES` below the service code: an answer so long."""
    while (await receive()).get("more_body"):
        pass
    rest = scope["path"].split("/")[7:]
    left = int(rest[1]) if rest[:1] == ["big"] else len(_ANSWER)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(left).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if rest[:1] != ["big"]:
        await send({"type": "http.response.body", "body": _ANSWER})
        return
    piece = bytes(256 * 1024)
    while left > 0:
        await send({"type": "http.response.body", "body": piece[:left], "more_body": left > len(piece)})
        left -= len(piece)


def _serve_provider(file: Path) -> None:
    told = json.loads(file.read_text())
    uvicorn.run(
        _provider(),
        host="127.0.0.1",
        port=told["port"],
        ssl_certfile=told["certificate"],
        ssl_keyfile=told["key"],
        ssl_keyfile_password=told["passphrase"],
        ssl_ca_certs=told["clients"],
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=600,
        lifespan="off",
        http="httptools",
        loop="uvloop",
        ws="none",
    )


# ------------------------------------------------------------------ what is written before anything starts


class _Room:
    """Writes the settings of everybody into a folder."""

    def __init__(self, folder: Path, kind: str, trust: TrustServer) -> None:
        self.folder, self.trust, self.clock, self.entropy = folder, trust, SystemClock(), SystemEntropy()
        self.keys = {STATE: make_keys(STATE, [BOARD], kind=kind), PRIVATE: make_keys(PRIVATE, [BANK], kind=kind)}
        self.central = Central(Web(), host=trust.base)
        self.ports = {server: free_message_port() for server in self.keys}
        self.https = dict(zip(self.keys, free_ports(2), strict=True))
        self.provider_port = free_ports(1)[0]
        self.systems = {name: self._identity(name) for name in (CLIENT, PROVIDER)}
        self.internal = {server: self._identity(server.server_code) for server in self.keys}

    def _identity(self, name: str) -> InternalIdentity:
        return load_or_make_internal_identity(
            self.folder / name, name=name, names=("127.0.0.1",), entropy=self.entropy, now=self.clock.now()
        )

    def write(self) -> None:
        self.trust.knows(PKI.ca.certificate, issuer=PKI.root)
        (self.folder / "passphrase").write_bytes(PASSPHRASE)
        (self.folder / "anchor.xml").write_bytes(build_anchor(self.central.anchor))
        for server, keys in self.keys.items():
            for identity in (keys.authentication, *keys.signing.values()):
                self.trust.knows(identity.certificate)
            write_toml(self.folder / f"{server.server_code}.toml", self._settings(server, keys))
        self._write_rights()
        self._publish()
        self._write_systems()

    def _publish(self) -> None:
        responder = (OcspResponder(f"{self.trust.base}/ocsp"),)
        ca = approved_ca(
            top=CaInfo(PKI.root.certificate, responder), intermediates=(CaInfo(PKI.ca.certificate, responder),)
        )
        servers = (self._registered(STATE, POLICE), self._registered(PRIVATE, LOANS))
        shared = params(servers=servers, sources=(self.central.source(),), approved_cas=(ca,))
        self.central.publish(self.clock.now(), shared=shared, valid_for=_VALID_FOR)
        for url, answer in self.central.web.answers.items():
            assert isinstance(answer, bytes)
            self.trust.lists[url.removeprefix(self.trust.base)] = answer

    def _registered(self, server: ServerId, client: Any) -> SecurityServer:
        fingerprint = self.keys[server].authentication.certificate.fingerprint(SHA256())
        address = f"127.0.0.1:{self.ports[server]}"
        return SecurityServer(server, address, frozenset({fingerprint}), frozenset({client}))

    def _settings(self, server: ServerId, keys: Keys) -> SecurityServerSettings:
        folder = self.folder / server.server_code

        def key(name: str, identity: Any) -> dict[str, object]:
            file, certificate = write_identity(folder, name, identity)
            return {"key": str(file), "passphrase_file": self.folder / "passphrase", "certificate": certificate}

        return SecurityServerSettings.model_validate(
            {
                "server": str(server),
                "folder": folder,
                "database": f"sqlite:///{folder / 'log.sqlite'}",
                "local_conf": folder / "local.toml",
                "configuration": {"anchor": self.folder / "anchor.xml"},
                "authentication": key("authentication", keys.authentication),
                "signing": [{"member": str(member), **key("signing", one)} for member, one in keys.signing.items()],
                "listeners": {
                    "host": "127.0.0.1",
                    "message_port": self.ports[server],
                    "https_port": self.https[server],
                },
                "message_log": {"tsa_urls": [f"{self.trust.base}/tsa"]},
                "log": {"file": self.folder / f"{server.server_code}.log", "level": "warning"},
            }
        )

    def _write_rights(self) -> None:
        provider = self.systems[PROVIDER].certificate_der
        url = f"https://127.0.0.1:{self.provider_port}"
        offers = [
            Offer(REGISTER.service, (("POST", "/v1"),), frozenset({LOANS}), url, tls_certificate=provider),
            Offer(DOCUMENTS, (("POST", "/v1"), ("GET", "/big/*")), frozenset({LOANS}), url, tls_certificate=provider),
        ]
        asking = build_local_conf({LOANS: (self.systems[CLIENT].certificate_der,)})
        write_local_conf(self.folder / PRIVATE.server_code / "local.toml", asking)
        answering = build_local_conf({POLICE: (provider,)}, offers)
        write_local_conf(self.folder / STATE.server_code / "local.toml", answering)

    def _write_systems(self) -> None:
        clients = self.folder / "clients.pem"
        known = (self.systems[CLIENT], self.internal[STATE])
        clients.write_bytes(b"".join(each.certificate.read_bytes() for each in known))
        own = _files(self.systems[PROVIDER])
        told = {"port": self.provider_port, "clients": str(clients), **own}
        (self.folder / "provider.json").write_text(json.dumps(told))
        asking = _files(self.systems[CLIENT])
        ways = {
            "direct": {"port": self.provider_port, "peer": own["certificate"], **asking},
            "exchange": {
                "port": self.https[PRIVATE],
                "peer": str(self.internal[PRIVATE].certificate),
                **asking,
            },
        }
        (self.folder / "ways.json").write_text(json.dumps(ways))


def _files(identity: InternalIdentity) -> dict[str, str]:
    passphrase = identity.passphrase_file.read_text().strip()
    return {"certificate": str(identity.certificate), "key": str(identity.key), "passphrase": passphrase}


# ------------------------------------------------------------------ the processes


class Asker:
    """The client's process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(
        self, way: str, path: str, *, count: int, clients: int, method: str = "POST", body_bytes: int = 0
    ) -> Mapping[str, float]:
        """So many requests over so many kept connections. A body is zeros, else a small JSON text."""
        body = "" if body_bytes or method == "GET" else QUESTION.model_dump_json()
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"X-Road-Client: {LOANS}",
            f"X-Road-Id: {NUMBER}",
            "X-Road-UserId: EE39001010000",
            "Accept: application/json",
        ]
        if method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {body_bytes or len(body)}"]
        message = "\r\n".join(lines) + "\r\n\r\n" + body
        asked = {"way": way, "message": message, "body_bytes": body_bytes, "count": count, "clients": clients}
        return _tell(self._process, asked)


class Kit:
    """The process of an information system that uses the client kit; it asks `REGISTER`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, way: str, *, count: int, clients: int) -> Mapping[str, float]:
        """So many requests in so many threads, each over a kept connection."""
        return _tell(self._process, {"way": way, "count": count, "clients": clients})


def _tell(process: "subprocess.Popen[str]", asked: Mapping[str, object]) -> Mapping[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    told: dict[str, float] = json.loads(process.stdout.readline())
    return told


@dataclass
class Processes:
    """Everybody who takes part, by process id."""

    folder: Path
    consumer: int
    provider_server: int
    provider: int
    asker: Asker
    kit: Kit


@contextmanager
def running_exchange(folder: Path, kind: str) -> Iterator[Processes]:
    """`kind`: of the servers' and members' keys, `p256` or `rsa` (2048 bits)."""
    with ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> "subprocess.Popen[Any]":
            command = [sys.executable, *arguments]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
            stack.callback(_end, process)
            return process

        def server(name: str) -> "subprocess.Popen[Any]":
            process = start("-m", "digiid.apps.security_server", "--with-parent", str(folder / f"{name}.toml"))
            assert process.stdin is not None
            process.stdin.write(b"begin\n")
            process.stdin.flush()
            return process

        _expect(start("-m", "bench.exchange_room", str(folder), kind), b"ready")
        provider = start("-m", "bench.exchange_room", "--provider", str(folder / "provider.json"))
        servers = [server(each.server_code) for each in (PRIVATE, STATE)]
        for each in servers:
            _expect(each, b"is ready")
        _wait_for(json.loads((folder / "provider.json").read_text())["port"])
        asker, kit = (
            start("-m", f"bench.{module}", str(folder / "ways.json"), text=True)
            for module in ("exchange_client", "exchange_kit")
        )
        yield Processes(folder, servers[0].pid, servers[1].pid, provider.pid, Asker(asker), Kit(kit))


def _expect(process: "subprocess.Popen[Any]", said: bytes) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert said in line, f"{process.args}: {line!r}"


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.05)
        else:
            return


def _end(process: "subprocess.Popen[Any]") -> None:
    streams: list[IO[Any] | None] = [process.stdin, process.stdout]
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in streams:
        if stream is not None:
            stream.close()


# ------------------------------------------------------------------ what the kernel says about a process


def processor_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process_id: int, field: str = "VmRSS") -> float:
    """`VmRSS`: now; `VmHWM`: the most since `forget_peak`."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1]) / 1024


def forget_peak(process_id: int) -> None:
    Path(f"/proc/{process_id}/clear_refs").write_text("5")


def _main(arguments: list[str]) -> None:
    if arguments[0] == "--provider":
        _serve_provider(Path(arguments[1]))
        return
    folder, kind = Path(arguments[0]), arguments[1]
    with running_trust_server(PKI, SystemClock()) as trust:
        _Room(folder, kind, trust).write()
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _main(sys.argv[1:])
