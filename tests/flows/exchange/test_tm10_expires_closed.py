"""TM-10: what is shared goes away, and the exchange stops at the stated instant, not before, and goes on by itself.

Each row freezes one part, moves the clock to the last instant at which messages still pass and to the next one, and
asks the health port at both: the clock that it shows has to agree with what happens to messages.
"""

import json
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from digiid.exchange.security_server.local_conf import Offer
from digiid.exchange.security_server.server_health import health_port_of
from digiid.kernel.errors import DigiidError
from digiid.platform.clock import Clock
from digiid.platform.ports import free_ports
from tests.support.exchange_peer import ocsp_ders
from tests.support.exchange_room import DOCUMENTS, ExchangeRoom, RunningServer, exchange_room
from tests.support.global_conf import PKI, PRIVATE, STATE

TICK = timedelta(microseconds=1)

# How far the provider's clock is from everybody else's, and what who asks is told.
CLOCKS_APART = [
    (3601, "server.serverproxy.global_conf_outdated"),
    (601, "server.serverproxy.global_conf_outdated"),
    (-3600, "server.serverproxy.ssl_authentication_failed"),
]


@pytest.fixture
def room(tmp_path):
    with exchange_room(tmp_path) as room:
        yield room


class Health:
    """The health port of a server, asked over HTTP."""

    def __init__(self, room: ExchangeRoom, server: RunningServer) -> None:
        port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        server.run(server.server.listen_also("health", health_port_of(server.server, room.clock).answer, port))

    def get(self, path: str = "/") -> httpx.Response:
        return httpx.get(self.url + path, timeout=20, trust_env=False)

    def clock(self, name: str) -> dict[str, object]:
        """The worst clock of this kind."""
        return next(each for each in self.get("/status").json()["clocks"] if each["name"] == name)


def code_of(answer: httpx.Response) -> str | None:
    return None if answer.status_code == 200 else str(answer.json()["type"])


def move_to(room: ExchangeRoom, at: datetime) -> None:
    room.clock.advance(at - room.clock.now())


def runs_out_at(clock: dict[str, object]) -> datetime:
    return datetime.fromisoformat(str(clock["runsOutAt"])).astimezone(UTC)


def test_tm10_when_all_is_there_every_clock_is_in_order(room):
    for server in (room.state, room.private):
        health = Health(room, server)
        told = health.get("/status")
        assert (told.status_code, told.json()["server"]) == (200, server.settings.server)
        assert {each["name"]: each["state"] for each in told.json()["clocks"] if each["state"] != "ok"} == {}
        assert (health.get().status_code, health.get().text) == (200, "ok\n")
        assert "digiid_exchange_clock_left_seconds" in health.get("/metrics").text


def test_tm10_a_configuration_that_is_not_renewed_stops_messages_at_its_expiry(room):
    health = Health(room, room.private)
    end = runs_out_at(health.clock("configuration"))
    move_to(room, end - TICK)
    assert code_of(room.ask()) is None
    assert health.clock("configuration")["state"] == "warning"
    room.clock.advance(TICK)
    assert code_of(room.ask()) == "server.clientproxy.global_conf_outdated"
    room.clock.advance(timedelta(seconds=2))  # how long a health answer is kept
    assert health.clock("configuration")["state"] == "stopped"
    assert health.clock("configuration")["leftSeconds"] == 0
    assert (health.get().status_code, health.get().text) == (503, "failed: configuration, keys\n")
    # it goes on by itself when there is a newer one
    room.republish()
    assert code_of(room.ask()) is None
    assert health.clock("configuration")["state"] == "ok"


def test_tm10_ocsp_responses_stop_messages_when_they_are_older_than_allowed(room):
    health = Health(room, room.state)
    code_of(room.ask())
    room.trust.change = lambda path, body: (500, b"") if path == "/ocsp" else (200, body)
    end = runs_out_at(health.clock("ocsp"))
    move_to(room, end - timedelta(seconds=2))
    room.republish()  # the configuration is not what runs out here
    move_to(room, end - TICK)
    assert code_of(room.ask()) is None
    assert health.clock("ocsp")["state"] == "warning"
    room.clock.advance(TICK)
    assert code_of(room.ask()) is not None
    room.clock.advance(timedelta(seconds=1))
    assert health.clock("ocsp")["state"] == "stopped"
    room.trust.change = lambda _path, body: (200, body)
    for server in room.servers.values():
        server.reload()
    assert code_of(room.ask()) is None
    room.clock.advance(timedelta(seconds=1))
    assert health.clock("ocsp")["state"] == "ok"


