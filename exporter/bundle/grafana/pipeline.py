"""*Pipeline*: how do the runs of one pipeline go?"""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import (
    RUN_STATE,
    Board,
    Column,
    Panel,
    Query,
    Row,
    coloured,
    graph,
    stat,
    table,
    texts,
    timeline,
)
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import recordings as r
from exporter.catalog import signals as s
from exporter.catalog.promql import Expr, aggregate, binary, increase, is_, like, observations, sel, total
from exporter.catalog.signals import Limits, Signal, Unit

_SLA = texts((0, "✓ kept", "green"), (1, "✗ missed", "red"))


def _of(signal: Signal) -> Expr:
    return c.of_pipeline(signal.expr)


def _stats() -> tuple[Panel, ...]:
    return (
        stat(s.PIPELINE_STATUS, "Newest run", "State of the newest run.", _of(s.PIPELINE_STATUS), defaults={"mappings": RUN_STATE}, none="Never run"),
        stat(s.SUCCESS_RATE, "Success rate, 24 h", "Share of the runs of 24 hours that succeeded.", _of(s.SUCCESS_RATE), none="No runs"),
        stat(None, "Last success", "Time since a run last succeeded.", _of(s.SINCE_SUCCESS), unit=Unit.SECONDS, none="Never"),
        stat(s.RUN_SLOWNESS, "Last run, in medians", "2× and more is slow.", _of(s.RUN_SLOWNESS), none="No median yet", defaults={"decimals": 1}),
        stat(None, "Deadline in", "Time until the deadline; negative once it passed unmet.", _of(s.SLA_LEFT), unit=Unit.SECONDS, limits=Limits("below", 0, 3600), none="No deadline"),
        stat(s.COST_USED, "Cost of the budget", "Today's cost as a share of the day's budget.", _of(s.COST_USED), none="No budget"),
    )


def _durations() -> Panel:
    return graph(
        "Duration of runs against the median", "The last run that ended; above twice the median it is slow.",
        [Query(_of(s.RUN_DURATION), "last run"), Query(_of(s.MEDIAN_DURATION), "median of 30 days"), Query(_of(s.MEDIAN_DURATION) * 2, "twice the median")],
        unit=Unit.SECONDS, defaults={"min": 0}, none="No run has ended",
        overrides=(
            coloured("last run", "blue", **{"custom.lineInterpolation": "stepAfter"}), coloured("median of 30 days", "text", **{"custom.fillOpacity": 0, "custom.lineStyle": {"fill": "dash", "dash": [8, 8]}}),
            coloured("twice the median", "red", **{"custom.fillOpacity": 0, "custom.lineStyle": {"fill": "dash", "dash": [8, 8]}}),
        ),
    ).sized(12, 8)  # fmt: skip


def _runs() -> Panel:
    ended = [
        Query(c.of_pipeline(aggregate("sum", increase(sel(metric), "$__interval"))), name, interval="1h")
        for metric, name in ((m.PIPELINE_RUNS_SUCCEEDED, "succeeded"), (m.PIPELINE_RUNS_FAILED, "failed"), (m.PIPELINE_RUNS_RETRIED, "of these after a retry"))
    ]
    return graph(
        "Runs that ended", "Successes and failures; the line are successes that needed a retry.", ended, bars=True, stacked=True, none="No runs",
        overrides=(coloured("succeeded", "green"), coloured("failed", "red"), coloured("of these after a retry", "orange", **{"custom.drawStyle": "line", "custom.lineWidth": 2, "custom.fillOpacity": 0, "custom.stacking": {"mode": "none", "group": "B"}})),
    ).sized(12, 8)  # fmt: skip


