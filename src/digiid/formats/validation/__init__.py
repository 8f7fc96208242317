"""Signature validation (EN 319 102-1): values in, a report out; policy decides, nothing is fetched."""

from digiid.formats.validation.container import validate_container
from digiid.formats.validation.ddoc import validate_ddoc
from digiid.formats.validation.findings import Finding, list_findings
from digiid.formats.validation.hashcode import HashcodeFile, validate_hashcode
from digiid.formats.validation.policy import POLICIES, POLV3, POLV4, Policy
from digiid.formats.validation.report import (
    Indication,
    Message,
    Report,
    Severity,
    SignatureReport,
    SubIndication,
    TimeStampReport,
    TimeStampTokenReport,
)

__all__ = [
    "POLICIES",
    "POLV3",
    "POLV4",
    "Finding",
    "HashcodeFile",
    "Indication",
    "Message",
    "Policy",
    "Report",
    "Severity",
    "SignatureReport",
    "SubIndication",
    "TimeStampReport",
    "TimeStampTokenReport",
    "list_findings",
    "validate_container",
    "validate_ddoc",
    "validate_hashcode",
]
