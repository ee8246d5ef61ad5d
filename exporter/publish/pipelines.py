"""The series of a pipeline, of the tests that sources ran, and of lineage; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.labels import Outcome, Window
from exporter.catalog.metrics import Kind, Metric
from exporter.pipelines.base import TestResult
from exporter.pipelines.health import Health
from exporter.pipelines.run import PipelineRun, RunState
from exporter.pipelines.spec import PipelineSpec
from exporter.publish.series import Samples, observe, put
from exporter.store.state import CounterKey

_STATUS = {RunState.FAILED: 0, RunState.QUEUED: 1, RunState.RUNNING: 1, RunState.SUCCESS: 2}
COUNTERS = tuple(metric for metric in m.all_metrics() if metric.kind is Kind.COUNTER and metric.labels[:1] == (lb.PIPELINE,))


def samples_of(health: Health) -> Samples:
    """Every series of a pipeline that is not a counter; what is unknown is absent."""
    out: Samples = {}
    spec = health.spec
    key = (spec.name, spec.source_type.value)

    def gauge(metric: Metric, value: float | None, *labels: str) -> None:
        put(out, metric, (*key, *labels), value)

    gauge(m.PIPELINE_INFO, 1, spec.team, spec.severity.value)
    gauge(m.PIPELINE_STATUS, _STATUS.get(health.state) if health.state else None)
    if health.last or health.runs:
        gauge(m.PIPELINE_RECENT_RUNS, health.runs, Window.DAY.value)
        gauge(m.PIPELINE_RECENT_SUCCESSES, health.successes, Window.DAY.value)
        gauge(m.PIPELINE_RECENT_RETRIED, health.retried, Window.DAY.value)
    gauge(m.PIPELINE_DURATION_MEDIAN, health.median, Window.MONTH.value)
    gauge(m.PIPELINE_LAST_RUN_DURATION, health.last.duration.total_seconds() if health.last and health.last.duration is not None else None)
    gauge(m.PIPELINE_RUNNING_START, _stamp(health.running.started_at if health.running else None))
    gauge(m.PIPELINE_LAST_RUN, _stamp(health.last.ended_at if health.last else None))
    gauge(m.PIPELINE_LAST_SUCCESS, _stamp(health.last_success.ended_at if health.last_success else None))
    gauge(m.PIPELINE_LAST_FAILURE, _stamp(health.last_failure.ended_at if health.last_failure else None))
    if health.last_failure:
        error = health.last_failure.error
        gauge(m.PIPELINE_LAST_FAILED_RUN, 1, health.last_failure.run_id, error.error_class if error else "")
    gauge(m.PIPELINE_QUEUED_RUNS, health.queued if health.newest else None)
    gauge(m.PIPELINE_QUEUE_DELAY, health.queue_delay)
    for resource, ratio in health.resources.items():
        gauge(m.PIPELINE_RESOURCE_USAGE, ratio, resource.value)
    _add_sla(out, health)
    put(out, m.PIPELINE_COST, (spec.name, Window.TODAY.value), health.cost_today)
    put(out, m.PIPELINE_COST, (spec.name, Window.MONTH.value), health.cost_month)
    put(out, m.PIPELINE_BUDGET, (spec.name, Window.TODAY.value), spec.cost.budget_usd_per_day if spec.cost else None)
    return out


def _add_sla(out: Samples, health: Health) -> None:
    deadline, key = health.deadline, (health.spec.name,)
    if deadline is not None:
        put(out, m.SLA_DEADLINE, key, deadline.at.timestamp())
        put(out, m.SLA_BREACHED, key, deadline.is_breached)
        put(out, m.SLA_AT_RISK, key, deadline.is_at_risk)


def _stamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def counters_at_zero(spec: PipelineSpec) -> dict[CounterKey, float]:
    """The counters of a pipeline before anything happened, so that the first run is an increase."""
    key = (spec.name, spec.source_type.value)
    zero = {(metric.name, key): 0.0 for metric in COUNTERS if metric is not m.SLA_BREACHES}
    return zero | ({(m.SLA_BREACHES.name, (spec.name,)): 0.0} if spec.sla else {})


def increments_of_run(spec: PipelineSpec, run: PipelineRun, is_retried: bool) -> dict[CounterKey, float]:
    """What a run with a verdict adds to the counters."""
    key = (spec.name, spec.source_type.value)
    is_success = run.state is RunState.SUCCESS
    out: dict[CounterKey, float] = {(m.PIPELINE_RUNS.name, key): 1.0}
    out[(m.PIPELINE_RUNS_SUCCEEDED if is_success else m.PIPELINE_RUNS_FAILED).name, key] = 1.0
    if is_success and is_retried:
        out[m.PIPELINE_RUNS_RETRIED.name, key] = 1.0
    if run.duration is not None:
        observe(out, m.PIPELINE_RUN_DURATION, key, run.duration.total_seconds())
    return out


def increments_of_breaches(spec: PipelineSpec | None, count: int) -> dict[CounterKey, float]:
    """What deadlines that passed unmet add to the counters."""
    return {(m.SLA_BREACHES.name, (spec.name,)): float(count)} if spec and count else {}


# --- tests of sources -----------------------------------------------------------------------------------------
def samples_of_tests(tests: Iterable[tuple[str, str, TestResult]], configured: Collection[str]) -> Samples:
    """The series of tests that sources ran, as (table, team, result): like those of the checks of a table.

    The freshness of `configured` tables is left to their own checks.
    """
    out: Samples = {}
    for table, team, test in tests:
        key = (table, test.name)
        put(out, m.CHECK_INFO, (*key, test.type, test.dimension.value, test.column, test.severity.value, team), 1)
        put(out, m.CHECK_LAST_OUTCOME, (*key, test.outcome.value), 1)
        put(out, m.CHECK_LAST_RUN, key, test.at.timestamp())
        if test.outcome.is_verdict:
            put(out, m.CHECK_STATUS, key, test.outcome is not Outcome.FAIL)
            put(out, m.CHECK_LAST_VERDICT, key, test.at.timestamp())
            put(out, m.CHECK_FAILED_ROWS, key, test.failed_rows)
        if table not in configured:
            put(out, m.FRESHNESS, (table,), _stamp(test.newest_at))
    return out


def samples_of_lineage(edges: Iterable[tuple[str, str]], causes: Mapping[str, str]) -> Samples:
    """The steps of the lineage, and for each table whose data a failed pipeline holds up, that pipeline."""
    out: Samples = {}
    for upstream, downstream in edges:
        put(out, m.LINEAGE_EDGE, (upstream, downstream), 1)
    for table, pipeline in causes.items():
        put(out, m.PROBABLE_CAUSE, (table, pipeline), 1)
    return out
