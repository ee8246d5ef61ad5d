"""The rules are valid for old and new Prometheus, and each alert fires, stays silent and resolves in its test."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.bundle import files
from exporter.bundle.prometheus import rule_files, scaled
from exporter.catalog.alerts import all_alerts
from exporter.catalog.escalations import ESCALATED
from exporter.catalog.recordings import COMPATIBLE, all_recordings
from exporter.config.settings import Links, NotifySettings
from tests.tools import stack

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "alert_rules").glob("*.rules.yml"))
TESTS = sorted((ROOT / "alert_rules" / "tests").glob("*.test.yml"))
ANNOTATIONS = {
    "summary", "description", "impact", "suggested_action", "owner", "last_failed_run", "downstream", "runbook_url", "dashboard_url", "context_url",
}  # fmt: skip


def promtools() -> list[Path]:
    """Every promtool that is here: the distribution's and the newest."""
    found = sorted(stack.TOOLS.glob("*/usr/bin/promtool"))
    return found or [stack.find_binary("promtool")]


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def test_promtool_accepts_every_rule_file_without_a_lint_finding() -> None:
    for promtool in promtools():
        assert run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *RULES).count("SUCCESS") == len(RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.split(".")[0])
def test_the_rules_do_what_their_tests_say(path: Path) -> None:
    for promtool in promtools():
        run(promtool, "test", "rules", path)


@pytest.mark.parametrize("name", [*(alert.name for alert in all_alerts()), ESCALATED])
def test_an_alert_is_seen_to_fire_to_resolve_and_to_be_silent(name: str) -> None:
    fires = silent = resolves = False
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            seen = [bool(step["exp_samples"]) for step in case["promql_expr_test"] if f'alertname="{name}"' in step["expr"]]
            fires |= any(seen)
            resolves |= any(before and not after for before, after in itertools.pairwise(seen))
            silent |= len(seen) >= 3 and not any(seen) and bool(case["input_series"])
    if name == "Watchdog":
        assert fires  # it always does
    else:
        assert fires and resolves and silent


def test_every_alert_and_recording_is_in_a_rule_file_once() -> None:
    alerts, records = [rule["alert"] for rule in rules() if "alert" in rule], [rule["record"] for rule in rules() if "record" in rule]
    assert sorted(set(alerts)) == sorted([*(alert.name for alert in all_alerts()), ESCALATED])
    assert sorted(records) == sorted(one.name for one in (*all_recordings(), *COMPATIBLE))
    assert all(re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", one.name) for one in all_recordings())


@pytest.mark.parametrize("rule", [rule for rule in rules() if "alert" in rule], ids=lambda rule: rule["alert"])
def test_an_alert_carries_severity_team_and_every_annotation(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == ANNOTATIONS
    labels = set(rule.get("labels", {}))
    assert {"severity", "team"} <= labels or "severity" in rule["expr"]
    assert not any("$value" in text for text in rule.get("labels", {}).values())


def test_names_of_metrics_and_labels_in_rules_are_those_of_the_catalogue() -> None:
    from promql_parser import parse  # a tree of Prometheus's own grammar

    for rule in rules():
        parse(rule["expr"])


def test_patience_shortens_every_wait_and_links_lead_where_the_configuration_says() -> None:
    notify = NotifySettings(patience=0.01, links=Links("https://g", "https://e", "https://a"))
    found = [rule for text in rule_files(notify, "x").values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert {rule.get("for", "0s") for rule in found if "alert" in rule} <= {"0s", "1s", "2s", "3s", "6s", "9s", "18s", "36s", "72s"}
    assert all(rule["annotations"]["dashboard_url"].startswith("https://g/d/") for rule in found if "alert" in rule)
    assert scaled("2h", 1) == "2h" and scaled("10m", 0.5) == "300s"


def test_the_committed_files_are_those_that_are_generated() -> None:
    from exporter.config import load_section

    made = files.generated(load_section(ROOT / "deploy" / "dq-exporter.yml", "notify", {}))
    assert files.differences(ROOT, made) == []
    assert files.generated(load_section(ROOT / "deploy" / "dq-exporter.yml", "notify", {})) == made


def test_writing_twice_changes_nothing_and_what_nothing_makes_is_removed(tmp_path: Path) -> None:
    made = files.generated(NotifySettings())
    assert files.write(tmp_path, made) == len(made)
    assert files.write(tmp_path, made) == 0
    stray = tmp_path / "alert_rules" / "old.rules.yml"
    stray.write_text("groups: []")
    assert files.differences(tmp_path, made) == [f"{stray}: is made by nothing any more"]
    assert files.write(tmp_path, made) == 1 and not stray.exists()
