"""What checks learned, what people said of it, how scores went, and which rule and rows a result is of."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables and columns; times are microseconds since 1970 UTC."""
    op.add_column("dq_table_state", sa.Column("place", sa.Text, nullable=False, server_default=""))
    op.add_column("dq_check_state", sa.Column("fingerprint", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "dq_memory",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("check_id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "dq_feedback",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("check_id", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("says", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "dq_score",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("ratio", sa.Double),
        sa.Column("coverage", sa.Double, nullable=False),
        sa.Column("dimensions", sa.Text, nullable=False),
    )
