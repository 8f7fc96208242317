"""What our own validator says about a container before one more signs, and about what was made."""

import io
from dataclasses import dataclass, field
from datetime import datetime

from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV4, Indication, Policy, Report, Severity, SignatureReport, validate_container
from digiid.kernel.errors import Broken, Refused
from digiid.platform.documents.levels import Level
from digiid.platform.documents.prepared import PreparedSignature
from digiid.platform.documents.services import TrustServices


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A container with the new signature, and what our validator says about all of it."""

    content: bytes = field(repr=False)
    signature_name: str
    signature_id: str
    level: Level
    report: Report

    @property
    def signature(self) -> SignatureReport:
        """The verdict about the new signature: below LT never that it is valid."""
        return next(found for found in self.report.signatures if found.file_name == self.signature_name)


def judge(container: bytes, *, trust: VerifiedTrust, at: datetime, policy: Policy = POLV4) -> Report:
    """Our validator's words about a container, also about one that holds digests in the place of files.

    Raises: Malformed `asic.…`, `validation.…`.
    """
    return validate_container(io.BytesIO(container), trust=trust, at=at, policy=policy)


def judge_signed(
    content: bytes,
    prepared: PreparedSignature,
    *,
    name: str,
    level: Level,
    trust: TrustServices,
    policy: Policy = POLV4,
) -> SignedDocument:
    """Our validator's verdict about a container that got the signature file `name`.

    Raises: Broken `documents.not_valid`; Refused `documents.container.not_valid`, something else in it is not valid.
    """
    report = judge(content, trust=trust.trust(), at=trust.clock.now(), policy=policy)
    signed = SignedDocument(content, name, prepared.xades.signature_id, level, report)
    check_verdict(signed)
    return signed


def check_verdict(signed: SignedDocument) -> None:
    """Our validator accepts what was made. Raises: Broken, Refused as `judge_signed`; Refused
    `documents.certificate.level`."""
    found = [signature for signature in signed.report.signatures if signature.file_name == signed.signature_name]
    if len(found) != 1:
        raise Broken("documents.not_valid", f"our validator does not find our own signature: {explain(signed.report)}")
    is_expected = signed.report.is_valid
    if signed.level in (Level.B, Level.T):
        # What is not there yet cannot be judged; anything worse than that is a fault of ours.
        is_expected = found[0].indication is Indication.INDETERMINATE or found[0].level.startswith("NOT_")
    if not is_expected and found[0].is_valid:
        # Somebody put something that is not valid beside it between the two steps.
        raise not_valid(explain(signed.report))
    if not is_expected and _error_codes(found[0]) == {"validation.policy.level"}:
        # Everything holds but the certificate is not qualified: what the holder brought, and no fault of ours.
        raise Refused(
            "documents.certificate.level",
            f"level {found[0].level}",
            public="The certificate is not a qualified one, and the policy accepts no other. Nothing was signed.",
        )
    if not is_expected:
        raise Broken(
            "documents.not_valid", f"our validator does not accept our own signature: {explain(signed.report)}"
        )


def _error_codes(signature: SignatureReport) -> set[str]:
    return {message.code for message in signature.messages if message.severity is Severity.ERROR}


def not_valid(detail: str) -> Refused:
    return Refused("documents.container.not_valid", detail, public="The container is not valid as it is.")


def explain(report: Report) -> str:
    """The codes of everything that was found, for a log or an error's detail."""
    problems = [message.code for signature in report.signatures for message in signature.messages]
    return ", ".join([*problems, *(message.code for message in report.messages)]) or "no reason recorded"
