from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from digiid.exchange.global_conf.client import ConfigurationState
from digiid.exchange.message_log.entries import ArchivingState, StampingState
from digiid.exchange.security_server.clocks import (
    DISK_STOPPED_BYTES,
    MEANINGS,
    Clocks,
    ClockSources,
    ClockState,
    DiskGauge,
    HeldCertificate,
    KeptStatus,
    certificate_clock,
    certificate_clocks,
    configuration_clock,
    ocsp_clock,
    stamping_clocks,
)
from digiid.exchange.security_server.local_conf import LocalConfAlarm
from digiid.kernel.errors import Unavailable
from digiid.platform.clock import ManualClock

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MINUTE, TICK, GIB = timedelta(minutes=1), timedelta(microseconds=1), 1024**3
OK, WARNING, STOPPED = ClockState.OK, ClockState.WARNING, ClockState.STOPPED

CONFIGURATION = ConfigurationState(AT + 10 * MINUTE, AT, AT, 6, "http://127.0.0.1:8800/internalconf", None, None)
IDLE = StampingState(None, None, 0, AT, None, True)
GRACE = timedelta(hours=4)


def waiting(since: datetime, *, error: str | None = "tsa.unreachable: gone") -> StampingState:
    return StampingState(since, since + GRACE, 3, AT, error, True)


def sources(**changes) -> ClockSources:
    good = ClockSources(
        configuration=lambda: CONFIGURATION,
        ocsp=lambda: [KeptStatus("EE/GOV/70000105", AT)],
        ocsp_freshness=lambda: timedelta(hours=1),
        stamping=lambda: IDLE,
        stamping_grace=GRACE,
        check_log=lambda: None,
        certificates=lambda: [HeldCertificate("certificate_signing", "EE/GOV/1", AT, AT + timedelta(days=365))],
        list_keys=lambda: [("EE/GOV/1", None)],
        disk=lambda: (50 * GIB, 100 * GIB),
        rights_alarm=lambda: None,
        maintenance=lambda: None,
    )
    return replace(good, **changes)


def read(at=AT, **changes):
    return Clocks(sources(**changes), ManualClock(at)).read()


def found(clocks, name):
    return next(clock for clock in clocks if clock.name == name)


# ------------------------------------------------------------------ TM-10: what is shared and goes away, expires closed


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (timedelta(0), OK),
        (5 * MINUTE, OK),
        (5 * MINUTE + TICK, WARNING),
        (10 * MINUTE - TICK, WARNING),
        (10 * MINUTE, STOPPED),
        (timedelta(days=1), STOPPED),
    ],
)
def test_tm10_the_configuration_stops_at_its_expiry(after, state):
    clock = configuration_clock(CONFIGURATION, now=AT + after)
    assert (clock.state, clock.runs_out_at) == (state, AT + 10 * MINUTE)
    assert clock.left == max(timedelta(0), 10 * MINUTE - after)


def test_a_configuration_whose_parts_did_not_change_for_hours_is_in_order():
    made_long_ago = replace(CONFIGURATION, generated_at=AT - timedelta(hours=9), life=10 * MINUTE)
    clock = configuration_clock(made_long_ago, now=AT + MINUTE)
    assert (clock.state, clock.whole) == (OK, 10 * MINUTE)


def test_tm10_without_a_configuration_nothing_goes():
    clock = configuration_clock(ConfigurationState(None, None, None, None, None, "http.unreachable", AT), now=AT)
    assert (clock.state, clock.detail) == (STOPPED, "http.unreachable")


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (timedelta(0), OK),
        (40 * MINUTE, OK),
        (40 * MINUTE + 2 * TICK, WARNING),
        (60 * MINUTE, WARNING),
        (60 * MINUTE + TICK, STOPPED),
    ],
)
def test_tm10_an_ocsp_response_stops_when_it_is_older_than_allowed(after, state):
    # exactly as old as allowed is still good, as in GlobalConf.verify_signer
    assert ocsp_clock(KeptStatus("x", AT), freshness=60 * MINUTE, now=AT + after).state is state


def test_tm10_an_ocsp_response_stops_at_its_own_end_if_that_is_earlier():
    status = KeptStatus("x", AT, AT + 30 * MINUTE)
    assert ocsp_clock(status, freshness=60 * MINUTE, now=AT + 30 * MINUTE).state is WARNING
    assert ocsp_clock(status, freshness=60 * MINUTE, now=AT + 30 * MINUTE + TICK).state is STOPPED


def test_tm10_without_an_ocsp_response_nothing_is_signed():
    assert ocsp_clock(KeptStatus("x", None), freshness=60 * MINUTE, now=AT).state is STOPPED


