"""Time-stamps in a signature: EN 319 102-1 V1.4.1 §5.4 for each, §5.6.3 for those that archive time-stamps protect.

A unit that a trusted list names itself is a trust anchor (§5.2.6): its service has to be granted when it stamped, and
its certificate may have run out since. A unit of a listed CA is judged at the time that is proven for the token: when
its certificate has run out by then, nothing tells an old token from one made yesterday with a stolen key.
The same goes for keys that have become too weak.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509

from digiid.formats import ocsp, tsp
from digiid.formats.trusted_list import TSA_QTST, ServiceCertificate, VerifiedTrust, granted_period
from digiid.formats.validation.facts import (
    CLOCK_SKEW,
    INDETERMINATE,
    Facts,
    NotValid,
    Proofs,
    SignedFiles,
    Sub,
)
from digiid.formats.validation.policy import find_weak_key
from digiid.formats.validation.report import SubIndication, TimeStampReport
from digiid.formats.validation.revocation_lists import find_revocation
from digiid.formats.x509.parts import public_key_of
from digiid.formats.x509.path import verify_path
from digiid.formats.xades import ArchiveImprints, UnverifiedSignature
from digiid.formats.xades.algorithms import hash_bytes
from digiid.formats.xades.parse import EncapsulatedTimeStamp
from digiid.kernel.errors import Malformed, Refused

_TSA: Final = "http://uri.etsi.org/TrstSvc/Svctype/TSA"  # TS 119 612 §5.5.1.2: not qualified

# What `verify_token` refuses, in the words of §5.4; the rest is a signature that does not hold.
_CRYPTO: Final = ("INDETERMINATE", Sub.CRYPTO_CONSTRAINTS_FAILURE)
_REFUSED: Final = {
    "tsp.imprint": _CRYPTO,
    "cms.algorithm": _CRYPTO,
    "x509.algorithm": _CRYPTO,
    "x509.public_key": _CRYPTO,
    "tsp.usage": ("INDETERMINATE", Sub.CHAIN_CONSTRAINTS_FAILURE),
    "tsp.time": ("INDETERMINATE", Sub.OUT_OF_BOUNDS_NO_POE),
    "cms.signer_certificate": ("INDETERMINATE", Sub.NO_SIGNING_CERTIFICATE_FOUND),
}
_NOT_INTACT: Final = ("FAILED", Sub.SIG_CRYPTO_FAILURE)

_NOT_LISTED: Final = (
    "validation.token.not_listed",
    "The certificate chain for timestamp is not trusted, it does not contain a trust anchor.",
)
_NOT_GRANTED: Final = (
    "validation.token.not_granted",
    "The time-stamping service was not granted when it made the time-stamp",
)

_REVOKED_UNIT: Final = (
    Sub.REVOKED_NO_POE,
    "The time-stamping unit's certificate was revoked, and nothing proves an earlier use",
)

# What is wrong with a time-stamp and describes the signature that rests on it as well.
_ABOUT_TIME: Final = {
    Sub.NO_CERTIFICATE_CHAIN_FOUND,
    Sub.CRYPTO_CONSTRAINTS_FAILURE,
    Sub.CRYPTO_CONSTRAINTS_FAILURE_NO_POE,
    Sub.OUT_OF_BOUNDS_NO_POE,
    Sub.REVOKED_NO_POE,
}

# The digest that a token has to be over, made with the hash of that name.
ImprintOf = Callable[[str], bytes]


def judge_token(
    token_der: bytes,
    imprint_of: ImprintOf,
    *,
    trust: VerifiedTrust,
    at: datetime,
    proven_at: datetime | None = None,
    certificates_der: Sequence[bytes] = (),
    about_units: "AboutUnits | None" = None,
) -> TimeStampReport:
    """The verdict about one token at `at`. `proven_at` is when the token is proven to have existed; without it, `at`.

    `certificates_der` may hold the unit's certificate when the token does not; `about_units` is what is said about it
    beside what is in the token.
    """
    proven_at = proven_at or at
    # 1 the token holds by itself
    try:
        token = _verify(token_der, certificates_der, trust)
    except Malformed as error:
        text = f"The time-stamp does not verify: {error.detail}"
        return TimeStampReport("FAILED", Sub.FORMAT_FAILURE, None, None, text, token_der=token_der)
    except Refused as error:
        indication, sub = _REFUSED.get(error.code, _NOT_INTACT)
        text = f"The time-stamp does not verify: {error.detail}"
        return TimeStampReport(indication, sub, None, None, text, token_der=token_der)
    report = TimeStampReport(
        "PASSED",
        None,
        token.gen_at,
        token.tsu,
        proven_at=proven_at,
        hash_name=token.hash_name,
        imprint=token.imprint,
        token_der=token_der,
    )

    # 2 it is over what it must be over
    is_intact, not_at_hand = True, None
    try:
        is_intact = imprint_of(token.hash_name) == token.imprint
    except Malformed as error:
        return _worse(report, "FAILED", Sub.FORMAT_FAILURE, f"What is stamped cannot be read: {error.detail}")
    except Refused as error:
        not_at_hand = f"What is stamped is not at hand: {error.detail}"
    if not is_intact:
        return _worse(report, "FAILED", Sub.HASH_FAILURE, "The time-stamp message imprint is not intact!")

    # 3 its unit was listed, and can still be relied on at the time that is proven for the token
    try:
        service = find_unit_service(token, trust)
    except Refused as error:
        return _worse(report, "INDETERMINATE", Sub.NO_CERTIFICATE_CHAIN_FOUND, error.detail)
    report = report._replace(tsu_issuer=None if service.der == token.tsu_der else service.certificate)
    if not_at_hand is not None:
        return _worse(report, "INDETERMINATE", Sub.SIGNED_DATA_NOT_FOUND, not_at_hand)
    problem = find_aged(token, service, proven_at, about_units)
    if problem is not None:
        return _worse(report, "INDETERMINATE", *problem)
    return refuse_from_future(report, at)


def _worse(report: TimeStampReport, indication: str, sub: SubIndication, text: str) -> TimeStampReport:
    return report._replace(indication=indication, sub_indication=sub, text=text)


def _verify(token_der: bytes, certificates_der: Sequence[bytes], trust: VerifiedTrust) -> tsp.VerifiedTimeStamp:
    try:
        return tsp.verify_token(token_der, known=trust.known)
    except Refused as error:
        if error.code != "cms.signer_certificate" or not certificates_der:
            raise
    return tsp.verify_token(token_der, extra_certificates_der=certificates_der)


def find_unit_service(token: tsp.VerifiedTimeStamp, trust: VerifiedTrust) -> ServiceCertificate:
    """The qualified time-stamping service, granted when the token was made, whose unit made it.

    Raises: Refused `validation.token.not_listed`, `.not_granted`, `.not_qualified`.
    """
    parts = token.tsu_parts
    problem = _NOT_LISTED
    for item in trust.find_services(token.tsu_der, service_type=TSA_QTST):
        if granted_period(item.service, (TSA_QTST,), token.gen_at):
            return item
        problem = _NOT_GRANTED
    issuers = trust.find_issuers(
        parts.issuer_der, key_identifier=parts.authority_key_identifier(), service_type=TSA_QTST
    )
    for item in issuers:
        if not granted_period(item.service, (TSA_QTST,), token.gen_at):
            problem = _NOT_GRANTED
            continue
        try:
            verify_path(token.tsu, intermediates=(), anchors=item.anchors, at=token.gen_at, leaf_parts=parts)
        except Refused as error:
            problem = (problem[0], f"{problem[1]} ({error.detail})")
            continue
        return item
    if trust.find_services(token.tsu_der, service_type=_TSA):
        raise Refused(
            "validation.token.not_qualified",
            "The certificate chain for timestamp is not trusted: the service is listed, but not as a qualified one",
        )
    raise Refused(*problem)


def find_aged(
    token: tsp.VerifiedTimeStamp,
    service: ServiceCertificate,
    proven_at: datetime,
    about_units: "AboutUnits | None" = None,
) -> tuple[SubIndication, str] | None:
    """Why a token that is first proven to have existed at `proven_at` can be no proof any more; None if it can. What is
    said about its unit counts here and in the token."""
    key = public_key_of(token.tsu)
    weakness = find_weak_key(key, at=token.gen_at)
    if weakness:
        return Sub.CRYPTO_CONSTRAINTS_FAILURE, f"The time-stamping unit's key was too weak: {weakness}"
    weakness = find_weak_key(key, at=proven_at)
    if weakness:
        text = f"The time-stamping unit's key is too weak by now, and nothing proves an earlier use: {weakness}"
        return Sub.CRYPTO_CONSTRAINTS_FAILURE_NO_POE, text
    if service.der == token.tsu_der:
        return None
    weakness = find_weak_key(public_key_of(service.certificate), at=proven_at)
    if weakness:
        text = f"The key of the unit's CA is too weak by now, and nothing proves an earlier use: {weakness}"
        return Sub.CRYPTO_CONSTRAINTS_FAILURE_NO_POE, text
    if proven_at > token.tsu_parts.not_after_at:
        text = "The time-stamping unit's certificate has run out, and nothing proves that it was used before that"
        return Sub.OUT_OF_BOUNDS_NO_POE, text
    for told in (AboutUnits(token.ocsp_der, token.crls_der), about_units):
        revoked_at = None if told is None else told.find_revocation(token, service)
        if revoked_at is not None and revoked_at <= proven_at:
            return _REVOKED_UNIT
    return None


@dataclass(slots=True)
class AboutUnits:
    """Answers and lists that may be about units of listed CAs; nobody has to say anything about one. They are held
    against each unit once, however many time-stamps it made."""

    ocsp_values_der: Sequence[bytes] = ()
    crl_values_der: Sequence[bytes] = ()
    beside: "AboutUnits | None" = None  # what several signatures share
    _found: dict[tuple[bytes, bytes], datetime | None] = field(default_factory=dict, repr=False)

    def find_revocation(self, token: tsp.VerifiedTimeStamp, service: ServiceCertificate) -> datetime | None:
        """When the token's unit was revoked, by the earliest word of who may speak for its CA."""
        key = (token.tsu_der, service.der)
        if key not in self._found:
            self._found[key] = self._find_revocation(token, service.certificate)
        found = [self._found[key], None if self.beside is None else self.beside.find_revocation(token, service)]
        return min((revoked_at for revoked_at in found if revoked_at is not None), default=None)

    def _find_revocation(self, token: tsp.VerifiedTimeStamp, issuer: x509.Certificate) -> datetime | None:
        listed_at = find_revocation(self.crl_values_der, token.tsu_parts, issuer)
        found = [] if listed_at is None else [listed_at]
        for response_der in self.ocsp_values_der:
            try:
                answer = ocsp.verify_response(response_der, certificate=token.tsu, issuer=issuer)
            except (Refused, Malformed):
                continue  # about another certificate, or by somebody who may not answer: says nothing
            if answer.status is ocsp.CertStatus.REVOKED and answer.revoked_at is not None:
                found.append(answer.revoked_at)
        return min(found, default=None)


