"""The customer's registered address under a consent, the receipt that opens it, what was revoked."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "consent_revocations",
        sa.Column("consent_reference", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "consent_news",
        sa.Column("audience", sa.String(420), primary_key=True),
        sa.Column("up_to", sa.Integer, nullable=False),
        sa.Column("as_of", UtcDateTime),
    )
    op.create_table(
        "consent_receipts",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("consent_reference", sa.String(64), nullable=False),
        sa.Column("receipt", sa.Text, nullable=False),
        sa.Column("obtained_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "consent_requests",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("group_reference", sa.String(64), nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "customer_addresses",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("country", sa.String(3), nullable=False),
        sa.Column("region", sa.String(100), nullable=False),
        sa.Column("locality", sa.String(100), nullable=False),
        sa.Column("street", sa.String(200), nullable=False),
        sa.Column("postcode", sa.String(20), nullable=False),
        sa.Column("consent_reference", sa.String(64), nullable=False),
        sa.Column("fetched_at", UtcDateTime, nullable=False),
    )
