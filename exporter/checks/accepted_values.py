"""`accepted_values`: values are of a given set."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import ClassVar

from pydantic import Field

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import ColumnCheck, Example, MaxRows
from exporter.expression import Expression, col, literal
from exporter.model import TableSpec


class AcceptedValues(MaxRows, ColumnCheck):
    """Values that are not in `values` fail; nulls do not."""

    type: ClassVar[str] = "accepted_values"
    dimension: ClassVar[Dimension] = Dimension.VALIDITY
    good: ClassVar[Example] = Example(
        {"column": "status", "values": ["new", "paid"]}, {"status": "string"}, (("new",), ("paid",), (None,)), Outcome.PASS, 0, 0
    )
    bad: ClassVar[Example] = Example(
        {"column": "status", "values": [1, 2]}, {"status": "int"}, ((1,), (3,), (None,)), Outcome.FAIL, 1, 1
    )

    values: tuple[bool | int | float | datetime | date | str, ...] = Field(min_length=1)

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        accepted = ", ".join(literal(self.column, value) for value in self.values)
        return {"other": Expression(f"NOT ({col(self.column)} IN ({accepted}))")}

    def problem(self) -> str:
        shown = ", ".join(map(str, self.values[:5])) + (f" and {len(self.values) - 5} more" if len(self.values) > 5 else "")
        return f"have {self.column} other than {shown}"
