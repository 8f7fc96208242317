"""`digiid outbox`: what was refused is seen, sent again or given up, and the journal tells of it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from digiid.apps.cli import app
from digiid.apps.outbox_cli import UNITS
from digiid.apps.state import StateFolder, StatePorts
from digiid.exchange.central_server import app as central_server
from digiid.institutions.bank import app as bank
from digiid.institutions.bank import store
from digiid.institutions.business_register import app as business_register
from digiid.institutions.card_bureau import app as card_bureau
from digiid.institutions.information_authority import app as information_authority
from digiid.institutions.information_authority.consents import app as consents
from digiid.institutions.police_board import app as police_board
from digiid.institutions.population_register import app as population_register
from digiid.kernel.errors import Malformed, NotFound, Refused, Unavailable
from digiid.platform import journal, outbox
from digiid.platform.clock import SystemClock
from digiid.platform.db import Database

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MESSAGE = {"position": 1, "kind": "report_anomaly", "message_id": "m-1"}
PACKAGES = {
    "bank": bank.PACKAGE,
    "business_register": business_register.PACKAGE,
    "card_bureau": card_bureau.PACKAGE,
    "central_server": central_server.PACKAGE,
    "consents": consents.PACKAGE,
    "information_authority": information_authority.PACKAGE,
    "police_board": police_board.PACKAGE,
    "population_register": population_register.PACKAGE,
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = StateFolder(tmp_path / "state")
    folder.create(StatePorts.from_first())
    for unit, package in PACKAGES.items():
        db = Database.sqlite(folder.path / "db" / f"{unit}.sqlite")
        db.migrate(package)
        db.close()
    return folder.path


@pytest.fixture
def bank_db(state: Path) -> Iterator[Database]:
    db = Database.sqlite(state / "db" / "bank.sqlite")
    yield db
    db.close()


def refuse(db: Database, message_id: str) -> None:
    """Put a message whose receiver says no, and have it delivered."""

    def deliver(_message: outbox.OutboxMessage) -> None:
        raise Refused("peer.says_no", "not yours")

    with db.write() as tx:
        outbox.put(tx, store.OUTBOX, message_id=message_id, kind="report_anomaly", payload={"secret": "S3CRET"}, at=AT)
    outbox.Worker("bank", db, store.OUTBOX, SystemClock(), {"report_anomaly": deliver}).deliver_due()


def run(state: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["outbox", *arguments, "--state", str(state)])


def rows(db: Database) -> list[Any]:
    with db.read() as tx:
        return list(tx.execute(select(store.OUTBOX.c.state, store.OUTBOX.c.payload)).all())


def journaled(db: Database) -> list[tuple[str, dict[str, Any]]]:
    with db.read() as tx:
        assert journal.verify_chain(tx, store.JOURNAL) is not None
        found = tx.execute(select(store.JOURNAL.c.kind, store.JOURNAL.c.payload)).all()
    return [(row.kind, json.loads(row.payload)) for row in found]


def test_every_outbox_of_a_state_is_looked_into() -> None:
    assert tuple(PACKAGES) == UNITS


def test_nothing_refused_is_said_so(state: Path) -> None:
    answer = run(state, "list")
    assert answer.exit_code == 0
    assert "No message was refused" in answer.output
    assert json.loads(run(state, "list", "--json").output) == []


def test_what_was_refused_is_listed_without_what_it_says(state: Path, bank_db: Database) -> None:
    refuse(bank_db, "m-1")
    answer = run(state, "list")
    assert answer.exit_code == 1
    for told in ("bank 1", "report_anomaly", "peer.says_no", "m-1", "send-again"):
        assert told in answer.output
    assert "S3CRET" not in answer.output
    (listed,) = json.loads(run(state, "list", "--json").output)
    assert (listed["unit"], listed["position"], listed["code"]) == ("bank", 1, "peer.says_no")


def test_what_is_not_taken_for_long_is_told_and_is_no_failure(state: Path, bank_db: Database) -> None:
    def be_away(_message: outbox.OutboxMessage) -> None:
        raise Unavailable("peer.away", "no answer")

    with bank_db.write() as tx:  # one of a week ago and one of now
        for message_id, at in (("old", AT), ("new", SystemClock().now())):
            outbox.put(tx, store.OUTBOX, message_id=message_id, kind="report_anomaly", payload={}, at=at)
    outbox.Worker("bank", bank_db, store.OUTBOX, SystemClock(), {"report_anomaly": be_away}).deliver_due()
    answer = run(state, "list")
    assert answer.exit_code == 0
    assert "1 message not taken yet" in answer.output and "peer.away" in answer.output
    (told,) = json.loads(run(state, "list", "--json").output)
    assert (told["message_id"], told["state"], told["attempts"]) == ("old", "waiting", 1)


def test_a_message_is_sent_again_when_the_cause_is_mended(state: Path, bank_db: Database) -> None:
    refuse(bank_db, "m-1")
    with pytest.raises(Unavailable, match=r"outbox\.stuck"):
        outbox.check_none_refused(bank_db, store.OUTBOX)
    assert run(state, "send-again", "bank", "1").exit_code == 0
    outbox.check_none_refused(bank_db, store.OUTBOX)
    delivered: list[str] = []
    worker = outbox.Worker(
        "bank", bank_db, store.OUTBOX, SystemClock(), {"report_anomaly": lambda m: delivered.append(m.message_id)}
    )
    worker.deliver_due()
    assert delivered == ["m-1"]
    assert journaled(bank_db) == [("outbox.sent_again", {**MESSAGE, "by": "operator"})]


def test_a_message_is_given_up_with_a_reason_and_its_content_goes(state: Path, bank_db: Database) -> None:
    refuse(bank_db, "m-1")
    assert run(state, "give-up", "bank", "1", "--because", "the receiver was closed").exit_code == 0
    assert [tuple(row) for row in rows(bank_db)] == [("given_up", "{}")]
    outbox.check_none_refused(bank_db, store.OUTBOX)
    assert journaled(bank_db) == [
        ("outbox.given_up", {**MESSAGE, "by": "operator", "because": "the receiver was closed"})
    ]
    assert isinstance(run(state, "send-again", "bank", "1").exception, NotFound)


def test_a_number_that_no_database_has_is_wrong_use(state: Path) -> None:
    answer = run(state, "send-again", "bank", str(2**63))
    assert answer.exit_code == 2 and isinstance(answer.exception, SystemExit)


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        (("send-again", "bank", "1"), NotFound, "outbox.not_refused"),
        (("send-again", "tax", "1"), Malformed, "outbox.unit"),
        (("give-up", "bank", "1", "--because", "  "), Malformed, "outbox.reason"),
        (("give-up", "bank", "1", "--because", "x" * 501), Malformed, "outbox.reason"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    state: Path, bank_db: Database, arguments: tuple[str, ...], error: type[Exception], code: str
) -> None:
    answer = run(state, *arguments)
    assert isinstance(answer.exception, error)
    assert code in str(answer.exception)
    assert rows(bank_db) == []


def test_a_message_that_still_waits_is_not_touched(state: Path, bank_db: Database) -> None:
    with bank_db.write() as tx:
        outbox.put(tx, store.OUTBOX, message_id="m-1", kind="report_anomaly", payload={}, at=AT)
    assert isinstance(run(state, "give-up", "bank", "1", "--because", "impatience").exception, NotFound)
    assert [row.state for row in rows(bank_db)] == ["waiting"]


def test_where_there_is_no_state_it_is_said(tmp_path: Path) -> None:
    assert isinstance(run(tmp_path / "nothing", "list").exception, NotFound)
