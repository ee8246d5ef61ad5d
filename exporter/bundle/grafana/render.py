"""Boards into Grafana's classic JSON; the only place that knows grafanalib.

grafanalib's defaults are those of old Grafanas: what it writes beyond the present schema is removed, and panels, targets
and thresholds have classes of our own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attr
from grafanalib import core
from grafanalib._gen import DashboardEncoder

from exporter.bundle.grafana.panels import Board, Json, Panel, Query, Row, Variable

SCHEMA_VERSION = 42
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_LEGACY = ("rows", "__inputs", "gnetId", "hideControls", "sharedCrosshair", "style")
_LEGACY_VARIABLE = ("useTags", "tagsQuery", "tagValuesQuery", "auto", "auto_min", "auto_count")
TAG = "dq-exporter"


@attr.s
class _Target(core.Target):  # type: ignore[misc]
    """A query of Prometheus in the present shape."""

    def to_json_data(self) -> Json:
        kind = {"instant": True, "range": False} if self.instant else {"instant": False, "range": True}
        return {
            "datasource": SOURCE, "refId": self.refId, "expr": self.expr, "legendFormat": self.legendFormat or "__auto", "format": self.format,
            "editorMode": "code", **kind, **({"interval": self.interval} if self.interval else {}),
        }  # fmt: skip


@attr.s
class _Viz(core.Panel):  # type: ignore[misc]
    """Any panel, from one of ours."""

    panel: Panel = attr.ib(default=None)

    def to_json_data(self) -> Json:
        ours = self.panel
        data: Json = {"id": self.id, "type": ours.kind, "title": ours.title, "description": ours.help, "gridPos": self.gridPos, "options": ours.options}
        if ours.kind == "text":
            return data
        steps = [{"color": colour, "value": value} for colour, value in ours.steps]
        defaults = {"unit": str(ours.unit), "thresholds": {"mode": "absolute", "steps": steps}, **ours.defaults}
        if ours.custom:
            defaults["custom"] = ours.custom
        if ours.links:
            defaults["links"] = [{"title": title, "url": url} for title, url in ours.links]
        return data | {
            "datasource": SOURCE,
            "targets": self.targets,
            "fieldConfig": {"defaults": defaults, "overrides": list(ours.overrides)},
            **({"transformations": list(ours.transformations)} if ours.transformations else {}),
        }


def render(board: Board) -> str:
    """The board as the text of a JSON file."""
    dashboard = core.Dashboard(
        title=board.title, uid=board.uid, description=board.question, tags=[TAG], editable=False, graphTooltip=1, refresh="1m", schemaVersion=SCHEMA_VERSION,
        time=core.Time(board.since, "now"), timezone="browser", templating=core.Templating([_variable(one) for one in board.variables]), panels=list(_laid_out(board.rows)),
        links=[_link(title, url) for title, url in board.links],
    )  # fmt: skip
    data = json.loads(json.dumps(dashboard.to_json_data(), cls=DashboardEncoder))
    return json.dumps(_cleaned(data), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _link(title: str, url: str) -> Json:
    return {
        "title": title, "type": "link", "url": url, "icon": "dashboard", "tooltip": "", "tags": [], "asDropdown": False, "targetBlank": False, "includeVars": True, "keepTime": True,
    }  # fmt: skip


def _variable(variable: Variable) -> core.Template:
    if variable.name == "datasource":
        return core.Template("datasource", "prometheus", type="datasource", label=variable.label)
    everything = {"includeAll": True, "multi": True, "allValue": ".*", "default": "All"} if variable.many else {}
    return core.Template(variable.name, variable.query, label=variable.label, dataSource=SOURCE, refresh=2, sort=1, **everything)


def _laid_out(rows: tuple[Row, ...]) -> Iterator[Any]:
    """Panels from left to right, rows from top to bottom; ids follow the reading order."""
    number, top = 0, 0
    for row in rows:
        heading: Any = None
        if row.title:
            number += 1
            heading = {"id": number, "type": "row", "title": row.title, "collapsed": row.collapsed, "gridPos": _place(0, top, _COLUMNS, 1), "panels": []}
            top += 1
        inside, left, height = [], 0, 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                left, top, height = 0, top + height, 0
            number += 1
            inside.append(_viz(panel, number, _place(left, top, panel.width, panel.height)))
            left, height = left + panel.width, max(height, panel.height)
        top += height
        if heading is None:
            yield from inside
        elif row.collapsed:
            yield heading | {"panels": inside}
        else:
            yield heading
            yield from inside


def _place(x: int, y: int, w: int, h: int) -> Json:
    return {"x": x, "y": y, "w": w, "h": h}


def _viz(panel: Panel, number: int, place: Json) -> _Viz:
    targets = [_target(query, chr(ord("A") + i)) for i, query in enumerate(panel.queries)]
    return _Viz(id=number, title=panel.title, gridPos=place, targets=targets, panel=panel)  # type: ignore[call-arg, unused-ignore]


def _target(query: Query, letter: str) -> _Target:
    form = "table" if query.table else "time_series"
    return _Target(expr=str(query.expr), legendFormat=query.legend, refId=letter, instant=query.instant, format=form, interval=query.interval)  # type: ignore[call-arg, unused-ignore]


def _cleaned(data: Json) -> Json:
    """The dashboard without what grafanalib writes for old Grafanas."""
    for key in _LEGACY:
        data.pop(key, None)
    for variable in data["templating"]["list"]:
        for key in _LEGACY_VARIABLE:
            variable.pop(key, None)
        current = variable["current"]
        variable["current"] = {"text": ["All"], "value": ["$__all"]} if variable["multi"] else {"text": current["text"] or "", "value": current["value"] or ""}
        if variable["type"] == "datasource":
            variable["current"] = {"text": "default", "value": "default"}
    data["timepicker"] = {"refresh_intervals": ["1m", "5m", "15m", "1h"]}
    cleaned: Json = _without_nulls(data)
    return cleaned


def _without_nulls(value: Any) -> Any:
    """Unset keys are left out; the lowest step of a threshold is null by design."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None or (key == "value" and "color" in value)}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
