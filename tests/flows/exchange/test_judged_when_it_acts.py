"""A body may take as long as its bytes need: what was so when it began has to be so when the provider is asked."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.exchange_peer import connected, make_request, read_answer
from tests.support.exchange_room import ExchangeRoom, exchange_room, wait_until
from tests.support.global_conf import LOANS, STATE, VALID_FOR


@pytest.fixture
def room(tmp_path):
    with exchange_room(tmp_path) as room:
        yield room


def take_the_right(room: ExchangeRoom) -> None:
    file = room.folder / "state" / "local.toml"
    text = file.read_text("utf-8")
    file.write_text(text.replace('client = "TEST/COM/10000201/loans"', 'client = "TEST/COM/10000201/cards"'), "utf-8")


def take_the_client(room: ExchangeRoom) -> None:
    servers = [replace(each, clients=each.clients - {LOANS}) for each in room.shared().servers]
    room.republish(servers=tuple(servers))


def let_the_configuration_run_out(room: ExchangeRoom) -> None:
    room.clock.advance(VALID_FOR)


def let_the_responses_grow_old(room: ExchangeRoom) -> None:
    room.clock.advance(timedelta(seconds=room.shared().ocsp_freshness_seconds + 1))
    room.publish()
    room.state.reload()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (take_the_right, "server.serverproxy.access_denied"),
        (take_the_client, "server.serverproxy.unknown_member"),
        (let_the_configuration_run_out, "server.serverproxy.global_conf_outdated"),
        (let_the_responses_grow_old, "server.serverproxy.ssl_authentication_failed"),
    ],
)
def test_what_ends_while_a_body_comes_has_ended_for_its_message(
    room: ExchangeRoom, change: Callable[[ExchangeRoom], None], code: str
) -> None:
    data = make_request(room, body=b"b" * 500_000).http()
    with connected(room) as connection:
        connection.sendall(data[:400_000])
        wait_until(lambda: bool(list((room.folder / STATE.server_code / "spool").iterdir())))
        change(room)
        connection.sendall(data[400_000:])
        assert read_answer(connection).fault == code
    assert room.provider.asked == []
    assert room.state.logged("TEST-1") == []
