"""What the use cases work with, and the two lines that every one of them needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from sqlalchemy.engine import Connection

from digiid.exchange.central_server import store
from digiid.exchange.central_server.domain import Action, Officer, check_right
from digiid.exchange.central_server.settings import Settings
from digiid.exchange.global_conf.trust import TrustJudge
from digiid.formats.global_conf import ApprovedCa, CaInfo, OcspResponder, SharedParams
from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import Refused
from digiid.kernel.identifiers import MemberId, Party
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy

OCSP_FRESHNESS: Final = "ocsp_freshness_seconds"


@dataclass(frozen=True)
class Deps:
    """`keys_folder` holds the keys that sign the configuration, encrypted under the passphrase in `passphrase_file`."""

    db: Database
    clock: Clock
    entropy: Entropy
    settings: Settings
    keys_folder: Path
    passphrase_file: Path

    @property
    def instance(self) -> str:
        return self.settings.instance


def officer_for(tx: Connection, personal_code: str, action: Action) -> Officer:
    """The officer, looked up in the transaction of the act. Raises: as `check_right`."""
    return check_right(store.officers.find_officer(tx, personal_code), action)


def note(deps: Deps, tx: Connection, kind: str, *, by: Officer | str, **payload: journal.JsonValue) -> None:
    """The journal's entry of an act, in its transaction. `by` is an officer, or in words who else it was."""
    who = by if isinstance(by, str) else f"{by.name} ({by.personal_code[:7]}****)"
    journal.record(tx, store.schema.JOURNAL, kind=kind, payload={"by": who, **payload}, at=deps.clock.now())


def check_own(deps: Deps, party: Party | MemberId) -> None:
    """Raises: Refused `central.instance` for what belongs to another instance."""
    if party.instance != deps.instance:
        raise Refused("central.instance", f"{party} is not of {deps.instance}", public="This is of another instance.")


def approved_cas(tx: Connection) -> tuple[ApprovedCa, ...]:
    """The CAs whose certificates count, loaded."""
    return tuple(
        ApprovedCa(
            name=row.name,
            top=_ca_info(row.certificate_der, row.ocsp_urls),
            certificate_profile=row.certificate_profile,
            intermediates=tuple(_ca_info(der, urls) for der, urls in row.intermediates),
            is_authentication_only=row.is_authentication_only,
            csr_format="DER",
        )
        for row in store.trust_services.list_cas(tx)
    )


def ocsp_freshness(deps: Deps, tx: Connection) -> int:
    """How many seconds an OCSP response may be old on the exchange."""
    return int(store.parameters.find_parameter(tx, OCSP_FRESHNESS) or deps.settings.ocsp_freshness_seconds)


def judge_of(deps: Deps, tx: Connection) -> TrustJudge:
    """Judges certificates as a security server with the present configuration does."""
    shared = SharedParams(deps.instance, approved_cas=approved_cas(tx), ocsp_freshness_seconds=ocsp_freshness(deps, tx))
    return TrustJudge(shared, verify_next_update=True)


def _ca_info(certificate_der: bytes, urls: tuple[str, ...]) -> CaInfo:
    certificate: x509.Certificate = load_certificate(certificate_der)
    return CaInfo(certificate, tuple(OcspResponder(url, None, "FREE") for url in urls))
