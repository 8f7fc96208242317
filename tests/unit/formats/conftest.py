"""One small hierarchy for all tests of formats: making keys costs more than reading them."""

import pytest

from tests.unit.formats.x509.hierarchy import SmallHierarchy


@pytest.fixture(scope="session")
def pki() -> SmallHierarchy:
    return SmallHierarchy()


@pytest.fixture(scope="session")
def other_pki() -> SmallHierarchy:
    """The same names, other keys: what a forger would build."""
    return SmallHierarchy()
