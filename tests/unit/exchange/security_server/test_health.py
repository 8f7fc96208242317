import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from digiid.exchange.security_server.clocks import Clocks, ClockState, ExchangeClock
from digiid.exchange.security_server.health import HealthCheck, HealthPort
from digiid.exchange.security_server.maintenance import MaintenanceSwitch
from digiid.exchange.security_server.monitoring.statistics import Statistics
from digiid.exchange.security_server.status import (
    AskedServer,
    ServerStatus,
    StatusAddress,
    all_clocks,
    parse_status,
    read_status_addresses,
    status_json,
    write_status_addresses,
)
from digiid.kernel.errors import Malformed, Unavailable
from digiid.kernel.identifiers import ServerId
from digiid.platform.clock import ManualClock
from tests.support.loops import run_async
from tests.unit.exchange.security_server.test_clocks import sources

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SERVER = ServerId("EE", "GOV", "70000105", "state")
HEAD = b'{"server": "x", "at": "2026-01-01T00:00:00Z", "clocks": ['


class Part:
    """Something that a server depends on, and how often it was asked after."""

    def __init__(self):
        self.works, self.asked = True, 0

    def check(self):
        self.asked += 1
        if not self.works:
            raise Unavailable("db.busy", "gone")


def ask(check: HealthCheck) -> tuple[int, str]:
    answer = run_async(check.answer())
    return answer.status, answer.body.decode()


@pytest.fixture
def switch(tmp_path):
    return MaintenanceSwitch(tmp_path / "maintenance")


@pytest.fixture
def clock():
    return ManualClock(AT)


# ------------------------------------------------------------------ health check


def test_healthy_is_remembered_for_two_seconds(switch, clock):
    part = Part()
    check = HealthCheck([("log", part.check)], switch, clock)
    assert ask(check) == (200, "ok\n")
    part.works = False
    clock.advance(timedelta(seconds=1.9))
    assert ask(check) == (200, "ok\n")
    clock.advance(timedelta(seconds=0.1))
    assert ask(check) == (503, "failed: log\n")
    assert part.asked == 2


def test_a_failure_is_remembered_for_thirty_seconds(switch, clock):
    part = Part()
    part.works = False
    check = HealthCheck([("log", part.check), ("keys", lambda: None)], switch, clock)
    assert ask(check)[0] == 503
    part.works = True
    clock.advance(timedelta(seconds=29.9))
    assert ask(check)[0] == 503
    clock.advance(timedelta(seconds=0.1))
    assert ask(check)[0] == 200


def test_a_check_that_hangs_fails_and_is_not_begun_twice(switch, clock):
    release, begun = threading.Event(), []

    def hang():
        begun.append(1)
        release.wait(10)

    check = HealthCheck([("log", hang)], switch, clock, seconds=0.02)

    async def main():
        first = await check.answer()
        clock.advance(timedelta(seconds=31))
        second = await check.answer()
        release.set()
        return first.status, second.status

    assert run_async(main()) == (503, 503)
    assert len(begun) == 1


def test_many_who_ask_at_once_cost_one_check(switch, clock):
    part = Part()
    check = HealthCheck([("log", part.check)], switch, clock)

    async def main():
        return await asyncio.gather(*(check.answer() for _ in range(50)))

    assert {each.status for each in run_async(main())} == {200}
    assert part.asked == 1


# ------------------------------------------------------------------ maintenance


def test_maintenance_is_told_at_once_and_ends_at_once(switch, clock):
    check = HealthCheck([], switch, clock)
    assert ask(check)[0] == 200
    switch.turn_on("back at 12:00")
    assert ask(check) == (503, "maintenance: back at 12:00\n")
    with pytest.raises(Unavailable) as error:
        switch.check_open()
    assert (error.value.code, error.value.public) == ("exchange.maintenance", "back at 12:00")
    switch.turn_off()
    switch.turn_off()
    switch.check_open()
    assert ask(check)[0] == 200


def test_a_message_is_short_and_printable(switch, tmp_path):
    switch.turn_on("a\r\nX-Header: b\x00" + "x" * 1000)
    assert switch.message().startswith("a  X-Header: b x")
    assert len(switch.message()) == 200
    (tmp_path / "maintenance").write_bytes(b"\xff\xfe")
    assert switch.message() == "��"


def test_a_switch_that_cannot_be_read_is_on(tmp_path):
    (tmp_path / "maintenance").mkdir()
    assert MaintenanceSwitch(tmp_path / "maintenance").message() == ""


# ------------------------------------------------------------------ the port


