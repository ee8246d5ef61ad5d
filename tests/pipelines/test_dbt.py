"""dbt: verdicts, tests, freshness and lineage from the files that it leaves, and the ways in which those files mislead."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.catalog.labels import Dimension, Outcome, Severity
from exporter.pipelines.base import Flow, SourceError, Unreadable
from exporter.pipelines.dbt import DbtSource
from exporter.pipelines.dbt_manifest import plain_name
from exporter.pipelines.run import PipelineRun, RunState
from tests.pipelines.poll_driver import Driver, http_to

DATA = Path(__file__).resolve().parents[1] / "data" / "dbt"
NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
_, _, SUCCESS, FAILED, _, _ = RunState


class Project:
    """A target directory into which a test puts what dbt would write."""

    def __init__(self, target: Path) -> None:
        self.target = target
        target.mkdir()

    def put(self, recorded: str, name: str = "run_results.json", change: Callable[[dict[str, Any]], None] = lambda document: None) -> None:
        """One of the files of tests/data/dbt, changed."""
        document = json.loads((DATA / recorded).read_text())
        change(document)
        (self.target / name).write_text(json.dumps(document))

    def watch(self, **settings: Any) -> Driver:
        """Watched by the name of the project, or of the job."""
        source = DbtSource(type="dbt", target=self.target, **settings)
        return Driver(source, http_to("http://127.0.0.1:9", lambda: NOW), [settings.get("job", "tiny")])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "target")
    project.put("manifest.json", "manifest.json")
    return project


def only(driver: Driver) -> PipelineRun:
    ((run,),) = driver.runs.values()
    return run


def results(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["unique_id"]: row for row in document["results"]}


def test_a_build_is_a_run_with_its_tests(project: Project) -> None:
    project.put("build_ok.json")
    driver = project.watch()
    driver.poll()
    run = only(driver)
    assert (run.job, run.run_id, run.state, run.error, run.failed_tasks) == ("tiny", "run-1", SUCCESS, None, 0)
    assert run.at == run.ended_at == datetime(2026, 5, 1, 6, 0, 10, 123456, tzinfo=UTC)
    assert run.duration == timedelta(seconds=10)
    warned = driver.tests["lake.core.stg_orders", "not_null_stg_orders_customer_id"]
    assert (warned.outcome, warned.failed_rows, warned.column, warned.severity, warned.type) == (Outcome.WARN, 3, "customer_id", Severity.MEDIUM, "dbt_test")
    assert warned.at == datetime(2026, 5, 1, 6, 0, 5, 500000, tzinfo=UTC)
    assert len(driver.tests) == 7
    assert driver.poll().reports == []


def test_each_kind_of_test_belongs_to_a_dimension(project: Project) -> None:
    project.put("build_ok.json")
    driver = project.watch()
    driver.poll()
    assert {name: test.dimension for (_, name), test in driver.tests.items()} == {
        "unique_stg_orders_order_id": Dimension.UNIQUENESS, "not_null_stg_orders_customer_id": Dimension.COMPLETENESS,
        "relationships_stg_orders_country": Dimension.CONSISTENCY, "accepted_values_stg_orders_status": Dimension.VALIDITY,
        "not_null_revenue_customer_id": Dimension.COMPLETENESS, "no_refund_without_order": Dimension.VALIDITY, "broken_sql": Dimension.VALIDITY,
    }  # fmt: skip


def test_failures_and_errors_fail_the_run_and_say_why(project: Project) -> None:
    project.put("build_failed.json")
    driver = project.watch()
    driver.poll()
    run = only(driver)
    assert (run.state, run.failed_tasks) == (FAILED, 2)
    assert run.error and run.error.error_class == "RuntimeError"
    assert run.error.message.startswith("test.tiny.broken_sql error: Runtime Error")
    assert "Got 2 results" in run.error.message
    assert "2 skipped" in run.error.message
    tests = {name: (test.outcome, test.failed_rows) for (_, name), test in driver.tests.items()}
    assert tests["unique_stg_orders_order_id"] == (Outcome.FAIL, 2)
    assert tests["broken_sql"] == (Outcome.ERROR, None)
    assert tests["not_null_revenue_customer_id"] == (Outcome.SKIPPED, None)
    assert "hunter2" not in run.error.message + "".join(test.message for test in driver.tests.values())


@pytest.mark.parametrize(("status", "state"), [
    ("success", SUCCESS), ("no-op", SUCCESS), ("warn", SUCCESS), ("reused", SUCCESS), ("error", FAILED), ("fail", FAILED), ("runtime error", FAILED),
    ("partial success", FAILED), ("skipped", FAILED), ("status of 2031", FAILED),
])  # fmt: skip
def test_a_run_fails_as_its_exit_code_would(project: Project, status: str, state: RunState) -> None:
    project.put("build_ok.json", change=lambda document: results(document)["model.tiny.revenue"].update(status=status))
    driver = project.watch()
    driver.poll()
    assert only(driver).state is state
    assert (only(driver).error is None) == (state is SUCCESS)


def test_skipped_and_idle_exposures_count_as_nothing(project: Project) -> None:
    project.put("build_ok.json", change=lambda document: results(document)["exposure.tiny.kpis"].update(status="skipped"))
    driver = project.watch()
    driver.poll()
    assert only(driver).state is SUCCESS


@pytest.mark.parametrize("which", ["generate", "compile", "list", "run-operation", "clone", None])
def test_commands_that_only_compile_say_nothing_of_runs_and_tests(project: Project, which: str | None) -> None:
    project.put("build_failed.json")
    driver = project.watch()
    driver.poll()
    before = driver.states(), dict(driver.tests)
    project.put("docs_generate.json", change=lambda document: document["args"].update(which=which))
    polled = driver.poll()
    assert not polled.reports
    assert not polled.tests
    assert (driver.states(), driver.tests) == before
    assert not driver.letters


@pytest.mark.parametrize("which", ["build", "run", "test", "seed", "snapshot"])
def test_commands_that_run_are_runs(project: Project, which: str) -> None:
    project.put("build_ok.json", change=lambda document: document["args"].update(which=which, invocation_command=f"dbt {which}"))
    driver = project.watch()
    driver.poll()
    assert only(driver).state is SUCCESS


def cut(document: dict[str, Any]) -> None:
    document["results"] = document["results"][:4]


def test_a_whole_build_that_left_nodes_out_was_interrupted(project: Project) -> None:
    project.put("build_ok.json", change=cut)
    driver = project.watch()
    driver.poll()
    error = only(driver).error
    assert error and error.error_class == "Interrupted"
    assert "model.tiny.revenue" in error.message
    assert "paid_orders" not in error.message, "what is not stored has no result of its own"


@pytest.mark.parametrize("change", [
    {"select": ["stg_orders"]}, {"exclude": ["revenue"]}, {"selector": "nightly"}, {"resource_types": ["model"]}, {"exclude_resource_types": ["test"]},
    {"invocation_command": "dbt retry"}, {"invocation_command": ""}, {"invocation_command": "dbt --quiet retry --target build"},
])  # fmt: skip
def test_a_part_of_a_project_is_not_an_interrupted_whole(project: Project, change: dict[str, Any]) -> None:
    def part(document: dict[str, Any]) -> None:
        cut(document)
        document["args"].update(change)

    project.put("build_ok.json", change=part)
    driver = project.watch()
    driver.poll()
    assert only(driver).state is SUCCESS


@pytest.mark.parametrize("change", [{"metadata": {"project_name": "tiny", "invocation_id": "later"}}, {"selectors": {"nightly": {"default": True}}}])
def test_another_manifest_or_a_default_selector_proves_no_interruption(project: Project, change: dict[str, Any]) -> None:
    project.put("manifest.json", "manifest.json", lambda document: document.update(change))
    project.put("build_ok.json", change=cut)
    driver = project.watch()
    driver.poll()
    assert only(driver).state is SUCCESS


def test_a_run_that_was_killed_leaves_the_old_file_which_is_not_told_again(project: Project) -> None:
    project.put("build_ok.json")
    driver = project.watch()
    driver.poll()
    os.utime(project.target / "run_results.json")
    project.put("manifest.json", "manifest.json", lambda document: document["metadata"].update(invocation_id="killed"))
    assert driver.poll().reports == []
    driver.restart()
    polled = driver.poll()
    assert polled.reports == []
    assert polled.flows, "after a start lineage and tests are told again"
    assert polled.tests


def test_what_was_found_but_not_stored_is_told_again(project: Project) -> None:
    project.put("build_ok.json")
    driver = project.watch()
    project.put("sources.json", "sources.json")
    first, second = driver.poller.poll(driver.known()), driver.poller.poll(driver.known())
    assert (second.reports, second.tests, second.flows) == (first.reports, first.tests, first.flows)
    assert driver.poll().reports
    assert not driver.poll().tests


@pytest.mark.parametrize("name", ["run_results.json", "sources.json", "manifest.json"])
def test_a_file_that_is_half_written_is_left_to_the_next_look(project: Project, name: str) -> None:
    project.put("build_ok.json")
    project.put("sources.json", "sources.json")
    whole = (project.target / name).read_text()
    driver = project.watch()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        (project.target / name).write_text(whole[:size])
        with pytest.raises(SourceError, match=f"{name} is not complete JSON"):
            driver.poll()
    assert not driver.runs
    (project.target / name).write_text(whole)
    driver.poll()
    assert only(driver).state is SUCCESS


def test_the_freshness_of_sources_is_told_and_one_that_is_absent_is_unknown(project: Project) -> None:
    project.put("sources.json", "sources.json")
    driver = project.watch()
    driver.poll()
    tests = {dataset: test for (dataset, name), test in driver.tests.items()}
    assert {dataset: test.outcome for dataset, test in tests.items()} == {
        "lake.raw.orders": Outcome.PASS, "lake.raw.clicks": Outcome.WARN, "lake.raw.payments": Outcome.FAIL, "lake.raw.gone": Outcome.ERROR,
    }  # fmt: skip
    assert {test.type for test in tests.values()} == {"dbt_source_freshness"}
    assert {test.dimension for test in tests.values()} == {Dimension.TIMELINESS}
    stale = tests["lake.raw.payments"]
    assert stale.newest_at == datetime(2026, 4, 27, 6, 30, tzinfo=UTC)
    assert stale.message == "the newest row is 4d old; allowed: 2 day"
    assert tests["lake.raw.gone"].newest_at is None
    assert not driver.runs


def test_a_source_whose_query_failed_is_unknown(project: Project) -> None:
    def fail(document: dict[str, Any]) -> None:
        document["results"][0] = {"unique_id": "source.tiny.landing.orders", "error": "no such table", "status": "runtime error"}

    project.put("sources.json", "sources.json", fail)
    driver = project.watch()
    driver.poll()
    test = driver.tests["lake.raw.orders", "source_freshness"]
    assert (test.outcome, test.message) == (Outcome.ERROR, "no such table")


def test_lineage_goes_through_what_is_not_stored_and_ends_in_exposures(project: Project) -> None:
    driver = project.watch()
    driver.poll()
    assert sorted(driver.flows, key=lambda flow: flow.outputs) == [
        Flow("tiny", ("lake.core.revenue", "lake.raw.plain"), ("dashboard.kpis",)),
        Flow("tiny", (), ("lake.core.countries",)),
        Flow("tiny", ("lake.raw.orders",), ("lake.core.orders_history",)),
        Flow("tiny", ("lake.core.stg_orders",), ("lake.core.revenue",)),
        Flow("tiny", ("lake.raw.orders", "lake.core.countries"), ("lake.core.stg_orders",)),
    ]
    assert not driver.poll().flows


def test_models_that_refer_to_each_other_do_not_go_round_for_ever(project: Project) -> None:
    def loop(document: dict[str, Any]) -> None:
        document["nodes"]["model.tiny.paid_orders"]["depends_on"]["nodes"] = ["model.tiny.paid_orders", "model.tiny.stg_orders", "model.of.nowhere"]

    project.put("manifest.json", "manifest.json", loop)
    driver = project.watch()
    driver.poll()
    assert Flow("tiny", ("lake.core.stg_orders",), ("lake.core.revenue",)) in driver.flows


@pytest.mark.parametrize(("relation", "name"), [
    ('"shop"."main"."orders"', "shop.main.orders"), ("`prj-1`.`set`.`orders`", "prj-1.set.orders"), ("[shop].[dbo].[orders]", "shop.dbo.orders"),
    ("SHOP.MAIN.ORDERS", "SHOP.MAIN.ORDERS"), ('main."odd ""name"""', 'main.odd "name"'), ("", ""),
])  # fmt: skip
def test_names_of_relations_lose_their_quotes(relation: str, name: str) -> None:
    assert plain_name(relation) == name


