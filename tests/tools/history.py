"""Four weeks of a made-up data platform, with incidents in it, as a function of time: for drawing and testing dashboards.

`samples(t, now)` is what an exporter would have shown at a time. It is written as OpenMetrics for `promtool tsdb create-blocks-from`
and served live, so that a Prometheus sees one world without a seam. All is deterministic but for the present.
"""

from __future__ import annotations

import hashlib
import math
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from exporter.catalog import metrics as m
from exporter.catalog.metrics import Kind, Metric

STEP, COARSE, DAY, HOUR = 240, 1200, 86400, 3600
"""Seconds between samples in the last two days, and before; a Prometheus needs a lookback of 25 min to bridge the latter."""
Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]
JOB, INSTANCE = "dq-exporter", "exporter:9818"


@dataclass(frozen=True)
class Check:
    """A made-up check."""

    id: str
    type: str
    dimension: str
    severity: str = ""
    column: str = ""


@dataclass(frozen=True)
class Table:
    """A made-up table; loads come every `every` seconds, `rows` is its size now."""

    name: str
    team: str
    severity: str
    rows: float
    every: float
    max_age: float
    checks: tuple[Check, ...]
    pipeline: str = ""


_KEY, _COUNT = Check("primary_key_id", "primary_key", "uniqueness"), Check("row_count", "row_count", "completeness")
_FRESH = Check("freshness_event_ts", "freshness", "timeliness")
_SCHEMA = Check("schema_change", "schema_change", "consistency", "medium")
TABLES = (
    Table("sales.orders", "sales", "critical", 2.1e6, HOUR, 4 * HOUR, (
        _COUNT, _KEY, _FRESH, Check("not_null_email", "not_null", "completeness", "high", "email"), Check("range_amount", "range", "validity", "", "amount"),
        Check("referential_integrity_customer_id", "referential_integrity", "consistency", "high", "customer_id"), Check("reconciliation", "reconciliation", "accuracy"),
        Check("row_count_anomaly_day", "row_count_anomaly", "completeness"), _SCHEMA), "sales_daily"),
    Table("sales.customers", "sales", "high", 3.4e5, 6 * HOUR, DAY, (_COUNT, _KEY, _FRESH, Check("format_email", "format", "validity", "medium", "email")), "sales_daily"),
    Table("sales.returns", "sales", "medium", 4.2e4, DAY, 2 * DAY, (_COUNT, _FRESH, Check("pattern_code", "pattern", "validity", "", "code")), "sales_daily"),
    Table("raw.orders", "ingest", "low", 2.1e6, 900, HOUR, (_COUNT, _FRESH), "ingest_orders"),
    Table("web.events", "web", "high", 9.6e7, 900, 2 * HOUR, (_FRESH, Check("partitions_day", "partitions", "completeness"), Check("not_null_event_id", "not_null", "completeness"), _SCHEMA), "web_stream"),
    Table("web.visits", "web", "high", 1.8e5, DAY, 30 * HOUR, (_FRESH, Check("row_count_anomaly_day", "row_count_anomaly", "completeness", "medium"), Check("duplicate_load_visit_id", "duplicate_load", "uniqueness")), "web_sessions"),
    Table("finance.ledger", "finance", "critical", 8.0e5, DAY, 26 * HOUR, (_COUNT, _KEY, _FRESH, Check("books_balance", "aggregate", "accuracy"), Check("freshness_deadline", "freshness_deadline", "timeliness")), "finance_close"),
    Table("finance.invoices", "finance", "high", 1.2e5, DAY, 26 * HOUR, (_KEY, _FRESH, _SCHEMA, Check("sum_of_parts_total", "sum_of_parts", "consistency", "", "total")), "finance_close"),
    Table("crm.contacts", "crm", "medium", 5.5e4, 6 * HOUR, DAY, (_COUNT, _KEY, Check("accepted_values_status", "accepted_values", "validity", "", "status"))),
    Table("ml.features", "ml", "low", 7.3e6, DAY, 2 * DAY, (_COUNT, _FRESH, Check("latency", "latency", "timeliness", "low"), Check("frozen_table", "frozen_table", "timeliness", "low"))),
)  # fmt: skip


@dataclass(frozen=True)
class Pipeline:
    """A made-up pipeline."""

    name: str
    source: str
    team: str
    severity: str
    every: float
    median: float
    usd: float
    budget: float


