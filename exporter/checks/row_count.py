"""`row_count`: the number of rows lies within bounds."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import Example, ValueCheck, integer, rows_in
from exporter.model import History, Measurement, TableSpec, Value, Verdict


class RowCount(ValueCheck):
    """The table (or what `filter` leaves of it) has between `min` and `max` rows; zero is a number like any other."""

    type: ClassVar[str] = "row_count"
    dimension: ClassVar[Dimension] = Dimension.COMPLETENESS
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example({"min": 1}, {"id": "bigint"}, ((1,), (2,)), Outcome.PASS, 2)
    bad: ClassVar[Example] = Example({"min": 1}, {"id": "bigint"}, (), Outcome.FAIL, 0)

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {"evaluated": rows_in(self.filter)}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        rows = integer(seen["evaluated"])
        return self.judge_value(rows, "rows", f"{rows:,} rows", rows)
