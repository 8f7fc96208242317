"""TM-06: each part dropped, added, altered, on the wire, in both directions and both signature forms (§7.2, §1.3)."""

from dataclasses import replace

import httpx
import pytest

from digiid.formats.exchange.hash_chain import HashChain, build_hash_chain
from digiid.formats.exchange.message_signature import BODY, MESSAGE
from digiid.formats.exchange.part_order import (
    HASH_CHAIN,
    HASH_CHAIN_RESULT,
    OCSP,
    REST_BODY,
    REST_REQUEST,
    REST_RESPONSE,
    SIGNATURE,
)
from tests.support.exchange_peer import (
    PlayedServer,
    http_answer,
    make_request,
    make_response,
    played_server,
    send_message,
)
from tests.support.exchange_room import exchange_room, free_message_port, make_keys
from tests.support.global_conf import BOARD, LOANS, POLICE, PRIVATE, STATE

FORMS = pytest.mark.parametrize("use_hash_chain", [False, True], ids=["direct", "hash_chain"])
COVERAGE = {
    "server.serverproxy.malformed_signature.hashchain_unused_inputs",
    "server.serverproxy.malformed_signature.invalid_hash_chain_ref",
    "server.serverproxy.invalid_signature_value",
    "server.serverproxy.malformed_signature",
    "server.serverproxy.invalid_message",
    "server.serverproxy.mime_parsing_failed",
    "server.serverproxy.invalid_request",
}


def other(part: bytes) -> bytes:
    return part[:-3] + bytes([part[-3] ^ 1]) + part[-2:]


def shorter(part: bytes) -> bytes:
    return part[:-1]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("tm06")) as room:
        yield room


@pytest.fixture(autouse=True)
def no_message_was_delivered(request, room):
    asked, logged = len(room.provider.asked), room.state.logged("TEST-1")
    yield
    if "whole" not in request.node.name:
        assert len(room.provider.asked) == asked, "the information system was asked all the same"
        assert room.state.logged("TEST-1") == logged, "an unverified message was logged"


# ------------------------------------------------------------------ requests


@FORMS
@pytest.mark.parametrize("body", [None, b"", b"a body"])
def test_tm06_a_whole_request_is_answered(room, use_hash_chain, body):
    answer = send_message(room, make_request(room, use_hash_chain=use_hash_chain, body=body))
    assert answer.fault is None
    assert [kind for kind, _ in answer.parts] == [REST_RESPONSE, REST_BODY, SIGNATURE]


DROPPED = [
    (False, OCSP),
    (False, REST_REQUEST),
    (False, REST_BODY),
    (False, SIGNATURE),
    (True, OCSP),
    (True, REST_REQUEST),
    (True, REST_BODY),
    (True, HASH_CHAIN_RESULT),
    (True, HASH_CHAIN),
    (True, SIGNATURE),
]


@pytest.mark.parametrize(("use_hash_chain", "part"), DROPPED)
def test_tm06_a_request_with_a_part_left_out_is_refused(room, use_hash_chain, part):
    answer = send_message(room, make_request(room, use_hash_chain=use_hash_chain).without(part))
    assert answer.fault in COVERAGE


ALTERED = [
    (form, part, change)
    for form, parts in (
        (False, (REST_REQUEST, REST_BODY, SIGNATURE)),
        (True, (REST_REQUEST, REST_BODY, HASH_CHAIN_RESULT, HASH_CHAIN, SIGNATURE)),
    )
    for part in parts
    for change in (other, shorter)
]


@pytest.mark.parametrize(("use_hash_chain", "part", "change"), ALTERED)
def test_tm06_a_request_with_a_part_altered_is_refused(room, use_hash_chain, part, change):
    message = make_request(room, use_hash_chain=use_hash_chain).changed(part, change)
    assert send_message(room, message).fault in COVERAGE | {"server.serverproxy.invalid_xml"}


@FORMS
@pytest.mark.parametrize("body", [b"", b"smuggled"])
def test_tm06_a_body_that_nobody_signed_is_refused(room, use_hash_chain, body):
    message = make_request(room, use_hash_chain=use_hash_chain, body=None).inserted(SIGNATURE, (REST_BODY, body))
    assert send_message(room, message).fault in COVERAGE


@pytest.mark.parametrize("part", [REST_REQUEST, REST_BODY, HASH_CHAIN_RESULT, HASH_CHAIN, SIGNATURE])
def test_tm06_a_part_that_comes_twice_is_refused(room, part):
    message = make_request(room, use_hash_chain=True)
    assert send_message(room, message.inserted(part, (part, message.find(part)))).fault in COVERAGE


@FORMS
def test_tm06_a_chain_beside_direct_references_is_refused(room, use_hash_chain):
    message = make_request(room, use_hash_chain=use_hash_chain)
    chain = build_hash_chain({MESSAGE: b"\x00" * 64, BODY: b"\x00" * 64})
    if use_hash_chain:
        message = replace_chain(message, chain)
    else:
        message = message.inserted(SIGNATURE, (HASH_CHAIN_RESULT, chain.result))
        message = message.inserted(SIGNATURE, (HASH_CHAIN, chain.chain))
    assert send_message(room, message).fault in COVERAGE


def replace_chain(message, chain: HashChain):
    return message.changed(HASH_CHAIN_RESULT, lambda _: chain.result).changed(HASH_CHAIN, lambda _: chain.chain)


