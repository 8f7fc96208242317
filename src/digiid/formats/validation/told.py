"""What a report still tells of a signature that does not hold: times, certificates, the legal level.

The ladder ends where a signature fails; the validators of the field go on and tell what else is in it. So do we, as
far as it is proven, once the verdict is settled: nothing here changes it, or gives further reasons for it. The limits
of what may be in a document hold for this as well, and no data file is read again.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from cryptography import x509

from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.certificate import find_issuer
from digiid.formats.validation.facts import Facts, NotValid, Sub
from digiid.formats.validation.report import TimeStampReport
from digiid.formats.validation.revocation import check_revocation
from digiid.formats.x509.parts import parse_parts
from digiid.kernel.errors import Malformed, Refused

# The certificate that the signer named as the own one, and its octets. Raises: Refused, Malformed.
FindCertificate = Callable[[], tuple[x509.Certificate, bytes]]
# The times that are proven for the signature value. Raises: NotValid, Malformed.
ProveTime = Callable[[], Sequence[datetime]]


def tell_rest(
    facts: Facts, *, find_certificate: FindCertificate, prove_time: ProveTime, trust: VerifiedTrust, at: datetime
) -> None:
    """Add what the ladder did not come to. A time is the best signature time only where it is proven; a level and a
    confirmation are told only about the certificate that the signer named."""
    reasons = list(facts.messages)
    # 1 when the signature value existed, whatever it is worth
    if not facts.is_time_judged:
        try:
            facts.best_signature_at = min(prove_time(), default=None)
        except (NotValid, Malformed, Refused):
            facts.best_signature_at = None  # they contradict one another, or cannot be read: no proof
        facts.archive_time_stamps = [_not_compared(stamp) for stamp in facts.archive_time_stamps]

    # 2 whose certificate it names, and what the lists say of that
    with suppress(NotValid, Malformed, Refused):  # what is known by then is told
        _tell_certificate(facts, find_certificate, trust, at)
    facts.messages = reasons


def _not_compared(stamp: TimeStampReport) -> TimeStampReport:
    """Nothing is missing that an archive time-stamp covers: it was just not held against it."""
    return stamp._replace(sub_indication=None) if stamp.sub_indication is Sub.SIGNED_DATA_NOT_FOUND else stamp


def _tell_certificate(facts: Facts, find_certificate: FindCertificate, trust: VerifiedTrust, at: datetime) -> None:
    certificate, certificate_der = find_certificate()
    facts.certificate = certificate
    parts = parse_parts(certificate_der)
    best_at, has_proof = facts.best_signature_at or at, facts.best_signature_at is not None
    if facts.issuer is None:
        try:
            find_issuer(facts, certificate, parts, trust, best_at, has_proof=has_proof)
        except NotValid:
            if facts.issuer is None:
                return
    if facts.issuer is not None and not facts.is_status_judged:
        check_revocation(facts, certificate, parts, facts.issuer, trust=trust, best_at=best_at, has_proof=has_proof)
