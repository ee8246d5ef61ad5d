"""Databricks: runs, repairs and retries are told exactly once, whatever the workspace does while it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from exporter.pipelines.base import SourceError
from exporter.pipelines.databricks import DatabricksSource
from exporter.pipelines.run import PipelineRun, RunState
from tests.doubles.databricks import CLIENT, SECRET, Workspace
from tests.doubles.http_double import FAULTS, SLOW, Reply
from tests.pipelines.poll_driver import Driver, http_to

_, RUNNING, SUCCESS, FAILED, CANCELLED, UNKNOWN = RunState


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    double = Workspace()
    with double.served():
        yield double


def watch(workspace: Workspace, jobs: tuple[str, ...] = ("1", "2"), model: dict[str, Any] | None = None, secrets: dict[str, str] | None = None, **patience: Any) -> Driver:
    source = DatabricksSource(type="databricks", url=workspace.url, **(model or {}))
    return Driver(source, http_to(workspace.url, lambda: workspace.now, **patience), jobs, secrets=secrets or {"token": "dapi-test"})


def only(driver: Driver, run_id: int) -> PipelineRun:
    (run,) = next(attempts for (_, known), attempts in driver.runs.items() if known == str(run_id))
    return run


def test_the_life_of_a_run_is_followed(workspace: Workspace) -> None:
    driver = watch(workspace)
    run_id = workspace.start()
    driver.poll()
    assert only(driver, run_id).state is RUNNING
    workspace.pass_time(minutes=90)
    workspace.end(run_id, "RUN_EXECUTION_ERROR", "boom", duration=5_000_000)
    driver.poll()
    run = only(driver, run_id)
    assert (run.state, run.owner, run.chain) == (FAILED, "ops@example.com", str(run_id))
    assert run.url.endswith(f"/run/{run_id}")
    assert run.error and "boom" in run.error.message
    assert run.ended_at == workspace.now


def test_jobs_that_are_not_watched_are_not_told(workspace: Workspace) -> None:
    driver = watch(workspace, ("1",))
    workspace.start(9)
    workspace.end(workspace.start(9))
    assert driver.poll().reports == []


def test_a_job_may_be_named_and_runs_that_were_submitted_go_by_their_name(workspace: Workspace) -> None:
    workspace.jobs["nightly"] = 4
    driver = watch(workspace, ("nightly", "adhoc"))
    workspace.end(workspace.start(4, run_name="nightly"))
    workspace.start(None, run_name="adhoc", run_type="SUBMIT_RUN")
    workspace.start(777, run_name="adhoc", run_type="SUBMIT_RUN")
    workspace.pass_time(days=3)
    driver.poll()
    assert sorted(job for job, _ in driver.runs) == ["adhoc", "adhoc", "nightly"]


def test_the_first_poll_takes_a_day_all_that_is_active_and_the_past_of_new_jobs(workspace: Workspace) -> None:
    old = [workspace.start(1) for _ in range(40)]
    for number, run_id in enumerate(old):
        workspace.end(run_id, "RUN_EXECUTION_ERROR" if number % 4 == 0 else "SUCCESS")
    workspace.pass_time(days=2)
    long = workspace.start(2)
    workspace.pass_time(days=2)
    failed = workspace.start(1)
    workspace.end(failed, "DRIVER_ERROR")
    workspace.page_cap = 25
    driver = watch(workspace)
    polled = driver.poll()
    assert sorted(polled.histories) == ["1", "2"]
    states = driver.states()
    assert states[str(long)] == [RUNNING]
    assert states[str(failed)] == [FAILED]
    assert sum(state == [SUCCESS] for state in states.values()) == 30
    assert sum(state == [FAILED] for state in states.values()) == 1
    assert not driver.poll().histories


def test_the_past_of_many_jobs_is_fetched_over_several_polls(workspace: Workspace) -> None:
    driver = watch(workspace, tuple(str(number) for number in range(1, 61)))
    assert [len(driver.poll().histories) for _ in range(4)] == [25, 25, 10, 0]


@pytest.mark.parametrize("order", ["start_time", "end_time"])
def test_requests_follow_what_changed_not_what_there_is(workspace: Workspace, order: str) -> None:
    workspace.order, workspace.page_cap = order, 25
    for _ in range(2000):
        workspace.end(workspace.start(3))
    workspace.pass_time(days=3)
    driver = watch(workspace)
    driver.poll()
    for changed, most in ((0, 3), (20, 3), (100, 7)):
        workspace.pass_time(minutes=10)
        for _ in range(changed):
            workspace.end(workspace.start(1))
        before = driver.http.requests
        driver.poll()
        assert driver.http.requests - before <= most
    assert len(driver.runs) == 120


def test_runs_that_start_while_pages_are_turned_are_all_found_once(workspace: Workspace) -> None:
    driver = watch(workspace)
    driver.poll()
    expected = [workspace.start() for _ in range(10)]
    for run_id in expected[:8]:
        workspace.end(run_id)
    workspace.before = lambda number: expected.append(workspace.start())
    driver.poll()
    workspace.before = lambda number: None
    workspace.pass_time(minutes=1)
    driver.poll()
    assert sorted(driver.states()) == sorted(map(str, expected))
    assert all(len(attempts) == 1 for attempts in driver.runs.values())


def test_a_long_run_that_ends_deep_in_the_list_is_asked_for_by_its_id(workspace: Workspace) -> None:
    driver = watch(workspace)
    long = workspace.start()
    driver.poll()
    for _ in range(50):
        workspace.pass_time(hours=1)
        workspace.end(workspace.start(2))
        driver.poll()
    workspace.end(long, "DRIVER_ERROR")
    workspace.log.clear()
    driver.poll()
    assert only(driver, long).state is FAILED
    assert [request.path for request in workspace.log].count("/api/2.2/jobs/runs/get") == 1


def test_a_run_that_was_deleted_is_cancelled_but_a_proxy_that_knows_nothing_cancels_nothing(workspace: Workspace) -> None:
    driver = watch(workspace)
    gone, kept = workspace.start(), workspace.start()
    driver.poll()
    workspace.delete(gone)
    workspace.pass_time(minutes=1)
    driver.poll()
    assert (only(driver, gone).state, only(driver, kept).state) == (CANCELLED, RUNNING)
    assert only(driver, gone).ended_at == workspace.now

    answer = workspace.answer
    workspace.delete(kept)
    workspace.answer = lambda request: answer(request) if "list" in request.path else Reply(404, b"<html>")  # type: ignore[method-assign]
    with pytest.raises(SourceError, match="404"):
        driver.poll()
    assert only(driver, kept).state is RUNNING


def test_open_runs_are_asked_for_in_portions(workspace: Workspace) -> None:
    driver = watch(workspace)
    workspace.page_cap = 25
    for run_id in [workspace.start() for _ in range(120)]:
        workspace.rows[run_id]["_keep"] = True
    driver.poll()
    workspace.rows.clear()
    counts = []
    for _ in range(3):
        workspace.pass_time(minutes=1)
        driver.poll()
        counts.append(sum(states == [CANCELLED] for states in driver.states().values()))
    assert counts == [50, 100, 120]


def test_a_repair_is_a_new_attempt_of_the_same_chain(workspace: Workspace) -> None:
    driver = watch(workspace)
    run_id = workspace.start()
    workspace.pass_time(minutes=10)
    workspace.end(run_id, "RUN_EXECUTION_ERROR", "boom")
    driver.poll()
    workspace.pass_time(hours=5)
    workspace.repair(run_id)
    driver.poll()
    assert driver.states()[str(run_id)] == [FAILED, RUNNING]
    driver.restart()
    workspace.pass_time(minutes=3)
    driver.poll()
    workspace.pass_time(minutes=3)
    workspace.end(run_id)
    driver.poll()
    driver.poll()
    first, second = driver.runs[("1", str(run_id))]
    assert (first.state, second.state) == (FAILED, SUCCESS)
    assert (first.ordinal, second.ordinal, second.retries) == (1, 2, 1)
    assert first.chain == second.chain == str(run_id)
    assert (first.duration, second.duration) == (timedelta(minutes=10), timedelta(minutes=6))


def test_a_repair_that_was_over_before_anyone_looked_tells_both_attempts(workspace: Workspace) -> None:
    driver = watch(workspace)
    task = {"task_key": "load", "attempt_number": 0, "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR"}}}
    run_id = workspace.start(tasks=[task, {**task, "attempt_number": 1, "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}}}])
    workspace.pass_time(minutes=1)
    workspace.end(run_id, "RUN_EXECUTION_ERROR")
    workspace.pass_time(minutes=1)
    workspace.repair(run_id)
    workspace.pass_time(minutes=1)
    workspace.end(run_id)
    driver.poll()
    assert driver.states()[str(run_id)] == [FAILED, SUCCESS]
    before = driver.http.requests
    driver.poll()
    assert driver.http.requests - before == 2, "what a row left out is fetched once"


def test_retries_share_a_chain(workspace: Workspace) -> None:
    driver = watch(workspace)
    first = workspace.start()
    workspace.end(first, "RUN_EXECUTION_ERROR")
    second = workspace.retry(first)
    workspace.end(second)
    driver.poll()
    one, two = only(driver, first), only(driver, second)
    assert (one.state, two.state) == (FAILED, SUCCESS)
    assert one.chain == two.chain == str(first)
    assert (one.retries, two.retries) == (0, 1)


def test_a_state_nobody_has_heard_of_stays_open_and_is_asked_again(workspace: Workspace) -> None:
    driver = watch(workspace)
    run_id = workspace.start(status={"state": "HIBERNATING"})
    driver.poll()
    assert only(driver, run_id).state is UNKNOWN
    workspace.end(run_id)
    driver.poll()
    assert only(driver, run_id).state is SUCCESS


def test_rows_that_cannot_be_read_become_letters_once_and_the_rest_goes_on(workspace: Workspace) -> None:
    driver = watch(workspace)
    good = workspace.start()
    bad = workspace.start(queue_duration="soon")
    driver.poll()
    driver.restart()
    driver.poll()
    assert only(driver, good).state is RUNNING
    assert [letter.reason for letter in driver.letters] == ["queue_duration 'soon' is not a number"]
    assert str(bad) in driver.letters[0].payload


def scenario(workspace: Workspace, driver: Driver, attempts: int) -> dict[str, list[RunState]]:
    """Five polls over runs that start, end, fail, are repaired, retried and deleted; the truth about all attempts."""

    def poll() -> None:
        for _ in range(attempts):
            try:
                driver.poll()
            except SourceError:
                driver.restart()
                continue
            return
        raise AssertionError("the source never recovered")

    poll()
    long, repaired, retried, deleted = (workspace.start() for _ in range(4))
    short = [workspace.start(2) for _ in range(7)]
    for run_id in short:
        workspace.end(run_id)
    poll()
    workspace.pass_time(minutes=20)
    workspace.end(repaired, "RUN_EXECUTION_ERROR")
    workspace.end(retried, "DRIVER_ERROR")
    again = workspace.retry(retried)
    workspace.delete(deleted)
    poll()
    workspace.pass_time(minutes=20)
    workspace.repair(repaired)
    workspace.end(again)
    poll()
    workspace.pass_time(minutes=20)
    workspace.end(repaired)
    workspace.end(long)
    poll()
    truth = {long: [SUCCESS], repaired: [FAILED, SUCCESS], retried: [FAILED], again: [SUCCESS], deleted: [CANCELLED], **{run_id: [SUCCESS] for run_id in short}}
    return {str(run_id): states for run_id, states in truth.items()}


@pytest.mark.parametrize(("patient", "order"), [(True, "start_time"), (False, "end_time")])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_at_any_request_nothing_is_lost_or_doubled(workspace: Workspace, fault: str, patient: bool, order: str) -> None:
    position = 0
    while not workspace.faults:
        workspace.__dict__.update({**vars(Workspace(order=order)), "url": workspace.url, "faults": {position: FAULTS[fault]}})
        driver = watch(workspace, attempts=3 if patient else 1)
        truth = scenario(workspace, driver, 1 if patient else 2)
        driver.http.close()
        assert driver.states() == truth, f"{fault} at request {position}"
        position += 1
    assert position > 20


def test_a_workspace_that_asks_for_patience_gets_it(workspace: Workspace) -> None:
    sleeps: list[float] = []
    driver = watch(workspace, sleep=sleeps.append)
    workspace.faults = {0: FAULTS["429 with Retry-After"], 2: FAULTS["429"]}
    driver.poll()
    assert sleeps[0] == 7
    assert 0 <= sleeps[1] <= 1


def test_a_failed_poll_changes_nothing_and_says_what_to_do(workspace: Workspace) -> None:
    driver = watch(workspace, attempts=2)
    workspace.start()
    driver.poll()
    checkpoint, states = driver.checkpoint, driver.states()
    workspace.start()
    workspace.faults = dict.fromkeys(range(len(workspace.log) + 1, len(workspace.log) + 9), FAULTS["HTML with 200"])
    with pytest.raises(SourceError, match=r"runs/list: answered 200 with an HTML page instead of JSON; .*`url` is wrong"):
        driver.poll()
    assert (driver.checkpoint, driver.states()) == (checkpoint, states)


def test_a_body_that_drips_is_given_up(workspace: Workspace) -> None:
    driver = watch(workspace, timeout=timedelta(milliseconds=300), attempts=1)
    workspace.faults = {0: SLOW}
    with pytest.raises(SourceError, match=r"0\.3 s"):
        driver.poll()


def test_pages_without_end_and_answers_of_another_kind_are_errors(workspace: Workspace) -> None:
    driver = watch(workspace)
    bodies: list[tuple[Any, str]] = [
        ({"runs": [], "next_page_token": "x"}, "no end"), ([], "not what the Jobs API gives"), ({"runs": {"a": 1}}, "not a list"), ({"error_code": "X"}, "not what"),
    ]  # fmt: skip
    for body, why in bodies:
        workspace.answer = lambda request, body=body: Reply(200, body)  # type: ignore[misc]
        with pytest.raises(SourceError, match=why):
            driver.poll()


def test_a_service_principal_logs_in_renews_in_time_and_once_when_refused(workspace: Workspace) -> None:
    driver = watch(workspace, model={"client_id": CLIENT}, secrets={"client_secret": SECRET})
    run_id = workspace.start()
    driver.poll()
    assert len(workspace.tokens) == 1
    workspace.pass_time(minutes=57)
    driver.poll()
    assert len(workspace.tokens) == 1
    workspace.pass_time(minutes=1.5)
    driver.poll()
    assert len(workspace.tokens) == 2, "renewed before it ends"
    for token in workspace.tokens:
        workspace.tokens[token] -= timedelta(days=1)
    driver.poll()
    assert len(workspace.tokens) == 3, "renewed once when it is refused"
    assert only(driver, run_id).state is RUNNING


def test_a_login_that_is_refused_is_not_tried_for_ever(workspace: Workspace) -> None:
    driver = watch(workspace, model={"client_id": CLIENT}, secrets={"client_secret": "wrong"})
    with pytest.raises(SourceError, match="check client_id and client_secret"):
        driver.poll()
    assert len(workspace.log) == 1
    workspace.tokens["good"] = workspace.now
    driver = watch(workspace, secrets={"token": "expired"})
    with pytest.raises(SourceError, match="answered 401") as refused:
        driver.poll()
    assert "expired" not in str(refused.value)
    assert len(workspace.log) == 2


@pytest.mark.parametrize(("client", "given", "faults"), [
    (None, {"token"}, 0), ("a", {"client_secret"}, 0), (None, set(), 1), ("a", set(), 1), ("a", {"token", "client_secret"}, 1), (None, {"client_secret"}, 1),
])  # fmt: skip
def test_one_login_is_needed_and_only_one(client: str | None, given: set[str], faults: int) -> None:
    source = DatabricksSource(type="databricks", url="https://dbc.example.com", client_id=client)
    assert len(list(source.problems(frozenset(given)))) == faults