def test_tm10_without_time_stamps_messages_stop_when_the_grace_is_over(room):
    health = Health(room, room.private)
    stamper = room.private.server.log.stamper
    room.trust.change = lambda path, body: (500, b"") if path == "/tsa" else (200, body)
    assert code_of(room.ask()) is None
    with pytest.raises(DigiidError):
        stamper.stamp_pending()
    assert health.clock("time_stamps")["state"] == "warning"
    end = runs_out_at(health.clock("time_stamps"))
    assert end - room.clock.now() == timedelta(seconds=14_400)
    move_to(room, end - timedelta(seconds=2))
    room.republish()
    move_to(room, end - TICK)
    # the other server waits as long for its time stamps, and its first message is no older
    assert code_of(room.ask()) is None
    room.clock.advance(TICK)
    assert code_of(room.ask()) == "server.clientproxy.timestamping_failed"
    room.clock.advance(timedelta(seconds=1))
    assert health.clock("time_stamps")["state"] == "stopped"
    room.trust.change = lambda _path, body: (200, body)
    for server in room.servers.values():
        server.server.log.stamper.stamp_pending()
    assert code_of(room.ask()) is None
    room.clock.advance(timedelta(seconds=1))
    assert health.clock("time_stamps")["state"] == "ok"


def test_tm10_without_the_log_no_message_passes(room):
    health = Health(room, room.state)
    file = room.folder / "state" / "log.sqlite"
    away = file.with_suffix(".away")
    assert code_of(room.ask()) is None
    file.rename(away)
    assert code_of(room.ask()) == "server.serverproxy.logging_failed"
    room.clock.advance(timedelta(seconds=2))
    assert health.clock("log")["state"] == "stopped"
    assert health.get().text == "failed: log\n"
    away.rename(file)
    room.clock.advance(timedelta(seconds=30))
    assert code_of(room.ask()) is None
    assert (health.clock("log")["state"], health.get().status_code) == ("ok", 200)


def test_tm10_in_maintenance_callers_see_the_message(room):
    health = Health(room, room.state)
    switch = room.state.server.deps.maintenance
    switch.turn_on("back at 12:00")
    answer = room.ask()
    assert code_of(answer) == "server.serverproxy.maintenance_mode"
    assert answer.json()["message"] == "back at 12:00"
    assert (health.get().status_code, health.get().text) == (503, "maintenance: back at 12:00\n")
    assert (health.clock("maintenance")["state"], health.clock("maintenance")["detail"]) == ("stopped", "back at 12:00")
    switch.turn_off()
    assert code_of(room.ask()) is None
    # the asker's own server as well
    room.private.server.deps.maintenance.turn_on("upgrade")
    assert code_of(room.ask()) == "server.clientproxy.maintenance_mode"


def test_tm10_without_the_peers_status_port_what_it_told_holds_until_it_is_too_old(room):
    """xroad.md §2.4: the provider's port 5577."""
    assert code_of(room.ask()) is None
    told_at = room.clock.now()
    [port] = [each for each in room.state.server._listeners if each._name == "ocsp"]
    room.state.run(port.stop(0))
    end = told_at + timedelta(seconds=3600)
    move_to(room, end - timedelta(seconds=2))
    room.republish()  # configuration and both servers' own responses are not what runs out here
    move_to(room, end)
    assert code_of(room.ask()) is None
    room.clock.advance(timedelta(seconds=1))
    asked = len(room.provider.asked)
    for _ in range(2):  # neither over the connection that is open nor over a new one
        assert code_of(room.ask()) == "server.clientproxy.network_error"
        room.clock.advance(timedelta(seconds=1))
    assert len(room.provider.asked) == asked
    room.state.stop()
    room.state.start()
    assert code_of(room.ask()) is None


def test_tm10_without_its_status_port_a_server_that_is_not_known_yet_is_sent_nothing(room):
    [port] = [each for each in room.state.server._listeners if each._name == "ocsp"]
    room.state.run(port.stop(0))
    assert code_of(room.ask()) == "server.clientproxy.network_error"
    assert room.provider.asked == []


