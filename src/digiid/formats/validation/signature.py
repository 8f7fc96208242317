"""Validation of one signature: EN 319 102-1 V1.4.1 §5.3 (basic) and §5.5 (with time and long-term data).

Trust comes from trusted lists, one hop: the issuing CA of the signer is listed as CA/QC, the time-stamping unit or its
CA as TSA/QTST, the OCSP responder is authorised by RFC 6960 §4.2.2.2 or listed. Certificates of responders and units
are judged at the time of what they signed; that is what the lists vouch for.

A signature without a time-stamp or without revocation data of its own is not fetched data for: its verdict is
INDETERMINATE, never valid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from digiid.formats import der, ocsp, tsp
from digiid.formats.asic import Container
from digiid.formats.trusted_list import (
    CA_QC,
    TSA_QTST,
    ServiceCertificate,
    ServicePeriod,
    VerifiedTrust,
    granted_period,
)
from digiid.formats.validation.policy import find_weak_hashes, find_weak_key
from digiid.formats.validation.qualification import Qualification, assess
from digiid.formats.validation.report import (
    Indication,
    Message,
    Scope,
    Severity,
    SignatureReport,
    SubIndication,
    TimeStampReport,
)
from digiid.formats.x509.parts import (
    CONTENT_COMMITMENT,
    CertificateParts,
    certificate_der,
    names_match,
    parse_parts,
    parts_of,
    public_key_of,
)
from digiid.formats.x509.path import verify_path
from digiid.formats.x509.signature import read_hash_identifier
from digiid.formats.xades import Reference, UnverifiedSignature, VerifiedSignature, verify_signature
from digiid.formats.xades.algorithms import hash_bytes
from digiid.formats.xades.parse import EncapsulatedTimeStamp, ProductionPlace
from digiid.formats.xades.verify import signer_key
from digiid.kernel.errors import DigiidError, Malformed, Refused

OCSP_LATE_AFTER: Final = timedelta(minutes=15)
_STATUS_BEFORE_TIME_STAMP: Final = timedelta(minutes=15)  # how much older than the time-stamp a status may be

CLOCK_SKEW: Final = timedelta(minutes=5)  # how far another clock may be ahead of ours
SHA1_UNTIL: Final = datetime(2017, 1, 1, tzinfo=UTC)
TIME_MARK_POLICIES: Final = frozenset({"1.3.6.1.4.1.10015.1000.3.2.1", "1.3.6.1.4.1.10015.1000.3.2.3"})
TIME_MARK_RESPONDERS: Final = frozenset({"1.3.6.1.4.1.10015.4.1.2", "1.3.6.1.4.1.10015.3.1.1"})  # the latter: TEST

FAILED, INDETERMINATE = Indication.TOTAL_FAILED, Indication.INDETERMINATE
Sub = SubIndication


class _NotValid(Exception):
    """The ladder ends here."""

    def __init__(self, indication: Indication, sub: SubIndication, code: str, text: str) -> None:
        super().__init__(text)
        self.indication, self.sub, self.code, self.text = indication, sub, code, text


# What `verify_signature` refuses, in the words of EN 319 102-1 §5.2.3 and §5.2.7.
_VERIFY: Final = {
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

# What `verify_path` refuses.
_PATH: Final = {
    "x509.path.extension": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.path.not_a_ca": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.path.length": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.path.algorithm": Sub.CHAIN_CONSTRAINTS_FAILURE,
    "x509.algorithm": Sub.CRYPTO_CONSTRAINTS_FAILURE,
    "x509.public_key": Sub.CRYPTO_CONSTRAINTS_FAILURE,
}


@dataclass(slots=True)
class _Facts:
    """What the ladder has established so far; becomes the report wherever the ladder ends."""

    signature: UnverifiedSignature
    certificate: x509.Certificate | None = None
    responder: x509.Certificate | None = None
    messages: list[Message] = field(default_factory=list)
    time_stamps: list[TimeStampReport] = field(default_factory=list)
    best_signature_at: datetime | None = None
    ocsp_produced_at: datetime | None = None
    qualification: Qualification | None = None

    @property
    def is_time_mark(self) -> bool:
        return self.signature.policy in TIME_MARK_POLICIES

    def warn(self, code: str, text: str) -> None:
        self.messages.append(Message(Severity.WARNING, code, text))

    def error(self, code: str, text: str) -> None:
        self.messages.append(Message(Severity.ERROR, code, text))


def validate_signature(
    signature: UnverifiedSignature, *, container: Container, file_name: str, trust: VerifiedTrust, at: datetime
) -> SignatureReport:
    """Judge one signature at `at`. Never raises for what is wrong with the signature: that is the verdict."""
    facts = _Facts(signature)
    try:
        _climb(facts, container, trust, at)
    except _NotValid as end:
        facts.error(end.code, end.text)
        return _report(facts, file_name, end.indication, end.sub)
    except Malformed as error:
        # Something inside the signature cannot be processed at all (§5.2.2).
        facts.error(error.code, f"The signature cannot be processed: {error.detail}")
        return _report(facts, file_name, FAILED, Sub.FORMAT_FAILURE)
    return _report(facts, file_name, Indication.TOTAL_PASSED, None)


def _climb(facts: _Facts, container: Container, trust: VerifiedTrust, at: datetime) -> None:
    signature = facts.signature
    # 1 who signed, what was signed, and is the value theirs (§5.2.3, §5.2.7)
    verified = _verify(facts, container)
    parts = parse_parts(verified.certificate_der)

    # 2 the container: every data file is signed and called what the manifest calls it (§5.2.2)
    _check_coverage(facts, container)

    # 3 proof of when: the earliest time-stamp that holds (§5.4, §5.5.4)
    for stamp in signature.signature_time_stamps:
        facts.time_stamps.append(refuse_from_future(_validate_time_stamp(stamp, signature, trust), at))
    passed = [report.gen_at for report in facts.time_stamps if report.indication == "PASSED" and report.gen_at]
    if facts.is_time_mark and not facts.time_stamps:
        marked_at = _find_time_mark(facts, verified.certificate, parts, trust)
        passed = [] if marked_at is None else [marked_at]
    for report in facts.time_stamps:
        if report.indication != "PASSED":
            tell = facts.warn if passed else facts.error
            tell("validation.time_stamp", f"Signature has an invalid timestamp: {report.text}")
    facts.best_signature_at = min(passed, default=None)
    best_at = facts.best_signature_at or at

    # 4 the signer's certificate comes from a listed CA, and was valid then (§5.2.6)
    issuer = _find_issuer(facts, verified.certificate, parts, trust, best_at, has_proof=bool(passed))
    usage = parts.key_usage()
    if usage is None or CONTENT_COMMITMENT not in usage:
        raise _NotValid(
            INDETERMINATE,
            Sub.CHAIN_CONSTRAINTS_FAILURE,
            "validation.key_usage",
            "The signer's certificate has not expected key-usage!",
        )

    # 5 the signer's certificate was not revoked then (§5.2.5, §5.2.6)
    _check_revocation(facts, verified.certificate, parts, issuer, trust=trust, best_at=best_at, has_proof=bool(passed))

    # 6 what the policy asks of the signature itself (§5.2.8): a time-stamp that holds, signing time, algorithms
    if not passed:
        _refuse_without_time_stamp(facts)
    if facts.ocsp_produced_at is not None and facts.ocsp_produced_at > at + CLOCK_SKEW:
        raise _NotValid(
            INDETERMINATE,
            Sub.TRY_LATER,
            "validation.ocsp_from_future",
            "The OCSP response comes from the future: its responder's clock cannot be relied on",
        )
    if signature.claimed_signing_at is None:
        raise _NotValid(
            INDETERMINATE, Sub.SIG_CONSTRAINTS_FAILURE, "validation.signing_time", "The signing time is not stated"
        )
    if signature.policy not in (None, "implied") and not facts.is_time_mark:
        raise _NotValid(
            INDETERMINATE,
            Sub.SIGNATURE_POLICY_NOT_AVAILABLE,
            "validation.signature_policy",
            f"The signature policy {signature.policy} is not judged by this program",
        )
    _check_algorithms(facts, verified, best_at)
    for name in signature.unknown_properties:
        facts.warn("validation.property_ignored", f"The property {name} was not taken into account")
    if signature.archive_time_stamps:
        facts.warn("validation.archive_time_stamp", "The archive time-stamp was not judged, and was not needed")


def _verify(facts: _Facts, container: Container) -> VerifiedSignature:
    def find_digest(reference: Reference) -> bytes | None:
        entry = container.find_data_file(reference.name)
        return None if entry is None else container.digest(entry, reference.hash_name)

    try:
        verified = verify_signature(facts.signature, find_digest)
    except Refused as error:
        facts.certificate = _claimed_certificate(facts.signature)
        indication, sub, text = _VERIFY[error.code]
        raise _NotValid(indication, sub, error.code, f"{text} ({error.detail})") from error
    facts.certificate = verified.certificate
    return verified


def _claimed_certificate(signature: UnverifiedSignature) -> x509.Certificate | None:
    """Whom to name in the report of a signature that does not verify; nothing else rests on it."""
    try:
        return x509.load_der_x509_certificate(signature.certificates_der[0])
    except (IndexError, ValueError, x509.InvalidVersion):
        return None


def _check_coverage(facts: _Facts, container: Container) -> None:
    signed = {reference.name: reference for reference in facts.signature.references}
    before = len(facts.messages)
    for entry in container.data_files:
        reference = signed.get(entry.name)
        if reference is None:
            facts.error(
                "validation.file_not_signed",
                f"Container contains a file named <{entry.name}> which is not found in the signature file",
            )
            continue
        media_type = facts.signature.media_types.get(reference.id or "")
        if media_type is None:
            facts.error(
                "validation.media_type_missing", f"The signature does not say what kind of file <{entry.name}> is"
            )
        elif entry.name in container.manifest and container.manifest[entry.name] != media_type:
            facts.error(
                "validation.media_type",
                f"Manifest file has an entry for file <{entry.name}> with mimetype <{container.manifest[entry.name]}> "
                f"but the signature file for signature {facts.signature.id} indicates the mimetype is <{media_type}>",
            )
    if len(facts.messages) > before or any(problem.is_error for problem in container.problems):
        raise _NotValid(
            FAILED, Sub.FORMAT_FAILURE, "validation.container", "The container and the signature do not fit together"
        )


# ------------------------------------------------------------------ time-stamps


def _validate_time_stamp(
    stamp: EncapsulatedTimeStamp, signature: UnverifiedSignature, trust: VerifiedTrust
) -> TimeStampReport:
    """One signature time-stamp (§5.4): over this signature value, by a unit that was listed when it said so."""
    try:
        token = tsp.verify_token(stamp.token_der)
        imprint = hash_bytes(token.hash_name, signature.canonical_signature_value(stamp.c14n))
    except DigiidError as error:
        sub = Sub.FORMAT_FAILURE if isinstance(error, Malformed) else Sub.SIG_CRYPTO_FAILURE
        return TimeStampReport("FAILED", sub, None, None, f"The time-stamp does not verify: {error.detail}")
    if imprint != token.imprint:
        text = "The time-stamp message imprint is not intact!"
        return TimeStampReport("FAILED", Sub.HASH_FAILURE, token.gen_at, token.tsu, text)
    tsu_der = certificate_der(token.tsu)
    not_granted = "The time-stamping service was not granted when it made the time-stamp"
    problem = "The certificate chain for timestamp is not trusted, it does not contain a trust anchor."
    for item in trust.find_services(tsu_der, service_type=TSA_QTST):
        if granted_period(item.service, (TSA_QTST,), token.gen_at):
            return TimeStampReport("PASSED", None, token.gen_at, token.tsu)
        problem = not_granted
    parts = parts_of(token.tsu)
    for item in trust.find_issuers(
        parts.issuer_der, key_identifier=parts.authority_key_identifier(), service_type=TSA_QTST
    ):
        if not granted_period(item.service, (TSA_QTST,), token.gen_at):
            problem = not_granted
            continue
        try:
            verify_path(token.tsu, intermediates=(), anchors=item.anchors, at=token.gen_at)
        except Refused as error:
            problem = f"{problem} ({error.detail})"
            continue
        return TimeStampReport("PASSED", None, token.gen_at, token.tsu)
    return TimeStampReport("INDETERMINATE", Sub.NO_CERTIFICATE_CHAIN_FOUND, token.gen_at, token.tsu, problem)


def refuse_from_future(report: TimeStampReport, at: datetime) -> TimeStampReport:
    """A unit whose clock runs ahead of `at` proves no time: it could as well be behind."""
    if report.indication != "PASSED" or report.gen_at is None or report.gen_at <= at + CLOCK_SKEW:
        return report
    text = "The time-stamp comes from the future: its unit's clock cannot be relied on"
    return replace(report, indication="INDETERMINATE", sub_indication=Sub.SIG_CONSTRAINTS_FAILURE, text=text)


def _refuse_without_time_stamp(facts: _Facts) -> None:
    if not facts.time_stamps:
        raise _NotValid(
            INDETERMINATE,
            Sub.SIG_CONSTRAINTS_FAILURE,
            "validation.no_time_stamp",
            "There is no signature time-stamp: nothing proves when it was signed",
        )
    report = facts.time_stamps[0]
    sub = report.sub_indication if report.indication == "INDETERMINATE" else None
    text = "No time-stamp of the signature holds: nothing proves when it was signed"
    raise _NotValid(INDETERMINATE, sub or Sub.SIG_CONSTRAINTS_FAILURE, "validation.no_valid_time_stamp", text)


def _find_time_mark(
    facts: _Facts, certificate: x509.Certificate, parts: CertificateParts, trust: VerifiedTrust
) -> datetime | None:
    """BDOC 2.1 §6.1, read only: the responder's nonce is the digest of the signature value, its time is the proof."""
    for item in trust.find_issuers(
        parts.issuer_der, key_identifier=parts.authority_key_identifier(), service_type=CA_QC
    ):
        for response_der in facts.signature.ocsp_values_der:
            try:
                answer = _verify_ocsp(response_der, certificate, parts, item, trust)
            except Refused:
                continue  # what is wrong with it is said where revocation is judged
            makes_time_marks = not TIME_MARK_RESPONDERS.isdisjoint(parts_of(answer.responder).policies())
            if makes_time_marks and _is_time_mark(answer.nonce, facts.signature.signature_value):
                return answer.produced_at
    return None


