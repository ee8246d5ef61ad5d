"""A real Airflow 3, watched by polling and through its OpenLineage provider at once: both say the same, and the truth."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.test_process import exporter, get, samples, until
from tests.tools import stack
from tests.tools.airflow import RealAirflow, airflow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
DAGS = ("sales_ok", "sales_fail", "sales_retry", "sales_long", "sales_queue", "sales_killed", "sales_many")
MANY = 150


class Watching:
    """A running exporter and what it says of one pipeline, as (polled, received)."""

    def __init__(self, config: Path, port: int) -> None:
        self.config, self.port, self.url = config, port, f"http://127.0.0.1:{port}"

    def values(self, name: str, dag: str, **labels: str) -> tuple[float | None, float | None]:
        page = samples(get(self.url + "/metrics"))
        wanted = {"airflow": {"pipeline": dag, **labels}, "openlineage": {"pipeline": f"prod/{dag}", **labels}}
        found = {
            source: [value for (metric, pairs), value in page.items() if metric == name and (source == dict(pairs).get("source")) and mine.items() <= dict(pairs).items()]
            for source, mine in wanted.items()
        }
        return tuple(values[0] if values else None for values in found.values())  # type: ignore[return-value]

    def counts(self, dag: str) -> tuple[tuple[float | None, float | None], ...]:
        """Runs, successes, failures and retried successes."""
        return tuple(self.values(f"pipeline_{name}_total", dag) for name in ("runs", "runs_succeeded", "runs_failed", "runs_retried"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealAirflow, Watching]]:
    folder, port = tmp_path_factory.mktemp("real"), stack.free_port()
    with airflow(folder, Path(__file__).parent / "dags", f"http://127.0.0.1:{port}") as running:
        (folder / "password").write_text("viewer")
        (folder / "table").mkdir()
        config = {
            "version": 1,
            "tables": [{"name": "sales.orders", "path": str(folder / "table"), "checks": [{"row_count": {"min": 1}}]}],
            "sources": {
                "airflow": {"type": "airflow", "url": running.url, "username": "viewer", "password_file": str(folder / "password"), "every": "1s"},
                "lineage": {"type": "openlineage"},
            },
            "pipelines": [{"source": "airflow", "match": "sales_*"}, {"source": "lineage", "match": "prod/sales_*"}],
        }
        path = folder / "dq-exporter.yml"
        path.write_text(yaml.safe_dump(config))
        yield running, Watching(path, port)


def same(value: float) -> tuple[float, float]:
    return value, value


def test_runs_of_a_real_airflow_are_counted_alike_by_polling_and_by_openlineage(real: tuple[RealAirflow, Watching]) -> None:
    running, watching = real
    until(lambda: len(running.ask("GET", "/api/v2/dags")["dags"]) == len(DAGS), 60)
    with exporter(watching.config, watching.port):
        until(lambda: all(watching.values("pipeline_info", dag)[0] == 1 for dag in DAGS), 30)
        for dag in DAGS[:-1]:
            running.trigger(dag, "first")
        running.trigger("sales_queue", "second")
        running.trigger("sales_queue", "third")

        until(lambda: watching.values("pipeline_status", "sales_long") == same(1), 60)
        until(lambda: (watching.values("pipeline_queued_runs", "sales_queue")[0] or 0) >= 1, 60)
        ended = {dag: running.wait(dag, "first", "success", "failed") for dag in DAGS[:-1]}
        running.wait("sales_queue", "third", "success")
        assert {dag: row["state"] for dag, row in ended.items()} == {dag: "failed" if dag == "sales_fail" else "success" for dag in DAGS[:-1]}

        until(lambda: watching.counts("sales_ok") == (same(1), same(1), same(0), same(0)), 30)
        until(lambda: watching.counts("sales_fail") == (same(1), same(0), same(1), same(0)), 30)
        until(lambda: watching.counts("sales_retry") == (same(1), same(1), same(0), same(1)), 30)
        until(lambda: watching.counts("sales_long") == (same(1), same(1), same(0), same(0)), 30)
        until(lambda: watching.counts("sales_queue") == (same(3), same(3), same(0), same(0)), 30)
        until(lambda: watching.counts("sales_killed") == (same(1), same(1), same(0), same(0)), 30)
        for dag, row in ended.items():
            if dag != "sales_queue":
                assert watching.values("pipeline_last_run_duration_seconds", dag) == pytest.approx(same(row["duration"]), abs=0.01), dag
        assert watching.values("pipeline_last_failed_run_info", "sales_fail", run_id="first", error_class="ValueError") == same(1)
        assert watching.values("pipeline_status", "sales_fail") == same(0)
        assert watching.values("pipeline_queued_runs", "sales_queue") == same(0)
        context = get(watching.url + "/api/v1/context?pipeline=sales_fail")
        assert "column customer_id is missing" in context
        assert "hunter2" not in context


def test_a_clear_and_a_verdict_by_hand_are_followed(real: tuple[RealAirflow, Watching]) -> None:
    running, watching = real
    with exporter(watching.config, watching.port):
        until(lambda: watching.counts("sales_fail")[0] == same(1), 30)
        running.clear("sales_fail", "first")
        running.wait("sales_fail", "first", "failed")
        until(lambda: watching.counts("sales_fail") == (same(2), same(0), same(2), same(0)), 60)
        running.set_state("sales_fail", "first", "success")
        until(lambda: watching.values("pipeline_status", "sales_fail") == same(2), 30)
        time.sleep(4)
        assert watching.counts("sales_fail") == (same(2), same(0), same(2), same(0)), "the first verdict counts"


def test_no_run_is_missed_or_counted_twice_while_runs_are_inserted_and_the_exporter_is_killed(real: tuple[RealAirflow, Watching]) -> None:
    running, watching = real

    def insert() -> None:
        for number in range(MANY):
            running.trigger("sales_many", f"many_{number}")

    inserting = threading.Thread(target=insert)
    with exporter(watching.config, watching.port) as process:
        until(lambda: watching.values("pipeline_info", "sales_many")[0] == 1, 30)
        inserting.start()
        until(lambda: (watching.counts("sales_many")[0][0] or 0) >= 20, 120)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with exporter(watching.config, watching.port):
        inserting.join()
        rows: list[dict[str, Any]] = []
        until(lambda: all(row["state"] == "success" for row in _runs(running, "sales_many", rows)) and len(rows) == MANY, 180)
        until(lambda: watching.counts("sales_many")[0][0] == MANY, 60)
        time.sleep(4)
        polled = [value[0] for value in watching.counts("sales_many")]
        assert polled == [MANY, MANY, 0, 0]


def _runs(running: RealAirflow, dag: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows[:] = running.ask("POST", "/api/v2/dags/~/dagRuns/list", {"dag_ids": [dag], "page_limit": 1000})["dag_runs"]
    return rows
