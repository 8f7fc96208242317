"""A client fetches its own messages and the configuration from its security server, and verifies them elsewhere."""

import io
import json
import zipfile

import httpx
import pytest
from typer.testing import CliRunner

from digiid.apps.cli import app
from tests.support.exchange_room import CARDS, exchange_room
from tests.support.global_conf import LOANS

PARTY = {"xRoadInstance": "TEST", "memberClass": "COM", "memberCode": "10000201", "subsystemCode": "loans"}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("evidence")) as room:
        yield room


def get(room, path, *, client=LOANS, **parameters):
    return httpx.get(
        room.base_url + path, params=parameters, headers={"X-Road-Client": str(client)}, timeout=60, trust_env=False
    )


def test_messages_are_fetched_and_verified_offline(room, tmp_path):
    room.ask("POST", content=b'{"secret": 1}', headers={"X-Road-Id": "EVIDENCE-1"})
    early = get(room, "/asic", queryId="EVIDENCE-1", **PARTY)
    assert early.status_code == 400 and "time-stamped" in early.json()["message"]

    room.private.server.log.stamper.stamp_pending()
    answer = get(room, "/asic", queryId="EVIDENCE-1", **PARTY)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    (tmp_path / "messages.zip").write_bytes(answer.content)
    conf = get(room, "/verificationconf")
    zipfile.ZipFile(io.BytesIO(conf.content)).extractall(tmp_path)

    command = ["exchange", "verify", str(tmp_path / "messages.zip"), "--conf", str(tmp_path / "verificationconf")]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    messages = json.loads(done.output)["files"][0]["messages"]
    assert [(each["direction"], each["signed_by"]) for each in messages] == [
        ("request", "TEST/COM/10000201"),
        ("response", "TEST/GOV/70000101"),
    ]
    assert messages[0]["absent"] == ["/attachment1"]  # the body was not logged


def test_one_message_alone(room):
    room.ask(headers={"X-Road-Id": "EVIDENCE-2"})
    room.private.server.log.stamper.stamp_pending()
    answer = get(room, "/asic", queryId="EVIDENCE-2", requestOnly="", unique="", **PARTY)
    assert answer.headers["content-type"] == "application/vnd.etsi.asic-e+zip"
    assert "EVIDENCE-2-request-" in answer.headers["content-disposition"]


def test_nobody_fetches_the_messages_of_another_client(room):
    room.ask(headers={"X-Road-Id": "EVIDENCE-3"})
    room.private.server.log.stamper.stamp_pending()
    assert get(room, "/asic", client=CARDS, queryId="EVIDENCE-3", **PARTY).status_code == 400
    own = PARTY | {"subsystemCode": "cards"}
    assert get(room, "/asic", client=CARDS, queryId="EVIDENCE-3", **own).status_code == 400
    assert get(room, "/asic", queryId="EVIDENCE-3", other="1", **PARTY).status_code == 400
