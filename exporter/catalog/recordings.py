"""Recording rules: what dashboards and alerts read often, error ratios of the objectives, and the names of the first design."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.catalog import foreign as f
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.labels import Label, Outcome
from exporter.catalog.promql import (
    Expr,
    Number,
    Recording,
    aggregate,
    binary,
    call,
    label_replace,
    now,
    observations,
    rate,
    sel,
    total,
)

CHECK_KEY: tuple[Label, ...] = (lb.JOB, lb.TABLE, lb.CHECK)
TABLE_KEY: tuple[Label, ...] = (lb.JOB, lb.TABLE)
PIPELINE_KEY: tuple[Label, ...] = (lb.JOB, lb.PIPELINE)
"""What a series is about. Replicas of one exporter share the job and count once; two environments are two jobs."""


def check_info(*take: Label) -> Expr:
    """One series per check with the labels asked for, whatever replicas say."""
    return aggregate("topk", aggregate("max", sel(m.CHECK_INFO), (*CHECK_KEY, *take)), CHECK_KEY, 1)


def failing_checks() -> Expr:
    """1 per failing check, with severity, team and dimension."""
    broken = binary("==", aggregate("min", sel(m.CHECK_STATUS), CHECK_KEY), Number(0))
    take = (lb.SEVERITY, lb.TEAM, lb.DIMENSION)
    return binary("+", binary("*", broken, check_info(*take), CHECK_KEY, take), Number(1))


def freshness_age() -> Expr:
    """Age of the newest data in seconds, per table."""
    return binary("-", now(), aggregate("max", sel(m.FRESHNESS), TABLE_KEY))


def freshness_used() -> Expr:
    """Age as a share of the greatest age allowed."""
    return binary("/", freshness_age(), aggregate("min", sel(m.FRESHNESS_MAX_AGE), TABLE_KEY), TABLE_KEY)


AGE = Recording("job_table:dq_freshness_age:seconds", freshness_age(), "Age of the newest data of a table.")
AGE_USED = Recording("job_table:dq_freshness_age_per_max_age:ratio", freshness_used(), "Age of the newest data as a share of the age allowed.")
SCORE_WEEK = Recording(
    "job_table:dq_overall_score_ratio:avg7d",
    aggregate("min", call("avg_over_time", sel(m.OVERALL_SCORE).over("7d")), TABLE_KEY),
    "Mean overall score of the last seven days.",
)
FAILING = Recording(
    "job_table_severity_team:dq_checks_failing:count",
    aggregate("count", failing_checks(), (*TABLE_KEY, lb.SEVERITY, lb.TEAM)),
    "Failing checks of a table by severity and team; absent when there are none.",
)
OUTCOMES = Recording(
    "job_outcome:dq_checks:count",
    aggregate("count", aggregate("max", sel(m.CHECK_LAST_OUTCOME), (*CHECK_KEY, lb.OUTCOME)), (lb.JOB, lb.OUTCOME)),
    "Checks by the outcome of their last run.",
)
ERROR_RATIO = Recording(
    "job:dq_check_runs_error_per_runs:ratio_rate1h",
    binary(
        "/",
        aggregate("sum", rate(sel(m.CHECK_RUNS, {lb.OUTCOME: Outcome.ERROR}), "1h"), (lb.JOB,)),
        aggregate("sum", rate(sel(m.CHECK_RUNS), "1h"), (lb.JOB,)),
        (lb.JOB,),
    ),
    "Share of runs of checks that could not evaluate.",
)
EVALUATION_MEAN = Recording(
    "job_table:dq_evaluation_duration_seconds:mean1h",
    binary(
        "/",
        aggregate("sum", rate(total(m.EVALUATION_DURATION), "1h"), TABLE_KEY),
        aggregate("sum", rate(observations(m.EVALUATION_DURATION), "1h"), TABLE_KEY),
        TABLE_KEY,
    ),
    "Mean time that one tier of an evaluation took.",
)
FRESH = Recording(
    "job_table:dq_fresh:bool", binary("<= bool", freshness_used(), Number(1)), "1 while the newest data of a table is young enough, else 0."
)

GENERAL = (AGE, AGE_USED, SCORE_WEEK, FAILING, OUTCOMES, ERROR_RATIO, EVALUATION_MEAN, FRESH)


# --- objectives -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Objective:
    """A promise over thirty days that is measured at every evaluation, so that a budget can be seen to burn."""

    slo: str
    ratio: float
    key: tuple[Label, ...]
    series: Recording
    help: str


UP = Recording(
    "job:dq_exporter_up:ratio",
    aggregate("avg", binary("and", sel(f.UP), call("last_over_time", sel(m.BUILD_INFO).over("1d")), (lb.JOB, lb.INSTANCE)), (lb.JOB,)),
    "Share of the exporter's processes that answer scrapes.",
)
FRESHNESS_OBJECTIVE = Objective("freshness", 0.99, TABLE_KEY, FRESH, "Tables have data that is young enough 99 % of the time.")
AVAILABILITY_OBJECTIVE = Objective("availability", 0.999, (lb.JOB,), UP, "The exporter answers scrapes 99.9 % of the time.")
OBJECTIVES = (FRESHNESS_OBJECTIVE, AVAILABILITY_OBJECTIVE)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")


def error_ratio(objective: Objective, window: str) -> Recording:
    """The share of the window in which the promise was not kept."""
    kept = aggregate("min", call("avg_over_time", sel(objective.series).over(window)), objective.key)
    return Recording(
        f"slo:{objective.slo}_error:ratio_rate{window}", binary("-", Number(1), kept), f"Share of the last {window} in which it was not so: {objective.help}"
    )


ERROR_RATIOS = {(objective.slo, window): error_ratio(objective, window) for objective in OBJECTIVES for window in WINDOWS}


def budget_left(objective: Objective) -> Recording:
    """The share of the month's error budget that is left; negative when it is overspent."""
    spent = binary("/", sel(ERROR_RATIOS[objective.slo, "30d"]), Number(round(1 - objective.ratio, 6)))
    return Recording(f"slo:{objective.slo}_error_budget_remaining:ratio", binary("-", Number(1), spent), f"Budget left of: {objective.help}")


