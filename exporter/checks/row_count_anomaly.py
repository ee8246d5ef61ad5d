"""`row_count_anomaly`: each closed bucket of time has about as many rows as the table's own past lets expect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Learning, Outcome, TableFormat
from exporter.catalog.metrics import (
    CHECK_LEARNING_STATE,
    ROWS_ANOMALY_SCORE,
    ROWS_EXPECTED,
    ROWS_EXPECTED_MAX,
    ROWS_EXPECTED_MIN,
)
from exporter.checks.base import ConfiguredCheck, Dates, Example, Gauges, integer, rows_in
from exporter.learned.arrivals import Arrivals
from exporter.learned.buckets import Series, by_bucket, closed_before, end_of
from exporter.learned.calendar import Calendar, Grain
from exporter.learned.judged import Judged, Sensitivity
from exporter.model import (
    SEPARATOR,
    CommitInfo,
    Counts,
    History,
    Json,
    Measure,
    Measurement,
    Reason,
    TableSpec,
    Value,
    Verdict,
)
from exporter.timetable import check_country, read_time
from exporter.units import Duration, Zone, format_duration

_HORIZON = {Grain.HOUR: timedelta(days=62), Grain.DAY: timedelta(days=400), Grain.WEEK: timedelta(weeks=160), Grain.MONTH: timedelta(days=3660)}
_REVISITED = {Grain.HOUR: timedelta(days=3), Grain.DAY: timedelta(days=14), Grain.WEEK: timedelta(weeks=4), Grain.MONTH: timedelta(days=62)}
"""How far back a bucket is counted again, so that late data and repairs are seen."""
_EVENT_LATENESS = timedelta(hours=2)
_OTHERS = "(others)"
_COMMITS = 300
"""Commits that are looked at to learn how late partitions are written."""


def _series(rows: list[int], first: str = "2025-12-01") -> tuple[tuple[Any, ...], ...]:
    start = date.fromisoformat(first)
    return tuple((i, (start + timedelta(days=day)).isoformat()) for day, count in enumerate(rows) for i in range(count))


class RowCountAnomaly(ConfiguredCheck):
    """Rows per `grain` of `column` are compared with what the table's past lets expect; an anomaly fails once enough is known.

    Without a column (nor a `time_column` of the table) what each bucket's commits added is counted, or for formats without
    commits how much the table grew from one look to the next. Buckets are judged when
    they are over and `lateness` has passed, by default as late as data was seen to come. `holidays` (a country) and
    `exclude` (days, or `first..last`) are neither judged nor learned from. `direction: drop` reports too few rows only.
    `by` also judges the `top` most frequent values of a column, each by its own past and all others as one, in one verdict.
    """

    type: ClassVar[str] = "row_count_anomaly"
    dimension: ClassVar[Dimension] = Dimension.COMPLETENESS
    learns: ClassVar[bool] = True
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example({"column": "day"}, {"id": "int", "day": "date"}, _series([20, 21, 19, 22, 20, 18, 21] * 6 + [20, 21, 19]), Outcome.PASS, 19)
    bad: ClassVar[Example] = Example({"column": "day"}, {"id": "int", "day": "date"}, _series([20, 21, 19, 22, 20, 18, 21] * 6 + [20, 21, 2]), Outcome.FAIL, 2)

    column: str | None = Field(default=None, min_length=1, description="default: the table's time_column, else commits are counted")
    grain: Grain = Grain.DAY
    sensitivity: Sensitivity = Sensitivity.MEDIUM
    direction: Literal["both", "drop", "rise"] = "both"
    holidays: Annotated[str, AfterValidator(check_country)] | None = None
    exclude: Dates = frozenset[date]()
    lateness: Duration | None = None
    timezone: Zone | None = None
    by: str | None = Field(default=None, min_length=1, description="a column whose most frequent values are judged one by one")
    top: int = Field(default=10, ge=1, le=50)

    @model_validator(mode="after")
    def _segments_need_a_time(self) -> Self:
        if self.by and not self.column:
            raise ValueError("`by` needs a column of time or day: commits cannot be split by the values of a column")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.column else ()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which buckets begin and end."""
        return self.timezone or ZoneInfo("UTC")

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        column, memory = self.column or table.time_column, past.memory or {}
        known = memory.get("series", {}).get("first")
        since = self._start(now, (_REVISITED if known else _HORIZON)[self.grain]).replace(tzinfo=self.zone).astimezone(UTC)
        if column is None and table.format in (TableFormat.DELTA, TableFormat.TABLE):
            return {"commits": Measurement(Measure.COMMITS, since=since)}
        if column is None:
            return {"total": rows_in(self.filter)}
        rows = self._counted(column, since)
        wanted = {"rows": rows}
        if self.by and memory.get("segments"):
            wanted["by"] = replace(rows, columns=(column, self.by), among=tuple(memory["segments"]))
        elif self.by:
            wanted["values"] = Measurement(Measure.VALUES, (self.by,), self.filter, limit=self.top)
        if self.lateness is None and table.format is TableFormat.DELTA and not known:
            wanted["commits"] = Measurement(Measure.COMMITS, since=now - timedelta(days=60), limit=_COMMITS)
        return wanted

    def follow_up(self, seen: Mapping[str, Value], past: History, now: datetime) -> Mapping[str, Measurement]:
        values = seen.get("values")
        if not isinstance(values, Counts) or not values.rows or self.by is None or self.column is None:
            return {}
        since = self._start(now, _HORIZON[self.grain]).replace(tzinfo=self.zone).astimezone(UTC)
        return {"by": replace(self._counted(self.column, since), columns=(self.column, self.by), among=tuple(values.rows))}

    def _counted(self, column: str, since: datetime) -> Measurement:
        slot = 900 if self.zone.key != "UTC" else 3600
        return Measurement(Measure.BUCKETS, (column,), self.filter, timezone=self.zone.key, since=since, slot=slot)

    def _start(self, now: datetime, back: timedelta) -> datetime:
        return self.grain.start((now - back).astimezone(self.zone).replace(tzinfo=None))

    # --- judging ----------------------------------------------------------------------------------------------------
    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        memory = past.memory or {}
        series = self._known(memory)
        arrivals = Arrivals.load(memory.get("arrivals"))
        counts = arrivals.saw_total(integer(seen["total"]), now, self.grain, self.zone) if "total" in seen else self._counts(seen)
        if counts is None:
            return Verdict(Outcome.ERROR, f"{self.column} has no dates or times: no value of it can be read as one", Reason.TYPE)
        if unknown := self._uncounted(seen):
            counts = {start: rows for start, rows in counts.items() if start > self._bucket_of(unknown)}
            if memory or not counts:
                text = f"the log does not say how many rows version {unknown.version} ({unknown.operation}) brought; give a column of time or day"
                return Verdict(Outcome.ERROR, text, Reason.UNSUPPORTED)
        if not memory and self.column and isinstance(commits := seen.get("commits"), tuple):
            arrivals.learn_from_commits([one for one in commits if isinstance(one, CommitInfo)], self.column, self.grain, self.zone)
        arrivals.saw(counts, now, self.grain, self.zone)
        lateness = next(one for one in (self.lateness, arrivals.lateness(), self._default_lateness(seen)) if one is not None)
        end = closed_before(now, self.grain, self.zone, lateness)
        closed = {start: rows for start, rows in counts.items() if start < end}
        revisited = self._start(now, _REVISITED[self.grain])
        changed = series.update(closed, end, revisited, past.feedback)
        result = self._result(series, arrivals, counts, now, lateness)
        parts: dict[str, Series] = {}
        if isinstance(by := seen.get("by"), Counts):
            parts = self._parts(memory, by, closed, end, revisited)
            result = self._with_parts(result, parts)
        if not changed and arrivals.dump() == memory.get("arrivals"):
            return result
        kept: Json = {"grain": self.grain.value, "series": series.dump() if changed or not memory else memory["series"], "arrivals": arrivals.dump()}
        if parts:
            kept |= {"segments": [name for name in parts if name != _OTHERS], "parts": {name: part.dump() for name, part in parts.items()}}
        return replace(result, memory=kept)

    # --- segments ---------------------------------------------------------------------------------------------------
    def _parts(self, memory: Json, by: Counts, closed: Mapping[datetime, int], end: datetime, revisited: datetime) -> dict[str, Series]:
        """A series for each segment, brought up to date; the last one is of all other values together."""
        found: dict[str, dict[str, int]] = {name: {} for name in memory.get("segments", ())}
        for text, rows in by.rows.items():
            moment, _, name = text.partition(SEPARATOR)
            found.setdefault(name, {})[moment] = rows
        counts = {name: {start: rows for start, rows in by_bucket(texts, self.grain, self.zone).items() if start < end} for name, texts in sorted(found.items())}
        begin = min((start for one in counts.values() for start in one), default=end)
        counts[_OTHERS] = {start: max(0, rows - sum(one.get(start, 0) for one in counts.values())) for start, rows in closed.items() if start >= begin}
        parts = {}
        for name, mine in counts.items():
            part = Series(self._calendar(), self.sensitivity, self.zone, wider=1 + 0.1 * math.log2(len(counts)))
            if kept := memory.get("parts", {}).get(name):
                part.load(kept)
            part.update(mine, end, revisited, {})
            parts[name] = part
        return parts

    def _with_parts(self, whole: Verdict, parts: Mapping[str, Series]) -> Verdict:
        """One verdict on the whole and its segments: the worse of both."""
        told, outcome = [], whole.outcome
        for name, part in parts.items():
            last = part.shown[-1] if part.shown else None
            if last is None or not last.anomaly or last.expected is None or not self._reports(last):
                continue
            told.append(f"{self.by} {name}: {last.rows:,} rows where {last.expected:,.0f} were expected")
            if _LOUDNESS.index(_OUTCOMES[last.state]) > _LOUDNESS.index(outcome):
                outcome = _OUTCOMES[last.state]
        if not told:
            return whole
        more = f" and {len(told) - 3} more" if len(told) > 3 else ""
        reason = None if outcome.is_verdict else whole.reason
        text = f"{whole.message}; {len(told)} of {len(parts)} segments are anomalies: {'; '.join(told[:3])}{more}"
        return replace(whole, outcome=outcome, reason=reason, message=text)

    def _reports(self, one: Judged) -> bool:
        """True when an anomaly lies on a side that is asked for."""
        return not (self.direction == "drop" and (one.score or 0) > 0) and not (self.direction == "rise" and (one.score or 0) < 0)

    def replay(self, seen: Mapping[str, Value], now: datetime) -> list[Judged]:
        """The verdict on every closed bucket of a first look, each by what came before it."""
        counts = {} if "total" in seen else self._counts(seen) or {}
        if unknown := self._uncounted(seen):
            counts = {start: rows for start, rows in counts.items() if start > self._bucket_of(unknown)}
        lateness = self.lateness if self.lateness is not None else self._default_lateness(seen)
        end = closed_before(now, self.grain, self.zone, lateness)
        series = Series(self._calendar(), self.sensitivity, self.zone)
        return series.judge({start: rows for start, rows in counts.items() if start < end}, end)

    def bucket(self, text: str) -> str:
        """A bucket as it is shown. Raises ValueError."""
        moment = read_time(text, self.zone)
        if moment is None or self.grain.text(self.grain.start(moment)) != self.grain.text(moment):
            raise ValueError(f"{text!r} is no {self.grain}: write it as it is shown, such as {self.grain.text(datetime(2026, 1, 14, 7))}")  # noqa: DTZ001
        return self.grain.text(self.grain.start(moment))

    def _bucket_of(self, one: CommitInfo) -> datetime:
        return self.grain.start(one.at.astimezone(self.zone).replace(tzinfo=None))

    def _uncounted(self, seen: Mapping[str, Value]) -> CommitInfo | None:
        """The last commit whose rows would have to be counted and are not known, where commits are counted at all."""
        commits = seen.get("commits") if "rows" not in seen else None
        found = [one for one in commits if isinstance(one, CommitInfo)] if isinstance(commits, tuple) else []
        return next((one for one in reversed(found) if one.data and (one.added is None or one.removed is None)), None)

    def _counts(self, seen: Mapping[str, Value]) -> dict[datetime, int] | None:
        rows = seen.get("rows")
        if isinstance(rows, Counts):
            counts = by_bucket(rows.rows, self.grain, self.zone)
            return counts if counts or not rows.rows else None
        commits = seen["commits"]
        assert isinstance(commits, tuple)
        net: dict[datetime, int] = {}
        for one in commits:
            if isinstance(one, CommitInfo) and one.data and one.added is not None:
                start = self._bucket_of(one)
                net[start] = net.get(start, 0) + one.added - (one.removed or 0)
        return {start: max(0, rows) for start, rows in net.items()}

    def _default_lateness(self, seen: Mapping[str, Value]) -> timedelta:
        """None for partitions and commits, which are there when they are; two hours for the times of events."""
        rows = seen.get("rows")
        of_events = isinstance(rows, Counts) and any("T" in text for text in rows.rows)
        return _EVENT_LATENESS if of_events else timedelta(0)

    def _calendar(self) -> Calendar:
        return Calendar(self.grain, self.holidays, self.exclude)

    def _known(self, memory: Json) -> Series:
        series = Series(self._calendar(), self.sensitivity, self.zone)
        return series.load(memory["series"]) if memory else series

    def _result(self, series: Series, arrivals: Arrivals, counts: Mapping[datetime, int], now: datetime, lateness: timedelta) -> Verdict:
        last = next((one for one in reversed(series.shown) if one.state is not Learning.NEUTRAL or one.event), None)
        if last is None:
            return Verdict(Outcome.LEARNING, f"no {self.grain} is over yet; {self._waits(counts, now, lateness)}", Reason.HISTORY)
        verdict = self._of(last, series)
        hopeless = arrivals.hopeless(counts, now, self.zone) if self.grain is Grain.DAY and last.state in (Learning.ACTIVE, Learning.UNSTABLE) else None
        if hopeless and verdict.outcome is Outcome.PASS:
            return replace(verdict, outcome=Outcome.WARN, message=f"{hopeless}; {verdict.message}")
        return verdict

    def _of(self, last: Judged, series: Series) -> Verdict:
        """The verdict that the last judged bucket stands for."""
        name, shown = self.grain.text(last.start), f"{last.rows:,} rows in {self.grain.text(last.start)}"
        gauges: Gauges = {(CHECK_LEARNING_STATE, (self.id, last.state.value)): 1}
        if last.state is Learning.STOPPED or (last.rows == 0 and last.event == "stopped"):
            since = next((bucket for bucket, event in reversed(series.events) if event == "stopped"), name)
            return Verdict(Outcome.FAIL, f"no rows any more (given up on {since}); the next rows end this", value=0, unit="rows", threshold="rows", gauges=gauges)
        if last.event == "resumed":
            return Verdict(Outcome.PASS, f"rows are back: {shown}, which is not judged", None, last.rows, "rows", evaluated_rows=last.rows, gauges=gauges)
        if last.state is Learning.QUIET:
            return Verdict(Outcome.SKIPPED, f"no data is due on {name}" + (f", but {shown}" if last.rows else ""), Reason.NOT_DUE, gauges=gauges)
        if last.expected is None or last.lower is None or last.upper is None or last.score is None:
            return Verdict(Outcome.LEARNING, f"{shown}; {len(series.rows)} {self.grain}s are known, which is too little", Reason.HISTORY, gauges=gauges)
        for metric, value in ((ROWS_EXPECTED, last.expected), (ROWS_EXPECTED_MIN, last.lower), (ROWS_EXPECTED_MAX, last.upper), (ROWS_ANOMALY_SCORE, last.score)):
            gauges[metric, (self.id,)] = value
        reported = last.anomaly and self._reports(last)
        outcome = _OUTCOMES[last.state] if reported else Outcome.LEARNING if last.state is Learning.LEARNING else Outcome.PASS
        band = f"expected {last.expected:,.0f}, between {last.lower:,.0f} and {last.upper:,.0f}"
        text = f"{shown}: {last.note if reported else 'as expected'} ({band}; {_STATES[last.state]})"
        bounds = {Bound.MIN: math.ceil(last.lower), Bound.MAX: math.floor(last.upper), Bound.EXPECTED: round(last.expected, 1)}
        reason = Reason.HISTORY if outcome is Outcome.LEARNING else None
        return Verdict(outcome, text, reason, last.rows, "rows", f"{last.lower:,.0f} to {last.upper:,.0f}", bounds, last.rows, gauges=gauges)

    def _waits(self, counts: Mapping[datetime, int], now: datetime, lateness: timedelta) -> str:
        if not counts:
            return "there are no rows with a time"
        return f"the first is judged {format_duration(end_of(max(counts), self.grain, self.zone) + lateness - now)} from now"


_OUTCOMES = {Learning.LEARNING: Outcome.WARN, Learning.TENTATIVE: Outcome.WARN, Learning.UNSTABLE: Outcome.WARN, Learning.ACTIVE: Outcome.FAIL}
_LOUDNESS = (Outcome.ERROR, Outcome.SKIPPED, Outcome.LEARNING, Outcome.PASS, Outcome.WARN, Outcome.FAIL)
_STATES = {
    Learning.LEARNING: "still learning", Learning.TENTATIVE: "tentative: at most a warning", Learning.ACTIVE: "active",
    Learning.UNSTABLE: "unstable: too many anomalies to trust, at most a warning",
}  # fmt: skip
