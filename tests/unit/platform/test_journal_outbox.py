"""The journal's chain and the outbox's promises, on a database of their own."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import MetaData, select, update

from digiid.kernel.errors import Broken, Refused, Unavailable
from digiid.platform import journal, outbox
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database

metadata = MetaData()
JOURNAL = journal.journal_table(metadata)
OUTBOX = outbox.outbox_table(metadata)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database.sqlite(tmp_path / "x.sqlite")
    with database.write() as tx:
        metadata.create_all(tx)
    yield database
    database.close()


def test_a_changed_journal_entry_breaks_the_chain(db: Database, clock: ManualClock) -> None:
    with db.write() as tx:
        for n in range(3):
            journal.record(tx, JOURNAL, kind="test.done", payload={"n": n}, at=clock.now())
    with db.read() as tx:
        last = journal.verify_chain(tx, JOURNAL)
        assert last is not None and last.number == 3
    with db.write() as tx:
        tx.execute(update(JOURNAL).where(JOURNAL.c.number == 2).values(payload='{"n":9}'))
    with db.read() as tx, pytest.raises(Broken, match="entry 2"):
        journal.verify_chain(tx, JOURNAL)


def test_a_journal_cut_behind_its_checkpoint_is_noticed(db: Database, clock: ManualClock) -> None:
    with db.write() as tx:
        journal.record(tx, JOURNAL, kind="test.done", payload={}, at=clock.now())
        head = journal.record(tx, JOURNAL, kind="test.done", payload={}, at=clock.now())
    with db.write() as tx:
        tx.execute(JOURNAL.delete().where(JOURNAL.c.number == 2))
    with db.read() as tx, pytest.raises(Broken, match="checkpoint"):
        journal.verify_chain(tx, JOURNAL, trusted_heads={head.number: head.hash})


def put(db: Database, clock: ManualClock, message_id: str, key: str = "") -> None:
    with db.write() as tx:
        outbox.put(
            tx, OUTBOX, message_id=message_id, kind="k", payload={"id": message_id}, at=clock.now(), ordering_key=key
        )


def test_a_message_is_kept_until_its_receiver_has_it_and_keeps_its_order(db: Database, clock: ManualClock) -> None:
    seen: list[str] = []
    down = True

    def deliver(message: outbox.OutboxMessage) -> None:
        if down and message.payload["id"] == "a1":
            raise Unavailable("peer.down", "no answer")
        seen.append(message.message_id)

    worker = outbox.Worker("t", db, OUTBOX, clock, {"k": deliver})
    put(db, clock, "a1", "a")
    put(db, clock, "a2", "a")
    put(db, clock, "b1", "b")
    worker.deliver_due()
    assert seen == ["b1"]
    down = False
    worker.deliver_due()
    assert seen == ["b1"], "not before its next attempt is due"
    clock.advance(timedelta(seconds=1))
    worker.deliver_due()
    assert seen == ["b1", "a1", "a2"]
    assert worker.deliver_due() == 0


def test_a_message_that_its_receiver_refuses_is_set_aside_for_a_person(db: Database, clock: ManualClock) -> None:
    def refuse(_message: outbox.OutboxMessage) -> None:
        raise Refused("peer.says_no", "not yours")

    put(db, clock, "x")
    outbox.Worker("t", db, OUTBOX, clock, {"k": refuse}).deliver_due()
    with db.read() as tx:
        assert outbox.find_refused(tx, OUTBOX)[0].message_id == "x"
        assert tx.execute(select(OUTBOX.c.last_error)).scalar_one().startswith("peer.says_no")


def test_a_message_rolled_back_with_its_act_never_leaves(db: Database, clock: ManualClock) -> None:
    with pytest.raises(RuntimeError), db.write() as tx:
        outbox.put(tx, OUTBOX, message_id="m", kind="k", payload={}, at=clock.now())
        raise RuntimeError("the act failed")
    assert outbox.Worker("t", db, OUTBOX, clock, {"k": lambda m: None}).deliver_due() == 0
