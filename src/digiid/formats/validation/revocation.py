"""Revocation of the signer's certificate: EN 319 102-1 V1.4.1 §5.2.5, with the OCSP answers that the signature carries,
and the revocation lists.

Nothing is fetched. Who may answer is RFC 6960 §4.2.2.2: the CA, its delegate, or a responder that a list names.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from digiid.formats import der, ocsp
from digiid.formats.trusted_list import CA_QC, ServiceCertificate, VerifiedTrust
from digiid.formats.validation.facts import CLOCK_SKEW, INDETERMINATE, SHA1_UNTIL, Facts, NotValid, Sub
from digiid.formats.validation.policy import find_weak_key
from digiid.formats.validation.revocation_lists import judge_lists, revoked
from digiid.formats.x509.parts import CertificateParts, certificate_der, parts_of, public_key_of
from digiid.formats.x509.signature import read_hash_identifier
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import Malformed, Refused

OCSP_LATE_AFTER: Final = timedelta(minutes=15)
_STATUS_BEFORE_TIME_STAMP: Final = timedelta(minutes=15)  # how much older than the time-stamp a status may be
TIME_MARK_RESPONDERS: Final = frozenset({"1.3.6.1.4.1.10015.4.1.2", "1.3.6.1.4.1.10015.3.1.1"})  # the latter: TEST


def check_revocation(
    facts: Facts,
    certificate: x509.Certificate,
    parts: CertificateParts,
    issuer: ServiceCertificate,
    *,
    trust: VerifiedTrust,
    best_at: datetime,
    has_proof: bool,
) -> None:
    """The certificate was not revoked when it was used, in the words of an answer or a list inside the signature.

    Raises: NotValid; Malformed `ocsp.…`, `der.…`: nothing is said about it, and an answer cannot be read.
    """
    facts.is_status_judged = True
    # 1 a list that says revoked is heeded whatever an answer says
    is_cleared, problem = judge_lists(facts, parts, issuer, best_at, has_proof=has_proof)

    # 2 the answers, oldest first; and what one says is not passed over for another's good word
    answers: list[tuple[ocsp.VerifiedOcsp, datetime | None]] = []
    malformed: Malformed | None = None
    for response_der in facts.signature.ocsp_values_der:
        try:
            answer = verify_ocsp(response_der, certificate, parts, issuer, trust)
            answers.append((answer, facts.ocsp_proofs.get(response_der, facts.ocsp_proven_at)))
        except Refused as error:
            if error.code == "ocsp.cert_id":
                continue  # about another certificate; nothing about the signer
            text = f"The revocation data cannot be used: {error.detail}"
            problem = NotValid(INDETERMINATE, Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE, error.code, text)
        except Malformed as error:
            malformed = malformed or error  # beside one that can be read anybody may have put it there
    answers.sort(key=lambda found: found[0].produced_at)
    for answer, _ in answers:
        _refuse_revoked(facts, answer, best_at, has_proof=has_proof)
    for answer, proven_at in answers:
        facts.ocsp_produced_at, facts.responder = answer.produced_at, answer.responder
        try:
            signers = _find_signers(answer, issuer, trust)
            _check_strength(signers, proven_at)
            judge_status(facts, answer, best_at, has_proof=has_proof)
        except NotValid as error:
            # Of two words about the time of signing the first one counts, on hold too: it may be taken off later.
            was_on_hold = error.code == "validation.on_hold" and has_proof and _find_other_time(answer, best_at) is None
            if was_on_hold or error.sub in (Sub.REVOKED, Sub.REVOKED_NO_POE):
                raise
            problem = error
            continue
        facts.crl_issued_at, facts.status_signers, facts.status_proven_at = None, signers, proven_at
        return
    if is_cleared:
        facts.ocsp_produced_at, facts.responder = None, None  # nothing rests on an answer that was of no use
        return
    if malformed is not None and problem is None:
        raise malformed
    if not has_proof and not facts.time_stamps:
        facts.error("validation.no_time_stamp", "There is no signature time-stamp: nothing proves when it was signed")
    raise problem or NotValid(
        INDETERMINATE,
        Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE,
        "validation.no_revocation_data",
        "No revocation data found for the signer's certificate",
    )


def verify_ocsp(
    response_der: bytes,
    certificate: x509.Certificate,
    parts: CertificateParts,
    issuer: ServiceCertificate,
    trust: VerifiedTrust,
) -> ocsp.VerifiedOcsp:
    """An answer by the CA, its delegate, or else by a responder that was listed when it answered.

    Raises: Refused `ocsp.…`; Malformed `ocsp.…`, `der.…`.
    """

    def verify(extra_responders: Sequence[x509.Certificate]) -> ocsp.VerifiedOcsp:
        return ocsp.verify_response(
            response_der,
            certificate=certificate,
            issuer=issuer.certificate,
            extra_responders=extra_responders,
            certificate_parts=parts,
            issuer_parts=issuer.parts,
            sha1_until=SHA1_UNTIL,
            known=trust.known,
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


def _find_signers(
    answer: ocsp.VerifiedOcsp, issuer: ServiceCertificate, trust: VerifiedTrust
) -> tuple[x509.Certificate, ...]:
    """Whose keys an answer rests on: the responder's, and the CA's where nothing but its signature authorises the
    responder."""
    responder_der = certificate_der(answer.responder)
    if responder_der == issuer.der or trust.was_responder(responder_der, at=answer.produced_at):
        return (answer.responder,)
    return answer.responder, issuer.certificate


def _check_strength(signers: Sequence[x509.Certificate], proven_at: datetime | None) -> None:
    """§5.2.8: an answer counts as long as no key that it rests on could have been broken before the answer is proven to
    exist: with the CA's key anybody makes a responder of years ago."""
    if proven_at is None:
        return
    for who, signer in zip(("responder", "CA that named the responder"), signers, strict=False):
        weakness = find_weak_key(public_key_of(signer), at=proven_at)
        if weakness:
            raise NotValid(
                INDETERMINATE,
                Sub.CRYPTO_CONSTRAINTS_FAILURE_NO_POE,
                "validation.ocsp_weak_key",
                f"The key of the {who} is too weak by now, and nothing proves an earlier answer: {weakness}",
            )


