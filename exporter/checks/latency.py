"""`latency`: rows come soon after what they tell of happened."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from pydantic import Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Outcome, Quantile
from exporter.catalog.metrics import LATENCY
from exporter.checks.base import ConfiguredCheck, Example, Gauges, Strict, integer, no_values, rows_in
from exporter.checks.freshness import past_and_future
from exporter.expression import Expression, all_of, col
from exporter.model import History, Measure, Measurement, TableSpec, Value, Verdict
from exporter.units import Duration, format_duration

_SHOWN = {Quantile.P50: 0.5, Quantile.P95: 0.95, Quantile.P99: 0.99}


class _MaxLatency(Strict):
    max: Duration


class Latency(ConfiguredCheck):
    """The `p` per cent point of the time from `event` to `ingest` (two timestamps) is at most `max`.

    Only rows that were ingested within `window` count. Rows with a null on either side are left out; negative times are counted.
    """

    type: ClassVar[str] = "latency"
    dimension: ClassVar[Dimension] = Dimension.TIMELINESS
    good: ClassVar[Example] = Example(
        {"event": "e", "ingest": "i", "max": "10m"}, {"e": "timestamp", "i": "timestamp"},
        (("2026-01-15T10:00:00Z", "2026-01-15T10:05:00Z"), ("2026-01-15T10:00:00Z", "2026-01-15T10:05:00Z"), (None, "2026-01-15T10:00:00Z")), Outcome.PASS, 300,
    )  # fmt: skip
    bad: ClassVar[Example] = Example(
        {"event": "e", "ingest": "i", "max": "10m", "p": 50}, {"e": "timestamp", "i": "timestamp"},
        (("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z"), ("2026-01-15T10:00:00Z", "2026-01-15T11:10:00Z"), ("2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z")), Outcome.FAIL, 3900,
    )  # fmt: skip

    event: str = Field(min_length=1)
    ingest: str = Field(min_length=1)
    p: float = Field(default=95, gt=0, le=100)
    max: Duration
    window: Duration = timedelta(days=1)
    warn: _MaxLatency | None = None

    @model_validator(mode="after")
    def _warn_is_milder(self) -> Self:
        if self.warn and self.warn.max >= self.max:
            raise ValueError("warn.max must be below max, or it never warns")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.event, self.ingest)

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        _, recent = past_and_future(self.ingest, table.timezone.key, now - self.window)
        scope = all_of(self.filter, recent, Expression(f"{col(self.event)} IS NOT NULL AND {col(self.ingest)} IS NOT NULL"))
        negative = all_of(scope, Expression(f"{col(self.ingest)} < {col(self.event)}"))
        shares = (*_SHOWN.values(), self.p / 100)
        return {
            "evaluated": rows_in(scope),
            "negative": Measurement(Measure.COUNT_WHERE, where=negative),
            "seconds": Measurement(Measure.QUANTILES, self.columns, scope, quantiles=shares),
        }

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        evaluated, seconds = integer(seen["evaluated"]), seen["seconds"]
        assert isinstance(seconds, tuple)
        if not seconds:
            return no_values(self.columns, evaluated)
        *shown, value = (float(one) for one in seconds if isinstance(one, int | float))
        gauges: Gauges = {(LATENCY, (name.value,)): found for name, found in zip(_SHOWN, shown, strict=True)}
        outcome = Outcome.WARN if self.warn and value > self.warn.max.total_seconds() else Outcome.PASS
        outcome = Outcome.FAIL if value > self.max.total_seconds() else outcome
        points = ", ".join(f"p{share * 100:g} {format_duration(timedelta(seconds=found))}" for share, found in zip(_SHOWN.values(), shown, strict=True))
        text = f"p{self.p:g} from {self.event} to {self.ingest} is {format_duration(timedelta(seconds=value))} (allowed: {format_duration(self.max)}; {points})"
        if negative := integer(seen["negative"]):
            text += f"; {negative:,} of {evaluated:,} rows were ingested before they happened"
        bounds = {Bound.MAX: self.max.total_seconds()} | ({Bound.WARN_MAX: self.warn.max.total_seconds()} if self.warn else {})
        return Verdict(outcome, text, None, value, "seconds", f"max {format_duration(self.max)}", bounds, evaluated, gauges=gauges)
