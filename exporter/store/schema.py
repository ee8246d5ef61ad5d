"""The tables of the store; the migrations make them, a test holds the two equal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(TypeDecorator[datetime]):
    """An aware datetime as microseconds since 1970 UTC: exact, and ordered alike in every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds since 1970 UTC. A naive datetime raises TypeError."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The datetime in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = sa.MetaData()
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows only for INTEGER

table_state = sa.Table(
    "dq_table_state",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger),
    sa.Column("row_count", sa.BigInteger),
    sa.Column("byte_count", sa.BigInteger),
    sa.Column("file_count", sa.BigInteger),
    sa.Column("engine", sa.Text),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("duration", sa.Double, nullable=False),
    sa.Column("cost", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False, server_default=""),
)
"""The last evaluation of a table; `cost` is JSON: tier_seconds, scans, timed_out."""

check_state = sa.Table(
    "dq_check_state",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("check_id", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("tier", sa.Text),
    sa.Column("run_at", Instant, nullable=False),
    sa.Column("latest", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("verdict_at", Instant),
    sa.Column("fingerprint", sa.Text, nullable=False, server_default=""),
)
"""The latest run of a check and its last verdict, both as JSON of a Verdict."""

history = sa.Table(
    "dq_history",
    metadata,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("check_id", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("version", sa.BigInteger),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("value", sa.Double),
    sa.Column("failed_rows", sa.BigInteger),
    sa.Column("evaluated_rows", sa.BigInteger),
    sa.Index("dq_history_by_check", "table_name", "check_id", "at"),
)
"""One row per run of a check."""

point = sa.Table(
    "dq_point",
    metadata,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("check_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger),
    sa.Column("first_at", Instant, nullable=False),
    sa.Column("last_at", Instant, nullable=False),
    sa.Column("is_current", sa.Boolean, nullable=False),
    sa.Index("dq_point_by_time", "table_name", "check_id", "last_at"),
    sa.Index("dq_point_current", "table_name", "is_current"),
)
"""What checks with a history saw: a run of equal (version, value) is one row; the newest of a name is current."""

counter = sa.Table(
    "dq_counter",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
)
"""Counters of the exposition; `labels` is a JSON list of the label values."""

memory = sa.Table(
    "dq_memory",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("check_id", sa.Text, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""What a check that learns asked to be kept, as deflated JSON."""

feedback = sa.Table(
    "dq_feedback",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("check_id", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Text, primary_key=True),
    sa.Column("says", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
)
"""What people said of a bucket: `expected` or `bad`; the last word counts."""

score = sa.Table(
    "dq_score",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("at", Instant, primary_key=True),
    sa.Column("ratio", sa.Double),
    sa.Column("coverage", sa.Double, nullable=False),
    sa.Column("dimensions", sa.Text, nullable=False),
)
"""The score of a table from `at` on; a row per change. `dimensions` is JSON: {dimension: [ratio, coverage]}."""
