"""Messages of the outbox that their receiver refused."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import OUTBOX


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    position: int
    kind: str
    last_error: str | None
    created_at: datetime
    payload: str


def find_refused_messages(tx: Connection) -> list[RefusedMessage]:
    """Oldest first."""
    t = OUTBOX.c
    query = select(t.position, t.kind, t.last_error, t.created_at, t.payload).where(t.state == "refused")
    return [RefusedMessage(**row) for row in tx.execute(query.order_by(t.position).limit(100)).mappings()]


def release_refused_message(tx: Connection, position: int, *, at: datetime) -> bool:
    """Put a refused message back among those that wait; False when it is not refused."""
    where = (OUTBOX.c.position == position, OUTBOX.c.state == "refused")
    values = {"state": "waiting", "attempts": 0, "next_attempt_at": at}
    return tx.execute(update(OUTBOX).where(*where).values(**values)).rowcount == 1