def _is_time_mark(nonce: bytes | None, signature_value: bytes) -> bool:
    if nonce is None:
        return False
    reader = der.read_whole(nonce, max_bytes=256)  # DigestInfo, RFC 8017 §9.2
    hash_name = read_hash_identifier(reader.take(der.SEQUENCE))
    digest = reader.take(der.OCTET_STRING).content
    reader.finish()
    return hash_name != "sha1" and digest == hash_bytes(hash_name, signature_value)


# ------------------------------------------------------------------ the signer's certificate


def _find_issuer(
    facts: _Facts,
    certificate: x509.Certificate,
    parts: CertificateParts,
    trust: VerifiedTrust,
    best_at: datetime,
    *,
    has_proof: bool,
) -> ServiceCertificate:
    candidates = trust.find_issuers(
        parts.issuer_der, key_identifier=parts.authority_key_identifier(), service_type=CA_QC
    )
    problem = _NotValid(
        INDETERMINATE,
        Sub.NO_CERTIFICATE_CHAIN_FOUND,
        "validation.no_chain",
        "The certificate chain for signature is not trusted, it does not contain a trust anchor.",
    )
    # The path is checked at a moment inside the leaf's validity; whether signing was inside it comes next.
    path_at = min(max(best_at, parts.not_before_at), parts.not_after_at)
    for item in candidates:
        if granted_period(item.service, (CA_QC,), best_at) is None:
            problem = _NotValid(
                INDETERMINATE,
                Sub.NO_CERTIFICATE_CHAIN_FOUND,
                "validation.service_not_granted",
                "The issuing service was not granted as a qualified one at the time of signing",
            )
            continue
        try:
            if not _issued_with_sha1(facts, certificate, item.certificate, best_at, has_proof=has_proof):
                verify_path(certificate, intermediates=(), anchors=item.anchors, at=path_at, leaf_parts=parts)
        except Refused as error:
            sub = _PATH.get(error.code, Sub.NO_CERTIFICATE_CHAIN_FOUND)
            text = f"The signer's certificate does not come from the listed CA: {error.detail}"
            problem = _NotValid(INDETERMINATE, sub, error.code, text)
            continue
        facts.qualification = assess(parts, _periods(item, parts.not_before_at, best_at))
        _check_validity(parts, best_at, has_proof=has_proof)
        return item
    raise problem


