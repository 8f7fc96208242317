from digiid.institutions.police_board.store.schema import metadata
from digiid.institutions.police_board.use_cases.deps import Deps
from tests.support.schema import schema_differences


def test_migrations_make_the_tables_of_the_code(deps: Deps) -> None:
    assert schema_differences(deps.db, metadata) == []
