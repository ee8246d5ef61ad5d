"""The client tells of runs, and never breaks the pipeline that it reports on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.client import Client
from tests.doubles.serving import Double, Told


@pytest.fixture
def double() -> Iterator[Double]:
    with Double(lambda asked: Told(body={"accepted": 1})).serving() as serving:
        yield serving


def sent(double: Double) -> list[dict[str, Any]]:
    return [one.body for one in double.asked]


def test_a_run_is_told_from_its_start_to_its_end(double: Double) -> None:
    with Client(double.url, token="secret").run("nightly") as run_id:
        pass
    assert [(one["state"], one["run_id"]) for one in sent(double)] == [("running", run_id), ("success", run_id)]
    assert {one.headers["Authorization"] for one in double.asked} == {"Bearer secret"}


def test_an_error_is_told_and_raised_on(double: Double) -> None:
    with pytest.raises(KeyError), Client(double.url).run("nightly", "r1"):
        raise KeyError("customer_id")
    assert sent(double)[-1]["state"] == "failed"
    assert sent(double)[-1]["error"] == {"class": "KeyError", "message": "'customer_id'"}


@pytest.mark.parametrize("fault", [Told(500, {}), Told(422, {"error": "no"}), Told(200, {}, drip=1.0), Told(200, cut=True)], ids=["500", "422", "drip", "cut"])
def test_an_exporter_that_misbehaves_costs_little_and_breaks_nothing(double: Double, fault: Told, caplog: pytest.LogCaptureFixture) -> None:
    double.faults = [fault] * 4
    began = time.monotonic()
    with caplog.at_level(logging.WARNING), Client(double.url, timeout=0.5).run("nightly"):
        pass
    assert time.monotonic() - began < 3


def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    assert Client("http://127.0.0.1:9", timeout=1).send("nightly", "success") is False
    assert time.monotonic() - began < 2
    assert "was not told" in caplog.text


def test_an_event_is_sent_again_under_the_same_id(double: Double) -> None:
    double.faults = [Told(503, {})]
    assert Client(double.url).send("nightly", "success") is True
    first, second = sent(double)
    assert first["event_id"] == second["event_id"]


def test_a_value_that_is_no_json_breaks_nothing(double: Double) -> None:
    assert Client(double.url).send("nightly", "success", url=object()) is True


class Context(dict[str, Any]):
    """Airflow's: much of it raises when it is looked at."""

    def __getitem__(self, key: str) -> Any:
        if key == "conn":
            raise RuntimeError("the connection is not defined")
        return super().__getitem__(key)


def test_the_callback_of_airflow_tells_of_the_run_and_the_task(double: Double) -> None:
    run = SimpleNamespace(dag_id="sales_daily", run_id="scheduled__1", start_date=datetime(2026, 11, 20, 6, tzinfo=UTC))
    task = SimpleNamespace(task_id="load", dag_id="sales_daily", run_id="scheduled__1", log_url="https://airflow/log")
    callback = Client(double.url).on_failure_callback()
    callback(Context(dag_run=run, task_instance=task, exception=ValueError("no rows"), conn=None))
    callback(Context(dag_run=run, reason="timed_out"))
    first, second = sent(double)
    assert (first["pipeline"], first["run_id"], first["error"]) == ("sales_daily", "scheduled__1", {"class": "ValueError", "message": "task load: no rows"})
    assert second["error"]["message"] == "timed_out"


@pytest.mark.parametrize("context", [None, {}, 7, {"dag_run": object()}])
def test_a_context_of_any_shape_breaks_nothing(double: Double, context: Any) -> None:
    Client(double.url).on_failure_callback("nightly")(context)
