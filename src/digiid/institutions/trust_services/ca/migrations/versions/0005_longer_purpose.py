"""What a certificate is for takes more than twenty characters; SQLite does not count them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("certificate_status") as table:
        table.alter_column("purpose", type_=sa.String(30), existing_type=sa.String(20), existing_nullable=False)
