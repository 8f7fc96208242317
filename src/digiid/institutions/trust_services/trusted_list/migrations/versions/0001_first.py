"""Published lists."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "published_list",
        sa.Column("sequence_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("issued_at", UtcDateTime, nullable=False),
        sa.Column("next_update_at", UtcDateTime, nullable=False),
        sa.Column("services_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("xml", sa.LargeBinary, nullable=False),
    )