def _issued_with_sha1(
    facts: _Facts, certificate: x509.Certificate, issuer: x509.Certificate, best_at: datetime, *, has_proof: bool
) -> bool:
    """True for a certificate that its CA signed with SHA-1 and that is proven to have been used before collisions of
    SHA-1 were in reach (EN 319 102-1 §5.2.8: algorithms are judged at the best signature time). One hop, RSA only.
    """
    algorithm = certificate.signature_hash_algorithm
    if not has_proof or best_at >= SHA1_UNTIL or algorithm is None or algorithm.name != "sha1":
        return False
    key = public_key_of(issuer)
    if not isinstance(key, rsa.RSAPublicKey) or not names_match(
        parts_of(certificate).issuer_der, parts_of(issuer).subject_der
    ):
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
    except InvalidSignature as error:
        raise Refused("x509.signature", "the listed CA did not sign this certificate") from error
    facts.warn("validation.weak_hash", "The signer's certificate was signed with SHA-1, which was accepted at the time")
    return True


def _periods(item: ServiceCertificate, *moments: datetime) -> Sequence[ServicePeriod]:
    found = [granted_period(item.service, (CA_QC,), moment) for moment in moments]
    return [period for period in found if period is not None]


def _check_validity(parts: CertificateParts, best_at: datetime, *, has_proof: bool) -> None:
    if parts.not_before_at <= best_at <= parts.not_after_at:
        return
    if not has_proof:
        raise _NotValid(
            INDETERMINATE,
            Sub.OUT_OF_BOUNDS_NO_POE,
            "validation.out_of_bounds",
            "The current time is not in the validity range of the signer's certificate!",
        )
    late = best_at > parts.not_after_at
    raise _NotValid(
        FAILED,
        Sub.EXPIRED if late else Sub.NOT_YET_VALID,
        "validation.expired" if late else "validation.not_yet_valid",
        "The best-signature-time is not before the expiration date of the signing certificate!"
        if late
        else "The best-signature-time is not at or after the issuance date of the signing certificate!",
    )


