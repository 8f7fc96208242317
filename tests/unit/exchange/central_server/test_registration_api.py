"""The registration endpoint for programs, and the client side of it; an exchange that is being made."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from digiid.exchange.central_server.api import Registration
from digiid.exchange.central_server.domain import RequestState
from digiid.exchange.central_server.registering import (
    PlannedServer,
    ProvisionedServer,
    load_identity,
    provision,
    send_request,
)
from digiid.exchange.central_server.settings import Settings
from digiid.exchange.central_server.use_cases import configuration, members, provisioned, requests
from digiid.formats.exchange.management import MAX_ENVELOPE_BYTES, Operation
from digiid.formats.x509.parts import certificate_der
from digiid.kernel.errors import Broken, Conflict, Malformed, NotFound, Refused, Unavailable
from digiid.platform.certificate_files import read_certificate
from digiid.platform.clock import ManualClock
from digiid.platform.entropy import SeededEntropy
from digiid.platform.pools import Pools
from tests.support.central import (
    AUTHORITY,
    BANKING,
    BOARD,
    PLAN,
    POLICE,
    PORTAL,
    PRIVATE,
    REGISTRAR,
    STATE,
    CentralRoom,
    central_room,
)
from tests.support.loops import run_async

# ------------------------------------------------------------------ the endpoint


class Endpoint:
    """The ASGI callable as a program on the other side meets it."""

    def __init__(self, room: CentralRoom) -> None:
        self.pools = Pools(pages=2, services=1)
        self.app = Registration(room.deps, self.pools)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        address: str = "192.0.2.1",
        media_type: bytes = b"application/json",
    ) -> tuple[int, dict[str, Any], dict[bytes, bytes]]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [(b"content-type", media_type)]
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "client": (address, 5000)}
        run_async(self.app(scope, receive, send))
        return sent[0]["status"], json.loads(sent[1]["body"]), dict(sent[0]["headers"])


@pytest.fixture
def endpoint(room: CentralRoom) -> Any:
    made = Endpoint(room)
    yield made
    made.pools.close()


def test_a_registration_is_accepted_and_told_about_until_it_is_decided(room: CentralRoom, endpoint: Endpoint) -> None:
    status, told, headers = endpoint.ask("POST", "/registration/requests", room.envelope(room.registration()))
    assert (status, told["state"], told["operation"]) == (202, "submitted_for_approval", "authCertReg")
    assert headers[b"cache-control"] == b"no-store"
    requests.decline_request(room.deps, told["requestId"], reason="No agreement yet", by=REGISTRAR)
    status, told, _ = endpoint.ask("GET", f"/registration/requests/{told['requestId']}")
    assert (status, told["state"], told["reason"]) == (200, "declined", "No agreement yet")
    assert set(told) == {"requestId", "operation", "state", "reason"}  # nobody's name


def test_what_is_in_effect_at_once_is_said_so(room: CentralRoom, endpoint: Endpoint) -> None:
    room.register_server()
    envelope = room.envelope(room.request(Operation.MAINTENANCE_ON))
    assert endpoint.ask("POST", "/registration/requests", envelope)[:2][0] == 200
    assert endpoint.ask("POST", "/registration/requests", envelope)[0] == 409


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"{}", b"application/json", 400, "exchange.management.envelope"),
        (b"x", b"application/json", 400, "exchange.management.json"),
        (b"", b"application/json", 400, "exchange.management.json"),
        (b" " * (MAX_ENVELOPE_BYTES + 1), b"application/json", 400, "http.too_large"),
        (b"{}", b"text/plain", 400, "exchange.management.media_type"),
    ],
)
def test_bad_bodies_are_the_senders_fault(
    endpoint: Endpoint, body: bytes, media_type: bytes, status: int, code: str
) -> None:
    found, told, _ = endpoint.ask("POST", "/registration/requests", body, media_type=media_type)
    assert (found, told["code"]) == (status, code)


def test_other_paths_and_methods(endpoint: Endpoint) -> None:
    assert endpoint.ask("GET", "/registration/requests")[0] == 405
    assert endpoint.ask("DELETE", "/registration/requests")[0] == 405
    assert endpoint.ask("GET", "/registration")[0] == 404
    assert endpoint.ask("GET", "/registration/requests/7f1f1e3c-6a55-4a1f-9a43-0c7f0c5f5a01")[0] == 404
    assert endpoint.ask("GET", "/registration/requests/" + "x" * 10_000)[0] == 404


def test_tm05_requests_are_counted_by_address_before_anything_is_verified(
    room: CentralRoom, endpoint: Endpoint
) -> None:
    for _ in range(10):
        assert endpoint.ask("POST", "/registration/requests", b"{}")[0] == 400
    status, told, headers = endpoint.ask("POST", "/registration/requests", room.envelope(room.registration()))
    assert (status, told["code"]) == (429, "web.too_many") and int(headers[b"retry-after"]) >= 1
    assert endpoint.ask("POST", "/registration/requests", b"{}", address="192.0.2.2")[0] == 400
    room.clock.advance(timedelta(seconds=60))
    assert endpoint.ask("POST", "/registration/requests", room.envelope(room.registration()))[0] == 202


# ------------------------------------------------------------------ the other side


class CannedHttp:
    """Answers what it was given; no network."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body

    def request(self, *_: Any, **__: Any) -> Any:
        return type("Answer", (), {"status": self.status, "body": self.body})()


