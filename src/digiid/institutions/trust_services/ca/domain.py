"""The life of a certificate, and what an order for certificates is. Decides, does nothing.

Issued on hold, good from the hand-over on, on hold while suspended, revoked for good. The two
certificates of a document take every step together. An organisation's seal is good from the first moment: who
asks for it was identified before the order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from digiid.formats.x509.profile import (
    CertificateKind,
    DocumentPolicy,
    ExchangeSubject,
    Holder,
    Organization,
    end_of_day_in_tallinn,
)
from digiid.institutions.trust_services.domain import ON_HOLD_REASON, CertificateState, CertificateStatus
from digiid.kernel.errors import Refused
from digiid.kernel.states import Edge, StateTable, take_edge

# A document is valid for five years; the day itself and the time until personalisation come on top.
_SEAL_NUMBER: Final = re.compile(r"SEAL-[A-Za-z0-9]{1,15}")
LONGEST_VALIDITY: Final = timedelta(days=5 * 366 + 31)
PAIR: Final = (CertificateKind.AUTHENTICATION, CertificateKind.SIGNATURE)
SEALS: Final = (CertificateKind.SEAL, CertificateKind.DEVICE_SEAL)
EXCHANGE_KINDS: Final = (CertificateKind.EXCHANGE_AUTHENTICATION, CertificateKind.EXCHANGE_SIGNING)
# Good from the first moment: who asks was identified before the order.
ISSUED_GOOD: Final = (*SEALS, *EXCHANGE_KINDS)


class Event(StrEnum):
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"
    EXPIRE = "expire"


_BUREAU: Final = frozenset({"card_bureau"})
_POLICE: Final = frozenset({"police_board"})
_CLOCK: Final = frozenset({"trust_services"})
_OCSP: Final = ("ocsp",)
_OCSP_AND_CRL: Final = ("ocsp", "crl")
# Regulation (EU) No 910/2014, with the Electronic Identification and Trust Services for Electronic
# Transactions Act (EUTS) and the Identity Documents Act (ITDS) of Estonia.
_ISSUE_BASIS: Final = "eIDAS art. 24(1): handed over to the person who was identified"
_HOLD_BASIS: Final = "eIDAS art. 28(5), EUTS § 18: temporary suspension, its period visible"
_LIFT_BASIS: Final = "eIDAS art. 28(5), EUTS § 18: end of a suspension"
_REVOKE_BASIS: Final = "eIDAS art. 24(3) and 28(4), EUTS § 19: no effect from then on, and never again"
_EXPIRE_BASIS: Final = "the certificate's own notAfter"

LIFECYCLE: Final[StateTable[CertificateState, Event]] = {
    CertificateState.ISSUED_ON_HOLD: {
        Event.ACTIVATE: Edge(CertificateState.GOOD, _ISSUE_BASIS, _BUREAU, _OCSP_AND_CRL),
        Event.REVOKE: Edge(CertificateState.REVOKED, _REVOKE_BASIS, _POLICE, _OCSP_AND_CRL),
        Event.EXPIRE: Edge(CertificateState.EXPIRED, _EXPIRE_BASIS, _CLOCK),
    },
    CertificateState.GOOD: {
        Event.SUSPEND: Edge(CertificateState.ON_HOLD, _HOLD_BASIS, _POLICE, _OCSP_AND_CRL),
        Event.REVOKE: Edge(CertificateState.REVOKED, _REVOKE_BASIS, _POLICE, _OCSP_AND_CRL),
        Event.EXPIRE: Edge(CertificateState.EXPIRED, _EXPIRE_BASIS, _CLOCK),
    },
    CertificateState.ON_HOLD: {
        Event.RESUME: Edge(CertificateState.GOOD, _LIFT_BASIS, _POLICE, _OCSP_AND_CRL),
        Event.REVOKE: Edge(CertificateState.REVOKED, _REVOKE_BASIS, _POLICE, _OCSP_AND_CRL),
        Event.EXPIRE: Edge(CertificateState.EXPIRED, _EXPIRE_BASIS, _CLOCK),
    },
    CertificateState.REVOKED: {},
    CertificateState.EXPIRED: {
        # A key found compromised after the end still has to be said so: old signatures depend on it.
        Event.REVOKE: Edge(CertificateState.REVOKED, _REVOKE_BASIS, _POLICE, _OCSP),
    },
}

# The life of a seal and of a certificate for the exchange: the CA itself takes every step, asked by the organisation.
SEAL_LIFECYCLE: Final[StateTable[CertificateState, Event]] = {
    CertificateState.GOOD: {
        Event.REVOKE: Edge(CertificateState.REVOKED, _REVOKE_BASIS, _CLOCK, _OCSP_AND_CRL),
        Event.EXPIRE: Edge(CertificateState.EXPIRED, _EXPIRE_BASIS, _CLOCK),
    },
    CertificateState.REVOKED: {},
    CertificateState.EXPIRED: {Event.REVOKE: Edge(CertificateState.REVOKED, _REVOKE_BASIS, _CLOCK, _OCSP)},
}

# The state that an event asks for: being there already is success, so that a message may come twice.
_GOALS: Final[Mapping[Event, CertificateState]] = {
    Event.ACTIVATE: CertificateState.GOOD,
    Event.SUSPEND: CertificateState.ON_HOLD,
    Event.RESUME: CertificateState.GOOD,
    Event.REVOKE: CertificateState.REVOKED,
    Event.EXPIRE: CertificateState.EXPIRED,
}


def decide_change(
    status: CertificateStatus,
    event: Event,
    *,
    actor: str,
    at: datetime,
    reason: str | None = None,
    lifecycle: StateTable[CertificateState, Event] = LIFECYCLE,
) -> CertificateStatus:
    """The status after `event`; the same object when it is so already.

    The revocation time of what was on hold stays the time of the hold: between the two it was not good.

    Raises: Conflict `state.illegal_event`, Refused `state.actor_not_allowed`.
    """
    if status.state is _GOALS[event]:
        return status
    edge = take_edge(lifecycle, status.state, event, actor=actor)
    changed = replace(status, state=edge.to, changed_at=at)
    if edge.to is CertificateState.GOOD:
        return replace(changed, revoked_at=None, reason=None)
    if edge.to is CertificateState.ON_HOLD:
        return replace(changed, revoked_at=at, reason=ON_HOLD_REASON)
    if edge.to is CertificateState.REVOKED:
        return replace(changed, revoked_at=status.revoked_at or at, reason=reason)
    return changed


def issued_on_hold(
    *, serial_number: int, document_number: str, kind: CertificateKind, at: datetime, not_after_at: datetime
) -> CertificateStatus:
    """How every certificate begins."""
    return CertificateStatus(
        serial_number=serial_number,
        document_number=document_number,
        purpose=kind.value,
        state=CertificateState.ISSUED_ON_HOLD,
        changed_at=at,
        not_after_at=not_after_at,
        revoked_at=at,
        reason=ON_HOLD_REASON,
    )


def issued_good(
    *, serial_number: int, document_number: str, kind: CertificateKind, at: datetime, not_after_at: datetime
) -> CertificateStatus:
    """How a seal begins, and a certificate for the exchange."""
    return CertificateStatus(
        serial_number=serial_number,
        document_number=document_number,
        purpose=kind.value,
        state=CertificateState.GOOD,
        changed_at=at,
        not_after_at=not_after_at,
        revoked_at=None,
        reason=None,
    )


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for: a document's two keys and the person they are for."""

    order_id: str
    document_number: str
    policy: DocumentPolicy
    holder: Holder
    expires_on: date
    authentication_request_der: bytes
    signature_request_der: bytes

    def request_der(self, kind: CertificateKind) -> bytes:
        return self.authentication_request_der if kind is CertificateKind.AUTHENTICATION else self.signature_request_der

    @property
    def digest(self) -> bytes:
        """SHA-256 over everything ordered: the same order id with another content is another order."""
        fields = (
            self.order_id,
            self.document_number,
            self.policy.value,
            self.holder.personal_code,
            self.holder.surname,
            self.holder.given_names,
            self.expires_on.isoformat(),
        )
        hashed = sha256()
        for part in (*(text.encode() for text in fields), self.authentication_request_der, self.signature_request_der):
            hashed.update(len(part).to_bytes(4, "big") + part)
        return hashed.digest()