def test_a_test_of_which_the_manifest_knows_nothing_belongs_to_the_project(project: Project) -> None:
    project.put("manifest.json", "manifest.json", lambda document: document.update(nodes={}))
    project.put("build_failed.json")
    driver = project.watch()
    driver.poll()
    assert driver.tests["tiny", "unique_stg_orders_order_id"].outcome is Outcome.FAIL


def test_tests_of_one_name_stay_apart(project: Project) -> None:
    twin = "test.other_package.broken_sql"

    def manifest(document: dict[str, Any]) -> None:
        document["nodes"][twin] = {**document["nodes"]["test.tiny.broken_sql"], "unique_id": twin}

    project.put("manifest.json", "manifest.json", manifest)
    project.put("build_ok.json", change=lambda document: document["results"].append({**results(document)["test.tiny.broken_sql"], "unique_id": twin, "status": "fail"}))
    driver = project.watch()
    driver.poll()
    assert driver.tests["lake.core.stg_orders", "broken_sql"].outcome is Outcome.PASS
    assert driver.tests["lake.core.stg_orders", twin].outcome is Outcome.FAIL


def test_a_job_may_be_named_and_then_needs_no_manifest(project: Project) -> None:
    (project.target / "manifest.json").unlink()
    project.put("build_failed.json")
    driver = project.watch(job="shop_nightly")
    driver.poll()
    assert (only(driver).job, only(driver).state) == ("shop_nightly", FAILED)
    with pytest.raises(SourceError, match="set `job`"):
        project.watch().poll()


