"""TM-02: certificates that are not registered, belong to others, have ended, or are for something else (§7.2)."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from tests.support.exchange_peer import (
    http_answer,
    make_request,
    make_response,
    ocsp_ders,
    played_server,
    send_message,
)
from tests.support.exchange_room import (
    DOCUMENTS,
    RunningServer,
    exchange_room,
    free_message_port,
    self_signed,
    wait_until,
)
from tests.support.global_conf import (
    AUTHENTICATION,
    BANK,
    BOARD,
    LOANS,
    PKI,
    POLICE,
    PRIVATE,
    SIGNING,
    STATE,
    member_name,
)
from tests.support.pki import AT, DAY, distinguished_name, key_usage

NAME = distinguished_name("TEST other server", organization="TEST")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    with exchange_room(tmp_path_factory.mktemp("tm02")) as room:
        yield room


@pytest.fixture(autouse=True)
def nothing_was_asked(room):
    before = len(room.provider.asked)
    yield
    assert len(room.provider.asked) == before, "the information system was asked all the same"


def another(room, **options):
    identity = PKI.issue(NAME, kind="p256", **{"extensions": AUTHENTICATION, **options})
    room.trust.knows(identity.certificate)
    return identity


# ------------------------------------------------------------------ the provider judges who calls


def test_tm02_a_certificate_of_nobody_does_not_get_through_the_handshake(room):
    stranger = self_signed("TEST stranger")
    with pytest.raises(OSError):
        send_message(room, make_request(room, authentication=stranger, authentication_ocsp=[b"x"]), stranger)


def test_tm02_an_unregistered_certificate_of_an_approved_ca_is_refused(room):
    identity = another(room)
    answer = send_message(room, make_request(room, authentication=identity), identity)
    assert answer.fault == "server.serverproxy.ssl_authentication_failed"


def test_tm02_a_server_without_the_sending_client_is_refused(room):
    answer = send_message(room, make_request(room, client=POLICE, signer=room.keys[STATE].signing[BOARD]))
    assert answer.fault == "server.serverproxy.unknown_member"


@pytest.mark.parametrize("status", ["revoked", "unknown"])
def test_tm02_a_certificate_that_is_not_good_is_refused(room, status):
    own = room.keys[PRIVATE].authentication
    responses = ocsp_ders(room, own, status=status)
    answer = send_message(room, make_request(room, authentication_ocsp=responses))
    assert answer.fault == "server.serverproxy.ssl_authentication_failed"


def test_tm02_an_old_response_is_none(room):
    own = room.keys[PRIVATE].authentication
    old = room.clock.now() - timedelta(hours=1, seconds=1)
    responses = [PKI.ocsp(own.certificate, at=old), ocsp_ders(room, own)[1]]
    answer = send_message(room, make_request(room, authentication_ocsp=responses))
    assert answer.fault == "server.serverproxy.ssl_authentication_failed"


def test_tm02_a_response_about_another_certificate_does_not_count(room):
    other = another(room)
    answer = send_message(room, make_request(room, authentication_ocsp=ocsp_ders(room, other)))
    assert answer.fault == "server.serverproxy.ssl_authentication_failed"


@contextmanager
def registered_for_the_bank(room, identity):
    original = room.keys[PRIVATE].authentication
    room.keys[PRIVATE].authentication = identity
    room.republish()
    yield
    room.keys[PRIVATE].authentication = original
    room.republish()


def test_tm02_a_registered_certificate_for_key_agreement_is_refused(room):
    identity = another(room, extensions=(key_usage(key_agreement=True),))
    with registered_for_the_bank(room, identity):
        answer = send_message(room, make_request(room), identity)
    assert answer.fault == "server.serverproxy.ssl_authentication_failed"


def test_tm02_a_registered_certificate_for_signing_does_not_get_through_the_handshake(room):
    identity = another(room, extensions=SIGNING)
    with registered_for_the_bank(room, identity), pytest.raises(OSError):
        send_message(room, make_request(room), identity)


def test_tm02_an_expired_registered_certificate_does_not_get_through_the_handshake(room):
    identity = another(room, not_before=AT - 400 * DAY, not_after=AT - 30 * DAY)
    with registered_for_the_bank(room, identity), pytest.raises(OSError):
        send_message(room, make_request(room), identity)


# ------------------------------------------------------------------ the provider judges who signed


def test_tm02_another_members_signature_is_refused(room):
    answer = send_message(room, make_request(room, signer=room.keys[STATE].signing[BOARD]))
    assert answer.fault == "server.serverproxy.cert_validation"


def test_tm02_an_authentication_key_signs_no_messages(room):
    answer = send_message(room, make_request(room, signer=room.keys[PRIVATE].authentication))
    assert answer.fault == "server.serverproxy.cert_validation"


def test_tm02_a_self_made_signing_certificate_is_refused(room):
    answer = send_message(room, make_request(room, signer=self_signed("TEST"), signer_ocsp=[b"x"]))
    assert answer.fault == "server.serverproxy.cert_validation"


@pytest.mark.parametrize("status", ["revoked", "unknown"])
def test_tm02_a_signing_certificate_that_is_not_good_is_refused(room, status):
    responses = ocsp_ders(room, room.keys[PRIVATE].signing[BANK], status=status)
    answer = send_message(room, make_request(room, signer_ocsp=responses))
    assert answer.fault == "server.serverproxy.cert_validation"


def test_tm02_an_expired_signing_certificate_is_refused(room):
    old = PKI.issue(member_name(BANK), kind="p256", extensions=SIGNING, not_after=AT - 30 * DAY)
    answer = send_message(room, make_request(room, signer=old))
    assert answer.fault == "server.serverproxy.cert_validation"


# ------------------------------------------------------------------ the consumer judges who answers


def played(room, identity, *, registered=True):
    """The board's server as the configuration lists it is played by the test; nothing may be sent to a wrong one."""
    port = free_message_port()

    def answer(message):
        content = make_response(room, STATE, message.find("application/x-road-rest-request"), None).envelope()
        return http_answer(content)

    original = room.keys[STATE].authentication
    if registered:
        room.keys[STATE].authentication = identity
    servers = [
        replace(room.registered(STATE, frozenset({POLICE})), address=f"127.0.0.1:{port}"),
        room.registered(PRIVATE, frozenset({LOANS})),
    ]
    room.keys[STATE].authentication = original
    room.republish(servers=tuple(servers))
    return played_server(room, identity, answer, port=port)


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["type"])


