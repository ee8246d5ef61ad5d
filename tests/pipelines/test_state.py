"""The state machine: whatever order reports come in, the same attempts; what a source does to a run is told as what it is."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from exporter.pipelines.run import PipelineRun, RunError, RunReport, RunState
from exporter.pipelines.state import advance, fold

BEGIN = datetime(2026, 11, 20, 6, tzinfo=UTC)
Q, R, S, F, C, U = RunState.QUEUED, RunState.RUNNING, RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED, RunState.UNKNOWN


def minute(number: float) -> datetime:
    return BEGIN + timedelta(minutes=number)


def report(state: RunState, at: float, **more: object) -> RunReport:
    told = RunReport("sales", "r1", state, minute(at))
    times = {Q: {"queued_at": told.at}, R: {"started_at": told.at}}.get(state, {"ended_at": told.at} if state.is_terminal else {})
    return replace(told, **{**times, **more})


def folded(*reports: RunReport) -> tuple[PipelineRun, ...]:
    return fold("src", [(one, BEGIN) for one in reports])


def states(runs: tuple[PipelineRun, ...]) -> list[RunState]:
    return [run.state for run in runs]


@st.composite
def lives(draw: st.DrawFn) -> list[RunReport]:
    """Lives of one run id, attempt after attempt, each from the queue or from its start to an end or not."""
    reports, at = [], 0.0
    for _ in range(draw(st.integers(1, 4))):
        for state in (Q, R, draw(st.sampled_from([S, F, C]))):
            if state.is_terminal or draw(st.booleans()):
                reports.append(report(state, at))
            at += draw(st.floats(1, 60))
    return reports


@given(lives(), st.randoms())
def test_the_order_of_arrival_and_repetitions_change_nothing(life: list[RunReport], chance: random.Random) -> None:
    shuffled = [*life, *chance.choices(life, k=3)]
    chance.shuffle(shuffled)
    assert folded(*shuffled) == folded(*life)


@given(lives(), st.integers(1, 3))
def test_folding_one_by_one_is_folding_at_once(life: list[RunReport], step: int) -> None:
    attempts: tuple[PipelineRun, ...] = ()
    for one in life:
        attempts = advance("src", attempts, one, BEGIN)
    assert attempts == folded(*life)


def test_a_run_from_the_queue_to_its_end_is_one_attempt() -> None:
    [run] = folded(report(Q, 0), report(R, 2), report(S, 12))
    assert (run.state, run.duration, run.queue_delay) == (S, timedelta(minutes=10), timedelta(minutes=2))


def test_an_end_alone_is_a_run_of_unknown_duration() -> None:
    [run] = folded(report(F, 5))
    assert (run.state, run.duration, run.ended_at) == (F, None, minute(5))


def test_a_cleared_run_is_a_new_attempt_and_the_old_one_keeps_its_verdict() -> None:
    runs = folded(report(Q, 0), report(R, 1), report(F, 5), report(Q, 10), report(R, 11), report(S, 15))
    assert states(runs) == [F, S]
    assert [run.ordinal for run in runs] == [1, 2]
    assert runs[0].chain != runs[1].chain


def test_a_polled_clear_is_told_by_its_time_in_the_queue_even_when_it_ended_meanwhile() -> None:
    before = advance("src", (), report(F, 5, queued_at=minute(0), started_at=minute(1)), BEGIN)
    after = advance("src", before, report(F, 15, queued_at=minute(10), started_at=minute(11)), BEGIN)
    assert states(after) == [F, F]


def test_a_run_id_that_is_used_again_is_a_new_attempt_by_its_start() -> None:
    before = advance("src", (), report(S, 5, started_at=minute(1)), BEGIN)
    after = advance("src", before, report(S, 65, started_at=minute(61)), BEGIN)
    assert [run.duration for run in after] == [timedelta(minutes=4)] * 2


def test_a_verdict_set_by_hand_changes_the_state_of_the_same_attempt() -> None:
    before = advance("src", (), report(F, 5, started_at=minute(1), error=RunError("ValueError", "x")), BEGIN)
    [run] = advance("src", before, report(S, 30, started_at=minute(1), ended_at=minute(5)), BEGIN)
    assert (run.state, run.ended_at, run.duration, run.error) == (S, minute(5), timedelta(minutes=4), None)


def test_of_two_verdicts_of_the_same_time_the_later_arrival_counts() -> None:
    assert states(folded(report(R, 0), report(F, 5), report(S, 5))) == [S]
    assert states(folded(report(R, 0), report(S, 5), report(F, 5))) == [F]


def test_a_sticky_failure_outlives_what_follows_and_what_came_before() -> None:
    failure = report(F, 5, is_sticky=True, ordinal=1)
    for order in ([failure, report(S, 5.1, ordinal=1)], [report(S, 5.1, ordinal=1), failure]):
        assert states(folded(report(R, 0, ordinal=1), *order)) == [F]


def test_a_late_heartbeat_does_not_revive_an_attempt_with_a_number() -> None:
    assert states(folded(report(R, 0, ordinal=1), report(S, 5, ordinal=1), report(R, 6, ordinal=1))) == [S]


def test_parts_tell_of_retries_and_of_the_error_but_an_airflow_part_does_not_fail_the_run() -> None:
    tries = [
        report(F, 1, part="flaky", tries=1, error=RunError("RuntimeError", "not reachable"), ended_at=None),
        report(S, 2, part="flaky", tries=2, ended_at=None),
        report(F, 3, part="killed", tries=1, ended_at=None),
    ]
    [run] = folded(report(R, 0), *tries, report(S, 9))
    assert (run.state, run.retries, run.error) == (S, 1, None)


def test_a_failed_run_takes_the_error_of_the_part_that_failed_last() -> None:
    parts = [report(F, at, part=name, tries=1, error=RunError("ValueError", name), ended_at=None) for at, name in ((1, "first"), (3, "last"))]
    [run] = folded(report(R, 0), *parts, report(F, 9, error=RunError("Failed", "task_failure")))
    assert run.error == RunError("ValueError", "last")


def test_a_sticky_failure_of_a_part_fails_a_run_that_says_success() -> None:
    [run] = folded(report(R, 0), report(F, 3, part="job", tries=1, is_sticky=True, error=RunError("OutOfMemory", "heap"), ended_at=None), report(S, 4))
    assert (run.state, run.error) == (F, RunError("OutOfMemory", "heap"))


def test_clocks_that_differ_never_make_a_duration_negative() -> None:
    [run] = folded(report(R, 5, ordinal=1), report(S, 3, ordinal=1))
    assert run.duration is not None
    assert run.duration >= timedelta(0)


def test_a_state_that_nobody_knows_is_no_end() -> None:
    [run] = folded(report(R, 0), report(U, 1))
    assert not run.state.is_terminal
    assert run.ended_at is None


def test_a_run_that_is_queued_twice_waits_once() -> None:
    [run] = folded(report(Q, 0), report(Q, 1), report(R, 2), report(S, 5))
    assert (run.state, run.queue_delay) == (S, timedelta(minutes=2))


def test_clearing_tasks_of_a_running_run_moves_its_time_in_the_queue_and_is_no_other_attempt() -> None:
    runs: tuple[PipelineRun, ...] = ()
    for state, at, queued in ((R, 2, 0), (R, 4, 3), (S, 9, 3), (S, 10, 3)):
        ended = minute(9) if state is S else None
        runs = advance("src", runs, report(state, at, queued_at=minute(queued), started_at=minute(1), ended_at=ended), BEGIN)
    assert states(runs) == [S]
    assert runs[0].duration == timedelta(minutes=8)


def test_an_attempt_whose_end_was_never_heard_is_over_when_the_next_begins_and_counts_if_its_verdict_comes_late() -> None:
    runs = advance("src", (), report(R, 2, queued_at=minute(0), started_at=minute(1)), BEGIN)
    runs = advance("src", runs, report(Q, 5, queued_at=minute(4)), BEGIN)
    assert states(runs) == [C, Q]
    assert states(folded(report(R, 0, ordinal=1), report(R, 9, ordinal=2))) == [C, R]
    late = folded(report(R, 0, ordinal=1), report(R, 9, ordinal=2), report(F, 5, ordinal=1))
    assert states(late) == [F, R]
    assert late[0].settled_at is not None
