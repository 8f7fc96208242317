from collections.abc import Callable, Iterator
from typing import Any

import pytest

from digiid.exchange.message_log import MessageLog
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from tests.support.logged import PACKAGE, Authority, open_log


@pytest.fixture
def db(new_database: Callable[[str], Database]) -> Database:
    return new_database(PACKAGE)


@pytest.fixture
def authority(clock: ManualClock) -> Authority:
    return Authority(clock)


@pytest.fixture
def started(db: Database, clock: ManualClock, authority: Authority) -> Iterator[Callable[..., MessageLog]]:
    """`started(**settings)`: the log in `db`, running, stamped by `authority` only when a test asks for it."""
    logs: list[MessageLog] = []

    def start(**settings: Any) -> MessageLog:
        log = open_log(db, clock, authority, **({"stamping_interval_seconds": 3600} | settings))
        log.start()
        logs.append(log)
        return log

    yield start
    for log in logs:
        log.stop()
