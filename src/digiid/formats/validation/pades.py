"""Validation of signed PDF files: EN 319 142-1 V1.2.1 around EN 319 102-1 V1.4.1.

The newest document time-stamp is judged at the time of validation; each that holds proves when everything before it in
the file existed: signatures, and the validation data in the store as it was. Stricter than ISO 32000-2 §12.8.2: after a
signature only further signatures, time-stamps and validation data may be appended; what a form was filled in with later
was not signed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from digiid.formats import cms, ocsp
from digiid.formats.cades import UnverifiedCades, parse_cades
from digiid.formats.pades import CADES_DETACHED, RFC3161, Changes, PdfSignature, SecurityStore, UnverifiedPdf
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.certificate import check_usage, find_issuer
from digiid.formats.validation.cms_signer import (
    as_signature,
    check_attributes,
    check_hash,
    check_signing_time,
    find_certificate,
    verify_cades,
)
from digiid.formats.validation.facts import FAILED, INDETERMINATE, Facts, NotValid
from digiid.formats.validation.policy import POLV4, Policy, apply_policy
from digiid.formats.validation.report import (
    Indication,
    Message,
    Report,
    Scope,
    Severity,
    SignatureReport,
    SubIndication,
    TimeStampReport,
    TimeStampTokenReport,
)
from digiid.formats.validation.revocation import check_not_from_future, check_revocation
from digiid.formats.validation.signature import build_report
from digiid.formats.validation.time_stamps import (
    AboutUnits,
    judge_token,
    refuse_unfit_archive,
    refuse_without_time_stamp,
    settle_signature_time,
    tell_end,
    tell_of_archive_time_stamp,
)
from digiid.formats.validation.told import tell_rest
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import Malformed, Refused

MAX_SIGNATURES: Final = 256
# How often signatures are held against lists and against the responses about their certificates, and how many of these
# there may be: thirty signers with four responses each make 120.
MAX_PROOFS: Final = 1024
Sub = SubIndication

_LATER: Final = {
    Changes.FILLED: ("validation.pades.filled", "Forms in the document were filled in after it was signed"),
    Changes.OTHER: ("validation.pades.changed", "The document was changed after it was signed"),
    Changes.UNCLEAR: ("validation.pades.changed", "What was appended after the document was signed cannot be told"),
}


@dataclass(frozen=True, slots=True)
class _DocumentTimeStamp:
    """A document time-stamp and the verdict about it."""

    signature: PdfSignature
    report: TimeStampReport
    stored: frozenset[bytes]  # responses and lists in the store that it covers

    @property
    def proves_at(self) -> datetime | None:
        return self.report.gen_at if self.report.indication == "PASSED" else None

    def may_cover(self, revision: int) -> bool:
        """It stands behind what was signed in that revision, or nobody can tell where it stands."""
        return self.signature.revision > revision or self.signature.revision < 0


def validate_pdf(
    pdf: UnverifiedPdf, *, trust: VerifiedTrust, at: datetime, policy: Policy = POLV4, file_name: str = ""
) -> Report:
    """Judge every signature and document time-stamp of a PDF file at `at`.

    Raises: Malformed `validation.too_many_signatures`, `validation.too_many_proofs`.
    """
    _check_counts(pdf)
    store = _Store(pdf.store)
    # 1 document time-stamps, newest first: each that holds is a proof for those before it
    stamps = _judge_time_stamps(pdf, store.about_units, trust=trust, at=at)

    # 2 every signature by itself
    met = _Met()
    signatures = [
        apply_policy(_validate(pdf, one, stamps, trust, at, store=store, met=met), policy)
        for one in pdf.signatures
        if not one.is_time_stamp
    ]

    # 3 time-stamps alone prove when the document existed, and nobody's will
    tokens: tuple[TimeStampTokenReport, ...] = ()
    messages: list[Message] = []
    if not signatures:
        tokens = tuple(_as_token(pdf, stamp) for stamp in stamps)
    if not signatures and not tokens:
        messages.append(Message(Severity.ERROR, "validation.no_signature", "The document has no signature"))
    if signatures:
        messages += _untold(pdf, stamps)
    return Report(
        form=None,
        policy_name=policy.name,
        policy_description=policy.description,
        validated_at=at,
        file_name=file_name,
        data_files=(),
        messages=tuple(messages),
        signatures=tuple(signatures),
        time_stamp_tokens=tokens,
    )


def _untold(pdf: UnverifiedPdf, stamps: Sequence["_DocumentTimeStamp"]) -> list[Message]:
    """Document time-stamps that prove nothing and that no signature's report speaks of: those before the first one."""
    first = min(one.revision for one in pdf.signatures if not one.is_time_stamp)
    texts = [stamp.report.text for stamp in stamps if stamp.proves_at is None and not stamp.may_cover(first)]
    return [
        Message(Severity.WARNING, "validation.archive_time_stamp", f"A document time-stamp does not hold: {text}")
        for text in texts
    ]


