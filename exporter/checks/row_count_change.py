"""`row_count_change`: the number of rows has not jumped since the version before."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Outcome
from exporter.checks.base import ConfiguredCheck, Example, Strict, integer, rows_in
from exporter.model import History, Measurement, Point, Reason, TableSpec, Value, Verdict
from exporter.units import Ratio


class _Change(Strict):
    max_drop: Ratio | None = None
    max_growth: float | None = Field(default=None, ge=0)

    def broken_by(self, change: float) -> bool:
        """True when the relative change is beyond a limit."""
        return (self.max_drop is not None and change < -self.max_drop) or (self.max_growth is not None and change > self.max_growth)


class RowCountChange(ConfiguredCheck):
    """Compares the rows with those of the table version before; `max_drop` and `max_growth` are shares of the latter.

    Formats without versions are compared with the last count that was different.
    """

    type: ClassVar[str] = "row_count_change"
    dimension: ClassVar[Dimension] = Dimension.COMPLETENESS
    history: ClassVar[timedelta] = timedelta(days=30)
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example({"max_drop": "50%"}, {"a": "int"}, ((1,),), Outcome.PASS, -0.5, before=((1,), (2,)))
    bad: ClassVar[Example] = Example({"max_drop": "40%"}, {"a": "int"}, ((1,),), Outcome.FAIL, -0.5, before=((1,), (2,)))

    max_drop: Ratio | None = None
    max_growth: float | None = Field(default=None, ge=0, description="1 allows the table to double")
    warn: _Change | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max_drop is None and self.max_growth is None and self.warn is None:
            raise ValueError("give max_drop, max_growth or warn: without a limit the check can never fail")
        for name in ("max_drop", "max_growth"):
            limit, mild = getattr(self, name), getattr(self.warn, name, None)
            if limit is not None and mild is not None and mild >= limit:
                raise ValueError(f"warn.{name} must be below {name}, or it never warns")
        return self

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {"evaluated": rows_in(self.filter)}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        rows = integer(seen["evaluated"])
        before = _baseline([point for point in past.points if "evaluated" in point.seen], rows, past.version)
        if before is None:
            return Verdict(Outcome.LEARNING, f"{rows:,} rows; there is no earlier version to compare with", Reason.HISTORY)
        earlier = integer(before.seen["evaluated"])
        if earlier == 0:
            return Verdict(Outcome.SKIPPED, f"{rows:,} rows after none; a ratio to 0 means nothing", Reason.NO_VALUES, evaluated_rows=rows)
        change = (rows - earlier) / earlier
        limits = _Change(max_drop=self.max_drop, max_growth=self.max_growth)
        outcome = Outcome.WARN if self.warn and self.warn.broken_by(change) else Outcome.PASS
        outcome = Outcome.FAIL if limits.broken_by(change) else outcome
        named = {Bound.MIN: limits.max_drop, Bound.MAX: limits.max_growth}
        if self.warn:
            named |= {Bound.WARN_MIN: self.warn.max_drop, Bound.WARN_MAX: self.warn.max_growth}
        bounds = {bound: -limit if bound in (Bound.MIN, Bound.WARN_MIN) else limit for bound, limit in named.items() if limit is not None}
        threshold = ", ".join(f"{bound} {limit:+.6g}" for bound, limit in bounds.items())
        text = f"{rows:,} rows after {earlier:,}: {change:+.2%} (allowed: {threshold})"
        return Verdict(outcome, text, None, change, "ratio", threshold, bounds, rows)


def _baseline(past: list[Point], rows: int, version: int | None) -> Point | None:
    """The last point of another version; without versions the last one with another count, else the one before."""
    if version is not None:
        return next((point for point in reversed(past) if point.version != version), None)
    return next((point for point in reversed(past) if point.seen["evaluated"] != rows), past[-1] if past else None)