@dataclass(frozen=True, slots=True)
class SealOrder:
    """What was asked for: one key and the organisation that it seals for.

    `seal_number` names the seal as a document number names a document. `on_device`: whoever took the order saw the
    key made in a device that it cannot leave; only then does the certificate claim one.
    """

    order_id: str
    seal_number: str
    organization: Organization
    expires_on: date
    request_der: bytes
    on_device: bool = False

    def __post_init__(self) -> None:
        if not _SEAL_NUMBER.fullmatch(self.seal_number):
            raise Refused("trust.profile.seal_number", "a seal's number is SEAL- and 1 to 15 letters or digits")

    @property
    def kind(self) -> CertificateKind:
        return CertificateKind.DEVICE_SEAL if self.on_device else CertificateKind.SEAL

    @property
    def digest(self) -> bytes:
        """SHA-256 over everything ordered but the request, whose signature may differ each time it is made, and the
        last day, which the first asking settles: whoever asks again after New Year means the same seal."""
        fields = (
            self.order_id,
            self.seal_number,
            self.kind.value,
            self.organization.registry_code,
            self.organization.name,
            self.organization.seal_name,
        )
        hashed = sha256()
        for part in (text.encode() for text in fields):
            hashed.update(len(part).to_bytes(4, "big") + part)
        return hashed.digest()


