"""The institutions of a state: each one's settings out of the state's, its database, its way onto the exchange."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from cryptography import x509

from digiid.apps import central, journals, mailbox, test_payments
from digiid.apps.exchange_status import STATUS_ADDRESSES
from digiid.apps.seals import SealAuthority, ServiceSeal, renewal
from digiid.apps.state import StateFolder, StateSettings
from digiid.contracts import members
from digiid.devices.card_shelf import CardShelf
from digiid.exchange.central_server import app as central_server
from digiid.exchange.central_server.app import CentralServer
from digiid.exchange.central_server.registering import ProvisionedServer
from digiid.exchange.central_server.use_cases.deps import Deps as CentralDeps
from digiid.exchange.client import Client
from digiid.exchange.status_site import app as status_site
from digiid.formats.x509.profile import Organization
from digiid.institutions.bank import app as bank
from digiid.institutions.bank.settings import Settings as BankSettings
from digiid.institutions.business_register import app as business_register
from digiid.institutions.business_register.settings import Settings as BusinessSettings
from digiid.institutions.business_register.use_cases import Deps as BusinessDeps
from digiid.institutions.card_bureau import app as card_bureau
from digiid.institutions.card_bureau.settings import Settings as BureauSettings
from digiid.institutions.card_bureau.use_cases.deps import Deps as BureauDeps
from digiid.institutions.information_authority import app as information_authority
from digiid.institutions.information_authority.consents import app as consents
from digiid.institutions.information_authority.consents.settings import Settings as ConsentSettings
from digiid.institutions.information_authority.settings import Settings as PortalSettings
from digiid.institutions.information_authority.signing_service import app as signing_service
from digiid.institutions.information_authority.signing_service.app import SigningService
from digiid.institutions.information_authority.signing_service.settings import Settings as SigningServiceSettings
from digiid.institutions.information_authority.validation_service import app as validation_service
from digiid.institutions.information_authority.validation_service.app import ValidationService
from digiid.institutions.police_board import app as police_board
from digiid.institutions.police_board.settings import Settings as PoliceSettings
from digiid.institutions.police_board.use_cases.deps import Deps as PoliceDeps
from digiid.institutions.population_register import app as population_register
from digiid.institutions.population_register.settings import Settings as PopulationSettings
from digiid.institutions.population_register.use_cases import Deps as PopulationDeps
from digiid.institutions.trust_services import app as trust_services
from digiid.institutions.trust_services.hierarchy import Hierarchy
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import NotFound
from digiid.kernel.identifiers import ClientId
from digiid.platform.db import Database
from digiid.platform.documents import TrustServices
from digiid.platform.institution import Running, Surroundings
from digiid.platform.mail import FolderTransport, MailTransport, SmtpTransport
from digiid.platform.trust import TrustedListStore

log = structlog.get_logger("state")


@dataclass(frozen=True)
class Common:
    """What all institutions of a state have in common. `exchange` gives a member its way onto the exchange."""

    folder: StateFolder
    settings: StateSettings
    around: Surroundings
    csrf_secret: str
    exchange: Callable[[ClientId], Client]
    hierarchy: Hierarchy
    hierarchy_settings: TrustServicesSettings
    lists: TrustedListStore
    trust: TrustServices

    @property
    def issuers(self) -> list[x509.Certificate]:
        return [self.hierarchy.issuing]

    @property
    def demonstration(self) -> bool:
        return self.settings.demonstration

    @property
    def seal_authority(self) -> SealAuthority:
        return SealAuthority(self.hierarchy_settings, self.open_database, self.around.clock, self.around.entropy)

    def database_url(self, unit: str) -> str:
        return self.settings.database.url.replace("{institution}", unit)

    def open_database(self, unit: str) -> Database:
        url = self.database_url(unit)
        return Database(url) if url else Database.sqlite(self.around.database_folder / f"{unit}.sqlite")


@dataclass(frozen=True)
class Institutions:
    """What is built, and what the state needs of single ones.

    `programs` maps path prefixes at the programs' address to ASGI applications. `provisioned`: the state's security
    servers as the central server knows them.
    """

    running: Sequence[Running[Any]]
    programs: Mapping[str, Any]
    provisioned: Sequence[ProvisionedServer]
    population: PopulationDeps
    business: BusinessDeps
    bureau: BureauDeps
    police: PoliceDeps
    central: CentralDeps


def build_institutions(common: Common, shelf: CardShelf) -> Institutions:
    """Build every institution, and what works beside them; the chips come from `shelf`.

    Raises: Malformed `config.…`, Broken or Unavailable when one of them cannot be opened.
    """
    receipts_seal, reports_seal = _receipts_seal(common), _reports_seal(common)
    journal_seals = journals.open_seals(common.folder, common.seal_authority)
    # 1 whom everybody trusts, the registers, and who issues cards
    trusted = trust_services.build(
        common.around, settings=common.hierarchy_settings, open_database=common.open_database
    )
    population, population_running = _population_register(common)
    business, business_running = _business_register(common)
    bureau, bureau_running = _card_bureau(common, shelf)
    police, police_running = _police_board(common)
    # 2 where a card is of use
    portal = _portal(common)
    consent_service = _consent_service(common, receipts_seal)
    signing = _signing_service(common)
    validation = _validation_service(common, reports_seal)
    seals = renewal([reports_seal, receipts_seal, *dict.fromkeys(journal_seals.values())])
    test_bank = _bank(common)
    # 3 the exchange's own, what only a demonstration has, and the journals of all
    exchange = _central_server(common)
    running = [
        trusted,
        population_running,
        business_running,
        bureau_running,
        police_running,
        portal,
        consent_service,
        signing.running,
        validation.running,
        seals,
        test_bank,
        exchange.renewal,
        exchange.server.running,
        _exchange_status(common),
        *_demonstration_sites(common),
        journals.build(
            journal_seals, open_database=common.open_database, tsa=common.trust.tsa, clock=common.around.clock
        ),
    ]
    programs = {signing.prefix: signing.app, **dict.fromkeys(validation.prefixes, validation.app)}
    return Institutions(
        running=running,
        programs={**programs, **exchange.server.programs},
        provisioned=exchange.provisioned,
        population=population,
        business=business,
        bureau=bureau,
        police=police,
        central=exchange.server.deps,
    )


# --- the registers ----------------------------------------------------------------------------------------------------


def _population_register(common: Common) -> tuple[PopulationDeps, Running[Any]]:
    settings = PopulationSettings(
        database_url=common.database_url("population_register"), demonstration=common.demonstration
    )
    deps = population_register.build_deps(settings, common.around, seal=consents.consent_seal(common.issuers))
    return deps, population_register.build(
        deps,
        common.around,
        issuers=common.issuers,
        ocsp=common.trust.ocsp,
        exchange=common.exchange(members.POPULATION_REGISTER),
        csrf_secret=common.csrf_secret,
    )


def _business_register(common: Common) -> tuple[BusinessDeps, Running[Any]]:
    settings = BusinessSettings(
        database_url=common.database_url("business_register"), demonstration=common.demonstration
    )
    deps = business_register.build_deps(settings, common.around)
    return deps, business_register.build(
        deps,
        common.around,
        issuers=common.issuers,
        ocsp=common.trust.ocsp,
        exchange=common.exchange(members.BUSINESS_REGISTER),
        csrf_secret=common.csrf_secret,
    )


# --- who issues cards -------------------------------------------------------------------------------------------------


def _card_bureau(common: Common, shelf: CardShelf) -> tuple[BureauDeps, Running[Any]]:
    settings = BureauSettings(
        database_url=common.database_url("card_bureau"),
        auto_ship=common.demonstration,
        demonstration=common.demonstration,
    )
    return card_bureau.build(
        settings,
        common.around,
        exchange=common.exchange(members.CARD_BUREAU),
        issuers=common.issuers,
        ocsp=common.trust.ocsp,
        blank_card=shelf.new_blank,
        discard_card=_discard(shelf),
        csrf_secret=common.csrf_secret,
    )


def _discard(shelf: CardShelf) -> Callable[[str], None]:
    def discard(document_number: str) -> None:
        try:
            shelf.discard(document_number)
        except NotFound:
            log.info("card.gone_already", document=document_number)

    return discard


def _police_settings(common: Common) -> PoliceSettings:
    screening = common.settings.screening
    return PoliceSettings(
        database_url=common.database_url("police_board"),
        demonstration=common.demonstration,
        lists=screening.lists,
        test_list=screening.test_list,
    )


def _police_board(common: Common) -> tuple[PoliceDeps, Running[Any]]:
    settings = _police_settings(common)
    deps = police_board.build_deps(
        settings, common.around, exchange=common.exchange(members.POLICE_BOARD), mail=_mail(common)
    )
    return deps, police_board.build(
        settings,
        common.around,
        deps=deps,
        issuers=common.issuers,
        ocsp=common.trust.ocsp,
        csrf_secret=common.csrf_secret,
    )


def _mail(common: Common) -> MailTransport:
    mail = common.settings.mail
    if mail.transport == "mailbox":
        return FolderTransport(common.folder.path / "mailbox", sender=mail.sender)
    return SmtpTransport(
        host=mail.host,
        port=mail.port,
        sender=mail.sender,
        username=mail.username or None,
        password_path=mail.password_file,
    )


# --- the information authority ----------------------------------------------------------------------------------------


def _portal(common: Common) -> Running[Any]:
    settings = PortalSettings(
        database_url=common.database_url("information_authority"), demonstration=common.demonstration
    )
    return information_authority.build(
        settings,
        common.around,
        exchange=common.exchange(members.INFORMATION_AUTHORITY),
        issuers=common.issuers,
        trust=common.trust,
        csrf_secret=common.csrf_secret,
    )


def _consent_service(common: Common, receipts_seal: ServiceSeal) -> Running[Any]:
    settings = ConsentSettings(
        database_url=common.database_url(consents.UNIT),
        declarations=common.settings.consent_declarations,
        demonstration=common.demonstration,
    )
    return consents.build(
        settings,
        common.around,
        exchange=common.exchange(members.CONSENT_SERVICE),
        issuers=common.issuers,
        trust=common.trust,
        open_seal=receipts_seal.open,
        csrf_secret=common.csrf_secret,
    )


def _receipts_seal(common: Common) -> ServiceSeal:
    return ServiceSeal(
        common.folder.secrets,
        common.seal_authority,
        seal_number=consents.SEAL_NUMBER,
        organization=consents.SEAL_OWNER,
        needed_for="consent receipts",
    )


def _signing_service(common: Common) -> SigningService:
    settings = SigningServiceSettings(
        **common.settings.signing.model_dump(),
        database_url=common.database_url(signing_service.UNIT),
        demonstration=common.demonstration,
    )
    return signing_service.build(
        settings,
        common.around,
        issuers=common.issuers,
        trust=common.trust,
        secrets_folder=common.folder.secrets,
    )


def _validation_service(common: Common, reports_seal: ServiceSeal) -> ValidationService:
    return validation_service.build(
        common.settings.validation,
        common.around,
        trust=common.trust,
        issuers=common.issuers,
        open_seal=reports_seal.open,
        lists=common.lists,
    )


def _reports_seal(common: Common) -> ServiceSeal:
    return ServiceSeal(
        common.folder.secrets,
        common.seal_authority,
        seal_number="SEAL-VALIDATION",
        organization=Organization("70006317", "TEST Information Authority", "TEST Information Authority e-seal"),
        needed_for="validation reports",
    )


# --- the bank ---------------------------------------------------------------------------------------------------------


def _bank(common: Common) -> Running[Any]:
    settings = BankSettings(database_url=common.database_url("bank"), demonstration=common.demonstration)
    return bank.build(
        settings,
        common.around,
        exchange=common.exchange(members.BANK),
        issuers=common.issuers,
        trust=common.trust,
        csrf_secret=common.csrf_secret,
        seal=consents.consent_seal(common.issuers),
    )


# --- the exchange's own -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Center:
    server: CentralServer
    renewal: Running[Any]
    provisioned: Sequence[ProvisionedServer]


def _central_server(common: Common) -> _Center:
    """The central server, after its members and security servers are registered with it."""
    around, settings = common.around, common.settings
    deps = central.open_central(common.folder, clock=around.clock, entropy=around.entropy)
    plan = central.demonstration_plan(
        state_port=settings.state_server.message, private_port=settings.private_server.message
    )
    authority = central.Authority(deps, common.hierarchy, common.hierarchy_settings, common.open_database)
    keys = common.folder.path / "exchange" / "keys"
    provisioned = central.provision_demonstration(deps, plan, folder=keys, authority=authority)
    renewing = central.renewal(deps, plan, provisioned, authority=authority)
    server = central_server.build(
        deps,
        around,
        issuers=common.issuers,
        ocsp=common.trust.ocsp,
        exchange=common.exchange(members.INFORMATION_AUTHORITY),
        csrf_secret=common.csrf_secret,
    )
    return _Center(server, renewing, provisioned)


def _exchange_status(common: Common) -> Running[Any]:
    return status_site.build(
        common.around,
        addresses_file=common.folder.path / STATUS_ADDRESSES,
        csrf_secret=common.csrf_secret,
        demonstration=common.demonstration,
    )


# --- what only a demonstration has ------------------------------------------------------------------------------------


def _demonstration_sites(common: Common) -> list[Running[Any]]:
    """Somebody to pay to, and a mailbox to look into."""
    if not common.demonstration:
        return []
    secret_file = police_board.payment_secret_file(_police_settings(common), common.around)
    sites = [test_payments.build(common.around, secret_file=secret_file, csrf_secret=common.csrf_secret)]
    if common.settings.mail.transport == "mailbox":
        sites.append(mailbox.build(common.around, csrf_secret=common.csrf_secret))
    return sites
