from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from digiid.devices.card_shelf import CardShelf
from digiid.institutions.card_bureau.use_cases.deps import Deps
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.support.bureau import BUREAU_PACKAGE, make_deps, shelf_in


@pytest.fixture
def shelf(tmp_path: Path, entropy: SeededEntropy) -> Iterator[CardShelf]:
    shelf = shelf_in(tmp_path, entropy)
    yield shelf
    shelf.close()


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock, entropy: SeededEntropy, shelf: CardShelf) -> Deps:
    return make_deps(new_database(BUREAU_PACKAGE), clock, entropy, shelf)