def refuse_from_future(report: TimeStampReport, at: datetime) -> TimeStampReport:
    """A unit whose clock runs ahead of `at` proves no time: it could as well be behind."""
    if report.indication != "PASSED" or report.gen_at is None or report.gen_at <= at + CLOCK_SKEW:
        return report
    text = "The time-stamp comes from the future: its unit's clock cannot be relied on"
    return _worse(report, "INDETERMINATE", Sub.SIG_CONSTRAINTS_FAILURE, text)


def not_read(_hash_name: str) -> bytes:
    """Stands for the digest of what is not read again to judge a time-stamp. Raises: Refused."""
    raise Refused("validation.not_read", "the signature does not hold, so its files were not read again")


# ------------------------------------------------------------------ the time-stamps of one signature


def judge_time_stamps(facts: Facts, files: SignedFiles | None, *, trust: VerifiedTrust, at: datetime) -> list[datetime]:
    """Judge archive time-stamps, newest first, then signature time-stamps; the times of the latter that hold. Without
    `files` archive time-stamps are not held against what they cover, and prove nothing.

    Raises: NotValid, the time-stamps contradict one another.
    """
    facts.is_time_judged = True
    signature = facts.signature
    proofs = Proofs(at)
    about_units = AboutUnits(
        (*signature.time_stamp_ocsp_values_der, *signature.ocsp_values_der),
        (*signature.time_stamp_crl_values_der, *signature.crl_values_der),
    )
    if signature.archive_time_stamps:
        _judge_archive_time_stamps(facts, files, proofs, about_units, trust=trust, at=at)
        places = signature.revocation_places.items()
        facts.ocsp_proofs = {value_der: proofs.proven_at(place) for value_der, place in places}
    facts.ocsp_proven_at = at

    def over_value(c14n: str) -> ImprintOf:
        return lambda hash_name: hash_bytes(hash_name, signature.canonical_signature_value(c14n))

    for stamp in signature.signature_time_stamps:
        report = judge_token(
            stamp.token_der,
            over_value(stamp.c14n),
            trust=trust,
            at=at,
            proven_at=proofs.proven_at(stamp.place),
            certificates_der=signature.certificate_values_der,
            about_units=about_units,
        )
        facts.time_stamps.append(report)
    _check_order(facts, signature)
    return [report.gen_at for report in facts.time_stamps if report.indication == "PASSED" and report.gen_at]


