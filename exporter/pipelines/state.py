"""The one state machine that every source feeds; pure.

Reports of a run are folded in the order of the source's times, so the order in which they arrive does not matter:
`fold` of the same reports gives the same attempts. A polled source, whose newest answer is the truth, folds one report into what is
known. Of two reports of the same time the one that arrived later counts, unless the failure is sticky.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from exporter.pipelines.run import PipelineRun, RunError, RunReport, RunState


def fold(source: str, reports: Sequence[tuple[RunReport, datetime]]) -> tuple[PipelineRun, ...]:
    """The attempts of one run, oldest first, from all that was reported of it and when (our clock) it arrived, in order of arrival."""
    attempts: tuple[PipelineRun, ...] = ()
    own = [(report, seen) for report, seen in reports if not report.part]
    for report, seen in sorted(own, key=lambda pair: pair[0].at):  # stable: arrival decides between equal times
        attempts = advance(source, attempts, report, seen)
    parts = [report for report, _ in reports if report.part]
    newest = attempts[-1].ordinal if attempts else 0
    return tuple(_with_parts(one, [part for part in parts if (part.ordinal or newest) == one.ordinal]) for one in attempts)


def advance(source: str, attempts: Sequence[PipelineRun], report: RunReport, seen_at: datetime) -> tuple[PipelineRun, ...]:
    """The attempts of a run after one more report; all, or at least the newest, are given oldest first."""
    ordinals = [attempt.ordinal for attempt in attempts]
    if report.ordinal is not None and report.ordinal in ordinals:
        place = ordinals.index(report.ordinal)
        return (*attempts[:place], _merged(attempts[place], report, seen_at), *attempts[place + 1 :])
    if report.ordinal is not None or not attempts or _begins_anew(attempts[-1], report):
        ordinal = report.ordinal if report.ordinal is not None else (ordinals[-1] + 1 if ordinals else 1)
        fresh = _begun(source, report, ordinal, seen_at)
        others = [_left(attempt, fresh) if attempt.ordinal < ordinal else attempt for attempt in attempts]
        return tuple(sorted((*others, fresh), key=lambda attempt: attempt.ordinal))
    return (*attempts[:-1], _merged(attempts[-1], report, seen_at))


def _begins_anew(known: PipelineRun, report: RunReport) -> bool:
    """True when the report is about a later attempt than the one that is known: it was cleared, repaired, or its id is used again."""
    has_run = known.state.is_terminal or known.started_at is not None
    # clearing tasks of a run that is running moves its time in the queue, and it runs on from the same start
    runs_on = known.started_at is not None and report.started_at is not None and report.started_at <= known.started_at
    if has_run and not runs_on and known.queued_at and report.queued_at and report.queued_at > known.queued_at:
        return True
    if not known.state.is_terminal or known.ended_at is None:
        return False
    if report.started_at and report.started_at > known.ended_at:
        return True
    return report.state in (RunState.QUEUED, RunState.RUNNING) and report.at > known.at


def _left(known: PipelineRun, following: PipelineRun) -> PipelineRun:
    """An attempt of which no end was heard when the next one began: it is over. Should its verdict still come, it is counted then."""
    if known.state.is_terminal:
        return known
    return replace(known, state=RunState.CANCELLED, ended_at=following.queued_at or following.started_at or following.at, settled_at=None)


def _begun(source: str, report: RunReport, ordinal: int, seen_at: datetime) -> PipelineRun:
    empty = PipelineRun(
        source, report.job, report.run_id, ordinal, report.chain or f"{report.run_id}#{ordinal}", RunState.UNKNOWN, report.at, seen_at
    )
    return _merged(empty, report, seen_at)


def _merged(known: PipelineRun, report: RunReport, seen_at: datetime) -> PipelineRun:
    """What is known after a report of the same attempt: its state if it is the news, its times and texts where they tell more."""
    is_news = report.at >= known.at and not (known.is_sticky and known.state is RunState.FAILED)
    state = report.state if is_news or (report.is_sticky and report.state is RunState.FAILED) else known.state
    if known.state.is_terminal and not state.is_terminal:
        state = known.state  # the same attempt does not run again: a late heartbeat
    ended_at = _either(report.ended_at, known.ended_at, is_news) if state.is_terminal else None
    return replace(
        known,
        state=state,
        at=max(known.at, report.at),
        settled_at=(known.settled_at or seen_at) if state.is_terminal else None,
        queued_at=_earliest(known.queued_at, report.queued_at),
        started_at=_earliest(known.started_at, report.started_at),
        ended_at=ended_at or (report.at if state.is_terminal and state is report.state else known.ended_at),
        nominal_at=_either(report.nominal_at, known.nominal_at, is_news),
        retries=max(known.retries, report.retries or 0),
        failed_tasks=report.failed_tasks if report.failed_tasks is not None and is_news else known.failed_tasks,
        error=_error(known, report, state),
        url=report.url or known.url,
        owner=report.owner or known.owner,
        resources={**known.resources, **report.resources},
        cost_usd=report.cost_usd if report.cost_usd is not None else known.cost_usd,
        is_sticky=known.is_sticky or report.is_sticky,
    )


def _error(known: PipelineRun, report: RunReport, state: RunState) -> RunError | None:
    if state is not RunState.FAILED:
        return None
    if report.state is RunState.FAILED and report.error and (known.error is None or report.at >= known.at or not known.error.message):
        return report.error
    return known.error


def _either(news: datetime | None, known: datetime | None, is_news: bool) -> datetime | None:
    first, second = (news, known) if is_news else (known, news)
    return first if first is not None else second


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _with_parts(run: PipelineRun, parts: Iterable[RunReport]) -> PipelineRun:
    """The run with what its tasks say: automatic retries, the error of the task that failed last, and failures that the run itself does not admit."""
    tries: dict[str, set[int]] = {}
    failed: list[RunReport] = []
    for part in parts:
        tries.setdefault(part.part, set()).add(part.tries)
        if part.state is RunState.FAILED:
            failed.append(part)
    if not tries:
        return run
    state = run.state
    if state is RunState.SUCCESS and any(part.is_sticky for part in failed):
        state = RunState.FAILED
    told = [part.error for part in sorted(failed, key=lambda part: part.at) if part.error and part.error.message]
    error = told[-1] if state is RunState.FAILED and told else run.error
    retries = sum(len(numbers) - 1 for numbers in tries.values())
    return replace(run, state=state, error=error, retries=max(run.retries, retries))
