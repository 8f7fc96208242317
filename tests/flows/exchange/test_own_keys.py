"""Renewed keys and certificates of a server's own, put in the place of the old ones while it runs."""

import base64
import hashlib
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from digiid.exchange.security_server.own_status import sha1_of
from digiid.exchange.security_server.server_health import health_port_of
from digiid.kernel.identifiers import ServerId
from digiid.platform.ports import free_ports
from tests.support.exchange_room import CARDS, ExchangeRoom, Keys, exchange_room, make_keys, wait_until, write_identity
from tests.support.global_conf import AUTHENTICATION, BANK, BOARD, LOANS, PKI, POLICE, PRIVATE, STATE
from tests.support.pki import AT

MEMBERS = {STATE: [BOARD], PRIVATE: [BANK]}


@pytest.fixture
def room(tmp_path):
    with exchange_room(tmp_path) as room:
        yield room


def renewed(room: ExchangeRoom, server: ServerId, *, kind: str = "p256") -> Keys:
    keys = make_keys(server, MEMBERS[server], kind=kind)
    for identity in (keys.authentication, *keys.signing.values()):
        room.trust.knows(identity.certificate)
    return keys


def put(room: ExchangeRoom, server: ServerId, keys: Keys) -> None:
    """Where the settings look, in the place of what was there."""
    folder = room.folder / server.server_code
    write_identity(folder, "authentication", keys.authentication)
    for member, identity in keys.signing.items():
        write_identity(folder, member.member_code, identity)


def register(room: ExchangeRoom, **both: Any) -> None:
    """The configuration knows old and new authentication certificates."""
    clients = {STATE: frozenset({POLICE}), PRIVATE: frozenset({LOANS, CARDS})}
    servers = []
    for server, parties in clients.items():
        more = frozenset(hashlib.sha256(keys.authentication.der).digest() for keys in both.get(server.server_code, ()))
        listed = room.registered(server, parties)
        servers.append(replace(listed, auth_certificate_hashes=listed.auth_certificate_hashes | more))
    room.republish(servers=tuple(servers))


def signed_by(room: ExchangeRoom, server: ServerId, keys: Keys) -> bool:
    """Whether a message that is asked now carries this server's part by these keys."""
    answer = room.ask()
    assert answer.status_code == 200, answer.text
    request, response = room.servers[server].logged(answer.headers["x-road-id"])
    signature = (request if server == PRIVATE else response).signature_xml
    [identity] = keys.signing.values()
    return base64.b64encode(identity.der) in signature.replace(b"\n", b"")


@pytest.mark.parametrize("server", [STATE, PRIVATE])
@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_renewed_keys_are_taken_up_while_it_runs(room, server, kind):
    old, new = room.keys[server], renewed(room, server, kind=kind)
    assert signed_by(room, server, old)
    register(room, **{server.server_code: [new]})
    put(room, server, new)
    room.servers[server].reload()
    assert signed_by(room, server, new)
    # and the old authentication certificate may go
    room.keys[server] = new
    room.republish()
    assert signed_by(room, server, new)
    room.servers[server].stop()
    room.servers[server].start()
    assert signed_by(room, server, new)


def test_no_message_fails_while_keys_change(room):
    stop, answers = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            answers.append(room.ask())

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        for server in (STATE, PRIVATE, STATE, PRIVATE):
            new = renewed(room, server)
            register(room, **{server.server_code: [new]})
            put(room, server, new)
            room.servers[server].reload()
            assert signed_by(room, server, new)
            time.sleep(0.5)  # what began with the former one ends
            room.keys[server] = new
            room.republish()
    finally:
        stop.set()
        for asker in askers:
            asker.join(timeout=30)
    assert len(answers) > 20
    assert [answer.text for answer in answers if answer.status_code != 200] == []


def test_a_kept_connection_to_the_former_certificate_fails_no_message_when_its_status_is_too_old(room):
    new = renewed(room, STATE)
    assert room.ask().status_code == 200
    register(room, state=[new])
    put(room, STATE, new)
    room.state.reload()
    assert signed_by(room, STATE, new)  # over the connection that is open since before
    # nobody fetches responses about the former one any more; both are still registered
    room.clock.advance(timedelta(seconds=3601))
    register(room, state=[new])
    assert signed_by(room, STATE, new)


def test_what_is_still_told_about_a_former_certificate_stops_no_clock(room):
    new, former = renewed(room, PRIVATE), sha1_of(room.keys[PRIVATE].authentication.certificate)
    status = room.private.server.status
    ends_at = room.clock.now() + timedelta(minutes=1)
    status._kept[former] = replace(status._kept[former], next_update_at=ends_at)
    assert status.first_next_update() == ends_at
    register(room, private=[new])
    put(room, PRIVATE, new)
    room.private.reload()
    status._kept[former] = replace(status._kept[former], next_update_at=ends_at)
    assert status.find_by_sha1(former)
    assert status.first_next_update() is None


