"""`schema`: the expected columns exist with the expected types."""

import difflib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from exporter.catalog.labels import Bound, Dimension, Outcome
from exporter.checks.base import ConfiguredCheck, Example, Strict
from exporter.model import Column, History, Measure, Measurement, TableSpec, Value, Verdict

_ALIASES = {
    "long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint", "real": "float", "bool": "boolean",
    "numeric": "decimal", "dec": "decimal", "text": "string", "timestamp_ltz": "timestamp",
}  # fmt: skip


def normal_type(text: str) -> str:
    """A Spark type name in the spelling of Spark's simple strings: lower case, no spaces, no aliases."""
    spelt = re.sub(r"[a-z_]+", lambda word: _ALIASES.get(word[0], word[0]), re.sub(r"\s", "", text.lower()))
    return re.sub(r"decimal(?!\()", "decimal(10,0)", spelt)


_TYPES = (
    "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "string", "char", "varchar", "boolean", "binary", "date", "timestamp",
    "timestamp_ntz", "array", "map", "struct", "variant", "void", "interval", *_ALIASES,
)  # fmt: skip


def check_type(text: str) -> str:
    """`text` if it is a Spark type. Raises ValueError."""
    spelt = re.sub(r"\s", "", text.lower())
    fields = re.sub(r"(?<=[<,])(?:`[^`]*`|[^<>,:]+):", "", spelt)
    for word in re.findall(r"[a-z_]+[a-z_0-9]*", fields):
        if word not in _TYPES:
            near = difflib.get_close_matches(word, _TYPES, 1)
            raise ValueError(f"{text!r} is no Spark type" + (f", did you mean {near[0]!r}?" if near else ": such as bigint, string or decimal(12,2)"))
    if not fields or any(spelt.count(left) != spelt.count(right) for left, right in ("<>", "()")):
        raise ValueError(f"{text!r} is no Spark type: its brackets do not match")
    for precision, scale in re.findall(r"decimal\((\d+)(?:,(\d+))?\)", fields):
        if not 1 <= int(precision) <= 38 or int(scale or 0) > int(precision):
            raise ValueError(f"{text!r} is no Spark type: a decimal has 1 to 38 digits, of which no more are behind the point")
    return text


class _WarnExtra(Strict):
    extra_columns: Literal["forbid"]


class Schema(ConfiguredCheck):
    """Columns of `columns` that are missing or of another type fail, and extra ones with `extra_columns: forbid`.

    `nullable: false` for a column also wants it declared NOT NULL. Needs no scan.
    """

    type: ClassVar[str] = "schema"
    dimension: ClassVar[Dimension] = Dimension.VALIDITY
    good: ClassVar[Example] = Example(
        {"columns": {"id": "long", "amount": "DECIMAL(12, 2)"}}, {"id": "bigint", "amount": "decimal(12,2)", "x": "int"}, (), Outcome.PASS, 0
    )
    bad: ClassVar[Example] = Example(
        {"columns": {"id": "string", "gone": "int"}, "extra_columns": "forbid"}, {"id": "bigint", "x": "int"}, (), Outcome.FAIL, 3
    )

    expected: dict[str, Annotated[str, AfterValidator(check_type)]] = Field(alias="columns", min_length=1)
    extra_columns: Literal["allow", "forbid"] = "allow"
    warn: _WarnExtra | None = None

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {**self.when_empty(), "schema": Measurement(Measure.SCHEMA)}

    def _wanted(self, name: str, there: tuple[Column, ...]) -> str:
        """The expected name that a column answers to: its own, or one that differs in case only, as Spark resolves names."""
        if name in self.expected or any(column.name in self.expected and column.name.lower() == name.lower() for column in there):
            return name
        return next((wanted for wanted in self.expected if wanted.lower() == name.lower()), name)

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        there = _columns(seen["schema"])
        found = {self._wanted(column.name, there): column for column in there}
        missing = [name for name in self.expected if name not in found]
        retyped = [
            f"{name} is {found[name].type} instead of {wanted}"
            for name, wanted in self.expected.items()
            if name in found and normal_type(found[name].type) != normal_type(wanted)
        ]
        extra = [name for name in found if name not in self.expected]
        problems = [f"{name} is missing" for name in missing] + retyped
        if self.extra_columns == "forbid":
            problems += [f"{name} is not expected" for name in extra]
        warnings = [f"{name} is not expected" for name in extra] if self.warn and self.extra_columns == "allow" else []
        outcome = Outcome.FAIL if problems else Outcome.WARN if warnings else Outcome.PASS
        text = "; ".join(problems + warnings) or f"all {len(self.expected)} expected columns are there with their types"
        return Verdict(outcome, text, None, len(problems), "columns", "max 0", {Bound.MAX: 0})


def _columns(value: Value) -> tuple[Column, ...]:
    assert isinstance(value, tuple)
    return tuple(column for column in value if isinstance(column, Column))
