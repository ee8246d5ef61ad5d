"""The words that boards are written in: queries, panels, variables, rows. Plain data; render.py turns it into JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.catalog.promql import Expr
from exporter.catalog.signals import Limits, Signal, Unit

Json = dict[str, Any]
GOOD, WATCH, BAD, NEUTRAL, UNKNOWN = "green", "yellow", "red", "text", "#808080"
"""Colours have meaning: only states are green, yellow or red."""
NOTHING_YET = "No data yet"


@dataclass(frozen=True)
class Query:
    """One query of a panel; `legend` as Grafana's template of label names."""

    expr: Expr
    legend: str = ""
    instant: bool = False
    table: bool = False
    interval: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel: what it shows, how large it is (of 24 columns), and how it looks."""

    kind: str
    title: str
    help: str
    queries: tuple[Query, ...] = ()
    width: int = 6
    height: int = 4
    unit: str = Unit.COUNT
    steps: tuple[tuple[str, float | None], ...] = ((NEUTRAL, None),)
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    def sized(self, width: int, height: int) -> Panel:
        """The same in another size."""
        return replace(self, width=width, height=height)


@dataclass(frozen=True)
class Row:
    """A heading with panels; collapsed ones open with a click."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a board; `query` gives the values from a label of a metric."""

    name: str
    label: str
    query: str = ""
    many: bool = True


@dataclass(frozen=True)
class Board:
    """One dashboard: a question and what answers it."""

    uid: str
    title: str
    question: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    since: str = "now-24h"
    links: tuple[tuple[str, str], ...] = ()


def steps_of(limits: Limits | None, unit: str) -> tuple[tuple[str, float | None], ...]:
    """Colours by the limits that the alert compares; whole numbers turn at the first one that is too many."""
    if limits is None:
        return ((NEUTRAL, None),)
    whole = unit in (Unit.COUNT, Unit.STATE)
    if limits.worse == "above":
        bad = limits.bad + 1 if whole else limits.bad
        warn = None if limits.warn is None else limits.warn + 1 if whole else limits.warn
        middle: tuple[tuple[str, float | None], ...] = () if warn is None else ((WATCH, warn),)
        return ((GOOD, None), *middle, (BAD, bad))
    middle = () if limits.warn is None else ((WATCH, limits.bad),)
    return ((BAD, None), *middle, (GOOD, limits.bad if limits.warn is None else limits.warn))


def texts(*named: tuple[float | str, str, str]) -> list[Json]:
    """Values as words and colours: `(0, "Fail", "red")`."""
    return [{"type": "value", "options": {str(value): {"text": text, "color": colour, "index": i} for i, (value, text, colour) in enumerate(named)}}]


VERDICT = texts((0, "✗ Fail", BAD), (1, "✓ Pass", GOOD))
RUN_STATE = texts((0, "✗ Failed", BAD), (1, "▶ Running", "blue"), (2, "✓ Success", GOOD))
YES_NO_BAD = texts((0, "no", GOOD), (1, "yes", BAD))
UP_DOWN = texts((0, "✗ down", BAD), (1, "✓ up", GOOD))
SEVERITY = texts(("critical", "P1 critical", BAD), ("high", "P2 high", "orange"), ("medium", "P3 medium", WATCH), ("low", "P4 low", "blue"), ("none", "–", NEUTRAL))
PRIORITY = texts(("P1", "P1", BAD), ("P2", "P2", "orange"), ("P3", "P3", WATCH), ("P4", "P4", "blue"))
OUTCOME = texts(
    ("pass", "✓ pass", GOOD), ("warn", "! warn", WATCH), ("fail", "✗ fail", BAD), ("error", "? error", "purple"), ("skipped", "skipped", UNKNOWN), ("learning", "learning", "blue")
)


_ABSENT: list[Json] = [{"type": "special", "options": {"match": "null+nan", "result": {"text": "–", "color": UNKNOWN, "index": 0}}}]
"""What is not there is grey, never green."""
_LOWEST = -1e12


