"""*Table*: which check, since when, and what changed?"""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import (
    OUTCOME,
    SEVERITY,
    VERDICT,
    Board,
    Column,
    Panel,
    Query,
    Row,
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
from exporter.catalog.labels import Bound
from exporter.catalog.promql import Expr, aggregate, binary, increase, rate, sel, total
from exporter.catalog.signals import Limits, Unit

_INTERVAL = "$__rate_interval"


def _per_check(metric: m.Metric, op: str = "max") -> Expr:
    return c.of_checks(aggregate(op, sel(metric), r.CHECK_KEY))


def _of_table(metric: m.Metric) -> Expr:
    return c.of_table(aggregate("max", sel(metric), r.TABLE_KEY))


def _stats() -> tuple[Panel, ...]:
    failing = c.of_table(s.CHECK_STATUS.expr.compare("==", 0))
    return (
        stat(s.SCORE, "Score", "Weighted score over the dimensions that are known.", c.of_table(s.SCORE.expr), spark=True, defaults={"decimals": 1}),
        stat(None, "Bad checks", "Checks of this table whose last verdict is fail.", c.count(failing), limits=Limits("above", 0)),
        stat(s.FRESHNESS_USED, "Age used", "100% means: just as old as the freshness check allows.", c.of_table(s.FRESHNESS_USED.expr), none="No limit"),
        stat(None, "Data age", "Time since the newest data that is not in the future.", c.of_table(s.FRESHNESS_AGE.expr), unit=Unit.SECONDS, none="Unknown"),
        stat(None, "Deadline in", "Time until new data must have arrived.", c.of_table(s.DEADLINE_LEFT.expr), unit=Unit.SECONDS, none="No deadline"),
        stat(s.COVERAGE, "Known", "Share of the checks whose verdict is known and current.", c.of_table(s.COVERAGE.expr)),
    )


def _checks() -> Panel:
    info = c.of_checks(aggregate("max", sel(m.CHECK_INFO), (*r.CHECK_KEY, lb.CHECK_TYPE, lb.DIMENSION, lb.SEVERITY)))
    outcome = c.of_checks(aggregate("max", sel(m.CHECK_LAST_OUTCOME), (*r.CHECK_KEY, lb.OUTCOME)))
    return table(
        "Checks, the worst first", "Every check with its last verdict, what was measured and how old that is.",
        [
            Column("Verdict", c.of_checks(s.CHECK_STATUS.expr), mappings=VERDICT, width=90), Column("Check", label="check"),
            Column("Severity", label="severity", mappings=SEVERITY, width=110), Column("Dimension", label="dimension", width=120), Column("Type", label="check_type", width=150),
            Column("Last run", label="outcome", mappings=OUTCOME, width=100), Column("Measured", _per_check(m.CHECK_VALUE), unit=Unit.COUNT, width=100),
            Column("Failed rows", _per_check(m.CHECK_FAILED_ROWS), unit=Unit.COUNT, width=100), Column("Of rows", _per_check(m.CHECK_EVALUATED_ROWS), unit=Unit.COUNT, width=90),
            Column("Verdict's age", c.of_checks(s.VERDICT_AGE.expr), unit=Unit.SECONDS, decimals=0, width=120), Column("i", info, hidden=True), Column("o", outcome, hidden=True),
        ],
        worst=("Verdict", False), hide=("job", "table"), none="This table has no checks",
    ).sized(24, 9)  # fmt: skip


def _volume() -> Panel:
    def band(metric: m.Metric) -> Expr:
        return c.of_table(aggregate("max", sel(metric), r.TABLE_KEY))

    judged = c.of_table(aggregate("max", binary("and", sel(m.CHECK_VALUE), sel(m.ROWS_EXPECTED), r.CHECK_KEY), r.TABLE_KEY))
    queries = [Query(band(m.ROWS_EXPECTED_MAX), "most"), Query(band(m.ROWS_EXPECTED_MIN), "fewest"), Query(band(m.ROWS_EXPECTED), "expected"), Query(judged, "rows")]
    hidden = {"custom.lineWidth": 0, "custom.fillOpacity": 0}
    return graph(
        "Rows of the last judged bucket against the expected band", "Outside the shaded band is an anomaly. Learned from the table's own past.", queries,
        none="No check of this table learns its row count", defaults={"min": 0},
        overrides=(
            coloured("most", "blue", **(hidden | {"custom.fillBelowTo": "fewest", "custom.fillOpacity": 20})), coloured("fewest", "blue", **hidden),
            coloured("expected", "blue", **{"custom.lineStyle": {"fill": "dash", "dash": [8, 8]}, "custom.lineWidth": 1, "custom.fillOpacity": 0}),
            coloured("rows", "text", **{"custom.lineWidth": 2, "custom.fillOpacity": 0}),
        ),
    ).sized(12, 8)  # fmt: skip


def _freshness() -> Panel:
    return graph(
        "Age of the newest data against what is allowed", "The saw falls when data arrives; above the red line the table is stale.",
        [Query(c.of_table(s.FRESHNESS_AGE.expr), "age"), Query(_of_table(m.FRESHNESS_MAX_AGE), "allowed")], unit=Unit.SECONDS, defaults={"min": 0},
        overrides=(coloured("age", "blue"), coloured("allowed", "red", **{"custom.fillOpacity": 0, "custom.lineStyle": {"fill": "dash", "dash": [10, 10]}})),
        none="No check of this table knows a time",
    ).sized(12, 8)  # fmt: skip


def _what_changed() -> tuple[Panel, ...]:
    changes = c.of_table(aggregate("max", sel(m.SCHEMA_CHANGES), (*r.TABLE_KEY, lb.CHANGE)))
    return (
        graph("Schema changes", "Columns that differ from the schema seen before, by kind.", [Query(changes, "{{change}}")], none="No check watches the schema", defaults={"decimals": 0}).sized(6, 7),
        graph("Missing partitions", "Expected partitions that do not exist.", [Query(c.of_table(s.MISSING_PARTITIONS.expr), "missing")], limits=s.MISSING_PARTITIONS.limits,
              none="No check watches partitions", defaults={"decimals": 0}).sized(6, 7),
        graph("Rows from the future", "Rows whose event time lies ahead; they do not count for freshness.", [Query(c.of_table(s.FUTURE_ROWS.expr), "rows")], none="No time column").sized(6, 7),
        graph("Version", "Steps are commits; a flat line is a table that nobody writes.", [Query(_of_table(m.TABLE_VERSION), "version")], none="The format has no versions",
              custom={"lineInterpolation": "stepAfter", "fillOpacity": 0}, defaults={"min": None}).sized(6, 7),
    )  # fmt: skip


def _details() -> tuple[Panel, ...]:
    share = binary("/", aggregate("max", sel(m.CHECK_FAILED_ROWS), r.CHECK_KEY), aggregate("max", sel(m.CHECK_EVALUATED_ROWS), r.CHECK_KEY).compare(">", 0), r.CHECK_KEY)
    bounds = aggregate("max", sel(m.CHECK_THRESHOLD, {lb.BOUND: Bound.MAX}), r.CHECK_KEY)
    used = binary("/", aggregate("max", sel(m.CHECK_VALUE), r.CHECK_KEY), bounds.compare(">", 0), r.CHECK_KEY)
    dimension = aggregate("max", sel(m.SCORE), (*r.TABLE_KEY, lb.DIMENSION))
    outcomes = c.of_checks(aggregate("sum", increase(sel(m.CHECK_RUNS), "$__interval"), (lb.OUTCOME,)))
    return (
        graph("Score by dimension", "100% where every row is good; below the lines the alerts are.", [Query(c.of_table(dimension), "{{dimension}}")], unit=Unit.RATIO,
              limits=s.DIMENSION_SCORE.limits, defaults={"max": 1}, custom={"fillOpacity": 0}).sized(8, 8),
        graph("Share of rows that fail", "Failed rows of evaluated rows, per check that counts rows.", [Query(c.of_checks(share) , "{{check}}")], unit=Unit.RATIO, defaults={"min": 0},
              none="No check counts rows").sized(8, 8),
        graph("Measured against the greatest value allowed", "100% is the limit; only checks with an upper limit above 0.", [Query(c.of_checks(used), "{{check}}")], unit=Unit.RATIO,
              limits=Limits("above", 1), defaults={"min": 0}, none="No check has an upper limit above 0").sized(8, 8),
        graph("Runs by outcome", "How often checks were run, and what came of it.", [Query(outcomes, "{{outcome}}", interval="1h")], bars=True, stacked=True, none="No runs in this time",
              overrides=tuple(coloured(name, colour) for name, colour in (("pass", "green"), ("warn", "yellow"), ("fail", "red"), ("error", "purple"), ("skipped", "#808080"), ("learning", "blue")))).sized(8, 8),
        graph("Anomaly score", "Robust standard deviations from what was expected; negative is too few rows.", [Query(c.of_checks(s.ROWS_SCORE.expr), "{{check}}")],
              defaults={"min": None}, none="No check of this table learns its row count").sized(8, 8),
        graph("Latency", "Time from event to ingest, by quantile.", [Query(c.of_table(s.LATENCY.expr), "{{quantile}}")], unit=Unit.SECONDS, defaults={"min": 0}, none="No latency check").sized(8, 8),
    )  # fmt: skip


def _cost() -> tuple[Panel, ...]:
    def scanned(metric: m.Metric) -> Expr:
        return c.of_table(aggregate("sum", rate(sel(metric), _INTERVAL), (lb.ENGINE,)))

    spent = c.of_table(aggregate("sum", rate(total(m.EVALUATION_DURATION), _INTERVAL), (lb.TIER,)))
    state = c.of_checks(aggregate("max", sel(m.CHECK_LEARNING_STATE), (*r.CHECK_KEY, lb.STATE)))
    return (
        graph("Time spent on evaluating", "Seconds per second, by tier: what the checks of this table cost.", [Query(spent, "{{tier}}")], unit=Unit.SECONDS, stacked=True, defaults={"min": 0}).sized(6, 7),
        graph("Bytes scanned per second", "Size of the files that scans ran over.", [Query(scanned(m.SCANNED_BYTES), "{{engine}}")], unit="Bps").sized(6, 7),
        graph("Rows scanned per second", "Rows of the versions that were scanned.", [Query(scanned(m.SCANNED_ROWS), "{{engine}}")]).sized(6, 7),
        graph("Files scanned per second", "Data files that scans ran over.", [Query(scanned(m.SCANNED_FILES), "{{engine}}")]).sized(6, 7),
        graph("Rows", "Rows of the last seen version.", [Query(_of_table(m.TABLE_ROWS), "rows")]).sized(6, 7),
        graph("Size", "Size of the data files of the last seen version.", [Query(_of_table(m.TABLE_BYTES), "bytes")], unit=Unit.BYTES).sized(6, 7),
        graph("Files", "Data files of the last seen version: many small ones are slow.", [Query(_of_table(m.TABLE_FILES), "files")]).sized(6, 7),
        table("Learned checks", "How much each learned check knows; one that still learns gives no verdict.",
              [Column("Check", label="check"), Column("State", state, label="state"), Column("Known", label="state", width=120)], worst=("Check", False), hide=("job", "table", "Value"),
              none="No check of this table learns").sized(6, 7),
    )  # fmt: skip


def board() -> Board:
    """The board."""
    history = timeline(
        "Verdicts of the checks", "Green passed, red failed, a gap is unknown: since when does it fail?", Query(c.of_checks(s.CHECK_STATUS.expr), "{{check}}"), VERDICT,
        none="No verdict yet",
    ).sized(24, 9)  # fmt: skip
    rows = (
        Row("", (*_stats(), _checks(), history, _volume(), _freshness())),
        Row("What changed", _what_changed()),
        Row("Dimensions and measurements", _details()),
        Row("Cost of evaluation, size, learning", _cost(), collapsed=True),
    )
    return Board("dq-table", "Data quality: table", "Which check of this table, since when, and what changed?", (c.DATASOURCE, c.JOB, c.TABLE, c.CHECK), rows, "now-7d", c.BOARD_LINKS)
