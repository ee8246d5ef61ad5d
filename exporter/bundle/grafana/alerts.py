"""*Alerts and incidents*: what fires now, since when, and how often?"""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import (
    PRIORITY,
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
from exporter.catalog.foreign import ALERTS, ALERTS_FOR_STATE
from exporter.catalog.labels import Severity
from exporter.catalog.promql import Expr, Subquery, aggregate, binary, call, is_, like, not_, sel, unlike
from exporter.catalog.signals import Limits

_WHAT = (lb.ALERTNAME, lb.SEVERITY, lb.TEAM, lb.TABLE, lb.CHECK, lb.PIPELINE)
_ON = texts((1, "firing", "red"))
_COLOURS = ((Severity.CRITICAL, "red"), (Severity.HIGH, "orange"), (Severity.MEDIUM, "yellow"), (Severity.LOW, "blue"))


def _alerts(state: str = "firing") -> Expr:
    """One series per alert, however many Prometheus servers or replicas tell of it."""
    chosen = {lb.JOB: like("$job|"), lb.TEAM: like("$team"), lb.SEVERITY: unlike("none|"), lb.ALERTNAME: not_("Watchdog")}
    return aggregate("max", sel(ALERTS, {lb.ALERTSTATE: is_(state), **chosen}), _WHAT)


def _number(severity: Severity) -> Panel:
    title = {"critical": "P1 critical", "high": "P2 high", "medium": "P3 medium", "low": "P4 low"}[severity.value]
    found = aggregate("count", _alerts().where({lb.SEVERITY: severity}))
    help_ = {"critical": "Pages the on-call person now.", "high": "Urgent channel and mail.", "medium": "Next business day.", "low": "When there is time."}[severity.value]
    limits = Limits("above", 0) if severity in (Severity.CRITICAL, Severity.HIGH) else Limits("above", 1e9, 0)
    return stat(None, title, f"Alerts of this severity that fire. {help_}", binary("or", found, c.zero()), limits=limits)


def _now() -> Panel:
    chosen = {lb.JOB: like("$job|"), lb.TEAM: like("$team"), lb.SEVERITY: unlike("none|")}
    since = binary("and", aggregate("max", sel(ALERTS_FOR_STATE, chosen), _WHAT) * 1000, aggregate("max", _alerts(), _WHAT), _WHAT)
    return table(
        "Firing now, the loudest first", "Each alert with what it is about, who owns it and since when it is true.",
        [
            Column("P", label="priority", mappings=PRIORITY, width=50), Column("Alert", label="alertname", width=200), Column("Since", c.prioritised(since), unit="dateTimeFromNow", width=130),
            Column("Table", label="table", link=c.TO_TABLE), Column("Check", label="check"), Column("Pipeline", label="pipeline", link=c.TO_PIPELINE), Column("Team", label="team", width=120),
        ],
        worst=("P", False), hide=("severity",), none="No alert is firing",
    ).sized(24, 10)  # fmt: skip


def _most() -> Panel:
    hours = aggregate("sum", call("sum_over_time", Subquery(aggregate("max", _alerts(), (*_WHAT,)), "$__range", "5m")), (lb.ALERTNAME,)) / 12
    return table(
        "Time spent firing", "Hours that alerts of each kind fired in the shown time: what to mend first.",
        [Column("Alert", label="alertname"), Column("Hours", hours, unit="h", decimals=1, width=120)], worst=("Hours", True), none="No alert fired in this time", rows=15,
    ).sized(8, 9)  # fmt: skip


def board() -> Board:
    """The board."""
    over_time = timeline("Alerts over time", "Each bar is an alert that fired, by name and thing.", Query(aggregate("max", _alerts(), (lb.ALERTNAME, lb.TABLE, lb.PIPELINE)), "{{alertname}} {{table}}{{pipeline}}"), _ON,
                         none="No alert fired in this time").sized(16, 9)  # fmt: skip
    by_severity = graph("Firing alerts by severity", "How loud it was.", [Query(aggregate("count", _alerts(), (lb.SEVERITY,)), "{{severity}}")], bars=True, stacked=True, none="No alert fired in this time",
                        overrides=tuple(coloured(name.value, colour) for name, colour in _COLOURS)).sized(12, 8)  # fmt: skip
    by_team = graph("Firing alerts by team", "Whose they are.", [Query(aggregate("count", _alerts(), (lb.TEAM,)), "{{team}}")], bars=True, stacked=True, none="No alert fired in this time").sized(12, 8)
    pending = stat(None, "Pending", "True already, but not for long enough to tell anybody.", binary("or", aggregate("count", _alerts("pending")), c.zero()))
    escalated = stat(None, "Escalated", "Alerts that fire on and on and nobody silenced.", binary("or", aggregate("count", _alerts().where({lb.ALERTNAME: "AlertEscalated"})), c.zero()), limits=Limits("above", 0))
    rows = (Row("", (*(_number(severity) for severity in Severity), pending, escalated, _now(), over_time, _most(), by_severity, by_team)),)
    return Board("dq-alerts", "Alerts and incidents", "What fires now, since when, and how often?", (c.DATASOURCE, c.JOB, c.TEAM), rows, "now-7d", c.BOARD_LINKS)