def _known(steps: tuple[tuple[str, float | None], ...]) -> tuple[tuple[str, float | None], ...]:
    """The same colours for numbers, and grey where there is none."""
    return ((UNKNOWN, None), *((colour, _LOWEST if value is None else value) for colour, value in steps))


def stat(signal: Signal | None, title: str, help_: str, expr: Expr, *, limits: Limits | None = None, unit: str = Unit.COUNT, none: str = NOTHING_YET, spark: bool = False, **more: Any) -> Panel:
    """One number; coloured by its state when it has limits."""
    limits = limits or (signal.limits if signal else None)
    unit = signal.unit if signal and unit == Unit.COUNT else unit
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background_solid" if limits else "value", "graphMode": "area" if spark else "none",
        "justifyMode": "center", "textMode": "auto", "orientation": "auto", "wideLayout": True, "showPercentChange": False, "percentChangeColorMode": "standard",
    }  # fmt: skip
    defaults = {"noValue": none, **({"min": 0, "max": 1} if unit == Unit.RATIO and signal is not None and limits and limits.worse == "below" else {}), **more.pop("defaults", {})}
    return Panel("stat", title, help_, (Query(expr, instant=not spark),), 4, 4, unit, _known(steps_of(limits, unit)) if limits else steps_of(limits, unit), options, defaults=defaults, **more)


