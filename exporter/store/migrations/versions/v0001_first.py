"""The first tables: states, history, points and counters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Makes the tables; times are microseconds since 1970 UTC."""
    op.create_table(
        "dq_table_state",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger),
        sa.Column("row_count", sa.BigInteger),
        sa.Column("byte_count", sa.BigInteger),
        sa.Column("file_count", sa.BigInteger),
        sa.Column("engine", sa.Text),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("duration", sa.Double, nullable=False),
        sa.Column("cost", sa.Text, nullable=False),
    )
    op.create_table(
        "dq_check_state",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("check_id", sa.Text, primary_key=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("tier", sa.Text),
        sa.Column("run_at", sa.BigInteger, nullable=False),
        sa.Column("latest", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("verdict_at", sa.BigInteger),
    )
    op.create_table(
        "dq_history",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("check_id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("value", sa.Double),
        sa.Column("failed_rows", sa.BigInteger),
        sa.Column("evaluated_rows", sa.BigInteger),
    )
    op.create_index("dq_history_by_check", "dq_history", ["table_name", "check_id", "at"])
    op.create_table(
        "dq_point",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("check_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("is_current", sa.Boolean, nullable=False),
    )
    op.create_index("dq_point_by_time", "dq_point", ["table_name", "check_id", "last_at"])
    op.create_index("dq_point_current", "dq_point", ["table_name", "is_current"])
    op.create_table(
        "dq_counter",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("labels", sa.Text, primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
    )
