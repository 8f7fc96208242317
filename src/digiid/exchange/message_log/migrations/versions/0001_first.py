"""Records, bodies, time stamps, archives."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "record",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("message_key", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("signature_sha512", sa.LargeBinary(64), nullable=False),
        sa.Column("is_response", sa.Boolean, nullable=False),
        sa.Column("is_reduced", sa.Boolean, nullable=False),
        sa.Column("party", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("message_sha512", sa.LargeBinary(64), nullable=False),
        sa.Column("body_sha512", sa.LargeBinary(64)),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("chain_result", sa.LargeBinary),
        sa.Column("chain", sa.LargeBinary),
    )
    op.create_index("record_message", "record", ["segment", "message_key"])
    op.create_table(
        "body",
        sa.Column("record", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "time_stamp",
        sa.Column("last_record", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("first_record", sa.BigInteger, nullable=False),
        sa.Column("gen_at", UtcDateTime, nullable=False),
        sa.Column("result", sa.LargeBinary, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("numbers", sa.LargeBinary, nullable=False),
        sa.Column("leaves", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "archive",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("chain_group", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("first_record", sa.BigInteger, nullable=False),
        sa.Column("last_record", sa.BigInteger, nullable=False),
        sa.Column("records", sa.Integer, nullable=False),
        sa.Column("last_digest", sa.String(128), nullable=False),
        sa.Column("written_at", UtcDateTime, nullable=False),
    )
    op.create_index("archive_group", "archive", ["chain_group", "number"])
    op.create_table(
        "log_state",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("archived_through", sa.BigInteger, nullable=False),
        sa.Column("deleted_through", sa.BigInteger, nullable=False),
        sa.Column("planned_through", sa.BigInteger),
        sa.Column("planned_grouping", sa.String(20)),
        sa.Column("planned_archive_bytes", sa.BigInteger),
    )