# ------------------------------------------------------------------ revocation


def _check_revocation(
    facts: _Facts,
    certificate: x509.Certificate,
    parts: CertificateParts,
    issuer: ServiceCertificate,
    *,
    trust: VerifiedTrust,
    best_at: datetime,
    has_proof: bool,
) -> None:
    problem = _NotValid(
        INDETERMINATE,
        Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE,
        "validation.no_revocation_data",
        "No revocation data found for the signer's certificate",
    )
    answers: list[ocsp.VerifiedOcsp] = []
    for response_der in facts.signature.ocsp_values_der:
        try:
            answers.append(_verify_ocsp(response_der, certificate, parts, issuer, trust))
        except Refused as error:
            if error.code == "ocsp.cert_id":
                continue  # about another certificate; nothing about the signer
            text = f"The revocation data cannot be used: {error.detail}"
            problem = _NotValid(INDETERMINATE, Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE, error.code, text)
    answers.sort(key=lambda answer: answer.produced_at)
    for answer in answers:
        facts.ocsp_produced_at, facts.responder = answer.produced_at, answer.responder
        try:
            _judge_status(facts, answer, best_at, has_proof=has_proof)
        except _NotValid as error:
            if error.sub is Sub.REVOKED:
                raise
            problem = error
            continue
        return
    if not has_proof and not facts.time_stamps:
        facts.error("validation.no_time_stamp", "There is no signature time-stamp: nothing proves when it was signed")
    raise problem