BUDGETS = {objective.slo: budget_left(objective) for objective in OBJECTIVES}


# --- names of the first design --------------------------------------------------------------------------------
_PIPELINE = (lb.JOB, lb.PIPELINE, lb.SOURCE)
COMPATIBLE = (
    Recording("pipeline_success", aggregate("max", sel(m.PIPELINE_RUNS_SUCCEEDED), _PIPELINE), "Successful runs."),
    Recording("pipeline_runs", aggregate("max", sel(m.PIPELINE_RUNS), _PIPELINE), "Runs that ended."),
    Recording("pipeline_duration_seconds", aggregate("max", sel(m.PIPELINE_LAST_RUN_DURATION), _PIPELINE), "Duration of the last run."),
    Recording("sla_breach_count", aggregate("max", sel(m.SLA_BREACHES), PIPELINE_KEY), "Deadlines missed."),
    Recording("dq_score", aggregate("min", sel(m.SCORE), (*TABLE_KEY, lb.DIMENSION)) * 100, "Score of a dimension in percent."),
    Recording("dq_overall_score", aggregate("min", sel(m.OVERALL_SCORE), TABLE_KEY) * 100, "Overall score in percent."),
    Recording("data_age_hours", freshness_age() / 3600, "Age of the newest data in hours."),
    Recording("data_freshness_hours", freshness_age() / 3600, "Age of the newest data in hours."),
    Recording("data_row_count", aggregate("max", sel(m.TABLE_ROWS), TABLE_KEY), "Rows of the table."),
)


def all_recordings() -> tuple[Recording, ...]:
    """Every recording rule but those of the first design."""
    return (*GENERAL, UP, *ERROR_RATIOS.values(), *BUDGETS.values())


def upstream_of(table: Label = lb.TABLE) -> Expr:
    """Lineage edges by the table below: 1 per pipeline that writes it."""
    edges = label_replace(sel(m.LINEAGE_EDGE), table, "$1", lb.DOWNSTREAM, "(.*)")
    return label_replace(edges, lb.PIPELINE, "$1", lb.UPSTREAM, "(.*)")
