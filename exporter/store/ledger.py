"""The durable state of pipelines: what each call does is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from exporter.model import Json
from exporter.pipelines.base import DeadLetter, Flow, Polled, TestResult
from exporter.pipelines.health import Past, to_count, was_met
from exporter.pipelines.run import PipelineRun
from exporter.pipelines.spec import Sla
from exporter.pipelines.state import advance, fold
from exporter.store import counters, inbox, runs, sources
from exporter.store.inbox import EventKey, Received
from exporter.store.sources import SeenFlow, StoredLetter, Watch
from exporter.store.state import CounterKey
from exporter.store.store import Store

Job = tuple[str, str]
"""Name of a source and the id of a pipeline there."""
Increments = Callable[[PipelineRun, bool], Mapping[CounterKey, float]]
"""What a counted run (and whether it was retried) adds to the counters."""
_SETTLE = timedelta(seconds=2)
"""A verdict is counted when it has stood for so long: a failure may be sent milliseconds after a success."""
_AT_ONCE = 2000
_MOST_DEADLINES = 100


class Ledger:
    """Runs, checkpoints, received events, dead letters and lineage. Safe to use from several threads; failures raise StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # --- polled sources ---
    def begin(self, source: str) -> tuple[Json, datetime | None, list[PipelineRun], dict[str, Watch]]:
        """Where a poll begins: the checkpoint, up to when everything is known, the open runs, and the watched jobs."""
        with self._store.reading() as connection:
            body, until = sources.checkpoint(connection, source)
            watched = {job: watch for (_, job), watch in sources.watches(connection, source).items()}
            return body, until, runs.open_runs(connection, source), watched

    def save_poll(self, source: str, jobs: Collection[str], polled: Polled, now: datetime) -> set[Job]:
        """Keeps what a complete poll found, with its checkpoint; `jobs` are those that are watched from now on. Returns the jobs whose runs changed."""
        with self._store.transaction() as connection:
            mine = {*jobs, *(report.job for report in polled.reports)}
            sources.end_watching(connection, source, mine)
            sources.begin_watching(connection, source, mine, polled.until)
            watched = sources.watches(connection, source)
            known = runs.attempts(connection, {(source, report.job, report.run_id) for report in polled.reports})
            changed: list[PipelineRun] = []
            for report in polled.reports:
                key = (source, report.job, report.run_id)
                before = known.get(key, ())
                heard = max((run.at for run in before if report.ordinal in (None, run.ordinal)), default=report.at)
                # the newest answer is the truth, though the clock went back, or an event came from one that is ahead
                known[key] = advance(source, before, replace(report, at=max(report.at, heard)), now)
                changed += [_dated(run, watched[source, report.job]) for run in known[key] if run not in before]
            runs.save(connection, changed)
            sources.change_watches(connection, source, polled.histories, has_history=True)
            if polled.paused is not None:
                sources.change_watches(connection, source, mine & polled.paused, is_paused=True)
                sources.change_watches(connection, source, mine - polled.paused, is_paused=False)
            sources.bury(connection, source, polled.letters, now)
            sources.save_flows(connection, source, polled.flows, now)
            sources.save_tests(connection, source, polled.tests)
            sources.save_checkpoint(connection, source, polled.checkpoint, polled.until, now)
        return {(run.source, run.job) for run in changed}

    # --- received events ---
    def receive(
        self, events: Sequence[Received], flows: Mapping[str, Sequence[Flow]], tests: Mapping[str, Sequence[TestResult]],
        letters: Mapping[str, Sequence[DeadLetter]], now: datetime, increments: Callable[[set[EventKey]], Mapping[CounterKey, float]] = lambda new: {},
    ) -> Mapping[CounterKey, float]:  # fmt: skip
        """Keeps what was sent, and adds the `increments` that follow from which events are new; returns these. Once it returns, nothing of it is lost."""
        with self._store.transaction() as connection:
            for source in sorted({event.source for event in events}):
                sources.begin_watching(connection, source, {event.report.job for event in events if event.source == source}, now)
            added = increments(inbox.keep(connection, events))
            for source, some in flows.items():
                sources.save_flows(connection, source, some, now)
            for source, results in tests.items():
                sources.save_tests(connection, source, results)
            for source, unreadable in letters.items():
                sources.bury(connection, source, unreadable, now)
            counters.add(connection, added)
        return added

    def work(self, is_pushed: Callable[[str], bool], limit: int = 500) -> tuple[set[Job], int]:
        """Folds the oldest received events into runs; returns the jobs that changed and how many events that were."""
        with self._store.transaction() as connection:
            waiting = inbox.pending(connection, limit)
            keys = {event.run for event in waiting.values()}
            known = runs.attempts(connection, keys)
            everything = inbox.of_runs(connection, {key for key in keys if is_pushed(key[0])})
            changed: list[PipelineRun] = []
            for key in sorted(keys):
                if key in everything and not _is_cut(known.get(key, ()), everything[key]):
                    after = fold(key[0], [(event.report, event.received_at) for event in everything[key]])
                else:
                    after = _advanced(key[0], known.get(key, ()), [event for event in waiting.values() if event.run == key])
                changed += _kept(known.get(key, ()), after)
            runs.save(connection, changed)
            inbox.done(connection, waiting)
        return {(source, job) for source, job, _ in keys}, len(waiting)

    def backlog(self) -> tuple[int, datetime | None]:
        """How many received events wait, and since when the oldest does."""
        with self._store.reading() as connection:
            return inbox.backlog(connection)

    # --- counting ---
    def count(self, now: datetime, increments: Increments) -> tuple[dict[CounterKey, float], set[Job]]:
        """Adds the runs that ended to the counters, each once; returns what was added, and their jobs."""
        added: dict[CounterKey, float] = {}
        with self._store.transaction() as connection:
            counted, settled = to_count(runs.uncounted(connection, now - _SETTLE, _AT_ONCE))
            for run, is_retried in counted:
                for key, by in increments(run, is_retried).items():
                    added[key] = added.get(key, 0.0) + by
            runs.mark_counted(connection, settled)
            counters.add(connection, added)
        return added, {(run.source, run.job) for run in settled}

    def judge_deadlines(self, slas: Mapping[Job, tuple[Sla, datetime]], increments: Callable[[Job, int], Mapping[CounterKey, float]]) -> dict[CounterKey, float]:
        """Counts deadlines that passed unmet, each once, up to the time until which the runs of a job are known; returns what was added."""
        added: dict[CounterKey, float] = {}
        with self._store.transaction() as connection:
            for (source, job), watch in sources.watches(connection).items():
                sla, until = slas.get((source, job), (None, None))
                if sla is None or until is None:
                    if watch.sla_judged_at is not None:
                        sources.change_watches(connection, source, [job], sla_judged_at=None)
                    continue
                if watch.sla_judged_at is None:  # it has a deadline from now on: those of before were none
                    sources.change_watches(connection, source, [job], sla_judged_at=max(until, watch.since))
                    continue
                due = _between(sla, watch.sla_judged_at, until)
                if not due:
                    continue
                successes = runs.past(connection, source, job, until, until, due[0] - sla.window - timedelta(days=1)).for_sla
                missed = sum(not was_met(sla, at, successes) for at in due)
                sources.change_watches(connection, source, [job], sla_judged_at=due[-1])
                for key, by in increments((source, job), missed).items():
                    added[key] = added.get(key, 0.0) + by
            counters.add(connection, {key: by for key, by in added.items() if by})
        return added

    # --- looking ---
    def past(self, source: str, job: str, now: datetime, recent_since: datetime, sla_since: datetime | None) -> Past:
        """What the health of a pipeline needs."""
        with self._store.reading() as connection:
            return runs.past(connection, source, job, now, recent_since, sla_since)

    def newest(self, source: str, job: str, limit: int) -> list[PipelineRun]:
        """The last runs of a pipeline, open ones first, then newest first."""
        with self._store.reading() as connection:
            return runs.newest(connection, source, job, limit)

    def watches(self) -> dict[Job, Watch]:
        """The watched jobs."""
        with self._store.reading() as connection:
            return sources.watches(connection)

    def polls(self) -> dict[str, tuple[datetime, datetime]]:
        """Of each source, up to when everything is known, and when it was last asked in full."""
        with self._store.reading() as connection:
            return sources.polls(connection)

    def flows(self, since: datetime) -> list[SeenFlow]:
        """What jobs were seen to read and write from `since` on."""
        with self._store.reading() as connection:
            return sources.flows(connection, since)

    def tests(self, since: datetime) -> dict[str, list[TestResult]]:
        """The newest results of the tests of sources, by source."""
        with self._store.reading() as connection:
            return sources.tests(connection, since)

    # --- dead letters ---
    def letters(self, numbers: Collection[int] | None = None) -> list[StoredLetter]:
        """The dead letters, or those of some numbers, oldest first."""
        with self._store.reading() as connection:
            return sources.letters(connection, numbers)

    def count_letters(self) -> dict[str, int]:
        """Number of dead letters by source."""
        with self._store.reading() as connection:
            return sources.count_letters(connection)

    def drop_letters(self, numbers: Collection[int]) -> int:
        """Forgets dead letters; returns how many there were."""
        with self._store.transaction() as connection:
            return sources.drop_letters(connection, numbers)

    def prune(self, before: datetime, events_before: datetime) -> int:
        """Forgets what is older; returns the rows deleted."""
        with self._store.transaction() as connection:
            return runs.prune(connection, before) + inbox.prune(connection, events_before) + sources.prune(connection, before)


