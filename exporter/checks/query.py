"""`query`: the one value of a SELECT lies within bounds."""

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import Field

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import Example, ValueCheck, number
from exporter.model import History, Measure, Measurement, Reason, TableSpec, Value, Verdict
from exporter.units import SqlQuery


class Query(ValueCheck):
    """The value of `sql`, one read-only SELECT of one row and one number; `{table}` is the table and its filter."""

    type: ClassVar[str] = "query"
    dimension: ClassVar[Dimension] = Dimension.CONSISTENCY
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example(
        {"name": "open", "sql": "select count(*) from {table} where a > 1", "max": 1}, {"a": "int"}, ((1,), (2,)), Outcome.PASS, 1
    )
    bad: ClassVar[Example] = Example({"name": "top", "sql": "SELECT max(a) FROM {table}", "max": 1}, {"a": "int"}, ((1,), (2,)), Outcome.FAIL, 2)

    sql: SqlQuery = Field(description="one read-only SELECT of one value; {table} is this table")

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {**self.when_empty(), "value": Measurement(Measure.QUERY, where=self.filter, query=self.sql)}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        value = seen["value"]
        if value is None:
            return Verdict(Outcome.SKIPPED, "the query gave no value (null)", Reason.NO_VALUES)
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            return Verdict(Outcome.ERROR, f"the query gave {type(value).__name__}, not a number; select a number", Reason.RESULT)
        found = number(value)
        assert found is not None
        if math.isnan(found):
            return Verdict(Outcome.SKIPPED, "the query gave NaN", Reason.NO_VALUES)
        return self.judge_value(found, "", f"the query gave {found:,.10g}")
