"""What a check type is: its YAML schema, what it measures and how it judges, in one class.

Defining a subclass of `ConfiguredCheck` with a `type` registers it; nothing else has to know of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from exporter.catalog.labels import Bound, Dimension, Outcome, Severity
from exporter.catalog.metrics import Metric
from exporter.expression import Expression, all_of, any_of
from exporter.learned.calendar import parse_dates
from exporter.model import Failure, History, Measure, Measurement, Reason, TableSpec, Value, Verdict
from exporter.units import Duration, Limit, RowLimit, SqlExpression, format_duration

Gauges = dict[tuple[Metric, tuple[str, ...]], float]
"""What a check publishes for its table."""
REGISTRY: dict[str, type[ConfiguredCheck]] = {}
EXAMPLE_NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
"""The clock of every example."""


@dataclass(frozen=True)
class Example:
    """A check on a small table and what must come of it; tests run each on both engines.

    `body` is what stands after the type in YAML. `columns` are Spark types. `before` are the rows of an earlier
    version that is evaluated first, `appended` rows that a second commit adds. `others` are further tables, by name, as (columns, rows).
    """

    body: Any
    columns: Mapping[str, str]
    rows: tuple[tuple[Any, ...], ...]
    outcome: Outcome
    value: float | None = None
    failed_rows: int | None = None
    before: tuple[tuple[Any, ...], ...] | None = None
    others: Mapping[str, tuple[Mapping[str, str], tuple[tuple[Any, ...], ...]]] = field(default_factory=dict)
    partitioned_by: tuple[str, ...] = ()
    appended: tuple[tuple[Any, ...], ...] = ()


class Strict(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)


class ScheduleModel(Strict):
    """`{every: 15m}` or `{cron: "0 6 * * *", timezone: Europe/Berlin}`; parsed further by the configuration."""

    every: Duration | None = None
    cron: str | None = Field(default=None, examples=["0 6 * * mon-fri"])
    timezone: str | None = Field(default=None, examples=["Europe/Berlin"])


def _dates(value: object) -> frozenset[date]:
    return value if isinstance(value, frozenset) else parse_dates(value if isinstance(value, list | tuple) else [value])


Dates = Annotated[
    frozenset[date],
    BeforeValidator(_dates),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "examples": [["2026-01-05", "2026-03-01..2026-03-07"]]}),
]
"""Days that are left out: `2026-01-05`, or `first..last`."""


class ConfiguredCheck(Strict, ABC):
    """A rule of one type with its parameters; the keys that every check takes are declared here."""

    type: ClassVar[str] = ""
    dimension: ClassVar[Dimension]
    history: ClassVar[timedelta] = timedelta(0)
    learns: ClassVar[bool] = False
    empty: ClassVar[Literal["pass", "fail", "skip", "judge"]] = "skip"
    """What no rows in scope mean unless `on_empty` says otherwise; `judge` leaves it to the check."""
    good: ClassVar[Example]
    bad: ClassVar[Example]

    name: str | None = Field(default=None, min_length=1, max_length=200, description="id of the check in its table")
    severity: Severity | None = None
    team: str | None = None
    owner: str | None = None
    runbook: str | None = None
    suggested_action: str | None = None
    filter: SqlExpression | None = Field(default=None, description="only rows for which this is true")
    schedule: ScheduleModel | None = None
    timeout: Duration | None = None
    on_empty: Literal["pass", "fail", "skip"] | None = None
    enabled: bool = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "type" in cls.__dict__ and REGISTRY.setdefault(cls.type, cls).__qualname__ != cls.__qualname__:
            raise TypeError(f"check type {cls.type} is defined twice")

    @classmethod
    def expand(cls, body: Any) -> list[dict[str, Any]]:
        """The mappings that a body in YAML stands for; a type with a shorthand overrides `shorthand`."""
        if isinstance(body, dict):
            return [body]
        return [{}] if body is None else cls.shorthand(body)

    @classmethod
    def shorthand(cls, body: Any) -> list[dict[str, Any]]:
        """Mappings for a body that is not one. Raises ValueError."""
        raise ValueError(f"{cls.type} takes a mapping, not {body!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the check is about, as written; part of its default id."""
        return ()

    @property
    def id(self) -> str:
        """`name`, else the type and the columns joined by `_`."""
        return self.name or "_".join((self.type, *self.columns))

    def in_zone(self, timezone: ZoneInfo) -> Self:
        """The check with the table's time zone where it has one that is not given."""
        if "timezone" in type(self).model_fields and getattr(self, "timezone", None) is None:
            return self.model_copy(update={"timezone": timezone})
        return self

    def references(self) -> tuple[str, ...]:
        """Names of other configured tables that the check reads."""
        return ()

    @abstractmethod
    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        """What the check wants to see, by a name of its own."""

    def when_empty(self) -> dict[str, Measurement]:
        """What a check that counts no rows needs to know for `on_empty`, if that is given."""
        return {"evaluated": rows_in(self.filter)} if self.on_empty else {}

    def follow_up(self, seen: Mapping[str, Value], past: History, now: datetime) -> Mapping[str, Measurement]:
        """What else it wants after a first look."""
        return {}

    @abstractmethod
    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        """The verdict when everything wanted was seen and there are rows, or `empty` is `judge`."""

    def judge(self, seen: Mapping[str, Value | Failure], past: History, now: datetime) -> Verdict:
        """The verdict; a failed measurement is an error, no rows are what `on_empty` says."""
        values: dict[str, Value] = {}
        for name, value in seen.items():
            if isinstance(value, Failure):
                return Verdict(Outcome.ERROR, value.message, value.reason)
            values[name] = value
        if values.get("evaluated") == 0 and (self.on_empty or self.empty) != "judge":
            return self._empty_verdict(self.on_empty or self.empty)
        return self.verdict(values, past, now)

    def _empty_verdict(self, policy: str) -> Verdict:
        outcome = {"pass": Outcome.PASS, "fail": Outcome.FAIL}.get(policy, Outcome.SKIPPED)
        reason = Reason.EMPTY if outcome is not Outcome.PASS else None
        scope = "no rows match the filter" if self.filter else "no rows in scope"
        return Verdict(outcome, f"{scope}, so there is nothing to judge (on_empty: {policy})", reason, evaluated_rows=0)


