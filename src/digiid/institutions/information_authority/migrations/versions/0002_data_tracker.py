"""Who was told what about whom, and what was asked of others."""

from digiid.platform.disclosure_migrations import create_tracker_tables_v1

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    create_tracker_tables_v1()
