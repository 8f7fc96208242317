"""Time-stamps around files and around old containers: ASiC-S with tokens (EN 319 162-1 §4.3), made, renewed, and looked
after before they age.

A stamp proves that a file was there at a time, whoever signed it or did not. An old container (DDOC, BDOC, ASiC-E, PDF)
goes in whole and keeps its bytes. Nothing leaves here that our own validator does not accept.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from digiid.formats.asic import DataFile, check_data_files, parse_container
from digiid.formats.asic.simple import apply_renewal, build_time_stamped_container, plan_renewal
from digiid.formats.validation import POLV4, Policy, Report, Severity, validate_container
from digiid.formats.validation.policy import weak_from
from digiid.formats.x509.parts import parts_of, public_key_of
from digiid.kernel.errors import Broken, Refused
from digiid.platform.documents.services import TrustServices

TIME_STAMP_HASH: Final = "sha512"
DUE_AHEAD: Final = timedelta(days=365)  # how long before a certificate runs out its token is renewed


_RUNS_OUT: Final = "The certificate of the newest time-stamp's unit runs out"
_TOO_WEAK: Final = "The key of the newest time-stamp's unit, or of its CA, becomes too weak"


@dataclass(frozen=True, slots=True)
class Due:
    """A document that wants a new time-stamp before `due_at`, and why. `code` is stable, `text` English."""

    file_name: str
    due_at: datetime
    code: str
    text: str


def time_stamp_document(file: DataFile, *, services: TrustServices, policy: Policy = POLV4) -> bytes:
    """An ASiC-S container around one file, whatever it is, with a token over its content.

    Raises:
        Malformed: `asic.data_file.…`; what is inside is a container that cannot be read in one single way.
        Refused: `tsp.…`, `trust.…`.
        Unavailable: the time-stamping authority does not answer.
        Broken: `documents.time_stamp.not_valid`, our own validator does not accept what was made.
    """
    # 1 the file can be put into a container
    check_data_files([file])
    # 2 a token over its content
    token_der, _ = services.tsa.fetch(hashlib.new(TIME_STAMP_HASH, file.content).digest(), TIME_STAMP_HASH)
    # 3 the container
    container = build_time_stamped_container(file, token_der, at=services.clock.now())
    # 4 our own verdict, or nothing
    _check_result(_judge(container, services, policy), tokens_before=0)
    return container


def time_stamp_files(
    files: Iterable[DataFile], *, services: TrustServices, policy: Policy = POLV4
) -> Iterator[tuple[DataFile, bytes]]:
    """Each file with its container, one after the other; an ASiC-S container holds one file. Raises what
    `time_stamp_document` raises."""
    for file in files:
        yield file, time_stamp_document(file, services=services, policy=policy)


def renew_time_stamp(container: bytes, *, services: TrustServices, policy: Policy = POLV4) -> bytes:
    """The same container with one token more, over everything that the tokens before it cover and over these tokens.
    No byte of what is there changes; the newest manifest gets another name.

    Raises:
        Malformed: `asic.…`; `asic.simple.not_time_stamped`.
        Refused: `documents.time_stamp.not_valid`, what is there does not hold, so that there is nothing to prolong;
            `tsp.…`, `trust.…`.
        Unavailable: the time-stamping authority does not answer.
        Broken: `documents.time_stamp.not_valid`.
    """
    # 1 a proof that does not hold is not prolonged
    parsed = parse_container(io.BytesIO(container))
    renewal = plan_renewal(parsed, hash_name=TIME_STAMP_HASH)
    before = _judge(container, services, policy)
    if not _holds(before):
        raise Refused(
            "documents.time_stamp.not_valid", _why(before), public="The time-stamps of the container are not valid."
        )
    # 2 a token over the manifest of everything
    token_der, _ = services.tsa.fetch(hashlib.new(TIME_STAMP_HASH, renewal.manifest).digest(), TIME_STAMP_HASH)
    # 3 the container
    renewed = apply_renewal(parsed, renewal, token_der, at=services.clock.now())
    # 4 our own verdict, or nothing
    _check_result(_judge(renewed, services, policy), tokens_before=len(before.time_stamp_tokens))
    return renewed


def find_due_time_stamps(reports: Sequence[Report], *, at: datetime, ahead: timedelta = DUE_AHEAD) -> tuple[Due, ...]:
    """Which documents want a (new) time-stamp: the newest token's unit or algorithm ages within `ahead`, its service is
    not granted any more, or the document is signed with SHA-1 and was never stamped. Soonest first."""
    found = [due for report in reports if (due := _find_due(report, at, ahead)) is not None]
    return tuple(sorted(found, key=lambda due: (due.due_at, due.file_name)))


def _find_due(report: Report, at: datetime, ahead: timedelta) -> Due | None:
    stamps = [token for token in report.time_stamp_tokens if token.is_valid and token.gen_at and token.tsu]
    if not stamps:
        if (report.form or "").startswith("DIGIDOC_XML") and not report.time_stamp_tokens:
            text = "The document is signed with SHA-1, and nothing proves how old it is"
            return Due(report.file_name, at, "documents.due.sha1", text)
        return None
    newest = max(stamps, key=lambda token: token.gen_at or at)
    assert newest.tsu is not None
    assert newest.gen_at is not None
    if newest.level != "QTSA":
        text = "The service that made the newest time-stamp is not a qualified one any more"
        return Due(report.file_name, at, "documents.due.not_granted", text)
    ages = [Due(report.file_name, parts_of(newest.tsu).not_after_at, "documents.due.certificate", _RUNS_OUT)]
    for holder in (newest.tsu, newest.tsu_issuer):
        weak_at = None if holder is None else weak_from(public_key_of(holder))
        if weak_at is None:
            continue
        ages.append(Due(report.file_name, weak_at, "documents.due.weak_key", _TOO_WEAK))
    due = min(ages, key=lambda age: age.due_at)
    return due if is_near(due.due_at, made_at=newest.gen_at, at=at, ahead=ahead) else None


def is_near(due_at: datetime, *, made_at: datetime, at: datetime, ahead: timedelta) -> bool:
    """Whether a time-stamp made at `made_at` that lasts until `due_at` is to be followed by another one at `at`. A unit
    that has not long to go stamps for as long as it can: not again before half of that time is over."""
    return due_at - at <= min(ahead, (due_at - made_at) / 2)


def _judge(container: bytes, services: TrustServices, policy: Policy) -> Report:
    return validate_container(io.BytesIO(container), trust=services.trust(), at=services.clock.now(), policy=policy)


def _holds(report: Report) -> bool:
    """Every token is valid and covers what it must. What is inside may be as invalid as it likes: that was stamped."""
    tokens = report.time_stamp_tokens
    about_tokens = ("validation.token.", "asic.")
    return (
        bool(tokens)
        and all(token.is_valid for token in tokens)
        and not any(
            message.severity is Severity.ERROR and message.code.startswith(about_tokens) for message in report.messages
        )
    )


def _check_result(report: Report, *, tokens_before: int) -> None:
    tokens = report.time_stamp_tokens
    warned = any(message for token in tokens for message in token.messages if message.severity is Severity.ERROR)
    if not _holds(report) or warned or len(tokens) <= tokens_before:
        raise Broken("documents.time_stamp.not_valid", f"our validator does not accept our own stamp: {_why(report)}")


def _why(report: Report) -> str:
    codes = [message.code for token in report.time_stamp_tokens for message in token.messages]
    codes += [message.code for message in report.messages]
    return ", ".join(codes) or "no reason recorded"