def tell(room: ExchangeRoom, monkeypatch: pytest.MonkeyPatch, *responses: bytes) -> None:
    """What the provider's port 5577 answers from now on, once what it told before is old enough to be asked anew."""
    told = iter(responses * 100)
    monkeypatch.setattr(room.state.server.status, "find_by_sha1", lambda _fingerprint: next(told))
    room.clock.advance(timedelta(seconds=1201))
    room.republish()


@pytest.mark.parametrize(
    "rubbish", ["no response", "another certificate's", "not signed by its responder", "too old", "on hold, long ago"]
)
def test_tm10_what_a_peer_told_before_holds_when_what_it_tells_now_is_rubbish(room, monkeypatch, rubbish):
    assert code_of(room.ask()) is None
    own, other = room.keys[STATE].authentication, room.keys[PRIVATE].authentication
    right = ocsp_ders(room, own)
    answers = {
        "no response": (b"rubbish", b"rubbish"),
        "another certificate's": tuple(ocsp_ders(room, other)),
        "not signed by its responder": (PKI.ocsp(own.certificate, at=room.clock.now(), responder=other), right[1]),
        "too old": (PKI.ocsp(own.certificate, at=room.clock.now() - timedelta(hours=3)), right[1]),
        "on hold, long ago": (
            PKI.ocsp(own.certificate, at=room.clock.now() - timedelta(hours=3), status="revoked"),
            right[1],
        ),
    }
    tell(room, monkeypatch, *answers[rubbish])
    assert code_of(room.ask()) is None
    room.clock.advance(timedelta(seconds=6))  # it is asked again, and tells the same
    assert code_of(room.ask()) is None
    # but no longer than it may
    room.clock.advance(timedelta(seconds=3600 - 1201))
    room.republish()
    assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"


def test_tm10_a_peer_that_is_told_to_be_revoked_is_so_at_once_and_rubbish_does_not_bring_it_back(room, monkeypatch):
    assert code_of(room.ask()) is None
    tell(room, monkeypatch, *ocsp_ders(room, room.keys[STATE].authentication, status="revoked"))
    assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"
    tell(room, monkeypatch, b"rubbish")
    assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"
    monkeypatch.undo()
    assert code_of(room.ask()) is None


def test_tm10_without_operational_monitoring_messages_go_on(room):
    """xroad.md §2.4: no effect on messages; the clock warns."""
    health = Health(room, room.state)
    monitoring = room.state.server.monitoring
    file = room.folder / "state" / "monitoring.sqlite"
    assert code_of(room.ask()) is None
    monitoring.flush()
    assert health.clock("monitoring")["state"] == "ok"
    with monitoring.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE records RENAME TO away")
    for _ in range(5):
        assert code_of(room.ask()) is None
    assert monitoring.flush() == 0
    room.clock.advance(timedelta(seconds=2))
    assert health.clock("monitoring")["state"] == "warning"
    assert health.get().status_code == 200
    with monitoring.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE away RENAME TO records")
    assert monitoring.flush() >= 5 and file.exists()
    room.clock.advance(timedelta(seconds=2))
    assert health.clock("monitoring")["state"] == "ok"


def test_tm10_without_the_information_system_callers_are_told_so_and_the_request_is_logged(room):
    """xroad.md §2.4: `service_failed` with the network's words, and at the latest after the service's timeout."""
    url, room.provider_url = room.provider_url, f"http://127.0.0.1:{free_ports(1)[0]}"
    room.write_rights(STATE)
    answer = room.ask(headers={"X-Road-Id": "no-system"})
    assert code_of(answer) == "server.serverproxy.service_failed"
    assert "refused" in answer.json()["message"].lower()
    for server in (room.private, room.state):
        assert [each.is_response for each in server.logged("no-system")] == [False]
    room.provider_url = url
    room.write_rights(STATE)
    assert code_of(room.ask()) is None
    assert Offer(DOCUMENTS, (), frozenset(), url).timeout_seconds == 60
    # one that does not answer in its time
    released = threading.Event()
    room.provider.before_answer = lambda: released.wait(10)
    room.write_rights(STATE, timeout_seconds=0.5)
    answer = room.ask(headers={"X-Road-Id": "slow-system"})
    released.set()
    room.provider.before_answer = lambda: None
    assert code_of(answer) == "server.serverproxy.service_failed"
    room.write_rights(STATE)
    assert code_of(room.ask()) is None


