"""The tables of the data tracker as Alembic makes them: one revision of each institution calls one function.

A function here never changes once it is released: a change is a new function, called by a new revision.
"""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime


def create_tracker_tables_v1() -> None:
    """`disclosures` and `sent_requests`."""
    op.create_table(
        "disclosures",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("personal_code", sa.String(20), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("purpose", sa.String(200), nullable=False),
        sa.Column("receiver", sa.String(420), nullable=False),
        sa.Column("receiver_user", sa.String(128)),
        sa.Column("official", sa.String(12)),
        sa.Column("legal_basis", sa.String(200), nullable=False),
        sa.Column("consent_reference", sa.String(128)),
        sa.Column("message_id", sa.String(128)),
        sa.Column("service", sa.String(200), nullable=False),
        sa.Column("categories", sa.Text, nullable=False),
        sa.Column("hidden_until", UtcDateTime),
        sa.Column("delay_reason", sa.String(200)),
        sa.Column("delayed_by", sa.String(200)),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
    )
    op.create_index("disclosures_person", "disclosures", ["personal_code", "at"])
    op.create_index("disclosures_official", "disclosures", ["receiver", "receiver_user"])
    op.create_table(
        "sent_requests",
        sa.Column("message_id", sa.String(128), primary_key=True),
        sa.Column("personal_code", sa.String(20), primary_key=True),
        sa.Column("service", sa.String(520), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("hidden_until", UtcDateTime),
    )
    op.create_index("sent_requests_person", "sent_requests", ["personal_code", "at"])
