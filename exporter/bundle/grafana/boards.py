"""Every board."""

from __future__ import annotations

from exporter.bundle.grafana import alerts, exporter, lineage, overview, pipeline, pipelines, score, table
from exporter.bundle.grafana.panels import Board
from exporter.bundle.grafana.render import render


def all_boards() -> tuple[Board, ...]:
    """From the question of everybody to that of few."""
    modules = (overview, table, pipelines, pipeline, alerts, lineage, score, exporter)
    return tuple(module.board() for module in modules)


def dashboards() -> dict[str, str]:
    """The JSON of each board by the name of its file."""
    return {f"{board.uid.removeprefix('dq-')}.json": render(board) for board in all_boards()}
