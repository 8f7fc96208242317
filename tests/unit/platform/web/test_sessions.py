"""Sessions on both databases: limits, one use, the end of all of a person's."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.web.sessions import ABSOLUTE_LIMIT, IDLE_LIMIT, SessionStore
from tests.support.reference_site import SESSIONS


@pytest.fixture
def store(tables: Database, clock: ManualClock) -> Iterator[SessionStore]:
    return SessionStore("portal", tables, SESSIONS, clock, SystemEntropy())


def test_the_table_keeps_no_identifier_that_would_open_a_session(store: SessionStore, tables: Database) -> None:
    cookie, _ = store.start("38001085718", {"name": "Mari"})
    with tables.read() as tx:
        row = tx.execute(select(SESSIONS)).one()
    assert cookie.encode() not in row.id_hash
    assert cookie not in str(row)
    assert store.find(row.id_hash.hex()) is None


def test_a_session_ends_after_idling(store: SessionStore, clock: ManualClock) -> None:
    cookie, _ = store.start("a", {})
    clock.advance(IDLE_LIMIT)
    assert store.find(cookie) is not None
    clock.advance(IDLE_LIMIT + timedelta(seconds=1))
    assert store.find(cookie) is None


def test_a_session_that_is_used_all_the_time_ends_at_the_absolute_limit(
    store: SessionStore, clock: ManualClock
) -> None:
    cookie, _ = store.start("a", {})
    for _ in range(int(ABSOLUTE_LIMIT / timedelta(minutes=20))):
        assert store.find(cookie) is not None
        clock.advance(timedelta(minutes=20))
    clock.advance(timedelta(seconds=1))
    assert store.find(cookie) is None


def test_a_session_of_another_site_is_not_found(store: SessionStore, tables: Database, clock: ManualClock) -> None:
    cookie, _ = store.start("a", {})
    assert SessionStore("police", tables, SESSIONS, clock, SystemEntropy()).find(cookie) is None


def test_the_replaced_session_is_gone(store: SessionStore) -> None:
    old, session = store.start(None, {})
    new, _ = store.start("a", {}, replaces=session)
    assert store.find(old) is None
    found = store.find(new)
    assert found is not None
    assert found.subject == "a"


def test_ending_all_sessions_of_a_person_leaves_other_people_alone(store: SessionStore) -> None:
    cookies = [store.start("a", {})[0] for _ in range(3)]
    other, _ = store.start("b", {})
    assert store.end_all("a") == 3
    assert all(store.find(cookie) is None for cookie in cookies)
    assert store.find(other) is not None


def test_a_remembered_value_is_taken_once_by_many_at_a_time(store: SessionStore) -> None:
    _, session = store.start(None, {"nonce": "n", "kept": "k"})
    taken: list[str | None] = []
    threads = [threading.Thread(target=lambda: taken.append(store.take(session, "nonce"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count("n") == 1
    assert len(taken) == 8


def test_persons_who_sign_in_at_once_do_not_disturb_each_other(store: SessionStore) -> None:
    """Their rows share the pages of an index, which is enough for PostgreSQL to see a conflict under SERIALIZABLE."""
    barrier = threading.Barrier(8)

    def sign_in(person: str) -> bool:
        barrier.wait(timeout=10)
        for _ in range(12):
            _, before = store.start(None, {"nonce": "n"})
            store.take(before, "nonce")
            cookie, session = store.start(person, {}, replaces=before)
            store.remember(session, {"seen": "yes"})
            store.end(session)
        return store.find(cookie) is None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(sign_in, "abcdefgh"))


def test_what_was_taken_does_not_come_back_with_what_is_remembered_later(store: SessionStore) -> None:
    cookie, session = store.start(None, {"nonce": "n", "kept": "k"})
    assert store.take(session, "nonce") == "n"
    store.remember(session, {"more": "m"})  # by a request that read the session before
    found = store.find(cookie)
    assert found is not None
    assert found.data == {"kept": "k", "more": "m"}
    store.end(session)
    store.remember(session, {"more": "m"})
    assert store.find(cookie) is None


def test_what_is_past_its_limits_is_purged(store: SessionStore, tables: Database, clock: ManualClock) -> None:
    store.start("a", {})
    clock.advance(IDLE_LIMIT * 2)
    fresh, _ = store.start("b", {})
    store.purge()
    with tables.read() as tx:
        assert tx.execute(select(SESSIONS.c.subject)).scalars().all() == ["b"]
    assert store.find(fresh) is not None
