"""Messages that their receiver refused: nothing is lost, and a person has to look why."""

import json
from dataclasses import dataclass
from datetime import datetime

from digiid.institutions.police_board import store
from digiid.institutions.police_board.store.officers import Officer
from digiid.institutions.police_board.use_cases.deps import Deps, record_journal, require_role
from digiid.kernel.errors import NotFound
from digiid.platform import outbox


@dataclass(frozen=True, slots=True)
class StuckMessage:
    """`kind` names receiver and act, `code` is the receiver's answer, the identifiers say what it is about."""

    position: int
    kind: str
    code: str
    created_at: datetime
    application_id: str
    document_number: str


def list_stuck(deps: Deps) -> list[StuckMessage]:
    """What was refused, oldest first. A letter's address and text are not shown."""
    with deps.db.read() as tx:
        rows = outbox.find_refused(tx, store.schema.OUTBOX)
    stuck = []
    for row in rows:
        about = json.loads(row.payload)
        code = (row.last_error or "").partition(":")[0]
        number = str(about.get("document_number", ""))
        stuck.append(
            StuckMessage(row.position, row.kind, code, row.created_at, str(about.get("application_id", "")), number)
        )
    return stuck


def send_again(deps: Deps, officer: Officer, position: int) -> None:
    """Put a refused message back among those that wait. Receivers recognise a repeat by its id.

    Raises: NotFound `outbox.not_stuck`.
    """
    require_role(officer, "deciding_officer")
    now = deps.clock.now()
    with deps.db.write() as tx:
        if not outbox.release_refused(tx, store.schema.OUTBOX, position, now):
            raise NotFound("outbox.not_stuck", str(position), public="This message is not stuck any more.")
        record_journal(tx, "outbox.sent_again", at=now, position=position, by=officer.officer_id)
    deps.wake_outbox()
