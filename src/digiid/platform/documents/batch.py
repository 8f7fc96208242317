"""Signing many files with one key, each into a container of its own.

The token signs one digest after the other and never waits for the files: what comes next is prepared, and what was
signed is finished, beside it. A run that was stopped goes on where it was: an output is there whole or not at all,
and what is there already is looked at and left alone.
"""

import hashlib
import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509

from digiid.formats.asic import DataFile, build_container, parse_container
from digiid.formats.validation import POLV4, Policy
from digiid.formats.xades import ProductionPlace, parse_signatures
from digiid.kernel.errors import Conflict, DigiidError, Malformed, Refused, Unavailable
from digiid.platform.documents.files import guess_media_type, read_file
from digiid.platform.documents.finishing import build_signature_file
from digiid.platform.documents.levels import Level
from digiid.platform.documents.prepared import PreparedSignature
from digiid.platform.documents.preparing import CheckedSigner, check_signer, prepare_files
from digiid.platform.documents.services import TrustServices
from digiid.platform.documents.signing import Signer
from digiid.platform.documents.verdicts import judge_signed

_AHEAD: Final = 6  # prepared and waiting for the key, or signed and not yet written
_SWITCH_SECONDS: Final = 50e-6
_STOP_AFTER: Final = 5  # failures of a service or of the token without a success between them


class Outcome(StrEnum):
    SIGNED = "signed"
    SKIPPED = "skipped"  # a finished container of this very file was there
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became of one file. `code` says why it failed.

    `verdict` is our validator's about the new signature; None at level B, where every value was verified and a verdict
    is not to be had without a time-stamp and a status.
    """

    source: Path
    target: Path
    outcome: Outcome
    verdict: str | None = None
    kind: str | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class BatchReport:
    """All items, in the order of the files that were given."""

    items: tuple[BatchItem, ...]

    def count(self, outcome: Outcome) -> int:
        return sum(item.outcome is outcome for item in self.items)

    @property
    def is_complete(self) -> bool:
        return not self.count(Outcome.FAILED)


def sign_batch(
    paths: Sequence[Path],
    signer: Signer,
    *,
    folder: Path | None = None,
    issuers: Sequence[x509.Certificate],
    trust: TrustServices,
    level: Level = Level.LT,
    roles: Sequence[str] = (),
    place: ProductionPlace | None = None,
    policy: Policy = POLV4,
    progress: Callable[[BatchItem], None] = lambda _item: None,
    workers: int = 4,
) -> BatchReport:
    """Sign every file into `<name>.asice` in `folder`, or beside it. `progress` is called once for each, in order.

    One file's failure is recorded and the rest goes on; when a service or the token fails five times in a row, what is
    left is recorded as stopped. Calling again signs what is missing. `workers` is how many wait for time-stamps and
    confirmations at once.

    Raises: Refused `documents.certificate.…`, nothing can be signed with this certificate.
    """
    # 1 the signer, once for all
    checked = check_signer(signer.certificate, issuers=issuers, at=trust.clock.now())
    run = _Run(signer, checked, trust, level, tuple(roles), place, policy)

    # 2 one thread for the key, which signs one digest at a time; others before and after it
    items: list[BatchItem] = []
    waiting: deque[Callable[[], BatchItem]] = deque()
    in_a_row = 0

    def record(item: BatchItem) -> None:
        nonlocal in_a_row
        in_a_row = in_a_row + 1 if item.kind == Unavailable.kind else 0
        items.append(item)
        progress(item)

    with (
        _switching_quickly(),
        ThreadPoolExecutor(1, thread_name_prefix="batch-key") as key,
        ThreadPoolExecutor(workers, thread_name_prefix="batch-finish") as finishers,
    ):
        for path, target in zip(paths, _targets(paths, folder), strict=True):
            if in_a_row >= _STOP_AFTER:
                break
            begun = run.begin(path, target)
            if isinstance(begun, BatchItem):
                waiting.append(partial(_same, begun))
            else:
                value = key.submit(signer.sign, begun.prepared.digest)
                # At level B nothing is waited for: another thread would only cost the way to it and back.
                finish = partial(run.finish, begun, value)
                waiting.append(finish if level is Level.B else finishers.submit(finish).result)
            while len(waiting) > _AHEAD:
                record(waiting.popleft()())
        while waiting:
            record(waiting.popleft()())

    # 3 everything that was written is on the disk before anybody is told so
    os.sync()

    # 4 what was not tried is said too
    for path, target in zip(paths[len(items) :], _targets(paths, folder)[len(items) :], strict=True):
        record(_failed(path, target or path, Unavailable("documents.batch.stopped", "stopped after repeated failures")))
    return BatchReport(tuple(items))


@dataclass(frozen=True, slots=True)
class _Begun:
    """A file whose digest waits for the key."""

    path: Path
    target: Path
    file: DataFile
    prepared: PreparedSignature


@dataclass(frozen=True, slots=True)
class _Run:
    """What is the same for every file."""

    signer: Signer
    checked: CheckedSigner
    trust: TrustServices
    level: Level
    roles: tuple[str, ...]
    place: ProductionPlace | None
    policy: Policy

    def begin(self, path: Path, target: Path | None) -> _Begun | BatchItem:
        """Read and prepare one file; or what there is to say about it already."""
        try:
            if target is None:
                raise Conflict("documents.batch.same_target", f"another file goes to the same place as {path}")
            content = read_file(path)
            if target.exists() and _is_finished(target, path.name, content):
                return BatchItem(path, target, Outcome.SKIPPED)
            file = DataFile(path.name, guess_media_type(path.name), content)
            prepared = prepare_files(
                [file],
                signer=self.checked,
                at=self.trust.clock.now(),
                roles=self.roles,
                place=self.place,
                method=self.signer.method,
            )
            return _Begun(path, target, file, prepared)
        except DigiidError as error:
            return _failed(path, target or path, error)

    def finish(self, begun: _Begun, value: Future[bytes]) -> BatchItem:
        """Wait for the value, add what the level asks for, judge, write."""
        prepared, verdict = begun.prepared, None
        try:
            xml = build_signature_file(
                prepared,
                value.result(),
                trust=self.trust,
                level=self.level,
                stream=lambda _name: iter([begun.file.content]),
            )
            content = build_container([begun.file], [(prepared.signature_name, xml)], at=self.trust.clock.now())
            if self.level is not Level.B:
                signed = judge_signed(
                    content,
                    prepared,
                    name=prepared.signature_name,
                    level=self.level,
                    trust=self.trust,
                    policy=self.policy,
                )
                verdict = str(signed.signature.indication)
            _write(begun.target, content)
        except DigiidError as error:
            return _failed(begun.path, begun.target, error)
        return BatchItem(begun.path, begun.target, Outcome.SIGNED, verdict=verdict)


@contextmanager
def _switching_quickly() -> Iterator[None]:
    """While this lasts the interpreter changes threads after 50 µs instead of 5 ms.

    A token's signature is several short calls into its library, and the thread asks for the interpreter after each:
    with the usual interval the key would wait longer for its turn than it signs.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _same(item: BatchItem) -> BatchItem:
    return item