PIPELINES = (
    Pipeline("sales_daily", "airflow", "sales", "critical", HOUR, 900, 0.6, 20), Pipeline("ingest_orders", "spark", "ingest", "high", 900, 120, 0.05, 8),
    Pipeline("web_stream", "databricks", "web", "high", 900, 300, 0.2, 15), Pipeline("web_sessions", "databricks", "web", "medium", DAY, 2400, 6, 10),
    Pipeline("finance_close", "airflow", "finance", "critical", DAY, 5400, 9, 12), Pipeline("marketing_export", "dbt", "marketing", "low", 6 * HOUR, 600, 0.4, 5),
)  # fmt: skip
EDGES = (
    ("ingest_orders", "raw.orders"), ("raw.orders", "sales_daily"), ("sales_daily", "sales.orders"), ("sales_daily", "sales.customers"), ("sales_daily", "sales.returns"),
    ("web_stream", "web.events"), ("web.events", "web_sessions"), ("web_sessions", "web.visits"), ("sales.orders", "finance_close"), ("finance_close", "finance.ledger"),
    ("finance_close", "finance.invoices"), ("sales.orders", "dashboard.sales_kpis"), ("sales.customers", "marketing_export"), ("web.visits", "dashboard.web_kpis"),
    ("sales.orders", "ml.features"), ("finance.ledger", "report.month_end"),
)  # fmt: skip

# what went wrong: (table, check) and from when to when, in seconds before now
FAULTS: Mapping[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("sales.orders", "not_null_email"): ((3.2 * HOUR, 0), (9 * DAY, 8.6 * DAY)),
    ("sales.orders", "freshness_event_ts"): ((1.6 * HOUR, 0), (16 * DAY, 15.7 * DAY)),
    ("sales.customers", "format_email"): ((20 * DAY, 13 * DAY),),
    ("web.events", "partitions_day"): ((2.2 * DAY, 1.8 * DAY), (24 * DAY, 23.5 * DAY)),
    ("web.visits", "row_count_anomaly_day"): ((19 * HOUR, 0),),
    ("finance.invoices", "schema_change"): ((6 * DAY, 5 * DAY),),
    ("finance.ledger", "books_balance"): ((12 * DAY, 11.8 * DAY),),
    ("sales.returns", "pattern_code"): ((27 * DAY, 10 * DAY),),
    ("raw.orders", "freshness_event_ts"): ((4.1 * DAY, 4 * DAY),),
}
ERRORS: Mapping[tuple[str, str], float] = {("crm.contacts", "accepted_values_status"): 26 * HOUR}
FAILED_RUNS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "sales_daily": ((5.5 * HOUR, 0), (16.2 * DAY, 15.8 * DAY)), "web_sessions": ((8 * DAY, 7 * DAY),), "marketing_export": ((3 * DAY, 2.5 * DAY),), "ingest_orders": ((4.2 * DAY, 4.05 * DAY),),
}  # fmt: skip
DOWN = (10 * DAY, 10 * DAY - 40 * 60)
"""When the exporter was not there."""


def _noise(*of: object) -> float:
    """Between 0 and 1, always the same for the same things."""
    return int.from_bytes(hashlib.blake2b("|".join(map(str, of)).encode(), digest_size=4).digest(), "big") / 2**32


def _within(spans: tuple[tuple[float, float], ...], back: float) -> bool:
    return any(end < back <= begin or (end == 0 and back <= begin) for begin, end in spans)


def _start(spans: tuple[tuple[float, float], ...], back: float) -> float:
    return next(begin for begin, end in spans if end < back <= begin or (end == 0 and back <= begin))