@dataclass(frozen=True, slots=True)
class ExchangeOrder:
    """What was asked for: one key of a member of the exchange, or of one of its security servers."""

    order_id: str
    kind: CertificateKind
    subject: ExchangeSubject
    expires_on: date
    request_der: bytes

    def __post_init__(self) -> None:
        if self.kind not in EXCHANGE_KINDS:
            raise Refused("trust.profile.kind", f"{self.kind} is no certificate for the exchange")
        if not 1 <= len(self.order_id) <= 64:
            raise Refused("trust.profile.order_id", "an order's id has 1 to 64 characters")

    @property
    def number(self) -> str:
        """Stands where a document has its number; follows from the order's id."""
        return f"EX-{sha256(self.order_id.encode()).hexdigest()[:16]}"

    @property
    def digest(self) -> bytes:
        """SHA-256 over everything ordered but the request, whose signature may differ each time it is made, and the
        last day, which the first asking settles."""
        fields = (
            self.order_id,
            self.kind.value,
            self.subject.member_class,
            self.subject.member_code,
            self.subject.name,
            self.subject.common_name,
        )
        hashed = sha256()
        for part in (text.encode() for text in fields):
            hashed.update(len(part).to_bytes(4, "big") + part)
        return hashed.digest()


def decide_validity(expires_on: date, *, at: datetime) -> tuple[datetime, datetime]:
    """(notBefore, notAfter): from now to the end of the document's last day in Tallinn.

    Raises: Refused `trust.profile.validity`.
    """
    not_before_at, not_after_at = at.replace(microsecond=0), end_of_day_in_tallinn(expires_on)
    if not_after_at <= not_before_at:
        raise Refused("trust.profile.validity", "the document has expired")
    if not_after_at - not_before_at > LONGEST_VALIDITY:
        raise Refused("trust.profile.validity", "the document is valid for longer than five years")
    return not_before_at, not_after_at
