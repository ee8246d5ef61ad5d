"""`freshness_deadline`: the day's data is there by a time of day."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, ClassVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from exporter.catalog.labels import Bound, Outcome
from exporter.catalog.metrics import FRESHNESS_DEADLINE
from exporter.checks.base import Example, ago
from exporter.checks.freshness import FreshnessSource
from exporter.model import Commit, History, Reason, Value, Verdict
from exporter.timetable import check_country, check_days, is_holiday, parse_days
from exporter.units import Duration, format_duration


def time_of_day(value: object) -> time:
    """A time of day from text, or from the number that YAML makes of 07:00 without quotes. Raises ValueError."""
    if isinstance(value, time):
        return value
    if isinstance(value, int) and 0 <= value < 1440:  # YAML 1.1 reads 07:00 without quotes as 420 minutes
        return time(value // 60, value % 60)
    try:
        return time.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f'{value!r} is not a time of day: write "07:00"') from None


class FreshnessDeadline(FreshnessSource):
    """On each of `days` that is no holiday, data of that day has arrived by `by`.

    Data of a day is data newer than its midnight less `lag` (default: one day for a column, since a morning load
    brings yesterday's events; none for commits). Before the deadline of a day the one before still counts.
    """

    type: ClassVar[str] = "freshness_deadline"
    good: ClassVar[Example] = Example(
        {"column": "ts", "by": "07:00"}, {"ts": "timestamp"}, (("2026-01-14T23:00:00Z",),), Outcome.PASS, 0
    )
    bad: ClassVar[Example] = Example(
        {"column": "ts", "by": "07:00", "days": "mon-fri"}, {"ts": "timestamp"}, (("2026-01-13T23:00:00Z",),), Outcome.FAIL, 5 * 3600
    )

    by: Annotated[time, BeforeValidator(time_of_day), WithJsonSchema({"type": "string", "examples": ["07:00"]})]
    days: Annotated[str, AfterValidator(check_days)] = "daily"
    holidays: Annotated[str, AfterValidator(check_country)] | None = None
    lag: Duration | None = None
    grace: Duration = Field(default=timedelta(0), description="how late it may be before the check fails; it warns meanwhile")

    def _active(self, day: date) -> bool:
        return day.weekday() in parse_days(self.days) and not (self.holidays and is_holiday(day, self.holidays))

    def deadline(self, day: date, zone: ZoneInfo) -> datetime:
        """The deadline of a day, in UTC; local, so it keeps its hour when clocks change."""
        return datetime.combine(day, self.by, zone).astimezone(UTC)

    def _next_active(self, day: date, step: int) -> date:
        for _ in range(400):
            if self._active(day):
                return day
            day += timedelta(days=step)
        return day

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        zone = self.timezone or ZoneInfo("UTC")
        today = now.astimezone(zone).date()
        last = self._next_active(today, -1)
        if self.deadline(last, zone) > now:
            last = self._next_active(last - timedelta(days=1), -1)
        upcoming = self._next_active(last + timedelta(days=1), 1)
        moment, gauges, remark = self.newest(seen, now)
        gauges[FRESHNESS_DEADLINE, ()] = self.deadline(upcoming, zone).timestamp()
        threshold = f"by {self.by:%H:%M} {zone.key}"
        if moment is None:
            return self.no_rows(gauges, remark, threshold)
        lag = self.lag if self.lag is not None else timedelta(days=0 if isinstance(seen.get("latest"), Commit) else 1)
        due = self.deadline(last, zone)
        bounds = {Bound.MAX: self.grace.total_seconds()}
        newest = f"newest data is from {ago(moment, now)}{remark}"
        if moment < datetime.combine(last, time(), zone) - lag:
            late = now - due
            outcome = Outcome.FAIL if late > self.grace else Outcome.WARN
            text = f"data of {last} was due by {self.by:%H:%M} {zone.key} and is {format_duration(late)} late; {newest}"
            return Verdict(outcome, text, None, late.total_seconds(), "seconds", threshold, bounds, gauges=gauges)
        if self._active(today) and now < self.deadline(today, zone) and moment < datetime.combine(today, time(), zone) - lag:
            text = f"data of {today} is due by {self.by:%H:%M} {zone.key}; {newest}"
            return Verdict(Outcome.SKIPPED, text, Reason.NOT_DUE, threshold=threshold, gauges=gauges)
        text = f"what was due on {last} by {self.by:%H:%M} {zone.key} is there; {newest}"
        return Verdict(Outcome.PASS, text, None, 0, "seconds", threshold, bounds, gauges=gauges)
