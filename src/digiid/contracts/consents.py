"""What the consent service offers: the seven operations of the state's consent service, and four of our own.

The wire names are those of the state's consent service, version 2 (guide v2.1, 28.01.2025, §5.1); paths stand after
the service code. Differences are listed by clause in docs/protocols/consent.md.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from digiid.contracts.members import (
    BANK,
    BUSINESS_REGISTER,
    CONSENT_SERVICE,
    INFORMATION_AUTHORITY,
    POLICE_BOARD,
    POPULATION_REGISTER,
)
from digiid.contracts.operation import Done, Message, Operation
from digiid.kernel.identifiers import ClientId, ServiceId

CONSENT: Final = ServiceId(CONSENT_SERVICE, "consent")
REQUEST_CONSENT: Final = ("POST", "/api/consent")  # getConsentGroupReference
REQUEST_CONSENT_REPRESENTABLE: Final = ("POST", "/api/consent/representation")
GET_REFERENCES: Final = ("POST", "/api/consent/reference")  # getConsentReferences
VALIDATE_FOR_CLIENT: Final = ("GET", "/api/consent/validation/client")
VALIDATE_FOR_DATA_PROVIDER: Final = ("GET", "/api/consent/validation/dataprovider")
FILTER_BY_STATUS: Final = ("POST", "/api/consent/filter-by-status")
REPORT_TRANSMISSION: Final = ("POST", "/api/reporting/consent")
# ours: nobody has to be asked when data is asked for
GET_RECEIPT: Final = ("GET", "/api/consent/receipt")
GET_REVOCATIONS: Final = ("GET", "/api/consent/revocations")
GET_TITLES: Final = ("GET", "/api/consent/purpose-titles")
GET_HEALTH: Final = ("GET", "/api/consent/health")
GET_DESCRIPTION: Final = ("GET", "/api/openapi.json")
ENDPOINTS: Final = (
    REQUEST_CONSENT,
    REQUEST_CONSENT_REPRESENTABLE,
    GET_REFERENCES,
    VALIDATE_FOR_CLIENT,
    VALIDATE_FOR_DATA_PROVIDER,
    FILTER_BY_STATUS,
    REPORT_TRANSMISSION,
    GET_RECEIPT,
    GET_REVOCATIONS,
    GET_TITLES,
    GET_HEALTH,
    GET_DESCRIPTION,
)
# Who may knock at all; which consent is whose is looked up with each call.
CALLERS: Final = frozenset({BANK, POPULATION_REGISTER, BUSINESS_REGISTER, POLICE_BOARD, INFORMATION_AUTHORITY})
# What an operator may open to others: what a client needs. What only a data provider asks is for those above.
FOR_OTHERS: Final = frozenset(
    {
        REQUEST_CONSENT,
        REQUEST_CONSENT_REPRESENTABLE,
        GET_REFERENCES,
        VALIDATE_FOR_CLIENT,
        FILTER_BY_STATUS,
        GET_RECEIPT,
        GET_REVOCATIONS,
        GET_TITLES,
        GET_HEALTH,
        GET_DESCRIPTION,
    }
)

MAX_PURPOSES: Final = 50
MAX_REFERENCES: Final = 5000
MAX_REVOCATIONS: Final = 5000  # in one statement; a reader asks on

IdCode = Annotated[str, Field(pattern=r"^[0-9]{11}$")]
# A company is named by its registry code; the state's service knows persons only.
SubjectCode = Annotated[str, Field(pattern=r"^([0-9]{11}|[1-9][0-9]{7})$")]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
DeclarationId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
Callback = Annotated[str, Field(min_length=8, max_length=500, pattern=r"^https?://[\x21-\x7e]+$")]
PurposeIds = Annotated[tuple[DeclarationId, ...], Field(min_length=1, max_length=MAX_PURPOSES)]
ConsentStatus = Literal["APPROVED", "DECLINED", "EXPIRED", "INAPPLICABLE"]

# Every error of the service: our code -> the state's (key, code). The status follows from the kind, never 500.
ERROR_KEYS: Final = {
    "consent.validation": ("error.validation", "VALIDATION"),
    "consent.not_found": ("error.http.404", "HTTP_NOT_FOUND"),
    "consent.no_declaration": (
        "error.business.requested-consents-not-related-to-any-declarations",
        "REQUESTED_CONSENTS_NOT_RELATED_TO_ANY_DECLARATIONS",
    ),
    "consent.id_code_invalid": ("error.business.id-code-invalid", "ID_CODE_INVALID"),
    "consent.invalid_declarations": (
        "error.business.requested-consents-related-to-invalid-declarations",
        "REQUESTED_CONSENTS_RELATED_TO_INVALID_DECLARATIONS",
    ),
    "consent.all_approved": (
        "error.business.all-requested-consents-have-already-been-approved",
        "ALL_REQUESTED_CONSENTS_HAVE_ALREADY_BEEN_APPROVED",
    ),
    "consent.data_subject": ("error.business.data-subject-error", "DATA_SUBJECT_ERROR"),
    "consent.invalid_status": ("error.business.consent-validate-invalid-status", "CONSENT_VALIDATE_INVALID_STATUS"),
    "consent.not_minor": ("error.business.represented_person-not-minor", "REPRESENTED_PERSON_NOT_MINOR"),
    "consent.no_representation": ("error.business.representation_error", "RR_REPRESENTATION_ERROR"),
    "consent.relation_type": ("error.business.relation-type-error", "RELATION_TYPE_INVALID"),
    # ours
    "consent.callback": ("error.business.callback-not-registered", "CALLBACK_NOT_REGISTERED"),
    "consent.too_many": ("error.business.too-many-requests", "TOO_MANY_REQUESTS"),
}


class Wire(BaseModel):
    """The base of what travels: camelCase on the wire, an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, str_max_length=2000
    )


