"""The other side of registration: making, signing and sending management requests; and what a new server needs.

A security server, or whoever sets one up, calls `make_request`, `sign_request` and `send_request`. `provision` does all
of it for an exchange that is being made: keys, certificates, requests with their real proofs, a named officer's
approval. What was interrupted goes on when it is called again, and what an officer removed meanwhile stays removed.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.exchange.central_server.domain import RequestState, concerned_member
from digiid.exchange.central_server.use_cases import configuration, members, provisioned, requests
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.exchange.problems import KIND_BY_STATUS
from digiid.formats.exchange.management import (
    ManagementRequest,
    Operation,
    Proof,
    ProofBy,
    build_envelope,
    build_management_request,
    sign_management_request,
)
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import CertificateKind, ExchangeSubject
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import Broken, Conflict, Unavailable
from digiid.kernel.identifiers import ClientId, MemberId, Party, ServerId
from digiid.platform.certificate_files import read_certificate
from digiid.platform.clock import Clock
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.http import HttpClient
from digiid.platform.keys import generate_ec_key, load_or_create_passphrase, load_private_key, write_private_key
from digiid.platform.web import N_

# The classes of an exchange that a state makes by itself; pages translate these names.
CLASS_NAMES: Final = {"GOV": N_("State and local authorities"), "COM": N_("Companies")}
_MAX_ANSWER_BYTES: Final = 64 * 1024
_VALID_YEARS: Final = 2
_KEY_CURVE: Final = "secp256r1"
log = structlog.get_logger("exchange.central_server")


# ------------------------------------------------------------------ requests


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, its certificate, and a present OCSP response about it."""

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate
    ocsp_der: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the central server says about a request."""

    request_id: str
    state: RequestState
    reason: str | None


def make_request(
    operation: Operation,
    server: ServerId,
    *,
    clock: Clock,
    entropy: Entropy,
    client: Party | None = None,
    address: str | None = None,
    subsystem_name: str | None = None,
    message: str | None = None,
    auth_certificate: x509.Certificate | None = None,
) -> ManagementRequest:
    """A request of now, with a new id."""
    hashed = hash_bytes("sha256", certificate_der(auth_certificate)).hex() if auth_certificate else None
    return ManagementRequest(
        operation, new_id(entropy), clock.now(), server, client, address, subsystem_name, message, hashed
    )


def sign_request(
    request: ManagementRequest,
    *,
    owner: Identity,
    member: Identity | None = None,
    authentication: Identity | None = None,
) -> bytes:
    """The envelope: the request's bytes, signed by everybody whose proof it needs.

    `member` is needed where the request is about another member than the server's owner, `authentication` for
    registering its certificate.
    """
    request_bytes = build_management_request(request)
    signers = {ProofBy.OWNER: owner, ProofBy.MEMBER: member, ProofBy.AUTHENTICATION: authentication}
    return build_envelope(request_bytes, [_prove(by, who, request_bytes) for by, who in signers.items() if who])


def _prove(by: ProofBy, who: Identity, request_bytes: bytes) -> Proof:
    algorithm, signature = sign_management_request(who.key, request_bytes)
    return Proof(by, algorithm, signature, certificate_der(who.certificate), who.ocsp_der)


def send_request(http: HttpClient, url: str, envelope: bytes) -> Answer:
    """Send an envelope to the central server's `/registration/requests`.

    Raises: Unavailable; the kind and code with which the central server refuses it.
    """
    answer = http.request(
        "POST",
        url,
        content=envelope,
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        max_bytes=_MAX_ANSWER_BYTES,
    )
    return _answer_of(answer.status, answer.body)


def fetch_answer(http: HttpClient, url: str, request_id: str) -> Answer:
    """What has become of a request. Raises: as `send_request`."""
    answer = http.request("GET", f"{url}/{request_id}", max_bytes=_MAX_ANSWER_BYTES)
    return _answer_of(answer.status, answer.body)


def _answer_of(status: int, body: bytes) -> Answer:
    try:
        found = json.loads(body)
        if status in (200, 202):
            return Answer(str(found["requestId"]), RequestState(found["state"]), found["reason"])
        code, detail = str(found["code"]), str(found["detail"])[:500]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unavailable("exchange.management.answer", f"HTTP {status} with something unreadable") from error
    kind = KIND_BY_STATUS.get(status, Unavailable)
    try:
        raise kind(code, detail, public=detail)
    except ValueError as error:  # a code that is none
        raise Unavailable("exchange.management.answer", f"HTTP {status} with a code that is none") from error


# ------------------------------------------------------------------ an exchange that is being made


class Certifier(Protocol):
    """The CA, as `trust_services.app.issue_exchange_certificate` is it. The same order gives the same certificate."""

    def __call__(
        self, *, order_id: str, kind: CertificateKind, subject: ExchangeSubject, expires_on: date, request_der: bytes
    ) -> x509.Certificate: ...


@dataclass(frozen=True, slots=True)
class PlannedServer:
    """A server to be: its `address` is `host` or `host:port`; `clients` are the subsystems that it serves."""

    id: ServerId
    address: str
    clients: tuple[ClientId, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """`names` are those of members, and of subsystems where they have one. `groups` may be empty."""

    classes: Mapping[str, str]
    names: Mapping[MemberId, str]
    servers: tuple[PlannedServer, ...]
    subsystem_names: Mapping[ClientId, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, tuple[Party, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where a key lies: an encrypted PEM file, and its certificate as PEM."""

    key: Path
    certificate: Path