def test_tm02_the_right_server_is_believed(room):
    with played(room, another(room)) as server:
        assert room.ask().json() == {"done": True}
    assert len(server.received) == 1


def test_tm02_an_unregistered_server_is_sent_nothing(room):
    with played(room, another(room), registered=False) as server:
        assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"
    assert server.received == []


def test_tm02_a_server_that_does_not_serve_the_provider_is_sent_nothing(room):
    with played(room, room.keys[PRIVATE].authentication, registered=False) as server:
        assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"
    assert server.received == []


@pytest.mark.parametrize("status", ["revoked", "unknown"])
def test_tm02_a_server_that_is_not_good_is_sent_nothing(room, status):
    identity = another(room)
    with played(room, identity) as server:
        server.status_answers = ocsp_ders(room, identity, status=status)
        assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"
    assert server.received == []


def test_tm02_an_expired_server_is_sent_nothing(room):
    with played(room, another(room, not_after=AT - 30 * DAY)) as server:
        assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"
    assert server.received == []


def test_tm02_a_server_with_a_certificate_for_something_else_is_sent_nothing(room):
    with played(room, another(room, extensions=SIGNING)) as server:
        assert code_of(room.ask()) == "server.clientproxy.ssl_authentication_failed"
    assert server.received == []


def test_tm02_a_server_that_tells_too_few_ocsp_responses_is_sent_nothing(room):
    identity = another(room)
    with played(room, identity) as server:
        server.status_answers = ocsp_ders(room, identity)[:1]
        assert code_of(room.ask()) == "server.clientproxy.cert_validation"
    assert server.received == []


def test_tm02_a_kept_connection_is_judged_anew_for_every_message(room):
    with played(room, another(room)):
        assert room.ask().status_code == 200
    room.republish()  # the played server is no longer registered
    assert isinstance(room.state, RunningServer)
    wait_until(lambda: room.private.server.configuration.current().is_member(LOANS))
    answer = room.ask(service=DOCUMENTS)
    assert answer.status_code == 200
    room.provider.asked.pop()
