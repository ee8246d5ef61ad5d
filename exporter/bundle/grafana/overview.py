"""*Overview*: is anything wrong, and where? One screen."""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import (
    PRIORITY,
    RUN_STATE,
    VERDICT,
    Board,
    Column,
    Panel,
    Query,
    Row,
    stat,
    table,
    text,
    timeline,
)
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import recordings as r
from exporter.catalog import signals as s
from exporter.catalog.foreign import ALERTS_FOR_STATE
from exporter.catalog.promql import Expr, aggregate, binary, call, sel
from exporter.catalog.signals import Limits, Unit

_SOME = Limits("above", 0)
_STATUS = aggregate("min", sel(m.CHECK_STATUS), r.TABLE_KEY)


def _failing_per_table() -> Expr:
    return aggregate("count", s.CHECK_STATUS.expr.compare("==", 0), r.TABLE_KEY)


def _ever_failed() -> Expr:
    """The worst verdict per table, of tables with a failing check in the shown time."""
    past = aggregate("min", call("min_over_time", sel(m.CHECK_STATUS).over("$__range").at_end()), r.TABLE_KEY)
    return aggregate("min", binary("and", c.of_team(_STATUS), c.here(past.compare("==", 0)), r.TABLE_KEY), (lb.TABLE,))


def _stats() -> tuple[Panel, ...]:
    bad_tables = c.count(c.of_team(_STATUS.compare("==", 0)))
    return (
        stat(None, "Bad tables", "How many tables have a check that fails. Red: open the list below.", bad_tables, limits=_SOME),
        stat(None, "Bad checks", "Checks whose last verdict is fail.", c.count(c.of_team(s.CHECK_STATUS.expr.compare("==", 0))), limits=_SOME),
        stat(None, "Stale tables", "Tables whose newest data is older than allowed.", c.count(c.of_team(c.over_limit(s.FRESHNESS_USED))), limits=_SOME),
        stat(None, "Failed runs", "Pipelines whose newest run failed.", c.count(c.here(c.over_limit(s.PIPELINE_STATUS))), limits=_SOME),
        stat(None, "Unknown", "Checks that could not be evaluated, or were not run in time: unknown is not green.",
             c.count(c.of_team(binary("or", c.over_limit(s.CHECK_ERROR), c.over_limit(s.CHECK_STALENESS)))), limits=Limits("above", 0)),
        stat(s.SCORE, "Low score", "The lowest data-quality score of a table.", aggregate("min", c.of_team(s.SCORE.expr)), defaults={"decimals": 1}),
    )  # fmt: skip


def _alerts() -> Panel:
    since = c.here(aggregate("max", sel(ALERTS_FOR_STATE), (lb.ALERTNAME, lb.SEVERITY, lb.TABLE, lb.PIPELINE, lb.TEAM)))
    firing = aggregate("max", c.firing(), (lb.ALERTNAME, lb.SEVERITY, lb.TABLE, lb.PIPELINE, lb.TEAM))
    both = binary("and", since * 1000, firing, (lb.ALERTNAME, lb.SEVERITY, lb.TABLE, lb.PIPELINE, lb.TEAM))
    return table(
        "Firing alerts", "What people are told about now, the loudest first.",
        [
            Column("P", label="priority", mappings=PRIORITY, width=45), Column("Alert", label="alertname", width=170), Column("Since", c.prioritised(both), unit="dateTimeFromNow", width=120),
            Column("Table", label="table", link=c.TO_TABLE), Column("Pipeline", label="pipeline", link=c.TO_PIPELINE),
        ],
        worst=("P", False), hide=("team", "severity"), none="No alert is firing",
    ).sized(10, 9)  # fmt: skip


def _tables() -> Panel:
    return table(
        "Tables, the worst first", "Each table with its score, failing checks, freshness and coverage. Click a name for the details.",
        [
            Column("Table", label="table", link=c.TO_TABLE), Column("Score", c.of_team(s.SCORE.expr), unit=Unit.RATIO, limits=s.SCORE.limits, decimals=1, width=90),
            Column("Failing", c.of_team(_failing_per_table()), unit=Unit.COUNT, limits=_SOME, width=90),
            Column("Age", c.of_team(s.FRESHNESS_AGE.expr), unit=Unit.SECONDS, decimals=1, width=110),
            Column("Age of allowed", c.of_team(s.FRESHNESS_USED.expr), unit=Unit.RATIO, limits=s.FRESHNESS_USED.limits, decimals=0, width=130),
            Column("Known", c.of_team(s.COVERAGE.expr), unit=Unit.RATIO, limits=s.COVERAGE.limits, decimals=0, width=90),
            Column("Rows", c.of_team(aggregate("max", sel(m.TABLE_ROWS), r.TABLE_KEY)), unit=Unit.COUNT, width=90),
        ],
        worst=("Score", False), hide=("job",), none="No table is configured",
    ).sized(14, 9)  # fmt: skip


def _pipelines() -> Panel:
    return table(
        "Pipelines, the worst first", "The newest run of each pipeline, and how long ago it last succeeded.",
        [
            Column("State", c.here(s.PIPELINE_STATUS.expr), mappings=RUN_STATE, width=110), Column("Pipeline", label="pipeline", link=c.TO_PIPELINE),
            Column("Success 24 h", c.here(s.SUCCESS_RATE.expr), unit=Unit.RATIO, limits=s.SUCCESS_RATE.limits, decimals=0, width=120),
            Column("Last success", c.here(s.SINCE_SUCCESS.expr), unit=Unit.SECONDS, decimals=1, width=120),
            Column("Deadline in", c.here(s.SLA_LEFT.expr), unit=Unit.SECONDS, limits=Limits("below", 0, 3600), decimals=1, width=120),
        ],
        worst=("State", False), hide=("job",), none="No pipeline is configured",
    ).sized(10, 9)  # fmt: skip


def board() -> Board:
    """The board."""
    how = (
        "**How to read this.** The first row says whether anything is wrong now, the tables below say where, the bands since when. "
        "Green is known to be good, red is known to be bad, grey or a gap is *unknown*. Click a table, pipeline or alert for the details."
    )
    worst = timeline(
        "Tables that failed in this time", "The worst verdict of each table over time; tables without a failure are left out.",
        Query(_ever_failed(), "{{table}}"), VERDICT, none="No table failed in this time", links=(("Open the table", c.TO_TABLE_BY_LABEL),),
    ).sized(14, 9)  # fmt: skip
    rows = (Row("", (*_stats(), _tables(), _alerts(), worst, _pipelines(), text("How to read this", how))),)
    return Board("dq-overview", "Data quality: overview", "Is anything wrong, and where?", (c.DATASOURCE, c.JOB, c.TEAM), rows, links=c.BOARD_LINKS)