@pytest.mark.parametrize(
    ("after", "state"),
    [(MINUTE, WARNING), (GRACE - TICK, WARNING), (GRACE, STOPPED), (2 * GRACE, STOPPED)],
)
def test_tm10_time_stamps_stop_when_the_grace_is_over(after, state):
    clock = next(stamping_clocks(waiting(AT), grace=GRACE, now=AT + after))
    assert (clock.state, clock.left) == (state, max(timedelta(0), GRACE - after))


def test_a_batch_that_waits_its_minute_is_no_warning():
    assert next(stamping_clocks(waiting(AT, error=None), grace=GRACE, now=AT + MINUTE)).state is OK
    assert next(stamping_clocks(waiting(AT, error=None), grace=GRACE, now=AT + 6 * MINUTE)).state is WARNING
    assert next(stamping_clocks(IDLE, grace=GRACE, now=AT)).left == GRACE


def test_tm10_without_a_time_stamping_authority_nothing_is_accepted():
    state = StampingState(None, None, 0, None, None, False)
    assert next(stamping_clocks(state, grace=GRACE, now=AT)).state is STOPPED


def test_without_an_end_of_the_grace_time_stamps_never_stop():
    state = StampingState(AT, None, 3, None, "gone", True)
    clock = next(stamping_clocks(state, grace=timedelta(0), now=AT + timedelta(days=9)))
    assert (clock.state, clock.left) == (WARNING, None)


HOURS = timedelta(hours=1)
ARCHIVED = ArchivingState(None, AT, None, 6 * HOURS)


@pytest.mark.parametrize(
    ("state", "expected", "detail"),
    [
        (ARCHIVED, OK, ""),
        (replace(ARCHIVED, oldest_waiting_at=AT - 12 * HOURS), OK, ""),
        (replace(ARCHIVED, oldest_waiting_at=AT - 13 * HOURS), WARNING, "2026-11-22T21:00:00+00:00"),
        (replace(ARCHIVED, last_error="exchange.message_log.archive_folder: full"), WARNING, "archive_folder: full"),
        (replace(ARCHIVED, last_error="x: y", oldest_waiting_at=AT - 13 * HOURS), WARNING, "x: y"),
    ],
)
def test_an_archiver_that_fails_or_is_behind_warns_and_never_stops(state, expected, detail):
    [clock] = [each for each in read(archiving=lambda: state) if each.name == "archives"]
    assert clock.state is expected
    assert detail in clock.detail
    assert clock.left is None


def test_without_an_archiver_there_is_no_such_clock_and_one_that_cannot_be_asked_is_told_by_the_logs():
    def gone() -> None:
        raise Unavailable("db.busy", "gone")

    for archiving in (lambda: None, gone):
        assert "archives" not in {each.name for each in read(archiving=archiving)}


def test_a_long_queue_is_a_warning():
    state = StampingState(AT, AT + GRACE, 10_001, AT, None, True)
    assert [each.state for each in stamping_clocks(state, grace=GRACE, now=AT)] == [OK, WARNING]


@pytest.mark.parametrize(
    ("left", "state"),
    [
        (timedelta(days=31), OK),
        (timedelta(days=29), WARNING),
        (timedelta(0), WARNING),
        (-TICK, STOPPED),
        (timedelta(days=366), STOPPED),
    ],
)
def test_tm10_a_certificate_stops_after_its_last_instant(left, state):
    held = HeldCertificate("certificate_authentication", "x", AT, AT + timedelta(days=365))
    assert certificate_clock(held, now=held.not_after_at - left).state is state


def test_a_short_lived_certificate_warns_at_a_fifth_of_its_life():
    held = HeldCertificate("certificate_signing", "x", AT, AT + timedelta(days=10))
    assert certificate_clock(held, now=AT + timedelta(days=7, hours=23)).state is OK
    assert certificate_clock(held, now=AT + timedelta(days=8, hours=1)).state is WARNING


def test_of_many_certificates_in_order_the_first_to_end_stands_for_all():
    def held(name, days):
        return HeldCertificate("certificate_information_system", name, AT, AT + timedelta(days=days))

    all_of_them = [held("c", 400), held("a", 300), held("old", 20), held("b", 500)]
    clocks = certificate_clocks(all_of_them, now=AT + timedelta(days=15))
    assert [(clock.subject, clock.state, clock.detail) for clock in clocks] == [("old", OK, "+ 3")]
    clocks = certificate_clocks(all_of_them, now=AT + timedelta(days=19))
    assert [(clock.subject, clock.state, clock.detail) for clock in clocks] == [("old", WARNING, ""), ("a", OK, "+ 2")]


# ------------------------------------------------------------------ disk


