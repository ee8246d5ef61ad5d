"""Buckets of time: which there are, and what the calendar says of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from exporter.timetable import holiday_name

_DAY = timedelta(days=1)
_NEAR = 3
"""Days around a holiday on which people still behave differently."""


class Grain(StrEnum):
    """The length of a bucket."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def start(self, moment: datetime) -> datetime:
        """The start of the bucket that holds a naive local time; weeks begin on Monday."""
        if self is Grain.HOUR:
            return moment.replace(minute=0, second=0, microsecond=0)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Grain.WEEK:
            return midnight - midnight.weekday() * _DAY
        return midnight.replace(day=1) if self is Grain.MONTH else midnight

    def after(self, start: datetime) -> datetime:
        """The start of the next bucket, in local time."""
        match self:
            case Grain.HOUR:
                return start + timedelta(hours=1)
            case Grain.MONTH:
                return (start + 31 * _DAY).replace(day=1)
        return start + (7 * _DAY if self is Grain.WEEK else _DAY)

    def between(self, first: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets from `first` until before `end`."""
        while first < end:
            yield first
            first = self.after(first)

    def text(self, start: datetime) -> str:
        """A bucket as people write it: `2026-01-14`, `2026-01-14T07`, `2026-01`."""
        return start.strftime({Grain.HOUR: "%Y-%m-%dT%H", Grain.MONTH: "%Y-%m"}.get(self, "%Y-%m-%d"))


def exists(start: datetime, zone: ZoneInfo) -> bool:
    """False for the hour that a change to summer time skips."""
    return start.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == start


def parse_dates(items: Iterable[object]) -> frozenset[date]:
    """Days from `2026-01-05` and `2026-03-01..2026-03-07`. Raises ValueError."""
    days: set[date] = set()
    for item in items:
        first, _, last = str(item).partition("..")
        try:
            start = date.fromisoformat(first.strip())
            end = date.fromisoformat(last.strip()) if last else start
        except ValueError:
            raise ValueError(f"{item!r} is no day: write 2026-01-05, or 2026-03-01..2026-03-07") from None
        if not start <= end <= start + 3660 * _DAY:
            raise ValueError(f"{item!r} is no span of days: the first comes before the last, at most ten years")
        days.update(start + i * _DAY for i in range((end - start).days + 1))
    return frozenset(days)


@dataclass(frozen=True, slots=True)
class Mark:
    """What the calendar says of a bucket.

    `place` is its class (weekday, hour of the week, or 0). `neutral` buckets are neither judged nor learned from.
    `near` names a holiday and the distance to it in days (`Christmas Day+1`); `beside` is a distance of one day.
    `echoes` are the places in the month at which something may repeat.
    """

    place: int
    weekend: bool = False
    neutral: bool = False
    beside: bool = False
    near: tuple[str, ...] = ()
    echoes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calendar:
    """Marks the buckets of one grain; `country` is an ISO 3166 code (`DE`, `US-CA`), `closed` are own dates without data.

    In countries that keep 25 December, the days from 24 December to 1 January are neutral as a whole.
    """

    grain: Grain = Grain.DAY
    country: str | None = None
    closed: frozenset[date] = frozenset()
    _marks: dict[datetime, Mark] = field(default_factory=dict, repr=False, compare=False)

    def mark(self, start: datetime) -> Mark:
        """The mark of the bucket that starts at a naive local time."""
        found = self._marks.get(start)
        if found is None:
            found = self._marks[start] = self._mark(start)
        return found

    def _mark(self, start: datetime) -> Mark:
        if self.grain in (Grain.WEEK, Grain.MONTH):
            return Mark(0)
        day = start.date()
        place = day.weekday() if self.grain is Grain.DAY else day.weekday() * 24 + start.hour
        weekend = day.weekday() >= 5
        if self._holiday(day) is not None:
            return Mark(place, weekend, neutral=True)
        near = []
        for distance in (1, -1, 2, -2, 3, -3):
            name = self._holiday(day - distance * _DAY)
            if name is not None:
                near.append((distance, name))
        names = tuple(f"{name}{distance:+d}" for distance, name in near)
        beside = any(abs(distance) == 1 for distance, _ in near)
        return Mark(place, weekend, False, beside, names, self._echoes(day) if self.grain is Grain.DAY else ())

    def _holiday(self, day: date) -> str | None:
        if day in self.closed:
            return "closed"
        if self.country is None:
            return None
        if (day.month, day.day) == (12, 24) or (day.month == 12 and day.day > 25):
            return "year's end" if holiday_name(date(day.year, 12, 25), self.country) else holiday_name(day, self.country)
        return holiday_name(day, self.country)

    def _echoes(self, day: date) -> tuple[str, ...]:
        last = Grain.MONTH.after(datetime(day.year, day.month, 1)).date() - _DAY  # noqa: DTZ001 - local days
        left = (last - day).days
        keys = [f"day {day.day}"]
        if left <= 2:
            keys.append(f"end {left}")
        if left <= 9 and self._works(day):
            working = sum(self._works(day + (step + 1) * _DAY) for step in range(left))
            if working <= 1:
                keys.append(f"working {working}")
        return tuple(keys)

    def _works(self, day: date) -> bool:
        return day.weekday() < 5 and self._holiday(day) is None
