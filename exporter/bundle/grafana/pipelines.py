"""*Pipelines*: which one is failed, late, slow or expensive?"""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import (
    RUN_STATE,
    UP_DOWN,
    YES_NO_BAD,
    Board,
    Column,
    Panel,
    Query,
    Row,
    bars,
    coloured,
    graph,
    stat,
    table,
    timeline,
)
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import recordings as r
from exporter.catalog import signals as s
from exporter.catalog.labels import Window
from exporter.catalog.promql import Expr, aggregate, binary, increase, now, sel
from exporter.catalog.signals import Limits, Signal, Unit

_BY = (lb.PIPELINE,)


def _per_pipeline(signal: Signal) -> Expr:
    return c.pipelines_of_team(signal.expr)


def _stats() -> tuple[Panel, ...]:
    def how_many(signal: Signal) -> Expr:
        return c.count(c.pipelines_of_team(c.over_limit(signal)))

    some = Limits("above", 0)
    running = c.count(c.pipelines_of_team(s.PIPELINE_STATUS.expr.compare("==", 1)))
    cost = aggregate("sum", c.pipelines_of_team(aggregate("max", sel(m.PIPELINE_COST, {lb.WINDOW: Window.TODAY}), r.PIPELINE_KEY)))
    return (
        stat(None, "Failed", "Pipelines whose newest run failed.", how_many(s.PIPELINE_STATUS), limits=some),
        stat(None, "Late", "Pipelines whose last deadline passed without a success.", how_many(s.SLA_BREACHED), limits=some),
        stat(None, "At risk", "Pipelines that will be late if they take as long as usual.", how_many(s.SLA_AT_RISK), limits=Limits("above", 1e9, 0)),
        stat(None, "Running", "Pipelines whose newest run is queued or running.", running),
        stat(s.SUCCESS_RATE, "Success 24 h", "The lowest share of successful runs of a pipeline in 24 hours.", aggregate("min", _per_pipeline(s.SUCCESS_RATE)), none="No runs"),
        stat(None, "Cost today", "Estimated cost of today's runs of all pipelines.", cost, unit=Unit.USD, none="No cost known"),
    )


def _list() -> Panel:
    def column(name: str, signal: Signal, width: int, **more: object) -> Column:
        return Column(name, _per_pipeline(signal), unit=signal.unit, limits=signal.limits, width=width, **more)  # type: ignore[arg-type]

    return table(
        "Pipelines, the worst first", "Click a name for its runs. A multiple of 2 means twice the median of a month.",
        [
            Column("State", _per_pipeline(s.PIPELINE_STATUS), mappings=RUN_STATE, width=110), Column("Pipeline", label="pipeline", link=c.TO_PIPELINE),
            Column("Deadline missed", _per_pipeline(s.SLA_BREACHED), mappings=YES_NO_BAD, width=130), Column("Deadline in", _per_pipeline(s.SLA_LEFT), unit=Unit.SECONDS, limits=Limits("below", 0), decimals=1, width=110),
            column("Success 24 h", s.SUCCESS_RATE, 110, decimals=0), column("Retries 24 h", s.RETRY_RATE, 110, decimals=0), Column("Last success", _per_pipeline(s.SINCE_SUCCESS), unit=Unit.SECONDS, decimals=1, width=120),
            Column("Last end", c.pipelines_of_team(binary("-", now(), aggregate("max", sel(m.PIPELINE_LAST_RUN), r.PIPELINE_KEY))), unit=Unit.SECONDS, decimals=1, width=110),
            column("Duration", s.RUN_SLOWNESS, 100, decimals=1), column("Running", s.RUNNING_SLOWNESS, 90, decimals=1), column("Backlog", s.BACKLOG, 90), column("Cost of budget", s.COST_USED, 120, decimals=0),
        ],
        worst=("State", False), hide=("job",), none="No pipeline is configured",
    ).sized(24, 9)  # fmt: skip


