"""`range`: values lie between two bounds."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import ClassVar, Self

from pydantic import model_validator

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import ColumnCheck, Example, MaxFailedRows
from exporter.expression import Canonical, Expression, col, literal
from exporter.model import TableSpec

Scalar = int | float | datetime | date | str


def moment_of(bound: Scalar | None) -> datetime | None:
    """A bound as naive time, or None where it is none."""
    try:
        moment = datetime.fromisoformat(str(bound)) if isinstance(bound, str | date) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=None) if moment else None


class Range(MaxFailedRows, ColumnCheck):
    """Values below `min` or above `max` fail (both inclusive); NaN and infinities fail, nulls do not."""

    type: ClassVar[str] = "range"
    dimension: ClassVar[Dimension] = Dimension.VALIDITY
    good: ClassVar[Example] = Example(
        {"column": "amount", "min": 0, "max": 10.5}, {"amount": "decimal(12,2)"}, (("0.00",), ("10.50",), (None,)), Outcome.PASS, 0, 0
    )
    bad: ClassVar[Example] = Example(
        {"column": "ratio", "min": 0, "max": 1}, {"ratio": "double"}, ((0.5,), (float("nan"),), (1.5,), (-0.1,)), Outcome.FAIL, 3, 3
    )

    min: Scalar | None = None
    max: Scalar | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min or max: without a bound the check can never fail")
        if isinstance(self.min, int | float) and isinstance(self.max, int | float) and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is greater than max ({self.max:g})")
        times = [moment_of(bound) for bound in (self.min, self.max)]
        if times[0] and times[1] and times[0] > times[1]:
            raise ValueError(f"min ({self.min}) is later than max ({self.max})")
        if isinstance(self.min, int | float) != isinstance(self.max, int | float) and self.min is not None and self.max is not None:
            raise ValueError(f"min ({self.min}) and max ({self.max}) are of different kinds: give two numbers, two times or two texts")
        return self

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        column, broken = col(self.column), {"not_finite": Expression(f"{Canonical.NOT_FINITE}({col(self.column)})")}
        if self.min is not None:
            broken["below"] = Expression(f"{column} < {literal(self.column, self.min)}")
        if self.max is not None:
            broken["above"] = Expression(f"{column} > {literal(self.column, self.max)}")
        return broken

    def problem(self) -> str:
        bounds = [f"{word} {bound}" for word, bound in (("below", self.min), ("above", self.max)) if bound is not None]
        return f"have {self.column} {' or '.join(bounds)}"
