"""A series of bucket counts as a check keeps it: what is closed, what was revised, and the model that goes with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from exporter.catalog.labels import Learning
from exporter.learned.calendar import Calendar, Grain, exists
from exporter.learned.judged import Feedback, Judged, Sensitivity
from exporter.learned.volume import VolumeModel
from exporter.model import Json
from exporter.timetable import read_time

KEPT = {Grain.HOUR: 1500, Grain.DAY: 400, Grain.WEEK: 160, Grain.MONTH: 120}
"""Buckets that are kept one by one; what is older lives on in the model's state only."""
_SHOWN = 120


def by_bucket(rows: Mapping[str, int], grain: Grain, zone: ZoneInfo) -> dict[datetime, int]:
    """Rows by start of the local bucket; what is no time is left out."""
    counts: dict[datetime, int] = {}
    for text, count in rows.items():
        moment = read_time(text, zone)
        if moment is not None:
            start = grain.start(moment)
            counts[start] = counts.get(start, 0) + count
    return counts


def end_of(start: datetime, grain: Grain, zone: ZoneInfo) -> datetime:
    """When a bucket is over, in UTC; days with a change of clocks have 23 or 25 hours."""
    return grain.after(start).replace(tzinfo=zone).astimezone(UTC)


def starts(first: datetime, end: datetime, grain: Grain, zone: ZoneInfo) -> list[datetime]:
    """The buckets from `first` until before `end`, without the hour that a change of clocks skips."""
    found = grain.between(first, end)
    return [start for start in found if exists(start, zone)] if grain is Grain.HOUR else list(found)


def closed_before(now: datetime, grain: Grain, zone: ZoneInfo, lateness: timedelta) -> datetime:
    """The start of the first bucket that is still open at `now`."""
    start = grain.start(now.astimezone(zone).replace(tzinfo=None))
    while end_of(previous := grain.start(start - timedelta(minutes=1)), grain, zone) + lateness > now:
        start = previous
    return start