def test_the_running_server_notices_by_itself(room):
    new = renewed(room, PRIVATE)
    register(room, private=[new])
    put(room, PRIVATE, new)
    wait_until(lambda: room.private.server.own_certificates[0] == new.authentication.certificate)
    assert signed_by(room, PRIVATE, new)


def test_a_certificate_that_is_not_registered_yet_waits_and_the_former_one_goes_on(room):
    old, new = room.keys[PRIVATE], renewed(room, PRIVATE)
    put(room, PRIVATE, new)
    room.private.reload()
    assert signed_by(room, PRIVATE, old)
    # nor does it come in when the roots change
    room.private.server._roots = frozenset({PKI.root.der})
    room.private.reload()
    assert signed_by(room, PRIVATE, old)
    register(room, private=[new])
    room.clock.advance(timedelta(seconds=60))
    room.private.reload()
    assert signed_by(room, PRIVATE, new)


def test_a_reload_takes_up_at_once_what_was_looked_at_before_it_was_registered(room):
    new = renewed(room, PRIVATE)
    put(room, PRIVATE, new)
    room.private.run(room.private.server._renew_contexts())
    register(room, private=[new])
    room.private.reload()
    assert signed_by(room, PRIVATE, new)


def test_a_certificate_whose_status_is_not_known_or_not_good_waits(room):
    old, new = room.keys[PRIVATE], renewed(room, PRIVATE)
    register(room, private=[new])
    for status in ((500, b""), None):
        room.trust.change = lambda path, body, status=status: status if path == "/ocsp" and status else (200, body)
        if status is None:
            room.trust.status = "revoked"
        put(room, PRIVATE, new)
        room.private.run(room.private.server._renew_contexts())
        assert room.private.server.own_certificates[0] == old.authentication.certificate
        room.clock.advance(timedelta(seconds=60))
    room.trust.status = "good"
    room.trust.change = lambda _path, body: (200, body)
    room.private.reload()
    assert signed_by(room, PRIVATE, new)
    # what waited has left nothing behind that a clock would count
    assert room.private.server.status.oldest_update() is not None


@pytest.mark.parametrize("half", ["key", "certificate", "rubbish", "gone", "another key's"])
def test_half_a_change_stops_nothing(room, half):
    old, new = room.keys[PRIVATE], renewed(room, PRIVATE)
    register(room, private=[new])
    folder = room.folder / "private"
    files = {name: folder / name for name in ("authentication.key", "authentication.pem", f"{BANK.member_code}.key")}
    before = {name: file.read_bytes() for name, file in files.items()}
    if half == "key":
        write_identity(
            folder, "authentication", replace(new.authentication, certificate=old.authentication.certificate)
        )
    elif half == "certificate":
        write_identity(
            folder, "authentication", replace(old.authentication, certificate=new.authentication.certificate)
        )
    elif half == "rubbish":
        files["authentication.pem"].write_bytes(b"rubbish")
    elif half == "gone":
        files["authentication.key"].unlink()
    else:
        files[f"{BANK.member_code}.key"].write_bytes(before["authentication.key"])
    room.private.reload()
    assert signed_by(room, PRIVATE, old)
    room.republish()
    assert signed_by(room, PRIVATE, old)
    # the whole of it is taken up
    register(room, private=[new])
    put(room, PRIVATE, new)
    room.private.reload()
    assert signed_by(room, PRIVATE, new)


def test_the_clocks_show_the_certificates_that_are_in_use(room):
    port = free_ports(1)[0]
    server = room.private.server
    room.private.run(server.listen_also("health", health_port_of(server, room.clock).answer, port))

    def ends() -> set[str]:
        told = httpx.get(f"http://127.0.0.1:{port}/status", trust_env=False).json()["clocks"]
        return {each["runsOutAt"] for each in told if each["name"] == "certificate_authentication"}

    before, new = ends(), make_keys(PRIVATE, [BANK])
    later = PKI.issue(
        new.authentication.certificate.subject,
        kind="p256",
        extensions=AUTHENTICATION,
        not_after=AT + timedelta(days=400),
    )
    new = Keys(later, new.signing)
    for identity in (new.authentication, *new.signing.values()):
        room.trust.knows(identity.certificate)
    register(room, private=[new])
    put(room, PRIVATE, new)
    room.private.reload()
    room.clock.advance(timedelta(seconds=61))
    assert len(before) == 1
    assert ends() - before
