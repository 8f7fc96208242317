import asyncio
import hashlib
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from digiid.exchange.delay import HIDDEN_REASON, HIDDEN_UNTIL
from digiid.exchange.message_log import store
from digiid.exchange.message_log.entries import reduce_message
from digiid.exchange.message_log.writer import GroupWriter
from digiid.formats.exchange.message_signature import BODY, MESSAGE
from digiid.kernel.errors import Refused, Unavailable
from tests.support.global_conf import LOANS, POLICE
from tests.support.logged import SERVICE, make_entry, open_log, record_all
from tests.support.loops import run_async
from tests.support.schema import schema_differences

CARD = b'{"document": "N0000001"}'


def test_the_migrated_schema_is_the_one_of_the_tables(db):
    assert schema_differences(db, store.METADATA) == []


def test_what_was_recorded_is_found_by_its_message_id(started):
    log = started()
    request, response = make_entry("one"), make_entry("one", is_response=True, body=CARD)
    assert record_all(log, [request, response, make_entry("two")]) == [1, 2, 3]
    found = log.find("one")
    assert [(each.number, each.direction, each.party) for each in found] == [
        (1, "request", str(LOANS)),
        (2, "response", str(POLICE)),
    ]
    assert (found[0].message, found[0].signature_xml, found[0].at) == (
        request.message,
        request.signature_xml,
        request.at,
    )
    assert [each.number for each in log.find("one", party=str(POLICE))] == [2]
    assert [each.number for each in log.find("one", is_response=False)] == [1]
    assert log.find("three") == []


def test_a_hash_chain_is_kept_with_its_message(started):
    log, entry = started(), make_entry(body=CARD, use_hash_chain=True)
    record_all(log, [entry])
    assert log.find("TEST-1")[0].hash_chain == entry.hash_chain


def test_messages_recorded_at_the_same_time_all_get_numbers_of_their_own(started):
    log, entry = started(), make_entry()
    entries = [replace(entry, message_id=f"m{i}") for i in range(500)]
    assert record_all(log, entries) == list(range(1, 501))
    assert [log.find(f"m{i}")[0].number for i in (0, 250, 499)] == [1, 251, 500]


def test_of_a_body_only_the_digest_is_kept_unless_the_settings_name_it(started):
    log = started()
    record_all(log, [make_entry(body=CARD)])
    with log.db.read() as tx:
        (kept,) = store.get_messages(tx, [1])
    assert kept.body is None and kept.body_sha512 == hashlib.sha512(CARD).digest()


@pytest.mark.parametrize("named", [str(POLICE), str(LOANS), SERVICE, "TEST/GOV/70000101"])
def test_bodies_of_those_that_the_settings_name_are_kept(started, tmp_path, named):
    log = started(log_bodies_of=(named,))
    (tmp_path / "body").write_bytes(CARD)
    record_all(log, [make_entry(body=CARD), make_entry(body=tmp_path / "body"), make_entry(body=b""), make_entry()])
    with log.db.read() as tx:
        assert [each.body for each in store.get_messages(tx, [1, 2, 3, 4])] == [CARD, CARD, b"", None]


def test_identifiers_are_compared_by_whole_parts(started):
    log = started(log_bodies_of=("TEST/GOV/7", f"{POLICE}/document", "TEST/COM/1"))
    record_all(log, [make_entry(body=CARD)])
    with log.db.read() as tx:
        assert [each.body for each in store.get_messages(tx, [1])] == [None]


def test_a_body_that_must_be_logged_and_is_too_large_stops_its_message_or_is_known_by_digest(started):
    named = {"log_bodies_of": (SERVICE,), "max_body_bytes": len(CARD) - 1}
    with pytest.raises(Refused) as refused:
        record_all(started(**named), [make_entry(body=CARD)])
    assert refused.value.code == "exchange.message_log.body_too_large"
    log = started(**named, larger_bodies="digest")
    record_all(log, [make_entry(body=CARD)])
    with log.db.read() as tx:
        (kept,) = store.get_messages(tx, [1])
    assert kept.body is None and kept.body_sha512 == hashlib.sha512(CARD).digest()


def test_a_reduced_message_keeps_who_and_why_and_its_digest_but_no_path_and_no_query(started):
    log, entry = started(reduce_message=True), make_entry()
    record_all(log, [entry])
    (kept,) = log.find("TEST-1")
    assert kept.is_reduced and kept.message_sha512 == hashlib.sha512(entry.message).digest()
    assert kept.message.startswith(f"POST\r\n/r1/{SERVICE}\r\n".encode())
    assert b"X-Digiid-Consent:eyJ.consent.sig\r\n" in kept.message and b"x-road-request-id:" in kept.message
    assert b"38001010000" not in kept.message and b"loan" not in kept.message.replace(str(LOANS).encode(), b"")


def test_a_reduced_response_keeps_its_status_and_reason():
    assert reduce_message(b"200\r\nOK\r\nX:1\r\nx-road-id:2\r\n") == b"200\r\nOK\r\nx-road-id:2\r\n"
    assert reduce_message(b"GET\r\n/elsewhere?a\r\n") == b"GET\r\n\r\n"


def test_a_reduced_message_still_says_that_a_look_was_to_be_kept_back() -> None:
    order = f"{HIDDEN_UNTIL}:2027-03-01\r\n{HIDDEN_REASON}:criminal proceedings 1\r\n".encode()
    assert reduce_message(b"POST\r\n/\r\nX:1\r\n" + order) == b"POST\r\n\r\n" + order


