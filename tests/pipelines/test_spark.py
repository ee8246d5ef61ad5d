"""Spark applications: what ended well, what failed and why, what was lost, and what they used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from exporter.catalog.labels import Resource
from exporter.pipelines.base import SourceError, Unreadable
from exporter.pipelines.run import PipelineRun, RunState
from exporter.pipelines.spark import SparkSource
from exporter.pipelines.spark_facts import memory
from tests.doubles.http_double import FAULTS, Reply
from tests.doubles.spark import HistoryServer, written
from tests.pipelines.poll_driver import Driver, http_to

QUEUED, RUNNING, SUCCESS, FAILED, CANCELLED, UNKNOWN = RunState


@pytest.fixture
def server() -> Iterator[HistoryServer]:
    double = HistoryServer()
    with double.served():
        yield double


def watch(server: HistoryServer, *jobs: str, **patience: Any) -> Driver:
    return Driver(SparkSource(type="spark", url=server.url), http_to(server.url, lambda: server.now, **patience), jobs or ("daily",))


def only(driver: Driver, app: str) -> PipelineRun:
    (run,) = next(attempts for (_, known), attempts in driver.runs.items() if known == app)
    return run


def stage(reason: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"stageId": number, "attemptId": 0, "status": "FAILED", "failureReason": reason, "completionTime": f"2026-05-01T12:0{number}:00.000GMT", **more}


def executor(name: str = "1", reason: str = "", **more: Any) -> dict[str, Any]:
    return {"id": name, "isActive": not reason, "totalCores": 2, "failedTasks": 0, **({"removeReason": reason} if reason else {}), **more}


def test_the_life_of_an_application_is_followed(server: HistoryServer) -> None:
    driver = watch(server)
    app = server.start("daily")
    driver.poll()
    assert only(driver, app).state is RUNNING
    server.pass_time(minutes=8)
    server.end(app)
    driver.poll()
    run = only(driver, app)
    assert (run.state, run.owner, run.ordinal, run.duration) == (SUCCESS, "etl", 1, timedelta(minutes=8))
    assert run.url == f"{server.url}/history/{app}/jobs/"


@pytest.mark.parametrize("statuses", [("FAILED",), ("SUCCEEDED", "FAILED", "SUCCEEDED"), ("RUNNING",), ("UNKNOWN",), ("STATUS_OF_2031",)])
def test_success_needs_a_proper_end_and_all_jobs(server: HistoryServer, statuses: tuple[str, ...]) -> None:
    driver = watch(server)
    app = server.start("daily")
    server.end(app, *statuses)
    driver.poll()
    assert only(driver, app).state is FAILED


@pytest.mark.parametrize(("stages", "executors", "name", "text"), [
    ([stage("Job aborted due to stage failure: ... ExecutorLostFailure (executor 5 exited caused by one of the running tasks) Reason: Container killed by YARN for exceeding memory limits. 5.5 GB of 5 GB")], [], "OutOfMemory", "spark.executor.memory"),
    ([stage("java.lang.OutOfMemoryError: Java heap space\n\tat org.apache.spark.Foo.bar(Foo.scala:1)")], [], "OutOfMemory", "Java heap space"),
    ([stage("Job aborted")], [executor("5", "Command exited with code 137")], "OutOfMemory", "executor 5"),
    ([stage("ExecutorLostFailure (executor 3 exited unrelated to the running tasks) Reason: Worker lost")], [executor("3", "worker lost")], "ExecutorLost", "executor 3"),
    ([stage("Executor heartbeat timed out after 130000 ms")], [], "ExecutorLost", "heartbeat"),
    ([stage("org.apache.spark.SparkException: Task failed while writing rows\nCaused by: java.io.FileNotFoundException: s3a://x"), stage("old", 0)], [executor("2", "Executor killed by driver.")], "FileNotFoundException", "s3a://x"),
    ([stage("[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012")], [], "DIVIDE_BY_ZERO", "22012"),
    ([], [], "JobFailed", "1 of 2 jobs failed"),
])  # fmt: skip
def test_a_failure_says_why(server: HistoryServer, stages: list[Any], executors: list[Any], name: str, text: str) -> None:
    driver = watch(server)
    app = server.start("daily")
    server.end(app, "SUCCEEDED", "FAILED", stages=stages, allexecutors=executors)
    driver.poll()
    error = only(driver, app).error
    assert error and error.error_class == name
    assert text in error.message
    assert "Foo.scala" not in error.message


def test_the_end_of_a_long_traceback_survives_and_secrets_do_not(server: HistoryServer) -> None:
    driver = watch(server)
    app = server.start("daily")
    text = "Traceback:\n" + "  File x.py, line 1, in f\n" * 400 + "ValueError: password=hunter2 is wrong\n" + "\tat a.b.C(D.scala:1)\n" * 100
    server.end(app, "FAILED", stages=[stage(text)])
    driver.poll()
    error = only(driver, app).error
    assert error and error.error_class == "ValueError"
    assert "is wrong" in error.message
    assert "hunter2" not in error.message


def test_an_application_of_which_nothing_is_heard_is_lost_never_successful(server: HistoryServer) -> None:
    driver = watch(server)
    crashed, busy = server.start("daily"), server.start("daily")
    driver.poll()
    server.tell(crashed, jobs=[{"jobId": 0, "status": "SUCCEEDED", "completionTime": written(server.now)}])
    last = server.now
    for _ in range(4):
        server.pass_time(minutes=5)
        server.write(busy)
        driver.poll()
    run = only(driver, crashed)
    assert (run.state, run.ended_at) == (FAILED, last)
    assert run.error and run.error.error_class == "AppLost"
    assert only(driver, busy).state is RUNNING
    before = driver.http.requests
    driver.poll()
    assert driver.http.requests - before == 1, "what is lost is read once"
    server.write(crashed)  # the history server was restarted and reads its log again
    driver.poll()
    assert only(driver, crashed) == run


def test_a_lost_application_whose_executor_went_first_lost_its_executor(server: HistoryServer) -> None:
    driver = watch(server)
    app = server.start("daily")
    server.tell(app, allexecutors=[executor("4", "Container from a bad node: container_17 on host n4")])
    server.pass_time(minutes=20)
    driver.poll()
    error = only(driver, app).error
    assert error and error.error_class == "ExecutorLost"


def test_an_application_that_was_only_silent_and_ends_well_gets_its_verdict(server: HistoryServer) -> None:
    driver = watch(server)
    app = server.start("daily")
    server.pass_time(minutes=20)
    driver.poll()
    assert only(driver, app).state is FAILED
    server.end(app)
    server.pass_time(seconds=5)
    driver.poll()
    assert only(driver, app).state is SUCCESS


def test_attempts_of_yarn_are_attempts_of_one_run(server: HistoryServer) -> None:
    driver = watch(server)
    app = server.start("daily", "1")
    driver.poll()
    server.pass_time(minutes=2)
    server.start("daily", "2", app)
    driver.poll()
    assert driver.states()[app] == [FAILED, RUNNING], "a first attempt that never ended is over when there is a second"
    server.pass_time(minutes=2)
    server.end(app)
    driver.poll()
    first, second = driver.runs[("daily", app)]
    assert (first.state, second.state, second.ordinal, second.retries) == (FAILED, SUCCESS, 2, 1)
    assert first.chain == second.chain
    assert f"/api/v1/applications/{app}/2/jobs" in [request.path for request in server.log]


def test_a_log_that_is_read_late_is_not_missed(server: HistoryServer) -> None:
    driver = watch(server)
    driver.poll()
    late = server.start("daily")
    server.hidden.add(late)
    server.end(late)
    for _ in range(3):
        server.pass_time(minutes=15)
        driver.poll()
    assert not driver.runs
    server.hidden.clear()
    driver.poll()
    assert only(driver, late).state is SUCCESS


def test_what_was_cleaned_away_while_it_ran_is_cancelled(server: HistoryServer) -> None:
    driver = watch(server)
    app = server.start("daily")
    driver.poll()
    server.clean(app)
    server.pass_time(minutes=1)
    driver.poll()
    assert (only(driver, app).state, only(driver, app).ended_at) == (CANCELLED, server.now)


def test_the_first_poll_takes_a_day_and_the_successful_past_of_new_jobs(server: HistoryServer) -> None:
    for number in range(45):
        server.end(server.start("daily"), "FAILED" if number % 3 == 0 else "SUCCEEDED")
    ancient = server.start("daily")
    server.pass_time(days=3)
    failed = server.start("daily")
    server.end(failed, "FAILED")
    server.end(server.start("other"))
    driver = watch(server)
    assert driver.poll().histories == ["daily"]
    states = driver.states()
    assert states.pop(failed) == [FAILED]
    assert set(map(tuple, states.values())) == {(SUCCESS,)}
    assert len(states) == 30
    assert ancient not in states, "what was lost before anyone watched is not news"
    assert not driver.poll().histories


def test_requests_follow_what_changed(server: HistoryServer) -> None:
    for _ in range(500):
        server.end(server.start("daily"))
    server.pass_time(days=2)
    driver = watch(server)
    driver.poll()
    for changed in (0, 3, 0):
        server.pass_time(minutes=1)
        for _ in range(changed):
            server.end(server.start("daily"))
            server.start("not watched")
        before = driver.http.requests
        driver.poll()
        assert driver.http.requests - before == 1 + 4 * changed


def test_more_news_than_one_poll_can_read_are_read_in_turns(server: HistoryServer) -> None:
    driver = watch(server)
    driver.poll()
    apps = []
    for _ in range(450):
        server.pass_time(seconds=1)
        apps.append(server.start("daily"))
        server.end(apps[-1])
    assert [len(driver.poll().reports) for _ in range(4)] == [200, 200, 50, 0]
    assert driver.states() == {app: [SUCCESS] for app in apps}


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_at_any_request_nothing_is_lost_or_doubled(server: HistoryServer, fault: str, patient: bool) -> None:
    position = 0
    while not server.faults:
        server.__dict__.update({**vars(HistoryServer()), "url": server.url, "faults": {position: FAULTS[fault]}})
        driver = watch(server, attempts=3 if patient else 1)

        def poll(driver: Driver = driver) -> None:
            try:
                driver.poll()
            except SourceError:
                assert not patient
                driver.restart()
                driver.poll()

        poll()
        good, bad, gone, yarn = server.start("daily"), server.start("daily"), server.start("daily"), server.start("daily", "1")
        poll()
        server.pass_time(minutes=5)
        server.end(good)
        server.end(bad, "FAILED")
        server.clean(gone)
        server.start("daily", "2", yarn)
        poll()
        server.pass_time(minutes=5)
        server.end(yarn)
        poll()
        driver.http.close()
        assert driver.states() == {good: [SUCCESS], bad: [FAILED], gone: [CANCELLED], yarn: [FAILED, SUCCESS]}, f"{fault} at request {position}"
        position += 1
    assert position > 20


def test_an_application_whose_log_is_broken_does_not_stop_the_others_for_ever(server: HistoryServer) -> None:
    driver = watch(server)
    broken, fine = server.start("daily"), server.start("daily")
    driver.poll()
    server.end(broken)
    server.end(fine)
    server.broken.add(broken)
    for _ in range(2):
        with pytest.raises(SourceError, match="404"):
            driver.poll()
    driver.poll()
    assert (only(driver, broken).state, only(driver, fine).state) == (CANCELLED, SUCCESS)
    assert ["the details cannot be read" in letter.reason for letter in driver.letters] == [True]


def test_rows_that_cannot_be_read_become_letters_once_and_the_rest_goes_on(server: HistoryServer) -> None:
    driver = watch(server)
    good, bad, worse = server.start("daily"), server.start("daily"), server.start("daily")
    server.apps[bad]["attempts"][0]["startTimeEpoch"] = "soon"
    server.apps[worse]["id"] = 7
    driver.poll()
    driver.restart()
    driver.poll()
    assert list(driver.states()) == [good]
    assert sorted(letter.reason for letter in driver.letters) == ["'soon' is not a time", "an application needs an id and a list of attempts"]


def test_a_driver_that_runs_is_never_lost_and_tells_its_resources() -> None:
    server = HistoryServer(is_live=True)
    with server.served():
        driver = watch(server)
        app = server.start("daily")
        server.tell(app, allexecutors=[executor("driver", totalCores=0), executor(peakMemoryMetrics={"JVMHeapMemory": 3 * 2**30})], environment={"sparkProperties": [["spark.executor.memory", "4g"]]})
        server.pass_time(hours=9)
        driver.poll()
        assert only(driver, app).state is RUNNING
        assert only(driver, app).resources == {Resource.MEMORY: 0.75}
        other = server.start("daily")
        server.clean(app)
        driver.poll()
        assert (only(driver, app).state, only(driver, other).state) == (CANCELLED, RUNNING)


def test_resources_are_ratios(server: HistoryServer) -> None:
    driver = watch(server)
    app = server.start("daily")
    server.pass_time(seconds=100)
    stages = [{"status": "COMPLETE", "executorRunTime": 100_000, "executorCpuTime": 70 * 10**9}, {"status": "COMPLETE", "executorRunTime": 100_000, "executorCpuTime": 20 * 10**9}]
    executors = [executor("driver", peakMemoryMetrics={"JVMHeapMemory": 9 * 2**30}), executor("1", peakMemoryMetrics={"JVMHeapMemory": 2**29}), executor("2", peakMemoryMetrics={"JVMHeapMemory": 2**30})]
    server.end(app, stages=stages, allexecutors=executors, environment={"sparkProperties": [["spark.executor.memory", "2048m"], ["spark.password", "x"]]})
    driver.poll()
    assert only(driver, app).resources == {Resource.MEMORY: 0.5, Resource.CPU: 0.45}
    app = server.start("daily")
    server.pass_time(seconds=100)
    server.end(app, stages=[{"executorCpuTime": 60 * 10**9}], allexecutors=[executor("driver", peakMemoryMetrics={"JVMHeapMemory": 2**31})])
    driver.poll()
    assert only(driver, app).resources == {Resource.MEMORY: 1.0, Resource.CPU: 0.3}, "in local mode the driver works, and a ratio ends at 1"


@pytest.mark.parametrize(("text", "size"), [("512m", 2**29), ("2g", 2**31), ("2048", 2**31), ("1.5GiB", 3 * 2**29), ("1048576k", 2**30), ("much", None), (None, None), (["1g"], None)])
def test_sizes_are_read_as_the_jvm_writes_them(text: Any, size: int | None) -> None:
    assert memory(text) == size


def test_other_servers_are_told_from_spark(server: HistoryServer) -> None:
    driver = watch(server)
    server.answer = lambda request: Reply(body={"hello": "world"})  # type: ignore[method-assign]
    with pytest.raises(SourceError, match="not a list of applications; check `url`"):
        driver.poll()


@pytest.mark.parametrize("payload", [{}, {"id": "a"}, {"id": 1, "attempt": {}}, {"id": "a", "attempt": {"completed": "yes"}}, {"id": "a", "attempt": {"attemptId": "x"}}])
def test_what_is_not_an_application_is_unreadable(server: HistoryServer, payload: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        SparkSource(type="spark", url="http://history").understand(payload, server.now)


def test_odd_details_are_passed_over(server: HistoryServer) -> None:
    payload = {
        "id": "a", "attempt": {"completed": True, "endTimeEpoch": 5}, "jobs": [{"status": "FAILED"}, 3], "stages": [{"executorRunTime": "x"}, {"failureReason": 7}],
        "executors": [{"peakMemoryMetrics": 1, "totalCores": None}], "properties": [[["x"], "y"], ["spark.driver.memory", {}], 5],
    }  # fmt: skip
    (report,) = SparkSource(type="spark", url="http://history").understand(payload, server.now).reports
    assert report.state is FAILED
