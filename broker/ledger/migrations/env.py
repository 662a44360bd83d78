"""Run by Alembic: migrate over the connection that `migrate.upgrade` hands in, each revision in a transaction of its own
(on SQLite all in the one that is already open)."""

from alembic import context

from broker.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
