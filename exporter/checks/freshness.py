"""`freshness`: the newest data is not too old."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Outcome
from exporter.catalog.metrics import FRESHNESS, FRESHNESS_MAX_AGE, FUTURE_ROWS, Metric
from exporter.checks.base import ConfiguredCheck, Example, Strict, ago, integer, rows_in
from exporter.expression import Canonical, Expression, all_of, col, quoted
from exporter.model import Commit, Counts, History, Measure, Measurement, Reason, TableSpec, Value, Verdict
from exporter.timetable import read_time
from exporter.units import Duration, Zone, format_duration

Source = Literal["column", "commit", "partition", "run"]
_WHERE = {"commit": "the table's log", "run": "the runs of the pipelines that write the table"}


def past_and_future(column: str, zone: str, moment: datetime) -> tuple[Expression, Expression]:
    """Conditions that a time (naive ones in `zone`) lies up to a moment, or after it."""
    instant = f"{Canonical.INSTANT}({col(column)}, {quoted(zone)}, {quoted(moment.astimezone(UTC).isoformat())})"
    return Expression(f"{col(column)} <= {instant}"), Expression(f"{col(column)} > {instant}")


class FreshnessSource(ConfiguredCheck):
    """Where the time of the newest data comes from: a column, the last commit that changed data, a partition column, or the last successful run.

    A date or timestamp without a zone is read in `timezone`, by default the table's. Rows further in the future
    than `clock_tolerance` are counted and left out, so that one of them cannot hide that the table is stale.
    """

    dimension: ClassVar[Dimension] = Dimension.TIMELINESS
    empty: ClassVar[Literal["judge"]] = "judge"

    column: str | None = None
    source: Source | None = Field(default=None, description="default: column where one is known, else commit")
    timezone: Zone | None = None
    clock_tolerance: Duration = timedelta(minutes=5)

    @model_validator(mode="after")
    def _column_for_source(self) -> Self:
        if self.source in ("commit", "run") and self.column:
            raise ValueError(f"source: {self.source} looks at {_WHERE[self.source]}, so it takes no column")
        if self.source == "partition" and not self.column:
            raise ValueError("source: partition needs the partition column")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.column else ()

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        if self.source == "partition":
            return {**self.when_empty(), "partitions": Measurement(Measure.BUCKETS, self.columns, self.filter, slot=60)}
        if self.source == "run":
            return {**self.when_empty(), "latest": Measurement(Measure.RUN)}
        column = self.column or (table.time_column if self.source in (None, "column") else None)
        if column is None:
            return {**self.when_empty(), "latest": Measurement(Measure.COMMIT)}
        zone = (self.timezone or table.timezone).key
        known, future = past_and_future(column, zone, now + self.clock_tolerance)
        return {
            "evaluated": rows_in(self.filter),
            "latest": Measurement(Measure.MAX, (column,), all_of(self.filter, known), timezone=zone),
            "future": Measurement(Measure.COUNT_WHERE, where=all_of(self.filter, future)),
        }

    def newest(self, seen: Mapping[str, Value], now: datetime) -> tuple[datetime | None, dict[tuple[Metric, tuple[str, ...]], float], str]:
        """Time of the newest data, the gauges that go with it, and a remark on rows in the future."""
        moment: Value
        future: int | None
        if isinstance(partitions := seen.get("partitions"), Counts):
            moment, future = self._of_partitions(partitions, now)
        else:
            latest, future = seen["latest"], integer(seen["future"]) if "future" in seen else None
            moment = latest.at if isinstance(latest, Commit) else latest
        assert moment is None or isinstance(moment, datetime)
        gauges: dict[tuple[Metric, tuple[str, ...]], float] = {} if future is None else {(FUTURE_ROWS, ()): future}
        if moment is not None:
            gauges[FRESHNESS, ()] = moment.timestamp()
        return moment, gauges, f"; {future:,} rows lie in the future and do not count" if future else ""

    def _of_partitions(self, partitions: Counts, now: datetime) -> tuple[datetime | None, int]:
        """The start of the newest partition that has begun, and the rows of those that have not."""
        zone, newest, future = self.timezone or ZoneInfo("UTC"), None, 0
        for text, rows in partitions.rows.items():
            local = read_time(text, zone)
            if local is None:
                continue
            start = local.replace(tzinfo=zone).astimezone(UTC)
            if start > now + self.clock_tolerance:
                future += rows
            elif rows and (newest is None or start > newest):
                newest = start
        return newest, future

    def no_rows(self, gauges: Mapping[tuple[Metric, tuple[str, ...]], float], remark: str, threshold: str) -> Verdict:
        """There is no data at all, so it is not fresh."""
        return Verdict(Outcome.FAIL, f"no row has a usable time{remark}", Reason.NO_ROWS, threshold=threshold, gauges=gauges)


class _MaxAge(Strict):
    max_age: Duration


class Freshness(FreshnessSource):
    """The newest data is at most `max_age` old; no data at all fails."""

    type: ClassVar[str] = "freshness"
    good: ClassVar[Example] = Example(
        {"column": "ts", "max_age": "24h"}, {"ts": "timestamp"}, (("2026-01-15T10:00:00Z",), (None,)), Outcome.PASS, 7200
    )
    bad: ClassVar[Example] = Example(
        {"column": "ts", "max_age": "24h"}, {"ts": "timestamp"}, (("2026-01-14T11:00:00Z",), ("2026-02-14T11:00:00Z",)), Outcome.FAIL, 90000
    )

    max_age: Duration
    warn: _MaxAge | None = None

    @model_validator(mode="after")
    def _warn_is_milder(self) -> Self:
        if self.warn and self.warn.max_age >= self.max_age:
            raise ValueError("warn.max_age must be below max_age, or it never warns")
        return self

    @classmethod
    def shorthand(cls, body: Any) -> list[dict[str, Any]]:
        return [{"max_age": body}] if isinstance(body, str) else super().shorthand(body)

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        moment, gauges, remark = self.newest(seen, now)
        gauges[FRESHNESS_MAX_AGE, ()] = self.max_age.total_seconds()
        threshold = f"max {format_duration(self.max_age)}"
        if moment is None:
            return self.no_rows(gauges, remark, threshold)
        age = now - moment
        outcome = Outcome.WARN if self.warn and age > self.warn.max_age else Outcome.PASS
        outcome = Outcome.FAIL if age > self.max_age else outcome
        bounds = {Bound.MAX: self.max_age.total_seconds()} | ({Bound.WARN_MAX: self.warn.max_age.total_seconds()} if self.warn else {})
        text = f"newest data is from {ago(moment, now)} (allowed: {format_duration(self.max_age)}){remark}"
        return Verdict(outcome, text, None, age.total_seconds(), "seconds", threshold, bounds, gauges=gauges)
