"""Persons, registrations, officers, journal, outbox, sessions."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "journal",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("site", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(64)),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("last_seen_at", UtcDateTime, nullable=False),
    )
    op.create_index("sessions_subject", "sessions", ["subject"])
    op.create_table(
        "outbox",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("ordering_key", sa.String(100), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("next_attempt_at", UtcDateTime, nullable=False),
        sa.Column("last_error", sa.Text),
    )
    op.create_index("outbox_waiting", "outbox", ["state", "position"])
    op.create_table(
        "persons",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("given_names", sa.String(100), nullable=False),
        sa.Column("surname", sa.String(100), nullable=False),
        sa.Column("sex", sa.String(1), nullable=False),
        sa.Column("born_on", sa.Date, nullable=False),
        sa.Column("order_number", sa.Integer, nullable=False),
        sa.Column("citizenships", sa.Text, nullable=False),
        sa.Column("residence_country", sa.String(3), nullable=False),
        sa.Column("basis", sa.String(20), nullable=False),
        sa.Column("registered_at", UtcDateTime, nullable=False),
    )
    op.create_index("persons_born", "persons", ["born_on"])
    op.create_table(
        "registrations",
        sa.Column("application_id", sa.String(64), primary_key=True),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
    )
    op.create_table(
        "officers",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
    )