class ConsentRequest(Wire):
    """Ask a person for consents. `callback` is where the person may go on, one of those in the declarations."""

    id_code: IdCode
    callback: Callback
    purpose_declaration_business_identifiers: PurposeIds


class RepresentedConsentRequest(Wire):
    """Ask somebody who acts for another: `LAPS` (or `CHILD`) for a minor, `ETTEVOTE` (ours) for a company."""

    representative_id_code: IdCode
    representee_id_code: SubjectCode
    relation_type: Annotated[str, Field(max_length=20)]
    callback: Callback
    purpose_declaration_business_identifiers: PurposeIds


class ConsentGroup(Wire):
    """`url` leads the person to the page. It works once: always ask for a new one."""

    consent_group_reference: Reference
    url: str


class ReferencesRequest(Wire):
    id_code: SubjectCode
    purpose_declaration_business_identifiers: PurposeIds


class ConsentForClient(Wire):
    consent_reference: Reference
    consent_expiration: datetime
    id_code: SubjectCode
    purpose_declaration_id: DeclarationId


class ConsentForDataProvider(Wire):
    consent_reference: Reference
    consent_expiration: datetime
    id_code: SubjectCode
    client_subsystem_identifier: str
    service_declaration_id: DeclarationId


class StatusRequest(Wire):
    consent_status: Annotated[tuple[Literal["VALID", "INVALID"], ...], Field(min_length=1, max_length=2)]
    consent_references: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_REFERENCES)]


class ConsentWithStatus(Wire):
    consent_reference: Reference
    consent_status: ConsentStatus
    consent_expiration: datetime
    id_code: SubjectCode
    purpose_declaration_id: DeclarationId


class ConsentsByStatus(Wire):
    """`invalid_consents`: references that do not exist or are not this client's."""

    consent: tuple[ConsentWithStatus, ...]
    invalid_consents: tuple[str, ...]


class TransmissionReport(Wire):
    transmission_timestamp: datetime
    consent_reference: Reference


class Reported(Wire):
    response: Literal["success"] = "success"


class Receipt(Wire):
    """`receipt` is the compact JWS of formats.consent_receipt; it travels as X-Digiid-Consent."""

    consent_reference: Reference
    receipt: str = Field(max_length=8192)


class Revocations(Wire):
    """`statement` is the compact JWS of formats.consent_receipt: what was revoked, numbered on from where asked."""

    statement: str = Field(max_length=4_000_000)


class Title(Wire):
    """What a purpose declaration is called on every page that shows it."""

    en: str
    et: str


class PurposeTitles(Wire):
    """`titles` by the identifier of the purpose declaration; one that is not declared is left out."""

    titles: Annotated[dict[DeclarationId, Title], Field(max_length=MAX_PURPOSES)]


class Health(Wire):
    status: Literal["UP"] = "UP"


# ------------------------------------------------------------------ what a party of a consent offers


class RevocationNotice(Message):
    """A signed statement of the consent service about consents that no longer hold. Repeats change nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=4_000_000)

    statement: str


def consents_revoked(receiver: ClientId) -> Operation[RevocationNotice, Done]:
    """The operation by which a data provider or client is told of revocations; every party offers it."""
    service = ServiceId(receiver, "consents-revoked")
    return Operation(service, RevocationNotice, Done, frozenset({CONSENT_SERVICE}))
