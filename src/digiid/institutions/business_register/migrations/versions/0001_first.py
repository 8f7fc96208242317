"""Companies, roles, filings, journal, outbox, sessions, data tracker."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime
from digiid.platform.disclosure_migrations import create_tracker_tables_v1

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
    create_tracker_tables_v1()
    op.create_table(
        "companies",
        sa.Column("registry_code", sa.String(8), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("folded_name", sa.Text, nullable=False),
        sa.Column("legal_form", sa.String(20), nullable=False),
        sa.Column("status", sa.String(1), nullable=False),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("share_capital_cents", sa.BigInteger, nullable=False),
        sa.Column("registered_on", sa.Date, nullable=False),
        sa.Column("deleted_on", sa.Date),
        sa.Column("request_id", sa.String(64), nullable=False, unique=True),
    )
    op.create_index("companies_name", "companies", ["folded_name"])
    op.create_table(
        "roles",
        sa.Column("role_id", sa.String(64), primary_key=True),
        sa.Column("registry_code", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("from_on", sa.Date, nullable=False),
        sa.Column("until_on", sa.Date),
        sa.Column("representation", sa.String(10)),
        sa.Column("share_cents", sa.BigInteger),
    )
    op.create_index("roles_company", "roles", ["registry_code"])
    op.create_index("roles_person", "roles", ["personal_code"])
    op.create_table(
        "filings",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("registry_code", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("basis", sa.String(200), nullable=False),
        sa.Column("entered_by", sa.String(200), nullable=False),
        sa.Column("entered_at", UtcDateTime, nullable=False),
    )
    op.create_index("filings_company", "filings", ["registry_code", "number"])