def test_digests_of_other_parts_are_a_mistake_of_the_caller(started):
    log, entry = started(), make_entry()
    for digests in ({}, {BODY: bytes(64)}, {MESSAGE: bytes(64), "/attachment2": bytes(64)}):
        with pytest.raises(ValueError, match="digests"):
            record_all(log, [replace(entry, digests=digests)])


def test_numbers_go_on_after_a_restart_and_after_everything_was_deleted(db, clock, authority, started):
    log = started()
    record_all(log, [make_entry(), make_entry()])
    log.stamper.stamp_pending()
    log.stop()
    again = started()
    assert record_all(again, [make_entry()]) == [3]
    again.stamper.stamp_pending()
    with again.db.write() as tx:
        store.record_plan_done(tx, store.ArchivePlan(3, "none", 1))
        store.delete_through(tx, 3)
    assert open_log(db, clock, authority).find("TEST-1") == []
    assert record_all(started(), [make_entry()]) == [4]


def test_a_message_is_found_whatever_the_size_of_the_log(started):
    log, entry = started(), make_entry()
    some = [replace(entry, message_id=f"m{i}", signature_xml=b"s") for i in range(3000)]
    for _ in range(4):
        log._write(some)
    assert [each.number for each in log.find("m2999")] == [3000, 6000, 9000, 12_000]
    assert log.find("m2999", limit=1)[0].number == 3000


def test_two_ids_with_one_key_in_the_index_are_told_apart(db, started):
    log = started()
    record_all(log, [make_entry("one"), make_entry("two")])
    with db.write() as tx:
        tx.execute(text("UPDATE record SET message_key = :key"), {"key": store.key_of("one")})
    assert [each.number for each in log.find("one")] == [1]


def test_a_log_that_is_not_open_takes_no_message(db, clock, authority):
    with pytest.raises(Unavailable) as refused:
        record_all(open_log(db, clock, authority), [make_entry()])
    assert refused.value.code == "exchange.logging_failed"


# ------------------------------------------------------------------ the group writer alone


def write_together(writer: GroupWriter, entries, **size):
    async def record():
        return await asyncio.gather(
            *(asyncio.wait_for(writer.submit(entry, size_bytes=size.get("size_bytes", 1)), 10) for entry in entries),
            return_exceptions=True,
        )

    return run_async(record())


@pytest.fixture
def running():
    writers = []

    def run(write, *, max_records=100, max_bytes=1000):
        writer = GroupWriter(write, max_records=max_records, max_bytes=max_bytes)
        writer.start()
        writers.append(writer)
        return writer

    yield run
    for writer in writers:
        writer.stop()


def test_those_that_come_at_the_same_time_share_a_commit(running):
    groups = []

    def write(entries):
        groups.append(len(entries))
        return range(len(entries))

    assert write_together(running(write), [make_entry()] * 50) == list(range(50))
    assert groups == [50]


def test_a_record_at_fault_fails_alone(running):
    good, bad = make_entry("good"), make_entry("bad")

    def write(entries):
        if bad in entries:
            raise ValueError("this one")
        return [7] * len(entries)

    outcomes = write_together(running(write), [good, bad, good])
    assert (outcomes[0], outcomes[2]) == (7, 7) and isinstance(outcomes[1], Unavailable)


def test_when_the_database_is_gone_all_fail_at_once_and_the_next_are_tried_anew(running):
    is_gone, tried = [True], []

    def write(entries):
        tried.append(len(entries))
        if is_gone[0]:
            raise Unavailable("db.busy", "gone")
        return [1] * len(entries)

    writer = running(write)
    outcomes = write_together(writer, [make_entry()] * 3)
    assert [getattr(each, "code", None) for each in outcomes] == ["exchange.logging_failed"] * 3 and tried == [3]
    is_gone[0] = False
    assert write_together(writer, [make_entry()]) == [1]


@pytest.mark.parametrize("limits", [{"max_records": 3}, {"max_bytes": 3}])
def test_no_more_wait_than_may(running, limits):
    go_on = threading.Event()

    def write(entries):
        go_on.wait(10)
        return [1] * len(entries)

    writer = running(write, **limits)

    async def record():
        first = asyncio.ensure_future(writer.submit(make_entry(), size_bytes=1))
        while writer._waiting:  # until the thread has taken it
            await asyncio.sleep(0)
        waiting = [writer.submit(make_entry(), size_bytes=1) for _ in range(3)]
        with pytest.raises(Unavailable) as refused:
            writer.submit(make_entry(), size_bytes=1)
        go_on.set()
        return refused.value.code, await asyncio.gather(first, *waiting)

    assert run_async(record()) == ("exchange.logging_failed", [1, 1, 1, 1])


def test_whoever_gave_up_waiting_disturbs_nobody(running):
    go_on = threading.Event()

    def write(entries):
        go_on.wait(10)
        return [1] * len(entries)

    writer = running(write)

    async def record():
        given_up, other = (writer.submit(make_entry(), size_bytes=1) for _ in range(2))
        given_up.cancel()
        go_on.set()
        return await other

    assert run_async(record()) == 1


def test_what_waits_when_the_writer_is_stopped_is_written(running):
    writer = running(lambda entries: [1] * len(entries))

    async def record():
        outcome = writer.submit(make_entry(), size_bytes=1)
        await asyncio.to_thread(writer.stop)
        with pytest.raises(Unavailable):
            writer.submit(make_entry(), size_bytes=1)
        return await outcome

    assert run_async(record()) == 1
