"""`reconciliation`: two tables agree on their totals."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Outcome
from exporter.checks.base import ConfiguredCheck, Example, Strict, number, rows_in
from exporter.model import History, Measure, Measurement, TableSpec, Value, Verdict
from exporter.units import Ratio, SqlExpression

_MEASURE = re.compile(r"\s*(sum|min|max|avg|stddev)\s*\(\s*(.+?)\s*\)\s*")
_RAW = {"raw": ({"amount": "int"}, ((1,), (2,), (3,)))}


def _check_measure(text: str) -> str:
    if text != "row_count" and not _MEASURE.fullmatch(text):
        raise ValueError(f"{text!r} is not a measure: use row_count, or sum, min, max, avg or stddev of a column, such as sum(amount)")
    return text


class _Tolerance(Strict):
    tolerance: Ratio


class Reconciliation(ConfiguredCheck):
    """Each measure differs between this table and `with` by at most `tolerance` of the greater one; times must be equal.

    `filter` restricts this table, `with_filter` the other. A value on one side only is a difference of 100 %.
    """

    type: ClassVar[str] = "reconciliation"
    dimension: ClassVar[Dimension] = Dimension.ACCURACY
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example(
        {"with": "raw", "measures": ["row_count", "sum(amount)"]}, {"amount": "int"}, ((1,), (2,), (3,)), Outcome.PASS, 0.0, others=_RAW
    )
    bad: ClassVar[Example] = Example(
        {"with": "raw", "measures": ["sum(amount)"], "tolerance": "1%"}, {"amount": "int"}, ((1,), (2,)), Outcome.FAIL, 0.5, others=_RAW
    )

    other: str = Field(alias="with")
    measures: tuple[Annotated[str, AfterValidator(_check_measure)], ...] = Field(default=("row_count",), min_length=1)
    tolerance: Ratio = 0.0
    warn: _Tolerance | None = None
    with_filter: SqlExpression | None = None

    @model_validator(mode="after")
    def _warn_is_milder(self) -> Self:
        if self.warn and "tolerance" in self.model_fields_set and self.warn.tolerance >= self.tolerance:
            raise ValueError("warn.tolerance must be below tolerance, or it never warns")
        return self

    def references(self) -> tuple[str, ...]:
        return (self.other,)

    def _measurement(self, text: str, other: bool) -> Measurement:
        scope, of = (self.with_filter, self.other) if other else (self.filter, None)
        match = _MEASURE.fullmatch(text)
        if match is None:
            return Measurement(Measure.ROWS, where=scope, of=of)
        return Measurement(Measure(match[1]), (match[2].strip("`"),), scope, of=of)

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        sides = {f"{side} {text}": self._measurement(text, side == "theirs") for text in self.measures for side in ("ours", "theirs")}
        return {"evaluated": rows_in(self.filter), **sides}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        differences = {text: _difference(seen[f"ours {text}"], seen[f"theirs {text}"]) for text in self.measures}
        worst = max(differences, key=lambda text: differences[text])
        outcome = Outcome.WARN if self.warn and differences[worst] > self.warn.tolerance else Outcome.PASS
        if differences[worst] > self.tolerance and not (self.warn and "tolerance" not in self.model_fields_set):
            outcome = Outcome.FAIL
        ours, theirs = _shown(seen[f"ours {worst}"]), _shown(seen[f"theirs {worst}"])
        text = f"{worst} is {ours} here and {theirs} in {self.other}: they differ by {differences[worst]:.4%} (allowed: {self.tolerance:.4%})"
        bounds = {Bound.MAX: self.tolerance} | ({Bound.WARN_MAX: self.warn.tolerance} if self.warn else {})
        return Verdict(outcome, text, None, differences[worst], "ratio", f"max {self.tolerance:.6g}", bounds)


def _difference(ours: Value, theirs: Value) -> float:
    """Of the greater one; times are equal or not."""
    if ours == theirs:
        return 0.0
    if ours is None or theirs is None or isinstance(ours, date) or isinstance(theirs, date):
        return 1.0
    mine, other = number(ours) or 0, number(theirs) or 0
    return abs(mine - other) / max(abs(mine), abs(other)) if mine != other else 0.0


def _shown(value: Value) -> str:
    return "no value" if value is None else f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, date) else f"{number(value):,}"
