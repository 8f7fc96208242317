"""Validation of one signature: EN 319 102-1 V1.4.1 §5.3 (basic), §5.5 (with time and long-term data) and §5.6 (with
archive time-stamps).

Trust comes from trusted lists, one hop: the issuing CA of the signer is listed as CA/QC, the time-stamping unit or its
CA as TSA/QTST, the OCSP responder is authorised by RFC 6960 §4.2.2.2 or listed. Certificates of responders are judged
at the time of what they signed; that is what the lists vouch for.

A signature without a time-stamp or without revocation data of its own is not fetched data for: its verdict is
INDETERMINATE, never valid. So is that of one with an archive time-stamp that is broken or not a qualified one; one that
merely cannot be relied on any more is told of, and matters only where what it should have proven is needed.
"""

from datetime import datetime
from functools import partial
from typing import Final

from cryptography import x509

from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.certificate import check_issuer_key, check_usage, find_issuer
from digiid.formats.validation.facts import FAILED, INDETERMINATE, Facts, NotValid, SignedFiles, Sub
from digiid.formats.validation.policy import find_weak_hashes, find_weak_key
from digiid.formats.validation.report import Indication, Scope, SignatureReport, SubIndication
from digiid.formats.validation.revocation import check_not_from_future, check_revocation, find_time_mark
from digiid.formats.validation.time_stamps import (
    judge_time_stamps,
    refuse_unfit_archive,
    refuse_without_time_stamp,
    settle_signature_time,
    tell_end,
)
from digiid.formats.validation.told import tell_rest
from digiid.formats.x509.parts import parse_parts
from digiid.formats.xades import UnverifiedSignature, VerifiedSignature, verify_signature
from digiid.formats.xades.parse import ProductionPlace
from digiid.formats.xades.verify import find_signing_certificate, signer_key
from digiid.kernel.errors import Malformed, Refused

# What `verify_signature` refuses, in the words of EN 319 102-1 §5.2.3 and §5.2.7.
VERIFY_VERDICTS: Final = {
    "xades.certificate.missing": (
        INDETERMINATE,
        Sub.NO_SIGNING_CERTIFICATE_FOUND,
        "There is no signing certificate in the signature",
    ),
    "xades.certificate.unsigned": (
        INDETERMINATE,
        Sub.SIG_CONSTRAINTS_FAILURE,
        "The signed properties do not name the signing certificate",
    ),
    "xades.certificate.mismatch": (
        INDETERMINATE,
        Sub.NO_SIGNING_CERTIFICATE_FOUND,
        "The signing certificate is not the one that the signer named",
    ),
    "xades.reference.missing": (INDETERMINATE, Sub.SIGNED_DATA_NOT_FOUND, "A signed file is not in the container"),
    "xades.reference.digest": (FAILED, Sub.HASH_FAILURE, "The reference data object is not intact!"),
    "xades.key_mismatch": (FAILED, Sub.SIG_CRYPTO_FAILURE, "The signature method does not fit the certificate's key"),
    "xades.signature_value": (FAILED, Sub.SIG_CRYPTO_FAILURE, "The signature is not intact!"),
}


def validate_signature(
    signature: UnverifiedSignature, *, files: SignedFiles, file_name: str, trust: VerifiedTrust, at: datetime
) -> SignatureReport:
    """Judge one signature at `at`. Never raises for what is wrong with the signature: that is the verdict."""
    facts = Facts(signature)
    try:
        _climb(facts, files, trust, at)
    except NotValid as end:
        tell_end(facts, end)
        indication, sub = end.indication, end.sub
    except Malformed as error:
        # Something inside the signature cannot be processed at all (§5.2.2).
        facts.error(error.code, f"The signature cannot be processed: {error.detail}")
        indication, sub = FAILED, Sub.FORMAT_FAILURE
    else:
        return build_report(facts, file_name, Indication.TOTAL_PASSED, None, kind=files.kind)
    tell_rest(
        facts,
        find_certificate=partial(find_signing_certificate, signature),
        prove_time=lambda: _prove_time(facts, None, trust, at),
        trust=trust,
        at=at,
    )
    return build_report(facts, file_name, indication, sub, kind=files.kind)