@FORMS
@pytest.mark.parametrize("signed", ["message", "body", "more"])
def test_tm06_a_signature_over_other_parts_than_those_that_came_is_refused(room, use_hash_chain, signed):
    whole = make_request(room, use_hash_chain=use_hash_chain)
    parts = {MESSAGE: whole.find(REST_REQUEST), BODY: whole.find(REST_BODY)}
    if signed == "more":
        parts["/attachment2"] = b"a part that is not there"
    else:
        del parts[BODY if signed == "message" else MESSAGE]
    message = make_request(room, use_hash_chain=use_hash_chain, signed=parts)
    assert send_message(room, message).fault in COVERAGE


def test_tm06_the_signature_of_another_message_is_refused(room):
    first, second = make_request(room), make_request(room, body=b"another")
    message = first.changed(SIGNATURE, lambda _: second.find(SIGNATURE))
    assert send_message(room, message).fault in COVERAGE


# ------------------------------------------------------------------ responses


class Board:
    """The board's server, played: `change` alters the answer between signing and sending."""

    def __init__(self) -> None:
        self.change = lambda message: message
        self.options: dict[str, object] = {}
        self.server: PlayedServer


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("tm06-played")) as room:
        board, port = Board(), free_message_port()
        identity = make_keys(STATE, [BOARD]).authentication
        room.trust.knows(identity.certificate)
        original, room.keys[STATE].authentication = room.keys[STATE].authentication, identity
        registered = replace(room.registered(STATE, frozenset({POLICE})), address=f"127.0.0.1:{port}")
        room.keys[STATE].authentication = original
        room.republish(servers=(registered, room.registered(PRIVATE, frozenset({LOANS}))))

        def answer(message):
            body = dict(message.parts).get(REST_BODY)
            made = make_response(room, STATE, message.find(REST_REQUEST), body, **board.options)
            return http_answer(board.change(made).envelope())

        with played_server(room, identity, answer, port=port) as board.server:
            yield room, board


@pytest.fixture
def asked_board(played):
    room, board = played

    def ask(change, **options) -> httpx.Response:
        board.change, board.options = change, options
        return room.ask("POST", content=b"ask", headers={"X-Road-Id": "RESPONSE-1"})

    return ask


@FORMS
@pytest.mark.parametrize("body", [None, b"", b"a body"])
def test_tm06_a_whole_response_is_released(asked_board, use_hash_chain, body):
    answer = asked_board(lambda message: message, use_hash_chain=use_hash_chain, body=body)
    assert (answer.status_code, answer.content) == (200, body or b"")


def refused(answer: httpx.Response) -> str:
    """Why; and nothing of the answer came through."""
    assert answer.headers["x-road-error"] == answer.json()["type"]
    assert b"done" not in answer.content
    return str(answer.json()["type"]).replace("clientproxy", "serverproxy")


@pytest.mark.parametrize(
    ("use_hash_chain", "part"),
    [(form, {REST_REQUEST: REST_RESPONSE}.get(part, part)) for form, part in DROPPED if part != OCSP],
)
def test_tm06_a_response_with_a_part_left_out_is_not_released(asked_board, use_hash_chain, part):
    answer = asked_board(lambda message: message.without(part), use_hash_chain=use_hash_chain)
    assert refused(answer) in COVERAGE


@pytest.mark.parametrize(
    ("use_hash_chain", "part", "change"),
    [(form, {REST_REQUEST: REST_RESPONSE}.get(part, part), change) for form, part, change in ALTERED],
)
def test_tm06_a_response_with_a_part_altered_is_not_released(asked_board, use_hash_chain, part, change):
    answer = asked_board(lambda message: message.changed(part, change), use_hash_chain=use_hash_chain)
    assert refused(answer) in COVERAGE | {"server.serverproxy.invalid_xml"}


@FORMS
@pytest.mark.parametrize("body", [b"", b"smuggled"])
def test_tm06_a_response_with_a_body_that_nobody_signed_is_not_released(asked_board, use_hash_chain, body):
    def change(message):
        return message.inserted(SIGNATURE, (REST_BODY, body))

    assert refused(asked_board(change, use_hash_chain=use_hash_chain, body=None)) in COVERAGE


def test_tm06_something_after_the_signature_is_not_released(asked_board):
    for part in ((SIGNATURE, b"x"), (REST_BODY, b"x"), ("text/plain", b"x")):
        answer = asked_board(lambda message, part=part: message.appended(part))
        assert refused(answer) == "server.serverproxy.invalid_message"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"x-road-id:RESPONSE-1", b"x-road-id:RESPONSE-2"),
        (b"x-road-client:TEST/COM/10000201/loans", b"x-road-client:TEST/COM/10000201/cards"),
        (b"police/documents", b"police/others"),
        (b"x-road-request-id:", b"x-road-request-id:0"),
        (b"x-road-request-hash:", b"x-road-request-hash:0"),
    ],
)
def test_tm06_a_signed_answer_to_another_request_is_not_released(asked_board, before, after):
    def alter(part: bytes) -> bytes:
        assert before in part
        return part.replace(before, after)

    answer = asked_board(lambda message: message, alter=alter)
    assert refused(answer) == "server.serverproxy.inconsistent_response"


def test_tm06_another_members_answer_is_not_released(played, asked_board):
    room, _ = played
    answer = asked_board(lambda message: message, signer=room.keys[PRIVATE].signing[LOANS.member])
    assert refused(answer) == "server.serverproxy.cert_validation"


def test_tm06_what_is_not_released_is_not_logged_as_an_answer(played):
    room, board = played
    board.change, board.options = (lambda message: message.changed(REST_BODY, other)), {}
    room.ask("POST", content=b"ask", headers={"X-Road-Id": "NOT-LOGGED-1"})
    assert [each.is_response for each in room.private.logged("NOT-LOGGED-1")] == [False]
