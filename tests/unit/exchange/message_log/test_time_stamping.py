import asyncio
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from digiid.exchange.message_log import TimeStampAuthority, store
from digiid.exchange.message_log.containers import ContainerBuilder
from digiid.formats.exchange.message_container import verify_message_container
from digiid.kernel.errors import DigiidError, Refused, Unavailable
from tests.support.global_conf import PKI
from tests.support.logged import Authority, make_entry, open_log, read_conf, record_all
from tests.support.loops import run_async
from tests.support.pki import key_usage, make_certificate, new_key

GRACE = timedelta(seconds=14_400)
MAX = 10**6


def verify_stamps(log, count):
    """Every record has a container whose time stamp is about its own signature; the stamps' times, in order."""
    builder = ContainerBuilder()
    with log.db.read() as tx:
        messages = list(store.get_messages(tx, range(1, count + 1)))
        containers = [builder.build(tx, message) for message in messages]
    assert len(messages) == count
    return [verify_message_container(each, max_part_bytes=MAX).time_stamp for each in containers]


def stamps(log):
    with log.db.read() as tx:
        return [
            tuple(row)
            for row in tx.execute(
                store.select(store.TIME_STAMPS.c.first_record, store.TIME_STAMPS.c.last_record).order_by("last_record")
            )
        ]


def test_every_record_is_covered_once_in_the_order_of_their_numbers(started, authority):
    log = started(stamping_batch_records=4)
    record_all(log, [make_entry(f"m{i}") for i in range(10)])
    assert log.stamper.stamp_pending() == 10
    assert stamps(log) == [(1, 4), (5, 8), (9, 10)] and authority.asked == 3
    assert all(stamp is not None and stamp.hash_name == "sha512" for stamp in verify_stamps(log, 10))
    assert log.stamper.stamp_pending() == 0 and authority.asked == 3


def test_later_records_come_under_later_time_stamps(started, clock):
    log = started()
    record_all(log, [make_entry("one")])
    log.stamper.stamp_pending()
    clock.advance(timedelta(minutes=1))
    record_all(log, [make_entry("two", at=clock.now())])
    log.stamper.stamp_pending()
    first, second = verify_stamps(log, 2)
    assert second.gen_at - first.gen_at == timedelta(minutes=1)


def test_a_single_record_is_stamped_too(started):
    log = started()
    record_all(log, [make_entry()])
    assert log.stamper.stamp_pending() == 1
    assert verify_stamps(log, 1)[0] is not None


def test_a_unit_that_the_configuration_does_not_approve_of_is_not_believed_and_the_next_is_asked(db, clock, tmp_path):
    conf = read_conf(tmp_path / "conf")
    usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)
    stranger = make_certificate(
        PKI.tsu.certificate.subject, new_key(), PKI.root, [key_usage(digital_signature=True), usage]
    )
    wrong, other = Authority(clock, unit=stranger), Authority(clock, address="http://second.test/")
    log = open_log(db, clock, wrong, check_unit=conf.verify_time_stamping_unit, stamping_interval_seconds=3600)
    log.start()
    try:
        record_all(log, [make_entry()])
        with pytest.raises(Unavailable) as failed:
            log.stamper.stamp_pending()
        assert failed.value.code == "exchange.timestamper_failed" and "exchange.trust." in failed.value.detail
    finally:
        log.stop()
    both = open_log(db, clock, wrong, other, check_unit=conf.verify_time_stamping_unit)
    assert both.stamper.stamp_pending() == 1 and other.asked == 1


def test_a_token_over_something_else_is_refused(db, clock, authority):
    def fetch(imprint, hash_name):
        return authority.fetch(bytes(64), hash_name)

    log = open_log(db, clock)
    log.stamper._authorities = (TimeStampAuthority("http://tsa.test/", fetch),)
    log.start()
    try:
        record_all(log, [make_entry()])
    finally:
        log.stop()
    with pytest.raises(Unavailable) as failed:
        log.stamper.stamp_pending()
    assert "tsp.imprint" in failed.value.detail and stamps(log) == []


def test_after_a_failure_one_record_is_tried_until_it_works_again(started, authority):
    log = started(stamping_batch_records=100)
    record_all(log, [make_entry(f"m{i}") for i in range(5)])
    authority.is_down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            log.stamper.stamp_pending()
    assert "http.unreachable" in log.describe_stamping().last_error
    authority.is_down = False
    assert log.stamper.stamp_pending() == 5
    assert stamps(log) == [(1, 1), (2, 5)]
    assert log.describe_stamping().last_error is None


# ------------------------------------------------------------------ when no more may be accepted


def accepts(log, clock):
    try:
        log.check_accepting(clock.now())
    except Unavailable as refused:
        assert refused.code == "exchange.timestamping_failed"
        return False
    return True


def test_tm10_time_stamping_down_stops_at_the_end_of_the_grace_exactly_and_recovers_by_itself(
    started, clock, authority
):
    log = started()
    # 1 nothing to stamp, so nothing to be late with, however long
    clock.advance(10 * GRACE)
    assert accepts(log, clock)
    # 2 the clock runs from the oldest record without a time stamp, not from the newest
    authority.is_down = True
    record_all(log, [make_entry("oldest", at=clock.now())])
    clock.advance(GRACE - timedelta(seconds=1))
    record_all(log, [make_entry("newer", at=clock.now())])
    with pytest.raises(Unavailable):
        log.stamper.stamp_pending()
    clock.advance(timedelta(seconds=1) - timedelta(microseconds=1))
    assert accepts(log, clock)
    clock.advance(timedelta(microseconds=1))
    assert not accepts(log, clock)
    assert log.describe_stamping().refuses_at == clock.now()
    # 3 the authority is back: the next try is enough
    authority.is_down = False
    log.stamper.stamp_pending()
    assert accepts(log, clock)
    state = log.describe_stamping()
    assert (state.oldest_unstamped_at, state.refuses_at, state.unstamped) == (None, None, 0)


