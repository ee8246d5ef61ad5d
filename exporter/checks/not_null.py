"""`not_null`: rows whose column has no value."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import ColumnCheck, Example, MaxRows
from exporter.expression import Canonical, Expression, col
from exporter.model import TableSpec


class NotNull(MaxRows, ColumnCheck):
    """Rows whose column is null fail; `nan: missing` also counts NaN, which is otherwise a value."""

    type: ClassVar[str] = "not_null"
    dimension: ClassVar[Dimension] = Dimension.COMPLETENESS
    good: ClassVar[Example] = Example("email", {"email": "string"}, (("a@b.c",), ("",)), Outcome.PASS, 0, 0)
    bad: ClassVar[Example] = Example("email", {"email": "string"}, (("a@b.c",), (None,)), Outcome.FAIL, 1, 1)

    nan: Literal["value", "missing"] = "value"

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        missing = {"null": Expression(f"{col(self.column)} IS NULL")}
        if self.nan == "missing":
            missing["nan"] = Expression(f"{Canonical.IS_NAN}({col(self.column)})")
        return missing

    def problem(self) -> str:
        return f"have no {self.column}"
