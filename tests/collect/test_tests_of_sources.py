"""Tests that a source ran are shown like checks, under the names of the tables that they are about; what was not tested is not green."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.collect_rig import Clock, Rig

DATA = Path(__file__).resolve().parents[1] / "data" / "dbt"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    target = tmp_path / "target"
    target.mkdir()
    for recorded, name in (("manifest.json", "manifest.json"), ("build_failed.json", "run_results.json"), ("sources.json", "sources.json")):
        shutil.copy(DATA / recorded, target / name)
    generated = json.loads((DATA / "build_failed.json").read_text())["metadata"]["generated_at"]
    made = Rig(tmp_path, {"sources": {"dbt": {"type": "dbt", "target": "target"}}, "pipelines": [{"name": "shop", "source": "dbt", "id": "tiny"}]}, Clock(datetime.fromisoformat(generated.replace("Z", "+00:00")).astimezone(UTC)))
    assert made.poll("dbt") is None
    yield made
    made.close()


def test_a_failing_a_warning_and_a_passing_test_are_told_apart(rig: Rig) -> None:
    rows = json.loads((DATA / "build_failed.json").read_text())["results"]
    told = {row["unique_id"].split(".")[2]: row["status"] for row in rows if row["unique_id"].startswith("test.")}
    assert {"fail", "warn", "pass"} <= set(told.values())
    outcomes = {"pass": "pass", "warn": "warn", "fail": "fail", "error": "error", "skipped": "skipped"}
    page = [key for key, value in rig.series().items() if key.startswith("dq_check_last_outcome") and value == 1]
    for name, status in told.items():
        [key] = [key for key in page if f'check="{name}' in key]
        assert f'outcome="{outcomes[status]}"' in key


def test_a_source_that_dbt_could_not_ask_is_an_error_and_not_fresh(rig: Rig) -> None:
    asked = {row["unique_id"] for row in json.loads((DATA / "sources.json").read_text())["results"]}
    configured = json.loads((DATA / "manifest.json").read_text())["sources"]
    absent = [source for name, source in configured.items() if name not in asked and ((source.get("freshness") or {}).get("error_after") or {}).get("count")]
    assert absent
    page = rig.series()
    for source in absent:
        errors = [key for key in page if key.startswith("dq_check_last_outcome") and source["identifier"] in key and 'outcome="error"' in key]
        assert errors
        assert not [key for key in page if key.startswith(("dq_check_status", "dq_freshness_timestamp")) and source["identifier"] in key and "freshness" in key]


def test_a_docs_generate_over_the_failing_run_changes_nothing(rig: Rig) -> None:
    before = {key: value for key, value in rig.series().items() if key.startswith(("dq_check_status", "pipeline_status", "pipeline_recent"))}
    shutil.copy(DATA / "docs_generate.json", rig.folder / "target" / "run_results.json")
    assert rig.poll("dbt") is None
    assert {key: value for key, value in rig.series().items() if key in before} == before


def test_a_restart_shows_the_same_tests(rig: Rig) -> None:
    before = {key for key in rig.series() if key.startswith("dq_check_")}
    rig.restart()
    rig.tick()
    assert {key for key in rig.series() if key.startswith("dq_check_")} == before
    assert before
