"""Sealed receipts of consents, and numbered statements of what was revoked."""

import hashlib

from cryptography.hazmat.primitives.serialization import Encoding

from digiid.contracts import consents as wire
from digiid.formats.consent_receipt import (
    MAX_RECEIPT_CHARS,
    RECEIPT_TYPE,
    ConsentReceipt,
    Party,
    RevocationStatement,
)
from digiid.formats.jws import parse_compact
from digiid.institutions.information_authority.consents import store
from digiid.institutions.information_authority.consents.domain import (
    Consent,
)
from digiid.institutions.information_authority.consents.use_cases.asking import validate_for_client
from digiid.institutions.information_authority.consents.use_cases.deps import Deps, declarations_of
from digiid.kernel.identifiers import ClientId
from digiid.platform.entropy import token_urlsafe


def get_receipt(deps: Deps, client: ClientId, consent_reference: str) -> str:
    """The sealed receipt for the client to show.

    Raises: NotFound `consent.not_found`; Conflict `consent.invalid_status`.
    """
    return receipt_of(deps, validate_for_client(deps, client, consent_reference))


def get_revocations(deps: Deps, audience: ClientId, after: int) -> str:
    """The sealed statement of what was revoked for this party after a number."""
    limit, issued_at = wire.MAX_REVOCATIONS, deps.clock.now()  # looked at first: it tells nothing of what comes later
    with deps.db.read() as tx:
        head = store.revocation_head(tx, str(audience))
        # who says to know more than there is gets the head, and sees from it that we were set back
        after = min(after, head)
        revocations = store.list_revocations(tx, str(audience), after=after, limit=limit)
    up_to = revocations[-1].number if revocations else after
    statement = RevocationStatement(deps.address, str(audience), issued_at, after, up_to, head, tuple(revocations))
    return deps.sealer.seal_revocations(statement)


def receipt_of(deps: Deps, consent: Consent) -> str:
    # 1 the one that there is, if today's seal made it
    with deps.db.read() as tx:
        kept = store.read_receipt(tx, consent.consent_id)
        snapshot = store.read_snapshot(tx, consent.consent_id)
        purpose, service = declarations_of(tx, consent)
    if kept is not None and _is_of_this_seal(deps, kept):
        return kept
    # 2 sealed from what was decided, which never changes
    locale = consent.locale or "en"
    receipt = ConsentReceipt(
        receipt_id=token_urlsafe(deps.entropy, 18),
        consent_reference=consent.consent_reference,
        issuer=deps.address,
        subject_code=consent.subject_code,
        representative_code=consent.representative_code,
        controller=Party(service.controller_name, service.controller_code),
        processor=Party(service.processor_name, service.processor_code) if service.processor_name else None,
        recipient=Party(purpose.recipient_name, purpose.recipient_code),
        client=consent.client,
        provider=consent.provider,
        service_declaration=consent.service_declaration,
        services=(service.service,),
        data_categories=tuple(category.code for category in service.categories),
        purpose_declaration=consent.purpose_declaration,
        purpose_sha256=hashlib.sha256(purpose.purpose.in_language(locale).encode()).hexdigest(),
        snapshot_sha256=snapshot.sha256,
        locale=locale,
        granted_at=consent.decided_at or consent.requested_at,
        expires_at=consent.expires_at,
        withdrawal_url=f"{deps.address}/",
        validation_cache_seconds=service.validation_cache_seconds,
    )
    sealed = deps.sealer.seal_receipt(receipt)
    # 3 kept, so that the next asking costs nothing
    deps.db.retry(lambda: _keep_receipt(deps, consent.consent_id, sealed))
    return sealed


def _keep_receipt(deps: Deps, consent_id: str, sealed: str) -> None:
    with deps.db.write() as tx:
        store.keep_receipt(tx, consent_id, sealed)


def _is_of_this_seal(deps: Deps, receipt: str) -> bool:
    made_by = parse_compact(receipt, typ=RECEIPT_TYPE, max_chars=MAX_RECEIPT_CHARS).certificates[0]
    return made_by.public_bytes(Encoding.DER) == deps.sealer.certificate.public_bytes(Encoding.DER)
