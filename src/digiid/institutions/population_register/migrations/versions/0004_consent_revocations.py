"""What the consent service told of consents that no longer hold."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0004"
down_revision = "0003"


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
