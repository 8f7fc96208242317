"""The reference site on a database of its own, and a visitor."""

from collections.abc import Callable, Iterator

import pytest

from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from tests.support.page_client import PageClient
from tests.support.reference_site import METADATA, Reference, build_reference_site

ORIGIN = "http://reference.localhost:8899"


@pytest.fixture
def tables(new_database: Callable[[str], Database]) -> Database:
    """A database with the tables of sites, on SQLite and on PostgreSQL."""
    database = new_database("tests.support.empty_schema")
    with database.write() as tx:
        METADATA.create_all(tx)
    return database


@pytest.fixture
def reference(tmp_path, clock: ManualClock) -> Iterator[Reference]:
    database = Database.sqlite(tmp_path / "reference.sqlite")
    with database.write() as tx:
        METADATA.create_all(tx)
    reference = build_reference_site(database, clock, SystemEntropy(), origin=ORIGIN)
    yield reference
    reference.pools.close()
    database.close()


@pytest.fixture
def visitor(reference: Reference) -> Iterator[PageClient]:
    with PageClient(reference.app, ORIGIN) as client:
        yield client
