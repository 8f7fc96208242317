"""What a validation says: indications of EN 319 102-1 V1.4.1 §5.1.3, and the report built from them.

`Report.to_simple_report()` has the field names of the Estonian state's validation service (SiVa V3, simple report).
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


class Indication(StrEnum):
    """The verdict about a signature."""

    TOTAL_PASSED = "TOTAL-PASSED"
    TOTAL_FAILED = "TOTAL-FAILED"
    INDETERMINATE = "INDETERMINATE"


class SubIndication(StrEnum):
    """Why a signature is not valid (EN 319 102-1 tables 5 and 6)."""

    FORMAT_FAILURE = "FORMAT_FAILURE"
    HASH_FAILURE = "HASH_FAILURE"
    SIG_CRYPTO_FAILURE = "SIG_CRYPTO_FAILURE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    SIG_CONSTRAINTS_FAILURE = "SIG_CONSTRAINTS_FAILURE"
    CHAIN_CONSTRAINTS_FAILURE = "CHAIN_CONSTRAINTS_FAILURE"
    CERTIFICATE_CHAIN_GENERAL_FAILURE = "CERTIFICATE_CHAIN_GENERAL_FAILURE"
    CRYPTO_CONSTRAINTS_FAILURE = "CRYPTO_CONSTRAINTS_FAILURE"
    SIGNATURE_POLICY_NOT_AVAILABLE = "SIGNATURE_POLICY_NOT_AVAILABLE"
    NO_SIGNING_CERTIFICATE_FOUND = "NO_SIGNING_CERTIFICATE_FOUND"
    NO_CERTIFICATE_CHAIN_FOUND = "NO_CERTIFICATE_CHAIN_FOUND"
    OUT_OF_BOUNDS_NO_POE = "OUT_OF_BOUNDS_NO_POE"
    OUT_OF_BOUNDS_NOT_REVOKED = "OUT_OF_BOUNDS_NOT_REVOKED"
    REVOKED_NO_POE = "REVOKED_NO_POE"
    REVOKED_CA_NO_POE = "REVOKED_CA_NO_POE"
    REVOCATION_OUT_OF_BOUNDS_NO_POE = "REVOCATION_OUT_OF_BOUNDS_NO_POE"
    CRYPTO_CONSTRAINTS_FAILURE_NO_POE = "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"
    NO_CERTIFICATE_CHAIN_FOUND_NO_POE = "NO_CERTIFICATE_CHAIN_FOUND_NO_POE"
    NO_POE = "NO_POE"
    TIMESTAMP_ORDER_FAILURE = "TIMESTAMP_ORDER_FAILURE"
    POLICY_PROCESSING_ERROR = "POLICY_PROCESSING_ERROR"
    TRY_LATER = "TRY_LATER"
    SIGNED_DATA_NOT_FOUND = "SIGNED_DATA_NOT_FOUND"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that was found. `code` is stable and what a translation goes by."""

    severity: Severity
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Scope:
    """A data file that a signature covers."""

    name: str
    hash_name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class TimeStampReport:
    """The verdict about one time-stamp: PASSED, FAILED or INDETERMINATE."""

    indication: str
    sub_indication: SubIndication | None
    gen_at: datetime | None
    tsu: x509.Certificate | None = field(repr=False)
    text: str = ""


