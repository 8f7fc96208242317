"""Declarations of services and purposes: entered once, invalidated with every consent under them."""

from dataclasses import replace

from digiid.institutions.information_authority.consents import store
from digiid.institutions.information_authority.consents.declarations import Declarations
from digiid.institutions.information_authority.consents.domain import (
    AUTHORITY,
    ConsentEvent,
    PurposeDeclaration,
    ServiceDeclaration,
)
from digiid.institutions.information_authority.consents.use_cases.deps import ALIVE, Deps, end_consent, record_journal
from digiid.kernel.errors import Conflict, NotFound


def declare(deps: Deps, declarations: Declarations) -> None:
    """Enter approved declarations, each once; invalidate those that are called invalid now.

    Raises: Conflict `consent.declaration_changed`, an identifier stands for other words than before; NotFound
        `consent.no_service_declaration`.
    """
    for service in declarations.services:
        _declare_service(deps, service)
    for purpose in declarations.purposes:
        _declare_purpose(deps, purpose)


def _declare_service(deps: Deps, declaration: ServiceDeclaration) -> None:
    at = deps.clock.now()
    with deps.db.write() as tx:
        known = store.find_service_declaration(tx, declaration.identifier)
        if known is None:
            store.put_service_declaration(tx, declaration, at)
            record_journal(tx, "service_declaration.entered", {"declaration": declaration.identifier}, at)
        elif replace(known, is_valid=declaration.is_valid) != declaration:
            raise Conflict("consent.declaration_changed", f"{declaration.identifier} was entered with another content")
    if not declaration.is_valid:
        invalidate_service(deps, declaration.identifier)


def _declare_purpose(deps: Deps, declaration: PurposeDeclaration) -> None:
    at = deps.clock.now()
    with deps.db.write() as tx:
        if store.find_service_declaration(tx, declaration.service_declaration) is None:
            raise NotFound("consent.no_service_declaration", declaration.service_declaration)
        known = store.find_purpose_declaration(tx, declaration.identifier)
        if known is None:
            store.put_purpose_declaration(tx, declaration, at)
            record_journal(tx, "purpose_declaration.entered", {"declaration": declaration.identifier}, at)
        elif replace(known, is_valid=declaration.is_valid) != declaration:
            raise Conflict("consent.declaration_changed", f"{declaration.identifier} was entered with another content")
    if not declaration.is_valid:
        invalidate_purpose(deps, declaration.identifier)


def invalidate_service(deps: Deps, identifier: str) -> None:
    """End a service declaration, its purpose declarations and every consent under them. Repeats change nothing."""
    at = deps.clock.now()
    with deps.db.write() as tx:
        declaration = store.find_service_declaration(tx, identifier)
        if declaration is None:
            raise NotFound("consent.no_service_declaration", identifier)
        if declaration.is_valid:
            store.put_service_declaration(tx, replace(declaration, is_valid=False), at)
            record_journal(tx, "service_declaration.invalidated", {"declaration": identifier}, at)
        purposes = store.list_purposes_of_service(tx, identifier)
    for purpose in purposes:
        invalidate_purpose(deps, purpose)


def invalidate_purpose(deps: Deps, identifier: str) -> None:
    """End a purpose declaration and every consent under it. Repeats change nothing."""
    deps.db.retry(lambda: _invalidate_purpose(deps, identifier))
    deps.wake_outbox()


def _invalidate_purpose(deps: Deps, identifier: str) -> None:
    at = deps.clock.now()
    with deps.db.write() as tx:
        declaration = store.find_purpose_declaration(tx, identifier)
        if declaration is None:
            raise NotFound("consent.no_declaration", identifier)
        if declaration.is_valid:
            store.put_purpose_declaration(tx, replace(declaration, is_valid=False), at)
            record_journal(tx, "purpose_declaration.invalidated", {"declaration": identifier}, at)
        for consent in store.list_consents_of_purpose(tx, identifier, ALIVE):
            end_consent(tx, deps, consent, ConsentEvent.INVALIDATE, actor=AUTHORITY, at=at)