def _refuse_revoked(facts: Facts, answer: ocsp.VerifiedOcsp, best_at: datetime, *, has_proof: bool) -> None:
    """Raises: NotValid, the certificate had been revoked for good. That may be known later than it was in force; on
    hold it may have been for a while, at another time."""
    if answer.status is not ocsp.CertStatus.REVOKED or answer.reason == "certificateHold":
        return
    if answer.revoked_at is not None and answer.revoked_at <= best_at.replace(microsecond=0):
        facts.ocsp_produced_at, facts.responder = answer.produced_at, answer.responder
        raise revoked(answer.reason, has_proof=has_proof)


def judge_status(facts: Facts, answer: ocsp.VerifiedOcsp, best_at: datetime, *, has_proof: bool) -> None:
    """What an answer says about the time of the signature. Raises: NotValid."""
    signed_at = best_at.replace(microsecond=0) if best_at.microsecond else best_at  # OCSP has whole seconds only
    if answer.status is ocsp.CertStatus.UNKNOWN:
        raise NotValid(
            INDETERMINATE,
            Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE,
            "validation.status_unknown",
            "The responder does not know the signer's certificate",
        )
    if answer.status is ocsp.CertStatus.REVOKED and answer.revoked_at is not None and answer.revoked_at <= signed_at:
        raise revoked(answer.reason, has_proof=has_proof)
    if not has_proof:
        return  # without a time-stamp there is nothing to compare with; the ladder refuses for that
    other_time = _find_other_time(answer, signed_at)
    if other_time is not None:
        raise other_time
    if answer.produced_at - signed_at > OCSP_LATE_AFTER:
        facts.warn(
            "validation.ocsp_late",
            "The time difference between the signature timestamp and the OCSP response exceeds 15 minutes, rendering "
            "the OCSP response not 'fresh'.",
        )


