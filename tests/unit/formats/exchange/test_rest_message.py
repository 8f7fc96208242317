import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.exchange import rest_message
from digiid.formats.exchange.rest_message import RestRequest, RestResponse
from digiid.kernel.errors import Malformed, Refused

# The check vector of the protocol notes: one request with and without a body.
PART = (
    b"POST\r\n/r1/DEV/COM/1234/TestService/mock1/todo?x=1\r\nAccept:*/*\r\nContent-Type:application/json\r\n"
    b"x-road-client:DEV/COM/4321/TestClient\r\nx-road-id:DEV-1\r\n"
    b"x-road-request-id:78b890f3-b1eb-45b2-a512-beec5d7ead23\r\n"
)
REQUEST = rest_message.parse_request(PART)
HASH = "vgF32CKJXv8blyO0kpcd6G2E11HdnnKHwTAk6i39rmkyTnyNMF8SRMLnNyrFkex+Tl2dlfbNEciiuiwD/slsnA=="
HASH_WITH_BODY = "68acjDt4t3ySPl1q/p9dhjOEo567q9Ke2NRB1ayp70S0VH3VIKJpt7PrAO6o5eydMdGMF3Y87egkDnu1gyMxug=="


def answer(**changed: str) -> RestResponse:
    response = rest_message.build_response(
        200, "OK", [("Content-Type", "application/json")], request=REQUEST, request_hash=HASH
    )
    headers = tuple((name, changed.get(name.replace("-", "_"), value)) for name, value in response.headers)
    return RestResponse(200, "OK", headers)


def test_request_hash_of_a_request_without_body():
    assert rest_message.hash_request(PART, body_sha512=None) == HASH


def test_request_hash_of_a_request_with_a_body():
    body_sha512 = hashlib.sha512(b'{"todo": true}').digest()
    assert rest_message.hash_request(PART, body_sha512=body_sha512) == HASH_WITH_BODY


def test_an_empty_body_part_is_not_the_same_as_none():
    assert rest_message.hash_request(PART, body_sha512=hashlib.sha512(b"").digest()) != HASH
    assert len(base64.b64decode(HASH)) == 64


def test_a_request_is_written_again_byte_for_byte():
    assert REQUEST.encode() == PART
    assert REQUEST.client == ("DEV", "COM", "4321", "TestClient")
    assert REQUEST.service == ("DEV", "COM", "1234", "TestService", "mock1")
    assert (REQUEST.message_id, REQUEST.path) == ("DEV-1", "/r1/DEV/COM/1234/TestService/mock1/todo")


def test_building_a_request_gives_the_vector():
    given_headers = [
        ("Accept", "*/*"),
        ("Host", "localhost"),
        ("X-Road-Request-Id", "forged"),
        ("Content-Type", "application/json"),
        ("X-Road-Request-Hash", "forged"),
        ("Transfer-Encoding", "chunked"),
        ("x-road-client", "DEV/COM/4321/TestClient"),
    ]
    built = rest_message.build_request(
        "POST", REQUEST.target, given_headers, fresh_message_id="DEV-1", request_id=REQUEST.request_id
    )
    assert built.encode() == PART


def test_the_information_systems_own_message_id_is_kept():
    headers = [("X-Road-Client", "DEV/COM/4321"), ("X-Road-Id", "mine")]
    built = rest_message.build_request("GET", REQUEST.target, headers, fresh_message_id="ours", request_id="r")
    assert built.message_id == "mine"
    assert built.client == ("DEV", "COM", "4321")
    assert ("x-road-id", "ours") not in built.headers


def test_a_response_ends_with_the_five_headers_that_bind_it_to_the_request():
    response = rest_message.build_response(
        404,
        "",
        [("Server", "x"), ("mock-response", "true"), ("X-Road-Id", "forged"), ("X-Road-Client", "a/b/c")],
        request=REQUEST,
        request_hash=HASH,
    )
    assert response.encode() == (
        b"404\r\n\r\nmock-response:true\r\nx-road-id:DEV-1\r\nx-road-client:DEV/COM/4321/TestClient\r\n"
        b"x-road-service:DEV/COM/1234/TestService/mock1\r\n"
        b"x-road-request-id:78b890f3-b1eb-45b2-a512-beec5d7ead23\r\nx-road-request-hash:" + HASH.encode() + b"\r\n"
    )
    assert rest_message.parse_response(response.encode()) == response


def test_a_consistent_response_is_accepted():
    rest_message.check_consistent(answer(), request=REQUEST, request_hash=HASH)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x_road_client", "DEV/COM/4321/Other"),
        ("x_road_id", "DEV-2"),
        ("x_road_service", "DEV/COM/1234/TestService/mock2"),
        ("x_road_request_id", "another"),
        ("x_road_request_hash", HASH_WITH_BODY),
    ],
)
def test_each_difference_makes_a_response_inconsistent(name, value):
    with pytest.raises(Refused) as refused:
        rest_message.check_consistent(answer(**{name: value}), request=REQUEST, request_hash=HASH)
    assert refused.value.code == "exchange.inconsistent_response"


@pytest.mark.parametrize("name", sorted(rest_message.HOP_BY_HOP))
def test_a_received_part_with_a_header_of_one_connection_is_refused(name):
    with pytest.raises(Malformed):
        rest_message.parse_request(PART + name.title().encode() + b":x\r\n")


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"\r\n",
        PART[:-1],
        PART[:-2],
        PART + b"\r\n",
        PART.replace(b"\r\n", b"\n"),
        PART.replace(b"POST", b"post"),
        PART.replace(b"POST", b"CONNECT"),
        PART.replace(b"/r1/", b"/r2/"),
        PART.replace(b"/mock1/todo?x=1", b""),
        PART.replace(b"?x=1", b"?x= 1"),
        PART.replace(b"?x=1", b"#x"),
        PART.replace(b"/DEV/COM/1234", b"/DEV/../1234"),
        PART.replace(b"/DEV/COM/1234", b"/DEV//1234"),
        PART.replace(b"TestService", b"Test%2fService"),
        PART.replace(b"TestService", b"Test%ffService"),
        PART.replace(b"Accept:", b"Accept :"),
        PART.replace(b"Accept:*/*", b"Accept"),
        PART.replace(b"*/*", b"a\rb"),
        PART.replace(b"*/*", b"a\nb"),
        PART.replace(b"*/*", b"a\0b"),
        PART.replace(b"*/*", b"\xff"),
        PART.replace(b"x-road-request-id", b"X-Road-Request-Id"),
        PART.replace(b"x-road-id:DEV-1", b"x-road-id:"),
        PART.replace(b"x-road-id:DEV-1\r\n", b""),
        PART.replace(b"TestClient", b"TestClient/x"),
        PART + b"X-Road-Request-Id:another\r\n",
        PART + b"x-road-client:DEV/COM/4321/TestClient\r\n",
        PART + b"a:" + b"x" * rest_message.MAX_LINE_BYTES + b"\r\n",
        PART + b"a:b\r\n" * rest_message.MAX_HEADERS,
        PART + (b"a:" + b"x" * 10_000 + b"\r\n") * 30,
    ],
)
def test_anything_else_is_malformed(part):
    with pytest.raises(Malformed):
        rest_message.parse_request(part)


@given(st.binary(max_size=200))
def test_only_malformed_escapes_the_parsers(data):
    for parse in (rest_message.parse_request, rest_message.parse_response):
        for part in (data, PART + data, b"200\r\n" + data):
            try:
                parsed: RestRequest | RestResponse = parse(part)
            except Malformed:
                continue
            assert parsed.encode() == part
