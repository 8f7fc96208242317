"""What was asked when a company was entered, as a digest; companies of before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("companies", sa.Column("request_sha256", sa.LargeBinary(32)))
