"""`unique`: no two rows share a key."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import Example, MaxRows, columns_shorthand, integer, rows_in
from exporter.expression import Expression, all_of, any_of, col
from exporter.model import Duplicates, History, Measure, Measurement, Nulls, TableSpec, Value, Verdict


class Unique(MaxRows):
    """Every row that shares its key with another fails (so two equal rows are two failed rows).

    `nulls: ignore` leaves out rows with a null in the key, `equal` treats nulls as equal values, `fail` fails them.
    """

    type: ClassVar[str] = "unique"
    dimension: ClassVar[Dimension] = Dimension.UNIQUENESS
    good: ClassVar[Example] = Example("id", {"id": "bigint"}, ((1,), (2,), (None,), (None,)), Outcome.PASS, 0, 0)
    bad: ClassVar[Example] = Example(
        {"columns": ["a", "b"], "nulls": "fail"}, {"a": "int", "b": "string"}, ((1, "x"), (1, "x"), (1, "y"), (2, None)), Outcome.FAIL, 3, 3
    )

    key: tuple[str, ...] = Field(alias="columns", min_length=1)
    nulls: Nulls = Nulls.IGNORE

    @classmethod
    def shorthand(cls, body: Any) -> list[dict[str, Any]]:
        return columns_shorthand(cls.type, body)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        return {"null": any_of(f"{col(name)} IS NULL" for name in self.key)}

    def problem(self) -> str:
        nulls = " or have none" if self.nulls is Nulls.FAIL else ""
        return f"share their {', '.join(self.key)} with another row{nulls}"

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        wanted = {
            "evaluated": rows_in(self.filter),
            "duplicates": Measurement(Measure.DUPLICATES, self.key, self.filter, nulls=self.nulls),
        }
        if self.nulls is Nulls.FAIL:
            wanted["null"] = Measurement(Measure.COUNT_WHERE, where=all_of(self.filter, self.violations(table)["null"]))
        return wanted

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        found = seen["duplicates"]
        assert isinstance(found, Duplicates)
        null = integer(seen.get("null", 0))
        more = f": {found.keys:,} duplicate keys" + (f", {null:,} rows with a null key" if null else "")
        return self.judge_rows(found.rows + null, integer(seen["evaluated"]), more if found.keys or null else "")
