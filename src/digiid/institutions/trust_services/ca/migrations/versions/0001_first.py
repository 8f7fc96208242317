"""Orders, certificates, their status, blocked keys, revocation lists, journal."""

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "certificate_order",
        sa.Column("order_id", sa.String(64), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("document_number", sa.String(20), nullable=False, unique=True),
        sa.Column("policy", sa.String(20), nullable=False),
        sa.Column("personal_code", sa.String(11), nullable=False),
        sa.Column("surname", sa.String(100), nullable=False),
        sa.Column("given_names", sa.String(100), nullable=False),
        sa.Column("expires_on", sa.Date, nullable=False),
        sa.Column("ordered_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "certificate",
        sa.Column("serial_number", sa.String(32), primary_key=True),
        sa.Column("order_id", sa.String(64), sa.ForeignKey("certificate_order.order_id"), nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("step", sa.String(20), nullable=False),
        sa.Column("spki_der", sa.LargeBinary, nullable=False),
        sa.Column("spki_sha256", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("not_before_at", UtcDateTime, nullable=False),
        sa.Column("not_after_at", UtcDateTime, nullable=False),
        sa.Column("tbs_der", sa.LargeBinary),
        sa.Column("certificate_der", sa.LargeBinary),
        sa.UniqueConstraint("order_id", "kind"),
    )
    op.create_table(
        "certificate_status",
        sa.Column("serial_number", sa.String(32), sa.ForeignKey("certificate.serial_number"), primary_key=True),
        sa.Column("document_number", sa.String(20), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.Column("not_after_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime),
        sa.Column("reason", sa.String(30)),
        sa.Column("change_number", sa.Integer, nullable=False),
    )
    op.create_index("certificate_status_document", "certificate_status", ["document_number"])
    op.create_index("certificate_status_change", "certificate_status", ["change_number"])
    op.create_table(
        "blocked_key",
        sa.Column("spki_sha256", sa.LargeBinary(32), primary_key=True),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("blocked_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "revocation_list",
        sa.Column("ca", sa.String(20), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("change_number", sa.Integer, nullable=False),
        sa.Column("this_update_at", UtcDateTime, nullable=False),
        sa.Column("next_update_at", UtcDateTime, nullable=False),
        sa.Column("crl_der", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