@dataclass(frozen=True, slots=True)
class ProvisionedServer:
    """What the settings of a security server name."""

    id: ServerId
    folder: Path
    anchor: Path
    passphrase_file: Path
    authentication: KeyFiles
    signing: Mapping[MemberId, KeyFiles]


def provision(
    deps: Deps,
    plan: Plan,
    *,
    folder: Path,
    certify: Certifier,
    fetch_ocsp: Callable[[x509.Certificate], bytes],
    officer: str,
) -> tuple[ProvisionedServer, ...]:
    """Bring an exchange to what the plan says, and write what each of its servers needs below `folder`.

    `officer` is the personal code of a registration officer, who enters the members and approves. Whatever is there
    already stays: the keys in their files, certificates that are registered, members. Called again it changes nothing,
    and enters nothing again that was entered once and is gone (`use_cases/provisioned`).

    Raises: what the CA and the central server refuse; Malformed `keys.…` when a file is not what was written.
    """
    # 1 members, entered by the officer
    _enter_members(deps, plan, officer)

    # 2 for each server: keys and certificates; its own registration, then that of its clients
    made: list[ProvisionedServer] = []
    for server in plan.servers:
        files = _make_keys(deps, plan, server, folder=folder, certify=certify)
        registrar = Registrar(deps, files, fetch_ocsp=fetch_ocsp, officer=officer)
        _register(deps, plan, server, files, registrar)
        made.append(files)

    # 3 groups, whose members are known by now
    for code, (description, parties) in plan.groups.items():
        _enter_group(deps, code, description, parties, officer)

    # 4 the anchor, for each as for an operator who compared it
    anchor = configuration.build_present_anchor(deps)
    for files in made:
        if not files.anchor.exists() or files.anchor.read_bytes() != anchor:
            write_file(files.anchor, anchor, 0o644)
    return tuple(made)


def _enter_members(deps: Deps, plan: Plan, officer: str) -> None:
    for code, description in plan.classes.items():
        add_class = partial(members.add_member_class, deps, code, description, by=officer)
        provisioned.enter_once(deps, provisioned.class_item(code), add_class)
    for member, name in plan.names.items():
        add_member = partial(members.add_member, deps, member, name, by=officer)
        provisioned.enter_once(deps, provisioned.member_item(member), add_member)


def _enter_group(deps: Deps, code: str, description: str, parties: Sequence[Party], officer: str) -> None:
    add_group = partial(members.add_group, deps, code, description, by=officer)
    if not provisioned.enter_once(deps, provisioned.group_item(code), add_group):
        return
    for party in parties:
        if not _is_registered(deps, party):
            continue
        add = partial(members.add_to_group, deps, code, party, by=officer)
        provisioned.enter_once(deps, provisioned.group_member_item(code, party), add)


