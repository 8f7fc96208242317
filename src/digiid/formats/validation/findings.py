"""A report for a person: who signed, when, what exactly is wrong, and whether it matters.

Every finding has a code and its parameters, so that pages can say the same in another language; `text` is English.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from digiid.formats.validation.report import (
    Indication,
    Message,
    Report,
    Severity,
    SignatureReport,
    SubIndication,
    TimeStampTokenReport,
)

Sub = SubIndication

# What a verdict means to somebody who relies on the document.
_MEANING: Final[Mapping[SubIndication | None, str]] = {
    Sub.FORMAT_FAILURE: "The file is not built as a signed container must be. Do not rely on it; ask for a new one.",
    Sub.HASH_FAILURE: "A file was changed after it was signed. What you see is not what was signed.",
    Sub.SIG_CRYPTO_FAILURE: "The signature was not made by this certificate's key, or was changed. It proves nothing.",
    Sub.REVOKED: "The certificate had been revoked when it was used. The signature does not bind the holder.",
    Sub.EXPIRED: "The certificate had expired when it was used.",
    Sub.NOT_YET_VALID: "The certificate was not valid yet when it was used.",
    Sub.SIG_CONSTRAINTS_FAILURE: "The signature lacks something that is asked for, so it cannot be called valid.",
    Sub.CHAIN_CONSTRAINTS_FAILURE: "The certificate is not one for signing. It was made for another use.",
    Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE: "It is not known whether the certificate was in force. Ask the signer for a "
    "signature with a confirmation (level LT).",
    Sub.CRYPTO_CONSTRAINTS_FAILURE: "An algorithm or key was too weak to be relied upon at that time.",
    Sub.SIGNATURE_POLICY_NOT_AVAILABLE: "The signature follows rules that this program does not know.",
    Sub.NO_SIGNING_CERTIFICATE_FOUND: "It is not certain whose signature this is. Do not rely on it.",
    Sub.NO_CERTIFICATE_CHAIN_FOUND: "Nobody whom you trust vouches for the signer or for the time. It may be genuine "
    "elsewhere; here it proves nothing.",
    Sub.OUT_OF_BOUNDS_NO_POE: "The certificate has run out, and nothing proves that it was used before that.",
    Sub.OUT_OF_BOUNDS_NOT_REVOKED: "The certificate has run out since, and nothing proves that it was used in time.",
    Sub.REVOKED_NO_POE: "The certificate is revoked, and nothing proves that it was used before that.",
    Sub.REVOKED_CA_NO_POE: "The issuer was revoked since, and nothing proves an earlier use.",
    Sub.REVOCATION_OUT_OF_BOUNDS_NO_POE: "The confirmation's own certificate has run out, and nothing proves its time.",
    Sub.CRYPTO_CONSTRAINTS_FAILURE_NO_POE: "An algorithm is too weak now, and nothing proves an earlier use.",
    Sub.NO_CERTIFICATE_CHAIN_FOUND_NO_POE: "Nobody who is trusted vouches for the signer at that time.",
    Sub.NO_POE: "Nothing proves when it was made.",
    Sub.TIMESTAMP_ORDER_FAILURE: "Its time-stamps contradict each other, so none of them proves when it was made.",
    Sub.POLICY_PROCESSING_ERROR: "The rules that it names cannot be read.",
    Sub.TRY_LATER: "The confirmation does not say how things stood at the moment of signing.",
    Sub.SIGNED_DATA_NOT_FOUND: "A file that was signed is missing, or has another name. The container is incomplete.",
    None: "The signature is not of the legal level that was asked for.",
}
# Warnings that a reader may set aside, and why; told only where something is valid that they leave as it is.
HARMLESS: Final[Mapping[str, str]] = {
    "asic.empty_file": "An empty file can be signed; it just says nothing.",
    "asic.name.hidden": "Look twice at what kind of file it is before you open it.",
    "asic.name.mixed_scripts": "Letters of other scripts can look the same. Look twice at which file it is.",
    "asic.name.alike": "They look the same and are two files. Look twice at which one you open.",
    "validation.repeated_signature": "Count it once.",
    "asic.mimetype.not_first": "Some programs will not recognise the file; the signatures are not affected.",
    "asic.mimetype.absent": "There is none, so some programs will not open the file; the signatures are not affected.",
    "asic.mimetype.other": "Some programs will not open the file; the signatures are not affected.",
    "asic.mimetype.compressed": "Some programs will not recognise the file; the signatures are not affected.",
    "asic.mimetype.extra": "Some programs will not recognise the file; the signatures are not affected.",
    "asic.mimetype.white_space": "Some programs will not recognise the file; the signatures are not affected.",
    "asic.mimetype.byte_order_mark": "Some programs will not recognise the file; the signatures are not affected.",
    "asic.unknown_meta_file": "Nobody signed that file. Do not rely on it.",
    "asic.manifest.mismatch": "Nothing rests on that list in a container of this kind.",
    "asic.evidence_record": "It would prove more than what is told here; it takes nothing away.",
    "validation.ddoc.sha1": "Let the document be time-stamped, before SHA-1 does not hold at all any more.",
    "validation.ddoc.detached": "Compare the file that you have with that digest before you rely on it.",
    "validation.ddoc.size": "The content is what was signed; only its stated size is wrong.",
    "validation.ddoc.old_format": "No program writes it any more; what was signed in it is judged all the same.",
    "validation.ddoc.alternate_digest": "An old program digested the file in its own way; the content is the same.",
    "validation.policy.level_not_asked": "The format is older than the levels; the level is told for information.",
    "validation.nested.pdf": "The time-stamp says since when the file exists, and nothing about signatures in it.",
    "validation.no_signature": "The time-stamp says since when the files exist, and not who wrote them.",
    "validation.token.not_covering": "Another time-stamp covers the file.",
    "validation.token.not_covering_all": "Another time-stamp covers it.",
    "validation.token.not_granted_now": "It was right when it was made; let the container be stamped again.",
    "validation.ocsp_late": "The certificate was confirmed later than is usual; it was in force all the same.",
    "validation.weak_hash": "Old programs signed with it. In a new signature it must not be used.",
    "validation.property_ignored": "It does not change the verdict.",
    "validation.archive_time_stamp": "The verdict stands without it; have the document stamped anew if it is to last.",
    "validation.hashcode": "Compare your files with those digests before you rely on it.",
    "validation.policy.level_tolerated": "It is an advanced signature on a qualified certificate: legally weaker than "
    "one by hand, unless you have agreed otherwise.",
}
# Of these the ones that say what to look at, whatever holds.
_ADVICE: Final = frozenset(
    {
        "asic.name.hidden",
        "asic.name.mixed_scripts",
        "asic.name.alike",
        "asic.unknown_meta_file",
        "validation.repeated_signature",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence for a person. `matters`: the document should not be relied upon because of it."""

    code: str
    matters: bool
    text: str
    meaning: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def list_findings(report: Report) -> tuple[Finding, ...]:
    """The verdict, then each signature and each time-stamp token, then what is odd about the container."""
    found = [_verdict(report)]
    for signature in report.signatures:
        found += _signature(signature)
    has_errors = any(each.severity is Severity.ERROR for each in report.messages)
    for token in report.time_stamp_tokens:
        found += _token(token, stands=token.is_valid and not has_errors)  # what is wrong is said of the container
    judged = report.signatures or report.time_stamp_tokens
    return (*found, *_told(report.messages, stands=any(one.is_valid for one in judged)))


