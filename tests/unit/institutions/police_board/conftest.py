from collections.abc import Callable
from pathlib import Path

import pytest

from digiid.institutions.police_board.use_cases.deps import Deps
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.support.board import make_deps


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock, entropy: SeededEntropy, tmp_path: Path) -> Deps:
    """The board on SQLite, and again on PostgreSQL."""
    return make_deps(new_database("digiid.institutions.police_board"), clock, entropy, tmp_path)