def test_tm10_a_restart_does_not_begin_the_grace_anew(started, db, clock, authority):
    authority.is_down = True
    log = started()
    record_all(log, [make_entry(at=clock.now())])
    log.stop()
    clock.advance(GRACE)
    assert not accepts(open_log(db, clock, authority), clock)


def test_tm10_the_grace_after_a_partial_success_runs_from_the_next_oldest(started, clock, authority):
    log = started(stamping_batch_records=1)
    record_all(log, [make_entry("one", at=clock.now())])
    clock.advance(timedelta(hours=1))
    record_all(log, [make_entry("two", at=clock.now())])
    two_at = clock.now()
    assert log.stamper._stamp_batch(1) == 1
    assert log.describe_stamping().oldest_unstamped_at == two_at
    clock.advance(GRACE - timedelta(hours=1))
    assert accepts(log, clock)
    clock.advance(timedelta(hours=1))
    assert not accepts(log, clock)


def test_tm10_without_an_authority_nothing_is_accepted(db, clock):
    log = open_log(db, clock, acceptable_timestamp_failure_seconds=0)
    assert not accepts(log, clock) and not log.describe_stamping().is_configured


def test_tm10_a_grace_of_nothing_turns_the_check_off(started, clock, authority):
    authority.is_down = True
    log = started(acceptable_timestamp_failure_seconds=0)
    record_all(log, [make_entry(at=clock.now())])
    clock.advance(100 * GRACE)
    assert accepts(log, clock)


# ------------------------------------------------------------------ every message at once


def test_messages_that_wait_for_their_time_stamp_share_one(started, authority):
    log = started(stamp_immediately=True)
    assert record_all(log, [make_entry(f"m{i}") for i in range(20)]) == list(range(1, 21))
    assert authority.asked < 20
    assert all(verify_stamps(log, 20))


def test_tm10_a_message_that_has_to_be_stamped_at_once_fails_when_it_cannot_be(started, authority):
    log = started(stamp_immediately=True)
    authority.is_down = True
    with pytest.raises(Unavailable) as failed:
        record_all(log, [make_entry("one")])
    assert failed.value.code == "exchange.timestamping_failed"
    authority.is_down = False
    assert record_all(log, [make_entry("two")]) == [2]
    assert all(verify_stamps(log, 2))  # also the one that was told to have failed: it is in the log


def test_whoever_waits_for_a_time_stamp_is_told_when_the_log_stops(db, clock, authority):
    log = open_log(db, clock, authority, stamping_interval_seconds=3600)

    async def wait():
        await log.stamper.wait_for_stamp(1)

    with pytest.raises(DigiidError) as failed:
        run_async(wait())
    assert failed.value.code == "exchange.timestamping_failed"


def test_the_thread_stamps_by_itself(db, clock, authority):
    log = open_log(db, clock, authority, stamping_interval_seconds=1)
    log.start()
    try:
        record_all(log, [make_entry()])

        async def wait():
            await asyncio.wait_for(log.stamper.wait_for_stamp(1), 10)

        run_async(wait())
    finally:
        log.stop()
    assert stamps(log) == [(1, 1)]


def test_a_signature_that_was_changed_after_its_time_stamp_is_noticed(started, db):
    log = started()
    record_all(log, [make_entry("one"), make_entry("two")])
    log.stamper.stamp_pending()
    other = make_entry("other").signature_xml
    for change in (
        {"signature": other},
        {"signature": other, "signature_sha512": store.hashlib.sha512(other).digest()},
        {"message": b"GET\r\n"},
    ):
        with db.write() as tx:
            before = tx.execute(store.select(store.RECORDS).where(store.RECORDS.c.number == 1)).one()._asdict()
            tx.execute(store.update(store.RECORDS).where(store.RECORDS.c.number == 1).values(**change))
        with db.read() as tx, pytest.raises(DigiidError) as broken:
            ContainerBuilder().build(tx, next(store.get_messages(tx, [1])))
        assert broken.value.code == "exchange.message_log.damaged"
        with db.write() as tx:
            tx.execute(store.update(store.RECORDS).where(store.RECORDS.c.number == 1).values(**before))
    with db.write() as tx:
        tx.execute(store.update(store.TIME_STAMPS).values(result=b"<other/>"))
    with db.read() as tx, pytest.raises(DigiidError) as broken:
        ContainerBuilder().build(tx, next(store.get_messages(tx, [1])))
    assert broken.value.code == "exchange.message_log.damaged"


def test_a_refusal_of_an_authority_is_a_failure_like_any_other(started):
    def refuse(imprint, hash_name):
        raise Refused("trust.tsa.time", "the time-stamp is not of now")

    log = started()
    log.stamper._authorities = (TimeStampAuthority("http://tsa.test/", refuse),)
    record_all(log, [make_entry()])
    with pytest.raises(Unavailable) as failed:
        log.stamper.stamp_pending()
    assert "trust.tsa.time" in failed.value.detail
