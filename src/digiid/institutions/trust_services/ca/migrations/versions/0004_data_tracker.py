"""Who was told what about whom, and what was asked of others."""

from digiid.platform.disclosure_migrations import create_tracker_tables_v1

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    create_tracker_tables_v1()
