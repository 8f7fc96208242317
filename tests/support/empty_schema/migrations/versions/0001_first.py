"""A schema without tables, for tests that make their own."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing to make."""
