"""Validation of a whole container: EN 319 162-1 §A.5 around EN 319 102-1."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import BinaryIO, NamedTuple

from digiid.formats.asic import Container, Entry, Limits, parse_container
from digiid.formats.asic.container import unnamed
from digiid.formats.asic.hashcode import EXPECTED_PROBLEMS, is_hashcode_container
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.cades import read_frame, validate_cades_file
from digiid.formats.validation.ddoc import validate_ddoc
from digiid.formats.validation.facts import TIME_MARK_POLICIES, ContainerFiles, SignedFiles
from digiid.formats.validation.hashcode import files_of
from digiid.formats.validation.policy import POLV4, Policy, apply_policy
from digiid.formats.validation.report import (
    Indication,
    Message,
    Report,
    Severity,
    SignatureReport,
    SubIndication,
)
from digiid.formats.validation.signature import validate_signature
from digiid.formats.validation.time_stamped import (
    MAX_NESTED_DEPTH,
    SNIFFED_BYTES,
    JudgeNested,
    container_messages,
    names_container,
    sniff,
    validate_time_stamped,
)
from digiid.formats.xades import UnverifiedSignature, parse_signatures
from digiid.kernel.errors import Malformed

MAX_PROOFS = 1024  # time-stamps, OCSP responses and revocation lists of all signatures together
MAX_SIGNATURES = 256  # each costs milliseconds, and a small file can hold tens of thousands


def validate_container(
    file: BinaryIO,
    *,
    trust: VerifiedTrust,
    at: datetime,
    policy: Policy = POLV4,
    file_name: str = "",
    limits: Limits | None = None,
    judge_pdf: JudgeNested | None = None,
) -> Report:
    """Judge every signature and time-stamp token of a container at `at`.

    Judged: ASiC-E with XAdES or CAdES; ASiC-S with XAdES, CAdES or time-stamp tokens, and in the last case the
    container inside, as of the time that is proven for it; hashcode containers, by their digests. A PDF file inside
    is judged by `judge_pdf`, as no parser of such files is pure.

    Raises: Malformed `asic.…`, `tsp.…`, `cms.…`, `ddoc.…`: it cannot be read as one container;
        `validation.too_many_signatures`, `validation.too_many_proofs`.
    """
    inside = _Inside(trust, policy, limits, judge_pdf)
    return _validate(file, at=at, file_name=file_name, inside=inside, depth=0)


class _Inside(NamedTuple):
    """What is the same for a container and for all that is nested in it."""

    trust: VerifiedTrust
    policy: Policy
    limits: Limits | None
    judge_pdf: JudgeNested | None


def _validate(file: BinaryIO, *, at: datetime, file_name: str, inside: _Inside, depth: int) -> Report:
    trust, policy = inside.trust, inside.policy
    # 1 the container, and by which of its files it is to be judged
    container = parse_container(file, inside.limits, may_be_unnamed=depth == 0, may_be_unlisted=True)
    if container.token_files and not (container.signature_files or container.cms_files):
        judge_nested = partial(_judge_nested, inside=inside, depth=depth + 1)
        return validate_time_stamped(
            container,
            trust=trust,
            at=at,
            policy=policy,
            file_name=file_name,
            judge_nested=judge_nested if depth < MAX_NESTED_DEPTH else None,
        )
    messages = list(container_messages(container))
    files: SignedFiles = ContainerFiles(container)
    names = tuple(entry.name for entry in container.data_files)
    if is_hashcode_container(container):
        files, names, told = files_of(container)
        messages = [*(one for one in messages if one.code not in EXPECTED_PROBLEMS), told]

    # 2 every signature by itself
    signatures: list[SignatureReport] = []
    met = _Met()
    for entry in container.signature_files:
        signatures += _validate_file(container, entry, files, trust, at=at, met=met)
        _check_count(signatures)
    if container.cms_files:
        frame = read_frame(container, trust=trust, at=at)
        messages += frame.messages
        for entry in container.cms_files:
            signatures += validate_cades_file(
                container, entry, frame, trust=trust, at=at, count_proofs=met.count_proofs
            )
            _check_count(signatures)
    else:  # what belongs to CAdES says nothing about XAdES
        for entry in (*container.asic_manifest_files, *container.token_files):
            text = f"'{entry.name}' is not covered by any signature"
            messages.append(Message(Severity.WARNING, "asic.unknown_meta_file", text))
    signatures = [apply_policy(signature, policy) for signature in signatures]

    # 3 a container without signatures proves nothing
    if not signatures:
        messages.append(Message(Severity.ERROR, "validation.no_signature", "The container has no signature"))
    return Report(
        form=container.form,
        policy_name=policy.name,
        policy_description=policy.description,
        validated_at=at,
        file_name=file_name,
        data_files=names,
        messages=tuple(messages),
        signatures=tuple(signatures),
    )


def _check_count(signatures: Sequence[SignatureReport]) -> None:
    if len(signatures) > MAX_SIGNATURES:
        raise Malformed("validation.too_many_signatures", f"more than {MAX_SIGNATURES} signatures in one container")


def _judge_nested(file: BinaryIO, name: str, at: datetime, *, inside: _Inside, depth: int) -> Report | None:
    """What was found inside a time-stamped container, judged as of `at`; None when it is nothing that is judged."""
    kind = sniff(file.read(SNIFFED_BYTES))
    file.seek(0)
    if kind == "DDOC":
        return validate_ddoc(file, trust=inside.trust, at=at, policy=inside.policy, file_name=name)
    if kind == "PDF":
        return None if inside.judge_pdf is None else inside.judge_pdf(file, name, at)
    if kind != "ZIP" or not names_container(file):
        return None
    return _validate(file, at=at, file_name=name, inside=inside, depth=depth)


@dataclass(slots=True)
class _Met:
    """What the signatures so far had: their values, and in which file each was met first; tokens and responses."""

    values: dict[bytes, str] = field(default_factory=dict)
    proofs: int = 0

    def count(self, signature: UnverifiedSignature) -> None:
        """Raises: Malformed `validation.too_many_proofs`."""
        stamps = len(signature.signature_time_stamps) + len(signature.archive_time_stamps)
        about_units = len(signature.time_stamp_ocsp_values_der) + len(signature.time_stamp_crl_values_der)
        self.count_proofs(stamps + len(signature.ocsp_values_der) + len(signature.crl_values_der) + about_units)

    def count_proofs(self, more: int) -> None:
        """Raises: Malformed `validation.too_many_proofs`."""
        self.proofs += more
        if self.proofs > MAX_PROOFS:
            text = f"more than {MAX_PROOFS} time-stamps, OCSP responses and revocation lists in one container"
            raise Malformed("validation.too_many_proofs", text)


def _validate_file(
    container: Container,
    entry: Entry,
    files: SignedFiles,
    trust: VerifiedTrust,
    *,
    at: datetime,
    met: _Met,
) -> list[SignatureReport]:
    name = entry.name
    try:
        unverified = parse_signatures(container.read_signature_file(entry))
    except Malformed as error:
        # Counted as a signature that failed: what cannot be read must not disappear from the count.
        return [
            SignatureReport(
                id=name,
                file_name=name,
                signature_format="XAdES",
                method_uri="",
                indication=Indication.TOTAL_FAILED,
                sub_indication=SubIndication.FORMAT_FAILURE,
                level="NA",
                certificate=None,
                messages=(
                    Message(Severity.ERROR, error.code, f"The signature file cannot be processed: {error.detail}"),
                ),
            )
        ]
    reports = []
    for signature in unverified:
        met.count(signature)
        if signature.policy in TIME_MARK_POLICIES and not container.names_its_form:
            raise unnamed(container.archive)  # BDOC 2.1 has no containers without it
        report = validate_signature(signature, files=files, file_name=name, trust=trust, at=at)
        first = met.values.get(signature.signature_value)
        met.values.setdefault(signature.signature_value, name)
        reports.append(report if first is None else _repeated(report, first))
    return reports


def _repeated(report: SignatureReport, first: str) -> SignatureReport:
    """Told of, and no more: the field's validators call such a container valid, and count two signatures."""
    text = f"This is the signature of {first} once more: it says nothing new, and is nobody else's"
    return report._replace(
        messages=(*report.messages, Message(Severity.WARNING, "validation.repeated_signature", text))
    )
