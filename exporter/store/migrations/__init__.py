"""Alembic environment of the store, run when it is opened."""
