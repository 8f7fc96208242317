"""What a validation says: indications of EN 319 102-1 V1.4.1 §5.1.3, and the report built from them.

`Report.to_simple_report()` has the field names of the Estonian state's validation service (SiVa V3, simple report).
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from digiid.formats import der
from digiid.formats.x509.signature import HASH_OIDS

_POLICY_URL: Final = "http://open-eid.github.io/SiVa/siva3/appendix/validation_policy/#"
_MAX_CHAIN: Final = 8
_SCOPE_CONTENTS: Final = {
    "FULL": "Full document",
    "DIGEST": "Digest of the document content",
    "PARTIAL": "Part of the document",
}


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


class Scope(NamedTuple):
    """A data file that a signature covers. `kind`: FULL, its octets were at hand; DIGEST, only a digest of them was;
    PARTIAL, a part of a document. `content` says what it is where the kind alone does not.
    """

    name: str
    hash_name: str
    digest: bytes
    kind: str = "FULL"
    content: str = ""


class TimeStampReport(NamedTuple):
    """The verdict about one time-stamp: PASSED, FAILED or INDETERMINATE.

    `proven_at` is when the token itself is known to have existed: the time of the archive time-stamp that covers it,
    else the time of validation. `hash_name` and `imprint` are the token's message imprint.
    `tsu_issuer` is the listed CA that vouches for the unit; None where a list names the unit itself.
    """

    indication: str
    sub_indication: SubIndication | None
    gen_at: datetime | None
    tsu: x509.Certificate | None
    text: str = ""
    proven_at: datetime | None = None
    hash_name: str = ""
    imprint: bytes = b""
    token_der: bytes = b""
    tsu_issuer: x509.Certificate | None = None


@dataclass(frozen=True, slots=True)
class TimeStampTokenReport:
    """The verdict about a time-stamp token that covers files by itself (ASiC-S, EN 319 162-1 §A.4).

    `level`: QTSA, a qualified service when it made the token; TSA, another; N/A, not to be told. `scopes`: the files
    that it covers. `tsu_issuer`: as in `TimeStampReport`.
    """

    indication: Indication
    sub_indication: SubIndication | None
    gen_at: datetime | None
    tsu: x509.Certificate | None = field(repr=False)
    level: str = "N/A"
    scopes: tuple[Scope, ...] = ()
    messages: tuple[Message, ...] = ()
    tsu_issuer: x509.Certificate | None = field(default=None, repr=False)

    @property
    def is_valid(self) -> bool:
        return self.indication is Indication.TOTAL_PASSED


class SignatureReport(NamedTuple):
    """The verdict about one signature, and the facts it rests on.

    That the certificate was in force says an answer or a list that rests on the keys of `status_signers`;
    `status_proven_at` is when it is known to have existed, as `TimeStampReport.proven_at`.
    """

    id: str
    file_name: str
    signature_format: str
    method_uri: str
    indication: Indication
    sub_indication: SubIndication | None
    level: str
    certificate: x509.Certificate | None
    responder: x509.Certificate | None = None
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
    time_mark_nonce: bytes | None = None
    issuers: tuple[x509.Certificate, ...] = ()  # what chains are shown from
    status_signers: tuple[x509.Certificate, ...] = ()
    status_proven_at: datetime | None = None

    @property
    def is_valid(self) -> bool:
        return self.indication is Indication.TOTAL_PASSED

    @property
    def signed_by(self) -> str:
        """The signer's common name; empty when there is no readable certificate."""
        if self.certificate is None:
            return ""
        subject, _ = _names(self.certificate)
        return subject_value(self.certificate, NameOID.COMMON_NAME) or subject.rfc4514_string()

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
        return _without_none(
            {
                "policy": {
                    "policyName": self.policy_name,
                    "policyDescription": self.policy_description,
                    "policyUrl": _POLICY_URL + self.policy_name,
                },
                "validationTime": _time(self.validated_at),
                "validationLevel": "ARCHIVAL_DATA",
                "validatedDocument": {"filename": self.file_name},
                "signatureForm": self.form,
                "signaturesCount": len(self.signatures),
                "validSignaturesCount": self.valid_count,
                "validationWarnings": _contents(message.text for message in self.messages),
                "signatures": [_signature(signature) for signature in self.signatures],
                "timeStampTokens": [_token(token) for token in self.time_stamp_tokens] or None,
            }
        )