@dataclass
class Series:
    """The closed buckets of one check, judged in order.

    `rows` are those from `first` on; `base` is the state of the model before them (None at the table's first bucket),
    `state` after them. `shown` are the last verdicts, `events` what changed for good, both by bucket.
    """

    calendar: Calendar
    sensitivity: Sensitivity
    zone: ZoneInfo
    first: datetime | None = None
    rows: list[int] = field(default_factory=list)
    base: Json | None = None
    state: Json | None = None
    shown: list[Judged] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    feedback: Mapping[str, str] = field(default_factory=dict)
    wider: float = 1.0

    @property
    def grain(self) -> Grain:
        """The length of a bucket."""
        return self.calendar.grain

    @property
    def starts(self) -> list[datetime]:
        """The start of each kept bucket."""
        found: list[datetime] = []
        at = self.first
        while at is not None and len(found) < len(self.rows):
            if self.grain is not Grain.HOUR or exists(at, self.zone):
                found.append(at)
            at = self.grain.after(at)
        return found

    def update(self, counts: Mapping[datetime, int], end: datetime, revisited: datetime | None, feedback: Mapping[str, str]) -> bool:
        """Takes counts in, up to before `end`; True when anything changed.

        From `revisited` on a bucket that is absent has no rows; before it, or everywhere when it is None and the
        bucket is known, an absent one keeps what was seen. Only what is new is judged; a revision replays.
        """
        known = dict(zip(self.starts, self.rows, strict=True))
        begin = self.first or min((start for start, count in counts.items() if count and start < end), default=None)
        if begin is None:
            return False
        wanted = starts(begin, max(end, max(known, default=begin) + timedelta(seconds=1)), self.grain, self.zone)
        fresh = [counts.get(at, 0 if at not in known or (revisited is not None and at >= revisited) else known[at]) for at in wanted]
        same = len(fresh) >= len(self.rows) and fresh[: len(self.rows)] == self.rows and dict(feedback) == dict(self.feedback)
        if same and len(fresh) == len(self.rows):
            return False
        done = len(self.rows) if same else 0
        self.first, self.rows, self.feedback = begin, fresh, dict(feedback)
        self._judge(wanted, done)
        return True

    def judge(self, counts: Mapping[datetime, int], end: datetime) -> list[Judged]:
        """The verdict on every bucket from the first with rows until before `end`; keeps nothing."""
        begin = min((start for start, count in counts.items() if count and start < end), default=None)
        if begin is None:
            return []
        model = self._model(None)
        return [self._step(model, start, counts.get(start, 0)) for start in starts(begin, end, self.grain, self.zone)]

    def _model(self, state: Json | None) -> VolumeModel:
        if state is None:
            return VolumeModel(self.calendar, self.sensitivity, self.wider)
        return VolumeModel.load(self.calendar, self.sensitivity, state, self.wider)

    def _judge(self, wanted: Sequence[datetime], done: int) -> None:
        model = self._model(self.state if done else self.base)
        if not done:
            self.shown, self.events = [], [event for event in self.events if event[0] < self.grain.text(wanted[0])]
        excess = len(wanted) - KEPT[self.grain]
        for i in range(done, len(wanted)):
            judged = self._step(model, wanted[i], self.rows[i])
            self.shown.append(judged)
            if judged.event:
                self.events.append((self.grain.text(judged.start), judged.event))
        self.state = model.dump()
        self.shown, self.events = self.shown[-_SHOWN:], self.events[-_SHOWN:]
        if excess > KEPT[self.grain] // 8:
            self._forget(wanted, excess)

    def _step(self, model: VolumeModel, start: datetime, rows: int) -> Judged:
        said = self.feedback.get(self.grain.text(start))
        return model.step(start, rows, Feedback(said) if said else None)

    def _forget(self, wanted: Sequence[datetime], excess: int) -> None:
        """Moves the oldest buckets into the base, so that what is kept and replayed is bounded."""
        model = self._model(self.base)
        for start, rows in zip(wanted[:excess], self.rows[:excess], strict=True):
            self._step(model, start, rows)
        self.base, self.rows, self.first = model.dump(), self.rows[excess:], wanted[excess]

    # --- keeping -------------------------------------------------------------------------------------------------
    def dump(self) -> Json:
        """Everything as JSON values."""
        return {
            "first": self.first.isoformat() if self.first else None, "rows": self.rows, "base": self.base, "state": self.state,
            "shown": [_dump(judged) for judged in self.shown], "events": self.events, "feedback": dict(self.feedback),
        }  # fmt: skip

    def load(self, kept: Json) -> Series:
        """Takes on what `dump` gave; returns itself."""
        self.first = datetime.fromisoformat(kept["first"]) if kept["first"] else None
        self.rows, self.base, self.state = list(kept["rows"]), kept["base"], kept["state"]
        self.shown = [judged_from(line) for line in kept["shown"]]
        self.events, self.feedback = [(bucket, event) for bucket, event in kept["events"]], kept["feedback"]
        return self


def _dump(judged: Judged) -> list[object]:
    return [
        judged.start.isoformat(), judged.rows, judged.expected, judged.lower, judged.upper, judged.score, judged.state.value, judged.anomaly,
        judged.note, judged.event,
    ]  # fmt: skip


def judged_from(line: Sequence[object]) -> Judged:
    """A verdict from what `Series.dump` keeps of it."""
    start, rows, expected, lower, upper, score, state, anomaly, note, event = line
    return Judged(datetime.fromisoformat(str(start)), rows, expected, lower, upper, score, Learning(str(state)), anomaly, note, event)  # type: ignore[arg-type]


Number = TypeVar("Number", int, float, timedelta)


def quantile(numbers: Iterable[Number], share: float) -> Number:
    """The smallest of the numbers that at least `share` of them do not exceed."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


