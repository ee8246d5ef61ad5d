"""`aggregate`: an aggregate of a column lies within bounds."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import ClassVar, Literal

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import Example, ValueCheck, integer, no_values, number, rows_in
from exporter.model import History, Measure, Measurement, Reason, TableSpec, Value, Verdict


class Aggregate(ValueCheck):
    """avg, sum, min, max or stddev (of a sample) of the values that are not null, NaN or infinite."""

    type: ClassVar[str] = "aggregate"
    dimension: ClassVar[Dimension] = Dimension.VALIDITY
    good: ClassVar[Example] = Example(
        {"column": "amount", "fn": "avg", "min": 1, "max": 2}, {"amount": "double"}, ((1.0,), (2.0,), (float("nan"),), (None,)), Outcome.PASS, 1.5
    )
    bad: ClassVar[Example] = Example(
        {"column": "n", "fn": "sum", "max": 9e18}, {"n": "bigint"}, ((2**63 - 1,), (2**63 - 1,)), Outcome.FAIL, 2**64 - 2
    )

    column: str
    fn: Literal["avg", "sum", "min", "max", "stddev"]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {"evaluated": rows_in(self.filter), "value": Measurement(Measure(self.fn), (self.column,), self.filter)}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        if isinstance(seen["value"], date):
            text = f"{self.fn} of {self.column} is a time, and aggregate compares numbers; use `range` or `freshness`"
            return Verdict(Outcome.ERROR, text, Reason.TYPE)
        value, evaluated = number(seen["value"]), integer(seen["evaluated"])
        if value is None:
            return no_values(self.columns, evaluated)
        return self.judge_value(value, "", f"{self.fn} of {self.column} is {value:,.10g}", evaluated)