def port(switch, clock, **changes) -> HealthPort:
    clocks = Clocks(sources(**changes), clock)
    return HealthPort(SERVER, HealthCheck([], switch, clock), clocks, Statistics(AT), clock)


def respond(made, method, target):
    return run_async(made.respond(method, target))


def test_status_is_json_that_is_read_again(switch, clock):
    answer = respond(port(switch, clock), "GET", "/status?x=1")
    assert (answer.status, answer.media_type) == (200, "application/json; charset=utf-8")
    status = parse_status(answer.body)
    assert (status.server, status.at, status.state) == (str(SERVER), AT, ClockState.OK)
    told = json.loads(answer.body)
    first = told["clocks"][0]
    assert set(first) == {
        "name",
        "subject",
        "state",
        "runsOutAt",
        "leftSeconds",
        "wholeSeconds",
        "detail",
        "title",
        "whenItRunsOut",
        "whatToDo",
    }
    assert parse_status(json.dumps(status_json(status)).encode()) == status


def test_metrics_are_text_for_prometheus_and_forget_clocks_that_are_gone(switch, clock):
    message = ["work"]
    made = port(switch, clock, maintenance=lambda: message[0] if message else None)
    first = respond(made, "GET", "/metrics").body.decode()
    assert 'digiid_exchange_clock_state{clock="maintenance",subject=""} 2.0' in first
    assert 'digiid_exchange_clock_left_seconds{clock="configuration",subject=""} 600.0' in first
    message.clear()
    clock.advance(timedelta(seconds=2))
    assert 'clock="maintenance"' not in respond(made, "GET", "/metrics").body.decode()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("POST", "/", 405),
        ("DELETE", "/status", 405),
        ("GET", "/../etc/passwd", 404),
        ("GET", "//status", 404),
        ("GET", "/STATUS", 404),
    ],
)
def test_nothing_else_is_answered(switch, clock, method, target, status):
    assert respond(port(switch, clock), method, target).status == status


# ------------------------------------------------------------------ reading what others told


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"server": "x"}',
        b'{"server": "", "at": "2026-01-01T00:00:00Z", "clocks": []}',
        b'{"server": "x", "at": "2026-01-01T00:00:00", "clocks": []}',
        HEAD + b'{"name": "disk", "state": "fine"}]}',
        HEAD + b'{"name": "disk", "state": "ok", "leftSeconds": -1}]}',
        HEAD + b'{"name": "disk", "state": "ok", "leftSeconds": NaN}]}',
        HEAD + b'{"name": "disk", "state": "ok", "leftSeconds": 1e300}]}',
        HEAD + b'{"name": "<script>", "state": "ok"}]}',
        b'{"server": "' + b"x" * 3000 + b'", "at": "2026-01-01T00:00:00Z", "clocks": []}',
        HEAD + b",".join([b'{"name": "disk", "state": "ok"}'] * 2001) + b"]}",
    ],
)
def test_a_hostile_status_is_malformed(body):
    with pytest.raises(Malformed) as error:
        parse_status(body)
    assert error.value.code == "exchange.status"


def test_a_clock_of_a_later_version_is_passed_over():
    body = b'{"server": "x", "at": "2026-01-01T00:00:00Z", "clocks": [{"name": "tides", "state": "ok", "new": 1}]}'
    assert parse_status(body).clocks == ()


def test_clocks_of_all_servers_stand_worst_first():
    def asked(name, *clocks):
        return AskedServer(StatusAddress(name, ""), ServerStatus(name, AT, clocks))

    hour = timedelta(hours=1)
    found = all_clocks(
        [
            asked("a", ExchangeClock("disk", ClockState.OK), ExchangeClock("ocsp", ClockState.WARNING, left=2 * hour)),
            AskedServer(StatusAddress("b", ""), None, "gone"),
            asked("c", ExchangeClock("log", ClockState.STOPPED), ExchangeClock("ocsp", ClockState.WARNING, left=hour)),
        ]
    )
    assert [(each.server, each.clock.name) for each in found] == [
        ("c", "log"),
        ("c", "ocsp"),
        ("a", "ocsp"),
        ("a", "disk"),
    ]


def test_addresses_are_kept_in_a_file(tmp_path):
    file = tmp_path / "exchange" / "status-addresses.json"
    assert read_status_addresses(file) == ()
    write_status_addresses(file, {str(SERVER): "http://127.0.0.1:5588/status"})
    assert read_status_addresses(file) == (StatusAddress(str(SERVER), "http://127.0.0.1:5588/status"),)
    file.write_text("[1]")
    with pytest.raises(Malformed):
        read_status_addresses(file)