def board() -> Board:
    """The board."""
    over_time = timeline(
        "State of the newest run over time", "Red failed, blue running, green succeeded; a gap is unknown.", Query(aggregate("min", _per_pipeline(s.PIPELINE_STATUS), _BY), "{{pipeline}}"), RUN_STATE,
        none="No run was seen", links=(("Open the pipeline", c.TO_PIPELINE_BY_LABEL),),
    ).sized(14, 9)  # fmt: skip
    last = bars("Duration of the last run in medians", "2× and more is slow.", Query(aggregate("max", _per_pipeline(s.RUN_SLOWNESS), _BY), "{{pipeline}}", instant=True), signal=s.RUN_SLOWNESS,
                none="No median is known yet").sized(10, 9)  # fmt: skip
    ended = [
        Query(c.here(aggregate("sum", increase(sel(metric), "$__interval"))), name, interval="1h")
        for metric, name in ((m.PIPELINE_RUNS_SUCCEEDED, "succeeded"), (m.PIPELINE_RUNS_FAILED, "failed"))
    ]
    runs = graph("Runs that ended", "Successes and failures of all pipelines.", ended, bars=True, stacked=True, overrides=(coloured("succeeded", "green"), coloured("failed", "red")), none="No runs").sized(12, 8)
    cost = graph("Cost of the day", "Estimated cost of the runs of the day, per pipeline.", [Query(aggregate("max", c.pipelines_of_team(sel(m.PIPELINE_COST, {lb.WINDOW: Window.TODAY})), _BY), "{{pipeline}}")],
                 unit=Unit.USD, stacked=True, legend="right", none="No cost is configured").sized(12, 8)  # fmt: skip
    details = (
        graph("Backlog", "Runs that wait to be started.", [Query(aggregate("max", c.pipelines_of_team(sel(m.PIPELINE_QUEUED_RUNS)), _BY), "{{pipeline}}")], limits=s.BACKLOG.limits, none="Nothing waits").sized(8, 8),
        graph("Retry rate of 24 h", "Share of runs that succeeded only after a retry.", [Query(aggregate("max", _per_pipeline(s.RETRY_RATE), _BY), "{{pipeline}}")], unit=Unit.RATIO, limits=s.RETRY_RATE.limits, none="No runs", defaults={"min": 0}).sized(8, 8),
        graph("CPU and memory", "Share of what a run was given that it used.", [Query(c.here(aggregate("max", sel(m.PIPELINE_RESOURCE_USAGE), (lb.PIPELINE, lb.RESOURCE))), "{{pipeline}} {{resource}}")],
              unit=Unit.RATIO, limits=s.RESOURCE_USAGE.limits, none="No source tells of resources", defaults={"min": 0, "max": 1}, custom={"fillOpacity": 0, "lineWidth": 1}).sized(8, 8),
        graph("Slots of the pools", "Slots by state; all taken and tasks waiting is a bottleneck.", [Query(c.here(aggregate("max", sel(m.POOL_SLOTS), (lb.INSTANCE_NAME, lb.POOL, lb.SLOT_STATE))), "{{pool}} {{state}}")], none="No source has pools").sized(8, 8),
        timeline("Schedulers of pipelines", "Health of the orchestrators' components as they tell it.", Query(c.here(aggregate("min", sel(m.SCHEDULER_UP), (lb.INSTANCE_NAME, lb.COMPONENT))), "{{instance_name}} {{component}}"), UP_DOWN,
                 none="No source tells of its components").sized(8, 8),
        graph("Files that cannot be read", "Pipelines in these files do not run at all.", [Query(c.here(aggregate("max", sel(m.IMPORT_ERRORS), (lb.INSTANCE_NAME,))), "{{instance_name}}")], limits=s.IMPORT_ERRORS.limits, none="No source tells of import errors").sized(8, 8),
    )  # fmt: skip
    rows = (Row("", (*_stats(), _list(), over_time, last, runs, cost)), Row("Queues, retries, resources, sources", details))
    return Board("dq-pipelines", "Pipelines: all", "Which pipeline is failed, late, slow or expensive?", (c.DATASOURCE, c.JOB, c.PIPELINE_TEAM), rows, "now-7d", c.BOARD_LINKS)
