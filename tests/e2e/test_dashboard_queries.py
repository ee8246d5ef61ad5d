"""Every query of every dashboard returns data on a real Prometheus that has seen four weeks with incidents in them."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.bundle.grafana.boards import dashboards
from tests.tools import history, stack

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
BOARDS = {name: json.loads(text) for name, text in dashboards().items()}
EMPTY = {
    "Escalated": "nothing has been escalated, which is a 0 by another query",
    "Failed runs of 28 days": "increase needs two samples; the past is written in blocks of another resolution",
}
"""Panels that may be rightly empty, with the reason."""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, now, port = tmp_path_factory.mktemp("history"), time.time(), stack.free_port()
    history.seed(stack.find_binary("promtool"), folder / "tsdb", now, days=4)
    server = history.serve(now, port, alerts=True)
    job = {"job_name": "dq-exporter", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}], "relabel_configs": [{"target_label": "instance", "replacement": history.INSTANCE}]}
    config = {"global": {"scrape_interval": "2s", "evaluation_interval": "2s"}, "rule_files": [str(ROOT / "alert_rules" / "recording.rules.yml")], "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    try:
        with stack.prometheus(folder / "prometheus.yml", folder / "tsdb", "--query.lookback-delta=25m") as url:
            end = time.monotonic() + 60
            while not (query(url, "slo:availability_error_budget_remaining:ratio") and query(url, "ALERTS_FOR_STATE")) and time.monotonic() < end:
                time.sleep(0.5)
            yield url
    finally:
        server.shutdown()
        server.server_close()


def query(url: str, expr: str, instant: bool = True) -> list[Any]:
    now = time.time()
    arguments = {"query": expr, **({"time": str(now)} if instant else {"start": str(now - 86400), "end": str(now), "step": "600"})}
    with urllib.request.urlopen(f"{url}/api/v1/query{'' if instant else '_range'}?{urllib.parse.urlencode(arguments)}", timeout=30) as response:
        found: list[Any] = json.loads(response.read())["data"]["result"]
        return found


def interpolated(expr: str, table: str, pipeline: str) -> str:
    for name, value in (("__rate_interval", "30m"), ("__interval", "1h"), ("__range", "1d"), ("job", ".*"), ("team", ".*"), ("check", ".*"), ("table", table), ("pipeline", pipeline)):
        expr = re.sub(rf"\${name}\b", value, expr)
    return expr


QUERIES = [
    pytest.param(panel, target, id=f"{name}-{panel['id']}{target['refId']}-{panel['title']}")
    for name, board in BOARDS.items() for outer in board["panels"] for panel in [outer, *outer.get("panels", [])] for target in panel.get("targets", [])
]  # fmt: skip


@pytest.mark.parametrize(("panel", "target"), QUERIES)
def test_a_query_returns_data_for_some_table_or_pipeline(prometheus: str, panel: dict[str, Any], target: dict[str, Any]) -> None:
    tables, pipelines = [table.name for table in history.TABLES], [pipeline.name for pipeline in history.PIPELINES]
    for table in tables if "$table" in target["expr"] else tables[:1]:
        for pipeline in pipelines if "$pipeline" in target["expr"] else pipelines[:1]:
            if query(prometheus, interpolated(target["expr"], table, pipeline), target["instant"]):
                return
    assert panel["title"] in EMPTY, interpolated(target["expr"], tables[0], pipelines[0])


@pytest.mark.parametrize("name", BOARDS)
def test_a_variable_has_values(prometheus: str, name: str) -> None:
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
            assert {one["metric"][label] for one in query(prometheus, interpolated(series, "sales.orders", "sales_daily"))}
