"""*Exporter*: does dq-exporter itself work? Requests, errors, duration; and what it uses of its host."""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import (
    UP_DOWN,
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
from exporter.catalog import foreign as f
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import recordings as r
from exporter.catalog import signals as s
from exporter.catalog.metrics import Metric
from exporter.catalog.promql import Expr, Number, Series, aggregate, binary, buckets, call, increase, now, rate, sel
from exporter.catalog.signals import Limits, Signal, Unit

_ME = (lb.INSTANCE,)
_W = "$__rate_interval"
_USED = texts((0, "✗ refused", "red"), (1, "✓ in use", "green"))
_BREAKER = texts((0, "✓ closed", "green"), (1, "half open", "yellow"), (2, "✗ open", "red"))
_SOURCE = (lb.COLLECTOR, lb.INSTANCE_NAME)


def _sum(metric: Metric, *by: lb.Label) -> Expr:
    return c.here(aggregate("sum", rate(sel(metric), _W), by or _ME))


def _max(series: Series, *by: lb.Label) -> Expr:
    return c.here(aggregate("max", sel(series), by or _ME))


def _mine(series: Series) -> Expr:
    """A series of the process, of exporters only."""
    return binary("and", c.here(sel(series)), sel(m.BUILD_INFO), (lb.JOB, lb.INSTANCE))


def _of(signal: Signal) -> Expr:
    return c.here(signal.expr)


def _stats() -> tuple[Panel, ...]:
    return (
        stat(s.EXPORTER_UP, "Exporter", "1 while it answers scrapes.", aggregate("min", _of(s.EXPORTER_UP)), defaults={"mappings": UP_DOWN}, none="Unknown"),
        stat(s.RELOAD, "Config", "Whether the last configuration that was offered is in use.", aggregate("min", _of(s.RELOAD)), defaults={"mappings": _USED}, none="Unknown"),
        stat(s.SCHEDULER_LAG, "Lag", "How long the table that waits longest has been due.", aggregate("max", _of(s.SCHEDULER_LAG))),
        stat(s.ERROR_SHARE, "Not evaluable", "Share of runs that ended in an error, of the last hour.", aggregate("max", _of(s.ERROR_SHARE)), none="No runs"),
        stat(None, "Sources down", "Sources of pipelines whose last attempt failed.", c.count(c.here(c.over_limit(s.COLLECTOR_UP))), limits=Limits("above", 0)),
        stat(None, "Dead letters", "Payloads that could not be understood.", binary("or", aggregate("sum", _of(s.DEAD_LETTERS)), c.zero()), limits=Limits("above", 1e9, 0)),
    )


def _red() -> tuple[Panel, ...]:
    quantile = [Query(c.here(_quantile(q)), f"p{round(q * 100)}") for q in (0.5, 0.95)]
    runs = c.here(aggregate("sum", increase(sel(m.CHECK_RUNS), "$__interval"), (lb.OUTCOME,)))
    return (
        graph("Runs of checks by outcome", "Requests: how much it evaluates.", [Query(runs, "{{outcome}}", interval="15m")], bars=True, stacked=True, none="No runs",
              overrides=tuple(coloured(name, colour) for name, colour in (("pass", "green"), ("warn", "yellow"), ("fail", "red"), ("error", "purple"), ("skipped", "#808080"), ("learning", "blue")))).sized(8, 8),
        graph("Errors and cancelled evaluations", "Per second: evaluations with an error, those cancelled at their timeout, results that could not be stored, runs left out.",
              [Query(_sum(m.EVALUATION_ERRORS), "errors"), Query(_sum(m.EVALUATION_TIMEOUTS), "timeouts"), Query(_sum(m.STORE_ERRORS), "not stored"), Query(_sum(m.SCHEDULER_MISSED), "left out")], unit="ops").sized(8, 8),
        graph("Duration of evaluations", "Per table and tier, median and 95th percentile.", quantile, unit=Unit.SECONDS, defaults={"min": 0}, none="No evaluation in this time").sized(8, 8),
    )  # fmt: skip


def _quantile(q: float) -> Expr:
    """A quantile of the duration of evaluations."""
    return call("histogram_quantile", Number(q), aggregate("sum", rate(buckets(m.EVALUATION_DURATION), _W), (lb.LE,)))


def _scheduler() -> tuple[Panel, ...]:
    slowest = c.here(aggregate("topk", sel(r.EVALUATION_MEAN), (), 10))
    return (
        graph("Running and waiting evaluations", "Waiting ones mean that there are too few workers.", [Query(_max(m.SCHEDULER_RUNNING), "running"), Query(_max(m.SCHEDULER_QUEUE), "waiting"), Query(_max(m.SCHEDULER_TABLES), "tables")]).sized(8, 8),
        graph("Lag of the scheduler", "How long the table that waits longest has been due.", [Query(_of(s.SCHEDULER_LAG), "{{instance}}")], unit=Unit.SECONDS, limits=s.SCHEDULER_LAG.limits, defaults={"min": 0}).sized(8, 8),
        table("Slowest tables", "Mean time of a tier of an evaluation in the last hour.", [Column("Table", label="table", link=c.TO_TABLE), Column("Mean", slowest, unit=Unit.SECONDS, decimals=2, width=110)],
              worst=("Mean", True), hide=("job",), none="No evaluation in the last hour").sized(8, 8),
        graph("Evaluations", "Completed evaluations of tables per second.", [Query(_sum(m.EVALUATIONS), "{{instance}}")], unit="ops").sized(8, 8),
        graph("Scanned bytes per second", "What evaluating costs, by engine.", [Query(_sum(m.SCANNED_BYTES, lb.ENGINE), "{{engine}}")], unit="Bps").sized(8, 8),
        graph("Configurations offered", "Reloads by what asked for them.", [Query(c.here(aggregate("sum", increase(sel(m.CONFIG_RELOADS), "$__interval"), (lb.TRIGGER,))), "{{trigger}}", interval="1h")], bars=True, none="None").sized(8, 8),
    )  # fmt: skip


def _sources() -> tuple[Panel, ...]:
    last = c.here(binary("-", now(), aggregate("max", sel(m.COLLECTOR_LAST_SUCCESS), _SOURCE)))
    return (
        timeline("Sources of pipelines", "Whether the last attempt to ask each source succeeded.", Query(c.here(aggregate("min", sel(m.COLLECTOR_UP), _SOURCE)), "{{collector}} {{instance_name}}"), UP_DOWN, none="No source is configured").sized(8, 8),
        timeline("Circuit breakers", "Open: the source is left alone after many errors.", Query(c.here(aggregate("max", sel(m.BREAKER_STATE), _SOURCE)), "{{collector}} {{instance_name}}"), _BREAKER, none="No source is configured").sized(8, 8),
        graph("Time since a full answer", "What is known of its pipelines is at least so old.", [Query(last, "{{collector}} {{instance_name}}")], unit=Unit.SECONDS, defaults={"min": 0}, none="No source is configured").sized(8, 8),
        graph("Duration of the last attempt", "How long a source takes to answer.", [Query(_max(m.COLLECTOR_DURATION, *_SOURCE), "{{collector}} {{instance_name}}")], unit=Unit.SECONDS, defaults={"min": 0}, none="No source is configured").sized(6, 8),
        graph("Failed attempts and repeated requests", "Per second.", [Query(_sum(m.COLLECTOR_ERRORS, *_SOURCE), "failed {{instance_name}}"), Query(_sum(m.COLLECTOR_RETRIES, *_SOURCE), "repeated {{instance_name}}")], unit="ops", none="No source is configured").sized(6, 8),
        graph("Events received", "Per second, by what became of them.", [Query(_sum(m.EVENTS_RECEIVED, lb.RECEIPT), "{{receipt}}")], unit="reqps", none="Nothing sends events").sized(6, 8),
        graph("Events that wait", "Stored and not yet worked on, and how long the oldest has waited.", [Query(_max(m.EVENTS_PENDING), "waiting"), Query(_max(m.EVENTS_OLDEST_PENDING), "oldest (s)")], none="Nothing sends events").sized(6, 8),
    )  # fmt: skip


def _host() -> tuple[Panel, ...]:
    cpu = binary("and", c.here(rate(sel(f.PROCESS_CPU), _W)), sel(m.BUILD_INFO), (lb.JOB, lb.INSTANCE))
    files = binary("/", _mine(f.PROCESS_OPEN_FDS), sel(f.PROCESS_MAX_FDS), (lb.JOB, lb.INSTANCE))
    uptime = binary("-", now(), _mine(f.PROCESS_START))
    return (
        graph("CPU", "Cores in use.", [Query(cpu, "{{instance}}")], unit=Unit.COUNT).sized(6, 7),
        graph("Memory", "Resident memory of the process, without that of Spark's JVM.", [Query(_mine(f.PROCESS_MEMORY), "{{instance}}")], unit=Unit.BYTES).sized(6, 7),
        graph("Open files", "Share of what the system allows.", [Query(files, "{{instance}}")], unit=Unit.RATIO, defaults={"min": 0}).sized(6, 7),
        graph("Series", "Series of the page, and the most that the configuration can make.", [Query(_max(m.SERIES), "now"), Query(_max(m.SERIES_BOUND), "at most")]).sized(6, 7),
        graph("Scrape duration", "Should stay in milliseconds.", [Query(_mine(f.SCRAPE_DURATION), "{{instance}}")], unit=Unit.SECONDS, defaults={"min": 0}).sized(6, 7),
        graph("Samples per scrape", "What a scrape brings.", [Query(_mine(f.SCRAPE_SAMPLES), "{{instance}}")]).sized(6, 7),
        graph("Time since the start", "Falls at each restart.", [Query(uptime, "{{instance}}")], unit=Unit.SECONDS, defaults={"min": 0}).sized(6, 7),
        graph("Availability budget left", "Of a month: 0.1% of scrapes may be missed.", [Query(_of(s.AVAILABILITY_BUDGET), "{{job}}")], unit=Unit.RATIO, limits=s.AVAILABILITY_BUDGET.limits, defaults={"max": 1}, none="Known after the first evaluation of the rules").sized(6, 7),
    )  # fmt: skip


def board() -> Board:
    """The board."""
    versions = table("Processes", "Each exporter with its version and how old its configuration is.",
                     [Column("Process", label="instance"), Column("Version", label="version", width=120), Column("Environment", label="job", width=160), Column("b", c.here(aggregate("max", sel(m.BUILD_INFO), (lb.JOB, lb.INSTANCE, lb.VERSION))), hidden=True),
                      Column("Configuration's age", c.here(binary("-", now(), aggregate("max", sel(m.CONFIG_RELOAD_TIMESTAMP), (lb.JOB, lb.INSTANCE)))), unit=Unit.SECONDS, decimals=0, width=170)],
                     worst=("Process", False), none="No exporter is known").sized(24, 5)  # fmt: skip
    rows = (Row("", _stats()), Row("Requests, errors, duration", _red()), Row("Scheduler", _scheduler()), Row("Sources of pipelines", _sources()), Row("Host", (*_host(), versions)))
    return Board("dq-exporter", "Exporter", "Does dq-exporter itself work?", (c.DATASOURCE, c.JOB), rows, "now-24h", c.BOARD_LINKS)
