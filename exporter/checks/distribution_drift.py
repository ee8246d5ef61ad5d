"""`distribution_drift`: the values of a column are distributed as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Learning, Outcome
from exporter.catalog.metrics import CHECK_LEARNING_STATE
from exporter.checks.base import ConfiguredCheck, Example, Gauges, Strict, columns_shorthand, integer, rows_in
from exporter.expression import Canonical, Expression, all_of, any_of, col, literal
from exporter.learned import drift
from exporter.model import Column, Counts, History, Json, Measure, Measurement, Reason, TableSpec, Value, Verdict
from exporter.units import Zone

Method = Literal["psi", "ks", "chi2", "js", "wasserstein"]
_THRESHOLD: dict[str, float] = {"psi": 0.2, "ks": 0.1, "chi2": 0.001, "js": 0.1, "wasserstein": 0.1}
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "decimal", "float", "double")
_WEEKS = 4
_NULLS, _OTHER = "nulls", "others"


class _Threshold(Strict):
    threshold: float = Field(gt=0)


class DistributionDrift(ConfiguredCheck):
    """Compares counts of the column's values, in bins fixed at the first look, with a baseline; nulls are a bin of their own.

    Numbers are binned by their own quantiles, other values by the `categories` most frequent, the rest being one bin, so that
    new values show. `baseline: fixed` is the second look, `rolling` the same weekday of the last four weeks. Fails above
    `threshold`: psi 0.2, ks 0.1, js 0.1, wasserstein 0.1 of the range; chi2 fails when the p-value is below 0.001.
    """

    type: ClassVar[str] = "distribution_drift"
    dimension: ClassVar[Dimension] = Dimension.CONSISTENCY
    learns: ClassVar[bool] = True
    good: ClassVar[Example] = Example(
        {"column": "status", "min_rows": 4}, {"status": "string"}, (("a",), ("a",), ("b",), ("b",)), Outcome.PASS, before=(("a",), ("a",), ("b",), ("b",))
    )
    bad: ClassVar[Example] = Example(
        {"column": "status", "min_rows": 4}, {"status": "string"}, (("c",), ("c",), ("c",), ("b",)), Outcome.FAIL, before=(("a",), ("a",), ("b",), ("b",))
    )

    column: str = Field(min_length=1)
    method: Method = "psi"
    threshold: float | None = Field(default=None, gt=0)
    warn: _Threshold | None = None
    baseline: Literal["fixed", "rolling"] = "fixed"
    bins: int = Field(default=10, ge=2, le=100)
    categories: int = Field(default=20, ge=1, le=100)
    min_rows: int = Field(default=500, ge=1)
    timezone: Zone | None = None

    @classmethod
    def shorthand(cls, body: Any) -> list[dict[str, Any]]:
        return [{"column": name} for name in columns_shorthand(cls.type, body)[0]["columns"]]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def limit(self) -> float:
        """The distance that fails (for chi2 the p-value below which it does)."""
        return self.threshold if self.threshold is not None else _THRESHOLD[self.method]

    @model_validator(mode="after")
    def _warn_is_milder(self) -> Self:
        if self.warn and (self.warn.threshold > self.limit) != (self.method == "chi2"):
            raise ValueError(f"warn.threshold ({self.warn.threshold:g}) must be milder than threshold ({self.limit:g}), or it never warns")
        return self

    # --- measuring --------------------------------------------------------------------------------------------------
    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        wanted = {"evaluated": rows_in(self.filter), "schema": Measurement(Measure.SCHEMA)}
        for name, condition in self._conditions(past.memory or {}).items():
            wanted[f"bin {name}"] = Measurement(Measure.COUNT_WHERE, where=all_of(self.filter, condition))
        return wanted

    def follow_up(self, seen: Mapping[str, Value], past: History, now: datetime) -> Mapping[str, Measurement]:
        if past.memory or integer(seen["evaluated"]) < self.min_rows:
            return {}
        if self._is_number(seen):
            shares = tuple(place / self.bins for place in range(1, self.bins))
            return {"edges": Measurement(Measure.QUANTILES, (self.column,), self.filter, quantiles=shares)}
        return {"values": Measurement(Measure.VALUES, (self.column,), self.filter, limit=self.categories)}

    def _is_number(self, seen: Mapping[str, Value]) -> bool:
        schema = seen["schema"]
        assert isinstance(schema, tuple)
        types = {column.name.lower(): column.type.split("(", 1)[0] for column in schema if isinstance(column, Column)}
        return types.get(self.column.lower()) in _NUMBERS

    def _conditions(self, memory: Json) -> dict[str, Expression]:
        """The bins by name: a condition each, of which one holds for every row (NaN and infinities are nulls here)."""
        column = col(self.column)
        if edges := memory.get("edges"):
            usable = f"{column} IS NOT NULL AND NOT {Canonical.NOT_FINITE}({column})"
            found = {_NULLS: Expression(f"NOT ({usable})")}
            for place, (low, high) in enumerate(zip([None, *edges], [*edges, None], strict=True)):
                within = [f"{column} > {literal(self.column, low)}"] if low is not None else []
                within += [f"{column} <= {literal(self.column, high)}"] if high is not None else []
                found[str(place)] = Expression(" AND ".join([usable, *within]))
            return found
        if "categories" not in memory:
            return {}
        known = {f"={value}": Expression(f"{column} = {literal(self.column, value)}") for value in memory["categories"]}
        others = f"{column} IS NOT NULL" + (f" AND NOT ({any_of(one.sql for one in known.values())})" if known else "")
        return {_NULLS: Expression(f"{column} IS NULL"), **known, _OTHER: Expression(others)}

    # --- judging ----------------------------------------------------------------------------------------------------
    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        rows, memory = integer(seen["evaluated"]), past.memory or {}
        if rows < self.min_rows:
            text = f"{rows:,} rows are too few to compare distributions (min_rows: {self.min_rows:,})"
            return Verdict(Outcome.LEARNING, text, Reason.HISTORY, evaluated_rows=rows)
        if not memory:
            return self._first_look(seen, rows, now)
        counts = {name.removeprefix("bin "): integer(value) for name, value in seen.items() if name.startswith("bin ")}
        order = list(counts)
        before, against = self._baseline(memory, now)
        days = memory.get("days", {})
        today = self._day(now)
        if before is None:
            fresh = {**memory, "baseline": memory.get("baseline") or counts, "days": {**days, today: counts}}
            return self._learning(f"{rows:,} rows are the baseline now", rows, fresh)
        old, new = [before.get(name, 0) for name in order], [counts[name] for name in order]
        value = self._distance(old, new, memory.get("edges"))
        failed = value < self.limit if self.method == "chi2" else value > self.limit
        warned = self.warn is not None and (value < self.warn.threshold if self.method == "chi2" else value > self.warn.threshold)
        outcome = Outcome.FAIL if failed else Outcome.WARN if warned else Outcome.PASS
        bound = (Bound.MIN, Bound.WARN_MIN) if self.method == "chi2" else (Bound.MAX, Bound.WARN_MAX)
        bounds = {bound[0]: self.limit} | ({bound[1]: self.warn.threshold} if self.warn else {})
        word = "p-value" if self.method == "chi2" else "distance"
        text = f"{self.method} {word} of {self.column} from {against} is {value:.4g} (allowed: {'at least' if self.method == 'chi2' else 'at most'} {self.limit:g})"
        text += self._moved(order, old, new, memory.get("edges"))
        kept: Json | None = None
        if self.baseline == "rolling" and not failed:
            newest = dict(sorted({**days, today: counts}.items())[-7 * _WEEKS - 7 :])
            kept = {**memory, "days": newest} if newest != days else None
        gauges: Gauges = {(CHECK_LEARNING_STATE, (self.id, Learning.ACTIVE.value)): 1}
        return Verdict(outcome, text, None, value, "", f"{'min' if self.method == 'chi2' else 'max'} {self.limit:g}", bounds, rows, gauges=gauges, memory=kept)

    def _first_look(self, seen: Mapping[str, Value], rows: int, now: datetime) -> Verdict:
        if isinstance(values := seen.get("values"), Counts):
            known = sum(values.rows.values())
            counts = {f"={value}": count for value, count in values.rows.items()}
            counts |= {_NULLS: 0, _OTHER: 0}
            if known < rows:  # nulls and rare values are not told apart until the next look
                return self._learning(f"the {len(values.rows)} most frequent values are the bins now", rows, {"categories": list(values.rows)})
            kept: Json = {"categories": list(values.rows), "baseline": counts, "days": {self._day(now): counts}}
            return self._learning(f"{rows:,} rows with {len(values.rows)} values are the baseline now", rows, kept)
        edges = seen.get("edges")
        assert isinstance(edges, tuple)
        distinct = sorted({float(edge) for edge in edges if isinstance(edge, float | int)})
        if not distinct:
            return Verdict(Outcome.SKIPPED, f"no row has a usable value in {self.column}", Reason.NO_VALUES, evaluated_rows=rows)
        return self._learning(f"{len(distinct) + 1} bins are fixed now; the next look is the baseline", rows, {"edges": distinct})

    def _learning(self, text: str, rows: int, memory: Json) -> Verdict:
        gauges: Gauges = {(CHECK_LEARNING_STATE, (self.id, Learning.LEARNING.value)): 1}
        return Verdict(Outcome.LEARNING, text, Reason.HISTORY, evaluated_rows=rows, gauges=gauges, memory=memory)

    def _day(self, now: datetime) -> str:
        return now.astimezone(self.timezone).date().isoformat()

    def _baseline(self, memory: Json, now: datetime) -> tuple[Mapping[str, int] | None, str]:
        """The counts to compare with, None while there are none, and their name."""
        if self.baseline == "fixed":
            return memory.get("baseline"), "the baseline"
        today = date.fromisoformat(self._day(now))
        alike = [counts for day, counts in memory.get("days", {}).items() if _weeks_before(day, today)]
        if len(alike) >= 2:
            return {name: sum(counts.get(name, 0) for counts in alike) for name in alike[-1]}, f"the {len(alike)} same weekdays before"
        return None, ""

    def _distance(self, old: Sequence[float], new: Sequence[float], edges: Sequence[float] | None) -> float:
        match self.method:
            case "psi":
                return drift.psi(old, new)
            case "js":
                return drift.jensen_shannon(old, new)
            case "ks":
                return drift.kolmogorov_smirnov(old, new)
            case "chi2":
                return drift.chi_square_p(old, new)
        return drift.wasserstein(old[1:], new[1:], edges) if edges else drift.kolmogorov_smirnov(old, new)

    def _moved(self, order: Sequence[str], old: Sequence[float], new: Sequence[float], edges: Sequence[float] | None) -> str:
        """The bin whose share changed most; without a value of the data, only its bounds or its place."""
        before, after = max(1.0, sum(old)), max(1.0, sum(new))
        place = max(range(len(order)), key=lambda i: (round(abs(new[i] / after - old[i] / before), 9), new[i]))
        name = order[place]
        if f"{old[place] / before:.1%}" == f"{new[place] / after:.1%}":
            return ""
        if name in (_NULLS, _OTHER):
            what = "nulls" if name == _NULLS else "values that are new or were rare"
        elif edges:
            what = f"values in bin {int(name) + 1} of {len(edges) + 1}"
        else:
            what = f"the value that was number {place} in frequency"
        return f"; most changed: {what}, from {old[place] / before:.1%} to {new[place] / after:.1%}"


def _weeks_before(day: str, today: date) -> bool:
    apart = today - date.fromisoformat(day)
    return timedelta(0) < apart <= timedelta(weeks=_WEEKS) and apart.days % 7 == 0

