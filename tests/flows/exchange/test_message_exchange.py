"""One question and its answer through two security servers, over real sockets."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from digiid.formats.exchange.rest_message import parse_response
from tests.support.exchange_room import CARDS, DOCUMENTS, exchange_room
from tests.support.global_conf import POLICE


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("exchange")) as room:
        yield room


def code_of(answer: httpx.Response) -> str:
    assert answer.headers["x-road-error"] == answer.json()["type"]
    return str(answer.json()["type"])


def test_a_question_reaches_the_provider_and_its_answer_the_asker(room):
    answer = room.ask("POST", "/persons?a=1", content=b'{"todo": true}', headers={"X-Road-Id": "DEV-1"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["sha256"] == hashlib.sha256(b'{"todo": true}').hexdigest()
    asked = room.provider.asked[-1]
    assert (asked.method, asked.target) == ("POST", f"{DOCUMENTS.path}/persons?a=1")
    assert asked.headers["x-road-client"] == "TEST/COM/10000201/loans"
    assert asked.headers["x-road-id"] == answer.headers["x-road-id"] == "DEV-1"
    assert asked.headers["x-road-request-id"] == answer.headers["x-road-request-id"]
    assert answer.headers["x-road-service"] == str(DOCUMENTS)


def test_both_sides_have_logged_request_and_response_with_their_signatures(room):
    room.ask("POST", content=b"x", headers={"X-Road-Id": "LOGGED-1"})

    asker, provider = room.private.logged("LOGGED-1"), room.state.logged("LOGGED-1")
    assert [each.is_response for each in asker] == [each.is_response for each in provider] == [False, True]
    for ours, theirs in zip(asker, provider, strict=True):
        assert (ours.message_sha512, ours.body_sha512) == (theirs.message_sha512, theirs.body_sha512)
        assert ours.signature_xml == theirs.signature_xml
    assert provider[0].party == "TEST/GOV/70000101/police"
    assert asker[0].party == "TEST/COM/10000201/loans"


@pytest.mark.parametrize("method", ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"])
def test_every_method_goes_through(room, method):
    answer = room.ask(method, "/anything")
    assert answer.json()["method"] == method


def test_head_and_statuses_without_a_body_have_none(room):
    assert room.ask("HEAD", "/x").content == b""
    for status in (204, 304):
        answer = room.ask("GET", f"/status/{status}")
        assert (answer.status_code, answer.content) == (status, b"")
        assert "content-length" not in answer.headers


@pytest.mark.parametrize("status", [201, 400, 404, 418, 500, 503])
def test_the_providers_own_status_passes_unchanged(room, status):
    answer = room.ask("GET", f"/status/{status}")
    assert (answer.status_code, answer.text) == (status, "as it was asked")
    assert "x-road-error" not in answer.headers


def test_an_empty_answer_is_a_part_of_its_own(room):
    answer = room.ask("GET", "/empty", headers={"X-Road-Id": "EMPTY-1"})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    response = room.private.logged("EMPTY-1")[1]
    assert response.body_sha512 == hashlib.sha512(b"").digest()
    assert parse_response(response.message).status == 200


def test_a_request_without_a_body_has_no_body_part(room):
    room.ask("POST", content=b"", headers={"X-Road-Id": "BODYLESS-1"})
    assert room.state.logged("BODYLESS-1")[0].body_sha512 is None


def test_large_bodies_pass_both_ways_and_leave_nothing_behind(room):
    body = bytes(range(256)) * 16 * 1024  # 4 MiB, far above what is held in memory
    asked = room.ask("POST", "/persons", content=body, headers={"X-Road-Id": "LARGE-1"})
    assert asked.json()["sha256"] == hashlib.sha256(body).hexdigest()
    assert room.state.logged("LARGE-1")[0].body_sha512 == hashlib.sha512(body).digest()

    got = room.ask("GET", "/big/5000000")
    assert got.content == b"\xa5" * 5_000_000
    assert [*(room.folder / "state" / "spool").iterdir(), *(room.folder / "private" / "spool").iterdir()] == []


def test_a_chunked_request_and_one_that_waits_for_the_word_to_continue(room):
    def pieces():
        yield b"one,"
        yield b"two"

    answer = room.ask("POST", content=pieces())
    assert answer.json()["sha256"] == hashlib.sha256(b"one,two").hexdigest()
    waits = room.ask("POST", content=b"12", headers={"Expect": "100-continue"})
    assert waits.json()["sha256"] == hashlib.sha256(b"12").hexdigest()


def test_an_answer_that_breaks_off_is_no_answer(room):
    answer = room.ask("GET", "/cut/3000000", headers={"X-Road-Id": "CUT-1"})
    assert code_of(answer) == "server.serverproxy.service_failed"
    assert [each.is_response for each in room.private.logged("CUT-1")] == [False]


def test_an_order_to_keep_a_look_back_reaches_the_provider_with_the_signed_message(room):
    order = {"X-Digiid-Hidden-Until": "2027-03-01", "X-Digiid-Hidden-Reason": "criminal%20proceedings"}
    room.ask(headers={**order, "X-Road-Id": "DELAYED-1"})
    for name, value in order.items():
        assert room.provider.asked[-1].headers[name.lower()] == value


def test_headers_of_the_connection_and_forged_ones_do_not_pass(room):
    room.provider.answer_headers = [(b"x-road-id", b"forged"), (b"x-kept", b"yes"), (b"server", b"secret")]
    try:
        answer = room.ask(headers={"X-Custom": "passes", "x-road-request-hash": "forged", "X-Road-Id": "H-1"})
    finally:
        room.provider.answer_headers = []
    assert room.provider.asked[-1].headers["x-custom"] == "passes"
    assert "x-road-request-hash" not in room.provider.asked[-1].headers
    assert (answer.headers["x-kept"], answer.headers["x-road-id"]) == ("yes", "H-1")
    assert "server" not in answer.headers


def test_faults_of_the_asker_are_told_as_the_askers(room):
    no_client = httpx.get(f"{room.base_url}{DOCUMENTS.path}", trust_env=False)
    assert (no_client.status_code, code_of(no_client)) == (400, "client.ssl_authentication_failed")
    assert code_of(room.ask(client=POLICE)) == "client.unknown_member"
    assert code_of(room.ask(path="/a/%2e%2e/b")) == "client.invalid_request"
    assert code_of(room.ask(path="/a%2Fb")) == "client.invalid_request"
    elsewhere = httpx.get(f"{room.base_url}/elsewhere", trust_env=False)
    assert (elsewhere.status_code, code_of(elsewhere)) == (400, "client.invalid_request")


def test_faults_of_the_provider_come_with_its_code(room):
    denied = room.ask(client=CARDS)
    assert (denied.status_code, code_of(denied)) == (500, "server.serverproxy.access_denied")
    nothing = room.ask(service=type(DOCUMENTS)(POLICE, "nothing"))
    assert code_of(nothing) == "server.serverproxy.unknown_service"


def test_a_fault_is_xml_for_who_accepts_xml_only(room):
    answer = room.ask(client=CARDS, headers={"Accept": "application/xml"})
    assert answer.headers["content-type"] == "text/xml;charset=utf-8"
    assert "<type>server.serverproxy.access_denied</type>" in answer.text


def test_a_wanted_server_is_asked_or_nobody(room):
    right = room.ask(headers={"X-Road-Security-Server": "TEST/GOV/70000101/state"})
    assert right.status_code == 200
    wrong = room.ask(headers={"X-Road-Security-Server": "TEST/GOV/70000101/other"})
    assert code_of(wrong) == "server.clientproxy.invalid_security_server"


def test_clients_are_listed_and_allowed_methods_told(room):
    listed = httpx.get(f"{room.base_url}/listClients", trust_env=False).json()
    assert {"loans", "police"} <= {each["id"].get("subsystem_code") for each in listed["member"]}
    methods = room.ask(service=type(DOCUMENTS)(POLICE, "allowedMethods"))
    assert [each["service_code"] for each in methods.json()["service"]] == ["documents"]


def test_maintenance_is_told_to_who_asks(room):
    servers = room.shared().servers
    room.republish(servers=(replace(servers[0], maintenance="until noon"), servers[1]))
    answer = room.ask()
    room.republish()
    assert code_of(answer) == "server.clientproxy.maintenance_mode"
    assert "until noon" in answer.json()["message"]
    assert room.ask().status_code == 200


def test_operational_records_hold_no_content(room):
    room.ask("POST", "/persons/38001085718", content=b"secret", headers={"X-Road-Id": "COUNTED-1"})
    room.state.server.monitoring.flush()
    kept = b"".join(file.read_bytes() for file in (room.folder / "state").glob("monitoring.sqlite*"))
    assert b"COUNTED-1" in kept
    assert b"38001085718" not in kept
    assert b"secret" not in kept


@pytest.mark.parametrize("kind", ["rsa", "p384"])
@pytest.mark.parametrize("signature_form", ["direct", "hash_chain"])
def test_both_signature_forms_with_every_kind_of_key(tmp_path, kind, signature_form):
    with exchange_room(tmp_path, kind=kind, signature_form=signature_form) as room:
        answer = room.ask("POST", content=b"a body", headers={"X-Road-Id": "FORM-1"})
        assert answer.status_code == 200, answer.text
        logged = room.state.logged("FORM-1")
        assert [each.hash_chain is not None for each in logged] == [signature_form == "hash_chain"] * 2


def test_nothing_passes_once_the_configuration_has_run_out_and_it_recovers_by_itself(tmp_path):
    with exchange_room(tmp_path) as room:
        assert room.ask().status_code == 200
        room.clock.advance(timedelta(minutes=10))
        assert code_of(room.ask()) == "server.clientproxy.global_conf_outdated"
        room.republish()
        assert room.ask().status_code == 200
