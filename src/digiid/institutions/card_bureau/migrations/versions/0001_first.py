"""Orders, envelopes, requests, hand-overs, points, officers; journal, outbox, sessions."""

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
        "certificate_requests",
        sa.Column("order_id", sa.String(64), primary_key=True),
        sa.Column("authentication_der", sa.LargeBinary, nullable=False),
        sa.Column("signature_der", sa.LargeBinary, nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "document_numbers",
        sa.Column("prefix", sa.String(2), primary_key=True),
        sa.Column("last_number", sa.Integer, nullable=False),
    )
    op.create_table(
        "envelopes",
        sa.Column("order_id", sa.String(64), primary_key=True),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("sealed_at", UtcDateTime, nullable=False),
        sa.Column("taken_at", UtcDateTime),
        sa.Column("destroyed_at", UtcDateTime),
    )
    op.create_table(
        "hand_overs",
        sa.Column("evidence_id", sa.String(64), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False, unique=True),
        sa.Column("officer_name", sa.String(200), nullable=False),
        sa.Column("officer_personal_code", sa.String(11), nullable=False),
        sa.Column("pick_up_point", sa.String(40), nullable=False),
        sa.Column("accepted_text", sa.Text, nullable=False),
        sa.Column("begun_at", UtcDateTime, nullable=False),
        sa.Column("finished_at", UtcDateTime),
    )
    op.create_table(
        "officers",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(64), primary_key=True),
        sa.Column("document_number", sa.String(9), nullable=False, unique=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("given_names", sa.String(100), nullable=False),
        sa.Column("surname", sa.String(100), nullable=False),
        sa.Column("policy", sa.String(20), nullable=False),
        sa.Column("sex", sa.String(1)),
        sa.Column("citizenship", sa.String(3)),
        sa.Column("born_on", sa.Date),
        sa.Column("travel_kind", sa.String(20), nullable=False),
        sa.Column("travel_number", sa.String(20), nullable=False),
        sa.Column("travel_issuing_country", sa.String(3), nullable=False),
        sa.Column("travel_expires_on", sa.Date, nullable=False),
        sa.Column("pick_up_point", sa.String(40), nullable=False),
        sa.Column("ordered_at", UtcDateTime, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.Column("issued_on", sa.Date, nullable=False),
        sa.Column("expires_on", sa.Date, nullable=False),
        sa.Column("collect_until", sa.Date),
        sa.Column("problem", sa.Text),
    )
    op.create_index("orders_state", "orders", ["state"])
    op.create_table(
        "point_officers",
        sa.Column("personal_code", sa.String(11), primary_key=True),
        sa.Column("point", sa.String(40), primary_key=True),
    )
    op.create_table(
        "points",
        sa.Column("code", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("country", sa.String(3), nullable=False),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
    )
