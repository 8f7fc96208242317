"""Metadata and operational data over the exchange: signed, logged, and by rights."""

import json
from datetime import timedelta

import httpx
import pytest

from digiid.exchange.security_server.metadata import DescriptionClient
from digiid.exchange.security_server.monitoring import store
from digiid.kernel.errors import Unavailable
from digiid.kernel.identifiers import ServiceId
from digiid.platform.ports import free_ports
from tests.support.exchange_room import CARDS, DOCUMENTS, LOANS, POLICE, STATE, exchange_room, wait_until
from tests.support.loops import run_async
from tests.support.serve import serving


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("own-services")) as room:
        yield room


def ask(room, code, query="", **options):
    return room.ask(path=f"?{query}" if query else "", service=ServiceId(POLICE, code), **options)


def test_who_is_there(room):
    answer = httpx.get(f"{room.base_url}/listClients", trust_env=False)
    assert answer.status_code == 200
    found = [each["id"].get("subsystem_code") for each in answer.json()["member"]]
    assert {"police", "loans", "cards", None} == set(found)
    xml = httpx.get(f"{room.base_url}/listClients", headers={"Accept": "text/xml"}, trust_env=False)
    assert xml.text.startswith('<?xml version="1.0" encoding="UTF-8"?><xrd:clientList')


def test_what_they_offer_to_whom_has_a_right_signed_and_logged(room):
    answer = ask(room, "listMethods", headers={"X-Road-Id": "META-1"})
    assert [each["service_code"] for each in answer.json()["service"]] == [DOCUMENTS.service_code]
    assert answer.headers["x-road-service"] == f"{POLICE}/listMethods"
    assert [each.is_response for each in room.state.logged("META-1")] == [False, True]
    assert ask(room, "listMethods", client=CARDS).json() == {"service": []}
    assert ask(room, "allowedMethods").json()["service"][0]["service_type"] == "REST"


def test_metadata_is_asked_with_get(room):
    assert ask(room, "listMethods", method="POST", content=b"{}").status_code != 200


def is_stored(monitoring, message_id: str) -> bool:
    monitoring.flush()
    with monitoring.db.read() as tx:
        found = store.list_records(tx, first=0, last=10**10, reader=None, client=None, skip=0, limit=1000)
    return any(each.fields.get("messageId") == message_id for each in found)


def test_both_sides_keep_a_record_that_the_asker_may_read(room):
    since = int(room.clock.now().timestamp())
    headers = {"X-Road-Id": "OP-1", "X-Road-UserId": "EE38001085718"}
    room.ask("GET", "/persons/38001085718?code=38001085718", headers=headers)
    wait_until(lambda: is_stored(room.state.server.monitoring, "OP-1"))
    room.clock.advance(timedelta(seconds=61))
    query = f"recordsFrom={since}&recordsTo={since + 30}"
    answer = ask(room, "getSecurityServerOperationalData", query)
    (record,) = [each for each in answer.json()["records"] if each["messageId"] == "OP-1"]
    assert (record["securityServerType"], record["succeeded"]) == ("Producer", True)
    assert (record["clientSubsystemCode"], record["serviceCode"]) == ("loans", "documents")
    assert record["restPath"] == "/persons/*"
    assert "38001085718" not in json.dumps(answer.json())
    # somebody who took no part reads nothing of it
    others = ask(room, "getSecurityServerOperationalData", query, client=CARDS).json()["records"]
    assert all(each["clientSubsystemCode"] == "cards" for each in others)


def test_health_data_of_ones_own_services(room):
    room.ask()
    answer = ask(room, "getSecurityServerHealthData", client=LOANS)
    assert answer.json()["servicesEvents"] == []
    told = room.state.server.monitoring.statistics.health_data(room.clock.now(), provider=str(POLICE))
    assert told["servicesEvents"][0]["lastPeriodStatistics"]["successfulRequestCount"] >= 1


# ------------------------------------------------------------------ descriptions


class Descriptions:
    """An information system that gives a description, or whatever a test wants."""

    def __init__(self):
        self.status, self.body, self.headers = 200, b'{"openapi": "3.1.0", "paths": {}}', []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            await send({"type": "http.response.body", "body": self.body})


def test_a_description_is_fetched_from_the_information_system(room):
    described, port = Descriptions(), free_ports(1)[0]
    with serving(described, port):
        room.provider_url = f"http://127.0.0.1:{port}"
        room.write_rights(STATE, description_url=f"{room.provider_url}/openapi.json")
        answer = ask(room, "getOpenAPI", "serviceCode=documents")
        assert answer.json() == {"openapi": "3.1.0", "paths": {}, "servers": [{"url": DOCUMENTS.path}]}
        assert ask(room, "getOpenAPI", "serviceCode=documents", client=CARDS).json()["type"].endswith("access_denied")
        described.body, described.headers = b"openapi: 3.1.0\npaths: {}\n", [(b"content-type", b"application/yaml")]
        assert ask(room, "getOpenAPI", "serviceCode=documents").json() == answer.json()
        for status, body, headers in (
            (302, b"", [(b"location", b"http://169.254.169.254/")]),
            (500, b"", []),
            (200, b"x" * 3_000_000, []),
            (200, b"openapi: 3.0.0\na: &x 1\nb: *x", []),
        ):
            described.status, described.body, described.headers = status, body, headers
            told = ask(room, "getOpenAPI", "serviceCode=documents").json()
            assert told["type"] == "server.serverproxy.service_failed", told


def test_an_information_system_that_is_not_there(room):
    service = room.state.server.local.current().find_service(DOCUMENTS)
    with pytest.raises(Unavailable) as error:
        run_async(DescriptionClient(lambda _der: None).fetch(service))
    assert error.value.code == "exchange.information_system.description"
