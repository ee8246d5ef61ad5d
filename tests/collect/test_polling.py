"""A source that is down costs only its own freshness: waits, the breaker, its reset, and what other sources notice of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.collect.polling import Breaker, BreakerState
from exporter.pipelines.http import Http, HttpError, Patience
from tests.collect_rig import Clock, Rig, at, events
from tests.doubles.airflow import Airflow
from tests.doubles.serving import Asked, Double, Told


def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def double() -> Iterator[Double]:
    with Double(lambda asked: Told(body={"fine": True})).serving() as serving:
        yield serving


def asking(double: Double, waits: list[float], **patience: Any) -> Http:
    return Http(double.url, Patience(timeout=timedelta(seconds=5), **patience), waits.append, Clock(at(6)))


def test_waits_grow_with_jitter_and_are_bounded(double: Double) -> None:
    waits: list[float] = []
    double.faults = [Told(503, {})] * 7
    assert asking(double, waits, attempts=8, wait=timedelta(seconds=1), longest=timedelta(seconds=10)).get("/").body == {"fine": True}
    assert len(waits) == 7
    assert all(0 <= wait <= min(10, 2**place) for place, wait in enumerate(waits))
    assert len(set(waits)) > 1


def test_fixed_waits_are_the_same(double: Double) -> None:
    waits: list[float] = []
    double.faults = [Told(500, {})] * 2
    asking(double, waits, attempts=3, wait=timedelta(minutes=5), is_exponential=False).get("/")
    assert waits == [300, 300]


def test_the_source_says_how_long_to_wait_and_too_long_is_left_to_the_next_poll(double: Double) -> None:
    waits: list[float] = []
    double.faults = [Told(429, {}, {"Retry-After": "17"})]
    asking(double, waits).get("/")
    assert waits == [17]
    double.faults = [Told(429, {"message": "come back later"}, {"Retry-After": "3600"})]
    with pytest.raises(HttpError, match="come back later"):
        asking(double, waits).get("/")
    assert waits == [17]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 301])
def test_what_will_not_change_is_asked_once(double: Double, status: int) -> None:
    waits: list[float] = []
    double.faults = [Told(status, {"detail": "no; token=abcdefgh"})]
    with pytest.raises(HttpError, match=f"answered {status}") as raised:
        asking(double, waits).get("/")
    assert waits == []
    assert "abcdefgh" not in str(raised.value)


def test_a_breaker_opens_lets_one_try_through_and_closes() -> None:
    clock = Clock(at(6))
    breaker = Breaker(3, timedelta(minutes=5), clock)
    for _ in range(2):
        breaker.failed()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.OPEN
    clock.forward(minutes=5)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.failed()
    assert breaker.state is BreakerState.OPEN, "the try failed"
    clock.forward(minutes=5)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


class Running:
    """The collectors of a rig as they run, with a source that can be switched off."""

    def __init__(self, folder: Path) -> None:
        self.airflow, self.is_down = Airflow(), False
        answer = self.airflow.double.answer
        self.airflow.double.answer = lambda asked: Told(503, {"detail": "down"}) if self.is_down else answer(asked)
        self.folder = folder

    def start(self) -> Rig:
        source = {"type": "airflow", "url": self.airflow.double.url, "username": "svc", "password_env": "PW", "every": "20ms", "retry": {"attempts": 1}, "breaker": {"failures": 2, "open_for": "1h"}}
        rig = Rig(self.folder, {"sources": {"airflow": source}, "pipelines": [{"source": "airflow", "match": "*"}, {"name": "nightly"}]}, Clock(self.airflow.now))
        rig.collectors.loops.clear()
        rig.collectors._thread.start()
        rig.collectors._follow(rig.collectors.watched.sources)
        return rig


def test_a_source_that_is_down_is_left_alone_and_asked_again_when_told(tmp_path: Path) -> None:
    running = Running(tmp_path)
    with running.airflow.double.serving():
        running.airflow.dag("sales")
        rig = running.start()
        until(lambda: rig.of("dq_exporter_collector_up", instance_name="airflow") == 1)
        rig.clock.forward(seconds=10)
        until(lambda: rig.of("pipeline_info", pipeline="sales") == 1)
        running.is_down = True
        until(lambda: rig.of("dq_exporter_circuit_breaker_state", instance_name="airflow") == 2)
        assert rig.of("dq_exporter_collector_up", instance_name="airflow") == 0
        assert (rig.of("dq_exporter_collector_errors_total", instance_name="airflow") or 0) >= 2
        asked = len(running.airflow.double.asked)
        assert not events(rig, {"pipeline": "nightly", "state": "success"})
        time.sleep(0.3)
        assert len(running.airflow.double.asked) == asked, "left alone"
        assert rig.of("pipeline_info", pipeline="sales") == 1, "what is known stays"
        running.is_down = False
        assert rig.collectors.reset("airflow")
        assert not rig.collectors.reset("nobody")
        until(lambda: rig.of("dq_exporter_collector_up", instance_name="airflow") == 1)
        until(lambda: rig.of("dq_exporter_circuit_breaker_state", instance_name="airflow") == 0)
        rig.collectors.stop()
        rig.store.close()


def test_stopping_does_not_wait_for_a_source_that_hangs(tmp_path: Path) -> None:
    running, hanging = Running(tmp_path), threading.Event()
    with running.airflow.double.serving():
        running.airflow.double.answer = lambda asked: Told(body="x" if hanging.wait(30) else None)
        rig = running.start()
        until(lambda: rig.collectors.loops["airflow"]._began is not None)
        began = time.monotonic()
        rig.collectors.stop()
        assert time.monotonic() - began < 8
        hanging.set()
        rig.store.close()


def databricks(asked: Asked) -> Told:
    run = {
        "run_id": 7, "job_id": 4711, "run_name": "etl", "start_time": int(at(5).timestamp() * 1000), "end_time": int(at(5, 10).timestamp() * 1000), "run_duration": 600_000,
        "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR", "type": "CLIENT_ERROR", "message": "boom"}},
    }  # fmt: skip
    return Told(body={"runs": [] if asked.one("active_only") else [run]})


def test_databricks_spark_and_dbt_are_collected_like_the_others(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    clock = Clock(at(6))
    lake = Double(databricks)
    history = Double(lambda asked: Told(body=[]) if asked.path.endswith("/applications") else Told(body={"spark": "4.2.0"}))
    (target / "manifest.json").write_text(json.dumps({"metadata": {"project_name": "shop", "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json"}, "nodes": {}, "sources": {}, "exposures": {}}))
    result = {"unique_id": "model.shop.orders", "status": "success", "timing": [], "execution_time": 2.0, "message": "OK", "failures": None}
    (target / "run_results.json").write_text(
        json.dumps({"metadata": {"invocation_id": "i1", "generated_at": at(5, 30).isoformat(), "invocation_started_at": at(5, 29).isoformat(), "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"}, "args": {"which": "run"}, "results": [result], "elapsed_time": 3.0})
    )
    with lake.serving(), history.serving():
        sources = {
            "lake": {"type": "databricks", "url": lake.url, "token_env": "TOKEN"}, "history": {"type": "spark", "url": history.url}, "transform": {"type": "dbt", "target": "target"},
        }
        pipelines = [{"name": "etl", "source": "lake", "id": 4711}, {"name": "app", "source": "history"}, {"name": "shop", "source": "transform"}]
        rig = Rig(tmp_path, {"sources": sources, "pipelines": pipelines}, clock)
        assert [rig.poll(name) for name in sources] == [None, None, None]
        assert rig.of("pipeline_status", pipeline="etl") == 0
        assert rig.of("pipeline_last_run_duration_seconds", pipeline="etl") == 600
        assert rig.of("pipeline_status", pipeline="shop", source="dbt") == 2
        assert rig.of("pipeline_status", pipeline="app") is None
        rig.close()
