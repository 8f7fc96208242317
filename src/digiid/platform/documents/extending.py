"""Signatures made to last: level T to LT, LT to LTA, and LTA again, before certificates or algorithms age.

What is there keeps its bytes; each new archive time-stamp covers everything before it, the former ones among it.
Nothing leaves here that our own validator does not accept.
"""

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509

from digiid.formats.asic import Container, Entry, parse_container
from digiid.formats.asic.archive import STORED, Part, build_archive, build_part, copy_part
from digiid.formats.validation import POLV4, Policy, Report, SignatureReport
from digiid.formats.validation.policy import weak_from
from digiid.formats.x509.parts import parts_of, public_key_of
from digiid.formats.xades import add_validation_values, parse_signatures
from digiid.kernel.errors import Broken, Conflict, DigiidError, NotFound, Refused
from digiid.platform.documents.files import read_file, write_whole
from digiid.platform.documents.judging import validate_document
from digiid.platform.documents.levels import Level, add_archive_time_stamp, certificate_values
from digiid.platform.documents.pades import extend_pdf
from digiid.platform.documents.prolonging import check_prolongable, confirm_status
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.time_stamping import (
    DUE_AHEAD,
    Due,
    find_due_time_stamps,
    is_near,
    renew_time_stamp,
)

ExtendedLevel = Literal["LT", "LTA"]


def extend_document(
    content: bytes, *, services: TrustServices, level: ExtendedLevel = "LTA", policy: Policy = POLV4
) -> bytes:
    """All signatures of a container or of a PDF file at `level`.

    Raises: what `extend_container` and `extend_pdf` raise.
    """
    if content.startswith(b"%PDF-"):
        return extend_pdf(content, services=services, level=Level(level), policy=policy)
    return extend_container(content, services=services, level=level, policy=policy)


def extend_container(
    container: bytes,
    *,
    services: TrustServices,
    level: ExtendedLevel = "LTA",
    signature_ids: Collection[str] | None = None,
    policy: Policy = POLV4,
) -> bytes:
    """The same container with all of its signatures, or those named by their Ids, at `level`.

    LTA gives each of them one archive time-stamp more, also when it has some. LT leaves alone what has it.

    Raises:
        Malformed: `asic.…`, `xades.…`.
        NotFound: `documents.signature`, there is none of that Id.
        Refused: `documents.container.not_valid`, a signature is not valid as it is; `documents.extend.level`, it has
            no time-stamp, or is not a XAdES signature; `documents.certificate.not_good`; `xades.archive.data`, the
            container holds digests in the place of files; `ocsp.…`, `tsp.…`, `trust.…`.
        Unavailable: a trust service does not answer.
        Broken: `documents.not_valid`, our own validator does not accept what was made.
    """
    # 1 what is not valid is not prolonged
    parsed = parse_container(io.BytesIO(container))
    before = _judge(container, services, policy)
    chosen = _choose(before, signature_ids)

    # 2 every signature file, as text with something put in
    changed: dict[str, bytes] = {}
    for entry in parsed.signature_files:
        xml = extended = parsed.read_signature_file(entry)
        for signature in chosen:
            if signature.file_name == entry.name:
                extended = _extend(extended, signature, parsed, services=services, level=level)
        if extended != xml:
            changed[entry.name] = extended
    if not changed:
        return container

    # 3 the container; every other entry keeps its packed bytes
    renewed = _replace_entries(parsed, changed, at=services.clock.now())

    # 4 our own verdict, or nothing
    _check_result(before, _judge(renewed, services, policy), chosen, level)
    return renewed


def _judge(container: bytes, services: TrustServices, policy: Policy) -> Report:
    return validate_document(io.BytesIO(container), trust=services.trust(), at=services.clock.now(), policy=policy)


def _choose(report: Report, signature_ids: Collection[str] | None) -> list[SignatureReport]:
    known = {signature.id for signature in report.signatures}
    for wanted in signature_ids or ():
        if wanted not in known:
            there = ", ".join(sorted(known)) or "none"
            raise NotFound("documents.signature", f"no signature {wanted!r}; the container has {there}")
    chosen = [one for one in report.signatures if signature_ids is None or one.id in signature_ids]
    if not chosen:
        raise Refused("documents.extend.level", "no signature", public="There is no signature to prolong.")
    for signature in chosen:
        if not signature.signature_format.startswith("XAdES"):
            raise Refused("documents.extend.level", f"{signature.id} is {signature.signature_format}")
        check_prolongable(signature)
    return chosen


def _extend(
    xml: bytes, signature: SignatureReport, parsed: Container, *, services: TrustServices, level: ExtendedLevel
) -> bytes:
    found = next(one for one in parse_signatures(xml) if one.id == signature.id)
    if found.level == "B":
        raise Refused("documents.extend.level", f"{signature.id} has no time-stamp to build on")
    if found.level == "T":
        xml = _complete(xml, signature, services=services)
    if level == "LT":
        return xml

    def stream(name: str) -> Iterator[bytes] | None:
        entry = parsed.find_data_file(name)
        return None if entry is None else parsed.archive.stream(entry)

    return add_archive_time_stamp(xml, signature.id, stream=stream, tsa=services.tsa)


def _complete(xml: bytes, signature: SignatureReport, *, services: TrustServices) -> bytes:
    """T to LT: the status of the certificate as of now, and the certificates that a later reader may not have."""
    ocsp_der, issuer, status = confirm_status(signature, services)
    stamps = [stamp.tsu for stamp in signature.time_stamps if stamp.tsu is not None]
    certificates = certificate_values([issuer, status.responder, *stamps])
    return add_validation_values(xml, signature.id, certificates_der=certificates, ocsp_der=ocsp_der)


