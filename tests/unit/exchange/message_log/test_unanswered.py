"""Requests without a response: found in the log, and told by `digiid exchange messages`."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from digiid.apps import exchange_messages_cli
from digiid.apps.exchange_cli import exchange_app
from digiid.exchange.granted_rights import parse_service_id
from digiid.exchange.message_log import store
from digiid.exchange.security_server.monitoring import Monitoring, MonitoringSettings
from digiid.exchange.security_server.monitoring.records import OperationalRecord
from digiid.kernel.identifiers import parse_party
from digiid.platform.clock import ManualClock, SystemClock
from digiid.platform.db import Database
from tests.support.global_conf import LOANS, POLICE
from tests.support.logged import Authority, make_entry, open_log, record_all

ASKED, ANSWERED = make_entry("asked", party=LOANS), make_entry("asked", is_response=True, party=LOANS)
PROVIDER = str(POLICE)


def request(message_id: str, **changes):
    return replace(ASKED, message_id=message_id, request_id=f"{message_id}-request", **changes)


def response(message_id: str, **changes):
    return replace(ANSWERED, message_id=message_id, request_id=f"{message_id}-request", **changes)


@pytest.fixture
def recorded(tmp_path):
    """`recorded(entries)` logs them now, in a log of its own, and gives the settings file of its server."""
    clock = ManualClock(SystemClock().now() - timedelta(hours=1))

    def record(*entries):
        database = Database.sqlite(tmp_path / "log.sqlite")
        log = open_log(database, clock, stamping_interval_seconds=3600)
        log.start()
        record_all(log, [replace(entry, at=clock.now()) for entry in entries])
        log.stop()
        database.close()
        settings = tmp_path / "server.toml"
        key = 'key = "k"\ncertificate = "c"\n'
        settings.write_text(
            f'server = "EE/GOV/70000101/state"\nfolder = "{tmp_path}"\n'
            f'database = "sqlite:///{tmp_path}/log.sqlite"\nlocal_conf = "l"\n[configuration]\nanchor = "a"\n'
            f'[authentication]\n{key}[[signing]]\nmember = "EE/GOV/70000101"\n{key}'
        )
        return settings

    record.clock = clock
    return record


@pytest.fixture
def ended(tmp_path, recorded):
    """`ended(entry, code)` has the server's operational records say with which fault a message ended, or without."""
    database = Database.sqlite(tmp_path / "monitoring.sqlite")
    monitoring = Monitoring(database, recorded.clock, MonitoringSettings())

    def end(entry, code, **changes):
        record = OperationalRecord(
            role="Client" if entry.party == entry.client else "Producer",
            request_in_at=recorded.clock.now(),
            succeeded=code is None,
            client=parse_party(entry.client),
            service=parse_service_id(entry.service),
            message_id=entry.message_id,
            request_id=entry.request_id,
            fault_code=code,
            fault_string='a text with "succeeded":false in it',
        )
        monitoring.record(replace(record, **changes))
        monitoring.flush()

    yield end
    database.close()


def run(*arguments):
    return CliRunner().invoke(exchange_app, ["messages", *map(str, arguments)])


def test_a_request_without_its_response_is_found_the_newest_first(recorded, tmp_path):
    recorded(request("a"), response("a"), request("b"), request("c"), response("c"), request("d"))
    with Database.sqlite(tmp_path / "log.sqlite").read() as tx:
        since = recorded.clock.now() - timedelta(minutes=1)
        assert [each.message_id for each in store.find_unanswered(tx, since=since, limit=10)] == ["d", "b"]
        assert len(store.find_unanswered(tx, since=since, limit=1)) == 1
        assert store.find_unanswered(tx, since=since + timedelta(hours=1), limit=10) == []


def test_both_sides_of_a_message_on_one_server_are_told_apart(recorded, tmp_path):
    recorded(request("a"), request("a", party=PROVIDER), response("a", party=PROVIDER))
    with Database.sqlite(tmp_path / "log.sqlite").read() as tx:
        [found] = store.find_unanswered(tx, since=recorded.clock.now(), limit=10)
    assert (found.party, found.is_incoming) == (ASKED.client, False)