def _find_other_time(answer: ocsp.VerifiedOcsp, best_at: datetime) -> NotValid | None:
    """Why an answer says nothing about the time of the signature; None when it does."""
    signed_at = best_at.replace(microsecond=0)
    if answer.produced_at < signed_at:
        text = "OCSP response production time is before timestamp time"
        return NotValid(INDETERMINATE, Sub.TRY_LATER, "validation.ocsp_before_time_stamp", text)
    stale = answer.next_update_at is not None and answer.next_update_at < signed_at
    if stale or answer.this_update_at < signed_at - _STATUS_BEFORE_TIME_STAMP:
        text = "The OCSP response tells an older status than that of the time of signing"
        return NotValid(INDETERMINATE, Sub.TRY_LATER, "validation.ocsp_stale", text)
    return None


def check_not_from_future(facts: Facts, at: datetime) -> None:
    """Raises: NotValid, the answer that was used was produced after `at`."""
    if facts.crl_issued_at is not None and facts.crl_issued_at > at + CLOCK_SKEW:
        text = "The revocation list comes from the future: its issuer's clock cannot be relied on"
        raise NotValid(INDETERMINATE, Sub.TRY_LATER, "validation.crl_from_future", text)
    if facts.ocsp_produced_at is not None and facts.ocsp_produced_at > at + CLOCK_SKEW:
        raise NotValid(
            INDETERMINATE,
            Sub.TRY_LATER,
            "validation.ocsp_from_future",
            "The OCSP response comes from the future: its responder's clock cannot be relied on",
        )


# ------------------------------------------------------------------ time-marks


def find_time_mark(
    facts: Facts, certificate: x509.Certificate, parts: CertificateParts, trust: VerifiedTrust
) -> datetime | None:
    """BDOC 2.1 §6.1, read only: the responder's nonce is the digest of the signature value, its time is the proof.
    The responder's certificate has to be in the signature; none that a list merely names makes a time-mark.
    """
    problem = None
    for item in trust.find_issuers(
        parts.issuer_der, key_identifier=parts.authority_key_identifier(), service_type=CA_QC
    ):
        for response_der in facts.signature.ocsp_values_der:
            try:
                answer = verify_ocsp(response_der, certificate, parts, item, trust)
            except (Refused, Malformed):
                continue  # what is wrong with it is said where revocation is judged
            responder_der = certificate_der(answer.responder)
            if TIME_MARK_RESPONDERS.isdisjoint(parts_of(answer.responder).policies()):
                problem = "OCSP Responder does not meet TM requirements"
            elif responder_der not in response_der and responder_der not in facts.signature.certificate_values_der:
                problem = "OCSP Responder does not meet TM requirements: its certificate is not in the signature"
            elif not _is_time_mark(answer.nonce, facts.signature.signature_value):
                problem = "OCSP nonce is invalid"
            else:
                facts.time_mark_nonce = answer.nonce
                return answer.produced_at
    if problem:
        facts.error("validation.time_mark", problem)
    return None


def _is_time_mark(nonce: bytes | None, signature_value: bytes) -> bool:
    if nonce is None:
        return False
    try:
        reader = der.read_whole(nonce, max_bytes=256)  # DigestInfo, RFC 8017 §9.2
        hash_name = read_hash_identifier(reader.take(der.SEQUENCE))
        digest = reader.take(der.OCTET_STRING).content
        reader.finish()
    except Malformed:
        return False  # a nonce may be any octets: of an answer that somebody asked for in the ordinary way
    return hash_name != "sha1" and digest == hash_bytes(hash_name, signature_value)
