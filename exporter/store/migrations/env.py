"""Runs the migrations on the connection and in the transaction that the store hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    version_table="dq_store_version",
)
context.run_migrations()