def _write(target: Path, content: bytes) -> None:
    """Into place under its name at once, on the disk at the latest when the run ends.

    A power cut may leave a name with nothing behind it: the next run sees that it is no container, and signs again.
    """
    part = f"{target.parent}/.{target.name}.part"
    try:
        with open(part, "wb", buffering=0) as file:  # noqa: PTH123 - a thousand times in a row
            file.write(content)
        os.replace(part, target)  # noqa: PTH105
    except OSError as error:
        Path(part).unlink(missing_ok=True)
        raise Unavailable("documents.output", f"{target}: {error.strerror}") from error


def _failed(path: Path, target: Path, error: DigiidError) -> BatchItem:
    return BatchItem(path, target, Outcome.FAILED, kind=error.kind, code=error.code, detail=error.detail)


def _targets(paths: Sequence[Path], folder: Path | None) -> list[Path | None]:
    """Where each container goes; None for a file whose place another one has."""
    seen: set[Path] = set()
    targets: list[Path | None] = []
    for path in paths:
        target = (folder or path.parent) / f"{path.name}.asice"
        targets.append(None if target in seen else target)
        seen.add(target)
    return targets


def _is_finished(target: Path, name: str, content: bytes) -> bool:
    """Whether `target` is a signed container of this very file. Half a container is none, and is made again.

    Raises: Refused `documents.output_exists`, something else lies there.
    """
    try:
        container = parse_container(io.BytesIO(read_file(target)))
        files = {entry.name: container.digest(entry, "sha256") for entry in container.data_files}
        signatures = [
            found
            for entry in container.signature_files
            for found in parse_signatures(container.read_signature_file(entry))
        ]
    except Malformed:
        return False
    if files != {name: hashlib.sha256(content).digest()} or not signatures:
        raise Refused("documents.output_exists", f"{target} is there already and holds something else")
    return True
