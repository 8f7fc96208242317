"""What a validation means to somebody who relies on the document, in words that can be translated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from digiid.formats.validation import (
    Finding,
    Indication,
    Report,
    SignatureReport,
    SubIndication,
    TimeStampTokenReport,
    list_findings,
)
from digiid.platform.web import N_

Sub = SubIndication

MEANING: Final[dict[SubIndication | None, str]] = {
    Sub.FORMAT_FAILURE: N_("It is not built as a signature must be. Do not rely on it; ask for a new one."),
    Sub.HASH_FAILURE: N_("A file was changed after it was signed. What you see is not what was signed."),
    Sub.SIG_CRYPTO_FAILURE: N_("It was not made by this certificate's key, or was changed. It proves nothing."),
    Sub.REVOKED: N_("The certificate had been annulled or suspended when it was used. It does not bind the holder."),
    Sub.EXPIRED: N_("The certificate had expired when it was used."),
    Sub.NOT_YET_VALID: N_("The certificate was not valid yet when it was used."),
    Sub.SIG_CONSTRAINTS_FAILURE: N_("It lacks something that is asked for, so it cannot be called valid."),
    Sub.CHAIN_CONSTRAINTS_FAILURE: N_("The certificate was not made for signing documents."),
    Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE: N_(
        "It is not known whether the certificate was in force. Ask the signer for a signature with a confirmation."
    ),
    Sub.CRYPTO_CONSTRAINTS_FAILURE: N_("An algorithm or key was too weak to be relied upon at that time."),
    Sub.SIGNATURE_POLICY_NOT_AVAILABLE: N_("It follows rules that are not known here."),
    Sub.NO_SIGNING_CERTIFICATE_FOUND: N_("It is not certain whose signature this is. Do not rely on it."),
    Sub.NO_CERTIFICATE_CHAIN_FOUND: N_(
        "Nobody on the trusted list vouches for the signer or for the time. Here it proves nothing."
    ),
    Sub.OUT_OF_BOUNDS_NO_POE: N_("The certificate has run out, and nothing proves that it was used before that."),
    Sub.OUT_OF_BOUNDS_NOT_REVOKED: N_(
        "The certificate has run out since, and nothing proves that it was used in time."
    ),
    Sub.REVOKED_NO_POE: N_("The certificate is revoked, and nothing proves that it was used before that."),
    Sub.REVOKED_CA_NO_POE: N_("The issuer was revoked since, and nothing proves an earlier use."),
    Sub.REVOCATION_OUT_OF_BOUNDS_NO_POE: N_(
        "The confirmation's own certificate has run out, and nothing proves its time."
    ),
    Sub.CRYPTO_CONSTRAINTS_FAILURE_NO_POE: N_("An algorithm is too weak now, and nothing proves an earlier use."),
    Sub.NO_CERTIFICATE_CHAIN_FOUND_NO_POE: N_("Nobody who is trusted vouches for the signer at that time."),
    Sub.NO_POE: N_("Nothing proves when it was made."),
    Sub.TIMESTAMP_ORDER_FAILURE: N_("Its time-stamps contradict each other, so none of them proves when it was made."),
    Sub.POLICY_PROCESSING_ERROR: N_("The rules that it names cannot be read."),
    Sub.TRY_LATER: N_("The confirmation does not say how things stood at the moment of signing."),
    Sub.SIGNED_DATA_NOT_FOUND: N_("A file that was signed is missing or has another name. Something was left out."),
    None: N_("It is not of the legal level that is asked for here."),
}
VERDICT: Final[dict[Indication, str]] = {
    Indication.TOTAL_PASSED: N_("Valid"),
    Indication.TOTAL_FAILED: N_("Not valid"),
    Indication.INDETERMINATE: N_("Not known to be valid"),
}
# eIDAS art. 25 and 35, and TS 119 615: what a valid signature of each level is called
KIND: Final[dict[str, str]] = {
    "QESIG": N_("Qualified electronic signature"),
    "QESEAL": N_("Qualified electronic seal of an organisation"),
    "ADESIG_QC": N_("Advanced electronic signature with a qualified certificate"),
    "ADESEAL_QC": N_("Advanced electronic seal of an organisation with a qualified certificate"),
    "ADESIG": N_("Advanced electronic signature; its certificate is not qualified"),
    "ADESEAL": N_("Advanced electronic seal of an organisation; its certificate is not qualified"),
}
GOOD: Final = N_("Nothing was changed since it was signed, and you can rely on it.")
BAD: Final = N_("Do not rely on this document before you have read below what is wrong.")
STAMPED: Final = N_("The time stamp proves when the file existed. It does not say who wrote it.")
BAD_STAMP: Final = N_("The time stamp proves nothing. Read below what is wrong.")
UNSIGNED: Final = N_("Nobody has signed this document. It proves nothing.")
WRONG_CONTAINER: Final = N_("The signatures hold, but the container has faults. Ask for a new one.")


@dataclass(frozen=True, slots=True)
class ExplainedSignature:
    """A signature with its verdict in words, and what was found about it. `kind` is empty when it is not valid."""

    report: SignatureReport
    verdict: str
    kind: str
    meaning: str
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class ExplainedToken:
    """A time-stamp token that stands for itself, with its verdict in words."""

    report: TimeStampTokenReport
    verdict: str
    meaning: str
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Explained:
    """A report for a person: the verdict, each signature and time stamp, what is odd about the container."""

    report: Report
    meaning: str
    signatures: Sequence[ExplainedSignature]
    tokens: Sequence[ExplainedToken]
    findings: Sequence[Finding]


def explain(report: Report) -> Explained:
    """Put a report into words. The findings keep the validator's English words; finding_words.py has others."""
    findings = list(list_findings(report))[1:]  # the first is the verdict, which is said here
    signatures = []
    for signature in report.signatures:
        own, findings = findings[1 : 1 + len(signature.messages)], findings[1 + len(signature.messages) :]
        meaning = "" if signature.is_valid else MEANING[signature.sub_indication]
        kind = KIND.get(signature.level, "") if signature.is_valid else ""
        signatures.append(ExplainedSignature(signature, VERDICT[signature.indication], kind, meaning, own))
    tokens = []
    for token in report.time_stamp_tokens:
        own, findings = findings[1 : 1 + len(token.messages)], findings[1 + len(token.messages) :]
        meaning = "" if token.is_valid else MEANING[token.sub_indication]
        tokens.append(ExplainedToken(token, VERDICT[token.indication], meaning, own))
    return Explained(report, _meaning(report), signatures, tokens, findings)


def _meaning(report: Report) -> str:
    if report.time_stamp_tokens and not report.signatures:
        return STAMPED if report.is_valid else BAD_STAMP
    if report.is_valid:
        return GOOD
    if not report.signatures:
        return UNSIGNED
    return WRONG_CONTAINER if report.valid_count == len(report.signatures) else BAD
