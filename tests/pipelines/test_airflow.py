"""Airflow by its REST API, on a double that has the traps of the real one: every trap is a claim here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.collect import last_success
from exporter.model import Failure
from tests.collect_rig import Clock, Rig, events
from tests.doubles.airflow import Airflow
from tests.doubles.serving import HTML, Told

VARIANTS = [("v2", True), ("v2", False), ("v1", False)]


class World:
    """A double and an exporter that watches it, on one clock."""

    def __init__(self, folder: Path, airflow: Airflow, **source: Any) -> None:
        self.airflow = airflow
        self.clock = Clock(airflow.now)
        settings = {"type": "airflow", "url": airflow.double.url, "username": "svc", "password_env": "PW", "retry": {"wait": "1ms", "longest": "2ms"}, **source}
        self.rig = Rig(folder, {"sources": {"airflow": settings}, "pipelines": [{"source": "airflow", "match": "*"}]}, self.clock)

    def poll(self) -> str | None:
        self.clock.now = max(self.clock.now, self.airflow.now)
        error = self.rig.poll()
        self.airflow.now = self.clock.now
        return error

    def asked(self) -> int:
        """Requests since the last time."""
        count = len(self.airflow.double.asked)
        self.airflow.double.asked.clear()
        return count


@pytest.fixture(params=VARIANTS, ids=["cursor", "offset", "v1"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    airflow = Airflow(request.param[0], cursor=request.param[1], page_cap=7)
    with airflow.double.serving():
        made = World(tmp_path, airflow)
        yield made
        made.rig.close()


@pytest.fixture
def new(tmp_path: Path) -> Iterator[World]:
    """Airflow 3 as it is."""
    airflow = Airflow()
    with airflow.double.serving():
        made = World(tmp_path, airflow)
        yield made
        made.rig.close()


def test_the_past_is_known_but_not_counted(world: World) -> None:
    for number in range(20):
        world.airflow.run("sales", f"old{number}", seconds=60)
        world.airflow.tick(600)
    assert world.poll() is None
    assert world.rig.counts("sales") == (0, 0, 0, 0)
    assert world.rig.of("pipeline_run_duration_median_seconds", pipeline="sales") == 60
    assert world.rig.of("pipeline_recent_runs", pipeline="sales") == 20
    assert world.rig.of("pipeline_status", pipeline="sales") == 2


def test_a_run_is_followed_from_the_queue_to_its_end(world: World) -> None:
    world.airflow.dag("sales")
    world.poll()
    world.airflow.queue("sales", "r1")
    world.poll()
    assert world.rig.of("pipeline_queued_runs", pipeline="sales") == 1
    world.airflow.tick(30)
    world.airflow.begin("sales", "r1")
    begun = world.airflow.now
    world.poll()
    assert world.rig.of("pipeline_running_run_start_timestamp_seconds", pipeline="sales") == begun.timestamp()
    assert world.rig.of("pipeline_status", pipeline="sales") == 1
    world.airflow.now = begun
    world.airflow.tick(120)
    world.airflow.end("sales", "r1")
    world.poll()
    world.poll()
    assert world.rig.counts("sales") == (1, 1, 0, 0)
    assert world.rig.of("pipeline_last_run_duration_seconds", pipeline="sales") == 120
    assert world.rig.of("pipeline_queued_runs", pipeline="sales") == 0


def test_runs_that_are_inserted_and_deleted_while_pages_are_read_are_neither_lost_nor_doubled(world: World) -> None:
    world.airflow.dag("sales")
    world.poll()
    numbers = iter(range(1000))

    def disturb() -> None:
        number = next(numbers)
        if number < 6:
            world.airflow.run("sales", f"during{number}", seconds=1)
        if number in (2, 4):
            world.airflow.delete(*next(key for key in world.airflow.runs if key[1].startswith("doomed")))

    for number in range(30):
        world.airflow.run("sales", f"doomed{number}" if number < 4 else f"r{number}", seconds=1)
    world.airflow.while_paging = disturb
    for _ in range(4):
        assert world.poll() is None
    kept = [key for key in world.airflow.runs if not key[1].startswith("doomed")]
    counted = world.rig.counts("sales")[0]
    assert counted is not None
    assert len(kept) <= counted <= len(kept) + 4


def test_a_clear_keeps_the_run_id_and_is_another_attempt(world: World) -> None:
    world.airflow.dag("sales")
    world.poll()
    world.airflow.run("sales", "r1", "failed", 60)
    world.poll()
    world.airflow.tick(60)
    world.airflow.clear("sales", "r1")
    world.poll()
    assert world.rig.of("pipeline_status", pipeline="sales") == 1
    world.airflow.begin("sales", "r1")
    world.poll()
    world.airflow.tick(30)
    world.airflow.end("sales", "r1")
    world.poll()
    world.poll()
    assert world.rig.counts("sales") == (2, 1, 1, 0)


def test_a_verdict_set_by_hand_is_shown_and_the_first_one_stays_counted(world: World) -> None:
    world.airflow.dag("sales")
    world.poll()
    world.airflow.run("sales", "r1", "failed", 60)
    world.poll()
    world.poll()
    ended = world.rig.of("pipeline_last_run_timestamp_seconds", pipeline="sales")
    world.airflow.tick(300)
    world.airflow.set_by_hand("sales", "r1", "success")
    world.poll()
    assert world.rig.of("pipeline_status", pipeline="sales") == 2
    assert world.rig.of("pipeline_last_run_timestamp_seconds", pipeline="sales") == ended
    assert world.rig.counts("sales") == (1, 0, 1, 0)


def test_a_deleted_run_does_not_run_for_ever(world: World) -> None:
    world.airflow.dag("sales")
    world.airflow.queue("sales", "r1")
    world.airflow.begin("sales", "r1")
    world.poll()
    world.airflow.delete("sales", "r1")
    world.poll()
    assert world.rig.of("pipeline_running_run_start_timestamp_seconds", pipeline="sales") is None
    assert world.rig.counts("sales") == (0, 0, 0, 0)


def test_queued_runs_of_a_paused_dag_are_no_backlog(world: World) -> None:
    world.airflow.dag("idle", paused=True)
    for number in range(40):
        world.airflow.queue("idle", f"r{number}")
    world.poll()
    assert world.rig.of("pipeline_queued_runs", pipeline="idle") == 0


def test_a_restart_in_the_middle_neither_loses_nor_doubles(world: World) -> None:
    world.airflow.dag("sales")
    world.poll()
    for number in range(10):
        world.airflow.run("sales", f"r{number}", seconds=5)
    world.poll()
    world.rig.restart()
    for number in range(10, 25):
        world.airflow.run("sales", f"r{number}", "failed" if number % 5 == 0 else "success", seconds=5)
    world.poll()
    world.rig.restart()
    world.poll()
    assert world.rig.counts("sales") == (25, 22, 3, 0)


def test_an_automatic_retry_is_told_from_a_clear_that_raises_the_tries_too(new: World) -> None:
    airflow = new.airflow
    airflow.dag("sales", retries={"flaky": 1})
    new.poll()
    airflow.run("sales", "once")
    airflow.task("sales", "once", "flaky", "success", tries=2, most=1)
    airflow.run("sales", "cleared")
    airflow.task("sales", "cleared", "flaky", "success", tries=2, most=2)
    new.poll()
    new.poll()
    assert new.rig.counts("sales") == (2, 2, 0, 1)
    assert new.rig.of("pipeline_recent_retried_successes", pipeline="sales") == 1


def test_a_run_may_succeed_with_a_killed_task(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.run("sales", "r1")
    new.airflow.task("sales", "r1", "oom", "failed")
    new.airflow.task("sales", "r1", "cleanup", "success")
    new.poll()
    new.poll()
    assert new.rig.counts("sales") == (1, 1, 0, 0)
    [run] = new.rig.ledger.newest("airflow", "sales", 5)
    assert run.failed_tasks == 1


def test_the_error_is_read_from_the_log_and_holds_no_secret(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.run("sales", "r1", "failed")
    new.airflow.task("sales", "r1", "boom", "failed")
    detail = [{"exc_type": "ValueError", "exc_value": "no column x, password=hunter2"}, {"exc_type": "KeyError", "exc_value": "'x'"}]
    new.airflow.logs["sales", "r1", "boom"] = [{"event": "Task failed with exception", "error_detail": detail}, {"event": "bye"}]
    new.poll()
    [run] = new.rig.ledger.newest("airflow", "sales", 5)
    assert run.error is not None
    assert run.error.error_class == "ValueError"
    assert run.error.message == "task boom: no column x, password=***"
    assert new.rig.of("pipeline_last_failed_run_info", pipeline="sales", run_id="r1", error_class="ValueError") == 1


def test_a_killed_process_is_told_as_out_of_memory(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.run("sales", "r1", "failed")
    new.airflow.task("sales", "r1", "oom", "failed")
    new.airflow.logs["sales", "r1", "oom"] = [{"event": "Process terminated by signal. Likely out of memory error (OOM).", "signal": -9}]
    new.poll()
    assert new.rig.of("pipeline_last_failed_run_info", pipeline="sales", error_class="OutOfMemory") == 1


def test_the_scheduler_is_down_though_the_answer_is_200(world: World) -> None:
    world.airflow.dag("sales")
    world.airflow.scheduler = "unhealthy"
    world.poll()
    assert world.rig.of("pipeline_scheduler_up", component="scheduler") == 0
    assert world.rig.of("pipeline_scheduler_up", component="metadatabase") == 1
    assert world.rig.of("pipeline_scheduler_up", component="triggerer") is None
    assert world.rig.of("dq_exporter_collector_up", instance_name="airflow") == 1


@pytest.mark.parametrize("token_is", ["expired", "of another secret"])
def test_a_refused_token_is_replaced_once(new: World, token_is: str) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.token = "token-2"
    new.asked()
    if token_is == "expired":
        new.airflow.double.faults = [Told(body={"scheduler": {"status": "healthy"}}), Told(401, {"detail": "Token Expired"})]
    assert new.poll() is None
    assert [one.path for one in new.airflow.double.asked].count("/auth/token") == 1


@pytest.mark.parametrize(("version", "status"), [("v2", 401), ("v1", 401)])
def test_wrong_credentials_are_an_error_that_names_the_mend(tmp_path: Path, version: str, status: int) -> None:
    airflow = Airflow(version, user=("svc", "another"))
    with airflow.double.serving():
        world = World(tmp_path, airflow)
        error = world.poll()
        assert error is not None
        assert f"answered {status}" in error
        assert "check username and password_file" in error
        assert world.rig.of("dq_exporter_collector_up", instance_name="airflow") == 0
        world.rig.close()


FAULTS = {
    "500": [Told(500, {"detail": "boom"})],
    "502 HTML": [Told(502, raw=b"<html>bad gateway</html>", headers={"Content-Type": "text/html"})],
    "200 HTML": [HTML],
    "429 with a wait": [Told(429, {"detail": "slow down"}, {"Retry-After": "0"})],
    "429 without": [Told(429, {"detail": "slow down"})],
    "cut off": [Told(200, {"dag_runs": []}, cut=True)],
    "three in a row": [Told(503, {"detail": "busy"})] * 3,
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("request_number", range(8))
def test_a_passing_fault_at_any_request_changes_nothing(new: World, faults: list[Told], request_number: int) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.run("sales", "r1", "failed")
    answer, seen = new.airflow.double.answer, iter(range(10_000))
    left = list(faults)

    def faulty(asked: Any) -> Told:
        return left.pop(0) if next(seen) >= request_number and left else answer(asked)

    new.airflow.double.answer = faulty
    assert new.poll() is None
    new.poll()
    assert new.rig.counts("sales") == (1, 0, 1, 0)


def test_a_poll_that_is_not_read_to_the_end_moves_nothing(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.run("sales", "r1")
    new.airflow.tick(3600)
    answer = new.airflow.double.answer
    for number in range(8):
        seen = iter(range(10_000))
        new.airflow.double.answer = lambda asked, seen=seen, number=number: Told(500, {"detail": "down"}) if next(seen) >= number else answer(asked)
        error = new.poll()
        assert error is None or "500" in error
    new.airflow.double.answer = answer
    new.rig.collectors.reset("airflow")
    assert new.poll() is None
    new.poll()
    assert new.rig.counts("sales") == (1, 1, 0, 0)


def test_a_row_that_cannot_be_read_is_a_dead_letter_and_the_others_count(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.run("sales", "good")
    new.airflow.run("sales", "bad")
    new.airflow.runs["sales", "bad"]["end_date"] = "yesterday"
    new.airflow.runs["sales", "bad"]["id"] = 99
    new.poll()
    new.poll()
    assert new.rig.counts("sales")[0] == 1
    [letter] = new.rig.ledger.letters()
    assert "'yesterday' is not a time" in letter.reason
    assert '"bad"' in letter.payload


def test_an_unknown_state_survives_and_is_no_success(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    new.airflow.run("sales", "r1", "awaiting_the_moon")
    new.airflow.runs["sales", "r1"]["end_date"] = None
    new.poll()
    assert new.rig.counts("sales") == (0, 0, 0, 0)
    assert new.rig.of("pipeline_status", pipeline="sales") is None


def test_a_drip_of_bytes_ends_at_the_timeout(tmp_path: Path) -> None:
    airflow = Airflow()
    with airflow.double.serving():
        world = World(tmp_path, airflow, timeout="300ms", retry={"attempts": 1})
        airflow.double.faults = [Told(200, {"version": "3" * 500}, drip=0.05)]
        error = world.poll()
        assert error is not None
        assert "was not there after 0.3 s" in error
        world.rig.close()


def test_a_poll_costs_requests_in_proportion_to_what_changed(new: World) -> None:
    for number in range(300):
        new.airflow.run(f"dag{number % 60}", f"r{number}", seconds=1)
    while new.poll() is None and new.asked() > 12:
        new.airflow.tick(120)
    quiet = new.poll() or new.asked()
    new.airflow.tick(120)
    new.airflow.run("dag1", "news")
    new.poll()
    assert quiet == 5, "health, changed, queued, pools, import errors"
    assert new.asked() == 6, "and the tasks of the run that ended"


def test_a_pipeline_that_was_not_watched_for_a_while_knows_its_past_again_and_missed_no_deadline_meanwhile(new: World) -> None:
    def reconfigure(*pipelines: Any) -> None:
        new.rig.raw["pipelines"] = list(pipelines)
        config = new.rig._loaded()
        new.rig.collectors.update(config.watching, config.tables)
        new.poll()

    daily = {"name": "daily", "source": "airflow", "sla": {"by": "07:00"}}
    new.airflow.run("daily", "r0")
    new.airflow.tick(60)
    reconfigure(daily)
    new.poll()
    reconfigure({"name": "other", "source": "airflow"})
    for day in range(3):
        new.airflow.tick(86400)
        new.airflow.run("daily", f"r{day + 1}")
        new.poll()
    new.airflow.tick(60)
    reconfigure(daily)
    new.poll()
    assert new.rig.of("pipeline_last_success_timestamp_seconds", pipeline="daily") == new.airflow.runs["daily", "r3"]["end_date"].timestamp()
    assert new.rig.of("pipeline_sla_breaches_total", pipeline="daily") == 0
    assert new.rig.counts("daily") == (0, 0, 0, 0)


def test_text_that_is_none_costs_nothing_but_itself(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    for name in ("r\ud800", "r\x00", "fine"):
        new.airflow.run("sales", name)
    assert new.poll() is None
    new.poll()
    assert new.rig.counts("sales") == (3, 3, 0, 0)


def test_an_airflow_that_was_upgraded_is_asked_as_what_it_is_now(new: World) -> None:
    new.airflow.version = "v1"
    new.airflow.dag("sales")
    assert new.poll() is None
    new.airflow.version = "v2"
    new.airflow.run("sales", "r1")
    assert new.poll() is not None
    assert new.poll() is None
    new.poll()
    assert new.rig.counts("sales") == (1, 1, 0, 0)


def test_rows_that_move_up_while_others_are_deleted_are_not_passed_over(tmp_path: Path) -> None:
    airflow = Airflow("v1", page_cap=7)
    with airflow.double.serving():
        world = World(tmp_path, airflow)
        airflow.dag("sales")
        world.poll()
        for number in range(20):
            airflow.run("sales", f"r{number}", seconds=1)
        airflow.tick(300)
        doomed = ["r0", "r1", "r2"]

        def delete() -> None:
            if airflow.double.asked[-1].query.get("updated_at_gte") and airflow.double.asked[-1].query.get("offset") == ["7"]:
                while doomed:
                    airflow.delete("sales", doomed.pop())

        airflow.while_paging = delete
        assert world.poll() is None
        world.poll()
        assert {f"r{number}" for number in range(3, 20)} <= {run.run_id for run in world.rig.ledger.newest("airflow", "sales", 99)}
        world.rig.close()


def test_a_table_that_a_matched_pipeline_writes_is_as_fresh_as_its_last_success(new: World) -> None:
    new.rig.raw["pipelines"] = [{"source": "airflow", "match": "load_*", "writes": ["sales.orders"]}]
    config = new.rig._loaded()
    new.rig.collectors.update(config.watching, config.tables)
    written = last_success(config.watching, new.rig.ledger, new.clock)
    assert isinstance(written("sales.orders"), Failure)
    new.airflow.run("load_orders", "r1")
    new.poll()
    assert written("sales.orders") == new.airflow.runs["load_orders", "r1"]["end_date"]


def test_the_newest_answer_is_the_truth_though_clocks_differ_or_go_back(new: World) -> None:
    new.airflow.dag("sales")
    new.poll()
    for run in ("ahead", "back"):
        new.airflow.queue("sales", run)
        new.airflow.begin("sales", run)
    new.poll()
    ahead = (new.clock.now + timedelta(hours=3)).isoformat()
    assert not events(new.rig, {"pipeline": "sales", "run_id": "ahead", "state": "running", "at": ahead})
    new.rig.tick()
    new.airflow.end("sales", "ahead", "failed")
    new.airflow.end("sales", "back", "failed")
    new.airflow.now -= timedelta(minutes=10)
    for run in new.airflow.runs.values():
        run["updated_at"] = new.airflow.now
    new.rig.poll()
    new.rig.tick()
    assert new.rig.counts("sales") == (2, 0, 2, 0)
