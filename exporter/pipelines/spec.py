"""Pipelines, assets and sources as configured, after defaults and secrets are resolved; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from exporter.catalog.labels import Severity, SourceType
from exporter.timetable import is_holiday

if TYPE_CHECKING:
    from exporter.pipelines.base import SourceModel

_LOOK = 400
"""Days looked at for the next or the last deadline; a calendar without one in a year has none."""


@dataclass(frozen=True, slots=True)
class Sla:
    """A run must have succeeded by a local time of day, on some weekdays (Monday 0), not on holidays.

    Runs count for a deadline when they start at most `window` before it.
    """

    by: time
    days: frozenset[int] = frozenset(range(7))
    timezone: ZoneInfo = ZoneInfo("UTC")
    holidays: str | None = None
    exclude: frozenset[date] = frozenset()
    window: timedelta = timedelta(hours=12)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first deadline strictly after `moment`, in UTC; None when there is none within a year."""
        return self._search(moment, 1)

    def last_until(self, moment: datetime) -> datetime | None:
        """The last deadline at or before `moment`, in UTC; None when there was none within a year."""
        return self._search(moment, -1)

    def _search(self, moment: datetime, step: int) -> datetime | None:
        day = moment.astimezone(self.timezone).date()
        for offset in range(_LOOK):
            deadline = self._on(day + timedelta(days=step * offset))
            if deadline is not None and (deadline > moment if step > 0 else deadline <= moment):
                return deadline
        return None

    def _on(self, day: date) -> datetime | None:
        if day.weekday() not in self.days or day in self.exclude or (self.holidays and is_holiday(day, self.holidays)):
            return None
        return datetime.combine(day, self.by, self.timezone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an hour of running costs, and what a calendar day (in `timezone`) may cost, in US dollars."""

    usd_per_hour: float | None = None
    budget_usd_per_day: float | None = None
    timezone: ZoneInfo = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """A pipeline to watch: `job` is its id at the source. With `match` it stands for every job that the pattern matches."""

    name: str
    source: str
    source_type: SourceType
    job: str = ""
    match: str | None = None
    limit: int = 200
    owner: str = ""
    team: str = ""
    severity: Severity = Severity.HIGH
    runbook: str = ""
    suggested_action: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    sla: Sla | None = None
    cost: Cost | None = None
    ci: str = ""

    def is_for(self, job: str) -> bool:
        """True for its own job, or for one that its pattern matches."""
        return fnmatchcase(job, self.match) if self.match is not None else job == self.job

    def of(self, job: str) -> PipelineSpec:
        """The pipeline of one job that the pattern matches."""
        return replace(self, name=self.name.replace("{id}", job), job=job, match=None)


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """Something downstream that is not a table, such as a dashboard."""

    name: str
    kind: str
    owner: str = ""
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceSpec:
    """A source of runs: its settings, and its secrets by the name of their key."""

    name: str
    model: SourceModel
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def type(self) -> SourceType:
        """What kind of system it is."""
        return self.model.kind
