"""Orders for the seals of organisations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "seal_order",
        sa.Column("order_id", sa.String(64), sa.ForeignKey("certificate_order.order_id"), primary_key=True),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("registry_code", sa.String(8), nullable=False),
        sa.Column("organization", sa.String(64), nullable=False),
        sa.Column("seal_name", sa.String(64), nullable=False),
    )