def test_a_log_of_many_messages_is_read_in_pieces(recorded, tmp_path):
    recorded(request("lost"), *(make(f"m{number}") for number in range(1000) for make in (request, response)))
    with Database.sqlite(tmp_path / "log.sqlite").read() as tx:
        assert [each.message_id for each in store.find_unanswered(tx, since=recorded.clock.now(), limit=10)] == ["lost"]


def test_the_command_tells_programs_which_have_no_answer(recorded):
    settings = recorded(request("lost", party=PROVIDER), request("whole"), response("whole"))
    told = run(settings, "--json")
    [lost] = json.loads(told.stdout)
    assert told.exit_code == 1
    assert (lost["messageId"], lost["providerMayHaveActed"], lost["mayBeUnderWay"]) == ("lost", True, False)
    assert json.loads(run(settings, "--json", "--hours", "0.5").stdout) == []


def test_the_command_tells_people_what_became_of_a_message(recorded, monkeypatch):
    monkeypatch.setattr(exchange_messages_cli.out, "_width", 200)
    settings = recorded(request("lost", party=PROVIDER), request("whole"), response("whole"))
    lost, whole = run(settings, "lost"), run(settings, "whole")
    assert (lost.exit_code, whole.exit_code, run(settings, "never").exit_code) == (1, 0, 1)
    assert "may have acted" in lost.stdout and PROVIDER in lost.stdout
    assert "response" in whole.stdout and "No response" not in whole.stdout
    assert "1 of 1 have no response" in run(settings).stdout


DENIED = "server.serverproxy.access_denied"


def test_a_request_that_the_other_server_refused_is_told_from_a_lost_answer(recorded, ended, monkeypatch):
    monkeypatch.setattr(exchange_messages_cli.out, "_width", 250)
    refused, lost = request("refused"), request("lost")
    settings = recorded(refused)
    ended(refused, DENIED)
    told = run(settings)
    assert told.exit_code == 0 and f"refused: {DENIED}" in told.stdout and "1 of 1 were refused" in told.stdout
    one = run(settings, "refused")
    assert one.exit_code == 0 and "refused the request" in one.stdout and "provider acted" not in one.stdout
    recorded(lost)
    told = run(settings, "--json")
    assert told.exit_code == 1
    assert {each["messageId"]: (each["refused"], each["fault"]) for each in json.loads(told.stdout)} == {
        "lost": (False, None),
        "refused": (True, DENIED),
    }
    assert json.loads(run(settings, "refused", "--json").stdout)[0]["refused"] is True


@pytest.mark.parametrize(
    "code",
    [
        "server.serverproxy.service_failed",  # its information system may have acted, and its answer be unreadable
        "server.serverproxy.internal_error",
        "server.serverproxy.logging_failed",
        "server.serverproxy.access_denied.more",
        "server.clientproxy.access_denied",  # said here
        "server.clientproxy.network_error",
        "access_denied",
    ],
)
def test_a_fault_after_which_the_provider_may_have_acted_is_no_refusal(recorded, ended, code, monkeypatch):
    monkeypatch.setattr(exchange_messages_cli.out, "_width", 250)
    entry = request("failed")
    settings = recorded(entry)
    ended(entry, code)
    [told] = json.loads(run(settings, "--json").stdout)
    assert (told["refused"], told["fault"], told["mayBeUnderWay"]) == (False, code, False)
    listed, one = run(settings), run(settings, "failed")
    assert (listed.exit_code, one.exit_code) == (1, 1)
    assert f"ended with {code}" in listed.stdout and "refused" not in listed.stdout
    assert "Whether the provider acted" in one.stdout


