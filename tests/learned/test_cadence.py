"""When the next update is due: by the clock, in office hours, after a gap; across weekends, holidays and changes of clocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from exporter.catalog.labels import Learning
from exporter.learned.cadence import Due, due
from exporter.learned.calendar import Calendar
from tests.bench.updates import CADENCES, measure

ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
PLAIN = Calendar()


def daily(days: int, hour: float = 7, weekdays: Sequence[int] = range(7), zone: ZoneInfo = ZONE, first: datetime = MONDAY) -> list[datetime]:
    found = []
    for day in range(days):
        local = (first + day * DAY).replace(tzinfo=None)
        if local.weekday() in weekdays:
            found.append((local + hour * HOUR + (day * 37 % 11) * MINUTE).replace(tzinfo=zone).astimezone(UTC))
    return found


def test_four_gaps_are_too_few() -> None:
    assert due(daily(5), ZONE, PLAIN).state is Learning.LEARNING and due(daily(5), ZONE, PLAIN).by is None
    assert due(daily(6), ZONE, PLAIN).state is Learning.TENTATIVE


def test_a_daily_table_is_due_at_its_time_of_day() -> None:
    found = due(daily(40), ZONE, PLAIN)
    assert (found.state, found.model) == (Learning.ACTIVE, "clock")
    assert found.by is not None and timedelta(hours=7, minutes=10) <= found.by - (MONDAY + 40 * DAY) <= timedelta(hours=8)


def test_after_friday_comes_monday() -> None:
    found = due(daily(40, weekdays=range(5)), ZONE, PLAIN)
    assert found.by is not None and found.by.date() == (MONDAY + 42 * DAY).date()


def test_a_holiday_is_not_waited_for() -> None:
    before = [moment for moment in daily(60, first=datetime(2025, 11, 3, tzinfo=UTC), weekdays=range(5)) if moment.date() <= datetime(2025, 12, 24, tzinfo=UTC).date()]
    found = due(before, ZONE, Calendar(country="DE"))
    assert found.by is not None and found.by.date() == datetime(2026, 1, 2, tzinfo=UTC).date()


def test_the_local_hour_stays_when_the_clocks_change() -> None:
    times = daily(83, zone=BERLIN)  # the last is on Saturday 28 March, the clocks change that night
    found = due(times, BERLIN, PLAIN)
    assert found.usually is not None and found.usually.astimezone(BERLIN).hour == 7 and found.usually.hour == 5


def test_a_load_around_midnight_is_one_a_day() -> None:
    times = [MONDAY + day * DAY + timedelta(minutes=(-25, 10, 30, -5, 20)[day % 5]) for day in range(40)]
    found = due(times, ZONE, PLAIN)
    assert found.model == "clock" and found.by is not None and found.by - times[-1] < timedelta(hours=26)


def test_two_loads_a_day_are_due_each_at_its_time() -> None:
    times = sorted([*daily(40, 6), *daily(40, 18)])
    after_evening, after_morning = due(times, ZONE, PLAIN), due(times[:-1], ZONE, PLAIN)
    assert after_evening.by is not None and after_evening.by.hour in (6, 7)
    assert after_morning.by is not None and after_morning.by.hour in (18, 19)


def test_several_commits_of_one_load_are_one_update() -> None:
    times = [moment + part * MINUTE for moment in daily(40) for part in range(4)]
    assert due(times, ZONE, PLAIN).model == "clock"


def test_a_weekly_table_is_due_next_week() -> None:
    found = due(daily(80, weekdays=[0]), ZONE, PLAIN)
    assert found.model == "clock" and found.by is not None and found.by.weekday() == 0


@pytest.mark.parametrize("cadence", [cadence for cadence in CADENCES if cadence not in ("hourly", "15 min office hours")])
def test_the_goals_for_false_alarms_and_delay_hold(cadence: str) -> None:
    def deadline(times: Sequence[datetime]) -> datetime | None:
        found: Due = due(times, ZONE, PLAIN)
        return found.by if found.state is Learning.ACTIVE else None

    alarms, delay = measure(deadline, cadence, runs=12)
    most_alarms, most_hours = {"weekdays only": (0.0, 2.0), "weekly": (0.2, 8), "irregular": (3.0, 80), "daily": (0.2, 3), "bimodal": (0.7, 4), "drifting": (0.2, 3)}[cadence]
    assert alarms <= most_alarms and delay <= most_hours
