"""`schema`: the expected columns exist with the expected types."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

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

    expected: dict[str, str] = Field(alias="columns", min_length=1)
    extra_columns: Literal["allow", "forbid"] = "allow"
    warn: _WarnExtra | None = None

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {"schema": Measurement(Measure.SCHEMA)}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        found = {column.name: column for column in _columns(seen["schema"])}
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
