"""`length`: text has between so many characters."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, model_validator

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import ColumnCheck, Example, MaxFailedRows
from exporter.expression import Expression, text
from exporter.model import TableSpec


class Length(MaxFailedRows, ColumnCheck):
    """Text shorter than `min` or longer than `max` characters (code points, not bytes) fails; nulls do not."""

    type: ClassVar[str] = "length"
    dimension: ClassVar[Dimension] = Dimension.VALIDITY
    good: ClassVar[Example] = Example(
        {"column": "country", "min": 2, "max": 2}, {"country": "string"}, (("DE",), ("ÄÖ",), ("😀x",), (None,)), Outcome.PASS, 0, 0
    )
    bad: ClassVar[Example] = Example(
        {"column": "country", "min": 2, "max": 2}, {"country": "string"}, (("DE",), ("DEU",), ("",)), Outcome.FAIL, 2, 2
    )

    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min or max: without a bound the check can never fail")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is greater than max ({self.max})")
        return self

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        size, broken = f"length({text(self.column)})", {}
        if self.min is not None:
            broken["short"] = Expression(f"{size} < {self.min}")
        if self.max is not None:
            broken["long"] = Expression(f"{size} > {self.max}")
        return broken

    def problem(self) -> str:
        bounds = [f"{word} {bound}" for word, bound in (("under", self.min), ("over", self.max)) if bound is not None]
        return f"have {self.column} of {' or '.join(bounds)} characters"
