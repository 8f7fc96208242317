"""What an institution asked others about whom: its own half of every look, to be held against the provider's.

Written before the request leaves, settled when the answer is there. It is not the data and not the
answer: message identifier, person, service, time, and what came of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    MetaData,
    String,
    Table,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection

from digiid.platform.clock import Clock
from digiid.platform.db import Database, UtcDateTime

Outcome = Literal["sent", "answered", "refused"]
SENT: Outcome = "sent"  # no answer is known: the provider may have acted
ANSWERED: Outcome = "answered"
REFUSED: Outcome = "refused"
NOT_KNOWN_YET = ""  # in the place of a person: only the answer of a search says whom it is about


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request about one person. `service` is the whole path `EE/GOV/70000103/population/get-person`."""

    message_id: str
    personal_code: str
    service: str
    at: datetime
    outcome: str


def sent_requests_table(metadata: MetaData) -> Table:
    """The table `sent_requests` of one institution."""
    table = Table(
        "sent_requests",
        metadata,
        Column("message_id", String(128), primary_key=True),
        Column("personal_code", String(20), primary_key=True),
        Column("service", String(520), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("outcome", String(10), nullable=False),
        Column("hidden_until", UtcDateTime),
    )
    Index("sent_requests_person", table.c.personal_code, table.c.at)
    return table


class SentRequests:
    """The record that an exchange client keeps in its institution's database."""

    def __init__(self, db: Database, table: Table, clock: Clock) -> None:
        self._db, self._table, self._clock = db, table, clock

    def begin(
        self, message_id: str, service: str, personal_codes: Sequence[str], *, hidden_until: datetime | None = None
    ) -> None:
        """The intent, committed before the request leaves. A repeat of the same message changes nothing.

        `hidden_until`: both parties keep a delayed look back, or one would tell what the other hides.
        """
        self._db.retry(lambda: self._insert(message_id, service, personal_codes, SENT, hidden_until))

    def settle(
        self,
        message_id: str,
        service: str,
        personal_codes: Sequence[str],
        outcome: Outcome,
        *,
        hidden_until: datetime | None = None,
    ) -> None:
        """What came of it. Persons whom only the answer named (a search) are written down now."""

        def work() -> None:
            t = self._table.c
            self._insert(message_id, service, personal_codes, outcome, hidden_until)
            with self._db.write() as tx:
                tx.execute(update(self._table).where(t.message_id == message_id).values(outcome=outcome))

        self._db.retry(work)

    def _insert(
        self,
        message_id: str,
        service: str,
        personal_codes: Sequence[str],
        outcome: Outcome,
        hidden_until: datetime | None,
    ) -> None:
        if not personal_codes:
            return
        t, at = self._table.c, self._clock.now()
        with self._db.write() as tx:
            known = set(tx.execute(select(t.personal_code).where(t.message_id == message_id)).scalars())
            for personal_code in dict.fromkeys(personal_codes):
                if personal_code not in known:
                    tx.execute(
                        insert(self._table).values(
                            message_id=message_id,
                            personal_code=personal_code,
                            service=service,
                            at=at,
                            outcome=outcome,
                            hidden_until=hidden_until,
                        )
                    )


def count_sent(
    tx: Connection,
    table: Table,
    personal_code: str,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """How many requests of the period the person may see now."""
    query = select(func.count()).select_from(table).where(_shown(table, personal_code, now, since, until))
    return int(tx.execute(query).scalar_one())


def find_sent(
    tx: Connection,
    table: Table,
    personal_code: str,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    offset: int = 0,
    limit: int = 1000,
) -> list[SentRequest]:
    """One page of them, the newest first. `since` and `until` are inclusive."""
    t = table.c
    query = (
        select(t.message_id, t.personal_code, t.service, t.at, t.outcome)
        .where(_shown(table, personal_code, now, since, until))
        .order_by(t.at.desc(), t.message_id)
        .offset(offset)
        .limit(limit)
    )
    return [SentRequest(*row) for row in tx.execute(query)]


def sent_messages(tx: Connection, table: Table, personal_code: str, message_ids: Sequence[str]) -> set[str]:
    """Which of these messages this institution sent about this person, hidden ones too, and searches whose answer
    it never saw."""
    t = table.c
    about = t.personal_code.in_((personal_code, NOT_KNOWN_YET))
    query = select(t.message_id).where(about, t.message_id.in_(list(message_ids)))
    return set(tx.execute(query).scalars())


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
