"""Health over time: windows, medians, deadlines, cost; causes and impact; what a restart and a reload leave as it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from exporter.catalog.labels import SourceType
from tests.collect.test_receiving import http, lineage
from tests.collect_rig import Clock, Rig, at, events

PIPELINE = {"name": "sales_daily", "owner": "sales", "writes": ["sales.orders"], "suggested_action": "Raise spark.executor.memory"}


def rig_of(folder: Path, clock: Clock, **pipeline: Any) -> Rig:
    return Rig(folder, {"pipelines": [{**PIPELINE, **pipeline}]}, clock)


@pytest.fixture
def clock() -> Clock:
    return Clock(at(5))


@pytest.fixture
def rig(tmp_path: Path, clock: Clock) -> Iterator[Rig]:
    made = rig_of(tmp_path, clock, sla={"by": "07:00", "timezone": "UTC"}, cost={"usd_per_hour": 6, "budget_usd_per_day": 20})
    yield made
    made.close()


def run(rig: Rig, name: str, begin: datetime, minutes: float, state: str = "success", **more: Any) -> None:
    """A run that was told of when it ended."""
    end = begin + timedelta(minutes=minutes)
    rig.clock.now = max(rig.clock.now, end)
    assert not events(rig, {"pipeline": "sales_daily", "run_id": name, "state": "running", "at": begin.isoformat()})
    assert not events(rig, {"pipeline": "sales_daily", "run_id": name, "state": state, "at": end.isoformat(), **more})


def test_the_success_rate_is_that_of_24_hours(rig: Rig, clock: Clock) -> None:
    for hour in range(4):
        run(rig, f"r{hour}", at(5 + hour), 10, "failed" if hour == 0 else "success")
    rig.tick()
    assert (rig.of("pipeline_recent_runs", pipeline="sales_daily"), rig.of("pipeline_recent_successes", pipeline="sales_daily")) == (4, 3)
    clock.now = at(5, 30, day=21)
    rig.tick()
    assert (rig.of("pipeline_recent_runs", pipeline="sales_daily"), rig.of("pipeline_recent_successes", pipeline="sales_daily")) == (3, 3)


def test_the_median_is_of_successful_runs_and_absent_below_five(rig: Rig) -> None:
    for number, minutes in enumerate((10, 30, 20, 40)):
        run(rig, f"r{number}", at(5 + number), minutes)
    run(rig, "failed", at(9), 1, "failed")
    rig.tick()
    assert rig.of("pipeline_run_duration_median_seconds", pipeline="sales_daily") is None
    run(rig, "fifth", at(10), 50)
    rig.tick()
    assert rig.of("pipeline_run_duration_median_seconds", pipeline="sales_daily") == 1800


def test_a_deadline_is_missed_when_it_passes_not_when_the_run_ends(rig: Rig, clock: Clock) -> None:
    events(rig, {"pipeline": "sales_daily", "run_id": "slow", "state": "running", "at": at(6).isoformat()})
    rig.tick()
    assert rig.of("pipeline_sla_deadline_timestamp_seconds", pipeline="sales_daily") == at(7).timestamp()
    assert rig.of("pipeline_sla_breached", pipeline="sales_daily") == 0
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 0
    clock.now = at(7, 1)
    rig.tick()
    assert rig.of("pipeline_sla_breached", pipeline="sales_daily") == 1
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 1
    events(rig, {"pipeline": "sales_daily", "run_id": "slow", "state": "success", "at": at(7, 30).isoformat()})
    clock.now = at(7, 31)
    rig.tick()
    assert rig.of("pipeline_sla_breached", pipeline="sales_daily") == 0, "the data is there, late"
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 1
    clock.now = at(7, 1, day=21)
    rig.tick()
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 2, "yesterday's late run is not today's"


def test_a_met_deadline_is_no_breach_also_over_a_restart(rig: Rig, clock: Clock) -> None:
    run(rig, "r1", at(6), 30)
    rig.tick()
    clock.now = at(8)
    rig.restart()
    rig.tick()
    rig.tick()
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 0
    assert rig.of("pipeline_sla_deadline_timestamp_seconds", pipeline="sales_daily") == at(7, day=21).timestamp()


def test_deadlines_that_passed_while_the_exporter_was_down_are_counted_once(rig: Rig, clock: Clock) -> None:
    run(rig, "r1", at(6), 30)
    rig.tick()
    clock.now = at(12, day=23)
    rig.restart()
    rig.tick()
    rig.restart()
    rig.tick()
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 3


def test_a_deadline_before_the_pipeline_was_watched_is_none(tmp_path: Path) -> None:
    clock = Clock(at(9))
    rig = rig_of(tmp_path, clock, sla={"by": "07:00"})
    events(rig, {"pipeline": "sales_daily", "state": "failed"})
    rig.tick()
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 0
    assert rig.of("pipeline_sla_breached", pipeline="sales_daily") == 0
    rig.close()


def test_a_deadline_is_at_risk_before_it_is_missed(rig: Rig, clock: Clock) -> None:
    for day in range(15, 20):
        run(rig, f"d{day}", at(5, day=day), 60)
    clock.now = at(5, 50)
    rig.tick()
    assert rig.of("pipeline_sla_at_risk", pipeline="sales_daily") == 0
    clock.now = at(6, 10)
    rig.tick()
    assert rig.of("pipeline_sla_at_risk", pipeline="sales_daily") == 1, "nothing runs, and an hour is needed"
    events(rig, {"pipeline": "sales_daily", "run_id": "now", "state": "running", "at": at(5, 55).isoformat()})
    rig.tick()
    assert rig.of("pipeline_sla_at_risk", pipeline="sales_daily") == 0, "it began in time"


def test_weekends_and_holidays_have_no_deadline(tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 12, 24, 12, tzinfo=UTC))
    rig = rig_of(tmp_path, clock, sla={"by": "07:00", "days": "mon-fri", "holidays": "DE", "timezone": "Europe/Berlin"})
    rig.tick()
    assert rig.of("pipeline_sla_deadline_timestamp_seconds", pipeline="sales_daily") == datetime(2026, 12, 28, 6, tzinfo=UTC).timestamp()
    rig.close()


def test_cost_is_hours_times_price_of_the_calendar_day_running_ones_too(rig: Rig, clock: Clock) -> None:
    run(rig, "over midnight", at(23, day=19), 120)
    run(rig, "told", at(2), 30, cost_usd=1.5)
    events(rig, {"pipeline": "sales_daily", "run_id": "now", "state": "running", "at": at(5).isoformat()})
    clock.now = at(6) - timedelta(seconds=10)
    rig.tick(10)
    assert rig.of("pipeline_estimated_cost_usd", pipeline="sales_daily", window="1d") == pytest.approx(6 + 1.5 + 6)
    assert rig.of("pipeline_estimated_cost_usd", pipeline="sales_daily", window="30d") == pytest.approx(12 + 1.5 + 6)
    assert rig.of("pipeline_cost_budget_usd", pipeline="sales_daily") == 20


def test_resources_of_the_newest_run_are_shown(rig: Rig) -> None:
    run(rig, "r1", at(5), 10, resources={"memory": 0.95, "cpu": 0.4})
    rig.tick()
    assert rig.of("pipeline_resource_usage_ratio", pipeline="sales_daily", resource="memory") == 0.95


def test_a_restart_shows_the_same_page(rig: Rig) -> None:
    run(rig, "r1", at(5), 10)
    run(rig, "r2", at(6), 20, "failed", error="KeyError: 'x'")
    rig.tick()
    rig.tick()

    def page() -> dict[str, float]:
        return {key: value for key, value in rig.series().items() if key.startswith(("pipeline_", "dq_lineage", "dq_probable")) and "cost" not in key}

    before = page()
    rig.restart()
    rig.tick(0)
    assert page() == before


def test_events_that_were_stored_and_not_worked_on_survive_a_kill(rig: Rig) -> None:
    run(rig, "r1", at(5), 10)
    rig.restart()
    rig.tick()
    rig.restart()
    rig.tick()
    assert rig.counts("sales_daily") == (1, 1, 0, 0)


def test_a_failed_pipeline_is_the_cause_of_what_is_below_it(tmp_path: Path, clock: Clock) -> None:
    rig = Rig(
        tmp_path,
        {
            "pipelines": [
                {"name": "ingest", "writes": ["raw.orders"], "suggested_action": "call the vendor"},
                {"name": "sales_daily", "reads": ["raw.orders"], "writes": ["sales.orders"]},
            ],
            "assets": [{"name": "dashboard.kpis", "kind": "dashboard", "owner": "bi", "reads": ["sales.orders"]}],
        },
        clock,
    )
    for name in ("ingest", "sales_daily"):
        events(rig, {"pipeline": name, "run_id": "r", "state": "failed", "at": at(4, 12).isoformat(), "error": {"class": "OutOfMemory", "message": "on executor 5\nat x"}})
    rig.tick()
    assert rig.of("dq_probable_cause_info", table="sales.orders", pipeline="ingest") == 1
    assert rig.of("dq_lineage_edge_info", upstream="sales.orders", downstream="dashboard.kpis") == 1
    server = http(rig)
    with httpx.Client(base_url=server.url) as client:
        context = client.get("/api/v1/context", params={"table": "sales.orders"}).json()
        assert context["because"] == "ingest failed at 04:12 UTC on 2026-11-20: OutOfMemory: on executor 5 (by way of sales_daily); suggested action: call the vendor"
        assert [one["name"] for one in context["downstream"]] == ["dashboard.kpis"]
        assert context["downstream"][0]["owner"] == "bi"
        assert context["cause"]["pipeline"] == "ingest"
        assert context["last_failed_run"]["error_class"] == "OutOfMemory"
        assert "by way of sales_daily" in client.get("/tables/sales.orders").text
        assert client.get("/api/v1/context").status_code == 400
        assert client.get("/api/v1/context", params={"table": "x"}).status_code == 404
        for path in ("/pipelines", "/pipelines/ingest", "/lineage", "/lineage?table=sales.orders"):
            page = client.get(path)
            assert page.status_code == 200
            assert "ingest" in page.text
        assert client.get("/pipelines/nobody").status_code == 404
    server.stop()
    events(rig, {"pipeline": "ingest", "run_id": "r2", "state": "success", "at": at(4, 30).isoformat()})
    rig.tick()
    assert rig.of("dq_probable_cause_info", table="sales.orders", pipeline="sales_daily") == 1
    rig.close()


def test_a_pipeline_that_is_no_longer_configured_leaves_the_page(rig: Rig) -> None:
    run(rig, "r1", at(5), 10)
    rig.tick()
    rig.raw["pipelines"] = [{"name": "another"}]
    config = rig._loaded()
    rig.collectors.update(config.watching, config.tables)
    rig.tick()
    assert not [key for key in rig.series() if 'pipeline="sales_daily"' in key]
    assert rig.of("pipeline_info", pipeline="another") == 1
    rig.raw["pipelines"] = [PIPELINE]
    config = rig._loaded()
    rig.collectors.update(config.watching, config.tables)
    rig.tick()
    assert rig.counts("sales_daily") == (1, 1, 0, 0)


def test_no_more_pipelines_than_the_limit_come_from_a_match(tmp_path: Path, clock: Clock) -> None:
    rig = Rig(tmp_path, {"pipelines": [{"match": "job-*", "limit": 3}]}, clock)
    refused = events(rig, *({"pipeline": f"job-{number}", "state": "success"} for number in range(5)))
    rig.tick()
    assert len(refused) == 2
    assert sum(key.startswith("pipeline_info") for key in rig.series()) == 3
    rig.close()


@pytest.mark.postgres
def test_postgresql_keeps_the_same(tmp_path: Path, clock: Clock, postgres_url: str) -> None:
    rig = Rig(tmp_path, {"pipelines": [{**PIPELINE, "sla": {"by": "07:00"}}]}, clock, postgres_url)
    for number in range(6):
        run(rig, f"r{number}", at(5, day=15 + number), 10 + number, "failed" if number == 3 else "success", error="boom" if number == 3 else None)
        run(rig, f"r{number}", at(5, day=15 + number), 10 + number, "failed" if number == 3 else "success")
    rig.tick()
    page = {key: value for key, value in rig.series().items() if key.startswith("pipeline_")}
    assert rig.counts("sales_daily") == (6, 5, 1, 0)
    rig.restart()
    rig.tick(0)
    assert {key: value for key, value in rig.series().items() if key.startswith("pipeline_")} == page
    assert rig.ledger.prune(at(0, day=30), at(0, day=30)) > 0
    rig.close()


def test_a_run_id_that_is_used_every_night_counts_every_night_also_once_its_first_events_are_forgotten(tmp_path: Path, clock: Clock) -> None:
    rig = Rig(tmp_path, {"pipelines": [{"name": "nightly"}]}, clock)
    for night in range(1, 13):
        for state in ("running", "success"):
            events(rig, {"pipeline": "nightly", "run_id": "nightly", "state": state, "at": clock.now.isoformat()})
            rig.tick(600)
        rig.collectors.prune(clock.now - timedelta(days=400))
        rig.tick()
        assert rig.counts("nightly") == (night, night, 0, 0)
        clock.forward(days=1)
    rig.close()


def test_a_run_whose_start_was_long_ago_keeps_its_duration_and_a_late_word_does_not_revive_it(tmp_path: Path, clock: Clock) -> None:
    rig = Rig(tmp_path, {"pipelines": [{"name": "long"}]}, clock)
    start = {"pipeline": "long", "run_id": "r1", "state": "running", "at": clock.now.isoformat()}
    events(rig, start)
    rig.tick()
    begin = clock.now
    clock.forward(days=8)
    rig.collectors.prune(clock.now - timedelta(days=400))
    events(rig, {"pipeline": "long", "run_id": "r1", "state": "success", "at": clock.now.isoformat()})
    rig.tick()
    assert (rig.of("pipeline_last_run_duration_seconds", pipeline="long") or 0) >= (clock.now - begin).total_seconds() - 60
    clock.forward(days=8)
    rig.collectors.prune(clock.now - timedelta(days=400))
    events(rig, {**start, "owner": "late"})
    rig.tick()
    assert rig.of("pipeline_status", pipeline="long") == 2
    rig.close()


def test_a_deadline_that_is_configured_later_or_again_counts_from_then_on(rig: Rig, clock: Clock) -> None:
    def reconfigure(*pipelines: Any) -> None:
        rig.raw["pipelines"] = list(pipelines)
        config = rig._loaded()
        rig.collectors.update(config.watching, config.tables)
        rig.tick()

    reconfigure(PIPELINE)
    run(rig, "r1", at(6), 30)
    clock.forward(days=20)
    reconfigure({**PIPELINE, "sla": {"by": "07:00"}})
    rig.tick()
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 0
    clock.forward(days=1)
    rig.tick()
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 1
    reconfigure()
    clock.forward(days=20)
    reconfigure({**PIPELINE, "sla": {"by": "07:00"}})
    rig.tick()
    assert rig.of("pipeline_sla_breaches_total", pipeline="sales_daily") == 1


def test_lineage_of_openlineage_reaches_the_dag_that_is_polled(tmp_path: Path, clock: Clock) -> None:
    source = {"type": "airflow", "url": "http://127.0.0.1:9", "username": "svc", "password_env": "PW"}
    rig = Rig(tmp_path, {"sources": {"airflow": source, "lineage": {"type": "openlineage"}}, "pipelines": [{"name": "daily", "source": "airflow", "id": "sales_daily"}]}, clock)
    one = lineage("COMPLETE", "u1", 5, "sales_daily", outputs=[{"namespace": "lake", "name": "sales.orders"}])
    assert not rig.collectors.receiver.take(SourceType.OPENLINEAGE, [one]).refused
    rig.tick()
    assert rig.of("dq_lineage_edge_info", upstream="daily", downstream="sales.orders") == 1
    rig.close()


def test_runs_and_health_are_mirrored_to_an_agent(rig: Rig) -> None:
    lines: list[str] = []
    rig.collectors.keeper._mirror = lines.extend
    run(rig, "r1", at(5), 10)
    run(rig, "r2", at(6), 20, "failed")
    rig.tick()
    rig.tick(40)
    assert [line for line in lines if line.startswith("pipeline.runs")] == [f"pipeline.runs:1|c|#pipeline:sales_daily,status:{one}" for one in ("success", "failure")]
    assert "pipeline.duration:1200|h|#pipeline:sales_daily,status:failure" in lines
    assert "pipeline.status:0|g|#pipeline:sales_daily" in lines
    assert [line for line in lines if line.startswith("pipeline.estimated_cost_usd:3|g")]
