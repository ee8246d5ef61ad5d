"""`frozen_table`: the content still changes, whatever the writers do."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from exporter.catalog.labels import Bound, Dimension, Outcome, TableFormat
from exporter.checks.base import ConfiguredCheck, Example, ago, rows_in
from exporter.expression import Expression, all_of, col
from exporter.model import Commit, Failure, History, Measure, Measurement, Reason, TableSpec, Value, Verdict
from exporter.units import Duration, format_duration


class FrozenTable(ConfiguredCheck):
    """The number of rows, or with `columns` their extremes, sums and nulls, changes at least every `max_unchanged`.

    A job that writes the same content again and again looks fresh by its commits; here it does not when `columns` are given.
    """

    type: ClassVar[str] = "frozen_table"
    dimension: ClassVar[Dimension] = Dimension.TIMELINESS
    learns: ClassVar[bool] = True
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example({"max_unchanged": "1d", "columns": ["a"]}, {"a": "int"}, ((1,),), Outcome.PASS, 0, before=((2,),))
    bad: ClassVar[Example] = Example({"max_unchanged": "1d", "columns": ["a"]}, {"a": "int"}, ((1,),), Outcome.LEARNING)

    max_unchanged: Duration
    watched: tuple[str, ...] = Field(default=(), alias="columns", description="columns whose content is watched too")

    @property
    def columns(self) -> tuple[str, ...]:
        return self.watched

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        wanted = {"evaluated": rows_in(self.filter)}
        if table.format is TableFormat.DELTA and not self.watched:
            wanted["commit"] = Measurement(Measure.COMMIT)
        for name in self.watched:
            wanted[f"sum {name}"] = Measurement(Measure.SUM, (name,), self.filter)
            wanted[f"min {name}"] = Measurement(Measure.MIN, (name,), self.filter)
            wanted[f"max {name}"] = Measurement(Measure.MAX, (name,), self.filter)
            wanted[f"nulls {name}"] = Measurement(Measure.COUNT_WHERE, where=all_of(self.filter, Expression(f"{col(name)} IS NULL")))
        return wanted

    def judge(self, seen: Mapping[str, Value | Failure], past: History, now: datetime) -> Verdict:
        # A date has no sum; its extremes and nulls are enough.
        usable = {name: value for name, value in seen.items() if not (name.startswith("sum ") and isinstance(value, Failure) and value.reason is Reason.TYPE)}
        return super().judge(usable, past, now)

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        commit = seen.get("commit")
        content = {name: _print(value) for name, value in seen.items()}
        memory, threshold = past.memory or {}, f"max {format_duration(self.max_unchanged)}"
        since = now
        if memory.get("content") == content:
            since = datetime.fromisoformat(memory["since"])
        elif not memory and isinstance(commit, Commit):
            since = min(now, commit.at)
        kept = {"content": content, "since": since.isoformat()}
        unchanged = now - since
        bounds = {Bound.MAX: self.max_unchanged.total_seconds()}
        if not memory and not isinstance(commit, Commit):
            return Verdict(Outcome.LEARNING, "first look at the content; later ones are compared with it", Reason.HISTORY, threshold=threshold, memory=kept)
        outcome = Outcome.FAIL if unchanged > self.max_unchanged else Outcome.PASS
        what = f"rows, {', '.join(self.watched)}" if self.watched else "rows"
        text = f"content ({what}) last changed {ago(since, now)} (allowed: {format_duration(self.max_unchanged)})"
        return Verdict(outcome, text, None, unchanged.total_seconds(), "seconds", threshold, bounds, memory=kept if kept != memory else None)


def _print(value: Value) -> str:
    """A value as text to compare; a sum of floats differs in its last digits from run to run."""
    if isinstance(value, float):
        return f"{value:.9g}"
    return str(value.version if isinstance(value, Commit) else value)
