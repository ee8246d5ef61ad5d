"""What one row of the Jobs API says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from exporter.pipelines.base import Unreadable
from exporter.pipelines.databricks import DatabricksSource
from exporter.pipelines.run import RunState

QUEUED, RUNNING, SUCCESS, FAILED, CANCELLED, UNKNOWN = RunState
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOURCE = DatabricksSource(type="databricks", url="http://127.0.0.1")


def row(**changes: Any) -> dict[str, Any]:
    return {"run_id": 7, "job_id": 1, "start_time": 1_000_000, "end_time": 0, "status": {"state": "RUNNING"}, **changes}


def ended(code: str | None, **more: Any) -> dict[str, Any]:
    details = {"termination_details": {"code": code, "message": "why"}} if code else {}
    return row(end_time=1_060_000, status={"state": "TERMINATED", **details}, **more)


@pytest.mark.parametrize(("given", "state"), [
    (row(status={"state": "QUEUED"}), QUEUED), (row(status={"state": "BLOCKED"}), QUEUED), (row(status={"state": "PENDING"}), RUNNING),
    (row(), RUNNING), (row(status={"state": "TERMINATING", "termination_details": {"code": "SUCCESS"}}), RUNNING),
    (row(status={"state": "WAITING"}), RUNNING), (row(status={"state": "HIBERNATING"}), UNKNOWN),
    (row(status={"state": "HIBERNATING"}, end_time=1_060_000), FAILED), (ended("SUCCESS"), SUCCESS), (ended("SUCCESS_WITH_FAILURES"), SUCCESS),
    (ended("USER_CANCELED"), CANCELLED), (ended("SKIPPED"), CANCELLED), (ended("DISABLED"), CANCELLED), (ended("EXCLUDED"), CANCELLED),
    (ended("CANCELED"), FAILED), (ended("RUN_EXECUTION_ERROR"), FAILED), (ended("MAX_CONCURRENT_RUNS_EXCEEDED"), FAILED), (ended("CODE_OF_2031"), FAILED),
    (ended(None), FAILED), (ended(None, state={"result_state": "SUCCESS"}), SUCCESS),
    *((row(status=None, end_time=end, state={"life_cycle_state": life, **({"result_state": result} if result else {})}), state) for life, result, end, state in [
        ("QUEUED", "", 0, QUEUED), ("PENDING", "", 0, RUNNING), ("WAITING_FOR_RETRY", "", 0, RUNNING), ("TERMINATED", "SUCCESS", 1, SUCCESS),
        ("TERMINATED", "CANCELED", 1, CANCELLED), ("TERMINATED", "TIMEDOUT", 1, FAILED), ("TERMINATED", "EXCLUDED", 1, CANCELLED), ("SKIPPED", "", 1, CANCELLED),
        ("SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED", 1, FAILED), ("INTERNAL_ERROR", "", 1, FAILED), ("INTERNAL_ERROR", "FAILED", 1, FAILED), ("DREAMING", "", 0, UNKNOWN),
    ]),
])  # fmt: skip
def test_every_state_means_what_the_api_says(given: dict[str, Any], state: RunState) -> None:
    (report,) = SOURCE.understand(given, AT).reports
    assert report.state is state
    assert (report.error is not None) == (state is FAILED)
    assert (report.ended_at is not None) == state.is_terminal


def test_the_time_in_the_queue_is_not_part_of_the_run() -> None:
    parts = {"setup_duration": 0, "execution_duration": 0, "cleanup_duration": 0}
    (report,) = SOURCE.understand(ended("SUCCESS", queue_duration=20_000, run_duration=40_000, **parts), AT).reports
    assert report.started_at and report.ended_at and report.queued_at
    assert report.ended_at - report.started_at == timedelta(seconds=40)
    assert report.started_at - report.queued_at == timedelta(seconds=20)
    (report,) = SOURCE.understand(ended("SUCCESS", setup_duration=10_000, execution_duration=30_000, cleanup_duration=5_000), AT).reports
    assert report.started_at and report.ended_at
    assert report.ended_at - report.started_at == timedelta(seconds=45)


def test_a_failure_names_its_code_or_the_error_behind_it_and_hides_secrets() -> None:
    (plain,) = SOURCE.understand(ended("CLUSTER_ERROR"), AT).reports
    assert plain.error and plain.error.error_class == "CLUSTER_ERROR"
    assert plain.error.message == "CLUSTER_ERROR: why"
    tasks = [
        {"task_key": "load", "attempt_number": 0, "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR"}}},
        {"task_key": "load", "attempt_number": 1, "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR", "message": "java.lang.OutOfMemoryError: password=hunter2"}}},
        {"task_key": "clean", "attempt_number": 0, "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}}},
    ]  # fmt: skip
    (report,) = SOURCE.understand(ended("RUN_EXECUTION_ERROR", tasks=tasks), AT).reports
    assert report.error and report.error.error_class == "OutOfMemory"
    assert report.failed_tasks == 1
    assert "task load" in report.error.message
    assert "hunter2" not in report.error.message


@pytest.mark.parametrize("broken", [
    {}, {"run_id": 1}, {"run_id": True, "status": {"state": "RUNNING"}}, {"run_id": 1, "status": {"state": "RUNNING"}},
    row(start_time="yesterday"), row(start_time=10**20), row(status=None), {**ended("SUCCESS"), "end_time": [1]}, row(queue_duration=10**30),
])  # fmt: skip
def test_what_is_not_a_run_is_unreadable(broken: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        SOURCE.understand(broken, AT)


def test_a_row_of_odd_shape_is_read_as_far_as_it_goes() -> None:
    odd = row(status={"state": 5, "termination_details": "x"}, state=[], tasks={"a": 1}, repair_history="none", run_name=3)
    assert SOURCE.understand(odd, AT).reports[0].state is UNKNOWN