def test_a_project_that_is_not_watched_still_tells_its_tests(project: Project) -> None:
    project.put("build_ok.json")
    driver = project.watch()
    driver.wants = lambda job: False
    polled = driver.poll()
    assert not polled.reports
    assert polled.tests
    driver.wants = lambda job: True
    driver.restart()
    assert driver.poll().reports, "it is told once it is watched"


def test_a_directory_that_lacks_or_has_no_run_yet_is_told_apart(tmp_path: Path, project: Project) -> None:
    assert project.watch().poll().reports == []
    shutil.rmtree(project.target)
    with pytest.raises(SourceError, match="is not a directory that can be read; check `target`"):
        project.watch().poll()


@pytest.mark.parametrize("change", [{"metadata": None}, {"results": {}}, {"args": []}, {"metadata": {"generated_at": "2026-05-01T06:00:00Z"}}, {"metadata": {"invocation_id": "x", "generated_at": "soon"}}])
def test_a_document_that_cannot_be_read_becomes_a_letter_once(project: Project, change: dict[str, Any]) -> None:
    project.put("build_ok.json", change=lambda document: document.update(change))
    project.put("sources.json", "sources.json")
    driver = project.watch()
    for _ in range(2):
        driver.poll()
        driver.restart()
    assert len(driver.letters) == 1
    assert len(driver.tests) == 4, "the rest goes on"
    with pytest.raises(Unreadable):
        DbtSource(type="dbt", target=project.target).understand(json.loads(driver.letters[0].payload), NOW)


def test_a_result_that_cannot_be_read_becomes_a_letter_and_the_run_is_no_success(project: Project) -> None:
    project.put("build_ok.json", change=lambda document: document["results"].extend([5, {"status": "pass"}]))
    project.put("sources.json", "sources.json", lambda document: document["results"].append("x"))
    driver = project.watch()
    driver.poll()
    assert only(driver).state is FAILED
    assert len(driver.letters) == 3
    assert len(driver.tests) == 11


def test_a_run_can_be_replayed_from_its_payload(project: Project) -> None:
    payload = {**json.loads((DATA / "build_failed.json").read_text()), "project": "tiny"}
    (report,) = DbtSource(type="dbt", target=project.target).understand(payload, NOW).reports
    assert (report.job, report.run_id, report.state) == ("tiny", "run-2", FAILED)
    assert not DbtSource(type="dbt", target=project.target).understand(json.loads((DATA / "docs_generate.json").read_text()), NOW).reports