# ------------------------------------------------------------------ clocks that do not agree


@pytest.fixture
def skewed(tmp_path):
    """With the clock of the board's server, which is apart from everybody else's by its `seconds`."""
    with exchange_room(tmp_path) as room:
        room.state.stop()
        apart = room.state._clock = ClockApart(room.clock)
        room.state.start()
        yield room, apart


class ClockApart(Clock):
    """Differs from another clock by so many seconds."""

    def __init__(self, other: Clock) -> None:
        self._other, self.seconds = other, 0.0

    def now(self) -> datetime:
        return self._other.now() + timedelta(seconds=self.seconds)


@pytest.mark.parametrize(("seconds", "code"), CLOCKS_APART)
def test_tm10_a_server_whose_clock_is_wrong_delivers_nothing_and_goes_on_when_it_is_right(skewed, seconds, code):
    room, clock = skewed
    assert code_of(room.ask()) is None
    asked = len(room.provider.asked)
    clock.seconds = seconds
    assert code_of(room.ask(headers={"X-Road-Id": "apart"})) == code
    assert len(room.provider.asked) == asked
    assert room.state.logged("apart") == []
    clock.seconds = 0
    assert code_of(room.ask()) is None


@pytest.mark.parametrize("seconds", [-30, 30])
def test_tm10_clocks_that_differ_a_little_disturb_nobody(skewed, seconds):
    room, clock = skewed
    clock.seconds = seconds
    room.state.reload()
    room.private.reload()
    assert code_of(room.ask()) is None


@pytest.mark.parametrize("minutes", [-120, 120])
def test_tm10_an_ocsp_responder_whose_clock_is_wrong_is_not_believed(room, minutes):
    assert code_of(room.ask()) is None
    end = room.clock.now() + timedelta(seconds=3600)
    room.trust.ocsp_at = timedelta(minutes=minutes)
    move_to(room, end - timedelta(seconds=2))
    room.republish()
    assert code_of(room.ask()) is None  # by the responses that are in hand
    move_to(room, end + timedelta(seconds=1))
    assert code_of(room.ask()) is not None
    room.trust.ocsp_at = timedelta(0)
    for server in room.servers.values():
        server.reload()
    assert code_of(room.ask()) is None


def test_a_broken_file_of_rights_changes_nothing_and_is_told(room):
    health = Health(room, room.state)
    file = room.folder / "state" / "local.toml"
    good = file.read_bytes()
    file.write_text("not = [toml")
    assert code_of(room.ask()) is None
    assert health.clock("rights")["state"] == "warning"
    assert "exchange.local_conf.unreadable" in str(health.clock("rights")["detail"])
    file.write_bytes(good)
    room.clock.advance(timedelta(seconds=6))
    assert code_of(room.ask()) is None
    assert health.clock("rights")["state"] == "ok"


def test_tm04_a_right_that_is_taken_away_is_gone_with_the_next_message(room):
    file = room.folder / "state" / "local.toml"
    assert code_of(room.ask()) is None
    text = file.read_text("utf-8")
    file.write_text(text.replace('client = "TEST/COM/10000201/loans"', 'client = "TEST/COM/10000201/cards"'), "utf-8")
    assert code_of(room.ask()) == "server.serverproxy.access_denied"
    file.write_text(text, "utf-8")
    assert code_of(room.ask()) is None


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Original-URL"])
def test_tm04_a_header_that_would_change_the_request_does_not_reach_the_provider(room, name):
    asked = len(room.provider.asked)
    assert code_of(room.ask(headers={name: "DELETE"})) == "server.serverproxy.access_denied"
    assert len(room.provider.asked) == asked


def test_tm04_no_traversal_reaches_the_provider(room):
    asked = len(room.provider.asked)
    for path in ("/%2e%2e/other", "/a%2fb", "/a%5cb", "/%252e%252e/other", "/..%2f", "/a//b", "/%c0%ae%c0%ae/b"):
        assert code_of(room.ask(path=path)) == "client.invalid_request", path
    assert len(room.provider.asked) == asked


def test_status_is_json_of_known_size(room):
    told = Health(room, room.state).get("/status")
    assert len(told.content) < 64 * 1024
    assert json.loads(told.content)["state"] == "ok"