def _judge_archive_time_stamps(
    facts: Facts,
    files: SignedFiles | None,
    proofs: Proofs,
    about_units: AboutUnits,
    *,
    trust: VerifiedTrust,
    at: datetime,
) -> None:
    """§5.6.3.4: the newest is judged now; each that holds proves what it covers, and so the ones before it."""
    signature = facts.signature
    imprints = None if files is None else ArchiveImprints(signature, files.stream, files.hashed)
    for stamp in reversed(signature.archive_time_stamps):

        def imprint_of(hash_name: str, stamp: EncapsulatedTimeStamp = stamp) -> bytes:
            return not_read(hash_name) if imprints is None else imprints.digest(hash_name, stamp.c14n, stamp=stamp)

        report = judge_token(
            stamp.token_der,
            imprint_of,
            trust=trust,
            at=at,
            proven_at=proofs.proven_at(stamp.place),
            certificates_der=signature.certificate_values_der,
            about_units=about_units,
        )
        facts.archive_time_stamps.insert(0, report)
        if report.indication == "PASSED" and report.gen_at is not None:
            proofs.covering.append((stamp.place, report.gen_at))
        else:
            tell_of_archive_time_stamp(facts, report)


def tell_of_archive_time_stamp(facts: Facts, report: TimeStampReport) -> None:
    """A warning for one that proves nothing and decides nothing; the others are `refuse_unfit_archive`'s."""
    if report.indication == "INDETERMINATE" and report.sub_indication is not Sub.NO_CERTIFICATE_CHAIN_FOUND:
        facts.warn("validation.archive_time_stamp", f"An archive time-stamp proves nothing: {report.text}")