def _check_counts(pdf: UnverifiedPdf) -> None:
    if len(pdf.signatures) > MAX_SIGNATURES:
        raise Malformed("validation.too_many_signatures", f"more than {MAX_SIGNATURES} signatures in one document")
    if not pdf.signatures:
        return
    count, responses, lists = len(pdf.signatures), len(pdf.store.ocsp_der), len(pdf.store.crls_der)
    if responses + lists > MAX_PROOFS:
        text = f"OCSP responses: {responses}, revocation lists: {lists}; at most {MAX_PROOFS} are judged in one file"
        raise Malformed("validation.too_many_proofs", text)
    # Every signature is held against every list; against a response only when that is about its certificate.
    if count * (1 + lists) > MAX_PROOFS:
        text = f"signatures: {count}, revocation lists: {lists}; at most {MAX_PROOFS} pairs of them are judged"
        raise Malformed("validation.too_many_proofs", text)


@dataclass(slots=True)
class _Met:
    """What the signatures so far were held against: inside themselves, and of the responses in the store."""

    inside: int = 0
    stored: int = 0
    of_changed: int = 0  # of signatures that fail anyway: they take no room from the others

    def count(self, cades: UnverifiedCades, stored_ocsp_der: Sequence[bytes]) -> None:
        """Raises: Malformed `validation.too_many_proofs`."""
        self.inside += _count_pairs(cades)
        self.stored += len(stored_ocsp_der)
        if max(self.inside, self.stored) > MAX_PROOFS:
            text = f"signatures are held against OCSP responses and revocation lists {MAX_PROOFS} times at most"
            raise Malformed("validation.too_many_proofs", text)

    def has_room_for_changed(self, cades: UnverifiedCades, stored_ocsp_der: Sequence[bytes]) -> bool:
        """Counts what is told of a signature whose document was changed, as far as there is room for it."""
        more = _count_pairs(cades) + len(stored_ocsp_der)
        if self.of_changed + more > MAX_PROOFS:
            return False
        self.of_changed += more
        return True


def _count_pairs(cades: UnverifiedCades) -> int:
    return (1 + len(cades.signature_time_stamps_der)) * (len(cades.ocsp_der) + len(cades.crls_der))


class _Store:
    """The security store, its responses read once: which certificates each is about, and what is said about units."""

    def __init__(self, store: SecurityStore) -> None:
        self._answers = [(response_der, _serial_numbers(response_der)) for response_der in store.ocsp_der]
        self.about_units = AboutUnits(store.ocsp_der, store.crls_der)

    def find_ocsp(self, signer: cms.SignerInfo) -> tuple[bytes, ...]:
        """The responses that may be about the signer's certificate. What cannot be read is held against each."""
        if signer.serial_number is None:  # named by its key
            return tuple(response_der for response_der, _ in self._answers)
        wanted = signer.serial_number
        return tuple(response_der for response_der, about in self._answers if about is None or wanted in about)


def _serial_numbers(response_der: bytes) -> frozenset[int] | None:
    try:
        return ocsp.list_serial_numbers(response_der)
    except (Malformed, Refused):
        return None


# ------------------------------------------------------------------ document time-stamps