def test_what_came_to_a_provider_was_let_in_so_that_it_may_always_have_acted(recorded, ended):
    entry = request("came", party=PROVIDER)
    settings = recorded(entry)
    ended(entry, DENIED)
    told = run(settings, "--json")
    assert told.exit_code == 1
    assert [(each["refused"], each["providerMayHaveActed"]) for each in json.loads(told.stdout)] == [(False, True)]
    assert "may have acted" in run(settings, "came").stdout


@pytest.mark.parametrize(
    "other",
    [
        {"role": "Producer"},
        {"message_id": "other"},
        {"request_id": "other"},
        {"request_id": None},
        {"client": parse_party("EE/GOV/70000999/other")},
        {"succeeded": True},
    ],
    ids=str,
)
def test_a_fault_of_another_message_says_nothing_of_this_one(recorded, ended, other):
    entry = request("lost")
    settings = recorded(entry)
    ended(entry, DENIED, **other)
    [told] = json.loads(run(settings, "--json").stdout)
    assert (told["refused"], told["fault"]) == (False, None)


def test_a_fault_ends_a_message_that_would_be_under_way(recorded, ended):
    recorded.clock.advance(timedelta(hours=1))
    failed, waits = request("failed"), request("waits")
    settings = recorded(failed, waits)
    ended(failed, "server.serverproxy.service_failed")
    told = {each["messageId"]: each["mayBeUnderWay"] for each in json.loads(run(settings, "--json").stdout)}
    assert told == {"failed": False, "waits": True}


def test_without_the_operational_records_nothing_is_claimed(recorded, ended, tmp_path):
    entry = request("refused")
    settings = recorded(entry)
    ended(entry, DENIED)
    for file in tmp_path.glob("monitoring.sqlite*"):
        file.unlink()
    gone = run(settings, "--json")
    assert gone.exit_code == 1 and json.loads(gone.stdout)[0]["refused"] is False
    assert "not known" in gone.stderr and not (tmp_path / "monitoring.sqlite").exists()
    (tmp_path / "monitoring.sqlite").write_bytes(b"no database" * 1000)
    damaged = run(settings, "--json")
    assert damaged.exit_code == 1 and json.loads(damaged.stdout)[0]["refused"] is False
    assert "not known" in damaged.stderr


def test_a_narrow_terminal_cuts_no_message_id(recorded, monkeypatch):
    monkeypatch.setattr(exchange_messages_cli.out, "_width", 80)
    name = "EE-7eb805ca-8d15-4763-8350-9221b84c6f97"
    settings = recorded(request(name, party=PROVIDER))
    assert name in run(settings).stdout and "…" not in run(settings).stdout + run(settings, name).stdout


def test_an_operator_archives_at_once_and_hears_what_is_not_stamped_yet(recorded, tmp_path):
    settings = recorded(request("one"), response("one"))
    archive = ["archive", str(settings), "--json"]
    refused = CliRunner().invoke(exchange_app, archive)
    assert refused.exit_code == 2 and "[message_log.archive]" in json.loads(refused.stdout)["error"]["detail"]
    where = f'[message_log.archive]\nfolder = "{tmp_path}/archives"\nallow_plain = true\n'
    settings.write_text(settings.read_text() + where)
    waiting = CliRunner().invoke(exchange_app, archive)
    assert (waiting.exit_code, json.loads(waiting.stdout)["withoutTimeStamp"]) == (1, 2)
    log = open_log(Database.sqlite(tmp_path / "log.sqlite"), recorded.clock, Authority(recorded.clock))
    log.stamper.stamp_pending()
    log.db.close()
    done = CliRunner().invoke(exchange_app, archive[:2])
    assert done.exit_code == 0 and "1 archive." in done.stdout, done.stdout
    assert len(list((tmp_path / "archives").glob("mlog-*.zip"))) == 1


def test_the_command_says_when_there_is_no_log(recorded, tmp_path):
    settings = recorded()
    (tmp_path / "log.sqlite").unlink()
    told = run(settings, "--json")
    assert (told.exit_code, json.loads(told.stdout)["error"]["code"]) == (2, "exchange.logging_failed")
    assert not (tmp_path / "log.sqlite").exists()