def _check_order(facts: Facts, signature: UnverifiedSignature) -> None:
    """§5.5.4: what a time-stamp covers is not younger than it."""
    if not signature.archive_time_stamps:
        return

    def held(stamps: Sequence[EncapsulatedTimeStamp], reports: Sequence[TimeStampReport]) -> list[tuple[int, datetime]]:
        pairs = zip(stamps, reports, strict=True)
        return [(stamp.place, one.gen_at) for stamp, one in pairs if one.indication == "PASSED" and one.gen_at]

    archive = held(signature.archive_time_stamps, facts.archive_time_stamps)
    covered = archive + held(signature.signature_time_stamps, facts.time_stamps)
    for place, gen_at in archive:
        if any(before < place and covered_at > gen_at for before, covered_at in covered):
            raise NotValid(
                INDETERMINATE,
                Sub.TIMESTAMP_ORDER_FAILURE,
                "validation.time_stamp_order",
                "An archive time-stamp is older than a time-stamp that it covers",
            )


def refuse_unfit_archive(facts: Facts) -> None:
    """Raises: NotValid, an archive time-stamp is unfit."""
    problem = find_unfit(facts.archive_time_stamps)
    if problem is not None:
        raise problem


def tell_end(facts: Facts, end: NotValid) -> None:
    """Why the ladder ended; and that an archive time-stamp is unfit, which may be what lies behind."""
    facts.error(end.code, end.text)
    unfit = find_unfit(facts.archive_time_stamps)
    if unfit is not None and unfit.code != end.code:
        facts.error(unfit.code, unfit.text)