@pytest.mark.parametrize(
    ("free", "state"),
    [(50 * GIB, OK), (GIB, WARNING), (DISK_STOPPED_BYTES, WARNING), (DISK_STOPPED_BYTES - 1, STOPPED), (0, STOPPED)],
)
def test_little_space_warns_and_none_stops(free, state):
    assert DiskGauge().clock(free_bytes=free, total_bytes=100 * GIB, now=AT).state is state


def test_what_is_told_of_the_disk_needs_no_translation():
    clock = DiskGauge().clock(free_bytes=50 * GIB, total_bytes=100 * GIB, now=AT)
    assert clock.detail == "51200 / 102400 MiB"


def test_a_disk_that_fills_tells_when_it_is_full():
    gauge = DiskGauge()
    assert gauge.clock(free_bytes=50 * GIB, total_bytes=100 * GIB, now=AT).left is None
    # a GiB an hour: 49 hours at that pace
    clock = gauge.clock(free_bytes=49 * GIB, total_bytes=100 * GIB, now=AT + timedelta(hours=1))
    assert clock.state is WARNING
    assert timedelta(hours=48) < clock.left < timedelta(hours=49)
    # space was made: the measure begins again
    assert gauge.clock(free_bytes=90 * GIB, total_bytes=100 * GIB, now=AT + timedelta(hours=2)).left is None


def test_a_disk_that_fills_slowly_is_no_warning():
    gauge = DiskGauge()
    gauge.clock(free_bytes=50 * GIB, total_bytes=100 * GIB, now=AT)
    clock = gauge.clock(free_bytes=50 * GIB - 1024**2, total_bytes=100 * GIB, now=AT + timedelta(hours=1))
    assert (clock.state, clock.left > timedelta(days=365)) == (OK, True)


# ------------------------------------------------------------------ all together


def test_when_all_is_well_every_clock_says_so():
    clocks = read()
    assert {clock.state for clock in clocks} == {OK}
    assert {clock.name for clock in clocks} == {
        "configuration",
        "ocsp",
        "time_stamps",
        "log_queue",
        "log",
        "certificate_signing",
        "keys",
        "disk",
        "rights",
        "monitoring",
    }


def test_the_worst_comes_first_and_then_what_runs_out_next():
    clocks = read(
        AT + 8 * MINUTE,
        rights_alarm=lambda: LocalConfAlarm("exchange.local_conf.invalid", "x", AT),
        list_keys=lambda: [("EE/GOV/1", "the token is not there"), ("EE/GOV/2", None)],
    )
    assert [(clock.name, clock.state) for clock in clocks[:3]] == [
        ("keys", STOPPED),
        ("configuration", WARNING),
        ("rights", WARNING),
    ]
    assert found(clocks, "keys").subject == "EE/GOV/1"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("configuration", "configuration"),
        ("ocsp", "ocsp"),
        ("stamping", "time_stamps"),
        ("check_log", "log"),
        ("certificates", "certificate_signing"),
        ("list_keys", "keys"),
        ("disk", "disk"),
        ("rights_alarm", "rights"),
        ("maintenance", "maintenance"),
        ("monitoring_is_failing", "monitoring"),
    ],
)
def test_what_cannot_be_read_has_stopped_and_the_others_are_told_all_the_same(source, name):
    def fail():
        raise Unavailable("db.busy", "the database is gone")

    clocks = read(**{source: fail})
    assert (found(clocks, name).state, found(clocks, name).detail) == (STOPPED, "db.busy: the database is gone")
    assert sum(clock.state is OK for clock in clocks) >= 8


def test_a_fault_of_ours_does_not_take_the_page_with_it():
    def fail():
        raise ValueError("bad")

    assert found(read(disk=fail), "disk").detail == "ValueError"


def test_the_freshness_that_was_said_last_counts_when_the_configuration_has_run_out():
    said = [timedelta(minutes=30)]

    def freshness():
        if not said:
            raise Unavailable("exchange.global_conf_outdated", "ran out")
        return said.pop()

    clock = ManualClock(AT)
    clocks = Clocks(sources(ocsp_freshness=freshness), clock)
    clocks.read()
    clock.advance(31 * MINUTE)
    assert found(clocks.read(), "ocsp").state is STOPPED


def test_maintenance_is_told_as_a_stop_with_its_message():
    clock = found(read(maintenance=lambda: "back at 12"), "maintenance")
    assert (clock.state, clock.detail) == (STOPPED, "back at 12")


def test_every_kind_says_what_then_and_what_to_do():
    for meaning in MEANINGS.values():
        assert meaning.title
        assert meaning.consequence.endswith(".")
        assert meaning.remedy.endswith(".")
