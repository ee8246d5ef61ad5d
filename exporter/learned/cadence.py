"""When the next update of a table is due, learned from when its updates came.

Three models, the most precise that fits: a clock (once a day or rarer, on certain weekdays), office hours (often, within a
part of the day or the week), and gaps (anything else). All is computed in the table's zone, where people and their
schedulers live, and compared in UTC.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.catalog.labels import Learning
from exporter.learned.buckets import quantile
from exporter.learned.calendar import Calendar

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_MAD = 1.4826
_LEAST_GAPS = 5
_WEEKS = 6
_CLOCKS = 6
KEPT = 2000
"""Updates that a deadline looks at."""


@dataclass(frozen=True, slots=True)
class Due:
    """When new data must have come. `by` is None while too little is known; `usually` is when it mostly came."""

    state: Learning
    model: str = ""
    by: datetime | None = None
    usually: datetime | None = None


def due(updates: Sequence[datetime], zone: ZoneInfo, calendar: Calendar) -> Due:
    """The deadline of the update after the last of `updates` (aware, ascending); nothing after that update is used."""
    local = [moment.astimezone(zone).replace(tzinfo=None) for moment in _sessions(updates[-KEPT:])]
    if len(local) <= _LEAST_GAPS:
        return Due(Learning.LEARNING)
    span = local[-1] - local[0]
    gaps = [later - earlier for earlier, later in itertools.pairwise(local)]
    middle = quantile(gaps, 0.5)
    week = _Week(local, calendar)
    known = span >= 14 * _DAY or (span >= 8 * _DAY and len(gaps) >= 50)  # a weekend has been seen
    state = Learning.ACTIVE if known else Learning.TENTATIVE
    regular = span >= 14 * _DAY and week.confidence >= 0.85 and bool(week.active)
    if regular and week.per_day:
        usually, by = _by_clock(week)
        model = "clock"
    elif regular and middle < 12 * _HOUR and (len(week.active) < 7 or week.window < 20 * _HOUR):
        usually, by = _by_office_hours(week)
        model = "office hours"
    else:
        usually, by = _by_gaps(local[-1], gaps[-60:])
        model = "gaps"
    return Due(state, model, _utc(by, zone), _utc(usually, zone))


def _utc(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def _sessions(updates: Sequence[datetime]) -> list[datetime]:
    """Updates that follow one another closely are one, at the time of the last."""
    if len(updates) < 3:
        return list(updates)
    apart = min(timedelta(minutes=30), 0.02 * quantile((later - earlier for earlier, later in itertools.pairwise(updates)), 0.95))
    return [moment for moment, following in zip(updates, [*updates[1:], None], strict=True) if following is None or following - moment > apart]


def spread(values: Sequence[timedelta]) -> tuple[timedelta, timedelta]:
    """Median and median absolute deviation."""
    middle = quantile(values, 0.5)
    return middle, quantile((abs(value - middle) for value in values), 0.5)


class _Week:
    """On which days of the week updates come, and when: days begin where updates are rarest, so that none is cut at midnight."""

    def __init__(self, local: Sequence[datetime], calendar: Calendar) -> None:
        self.calendar, self.last = calendar, local[-1]
        self.cut = _quietest([moment - moment.replace(hour=0, minute=0, second=0, microsecond=0) for moment in local])
        days: dict[datetime, list[timedelta]] = {}
        for moment in local:
            day = self.day(moment)
            days.setdefault(day, []).append(moment - day)
        newest = self.day(local[-1])
        first = max(self.day(local[0]), newest - _WEEKS * 7 * _DAY)
        self.days = {day: times for day, times in days.items() if day >= first}
        shares = []
        self.active: set[int] = set()
        for weekday in range(7):
            like = [day for day in (first + i * _DAY for i in range((newest - first).days + 1)) if day.weekday() == weekday and not self._free(day)]
            share = sum(day in self.days for day in like) / len(like) if like else 0.0
            shares.append(share)
            if share >= 0.5:
                self.active.add(weekday)
        self.confidence = sum(share >= 0.8 or share <= 0.2 for share in shares) / 7  # one miss in six weeks is no new habit
        self.per_day = self._per_day()

    def _per_day(self) -> int:
        """Updates that a usual day has, 0 where that differs from day to day or is too many for a clock each."""
        counts = [len(times) for day, times in self.days.items() if day.weekday() in self.active and day != self.day(self.last)]
        usual = max(set(counts), key=counts.count) if counts else 0
        return usual if usual <= _CLOCKS and counts.count(usual) >= 0.8 * len(counts) else 0

    def clock(self, place: int) -> list[timedelta]:
        """Times of the update at a place of the day, over the last four weeks (eight for a weekly table), oldest first."""
        days = sorted(day for day, times in self.days.items() if len(times) == self.per_day and day.weekday() in self.active)
        return [self.days[day][place] for day in days[-(8 if len(self.active) == 1 else 28) :]]

    def day(self, moment: datetime) -> datetime:
        """The start of the day that a local time belongs to."""
        shifted = moment - self.cut
        return shifted.replace(hour=0, minute=0, second=0, microsecond=0)

    def _free(self, day: datetime) -> bool:
        return self.calendar.mark(day).neutral

    def following(self, day: datetime) -> datetime:
        """The next day on which data is due."""
        for step in range(1, 60):
            later = day + step * _DAY
            if later.weekday() in self.active and not self._free(later):
                return later
        return day + 7 * _DAY

    @property
    def _usual(self) -> list[list[timedelta]]:
        return [times for day, times in self.days.items() if day.weekday() in self.active]

    @property
    def window(self) -> timedelta:
        """From the first update of most days to the last of most."""
        return quantile((times[-1] for times in self._usual), 0.95) - quantile((times[0] for times in self._usual), 0.05)

    def firsts(self) -> list[timedelta]:
        """Time of the first update of each usual day."""
        return [times[0] for times in self._usual]

    def lasts(self) -> list[timedelta]:
        """Time of the last update of each usual day but the present one."""
        return [times[-1] for day, times in self.days.items() if day.weekday() in self.active and day != self.day(self.last)]

    def inner_gaps(self) -> list[timedelta]:
        """Gaps within days."""
        return [later - earlier for times in self.days.values() for earlier, later in itertools.pairwise(times)]


def _quietest(times: Sequence[timedelta]) -> timedelta:
    """The middle of the longest part of the day without an update, unless midnight itself lies in a long one."""
    ordered = sorted(set(times))
    gaps = [(later - earlier, earlier) for earlier, later in zip(ordered, [*ordered[1:], ordered[0] + _DAY], strict=True)]
    at_midnight = ordered[0] + _DAY - ordered[-1]
    longest, start = max(gaps)
    if at_midnight >= 2 * _HOUR or at_midnight >= longest:
        return timedelta(0)
    return (start + longest / 2) % _DAY


def _by_clock(week: _Week) -> tuple[datetime, datetime]:
    today = week.day(week.last)
    place = len(week.days[today]) if today.weekday() in week.active else week.per_day
    day = today if place < week.per_day else week.following(today)
    times = week.clock(place if day == today else 0)
    middle, deviation = spread(times)
    period = _DAY / week.per_day if len(week.active) > 1 else 7 * _DAY
    return day + middle, day + max(quantile(times, 0.97), middle + 3.5 * _MAD * deviation) + max(0.02 * period, deviation)


def _by_office_hours(week: _Week) -> tuple[datetime, datetime]:
    gaps = week.inner_gaps()
    middle, deviation = spread(gaps)
    limit = 1.2 * max(quantile(gaps, 0.99), middle + 6 * _MAD * deviation)
    today = week.day(week.last)
    ends = week.lasts()
    if ends and week.last + limit <= today + quantile(ends, 0.05):
        return week.last + middle, week.last + limit
    day, firsts = week.following(today), week.firsts()
    return day + quantile(firsts, 0.5), day + quantile(firsts, 0.95) + limit


def _by_gaps(last: datetime, gaps: Sequence[timedelta]) -> tuple[datetime, datetime]:
    middle, deviation = spread(gaps)
    longest = quantile(gaps, 0.99) if len(gaps) >= 20 else 1.25 * max(gaps)
    return last + middle, last + 1.15 * max(longest, middle + 6 * _MAD * deviation)