class World:
    """What the exporter knows at a time."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.begin = now - 28 * DAY

    def samples(self, t: float) -> Samples:
        """Every series at a time; none while the exporter is down."""
        back = self.now - t
        if DOWN[1] < back <= DOWN[0]:
            return {}
        out: Samples = {}
        for table in TABLES:
            self._table(out, table, t, back)
        for pipeline in PIPELINES:
            self._pipeline(out, pipeline, t, back)
        self._process(out, t, back)
        for upstream, downstream in EDGES:
            put(out, m.LINEAGE_EDGE, 1, upstream=upstream, downstream=downstream)
        if _within(FAILED_RUNS["sales_daily"], back):
            for name in ("sales.orders", "sales.customers", "sales.returns"):
                put(out, m.PROBABLE_CAUSE, 1, table=name, pipeline="sales_daily")
        return out

    def _table(self, out: Samples, table: Table, t: float, back: float) -> None:
        name = table.name
        put(out, m.TABLE_INFO, 1, table=name, team=table.team, severity=table.severity, format="delta", engine="native")
        loads = math.floor(t / table.every)
        grown = table.rows * (1 - back / (120 * DAY))
        put(out, m.TABLE_ROWS, math.floor(grown), table=name)
        put(out, m.TABLE_BYTES, math.floor(grown * 180), table=name)
        put(out, m.TABLE_FILES, 40 + loads % 97, table=name)
        put(out, m.TABLE_VERSION, loads - math.floor(self.begin / table.every), table=name)
        scores: dict[str, list[float]] = {}
        known = 0
        for check in table.checks:
            known += self._check(out, table, check, t, back, scores)
        self._score(out, table, scores, known, back)
        if any(check.type == "freshness" for check in table.checks):
            stale = FAULTS.get((name, "freshness_event_ts"), ())
            last = loads * table.every - 120 - 200 * _noise(name, loads)
            if _within(stale, back):
                last = self.now - _start(stale, back) - table.max_age
            elif any(begin < back <= begin + table.max_age for begin, _ in stale):
                last = min(last, self.now - next(begin for begin, _ in stale if begin < back <= begin + table.max_age) - table.max_age)
            put(out, m.FRESHNESS, last, table=name)
            put(out, m.FRESHNESS_MAX_AGE, table.max_age, table=name)
        self._extras(out, table, t, back)

    def _check(self, out: Samples, table: Table, check: Check, t: float, back: float, scores: dict[str, list[float]]) -> int:
        key = {"table": table.name, "check": check.id}
        put(out, m.CHECK_INFO, 1, **key, check_type=check.type, dimension=check.dimension, column=check.column, severity=check.severity or table.severity, team=table.team)
        put(out, m.CHECK_INTERVAL, 900, **key)
        ran = math.floor(t / 900) * 900
        put(out, m.CHECK_LAST_RUN, ran, **key)
        error = (table.name, check.id) in ERRORS and back <= ERRORS[table.name, check.id]
        failing = _within(FAULTS.get((table.name, check.id), ()), back)
        outcome = "error" if error else "fail" if failing else "pass"
        put(out, m.CHECK_LAST_OUTCOME, 1, **key, outcome=outcome)
        put(out, m.CHECK_STATUS, 0 if failing else 1, **key)
        put(out, m.CHECK_LAST_VERDICT, self.now - ERRORS[table.name, check.id] if error else ran, **key)
        self._measured(out, table, check, failing, t)
        since = t - self.begin
        for one in ("pass", "warn", "fail", "error", "skipped", "learning"):
            bad = sum(max(0.0, min(begin, self.now - self.begin) - max(end, back)) for begin, end in FAULTS.get((table.name, check.id), ()) if begin > back)
            wrong = max(0.0, ERRORS.get((table.name, check.id), 0) - back) if error else 0.0
            amount = {"pass": since - bad - wrong, "fail": bad, "error": wrong}.get(one, 0.0)
            put(out, m.CHECK_RUNS, math.floor(amount / 900), **key, outcome=one)
        ratio = 1.0
        if failing:
            ratio = 0.0 if check.dimension == "timeliness" or check.type in ("row_count_anomaly", "schema_change", "partitions") else 0.86
        scores.setdefault(check.dimension, []).append(ratio)
        return 0 if error else 1

    def _measured(self, out: Samples, table: Table, check: Check, failing: bool, t: float) -> None:
        key = {"table": table.name, "check": check.id}
        rows = table.rows
        if check.type in ("not_null", "primary_key", "range", "format", "pattern", "accepted_values", "referential_integrity", "sum_of_parts", "duplicate_load"):
            failed = math.floor(rows * 0.00046) if failing else math.floor(3 * _noise(check.id, math.floor(t / HOUR)))
            put(out, m.CHECK_FAILED_ROWS, failed, **key)
            put(out, m.CHECK_EVALUATED_ROWS, rows, **key)
            put(out, m.CHECK_VALUE, failed, **key)
            put(out, m.CHECK_THRESHOLD, 5, **key, bound="max")
        elif check.type == "row_count_anomaly":
            self._band(out, table, check, failing, t)
        elif check.type == "partitions":
            put(out, m.CHECK_VALUE, 2 if failing else 0, **key)
            put(out, m.CHECK_THRESHOLD, 0, **key, bound="max")
            put(out, m.MISSING_PARTITIONS, 2 if failing else 0, table=table.name)
        elif check.type == "schema_change":
            put(out, m.CHECK_VALUE, 1 if failing else 0, **key)
            for change in ("added", "removed", "type", "nullability"):
                put(out, m.SCHEMA_CHANGES, 1 if failing and change == "removed" else 0, table=table.name, change=change)
        else:
            put(out, m.CHECK_VALUE, rows if check.type == "row_count" else round(100 * _noise(check.id, math.floor(t / HOUR))), **key)

    def _band(self, out: Samples, table: Table, check: Check, failing: bool, t: float) -> None:
        key = {"table": table.name, "check": check.id}
        day = math.floor(t / DAY)
        expected = table.rows / 120 * (0.6 if day % 7 in (2, 3) else 1.0)
        seen = expected * (0.93 + 0.14 * _noise(table.name, day)) * (2.1 if failing else 1)
        for metric, value in ((m.ROWS_EXPECTED, expected), (m.ROWS_EXPECTED_MIN, expected * 0.8), (m.ROWS_EXPECTED_MAX, expected * 1.25), (m.CHECK_VALUE, seen)):
            put(out, metric, round(value), **key)
        put(out, m.ROWS_ANOMALY_SCORE, round((math.log(seen) - math.log(expected)) / 0.06, 2), **key)
        put(out, m.CHECK_THRESHOLD, round(expected * 1.25), **key, bound="max")
        put(out, m.CHECK_LEARNING_STATE, 1, **key, state="active")

    def _score(self, out: Samples, table: Table, scores: dict[str, list[float]], known: int, back: float) -> None:
        total = 0.0
        for dimension, ratios in scores.items():
            ratio = sum(ratios) / len(ratios) - 0.012 * max(0.0, back / (28 * DAY)) * _noise(table.name, dimension)
            put(out, m.SCORE, ratio, table=table.name, dimension=dimension)
            put(out, m.SCORE_COVERAGE, known / len(table.checks), table=table.name, dimension=dimension)
            total += ratio
        put(out, m.OVERALL_SCORE, total / len(scores), table=table.name)
        put(out, m.OVERALL_COVERAGE, known / len(table.checks), table=table.name)

    def _extras(self, out: Samples, table: Table, t: float, back: float) -> None:
        name, since = table.name, t - self.begin
        for tier, seconds in (("metadata", 0.02), ("scan", 0.4 + table.rows / 2e7)):
            put_histogram(out, m.EVALUATION_DURATION, math.floor(since / 900), seconds, table=name, tier=tier)
        for metric, per in ((m.SCANNED_BYTES, table.rows * 20), (m.SCANNED_ROWS, table.rows), (m.SCANNED_FILES, 40.0)):
            put(out, metric, math.floor(per * math.floor(since / 900)), table=name, engine="native")
        if name == "finance.ledger":
            put(out, m.FRESHNESS_DEADLINE, math.ceil(t / DAY) * DAY, table=name)
        if name == "ml.features":
            for quantile, factor in (("0.5", 1), ("0.95", 3), ("0.99", 6)):
                put(out, m.LATENCY, 400 * factor * (1 + 0.2 * _noise(quantile, math.floor(t / HOUR))), table=name, quantile=quantile)
        if name in ("web.events", "sales.orders"):
            put(out, m.FUTURE_ROWS, 1 + math.floor(3 * _noise("future", math.floor(t / DAY))), table=name)

    def _pipeline(self, out: Samples, pipeline: Pipeline, t: float, back: float) -> None:
        key = {"pipeline": pipeline.name, "source": pipeline.source}
        spans = FAILED_RUNS.get(pipeline.name, ())
        failed = _within(spans, back)
        put(out, m.PIPELINE_INFO, 1, **key, team=pipeline.team, severity=pipeline.severity)
        number = math.floor(t / pipeline.every)
        begun = number * pipeline.every
        length = pipeline.median * (0.8 + 0.5 * _noise(pipeline.name, number)) * (2.6 if pipeline.name == "web_sessions" and back < 1.5 * DAY else 1)
        running = t - begun < length and not failed
        put(out, m.PIPELINE_STATUS, 0 if failed else 1 if running else 2, **key)
        if running:
            put(out, m.PIPELINE_RUNNING_START, begun, **key)
        ended = number if not running else number - 1
        runs = ended - math.floor(self.begin / pipeline.every)
        bad = sum(math.floor((self.now - max(end, back)) / pipeline.every) - math.floor((self.now - begin) / pipeline.every) for begin, end in spans if begin > back)
        put(out, m.PIPELINE_RUNS, runs, **key)
        put(out, m.PIPELINE_RUNS_FAILED, bad, **key)
        put(out, m.PIPELINE_RUNS_SUCCEEDED, runs - bad, **key)
        put(out, m.PIPELINE_RUNS_RETRIED, math.floor((runs - bad) * 0.06), **key)
        day = max(1, round(DAY / pipeline.every))
        lost = sum(max(0, math.floor((min(begin, back + DAY) - max(end, back)) / pipeline.every)) for begin, end in spans)
        for metric, value in ((m.PIPELINE_RECENT_RUNS, day), (m.PIPELINE_RECENT_SUCCESSES, day - lost), (m.PIPELINE_RECENT_RETRIED, math.floor((day - lost) * 0.06))):
            put(out, metric, max(0, value), **key, window="24h")
        self._run(out, pipeline, key, t, length, failed, back)

    def _run(self, out: Samples, pipeline: Pipeline, key: dict[str, str], t: float, length: float, failed: bool, back: float) -> None:
        spans = FAILED_RUNS.get(pipeline.name, ())
        name = pipeline.name
        put(out, m.PIPELINE_LAST_RUN_DURATION, round(length), **key)
        put(out, m.PIPELINE_DURATION_MEDIAN, pipeline.median, **key, window="30d")
        put_histogram(out, m.PIPELINE_RUN_DURATION, math.floor((t - self.begin) / pipeline.every), pipeline.median, **key)
        put(out, m.PIPELINE_LAST_RUN, math.floor(t / pipeline.every) * pipeline.every, **key)
        good = self.now - _start(spans, back) if failed else math.floor(t / pipeline.every) * pipeline.every
        put(out, m.PIPELINE_LAST_SUCCESS, good, **key)
        before = [begin for begin, _ in spans if begin >= back]
        if before:
            put(out, m.PIPELINE_LAST_FAILURE, self.now - min(before) + 300, **key)
            put(out, m.PIPELINE_LAST_FAILED_RUN, 1, **key, run_id=f"run-{math.floor(min(before) / HOUR)}", error_class="OutOfMemoryError" if name == "sales_daily" else "AnalysisException")
        wave = max(0.0, math.sin(t / DAY * 2 * math.pi + len(name)))
        put(out, m.PIPELINE_QUEUED_RUNS, math.floor(3 * wave + (6 if name == "sales_daily" and back < 2 * HOUR else 0)), **key)
        put(out, m.PIPELINE_QUEUE_DELAY, round(20 + 60 * wave), **key)
        for resource, base in (("cpu", 0.45), ("memory", 0.6 if name != "sales_daily" else 0.78)):
            put(out, m.PIPELINE_RESOURCE_USAGE, round(base + 0.2 * _noise(name, resource, math.floor(t / HOUR)), 3), **key, resource=resource)
        spent = pipeline.usd * math.ceil((t % DAY) / pipeline.every)
        put(out, m.PIPELINE_COST, round(spent, 2), pipeline=name, window="1d")
        put(out, m.PIPELINE_COST, round(pipeline.usd * DAY / pipeline.every * 30, 2), pipeline=name, window="30d")
        put(out, m.PIPELINE_BUDGET, pipeline.budget, pipeline=name, window="1d")
        if name in ("sales_daily", "finance_close", "web_sessions"):
            put(out, m.SLA_DEADLINE, self.now - 2 * HOUR if failed and back < 2 * HOUR else math.ceil((t - 7 * HOUR) / DAY) * DAY + 7 * HOUR, pipeline=name)
            put(out, m.SLA_BREACHED, 1 if failed else 0, pipeline=name)
            put(out, m.SLA_AT_RISK, 1 if name == "web_sessions" and back < 3 * HOUR else 0, pipeline=name)
            put(out, m.SLA_BREACHES, sum(1 for begin, _ in spans if begin > back), pipeline=name)

    def _process(self, out: Samples, t: float, back: float) -> None:
        since = t - self.begin
        put(out, m.BUILD_INFO, 1, version="0.1.0")
        put(out, m.CONFIG_RELOAD_SUCCESSFUL, 1)
        put(out, m.CONFIG_RELOAD_TIMESTAMP, self.now - 3 * DAY)
        for trigger in ("signal", "http"):
            put(out, m.CONFIG_RELOADS, math.floor(since / (4 * DAY)), trigger=trigger)
        busy = 1.5 + math.sin(t / DAY * 2 * math.pi)
        for metric, value in ((m.SCHEDULER_TABLES, len(TABLES)), (m.SCHEDULER_RUNNING, math.floor(busy)), (m.SCHEDULER_QUEUE, math.floor(busy / 2)), (m.SCHEDULER_LAG, round(2 + 6 * busy, 1)), (m.SERIES, 640), (m.SERIES_BOUND, 2900), (m.EVENTS_PENDING, math.floor(busy)), (m.EVENTS_OLDEST_PENDING, round(busy, 1))):
            put(out, metric, value)
        errors = math.floor(max(0.0, 26 * HOUR - back) / 900)
        for metric, value in ((m.SCHEDULER_MISSED, math.floor(since / DAY)), (m.EVALUATIONS, math.floor(since / 90)), (m.EVALUATION_ERRORS, errors), (m.EVALUATION_TIMEOUTS, math.floor(since / (5 * DAY))), (m.STORE_ERRORS, 0)):
            put(out, metric, value)
        for collector, name in (("airflow", "airflow_prod"), ("databricks", "lake"), ("spark", "history")):
            key = {"collector": collector, "instance_name": name}
            down = name == "history" and back < 1.2 * HOUR
            put(out, m.COLLECTOR_UP, 0 if down else 1, **key)
            put(out, m.COLLECTOR_DURATION, round(0.4 + _noise(name, math.floor(t / HOUR)), 2), **key)
            put(out, m.COLLECTOR_LAST_SUCCESS, self.now - 1.2 * HOUR if down else math.floor(t / 60) * 60, **key)
            put(out, m.COLLECTOR_ERRORS, math.floor(since / DAY) + (math.floor((1.2 * HOUR - back) / 60) if down else 0), **key)
            put(out, m.COLLECTOR_RETRIES, math.floor(since / DAY) * 3, **key)
            put(out, m.BREAKER_STATE, 2 if down else 0, **key)
            put(out, m.DEAD_LETTERS, 2 if collector == "databricks" and back < 2 * DAY else 0, collector=collector)
            for receipt, per in (("accepted", 60), ("duplicate", 900), ("refused", 20000)):
                put(out, m.EVENTS_RECEIVED, math.floor(since / per), collector=collector, receipt=receipt)
        for component in ("scheduler", "triggerer"):
            put(out, m.SCHEDULER_UP, 1, instance_name="airflow_prod", component=component)
        put(out, m.IMPORT_ERRORS, 1 if 3 * DAY < back < 4 * DAY else 0, instance_name="airflow_prod")
        for state, value in (("open", 10 - math.floor(3 * busy)), ("running", math.floor(3 * busy)), ("queued", math.floor(busy)), ("scheduled", 0), ("deferred", 1)):
            put(out, m.POOL_SLOTS, value, instance_name="airflow_prod", pool="default_pool", state=state)
        for name_, value in (("process_cpu_seconds_total", since * 0.12), ("process_resident_memory_bytes", 2.4e8 + 3e7 * busy), ("process_start_time_seconds", self.now - 9.98 * DAY if back < 9.98 * DAY else self.begin), ("process_open_fds", 60 + 10 * busy), ("process_max_fds", 1024)):
            out[name_, ()] = value


def put(out: Samples, metric: Metric, value: float, **labels: str) -> None:
    """Adds a sample of a metric of the catalogue, with all of its labels."""
    assert set(labels) == set(metric.label_names), (metric.name, labels)
    out[metric.name, tuple((name, labels[name]) for name in metric.label_names)] = value


def put_histogram(out: Samples, metric: Metric, count: int, value: float, **labels: str) -> None:
    """Adds a histogram that saw the same value so many times."""
    assert metric.kind is Kind.HISTOGRAM
    names = tuple((name, labels[name]) for name in metric.label_names)
    for bound in (*metric.buckets, math.inf):
        out[f"{metric.name}_bucket", (*names, ("le", "+Inf" if bound == math.inf else str(bound)))] = count if value <= bound else 0
    out[f"{metric.name}_sum", names] = count * value
    out[f"{metric.name}_count", names] = count


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _line(name: str, labels: Labels, value: float, at: float | None = None) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inside}}} {value!r}" + (f" {at:.0f}" if at is not None else "")


def openmetrics(now: float, days: int = 28) -> Iterator[str]:
    """The past up to now, series by series, for `promtool tsdb create-blocks-from openmetrics`."""
    world, target = World(now), (("job", JOB), ("instance", INSTANCE))
    rows: dict[tuple[str, Labels], list[str]] = {}
    old = [now - back for back in range(days * DAY, 2 * DAY, -COARSE)]
    for at in [*old, *(now - back for back in range(2 * DAY, 0, -STEP))]:
        page = world.samples(at)
        extra: Samples = {("up", ()): 1.0 if page else 0.0, ("scrape_duration_seconds", ()): 0.01, ("scrape_samples_scraped", ()): float(len(page))}
        for (name, labels), value in (*page.items(), *extra.items()):
            rows.setdefault((name, labels), []).append(_line(name, (*target, *labels), value, at))
        for labels in _alerts(now - at):
            rows.setdefault(("ALERTS", labels), []).append(_line("ALERTS", labels, 1, at))
    for lines in rows.values():
        yield from lines
    yield "# EOF"


def _alerts(back: float) -> Iterator[Labels]:
    """Alerts that fired in the past; those of the present come from the rules."""
    names = {"row_count_anomaly": "RowCountAnomaly", "partitions": "PartitionsMissing", "schema_change": "SchemaChanged"}
    for table in TABLES:
        for check in table.checks:
            if _within(FAULTS.get((table.name, check.id), ()), back):
                severity = check.severity or table.severity
                one = {"alertstate": "firing", "dimension": check.dimension, "job": JOB, "severity": severity, "table": table.name, "team": table.team}
                if check.type == "freshness":
                    yield tuple(sorted({**one, "alertname": "DataStale"}.items()))
                else:
                    yield tuple(sorted({**one, "alertname": names.get(check.type, "DQCheckFailing"), "check": check.id}.items()))
    for pipeline in PIPELINES:
        if _within(FAILED_RUNS.get(pipeline.name, ()), back):
            yield tuple(sorted({"alertname": "PipelineRunFailed", "alertstate": "firing", "job": JOB, "pipeline": pipeline.name, "severity": pipeline.severity, "team": pipeline.team}.items()))


def seed(promtool: Path, data: Path, now: float, days: int = 28) -> None:
    """Writes the past into the data directory of a Prometheus that is not running."""
    page = data.with_suffix(".om")
    page.parent.mkdir(parents=True, exist_ok=True)
    with page.open("w") as file:
        file.writelines(f"{line}\n" for line in openmetrics(now, days))
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=744h", page, data], check=True, stdout=subprocess.DEVNULL)
    page.unlink()


def _active(now: float) -> Iterator[str]:
    """The alerts that fire at the end of the past, with the time since when they do."""
    for labels in _alerts(0):
        name = dict(labels)
        spans = FAILED_RUNS[name["pipeline"]] if "pipeline" in name else FAULTS[name["table"], name.get("check", "freshness_event_ts")]
        yield _line("ALERTS", labels, 1)
        yield _line("ALERTS_FOR_STATE", tuple(pair for pair in labels if pair[0] != "alertstate"), now - _start(spans, 0))


def serve(now: float, port: int, alerts: bool = False) -> ThreadingHTTPServer:
    """Serves the present of the world; `now` is when the incidents are counted from. With `alerts`, what rules would make of it too."""
    import time

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            world = World(now)
            found = world.samples(min(time.time(), now + 1e9))
            lines = [_line(name, labels, value) for (name, labels), value in found.items()] + (list(_active(now)) if alerts else [])
            body = "\n".join([*lines, ""]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
