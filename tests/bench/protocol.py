"""The injection protocol: series with planted incidents, and how a method is scored on them."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

from exporter.learned.calendar import Calendar

_DAY = timedelta(days=1)
KINDS = ("zero", "-50 %", "-30 %", "x2", "3 days -40 %")
COUNTRIES = {
    "bike_share_madrid": "ES-MD", "metro_madrid": "ES-MD", "transit_bus_nyc": "US-NY", "births_us": "US", "births_county": "US-CA",
    "shop_invoice_lines": "GB-ENG", "highway_traffic": "US-MN", "metro_station_chicago": "US-IL", "page_views_city": "FR",
    "case_reports_italy": "IT", "ridehail_trips": "US-NY",
}  # fmt: skip
"""Whose holidays shape a development series."""


@dataclass(frozen=True)
class Series:
    """Rows per day without gaps, and the country whose holidays shape them; nobody knows what the `absent` days had."""

    name: str
    first: date
    rows: tuple[int, ...]
    country: str | None = None
    calendar: Calendar = field(default_factory=Calendar)
    absent: frozenset[int] = frozenset()

    def days(self) -> list[datetime]:
        """The days as naive midnights."""
        start = datetime.combine(self.first, time())
        return [start + i * _DAY for i in range(len(self.rows))]


@dataclass(frozen=True)
class Planted:
    """A series with incidents: `labels` maps the index of a day to the kind of its incident."""

    series: Series
    labels: Mapping[int, str]


def read(path: Path, last: int = 1500) -> Series:
    """A development series; days absent at the source have no rows, and are not scored."""
    with path.open() as file:
        found = {date.fromisoformat(row["date"]): int(float(row["rows"])) for row in csv.DictReader(file)}
    first = max(min(found), max(found) - (last - 1) * _DAY)
    rows = tuple(found.get(first + i * _DAY, 0) for i in range((max(found) - first).days + 1))
    country = COUNTRIES.get(path.stem)
    absent = frozenset(i for i in range(len(rows)) if first + i * _DAY not in found)
    return Series(path.stem, first, rows, country, Calendar(country=country), absent)


def plant(series: Series, seed: int, every: int = 23, start: int = 60) -> Planted:
    """Incidents about `every` days from day `start` on, of all kinds in random order, never on a neutral or empty day."""
    rng = random.Random(f"{series.name}/{seed}/{every}")
    rows, labels, days = list(series.rows), dict[int, str](), series.days()
    kinds: list[str] = []
    at = start + rng.randrange(max(1, every // 2))
    while at < len(rows):
        kinds = kinds or rng.sample(KINDS, len(KINDS))
        kind = kinds.pop()
        span = range(at, min(at + (3 if kind == "3 days -40 %" else 1), len(rows)))
        factor = {"zero": 0.0, "-50 %": 0.5, "-30 %": 0.7, "x2": 2.0, "3 days -40 %": 0.6}[kind]
        for day in span:
            if rows[day] > 0 and not series.calendar.mark(days[day]).neutral:
                rows[day], labels[day] = round(rows[day] * factor), kind
        at += rng.randint(every * 2 // 3, every * 4 // 3)
    return Planted(replace(series, rows=tuple(rows)), labels)


Method = Callable[[Series], Sequence[bool]]
"""Flags each day of a series, each by what came before it."""


@dataclass
class Score:
    """What a method flagged, added up over series."""

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    judged_days: int = 0
    found: dict[str, int] = field(default_factory=dict)
    planted: dict[str, int] = field(default_factory=dict)

    def add(self, planted: Planted, flags: Sequence[bool], start: int = 60) -> None:
        """Counts one series; neutral and absent days count for nobody."""
        for day, (when, flagged) in enumerate(zip(planted.series.days(), flags, strict=True)):
            if day < start or day in planted.series.absent or planted.series.calendar.mark(when).neutral:
                continue
            kind = planted.labels.get(day)
            if kind is None:
                self.judged_days += 1
                self.false_alarms += flagged
                continue
            self.planted[kind] = self.planted.get(kind, 0) + 1
            self.found[kind] = self.found.get(kind, 0) + flagged
            self.hits += flagged
            self.misses += not flagged

    def merge(self, other: Score) -> None:
        """Adds another score."""
        self.hits, self.misses = self.hits + other.hits, self.misses + other.misses
        self.false_alarms, self.judged_days = self.false_alarms + other.false_alarms, self.judged_days + other.judged_days
        for mine, theirs in ((self.found, other.found), (self.planted, other.planted)):
            for kind, count in theirs.items():
                mine[kind] = mine.get(kind, 0) + count

    @property
    def precision(self) -> float:
        """Share of the flags that were planted."""
        return self.hits / max(1, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """Share of the planted days that were flagged."""
        return self.hits / max(1, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.hits / max(1, 2 * self.hits + self.false_alarms + self.misses)

    @property
    def per_hundred(self) -> float:
        """False alarms per 100 table-days."""
        return 100 * self.false_alarms / max(1, self.judged_days)

    def by_kind(self) -> dict[str, float]:
        """Recall of each kind of incident."""
        return {kind: self.found.get(kind, 0) / self.planted[kind] for kind in KINDS if self.planted.get(kind)}


def young(series: Series, length: int = 60) -> list[Series]:
    """Cuts of the first days of a table's life."""
    cuts = []
    for at in range(0, len(series.rows) - length + 1, length):
        rows = series.rows[at : at + length]
        if sum(rows) > 0:
            absent = frozenset(i - at for i in series.absent if at <= i < at + length)
            cuts.append(Series(f"{series.name}+{at}", series.first + at * _DAY, rows, series.country, series.calendar, absent))
    return cuts


def evaluate(method: Method, series: Iterable[Series], seeds: Sequence[int], every: int = 23, start: int = 60) -> Score:
    """The score of a method over series and seeds."""
    total = Score()
    for one in series:
        for seed in seeds:
            planted = plant(one, seed, every, start)
            total.add(planted, method(planted.series), start)
    return total
