"""Judges archives and containers offline: structure, links from archive to archive, and each message with full trust.

What was cut out of an archive, or of a row of archives, breaks a chain. What was cut off at the end of the last one
does not: whoever needs to know that compares the last digest with the one that the security server tells.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from digiid.exchange.global_conf.evidence import VerifiedEvidence, verify_evidence
from digiid.exchange.global_conf.view import GlobalConf
from digiid.exchange.message_log.archive_files import read_archive
from digiid.exchange.message_log.archiving import LINKS
from digiid.exchange.message_log.settings import MAX_ARCHIVE_BYTES_LIMIT
from digiid.formats.asic.archive import Archive, Limits, parse_archive
from digiid.formats.exchange.archive_links import MAX_BYTES as MAX_LINKS_BYTES
from digiid.formats.exchange.archive_links import ArchiveLinks, parse_archive_links, verify_archive_links
from digiid.formats.exchange.message_signature import BODY, MESSAGE
from digiid.kernel.errors import DigiidError, Malformed, NotFound, Refused
from digiid.platform.documents.encryption import DecryptionKey

MAX_PART_BYTES: Final = 64 * 1024**2
_LIMITS: Final = Limits(max_entries=20_001, max_total_bytes=4 * MAX_ARCHIVE_BYTES_LIMIT)
_MAY_BE_ABSENT: Final = frozenset((MESSAGE, BODY, *(f"/attachment{i}" for i in range(2, 11))))
_NAME: Final = re.compile(r"mlog-(?:(?P<group>.+)-)?[0-9]{14}-[0-9]{14}-[A-Za-z0-9]+\.zip")
_SUFFIX: Final = ".asice"

Progress = Callable[[int, int], None]
"""Called with the messages judged and those known so far."""


@dataclass(frozen=True, slots=True)
class MessageVerdict:
    """One container. Valid when there is no `error`."""

    name: str
    evidence: VerifiedEvidence | None = field(repr=False)
    error: DigiidError | None

    @property
    def absent(self) -> frozenset[str]:
        """Parts that only the digests are known of."""
        return self.evidence.container.signature.absent if self.evidence else frozenset()


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """One file: an archive with links, a ZIP of containers without, or one container. `error` is about all of it."""

    path: Path
    kind: Literal["archive", "bundle", "container", "unreadable"]
    messages: tuple[MessageVerdict, ...]
    links: ArchiveLinks | None
    error: DigiidError | None

    @property
    def is_valid(self) -> bool:
        return self.error is None and all(message.error is None for message in self.messages)

    @property
    def is_unreadable(self) -> bool:
        return self.kind == "unreadable" and isinstance(self.error, Malformed | NotFound)

    @property
    def times(self) -> tuple[datetime, datetime] | None:
        """From the first to the last time stamp."""
        found = [each.evidence.at for each in self.messages if each.evidence]
        return (min(found), max(found)) if found else None


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """All files, and what is wrong between them: `chain_errors` by path."""

    files: tuple[FileVerdict, ...]
    chain_errors: Mapping[Path, DigiidError]

    @property
    def is_valid(self) -> bool:
        return bool(self.files) and not self.chain_errors and all(file.is_valid for file in self.files)

    @property
    def exit_code(self) -> int:
        """0 all valid; 1 something is not; 2 nothing is, that could be read, but something could not."""
        if self.is_valid:
            return 0
        wrong = [file for file in self.files if not file.is_valid]
        return 2 if not self.chain_errors and all(file.is_unreadable for file in wrong) else 1


def validate_evidence(
    paths: Sequence[Path],
    conf: GlobalConf,
    *,
    key: DecryptionKey | None = None,
    after: str | None = None,
    until: str | None = None,
    progress: Progress = lambda done, known: None,
) -> EvidenceReport:
    """Judge files by a configuration of their time. `after`, `until`: the digests that the first archive has to follow
    and the last one has to end with, when one chain is given.
    """
    done = known = 0

    def count(more_done: int, more_known: int) -> None:
        nonlocal done, known
        done, known = done + more_done, known + more_known
        progress(done, known)

    files = tuple(_validate_file(path, conf, key, count) for path in paths)
    return EvidenceReport(files, check_chains(files, after=after, until=until))


# ------------------------------------------------------------------ one file


def _validate_file(
    path: Path, conf: GlobalConf, key: DecryptionKey | None, count: Callable[[int, int], None]
) -> FileVerdict:
    # 1 what is it
    try:
        content = read_archive(path, key=key)
        archive = parse_archive(io.BytesIO(content), _LIMITS)
    except DigiidError as error:
        return FileVerdict(path, "unreadable", (), None, error)
    names = [entry.name for entry in archive.entries if not entry.is_directory]
    if LINKS not in names and not (names and all(name.endswith(_SUFFIX) for name in names)):
        count(0, 1)
        verdict = _validate_message(path.name, content, conf)
        count(1, 0)
        return FileVerdict(path, "container", (verdict,), None, None)

    # 2 every container, and its digest
    inside = [name for name in names if name != LINKS]
    count(0, len(inside))
    messages, digests = [], {}
    for name in inside:
        try:
            container = _read(archive, name, MAX_PART_BYTES)
        except DigiidError as error:
            messages.append(MessageVerdict(name, None, error))
        else:
            digests[name] = hashlib.sha512(container).digest()
            messages.append(_validate_message(name, container, conf))
        count(1, 0)

    # 3 the links are over exactly these
    if LINKS not in names:
        missing = Refused("exchange.message_log.no_links", "an archive without its links")
        is_archive = path.name.startswith("mlog-")
        return FileVerdict(
            path, "archive" if is_archive else "bundle", tuple(messages), None, missing if is_archive else None
        )
    links, wrong = None, None
    try:
        links = parse_archive_links(_read(archive, LINKS, MAX_LINKS_BYTES))
        if not links.links:
            raise Refused("exchange.message_log.empty", "an archive without a message")
        verify_archive_links(links, digests)
    except DigiidError as error:
        wrong = error
    return FileVerdict(path, "archive", tuple(messages), links, wrong)


def _validate_message(name: str, container: bytes, conf: GlobalConf) -> MessageVerdict:
    try:
        evidence = verify_evidence(container, conf, max_part_bytes=MAX_PART_BYTES, may_be_absent=_MAY_BE_ABSENT)
    except DigiidError as error:
        return MessageVerdict(name, None, error)
    return MessageVerdict(name, evidence, None)


def _read(archive: Archive, name: str, max_bytes: int) -> bytes:
    entry = archive.find(name)
    assert entry is not None
    return archive.read(entry, max_bytes=max_bytes)


# ------------------------------------------------------------------ from archive to archive


def check_chains(
    files: Sequence[FileVerdict], *, after: str | None = None, until: str | None = None
) -> dict[Path, DigiidError]:
    """Archives of a group follow one another without a gap and without a fork; the first may follow one not given."""
    linked = {file.path: file.links for file in files if file.links is not None and file.links.last_digest}
    errors: dict[Path, DigiidError] = {}

    # 1 nothing twice, and nothing follows the same archive as another does
    ends = Counter(links.last_digest for links in linked.values())
    before = Counter((_group(path), links.previous and links.previous[0]) for path, links in linked.items())
    for path, links in linked.items():
        if ends[links.last_digest] > 1:
            errors[path] = Refused("exchange.message_log.chain", "the same archive is given twice")
        elif before[_group(path), links.previous and links.previous[0]] > 1:
            errors[path] = Refused("exchange.message_log.chain", "two archives follow the same one")

    # 2 one beginning in each group: every other archive follows one that is here
    starts: dict[str, list[Path]] = {}
    for path, links in linked.items():
        if links.previous is None or links.previous[0] not in ends:
            starts.setdefault(_group(path), []).append(path)
    by_path = {file.path: file for file in files}
    for paths in starts.values():
        first, *others = sorted(paths, key=lambda path: _place(by_path[path]))
        for path in others:
            previous = linked[path].previous
            text = f"follows {previous[1]}, which is not here" if previous else "begins a chain that is there already"
            errors.setdefault(path, Refused("exchange.message_log.chain", text))
        if after is not None and (linked[first].previous or ("",))[0] != after:
            errors.setdefault(first, Refused("exchange.message_log.chain", "does not follow what it has to follow"))

    # 3 the end that was asked for
    if until is not None and until not in ends and linked:
        last = max(linked, key=lambda path: _place(by_path[path]))
        errors.setdefault(last, Refused("exchange.message_log.chain", "does not end where it has to end"))
    return errors


def _place(file: FileVerdict) -> tuple[bool, str, str]:
    """Where an archive stands among others: the true beginning of a chain first, then by the times in its name."""
    has_previous = file.links is not None and file.links.previous is not None
    times = file.times
    return has_previous, times[0].isoformat() if times else "", file.path.name


def _group(path: Path) -> str:
    found = _NAME.fullmatch(path.name.removesuffix(".cdoc2"))
    return (found["group"] or "") if found else ""
