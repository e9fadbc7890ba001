"""Alembic's entry: runs on the connection that `hipnode.storage.database.migrate` hands in."""

from alembic import context

from hipnode.storage.database.schema import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Migrations run by `hipnode`, which opens the database by its settings.")

context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
