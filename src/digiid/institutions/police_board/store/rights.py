"""What persons are entitled to."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, String, Table, Text, insert, select, update
from sqlalchemy.engine import Connection, RowMapping

from digiid.institutions.police_board.domain.right import RightState
from digiid.institutions.police_board.store.schema import CODE, ID, column_values, metadata
from digiid.kernel.errors import NotFound
from digiid.platform.db import UtcDateTime

RIGHTS = Table(
    "rights",
    metadata,
    Column("right_id", ID, primary_key=True),
    Column("person_code", String(11), nullable=False),
    Column("basis", CODE, nullable=False),
    Column("state", CODE, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("limited_to", Text, nullable=False),
    Column("granted_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("rights_person", RIGHTS.c.person_code)


@dataclass(frozen=True, slots=True)
class Right:
    """`basis` is `e_resident` or `citizen`. `limited_to` names e-services while the state is `limited`."""

    right_id: str
    person_code: str
    basis: str
    state: RightState
    state_reason: str
    limited_to: tuple[str, ...]
    granted_at: datetime
    changed_at: datetime


def add_right(tx: Connection, right: Right) -> None:
    tx.execute(insert(RIGHTS).values(**{**column_values(right), "limited_to": json.dumps(right.limited_to)}))


def get_right(tx: Connection, right_id: str) -> Right:
    """Raises: NotFound `right.unknown`."""
    row = tx.execute(select(*RIGHTS.c).where(RIGHTS.c.right_id == right_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("right.unknown", right_id)
    return _right(row)


def find_living_right(tx: Connection, person_code: str, *, basis: str) -> Right | None:
    """The person's right that is neither annulled nor lapsed."""
    ended = [RightState.ANNULLED.value, RightState.LAPSED.value]
    where = (RIGHTS.c.person_code == person_code, RIGHTS.c.basis == basis, RIGHTS.c.state.not_in(ended))
    row = tx.execute(select(*RIGHTS.c).where(*where)).mappings().first()
    return _right(row) if row else None


def find_latest_right(tx: Connection, person_code: str, *, basis: str) -> Right | None:
    """The right that was granted last, whatever became of it."""
    where = (RIGHTS.c.person_code == person_code, RIGHTS.c.basis == basis)
    query = select(*RIGHTS.c).where(*where).order_by(RIGHTS.c.granted_at.desc(), RIGHTS.c.right_id).limit(1)
    row = tx.execute(query).mappings().one_or_none()
    return _right(row) if row else None


def change_right(tx: Connection, right_id: str, **values: Any) -> None:
    tx.execute(update(RIGHTS).where(RIGHTS.c.right_id == right_id).values(**values))


def _right(row: RowMapping) -> Right:
    return Right(**{**row, "state": RightState(row["state"]), "limited_to": tuple(json.loads(row["limited_to"]))})
