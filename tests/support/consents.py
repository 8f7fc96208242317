"""A consent service's seal, and receipts and statements of it: right ones, to be made wrong by a test."""

import functools
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from digiid.contracts.members import BANK, POPULATION_REGISTER
from digiid.formats.consent_receipt import (
    ConsentReceipt,
    ConsentSeal,
    Party,
    Revocation,
    RevocationStatement,
    sign_receipt,
    sign_revocations,
)
from digiid.formats.x509.path import TrustAnchors
from tests.support.pki import AT, SEAL_QSCD, Identity, distinguished_name, shared_pki

SEAL_NAME, ORGANIZATION_CODE = "TEST Consent Service e-seal", "NTREE-70000105"
REFERENCE = "c" * 43
SUBJECT = "60001019906"
HOUR = timedelta(hours=1)
RECEIPT = ConsentReceipt(
    receipt_id="r" * 22,
    consent_reference=REFERENCE,
    issuer="http://consent.localhost:8800",
    subject_code=SUBJECT,
    representative_code=None,
    controller=Party("TEST Population Register", "70000103"),
    processor=None,
    recipient=Party("TEST Bank", "10000201"),
    client=str(BANK),
    provider=str(POPULATION_REGISTER),
    service_declaration="population-address",
    services=(f"{POPULATION_REGISTER}/get-address",),
    data_categories=("address.country", "address.street"),
    purpose_declaration="bank-card-and-letters",
    purpose_sha256="ab" * 32,
    snapshot_sha256="cd" * 32,
    locale="en",
    granted_at=AT - HOUR,
    expires_at=AT + 24 * HOUR,
    withdrawal_url="http://consent.localhost:8800/",
    validation_cache_seconds=300,
)


@dataclass(frozen=True)
class Sealer:
    """Somebody with a seal; `consent_sealer()` is the consent service."""

    identity: Identity

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        assert isinstance(self.identity.key, ec.EllipticCurvePrivateKey)
        return self.identity.key

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        return (self.identity.certificate,)

    def receipt(self, **changes: Any) -> str:
        return sign_receipt(replace(RECEIPT, **changes), key=self.key, certificates=self.certificates)

    def revocations(
        self, *references: str, after: int = 0, head: int | None = None, at: datetime = AT, audience: str = ""
    ) -> str:
        revoked = tuple(
            Revocation(after + n, reference, "withdrawn", at) for n, reference in enumerate(references, start=1)
        )
        up_to = after + len(revoked)
        statement = RevocationStatement(
            RECEIPT.issuer,
            audience or RECEIPT.provider,
            at,
            after,
            up_to,
            up_to if head is None else head,
            revoked,
        )
        return sign_revocations(statement, key=self.key, certificates=self.certificates)


@functools.cache
def consent_sealer(
    *, kind: str = "p256", name: str = SEAL_NAME, organization: str = ORGANIZATION_CODE, years: int = 2
) -> Sealer:
    subject = distinguished_name(name, organization="TEST Information Authority", identifier=organization)
    until = AT + timedelta(days=365 * years)
    return Sealer(shared_pki().issue(subject, kind=kind, extensions=SEAL_QSCD, not_after=until))


@functools.cache
def consent_seal() -> ConsentSeal:
    return ConsentSeal(TrustAnchors([shared_pki().ca.certificate]), ORGANIZATION_CODE, SEAL_NAME)
