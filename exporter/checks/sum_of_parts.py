"""`sum_of_parts`: a total is the sum of its parts."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import Example, MaxRows
from exporter.expression import Expression, col, literal
from exporter.model import TableSpec

_MONEY = {"total": "decimal(12,2)", "amount": "decimal(12,2)", "tax": "decimal(12,2)"}
Tolerance = Annotated[
    Decimal, BeforeValidator(lambda value: Decimal(str(value)) if isinstance(value, float) else value), Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})
]


class SumOfParts(MaxRows):
    """Rows whose total differs from the sum of the parts by more than `tolerance` fail; rows without a total do not."""

    type: ClassVar[str] = "sum_of_parts"
    dimension: ClassVar[Dimension] = Dimension.CONSISTENCY
    good: ClassVar[Example] = Example(
        {"total": "total", "parts": ["amount", "tax"], "tolerance": 0.01},
        _MONEY,
        (("3.00", "2.00", "1.00"), ("3.01", "2.00", "1.00"), ("2.00", "2.00", None)),
        Outcome.PASS,
        0,
        0,
    )
    bad: ClassVar[Example] = Example(
        {"total": "total", "parts": ["amount", "tax"]}, _MONEY, (("3.01", "2.00", "1.00"), ("3.00", "2.00", "1.00")), Outcome.FAIL, 1, 1
    )

    total: str
    parts: tuple[str, ...] = Field(min_length=1)
    tolerance: Tolerance = Decimal(0)
    null_parts: Literal["zero", "fail"] = "zero"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.total,)

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        parts = [col(part) if self.null_parts == "fail" else f"coalesce({col(part)}, 0)" for part in self.parts]
        difference = f"{col(self.total)} - ({' + '.join(parts)})"
        low, high = literal(self.total, -self.tolerance), literal(self.total, self.tolerance)
        broken = {"differs": Expression(f"NOT ({difference} BETWEEN {low} AND {high})")}
        if self.null_parts == "fail":
            missing = " OR ".join(f"{col(part)} IS NULL" for part in self.parts)
            broken["missing"] = Expression(f"{col(self.total)} IS NOT NULL AND ({missing})")
        return broken

    def problem(self) -> str:
        return f"have {self.total} that is not {' + '.join(self.parts)}" + (f" ± {self.tolerance}" if self.tolerance else "")
