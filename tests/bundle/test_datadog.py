"""What Datadog is given is what its API takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from exporter.bundle.datadog import SCRAPED, datadog_files
from exporter.catalog.metrics import Kind
from exporter.config.settings import NotifySettings
from exporter.publish.statsd import MIRRORED

FILES = datadog_files(NotifySettings(), "x")
MONITORS = json.loads(FILES["monitors.json"])
SENT = {mirrored.name.replace("{dimension}_score", "completeness_score") for mirrored in MIRRORED} | {"pipeline.runs", "pipeline.duration"}
GRAMMAR = re.compile(r"(avg|min|max|sum)\((last_\d+[mh])\):.+ (>|<|>=) (\S+)")


@pytest.mark.parametrize("monitor", MONITORS, ids=lambda monitor: monitor["name"])
def test_a_query_has_a_window_groups_and_its_own_threshold(monitor: dict[str, Any]) -> None:
    match = GRAMMAR.fullmatch(monitor["query"])
    assert match, monitor["query"]
    assert float(match[4]) == monitor["options"]["thresholds"]["critical"]
    assert monitor["type"] == "query alert" and 1 <= monitor["priority"] <= 5
    groups = set(re.findall(r"by \{([\w,]+)\}", monitor["query"])[0].split(","))
    assert set(re.findall(r"\{\{(\w+)\.name\}\}", monitor["message"])) <= groups
    warning = monitor["options"]["thresholds"].get("warning")
    if warning is not None:
        assert (warning < float(match[4])) == (match[3] != "<")


@pytest.mark.parametrize("monitor", MONITORS, ids=lambda monitor: monitor["name"])
def test_a_monitor_reads_what_is_sent_or_scraped(monitor: dict[str, Any]) -> None:
    read = set(re.findall(r"(?:avg|min|max|sum):([a-z_.]+)\{", monitor["query"]))
    assert read and read <= SENT | set(SCRAPED.values()) | {name + ".count" for name in SCRAPED.values()}


def test_the_four_monitors_of_the_first_design_are_there() -> None:
    text = FILES["monitors.json"]
    for part in ("pipeline.runs{status:failure}", "data.freshness_hours", "dq.overall_score", "anomalies(avg:table.row_count"):
        assert part in text


def test_the_agent_scrapes_metrics_that_exist_and_no_name_twice() -> None:
    (instance,) = yaml.safe_load(FILES["openmetrics.d/conf.yaml"])["instances"]
    names = [name for one in instance["metrics"] for name in one.values()]
    assert len(names) == len(set(names)) and not set(names) & SENT - {"dq.check_status", "pipeline.sla_breached"}
    assert all(metric.kind is not Kind.HISTOGRAM for metric in SCRAPED)


def test_the_dashboard_reads_what_is_sent() -> None:
    board = json.loads(FILES["dashboard.json"])
    assert board["layout_type"] == "ordered" and len(board["widgets"]) == 10
    read = set(re.findall(r"(?:avg|min|max|sum):([a-z_.]+)\{", FILES["dashboard.json"]))
    known = SENT | set(SCRAPED.values()) | {"pipeline.duration.avg"}
    assert {name for name in read if not re.fullmatch(r"dq\.[a-z]+_score", name)} <= known
