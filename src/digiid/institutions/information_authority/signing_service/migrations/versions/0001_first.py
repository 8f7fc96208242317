"""Clients, requests seen, containers, prepared signatures; journal."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("closed_at", UtcDateTime),
    )
    op.create_table(
        "seen_requests",
        sa.Column("request_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("seen_at", UtcDateTime, nullable=False),
    )
    op.create_index("seen_requests_age", "seen_requests", ["seen_at"])
    op.create_table(
        "containers",
        sa.Column("container_id", sa.String(36), primary_key=True),
        sa.Column("client_id", sa.String(36), nullable=False),
        sa.Column("form", sa.String(20), nullable=False),
        sa.Column("name", sa.String(260), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    )
    op.create_index("containers_client", "containers", ["client_id"])
    op.create_index("containers_age", "containers", ["changed_at"])
    op.create_table(
        "prepared_signatures",
        sa.Column("signature_id", sa.String(36), primary_key=True),
        sa.Column("container_id", sa.String(36), nullable=False),
        sa.Column("prepared", sa.LargeBinary, nullable=False),
        sa.Column("level", sa.String(3), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("value_hash", sa.LargeBinary(32)),
        sa.Column("prepared_at", UtcDateTime, nullable=False),
    )
    op.create_index("prepared_signatures_container", "prepared_signatures", ["container_id"])
    op.create_table(
        "journal",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
