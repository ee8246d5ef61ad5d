"""*Lineage and impact*: what is the cause, and what follows from it?"""

from __future__ import annotations

from exporter.bundle.grafana import common as c
from exporter.bundle.grafana.panels import VERDICT, Board, Column, Panel, Query, Row, bars, stat, table, timeline
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import recordings as r
from exporter.catalog import signals as s
from exporter.catalog.promql import Expr, aggregate, binary, call, label_replace, sel
from exporter.catalog.signals import Limits, Unit

_EDGES = aggregate("max", sel(m.LINEAGE_EDGE), (lb.UPSTREAM, lb.DOWNSTREAM))


def _graph() -> Panel:
    edges = label_replace(label_replace(c.here(_EDGES), lb.Label("source"), "$1", lb.UPSTREAM, "(.*)"), lb.Label("target"), "$1", lb.DOWNSTREAM, "(.*)")
    joined = call("label_join", edges, "id", " → ", lb.UPSTREAM.name, lb.DOWNSTREAM.name)
    ups, downs = (label_replace(c.here(aggregate("max", sel(m.LINEAGE_EDGE), (side,))), lb.Label("id"), "$1", side, "(.*)") for side in (lb.UPSTREAM, lb.DOWNSTREAM))
    names = aggregate("max", binary("or", ups, downs, (lb.Label("id"),)), (lb.Label("id"),))
    queries = (Query(label_replace(names, lb.Label("title"), "$1", lb.Label("id"), "(.*)"), instant=True, table=True), Query(joined, instant=True, table=True))
    return Panel("nodeGraph", "Lineage", "Tables, pipelines and assets; an arrow leads from what is read to what is written.", queries, 24, 12, Unit.COUNT, options={"nodes": {}, "edges": {}, "zoomMode": "cooperative", "layoutAlgorithm": "layered"},
                 defaults={"noValue": "No lineage is known"})  # fmt: skip


def _causes() -> Panel:
    status = c.here(aggregate("max", sel(m.PROBABLE_CAUSE), (lb.TABLE, lb.PIPELINE)))
    return table(
        "Probable causes", "Tables above which a pipeline failed or is late: mend the pipeline, the tables follow.",
        [Column("Table", label="table", link=c.TO_TABLE), Column("x", status, hidden=True), Column("Pipeline", label="pipeline", link=c.TO_PIPELINE)],
        worst=("Table", False), none="No failed pipeline lies above a table",
    ).sized(12, 9)  # fmt: skip


def _below_failures() -> Panel:
    failed = label_replace(c.here(s.CHECK_STATUS.expr).compare("==", 0), lb.UPSTREAM, "$1", lb.TABLE, "(.*)")
    bad = aggregate("count", failed, (lb.JOB, lb.UPSTREAM))
    edges = c.here(aggregate("max", sel(m.LINEAGE_EDGE), (lb.JOB, lb.UPSTREAM, lb.DOWNSTREAM)))
    reached = binary("*", edges, bad, (lb.JOB, lb.UPSTREAM), ())
    return table(
        "What reads a table that fails", "One step below tables with failing checks: who should be told.",
        [Column("Table", label="upstream", link=c.TO_TABLE), Column("Read by", label="downstream"), Column("Failing checks", reached, unit=Unit.COUNT, limits=Limits("above", 0), width=140)],
        worst=("Failing checks", True), hide=("job",), none="Nothing reads a table that fails",
    ).sized(12, 9)  # fmt: skip


def board() -> Board:
    """The board."""
    def number(expr: Expr) -> Expr:
        return c.count(c.here(expr))

    affected = number(aggregate("max", sel(m.PROBABLE_CAUSE), r.TABLE_KEY))
    stats = (
        stat(None, "Tables with a cause above", "Tables that suffer from a failed or late pipeline above them.", affected, limits=Limits("above", 0)).sized(6, 4),
        stat(None, "Failed pipelines", "Pipelines whose newest run failed.", c.count(c.here(c.over_limit(s.PIPELINE_STATUS))), limits=Limits("above", 0)).sized(6, 4),
        stat(None, "Known steps", "Steps of the lineage between tables, pipelines and assets.", number(_EDGES)).sized(6, 4),
        stat(None, "Things that read", "Tables, pipelines and assets that read something known.", number(aggregate("count", sel(m.LINEAGE_EDGE), (lb.DOWNSTREAM,)))).sized(6, 4),
    )  # fmt: skip
    history = timeline("Tables below a failed pipeline", "Since when a table suffers from what lies above it.", Query(c.here(aggregate("min", binary("and", sel(m.CHECK_STATUS), sel(m.PROBABLE_CAUSE), r.TABLE_KEY), (lb.TABLE,))), "{{table}}"), VERDICT,
                       none="No table suffered in this time", links=(("Open the table", c.TO_TABLE_BY_LABEL),)).sized(14, 8)  # fmt: skip
    most = bars("Impact", "How many things read each table or follow each pipeline directly.", Query(aggregate("topk", c.here(aggregate("count", _EDGES, (lb.UPSTREAM,))), (), 10), "{{upstream}}", instant=True), none="No lineage is known").sized(10, 8)
    rows = (Row("", (*stats, _causes(), _below_failures(), history, most, _graph())),)
    return Board("dq-lineage", "Lineage and impact", "What is the cause, and what follows from it?", (c.DATASOURCE, c.JOB), rows, "now-7d", c.BOARD_LINKS)
