"""The journals of a state: whose each is, whose seal its checkpoints carry, and who makes them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from cryptography import x509

from digiid.apps.seals import load_or_make_seal
from digiid.apps.state import StateFolder
from digiid.contracts import members
from digiid.exchange.central_server.app import NAME as CENTRAL_SERVER
from digiid.formats.organization_seal import SealOwner
from digiid.formats.x509.path import TrustAnchors
from digiid.formats.x509.profile import Organization
from digiid.institutions.information_authority.consents.app import UNIT as CONSENTS
from digiid.institutions.information_authority.signing_service.app import UNIT as SIGNING_SERVICE
from digiid.institutions.trust_services.settings import TrustServicesSettings
from digiid.kernel.errors import NotFound
from digiid.kernel.identifiers import ClientId
from digiid.platform.checkpoints import DATABASE as CHECKPOINTS
from digiid.platform.checkpoints import PACKAGE, CheckpointKeeper, KeptJournal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents.signing import KeySigner
from digiid.platform.entropy import Entropy
from digiid.platform.institution import Running
from digiid.platform.trust import TsaClient

JOURNALS: Final[Mapping[str, ClientId]] = {
    "bank": members.BANK,
    "business_register": members.BUSINESS_REGISTER,
    "card_bureau": members.CARD_BUREAU,
    CENTRAL_SERVER: members.INFORMATION_AUTHORITY,
    CONSENTS: members.INFORMATION_AUTHORITY,
    "information_authority": members.INFORMATION_AUTHORITY,
    "police_board": members.POLICE_BOARD,
    "population_register": members.POPULATION_REGISTER,
    SIGNING_SERVICE: members.INFORMATION_AUTHORITY,
    "trust_ca": members.TRUST_SERVICES,
}
"""Whose journal is in which database."""


def owner_of(unit: str, issuers: list[x509.Certificate]) -> SealOwner:
    """The seal that counts under a checkpoint of this journal."""
    organization = _organization(unit)
    identifier = f"NTREE-{organization.registry_code}"
    return SealOwner(TrustAnchors(issuers), identifier, organization.seal_name)


def build(
    folder: StateFolder,
    trust_settings: TrustServicesSettings,
    *,
    open_database: Callable[[str], Database],
    tsa: TsaClient,
    clock: Clock,
    entropy: Entropy,
) -> Running[Any]:
    """What seals the journals of this process by the clock. The seals are made when they are first needed."""
    checkpoints = open_database(CHECKPOINTS)
    checkpoints.migrate(PACKAGE)
    databases = {unit: open_database(unit) for unit in JOURNALS}

    def opening(unit: str) -> Callable[[], KeySigner]:
        def open_seal() -> KeySigner:
            organization = _organization(unit)
            # a seal of each year, so that the one in force has at least two years left
            number = f"SEAL-J{organization.registry_code}{clock.now():%Y}"
            return load_or_make_seal(
                folder.secrets,
                trust_settings,
                seal_number=number,
                organization=organization,
                open_database=open_database,
                clock=clock,
                entropy=entropy,
            )

        return open_seal

    kept = [KeptJournal(unit, db, opening(unit)) for unit, db in databases.items()]
    keeper = CheckpointKeeper(kept, db=checkpoints, tsa=tsa, clock=clock)

    def close() -> None:
        for db in (checkpoints, *databases.values()):
            db.close()

    return Running(
        name=CHECKPOINTS,
        sites={},
        services=(),
        workers=(),
        timers=keeper.timers(),
        health=lambda: {"name": "Seals of the journals", **keeper.health()},
        close=close,
    )


@contextmanager
def opened(folder: StateFolder, unit: str) -> Iterator[Database]:
    """The database of a journal, or of the checkpoints, beside a running state. Nothing is made.

    Raises: NotFound `journal.no_database`.
    """
    url = folder.load().database.url.replace("{institution}", unit)
    file = folder.path / "db" / f"{unit}.sqlite"
    if not url and not file.is_file():
        raise NotFound("journal.no_database", f"{file} is not there")
    db = Database(url) if url else Database.sqlite(file)
    try:
        yield db
    finally:
        db.close()


def _organization(unit: str) -> Organization:
    owner = JOURNALS[unit]
    name = f"TEST {members.NAMES[owner].removeprefix('Test ')}"
    return Organization(owner.member_code, name, f"{name} journal seal")