def _climb(facts: Facts, files: SignedFiles, trust: VerifiedTrust, at: datetime) -> None:
    signature = facts.signature
    # 1 who signed, what was signed, and is the value theirs (§5.2.3, §5.2.7)
    verified = _verify(facts, files)
    parts = parse_parts(verified.certificate_der)
    for name in dict.fromkeys(signature.unknown_properties):
        facts.warn("validation.property_ignored", f"The property {name} was not taken into account")

    # 2 the container: every data file is signed and called what the manifest calls it (§5.2.2)
    _check_coverage(facts, files)

    # 3 proof of when: the earliest time-stamp that holds (§5.4, §5.5.4), itself protected by archive time-stamps (§5.6)
    passed = _prove_time(facts, files, trust, at)
    best_at = settle_signature_time(facts, passed, at=at)

    # 4 the signer's certificate comes from a listed CA, and was valid then (§5.2.6)
    issuer = find_issuer(facts, verified.certificate, parts, trust, best_at, has_proof=bool(passed))
    check_usage(parts)

    # 5 the signer's certificate was not revoked then (§5.2.5, §5.2.6)
    check_revocation(facts, verified.certificate, parts, issuer, trust=trust, best_at=best_at, has_proof=bool(passed))

    # 6 what the policy asks of the signature itself (§5.2.8): a time-stamp that holds, signing time, algorithms
    if not passed:
        refuse_without_time_stamp(facts)
    check_not_from_future(facts, at)
    refuse_unfit_archive(facts)
    _check_signed_properties(facts)
    check_algorithms(facts, verified, best_at)


def _prove_time(facts: Facts, files: SignedFiles | None, trust: VerifiedTrust, at: datetime) -> list[datetime]:
    """The times of the signature time-stamps that hold, or of the time-mark. Raises: NotValid; Malformed."""
    passed = judge_time_stamps(facts, files, trust=trust, at=at)
    if facts.is_time_mark and not facts.time_stamps:
        certificate, certificate_der = find_signing_certificate(facts.signature)
        marked_at = find_time_mark(facts, certificate, parse_parts(certificate_der), trust)
        return [] if marked_at is None else [marked_at]
    return passed


def _verify(facts: Facts, files: SignedFiles) -> VerifiedSignature:
    try:
        verified = verify_signature(facts.signature, files.find_digest)
    except Refused as error:
        facts.certificate = claimed_certificate(facts.signature)
        indication, sub, text = VERIFY_VERDICTS[error.code]
        raise NotValid(indication, sub, error.code, f"{text} ({error.detail})") from error
    facts.certificate = verified.certificate
    return verified


def claimed_certificate(signature: UnverifiedSignature) -> x509.Certificate | None:
    """Whom to name in the report of a signature that does not verify; nothing else rests on it."""
    try:
        return x509.load_der_x509_certificate(signature.certificates_der[0])
    except (IndexError, ValueError, x509.InvalidVersion):
        return None


def _check_coverage(facts: Facts, files: SignedFiles) -> None:
    signed = {reference.name: reference for reference in facts.signature.references}
    before = len(facts.messages)
    for name in files.names:
        reference = signed.get(name)
        if reference is None:
            facts.error(
                "validation.file_not_signed",
                f"Container contains a file named <{name}> which is not found in the signature file",
            )
            continue
        signed_type, listed_type = facts.signature.media_types.get(reference.id or ""), files.media_type(name)
        if signed_type is None:
            facts.error("validation.media_type_missing", f"The signature does not say what kind of file <{name}> is")
        elif listed_type is not None and listed_type != signed_type:
            facts.error(
                "validation.media_type",
                f"Manifest file has an entry for file <{name}> with mimetype <{listed_type}> "
                f"but the signature file for signature {facts.signature.id} indicates the mimetype is <{signed_type}>",
            )
    if len(facts.messages) > before or files.is_odd:
        raise NotValid(
            FAILED, Sub.FORMAT_FAILURE, "validation.container", "The container and the signature do not fit together"
        )


def _check_signed_properties(facts: Facts) -> None:
    signature = facts.signature
    if signature.claimed_signing_at is None:
        raise NotValid(
            INDETERMINATE, Sub.SIG_CONSTRAINTS_FAILURE, "validation.signing_time", "The signing time is not stated"
        )
    if signature.policy == "":
        raise NotValid(
            INDETERMINATE,
            Sub.POLICY_PROCESSING_ERROR,
            "validation.signature_policy",
            "The signature follows a policy that it does not name",
        )
    if signature.policy not in (None, "implied") and not facts.is_time_mark:
        raise NotValid(
            INDETERMINATE,
            Sub.SIGNATURE_POLICY_NOT_AVAILABLE,
            "validation.signature_policy",
            f"The signature policy {signature.policy} is not judged by this program",
        )
    if facts.is_time_mark:
        _check_time_mark_policy(signature)


