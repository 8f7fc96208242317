"""A central server with a CA of its own, for tests that open no socket: real keys, certificates, OCSP and proofs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.exchange.central_server.app import open_deps
from digiid.exchange.central_server.domain import Role, StoredRequest
from digiid.exchange.central_server.registering import Identity, Plan, PlannedServer, make_request, sign_request
from digiid.exchange.central_server.settings import Settings
from digiid.exchange.central_server.use_cases import members, officers, requests
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.formats import ocsp
from digiid.formats.exchange.management import ManagementRequest, Operation
from digiid.formats.x509.profile import CertificateKind, ExchangeSubject
from digiid.institutions.trust_services.ca import use_cases as ca
from digiid.institutions.trust_services.ca.domain import ExchangeOrder
from digiid.institutions.trust_services.ca.use_cases import Deps as CaDeps
from digiid.institutions.trust_services.ocsp.responder import Responder
from digiid.kernel.identifiers import ClientId, MemberId, ServerId
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from tests.unit.institutions.trust_services.ca_setup import CA_PACKAGE, ca_over, shared_hierarchy

# Official test codes of nobody.
REGISTRAR, SECURITY, ADMINISTRATOR, OBSERVER = "47101010033", "38001085718", "60001019906", "50001029996"
AUTHORITY = MemberId("EE", "GOV", "70000105")
BOARD = MemberId("EE", "GOV", "70000101")
BANK = MemberId("EE", "COM", "10000201")
NAMES = {AUTHORITY: "TEST Information Authority", BOARD: "TEST Police Board", BANK: "TEST Bank"}
STATE = ServerId("EE", "GOV", "70000105", "state")
PRIVATE = ServerId("EE", "COM", "10000201", "private")
POLICE = ClientId("EE", "GOV", "70000101", "police")
PORTAL = ClientId("EE", "GOV", "70000105", "portal")
BANKING = ClientId("EE", "COM", "10000201", "bank")
PLAN = Plan(
    classes={"GOV": "State", "COM": "Companies"},
    names=NAMES,
    servers=(
        PlannedServer(STATE, "127.0.0.1:5500", (POLICE, PORTAL)),
        PlannedServer(PRIVATE, "127.0.0.1:5510", (BANKING,)),
    ),
    subsystem_names={POLICE: "Documents"},
    groups={"authorities": ("Authorities", (POLICE, PORTAL))},
)


@dataclass
class CentralRoom:
    """The central server `deps`, its CA, and identities of whoever a test wants."""

    deps: Deps
    ca_deps: CaDeps
    clock: ManualClock
    identities: dict[str, Identity] = field(default_factory=dict)

    @cached_property
    def responder(self) -> Responder:
        pki = shared_hierarchy()
        return Responder(
            board=self.ca_deps.board,
            clock=self.clock,
            issuer=pki.issuing.certificate,
            certificate=pki.responder.certificate,
            key=pki.responder.key,
        )

    def fetch_ocsp(self, certificate: x509.Certificate) -> bytes:
        issuer = shared_hierarchy().issuing.certificate
        self.ca_deps.board.refresh()  # a board that was not looked at for some seconds says nothing
        return self.responder.answer(ocsp.build_request(certificate=certificate, issuer=issuer, nonce=None))

    def certify(
        self, *, order_id: str, kind: CertificateKind, subject: ExchangeSubject, expires_on: date, request_der: bytes
    ) -> x509.Certificate:
        order = ExchangeOrder(order_id, kind, subject, expires_on, request_der)
        return x509.load_der_x509_certificate(ca.issue_exchange_certificate(self.ca_deps, order).certificate_der)

    def identity(self, member: MemberId, kind: CertificateKind, name: str = "1", *, key: Any = None) -> Identity:
        """A key with its certificate and a present OCSP response; the same for the same name."""
        order_id = f"{member.member_code}:{kind}:{name}"
        if order_id not in self.identities:
            key = key or ec.generate_private_key(ec.SECP256R1())
            certificate = self.certify(
                order_id=order_id,
                kind=kind,
                subject=ExchangeSubject(member.member_class, member.member_code, "TEST name", "TEST common name"),
                expires_on=date(2028, 6, 30),
                request_der=request_of(key),
            )
            self.identities[order_id] = Identity(key, certificate, b"")
        found = self.identities[order_id]
        return Identity(found.key, found.certificate, self.fetch_ocsp(found.certificate))

    def signer(self, member: MemberId, name: str = "1") -> Identity:
        return self.identity(member, CertificateKind.EXCHANGE_SIGNING, name)

    def server_key(self, member: MemberId, name: str = "1") -> Identity:
        return self.identity(member, CertificateKind.EXCHANGE_AUTHENTICATION, name)

    def request(self, operation: Operation, server: ServerId = STATE, **more: Any) -> ManagementRequest:
        return make_request(operation, server, clock=self.clock, entropy=self.deps.entropy, **more)

    def envelope(self, request: ManagementRequest, **changes: Identity | None) -> bytes:
        """Signed by everybody whose proof it needs; `changes` puts somebody else, or nobody, in a place."""
        proofs: dict[str, Identity | None] = {"owner": self.signer(request.server.owner)}
        if request.client is not None and request.client.member != request.server.owner:
            proofs["member"] = self.signer(request.client.member)
        if request.operation is Operation.AUTH_CERT_REGISTRATION:
            proofs["authentication"] = self.server_key(request.server.owner)
        owner = {**proofs, **changes}.pop("owner")
        others: Mapping[str, Identity | None] = {k: v for k, v in {**proofs, **changes}.items() if k != "owner"}
        assert owner is not None
        return sign_request(request, owner=owner, **others)

    def submit(self, request: ManagementRequest, **changes: Identity | None) -> StoredRequest:
        return requests.submit_request(self.deps, self.envelope(request, **changes))

    def registration(self, server: ServerId = STATE, address: str = "127.0.0.1:5500", **more: Any) -> ManagementRequest:
        more.setdefault("auth_certificate", self.server_key(server.owner).certificate)
        return self.request(Operation.AUTH_CERT_REGISTRATION, server, address=address, **more)

    def register_server(self, server: ServerId = STATE, address: str = "127.0.0.1:5500") -> None:
        submitted = self.submit(self.registration(server, address))
        requests.approve_request(self.deps, submitted.request_id, by=REGISTRAR)

    def register_client(self, client: Any, server: ServerId = STATE) -> None:
        submitted = self.submit(self.request(Operation.CLIENT_REGISTRATION, server, client=client))
        requests.approve_request(self.deps, submitted.request_id, by=REGISTRAR)


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return built.public_bytes(Encoding.DER)


def central_room(
    folder: Path,
    clock: ManualClock,
    entropy: Entropy,
    *,
    database: Database | None = None,
    settings: Settings | None = None,
    enters_members: bool = True,
) -> CentralRoom:
    """Officers of every role, one approved CA and TSA; members only when asked for."""
    pki = shared_hierarchy()
    clock.advance(timedelta(hours=3))  # the shared hierarchy is valid from 11:00
    ca_database = Database.sqlite(folder / "ca.sqlite")
    ca_database.migrate(CA_PACKAGE)
    deps = open_deps(
        settings or Settings(),
        database or Database.sqlite(folder / "central.sqlite"),
        secrets_folder=folder / "secrets",
        clock=clock,
        entropy=entropy,
    )
    roles = {
        REGISTRAR: Role.REGISTRATION_OFFICER,
        SECURITY: Role.SECURITY_OFFICER,
        ADMINISTRATOR: Role.SYSTEM_ADMINISTRATOR,
        OBSERVER: Role.OBSERVER,
    }
    for code, role in roles.items():
        officers.enter_first_officer(deps, code, f"TEST {role.value.upper()}", frozenset({role}))
    members.approve_ca(
        deps,
        "TEST CA",
        pki.issuing.certificate,
        ocsp_urls=["http://127.0.0.1:8800/ocsp"],
        by=SECURITY,
    )
    members.approve_tsa(deps, "TEST TSA", "http://127.0.0.1:8800/tsa", pki.tsu.certificate, by=SECURITY)
    if enters_members:
        members.add_member_class(deps, "GOV", "State", by=REGISTRAR)
        members.add_member_class(deps, "COM", "Companies", by=REGISTRAR)
        for member, name in NAMES.items():
            members.add_member(deps, member, name, by=REGISTRAR)
    return CentralRoom(deps, ca_over(ca_database, clock, entropy), clock)