def subject_value(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str | None:
    """The first value of a subject attribute as text."""
    subject, _ = _names(certificate)
    for attribute in subject.get_attributes_for_oid(oid):
        return attribute.value if isinstance(attribute.value, str) else None
    return None


def _names(certificate: x509.Certificate) -> tuple[x509.Name, x509.Name]:
    """Subject and issuer; empty where they cannot be read: the library decodes a stranger's names only now."""
    try:
        return certificate.subject, certificate.issuer
    except (ValueError, TypeError):  # TypeError: an attribute that is a BIT STRING
        return x509.Name([]), x509.Name([])


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _contents(texts: Iterable[str]) -> list[dict[str, str]]:
    return [{"content": text} for text in texts]


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _certificate(
    certificate: x509.Certificate | None, kind: str, issuers: Sequence[x509.Certificate] = ()
) -> list[dict[str, Any]]:
    if certificate is None:
        return []
    return [{**_chain(certificate, issuers, _MAX_CHAIN), "type": kind}]


def _unit(stamp: TimeStampReport | TimeStampTokenReport, kind: str) -> list[dict[str, Any]]:
    """The unit that made a time-stamp, inside it the listed CA that vouches for it."""
    return _certificate(stamp.tsu, kind, () if stamp.tsu_issuer is None else (stamp.tsu_issuer,))


def _chain(certificate: x509.Certificate, issuers: Sequence[x509.Certificate], depth: int) -> dict[str, Any]:
    """A certificate, inside it its issuer as far as it is at hand. For reading: the verdict rests on other code."""
    issuer = None
    subject_name, issuer_name = _names(certificate)
    if depth and issuer_name != subject_name:
        issuer = next((found for found in issuers if _names(found)[0] == issuer_name), None)
    return _without_none(
        {
            "commonName": subject_value(certificate, NameOID.COMMON_NAME) or "",
            "content": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
            "issuer": None if issuer is None else _chain(issuer, issuers, depth - 1),
        }
    )


def _token(token: TimeStampTokenReport) -> dict[str, Any]:
    errors = [message.text for message in token.messages if message.severity is Severity.ERROR]
    warnings = [message.text for message in token.messages if message.severity is Severity.WARNING]
    return _without_none(
        {
            "indication": str(token.indication),
            "subIndication": None if token.sub_indication is None else str(token.sub_indication),
            "signedBy": None if token.tsu is None else subject_value(token.tsu, NameOID.COMMON_NAME) or "",
            "signedTime": None if token.gen_at is None else _time(token.gen_at),
            "certificates": _unit(token, "CONTENT_TIMESTAMP"),
            "error": _contents(errors) or None,  # the older names, which older clients of the service read
            "errors": _contents(errors) or None,
            "warning": _contents(warnings) or None,
            "warnings": _contents(warnings) or None,
            "timestampScopes": [
                {"name": scope.name, "scope": scope.kind, "content": scope.content or "Full document"}
                for scope in token.scopes
            ],
            "timestampLevel": token.level,
        }
    )


def _archive_time_stamp(stamp: TimeStampReport) -> dict[str, Any]:
    country = None if stamp.tsu is None else subject_value(stamp.tsu, NameOID.COUNTRY_NAME)
    return _without_none(
        {
            "signedTime": None if stamp.gen_at is None else _time(stamp.gen_at),
            "indication": stamp.indication,
            "subIndication": None if stamp.sub_indication is None else str(stamp.sub_indication),
            "signedBy": None if stamp.tsu is None else subject_value(stamp.tsu, NameOID.COMMON_NAME),
            "country": country,
            "content": base64.b64encode(stamp.token_der).decode() if stamp.token_der else None,
        }
    )


def _message_imprint(report: SignatureReport, stamp: TimeStampReport | None) -> str | None:
    """What the time rests on: the time-stamp's MessageImprint (RFC 3161 §2.4.1), or the time-mark's nonce."""
    if report.time_mark_nonce is not None:
        return base64.b64encode(report.time_mark_nonce).decode()
    if stamp is None or stamp.hash_name not in HASH_OIDS:
        return None
    algorithm = der.sequence(der.oid(HASH_OIDS[stamp.hash_name]), b"\x05\x00")
    return base64.b64encode(der.sequence(algorithm, der.octet_string(stamp.imprint))).decode()


def _signature(report: SignatureReport) -> dict[str, Any]:
    certificate, issuers = report.certificate, report.issuers
    stamps = [stamp for stamp in report.time_stamps if stamp.gen_at is not None]
    first = min(stamps, key=lambda stamp: stamp.gen_at or datetime.max.replace(tzinfo=UTC), default=None)
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
    certificates = _certificate(certificate, "SIGNING", issuers) + _certificate(report.responder, "REVOCATION", issuers)
    for stamp in stamps:
        certificates += _unit(stamp, "SIGNATURE_TIMESTAMP")
    for stamp in report.archive_time_stamps:
        certificates += _unit(stamp, "ARCHIVE_TIMESTAMP")
    info = {
        "bestSignatureTime": None if report.best_signature_at is None else _time(report.best_signature_at),
        "timestampCreationTime": None if first is None or first.gen_at is None else _time(first.gen_at),
        "ocspResponseCreationTime": None if report.ocsp_produced_at is None else _time(report.ocsp_produced_at),
        "timeAssertionMessageImprint": _message_imprint(report, first),
        "signerRole": [{"claimedRole": role} for role in report.claimed_roles] or None,
        "signatureProductionPlace": dict(report.place) or None,
        "signingReason": report.reason,
        "archiveTimeStamps": [_archive_time_stamp(stamp) for stamp in report.archive_time_stamps] or None,
    }
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
                    "scope": scope.kind,
                    "content": scope.content or _SCOPE_CONTENTS.get(scope.kind, ""),
                    "hashAlgo": scope.hash_name.upper().replace("SHA3_", "SHA3-"),
                    "hash": base64.b64encode(scope.digest).decode(),
                }
                for scope in report.scopes
            ],
            "certificates": certificates,
            "info": _without_none(info),
        }
    )