def rows_in(scope: Expression | None) -> Measurement:
    """The number of rows for which `scope` is true (all rows without it)."""
    return Measurement(Measure.ROWS, where=scope)


def integer(value: Value) -> int:
    """A count as int; engines may give Decimal."""
    assert isinstance(value, (int, float, Decimal)), value
    return int(value)


def number(value: Value) -> float | int | None:
    """A measured number as int where it is whole and exact, else float; None stays."""
    if value is None or isinstance(value, int):
        return value
    assert isinstance(value, (float, Decimal))
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else float(value)


def no_values(columns: tuple[str, ...], evaluated: int) -> Verdict:
    """Skipped: there are rows, but none has a usable value."""
    text = f"none of {evaluated:,} rows has a value in {', '.join(columns)} (nulls, NaN and infinities do not count)"
    return Verdict(Outcome.SKIPPED, text, Reason.NO_VALUES, evaluated_rows=evaluated)


# --- checks on each row ---------------------------------------------------------------------------------------
class MaxFailed(Strict):
    """The most rows that may break the rule."""

    max: RowLimit = Limit(0, "rows")


def exceeds(limit: Limit, failed: int, evaluated: int) -> bool:
    """True when more rows failed than the limit allows; a ratio is of the evaluated rows."""
    return failed > limit.amount if limit.unit == "rows" else failed > limit.amount * evaluated


class WarnMaxFailed(Strict):
    """The same, for the types whose `max` is a bound of the values."""

    max_failed: RowLimit = Limit(0, "rows")


class RowCheck(ConfiguredCheck):
    """Counts the rows that break a rule; a number or a share of them (default 0) may, and a smaller one only warns.

    With only `warn` given, the check warns and never fails.
    """

    @property
    @abstractmethod
    def limits(self) -> tuple[Limit | None, Limit | None]:
        """The limits given for failing and for warning."""

    @abstractmethod
    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        """Conditions that are true for a row that breaks the rule, by name; a row counts once however many hold."""

    @abstractmethod
    def problem(self) -> str:
        """What is wrong with a failing row, after 'N rows …'."""

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        broken = any_of(expression.sql for expression in self.violations(table).values())
        failed = Measurement(Measure.COUNT_WHERE, where=all_of(self.filter, broken))
        return {"evaluated": rows_in(self.filter), "failed": failed}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        return self.judge_rows(integer(seen["failed"]), integer(seen["evaluated"]))

    @model_validator(mode="after")
    def _warn_is_milder(self) -> Self:
        limit, warn = self.limits
        if warn and limit and warn.unit == limit.unit and warn.amount >= limit.amount:
            raise ValueError(f"the limit of warn ({warn}) must be below the one that fails ({limit}), or it never warns")
        return self

    def judge_rows(self, failed: int, evaluated: int, more: str = "") -> Verdict:
        """Compares the failed rows with the limits; value and bounds are in the unit of the limit."""
        given, warn = self.limits
        limit = given or (None if warn else Limit(0, "rows"))
        outcome = Outcome.PASS
        if warn and exceeds(warn, failed, evaluated):
            outcome = Outcome.WARN
        if limit and exceeds(limit, failed, evaluated):
            outcome = Outcome.FAIL
        shown = limit or warn
        assert shown is not None  # one of them is always there
        bounds = {Bound.MAX: limit.amount} if limit else {}
        if warn and warn.unit == shown.unit:
            bounds[Bound.WARN_MAX] = warn.amount
        threshold = f"max {limit}" if limit else f"warn above {warn}"
        allowed = f"allowed: {shown}" + (f", warn above {warn}" if limit and warn else "")
        text = f"{failed:,} of {evaluated:,} rows {self.problem()} ({allowed}){more}"
        return Verdict(
            outcome, text, None, failed if shown.unit == "rows" else failed / evaluated if evaluated else 0.0,
            shown.unit, threshold, bounds, evaluated, failed,
        )  # fmt: skip


