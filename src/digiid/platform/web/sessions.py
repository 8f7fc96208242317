"""Sessions are rows: the cookie carries a random identifier of which the table keeps only the hash.

A new identifier at every sign-in and change of role (no fixation), idle and absolute limits, and
one statement to end all sessions of a person. A power cut may lose the latest sessions, never the end of one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from digiid.platform.clock import Clock
from digiid.platform.db import Database, UtcDateTime
from digiid.platform.entropy import Entropy, token_urlsafe

IDLE_LIMIT = timedelta(minutes=30)
ABSOLUTE_LIMIT = timedelta(hours=12)
_TOUCH_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Session:
    """`subject` is who signed in (a personal code or an account id), None before signing in."""

    id_hash: bytes
    site: str
    subject: str | None
    data: Mapping[str, str]
    created_at: datetime
    last_seen_at: datetime


def sessions_table(metadata: MetaData) -> Table:
    """The table `sessions` of one institution; its sites share it and never see each other's rows."""
    table = Table(
        "sessions",
        metadata,
        Column("id_hash", LargeBinary(32), primary_key=True),
        Column("site", String(40), nullable=False),
        Column("subject", String(64)),
        Column("data", Text, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("last_seen_at", UtcDateTime, nullable=False),
    )
    Index("sessions_subject", table.c.subject)
    return table


class SessionStore:
    """The sessions of one site."""

    def __init__(self, site: str, db: Database, table: Table, clock: Clock, entropy: Entropy) -> None:
        self._site, self._db, self._table, self._clock, self._entropy = site, db, table, clock, entropy
        # Every request asks one of these: put together once, they cost half as much.
        t = table.c
        is_it = t.id_hash == bindparam("session")
        self._insert = insert(table)
        self._delete = delete(table).where(is_it)
        self._select = select(t.id_hash, t.site, t.subject, t.data, t.created_at, t.last_seen_at).where(
            is_it, t.site == site
        )
        self._select_data = select(t.data).where(is_it)
        self._remember = update(table).where(is_it).values(data=bindparam("remembered"))
        self._touch = update(table).where(is_it).values(last_seen_at=bindparam("seen"))

    def start(
        self, subject: str | None, data: Mapping[str, str], *, replaces: Session | None = None
    ) -> tuple[str, Session]:
        """Begin a session under a new identifier and end the one it replaces. Returns the cookie's value."""
        cookie = token_urlsafe(self._entropy, 32)
        now = self._clock.now()
        session = Session(_hash(cookie), self._site, subject, dict(data), now, now)
        self._db.retry(lambda: self._begin(session, replaces))
        return cookie, session

    def _begin(self, session: Session, replaces: Session | None) -> None:
        with self._db.write(durable=False) as tx:
            if replaces is not None:
                tx.execute(self._delete, {"session": replaces.id_hash})
            tx.execute(
                self._insert,
                {
                    "id_hash": session.id_hash,
                    "site": session.site,
                    "subject": session.subject,
                    "data": _encode(session.data),
                    "created_at": session.created_at,
                    "last_seen_at": session.last_seen_at,
                },
            )

    def find(self, cookie: str) -> Session | None:
        """The live session of this site behind a cookie, or None."""
        with self._db.read() as tx:
            row = tx.execute(self._select, {"session": _hash(cookie)}).one_or_none()
        now = self._clock.now()
        if row is None or now - row.last_seen_at > IDLE_LIMIT or now - row.created_at > ABSOLUTE_LIMIT:
            return None
        if now - row.last_seen_at > _TOUCH_EVERY:
            self._db.retry(lambda: self._touch_at(row.id_hash, now))
        return Session(row.id_hash, row.site, row.subject, json.loads(row.data), row.created_at, row.last_seen_at)

    def _touch_at(self, id_hash: bytes, now: datetime) -> None:
        with self._db.write(durable=False) as tx:
            tx.execute(self._touch, {"session": id_hash, "seen": now})

    def remember(self, session: Session, values: Mapping[str, str]) -> None:
        """Add to what a session remembers, as it is now: what another request took meanwhile does not come back."""

        def work() -> None:
            with self._db.write(durable=False) as tx:
                text = tx.execute(self._select_data, {"session": session.id_hash}).scalar_one_or_none()
                if text is not None:
                    data = {**json.loads(text), **values}
                    tx.execute(self._remember, {"session": session.id_hash, "remembered": _encode(data)})

        self._db.retry(work)

    def take(self, session: Session, name: str) -> str | None:
        """Read and remove one remembered value at once: a nonce is used once, also by two requests at a time."""
        return self._db.retry(lambda: self._take(session, name))

    def _take(self, session: Session, name: str) -> str | None:
        with self._db.write(durable=False) as tx:
            text = tx.execute(self._select_data, {"session": session.id_hash}).scalar_one_or_none()
            if text is None:
                return None
            data = json.loads(text)
            value = data.pop(name, None)
            if value is None:
                return None
            tx.execute(self._remember, {"session": session.id_hash, "remembered": _encode(data)})
            return str(value)

    def end(self, session: Session) -> None:
        self._end(self._table.c.id_hash == session.id_hash)

    def end_all(self, subject: str) -> int:
        """End every session of a person at this institution. Returns how many there were."""
        return self._end(self._table.c.subject == subject)

    def purge(self) -> None:
        """Remove what is past its limits. A timer calls it."""
        now = self._clock.now()
        t = self._table.c
        self._end((t.last_seen_at < now - IDLE_LIMIT) | (t.created_at < now - ABSOLUTE_LIMIT))

    def _end(self, which: ColumnElement[bool]) -> int:
        def work() -> int:
            with self._db.write() as tx:
                return tx.execute(delete(self._table).where(which)).rowcount

        return self._db.retry(work)


def _encode(data: Mapping[str, str]) -> str:
    return json.dumps(dict(data), ensure_ascii=False)


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