def _is_registered(deps: Deps, party: Party) -> bool:
    known = {row.id: {code for code, _ in row.subsystems} for row in members.list_members(deps)}
    if isinstance(party, ClientId):
        return party.subsystem in known.get(party.member, set())
    return party in known


def _make_keys(deps: Deps, plan: Plan, server: PlannedServer, *, folder: Path, certify: Certifier) -> ProvisionedServer:
    own = folder / server.id.server_code
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    passphrase_file = own / "passphrase"
    load_or_create_passphrase(passphrase_file, deps.entropy)

    def make(name: str, kind: CertificateKind, member: MemberId, common_name: str) -> KeyFiles:
        files = KeyFiles(own / f"{name}.pem", own / f"{name}.crt")
        finish_exchange(files)  # a renewal may have been interrupted
        order = KeyOrder(f"{server.id.server_code}:{name}", kind, subject_of(plan, member, common_name))
        make_key(deps, files, passphrase_file, order, certify=certify)
        return files

    owner = server.id.owner
    signers = dict.fromkeys((owner, *(client.member for client in server.clients)))
    return ProvisionedServer(
        id=server.id,
        folder=own,
        anchor=own / "anchor.xml",
        passphrase_file=passphrase_file,
        authentication=make("auth", CertificateKind.EXCHANGE_AUTHENTICATION, owner, str(server.id)),
        signing={
            member: make(
                f"sign-{member.member_class}-{member.member_code}",
                CertificateKind.EXCHANGE_SIGNING,
                member,
                plan.names[member],
            )
            for member in signers
        },
    )


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """What a certificate is ordered for. The same `order_id` gives the same certificate."""

    order_id: str
    kind: CertificateKind
    subject: ExchangeSubject


def subject_of(plan: Plan, member: MemberId, common_name: str) -> ExchangeSubject:
    return ExchangeSubject(member.member_class, member.member_code, _cut(plan.names[member]), _cut(common_name))


def make_key(deps: Deps, files: KeyFiles, passphrase_file: Path, order: KeyOrder, *, certify: Certifier) -> None:
    """A key and its certificate in their files; what is there already stays."""
    # 1 the key, kept before anybody hears of it
    if not files.key.exists():
        write_private_key(
            files.key, generate_ec_key(_KEY_CURVE), passphrase=load_or_create_passphrase(passphrase_file, deps.entropy)
        )
    # 2 its certificate; the order is the same however often it is given
    if not files.certificate.exists():
        key = load_private_key(files.key, passphrase_file)
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        certificate = certify(
            order_id=order.order_id,
            kind=order.kind,
            subject=order.subject,
            expires_on=date(deps.clock.now().year + _VALID_YEARS, 12, 31),
            request_der=request.public_bytes(Encoding.DER),
        )
        write_file(files.certificate, certificate.public_bytes(Encoding.PEM), 0o644)


def finish_exchange(files: KeyFiles) -> None:
    """A process that was killed between the two files has left the key without its certificate."""
    following = following_files(files)
    if following.certificate.exists() and not following.key.exists():
        following.certificate.replace(files.certificate)


def exchange_files(files: KeyFiles) -> None:
    following = following_files(files)
    following.key.replace(files.key)
    following.certificate.replace(files.certificate)


def following_files(files: KeyFiles) -> KeyFiles:
    return KeyFiles(files.key.with_suffix(".next.pem"), files.certificate.with_suffix(".next.crt"))


def load_identity(files: KeyFiles, passphrase_file: Path, fetch_ocsp: Callable[[x509.Certificate], bytes]) -> Identity:
    """A key from its files with a present OCSP response. Raises: Malformed `keys.…`, Broken `exchange.key_files`."""
    key, certificate = load_private_key(files.key, passphrase_file), read_certificate(files.certificate)
    if certificate.public_key() != key.public_key():
        raise Broken("exchange.key_files", f"{files.certificate} is not the certificate of {files.key}")
    return Identity(key, certificate, fetch_ocsp(certificate))