def _verify_ocsp(
    response_der: bytes,
    certificate: x509.Certificate,
    parts: CertificateParts,
    issuer: ServiceCertificate,
    trust: VerifiedTrust,
) -> ocsp.VerifiedOcsp:
    """An answer by the CA, its delegate, or else by a responder that was listed when it answered."""

    def verify(extra_responders: Sequence[x509.Certificate]) -> ocsp.VerifiedOcsp:
        return ocsp.verify_response(
            response_der,
            certificate=certificate,
            issuer=issuer.certificate,
            extra_responders=extra_responders,
            certificate_parts=parts,
            issuer_parts=issuer.parts,
            sha1_until=SHA1_UNTIL,
        )

    try:
        return verify(())
    except Refused as error:
        if error.code in ("ocsp.cert_id", "ocsp.response_status"):
            raise
        first = error
    answer = verify(trust.responders)
    if trust.was_responder(certificate_der(answer.responder), at=answer.produced_at):
        return answer
    raise first


def _judge_status(facts: _Facts, answer: ocsp.VerifiedOcsp, best_at: datetime, *, has_proof: bool) -> None:
    signed_at = best_at.replace(microsecond=0)  # OCSP has whole seconds only
    if answer.status is ocsp.CertStatus.UNKNOWN:
        raise _NotValid(
            INDETERMINATE,
            Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE,
            "validation.status_unknown",
            "The responder does not know the signer's certificate",
        )
    if answer.status is ocsp.CertStatus.REVOKED and answer.revoked_at is not None and answer.revoked_at <= signed_at:
        if answer.reason == "certificateHold":
            raise _NotValid(
                INDETERMINATE,
                Sub.TRY_LATER,
                "validation.on_hold",
                "The signer's certificate was suspended when it was used",
            )
        raise _NotValid(
            FAILED,
            Sub.REVOKED,
            "validation.revoked",
            "The signer's certificate was revoked before the signature was made",
        )
    if not has_proof:
        return  # without a time-stamp there is nothing to compare with; the ladder refuses for that
    if answer.produced_at < signed_at:
        raise _NotValid(
            INDETERMINATE,
            Sub.TRY_LATER,
            "validation.ocsp_before_time_stamp",
            "OCSP response production time is before timestamp time",
        )
    stale = answer.next_update_at is not None and answer.next_update_at < signed_at
    if stale or answer.this_update_at < signed_at - _STATUS_BEFORE_TIME_STAMP:
        raise _NotValid(
            INDETERMINATE,
            Sub.TRY_LATER,
            "validation.ocsp_stale",
            "The OCSP response tells an older status than that of the time of signing",
        )
    if answer.produced_at - signed_at > OCSP_LATE_AFTER:
        facts.warn(
            "validation.ocsp_late",
            "The time difference between the signature timestamp and the OCSP response exceeds 15 minutes, rendering "
            "the OCSP response not 'fresh'.",
        )


