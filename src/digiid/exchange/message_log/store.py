"""The tables of a message log, and one function per question.

Records are only added, in the order of their numbers, and only deleted from the front; what happens to them later (time
stamps, archives) stands in tables of its own, so that no record is ever written twice. The one secondary index begins
with the record's segment: new entries all go into one small region of it, whatever the size of the log, and a search
looks into each segment once.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection, Row
from sqlalchemy.types import TypeDecorator

from digiid.exchange.message_log.entries import LoggedMessage
from digiid.formats.exchange.hash_chain import HashChain
from digiid.platform.db import UtcDateTime

SEGMENT_BITS: Final = 12  # 4,096 records
MAX_APPENDED: Final = 64  # records in one statement
_SEGMENTS_AT_ONCE: Final = 400
_NUMBERS_AT_ONCE: Final = 400
_SHA512_OF_NOTHING: Final = hashlib.sha512().digest()

NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")  # a rowid there
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Microseconds(TypeDecorator[datetime]):
    """An aware UTC instant as a number: what both databases take from the driver as it is."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds_of(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + value * _MICROSECOND


def microseconds_of(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


METADATA: Final = MetaData()
RECORDS: Final = Table(
    "record",
    METADATA,
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    Column("segment", Integer, nullable=False),
    Column("message_key", BigInteger, nullable=False),
    Column("at", Microseconds, nullable=False),
    # What the batch jobs read stands first: a long row is cut there, and they never touch the rest of it.
    Column("signature_sha512", LargeBinary(64), nullable=False),
    Column("is_response", Boolean, nullable=False),
    Column("is_reduced", Boolean, nullable=False),
    Column("party", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("message_sha512", LargeBinary(64), nullable=False),
    Column("body_sha512", LargeBinary(64)),
    Column("message", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("chain_result", LargeBinary),
    Column("chain", LargeBinary),
    Index("record_message", "segment", "message_key"),
)
BODIES: Final = Table(
    "body",
    METADATA,
    Column("record", NUMBER, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)
TIME_STAMPS: Final = Table(
    "time_stamp",
    METADATA,
    Column("last_record", NUMBER, primary_key=True, autoincrement=False),
    Column("first_record", BigInteger, nullable=False),
    Column("gen_at", UtcDateTime, nullable=False),
    Column("result", LargeBinary, nullable=False),
    Column("token", LargeBinary, nullable=False),
    Column("numbers", LargeBinary, nullable=False),  # of the records, 8 bytes each
    Column("leaves", LargeBinary, nullable=False),  # the SHA-512 digests of their signatures, in the same order
)
ARCHIVES: Final = Table(
    "archive",
    METADATA,
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    Column("chain_group", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("first_record", BigInteger, nullable=False),
    Column("last_record", BigInteger, nullable=False),
    Column("records", Integer, nullable=False),
    Column("last_digest", String(128), nullable=False),
    Column("written_at", UtcDateTime, nullable=False),
    Index("archive_group", "chain_group", "number"),
)
STATE: Final = Table(
    "log_state",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1
    Column("archived_through", BigInteger, nullable=False),
    Column("deleted_through", BigInteger, nullable=False),
    Column("planned_through", BigInteger),
    Column("planned_grouping", String(20)),
    Column("planned_archive_bytes", BigInteger),
)


# ------------------------------------------------------------------ records


def key_of(message_id: str) -> int:
    """What the index knows of a message id: 63 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(message_id.encode(), digest_size=8).digest(), "big") >> 1


_COLUMNS: Final = [column.name for column in RECORDS.columns]
_INSERT: Final = {
    mark: f"INSERT INTO record ({', '.join(_COLUMNS)}) VALUES ({', '.join([mark] * len(_COLUMNS))})"  # noqa: S608 names of ours
    for mark in ("?", "%s")
}


def record_messages(tx: Connection, rows: Sequence[tuple[Any, ...]], bodies: Sequence[tuple[int, bytes]] = ()) -> None:
    """Append records, and the bodies of those whose body is kept. A row has a value for each column of RECORDS, `at` in
    microseconds: this is the one statement where the time that SQLAlchemy spends on each value is most of the work.
    """
    tx.exec_driver_sql(_INSERT["?" if tx.dialect.name == "sqlite" else "%s"], list(rows))
    if bodies:
        tx.execute(insert(BODIES), [{"record": number, "content": content} for number, content in bodies])


@lru_cache(maxsize=MAX_APPENDED)
def append_statement(rows: int) -> str:
    """One INSERT of so many rows, which takes the values of all of them one after another (SQLite)."""
    places = f"({', '.join('?' * len(_COLUMNS))})"
    return f"INSERT INTO record ({', '.join(_COLUMNS)}) VALUES {', '.join([places] * rows)}"  # noqa: S608 names of ours


def find_last_number(tx: Connection) -> int:
    """The highest number that was ever given to a record that is stored, stamped, archived or deleted."""
    counters = tx.execute(select(STATE.c.archived_through, STATE.c.deleted_through)).one_or_none() or (0, 0)
    last = tx.execute(select(func.max(RECORDS.c.number))).scalar_one() or 0
    return max(last, find_stamped_through(tx), *counters)


def find_stamped_through(tx: Connection) -> int:
    """The number of the last record that has a time stamp. All before it have one too."""
    return int(tx.execute(select(func.max(TIME_STAMPS.c.last_record))).scalar_one() or 0)


def find_unstamped(tx: Connection, *, after: int, limit: int) -> tuple[list[int], list[bytes]]:
    """Numbers and signature digests of the next records, oldest first."""
    query = select(RECORDS.c.number, RECORDS.c.signature_sha512).where(RECORDS.c.number > after)
    rows = tx.execute(query.order_by(RECORDS.c.number).limit(limit)).all()
    return [row[0] for row in rows], [bytes(row[1]) for row in rows]


def find_first_at(tx: Connection, *, after: int) -> datetime | None:
    """When the first record after this number was written."""
    query = select(RECORDS.c.at).where(RECORDS.c.number > after).order_by(RECORDS.c.number).limit(1)
    found: datetime | None = tx.execute(query).scalar_one_or_none()
    return found


def count_records(tx: Connection, *, after: int = 0) -> int:
    return int(tx.execute(select(func.count()).select_from(RECORDS).where(RECORDS.c.number > after)).scalar_one())


def find_messages(
    tx: Connection, message_id: str, *, party: str | None, is_response: bool | None, limit: int
) -> list[LoggedMessage]:
    """The records of a message id, oldest first; without their bodies."""
    # 1 where the index has the key, from the newest segments to the oldest
    first = tx.execute(select(func.min(RECORDS.c.number))).scalar_one()
    last = tx.execute(select(func.max(RECORDS.c.number))).scalar_one()
    if first is None:
        return []
    segments = range(last >> SEGMENT_BITS, (first >> SEGMENT_BITS) - 1, -1)
    numbers: list[int] = []
    for start in range(0, len(segments), _SEGMENTS_AT_ONCE):
        some = list(segments[start : start + _SEGMENTS_AT_ONCE])
        query = select(RECORDS.c.number).where(RECORDS.c.segment.in_(some), RECORDS.c.message_key == key_of(message_id))
        numbers += tx.execute(query).scalars()
    # 2 those that it is
    query_rows = _select_records().where(RECORDS.c.message_id == message_id)
    if party is not None:
        query_rows = query_rows.where(RECORDS.c.party == party)
    if is_response is not None:
        query_rows = query_rows.where(RECORDS.c.is_response == is_response)
    found: list[LoggedMessage] = []
    for start in range(0, len(numbers := sorted(numbers)), _NUMBERS_AT_ONCE):
        some = numbers[start : start + _NUMBERS_AT_ONCE]
        query_some = query_rows.where(RECORDS.c.number.in_(some)).order_by(RECORDS.c.number).limit(limit - len(found))
        found += [_message(row) for row in tx.execute(query_some)]
        if len(found) >= limit:
            break
    return found


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request that was logged for `party` (who asked, or the provider), and no response to it after it."""

    number: int
    at: datetime
    message_id: str
    request_id: str
    party: str
    client: str
    service: str

    @property
    def is_incoming(self) -> bool:
        """Whether it came to a provider here, which may have acted."""
        return self.party != self.client


def find_unanswered(tx: Connection, *, since: datetime, limit: int) -> list[Unanswered]:
    """The requests since then, the newest first. A response is always logged after its request, on the same side."""
    c = RECORDS.c
    query = select(c.number, c.at, c.message_id, c.request_id, c.party, c.client, c.service, c.is_response)
    answered: set[tuple[str, str]] = set()
    found: list[Unanswered] = []
    before = find_last_number(tx) + 1
    while rows := tx.execute(
        query.where(c.number < before, c.at >= since).order_by(c.number.desc()).limit(_NUMBERS_AT_ONCE)
    ).all():
        for row in rows:
            key = (row.party, row.request_id)
            if row.is_response:
                answered.add(key)
            elif key not in answered:
                found.append(Unanswered(*row[:7]))
                if len(found) >= limit:
                    return found
            else:
                answered.discard(key)
        before = rows[-1].number
    return found


def get_messages(tx: Connection, numbers: Sequence[int]) -> Iterator[LoggedMessage]:
    """Records by number, in the order of their numbers, with their bodies."""
    for start in range(0, len(numbers), _NUMBERS_AT_ONCE):
        some = list(numbers[start : start + _NUMBERS_AT_ONCE])
        query = _select_records().add_columns(BODIES.c.content.label("body"))
        query = query.outerjoin_from(RECORDS, BODIES, BODIES.c.record == RECORDS.c.number)
        for row in tx.execute(query.where(RECORDS.c.number.in_(some)).order_by(RECORDS.c.number)):
            yield _message(row, row.body)


def find_body(tx: Connection, number: int) -> bytes | None:
    content = tx.execute(select(BODIES.c.content).where(BODIES.c.record == number)).scalar_one_or_none()
    return None if content is None else bytes(content)


def find_parties(tx: Connection, *, after: int, through: int) -> list[tuple[int, str]]:
    """Number and party of each record in a range, in order."""
    query = select(RECORDS.c.number, RECORDS.c.party).where(RECORDS.c.number > after, RECORDS.c.number <= through)
    return [(number, party) for number, party in tx.execute(query.order_by(RECORDS.c.number))]


def _select_records() -> Any:
    c = RECORDS.c
    return select(
        c.number,
        c.at,
        c.message_id,
        c.request_id,
        c.is_response,
        c.party,
        c.client,
        c.service,
        c.is_reduced,
        c.message,
        c.message_sha512,
        c.body_sha512,
        c.signature,
        c.signature_sha512,
        c.chain_result,
        c.chain,
    )


def _message(row: Row[Any], body: bytes | None = None) -> LoggedMessage:
    return LoggedMessage(
        number=row.number,
        at=row.at,
        message_id=row.message_id,
        request_id=row.request_id,
        is_response=row.is_response,
        party=row.party,
        client=row.client,
        service=row.service,
        is_reduced=row.is_reduced,
        message=bytes(row.message),
        message_sha512=bytes(row.message_sha512),
        body=b"" if row.body_sha512 == _SHA512_OF_NOTHING else None if body is None else bytes(body),
        body_sha512=None if row.body_sha512 is None else bytes(row.body_sha512),
        signature_xml=bytes(row.signature),
        signature_sha512=bytes(row.signature_sha512),
        hash_chain=None if row.chain is None else HashChain(bytes(row.chain_result), bytes(row.chain)),
    )


# ------------------------------------------------------------------ time stamps


@dataclass(frozen=True, slots=True)
class TimeStampRecord:
    """One time stamp over many records."""

    numbers: tuple[int, ...] = field(repr=False)
    leaves: tuple[bytes, ...] = field(repr=False)
    gen_at: datetime
    result: bytes = field(repr=False)
    token_der: bytes = field(repr=False)


def record_time_stamp(tx: Connection, stamp: TimeStampRecord) -> None:
    tx.execute(
        insert(TIME_STAMPS).values(
            last_record=stamp.numbers[-1],
            first_record=stamp.numbers[0],
            gen_at=stamp.gen_at,
            result=stamp.result,
            token=stamp.token_der,
            numbers=b"".join(number.to_bytes(8, "big") for number in stamp.numbers),
            leaves=b"".join(stamp.leaves),
        )
    )


def find_time_stamp(tx: Connection, number: int) -> TimeStampRecord | None:
    """The time stamp that a record falls under."""
    c = TIME_STAMPS.c
    row = tx.execute(select(TIME_STAMPS).where(c.last_record >= number).order_by(c.last_record).limit(1)).one_or_none()
    if row is None:
        return None
    leaves = bytes(row.leaves)
    return TimeStampRecord(
        numbers=tuple(_decode_numbers(bytes(row.numbers))),
        leaves=tuple(leaves[at : at + 64] for at in range(0, len(leaves), 64)),
        gen_at=row.gen_at,
        result=bytes(row.result),
        token_der=bytes(row.token),
    )


def find_stamped_numbers(tx: Connection, *, after: int, through: int) -> list[int]:
    """The numbers in a range that time stamps are over, whether the records are still there or not."""
    c = TIME_STAMPS.c
    query = select(c.numbers).where(c.last_record > after, c.first_record <= through).order_by(c.last_record)
    found = [number for row in tx.execute(query) for number in _decode_numbers(bytes(row.numbers))]
    return [number for number in found if after < number <= through]


def _decode_numbers(encoded: bytes) -> list[int]:
    return [int.from_bytes(encoded[at : at + 8], "big") for at in range(0, len(encoded), 8)]


def find_last_stamp_at(tx: Connection) -> datetime | None:
    c = TIME_STAMPS.c
    found: datetime | None = tx.execute(select(c.gen_at).order_by(c.last_record.desc()).limit(1)).scalar_one_or_none()
    return found


# ------------------------------------------------------------------ archives and retention


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """Which records the archives that are being written hold. Committed before the first of them is written."""

    through: int
    grouping: str
    archive_bytes: int


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """An archive that is whole on disk."""

    chain_group: str
    name: str
    first_record: int
    last_record: int
    records: int
    last_digest: str
    written_at: datetime


def read_state(tx: Connection) -> tuple[int, int, ArchivePlan | None]:
    """Archived through, deleted through, and the plan that is being carried out."""
    row = tx.execute(select(STATE)).one_or_none()
    if row is None:
        return 0, 0, None
    plan = None
    if row.planned_through is not None:
        plan = ArchivePlan(row.planned_through, row.planned_grouping, row.planned_archive_bytes)
    return row.archived_through, row.deleted_through, plan


def _update_state(tx: Connection, **values: Any) -> None:
    if not tx.execute(update(STATE).values(**values)).rowcount:
        tx.execute(insert(STATE).values(**({"number": 1, "archived_through": 0, "deleted_through": 0} | values)))


def record_plan(tx: Connection, plan: ArchivePlan) -> None:
    _update_state(
        tx,
        planned_through=plan.through,
        planned_grouping=plan.grouping,
        planned_archive_bytes=plan.archive_bytes,
    )


def record_plan_done(tx: Connection, plan: ArchivePlan) -> None:
    _update_state(tx, archived_through=plan.through, planned_through=None)


def record_archive(tx: Connection, archive: ArchiveRecord) -> None:
    number = int(tx.execute(select(func.max(ARCHIVES.c.number))).scalar_one() or 0) + 1
    tx.execute(
        insert(ARCHIVES).values(
            number=number,
            chain_group=archive.chain_group,
            name=archive.name,
            first_record=archive.first_record,
            last_record=archive.last_record,
            records=archive.records,
            last_digest=archive.last_digest,
            written_at=archive.written_at,
        )
    )


def find_last_archive(tx: Connection, chain_group: str) -> ArchiveRecord | None:
    """The head of a group's chain."""
    c = ARCHIVES.c
    query = select(ARCHIVES).where(c.chain_group == chain_group).order_by(c.number.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else _archive(row)


def list_archives(tx: Connection) -> list[ArchiveRecord]:
    return [_archive(row) for row in tx.execute(select(ARCHIVES).order_by(ARCHIVES.c.number))]


def _archive(row: Row[Any]) -> ArchiveRecord:
    return ArchiveRecord(
        chain_group=row.chain_group,
        name=row.name,
        first_record=row.first_record,
        last_record=row.last_record,
        records=row.records,
        last_digest=row.last_digest,
        written_at=row.written_at,
    )


def find_deletable(tx: Connection, *, after: int, through: int, before_at: datetime, limit: int) -> int | None:
    """The number of the last of the next records that were all written before an instant, or None."""
    query = select(RECORDS.c.number, RECORDS.c.at).where(RECORDS.c.number > after, RECORDS.c.number <= through)
    last = None
    for number, at in tx.execute(query.order_by(RECORDS.c.number).limit(limit)):
        if at >= before_at:
            break
        last = number
    return last


def delete_through(tx: Connection, number: int) -> int:
    """Delete the records up to this one, and the time stamps that no record is left of. How many records."""
    tx.execute(delete(BODIES).where(BODIES.c.record <= number))
    deleted = tx.execute(delete(RECORDS).where(RECORDS.c.number <= number)).rowcount
    # The newest time stamp stays: it says how far the log is stamped.
    newest = tx.execute(select(func.max(TIME_STAMPS.c.last_record))).scalar_one() or 0
    tx.execute(delete(TIME_STAMPS).where(TIME_STAMPS.c.last_record <= min(number, newest - 1)))
    _update_state(tx, deleted_through=number)
    return deleted
