"""The tables of the store for pipelines; like `schema`, held equal to the migrations by a test."""

from __future__ import annotations

import sqlalchemy as sa

from exporter.store.schema import SERIAL, Instant, metadata

_OPEN = sa.text("is_open")
_UNCOUNTED = sa.text("NOT is_counted")
_PENDING = sa.text("NOT is_done")

run = sa.Table(
    "dq_run",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("chain", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("settled_at", Instant),
    sa.Column("queued_at", Instant),
    sa.Column("started_at", Instant),
    sa.Column("ended_at", Instant),
    sa.Column("nominal_at", Instant),
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
    sa.Index("dq_run_by_end", "source", "job", "ended_at"),
    sa.Index("dq_run_by_state", "source", "job", "state", "ended_at"),
    sa.Index("dq_run_open", "source", sqlite_where=_OPEN, postgresql_where=_OPEN),
    sa.Index("dq_run_uncounted", "settled_at", sqlite_where=_UNCOUNTED, postgresql_where=_UNCOUNTED),
)
"""One attempt of a run of a watched job; see `pipelines.run.PipelineRun`. `seconds` is its duration."""

watch = sa.Table(
    "dq_watch",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("since", Instant, nullable=False),
    sa.Column("has_history", sa.Boolean, nullable=False),
    sa.Column("sla_judged_at", Instant),
    sa.Column("is_paused", sa.Boolean, nullable=False),
)
"""A job that is watched: what ended before `since` is never counted; deadlines up to `sla_judged_at` are."""

source = sa.Table(
    "dq_source",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("checkpoint", sa.Text, nullable=False),
    sa.Column("until", Instant, nullable=False),
    sa.Column("polled_at", Instant, nullable=False),
)
"""Where the last complete poll of a source ended."""

event = sa.Table(
    "dq_event",
    metadata,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("is_done", sa.Boolean, nullable=False),
    sa.UniqueConstraint("source", "job", "run_id", "key", name="dq_event_once"),
    sa.Index("dq_event_pending", "id", sqlite_where=_PENDING, postgresql_where=_PENDING),
)
"""What was received of a run, once per event; kept for as long as more may arrive. `body` is the report as JSON."""

letter = sa.Table(
    "dq_dead_letter",
    metadata,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.UniqueConstraint("source", "digest", name="dq_dead_letter_once"),
)
"""Payloads of sources that could not be understood."""

flow = sa.Table(
    "dq_flow",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("is_output", sa.Boolean, primary_key=True),
    sa.Column("seen_at", Instant, nullable=False),
)
"""Which data sets a job was seen to read and write."""

source_test = sa.Table(
    "dq_source_test",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
"""The newest result of each test that a source ran on a data set."""
