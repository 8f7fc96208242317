"""The journals of a state: whose each is, whose seal its checkpoints carry, and who makes them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from cryptography import x509

from digiid.apps.seals import SealAuthority, ServiceSeal
from digiid.apps.state import StateFolder
from digiid.contracts import members
from digiid.exchange.central_server.app import NAME as CENTRAL_SERVER
from digiid.formats.organization_seal import SealOwner
from digiid.formats.x509.path import TrustAnchors
from digiid.formats.x509.profile import Organization
from digiid.institutions.information_authority.consents.app import UNIT as CONSENTS
from digiid.institutions.information_authority.signing_service.app import UNIT as SIGNING_SERVICE
from digiid.kernel.errors import NotFound
from digiid.kernel.identifiers import ClientId
from digiid.platform.checkpoints import DATABASE as CHECKPOINTS
from digiid.platform.checkpoints import PACKAGE, CheckpointKeeper, KeptJournal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
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
    organization = _organization(JOURNALS[unit])
    identifier = f"NTREE-{organization.registry_code}"
    return SealOwner(TrustAnchors(issuers), identifier, organization.seal_name)


def open_seals(folder: StateFolder, authority: SealAuthority) -> Mapping[str, ServiceSeal]:
    """The seal of each journal: one for each institution, made when it is first needed, renewed with the services'."""
    of_owner = {
        owner: ServiceSeal(
            folder.secrets,
            authority,
            seal_number=f"SEAL-J{owner.member_code}",
            organization=_organization(owner),
            needed_for="the institution's journals",
        )
        for owner in dict.fromkeys(JOURNALS.values())
    }
    return {unit: of_owner[owner] for unit, owner in JOURNALS.items()}


def build(
    seals: Mapping[str, ServiceSeal], *, open_database: Callable[[str], Database], tsa: TsaClient, clock: Clock
) -> Running[Any]:
    """What seals the journals of this process by the clock."""
    checkpoints = open_database(CHECKPOINTS)
    checkpoints.migrate(PACKAGE)
    databases = {unit: open_database(unit) for unit in JOURNALS}
    kept = [KeptJournal(unit, db, seals[unit].open) for unit, db in databases.items()]
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


def _organization(owner: ClientId) -> Organization:
    name = f"TEST {members.NAMES[owner].removeprefix('Test ')}"
    return Organization(owner.member_code, name, f"{name} journal seal")
