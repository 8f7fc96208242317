"""The processes beside a state: one that is killed is started anew; when the state's own process is killed all end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy import MetaData

from digiid.apps.security_servers import ServerProcesses
from digiid.exchange.client import Client
from digiid.platform.clock import SystemClock
from digiid.platform.db import Database
from digiid.platform.outbox import OutboxMessage, Worker, outbox_table, put
from tests.support.exchange_processes import both, process_room
from tests.support.exchange_room import DOCUMENTS, ExchangeRoom, wait_until
from tests.support.global_conf import LOANS, PRIVATE, STATE

# A program that does what a state does with its servers: start them, wait until they are healthy, watch them.
PARENT = """
import sys, time
from pathlib import Path
from digiid.apps.security_servers import ServerProcesses
from digiid.kernel.identifiers import parse_server_id
files = {parse_server_id(name): Path(file) for name, file in (each.split("=") for each in sys.argv[1:3])}
urls = dict(zip(files, sys.argv[3:]))
processes = ServerProcesses(files, urls)
processes.start()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with process_room(tmp_path_factory.mktemp("watched")) as room:
        for server in both(room):
            server.stop()
        yield room


def health_url(room: ExchangeRoom, server: object) -> str:
    return f"http://127.0.0.1:{room.servers[server].settings.listeners.health_port}"


def pids_of(room: ExchangeRoom) -> dict[str, int]:
    """Which processes run with the settings of the room's servers, by command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"digiid.apps.security_server" in command:
                for server in both(room):
                    if str(server.file).encode() in command:
                        found[server.settings.folder.name] = int(folder.name)
    return found


@pytest.fixture
def outbox_of_loans(room, tmp_path):
    """An institution's outbox whose letters are requests over the exchange; gives what puts a letter into it."""
    metadata = MetaData()
    table, database, clock = outbox_table(metadata), Database.sqlite(tmp_path / "outbox.sqlite"), SystemClock()
    with database.write() as tx:
        metadata.create_all(tx)
    asking = Client.connect(LOANS, server=room.base_url)

    def deliver(message: OutboxMessage) -> None:
        asking.rest(DOCUMENTS, "POST", "", json_body=dict(message.payload), message_id=message.message_id)

    def send(message_id: str) -> None:
        with database.write() as tx:
            put(tx, table, message_id=message_id, kind="letter", payload={"n": 1}, at=clock.now())
        worker.wake()

    worker = Worker("loans", database, table, clock, {"letter": deliver})
    worker.start()
    yield send
    worker.stop()
    database.close()


def test_a_server_that_is_killed_is_started_anew_and_the_outbox_delivers_afterwards(room, outbox_of_loans):
    files = {server: room.servers[server].file for server in (STATE, PRIVATE)}
    processes = ServerProcesses(files, {server: health_url(room, server) for server in files})
    processes.start()
    try:
        assert room.ask(headers={"X-Road-Id": "before"}, verify=False).status_code == 200
        before = pids_of(room)
        assert set(before) == {"state", "private"}
        os.kill(before["state"], signal.SIGKILL)
        answer = room.ask(headers={"X-Road-Id": "while-it-is-down"}, verify=False)
        assert answer.json()["type"] == "server.clientproxy.network_error"
        outbox_of_loans("letter")
        assert "letter" not in {each.headers["x-road-id"] for each in room.provider.asked}
        wait_until(both(room)[1].is_healthy, seconds=60)
        after = pids_of(room)
        assert after["private"] == before["private"] and after["state"] != before["state"]
        assert room.ask(headers={"X-Road-Id": "after"}, verify=False).status_code == 200
        wait_until(lambda: "response" in both(room)[0].directions("letter"), seconds=30)
        assert [each.headers["x-road-id"] for each in room.provider.asked].count("letter") == 1
    finally:
        processes.stop()
    wait_until(lambda: pids_of(room) == {}, seconds=30)
    for server in both(room):
        assert server.directions("before") == server.directions("after") == ["request", "response"]


def test_when_the_process_that_started_them_is_killed_both_servers_end(room):
    files = [f"{server}={room.servers[server].file}" for server in (STATE, PRIVATE)]
    urls = [health_url(room, server) for server in (STATE, PRIVATE)]
    arguments = [*files, *urls]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert b"ready\n" in iter(parent.stdout.readline, b"")
        assert set(pids_of(room)) == {"state", "private"}
        assert room.ask(headers={"X-Road-Id": "watched"}, verify=False).status_code == 200
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: pids_of(room) == {}, seconds=30)
    with pytest.raises(httpx.ConnectError):
        room.ask(verify=False)
    # they ended in good order: what they had answered is on their disks
    for server in both(room):
        assert server.directions("watched") == ["request", "response"]
        assert "exchange.server_stopped" in server.process_log.read_text("utf-8").splitlines()[-1]
