"""What every use case of the consent service works with, and the steps that several of them take."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from digiid.exchange.client import Client
from digiid.institutions.information_authority.consents import store
from digiid.institutions.information_authority.consents.domain import (
    Consent,
    ConsentEvent,
    ConsentState,
    PurposeDeclaration,
    ServiceDeclaration,
)
from digiid.institutions.information_authority.consents.sealing import Sealer
from digiid.institutions.information_authority.consents.settings import Settings
from digiid.kernel.errors import Broken, Conflict, NotFound
from digiid.platform import journal, outbox
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.outbox import Bell
from digiid.platform.web.dates import TIME_ZONE

PUSH: Final = "push_revocations"  # the kind of outbox message
MAX_LISTED: Final = 500
ALIVE: Final = (ConsentState.REQUESTED, ConsentState.APPROVED)
log = structlog.get_logger("consent")


@dataclass(frozen=True)
class Deps:
    """`address` is the origin of the pages, which is also the issuer's name."""

    db: Database
    clock: Clock
    entropy: Entropy
    exchange: Client
    sealer: Sealer
    settings: Settings
    address: str
    wake_outbox: Bell = field(default_factory=Bell)


def end_consent(
    tx: Connection, deps: Deps, consent: Consent, event: ConsentEvent, *, actor: str, at: datetime
) -> Consent:
    """Take an edge that ends a consent, and tell whoever relies on it."""
    ended = consent.take(event, actor=actor, at=at)
    store.update_consent(tx, ended)
    store.add_history(tx, consent.consent_id, ended.state.value, at)
    record_journal(tx, f"consent.{ended.state.value}", {"consent": consent.consent_id}, at)
    if consent.is_revoked_by(event):
        for audience in sorted({consent.provider, consent.client}):
            number = store.add_revocation(tx, audience, consent.consent_reference, ended.state.value, at)
            outbox.put(
                tx,
                store.OUTBOX,
                message_id=new_id(deps.entropy),
                kind=PUSH,
                payload={"audience": audience, "number": number},
                at=at,
                ordering_key=hashlib.sha256(audience.encode()).hexdigest(),
            )
    return ended


def as_of(consent: Consent, at: datetime) -> Consent:
    """The consent as it is, whether or not the timer has been there."""
    if consent.state is ConsentState.APPROVED and not consent.holds_at(at):
        return replace(consent, state=ConsentState.EXPIRED, ended_at=consent.expires_at)
    return consent


def declarations_of(tx: Connection, consent: Consent) -> tuple[PurposeDeclaration, ServiceDeclaration]:
    purpose = store.find_purpose_declaration(tx, consent.purpose_declaration)
    if purpose is None:
        raise Broken("consent.declaration_lost", consent.purpose_declaration)
    return purpose, service_of(tx, purpose)


def service_of(tx: Connection, purpose: PurposeDeclaration) -> ServiceDeclaration:
    service = store.find_service_declaration(tx, purpose.service_declaration)
    if service is None:
        raise Broken("consent.declaration_lost", purpose.service_declaration)
    return service


def not_found() -> NotFound:
    return NotFound("consent.not_found", "none of this caller's", public="You have no such consent.")


def record_journal(tx: Connection, kind: str, payload: Mapping[str, journal.JsonValue], at: datetime) -> None:
    journal.record(tx, store.JOURNAL, kind=kind, payload=payload, at=at)


def today_of(deps: Deps) -> date:
    return day_of(deps.clock.now())


def day_of(at: datetime) -> date:
    return at.astimezone(TIME_ZONE).date()


def hash_link(link: str) -> bytes:
    return hashlib.sha256(link.encode()).digest()


def declarations_hold(purpose: PurposeDeclaration, service: ServiceDeclaration, at: datetime) -> bool:
    return purpose.is_valid and service.is_valid and min(purpose.expires_at, service.expires_at) > at


def list_alive(tx: Connection, subject_code: str, purpose_declaration: str) -> list[Consent]:
    return store.list_consents_for(tx, subject_code=subject_code, purpose_declaration=purpose_declaration, states=ALIVE)


def holding_now(deps: Deps, consent: Consent) -> Consent:
    """Raises: Conflict `consent.invalid_status`."""
    if not consent.holds_at(deps.clock.now()):
        raise Conflict("consent.invalid_status", consent.state, public="The consent does not hold (any more).")
    return consent
