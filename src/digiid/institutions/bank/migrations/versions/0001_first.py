"""Applications and accounts, sign-ins, pending signatures; journal, outbox, sessions."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "applications",
        sa.Column("application_id", sa.String(36), primary_key=True),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("expected_use", sa.String(1000), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("signed_at", UtcDateTime),
        sa.Column("iban", sa.String(34), unique=True),
        sa.Column("account_number", sa.Integer),
        sa.Column("container", sa.LargeBinary),
    )
    op.create_index("applications_person", "applications", ["personal_code"])
    op.create_table(
        "journal",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
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
        "pending_signatures",
        sa.Column("id_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("session_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("reference", sa.String(100), nullable=False),
        sa.Column("prepared", sa.LargeBinary, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    op.create_index("pending_signatures_session", "pending_signatures", ["session_hash"])
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
        "sign_ins",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("personal_code", sa.String(20), nullable=False),
        sa.Column("site", sa.String(40), nullable=False),
        sa.Column("policy", sa.String(20), nullable=False),
        sa.Column("certificate_serial", sa.String(64), nullable=False),
        sa.Column("signed_in_at", UtcDateTime, nullable=False),
    )
    op.create_index("sign_ins_person", "sign_ins", ["personal_code", "position"])