def _dated(run: PipelineRun, watch: Watch) -> PipelineRun:
    """A run that ended before its job was watched is not counted: counters are not filled with the past."""
    ended = run.ended_at if run.state.is_terminal else None
    return replace(run, is_counted=True) if ended is not None and ended < watch.since else run


def _is_cut(known: Iterable[PipelineRun], events: Iterable[Received]) -> bool:
    """True when the run was heard of before the first event that is still kept: the kept ones alone do not tell what it is."""
    seen = min((run.seen_at for run in known), default=None)
    return seen is not None and seen < min(event.received_at for event in events)


def _advanced(source: str, known: Sequence[PipelineRun], events: Iterable[Received]) -> tuple[PipelineRun, ...]:
    """What a run is after more events, where those of before are not kept: it is polled, or they are forgotten by now."""
    after = tuple(known)
    for event in sorted(events, key=lambda event: event.report.at):
        if not event.report.part:
            after = advance(source, after, event.report, event.received_at)
    return after


def _kept(before: Iterable[PipelineRun], after: Iterable[PipelineRun]) -> list[PipelineRun]:
    """The runs that changed, with what only the store knows of them."""
    known = {run.key: run for run in before}
    merged = [replace(run, is_counted=run.is_counted or known[run.key].is_counted, seen_at=known[run.key].seen_at) if run.key in known else run for run in after]
    return [run for run in merged if known.get(run.key) != run]


def _between(sla: Sla, begin: datetime, until: datetime) -> list[datetime]:
    """Deadlines after `begin`, up to `until`; the last hundred of them."""
    found: list[datetime] = []
    at = sla.next_after(begin)
    while at is not None and at <= until:
        found.append(at)
        at = sla.next_after(at)
    return found[-_MOST_DEADLINES:]

