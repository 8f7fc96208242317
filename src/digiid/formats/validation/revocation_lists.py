"""Revocation lists that a signature carries: EN 319 102-1 V1.4.1 §5.2.5 with RFC 5280 §6.3.

A list counts when the listed CA that issued the signer's certificate signed it itself, completely, after the time that
is proven for the signature and before the certificate ran out: an older list says nothing about that time, and from a
younger one the certificate may have been taken off. Delta lists, indirect lists and lists about some certificates or
reasons only are not read (formats/x509/crl).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from digiid.formats.trusted_list import ServiceCertificate
from digiid.formats.validation.facts import INDETERMINATE, Facts, NotValid, Sub
from digiid.formats.validation.policy import find_weak_key
from digiid.formats.x509.crl import VerifiedCrl, verify_crl
from digiid.formats.x509.parts import CertificateParts, public_key_of
from digiid.kernel.errors import Malformed, Refused

_MAX_BYTES: Final = 4 * 1024 * 1024  # of all lists that one signature carries
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)


def judge_lists(
    facts: Facts, parts: CertificateParts, issuer: ServiceCertificate, best_at: datetime, *, has_proof: bool
) -> tuple[bool, NotValid | None]:
    """Whether a list clears the certificate, and what is wrong with a list that does not.

    Raises: NotValid, a list says that the certificate was revoked or on hold when it was used.
    """
    problem: NotValid | None = None
    if not facts.signature.crl_values_der:
        return False, problem
    signed_at = best_at.replace(microsecond=0)  # lists have whole seconds only
    clearing: list[tuple[datetime, datetime, datetime | None]] = []
    left = _MAX_BYTES
    for crl_der in facts.signature.crl_values_der:
        left -= len(crl_der)
        if left < 0:
            facts.warn("validation.property_ignored", "Revocation lists that are too long were not taken into account")
            break
        try:
            crl = verify_crl(crl_der, issuer=issuer.certificate, only=parts)
        except (Refused, Malformed) as error:
            if error.code != "x509.crl_issuer":  # another CA's list says nothing about the signer
                text = f"The revocation list cannot be used: {error.detail}"
                problem = _unusable(error.code, text)
            continue
        entry = crl.find(parts.serial_number)
        # On hold when an older list was made, it may have been taken off before it was used.
        is_older = has_proof and crl.this_update_at < signed_at
        if entry is not None and entry.revoked_at <= signed_at and not (is_older and entry.reason == "certificateHold"):
            raise revoked(entry.reason, has_proof=has_proof)
        proven_at = facts.ocsp_proofs.get(crl_der, facts.ocsp_proven_at)
        found = _find_problem(crl, parts, issuer, signed_at if has_proof else None, proven_at)
        if found is None:
            clearing.append((proven_at or _ALWAYS, crl.this_update_at, proven_at))
        problem = found or problem
    if not clearing:
        return False, problem
    # Of several the one that is proven first, and of these the oldest, is relied on.
    _, facts.crl_issued_at, facts.status_proven_at = min(clearing, key=lambda found: found[:2])
    facts.status_signers = (issuer.certificate,)
    return True, problem


def find_revocation(
    crl_values_der: Sequence[bytes], parts: CertificateParts, issuer: x509.Certificate
) -> datetime | None:
    """When a certificate was revoked, by those of the lists that its CA signed; None when none of them says so. A list
    that cannot be used, and what comes after the first 4 MiB, says nothing."""
    found: datetime | None = None
    left = _MAX_BYTES
    for crl_der in crl_values_der:
        left -= len(crl_der)
        if left < 0:
            break
        try:
            entry = verify_crl(crl_der, issuer=issuer, only=parts).find(parts.serial_number)
        except (Refused, Malformed):
            continue
        if entry is not None:
            found = entry.revoked_at if found is None else min(found, entry.revoked_at)
    return found


def revoked(reason: str | None, *, has_proof: bool) -> NotValid:
    """The verdict when the certificate was revoked before the time of the signature. A time-stamp proves that it was
    used before the stamp, and not that it was used after the revocation: REVOKED would say that (EN 319 102-1 §5.5.4).
    """
    if reason == "certificateHold":
        text = "The signer's certificate was suspended when it was used"
        return NotValid(INDETERMINATE, Sub.TRY_LATER, "validation.on_hold", text)
    when = "had been revoked at the time that is proven for the signature" if has_proof else "is revoked"
    text = f"The signer's certificate {when}, and nothing proves that it was used before that"
    return NotValid(INDETERMINATE, Sub.REVOKED_NO_POE, "validation.revoked", text)


def _find_problem(
    crl: VerifiedCrl,
    parts: CertificateParts,
    issuer: ServiceCertificate,
    signed_at: datetime | None,
    proven_at: datetime | None,
) -> NotValid | None:
    """Why a list in which the certificate does not stand does not clear it."""
    if not issuer.parts.not_before_at <= crl.this_update_at <= issuer.parts.not_after_at:
        return _unusable("validation.crl_issuer", "The CA's certificate was not valid when it made the revocation list")
    if signed_at is not None and crl.this_update_at < signed_at:
        text = "The revocation list was made before the time of signing"
        return NotValid(INDETERMINATE, Sub.TRY_LATER, "validation.crl_before_time_stamp", text)
    if crl.this_update_at > parts.not_after_at:
        text = "The revocation list was made when the certificate had run out: it may not stand there any more"
        return _unusable("validation.crl_after_expiry", text)
    weakness = None if proven_at is None else find_weak_key(public_key_of(issuer.certificate), at=proven_at)
    if weakness:
        text = f"The CA's key is too weak by now, and nothing proves that it made the list earlier: {weakness}"
        sub = Sub.CRYPTO_CONSTRAINTS_FAILURE_NO_POE
        return NotValid(INDETERMINATE, sub, "validation.crl_weak_key", text)
    return None


def _unusable(code: str, text: str) -> NotValid:
    return NotValid(INDETERMINATE, Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE, code, text)
