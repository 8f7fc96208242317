"""What the trust services offer: the pair of certificates of a document, and their status.

The two certificates of a document are issued together, on hold, and change their status together.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from digiid.contracts.card_bureau import DocumentNumber, DocumentPolicyName
from digiid.contracts.members import CARD_BUREAU, INFORMATION_AUTHORITY, POLICE_BOARD, TRUST_SERVICES
from digiid.contracts.operation import Message, Operation
from digiid.contracts.population_register import Name, OrderId, PersonalCode
from digiid.kernel.identifiers import ServiceId

CertificateState = Literal["issued_on_hold", "good", "on_hold", "revoked", "expired"]
RevocationReason = Literal[
    "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn", "unspecified"
]
Base64 = Annotated[str, Field(min_length=4, max_length=8000, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
SerialNumber = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class IssueCertificates(Message):
    """Certify the two keys of a chip. The same `order_id` with the same content gives the same certificates.

    Each request is a PKCS#10 signed by the chip's key: proof of possession. Nothing else in it is used.
    Names are in upper case; a person with one name has it as the surname.
    """

    order_id: OrderId
    document_number: DocumentNumber
    policy: DocumentPolicyName
    personal_code: PersonalCode
    given_names: Annotated[str, Field(max_length=100)]
    surname: Name
    expires_on: date
    authentication_request_b64: Base64
    signature_request_b64: Base64


class IssuedCertificates(Message):
    """DER certificates, both on hold: OCSP answers revoked (certificateHold) until they are activated."""

    order_id: OrderId
    document_number: DocumentNumber
    authentication_certificate_b64: Base64
    signature_certificate_b64: Base64


class ActivateCertificates(Message):
    """The document was handed to its holder: the certificates become good. Only from on-hold-since-issue."""

    document_number: DocumentNumber


class SuspendCertificates(Message):
    """Put the certificates on hold: what they say until they are resumed is revoked (certificateHold)."""

    document_number: DocumentNumber


class ResumeCertificates(Message):
    """Lift a suspension."""

    document_number: DocumentNumber


class RevokeCertificates(Message):
    """End the certificates for good. A later call with another reason changes nothing."""

    document_number: DocumentNumber
    reason: RevocationReason


class GetCertificateStatus(Message):
    """How do the certificates of a document stand?"""

    document_number: DocumentNumber


class CertificateEntry(Message):
    """One certificate. `changed_at` is UTC; `reason` is set when revoked."""

    purpose: Literal["authentication", "signature"]
    serial_number: SerialNumber
    state: CertificateState
    changed_at: datetime
    not_after_at: datetime
    reason: RevocationReason | None = None


class CertificateStatus(Message):
    """The status of a document's certificates, after whatever was asked has been done."""

    document_number: DocumentNumber
    certificates: tuple[CertificateEntry, ...]


def _service(code: str) -> ServiceId:
    return ServiceId(TRUST_SERVICES, code)


_BUREAU = frozenset({CARD_BUREAU})
_POLICE = frozenset({POLICE_BOARD})
ISSUE_CERTIFICATES = Operation(_service("issue-certificates"), IssueCertificates, IssuedCertificates, _BUREAU)
ACTIVATE_CERTIFICATES = Operation(_service("activate-certificates"), ActivateCertificates, CertificateStatus, _BUREAU)
SUSPEND_CERTIFICATES = Operation(_service("suspend-certificates"), SuspendCertificates, CertificateStatus, _POLICE)
RESUME_CERTIFICATES = Operation(_service("resume-certificates"), ResumeCertificates, CertificateStatus, _POLICE)
REVOKE_CERTIFICATES = Operation(_service("revoke-certificates"), RevokeCertificates, CertificateStatus, _POLICE)
CERTIFICATE_STATUS = Operation(
    _service("certificate-status"),
    GetCertificateStatus,
    CertificateStatus,
    _POLICE | {INFORMATION_AUTHORITY},
    discloses=("certificate_status",),
    about=(),
    legal_bases={
        POLICE_BOARD: "Identity Documents Act § 15: issue and annulment of documents",
        INFORMATION_AUTHORITY: "GDPR art. 15: asked by the person",
    },
    may_delay=_POLICE,
)
