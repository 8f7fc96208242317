"""The exchange's central server in a state: its settings, its members, and what its security servers are given.

The demonstration's exchange is made as a real one is: members by their agreement, keys certified by the CA, requests
with every proof, approval by a named officer. Only the officer is the seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from digiid.apps.state import StateFolder, StateSettings
from digiid.contracts import members as cast
from digiid.exchange.central_server.app import NAME, open_deps
from digiid.exchange.central_server.domain import Role
from digiid.exchange.central_server.registering import CLASS_NAMES, Plan, PlannedServer, ProvisionedServer, provision
from digiid.exchange.central_server.renewing import Renewer
from digiid.exchange.central_server.settings import Settings
from digiid.exchange.central_server.use_cases import members, officers, provisioned
from digiid.exchange.central_server.use_cases.deps import Deps
from digiid.formats import ocsp
from digiid.formats.x509.parts import certificate_der
from digiid.formats.x509.profile import CertificateKind, ExchangeSubject
from digiid.institutions.trust_services import app as trust_services
from digiid.institutions.trust_services.ca.domain import ExchangeOrder
from digiid.institutions.trust_services.hierarchy import Hierarchy
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.identifiers import ClientId, ServerId
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy
from digiid.platform.institution import Running
from digiid.platform.timers import Timer

STATE_SERVER: Final = ServerId(cast.INSTANCE, "GOV", cast.INFORMATION_AUTHORITY.member_code, "state")
PRIVATE_SERVER: Final = ServerId(cast.INSTANCE, "COM", cast.BANK.member_code, "private")
_RENEWAL_LOOKS: Final = timedelta(minutes=10)
SEED_OFFICER: Final = "47101010033"  # an official test code: the seed is nobody
_ALL_ROLES: Final = frozenset({Role.REGISTRATION_OFFICER, Role.SECURITY_OFFICER})


def central_settings(settings: StateSettings) -> Settings:
    """Served at the programs' address, with everything else that programs ask."""
    return Settings(
        **settings.central.model_dump(),
        instance=cast.INSTANCE,
        source_urls=(f"{settings.base_url}/internalconf",),
        registration_url=f"{settings.base_url}/registration/requests",
        database_url=settings.database.url.replace("{institution}", NAME),
        demonstration=settings.demonstration,
    )


def open_central(folder: StateFolder, *, clock: Clock, entropy: Entropy) -> Deps:
    """The central server of a state, for the process that serves it and for who works beside it."""
    settings = central_settings(folder.load())
    url = settings.database_url
    database = Database(url) if url else Database.sqlite(folder.path / "db" / f"{NAME}.sqlite")
    return open_deps(settings, database, secrets_folder=folder.secrets, clock=clock, entropy=entropy)


def demonstration_plan(*, state_port: int, private_port: int) -> Plan:
    """Authorities are served by the one server, companies by the other; both on this machine."""

    def clients(member_class: str) -> tuple[ClientId, ...]:
        return tuple(client for client in cast.NAMES if client.member_class == member_class)

    # A member with several subsystems is named by the first of them.
    names = {client.member: name for client, name in reversed(cast.NAMES.items())}
    return Plan(
        classes=CLASS_NAMES,
        names={member: f"TEST {name}" for member, name in names.items()},
        servers=(
            PlannedServer(STATE_SERVER, f"127.0.0.1:{state_port}", clients("GOV")),
            PlannedServer(PRIVATE_SERVER, f"127.0.0.1:{private_port}", clients("COM")),
        ),
        subsystem_names=dict(cast.NAMES),
    )


@dataclass(frozen=True)
class Authority:
    """The state's own CA and its responder, asked directly: nothing has to listen."""

    deps: Deps
    hierarchy: Hierarchy
    trust: TrustServicesSettings
    open_database: Callable[[str], Database]

    def certify(
        self, *, order_id: str, kind: CertificateKind, subject: ExchangeSubject, expires_on: date, request_der: bytes
    ) -> x509.Certificate:
        order = ExchangeOrder(order_id, kind, subject, expires_on, request_der)
        return trust_services.issue_exchange_certificate(
            self.trust,
            order,
            open_database=self.open_database,
            clock=self.deps.clock,
            entropy=self.deps.entropy,
        )

    def fetch_ocsp(self, certificate: x509.Certificate) -> bytes:
        request = ocsp.build_request(certificate=certificate, issuer=self.hierarchy.issuing, nonce=None)
        return trust_services.ask_responder(
            self.trust,
            request,
            open_database=self.open_database,
            clock=self.deps.clock,
            entropy=self.deps.entropy,
        )


def provision_demonstration(
    deps: Deps,
    plan: Plan,
    *,
    folder: Path,
    authority: Authority,
) -> tuple[ProvisionedServer, ...]:
    """Bring the state's exchange to the plan; what is there already stays. Needs no server to answer yet.

    Raises: what the CA and the central server refuse.
    """
    # 1 the officer in whose name the seed acts
    authorise_officer(deps, SEED_OFFICER, "TEST SEED")
    # 2 whose certificates and time stamps count: the CA that issues is the topmost, since OCSP answers for it alone
    hierarchy = authority.hierarchy
    base_url = hierarchy.profile.base_url
    names = hierarchy.profile.names
    ocsp_urls = [hierarchy.profile.ocsp_url]
    approve_ca = partial(
        members.approve_ca, deps, names.issuing_ca, hierarchy.issuing, ocsp_urls=ocsp_urls, by=SEED_OFFICER
    )
    provisioned.enter_once(deps, provisioned.ca_item(certificate_der(hierarchy.issuing)), approve_ca)
    unit = hierarchy.certificate(CertificateKind.TIME_STAMPING_UNIT)
    approve_tsa = partial(members.approve_tsa, deps, names.time_stamping_unit, f"{base_url}/tsa", unit, by=SEED_OFFICER)
    provisioned.enter_once(deps, provisioned.tsa_item(certificate_der(unit)), approve_tsa)
    # 3 members, keys, registrations
    return provision(
        deps, plan, folder=folder, certify=authority.certify, fetch_ocsp=authority.fetch_ocsp, officer=SEED_OFFICER
    )


def renewal(
    deps: Deps,
    plan: Plan,
    made: Sequence[ProvisionedServer],
    *,
    authority: Authority,
) -> Running[Any]:
    """What renews the certificates of the state's security servers and their members, by the clock."""
    renewer = Renewer(deps, plan, made, authority.certify, authority.fetch_ocsp, SEED_OFFICER)
    return Running(
        name="exchange_certificates",
        sites={},
        services=(),
        workers=(),
        timers=(Timer("exchange.certificates", _RENEWAL_LOOKS, renewer.renew),),
        health=lambda: {"name": "Renewal of exchange certificates", **renewer.health()},
        close=lambda: None,
    )


def authorise_officer(deps: Deps, personal_code: str, name: str) -> None:
    """Somebody of the demonstration who may use the officers' pages, until another officer takes the right away."""
    enter = partial(officers.enter_first_officer, deps, personal_code, name, _ALL_ROLES)
    provisioned.enter_once(deps, provisioned.officer_item(personal_code), enter)
