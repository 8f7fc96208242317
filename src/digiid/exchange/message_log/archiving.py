"""Time-stamped messages into chained archives, and old rows out of the log.

What goes into the next archives is committed as a plan before the first of them is written, and each archive is
committed as the head of its chain after it is whole on the disk. Whoever is killed in between writes the same archive
again under the same name, and no chain ever forks.
"""

import hashlib
import re
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from digiid.exchange.message_log import store
from digiid.exchange.message_log.archive_files import load_recipients, prepared_folder, write_archive
from digiid.exchange.message_log.containers import ContainerBuilder, name_of
from digiid.exchange.message_log.database import LogDatabase
from digiid.exchange.message_log.entries import ArchivingState, LoggedMessage
from digiid.exchange.message_log.settings import ArchiveSettings
from digiid.formats.asic.archive import Part, build_archive, build_part
from digiid.formats.exchange.archive_links import build_archive_links
from digiid.kernel.errors import Broken, DigiidError
from digiid.platform.clock import Clock
from digiid.platform.documents.recipients import NewRecipient
from digiid.platform.entropy import Entropy
from digiid.platform.timers import Timer

LINKS: Final = "linkinginfo"
_MAX_PLAN_RECORDS: Final = 200_000
_MAX_ARCHIVE_RECORDS: Final = 12_000  # linkinginfo is read up to 4 MiB
_DELETED_AT_ONCE: Final = 200
_ENTRY_OVERHEAD_BYTES: Final = 600  # two directory entries and a line of linkinginfo
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._+-]")
_MAX_GROUP_CHARS: Final = 80

log = structlog.get_logger("exchange.message_log")


