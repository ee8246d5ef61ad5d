"""Counterparts for Datadog: monitors, a dashboard, and the configuration of the Agent's scrape.

Monitors are in the form of `POST /api/v1/monitor`; they read what the DogStatsD mirror sends, or what the Agent scrapes with
`openmetrics.d/conf.yaml` under the same names. The critical threshold equals the number in the query, as the API demands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from exporter.bundle.yaml_text import dump
from exporter.catalog import metrics as m
from exporter.catalog import signals as s
from exporter.catalog.labels import Dimension
from exporter.catalog.metrics import Metric
from exporter.catalog.signals import Signal
from exporter.config.settings import NotifySettings

Json = dict[str, Any]
SCRAPED: dict[Metric, str] = {
    m.CHECK_STATUS: "dq.check_status", m.CHECK_FAILED_ROWS: "dq.check_failed_rows", m.CHECK_LAST_OUTCOME: "dq.check_last_outcome", m.MISSING_PARTITIONS: "dq.missing_partitions",
    m.OVERALL_SCORE: "dq.overall_score_ratio", m.SCORE: "dq.score_ratio", m.OVERALL_COVERAGE: "dq.overall_score_coverage_ratio", m.FRESHNESS: "dq.freshness_timestamp_seconds",
    m.FRESHNESS_MAX_AGE: "dq.freshness_max_age_seconds", m.TABLE_ROWS: "dq.table_rows", m.PIPELINE_STATUS: "pipeline.run_state", m.PIPELINE_RUNS_FAILED: "pipeline.runs_failed",
    m.PIPELINE_QUEUED_RUNS: "pipeline.queued_runs", m.PIPELINE_RESOURCE_USAGE: "pipeline.resource_usage_ratio", m.SLA_BREACHED: "pipeline.sla_breached", m.SLA_AT_RISK: "pipeline.sla_at_risk",
    m.PIPELINE_COST: "pipeline.estimated_cost", m.PIPELINE_BUDGET: "pipeline.cost_budget", m.PIPELINE_RECENT_RUNS: "pipeline.recent_runs", m.PIPELINE_RECENT_SUCCESSES: "pipeline.recent_successes",
    m.PIPELINE_RECENT_RETRIED: "pipeline.recent_retried_successes", m.PIPELINE_LAST_RUN_DURATION: "pipeline.last_run_duration", m.PIPELINE_DURATION_MEDIAN: "pipeline.run_duration_median",
    m.COLLECTOR_UP: "dq.exporter.collector_up", m.CONFIG_RELOAD_SUCCESSFUL: "dq.exporter.config_ok", m.SCHEDULER_LAG: "dq.exporter.scheduler_lag",
}  # fmt: skip
"""What the Agent takes from the page, and under which name; all that it takes is billed."""


@dataclass(frozen=True)
class Monitor:
    """A monitor: what is compared over which window, and what it says."""

    name: str
    query: str
    operator: str
    critical: float
    message: str
    priority: int
    kind: str = "query alert"
    warning: float | None = None
    windows: Json | None = None


def _limit(signal: Signal, factor: float = 1) -> float:
    assert signal.limits is not None
    return round(signal.limits.bad * factor, 6)


def _warn(signal: Signal, factor: float = 1) -> float:
    assert signal.limits is not None and signal.limits.warn is not None
    return round(signal.limits.warn * factor, 6)


def monitors() -> tuple[Monitor, ...]:
    """The four of the first design, and those of the core rules."""
    table, pipeline = "{{table.name}}", "{{pipeline.name}}"
    score, rate, retry, resource, lag = s.SCORE, s.SUCCESS_RATE, s.RETRY_RATE, s.RESOURCE_USAGE, s.SCHEDULER_LAG
    return (
        Monitor("Pipeline failed", "sum(last_5m):sum:pipeline.runs{status:failure} by {pipeline}.as_count()", ">", 0, f"A run of {pipeline} failed.", 1),
        Monitor("Data is stale", "avg(last_1h):avg:data.freshness_hours{*} by {table}", ">", 24, f"The newest data of {table} is {{{{value}}}} hours old (allowed: {{{{threshold}}}}).", 2, warning=12),
        Monitor("Data-quality score is low", "min(last_1h):avg:dq.overall_score{*} by {table}", "<", _limit(score, 100), f"The score of {table} is {{{{value}}}}% (at least {{{{threshold}}}}%).", 2, warning=_warn(score, 100)),
        Monitor("Row count is unusual", "avg(last_12h):anomalies(avg:table.row_count{*} by {table}, 'agile', 3)", ">=", 1, f"The number of rows of {table} is not what it usually is.", 3,
                windows={"trigger_window": "last_1h", "recovery_window": "last_1h"}),
        Monitor("Check fails", "max(last_5m):min:dq.check_status{*} by {table,check}", "<", _limit(s.CHECK_STATUS), f"{{{{check.name}}}} of {table} fails.", 2),
        Monitor("Success rate is low", "max(last_5m):min:pipeline.recent_successes{window:24h} by {pipeline} / min:pipeline.recent_runs{window:24h} by {pipeline}", "<", _limit(rate), f"Only {{{{value}}}} of the runs of {pipeline} in 24 h succeeded.", 2, warning=_warn(rate)),
        Monitor("Run is slow", "min(last_10m):max:pipeline.last_run_duration{*} by {pipeline} / max:pipeline.run_duration_median{window:30d} by {pipeline}", ">", _limit(s.RUN_SLOWNESS), f"The last run of {pipeline} took {{{{value}}}} times its median.", 3, warning=_warn(s.RUN_SLOWNESS)),
        Monitor("Deadline missed", "min(last_5m):max:pipeline.sla_breached{*} by {pipeline}", ">", _limit(s.SLA_BREACHED), f"The deadline of {pipeline} passed without a success.", 1),
        Monitor("Deadline at risk", "min(last_5m):max:pipeline.sla_at_risk{*} by {pipeline}", ">", _limit(s.SLA_AT_RISK), f"{pipeline} will miss its deadline.", 2),
        Monitor("Many retries", "min(last_10m):max:pipeline.recent_retried_successes{window:24h} by {pipeline} / max:pipeline.recent_runs{window:24h} by {pipeline}", ">", _limit(retry), f"{{{{value}}}} of the runs of {pipeline} in 24 h needed a retry.", 3, warning=_warn(retry)),
        Monitor("Runs queue up", "min(last_10m):max:pipeline.queued_runs{*} by {pipeline}", ">", _limit(s.BACKLOG), f"{{{{value}}}} runs of {pipeline} wait.", 2, warning=_warn(s.BACKLOG)),
        Monitor("Short of CPU or memory", "min(last_15m):max:pipeline.resource_usage_ratio{*} by {pipeline,resource}", ">", _limit(resource), f"{pipeline} uses {{{{value}}}} of its {{{{resource.name}}}}.", 3, warning=_warn(resource)),
        Monitor("Over budget", "min(last_15m):max:pipeline.estimated_cost{window:1d} by {pipeline} / max:pipeline.cost_budget{window:1d} by {pipeline}", ">", _limit(s.COST_USED), f"{pipeline} costs {{{{value}}}} of its budget.", 3, warning=_warn(s.COST_USED)),
        Monitor("Source does not answer", "max(last_10m):min:dq.exporter.collector_up{*} by {instance_name}", "<", _limit(s.COLLECTOR_UP), "{{instance_name.name}} does not answer.", 2),
        Monitor("Evaluations start late", "min(last_10m):max:dq.exporter.scheduler_lag{*} by {host}", ">", _limit(lag), "A table has been due for {{value}} seconds.", 3, warning=_warn(lag)),
    )  # fmt: skip


def monitor_json(monitor: Monitor, notify: NotifySettings) -> Json:
    """The body of a request that creates the monitor."""
    thresholds = {"critical": monitor.critical, **({} if monitor.warning is None else {"warning": monitor.warning})}
    tell = f"{{{{#is_alert}}}}{monitor.message}{{{{/is_alert}}}}{{{{#is_recovery}}}}It is well again.{{{{/is_recovery}}}} Status page: {notify.links.exporter}/"
    return {
        "name": f"[dq-exporter] {monitor.name}", "type": monitor.kind, "query": f"{monitor.query} {monitor.operator} {monitor.critical:g}", "message": tell,
        "tags": ["service:dq-exporter"], "priority": monitor.priority,
        "options": {
            "thresholds": thresholds, **({"threshold_windows": monitor.windows} if monitor.windows else {}), "require_full_window": False, "notify_no_data": False,
            "on_missing_data": "default", "include_tags": True, "renotify_interval": 0, "new_group_delay": 60,
        },
    }  # fmt: skip


def dashboard() -> Json:
    """One dashboard with the same questions as the overview."""

    def series(title: str, *queries: str) -> Json:
        requests = [{"queries": [{"data_source": "metrics", "name": "q", "query": query}], "response_format": "timeseries", "formulas": [{"formula": "q"}], "display_type": "line"} for query in queries]
        return {"definition": {"type": "timeseries", "title": title, "show_legend": True, "requests": requests}}

    def top(title: str, query: str, order: str) -> Json:
        formula = {"formula": "q", "limit": {"count": 10, "order": order}}
        return {"definition": {"type": "toplist", "title": title, "requests": [{"queries": [{"data_source": "metrics", "name": "q", "query": query, "aggregator": "last"}], "response_format": "scalar", "formulas": [formula]}]}}

    return {
        "title": "Data quality and pipelines", "description": "Is anything wrong, and where? Made by dq-exporter bundle.", "layout_type": "ordered",
        "template_variables": [{"name": "table", "prefix": "table", "available_values": [], "default": "*"}, {"name": "pipeline", "prefix": "pipeline", "available_values": [], "default": "*"}],
        "widgets": [
            top("Lowest scores", "avg:dq.overall_score{$table} by {table}", "asc"), top("Oldest data (hours)", "max:data.freshness_hours{$table} by {table}", "desc"),
            top("Failing checks", "sum:dq.check_failed_rows{$table} by {table,check}", "desc"), series("Score", "avg:dq.overall_score{$table} by {table}"),
            series("Score by dimension", *(f"avg:dq.{dimension.value}_score{{$table}}" for dimension in Dimension)), series("Age of the newest data (hours)", "max:data.freshness_hours{$table} by {table}"),
            series("Rows", "avg:table.row_count{$table} by {table}"), series("Failed runs", "sum:pipeline.runs{status:failure,$pipeline} by {pipeline}.as_count()"),
            series("Duration of runs", "avg:pipeline.duration.avg{$pipeline} by {pipeline}"), series("Cost (USD)", "max:pipeline.estimated_cost_usd{$pipeline} by {pipeline}"),
        ],
    }  # fmt: skip


def agent(command: str) -> str:
    """openmetrics.d/conf.yaml of the Agent (7.32 or newer)."""
    instance = {
        "openmetrics_endpoint": "http://127.0.0.1:9818/metrics", "namespace": "", "histogram_buckets_as_distributions": True, "min_collection_interval": 60,
        "metrics": [{metric.name: name} for metric, name in SCRAPED.items()],
    }  # fmt: skip
    return dump({"init_config": {}, "instances": [instance]}, command)


def datadog_files(notify: NotifySettings, command: str) -> dict[str, str]:
    """Every file for Datadog by its name."""

    def as_json(data: Any) -> str:
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    found = [monitor_json(monitor, notify) for monitor in monitors()]
    return {"monitors.json": as_json(found), "dashboard.json": as_json(dashboard()), "openmetrics.d/conf.yaml": agent(command)}
