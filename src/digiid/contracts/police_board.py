"""What the Police and Border Guard Board offers: documents and their status, hand-over, loss, misuse reports."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from digiid.contracts.card_bureau import DocumentNumber, DocumentPolicyName, TravelDocument
from digiid.contracts.members import (
    BANK,
    BUSINESS_REGISTER,
    CARD_BUREAU,
    CONSENT_SERVICE,
    INFORMATION_AUTHORITY,
    POLICE_BOARD,
    POPULATION_REGISTER,
)
from digiid.contracts.operation import Done, Message, Operation
from digiid.contracts.population_register import Name, OrderId, PersonalCode
from digiid.kernel.identifiers import ServiceId

DocumentState = Literal[
    "ordered",
    "produced",
    "in_transit",
    "at_point",
    "handed_out",
    "active",
    "suspended",
    "revoked",
    "expired",
    "superseded",
    "uncollected",
]
RightState = Literal["granted", "suspended", "limited", "annulled", "lapsed"]


class RecordDocumentMovement(Message):
    """The bureau says where a document is now. Out of order or repeated reports change nothing."""

    movement_id: OrderId
    order_id: OrderId
    document_number: DocumentNumber
    state: Literal["produced", "in_transit", "at_point", "uncollected"]
    at: datetime
    expires_on: date


class RequestHandOver(Message):
    """May this document be handed over now? Asked while the person stands at the desk."""

    order_id: OrderId
    document_number: DocumentNumber
    shown_travel_document: TravelDocument


class HandOverPermit(Message):
    """The board's answer; with `permitted` false, `reason` is for the officer at the desk.

    `acceptance_text` is what the applicant accepted (what the document is not), a paragraph a line,
    word for word: it is shown to the holder again at the hand-over.
    """

    permitted: bool
    reason: str = ""
    acceptance_text: str = ""


class RecordHandOver(Message):
    """The evidence of a hand-over. The document is active from here on; the bureau then activates the certificates."""

    order_id: OrderId
    document_number: DocumentNumber
    evidence_id: OrderId
    officer: Name
    officer_personal_code: PersonalCode
    pick_up_point: Name
    shown_travel_document: TravelDocument
    handed_over_at: datetime


class ListDocuments(Message):
    """A holder's own documents, asked for by the portal while the holder is signed in."""

    personal_code: PersonalCode


class DocumentSummary(Message):
    document_number: DocumentNumber
    policy: DocumentPolicyName
    state: DocumentState
    state_reason: str = ""
    issued_on: date | None = None
    expires_on: date | None = None
    right: RightState
    changed_at: datetime


class Documents(Message):
    documents: tuple[DocumentSummary, ...]


class ReportLoss(Message):
    """The holder, signed in, reports the own document lost: suspended at once. Only an officer lifts it."""

    personal_code: PersonalCode
    document_number: DocumentNumber
    reported_by: Literal["holder", "account", "officer"] = "holder"
    note: Annotated[str, Field(max_length=1000)] = ""


class LossReported(Message):
    suspended_at: datetime


AnomalyKind = Literal["counterfeit", "foreign", "cloned", "suspended_used", "revoked_used"]


class ReportAnomaly(Message):
    """A card that is not what it says was presented somewhere. Opens a case, or adds to the open one of that card."""

    report_id: OrderId
    kind: AnomalyKind
    place: Name
    observed_at: datetime
    personal_code: PersonalCode | None = None
    certificate_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    note: Annotated[str, Field(max_length=2000)] = ""


class ReportMisuse(Message):
    """Somebody tells of misuse on the public page, with or without a name. Opens a case."""

    report_id: OrderId
    what_happened: Annotated[str, Field(min_length=10, max_length=4000)]
    document_number: Annotated[str, Field(max_length=20)] = ""
    service: Annotated[str, Field(max_length=200)] = ""
    contact: Annotated[str, Field(max_length=200)] = ""
    reported_at: datetime


class CaseOpened(Message):
    case_number: Name


class GetDocumentStatus(Message):
    """Is this person's document valid now? Both numbers stand on the card."""

    document_number: DocumentNumber
    personal_code: PersonalCode


class DocumentStatus(Message):
    """`unknown` also stands for a document of another person than the one asked about."""

    status: Literal["valid", "suspended", "not_valid", "unknown"]
    valid_until: date | None = None
    """Of a valid or a suspended document only."""


class GetEResidencyStatus(Message):
    """What is this person entitled to as an e-resident?"""

    personal_code: PersonalCode


class EResidencyStatus(Message):
    """`none`: there never was such a right. `limited_to`: the only e-services that are left to a limited right."""

    right: RightState | Literal["none"]
    limited_to: tuple[Name, ...] = ()
    since_on: date | None = None


def _service(code: str) -> ServiceId:
    return ServiceId(POLICE_BOARD, code)


_BUREAU = frozenset({CARD_BUREAU})
_PORTAL = frozenset({INFORMATION_AUTHORITY})
_OWN = "GDPR art. 15: asked by the person"
_AML = "Money Laundering and Terrorist Financing Prevention Act § 21: identification of a customer"
_ENTRY = "Commercial Register Act § 30: who stands in an entry is checked"
RECORD_DOCUMENT_MOVEMENT = Operation(_service("record-document-movement"), RecordDocumentMovement, Done, _BUREAU)
REQUEST_HAND_OVER = Operation(
    _service("request-hand-over"),
    RequestHandOver,
    HandOverPermit,
    _BUREAU,
    discloses=("hand_over_permit",),
    about=(),
    legal_bases={CARD_BUREAU: "Identity Documents Act § 9: the holder is identified when a document is handed over"},
)
RECORD_HAND_OVER = Operation(_service("record-hand-over"), RecordHandOver, Done, _BUREAU)
LIST_DOCUMENTS = Operation(
    _service("list-documents"),
    ListDocuments,
    Documents,
    _PORTAL,
    discloses=("document", "right"),
    legal_bases={INFORMATION_AUTHORITY: _OWN},
)
REPORT_LOSS = Operation(_service("report-loss"), ReportLoss, LossReported, _PORTAL)
REPORT_ANOMALY = Operation(
    _service("report-anomaly"),
    ReportAnomaly,
    CaseOpened,
    frozenset(
        {
            INFORMATION_AUTHORITY,
            CONSENT_SERVICE,
            BANK,
            BUSINESS_REGISTER,
            CARD_BUREAU,
            POPULATION_REGISTER,
            POLICE_BOARD,
        }
    ),
)
REPORT_MISUSE = Operation(_service("report-misuse"), ReportMisuse, CaseOpened, _PORTAL | {BANK})
_BASES = {BANK: _AML, BUSINESS_REGISTER: _ENTRY, INFORMATION_AUTHORITY: _OWN}
GET_DOCUMENT_STATUS = Operation(
    _service("document-status"),
    GetDocumentStatus,
    DocumentStatus,
    frozenset(_BASES),
    discloses=("document_status",),
    legal_bases=_BASES,
)
GET_E_RESIDENCY_STATUS = Operation(
    _service("e-residency-status"),
    GetEResidencyStatus,
    EResidencyStatus,
    frozenset(_BASES),
    discloses=("right",),
    legal_bases=_BASES,
)
