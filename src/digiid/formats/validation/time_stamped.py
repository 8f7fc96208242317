"""Validation of containers with time-stamp tokens and no signature: EN 319 162-1 §4.3, §4.4.4, §A.7 around EN 319 102-1
§5.4.

In ASiC-S a token is over the data file itself, or over an ASiCArchiveManifest whose digests it vouches for; in ASiC-E
always over a manifest. A container inside ASiC-S is judged as of the earliest time at which a token that holds proves
that it was there, and so on at most three deep.

A token is QTSA when the unit's service was granted when the token was made, and still is at the time that proves that
the token existed: that of the next token over it, else today. It is TSA when the service is not granted any more.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import BinaryIO, Final

from cryptography import x509

from digiid.formats import tsp
from digiid.formats.asic import Container, Entry
from digiid.formats.asic.archive import STORED, parse_archive
from digiid.formats.asic.container import MAX_MANIFEST_BYTES, MAX_TOKEN_BYTES, MIMETYPE_NAME
from digiid.formats.asic.manifest import AsicManifest, parse_asic_manifest
from digiid.formats.trusted_list import TSA_QTST, ServiceCertificate, VerifiedTrust, granted_period
from digiid.formats.validation.facts import CLOCK_SKEW
from digiid.formats.validation.policy import Policy
from digiid.formats.validation.report import (
    Indication,
    Message,
    Report,
    Scope,
    Severity,
    SubIndication,
    TimeStampTokenReport,
)
from digiid.formats.validation.time_stamps import find_aged, find_unit_service
from digiid.kernel.errors import Malformed, Refused

MAX_NESTED_DEPTH: Final = 3
MAX_NESTED_BYTES: Final = 64 * 1024 * 1024  # of a compressed container inside; one that is stored is read in place
_MAX_TOKENS: Final = 500
_MAX_ANSWERS: Final = 512  # OCSP responses and revocation lists in the tokens of one container
_MAX_MANIFESTS_BYTES: Final = 24 * 1024 * 1024  # two hundred renewals need 13
SNIFFED_BYTES: Final = 4096
_MAX_CONTENTS_TOLD: Final = 10_000  # names in a container inside, once for every token over it

_NOT_COVERING: Final = "The time-stamp token does not cover container datafile!"
_NOT_GRANTED_NOW: Final = "The certificate is not related to a granted status at time-stamp lowest POE time!"
_PASSED, _FAILED, _INDETERMINATE = Indication.TOTAL_PASSED, Indication.TOTAL_FAILED, Indication.INDETERMINATE
Sub = SubIndication

# What `verify_token` refuses, in the words of EN 319 102-1 §5.4.
_NOT_INTACT: Final = (_FAILED, Sub.SIG_CRYPTO_FAILURE, "The signature is not intact!")
_CRYPTO: Final = (
    _INDETERMINATE,
    Sub.CRYPTO_CONSTRAINTS_FAILURE,
    "The time-stamp uses an algorithm that is not accepted",
)
_REFUSED: Final = {
    "tsp.imprint": _CRYPTO,
    "cms.algorithm": _CRYPTO,
    "x509.algorithm": _CRYPTO,
    "x509.public_key": _CRYPTO,
    "tsp.usage": (
        _INDETERMINATE,
        Sub.CHAIN_CONSTRAINTS_FAILURE,
        "The certificate of the time-stamp is not one for time-stamping",
    ),
    "tsp.time": (
        _INDETERMINATE,
        Sub.OUT_OF_BOUNDS_NO_POE,
        "The certificate of the time-stamp was not valid when it was made",
    ),
    "cms.signer_certificate": (
        _INDETERMINATE,
        Sub.NO_SIGNING_CERTIFICATE_FOUND,
        "It is not certain which unit made the time-stamp",
    ),
}

# Judges what is inside: a file of that name as of a time; None when nobody here judges such files.
JudgeNested = Callable[[BinaryIO, str, datetime], Report | None]


@dataclass(slots=True)
class _Token:
    """One token with what it is over, and what has been found out about it."""

    entry: Entry
    verified: tsp.VerifiedTimeStamp | None
    problem: Refused | None
    manifest_entry: Entry | None = None
    manifest: AsicManifest | None = None
    indication: Indication = _INDETERMINATE
    sub: SubIndication | None = None
    service: ServiceCertificate | None = None
    level: str = "N/A"
    messages: list[Message] = field(default_factory=list)
    scopes: tuple[Scope, ...] = ()
    covered: frozenset[str] = frozenset()  # by the manifest

    @property
    def gen_at(self) -> datetime | None:
        return None if self.verified is None else self.verified.gen_at

    def fail(self, indication: Indication, sub: SubIndication, code: str, text: str) -> None:
        """What is proven to be wrong decides over what is not known, else the first reason; every reason is told."""
        self.messages.append(Message(Severity.ERROR, code, text))
        if self.sub is None or (indication is _FAILED and self.indication is not _FAILED):
            self.indication, self.sub = indication, sub

    def warn(self, code: str, text: str) -> None:
        self.messages.append(Message(Severity.WARNING, code, text))


@dataclass(frozen=True, slots=True)
class TimeStampedVerdict:
    """`tokens` as they are reported; `proven_at` is the earliest time that a token which holds proves the data file."""

    tokens: tuple[TimeStampTokenReport, ...]
    messages: tuple[Message, ...]
    proven_at: datetime | None


def validate_time_stamped(
    container: Container,
    *,
    trust: VerifiedTrust,
    at: datetime,
    policy: Policy,
    file_name: str,
    judge_nested: JudgeNested | None,
) -> Report:
    """Judge a time-stamped container at `at`. `judge_nested` judges a container inside; None when it lies too
    deep to be judged.

    Raises: what `judge_tokens` raises; Malformed when what is inside is a container that cannot be read.
    """
    # 1 the container and its tokens
    verdict = judge_tokens(container, trust=trust, at=at)
    report = Report(
        form=container.form,
        policy_name=policy.name,
        policy_description=policy.description,
        validated_at=at,
        file_name=file_name,
        data_files=tuple(entry.name for entry in container.data_files),
        messages=(*container_messages(container), *verdict.messages),
        signatures=(),
        time_stamp_tokens=verdict.tokens,
    )

    # 2 what is inside, as of the time that is proven for it; without proof nothing inside is judged
    if verdict.proven_at is None or container.form != "ASiC-S":
        return report
    data_file = container.data_files[0]
    kind = sniff_nested(container, data_file)
    if kind == "PDF":
        return _with_pdf(report, container, verdict.proven_at, judge_nested)
    if kind is None:
        return report
    if judge_nested is None:
        text = f"{data_file.name} was not judged: containers are judged {MAX_NESTED_DEPTH} deep"
        return _with(report, Severity.ERROR, "validation.nested.depth", text)
    inside = open_nested(container, data_file)
    nested = judge_nested(inside, data_file.name, verdict.proven_at)
    if nested is None:
        return report
    if kind == "ZIP":
        report = _tell_contents(report, inside, name=data_file.name)
    return merge_nested(report, nested, name=data_file.name)


def _tell_contents(report: Report, inside: BinaryIO, *, name: str) -> Report:
    """The report with what stands in the container inside among what the tokens over it cover, as SiVa tells it."""
    inside.seek(0)
    try:
        names = [entry.name for entry in parse_archive(inside).entries if not entry.is_directory]
    except Malformed:
        names = []  # who judges larger ones than the usual is told of the whole
    over = [token.is_valid and any(scope.name == name for scope in token.scopes) for token in report.time_stamp_tokens]
    if sum(over) * len(names) > _MAX_CONTENTS_TOLD:
        names = []
    contents = tuple(Scope(each, "", b"", kind="ARCHIVED", content="ASiCS archive content") for each in names)

    def told(token: TimeStampTokenReport) -> TimeStampTokenReport:
        scopes = [each._replace(content="ASiCS archive") if each.name == name else each for each in token.scopes]
        return replace(token, scopes=(*scopes, *contents))

    tokens = zip(report.time_stamp_tokens, over, strict=True)
    return replace(report, time_stamp_tokens=tuple(told(token) if is_over else token for token, is_over in tokens))


def _with_pdf(report: Report, container: Container, proven_at: datetime, judge_nested: JudgeNested | None) -> Report:
    """The signatures of a PDF file inside. Any such file may be stamped, also one that is read by nobody here: the
    stamp holds all the same, and the report says that nothing was judged."""
    data_file, nested, why = container.data_files[0], None, ""
    try:
        if judge_nested is not None:
            nested = judge_nested(open_nested(container, data_file), data_file.name, proven_at)
    except Malformed as error:
        why = f" ({error.detail})"
    if nested is not None:
        return merge_nested(report, nested, name=data_file.name)
    text = f"The signatures inside {data_file.name} were not judged{why}; take the file out and judge it by itself"
    return _with(report, Severity.WARNING, "validation.nested.pdf", text)


def container_messages(container: Container) -> tuple[Message, ...]:
    """What is odd about the container itself."""
    return tuple(
        Message(Severity.ERROR if problem.is_error else Severity.WARNING, problem.code, problem.message)
        for problem in container.problems
    )


def _with(report: Report, severity: Severity, code: str, text: str) -> Report:
    return replace(report, messages=(*report.messages, Message(severity, code, text)))


def judge_tokens(container: Container, *, trust: VerifiedTrust, at: datetime) -> TimeStampedVerdict:
    """The verdict about every time-stamp token of a container without signatures.

    Raises: Malformed `asic.…`, `tsp.…`, `cms.…`, `der.…`, `ber.…`: a token or a manifest cannot be read, or two of them
        contradict one another.
    """
    # 1 read every token and what it is over
    messages: list[Message] = []
    tokens = _read_tokens(container, messages)
    data_names = {entry.name for entry in container.data_files}

    # 2 each token by itself: by a unit that was listed, over what is there
    for token in tokens:
        _judge_unit(token, trust)
        _judge_imprint(token, container)

    # 3 newest first: can it still be relied on at the time at which it is proven to have existed (§5.6.3.4)
    _judge_ages(tokens, at)

    # 4 each token against the ones before it: it covers what they covered, and is not older
    _judge_sequence(tokens, data_names)
    if any(message.code == "validation.token.not_granted_now" for token in tokens for message in token.messages):
        text = (
            "Found a timestamp token not related to granted status. If not yet covered with a fresh timestamp token, "
            "this container might become invalid in the future."
        )
        messages.append(Message(Severity.WARNING, "validation.token.not_granted_now", text))

    # 5 one token that does not hold is one too many: nobody can say what it was for
    for token in tokens:
        if token.indication is not _PASSED:
            text = f"The time-stamp token {token.entry.name} is not valid"
            messages.append(Message(Severity.ERROR, "validation.token.not_valid", text))
    covering = [token for token in tokens if token.indication is _PASSED and _covers(token, data_names)]
    if not covering:
        text = "No time-stamp token that holds covers the data file"
        messages.append(Message(Severity.ERROR, "validation.token.none_covers", text))
    proven_at = min((token.gen_at for token in covering if token.gen_at), default=None)
    return TimeStampedVerdict(tuple(map(_report, tokens)), tuple(messages), proven_at)


def judge_archive_tokens(
    container: Container, *, trust: VerifiedTrust, at: datetime
) -> tuple[tuple[TimeStampTokenReport, frozenset[str]], ...]:
    """The verdict about every token that covers the CAdES signatures of an ASiC-E container through a manifest (EN 319
    162-1 §A.7), and the names of the files that it covers; the oldest first. One that holds proves the files, and the
    tokens before it.

    Raises: what `judge_tokens` raises.
    """
    tokens = [token for token in _read_tokens(container, []) if token.manifest is not None]
    for token in tokens:
        _judge_unit(token, trust)
        _judge_imprint(token, container)
    for token in tokens:
        _check_order(token, tokens)
    _judge_ages(tokens, at)
    return tuple((_report(token), token.covered) for token in tokens)


# ------------------------------------------------------------------ read


def _read_tokens(container: Container, messages: list[Message]) -> list[_Token]:
    if len(container.token_files) > _MAX_TOKENS:
        raise Malformed("asic.simple.too_many_tokens", f"{len(container.token_files)} tokens, at most {_MAX_TOKENS}")
    check_manifests_size(container)
    tokens = {entry.name: _read_token(container, entry) for entry in container.token_files}
    signatures = {entry.name for entry in container.cms_files}
    for entry in container.asic_manifest_files:
        manifest = parse_asic_manifest(container.archive.read(entry, max_bytes=MAX_MANIFEST_BYTES))
        if manifest.signature_name in signatures:
            continue
        token = tokens.get(manifest.signature_name)
        if token is None:
            text = f"The manifest {entry.name} belongs to no time-stamp token of the container"
            messages.append(Message(Severity.ERROR, "validation.token.missing", text))
        elif token.manifest is not None:
            raise Malformed("asic.asic_manifest.duplicate", f"two manifests belong to {token.entry.name!r}")
        else:
            token.manifest_entry, token.manifest = entry, manifest
            token.covered = frozenset(item.name for item in manifest.objects)
    _check_answers(tokens.values())
    return list(tokens.values())


def _check_answers(tokens: Iterable[_Token]) -> None:
    """What tokens bring about their own units, all together: each answer may cost two signatures to judge."""
    found = [token.verified for token in tokens if token.verified is not None]
    answers = sum(len(verified.ocsp_der) + len(verified.crls_der) for verified in found)
    if answers > _MAX_ANSWERS:
        text = f"more than {_MAX_ANSWERS} OCSP responses and revocation lists in the time-stamp tokens of one container"
        raise Malformed("validation.too_many_proofs", text)


def check_manifests_size(container: Container) -> None:
    """What all manifests may cost together.

    Raises: Malformed `asic.asic_manifest.too_large`.
    """
    if sum(entry.size_bytes for entry in container.asic_manifest_files) > _MAX_MANIFESTS_BYTES:
        raise Malformed("asic.asic_manifest.too_large", f"manifests of more than {_MAX_MANIFESTS_BYTES} bytes together")


def _read_token(container: Container, entry: Entry) -> _Token:
    unverified = container.archive.read(entry, max_bytes=MAX_TOKEN_BYTES)
    try:
        return _Token(entry, tsp.verify_token(unverified), None)
    except Refused as error:
        return _Token(entry, None, error)


# ------------------------------------------------------------------ one token


def _judge_imprint(token: _Token, container: Container) -> None:
    verified, manifest = token.verified, token.manifest
    if verified is None:
        assert token.problem is not None
        indication, sub, text = _REFUSED.get(token.problem.code, _NOT_INTACT)
        token.fail(indication, sub, token.problem.code, f"{text} ({token.problem.detail})")
    over = token.manifest_entry or _data_file_alone(token, container)
    if over is None:
        return
    hash_name = "sha256" if verified is None else verified.hash_name
    content = "" if manifest is None else "Manifest document"
    scopes = [Scope(over.name, hash_name, container.digest(over, hash_name), content=content)]
    if verified is not None and verified.imprint != scopes[0].digest:
        text = "The time-stamp message imprint is not intact!"
        token.fail(_FAILED, Sub.HASH_FAILURE, "validation.token.imprint", text)
    for item in () if manifest is None else manifest.objects:
        entry = container.archive.find(item.name) if item.name else None
        if entry is None or entry.is_directory:
            text = f"The manifest entry object has not been found! ({item.told_name})"
            token.fail(_INDETERMINATE, Sub.SIGNED_DATA_NOT_FOUND, "validation.token.object_missing", text)
            continue
        if container.digest(entry, item.hash_name) != item.digest:
            text = "The manifest entry object is not intact!"
            token.fail(_FAILED, Sub.HASH_FAILURE, "validation.token.object", f"{text} ({item.name})")
        if item.hash_name in ("sha1", "sha224"):
            text = f"The digest of {item.name} is made with {item.hash_name.upper()}, which proves nothing any more"
            token.fail(_INDETERMINATE, Sub.CRYPTO_CONSTRAINTS_FAILURE, "validation.weak_hash", text)
        scopes.append(Scope(item.name, item.hash_name, item.digest))
    token.scopes = tuple(scopes)


def _data_file_alone(token: _Token, container: Container) -> Entry | None:
    if container.form == "ASiC-S":
        return container.data_files[0]
    text = "No manifest says what the time-stamp token is over"
    token.fail(_FAILED, Sub.FORMAT_FAILURE, "validation.token.manifest", text)
    return None


def _judge_unit(token: _Token, trust: VerifiedTrust) -> None:
    verified = token.verified
    if verified is None:
        return
    try:
        token.service = find_unit_service(verified, trust)
    except Refused as error:
        token.fail(_INDETERMINATE, Sub.NO_CERTIFICATE_CHAIN_FOUND, error.code, error.detail)
        token.level = "TSA" if error.code == "validation.token.not_qualified" else "N/A"


# ------------------------------------------------------------------ tokens among one another


def _judge_sequence(tokens: Sequence[_Token], data_names: set[str]) -> None:
    covered: set[str] = set(data_names)
    for token in tokens:
        if not _covers(token, data_names):
            token.warn("validation.token.not_covering", _NOT_COVERING)
        if token.manifest is None:
            covered.add(token.entry.name)
            continue
        own = token.covered
        for name in sorted(covered - own - data_names):
            token.warn("validation.token.not_covering_all", f"The time-stamp token does not cover {name} any more")
        _check_order(token, tokens)
        covered |= own | {token.entry.name}
        if token.manifest_entry is not None:
            covered.add(token.manifest_entry.name)


def _check_order(token: _Token, tokens: Sequence[_Token]) -> None:
    for other in tokens:
        if other.entry.name in token.covered and other.gen_at and token.gen_at and other.gen_at > token.gen_at:
            text = f"The time-stamp token is older than {other.entry.name}, which it covers"
            token.fail(_INDETERMINATE, Sub.TIMESTAMP_ORDER_FAILURE, "validation.token.order", text)


def _covers(token: _Token, data_names: set[str]) -> bool:
    """Whether the token is over every data file, itself or through its manifest."""
    if token.manifest is None:
        return len(data_names) == 1
    return data_names <= token.covered


def _judge_ages(tokens: list[_Token], at: datetime) -> None:
    """Newest first, as each that holds proves those that it covers; sorts them, the oldest first."""
    tokens.sort(key=lambda token: (token.gen_at is None, token.gen_at or at, len(token.covered)))
    for index in reversed(range(len(tokens))):
        _judge_age(tokens[index], _existed_at(tokens[index], tokens[index + 1 :], at), at)


def _existed_at(token: _Token, later: Sequence[_Token], at: datetime) -> datetime:
    """When the token is first proven to have existed: at the time of a later one that covers it, else now."""
    proofs = [
        other.gen_at
        for other in later
        if other.indication is _PASSED and token.entry.name in other.covered and other.gen_at
    ]
    return min(proofs, default=at)


def _judge_age(token: _Token, existed_at: datetime, at: datetime) -> None:
    """What a token is worth that is first proven to have existed at `existed_at`; settles its indication."""
    if token.verified is not None and token.service is not None:
        problem = find_aged(token.verified, token.service, existed_at)
        if problem is not None:
            token.fail(_INDETERMINATE, problem[0], "validation.token.aged", problem[1])
        if token.verified.gen_at > at + CLOCK_SKEW:
            text = "The time-stamp comes from the future: its unit's clock cannot be relied on"
            token.fail(_INDETERMINATE, Sub.SIG_CONSTRAINTS_FAILURE, "validation.token.future", text)
        token.level = "QTSA"
        if not granted_period(token.service.service, (TSA_QTST,), existed_at):
            token.level = "TSA"
            token.warn("validation.token.not_granted_now", _NOT_GRANTED_NOW)
    if token.sub is None:
        token.indication = _PASSED


def _report(token: _Token) -> TimeStampTokenReport:
    return TimeStampTokenReport(
        indication=token.indication,
        sub_indication=token.sub,
        gen_at=token.gen_at,
        tsu=None if token.verified is None else token.verified.tsu,
        level=token.level,
        scopes=token.scopes,
        messages=tuple(token.messages),
        tsu_issuer=_find_issuer(token),
    )


def _find_issuer(token: _Token) -> x509.Certificate | None:
    """The CA that vouches for the unit, where the list does not name the unit itself."""
    if token.verified is None or token.service is None or token.service.der == token.verified.tsu_der:
        return None
    return token.service.certificate


# ------------------------------------------------------------------ what is inside


class _Window(io.RawIOBase):
    """The stored content of one entry, read in place."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def sniff_nested(container: Container, entry: Entry) -> str | None:
    """ZIP, PDF, DDOC by the first bytes of a data file, whatever its name says.

    Raises: Malformed `asic.zip.data`.
    """
    head = b""
    for piece in container.archive.stream(entry):
        head += piece
        if len(head) >= SNIFFED_BYTES:
            break
    return sniff(head[:SNIFFED_BYTES])


