"""A central server for each test: on SQLite, and where the store matters on PostgreSQL too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.support.central import CentralRoom, central_room


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock, entropy: SeededEntropy) -> CentralRoom:
    return central_room(tmp_path, clock, entropy)


@pytest.fixture
def any_room(
    new_database: Callable[[str], Database], tmp_path: Path, clock: ManualClock, entropy: SeededEntropy
) -> CentralRoom:
    database = new_database("digiid.exchange.central_server")
    return central_room(tmp_path, clock, entropy, database=database)
