"""The Alembic environment that every institution's migrations/env.py runs: one connection, handed in."""

from alembic import context


def run_migrations() -> None:
    """Run the pending revisions on the connection that Database.migrate put into the configuration."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=None, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
