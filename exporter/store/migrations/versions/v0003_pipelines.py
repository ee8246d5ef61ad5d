"""Runs of pipelines, where their sources were left off, what was received and not understood, and lineage."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Makes the tables; times are microseconds since 1970 UTC."""
    op.create_table(
        "dq_run",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("chain", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("queued_at", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("nominal_at", sa.BigInteger),
        sa.Column("seconds", sa.Double),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("failed_tasks", sa.Integer),
        sa.Column("error_class", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("resources", sa.Text, nullable=False),
        sa.Column("cost_usd", sa.Double),
        sa.Column("is_sticky", sa.Boolean, nullable=False),
        sa.Column("is_counted", sa.Boolean, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
    )
    op.create_index("dq_run_by_end", "dq_run", ["source", "job", "ended_at"])
    op.create_index("dq_run_by_state", "dq_run", ["source", "job", "state", "ended_at"])
    op.create_index("dq_run_open", "dq_run", ["source"], sqlite_where=sa.text("is_open"), postgresql_where=sa.text("is_open"))
    op.create_index("dq_run_uncounted", "dq_run", ["settled_at"], sqlite_where=sa.text("NOT is_counted"), postgresql_where=sa.text("NOT is_counted"))
    op.create_table(
        "dq_watch",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("has_history", sa.Boolean, nullable=False),
        sa.Column("sla_judged_at", sa.BigInteger),
        sa.Column("is_paused", sa.Boolean, nullable=False),
    )
    op.create_table(
        "dq_source",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("polled_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "dq_event",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("is_done", sa.Boolean, nullable=False),
        sa.UniqueConstraint("source", "job", "run_id", "key", name="dq_event_once"),
    )
    op.create_index("dq_event_pending", "dq_event", ["id"], sqlite_where=sa.text("NOT is_done"), postgresql_where=sa.text("NOT is_done"))
    op.create_table(
        "dq_dead_letter",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.UniqueConstraint("source", "digest", name="dq_dead_letter_once"),
    )
    op.create_table(
        "dq_flow",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("dataset", sa.Text, primary_key=True),
        sa.Column("is_output", sa.Boolean, primary_key=True),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "dq_source_test",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("dataset", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