def _judge_time_stamps(
    pdf: UnverifiedPdf, about_units: AboutUnits, *, trust: VerifiedTrust, at: datetime
) -> list[_DocumentTimeStamp]:
    """Oldest first. The newest is judged now, the others as of the next one that holds (EN 319 102-1 §5.6.2.3)."""
    judged: list[_DocumentTimeStamp] = []
    proven_at = at
    for signature in reversed([one for one in pdf.signatures if one.is_time_stamp]):
        report = _judge_time_stamp(pdf, signature, about_units, trust=trust, at=at, proven_at=proven_at)
        store = signature.store or SecurityStore()
        judged.insert(0, _DocumentTimeStamp(signature, report, frozenset((*store.ocsp_der, *store.crls_der))))
        if report.indication == "PASSED" and report.gen_at is not None:
            proven_at = min(proven_at, report.gen_at)
    return judged


def _judge_time_stamp(
    pdf: UnverifiedPdf,
    signature: PdfSignature,
    about_units: AboutUnits,
    *,
    trust: VerifiedTrust,
    at: datetime,
    proven_at: datetime,
) -> TimeStampReport:
    try:
        _check_form(signature, RFC3161)
        changed = _find_change(signature)
        if changed is not None:
            raise changed
        token_der = signature.cms_der
    except NotValid as end:
        return TimeStampReport("FAILED", end.sub, None, None, end.text)
    except Malformed as error:
        return TimeStampReport("FAILED", Sub.FORMAT_FAILURE, None, None, f"It cannot be read: {error.detail}")
    return judge_token(
        token_der,
        lambda hash_name: pdf.digest(signature, hash_name),
        trust=trust,
        at=at,
        proven_at=proven_at,
        certificates_der=pdf.store.certificates_der,
        about_units=about_units,
    )


def _as_token(pdf: UnverifiedPdf, stamp: _DocumentTimeStamp) -> TimeStampTokenReport:
    report = stamp.report
    if report.indication == "PASSED":
        scopes = (_scope(pdf, stamp.signature, report.hash_name),)
        return TimeStampTokenReport(
            Indication.TOTAL_PASSED,
            None,
            report.gen_at,
            report.tsu,
            level="QTSA",
            scopes=scopes,
            tsu_issuer=report.tsu_issuer,
        )
    indication = FAILED if report.indication == "FAILED" else INDETERMINATE
    message = Message(Severity.ERROR, "validation.time_stamp", report.text)
    return TimeStampTokenReport(
        indication,
        report.sub_indication,
        report.gen_at,
        report.tsu,
        messages=(message,),
        tsu_issuer=report.tsu_issuer,
    )


# ------------------------------------------------------------------ signatures


@dataclass(slots=True)
class _Case:
    """One signature, the document time-stamps after it, and what it has been found to cover."""

    pdf: UnverifiedPdf
    store: _Store
    signature: PdfSignature
    stamps: Sequence[_DocumentTimeStamp]
    scopes: list[Scope] = field(default_factory=list)


def _validate(
    pdf: UnverifiedPdf,
    signature: PdfSignature,
    stamps: Sequence[_DocumentTimeStamp],
    trust: VerifiedTrust,
    at: datetime,
    *,
    store: _Store,
    met: _Met,
) -> SignatureReport:
    case = _Case(pdf, store, signature, [stamp for stamp in stamps if stamp.may_cover(signature.revision)])
    # 1 a CAdES signature by one signer, over the document as it was (EN 319 142-1 §4.1, §6.3)
    changed = _find_change(signature)
    try:
        _check_form(signature, CADES_DETACHED)
        cades = _parse(signature)
    except NotValid as end:
        return _unreadable(signature, end)
    except Malformed as error:
        text = f"The signature cannot be processed: {error.detail}"
        return _unreadable(signature, changed or NotValid(FAILED, Sub.FORMAT_FAILURE, error.code, text))
    stored_ocsp_der = store.find_ocsp(cades.signer)
    if changed is None:
        met.count(cades, stored_ocsp_der)
    elif not met.has_room_for_changed(cades, stored_ocsp_der):
        return _unreadable(signature, changed)

    # 2 what it is worth
    facts = Facts(as_signature(cades, stored_ocsp_der, pdf.store.crls_der))
    values_der = (*facts.signature.ocsp_values_der, *facts.signature.crl_values_der)
    facts.ocsp_proofs = _prove_revocation_data(case, cades, values_der)
    facts.archive_time_stamps = [stamp.report for stamp in case.stamps]
    indication, sub = Indication.TOTAL_PASSED, None
    try:
        if changed is not None:
            raise changed
        _climb(facts, case, cades, trust, at)
    except NotValid as end:
        tell_end(facts, end)
        indication, sub = end.indication, end.sub
    except Malformed as error:
        facts.error(error.code, f"The signature cannot be processed: {error.detail}")
        indication, sub = FAILED, Sub.FORMAT_FAILURE
    if indication is not Indication.TOTAL_PASSED:
        tell_rest(
            facts,
            find_certificate=partial(find_certificate, cades),
            prove_time=lambda: _judge_signature_time_stamps(facts, case, cades, trust=trust, at=at),
            trust=trust,
            at=at,
        )
    place = cades.place or ((("city", signature.location),) if signature.location else ())
    return build_report(facts, signature.field_name, indication, sub)._replace(
        signature_format=f"PAdES_BASELINE_{_level(case, cades)}",
        scopes=tuple(case.scopes),
        claimed_signing_at=signature.claimed_at or cades.claimed_signing_at,
        place=place,
        reason=signature.reason,
    )


