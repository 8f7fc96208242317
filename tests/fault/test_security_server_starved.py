"""Full disk, a log that is gone, a configuration that runs out, at either server, as processes of their own.

Nothing passes while it lasts, the health port says so, and it goes on by itself afterwards.
"""

import time
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import create_engine, text

from digiid.platform.clock import SystemClock
from tests.support.exchange_processes import ServerProcess, both, process_room
from tests.support.exchange_room import ExchangeRoom, wait_until
from tests.support.global_conf import PRIVATE, STATE

CHANGES = {
    "limits": {"memory_body_bytes": 4096},
    "configuration": {"refresh_seconds": 0.3},
}
BOTH = ["request", "response"]
ROLES = pytest.mark.parametrize("role", ["asker", "provider"])


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with process_room(tmp_path_factory.mktemp("starved"), changes=CHANGES) as room:
        yield room


def ask(room: ExchangeRoom, message_id: str, path: str = "", content: bytes = b"{}") -> httpx.Response:
    return room.ask("POST", path, content=content, headers={"X-Road-Id": message_id}, verify=False)


def of(room: ExchangeRoom, role: str) -> tuple[ServerProcess, ServerProcess]:
    """The server of this role, and the other one."""
    asker, provider = both(room)
    return (asker, provider) if role == "asker" else (provider, asker)


def code_of(answer: httpx.Response) -> str | None:
    return None if answer.status_code == 200 else str(answer.json()["type"])


def side(role: str) -> str:
    return "server.clientproxy" if role == "asker" else "server.serverproxy"


@ROLES
def test_with_a_full_disk_nothing_is_delivered_and_with_room_again_it_goes_on(room, role):
    starved, other = of(room, role)
    assert code_of(ask(room, f"{role}-before")) is None
    acted = len(room.provider.asked)
    with starved.full_disk():
        for turn in range(3):
            assert code_of(ask(room, f"{role}-full-{turn}")) == f"{side(role)}.logging_failed"
        # a body that has to go through a file
        assert str(code_of(ask(room, f"{role}-full-large", content=b"x" * 100_000))).startswith(side(role))
        assert len(room.provider.asked) == acted
        assert starved.is_running()
    assert starved.directions(f"{role}-full-0") == starved.directions(f"{role}-full-large") == []
    assert other.directions(f"{role}-full-0") == ([] if role == "asker" else ["request"])
    assert code_of(ask(room, f"{role}-after", content=b"x" * 100_000)) is None
    for server in (starved, other):
        assert server.directions(f"{role}-after") == ["request", "response"]
        assert list((server.settings.folder / "spool").iterdir()) == []


@ROLES
def test_a_disk_that_becomes_full_while_the_provider_works_loses_no_answer_unseen(room, role):
    starved, other = of(room, role)
    message_id, limits = f"{role}-becomes-full", []
    assert code_of(ask(room, f"{message_id}-before")) is None

    def fill() -> None:
        limits.append(starved.full_disk())
        limits[0].__enter__()

    room.provider.before_answer = fill
    try:
        assert code_of(ask(room, message_id)) == f"{side(role)}.logging_failed"
    finally:
        room.provider.before_answer = lambda: None
        limits[0].__exit__(None, None, None)
    assert starved.directions(message_id) == ["request"]
    assert other.directions(message_id) == (["request", "response"] if role == "asker" else ["request"])
    assert code_of(ask(room, f"{message_id}-after")) is None


@ROLES
def test_a_log_that_is_gone_stops_messages_and_they_go_on_when_it_is_back(room, role):
    starved, _ = of(room, role)
    file = starved.settings.folder / "log.sqlite"
    assert code_of(ask(room, f"{role}-with-log")) is None
    acted = len(room.provider.asked)
    away = starved.settings.folder / "away"
    away.mkdir()
    for each in starved.settings.folder.glob("log.sqlite*"):
        each.rename(away / each.name)
    assert code_of(ask(room, f"{role}-no-log")) == f"{side(role)}.logging_failed"
    assert starved.clocks()["log"] == "stopped"
    assert len(room.provider.asked) == acted and not file.exists()
    for each in away.iterdir():
        each.rename(file.with_name(each.name))
    away.rmdir()
    assert code_of(ask(room, f"{role}-log-back")) is None
    assert starved.directions(f"{role}-with-log") == starved.directions(f"{role}-log-back") == ["request", "response"]
    assert starved.directions(f"{role}-no-log") == []


def test_a_configuration_that_runs_out_stops_both_servers_and_the_next_one_starts_them_again(room):
    """The processes go by the machine's time: the configuration ends two to three seconds from now."""
    room.clock.advance(SystemClock().now() - room.clock.now())
    made_at, ends_at = (room.clock.now().replace(microsecond=0) + timedelta(seconds=seconds) for seconds in (1, 3))
    room.central.publish(made_at, shared=room.shared(), valid_for=ends_at - made_at)
    served = {url.removeprefix(room.trust.base): answer for url, answer in room.central.web.answers.items()}
    room.trust.lists.clear()
    room.trust.lists.update(served)
    wait_until(lambda: code_of(ask(room, "runs-out")) == "server.clientproxy.global_conf_outdated", seconds=10)
    assert datetime.now(UTC) >= ends_at
    wait_until(lambda: all(server.clocks()["configuration"] == "stopped" for server in both(room)))
    acted = len(room.provider.asked)
    assert code_of(ask(room, "run-out")) is not None
    assert len(room.provider.asked) == acted
    room.clock.advance(timedelta(seconds=5))
    room.publish()
    began = time.monotonic()
    wait_until(lambda: code_of(ask(room, "goes-on")) is None, seconds=10)
    assert time.monotonic() - began < 8


def test_a_postgresql_server_that_is_gone_stops_messages_and_they_go_on_when_it_is_back(tmp_path, postgres_sockets):
    names = {server: f"t{uuid.uuid4().hex}" for server in (PRIVATE, STATE)}
    url_of = f"postgresql+psycopg://digiid@/{{}}?host={postgres_sockets}".format
    admin = create_engine(url_of("postgres"), isolation_level="AUTOCOMMIT")

    def prepare(room: ExchangeRoom) -> None:
        for server, running in room.servers.items():
            running.settings = running.settings.model_copy(update={"database": url_of(names[server])})

    with admin.connect() as connection:
        for name in names.values():
            connection.execute(text(f"CREATE DATABASE {name}"))
        end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
        with process_room(tmp_path, prepare=prepare) as room:
            for role, server in (("asker", PRIVATE), ("provider", STATE)):
                starved, name = of(room, role)[0], names[server]
                assert code_of(ask(room, f"{role}-before")) is None
                acted = len(room.provider.asked)
                connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
                connection.execute(end, {"name": name})
                for turn in range(2):
                    assert code_of(ask(room, f"{role}-gone-{turn}")) == f"{side(role)}.logging_failed"
                assert len(room.provider.asked) == acted
                connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
                assert code_of(ask(room, f"{role}-back")) is None
                assert starved.directions(f"{role}-before") == starved.directions(f"{role}-back") == BOTH
                assert starved.directions(f"{role}-gone-0") == []
    admin.dispose()