def _verdict(report: Report) -> Finding:
    parameters = {"valid": str(report.valid_count), "count": str(len(report.signatures))}
    if report.time_stamp_tokens and not report.signatures:
        if report.is_valid:
            text, meaning = "The time-stamp is valid.", "It proves when the file existed, and not who wrote it."
            return Finding("finding.stamped", False, text, meaning, parameters)
        text, meaning = "The time-stamp is not valid.", "Read below what is wrong before you rely on anything."
        return Finding("finding.stamp_not_valid", True, text, meaning, parameters)
    if not report.signatures:
        return Finding(
            "finding.no_signature", True, "Nobody has signed this document.", "It proves nothing.", parameters
        )
    if report.is_valid:
        text = (
            f"All {len(report.signatures)} signatures are valid."
            if len(report.signatures) > 1
            else "The signature is valid."
        )
        return Finding("finding.valid", False, text, "Nothing was changed since, and you can rely on it.", parameters)
    text = f"{report.valid_count} of {len(report.signatures)} signatures are valid."
    return Finding("finding.not_valid", True, text, "Read below what is wrong before you rely on anything.", parameters)


def _signature(signature: SignatureReport) -> list[Finding]:
    who = signature.signed_by or "an unknown signer"
    at = signature.best_signature_at
    when = f"signed by {_time(at)} at the latest" if at else "at a time that nothing proves"
    parameters = {"who": who, "when": _time(at) if at else "", "level": signature.level, "id": signature.id}
    if signature.indication is Indication.TOTAL_PASSED:
        text = f"{who}: valid, {when} ({signature.level})."
        found = [Finding("finding.signature.valid", False, text, "", parameters)]
    else:
        verdict = "not valid" if signature.indication is Indication.TOTAL_FAILED else "not known to be valid"
        sub = signature.sub_indication
        code = f"finding.signature.{(sub or 'level').lower()}"
        found = [Finding(code, True, f"{who}: {verdict}, {when}.", _MEANING[sub], parameters)]
    return [*found, *_told(signature.messages, stands=signature.is_valid)]


def _token(token: TimeStampTokenReport, *, stands: bool) -> list[Finding]:
    at = _time(token.gen_at) if token.gen_at else ""
    if token.is_valid:
        text = f"Time-stamp: valid, everything that it covers existed at {at} ({token.level})."
        found = [Finding("finding.token.valid", False, text, "", {"when": at, "level": token.level})]
    else:
        code = f"finding.token.{(token.sub_indication or 'not_valid').lower()}"
        text = f"Time-stamp{' of ' + at if at else ''}: not valid."
        found = [Finding(code, True, text, _MEANING[token.sub_indication], {"when": at, "level": token.level})]
    return [*found, *_told(token.messages, stands=stands)]


def _told(messages: Sequence[Message], *, stands: bool) -> list[Finding]:
    """What matters first. `stands`: what the messages are about is valid, so that some may be set aside."""
    errors = [Finding(each.code, True, each.text) for each in messages if each.severity is Severity.ERROR]
    others = [each for each in messages if each.severity is not Severity.ERROR]
    meanings = [HARMLESS.get(each.code, "") if stands or each.code in _ADVICE else "" for each in others]
    return errors + [
        Finding(each.code, False, each.text, meaning) for each, meaning in zip(others, meanings, strict=True)
    ]


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