def find_unfit(archive_time_stamps: Sequence[TimeStampReport]) -> NotValid | None:
    """Something was changed after it was archived, or a unit made the time-stamp that no list names as a qualified one.
    The standard passes over such time-stamps where the rest stands by itself (§5.6.3.4); the state's policy and the
    validators of the field do not, and neither do we.
    """
    for report in archive_time_stamps:
        if report.sub_indication is Sub.NO_CERTIFICATE_CHAIN_FOUND:
            return NotValid(
                INDETERMINATE,
                Sub.NO_CERTIFICATE_CHAIN_FOUND,
                "validation.archive_time_stamp_not_qualified",
                f"An archive time-stamp is not a qualified one: {report.text}",
            )
        if report.indication == "FAILED":
            return NotValid(
                INDETERMINATE,
                Sub.SIG_CONSTRAINTS_FAILURE,
                "validation.archive_time_stamp_broken",
                f"An archive time-stamp is not intact: {report.text}",
            )
    return None


def settle_signature_time(facts: Facts, passed: Sequence[datetime], *, at: datetime) -> datetime:
    """Best signature time: the earliest of the time-stamps that hold (§5.5.4), else `at`. The others are told of."""
    for report in facts.time_stamps:
        if report.indication != "PASSED":
            tell = facts.warn if passed else facts.error
            tell("validation.time_stamp", f"Signature has an invalid timestamp: {report.text}")
    facts.best_signature_at = min(passed, default=None)
    return facts.best_signature_at or at


def refuse_without_time_stamp(facts: Facts, more: Sequence[TimeStampReport] = ()) -> None:
    """Raises: NotValid, why nothing proves when the signature was made. `more`: others that would have proven it."""
    stamps = [*facts.time_stamps, *more]
    if not stamps:
        raise NotValid(
            INDETERMINATE,
            Sub.SIG_CONSTRAINTS_FAILURE,
            "validation.no_time_stamp",
            "There is no signature time-stamp: nothing proves when it was signed",
        )
    report = stamps[0]
    # Only of a token that holds by itself: else there is no time at all to speak of.
    is_about_time = report.proven_at is not None and report.sub_indication in _ABOUT_TIME
    sub = report.sub_indication if is_about_time else None
    text = "No time-stamp of the signature holds: nothing proves when it was signed"
    raise NotValid(INDETERMINATE, sub or Sub.SIG_CONSTRAINTS_FAILURE, "validation.no_valid_time_stamp", text)
