"""Who was told what about whom: each institution's own record, kept so that the person can see it.

An answer about a person leaves an institution only as a `Disclosed` value, and only `record_disclosure`
makes one: the record is written in the transaction of the answer. It holds time, purpose, receiver,
basis and categories, never the data. Its digest stands in the institution's hash-chained journal, so
that nobody can change, remove or add a record later without `verify_disclosures` telling.

A lawful secret is a delay, never a silence: the record is written at once and hidden until a stated
instant, and who ordered that and why stands in the journal.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.engine import Connection, RowMapping

from digiid.kernel.errors import Broken, Refused
from digiid.platform import journal as journals
from digiid.platform.db import UtcDateTime
from digiid.platform.entropy import SystemEntropy

RECORDED, DELAYED = "disclosure.recorded", "disclosure.delayed"
MAX_PERSONS = 100  # one answer tells of at most so many people, each with a record of their own
MAX_TEXT = 200
# Salts and pseudonyms: nothing that anybody signs, repeats or waits for, so no institution has to hand it in.
_ENTROPY: Final = SystemEntropy()
_SEAL: Final = object()

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Disclosed(Generic[T_co]):
    """A value about persons whose disclosure is on record. Nothing but this module makes one."""

    value: T_co
    _seal: object = field(repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("only record_disclosure makes a Disclosed value")


@dataclass(frozen=True, slots=True)
class Delay:
    """An order to show a disclosure to its person only from `until`. `order_delay` makes one."""

    until: datetime
    reason: str
    ordered_by: str
    _seal: object = field(repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("only order_delay makes a Delay")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at somebody's data: who, why, by what right.

    `receiver` is a subsystem (`EE/GOV/70000101/police`); for an institution's own desk it is itself.
    `receiver_user` is the official, in X-Road's form (`EE38001085718`) where that is known: kept for the
    audit, shown to the person as a pseudonym. `legal_basis` names the law or says that it is consent;
    `service` is the service code, or what was done at the desk (`desk/search`).
    """

    receiver: str
    purpose: str
    legal_basis: str
    service: str
    receiver_user: str | None = None
    consent_reference: str | None = None
    message_id: str | None = None
    delay: Delay | None = None


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One record. `official` is the pseudonym, the same at this institution for the same official."""

    number: int
    personal_code: str
    at: datetime
    purpose: str
    receiver: str
    receiver_user: str | None
    official: str | None
    legal_basis: str
    consent_reference: str | None
    message_id: str | None
    service: str
    categories: tuple[str, ...]
    hidden_until: datetime | None
    delay_reason: str | None
    delayed_by: str | None


def disclosures_table(metadata: MetaData) -> Table:
    """The table `disclosures` of one institution: append-only, each row bound to a journal entry by its number."""
    table = Table(
        "disclosures",
        metadata,
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("personal_code", String(20), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("purpose", String(MAX_TEXT), nullable=False),
        Column("receiver", String(420), nullable=False),
        Column("receiver_user", String(128)),
        Column("official", String(12)),
        Column("legal_basis", String(MAX_TEXT), nullable=False),
        Column("consent_reference", String(128)),
        Column("message_id", String(128)),
        Column("service", String(MAX_TEXT), nullable=False),
        Column("categories", Text, nullable=False),
        Column("hidden_until", UtcDateTime),
        Column("delay_reason", String(MAX_TEXT)),
        Column("delayed_by", String(MAX_TEXT)),
        Column("salt", LargeBinary(16), nullable=False),
    )
    Index("disclosures_person", table.c.personal_code, table.c.at)
    Index("disclosures_official", table.c.receiver, table.c.receiver_user)
    return table


def order_delay(*, until: datetime, reason: str, ordered_by: str, at: datetime, longest: timedelta) -> Delay:
    """An order of delay that may be obeyed: with an end that is not too far away, a reason and a name.

    Raises: Refused `disclosures.delay_length`, `disclosures.delay_reason`.
    """
    if not at < until <= at + longest:
        raise Refused(
            "disclosures.delay_length",
            f"hidden until {until.isoformat()}, at most {longest.days} days are allowed",
            public="A look can be kept back only for a time that has an end, and not for that long.",
        )
    if len(reason.strip()) < 10 or not ordered_by.strip():
        raise Refused(
            "disclosures.delay_reason",
            "no reason, or nobody's order",
            public="Say why this look must be kept back for a time, and who orders it.",
        )
    return Delay(until, reason.strip()[:MAX_TEXT], ordered_by.strip()[:MAX_TEXT], _SEAL)


def record_disclosure(
    tx: Connection,
    table: Table,
    journal: Table,
    value: T,
    *,
    personal_code: str,
    look: Look,
    categories: Sequence[str],
    at: datetime,
) -> Disclosed[T]:
    """Write down that `look` sees `categories` of one person, and hand the answer back as something that may leave.

    Inside the transaction that read `value`: either both are, or neither.
    """
    return record_disclosures(
        tx, table, journal, value, personal_codes=(personal_code,), look=look, categories=categories, at=at
    )


def record_disclosures(
    tx: Connection,
    table: Table,
    journal: Table,
    value: T,
    *,
    personal_codes: Sequence[str],
    look: Look,
    categories: Sequence[str],
    at: datetime,
) -> Disclosed[T]:
    """The same for an answer about several persons: one record for each. About nobody, there is none.

    Raises: Refused `disclosures.too_many` above MAX_PERSONS: so many people are a statistic or a mistake.
    """
    persons = tuple(dict.fromkeys(personal_codes))
    if len(persons) > MAX_PERSONS:
        raise Refused(
            "disclosures.too_many",
            f"{len(persons)} persons in one answer",
            public="This would show too many people at once. Ask more narrowly.",
        )
    if not look.purpose.strip() or not look.legal_basis.strip() or not categories:
        raise Broken("disclosures.incomplete", f"{look.service} does not say why, by what right, or what")
    official = _official(tx, table, look) if persons else None
    for personal_code in persons:
        _write(
            tx,
            table,
            journal,
            personal_code=personal_code,
            look=look,
            categories=tuple(categories),
            official=official,
            at=at,
        )
    return Disclosed(value, _SEAL)


def short_code(personal_code: str) -> str:
    """A personal code as journals and logs hold it: the last four digits are left out."""
    return personal_code[:7] + "****"


# ------------------------------------------------------------------ what the person sees


def count_usages(
    tx: Connection,
    table: Table,
    personal_code: str,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """How many disclosures of the period the person may see now, whatever the page."""
    query = select(func.count()).select_from(table).where(_shown(table, personal_code, now, since, until))
    return int(tx.execute(query).scalar_one())


def find_usages(
    tx: Connection,
    table: Table,
    personal_code: str,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    offset: int = 0,
    limit: int = 1000,
) -> list[Disclosure]:
    """One page of them, the newest first. `since` and `until` are inclusive."""
    t = table.c
    query = (
        _rows(table)
        .where(_shown(table, personal_code, now, since, until))
        .order_by(t.at.desc(), t.number.desc())
        .offset(offset)
        .limit(limit)
    )
    return [_disclosure(row) for row in tx.execute(query).mappings()]


def first_recorded_at(tx: Connection, table: Table) -> datetime | None:
    """When this record begins; None while it is empty."""
    return tx.execute(select(table.c.at).order_by(table.c.number).limit(1)).scalar_one_or_none()


def recorded_messages(tx: Connection, table: Table, personal_code: str, message_ids: Sequence[str]) -> set[str]:
    """Which of these messages are on record for this person, hidden ones too: it tells nothing about a look
    whose message identifier the asker does not already have."""
    t = table.c
    query = select(t.message_id).where(t.personal_code == personal_code, t.message_id.in_(list(message_ids)))
    return set(tx.execute(query).scalars())


# ------------------------------------------------------------------ proof


def verify_disclosures(
    tx: Connection, table: Table, journal: Table, *, trusted_heads: Mapping[int, bytes] = journals.NO_HEADS
) -> int:
    """Recompute the journal's chain and hold every record against its entry. Returns how many there are.

    Raises: Broken `journal.chain`; `disclosures.altered` when a record is not what was journaled;
    `disclosures.missing` when a journaled one is gone; `disclosures.unjournaled` when one was slipped in.
    """
    # 1 the journal itself
    journals.verify_chain(tx, journal, trusted_heads=trusted_heads)
    # 2 every entry has its record
    j, t = journal.c, table.c
    kinds = j.kind.in_((RECORDED, DELAYED))
    columns = (t[name] for name in _NAMES if name != "number")
    query = (
        select(j.number, j.payload, t.salt, *columns)
        .select_from(journal.outerjoin(table, j.number == t.number))
        .where(kinds)
        .order_by(j.number)
        .execution_options(yield_per=1000)
    )
    found = 0
    for row in tx.execute(query).mappings():
        if row["salt"] is None:
            raise Broken("disclosures.missing", f"record {row['number']} is gone")
        if json.loads(row["payload"])["record"] != _digest(_disclosure(row), row["salt"]):
            raise Broken("disclosures.altered", f"record {row['number']} is not what was journaled")
        found += 1
    # 3 and every record its entry
    strangers = select(func.min(t.number)).where(~select(j.number).where(j.number == t.number, kinds).exists())
    if (stranger := tx.execute(strangers).scalar_one()) is not None:
        raise Broken("disclosures.unjournaled", f"record {stranger} has no entry in the journal")
    return found


# ------------------------------------------------------------------ inside


def _write(
    tx: Connection,
    table: Table,
    journal: Table,
    *,
    personal_code: str,
    look: Look,
    categories: tuple[str, ...],
    official: str | None,
    at: datetime,
) -> None:
    delay = look.delay
    salt = _ENTROPY.token_bytes(16)
    # The number is the journal's next one: both stand under the same write lock (or the same serialisable snapshot).
    number = int(tx.execute(select(func.coalesce(func.max(journal.c.number), 0))).scalar_one()) + 1
    record = Disclosure(
        number=number,
        personal_code=personal_code,
        at=at,
        purpose=look.purpose.strip()[:MAX_TEXT],
        receiver=look.receiver,
        receiver_user=look.receiver_user,
        official=official,
        legal_basis=look.legal_basis.strip()[:MAX_TEXT],
        consent_reference=look.consent_reference,
        message_id=look.message_id,
        service=look.service,
        categories=categories,
        hidden_until=delay.until if delay else None,
        delay_reason=delay.reason if delay else None,
        delayed_by=delay.ordered_by if delay else None,
    )
    payload: dict[str, journals.JsonValue] = {
        "record": _digest(record, salt),
        "person": short_code(personal_code),
        "receiver": look.receiver,
        "service": look.service,
        "purpose": record.purpose,
    }
    if delay:
        payload |= {"until": delay.until.isoformat(), "reason": delay.reason, "ordered_by": delay.ordered_by}
    entry = journals.record(tx, journal, kind=DELAYED if delay else RECORDED, payload=payload, at=at)
    if entry.number != number:
        raise Broken("disclosures.number", "the journal went on in between")
    values = {name: getattr(record, name) for name in _NAMES}
    tx.execute(insert(table).values(**{**values, "categories": json.dumps(list(categories))}, salt=salt))


def _official(tx: Connection, table: Table, look: Look) -> str | None:
    # A random name for each official: it can be recognised again in this institution's records and nowhere else.
    if look.receiver_user is None:
        return None
    t = table.c
    query = select(t.official).where(t.receiver == look.receiver, t.receiver_user == look.receiver_user).limit(1)
    known = tx.execute(query).scalar_one_or_none()
    if known is not None:
        return str(known)
    letters = base64.b32encode(_ENTROPY.token_bytes(5)).decode()
    return f"{letters[:4]}-{letters[4:]}"


def _shown(
    table: Table, personal_code: str, now: datetime, since: datetime | None, until: datetime | None
) -> ColumnElement[bool]:
    t = table.c
    conditions = [t.personal_code == personal_code, or_(t.hidden_until.is_(None), t.hidden_until <= now)]
    if since is not None:
        conditions.append(t.at >= since)
    if until is not None:
        conditions.append(t.at <= until)
    return and_(*conditions)


_NAMES: Final = tuple(item.name for item in fields(Disclosure))


def _rows(table: Table) -> Any:
    return select(*(table.c[name] for name in _NAMES), table.c.salt)


def _disclosure(row: RowMapping) -> Disclosure:
    values = {name: row[name] for name in _NAMES}
    return Disclosure(**{**values, "categories": tuple(json.loads(row["categories"]))})


def _digest(record: Disclosure, salt: bytes) -> str:
    """SHA-256 of the record. Salted: a journal must not let anybody find a personal code by trying all of them."""
    values = {name: getattr(record, name) for name in _NAMES}
    for name, value in values.items():
        if isinstance(value, datetime):
            values[name] = value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(salt + text.encode()).hexdigest()
