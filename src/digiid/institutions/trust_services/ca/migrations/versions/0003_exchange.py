"""Orders for the certificates of the exchange's members and security servers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "exchange_order",
        sa.Column("order_id", sa.String(64), sa.ForeignKey("certificate_order.order_id"), primary_key=True),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("member_class", sa.String(20), nullable=False),
        sa.Column("member_code", sa.String(8), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("common_name", sa.String(64), nullable=False),
    )