@dataclass(frozen=True, slots=True)
class TimeStampTokenReport:
    """The verdict about a time-stamp token that covers files by itself (ASiC-S, EN 319 162-1 §A.4).

    `level`: QTSA, a qualified service when it made the token; TSA, another; N/A, not to be told. `scopes`: the files
    that it covers.
    """

    indication: Indication
    sub_indication: SubIndication | None
    gen_at: datetime | None
    tsu: x509.Certificate | None = field(repr=False)
    level: str = "N/A"
    scopes: tuple[Scope, ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def is_valid(self) -> bool:
        return self.indication is Indication.TOTAL_PASSED


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """The verdict about one signature, and the facts it rests on."""

    id: str
    file_name: str
    signature_format: str
    method_uri: str
    indication: Indication
    sub_indication: SubIndication | None
    level: str
    certificate: x509.Certificate | None = field(repr=False)
    responder: x509.Certificate | None = field(default=None, repr=False)
    messages: tuple[Message, ...] = ()
    scopes: tuple[Scope, ...] = ()
    time_stamps: tuple[TimeStampReport, ...] = ()
    archive_time_stamps: tuple[TimeStampReport, ...] = ()
    claimed_signing_at: datetime | None = None
    best_signature_at: datetime | None = None
    ocsp_produced_at: datetime | None = None
    claimed_roles: tuple[str, ...] = ()
    place: tuple[tuple[str, str], ...] = ()
    reason: str | None = None

    @property
    def is_valid(self) -> bool:
        return self.indication is Indication.TOTAL_PASSED

    @property
    def signed_by(self) -> str:
        """The signer's common name; empty when there is no readable certificate."""
        if self.certificate is None:
            return ""
        return subject_value(self.certificate, NameOID.COMMON_NAME) or self.certificate.subject.rfc4514_string()

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(message.text for message in self.messages if message.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(message.text for message in self.messages if message.severity is Severity.WARNING)


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict about a document. `form` is None for a PDF file, which is no container."""

    form: str | None
    policy_name: str
    policy_description: str
    validated_at: datetime
    file_name: str
    data_files: tuple[str, ...]
    messages: tuple[Message, ...]
    signatures: tuple[SignatureReport, ...]
    time_stamp_tokens: tuple[TimeStampTokenReport, ...] = ()

    @property
    def valid_count(self) -> int:
        return sum(signature.is_valid for signature in self.signatures)

    @property
    def is_valid(self) -> bool:
        """Somebody signed or stamped, every signature is valid and one token that covers files, no error besides."""
        stamped = not self.time_stamp_tokens or any(token.is_valid and token.scopes for token in self.time_stamp_tokens)
        return (
            bool(self.signatures or self.time_stamp_tokens)
            and self.valid_count == len(self.signatures)
            and stamped
            and not any(message.severity is Severity.ERROR for message in self.messages)
        )

    def with_file_name(self, name: str) -> "Report":
        return replace(self, file_name=name)

    def to_simple_report(self) -> dict[str, Any]:
        """The simple report as JSON values; absent facts are left out."""
        return {
            "policy": {"policyName": self.policy_name, "policyDescription": self.policy_description},
            "validationTime": _time(self.validated_at),
            "validationLevel": "ARCHIVAL_DATA",
            "validatedDocument": {"filename": self.file_name},
            "signatureForm": self.form,
            "signaturesCount": len(self.signatures),
            "validSignaturesCount": self.valid_count,
            "validationWarnings": _contents(message.text for message in self.messages),
            "signatures": [_signature(signature) for signature in self.signatures],
        }


def subject_value(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str | None:
    """The first value of a subject attribute as text."""
    for attribute in certificate.subject.get_attributes_for_oid(oid):
        return attribute.value if isinstance(attribute.value, str) else None
    return None


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _contents(texts: Iterable[str]) -> list[dict[str, str]]:
    return [{"content": text} for text in texts]


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _certificate(certificate: x509.Certificate | None, kind: str) -> list[dict[str, Any]]:
    if certificate is None:
        return []
    return [
        {
            "commonName": subject_value(certificate, NameOID.COMMON_NAME) or "",
            "type": kind,
            "content": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        }
    ]


def _signature(report: SignatureReport) -> dict[str, Any]:
    certificate = report.certificate
    stamps = [stamp for stamp in report.time_stamps if stamp.gen_at is not None]
    subject = None
    if certificate is not None:
        subject = _without_none(
            {
                "commonName": subject_value(certificate, NameOID.COMMON_NAME),
                "serialNumber": subject_value(certificate, NameOID.SERIAL_NUMBER),
                "givenName": subject_value(certificate, NameOID.GIVEN_NAME),
                "surname": subject_value(certificate, NameOID.SURNAME),
            }
        )
    certificates = _certificate(certificate, "SIGNING") + _certificate(report.responder, "REVOCATION")
    for stamp in stamps:
        certificates += _certificate(stamp.tsu, "SIGNATURE_TIMESTAMP")
    return _without_none(
        {
            "id": report.id,
            "signatureFormat": report.signature_format,
            "signatureMethod": report.method_uri,
            "signatureLevel": report.level,
            "signedBy": report.signed_by,
            "subjectDistinguishedName": subject,
            "indication": str(report.indication),
            "subIndication": None if report.sub_indication is None else str(report.sub_indication),
            "errors": _contents(report.errors),
            "warnings": _contents(report.warnings),
            "claimedSigningTime": None if report.claimed_signing_at is None else _time(report.claimed_signing_at),
            "signatureScopes": [
                {
                    "name": scope.name,
                    "scope": "FULL",
                    "content": "Full document",
                    "hashAlgo": scope.hash_name.upper().replace("SHA3_", "SHA3-"),
                    "hash": base64.b64encode(scope.digest).decode(),
                }
                for scope in report.scopes
            ],
            "certificates": certificates,
            "info": _without_none(
                {
                    "bestSignatureTime": None if report.best_signature_at is None else _time(report.best_signature_at),
                    "timestampCreationTime": _time(stamps[0].gen_at) if stamps and stamps[0].gen_at else None,
                    "ocspResponseCreationTime": None
                    if report.ocsp_produced_at is None
                    else _time(report.ocsp_produced_at),
                    "signerRole": [{"claimedRole": role} for role in report.claimed_roles] or None,
                    "signatureProductionPlace": dict(report.place) or None,
                }
            ),
        }
    )
