"""When tables are evaluated: one job per table, bounded workers, never two runs of one table; the only user of APScheduler."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from exporter.engine.cancel import Cancel
from exporter.model import CheckSpec, TableSpec
from exporter.timetable import Schedule

Run = Callable[[TableSpec, list[CheckSpec], Cancel], Any]
GiveUp = Callable[[TableSpec, list[CheckSpec], timedelta], None]
_GRACE = timedelta(seconds=20)
_TOGETHER = timedelta(seconds=1)
"""Checks that fall due within this time (or a quarter of their interval) of one another share a run."""


class _TableTrigger(BaseTrigger):  # type: ignore[misc]
    """Due whenever one of the schedules of a table's checks is; remembers which are due and not yet run."""

    def __init__(self, first: Mapping[Schedule, datetime], jitter: timedelta) -> None:
        self.next, self.jitter = dict(first), jitter
        self.due: set[Schedule] = set()

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next time; called again with the same arguments, it says the same."""
        if previous_fire_time is not None:
            for schedule, moment in self.next.items():
                if moment <= previous_fire_time + min(_TOGETHER, schedule.interval / 4):
                    self.due.add(schedule)
                    upcoming = schedule.next_after(max(moment, now.astimezone(UTC) - schedule.interval))
                    spread = min(self.jitter, schedule.interval / 10) if schedule.cron else timedelta(0)
                    self.next[schedule] = upcoming + spread * random.random()  # noqa: S311 — spreads load, hides nothing
        return min(self.next.values())

    def take(self) -> set[Schedule]:
        """The schedules that are due, once."""
        due, self.due = self.due, set()
        return due


@dataclass
class _Entry:
    table: TableSpec
    trigger: _TableTrigger
    waiting_since: datetime | None = None
    busy: threading.Lock = field(default_factory=threading.Lock)


def _rules(table: TableSpec) -> set[tuple[Schedule, str, str]]:
    """What is judged when; a rule that is not among those of before is due at once."""
    return {(check.schedule, check.id, check.fingerprint) for check in table.checks}


class TableScheduler:
    """Runs due checks on `workers` threads, in the order in which they fell due.

    `run` is called with a table, its due checks and their `Cancel`; when it does not return within the grace time
    after being cancelled, `give_up` is called and the worker goes on to other tables. `missed` counts due runs
    that were left out because the one before was still running.
    """

    def __init__(self, run: Run, give_up: GiveUp, missed: Callable[[], None], clock: Callable[[], datetime], workers: int, jitter: timedelta) -> None:
        self._run, self._give_up, self._missed, self._clock, self._jitter = run, give_up, missed, clock, jitter
        self._entries: dict[str, _Entry] = {}
        self._running: dict[str, Cancel] = {}
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._last_wait = timedelta(0)
        self._stopping = False
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(workers)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(self._submitted, EVENT_JOB_SUBMITTED)
        self._scheduler.add_listener(lambda event: self._missed(), EVENT_JOB_MAX_INSTANCES)

    def start(self, tables: Iterable[TableSpec], last_run: Callable[[str, str], datetime | None]) -> None:
        """Begins; what was never run or is overdue since `last_run(table, check)` is due at once."""
        self.update(tables, last_run)
        self._scheduler.start()

    def update(self, tables: Iterable[TableSpec], last_run: Callable[[str, str], datetime | None]) -> None:
        """Takes on a new set of tables: unchanged rules keep their next time, runs that are under way go on."""
        wanted = {table.name: table for table in tables if table.checks}
        for name in [name for name in self._entries if name not in wanted]:
            del self._entries[name]
            self._scheduler.remove_job(name)
        now = self._clock()
        for position, (name, table) in enumerate(wanted.items()):
            old = self._entries.get(name)
            spread = self._jitter * (position / len(wanted)) if len(wanted) > 50 else timedelta(0)
            kept = old.trigger.next if old else {}
            changed = _rules(table) - (_rules(old.table) if old else set())
            first = {
                schedule: kept[schedule]
                if schedule in kept and not any(due == schedule for due, _, _ in changed)
                else self._first(table, schedule, last_run, now + spread)
                for schedule in dict.fromkeys(check.schedule for check in table.checks)
            }
            if old and first == kept:
                old.table = table
                continue
            trigger = _TableTrigger(first, self._jitter)
            if old:
                old.table, old.trigger = table, trigger
            else:
                self._entries[name] = _Entry(table, trigger)
            self._scheduler.add_job(self._work, trigger, args=(name,), id=name, replace_existing=True)

    def _first(self, table: TableSpec, schedule: Schedule, last_run: Callable[[str, str], datetime | None], now: datetime) -> datetime:
        ran = [last_run(table.name, check.id) for check in table.checks if check.schedule == schedule]
        known = [moment for moment in ran if moment is not None]
        if len(known) < len(ran) or not known:
            return now
        return max(now, schedule.next_after(min(known)))

    def _submitted(self, event: JobSubmissionEvent) -> None:
        if (entry := self._entries.get(event.job_id)) is not None:
            entry.waiting_since = entry.waiting_since or event.scheduled_run_times[0]

    def _work(self, name: str) -> None:
        """One run of one table, in a thread of its own, so that a worker is never lost to a call that does not return."""
        entry = self._entries.get(name)
        if entry is None or self._stopping:
            return
        if not entry.busy.acquire(blocking=False):
            self._missed()
            return
        due = entry.trigger.take()
        checks = [check for check in entry.table.checks if check.schedule in due]
        waited, entry.waiting_since = entry.waiting_since, None
        self._last_wait = self._clock() - waited if waited else timedelta(0)
        if not checks:
            entry.busy.release()
            return
        cancel = Cancel(max(check.timeout for check in checks))
        with self._lock:
            self._running[name] = cancel
        thread = threading.Thread(target=self._evaluate, args=(entry, checks, cancel), name=f"evaluate {name}", daemon=True)
        thread.start()
        thread.join((cancel.timeout + _GRACE).total_seconds())
        if thread.is_alive():
            self._give_up(entry.table, checks, cancel.timeout)
        with self._idle:
            self._running.pop(name, None)
            self._idle.notify_all()

    def _evaluate(self, entry: _Entry, checks: list[CheckSpec], cancel: Cancel) -> None:
        try:
            self._run(entry.table, checks, cancel)
        finally:
            cancel.close()
            entry.busy.release()

    @property
    def tables(self) -> int:
        """Tables with at least one scheduled check."""
        return len(self._entries)

    @property
    def running(self) -> int:
        """Evaluations under way."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Tables that are due and wait for a worker."""
        return sum(entry.waiting_since is not None for entry in list(self._entries.values()))

    @property
    def lag(self) -> timedelta:
        """How long the one that waits longest has waited; when none does, how long the last one had to."""
        waiting = [entry.waiting_since for entry in list(self._entries.values()) if entry.waiting_since is not None]
        return max(timedelta(0), self._clock() - min(waiting)) if waiting else max(timedelta(0), self._last_wait)

    def next_due(self, name: str) -> datetime | None:
        """When the table is due next."""
        entry = self._entries.get(name)
        return min(entry.trigger.next.values()) if entry else None

    def stop(self, drain: timedelta) -> None:
        """Starts nothing more, lets what is running go on for up to `drain`, then cancels it."""
        self._stopping = True
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for patience in (drain, timedelta(seconds=5)):
            with self._idle:
                self._idle.wait_for(lambda: not self._running, patience.total_seconds())
                running = list(self._running.values())
            for cancel in running:
                cancel.fire()
