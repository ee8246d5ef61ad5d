"""`freshness: {source: run}` takes the time of the newest data from the runs that write the table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from exporter.collect import last_success
from exporter.engine.cancel import Cancel
from exporter.engine.evaluate import Evaluator
from exporter.model import Reason, Verdict
from tests.collect_rig import Clock, Rig, at, events
from tests.conftest import Bench, write_delta
from tests.doubles.airflow import Airflow


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    table = {"name": "sales.orders", "path": str(tmp_path / "table"), "checks": [{"freshness": {"source": "run", "max_age": "24h"}}]}
    made = Rig(tmp_path, {"tables": [table], "pipelines": [{"name": "daily", "writes": ["sales.orders"]}, {"name": "hourly", "writes": ["sales.orders"]}]}, Clock(at(6)))
    write_delta(tmp_path / "table", {"a": "int"}, [(1,)])
    yield made
    made.close()


def judged(rig: Rig, bench: Bench) -> Verdict:
    evaluator = Evaluator({table.name: table for table in rig.config.tables}, bench.workers, bench.spark)
    evaluator.last_success = last_success(rig.config.watching, rig.ledger, rig.clock)
    cancel = Cancel(timedelta(minutes=1))
    table = rig.config.tables[0]
    return evaluator.evaluate(table, table.checks, lambda table, check: rig.store.history(table.name, check, rig.clock()), rig.clock(), cancel).results[0].verdict


def test_nothing_is_known_before_the_first_run(rig: Rig, bench: Bench) -> None:
    verdict = judged(rig, bench)
    assert (verdict.outcome, verdict.reason) == ("error", Reason.HISTORY)
    assert "no successful run of daily, hourly is known yet" in verdict.message


def test_the_last_success_of_any_writer_counts_and_failures_do_not(rig: Rig, bench: Bench) -> None:
    events(rig, {"pipeline": "daily", "state": "success", "at": at(4).isoformat()}, {"pipeline": "hourly", "state": "success", "at": at(5).isoformat()})
    rig.tick()
    rig.clock.now = at(6)
    assert (judged(rig, bench).outcome, judged(rig, bench).value) == ("pass", 3600)
    rig.clock.now = at(6, day=21)
    events(rig, {"pipeline": "hourly", "state": "failed", "at": at(5, 30, day=21).isoformat()})
    rig.tick(0)
    assert (judged(rig, bench).outcome, judged(rig, bench).value) == ("fail", 25 * 3600)


def test_a_source_that_is_not_reached_makes_it_unknown_not_stale(tmp_path: Path, bench: Bench) -> None:
    airflow = Airflow()
    with airflow.double.serving():
        clock = Clock(airflow.now)
        table = {"name": "sales.orders", "path": str(tmp_path / "table"), "checks": [{"freshness": {"source": "run", "max_age": "1h"}}]}
        source = {"type": "airflow", "url": airflow.double.url, "username": "svc", "password_env": "PW"}
        rig = Rig(tmp_path, {"tables": [table], "sources": {"airflow": source}, "pipelines": [{"name": "daily", "source": "airflow", "writes": ["sales.orders"]}]}, clock)
        write_delta(tmp_path / "table", {"a": "int"}, [(1,)])
        airflow.run("daily", "r1")
        clock.now = airflow.now
        rig.poll()
        assert judged(rig, bench).outcome == "pass"
        clock.forward(hours=3)
        verdict = judged(rig, bench)
        assert (verdict.outcome, verdict.reason) == ("error", Reason.CONNECTION)
        rig.close()
