"""When `digiid up` takes a state for ready."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from digiid.apps.all_in_one import _WithHealth
from digiid.apps.background import is_ready
from digiid.apps.state import StateFolder, StatePorts, StateSettings
from digiid.kernel.errors import Unavailable
from digiid.platform.institution import Running
from digiid.platform.pools import Pools
from tests.support.serve import serving


def well() -> Mapping[str, Any]:
    return {"name": "Seals of the journals"}


def not_sealed() -> Mapping[str, Any]:
    raise Unavailable("journal.not_sealed", "not sealed: bank since 2026-11-30 10:00 UTC (journal.chain: changed)")


def not_renewed() -> Mapping[str, Any]:
    raise Unavailable("seal.not_renewed", "SEAL-CONSENT until 2029-12-31, 12 days left")


def no_database() -> Mapping[str, Any]:
    raise Unavailable("db.locked", "the database does not answer")


@pytest.fixture
def settings(tmp_path: Path) -> StateSettings:
    return StateFolder(tmp_path / "state").create(StatePorts.free())


@pytest.mark.parametrize(
    ("health", "has_begun", "expected"),
    [
        (well, True, True),
        (well, False, False),
        (not_sealed, True, True),
        (not_renewed, True, True),
        (no_database, True, False),
    ],
)
def test_a_state_is_ready_when_its_parts_answer_whatever_became_of_journals_and_seals(
    settings: StateSettings, health: Callable[[], Mapping[str, Any]], has_begun: bool, expected: bool
) -> None:
    ready, pools = threading.Event(), Pools()
    if has_begun:
        ready.set()
    parts = [
        Running(name, {}, (), (), (), asked, lambda: None) for name, asked in (("bank", well), ("journals", health))
    ]
    with serving(_WithHealth(None, parts, pools, ready), settings.port):
        assert is_ready(settings) is expected
    pools.close()


async def not_ours(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"[]"})


def test_another_program_at_the_port_is_no_state(settings: StateSettings) -> None:
    assert not is_ready(settings)
    with serving(not_ours, settings.port):
        assert not is_ready(settings)
