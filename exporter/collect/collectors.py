"""The collectors of one exporter: started, reconfigured and stopped together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import structlog

from exporter.catalog import metrics as m
from exporter.collect.keeper import Keeper, Mirror
from exporter.collect.polling import PollLoop
from exporter.collect.receiving import Receiver
from exporter.collect.watched import Watched
from exporter.config import Watching
from exporter.engine.run_log import LastSuccess
from exporter.model import Failure, Reason, TableSpec
from exporter.pipelines.spec import SourceSpec
from exporter.publish.prometheus import Publisher
from exporter.publish.series import Live
from exporter.store import Ledger, StoreError
from exporter.units import format_duration

log = structlog.get_logger("dq_exporter")
_PULSE = 1.0
_GATHER = 0.5
"""More often than that nothing is brought up to date: what comes meanwhile is worked on together."""
_EVENTS_KEPT = timedelta(days=7)
_OUTDATED = 10
"""A source that was not asked in full for so many of its intervals (at least ten minutes) no longer tells when a table was last written."""


class Collectors:
    """Poll loops, the receiver and the keeper of one configuration."""

    def __init__(self, watching: Watching, tables: Iterable[TableSpec], ledger: Ledger, publisher: Publisher, clock: Callable[[], datetime], mirror: Mirror = lambda lines: None) -> None:
        self.ledger, self.publisher, self._clock = ledger, publisher, clock
        self.tables = tuple(tables)
        self.watched = Watched(watching, ledger.watches())
        self.receiver = Receiver(lambda: self.watched, ledger, publisher, clock)
        self.keeper = Keeper(lambda: self.watched, lambda: self.tables, ledger, publisher, clock, mirror)
        self.loops: dict[str, PollLoop] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keep", daemon=True)

    def start(self) -> None:
        """Begins to ask, to receive and to keep; returns at once."""
        self.receiver.start()
        self._thread.start()
        self._follow(self.watched.sources)

    def _follow(self, sources: dict[str, SourceSpec]) -> None:
        """Runs a loop for each polled source; one whose settings changed begins anew."""
        for name in [name for name, loop in self.loops.items() if sources.get(name) != loop.spec]:
            self.loops.pop(name).stop()
        for name, spec in sources.items():
            if spec.model.is_polled and name not in self.loops:
                self.loops[name] = PollLoop(spec, lambda: self.watched, self.ledger, self.publisher, self._changed, self._clock)
                self.loops[name].start()

    def _changed(self, jobs: Iterable[tuple[str, str]]) -> None:
        self.keeper.changed(jobs)
        self.receiver.stored.set()

    def update(self, watching: Watching, tables: Iterable[TableSpec]) -> None:
        """Takes on a new configuration."""
        self.tables = tuple(tables)
        self.watched = Watched(watching, self.ledger.watches())
        self.keeper.reconfigured()
        self._follow(self.watched.sources)

    def reset(self, name: str) -> bool:
        """Closes the circuit breaker of a source and asks it at once; False when there is none of that name."""
        loop = self.loops.get(name)
        if loop is not None:
            loop.ask_now()
        return loop is not None

    def live(self) -> Live:
        """Gauges that are read at each scrape."""
        count, oldest = self.keeper.backlog
        waited = (self._clock() - oldest).total_seconds() if oldest else 0.0
        gauges: dict[tuple[m.Metric, tuple[str, ...]], float] = {(m.EVENTS_PENDING, ()): count, (m.EVENTS_OLDEST_PENDING, ()): max(0.0, waited)}
        gauges |= {(m.COLLECTOR_UP, (loop.spec.type.value, name)): 0.0 for name, loop in list(self.loops.items()) if loop.is_stuck}
        return gauges

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                self.keeper.tick()
            except StoreError as error:
                self.publisher.count(m.STORE_ERRORS)
                log.error("pipelines not brought up to date", error=str(error))
            except Exception:  # a bug of ours must not end the thread
                log.exception("pipelines not brought up to date")
            self.receiver.stored.wait(_PULSE)
            self.receiver.stored.clear()
            self._stop.wait(_GATHER)

    def prune(self, before: datetime) -> None:
        """Forgets what is older than the retention. Raises StoreError."""
        self.ledger.prune(before, self._clock() - _EVENTS_KEPT)

    def stop(self) -> None:
        """Ends all threads; what was received is stored."""
        for loop in self.loops.values():
            loop.stop()
        self.receiver.stop()
        self._stop.set()
        self.receiver.stored.set()
        if self._thread.is_alive():
            self._thread.join(10)


def last_success(watching: Watching, ledger: Ledger, clock: Callable[[], datetime]) -> LastSuccess:
    """When tables were last written by a run that succeeded, from the store."""
    sources = {source.name: source for source in watching.sources}
    def find(table: str) -> datetime | Failure:
        now, polls, found = clock(), ledger.polls(), []
        writers = [(spec.source, spec.job, spec.name) for spec in Watched(watching, ledger.watches()).pipelines if table in spec.writes]
        for source, job, name in writers:
            spec = sources[source]
            if spec.model.is_polled:
                patience = max(timedelta(minutes=10), _OUTDATED * spec.model.every)
                if source not in polls or now - polls[source][1] > patience:
                    since = f"for {format_duration(now - polls[source][1])}" if source in polls else "yet"
                    return Failure(Reason.CONNECTION, f"the runs of {name} are not known: source {source} was not asked in full {since}")
            last = ledger.past(source, job, now, now, None).last_success
            found += [last.ended_at] if last is not None and last.ended_at is not None else []
        if not found:
            names = ", ".join(name for *_, name in writers) or "any pipeline"
            return Failure(Reason.HISTORY, f"no successful run of {names} is known yet")
        return max(found)

    return find
