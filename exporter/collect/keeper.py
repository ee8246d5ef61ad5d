"""Keeps what is published of pipelines up to date: works on what was received, counts, judges deadlines and health, finds causes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

import structlog

from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.collect.watched import Job, Watched
from exporter.model import TableSpec
from exporter.pipelines.base import TestResult
from exporter.pipelines.health import DAY, Health, Past, Span, day_start, health
from exporter.pipelines.lineage import Kind, Lineage, Names, Node, edges_of
from exporter.pipelines.run import PipelineRun, RunState
from exporter.pipelines.spec import PipelineSpec
from exporter.publish import pipelines as shown
from exporter.publish import statsd
from exporter.publish.prometheus import Publisher
from exporter.publish.series import Samples, Subject
from exporter.store import Ledger
from exporter.store.state import CounterKey

log = structlog.get_logger("dq_exporter")
_ANEW_EVERY = timedelta(hours=1)
_LOOK_EVERY = timedelta(seconds=5)
_PAUSE = 4
"""Looking takes at most a fifth of the time, however much changes: what changed meanwhile is looked at together."""
_LINEAGE_EVERY = timedelta(seconds=30)
_LINEAGE_FOR = timedelta(days=30)
_MOST_EDGES = 5000
_MOST_TESTS = 5000
"""So many tests of sources are published, those of configured tables and then the newest first: senders do not decide how many series there are."""
_SLA_BACK = timedelta(days=10)
_LATE_NEWS = timedelta(seconds=10)
"""A source that is sent to is known up to so long ago: what it sends takes a moment."""


@dataclass
class _Entry:
    """What is known of one pipeline, and when it was last read from the store."""

    past: Past
    read_at: datetime
    samples: Samples = field(default_factory=dict)


Mirror = Callable[[Iterable[str]], None]
"""Takes DogStatsD lines; never waits."""


class Keeper:
    """Called in one thread by `tick`; what it knows may be read from others."""

    def __init__(self, watched: Callable[[], Watched], tables: Callable[[], Iterable[TableSpec]], ledger: Ledger, publisher: Publisher, clock: Callable[[], datetime], mirror: Mirror) -> None:
        self._mirror = mirror
        self._watched, self._tables, self._ledger, self._publisher, self._clock = watched, tables, ledger, publisher, clock
        self.health: Mapping[str, Health] = {}
        self.lineage = Lineage(())
        self.names = Names(())
        self.causes: Mapping[Node, Node] = {}
        self.tests: Mapping[str, list[TestResult]] = {}
        self._entries: dict[str, _Entry] = {}
        self._changed: set[Job] = set()
        self._has_left_out = False
        self._lock = threading.Lock()
        self._looked_at: datetime | None = None
        self._took = timedelta(0)
        self._drawn_at: datetime | None = None
        self._shown: dict[Subject, Samples] = {}
        self.backlog: tuple[int, datetime | None] = (0, None)

    def changed(self, jobs: Iterable[Job]) -> None:
        """The runs of these jobs changed."""
        with self._lock:
            self._changed |= set(jobs)

    def reconfigured(self) -> None:
        """The configuration is another: everything is looked at anew."""
        self._looked_at = self._drawn_at = None

    def tick(self) -> None:
        """Brings everything up to the present. Raises StoreError; what was done before it stays done."""
        now, watched = self._clock(), self._watched()
        while True:
            jobs, count = self._ledger.work(lambda source: self._is_pushed(watched, source))
            self.changed(jobs)
            if not count:
                break
        self.backlog = self._ledger.backlog()
        ended: list[PipelineRun] = []

        def increments(run: PipelineRun, is_retried: bool) -> Mapping[CounterKey, float]:
            ended.append(run)
            return self._increments(watched, run, is_retried)

        added, jobs = self._ledger.count(now, increments)
        self._publisher.add(added)
        self._mirror(line for run in ended if (spec := watched.spec(run.source, run.job)) for line in _run_lines(spec, run))
        self.changed(jobs)
        patience = _PAUSE * self._took if self._changed else _LOOK_EVERY
        if self._looked_at is not None and now - self._looked_at < patience:
            return
        with self._lock:
            changed, self._changed = self._changed, set()
        began, self._looked_at = monotonic(), now
        self._judge(watched, changed, now)
        self._draw(watched, now)
        self._took = timedelta(seconds=monotonic() - began)

    @staticmethod
    def _is_pushed(watched: Watched, source: str) -> bool:
        spec = watched.sources.get(source)
        return spec is None or not spec.model.is_polled

    @staticmethod
    def _increments(watched: Watched, run: PipelineRun, is_retried: bool) -> Mapping[CounterKey, float]:
        spec = watched.spec(run.source, run.job)
        return shown.increments_of_run(spec, run, is_retried) if spec else {}

    # --- health ---
    def _judge(self, watched: Watched, changed: set[Job], now: datetime) -> None:
        polls, watches = self._ledger.polls(), self._ledger.watches()
        spans: dict[Job, Span] = {}
        for job, watch in watches.items():
            until = polls[job[0]][0] if job[0] in polls else now - _LATE_NEWS
            spans[job] = Span(watch.since - DAY if job[0] in polls else watch.since, until)
        breaches = self._ledger.judge_deadlines(
            {job: (spec.sla, spans[job].until) for job in watches if (spec := watched.spec(*job)) and spec.sla},
            lambda job, count: shown.increments_of_breaches(watched.spec(*job), count),
        )
        self._publisher.add(breaches)
        found: dict[str, Health] = {}
        for spec in watched.pipelines:
            job = (spec.source, spec.job)
            entry = self._entries.get(spec.name)
            if entry is None or job in changed or now - entry.read_at >= _ANEW_EVERY:
                entry = self._entries[spec.name] = _Entry(self._past(spec, now), now, entry.samples if entry else {})
            is_paused = job in watches and watches[job].is_paused
            found[spec.name] = health(spec, entry.past, now, spans.get(job, Span(now, now)), is_paused)
            self._publish((lb.PIPELINE.name, spec.name), shown.samples_of(found[spec.name]), shown.counters_at_zero(spec), job in changed or bool(breaches))
        for name in self._entries.keys() - found.keys():
            del self._entries[name]
            self._withdraw((lb.PIPELINE.name, name))
        self.health = found

    def _past(self, spec: PipelineSpec, now: datetime) -> Past:
        recent_since = min(now - DAY, day_start(spec.cost, now))
        return self._ledger.past(spec.source, spec.job, now, recent_since, now - _SLA_BACK if spec.sla else None)

    def _publish(self, subject: Subject, samples: Samples, at_zero: Mapping[CounterKey, float], is_news: bool) -> None:
        if is_news or self._shown.get(subject) != samples:
            self._publisher.show(subject, samples, at_zero)
            self._shown[subject] = samples

    def _withdraw(self, subject: Subject) -> None:
        self._shown.pop(subject, None)
        self._publisher.show(subject, None)

    # --- lineage ---
    def _draw(self, watched: Watched, now: datetime) -> None:
        """The graph anew now and then, the causes each time."""
        if self._drawn_at is None or now - self._drawn_at >= _LINEAGE_EVERY:
            self._drawn_at = now
            self.names = Names(self._tables())
            flows = [
                (spec.name if (spec := watched.told_of(flow.source, flow.job)) else None, f"{flow.source}/{flow.job}", flow.dataset, flow.is_output)
                for flow in self._ledger.flows(now - _LINEAGE_FOR)
            ]
            self.lineage = Lineage(edges_of(self.names, watched.pipelines, watched.watching.assets, flows))
            self._show_tests(now)
            for (label, _), samples in self._shown.items():
                if label == lb.PIPELINE.name:
                    self._mirror(statsd.gauges(samples, now.timestamp()))
            letters = self._ledger.count_letters()
            by_type: dict[str, int] = {spec.type.value: 0 for spec in watched.sources.values()}
            for source, count in letters.items():
                if source in watched.sources:
                    by_type[watched.sources[source].type.value] += count
            for kind, count in by_type.items():
                self._publisher.set(m.DEAD_LETTERS, count, (kind,))
        self.causes = self.lineage.causes({name: at for name, one in self.health.items() if (at := failed_at(one)) is not None})
        tables = {table.name for table in self._tables()}
        causes = {node.name: cause.name for node, cause in self.causes.items() if node.kind is Kind.TABLE and node.name in tables}
        edges = [(above.name, below.name) for above, below in self.lineage.configured()[:_MOST_EDGES]]
        self._publish((lb.UPSTREAM.name, ""), shown.samples_of_lineage(edges, causes), {}, False)

    def _show_tests(self, now: datetime) -> None:
        """The tests that sources ran, under the names of the tables that they are about."""
        tables = {table.name: table for table in self._tables()}
        taken = {(table.name, check.id) for table in tables.values() for check in table.checks}
        self.tests = self._ledger.tests(now - _LINEAGE_FOR)
        newest = {
            (self.names.node(test.dataset).name, test.name): test
            for test in sorted((test for results in self.tests.values() for test in results), key=lambda test: test.at)
        }
        rows = [(table, tables[table].team if table in tables else "", test) for (table, name), test in newest.items() if (table, name) not in taken]
        if len(rows) > _MOST_TESTS:
            if not self._has_left_out:
                log.warning("not all tests of sources are published", tests=len(rows), published=_MOST_TESTS)
            rows = sorted(rows, key=lambda row: (row[0] in tables, row[2].at), reverse=True)[:_MOST_TESTS]
            self._has_left_out = True
        self._publish(("tests", ""), shown.samples_of_tests(rows, tables.keys()), {}, False)


def _run_lines(spec: PipelineSpec, run: PipelineRun) -> list[str]:
    return statsd.run_lines(spec.name, run.state is RunState.SUCCESS, run.duration.total_seconds() if run.duration is not None else None)


def failed_at(health: Health) -> float | None:
    """When a pipeline failed, or missed its deadline; None while it holds nothing up."""
    if health.state is RunState.FAILED and health.newest is not None:
        return (health.newest.ended_at or health.newest.at).timestamp()
    if health.deadline is not None and health.deadline.is_breached:
        return health.deadline.at.timestamp()
    return None
