"""The two longer reports: how the verdict came about, and what was read. Only what our validation did is said."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import Indication, Message, Report, Severity, SignatureReport, TimeStampReport

_BLOCK: Final = {
    Indication.TOTAL_PASSED: "PASSED",
    Indication.TOTAL_FAILED: "FAILED",
    Indication.INDETERMINATE: "INDETERMINATE",
}


def validation_process(report: Report) -> dict[str, Any]:
    """Signature by signature the processes of EN 319 102-1 that ran, with their conclusions."""
    return {
        "validationTime": _time(report.validated_at),
        "signatures": [_process(signature) for signature in report.signatures],
        "timestamps": [
            {
                "id": f"T-{number}",
                "validationProcessTimestamp": {
                    "conclusion": _conclusion(_BLOCK[token.indication], token.sub_indication, token.messages),
                    "productionTime": _time(token.gen_at),
                },
                "validationTimestampQualification": {"timestampQualification": token.level},
            }
            for number, token in enumerate(report.time_stamp_tokens)
        ],
        "container": {"messages": [_message(message) for message in report.messages]},
    }


def _process(signature: SignatureReport) -> dict[str, Any]:
    return {
        "id": signature.id,
        "fileName": signature.file_name,
        "timestamps": [
            *_stamps(signature.time_stamps, "SIGNATURE_TIMESTAMP"),
            *_stamps(signature.archive_time_stamps, "ARCHIVE_TIMESTAMP"),
        ],
        "validationProcessArchivalData": {
            "conclusion": _conclusion(_BLOCK[signature.indication], signature.sub_indication, signature.messages),
            "proofOfExistence": {"time": _time(signature.best_signature_at)},
        },
        "validationSignatureQualification": {"signatureQualification": signature.level},
    }


def _stamps(stamps: Iterable[TimeStampReport], kind: str) -> Iterator[dict[str, Any]]:
    for number, stamp in enumerate(stamps):
        yield {
            "id": f"T-{number}",
            "validationProcessTimestamp": {
                "type": kind,
                "conclusion": _conclusion(stamp.indication, stamp.sub_indication, ()),
                "productionTime": _time(stamp.gen_at),
                "proofOfExistence": {"time": _time(stamp.proven_at)},
            },
        }


def _conclusion(indication: str, sub: object, messages: Iterable[Message]) -> dict[str, Any]:
    found = list(messages)
    return {
        "indication": indication,
        "subIndication": None if sub is None else str(sub),
        "errors": [_message(one) for one in found if one.severity is Severity.ERROR],
        "warnings": [_message(one) for one in found if one.severity is Severity.WARNING],
    }


def _message(message: Message) -> dict[str, str]:
    return {"key": message.code, "value": message.text}


def diagnostic_data(report: Report, trust: VerifiedTrust) -> dict[str, Any]:
    """What was read: the files, the signatures' facts, certificates, time-stamps and the lists relied upon."""
    certificates: dict[str, x509.Certificate] = {}
    for certificate in _certificates(report):
        certificates.setdefault(_identifier(certificate), certificate)
    return {
        "documentName": report.file_name,
        "validationDate": _time(report.validated_at),
        "containerInfo": {"containerType": report.form, "contentFiles": list(report.data_files)},
        "signatures": [_facts(signature) for signature in report.signatures],
        "usedCertificates": [_certificate(name, certificate) for name, certificate in certificates.items()],
        "usedTimestamps": [
            {
                "productionTime": _time(stamp.gen_at),
                "messageImprint": {"digestMethod": stamp.hash_name, "digestValue": _b64(stamp.imprint)},
                "signingCertificate": None if stamp.tsu is None else _identifier(stamp.tsu),
            }
            for signature in report.signatures
            for stamp in (*signature.time_stamps, *signature.archive_time_stamps)
        ],
        "trustedLists": [
            {
                "countryCode": verified.content.territory,
                "sequenceNumber": verified.content.sequence_number,
                "issueDate": _time(verified.content.issued_at),
                "nextUpdate": _time(verified.content.next_update_at),
            }
            for verified in trust.lists
        ],
    }


def _facts(signature: SignatureReport) -> dict[str, Any]:
    return {
        "id": signature.id,
        "signatureFilename": signature.file_name,
        "claimedSigningTime": _time(signature.claimed_signing_at),
        "signatureFormat": signature.signature_format,
        "signatureMethod": signature.method_uri,
        "signerRole": list(signature.claimed_roles),
        "signatureProductionPlace": dict(signature.place),
        "signingCertificate": None if signature.certificate is None else _identifier(signature.certificate),
        "revocationProducedAt": _time(signature.ocsp_produced_at),
        "digestMatchers": [
            {"name": scope.name, "digestMethod": scope.hash_name, "digestValue": _b64(scope.digest)}
            for scope in signature.scopes
        ],
    }


def _certificates(report: Report) -> Iterator[x509.Certificate]:
    for signature in report.signatures:
        stamps = (*signature.time_stamps, *signature.archive_time_stamps)
        for found in (signature.certificate, signature.responder, *(stamp.tsu for stamp in stamps), *signature.issuers):
            if found is not None:
                yield found
    for token in report.time_stamp_tokens:
        if token.tsu is not None:
            yield token.tsu


def _identifier(certificate: x509.Certificate) -> str:
    return "C-" + hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest().upper()


def _certificate(identifier: str, certificate: x509.Certificate) -> dict[str, Any]:
    try:
        subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    except ValueError:  # the library decodes a stranger's names only now
        subject = issuer = ""
    return {
        "id": identifier,
        "subjectDistinguishedName": subject,
        "issuerDistinguishedName": issuer,
        "serialNumber": str(certificate.serial_number),
        "notBefore": _time(certificate.not_valid_before_utc),
        "notAfter": _time(certificate.not_valid_after_utc),
        "base64Encoded": _b64(certificate.public_bytes(Encoding.DER)),
    }


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
