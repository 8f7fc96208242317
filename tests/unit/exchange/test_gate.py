"""The gate, called as an ASGI server calls it; no socket."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from digiid.contracts.members import BANK, POLICE_BOARD, POPULATION_REGISTER
from digiid.contracts.operation import NO_PERSONS, Message, Operation
from digiid.exchange.gate import Caller, Gate, RestAnswer, RestCall, RestService, Service
from digiid.exchange.granted_rights import GrantedRight, GrantedRightsFile, dump_granted_rights, load_granted_rights
from digiid.kernel.errors import Conflict, Refused
from digiid.kernel.identifiers import ClientId, Party, ServiceId
from digiid.platform.pools import Pools
from tests.support.loops import run_async


class Question(Message):
    number: int


class Answer(Message):
    number: int
    asked_by: str


OPERATION = Operation(ServiceId(POPULATION_REGISTER, "double"), Question, Answer, frozenset({POLICE_BOARD}))


def double(caller: Caller, question: Question) -> Answer:
    if question.number == 13:
        raise Conflict("number.taken", "internal detail", public="Taken already.")
    if question.number == 14:
        raise RuntimeError("secret detail")
    if question.number == 15:
        raise Refused("number.refused", "internal detail")
    return Answer(number=2 * question.number, asked_by=str(caller.client))


USAGE = ServiceId(POPULATION_REGISTER, "usage")


def use(caller: Caller, call: RestCall) -> RestAnswer:
    said = {
        "method": call.method,
        "path": call.path,
        "query": {name: list(values) for name, values in call.query.items()},
        "body": call.body.decode(),
        "consent": caller.consent,
        "purpose": caller.purpose,
        "request_id": caller.request_id,
    }
    return RestAnswer(201, "application/problem+json", json.dumps(said).encode())


REST = RestService(USAGE, (("GET", "/v2/usage"), ("POST", "/v2/usage")), frozenset({POLICE_BOARD}), use)


@pytest.fixture
def gate() -> Iterator[Gate]:
    pools = Pools(pages=1, services=1)
    yield Gate([Service(OPERATION, double), REST], pools=pools)
    pools.close()


def ask(
    gate: Gate,
    body: bytes = b'{"number": 4}',
    *,
    path: str = OPERATION.path,
    method: str = "POST",
    query: bytes = b"",
    more: Sequence[tuple[bytes, bytes]] = (),
    **headers: str,
) -> tuple[int, Mapping[str, Any], dict[str, str]]:
    given = {"x-road-client": str(POLICE_BOARD), "x-road-id": "EE-1"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [*((k.encode(), v.encode()) for k, v in given.items()), *more],
    }
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    run_async(gate(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"]), {k.decode(): v.decode() for k, v in sent[0]["headers"]}


DELAYED = [(b"x-digiid-hidden-until", b"2027-03-01"), (b"x-digiid-hidden-reason", b"criminal proceedings")]


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        (DELAYED, 403, "exchange.delay_not_allowed"),  # the gate has no rules, and the contract allows nobody
        (DELAYED[:1], 400, "exchange.delay"),
        ([*DELAYED, *DELAYED[:1]], 400, "exchange.delay"),
        ([*DELAYED, DELAYED[1]], 400, "exchange.delay"),
        ([DELAYED[0], (DELAYED[1][0], "kuriteo jälitamine".encode())], 400, "exchange.delay"),  # not percent-encoded
        ([DELAYED[0], (DELAYED[1][0], b"criminal %ff proceedings")], 400, "exchange.delay"),
        ([DELAYED[0], (DELAYED[1][0], b"criminal%0Aproceedings")], 400, "exchange.delay"),
        ([DELAYED[0], (DELAYED[1][0], b"x" * 201)], 400, "exchange.delay"),
        ([(DELAYED[0][0], b"2027-02-30"), DELAYED[1]], 400, "exchange.delay"),
        ([(DELAYED[0][0], b"2027-03-01T00:00:00Z"), DELAYED[1]], 400, "exchange.delay"),
    ],
)
def test_an_order_to_keep_a_look_back_is_refused_unless_everything_allows_it(
    gate: Gate, more: list[tuple[bytes, bytes]], status: int, code: str
) -> None:
    for path in (OPERATION.path, f"{USAGE.path}/v2/usage"):
        answered, body, _ = ask(gate, path=path, more=more, x_road_userid="EE38001085718")
        assert (answered, body["code"]) == (status, code)


def test_an_allowed_subsystem_gets_its_answer(gate: Gate) -> None:
    status, body, headers = ask(gate)
    assert (status, body) == (200, {"number": 8, "asked_by": str(POLICE_BOARD)})
    assert headers["x-road-id"] == "EE-1"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x_road_client": "EE/GOV/70000101"}, "client.ssl_authentication_failed"),
        ({"x_road_client": "EE/GOV/9/unknown"}, "server.serverproxy.access_denied"),
        ({"x_road_id": "a b"}, "client.ssl_authentication_failed"),
        ({"x_road_client": str(BANK)}, "server.serverproxy.access_denied"),
    ],
)
def test_nobody_else_is_let_through(gate: Gate, headers: dict[str, str], code: str) -> None:
    status, body, answered = ask(gate, **headers)
    assert status in (400, 500)
    assert body["type"] == code
    assert answered["x-road-error"] == code


@pytest.mark.parametrize(
    "path",
    [
        OPERATION.path + "/",
        OPERATION.path + "/../v1",
        OPERATION.path.replace("double", "d%6fuble"),
        "/r1/EE/GOV/70000103/population/other/v1",
        "/",
    ],
)
def test_a_path_matches_to_the_letter_or_not_at_all(gate: Gate, path: str) -> None:
    status, body, _ = ask(gate, path=path)
    assert status in (400, 500)
    assert body["type"] in ("server.serverproxy.unknown_service", "client.invalid_rest")


def test_a_get_is_not_a_call(gate: Gate) -> None:
    assert ask(gate, method="GET")[0] == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"number": "x"}', b'{"number": 1, "extra": 2}', b"\xff"])
def test_a_body_not_to_the_contract_is_malformed(gate: Gate, body: bytes) -> None:
    status, problem, _ = ask(gate, body)
    assert (status, problem["code"]) == (400, "exchange.request")


def test_an_error_keeps_its_kind_and_code_and_loses_its_detail(gate: Gate) -> None:
    status, problem, _ = ask(gate, b'{"number": 13}')
    assert (status, problem["code"], problem["detail"]) == (409, "number.taken", "Taken already.")
    status, problem, _ = ask(gate, b'{"number": 15}')
    assert (status, problem["code"], problem["detail"]) == (403, "number.refused", None)


def test_a_fault_of_ours_is_told_without_detail(gate: Gate) -> None:
    status, problem, _ = ask(gate, b'{"number": 14}')
    assert status == 500
    assert "secret detail" not in json.dumps(problem)


def test_a_rest_service_gets_its_path_query_and_what_the_caller_states(gate: Gate) -> None:
    status, said, headers = ask(
        gate,
        b"",
        path=USAGE.path + "/v2/usage",
        method="GET",
        query=b"code=EE1&code=EE2&empty=",
        x_digiid_consent="aa.bb.cc",
        x_digiid_purpose="j%C3%A4relevalve",
        x_road_request_id="r-1",
    )
    assert (status, headers["content-type"]) == (201, "application/problem+json")
    assert said["query"] == {"code": ["EE1", "EE2"], "empty": [""]}
    assert (said["path"], said["consent"], said["purpose"]) == ("/v2/usage", "aa.bb.cc", "järelevalve")
    assert said["request_id"] == "r-1"


@pytest.mark.parametrize("purpose", ["%FF", "a%0Ab", "x" * 201, "%20" * 2000])
def test_a_purpose_that_cannot_be_read_was_not_said(gate: Gate, purpose: str) -> None:
    assert ask(gate, path=USAGE.path + "/v2/usage", method="GET", x_digiid_purpose=purpose)[1]["purpose"] is None


def test_a_rest_service_answers_only_its_own_paths_and_verbs(gate: Gate) -> None:
    assert ask(gate, path=USAGE.path + "/v2/other", method="GET")[1]["type"] == "server.serverproxy.unknown_service"
    assert ask(gate, path=USAGE.path + "/v2/usage", method="DELETE")[1]["type"] == "client.invalid_rest"
    denied = {"x_road_client": str(BANK)}
    assert ask(gate, path=USAGE.path + "/v2/usage", **denied)[1]["type"] == "server.serverproxy.access_denied"
    assert ask(gate, path=USAGE.path + "/v2/usage", method="GET", query=b"&".join([b"a=1"] * 60))[0] == 400


OTHER = ClientId("EE", "COM", "10000298", "school")
OPEN = replace(OPERATION, service=ServiceId(POPULATION_REGISTER, "open"), for_others=NO_PERSONS)
OPEN_REST = replace(REST, service=ServiceId(POPULATION_REGISTER, "half"), for_others=frozenset({("GET", "/v2/usage")}))


class Schools:
    def is_in_group(self, client: Party, code: str) -> bool:
        return (client, code) == (OTHER, "schools")


@pytest.fixture
def rights(tmp_path: Path) -> Path:
    return tmp_path / "granted-rights.toml"


@pytest.fixture
def opened(rights: Path) -> Iterator[Gate]:
    """A gate of services of which some are open to others, with the operator's rights in the file `rights`."""
    pools = Pools(pages=1, services=1)
    offered = [Service(OPERATION, double), Service(OPEN, double), REST, OPEN_REST]
    yield Gate(offered, pools=pools, granted=GrantedRightsFile(rights, Schools()))
    pools.close()


