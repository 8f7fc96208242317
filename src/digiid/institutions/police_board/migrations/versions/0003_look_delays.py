"""Orders that keep officers' looks back from the person for a time."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "look_delays",
        sa.Column("delay_id", sa.String(36), primary_key=True),
        sa.Column("person_code", sa.String(11), nullable=False),
        sa.Column("case_id", sa.String(36), sa.ForeignKey("cases.case_id"), nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("ordered_by", sa.String(200), nullable=False),
        sa.Column("ordered_at", UtcDateTime, nullable=False),
    )
    op.create_index("look_delays_person", "look_delays", ["person_code", "until"])
