"""Sign-in links: once, for an hour, and nobody learns whether an address is known."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from digiid.institutions.police_board import store
from digiid.institutions.police_board.domain.form import InvalidForm
from digiid.institutions.police_board.use_cases import accounts
from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.kernel.errors import Refused
from digiid.platform.clock import ManualClock


def request(deps: Deps, email: str = "anna@example.org", client: str = "192.0.2.1") -> list[str]:
    """Ask for a link; the tokens of all links that were sent so far."""
    accounts.request_link(deps, email=email, language="en", client=client)
    with deps.db.read() as tx:
        payloads = [json.loads(row.payload) for row in tx.execute(select(store.schema.OUTBOX.c.payload))]
    return [payload["link"].rsplit("/", 1)[1] for payload in payloads]


def test_a_link_opens_an_account_and_the_next_one_finds_it(deps: Deps) -> None:
    first = accounts.consume_link(deps, request(deps)[-1])
    second = accounts.consume_link(deps, request(deps, " ANNA@example.org ")[-1])
    assert first == second
    assert accounts.get_account(deps, first.account_id).email == "anna@example.org"


def test_a_link_works_once(deps: Deps) -> None:
    token = request(deps)[-1]
    accounts.consume_link(deps, token)
    with pytest.raises(Refused, match=r"link\.invalid"):
        accounts.consume_link(deps, token)


def test_a_link_works_for_sixty_minutes(deps: Deps, clock: ManualClock) -> None:
    tokens = request(deps)
    clock.advance(timedelta(minutes=59, seconds=59))
    accounts.consume_link(deps, tokens[-1])
    late = request(deps)[-1]
    clock.advance(timedelta(minutes=60))
    with pytest.raises(Refused, match=r"link\.invalid"):
        accounts.consume_link(deps, late)


def test_an_unknown_token_gets_the_same_answer_as_an_old_one(deps: Deps) -> None:
    for token in ("", "x" * 43, "../../etc/passwd"):
        with pytest.raises(Refused, match=r"link\.invalid"):
            accounts.consume_link(deps, token)


def test_the_token_itself_is_not_stored(deps: Deps) -> None:
    token = request(deps)[-1]
    with deps.db.read() as tx:
        links = [dict(row) for row in tx.execute(select(*store.accounts.SIGN_IN_LINKS.c)).mappings()]
    assert token not in str(links)


def test_beyond_the_limit_of_an_address_nothing_is_sent_and_nothing_is_said(deps: Deps, clock: ManualClock) -> None:
    for _ in range(accounts.LINKS_PER_ADDRESS_AND_HOUR + 3):
        sent = request(deps)
    assert len(sent) == accounts.LINKS_PER_ADDRESS_AND_HOUR
    assert len(request(deps, "other@example.org")) == accounts.LINKS_PER_ADDRESS_AND_HOUR + 1
    clock.advance(timedelta(hours=1, seconds=1))
    assert len(request(deps)) == accounts.LINKS_PER_ADDRESS_AND_HOUR + 2


def test_one_caller_cannot_try_a_list_of_addresses(deps: Deps) -> None:
    for number in range(accounts.LINKS_PER_CLIENT_AND_HOUR + 5):
        sent = request(deps, f"a{number}@example.org")
    assert len(sent) == accounts.LINKS_PER_CLIENT_AND_HOUR


def test_what_is_no_address_is_said_at_once(deps: Deps) -> None:
    with pytest.raises(InvalidForm):
        accounts.request_link(deps, email="anna", language="en", client="")


def test_old_links_are_forgotten(deps: Deps, clock: ManualClock) -> None:
    request(deps)
    clock.advance(timedelta(hours=3))
    accounts.forget_old_links(deps)
    with deps.db.read() as tx:
        assert tx.execute(select(store.accounts.SIGN_IN_LINKS.c.email)).all() == []
