"""kill -9 of either security server at every step of a message, over real processes that are then started anew.

No message is delivered unlogged; what the provider did without its answer having come stands in the log.
"""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from typer.testing import CliRunner

from digiid.apps.exchange_cli import exchange_app
from tests.support.exchange_processes import ServerProcess, both, process_room

REQUEST, RESPONSE = "request", "response"
FUNCTIONS = (
    "record_request",
    "record_response",
    "encode_end",
    "read_response",
    "hash_request",
    "build_response",
    "call",
    "_release",
    "write",
)

# Which server, before which call of it, what its own log holds then, what the other's holds, did the provider act.
STEPS = {
    "asker: before the request is logged": ("private", "record_request<_sign_and_log", [], [], False),
    "asker: between log and send": ("private", "encode_end<_send_small", [REQUEST], [], False),
    "asker: sent, and waiting": ("private", "read_response<_receive_from", [REQUEST], None, None),
    "asker: before the answer is logged": (
        "private",
        "record_response<_log_response",
        [REQUEST],
        [REQUEST, RESPONSE],
        True,
    ),
    "asker: between log and release": ("private", "_release", [REQUEST, RESPONSE], [REQUEST, RESPONSE], True),
    "provider: before the request is logged": ("state", "record_request<_answer", [], [REQUEST], False),
    "provider: between log and act": ("state", "call<_ask_system", [REQUEST], [REQUEST], False),
    "provider: between act and the log of the answer": ("state", "build_response", [REQUEST], [REQUEST], True),
    "provider: signed, before it is logged": (
        "state",
        "record_response<_sign_and_log",
        [REQUEST],
        [REQUEST],
        True,
    ),
    "provider: between the log of the answer and its sending": (
        "state",
        "encode_end<_respond",
        [REQUEST, RESPONSE],
        [REQUEST],
        True,
    ),
}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    limits = {"limits": {"memory_body_bytes": 4096}}
    with process_room(tmp_path_factory.mktemp("killed"), functions=FUNCTIONS, changes=limits) as room:
        yield room


def asks(room, message_id: str, path: str = "") -> httpx.Response | None:
    """None when there was no whole answer."""
    try:
        return room.ask("POST", path, content=b"{}", headers={"X-Road-Id": message_id}, verify=False)
    except httpx.HTTPError:
        return None


def unanswered(server: ServerProcess) -> dict[str, bool]:
    """What `digiid exchange messages` tells: message ids, and whether a provider here may have acted."""
    told = CliRunner().invoke(exchange_app, ["messages", str(server.file), "--json"])
    return {each["messageId"]: each["providerMayHaveActed"] for each in json.loads(told.stdout)}


@pytest.mark.parametrize("step", STEPS)
def test_a_server_killed_at_this_step_has_delivered_nothing_unlogged(room, step):
    asker, provider = both(room)
    name, place, own, others, has_acted = STEPS[step]
    killed, other = (asker, provider) if name == "private" else (provider, asker)
    message_id, before = step.replace(" ", "-"), len(room.provider.asked)
    assert not killed.logged(message_id)

    killed.set_trap(place)
    answer = asks(room, message_id)
    killed.wait_for_end()
    # 1 who asked has no answer, or is told that there is none
    assert answer is None or answer.headers["X-Road-Error"].startswith("server.clientproxy."), answer.text
    # 2 the logs say how far it came
    assert killed.directions(message_id) == own
    if others is not None:
        assert other.directions(message_id) == others
    # 3 what the provider did, its server had logged before; what went out, the asker's
    acted = len(room.provider.asked) - before
    if has_acted is not None:
        assert acted == has_acted
    if acted:
        assert REQUEST in provider.directions(message_id) and REQUEST in asker.directions(message_id)
    # 4 and whoever looks into a log is told of it, also while the server is down
    for server in (asker, provider):
        assert (message_id in unanswered(server)) == (server.directions(message_id) == [REQUEST])
    # 5 it starts anew over the same log, and goes on
    killed.start()
    again = asks(room, f"{message_id}-again")
    assert again is not None and again.status_code == 200, again
    for server in (asker, provider):
        assert server.directions(f"{message_id}-again") == [REQUEST, RESPONSE]
        assert [each.name for each in (server.settings.folder / "spool").iterdir()] == []


@pytest.mark.parametrize(("name", "caller"), [("private", "_release"), ("state", "_respond_large")])
def test_a_server_killed_inside_a_large_answer_gives_no_answer_that_looks_whole(room, name, caller):
    asker, provider = both(room)
    killed = asker if name == "private" else provider
    message_id = f"large-{name}"
    killed.set_trap(f"write<{caller}", after=3)
    answer = asks(room, message_id, "/big/4000000")
    killed.wait_for_end()
    assert answer is None or answer.status_code == 500
    # The asker's server releases what is logged on both sides; the provider's logs when it has the whole answer.
    logged = [REQUEST, RESPONSE] if name == "private" else [REQUEST]
    assert provider.directions(message_id) == logged
    assert asker.directions(message_id) == logged
    killed.start()
    again = asks(room, f"{message_id}-again", "/big/4000000")
    assert again is not None and (again.status_code, len(again.content)) == (200, 4_000_000)
    for server in (asker, provider):
        assert [each.name for each in (server.settings.folder / "spool").iterdir()] == []


def test_a_server_that_is_killed_while_many_ask_has_logged_all_that_was_answered(room):
    """No step is chosen here: kill -9 comes from outside, whenever it comes."""
    asker, provider = both(room)
    for killed in (provider, asker):
        ids = [f"crowd-{killed.settings.folder.name}-{number}" for number in range(40)]
        asked = len(room.provider.asked)
        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(asks, room, each) for each in ids]
            while len(room.provider.asked) < asked + 10:
                time.sleep(0.005)
            os.kill(killed.pid, signal.SIGKILL)
            answered = [
                message_id
                for message_id, each in zip(ids, answers, strict=True)
                if (got := each.result()) is not None and got.status_code == 200
            ]
        killed.wait_for_end()
        assert 0 < len(answered) < len(ids)
        for message_id in answered:
            assert asker.directions(message_id) == provider.directions(message_id) == [REQUEST, RESPONSE]
        acted = [each.headers["x-road-id"] for each in room.provider.asked[asked:]]
        for message_id in acted:
            assert REQUEST in asker.directions(message_id) and REQUEST in provider.directions(message_id)
        killed.start()
        assert asks(room, f"{ids[0]}-again").status_code == 200