def _around() -> tuple[Panel, ...]:
    mean = binary("/", c.of_pipeline(aggregate("sum", increase(total(m.PIPELINE_RUN_DURATION), "1d"), r.PIPELINE_KEY)), c.of_pipeline(aggregate("sum", increase(observations(m.PIPELINE_RUN_DURATION), "1d"), r.PIPELINE_KEY)), r.PIPELINE_KEY)
    failed = c.of_pipeline(aggregate("max", sel(m.PIPELINE_LAST_FAILED_RUN), (*r.PIPELINE_KEY, lb.RUN_ID, lb.ERROR_CLASS)))
    when = c.of_pipeline(aggregate("max", sel(m.PIPELINE_LAST_FAILURE), r.PIPELINE_KEY)) * 1000
    below = sel(m.LINEAGE_EDGE, {lb.JOB: like("$job"), lb.UPSTREAM: is_("$pipeline")})
    return (
        table("Last failed run", "Its number, what went wrong, and when; the whole message is in the exporter's context.",
              [Column("Run", label="run_id"), Column("Error", label="error_class"), Column("Ended", when, unit="dateTimeFromNow", width=130), Column("x", failed, hidden=True)], worst=("Ended", True), hide=("job", "pipeline"),
              none="It never failed").sized(8, 7),
        table("Writes", "Tables one step below: they wait when this pipeline fails.", [Column("x", aggregate("group", below, (lb.DOWNSTREAM,)), hidden=True), Column("Table", label="downstream", link=c.TO_TABLE)],
              worst=("Table", False), none="No table is known to be written").sized(8, 7),
        graph("Wait in the queue and backlog", "Runs that wait to be started.", [Query(c.of_pipeline(aggregate("max", sel(m.PIPELINE_QUEUED_RUNS), r.PIPELINE_KEY)), "waiting runs")], limits=s.BACKLOG.limits, none="Nothing waits").sized(8, 7),
        graph("Queue delay", "Time that the newest started run waited.", [Query(_of(s.QUEUE_DELAY), "delay")], unit=Unit.SECONDS, none="Unknown", defaults={"min": 0}).sized(8, 7),
        graph("Mean duration of a day's runs", "From the histogram of run durations.", [Query(mean, "mean of 24 h")], unit=Unit.SECONDS, none="No runs", defaults={"min": 0}).sized(8, 7),
        graph("CPU and memory", "Share of what the newest run was given that it used.", [Query(c.of_pipeline(aggregate("max", sel(m.PIPELINE_RESOURCE_USAGE), (lb.RESOURCE,))), "{{resource}}")], unit=Unit.RATIO,
              limits=s.RESOURCE_USAGE.limits, defaults={"min": 0, "max": 1}, none="The source does not tell").sized(8, 7),
        graph("Success and retry rate of 24 h", "Below the red line fails too often.", [Query(_of(s.SUCCESS_RATE), "success"), Query(_of(s.RETRY_RATE), "after a retry")], unit=Unit.RATIO, limits=s.SUCCESS_RATE.limits,
              defaults={"min": 0, "max": 1}, none="No runs", custom={"fillOpacity": 0}).sized(6, 7),
        graph("Cost", "Estimated cost of the day and of 30 days.", [Query(_of(s.COST), "{{window}}")], unit=Unit.USD, none="No cost is configured").sized(6, 7),
        graph("Deadlines missed", "Counted at the deadline.", [Query(c.of_pipeline(aggregate("sum", increase(sel(m.SLA_BREACHES), "1d"))), "in 24 h")], bars=True, none="No deadline", defaults={"decimals": 0}).sized(6, 7),
        graph("Failed runs of 28 days", "Share of the runs that failed; 5% are the budget.", [Query(_of(s.FAILURE_BUDGET), "failed")], unit=Unit.RATIO, limits=s.FAILURE_BUDGET.limits, defaults={"min": 0}, none="Fewer than ten runs").sized(6, 7),
    )  # fmt: skip


def board() -> Board:
    """The board."""
    state = timeline("State of the newest run", "Red failed, blue running, green succeeded.", Query(_of(s.PIPELINE_STATUS), "{{pipeline}}"), RUN_STATE, none="Never run").sized(24, 4)
    sla = timeline("Deadline", "Red: the last deadline passed without a success.", Query(_of(s.SLA_BREACHED), "{{pipeline}}"), _SLA, none="No deadline").sized(24, 4)
    rows = (Row("", (*_stats(), state, sla, _durations(), _runs())), Row("Why, and what follows", _around()))
    return Board("dq-pipeline", "Pipelines: one", "How do the runs of this pipeline go?", (c.DATASOURCE, c.JOB, c.PIPELINE), rows, "now-7d", c.BOARD_LINKS)