def test_the_answer_is_read_with_its_kind_of_error() -> None:
    told = {"requestId": "1", "operation": "clientReg", "state": "submitted_for_approval", "reason": None}
    answer = send_request(CannedHttp(202, json.dumps(told).encode()), "http://x", b"{}")  # type: ignore[arg-type]
    assert answer.state is RequestState.SUBMITTED_FOR_APPROVAL
    for status, kind in ((400, Malformed), (403, Refused), (404, NotFound), (409, Conflict), (503, Unavailable)):
        problem = json.dumps({"status": status, "code": "central.replayed", "detail": "no"}).encode()
        with pytest.raises(kind, match=r"central\.replayed"):
            send_request(CannedHttp(status, problem), "http://x", b"{}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"state": "x"}', b'{"code": "NOT A CODE", "detail": "x"}', b"[" * 50_000]
)
def test_an_unreadable_answer_is_nobodys_approval(body: bytes) -> None:
    for status in (200, 202, 500):
        with pytest.raises(Unavailable, match=r"exchange\.management\.answer"):
            send_request(CannedHttp(status, body), "http://x", b"{}")  # type: ignore[arg-type]


# ------------------------------------------------------------------ an exchange that is being made


def make(room: CentralRoom, folder: Path, **changes: Any) -> tuple[ProvisionedServer, ...]:
    options: dict[str, Any] = {"folder": folder, "certify": room.certify, "fetch_ocsp": room.fetch_ocsp}
    return provision(room.deps, changes.pop("plan", PLAN), officer=REGISTRAR, **(options | changes))


@pytest.fixture
def empty_room(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> CentralRoom:
    return central_room(tmp_path, clock, entropy, enters_members=False)


def test_an_exchange_is_made_with_real_proofs_and_again_changes_nothing(
    empty_room: CentralRoom, tmp_path: Path
) -> None:
    room, folder = empty_room, tmp_path / "servers"
    state, private = make(room, folder)
    views = {view.server.id: view for view in members.list_servers(room.deps)}
    assert {party for party, _ in views[STATE].clients} == {POLICE, PORTAL}
    assert {party for party, _ in views[PRIVATE].clients} == {BANKING}
    assert set(state.signing) == {AUTHORITY, BOARD}
    decided = requests.list_requests(room.deps)
    assert {one.state for one in decided} == {RequestState.APPROVED} and len(decided) == 5
    assert {one.decided_by for one in decided} == {REGISTRAR}
    [group] = [one for one in members.list_groups(room.deps) if one.code == "authorities"]
    assert set(group.members) == {POLICE, PORTAL}
    assert state.anchor.read_bytes() == configuration.build_present_anchor(room.deps) == private.anchor.read_bytes()
    for made in (state, private):
        for files in (made.authentication, *made.signing.values()):
            assert files.key.stat().st_mode & 0o077 == 0 and b"ENCRYPTED" in files.key.read_bytes()
            load_identity(files, made.passphrase_file, room.fetch_ocsp)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    entries = members.recent_journal(room.deps)
    room.clock.advance(timedelta(days=1))
    assert make(room, folder) == (state, private)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert members.recent_journal(room.deps) == entries


def test_a_client_is_added_later(empty_room: CentralRoom, tmp_path: Path) -> None:
    first, second = PLAN.servers
    small = replace(PLAN, servers=(replace(first, clients=(POLICE,)), second), groups={})
    make(empty_room, tmp_path / "servers", plan=small)
    make(empty_room, tmp_path / "servers")
    [view] = [one for one in members.list_servers(empty_room.deps) if one.server.id == STATE]
    assert {party for party, _ in view.clients} == {POLICE, PORTAL}


def clients_of(room: CentralRoom, server: Any) -> set[Any]:
    return {party for view in members.list_servers(room.deps) if view.server.id == server for party, _ in view.clients}


def remove_client(room: CentralRoom, made: ProvisionedServer, client: Any) -> None:
    """As the member itself takes its subsystem away."""
    owner = load_identity(made.signing[made.id.owner], made.passphrase_file, room.fetch_ocsp)
    request = room.request(Operation.CLIENT_DELETION, made.id, client=client)
    room.submit(request, owner=owner)


def test_what_an_officer_removed_stays_removed_until_it_is_brought_back(
    empty_room: CentralRoom, tmp_path: Path
) -> None:
    room, folder = empty_room, tmp_path / "servers"
    state, private = make(room, folder)
    # a client, a whole server with its member, somebody in a group
    remove_client(room, state, PORTAL)
    members.remove_server(room.deps, PRIVATE, reason="it misbehaves", by=REGISTRAR)
    members.remove_member(room.deps, BANKING.member, reason="it misbehaves", by=REGISTRAR)
    members.remove_from_group(room.deps, "authorities", POLICE, by=REGISTRAR)
    entries = members.recent_journal(room.deps)
    for _ in range(2):
        make(room, folder)
        assert members.recent_journal(room.deps) == entries
    assert clients_of(room, STATE) == {POLICE}
    assert [view.server.id for view in members.list_servers(room.deps)] == [STATE]
    gone = {item.name for item in provisioned.list_provisioned(room.deps) if not item.is_there}
    assert gone == {
        f"client {PORTAL} at {STATE}",
        f"client {BANKING} at {PRIVATE}",
        f"server {PRIVATE}",
        f"member {BANKING.member}",
        f"group authorities with {POLICE}",
        provisioned.certificate_item(certificate_der(read_certificate(private.authentication.certificate))),
    }
    # one alone, then a server and what went with it
    assert provisioned.bring_back(room.deps, f"client {PORTAL} at {STATE}", by=REGISTRAR)
    make(room, folder)
    assert clients_of(room, STATE) == {POLICE, PORTAL}
    assert [view.server.id for view in members.list_servers(room.deps)] == [STATE]
    provisioned.bring_back(room.deps, f"server {PRIVATE}", by=REGISTRAR)
    make(room, folder)
    assert [view.server.id for view in members.list_servers(room.deps)] == [STATE]  # its owner is still no member
    provisioned.bring_back(room.deps, f"member {BANKING.member}", by=REGISTRAR)
    make(room, folder)
    assert clients_of(room, PRIVATE) == {BANKING}
    # who may not, and what is not gone
    with pytest.raises(Refused, match=r"central\.not_an_officer"):
        provisioned.bring_back(room.deps, f"group authorities with {POLICE}", by="37605030299")
    with pytest.raises(NotFound, match=r"central\.provisioned"):
        provisioned.bring_back(room.deps, f"server {PRIVATE}", by=REGISTRAR)


def test_a_certificate_that_was_taken_from_a_server_is_not_registered_again(
    empty_room: CentralRoom, tmp_path: Path
) -> None:
    room, folder = empty_room, tmp_path / "servers"
    state, _ = make(room, folder)
    owner = load_identity(state.signing[AUTHORITY], state.passphrase_file, room.fetch_ocsp)
    certificate = read_certificate(state.authentication.certificate)
    room.submit(room.request(Operation.AUTH_CERT_DELETION, STATE, auth_certificate=certificate), owner=owner)
    make(room, folder)
    [view] = [view for view in members.list_servers(room.deps) if view.server.id == STATE]
    assert view.certificates == ()


def test_who_brings_a_server_back_brings_back_no_certificate_of_another_one(
    empty_room: CentralRoom, tmp_path: Path
) -> None:
    room, folder = empty_room, tmp_path / "servers"
    state, private = make(room, folder)
    owner = load_identity(state.signing[AUTHORITY], state.passphrase_file, room.fetch_ocsp)
    certificate = read_certificate(state.authentication.certificate)
    room.submit(room.request(Operation.AUTH_CERT_DELETION, STATE, auth_certificate=certificate), owner=owner)
    members.remove_server(room.deps, PRIVATE, reason="it misbehaves", by=REGISTRAR)
    of_private = certificate_der(read_certificate(private.authentication.certificate))
    assert set(provisioned.bring_back(room.deps, f"server {PRIVATE}", by=REGISTRAR)) == {
        f"server {PRIVATE}",
        f"client {BANKING} at {PRIVATE}",
        provisioned.certificate_item(of_private),
    }
    make(room, folder)
    assert {view.server.id: view.certificates for view in members.list_servers(room.deps)} == {
        STATE: (),
        PRIVATE: (of_private,),
    }


def test_what_was_registered_before_it_was_remembered_stays_removed_too(any_room: CentralRoom, tmp_path: Path) -> None:
    room, folder = any_room, tmp_path / "servers"
    state, _ = make(room, folder)
    before = provisioned.list_provisioned(room.deps)
    with room.deps.db.engine.begin() as connection:  # a database as version 1 left it
        connection.exec_driver_sql("DROP TABLE provisioned")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    remove_client(room, state, PORTAL)
    members.remove_server(room.deps, PRIVATE, reason="it misbehaves", by=REGISTRAR)
    room.deps.db.migrate("digiid.exchange.central_server")
    make(room, folder)
    assert clients_of(room, STATE) == {POLICE}
    assert [view.server.id for view in members.list_servers(room.deps)] == [STATE]
    assert {item.name for item in provisioned.list_provisioned(room.deps)} == {item.name for item in before}


class _Crash(Exception):
    pass


@pytest.mark.parametrize("step", range(0, 24, 3))
def test_what_was_interrupted_anywhere_goes_on(empty_room: CentralRoom, tmp_path: Path, step: int) -> None:
    room, folder, left = empty_room, tmp_path / "servers", [step]

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise _Crash
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    try:
        make(room, folder, certify=failing(room.certify), fetch_ocsp=failing(room.fetch_ocsp))
    except _Crash:
        assert left == [0]
    state, private = make(room, folder)
    assert [view.server.id for view in members.list_servers(room.deps)] == [STATE, PRIVATE]
    assert all(len(view.certificates) == 1 for view in members.list_servers(room.deps))
    assert state.anchor.exists() and private.anchor.exists()


def test_a_request_that_was_sent_before_a_crash_is_approved_and_not_sent_again(
    empty_room: CentralRoom, tmp_path: Path
) -> None:
    room, folder = empty_room, tmp_path / "servers"
    server = PlannedServer(STATE, "127.0.0.1:5500", ())
    plan = replace(PLAN, servers=(server,), groups={})
    asked: list[x509.Certificate] = []

    def crash_after_sending(certificate: x509.Certificate) -> bytes:
        asked.append(certificate)
        return room.fetch_ocsp(certificate)

    # as far as the request, which another process then leaves behind
    [made] = make(room, folder, plan=plan, fetch_ocsp=crash_after_sending)
    members.remove_server(room.deps, STATE, reason="to be asked again", by=REGISTRAR)
    provisioned.bring_back(room.deps, f"server {STATE}", by=REGISTRAR)
    owner = load_identity(made.signing[AUTHORITY], made.passphrase_file, room.fetch_ocsp)
    authentication = load_identity(made.authentication, made.passphrase_file, room.fetch_ocsp)
    request = room.registration(auth_certificate=authentication.certificate)
    left_behind = room.submit(request, owner=owner, authentication=authentication)
    make(room, folder, plan=plan)
    assert requests.get_request(room.deps, left_behind.request_id).state is RequestState.APPROVED
    assert len(members.list_servers(room.deps)) == 1


def test_a_certificate_of_another_key_is_noticed(empty_room: CentralRoom, tmp_path: Path) -> None:
    state, private = make(empty_room, tmp_path / "servers")
    state.authentication.certificate.write_bytes(private.authentication.certificate.read_bytes())
    with pytest.raises(Broken, match=r"exchange\.key_files"):
        load_identity(state.authentication, state.passphrase_file, empty_room.fetch_ocsp)


def test_nobody_is_registered_by_who_may_not(empty_room: CentralRoom, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"central\.not_an_officer"):
        provision(
            empty_room.deps,
            PLAN,
            folder=tmp_path / "servers",
            certify=empty_room.certify,
            fetch_ocsp=empty_room.fetch_ocsp,
            officer="37605030299",
        )
    assert members.list_members(empty_room.deps) == []


def test_the_default_settings_are_those_of_the_embedded_state() -> None:
    settings = Settings()
    assert (settings.generate_seconds, settings.lifetime_seconds) == (60, 600)
    assert settings.registrations_per_minute == 10
