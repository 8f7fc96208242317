"""Declarations, consents with what was shown, history, revocations; journal, outbox, sessions, pending signatures."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime
from digiid.platform.disclosure_migrations import create_tracker_tables_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "service_declarations",
        sa.Column("identifier", sa.String(40), primary_key=True),
        sa.Column("provider", sa.String(420), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("is_valid", sa.Boolean, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "purpose_declarations",
        sa.Column("identifier", sa.String(40), primary_key=True),
        sa.Column("service_declaration", sa.String(40), nullable=False),
        sa.Column("client", sa.String(420), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("is_valid", sa.Boolean, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    )
    op.create_index("purpose_declarations_service", "purpose_declarations", ["service_declaration"])
    op.create_table(
        "consent_groups",
        sa.Column("group_reference", sa.String(64), primary_key=True),
        sa.Column("link_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("client", sa.String(420), nullable=False),
        sa.Column("actor_code", sa.String(11), nullable=False),
        sa.Column("callback", sa.String(500), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("link_expires_at", UtcDateTime, nullable=False),
        sa.Column("opened_at", UtcDateTime),
    )
    op.create_index("consent_groups_actor", "consent_groups", ["actor_code", "client", "created_at"])
    op.create_table(
        "consents",
        sa.Column("consent_id", sa.String(36), primary_key=True),
        sa.Column("consent_reference", sa.String(64), nullable=False, unique=True),
        sa.Column("group_reference", sa.String(64), nullable=False),
        sa.Column("purpose_declaration", sa.String(40), nullable=False),
        sa.Column("service_declaration", sa.String(40), nullable=False),
        sa.Column("client", sa.String(420), nullable=False),
        sa.Column("provider", sa.String(420), nullable=False),
        sa.Column("subject_code", sa.String(11), nullable=False),
        sa.Column("actor_code", sa.String(11), nullable=False),
        sa.Column("relation", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("decided_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("locale", sa.String(2)),
        sa.Column("replaces", sa.String(36)),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("receipt", sa.Text),
        sa.Column("signed_consent", sa.LargeBinary),
        sa.Column("signed_withdrawal", sa.LargeBinary),
    )
    op.create_index("consents_actor", "consents", ["actor_code", "requested_at"])
    op.create_index("consents_subject", "consents", ["subject_code", "purpose_declaration"])
    op.create_index("consents_group", "consents", ["group_reference"])
    op.create_index("consents_purpose", "consents", ["purpose_declaration", "state"])
    op.create_index("consents_due", "consents", ["state", "expires_at"])
    op.create_table(
        "consent_history",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("consent_id", sa.String(36), nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
    )
    op.create_index("consent_history_consent", "consent_history", ["consent_id", "position"])
    op.create_table(
        "revocations",
        sa.Column("audience", sa.String(420), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("consent_reference", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=False),
    )
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
    create_tracker_tables_v1()
