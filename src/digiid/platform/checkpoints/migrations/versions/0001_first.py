"""Sealed and time-stamped checkpoints, of every journal."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "journal_checkpoints",
        sa.Column("unit", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("time_stamp_der", sa.LargeBinary, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
    )
