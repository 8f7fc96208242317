"""No message is delivered unlogged; no answer is lost after the provider acted without the log saying so."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
from structlog.testing import capture_logs

from digiid.exchange.security_server.settings import load_security_server_settings
from tests.support.exchange_room import DOCUMENTS, exchange_room, wait_until, write_toml
from tests.support.global_conf import LOANS
from tests.support.loops import run_async


def test_a_request_that_the_asker_cannot_log_is_not_sent(tmp_path):
    with exchange_room(tmp_path) as room:
        room.private.server.log.stop()
        answer = room.ask(headers={"X-Road-Id": "UNLOGGED-1"})
        assert answer.json()["type"] == "server.clientproxy.logging_failed"
        assert room.provider.asked == []
        assert room.state.logged("UNLOGGED-1") == []


def test_a_request_that_the_provider_cannot_log_does_not_reach_the_information_system(tmp_path):
    with exchange_room(tmp_path) as room:
        room.state.server.log.stop()
        answer = room.ask(headers={"X-Road-Id": "UNLOGGED-2"})
        assert answer.json()["type"] == "server.serverproxy.logging_failed"
        assert room.provider.asked == []
        assert [each.is_response for each in room.private.logged("UNLOGGED-2")] == [False]


def test_an_answer_that_cannot_be_logged_is_not_given_and_its_loss_stands_in_the_log(tmp_path):
    with exchange_room(tmp_path) as room:
        room.provider.before_answer = room.state.server.log.stop
        with capture_logs() as events:
            answer = room.ask(headers={"X-Road-Id": "LOST-1"})
        assert answer.json()["type"] == "server.serverproxy.logging_failed"
        assert len(room.provider.asked) == 1
        assert [each.is_response for each in room.state.logged("LOST-1")] == [False]
        [lost] = [event for event in events if event["event"] == "exchange.answer_lost"]
        assert (lost["message_id"], lost["code"]) == ("LOST-1", "server.serverproxy.logging_failed")


def test_an_answer_that_comes_after_the_server_has_stopped_is_lost_and_the_log_says_so(tmp_path):
    with exchange_room(tmp_path, changes={"timeouts": {"stop_seconds": 0.1}}) as room:
        stopped = threading.Event()

        def stop() -> None:
            asyncio.run_coroutine_threadsafe(room.state.server.stop(), room.state.loop)
            stopped.wait(10)  # the information system takes longer than the server waits

        room.provider.before_answer = stop
        with capture_logs() as events:
            answer = room.ask(headers={"X-Road-Id": "LATE-1"})
            stopped.set()
        assert answer.json()["type"].startswith("server.clientproxy.")
        assert len(room.provider.asked) == 1
        assert [each.is_response for each in room.state.logged("LATE-1")] == [False]
        [lost] = [event for event in events if event["event"] == "exchange.answer_lost"]
        assert lost["message_id"] == "LATE-1"
        room.provider.before_answer = lambda: None
        room.state.start()


def test_an_answer_that_the_asker_cannot_log_is_not_released(tmp_path):
    with exchange_room(tmp_path) as room:
        room.provider.before_answer = room.private.server.log.stop
        answer = room.ask(headers={"X-Road-Id": "UNRELEASED-1"})
        assert answer.json()["type"] == "server.clientproxy.logging_failed"
        assert [each.is_response for each in room.state.logged("UNRELEASED-1")] == [False, True]
        assert [each.is_response for each in room.private.logged("UNRELEASED-1")] == [False]


def test_a_body_is_kept_where_the_log_is_to_keep_it_also_a_large_one(tmp_path):
    keeping = {"message_log": {"log_bodies_of": [str(LOANS)]}}
    with exchange_room(tmp_path, changes=keeping) as room:
        body = b"kept" * 300_000
        assert room.ask("POST", content=body, headers={"X-Road-Id": "KEPT-1"}).status_code == 200
        for server in (room.private, room.state):
            with server.server.log.db.read() as tx:
                sizes = [row[0] for row in tx.exec_driver_sql("SELECT length(content) FROM body ORDER BY 1")]
            assert sizes[-1] == len(body)


def test_the_process_serves_until_it_is_told_to_stop_and_finishes_what_it_answers(tmp_path):
    with exchange_room(tmp_path) as room:
        file = tmp_path / "private.toml"
        write_toml(file, room.private.settings)
        assert load_security_server_settings(file) == room.private.settings
        room.private.stop()
        process = subprocess.Popen(
            [sys.executable, "-m", "digiid.apps.security_server", str(file)], stdout=subprocess.PIPE, env=os.environ
        )
        try:
            assert process.stdout is not None
            assert b"is ready" in process.stdout.readline()
            assert room.ask().status_code == 200
            room.provider.before_answer = lambda: (process.send_signal(signal.SIGTERM), time.sleep(0.5))
            assert room.ask(headers={"X-Road-Id": "LAST-1"}).status_code == 200
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
        assert [each.is_response for each in room.state.logged("LAST-1")] == [False, True]
        room.private.start()
        assert [each.is_response for each in room.private.logged("LAST-1")] == [False, True]


def test_settings_that_are_wrong_are_refused_in_plain_words(tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text('server = "EE/GOV/1"\nunknown = 1\n')
    done = subprocess.run(
        [sys.executable, "-m", "digiid.apps.security_server", str(file)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert b"config.invalid" in done.stderr


def test_two_hundred_askers_at_once_are_all_answered(tmp_path):
    with exchange_room(tmp_path) as room:
        headers = {"X-Road-Client": str(LOANS)}

        async def crowd() -> list[int]:
            limits = httpx.Limits(max_connections=200)
            async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
                url = room.base_url + DOCUMENTS.path
                answers = await asyncio.gather(*(client.get(url, headers=headers) for _ in range(200)))
                return [answer.status_code for answer in answers]

        assert set(run_async(crowd())) == {200}
        wait_until(lambda: not list((tmp_path / "state" / "spool").iterdir()))