def _check_form(signature: PdfSignature, sub_filter: str) -> None:
    """Raises: NotValid (FORMAT_FAILURE)."""
    if signature.problem:
        text = f"The signature field {signature.field_name}: {signature.problem}"
        raise NotValid(FAILED, Sub.FORMAT_FAILURE, "validation.pades.structure", text)
    if signature.sub_filter != sub_filter:
        text = f"The expected format is not found! ({signature.sub_filter or 'none'} in place of {sub_filter})"
        raise NotValid(FAILED, Sub.FORMAT_FAILURE, "validation.pades.sub_filter", text)


def _find_change(signature: PdfSignature) -> NotValid | None:
    """What was done to the document after it was signed, and must not have been."""
    if signature.changes is not None and signature.changes not in _LATER:
        return None
    code, text = _LATER[signature.changes or Changes.UNCLEAR]
    detail = f" ({signature.changed})" if signature.changed else ""
    return NotValid(FAILED, Sub.FORMAT_FAILURE, code, text + detail)


def _parse(signature: PdfSignature) -> UnverifiedCades:
    signers = parse_cades(signature.cms_der)
    if len(signers) != 1:
        raise NotValid(
            FAILED, Sub.FORMAT_FAILURE, "validation.pades.signers", "A signature in a PDF file has one signer"
        )
    return signers[0]


def _unreadable(signature: PdfSignature, end: NotValid) -> SignatureReport:
    # Counted as a signature that failed: what cannot be read must not disappear from the count.
    return SignatureReport(
        id=signature.field_name,
        file_name=signature.field_name,
        signature_format="PAdES",
        method_uri="",
        indication=end.indication,
        sub_indication=end.sub,
        level="NA",
        certificate=None,
        messages=(Message(Severity.ERROR, end.code, end.text),),
        claimed_signing_at=signature.claimed_at,
        reason=signature.reason,
    )


def _prove_revocation_data(
    case: _Case, cades: UnverifiedCades, values_der: Sequence[bytes]
) -> Mapping[bytes, datetime]:
    """When each OCSP response and revocation list is proven to have existed (EN 319 102-1 §5.6.2.3): at the earliest
    time-stamp that holds over a store that has it, or over the signature that has it inside."""
    inside = frozenset((*cades.ocsp_der, *cades.crls_der))
    proofs: dict[bytes, datetime] = {}
    for stamp in case.stamps:
        if stamp.proves_at is None:
            continue
        for value_der in values_der:
            if value_der in inside or value_der in stamp.stored:
                proofs[value_der] = min(proofs.get(value_der, stamp.proves_at), stamp.proves_at)
    return proofs


