"""Validation of CAdES signatures in ASiC containers: EN 319 162-1 §4.3.3.3 and §4.4.4 around EN 319 102-1.

In ASiC-S the signature is over the data file; in ASiC-E over an ASiCManifest whose digests are those of the files. From
the signature value on, the ladder is the one of XAdES.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from lxml import etree

from digiid.formats import cms
from digiid.formats.asic import Container, Entry
from digiid.formats.asic.container import MAX_CMS_BYTES, MAX_MANIFEST_BYTES
from digiid.formats.asic.manifest import AsicManifest, parse_asic_manifest
from digiid.formats.cades import UnverifiedCades, parse_cades
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.certificate import check_usage, find_issuer
from digiid.formats.validation.facts import FAILED, INDETERMINATE, Facts, NotValid
from digiid.formats.validation.policy import find_weak_key
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
from digiid.formats.validation.time_stamps import judge_token, refuse_without_time_stamp, settle_signature_time
from digiid.formats.x509.parts import public_key_of
from digiid.formats.xades import UnverifiedSignature
from digiid.formats.xades.algorithms import SignatureMethod, hash_bytes
from digiid.kernel.errors import Malformed, Refused

Manifests = Sequence[tuple[Entry, AsicManifest]]
Sub = SubIndication

# What `verify_signer` refuses, in the words of EN 319 102-1 §5.2.3 and §5.2.7.
_NOT_INTACT: Final = (FAILED, Sub.SIG_CRYPTO_FAILURE, "The signature is not intact!")
_REFUSED: Final = {
    "cms.signer_certificate": (
        INDETERMINATE,
        Sub.NO_SIGNING_CERTIFICATE_FOUND,
        "It is not certain whose certificate the signature was made with",
    ),
    "cms.attributes": (FAILED, Sub.FORMAT_FAILURE, "The signed attributes do not say what they must"),
    "cms.digest": (FAILED, Sub.HASH_FAILURE, "The reference data object is not intact!"),
    "cms.algorithm": (INDETERMINATE, Sub.CRYPTO_CONSTRAINTS_FAILURE, "An algorithm that is not accepted"),
    "x509.algorithm": (INDETERMINATE, Sub.CRYPTO_CONSTRAINTS_FAILURE, "An algorithm that is not accepted"),
}
_UNNAMED_METHOD: Final = SignatureMethod("", "", "")


@dataclass(frozen=True, slots=True)
class CadesFrame:
    """What all CAdES signatures of a container share: manifests, and tokens over manifests, judged once."""

    manifests: tuple[tuple[Entry, AsicManifest], ...]
    archive_tokens: tuple[tuple[TimeStampTokenReport, frozenset[str]], ...]
    messages: tuple[Message, ...]


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
    container: Container, entry: Entry, frame: CadesFrame, *, trust: VerifiedTrust, at: datetime
) -> list[SignatureReport]:
    """Judge every signer of one signature file at `at`. Never raises for what is wrong with the signature.

    Raises: Malformed `asic.zip.…`.
    """
    try:
        signers = parse_cades(container.archive.read(entry, max_bytes=MAX_CMS_BYTES))
    except Malformed as error:
        if error.code.startswith("asic."):
            raise
        return [_unreadable(entry.name, error)]
    reports = [_validate(_Case(cades, container, entry.name, frame.manifests), trust, at) for cades in signers]
    return [_add_archive_tokens(report, frame) for report in reports]


def _add_archive_tokens(report: SignatureReport, frame: CadesFrame) -> SignatureReport:
    """Tokens over the signature file through a manifest: level LTA when one holds. They change no verdict."""
    stamps: list[TimeStampReport] = []
    for token, covered in frame.archive_tokens:
        if report.file_name in covered:
            indication = str(token.indication).removeprefix("TOTAL-")
            text = "; ".join(message.text for message in token.messages)
            stamps.append(TimeStampReport(indication, token.sub_indication, token.gen_at, token.tsu, text))
    messages = [
        Message(Severity.WARNING, "validation.archive_time_stamp", f"An archive time-stamp does not hold: {stamp.text}")
        for stamp in stamps
        if stamp.indication != "PASSED"
    ]
    signature_format = report.signature_format
    if any(stamp.indication == "PASSED" for stamp in stamps) and signature_format.endswith("_LT"):
        signature_format += "A"
    return replace(
        report,
        signature_format=signature_format,
        archive_time_stamps=tuple(stamps),
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
    scopes: list[Scope] = field(default_factory=list)


def _validate(case: _Case, trust: VerifiedTrust, at: datetime) -> SignatureReport:
    facts = Facts(_as_signature(case.cades))
    indication, sub = Indication.TOTAL_PASSED, None
    try:
        _climb(facts, case, trust, at)
    except NotValid as end:
        facts.error(end.code, end.text)
        indication, sub = end.indication, end.sub
    except Malformed as error:
        if error.code.startswith("asic.zip."):
            raise
        facts.error(error.code, f"The signature cannot be processed: {error.detail}")
        indication, sub = FAILED, Sub.FORMAT_FAILURE
    report = build_report(facts, case.file_name, indication, sub)
    signature_format = "CAdES_BASELINE_" + case.cades.level.replace("B", "B_BES")
    return replace(report, signature_format=signature_format, scopes=tuple(case.scopes), place=case.cades.place)


def _as_signature(cades: UnverifiedCades) -> UnverifiedSignature:
    """What the ladder reads of any signature. What only XML has is empty."""
    signature_id = "S-" + hashlib.sha256(cades.signer.signature).hexdigest().upper()
    return UnverifiedSignature(
        id=signature_id,
        method=cades.method or _UNNAMED_METHOD,
        c14n="",
        references=(),
        properties_hash_name=cades.hash_name,
        properties_digest=b"",
        signed_info=b"",
        signed_properties=b"",
        signature_value=cades.signer.signature,
        certificates_der=(),
        certificate_references=(),
        claimed_signing_at=cades.claimed_signing_at,
        claimed_roles=(),
        production_place=None,
        policy=cades.policy,
        media_types={},
        signature_time_stamps=(),
        archive_time_stamps=(),
        certificate_values_der=(),
        ocsp_values_der=cades.ocsp_der,
        crl_values=cades.crl_count,
        unknown_properties=cades.unknown_attributes,
        element=etree.Element("none"),
    )


def _climb(facts: Facts, case: _Case, trust: VerifiedTrust, at: datetime) -> None:
    cades, container = case.cades, case.container
    # 1 what is signed, by whom, and is the value theirs (§5.2.3, §5.2.7)
    over, manifest = _find_signed(case)
    verified = _verify(facts, cades, container, over)
    parts = verified.parts

    # 2 every data file is signed, through the manifest when there is one (EN 319 162-1 §4.4.4)
    if manifest is None:
        case.scopes.append(Scope(over.name, cades.hash_name, container.digest(over, cades.hash_name)))
    else:
        case.scopes += _check_manifest(facts, container, manifest)
    _check_coverage(facts, container, {scope.name for scope in case.scopes})

    # 3 proof of when: the earliest time-stamp that holds (§5.4, §5.5.4)
    value = cades.signer.signature
    for token_der in cades.signature_time_stamps_der:
        report = judge_token(token_der, lambda hash_name: hash_bytes(hash_name, value), trust=trust, at=at)
        facts.time_stamps.append(report)
    passed = [report.gen_at for report in facts.time_stamps if report.indication == "PASSED" and report.gen_at]
    best_at = settle_signature_time(facts, passed, at=at)

    # 4 the signer's certificate comes from a listed CA, and was valid and not revoked then (§5.2.5, §5.2.6)
    issuer = find_issuer(facts, verified.certificate, parts, trust, best_at, has_proof=bool(passed))
    check_usage(parts)
    check_revocation(facts, verified.certificate, parts, issuer, trust=trust, best_at=best_at, has_proof=bool(passed))

    # 5 what the policy asks of the signature itself (§5.2.8)
    if not passed:
        refuse_without_time_stamp(facts)
    check_not_from_future(facts, at)
    _check_attributes(facts, cades, verified, best_at)


def _find_signed(case: _Case) -> tuple[Entry, AsicManifest | None]:
    cades, container = case.cades, case.container
    if cades.hash_name not in ("sha256", "sha384", "sha512"):
        raise NotValid(
            INDETERMINATE,
            Sub.CRYPTO_CONSTRAINTS_FAILURE,
            "cms.algorithm",
            f"The hash {cades.hash_name} is not accepted",
        )
    if container.form == "ASiC-S":
        return container.data_files[0], None
    found = [item for item in case.manifests if item[1].signature_name == case.file_name]
    if len(found) != 1:
        text = f"{len(found)} manifests belong to the signature, one is needed"
        raise NotValid(FAILED, Sub.FORMAT_FAILURE, "validation.cades.manifest", text)
    return found[0]


def _verify(facts: Facts, cades: UnverifiedCades, container: Container, over: Entry) -> cms.VerifiedSigner:
    try:
        verified = cms.verify_signer(
            cades.signed_data, cades.signer, content_digest=container.digest(over, cades.hash_name)
        )
    except Refused as error:
        indication, sub, text = _REFUSED.get(error.code, _NOT_INTACT)
        raise NotValid(indication, sub, error.code, f"{text} ({error.detail})") from error
    facts.certificate = verified.certificate
    return verified


def _check_manifest(facts: Facts, container: Container, manifest: AsicManifest) -> list[Scope]:
    scopes = []
    for item in manifest.objects:
        entry = container.archive.find(item.name) if item.name else None
        if entry is None or entry.is_directory:
            raise NotValid(
                INDETERMINATE,
                Sub.SIGNED_DATA_NOT_FOUND,
                "validation.cades.object_missing",
                "The manifest entry object has not been found!",
            )
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


def _check_attributes(facts: Facts, cades: UnverifiedCades, verified: cms.VerifiedSigner, best_at: datetime) -> None:
    if cades.claimed_signing_at is None:
        raise NotValid(
            INDETERMINATE, Sub.SIG_CONSTRAINTS_FAILURE, "validation.signing_time", "The signing time is not stated"
        )
    if cades.policy not in (None, "implied"):
        raise NotValid(
            INDETERMINATE,
            Sub.SIGNATURE_POLICY_NOT_AVAILABLE,
            "validation.signature_policy",
            f"The signature policy {cades.policy} is not judged by this program",
        )
    weakness = find_weak_key(public_key_of(verified.certificate), at=best_at)
    if weakness:
        raise NotValid(
            INDETERMINATE,
            Sub.CRYPTO_CONSTRAINTS_FAILURE,
            "validation.weak_key",
            f"The signer's key was too weak at the time of signing: {weakness}",
        )
    for name in cades.unknown_attributes:
        facts.warn("validation.property_ignored", f"The attribute {name} was not taken into account")
    if cades.archive_time_stamp_count:
        facts.warn("validation.archive_time_stamp", "The archive time-stamp was not judged, and was not needed")