class Registrar:
    """Makes and sends the requests of one server whose keys are at hand, and has them approved by a named officer."""

    def __init__(
        self,
        deps: Deps,
        files: ProvisionedServer,
        *,
        fetch_ocsp: Callable[[x509.Certificate], bytes],
        officer: str,
    ) -> None:
        self._deps, self._files, self._fetch_ocsp, self._officer = deps, files, fetch_ocsp, officer
        self._loaded: dict[MemberId, Identity] = {}

    def register_certificate(self, authentication: KeyFiles, *, address: str) -> None:
        """The server's first certificate, or one more of the same server."""
        identity = load_identity(authentication, self._files.passphrase_file, self._fetch_ocsp)
        self._approve(
            self._make(Operation.AUTH_CERT_REGISTRATION, address=address, auth_certificate=identity.certificate),
            authentication=identity,
        )

    def register_client(self, client: ClientId, *, name: str | None) -> None:
        self._approve(self._make(Operation.CLIENT_REGISTRATION, client=client, subsystem_name=name))

    def delete_certificate(self, certificate: x509.Certificate) -> None:
        """It takes effect at once: the server's owner may decide that alone."""
        request = self._make(Operation.AUTH_CERT_DELETION, auth_certificate=certificate)
        requests.submit_request(self._deps, sign_request(request, owner=self._signer(self._files.id.owner)))

    def _make(self, operation: Operation, **changes: Any) -> ManagementRequest:
        return make_request(operation, self._files.id, clock=self._deps.clock, entropy=self._deps.entropy, **changes)

    def _approve(self, request: ManagementRequest, *, authentication: Identity | None = None) -> None:
        concerned = concerned_member(request)
        envelope = sign_request(
            request,
            owner=self._signer(self._files.id.owner),
            member=self._signer(concerned) if concerned else None,
            authentication=authentication,
        )
        try:
            request_id = requests.submit_request(self._deps, envelope).request_id
        except Conflict as error:
            if error.code != "central.asked_already":
                raise
            request_id = _open_request(self._deps, request)  # sent before a crash, and not decided yet
        requests.approve_request(self._deps, request_id, by=self._officer)

    def _signer(self, member: MemberId) -> Identity:
        if member not in self._loaded:
            files = self._files
            self._loaded[member] = load_identity(files.signing[member], files.passphrase_file, self._fetch_ocsp)
        return self._loaded[member]


def _register(deps: Deps, plan: Plan, server: PlannedServer, files: ProvisionedServer, registrar: Registrar) -> None:
    def register() -> None:
        registrar.register_certificate(files.authentication, address=server.address)

    # 1 the server with its certificate
    known = {row.id for row in members.list_members(deps)}
    if server.id.owner not in known:
        _left_out(server.id, server.id.owner)
        return
    if not provisioned.enter_once(deps, provisioned.server_item(server.id), register):
        _left_out(server.id, server.id)
        return
    # 2 a certificate that it got since then
    certificate = certificate_der(read_certificate(files.authentication.certificate))
    provisioned.enter_once(deps, provisioned.certificate_item(certificate), register)
    # 3 its clients
    for client in server.clients:
        if client.member not in known:
            _left_out(server.id, client.member)
            continue
        register_client = partial(registrar.register_client, client, name=plan.subsystem_names.get(client))
        provisioned.enter_once(deps, provisioned.client_item(client, server.id), register_client)


def _left_out(server: ServerId, removed: Party | ServerId) -> None:
    log.warning("central.stays_removed", server=str(server), removed=str(removed))


def _open_request(deps: Deps, request: ManagementRequest) -> str:
    wanted = (request.operation, request.server, request.client, request.auth_cert_hash)
    for stored in requests.list_requests(deps, only_open=True):
        one = stored.request
        if (one.operation, one.server, one.client, one.auth_cert_hash) == wanted:
            return one.request_id
    raise Conflict("central.decided", "decided meanwhile")


def _cut(name: str) -> str:
    """What fits into an attribute of a subject."""
    return name.encode()[:64].decode(errors="ignore").strip()


def write_file(file: Path, content: bytes, mode: int) -> None:
    part = file.with_name(file.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