class Archiver:
    """Writes archives and deletes what is archived and old. One for a log in each process."""

    def __init__(self, db: LogDatabase, settings: ArchiveSettings, clock: Clock, entropy: Entropy) -> None:
        self._db, self._settings, self._clock, self._entropy = db, settings, clock, entropy
        self._lock = threading.Lock()
        self._last_success_at: datetime | None = None
        self._last_error: str | None = None

    def timers(self) -> list[Timer]:
        archive = timedelta(seconds=self._settings.interval_seconds)
        clean = timedelta(seconds=self._settings.clean_interval_seconds)
        return [
            Timer("message_log.archive", archive, self._archive_by_the_clock),
            Timer("message_log.clean", clean, lambda: _told("deleted", self.clean())),
        ]

    def describe(self) -> ArchivingState:
        """For a status page. Raises: Unavailable `exchange.logging_failed`, `db.busy`."""
        with self._db.read() as tx:
            archived, _, _ = store.read_state(tx)
            is_waiting = store.find_stamped_through(tx) > archived
            oldest = store.find_first_at(tx, after=archived) if is_waiting else None
        interval = timedelta(seconds=self._settings.interval_seconds)
        return ArchivingState(oldest, self._last_success_at, self._last_error, interval)

    def _archive_by_the_clock(self) -> None:
        try:
            written = self.archive()
        except DigiidError as error:
            self._last_error = f"{error.code}: {error.detail}"
            raise
        except Exception as error:
            self._last_error = type(error).__name__
            raise
        self._last_success_at, self._last_error = self._clock.now(), None
        _told("archives", written)

    # -------------------------------------------------------------- archives

    def archive(self) -> int:
        """Archive every time-stamped message that is not archived yet. How many archives were written.

        Another process that archives the same log into the same folder is waited for.

        Raises: Unavailable `exchange.message_log.archive_folder`, `exchange.logging_failed`, `db.busy`;
            Broken `exchange.message_log.damaged`; what load_recipients raises. What was written stays.
        """
        with self._lock:
            recipients = load_recipients(self._settings, at=self._clock.now())
            written = 0
            with prepared_folder(self._settings.folder):
                while (plan := self._plan()) is not None:
                    written += self._carry_out(plan, recipients)
            return written

    def _plan(self) -> store.ArchivePlan | None:
        """The plan that was interrupted, or a new one, committed."""
        with self._db.read() as tx:
            archived, _, plan = store.read_state(tx)
            stamped = store.find_stamped_through(tx)
        if plan is not None:
            return plan
        if stamped <= archived:
            return None
        through = min(stamped, archived + _MAX_PLAN_RECORDS)
        plan = store.ArchivePlan(through, self._settings.grouping, self._settings.max_archive_bytes)
        with self._db.write() as tx:
            store.record_plan(tx, plan)
        return plan

    def _carry_out(self, plan: store.ArchivePlan, recipients: Sequence[NewRecipient]) -> int:
        with self._db.read() as tx:
            archived, _, _ = store.read_state(tx)
            parties = store.find_parties(tx, after=archived, through=plan.through)
            stamped = store.find_stamped_numbers(tx, after=archived, through=plan.through)
        if [number for number, _ in parties] != stamped:
            missing = sorted(set(stamped) ^ {number for number, _ in parties})
            text = f"records and time stamps differ at record {missing[0] if missing else 0}"
            raise Broken("exchange.message_log.damaged", text)
        groups: dict[str, list[int]] = {}
        for number, party in parties:
            groups.setdefault(group_of(party, plan.grouping), []).append(number)
        written = sum(self._archive_group(group, numbers, plan, recipients) for group, numbers in groups.items())
        with self._db.write() as tx:
            store.record_plan_done(tx, plan)
        return written

    def _archive_group(
        self, group: str, numbers: Sequence[int], plan: store.ArchivePlan, recipients: Sequence[NewRecipient]
    ) -> int:
        builder, written = ContainerBuilder(), 0
        while True:
            # 1 the head of the chain, and what comes after it
            with self._db.read() as tx:
                head = store.find_last_archive(tx, group)
                left = numbers if head is None else [number for number in numbers if number > head.last_record]
                if not left:
                    return written
                messages, parts = _collect(tx, left, builder, max_bytes=plan.archive_bytes)
            # 2 the archive
            previous = None if head is None else (head.last_digest, head.name)
            files = [(part.name, digest) for part, digest in parts]
            links = build_archive_links(files, previous=previous)
            assert links.last_digest is not None
            first, last = messages[0], messages[-1]
            name = _name(group, first.at, last.at, links.last_digest)
            linked = [build_part(LINKS, links.encode(), at=last.at), *(part for part, _ in parts)]
            content = build_archive(linked)
            # 3 whole on the disk
            write_archive(self._settings.folder, name, content, recipients=recipients, entropy=self._entropy)
            # 4 the head of the chain
            record = store.ArchiveRecord(
                chain_group=group,
                name=name,
                first_record=first.number,
                last_record=last.number,
                records=len(messages),
                last_digest=links.last_digest,
                written_at=self._clock.now(),
            )
            with self._db.write() as tx:
                store.record_archive(tx, record)
            written += 1

    # -------------------------------------------------------------- retention

    def clean(self) -> int:
        """Delete what is archived and older than it has to be kept, oldest first. How many records were deleted.

        Raises: Unavailable `exchange.logging_failed`, `db.busy`.
        """
        before_at = self._clock.now() - timedelta(days=self._settings.keep_days)
        deleted = 0
        while True:
            with self._db.write() as tx:
                archived, already, _ = store.read_state(tx)
                found = store.find_deletable(
                    tx, after=already, through=archived, before_at=before_at, limit=_DELETED_AT_ONCE
                )
                if found is None:
                    return deleted
                deleted += store.delete_through(tx, found)


def group_of(party: str, grouping: str) -> str:
    """The chain that a party's messages belong to: one for all, one for each member, one for each subsystem."""
    return {"none": "", "member": "/".join(party.split("/")[:3]), "subsystem": party}[grouping]


def _collect(
    tx: Connection, numbers: Sequence[int], builder: ContainerBuilder, *, max_bytes: int
) -> tuple[list[LoggedMessage], list[tuple[Part, bytes]]]:
    """As many containers as one archive may hold, one at least, with their digests."""
    messages: list[LoggedMessage] = []
    parts: list[tuple[Part, bytes]] = []
    size = 0
    for message in store.get_messages(tx, numbers):
        container = builder.build(tx, message)
        size += len(container) + _ENTRY_OVERHEAD_BYTES
        if messages and (size > max_bytes or len(messages) == _MAX_ARCHIVE_RECORDS):
            break
        part = build_part(name_of(message), container, at=message.at, compress=False)
        messages.append(message)
        parts.append((part, hashlib.sha512(container).digest()))
    return messages, parts


def _name(group: str, first_at: datetime, last_at: datetime, digest: str) -> str:
    of_group = f"{_NOT_IN_NAMES.sub('_', group)[:_MAX_GROUP_CHARS]}-" if group else ""
    return f"mlog-{of_group}{first_at:%Y%m%d%H%M%S}-{last_at:%Y%m%d%H%M%S}-{digest[:16]}.zip"


def _told(what: str, count: int) -> None:
    if count:
        log.info("message_log.kept_up", **{what: count})
