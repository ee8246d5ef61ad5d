"""Dashboards are valid for Grafana 13.2, follow the rules of the house, and ask only for what exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.bundle.grafana.boards import all_boards, dashboards
from exporter.catalog import foreign
from exporter.catalog.alerts import all_alerts
from exporter.catalog.metrics import all_metrics
from exporter.catalog.recordings import COMPATIBLE, all_recordings

SCHEMAS = Path(__file__).resolve().parents[1] / "data" / "grafana-13.2"
BOARDS = {name: json.loads(text) for name, text in dashboards().items()}
UIDS = {board["uid"] for board in BOARDS.values()}
_FILES = {"state-timeline": "statetimeline", "nodeGraph": "nodegraph"}

NO_LIMIT_BY_DESIGN = ("text", "nodeGraph", "table", "timeseries", "state-timeline")


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


ALL = [pytest.param(board, panel, id=f"{name}-{panel['id']}-{panel['title']}") for name, board in BOARDS.items() for panel in panels(board)]
DRAWN = [one for one in ALL if one.values[1]["type"] != "row"]  # type: ignore[index]


def schema(name: str) -> dict[str, Any]:
    return _open(json.loads((SCHEMAS / f"{name}.json").read_text()))


def _open(node: Any) -> Any:
    """Grafana's schema without `required`, which lists fields that have defaults."""
    if isinstance(node, dict):
        return {key: _open(value) for key, value in node.items() if not (key == "required" and isinstance(value, list))}
    return [_open(item) for item in node] if isinstance(node, list) else node


def faults(document: Any, name: str) -> list[str]:
    from jsonschema import Draft7Validator

    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in Draft7Validator(schema(name)).iter_errors(document)]


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_valid_for_grafana(name: str) -> None:
    assert faults(BOARDS[name], "dashboard") == []


@pytest.mark.parametrize(("board", "panel"), DRAWN)
def test_options_and_fields_of_a_panel_are_those_of_its_type(board: dict[str, Any], panel: dict[str, Any]) -> None:
    kind = _FILES.get(panel["type"], panel["type"])
    assert faults(panel["options"], f"{kind}.options") == []
    custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
    if custom:
        assert faults(custom, f"{kind}.fieldconfig") == []


@pytest.mark.parametrize("name", BOARDS)
def test_ids_are_unique_panels_do_not_overlap_and_fit(name: str) -> None:
    board = BOARDS[name]
    ids = [panel["id"] for panel in panels(board)]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels(board):
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize(("board", "panel"), DRAWN)
def test_a_panel_says_what_it_shows_in_which_unit_and_when_there_is_nothing(board: dict[str, Any], panel: dict[str, Any]) -> None:
    assert re.fullmatch(r"[A-Z].{2,70}", panel["title"])
    assert len(panel["description"]) > 5
    if panel["type"] == "text":
        return
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] and defaults["noValue"]
    assert defaults["thresholds"]["steps"][0]["value"] is None
    refs = [target["refId"] for target in panel["targets"]]
    assert refs and len(set(refs)) == len(refs)
    for target in panel["targets"]:
        if panel["type"] in ("stat", "bargauge", "table"):
            assert target["instant"] or panel["options"].get("graphMode") == "area"
        if panel["type"] == "timeseries" and target["range"]:
            assert target["legendFormat"] != "__auto"


@pytest.mark.parametrize(("board", "panel"), DRAWN)
def test_counters_are_only_read_as_rates_over_the_right_interval(board: dict[str, Any], panel: dict[str, Any]) -> None:
    for target in panel.get("targets", []):
        for found in re.finditer(r"(\w+)\(([a-z_:]+_(?:total|bucket|sum|count))\b[^)\]]*(\[[^\]]+\])?", target["expr"]):
            assert found[1] in ("rate", "increase"), target["expr"]
        for function, window in re.findall(r"(rate|increase)\([^\[]+\[([^\]]+)\]", target["expr"]):
            assert window in ({"$__rate_interval"} if function == "rate" else {"$__interval", "15m", "1h", "1d", "28d"}), target["expr"]


@pytest.mark.parametrize("name", BOARDS)
def test_the_settings_of_a_dashboard_are_those_of_the_house(name: str) -> None:
    board = BOARDS[name]
    assert (board["schemaVersion"], board["editable"], board["graphTooltip"], board["refresh"], board["timezone"]) == (42, False, 1, "1m", "browser")
    assert board["uid"].startswith("dq-") and len(board["uid"]) <= 40 and board["tags"] == ["dq-exporter"]
    first = board["templating"]["list"][0]
    assert (first["name"], first["label"], first["type"]) == ("datasource", "Data source", "datasource")
    assert "rows" not in board and "__inputs" not in board


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_is_used_and_every_used_one_exists(name: str) -> None:
    board = BOARDS[name]
    text = json.dumps([board["panels"], [one["query"] for one in board["templating"]["list"]]])
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    used = {found for found in re.findall(r"\$\{?([a-z_]\w*)(?::\w+)?\}?", text) if not found.startswith("__")}
    assert used == set(variables)
    for variable in variables.values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2 and variable.get("allValue", ".*") == ".*"


def test_every_link_leads_to_a_dashboard_with_time_and_variables() -> None:
    seen = set()
    for board in BOARDS.values():
        assert all(link["includeVars"] and link["keepTime"] for link in board["links"])
        for uid, query in re.findall(r'"/d/([a-z-]+)([^"]*)"', json.dumps(board)):
            seen.add(uid)
            if query:
                assert "${__url_time_range}" in query and "${datasource:queryparam}" in query
    assert seen <= UIDS and {"dq-table", "dq-pipeline", "dq-overview"} <= seen
    for alert in all_alerts():
        from exporter.bundle.prometheus import BOARDS as OF_SUBJECT

        assert OF_SUBJECT[alert.subject] in UIDS


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:dq|pipeline|job|slo|up|ALERTS|process|scrape)[\w:]*", text))


def test_expressions_are_promql_and_name_only_what_exists() -> None:
    from promql_parser import parse

    for board in BOARDS.values():
        for panel in panels(board):
            for target in panel.get("targets", []):
                expr = re.sub(r"\$__(rate_interval|interval|range)", "5m", target["expr"])
                parse(re.sub(r"\$\w+", "x", expr))


UNCHARTED: dict[str, str] = {}
"""Metrics that no panel and no rule reads, with the reason."""


def test_every_metric_is_read_by_a_panel_or_a_rule() -> None:
    text = json.dumps(list(BOARDS.values())) + "".join(str(one.expr) for one in (*all_recordings(), *COMPATIBLE)) + "".join(str(alert.expr()) for alert in all_alerts())
    unread = {metric.name for metric in all_metrics() if not re.search(rf"\b{metric.name}(_bucket|_sum|_count)?\b", text)}
    assert unread == set(UNCHARTED)
    assert {one.name for one in foreign.all_foreign() if not re.search(rf"\b{one.name}\b", text)} == set()


def test_every_signal_that_an_alert_compares_is_drawn_with_its_expression() -> None:
    text = " ".join(target["expr"] for board in BOARDS.values() for panel in panels(board) for target in panel.get("targets", []))
    metrics_drawn = names_in(text)
    for alert in all_alerts():
        read = {selector.name for selector in alert.signal.expr.selectors()}
        assert read <= metrics_drawn or alert.name == "Watchdog" or any(name.startswith("slo:") for name in read), (alert.name, read - metrics_drawn)


def test_rendering_is_the_same_twice() -> None:
    assert dashboards() == dashboards()
    assert len({board.uid for board in all_boards()}) == len(all_boards()) == 8
