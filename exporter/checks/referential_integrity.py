"""`referential_integrity`: every value refers to a row of another table."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Self

from pydantic import Field, model_validator

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import Example, MaxRows, integer, rows_in
from exporter.expression import Expression, any_of, col
from exporter.model import History, Measure, Measurement, Orphans, Reason, TableSpec, Value, Verdict

_CUSTOMERS = {"customers": ({"id": "bigint"}, ((1,), (2,)))}


class ReferentialIntegrity(MaxRows):
    """Rows whose key is in no row of the table `to` fail; rows with a null in the key do not (SQL's MATCH SIMPLE)."""

    type: ClassVar[str] = "referential_integrity"
    dimension: ClassVar[Dimension] = Dimension.CONSISTENCY
    good: ClassVar[Example] = Example(
        {"columns": ["customer"], "to": "customers", "to_columns": ["id"]}, {"customer": "bigint"}, ((1,), (2,), (2,), (None,)), Outcome.PASS, 0, 0, others=_CUSTOMERS
    )
    bad: ClassVar[Example] = Example(
        {"columns": ["customer"], "to": "customers", "to_columns": ["id"]}, {"customer": "bigint"}, ((1,), (3,), (3,), (4,)), Outcome.FAIL, 3, 3, others=_CUSTOMERS
    )

    key: tuple[str, ...] = Field(alias="columns", min_length=1)
    to: str
    to_columns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if self.to_columns and len(self.to_columns) != len(self.key):
            raise ValueError(f"columns has {len(self.key)} names, to_columns {len(self.to_columns)}: they are paired in order")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key

    def references(self) -> tuple[str, ...]:
        return (self.to,)

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        return {"key": any_of(f"{col(name)} IS NOT NULL" for name in self.key)}

    def problem(self) -> str:
        return f"have {', '.join(self.key)} that is not in {self.to}"

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        parent = self.to_columns or self.key
        return {
            "evaluated": rows_in(self.filter),
            "orphans": Measurement(Measure.ORPHANS, self.key, self.filter, target=self.to, target_columns=parent),
        }

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        found, evaluated = seen["orphans"], integer(seen["evaluated"])
        assert isinstance(found, Orphans)
        if found.parent_empty:
            return Verdict(Outcome.ERROR, f"{self.to} is empty, so every row would be an orphan", Reason.PARENT_EMPTY)
        return self.judge_rows(found.rows, evaluated, f": {found.keys:,} distinct keys" if found.keys else "")
