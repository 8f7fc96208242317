"""Addresses with their history, family relations, what the board tells of documents."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "addresses",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("country", sa.String(3), nullable=False),
        sa.Column("region", sa.String(100), nullable=False),
        sa.Column("locality", sa.String(100), nullable=False),
        sa.Column("street", sa.String(200), nullable=False),
        sa.Column("postcode", sa.String(20), nullable=False),
        sa.Column("from_on", sa.Date, nullable=False),
        sa.Column("until_on", sa.Date),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
    )
    op.create_index("addresses_person", "addresses", ["personal_code", "kind"])
    op.create_table(
        "relations",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("other_code", sa.String(11), nullable=False),
        sa.Column("has_custody", sa.Boolean, nullable=False),
        sa.Column("from_on", sa.Date, nullable=False),
        sa.Column("until_on", sa.Date),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
    )
    op.create_index("relations_person", "relations", ["personal_code"])
    op.create_index("relations_other", "relations", ["other_code"])
    op.create_table(
        "documents",
        sa.Column("document_number", sa.String(20), primary_key=True),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("policy", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("expires_on", sa.Date),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    )
    op.create_index("documents_person", "documents", ["personal_code"])