def _climb(facts: Facts, case: _Case, cades: UnverifiedCades, trust: VerifiedTrust, at: datetime) -> None:
    # 1 who signed, and is the value theirs (§5.2.3, §5.2.7)
    check_hash(cades)
    verified = verify_cades(facts, cades, case.pdf.digest(case.signature, cades.hash_name))
    parts = verified.parts
    if cades.archive_time_stamps_der or cades.unread_archive_count:
        # EN 319 142-1 §6.3 has no place for one there at any level.
        text = "An archive time-stamp inside the signature was not judged: PDF files have document time-stamps for that"
        facts.warn("validation.archive_time_stamp", text)
    case.scopes.append(_scope(case.pdf, case.signature, cades.hash_name))

    # 2 proof of when: the earliest time-stamp that holds, in the signature or over the document (§5.4, §5.5.4, §5.6)
    passed = _judge_signature_time_stamps(facts, case, cades, trust=trust, at=at)
    best_at = settle_signature_time(facts, passed, at=at)

    # 3 the signer's certificate comes from a listed CA, and was valid and not revoked then (§5.2.5, §5.2.6)
    facts.ocsp_proven_at = at
    issuer = find_issuer(facts, verified.certificate, parts, trust, best_at, has_proof=bool(passed))
    check_usage(parts)
    check_revocation(facts, verified.certificate, parts, issuer, trust=trust, best_at=best_at, has_proof=bool(passed))

    # 4 what the policy asks of the signature itself (§5.2.8; EN 319 142-1 §6.3 for the signing time)
    if not passed:
        refuse_without_time_stamp(facts, facts.archive_time_stamps)
    check_not_from_future(facts, at)
    refuse_unfit_archive(facts)
    check_signing_time(case.signature.claimed_at)
    if cms.ID_SIGNING_TIME in cades.signer.attributes:
        facts.warn("validation.pades.signing_time", "The signing time stands in the signed attributes too")
    check_attributes(facts, cades, verified, best_at)


def _judge_signature_time_stamps(
    facts: Facts, case: _Case, cades: UnverifiedCades, *, trust: VerifiedTrust, at: datetime
) -> list[datetime]:
    facts.is_time_judged = True
    proofs = [stamp.proves_at for stamp in case.stamps if stamp.proves_at is not None]
    proven_at = min(proofs, default=at)
    about_units = AboutUnits(cades.ocsp_der, cades.crls_der, case.store.about_units)
    for token_der in cades.signature_time_stamps_der:
        report = judge_token(
            token_der,
            lambda hash_name: hash_bytes(hash_name, cades.signer.signature),
            trust=trust,
            at=at,
            proven_at=proven_at,
            certificates_der=(*cades.signed_data.certificates_der, *case.pdf.store.certificates_der),
            about_units=about_units,
        )
        facts.time_stamps.append(report)
    passed = [report.gen_at for report in facts.time_stamps if report.indication == "PASSED" and report.gen_at]
    _check_order(case, passed)
    for stamp in case.stamps:
        tell_of_archive_time_stamp(facts, stamp.report)
    return [*passed, *proofs]


def _check_order(case: _Case, passed: Sequence[datetime]) -> None:
    """§5.5.4: what a time-stamp covers is not younger than it. Raises: NotValid."""
    newest = max(passed, default=None)
    for stamp in case.stamps:
        if stamp.proves_at is None:
            continue
        if newest is not None and newest > stamp.proves_at:
            raise NotValid(
                INDETERMINATE,
                Sub.TIMESTAMP_ORDER_FAILURE,
                "validation.time_stamp_order",
                "A document time-stamp is older than a time-stamp that it covers",
            )
        newest = stamp.proves_at


def _scope(pdf: UnverifiedPdf, signature: PdfSignature, hash_name: str) -> Scope:
    is_whole = signature.changes is Changes.NONE
    return Scope(
        "Full PDF" if is_whole else "Partial PDF",
        hash_name,
        pdf.digest(signature, hash_name),
        "FULL" if is_whole else "PARTIAL",
        content=f"The document ByteRange : {list(signature.byte_range)}",
    )


def _level(case: _Case, cades: UnverifiedCades) -> str:
    """EN 319 142-1 §6: by what is there and holds, where a document time-stamp makes LTA only over validation data."""
    stamped = bool(cades.signature_time_stamps_der) or bool(case.stamps)
    if not stamped:
        return "B"
    stored = case.pdf.store
    if not (cades.ocsp_der or cades.crls_der or stored.ocsp_der or stored.crls_der):
        return "T"
    archived = any(
        stamp.proves_at is not None
        and stamp.signature.store is not None
        and (stamp.signature.store.ocsp_der or stamp.signature.store.crls_der)
        for stamp in case.stamps
    )
    return "LTA" if archived else "LT"
