"""Validation of CAdES signatures in ASiC containers: EN 319 162-1 §4.3.3.3 and §4.4.4 around EN 319 102-1.

In ASiC-S the signature is over the data file; in ASiC-E over an ASiCManifest whose digests are those of the files. From
the signature value on, the ladder is the one of XAdES.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from digiid.formats.asic import Container, Entry
from digiid.formats.asic.container import MAX_CMS_BYTES, MAX_MANIFEST_BYTES
from digiid.formats.asic.manifest import AsicManifest, parse_asic_manifest
from digiid.formats.cades import ID_SIGNATURE_TIME_STAMP, UnverifiedCades, parse_cades
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.cades_archive import check_order, judge_archive_time_stamps
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
from digiid.formats.validation.report import (
    Indication,
    Message,
    Scope,
    Severity,
    SignatureReport,
    SubIndication,
    TimeStampReport,
    TimeStampTokenReport,
)
from digiid.formats.validation.revocation import check_not_from_future, check_revocation
from digiid.formats.validation.signature import build_report
from digiid.formats.validation.time_stamped import check_manifests_size, judge_archive_tokens
from digiid.formats.validation.time_stamps import (
    AboutUnits,
    find_unfit,
    judge_token,
    not_read,
    refuse_unfit_archive,
    refuse_without_time_stamp,
    settle_signature_time,
    tell_end,
)
from digiid.formats.validation.told import tell_rest
from digiid.formats.xades.algorithms import hash_bytes
from digiid.kernel.errors import Malformed

Manifests = Sequence[tuple[Entry, AsicManifest]]
Sub = SubIndication


@dataclass(frozen=True, slots=True)
class CadesFrame:
    """What all CAdES signatures of a container share: manifests, and tokens over manifests, judged once."""

    manifests: tuple[tuple[Entry, AsicManifest], ...]
    archive_tokens: tuple[tuple[TimeStampTokenReport, frozenset[str]], ...]
    messages: tuple[Message, ...]

    def known_at(self, name: str, at: datetime) -> datetime:
        """When the file of this name is proven to have existed: at the time of a token that holds, else at `at`."""
        holding = (token for token, covered in self.archive_tokens if name in covered)
        return min((each.gen_at for each in holding if each.gen_at and each.is_valid), default=at)


def read_frame(container: Container, *, trust: VerifiedTrust, at: datetime) -> CadesFrame:
    """Every ASiCManifest of the container; one that cannot be read is told of as an error.

    Raises: Malformed `asic.…`, `tsp.…`: a time-stamp token cannot be read.
    """
    found: list[tuple[Entry, AsicManifest]] = []
    messages: list[Message] = []
    check_manifests_size(container)
    for entry in container.asic_manifest_files:
        try:
            found.append((entry, parse_asic_manifest(container.archive.read(entry, max_bytes=MAX_MANIFEST_BYTES))))
        except Malformed as error:
            messages.append(Message(Severity.ERROR, error.code, f"{entry.name} cannot be read: {error.detail}"))
    named = {manifest.signature_name for _, manifest in found}
    known = {entry.name for entry in (*container.cms_files, *container.token_files)}
    for name in sorted(named - known):
        text = f"A manifest belongs to <{name}>, which is not in the container"
        messages.append(Message(Severity.ERROR, "asic.asic_manifest.no_signature", text))
    tokens = judge_archive_tokens(container, trust=trust, at=at) if container.token_files and not messages else ()
    return CadesFrame(tuple(found), tokens, tuple(messages))


def validate_cades_file(
    container: Container,
    entry: Entry,
    frame: CadesFrame,
    *,
    trust: VerifiedTrust,
    at: datetime,
    count_proofs: Callable[[int], None],
) -> list[SignatureReport]:
    """Judge every signer of one signature file at `at`. Never raises for what is wrong with the signature.
    `count_proofs` is told how many time-stamps and revocation values there are before they are judged.

    Raises: Malformed `asic.zip.…`, or what `count_proofs` raises.
    """
    try:
        signers = parse_cades(container.archive.read(entry, max_bytes=MAX_CMS_BYTES))
    except Malformed as error:
        if error.code.startswith("asic."):
            raise
        return [_unreadable(entry.name, error)]
    for cades in signers:
        stamps = len(cades.signature_time_stamps_der) + len(cades.archive_time_stamps_der)
        count_proofs(stamps + len(cades.ocsp_der) + len(cades.crls_der))
    known_at = frame.known_at(entry.name, at)
    cases = [_Case(cades, container, entry.name, frame.manifests, known_at) for cades in signers]
    reports = [_validate(case, trust, at) for case in cases]
    return [_add_archive_tokens(report, frame) for report in reports]


def _add_archive_tokens(report: SignatureReport, frame: CadesFrame) -> SignatureReport:
    """Tokens over the signature file through a manifest: level LTA when one holds; one that is unfit is never passed
    over."""
    stamps: list[TimeStampReport] = []
    for token, covered in frame.archive_tokens:
        if report.file_name in covered:
            indication = str(token.indication).removeprefix("TOTAL-")
            text = "; ".join(message.text for message in token.messages)
            stamp = TimeStampReport(
                indication, token.sub_indication, token.gen_at, token.tsu, text, tsu_issuer=token.tsu_issuer
            )
            stamps.append(stamp)
    messages = [
        Message(Severity.WARNING, "validation.archive_time_stamp", f"An archive time-stamp does not hold: {stamp.text}")
        for stamp in stamps
        if stamp.indication != "PASSED"
    ]
    problem = find_unfit(stamps) if report.is_valid else None
    if problem is not None:
        level = f"{problem.indication}_{report.level}"
        report = report._replace(indication=problem.indication, sub_indication=problem.sub, level=level)
        messages = [Message(Severity.ERROR, problem.code, problem.text)]
    signature_format = report.signature_format
    if any(stamp.indication == "PASSED" for stamp in stamps) and signature_format.endswith("_LT"):
        signature_format += "A"
    return report._replace(
        signature_format=signature_format,
        archive_time_stamps=(*report.archive_time_stamps, *stamps),
        messages=(*report.messages, *messages),
    )


def _unreadable(name: str, error: Malformed) -> SignatureReport:
    # Counted as a signature that failed: what cannot be read must not disappear from the count.
    text = f"The signature file cannot be processed: {error.detail}"
    return SignatureReport(
        id=name,
        file_name=name,
        signature_format="CAdES",
        method_uri="",
        indication=FAILED,
        sub_indication=Sub.FORMAT_FAILURE,
        level="NA",
        certificate=None,
        messages=(Message(Severity.ERROR, error.code, text),),
    )


@dataclass(slots=True)
class _Case:
    """One signer, where its signature stands, and what it has been found to cover."""

    cades: UnverifiedCades
    container: Container
    file_name: str
    manifests: Manifests
    known_at: datetime  # when all of the signature file is proven to have existed
    scopes: list[Scope] = field(default_factory=list)


def _validate(case: _Case, trust: VerifiedTrust, at: datetime) -> SignatureReport:
    facts = Facts(as_signature(case.cades))
    indication, sub = Indication.TOTAL_PASSED, None
    try:
        _climb(facts, case, trust, at)
    except NotValid as end:
        tell_end(facts, end)
        indication, sub = end.indication, end.sub
    except Malformed as error:
        if error.code.startswith("asic.zip."):
            raise
        facts.error(error.code, f"The signature cannot be processed: {error.detail}")
        indication, sub = FAILED, Sub.FORMAT_FAILURE
    if indication is not Indication.TOTAL_PASSED:
        tell_rest(
            facts,
            find_certificate=partial(find_certificate, case.cades),
            prove_time=lambda: _judge_time_stamps(facts, case, not_read, trust=trust, at=at),
            trust=trust,
            at=at,
        )
    report = build_report(facts, case.file_name, indication, sub)
    signature_format = "CAdES_BASELINE_" + case.cades.level.replace("B", "B_BES")
    return report._replace(signature_format=signature_format, scopes=tuple(case.scopes), place=case.cades.place)


def _climb(facts: Facts, case: _Case, trust: VerifiedTrust, at: datetime) -> None:
    cades, container = case.cades, case.container
    # 1 what is signed, by whom, and is the value theirs (§5.2.3, §5.2.7)
    check_hash(cades)
    over, manifest = _find_signed(case)
    verified = verify_cades(facts, cades, container.digest(over, cades.hash_name))
    parts = verified.parts
    if cades.unread_archive_count:
        facts.warn("validation.archive_time_stamp", "An archive time-stamp of version 1 or 2 was not judged")

    # 2 every data file is signed, through the manifest when there is one (EN 319 162-1 §4.4.4)
    if manifest is None:
        case.scopes.append(Scope(over.name, cades.hash_name, container.digest(over, cades.hash_name)))
    else:
        case.scopes += _check_manifest(facts, container, manifest)
    _check_coverage(facts, container, {scope.name for scope in case.scopes})

    # 3 proof of when: the earliest time-stamp that holds (§5.4, §5.5.4), itself protected by archive time-stamps (§5.6)
    passed = _judge_time_stamps(facts, case, partial(container.digest, over), trust=trust, at=at)
    best_at = settle_signature_time(facts, passed, at=at)

    # 4 the signer's certificate comes from a listed CA, and was valid and not revoked then (§5.2.5, §5.2.6)
    issuer = find_issuer(facts, verified.certificate, parts, trust, best_at, has_proof=bool(passed))
    check_usage(parts)
    check_revocation(facts, verified.certificate, parts, issuer, trust=trust, best_at=best_at, has_proof=bool(passed))

    # 5 what the policy asks of the signature itself (§5.2.8)
    if not passed:
        refuse_without_time_stamp(facts)
    check_not_from_future(facts, at)
    refuse_unfit_archive(facts)
    check_signing_time(cades.claimed_signing_at)
    check_attributes(facts, cades, verified, best_at)


def _judge_time_stamps(
    facts: Facts, case: _Case, content_digest: Callable[[str], bytes], *, trust: VerifiedTrust, at: datetime
) -> list[datetime]:
    """Judge archive time-stamps, newest first, then signature time-stamps; the times of the latter that hold.

    Raises: NotValid, the time-stamps contradict one another; Malformed `der.…`, `asic.zip.…`.
    """
    facts.is_time_judged = True
    cades = case.cades
    about_units = AboutUnits(cades.ocsp_der, cades.crls_der)
    proofs = judge_archive_time_stamps(
        facts, cades, content_digest, about_units, trust=trust, at=at, known_at=case.known_at
    )
    facts.ocsp_proven_at, facts.ocsp_proofs = case.known_at, proofs.of_revocation(cades)
    for token_der in cades.signature_time_stamps_der:
        report = judge_token(
            token_der,
            lambda hash_name: hash_bytes(hash_name, cades.signer.signature),
            trust=trust,
            at=at,
            proven_at=proofs.proven_at(ID_SIGNATURE_TIME_STAMP, token_der),
            certificates_der=cades.signed_data.certificates_der,
            about_units=about_units,
        )
        facts.time_stamps.append(report)
    check_order(facts, proofs)
    return [report.gen_at for report in facts.time_stamps if report.indication == "PASSED" and report.gen_at]


def _find_signed(case: _Case) -> tuple[Entry, AsicManifest | None]:
    container = case.container
    if container.form == "ASiC-S":
        return container.data_files[0], None
    found = [item for item in case.manifests if item[1].signature_name == case.file_name]
    if len(found) != 1:
        text = f"{len(found)} manifests belong to the signature, one is needed"
        raise NotValid(FAILED, Sub.FORMAT_FAILURE, "validation.cades.manifest", text)
    return found[0]


def _check_manifest(facts: Facts, container: Container, manifest: AsicManifest) -> list[Scope]:
    scopes = []
    for item in manifest.objects:
        entry = container.archive.find(item.name) if item.name else None
        if entry is None or entry.is_directory:
            text = f"The manifest entry object has not been found! ({item.told_name})"
            raise NotValid(INDETERMINATE, Sub.SIGNED_DATA_NOT_FOUND, "validation.cades.object_missing", text)
        if container.digest(entry, item.hash_name) != item.digest:
            text = f"The manifest entry object is not intact! ({item.name})"
            raise NotValid(FAILED, Sub.HASH_FAILURE, "validation.cades.object", text)
        if item.hash_name in ("sha1", "sha224"):
            name = item.hash_name.upper()
            facts.warn("validation.weak_hash", f"The algorithm {name} is weak; it must not be used any more")
        scopes.append(Scope(item.name, item.hash_name, item.digest))
    return scopes


def _check_coverage(facts: Facts, container: Container, signed: set[str]) -> None:
    missing = [entry.name for entry in container.data_files if entry.name not in signed]
    for name in missing:
        text = f"Container contains a file named <{name}> which is not found in the signature file"
        facts.error("validation.file_not_signed", text)
    if missing or any(problem.is_error for problem in container.problems):
        raise NotValid(
            FAILED, Sub.FORMAT_FAILURE, "validation.container", "The container and the signature do not fit together"
        )