def give(file: Path, *given: tuple[ServiceId, str, str], **subject: str) -> None:
    """Put the rights into the file as the operator's command does, in place of the former."""
    subject = subject or {"client": str(OTHER)}
    rights = [
        GrantedRight(
            service=str(service),
            method=method,
            path=path,
            granted_at=datetime(2026, 11, 29, tzinfo=UTC),
            granted_by="x",
            **subject,
        )
        for service, method, path in given
    ]
    part = file.with_suffix(".part")
    part.write_bytes(dump_granted_rights(rights))
    part.replace(file)


def answered(
    gate: Gate, service: ServiceId, *, method: str = "POST", path: str = "/v1", client: ClientId = OTHER
) -> bool:
    status, body, _ = ask(gate, path=service.path + path, method=method, x_road_client=str(client))
    assert status in (200, 201) or body["type"] == "server.serverproxy.access_denied", body
    return status in (200, 201)


def test_a_right_of_the_operator_counts_where_the_contract_is_open_and_while_it_is_there(
    opened: Gate, rights: Path
) -> None:
    assert not answered(opened, OPEN.service)
    give(rights, (OPEN.service, "POST", "/v1"), (OPERATION.service, "POST", "/v1"), (USAGE, "GET", "/v2/usage"))
    assert answered(opened, OPEN.service)
    assert not answered(opened, OPEN.service, client=BANK)
    assert answered(opened, OPEN.service, client=POLICE_BOARD)
    # what the contract does not open stays closed, whatever the file says
    assert not answered(opened, OPERATION.service)
    assert not answered(opened, USAGE, method="GET", path="/v2/usage")
    give(rights)
    assert not answered(opened, OPEN.service)