def _replace_entries(parsed: Container, changed: dict[str, bytes], *, at: datetime) -> bytes:
    archive = parsed.archive

    def part(entry: Entry) -> Part:
        if entry.name not in changed:
            return copy_part(archive, entry)
        return build_part(entry.name, changed[entry.name], at=at, compress=entry.method != STORED)

    return build_archive([part(entry) for entry in archive.entries], comment=archive.comment)


def _check_result(before: Report, after: Report, chosen: Sequence[SignatureReport], level: ExtendedLevel) -> None:
    found = {(one.file_name, one.id): one for one in after.signatures}
    for signature in before.signatures:
        now = found.get((signature.file_name, signature.id))
        if now is None or (signature.is_valid and not now.is_valid):
            raise Broken("documents.not_valid", f"{signature.id} is not valid any more")
        if signature not in chosen:
            continue
        newest = now.archive_time_stamps[-1:] if level == "LTA" else ()
        is_stamped = level == "LT" or (
            len(now.archive_time_stamps) == len(signature.archive_time_stamps) + 1
            and all(stamp.indication == "PASSED" for stamp in newest)
        )
        if not now.is_valid or not is_stamped:
            codes = ", ".join(message.code for message in now.messages)
            raise Broken("documents.not_valid", f"our validator does not accept {signature.id} as made: {codes}")


# ------------------------------------------------------------------ before it is too late


def find_due(report: Report, at: datetime, *, ahead: timedelta = DUE_AHEAD) -> Due | None:
    """Whether a document wants a new (archive) time-stamp, by when and why: within `ahead` of `at` the certificate of a
    time-stamp's unit runs out, or its key becomes too weak, or that of the responder or CA that vouched for the signer;
    of those that no archive time-stamp covers yet. What is not valid is not due: nothing would prolong it."""
    if report.time_stamp_tokens or (report.form or "").startswith("DIGIDOC_XML"):
        return next(iter(find_due_time_stamps([report], at=at, ahead=ahead)), None)
    found = [
        due
        for signature in report.signatures
        if signature.is_valid
        for due, made_at in _ages(report, signature)
        if due.due_at <= at + ahead and (made_at is None or is_near(due.due_at, made_at=made_at, at=at, ahead=ahead))
    ]
    return min(found, key=lambda due: due.due_at, default=None)


def _ages(report: Report, signature: SignatureReport) -> Iterator[tuple[Due, datetime | None]]:
    """What ends when, and, of a time-stamp, when it was made."""
    archive = [stamp for stamp in signature.archive_time_stamps if stamp.indication == "PASSED"]
    proofs = {stamp.gen_at for stamp in archive}
    uncovered = [one for one in signature.time_stamps if one.indication == "PASSED" and one.proven_at not in proofs]
    # Each archive time-stamp covers the ones before it.
    uncovered += sorted(archive, key=lambda stamp: stamp.gen_at or report.validated_at)[-1:]
    about = f"the signature {signature.id}"
    for stamp in uncovered:
        if stamp.tsu is None:
            continue
        text = f"The certificate of a unit that made a time-stamp of {about} runs out"
        ends_at = parts_of(stamp.tsu).not_after_at
        yield Due(report.file_name, ends_at, "documents.due.certificate", text), stamp.gen_at
        for holder in (stamp.tsu, stamp.tsu_issuer):
            text = f"The key of a unit that made a time-stamp of {about}, or of its CA, becomes too weak"
            yield from ((due, stamp.gen_at) for due in _weak(report, holder, text))
    if signature.status_proven_at in proofs:
        return
    for signer in signature.status_signers:
        text = f"A key that the signer's status in {about} rests on, a responder's or a CA's, becomes too weak"
        yield from ((due, None) for due in _weak(report, signer, text))


def _weak(report: Report, certificate: x509.Certificate | None, text: str) -> Iterator[Due]:
    weak_at = None if certificate is None else weak_from(public_key_of(certificate))
    if weak_at is not None:
        yield Due(report.file_name, weak_at, "documents.due.weak_key", text)


@dataclass(frozen=True, slots=True)
class Extended:
    """What became of one file. `due` is None when nothing had to be done; `problem` is why it could not be."""

    path: Path
    due: Due | None
    problem: DigiidError | None = None

    @property
    def is_renewed(self) -> bool:
        return self.due is not None and self.problem is None


def extend_due(
    paths: Iterable[Path], *, services: TrustServices, ahead: timedelta = DUE_AHEAD, policy: Policy = POLV4
) -> Iterator[Extended]:
    """For a timer or a command: every container that ages within `ahead` gets a new time-stamp, one after the other.

    A file is replaced whole or not at all, and only if nobody changed it meanwhile; a second run finds nothing to do.
    What goes wrong with one file is told and does not stop the others.
    """
    for path in paths:
        due: Due | None = None
        try:
            before = read_file(path)
            report = _judge(before, services, policy).with_file_name(path.name)
            due = find_due(report, services.clock.now(), ahead=ahead)
            if due is not None:
                _renew_file(path, before, report, services=services, policy=policy)
        except DigiidError as error:
            yield Extended(path, due, error)
            continue
        yield Extended(path, due)


def _renew_file(path: Path, before: bytes, report: Report, *, services: TrustServices, policy: Policy) -> None:
    if report.form is None:
        renewed = extend_pdf(before, services=services, policy=policy)
    elif report.time_stamp_tokens:
        renewed = renew_time_stamp(before, services=services, policy=policy)
    else:
        valid = [signature.id for signature in report.signatures if signature.is_valid]
        renewed = extend_container(before, services=services, signature_ids=valid, policy=policy)
    if read_file(path) != before:
        raise Conflict("documents.container.changed", f"{path.name} was changed meanwhile")
    write_whole(path, renewed)
