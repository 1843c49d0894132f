"""Run by Alembic: migrates over the connection that `gateway.database.migrate` hands in, in its transaction."""

from alembic import context

from gateway.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
