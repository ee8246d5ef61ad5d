"""`partitions`: every expected partition exists."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Outcome
from exporter.catalog.metrics import MISSING_PARTITIONS
from exporter.checks.base import ConfiguredCheck, Example, Strict
from exporter.model import History, Measure, Measurement, TableSpec, Value, Verdict
from exporter.timetable import check_country, check_days, is_holiday, parse_days
from exporter.units import Duration, Zone

_DAY = timedelta(days=1)


class _WarnMissing(Strict):
    max: int = Field(default=0, ge=0)


class Partitions(ConfiguredCheck):
    """Each closed period of the last `lookback` has a partition; the period that is running is not expected yet.

    `pattern` is the strftime form of the partition's value. `days` and `holidays` leave out days without data.
    """

    type: ClassVar[str] = "partitions"
    dimension: ClassVar[Dimension] = Dimension.COMPLETENESS
    good: ClassVar[Example] = Example(
        {"column": "day", "lookback": "2d"}, {"id": "int", "day": "date"}, ((1, "2026-01-13"), (1, "2026-01-14")), Outcome.PASS, 0, partitioned_by=("day",)
    )
    bad: ClassVar[Example] = Example(
        {"column": "day", "lookback": "3d"}, {"id": "int", "day": "date"}, ((1, "2026-01-13"), (1, "2026-01-15")), Outcome.FAIL, 2, partitioned_by=("day",)
    )

    column: str
    every: Duration = _DAY
    lookback: Duration = timedelta(days=14)
    delay: Duration = Field(default=timedelta(0), description="how long after its end a period's partition may appear")
    pattern: str | None = Field(default=None, examples=["%Y-%m-%d", "%Y%m%d%H"])
    days: Annotated[str, AfterValidator(check_days)] = "daily"
    holidays: Annotated[str, AfterValidator(check_country)] | None = None
    timezone: Zone | None = None
    max: int | None = Field(default=None, ge=0, description="the most partitions that may be missing (default 0)")
    warn: _WarnMissing | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.every < timedelta(minutes=1) or self.lookback < self.every:
            raise ValueError("every is at least 1m, and lookback at least one period (every)")
        if self.lookback / self.every > 20_000:
            raise ValueError(f"lookback / every is {self.lookback / self.every:,.0f} partitions; at most 20,000")
        if self.warn and self.max is not None and self.warn.max >= self.max:
            raise ValueError(f"warn.max ({self.warn.max}) must be below max ({self.max}), or it never warns")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {**self.when_empty(), "partitions": Measurement(Measure.PARTITIONS, (self.column,), self.filter)}

    def expected(self, now: datetime) -> list[str]:
        """Values of the partitions of the closed periods, oldest first."""
        pattern = self.pattern or ("%Y-%m-%d" if self.every >= _DAY else "%Y-%m-%d-%H")
        days, count = parse_days(self.days), int(self.lookback / self.every)
        local = (now - self.delay).astimezone(self.timezone or UTC).replace(tzinfo=None)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        start = midnight if self.every >= _DAY else midnight + ((local - midnight) // self.every) * self.every
        starts = [start - step * self.every for step in range(count, 0, -1)]
        return [
            moment.strftime(pattern)
            for moment in starts
            if moment.weekday() in days and not (self.holidays and is_holiday(moment.date(), self.holidays))
        ]

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        found = seen["partitions"]
        assert isinstance(found, tuple)
        expected = self.expected(now)
        missing = [value for value in expected if value not in found]
        outcome = Outcome.WARN if self.warn and len(missing) > self.warn.max else Outcome.PASS
        limit = self.max if self.max is not None else None if self.warn else 0
        outcome = Outcome.FAIL if limit is not None and len(missing) > limit else outcome
        shown = ", ".join(missing[-5:]) + (f" and {len(missing) - 5} older" if len(missing) > 5 else "")
        text = f"{len(missing)} of {len(expected)} expected partitions of {self.column} are missing" + (f": {shown}" if missing else "")
        bounds = {bound: most for bound, most in ((Bound.MAX, limit), (Bound.WARN_MAX, self.warn.max if self.warn else None)) if most is not None}
        threshold = f"max {limit}" if limit is not None else f"warn above {bounds[Bound.WARN_MAX]}"
        return Verdict(outcome, f"{text} (allowed: {threshold})", None, len(missing), "partitions", threshold, bounds, gauges={(MISSING_PARTITIONS, ()): len(missing)})
