"""The TLS rules between servers, judged by OpenSSL's own client, and those towards information systems."""

import shutil
import ssl
import subprocess

import httpx
import pytest

from digiid.exchange.security_server.local_conf import build_local_conf, write_local_conf
from digiid.exchange.security_server.tls import CBC_SUITES
from tests.support.exchange_room import (
    CARDS,
    PASSPHRASE,
    exchange_room,
    self_signed,
    wait_until,
    write_identity,
)
from tests.support.global_conf import LOANS, PKI, PRIVATE

pytestmark = pytest.mark.interop
OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


def s_client(room, *options: str, shows_certificate: bool = True, port: int | None = None) -> str:
    """What `openssl s_client` says of the message port; a handshake that fails says so."""
    key, certificate = write_identity(room.folder / "openssl", "peer", room.keys[PRIVATE].authentication, PKI.ca)
    shown = ["-cert", certificate, "-key", key, "-pass", f"pass:{PASSPHRASE.decode()}", "-cert_chain", certificate]
    address = f"127.0.0.1:{port or room.state.settings.listeners.message_port}"
    command = [str(OPENSSL), "s_client", "-connect", address, *(shown if shows_certificate else ()), *options]
    # A request that no message is: whoever gets an answer has got through the handshake.
    question = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    done = subprocess.run(
        [*map(str, command), "-ign_eof"], input=question, capture_output=True, timeout=30, check=False
    )
    return (done.stdout + done.stderr).decode("latin-1")


def got_through(said: str) -> bool:
    return "server.serverproxy.invalid_message" in said


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("tls")) as room:
        yield room


@needs_openssl
def test_our_own_servers_speak_tls_1_3_and_nothing_older(room):
    said = s_client(room)
    assert got_through(said)
    assert "TLSv1.3" in said
    for version in ("-tls1_2", "-tls1_1", "-tls1"):
        assert not got_through(s_client(room, version))


@needs_openssl
def test_tm02_nobody_gets_through_without_a_certificate(room):
    assert not got_through(s_client(room, shows_certificate=False))


@needs_openssl
def test_no_session_is_taken_up_again(room):
    assert "New Session Ticket" not in s_client(room, "-msg")


@needs_openssl
def test_the_status_port_and_the_message_port_do_not_speak_plain_and_tls_at_once(room):
    port = room.state.settings.listeners.message_port
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    assert "CONNECTED" in s_client(room, port=port + 77)
    assert "no peer certificate available" in s_client(room, port=port + 77)


@needs_openssl
def test_with_tls_1_2_allowed_only_the_three_cbc_suites_are_spoken(tmp_path):
    with exchange_room(tmp_path, changes={"": {"accepts_tls12": True}}) as room:
        assert room.ask().status_code == 200
        assert got_through(s_client(room))
        weak = "@SECLEVEL=0"
        spoken = s_client(room, "-tls1_2", "-cipher", f"{CBC_SUITES}:{weak}")
        assert got_through(spoken)
        assert "ECDHE-ECDSA-AES256-SHA384" in spoken
        for other in ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"):
            assert not got_through(s_client(room, "-tls1_2", "-cipher", f"{other}:{weak}"))
        assert not got_through(s_client(room, "-tls1_1", "-cipher", f"ALL:{weak}"))


@needs_openssl
@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES256-SHA256"])
def test_rsa_servers_speak_the_rsa_suites(tmp_path, suite):
    with exchange_room(tmp_path, kind="rsa", changes={"": {"accepts_tls12": True}}) as room:
        spoken = s_client(room, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
        assert got_through(spoken)
        assert suite in spoken


def test_two_servers_with_nothing_but_tls_1_2_between_them_exchange_messages(tmp_path):
    with exchange_room(tmp_path, changes={"": {"accepts_tls12": True}}) as room:
        context = room.private.server._client_context
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert room.ask("POST", content=b"x").status_code == 200


# ------------------------------------------------------------------ information systems


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """LOANS in mode SSLAUTH with one certificate, CARDS in mode SSLNOAUTH."""
    folder, system = tmp_path_factory.mktemp("inside"), self_signed("TEST information system")

    def prepare(room):
        strict = build_local_conf({LOANS: (system.der,)}, mode="SSLAUTH")
        loose = build_local_conf({CARDS: ()}, mode="SSLNOAUTH")
        clients = (*strict.clients, *loose.clients)
        write_local_conf(room.folder / "private" / "local.toml", strict.model_copy(update={"clients": clients}))

    with exchange_room(folder, prepare=prepare) as room:
        yield room, system


def ask_inside(room, client, *, system=None, scheme="https") -> httpx.Response:
    listeners, server = room.private.settings.listeners, room.private.server
    context = ssl.create_default_context(cafile=str(server.internal_identity.certificate))
    if system is not None:
        key, certificate = write_identity(room.folder / "systems", "system", system)
        context.load_cert_chain(certificate, key, PASSPHRASE.decode())
    port = listeners.https_port if scheme == "https" else listeners.http_port
    return room.ask(client=client, base_url=f"{scheme}://127.0.0.1:{port}", verify=context)


def test_tm02_sslauth_wants_exactly_the_registered_certificate(inside):
    room, system = inside
    assert ask_inside(room, LOANS, system=system).status_code == 200
    without = ask_inside(room, LOANS)
    assert (without.status_code, without.json()["type"]) == (400, "client.ssl_authentication_failed")
    assert "showed none" in without.json()["message"]
    plain = ask_inside(room, LOANS, scheme="http")
    assert (plain.status_code, plain.json()["type"]) == (400, "client.ssl_authentication_failed")


def test_tm02_a_certificate_that_is_registered_for_nobody_does_not_get_through_the_handshake(inside):
    room, _ = inside
    with pytest.raises(httpx.HTTPError):
        ask_inside(room, LOANS, system=self_signed("TEST stranger"))


def test_sslnoauth_wants_tls_and_no_certificate(inside):
    room, _ = inside
    allowed = ask_inside(room, CARDS)
    assert allowed.json()["type"] == "server.serverproxy.access_denied"  # it got as far as the provider
    assert ask_inside(room, CARDS, scheme="http").json()["type"] == "client.ssl_authentication_failed"


def test_a_certificate_registered_while_the_server_runs_is_taken_up(inside):
    room, system = inside
    newer = self_signed("TEST newer information system")
    strict = build_local_conf({LOANS: (system.der, newer.der)}, mode="SSLAUTH")
    loose = build_local_conf({CARDS: ()}, mode="SSLNOAUTH")
    clients = (*strict.clients, *loose.clients)
    write_local_conf(room.folder / "private" / "local.toml", strict.model_copy(update={"clients": clients}))
    room.private.reload()
    wait_until(lambda: ask_inside(room, LOANS, system=newer).status_code == 200)
    assert ask_inside(room, LOANS, system=system).status_code == 200


def test_the_internal_certificate_is_made_once_and_its_key_is_private(inside):
    room, _ = inside
    identity = room.private.server.internal_identity
    assert identity.key.stat().st_mode & 0o077 == 0
    assert b"ENCRYPTED" in identity.key.read_bytes()
