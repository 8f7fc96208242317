"""Requests without a response: found in the log, and told by `digiid exchange messages`."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from digiid.apps import exchange_messages_cli
from digiid.apps.exchange_cli import exchange_app
from digiid.exchange.message_log import store
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
    assert "older than two minutes" in run(settings).stdout


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
