"""Does a migrated database look as the code's tables say?"""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData

from digiid.platform.db import Database


def schema_differences(db: Database, metadata: MetaData) -> list[object]:
    """What alembic would still change; an empty list when migrations and tables agree."""
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        return [d for d in compare_metadata(context, metadata) if "alembic_version" not in str(d)]
