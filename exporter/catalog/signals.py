"""Every named expression that people look at: a panel draws it and an alert compares it with the same limits.

Many are shares of a limit (age of what is allowed, duration of the median, cost of the budget), so that one number
says for all tables and pipelines when it is too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from exporter.catalog import foreign as f
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import recordings as r
from exporter.catalog.labels import Label, Learning, Outcome, Window
from exporter.catalog.metrics import Metric
from exporter.catalog.promql import Expr, Number, Subquery, aggregate, binary, call, increase, now, sel
from exporter.catalog.recordings import CHECK_KEY, PIPELINE_KEY, TABLE_KEY


class Unit(StrEnum):
    """What a number counts, as Grafana spells it."""

    COUNT = "short"
    RATIO = "percentunit"
    SECONDS = "s"
    BYTES = "bytes"
    USD = "currencyUSD"
    TIMES = "suffix:×"
    STATE = "none"


@dataclass(frozen=True)
class Limits:
    """Where a value becomes bad, and before that worth a look; `worse` is the direction.

    `clear`: an alert that fires goes on until the value is back behind this, so that it does not flap at the limit.
    """

    worse: Literal["above", "below"]
    bad: float
    warn: float | None = None
    clear: float | None = None

    @property
    def op(self) -> str:
        """The comparison that holds when the value is bad."""
        return ">" if self.worse == "above" else "<"


@dataclass(frozen=True)
class Signal:
    """A named expression; `why_no_alert` is the reason when no alert compares it."""

    title: str
    help: str
    expr: Expr
    unit: Unit
    key: tuple[Label, ...]
    limits: Limits | None = None
    why_no_alert: str = ""


def _worst(metric: Metric, key: tuple[Label, ...], op: str = "max", **matchers: object) -> Expr:
    return aggregate(op, sel(metric), key)


def _share(part: Expr, whole: Expr, key: tuple[Label, ...]) -> Expr:
    return binary("/", part, whole, key)


# --- checks ---------------------------------------------------------------------------------------------------
CHECK_STATUS = Signal(
    "Verdict", "Last verdict of a check: 1 passed, 0 failed.", _worst(m.CHECK_STATUS, CHECK_KEY, "min"), Unit.STATE, CHECK_KEY, Limits("below", 1)
)
CHECK_ERROR = Signal(
    "Could not be evaluated",
    "1 while the last run of a check ended in an error, so that its verdict ages.",
    aggregate("max", sel(m.CHECK_LAST_OUTCOME, {lb.OUTCOME: Outcome.ERROR}), CHECK_KEY),
    Unit.STATE, CHECK_KEY, Limits("above", 0),
)  # fmt: skip
CHECK_STALENESS = Signal(
    "Time since the last run, in intervals",
    "How long ago a check was run, as a multiple of the time that its schedule allows.",
    _share(binary("-", now(), _worst(m.CHECK_LAST_RUN, CHECK_KEY)), _worst(m.CHECK_INTERVAL, CHECK_KEY, "min"), CHECK_KEY),
    Unit.TIMES, CHECK_KEY, Limits("above", 2, 1.2),
)  # fmt: skip
CHECK_NEVER_RUN = Signal(
    "Never run",
    "1 per check that is configured and was not run yet.",
    binary("unless", aggregate("group", sel(m.CHECK_INFO), CHECK_KEY), sel(m.CHECK_LAST_RUN), CHECK_KEY),
    Unit.COUNT, CHECK_KEY, Limits("above", 0),
)  # fmt: skip
VERDICT_AGE = Signal(
    "Age of the verdict",
    "How long ago a check last ended in pass, warn or fail.",
    binary("-", now(), _worst(m.CHECK_LAST_VERDICT, CHECK_KEY)),
    Unit.SECONDS, CHECK_KEY,
    why_no_alert="a verdict ages because runs fail or are missing, and both have an alert",
)  # fmt: skip
LEARNING_DAYS = Signal(
    "Days of learning",
    "On how many of the last 35 days a learned check knew too little to judge.",
    aggregate("max", call("count_over_time", Subquery(sel(m.CHECK_LEARNING_STATE, {lb.STATE: Learning.LEARNING}), "35d", "1d")), CHECK_KEY),
    Unit.COUNT, CHECK_KEY, Limits("above", 33, 20),
)  # fmt: skip
UNSTABLE = Signal(
    "Unstable learned checks",
    "1 per learned check that met so many anomalies that it only warns.",
    aggregate("max", sel(m.CHECK_LEARNING_STATE, {lb.STATE: Learning.UNSTABLE}), CHECK_KEY),
    Unit.COUNT, CHECK_KEY,
    why_no_alert="the check warns by itself; nobody has to get up for it",
)  # fmt: skip

# --- tables ---------------------------------------------------------------------------------------------------
FRESHNESS_USED = Signal(
    "Age of the newest data, as a share of what is allowed",
    "1 means that the newest data is just as old as the freshness check allows.",
    r.freshness_used(), Unit.RATIO, TABLE_KEY, Limits("above", 1, 0.8),
)  # fmt: skip
FRESHNESS_AGE = Signal(
    "Age of the newest data", "Time since the newest data that is not in the future.", r.freshness_age(), Unit.SECONDS, TABLE_KEY,
    why_no_alert="what is too old differs between tables: the share of the allowed age has the alert",
)  # fmt: skip
TIME_UNKNOWN = Signal(
    "No usable time",
    "1 per freshness check that fails while no row of the table has a usable time.",
    binary("unless", binary("+", binary("==", _worst(m.CHECK_STATUS, CHECK_KEY, "min"), Number(0)), Number(1)), sel(m.FRESHNESS), TABLE_KEY),
    Unit.COUNT, CHECK_KEY, Limits("above", 0),
)  # fmt: skip
DEADLINE_LEFT = Signal(
    "Time to the deadline", "Time until new data must have arrived; negative once it is late.",
    binary("-", _worst(m.FRESHNESS_DEADLINE, TABLE_KEY, "min"), now()), Unit.SECONDS, TABLE_KEY,
    why_no_alert="the verdict of the deadline check has the alert; it knows whether data came",
)  # fmt: skip
SCORE = Signal(
    "Data-quality score", "Weighted score of a table over the dimensions that are known.",
    _worst(m.OVERALL_SCORE, TABLE_KEY, "min"), Unit.RATIO, TABLE_KEY, Limits("below", 0.95, 0.98, clear=0.955),
)  # fmt: skip
SCORE_WATCH = Signal(
    "Data-quality score, watched", "The same score with the milder limit.",
    _worst(m.OVERALL_SCORE, TABLE_KEY, "min"), Unit.RATIO, TABLE_KEY, Limits("below", 0.98, clear=0.985),
)  # fmt: skip
SCORE_DROP = Signal(
    "Drop of the score", "How far the score is below its mean of the last seven days.",
    binary("-", sel(r.SCORE_WEEK), _worst(m.OVERALL_SCORE, TABLE_KEY, "min"), TABLE_KEY), Unit.RATIO, TABLE_KEY, Limits("above", 0.05, 0.02),
)  # fmt: skip
DIMENSION_SCORE = Signal(
    "Score by dimension", "Score of one dimension of a table.",
    aggregate("min", sel(m.SCORE), (*TABLE_KEY, lb.DIMENSION)), Unit.RATIO, (*TABLE_KEY, lb.DIMENSION), Limits("below", 0.95, 0.98),
    why_no_alert="the failing check and the overall score have the alerts",
)  # fmt: skip
COVERAGE = Signal(
    "Coverage", "Share of a table's checks whose verdict is known and current.",
    _worst(m.OVERALL_COVERAGE, TABLE_KEY, "min"), Unit.RATIO, TABLE_KEY, Limits("below", 0.8, 1),
    why_no_alert="each check that is not evaluated has an alert of its own",
)  # fmt: skip
DIMENSION_COVERAGE = Signal(
    "Coverage by dimension", "Share of a dimension's checks whose verdict is known and current.",
    aggregate("min", sel(m.SCORE_COVERAGE), (*TABLE_KEY, lb.DIMENSION)), Unit.RATIO, (*TABLE_KEY, lb.DIMENSION), Limits("below", 0.8, 1),
    why_no_alert="each check that is not evaluated has an alert of its own",
)  # fmt: skip
MISSING_PARTITIONS = Signal(
    "Missing partitions", "Expected partitions that do not exist.", _worst(m.MISSING_PARTITIONS, TABLE_KEY), Unit.COUNT, TABLE_KEY, Limits("above", 0),
    why_no_alert="how many may be missing is the check's limit; its verdict has the alert",
)  # fmt: skip
ROWS_SCORE = Signal(
    "Row-count anomaly score", "Deviation of the last judged bucket from what was expected, in robust standard deviations.",
    _worst(m.ROWS_ANOMALY_SCORE, CHECK_KEY), Unit.COUNT, CHECK_KEY,
    why_no_alert="the check judges it with limits that it learned; its verdict has the alert",
)  # fmt: skip
FUTURE_ROWS = Signal(
    "Rows from the future", "Rows whose event time lies in the future; they do not count for freshness.",
    _worst(m.FUTURE_ROWS, TABLE_KEY), Unit.COUNT, TABLE_KEY,
    why_no_alert="whether they are wrong depends on the table: a range check on the time column says so",
)  # fmt: skip
LATENCY = Signal(
    "Latency", "Time from event to ingest of recently ingested rows.",
    aggregate("max", sel(m.LATENCY), (*TABLE_KEY, lb.QUANTILE)), Unit.SECONDS, (*TABLE_KEY, lb.QUANTILE),
    why_no_alert="its limit is the check's; the failing check has the alert",
)  # fmt: skip
PROBABLE_CAUSE = Signal(
    "Probable cause", "1 per table above which a pipeline failed or is late.",
    aggregate("max", sel(m.PROBABLE_CAUSE), (*TABLE_KEY, lb.PIPELINE)), Unit.STATE, (*TABLE_KEY, lb.PIPELINE), Limits("above", 0),
)  # fmt: skip

# --- pipelines ------------------------------------------------------------------------------------------------
_DAY = {lb.WINDOW: Window.DAY}
PIPELINE_STATUS = Signal(
    "State of the newest run", "0 failed, 1 queued or running, 2 success.", _worst(m.PIPELINE_STATUS, PIPELINE_KEY, "min"), Unit.STATE, PIPELINE_KEY, Limits("below", 1)
)
SUCCESS_RATE = Signal(
    "Success rate of 24 h", "Share of the runs that ended in the last 24 hours in success.",
    _share(aggregate("max", sel(m.PIPELINE_RECENT_SUCCESSES, _DAY), PIPELINE_KEY), aggregate("max", sel(m.PIPELINE_RECENT_RUNS, _DAY), PIPELINE_KEY), PIPELINE_KEY),
    Unit.RATIO, PIPELINE_KEY, Limits("below", 0.95, 0.99, clear=0.97),
)  # fmt: skip
RETRY_RATE = Signal(
    "Retry rate of 24 h", "Share of the runs of the last 24 hours that succeeded only after a retry.",
    _share(aggregate("max", sel(m.PIPELINE_RECENT_RETRIED, _DAY), PIPELINE_KEY), aggregate("max", sel(m.PIPELINE_RECENT_RUNS, _DAY), PIPELINE_KEY), PIPELINE_KEY),
    Unit.RATIO, PIPELINE_KEY, Limits("above", 0.2, 0.1, clear=0.15),
)  # fmt: skip
_MEDIAN = aggregate("max", sel(m.PIPELINE_DURATION_MEDIAN, {lb.WINDOW: Window.MONTH}), PIPELINE_KEY)
RUN_SLOWNESS = Signal(
    "Duration of the last run, in medians", "How long the last run took, as a multiple of the median of a month.",
    _share(_worst(m.PIPELINE_LAST_RUN_DURATION, PIPELINE_KEY), _MEDIAN, PIPELINE_KEY), Unit.TIMES, PIPELINE_KEY, Limits("above", 2, 1.5),
)  # fmt: skip
RUNNING_SLOWNESS = Signal(
    "Running since, in medians", "How long the oldest running run has run, as a multiple of the median of a month.",
    _share(binary("-", now(), _worst(m.PIPELINE_RUNNING_START, PIPELINE_KEY, "min")), _MEDIAN, PIPELINE_KEY), Unit.TIMES, PIPELINE_KEY, Limits("above", 2, 1.5),
)  # fmt: skip
RUN_DURATION = Signal(
    "Duration of the last run", "Time from start to end of the run that ended last.", _worst(m.PIPELINE_LAST_RUN_DURATION, PIPELINE_KEY), Unit.SECONDS, PIPELINE_KEY,
    why_no_alert="what is long differs between pipelines: the multiple of the median has the alert",
)  # fmt: skip
MEDIAN_DURATION = Signal(
    "Median duration", "Median of the successful runs of a month.", _MEDIAN, Unit.SECONDS, PIPELINE_KEY, why_no_alert="it is what durations are compared with"
)
SINCE_SUCCESS = Signal(
    "Time since the last success", "Time since a run last ended in success.", binary("-", now(), _worst(m.PIPELINE_LAST_SUCCESS, PIPELINE_KEY)), Unit.SECONDS, PIPELINE_KEY,
    why_no_alert="what is long depends on the schedule: the deadline has the alert",
)  # fmt: skip
SLA_BREACHED = Signal(
    "Deadline missed", "1 while the last deadline passed and no run that counts for it has succeeded.",
    _worst(m.SLA_BREACHED, PIPELINE_KEY), Unit.STATE, PIPELINE_KEY, Limits("above", 0),
)  # fmt: skip
SLA_AT_RISK = Signal(
    "Deadline at risk", "1 when the next deadline will be missed if the run takes as long as usual.",
    _worst(m.SLA_AT_RISK, PIPELINE_KEY), Unit.STATE, PIPELINE_KEY, Limits("above", 0),
)  # fmt: skip
SLA_LEFT = Signal(
    "Time to the deadline", "Time until the deadline; negative once it passed unmet.", binary("-", _worst(m.SLA_DEADLINE, PIPELINE_KEY, "min"), now()), Unit.SECONDS, PIPELINE_KEY,
    why_no_alert="a deadline is at risk or missed; both have an alert",
)  # fmt: skip
BACKLOG = Signal(
    "Backlog", "Runs that wait to be started, at least this many for ten minutes.",
    aggregate("max", call("min_over_time", sel(m.PIPELINE_QUEUED_RUNS).over("10m")), PIPELINE_KEY), Unit.COUNT, PIPELINE_KEY, Limits("above", 5, 2),
)  # fmt: skip
QUEUE_DELAY = Signal(
    "Wait in the queue", "Time that the newest started run waited.", _worst(m.PIPELINE_QUEUE_DELAY, PIPELINE_KEY), Unit.SECONDS, PIPELINE_KEY,
    why_no_alert="the backlog and the deadline have alerts",
)  # fmt: skip
RESOURCE_USAGE = Signal(
    "Use of CPU and memory", "Share of what the newest run was given that it used, at least for fifteen minutes.",
    aggregate("max", call("min_over_time", sel(m.PIPELINE_RESOURCE_USAGE).over("15m")), (*PIPELINE_KEY, lb.RESOURCE)),
    Unit.RATIO, (*PIPELINE_KEY, lb.RESOURCE), Limits("above", 0.9, 0.8),
)  # fmt: skip
COST_USED = Signal(
    "Cost, as a share of the budget", "Estimated cost of today's runs as a share of the day's budget.",
    _share(
        aggregate("max", sel(m.PIPELINE_COST, {lb.WINDOW: Window.TODAY}), PIPELINE_KEY),
        aggregate("max", sel(m.PIPELINE_BUDGET, {lb.WINDOW: Window.TODAY}), PIPELINE_KEY), PIPELINE_KEY,
    ), Unit.RATIO, PIPELINE_KEY, Limits("above", 1, 0.8),
)  # fmt: skip
COST = Signal(
    "Cost", "Estimated cost of the runs in a window.", aggregate("max", sel(m.PIPELINE_COST), (*PIPELINE_KEY, lb.WINDOW)), Unit.USD, (*PIPELINE_KEY, lb.WINDOW),
    why_no_alert="the share of the budget has the alert",
)  # fmt: skip
FAILURE_BUDGET = Signal(
    "Failed runs of 28 days", "Share of the runs of 28 days that failed, where there were at least ten.",
    binary(
        "and",
        _share(aggregate("max", increase(sel(m.PIPELINE_RUNS_FAILED), "28d"), PIPELINE_KEY), aggregate("max", increase(sel(m.PIPELINE_RUNS), "28d"), PIPELINE_KEY), PIPELINE_KEY),
        binary(">=", aggregate("max", increase(sel(m.PIPELINE_RUNS), "28d"), PIPELINE_KEY), Number(10)), PIPELINE_KEY,
    ), Unit.RATIO, PIPELINE_KEY, Limits("above", 0.05, 0.02),
)  # fmt: skip
_COMPONENT = (lb.JOB, lb.INSTANCE_NAME, lb.COMPONENT)
ORCHESTRATOR_UP = Signal(
    "Orchestrator", "1 if a component of the scheduler of the pipelines says that it is healthy.", aggregate("min", sel(m.SCHEDULER_UP), _COMPONENT), Unit.STATE, _COMPONENT, Limits("below", 1)
)
_SOURCE_KEY = (lb.JOB, lb.INSTANCE_NAME)
IMPORT_ERRORS = Signal(
    "Files that cannot be read", "Files of pipelines that their scheduler cannot read.", _worst(m.IMPORT_ERRORS, _SOURCE_KEY), Unit.COUNT, _SOURCE_KEY, Limits("above", 0)
)

# --- objectives -----------------------------------------------------------------------------------------------


def _burning(objective: r.Objective, *pairs: tuple[str, str, float]) -> Expr:
    """The error ratio of the longer window where it and the shorter one burn so many times too fast, in multiples of the budget."""
    parts: list[Expr] = []
    budget = 1 - objective.ratio
    for short, long, factor in pairs:
        fast = sel(r.ERROR_RATIOS[objective.slo, long]) / round(budget, 6)
        both = binary("and", binary(">", fast, Number(factor)), binary(">", sel(r.ERROR_RATIOS[objective.slo, short]), Number(round(budget * factor, 6))), objective.key)
        parts.append(both)
    result = parts[0]
    for part in parts[1:]:
        result = binary("or", result, part)
    return result


_FAST, _SLOW = (("5m", "1h", 14.4), ("30m", "6h", 6.0)), (("2h", "1d", 3.0), ("6h", "3d", 1.0))
FRESHNESS_BURN_FAST = Signal(
    "Freshness budget burns fast", "How many times too fast the month's budget for stale data is spent, over an hour or six.",
    _burning(r.FRESHNESS_OBJECTIVE, *_FAST), Unit.TIMES, TABLE_KEY, Limits("above", 0),
)  # fmt: skip
FRESHNESS_BURN_SLOW = Signal(
    "Freshness budget burns", "How many times too fast the month's budget for stale data is spent, over a day or three.",
    _burning(r.FRESHNESS_OBJECTIVE, *_SLOW), Unit.TIMES, TABLE_KEY, Limits("above", 0),
)  # fmt: skip
AVAILABILITY_BURN = Signal(
    "Availability budget of the exporter burns", "How many times too fast the month's budget for missed scrapes is spent.",
    _burning(r.AVAILABILITY_OBJECTIVE, *_FAST, *_SLOW), Unit.TIMES, (lb.JOB,), Limits("above", 0),
)  # fmt: skip
FRESHNESS_BUDGET = Signal(
    "Freshness budget left", "Share of the month's budget for stale data that is left; negative when it is overspent.",
    sel(r.BUDGETS["freshness"]), Unit.RATIO, TABLE_KEY, Limits("below", 0, 0.25), why_no_alert="the speed at which it is spent has the alerts",
)  # fmt: skip
AVAILABILITY_BUDGET = Signal(
    "Availability budget left", "Share of the month's budget for missed scrapes that is left.",
    sel(r.BUDGETS["availability"]), Unit.RATIO, (lb.JOB,), Limits("below", 0, 0.25), why_no_alert="the speed at which it is spent has the alert",
)  # fmt: skip

# --- the product itself ---------------------------------------------------------------------------------------
_PROCESS = (lb.JOB, lb.INSTANCE)
WATCHDOG = Signal(
    "Watchdog", "Always 1: proves that alerts get through.", call("vector", Number(1)), Unit.STATE, (), Limits("above", 0)
)
EXPORTER_UP = Signal(
    "Exporter up", "1 while an exporter that was there within a day answers scrapes.",
    binary("and", sel(f.UP), call("last_over_time", sel(m.BUILD_INFO).over("1d")), _PROCESS), Unit.STATE, _PROCESS, Limits("below", 1),
)  # fmt: skip
EXPORTER_ABSENT = Signal(
    "Exporter absent", "1 while Prometheus has no exporter among its targets.",
    binary("unless", call("absent", sel(m.BUILD_INFO)), EXPORTER_UP.expr, ()), Unit.STATE, (), Limits("above", 0),
)  # fmt: skip
RELOAD = Signal(
    "Configuration in use", "1 while the last configuration that was offered is in use.", _worst(m.CONFIG_RELOAD_SUCCESSFUL, _PROCESS, "min"), Unit.STATE, _PROCESS, Limits("below", 1)
)
SCHEDULER_LAG = Signal(
    "Lag of the scheduler", "How long the table that waits longest has been due.", _worst(m.SCHEDULER_LAG, _PROCESS), Unit.SECONDS, _PROCESS, Limits("above", 300, 60)
)
MISSED_RUNS = Signal(
    "Runs left out", "Due evaluations of the last hour that were left out because the one before was still running.",
    aggregate("sum", increase(sel(m.SCHEDULER_MISSED), "1h"), _PROCESS), Unit.COUNT, _PROCESS, Limits("above", 2, 0),
)  # fmt: skip
TIMEOUTS = Signal(
    "Evaluations cancelled", "Evaluations of the last hour that were cancelled at their timeout.",
    aggregate("sum", increase(sel(m.EVALUATION_TIMEOUTS), "1h"), _PROCESS), Unit.COUNT, _PROCESS, Limits("above", 0),
)  # fmt: skip
STORE_ERRORS = Signal(
    "Results that could not be stored", "Results of the last fifteen minutes that could not be stored and are not published.",
    aggregate("sum", increase(sel(m.STORE_ERRORS), "15m"), _PROCESS), Unit.COUNT, _PROCESS, Limits("above", 0),
)  # fmt: skip
_COLLECTOR = (lb.JOB, lb.COLLECTOR, lb.INSTANCE_NAME)
COLLECTOR_UP = Signal(
    "Source answers", "1 if the last attempt to ask a source of pipelines succeeded.", aggregate("min", sel(m.COLLECTOR_UP), _COLLECTOR), Unit.STATE, _COLLECTOR, Limits("below", 1)
)
BREAKER = Signal(
    "Circuit breaker", "0 closed, 1 half open, 2 open: the source is left alone.", aggregate("max", sel(m.BREAKER_STATE), _COLLECTOR), Unit.STATE, _COLLECTOR, Limits("above", 1, 0)
)
_LETTERS = (lb.JOB, lb.COLLECTOR)
DEAD_LETTERS = Signal(
    "Dead letters", "Payloads that could not be understood and wait for a decision.", aggregate("max", sel(m.DEAD_LETTERS), _LETTERS), Unit.COUNT, _LETTERS, Limits("above", 0)
)
EVENTS_WAIT = Signal(
    "Oldest event that waits", "How long the oldest event that was received has waited to be worked on.",
    _worst(m.EVENTS_OLDEST_PENDING, _PROCESS), Unit.SECONDS, _PROCESS, Limits("above", 600, 60),
)  # fmt: skip
ERROR_SHARE = Signal(
    "Runs that could not evaluate", "Share of the runs of checks in the last hour that ended in an error.", sel(r.ERROR_RATIO), Unit.RATIO, (lb.JOB,), Limits("above", 0.1, 0),
    why_no_alert="each check that cannot be evaluated has an alert with its name",
)  # fmt: skip


def all_signals() -> dict[str, Signal]:
    """Every signal by the name that the code has for it."""
    return {name: value for name, value in globals().items() if isinstance(value, Signal)}