class MaxRows(RowCheck):
    """A row check whose limit is `max`."""

    max: RowLimit | None = Field(default=None, description="the most rows that may break the rule (default 0)")
    warn: MaxFailed | None = None

    @property
    def limits(self) -> tuple[Limit | None, Limit | None]:
        return self.max, self.warn.max if self.warn else None


class MaxFailedRows(RowCheck):
    """A row check whose limit is `max_failed`, because `max` bounds the values."""

    max_failed: RowLimit | None = Field(default=None, description="the most rows that may break the rule (default 0)")
    warn: WarnMaxFailed | None = None

    @property
    def limits(self) -> tuple[Limit | None, Limit | None]:
        return self.max_failed, self.warn.max_failed if self.warn else None


class ColumnCheck(RowCheck):
    """A row check on one column; the shorthand is a column or a list of columns, one check each."""

    column: str = Field(min_length=1)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @classmethod
    def shorthand(cls, body: Any) -> list[dict[str, Any]]:
        names = [body] if isinstance(body, str) else body
        if cls._needs_more() or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return super().shorthand(body)
        return [{"column": name} for name in names]

    @classmethod
    def _needs_more(cls) -> bool:
        return any(f.is_required() for name, f in cls.model_fields.items() if name != "column")


def columns_shorthand(type_name: str, body: Any) -> list[dict[str, Any]]:
    """One check on all of the columns that a bare name or a list names. Raises ValueError."""
    names = [body] if isinstance(body, str) else body
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{type_name} takes a column, a list of columns or a mapping, not {body!r}")
    return [{"columns": names}]


# --- checks on one number -------------------------------------------------------------------------------------
class Bounds(Strict):
    """Inclusive bounds of a number; at least one."""

    min: float | None = None
    max: float | None = None

    def broken_by(self, value: float) -> bool:
        """True when the value lies outside."""
        return (self.min is not None and value < self.min) or (self.max is not None and value > self.max)

    def __str__(self) -> str:
        parts = [f"{name} {bound:.10g}" for name, bound in (("min", self.min), ("max", self.max)) if bound is not None]
        return ", ".join(parts)


class ValueCheck(ConfiguredCheck):
    """Compares one number with `min` and `max`, and more mildly with `warn`."""

    min: float | None = None
    max: float | None = None
    warn: Bounds | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None and self.warn is None:
            raise ValueError("give min, max or warn: without a bound the check can never fail")
        for bounds in (self, self.warn):
            if bounds and bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
                raise ValueError(f"min ({bounds.min:g}) is greater than max ({bounds.max:g})")
        if self.warn and self.min is not None and self.warn.min is not None and self.warn.min <= self.min:
            raise ValueError(f"warn.min ({self.warn.min:g}) must be above min ({self.min:g}), or it never warns")
        if self.warn and self.max is not None and self.warn.max is not None and self.warn.max >= self.max:
            raise ValueError(f"warn.max ({self.warn.max:g}) must be below max ({self.max:g}), or it never warns")
        return self

    def judge_value(self, value: float, unit: str, text: str, evaluated: int | None = None) -> Verdict:
        """The verdict on `value`; `text` says what it is, without the limits."""
        if not math.isfinite(value):
            return Verdict(Outcome.ERROR, f"{text}, which is more than a double holds", Reason.OVERFLOW, evaluated_rows=evaluated)
        limits = Bounds(min=self.min, max=self.max)
        outcome = Outcome.WARN if self.warn and self.warn.broken_by(value) else Outcome.PASS
        if limits.broken_by(value):
            outcome = Outcome.FAIL
        named = {Bound.MIN: self.min, Bound.MAX: self.max}
        if self.warn:
            named |= {Bound.WARN_MIN: self.warn.min, Bound.WARN_MAX: self.warn.max}
        threshold = str(limits) or f"warn {self.warn}"
        allowed = f"allowed: {threshold}" + (f"; warn: {self.warn}" if self.warn and str(limits) else "")
        return Verdict(
            outcome, f"{text} ({allowed})", None, value, unit, threshold,
            {bound: limit for bound, limit in named.items() if limit is not None}, evaluated,
        )  # fmt: skip


def ago(moment: datetime, now: datetime) -> str:
    """`2h 5m ago (2026-01-15 09:55 UTC)`, or `in 3m (…)`."""
    apart = format_duration(abs(now - moment))
    return f"{apart + ' ago' if moment <= now else 'in ' + apart} ({moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"