def test_a_right_is_one_to_an_endpoint(opened: Gate, rights: Path) -> None:
    give(rights, (OPEN_REST.service, "GET", "/v2/usage"), (OPEN_REST.service, "POST", "/v2/usage"))
    assert answered(opened, OPEN_REST.service, method="GET", path="/v2/usage")
    assert not answered(opened, OPEN_REST.service, method="POST", path="/v2/usage")  # not open to others
    assert not answered(opened, OPEN_REST.service, method="DELETE", path="/v2/usage")


def test_a_right_of_a_group_is_its_members_right(opened: Gate, rights: Path) -> None:
    give(rights, (OPEN.service, "POST", "/v1"), global_group="schools")
    assert answered(opened, OPEN.service)
    assert not answered(opened, OPEN.service, client=BANK)
    give(rights, (OPEN.service, "POST", "/v1"), global_group="others")
    assert not answered(opened, OPEN.service)


@pytest.mark.parametrize("broken", [b"rights = 3", b"\xff", b"version = 2", b"[[rights]]\n"])
def test_a_file_of_rights_that_cannot_be_read_gives_none(opened: Gate, rights: Path, broken: bytes) -> None:
    give(rights, (OPEN.service, "POST", "/v1"))
    assert answered(opened, OPEN.service)
    rights.write_bytes(broken)
    assert not answered(opened, OPEN.service)
    assert answered(opened, OPEN.service, client=POLICE_BOARD)
    give(rights, (OPEN.service, "POST", "/v1"))
    assert answered(opened, OPEN.service)
    rights.unlink()
    assert not answered(opened, OPEN.service)


def test_what_is_written_is_read_again_whatever_an_officer_is_called(rights: Path) -> None:
    given = GrantedRight(
        client=str(OTHER),
        service=str(OPEN.service),
        method="POST",
        path="/v1",
        granted_at=datetime(2026, 11, 29, tzinfo=UTC),
        granted_by='O\'Connež "\\" \x7f\n\u2028 𝒳',
    )
    rights.write_bytes(dump_granted_rights([given, given]))
    assert load_granted_rights(rights) == (given, given)


def test_two_services_never_answer_at_one_path() -> None:
    pools = Pools(pages=1, services=1)
    try:
        with pytest.raises(ValueError, match="two services"):
            Gate([REST, REST], pools=pools)
    finally:
        pools.close()