def _check_time_mark_policy(signature: UnverifiedSignature) -> None:
    """BDOC 2.1 §5.2: the policy is named by a URN, and says where it is to be had. It knows time-marks only: what is
    archived is a signature with a time-stamp.
    """
    problem = None
    if signature.policy_qualifier != "OIDAsURN":
        problem = "The policy's identifier is not qualified as OIDAsURN"
    elif not signature.policy_uri:
        problem = "The URL in signature policy is empty or not available"
    if problem:
        raise NotValid(INDETERMINATE, Sub.POLICY_PROCESSING_ERROR, "validation.time_mark_policy", problem)
    if signature.archive_time_stamps:
        raise NotValid(
            FAILED, Sub.FORMAT_FAILURE, "validation.time_mark_archived", "Invalid signature format for BDOC policy"
        )


def check_algorithms(facts: Facts, verified: VerifiedSignature, best_at: datetime) -> None:
    """The algorithms that the signer used were good enough then (§5.2.8). Raises: NotValid."""
    weakness = find_weak_key(signer_key(verified.certificate), at=best_at)
    if weakness:
        raise NotValid(
            INDETERMINATE,
            Sub.CRYPTO_CONSTRAINTS_FAILURE,
            "validation.weak_key",
            f"The signer's key was too weak at the time of signing: {weakness}",
        )
    check_issuer_key(facts, best_at)
    used = frozenset(reference.hash_name for reference in facts.signature.references)
    for name in sorted(find_weak_hashes(facts.signature.method, used | {facts.signature.properties_hash_name})):
        facts.warn("validation.weak_hash", f"The algorithm {name.upper()} is weak; it must not be used any more")


def build_report(
    facts: Facts, file_name: str, indication: Indication, sub: SubIndication | None, *, kind: str = "FULL"
) -> SignatureReport:
    """The report of a ladder that ended with this verdict. `kind`: what was at hand of the files, as in `Scope`."""
    signature = facts.signature
    if facts.qualification is None:
        level = "NA"
    elif indication is Indication.TOTAL_PASSED:
        level = facts.qualification.level
    elif indication is INDETERMINATE:
        level = f"INDETERMINATE_{facts.qualification.level}"
    else:
        level = facts.qualification.failed_level
    return SignatureReport(
        id=signature.id,
        file_name=file_name,
        signature_format=_format(facts),
        method_uri=signature.method.uri,
        indication=indication,
        sub_indication=sub,
        level=level,
        certificate=facts.certificate,
        responder=facts.responder,
        messages=tuple(facts.messages),
        scopes=tuple(Scope(ref.name, ref.hash_name, ref.digest, kind) for ref in signature.references),
        time_stamps=tuple(facts.time_stamps),
        archive_time_stamps=tuple(facts.archive_time_stamps),
        claimed_signing_at=signature.claimed_signing_at,
        best_signature_at=facts.best_signature_at,
        ocsp_produced_at=facts.ocsp_produced_at,
        claimed_roles=signature.claimed_roles,
        place=_place(signature.production_place),
        time_mark_nonce=facts.time_mark_nonce,
        issuers=tuple(facts.issuers),
        status_signers=facts.status_signers,
        status_proven_at=facts.status_proven_at,
    )


def _format(facts: Facts) -> str:
    if facts.is_time_mark and facts.best_signature_at is not None and not facts.signature.archive_time_stamps:
        return "XAdES_BASELINE_LT_TM"
    if facts.signature.level != "B":
        return f"XAdES_BASELINE_{facts.signature.level}"
    return "XAdES_BASELINE_B_BES" if facts.signature.policy in (None, "implied") else "XAdES_BASELINE_B_EPES"


def _place(place: ProductionPlace | None) -> tuple[tuple[str, str], ...]:
    if place is None:
        return ()
    values = (
        ("countryName", place.country_name),
        ("stateOrProvince", place.state_or_province),
        ("city", place.city),
        ("postalCode", place.postal_code),
    )
    return tuple((name, value) for name, value in values if value)