def sniff(head: bytes) -> str | None:
    """ZIP, PDF or DDOC by the first bytes of a file; else None."""
    if head.startswith(b"PK\x03\x04"):
        return "ZIP"
    if head.startswith(b"%PDF-"):
        return "PDF"
    return "DDOC" if b"<SignedDoc" in head and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else None


def names_container(file: BinaryIO) -> bool:
    """Whether a ZIP file says that it is an ASiC container. An archive of something else was stamped as it is, and
    nothing in it is judged."""
    file.seek(0)
    head = file.read(SNIFFED_BYTES)
    try:
        archive = parse_archive(file)
    except Malformed:
        # Not to be read in one single way: told as an error if it claims to be a container.
        file.seek(0)
        return b"application/vnd.etsi.asic-" in head
    entry = archive.find(MIMETYPE_NAME)
    file.seek(0)
    return entry is not None and entry.size_bytes < 256 and b"vnd.etsi.asic-" in archive.read(entry, max_bytes=256)


def open_nested(container: Container, entry: Entry) -> BinaryIO:
    """The content of a data file as a file: in place when it is stored, else unpacked.

    Raises: Malformed `asic.zip.entry_too_large`, `asic.zip.data`.
    """
    if entry.method == STORED:
        return io.BufferedReader(_Window(container.archive.file, entry.data_offset, entry.size_bytes))
    return io.BytesIO(container.archive.read(entry, max_bytes=MAX_NESTED_BYTES))


def merge_nested(outer: Report, nested: Report, *, name: str) -> Report:
    """The report about a container with what was found inside it: signatures, tokens, and what is odd about it."""
    messages = [
        replace(
            message,
            # A file that was only stamped need not be signed: the stamp is what is judged.
            severity=Severity.WARNING if message.code == "validation.no_signature" else message.severity,
            text=f"{name}: {message.text}",
        )
        for message in nested.messages
    ]
    return replace(
        outer,
        messages=(*outer.messages, *messages),
        signatures=nested.signatures,
        time_stamp_tokens=(*outer.time_stamp_tokens, *nested.time_stamp_tokens),
    )
