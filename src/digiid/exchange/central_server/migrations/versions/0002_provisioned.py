"""What the program entered by itself once. What it registered before is known from its approved requests."""

import hashlib
from datetime import datetime

import sqlalchemy as sa
from alembic import op

from digiid.platform.db import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    made = op.create_table(
        "provisioned",
        sa.Column("item", sa.String(900), primary_key=True),
        sa.Column("at", UtcDateTime, nullable=False),
    )
    asked = sa.table(
        "management_requests",
        sa.column("operation", sa.String),
        sa.column("state", sa.String),
        sa.column("server", sa.String),
        sa.column("client", sa.String),
        sa.column("auth_certificate_der", sa.LargeBinary),
        sa.column("decided_at", UtcDateTime),
    )
    items: dict[str, datetime] = {}
    for row in op.get_bind().execute(sa.select(asked).where(asked.c.state == "approved")):
        if row.operation == "authCertReg":
            digest = hashlib.sha256(bytes(row.auth_certificate_der or b"")).hexdigest()
            items |= {f"server {row.server}": row.decided_at, f"certificate {digest}": row.decided_at}
        elif row.operation == "clientReg":
            items[f"client {row.client} at {row.server}"] = row.decided_at
    if items:
        op.bulk_insert(made, [{"item": item, "at": at} for item, at in items.items()])
