"""`freshness_cadence`: new data comes when the table's own past lets expect it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Learning, Outcome
from exporter.catalog.metrics import CHECK_LEARNING_STATE, FRESHNESS, FRESHNESS_DEADLINE
from exporter.checks.base import ConfiguredCheck, Dates, Example, Gauges, ago
from exporter.checks.freshness import past_and_future
from exporter.expression import all_of
from exporter.learned import cadence
from exporter.learned.calendar import Calendar
from exporter.model import CommitInfo, History, Measure, Measurement, Reason, TableSpec, Value, Verdict
from exporter.timetable import check_country
from exporter.units import Zone, format_duration

_HORIZON = timedelta(days=90)
_OVERLAP = timedelta(days=2)
_COMMITS = 2000
_CLOCK_TOLERANCE = timedelta(minutes=5)


class FreshnessCadence(ConfiguredCheck):
    """The next update is due when earlier ones came: at a time of day on certain weekdays, within office hours, or after a gap.

    An update is a commit that brought data, or with `column` the moment at which its greatest value (none in the future) was seen to advance.
    `holidays` (a country) and `exclude` (days, or `first..last`) are days on which none is due.
    """

    type: ClassVar[str] = "freshness_cadence"
    dimension: ClassVar[Dimension] = Dimension.TIMELINESS
    learns: ClassVar[bool] = True
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example({}, {"a": "int"}, ((1,),), Outcome.LEARNING)
    bad: ClassVar[Example] = Example({"column": "ts"}, {"ts": "timestamp"}, (("2026-01-15T10:00:00Z",),), Outcome.LEARNING)

    column: str | None = Field(default=None, min_length=1, description="default: commits; give a column for formats without them")
    holidays: Annotated[str, AfterValidator(check_country)] | None = None
    exclude: Dates = frozenset[date]()
    timezone: Zone | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.column else ()

    @model_validator(mode="after")
    def _commits_have_no_filter(self) -> Self:
        if self.filter is not None and self.column is None:
            raise ValueError("a filter is about rows: give a column too, or leave it out")
        return self

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        if self.column is not None:
            zone = (self.timezone or table.timezone).key
            begun, _ = past_and_future(self.column, zone, now + _CLOCK_TOLERANCE)
            return {"latest": Measurement(Measure.MAX, (self.column,), all_of(self.filter, begun), timezone=zone)}
        known = _times(past)
        since = max(known[-1] - _OVERLAP, now - _HORIZON) if known else now - _HORIZON
        return {"commits": Measurement(Measure.COMMITS, since=since, limit=_COMMITS)}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        known = _times(past)
        memory = past.memory or {}
        if self.column is None:
            updates, latest = sorted({*known, *self.updates(seen, now)})[-cadence.KEPT :], None
        else:
            newest = seen["latest"]
            latest = newest.isoformat(timespec="microseconds") if isinstance(newest, datetime) else None
            moved = latest is not None and memory.get("latest") is not None and latest > memory["latest"]
            updates = [*known, now][-cadence.KEPT :] if moved else known
        kept = {"updates": [at.isoformat() for at in updates], "latest": latest if latest is not None else memory.get("latest")}
        return self._judge(updates, now, kept if kept != memory else None)

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin."""
        return self.timezone or ZoneInfo("UTC")

    def calendar(self) -> Calendar:
        """The days on which no update is due."""
        return Calendar(country=self.holidays, closed=self.exclude)

    def updates(self, seen: Mapping[str, Value], now: datetime) -> list[datetime]:
        """The times of the commits that brought data; none for a column, whose past nobody saw."""
        commits = seen.get("commits")
        if not isinstance(commits, tuple):
            return []
        return sorted({one.at for one in commits if isinstance(one, CommitInfo) and one.data and one.added != 0 and one.at <= now})

    def _judge(self, updates: Sequence[datetime], now: datetime, memory: dict[str, object] | None) -> Verdict:
        zone, found = self.zone, cadence.due(updates, self.zone, self.calendar())
        gauges: Gauges = {(CHECK_LEARNING_STATE, (self.id, found.state.value)): 1}
        if updates:
            gauges[FRESHNESS, ()] = updates[-1].timestamp()
        if found.by is None or found.usually is None:
            text = f"{len(updates)} updates are known, which is too little to say when the next is due"
            return Verdict(Outcome.LEARNING, text, Reason.HISTORY, gauges=gauges, memory=memory)
        gauges[FRESHNESS_DEADLINE, ()] = found.by.timestamp()
        late = found.state is Learning.ACTIVE and now > found.by
        outcome = Outcome.PASS if now <= found.by else Outcome.FAIL if late else Outcome.WARN
        allowed = found.by - updates[-1]
        when = f"{_local(found.by, zone)} ({zone.key}; usually {_local(found.usually, zone)}, learned from {found.model})"
        text = f"the next update is due by {when}" if now <= found.by else f"an update was due by {when} and is {format_duration(now - found.by)} late"
        if found.state is Learning.TENTATIVE:
            text += "; tentative: at most a warning"
        age = (now - updates[-1]).total_seconds()
        bounds = {Bound.MAX: allowed.total_seconds(), Bound.EXPECTED: (found.usually - updates[-1]).total_seconds()}
        text += f"; last update {ago(updates[-1], now)}"
        return Verdict(outcome, text, None, age, "seconds", f"by {_local(found.by, zone)} {zone.key}", bounds, gauges=gauges, memory=memory)


def _times(past: History) -> list[datetime]:
    return [datetime.fromisoformat(text).astimezone(UTC) for text in (past.memory or {}).get("updates", ())]


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M}"
