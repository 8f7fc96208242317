"""Orders in a case that the person learns of looks only later."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, String, Table, insert, select
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import ID, NAME, column_values, metadata
from digiid.platform.db import UtcDateTime

LOOK_DELAYS = Table(
    "look_delays",
    metadata,
    Column("delay_id", ID, primary_key=True),
    Column("person_code", String(11), nullable=False),
    Column("case_id", ID, ForeignKey("cases.case_id"), nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("ordered_by", NAME, nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
)
Index("look_delays_person", LOOK_DELAYS.c.person_code, LOOK_DELAYS.c.until)


@dataclass(frozen=True, slots=True)
class LookDelay:
    """An order in a case: the officers' looks at this person are shown to the person only from `until`."""

    delay_id: str
    person_code: str
    case_id: str
    until: datetime
    reason: str
    ordered_by: str
    ordered_at: datetime


def add_look_delay(tx: Connection, delay: LookDelay) -> None:
    tx.execute(insert(LOOK_DELAYS).values(**column_values(delay)))


def find_look_delay(tx: Connection, person_code: str, at: datetime) -> LookDelay | None:
    """The order in force for a person; of several the one that lasts longest."""
    where = (LOOK_DELAYS.c.person_code == person_code, LOOK_DELAYS.c.until > at)
    query = select(*LOOK_DELAYS.c).where(*where).order_by(LOOK_DELAYS.c.until.desc()).limit(1)
    row = tx.execute(query).mappings().one_or_none()
    return LookDelay(**row) if row else None
