"""*Data-quality score*: can a manager say how good the data is, and whether it gets better?"""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import Board, Column, Panel, Query, Row, bars, graph, stat, table
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import recordings as r
from exporter.catalog import signals as s
from exporter.catalog.promql import Expr, aggregate, binary, call, sel
from exporter.catalog.signals import Limits, Unit


def _mean(expr: Expr, by: tuple[lb.Label, ...] = ()) -> Expr:
    return aggregate("avg", c.of_team(expr), by)


def _month(ago: str = "") -> Expr:
    score = sel(m.OVERALL_SCORE).over("30d")
    return _mean(aggregate("min", call("avg_over_time", score.ago(ago) if ago else score), r.TABLE_KEY))


def _stats() -> tuple[Panel, ...]:
    good = c.of_team(s.SCORE.expr.compare(">=", 0.98))
    share = binary("/", binary("or", aggregate("count", good), c.zero()), aggregate("count", c.of_team(s.SCORE.expr)))
    return (
        stat(s.SCORE, "Score now", "Mean of the scores of all chosen tables.", _mean(s.SCORE.expr), defaults={"decimals": 1}).sized(6, 5),
        stat(s.SCORE, "Mean of 30 days", "Mean of the scores over the last 30 days.", _month(), defaults={"decimals": 1}).sized(6, 5),
        stat(None, "Good tables", "Share of the tables whose score is at least 98%.", share, unit=Unit.RATIO, limits=Limits("below", 0.8, 0.95), defaults={"decimals": 0}).sized(6, 5),
        stat(s.COVERAGE, "Known", "Share of checks with a verdict that is current: how much the score can be relied on.", _mean(s.COVERAGE.expr), defaults={"decimals": 0}).sized(6, 5),
    )


def _per_table() -> Panel:
    week, month = (c.of_team(aggregate("min", call("avg_over_time", sel(m.OVERALL_SCORE).over(window)), r.TABLE_KEY)) for window in ("7d", "30d"))
    return table(
        "Tables, the worst first", "Score now, and the means of a week and of a month.",
        [
            Column("Table", label="table", link=c.TO_TABLE), Column("Now", c.of_team(s.SCORE.expr), unit=Unit.RATIO, limits=s.SCORE.limits, decimals=1, width=100),
            Column("7 days", week, unit=Unit.RATIO, limits=s.SCORE.limits, decimals=1, width=100), Column("30 days", month, unit=Unit.RATIO, limits=s.SCORE.limits, decimals=1, width=100),
            Column("Fell by", c.of_team(s.SCORE_DROP.expr), unit=Unit.RATIO, limits=s.SCORE_DROP.limits, decimals=1, width=90),
            Column("Freshness budget", c.of_team(s.FRESHNESS_BUDGET.expr), unit=Unit.RATIO, limits=s.FRESHNESS_BUDGET.limits, decimals=0, width=140),
        ],
        worst=("Now", False), hide=("job", "slo"), none="No table has a score",
    ).sized(12, 10)  # fmt: skip


def board() -> Board:
    """The board."""
    dimensions = bars("Score by dimension", "Completeness, uniqueness, validity, accuracy, consistency and timeliness, as the mean over the tables.",
                      Query(_mean(s.DIMENSION_SCORE.expr, (lb.DIMENSION,)), "{{dimension}}", instant=True), signal=s.DIMENSION_SCORE, top=1).sized(12, 10)  # fmt: skip
    trend = graph("Score by dimension over time", "Where it gets better or worse.", [Query(_mean(s.DIMENSION_SCORE.expr, (lb.DIMENSION,)), "{{dimension}}"), Query(_mean(s.SCORE.expr), "overall")], unit=Unit.RATIO,
                  legend="right", defaults={"max": 1}, custom={"fillOpacity": 0}).sized(24, 9)  # fmt: skip
    teams = binary("*", s.SCORE.expr, aggregate("topk", aggregate("max", sel(m.TABLE_INFO), (*r.TABLE_KEY, lb.TEAM)), r.TABLE_KEY, 1), r.TABLE_KEY, (lb.TEAM,))
    by_team = graph("Score by team", "Mean over the tables of each team.", [Query(aggregate("avg", c.of_team(teams), (lb.TEAM,)), "{{team}}")], unit=Unit.RATIO, legend="right", defaults={"max": 1}, custom={"fillOpacity": 0}).sized(12, 8)
    coverage = graph("Known share of the checks", "What is unknown lowers this, never raises the score.", [Query(_mean(s.DIMENSION_COVERAGE.expr, (lb.DIMENSION,)), "{{dimension}}")], unit=Unit.RATIO,
                     limits=s.COVERAGE.limits, legend="right", defaults={"min": 0, "max": 1}, custom={"fillOpacity": 0}).sized(12, 8)  # fmt: skip
    rows = (Row("", (*_stats(), dimensions, _per_table(), trend, by_team, coverage)),)
    return Board("dq-score", "Data-quality score", "How good is the data, and does it get better?", (c.DATASOURCE, c.JOB, c.TEAM), rows, "now-30d", c.BOARD_LINKS)
