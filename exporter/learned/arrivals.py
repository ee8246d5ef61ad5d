"""When the rows of a bucket come: how late after its end, and how they grow during a day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from exporter.learned.buckets import end_of, quantile
from exporter.learned.calendar import Grain
from exporter.model import CommitInfo, Json
from exporter.timetable import read_time

_LEAST, _MOST = 7, 60
_LATE, _MARGIN = 0.95, 1.1
_WATCHED = 4
"""Ended buckets whose growth is still watched."""
_FEW = 3
"""A commit that writes to more partitions than this fills up the past and says nothing about lateness."""
_TOTALS = 40
_DAYS, _POINTS, _LEAST_DAYS = 40, 60, 14
_HOPELESS, _TIMES = 0.97, 2


@dataclass
class Arrivals:
    """What was seen of recent buckets while they filled.

    `late` has the seconds after its end at which each bucket was last seen to grow, `watched` the rows of the buckets that
    may still grow, `pace` for each day (minute, rows) whenever they had changed, `totals` the last total of the table in each
    bucket where only that can be counted. Buckets are ISO local times.
    """

    late: dict[str, float] = field(default_factory=dict)
    watched: dict[str, int] = field(default_factory=dict)
    pace: dict[str, list[list[int]]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)

    def saw_total(self, rows: int, now: datetime, grain: Grain, zone: ZoneInfo) -> dict[datetime, int]:
        """Rows by bucket of a table of which only the total can be counted: how much it grew from one bucket to the next.

        Growth over buckets in which nobody looked is shared out evenly; a total that shrinks is no growth.
        """
        current = grain.start(now.astimezone(zone).replace(tzinfo=None))
        self.totals[current.isoformat()] = rows
        self.totals = dict(sorted(self.totals.items())[-_TOTALS:])
        grown: dict[datetime, int] = {}
        for (before, had), (text, has) in pairwise(self.totals.items()):
            between = list(grain.between(grain.after(datetime.fromisoformat(before)), grain.after(datetime.fromisoformat(text))))
            each, rest = divmod(max(0, has - had), len(between))
            grown |= {start: each + (place < rest) for place, start in enumerate(between)}
        return grown

    def learn_from_commits(self, commits: Iterable[CommitInfo], column: str, grain: Grain, zone: ZoneInfo) -> None:
        """Lateness from a log that says which partitions were written when."""
        found: dict[datetime, float] = {}
        for one in commits:
            if not one.data or not one.added or len(one.partitions) > _FEW:
                continue
            for partition in one.partitions:
                value = next((unquote(part.partition("=")[2]) for part in partition.split("/") if part.startswith(f"{column}=")), "")
                if (moment := read_time(value, zone)) is not None:
                    start = grain.start(moment)
                    found[start] = max(0.0, (one.at - end_of(start, grain, zone)).total_seconds())
        self.late |= {start.isoformat(): seconds for start, seconds in sorted(found.items())[-_MOST:]}

    def saw(self, counts: Mapping[datetime, int], now: datetime, grain: Grain, zone: ZoneInfo) -> None:
        """Takes in what the buckets have at `now`."""
        local = now.astimezone(zone).replace(tzinfo=None)
        current = grain.start(local)
        for text, before in list(self.watched.items()):
            start = datetime.fromisoformat(text)
            ended = (now - end_of(start, grain, zone)).total_seconds()
            rows = counts.get(start, before)
            self.watched[text] = rows
            if ended >= 0:
                self.late[text] = ended if rows > before else self.late.get(text, 0.0)
        self.watched[current.isoformat()] = counts.get(current, 0)
        self.watched = dict(sorted(self.watched.items())[-_WATCHED - 1 :])
        self.late = dict(sorted(self.late.items())[-_MOST:])
        if grain is Grain.DAY:
            points = self.pace.setdefault(current.isoformat(), [])
            rows = counts.get(current, 0)
            if (not points or points[-1][1] != rows) and len(points) < _POINTS:
                points.append([local.hour * 60 + local.minute, rows])
            self.pace = dict(sorted(self.pace.items())[-_DAYS:])

    def lateness(self) -> timedelta | None:
        """How long after its end a bucket is left to fill: the 95 % point of what was seen; None when too little was."""
        if len(self.late) < _LEAST:
            return None
        return timedelta(seconds=_MARGIN * quantile(self.late.values(), _LATE))

    def hopeless(self, counts: Mapping[datetime, int], now: datetime, zone: ZoneInfo) -> str | None:
        """Why today can hardly become a usual day any more, or None: nearly all like days had twice as many rows by now."""
        local = now.astimezone(zone).replace(tzinfo=None)
        today, minute = Grain.DAY.start(local), local.hour * 60 + local.minute
        rows = counts.get(today, 0)
        alike = [points for text, points in self.pace.items() if text < today.isoformat() and (datetime.fromisoformat(text).weekday() >= 5) == (today.weekday() >= 5)]
        reached = sorted(next((at for at, had in points if had >= max(_TIMES * rows, 1)), 24 * 60) for points in alike)
        if len(reached) < _LEAST_DAYS or quantile(reached, _HOPELESS) >= minute:
            return None
        usual = quantile(reached, _HOPELESS)
        return f"only {rows:,} rows today by {local:%H:%M}, where {_HOPELESS:.0%} of like days had {max(_TIMES * rows, 1):,} by {usual // 60:02d}:{usual % 60:02d}"

    def dump(self) -> Json:
        """Everything as JSON values."""
        return {"late": self.late, "watched": self.watched, "pace": self.pace, "totals": self.totals}

    @classmethod
    def load(cls, kept: Json | None) -> Arrivals:
        """What `dump` gave; nothing at first."""
        if kept is None:
            return cls()
        pace = {day: [list(point) for point in points] for day, points in kept["pace"].items()}
        return cls(dict(kept["late"]), dict(kept["watched"]), pace, dict(kept["totals"]))
