"""Blocks of serial numbers, tokens."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "serial_block",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("taken_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "token",
        sa.Column("serial_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("gen_at", UtcDateTime, nullable=False),
        sa.Column("hash_name", sa.String(10), nullable=False),
        sa.Column("imprint", sa.LargeBinary(64), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(32), nullable=False),
    )
    op.create_index("token_gen_at", "token", ["gen_at"])
