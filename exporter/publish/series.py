"""Which series there are: of a table's state, of an evaluation's increments, and at most of a configuration; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.labels import Outcome
from exporter.catalog.metrics import Kind, Metric
from exporter.model import CheckResult, CheckSpec, Evaluation, TableSpec, Verdict
from exporter.score import Score, score
from exporter.store.state import CheckState, CounterKey, StoredTable

Samples = dict[Metric, dict[tuple[str, ...], float]]
"""Values by metric and label values; histograms and counters are kept apart, as counters by `CounterKey`."""

Subject = tuple[str, str]
"""Whose series they are: the name of a label (`table`, `pipeline`) and its value, or the name of a part of the page."""

BUCKET, SUM, COUNT = "_bucket", "_sum", "_count"

NEVER_RUN = Verdict(Outcome.SKIPPED, "not run yet")
"""Stands for the result of a check that was never run: unknown."""

TABLE_COUNTERS = tuple(
    metric for metric in m.all_metrics() if metric.kind is Kind.COUNTER and metric.labels[:1] == (lb.TABLE,)
)
_BADNESS = (Outcome.SKIPPED, Outcome.LEARNING, Outcome.ERROR, Outcome.PASS, Outcome.WARN, Outcome.FAIL)
_BY_CHECK = (lb.TABLE, lb.CHECK)


def score_of(table: StoredTable) -> Score:
    """The score of a table as configured now; a check that was never run lowers the coverage."""
    never = CheckState(NEVER_RUN, datetime.min.replace(tzinfo=UTC))
    results, standing = [], {}
    for spec in table.spec.checks:
        state = table.checks.get(spec.id, never)
        results.append(CheckResult(spec, state.latest, state.tier, state.at))
        if state.verdict is not None:
            standing[spec.id] = state.verdict
    return score(results, table.spec.weights, standing)


def samples_of(table: StoredTable) -> Samples:
    """Every series of a table that is not a counter; what is unknown is absent."""
    out: Samples = {}
    for spec in table.spec.checks:
        _add_check(out, table, spec, table.checks.get(spec.id))
    _add_published(out, table)
    _add_table(out, table)
    _add_score(out, table.spec.name, score_of(table))
    return out


def put(out: Samples, metric: Metric, values: tuple[str, ...], value: float | None) -> None:
    """Adds a series, unless its value is unknown."""
    if value is not None and not math.isnan(value):
        out.setdefault(metric, {})[values] = float(value)


def _add_check(out: Samples, table: StoredTable, spec: CheckSpec, state: CheckState | None) -> None:
    key = (table.spec.name, spec.id)
    columns = ",".join(spec.check.columns)
    info = (spec.check.type, spec.check.dimension.value, columns, spec.severity.value, spec.team)
    put(out, m.CHECK_INFO, key + info, 1)
    put(out, m.CHECK_INTERVAL, key, spec.schedule.interval.total_seconds())
    if state is None:
        return
    put(out, m.CHECK_LAST_OUTCOME, (*key, state.latest.outcome.value), 1)
    put(out, m.CHECK_LAST_RUN, key, state.at.timestamp())
    verdict = state.verdict
    if verdict is None or state.verdict_at is None:
        return
    put(out, m.CHECK_STATUS, key, 0 if verdict.outcome is Outcome.FAIL else 1)
    put(out, m.CHECK_LAST_VERDICT, key, state.verdict_at.timestamp())
    put(out, m.CHECK_VALUE, key, verdict.value)
    put(out, m.CHECK_FAILED_ROWS, key, verdict.failed_rows)
    put(out, m.CHECK_EVALUATED_ROWS, key, verdict.evaluated_rows)
    for bound, limit in verdict.bounds.items():
        put(out, m.CHECK_THRESHOLD, (*key, bound.value), limit)


def _add_published(out: Samples, table: StoredTable) -> None:
    """Gauges that checks publish for their table; of two checks that publish the same, the worse one counts, then the newer."""
    states = [state for spec in table.spec.checks if (state := table.checks.get(spec.id))]
    for state in sorted(states, key=lambda state: (_BADNESS.index((state.verdict or state.latest).outcome), state.at)):
        fresh = {metric for metric, _ in state.latest.gauges}
        standing = {key: value for key, value in (state.verdict.gauges if state.verdict else {}).items() if key[0] not in fresh}
        for (metric, values), value in {**standing, **state.latest.gauges}.items():
            put(out, metric, (table.spec.name, *values), value)


def _add_table(out: Samples, table: StoredTable) -> None:
    spec, facts, name = table.spec, table.facts, (table.spec.name,)
    engine = table.engine or spec.engine
    info = (spec.team, spec.severity.value, spec.format.value, engine.value if engine else "")
    put(out, m.TABLE_INFO, name + info, 1)
    put(out, m.TABLE_ROWS, name, facts.rows)
    put(out, m.TABLE_BYTES, name, facts.bytes)
    put(out, m.TABLE_FILES, name, facts.files)
    put(out, m.TABLE_VERSION, name, facts.version)


def _add_score(out: Samples, table: str, result: Score) -> None:
    for dimension, part in result.dimensions.items():
        put(out, m.SCORE, (table, dimension.value), part.ratio)
        put(out, m.SCORE_COVERAGE, (table, dimension.value), part.coverage)
    if result.dimensions:
        put(out, m.OVERALL_SCORE, (table,), result.ratio)
        put(out, m.OVERALL_COVERAGE, (table,), result.coverage)


def runs_at_zero(spec: TableSpec) -> dict[tuple[str, ...], float]:
    """Label values of the run counters of every check, so that each outcome is there before it happens."""
    return {(spec.name, check.id, outcome.value): 0.0 for check in spec.checks for outcome in Outcome}


# --- counters -------------------------------------------------------------------------------------------------
def increments_of(evaluation: Evaluation) -> dict[CounterKey, float]:
    """What an evaluation adds to the counters and histograms, by series."""
    out: dict[CounterKey, float] = {}

    def add(metric: Metric, values: tuple[str, ...] = (), by: float = 1) -> None:
        out[metric.name, values] = out.get((metric.name, values), 0.0) + by

    table = evaluation.table.name
    for result in evaluation.results:
        add(m.CHECK_RUNS, (table, result.spec.id, result.verdict.outcome.value))
    for scan in evaluation.scans:
        engine = scan.engine.value
        add(m.SCANNED_BYTES, (table, engine), scan.bytes)
        add(m.SCANNED_ROWS, (table, engine), scan.rows)
        add(m.SCANNED_FILES, (table, engine), scan.files)
    for tier, seconds in evaluation.tier_seconds.items():
        observe(out, m.EVALUATION_DURATION, (table, tier.value), seconds)
    add(m.EVALUATIONS)
    if any(result.verdict.outcome is Outcome.ERROR for result in evaluation.results):
        add(m.EVALUATION_ERRORS)
    if evaluation.timed_out:
        add(m.EVALUATION_TIMEOUTS)
    return out


def observe(into: dict[CounterKey, float], metric: Metric, values: tuple[str, ...], amount: float) -> None:
    """Adds one observation of a histogram: the buckets that hold it, its sum and its count."""
    series: list[tuple[str, tuple[str, ...], float]] = [
        (BUCKET, (*values, repr(bound)), 1.0) for bound in (*metric.buckets, math.inf) if amount <= bound
    ]
    for suffix, labels, by in [*series, (SUM, values, amount), (COUNT, values, 1.0)]:
        key = (metric.name + suffix, labels)
        into[key] = into.get(key, 0.0) + by


# --- the bound ------------------------------------------------------------------------------------------------
def series_bounds(specs: Sequence[TableSpec], pipelines: int = 0, sources: int = 0) -> dict[Metric, int]:
    """The most series that each metric can have under a configuration, with so many pipelines and sources.

    An upper bound: every check is taken to have every outcome, bound and learned band, every table to be read by both
    engines and to have every gauge that any check type publishes for its table, and every histogram all tiers.
    """
    checks = sum(len(spec.checks) for spec in specs)
    subjects = {lb.TABLE: len(specs), lb.PIPELINE: pipelines, lb.INSTANCE_NAME: sources, lb.UPSTREAM: 1 if pipelines else 0}

    def count(metric: Metric) -> int:
        if metric.labels[:2] == _BY_CHECK:
            return checks
        if lb.INSTANCE_NAME in metric.labels:
            return sources
        return subjects.get(metric.labels[0], 1) if metric.labels else 1

    return {metric: count(metric) * metric.series_bound() for metric in m.all_metrics()}


def series_bound(specs: Sequence[TableSpec], pipelines: int = 0, sources: int = 0) -> int:
    """The most series that a configuration can make, without those of the process (memory, CPU, Python)."""
    return sum(series_bounds(specs, pipelines, sources).values())


def subject_of(key: CounterKey) -> Subject | None:
    """The table or pipeline that a counter's series belongs to, or None for one of the process."""
    label = _SUBJECT_LABELS.get(key[0])
    return (label, key[1][0]) if label else None


def _names() -> dict[str, str]:
    return {
        metric.name + suffix: metric.labels[0].name
        for metric in m.all_metrics()
        if metric.labels[:1] in ((lb.TABLE,), (lb.PIPELINE,))
        for suffix in ((BUCKET, SUM, COUNT) if metric.kind is Kind.HISTOGRAM else ("",))
    }


_SUBJECT_LABELS = _names()

Live = Mapping[tuple[Metric, tuple[str, ...]], float]
"""Gauges of the process by metric and label values."""
