"""Tables are evaluated when due: together, in turn, never twice at once, and never longer than allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from exporter.catalog.labels import TableFormat
from exporter.engine.cancel import Cancel
from exporter.model import CheckSpec, TableSpec
from exporter.schedule import TableScheduler
from exporter.timetable import Schedule
from tests.conftest import check_specs


def now() -> datetime:
    return datetime.now(UTC)


def table(name: str, *schedules: timedelta, timeout: timedelta = timedelta(seconds=30)) -> TableSpec:
    specs = [
        check_specs({"not_null": {"name": f"c{i}", "column": "a"}}, schedule=Schedule(every=every), timeout=timeout)[0] for i, every in enumerate(schedules)
    ]
    return TableSpec(name, TableFormat.DELTA, path="/nowhere", checks=tuple(specs))


class Seen:
    """What a scheduler ran: (table, check ids), in order."""

    def __init__(self, work: Callable[[Cancel], None] = lambda cancel: None) -> None:
        self.runs: list[tuple[str, list[str]]] = []
        self.given_up: list[str] = []
        self.missed = 0
        self.work = work
        self.lock = threading.Lock()

    def run(self, table: TableSpec, checks: list[CheckSpec], cancel: Cancel) -> None:
        with self.lock:
            self.runs.append((table.name, [check.id for check in checks]))
        self.work(cancel)

    def miss(self) -> None:
        self.missed += 1

    def scheduler(self, workers: int = 2) -> TableScheduler:
        return TableScheduler(self.run, lambda table, checks, timeout: self.given_up.append(table.name), self.miss, now, workers, timedelta(0))


def wait(holds: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_was_never_run_is_due_at_once_and_what_ran_is_due_when_it_is() -> None:
    seen = Seen()
    scheduler = seen.scheduler()
    ran = {"old": now() - timedelta(hours=2), "recent": now()}
    scheduler.start([table(name, timedelta(hours=1)) for name in ("new", "old", "recent")], lambda name, check: ran.get(name))
    wait(lambda: len(seen.runs) == 2)
    time.sleep(0.3)
    scheduler.stop(timedelta(0))
    assert {name for name, _ in seen.runs} == {"new", "old"}
    assert scheduler.next_due("recent") is not None


def test_checks_with_their_own_schedule_run_when_due_and_share_the_run_with_what_is_due_then() -> None:
    seen = Seen()
    scheduler = seen.scheduler()
    scheduler.start([table("t", timedelta(seconds=1), timedelta(seconds=3))], lambda name, check: None)
    wait(lambda: len(seen.runs) >= 5)
    scheduler.stop(timedelta(0))
    ids = [checks for _, checks in seen.runs[:5]]
    assert ids[0] == ["c0", "c1"]
    assert ids[1:3] == [["c0"], ["c0"]]
    assert ids[3] == ["c0", "c1"]


def test_500_tables_due_at_once_each_get_their_turn_before_any_gets_a_second() -> None:
    seen = Seen(lambda cancel: time.sleep(0.005))
    scheduler = seen.scheduler(workers=4)
    scheduler.start([table(f"t{i}", timedelta(seconds=1)) for i in range(500)], lambda name, check: None)
    wait(lambda: len(seen.runs) >= 700, 40)
    scheduler.stop(timedelta(0))
    assert len({name for name, _ in seen.runs[:500]}) > 490


def test_a_run_never_overlaps_the_one_before_and_the_missed_one_is_counted() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def work(cancel: Cancel) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(2.5)
        with lock:
            running -= 1

    seen = Seen(work)
    scheduler = seen.scheduler()
    scheduler.start([table("slow", timedelta(seconds=1))], lambda name, check: None)
    wait(lambda: len(seen.runs) >= 2)
    scheduler.stop(timedelta(seconds=5))
    assert most == 1
    assert seen.missed >= 1


def test_a_run_over_its_timeout_is_cancelled() -> None:
    fired = threading.Event()

    def work(cancel: Cancel) -> None:
        cancel.on_fire(fired.set)
        fired.wait(10)

    seen = Seen(work)
    scheduler = seen.scheduler()
    started = time.monotonic()
    scheduler.start([table("hangs", timedelta(hours=1), timeout=timedelta(seconds=1))], lambda name, check: None)
    assert fired.wait(10)
    assert time.monotonic() - started < 5
    wait(lambda: scheduler.running == 0)
    scheduler.stop(timedelta(0))
    assert not seen.given_up


def test_a_new_configuration_keeps_the_times_of_what_stays_and_forgets_what_goes() -> None:
    seen = Seen()
    scheduler = seen.scheduler()
    scheduler.start([table("stays", timedelta(hours=1)), table("goes", timedelta(hours=1))], lambda name, check: None)
    wait(lambda: len(seen.runs) == 2)
    due = scheduler.next_due("stays")
    scheduler.update([table("stays", timedelta(hours=1)), table("comes", timedelta(hours=1))], lambda name, check: None)
    wait(lambda: len(seen.runs) == 3)
    assert (scheduler.next_due("stays"), scheduler.next_due("goes"), scheduler.tables) == (due, None, 2)
    scheduler.stop(timedelta(0))
    assert seen.runs[-1][0] == "comes"


@pytest.mark.parametrize(
    ("cron", "zone", "moment", "expected"),
    [
        ("0 6 * * 1-5", "UTC", "2026-01-16T07:00:00+00:00", "2026-01-19T06:00:00+00:00"),  # 1 is Monday, as cron has it
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T03:00:00+00:00", "2026-03-29T01:30:00+00:00"),
        ("0 7 * * *", "Europe/Berlin", "2026-10-24T06:00:00+00:00", "2026-10-25T06:00:00+00:00"),
    ],
)
def test_cron_is_that_of_cron_in_the_zone_of_the_table(cron: str, zone: str, moment: str, expected: str) -> None:
    from zoneinfo import ZoneInfo

    due = Schedule(cron=cron, timezone=ZoneInfo(zone)).next_after(datetime.fromisoformat(moment))
    assert abs(due - datetime.fromisoformat(expected)) <= timedelta(minutes=30)


def test_a_changed_rule_is_due_at_once_and_its_neighbours_are_not() -> None:
    seen = Seen()
    scheduler = seen.scheduler()
    before = table("t", timedelta(hours=1))
    ran = now()
    scheduler.start([before], lambda table, check: ran)
    due = scheduler.next_due("t")
    scheduler.update([before], lambda table, check: ran)
    assert scheduler.next_due("t") == due
    changed = replace(before, checks=(replace(before.checks[0], fingerprint="another"),))
    scheduler.update([changed], lambda table, check: None)
    wait(lambda: len(seen.runs) == 1)
    scheduler.stop(timedelta(seconds=1))
