"""What a certificate's status is: the values that the CA decides on and everybody else reads."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

ON_HOLD_REASON: Final = "certificateHold"


class CertificateState(StrEnum):
    ISSUED_ON_HOLD = "issued_on_hold"
    GOOD = "good"
    ON_HOLD = "on_hold"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One certificate. `revoked_at` and `reason` are what OCSP and the CRL say; None while it is good.

    They outlive expiry: what ended while good stays good in OCSP, what ended on hold stays on hold.
    """

    serial_number: int
    document_number: str
    purpose: str
    state: CertificateState
    changed_at: datetime
    not_after_at: datetime
    revoked_at: datetime | None
    reason: str | None
