"""`expression`: a condition of your own holds for each row."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import Example, MaxRows
from exporter.expression import Expression as Sql
from exporter.model import TableSpec
from exporter.units import SqlExpression


class Expression(MaxRows):
    """Rows for which `sql` is not true fail; a null result fails too, unless `null_ok`."""

    type: ClassVar[str] = "expression"
    dimension: ClassVar[Dimension] = Dimension.CONSISTENCY
    good: ClassVar[Example] = Example(
        {"sql": "total = amount + tax"},
        {"total": "decimal(10,2)", "amount": "decimal(10,2)", "tax": "decimal(10,2)"},
        (("3.00", "2.00", "1.00"),),
        Outcome.PASS,
        0,
        0,
    )
    bad: ClassVar[Example] = Example({"sql": "a < b"}, {"a": "int", "b": "int"}, ((1, 2), (2, 1), (1, None)), Outcome.FAIL, 2, 2)

    sql: SqlExpression = Field(description="a Spark SQL condition on one row")
    null_ok: bool = False

    @classmethod
    def shorthand(cls, body: Any) -> list[dict[str, Any]]:
        return [{"sql": body}] if isinstance(body, str) else super().shorthand(body)

    def violations(self, table: TableSpec) -> Mapping[str, Sql]:
        return {"untrue": Sql(f"NOT coalesce(({self.sql}), {str(self.null_ok).lower()})")}

    def problem(self) -> str:
        return f"do not satisfy {self.sql}"