def graph(title: str, help_: str, queries: Sequence[Query], *, unit: str = Unit.COUNT, limits: Limits | None = None, bars: bool = False, stacked: bool = False, legend: str = "bottom", none: str = NOTHING_YET, **more: Any) -> Panel:
    """Values over time; limits as lines."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line", "lineWidth": 0 if bars else 2, "fillOpacity": 80 if bars else 10, "showPoints": "never", "spanNulls": False,
        "lineInterpolation": "linear", "thresholdsStyle": {"mode": "dashed" if limits else "off"}, "axisBorderShow": False,
        **({"stacking": {"mode": "normal", "group": "A"}} if stacked else {}), **more.pop("custom", {}),
    }  # fmt: skip
    right = legend == "right"
    options = {
        "legend": {"displayMode": "table" if right else "list", "placement": legend, "showLegend": legend != "none", "calcs": ["lastNotNull"] if right else []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults = {"noValue": none, "color": {"mode": "palette-classic"}, **more.pop("defaults", {})}
    if bars or stacked or unit in (Unit.COUNT, Unit.BYTES, Unit.USD):
        defaults.setdefault("min", 0)
    if unit == Unit.COUNT:
        custom.setdefault("axisSoftMax", 1)
    return Panel("timeseries", title, help_, tuple(queries), 12, 8, unit, steps_of(limits, unit), options, custom, defaults, **more)


def timeline(title: str, help_: str, query: Query, mappings: list[Json], *, none: str = NOTHING_YET, **more: Any) -> Panel:
    """States over time, one line each; gaps are unknown."""
    options = {
        "mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.85,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False}, "tooltip": {"mode": "single", "sort": "none"},
    }  # fmt: skip
    return Panel(
        "state-timeline", title, help_, (query,), 24, 8, Unit.STATE, ((NEUTRAL, None),), options, {"fillOpacity": 85, "lineWidth": 0},
        {"mappings": mappings, "noValue": none, "color": {"mode": "thresholds"}}, **more,
    )  # fmt: skip


def bars(title: str, help_: str, query: Query, *, signal: Signal | None = None, limits: Limits | None = None, unit: str = Unit.COUNT, none: str = NOTHING_YET, top: float | None = None, **more: Any) -> Panel:
    """A ranking by length and colour."""
    limits = limits or (signal.limits if signal else None)
    unit = signal.unit if signal else unit
    options = {
        "displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color", "namePlacement": "left", "sizing": "auto", "minVizWidth": 8,
        "minVizHeight": 16, "maxVizHeight": 40, "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
    }  # fmt: skip
    defaults: Json = {"noValue": none, "min": 0, **({"max": top} if top is not None else {})}
    return Panel("bargauge", title, help_, (query,), 8, 8, unit, steps_of(limits, unit), options, defaults=defaults, **more)


@dataclass(frozen=True)
class Column:
    """A column of a table: a label, or the value of a query."""

    name: str
    expr: Expr | None = None
    label: str = ""
    unit: str = ""
    limits: Limits | None = None
    mappings: list[Json] | None = None
    width: int | None = None
    link: str = ""
    hidden: bool = False
    decimals: int | None = None


def table(title: str, help_: str, columns: Sequence[Column], *, worst: tuple[str, bool], hide: Sequence[str] = (), none: str = "Nothing to show", rows: int | None = None) -> Panel:
    """A table with one row per thing, joined from several queries by their labels, the worst first."""
    queries = [(column, chr(ord("A") + i)) for i, column in enumerate(column for column in columns if column.expr is not None)]
    letters = {column.name: letter for column, letter in queries}
    single = len(queries) == 1
    source = {column.name: ("Value" if single else f"Value #{letters[column.name]}") if column.expr is not None else column.label for column in columns}
    drop = dict.fromkeys(("Time", "__name__", *hide), True) | {source[column.name]: True for column in columns if column.hidden}
    organize = {
        "excludeByName": drop, "includeByName": {},
        "indexByName": {source[column.name]: i for i, column in enumerate(columns)},
        "renameByName": {source[column.name]: column.name for column in columns if not column.hidden},
    }  # fmt: skip
    transformations: list[Json] = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}, {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": worst[0], "desc": worst[1]}]}}]
    if rows:
        transformations.append({"id": "limit", "options": {"limitField": rows}})
    return Panel(
        "table", title, help_, tuple(Query(column.expr, instant=True, table=True) for column, _ in queries if column.expr is not None), 24, 8, Unit.STATE,
        options={"showHeader": True, "cellHeight": "sm"}, custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "minWidth": 70},
        defaults={"noValue": none}, overrides=tuple(_override(column) for column in columns if not column.hidden), transformations=tuple(transformations),
    )  # fmt: skip


def _override(column: Column) -> Json:
    properties: list[Json] = []

    def add(name: str, value: Any) -> None:
        properties.append({"id": name, "value": value})

    add("noValue", "–")
    if column.unit:
        add("unit", str(column.unit))
    if column.decimals is not None:
        add("decimals", column.decimals)
    if column.limits is not None:
        add("thresholds", {"mode": "absolute", "steps": [{"color": colour, "value": value} for colour, value in steps_of(column.limits, column.unit)]})
    if column.mappings:
        add("mappings", column.mappings)
        add("custom.align", "left")
    elif column.limits is not None:
        add("mappings", _ABSENT)
    if column.limits is not None or column.mappings:
        add("custom.cellOptions", {"type": "color-text"})
    if column.width:
        add("custom.width", column.width)
    else:
        add("custom.minWidth", 140)
    if column.link:
        add("links", [{"title": f"Open {column.name.lower()}", "url": column.link}])
    return {"matcher": {"id": "byName", "options": column.name}, "properties": properties}


def named(name: str, properties: Mapping[str, Any]) -> Json:
    """An override for the series or column with a name."""
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": key, "value": value} for key, value in properties.items()]}


def coloured(name: str, colour: str, **more: Any) -> Json:
    """A series with a fixed colour."""
    return named(name, {"color": {"mode": "fixed", "fixedColor": colour}, **more})


def text(title: str, content: str, width: int = 24, height: int = 3) -> Panel:
    """Words."""
    return Panel("text", title, content.split("\n", 1)[0], (), width, height, options={"mode": "markdown", "content": content})