# ------------------------------------------------------------------ algorithms and report


def _check_algorithms(facts: _Facts, verified: VerifiedSignature, best_at: datetime) -> None:
    weakness = find_weak_key(signer_key(verified.certificate), at=best_at)
    if weakness:
        raise _NotValid(
            INDETERMINATE,
            Sub.CRYPTO_CONSTRAINTS_FAILURE,
            "validation.weak_key",
            f"The signer's key was too weak at the time of signing: {weakness}",
        )
    used = frozenset(reference.hash_name for reference in facts.signature.references)
    for name in sorted(find_weak_hashes(facts.signature.method, used | {facts.signature.properties_hash_name})):
        facts.warn("validation.weak_hash", f"The algorithm {name.upper()} is weak; it must not be used any more")


def _report(facts: _Facts, file_name: str, indication: Indication, sub: SubIndication | None) -> SignatureReport:
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
        scopes=tuple(Scope(ref.name, ref.hash_name, ref.digest) for ref in signature.references),
        time_stamps=tuple(facts.time_stamps),
        claimed_signing_at=signature.claimed_signing_at,
        best_signature_at=facts.best_signature_at,
        ocsp_produced_at=facts.ocsp_produced_at,
        claimed_roles=signature.claimed_roles,
        place=_place(signature.production_place),
    )


def _format(facts: _Facts) -> str:
    if facts.is_time_mark and facts.best_signature_at is not None:
        return "XAdES_BASELINE_LT_TM"
    return "XAdES_BASELINE_" + facts.signature.level.replace("B", "B_BES")


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
