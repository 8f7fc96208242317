"""Members, servers, groups, trust services, requests, keys, the configuration; officers, journal, outbox, sessions."""

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
        "officers",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("roles", sa.String(200), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
    )
    op.create_table(
        "parameters",
        sa.Column("name", sa.String(60), primary_key=True),
        sa.Column("value", sa.String(400), nullable=False),
    )
    op.create_table(
        "member_classes",
        sa.Column("code", sa.String(100), primary_key=True),
        sa.Column("description", sa.String(200), nullable=False),
    )
    op.create_table(
        "members",
        sa.Column("member_class", sa.String(100), primary_key=True),
        sa.Column("member_code", sa.String(100), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("entered_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "subsystems",
        sa.Column("member_class", sa.String(100), primary_key=True),
        sa.Column("member_code", sa.String(100), primary_key=True),
        sa.Column("subsystem", sa.String(100), primary_key=True),
        sa.Column("name", sa.String(200)),
    )
    op.create_table(
        "servers",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("member_class", sa.String(100), nullable=False),
        sa.Column("member_code", sa.String(100), nullable=False),
        sa.Column("server_code", sa.String(100), nullable=False),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("maintenance", sa.String(200)),
        sa.Column("registered_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("member_class", "member_code", "server_code"),
    )
    op.create_table(
        "authentication_certificates",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("server", sa.Integer, nullable=False),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False),
        sa.Column("registered_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "server_clients",
        sa.Column("server", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("member_class", sa.String(100), primary_key=True),
        sa.Column("member_code", sa.String(100), primary_key=True),
        sa.Column("subsystem", sa.String(100), primary_key=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
    )
    op.create_table(
        "global_groups",
        sa.Column("code", sa.String(100), primary_key=True),
        sa.Column("description", sa.String(200), nullable=False),
    )
    op.create_table(
        "global_group_members",
        sa.Column("code", sa.String(100), primary_key=True),
        sa.Column("member_class", sa.String(100), primary_key=True),
        sa.Column("member_code", sa.String(100), primary_key=True),
        sa.Column("subsystem", sa.String(100), primary_key=True),
    )
    op.create_table(
        "approved_cas",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False),
        sa.Column("ocsp_urls", sa.Text, nullable=False),
        sa.Column("certificate_profile", sa.String(300), nullable=False),
        sa.Column("authentication_only", sa.Boolean, nullable=False),
    )
    op.create_table(
        "intermediate_cas",
        sa.Column("top", sa.String(200), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False),
        sa.Column("ocsp_urls", sa.Text, nullable=False),
    )
    op.create_table(
        "approved_tsas",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("url", sa.String(400), nullable=False),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "management_requests",
        sa.Column("request_id", sa.String(36), primary_key=True),
        sa.Column("operation", sa.String(40), nullable=False),
        sa.Column("state", sa.String(30), nullable=False),
        sa.Column("server", sa.String(410), nullable=False),
        sa.Column("client", sa.String(410)),
        sa.Column("envelope", sa.LargeBinary, nullable=False),
        sa.Column("auth_certificate_der", sa.LargeBinary),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("decided_at", UtcDateTime),
        sa.Column("decided_by", sa.String(200)),
        sa.Column("reason", sa.String(500)),
    )
    op.create_index("management_requests_state", "management_requests", ["state", "received_at"])
    op.create_table(
        "signing_keys",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("source", sa.String(400), nullable=False),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "configuration_parts",
        sa.Column("location", sa.String(200), primary_key=True),
        sa.Column("content_id", sa.String(60), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("last_listed_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "configuration_directory",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("generated_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
