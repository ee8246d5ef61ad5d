"""What a learned check would have said of the past: from a file or from a table's own history."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.catalog.labels import Learning
from exporter.learned import cadence
from exporter.learned.calendar import Calendar, Grain
from exporter.learned.judged import Judged, Sensitivity
from exporter.learned.volume import VolumeModel

_MOST_BUCKETS = 200_000


class MalformedFile(Exception):
    """The file cannot be used: which, at which line, and why."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")


@dataclass(frozen=True, slots=True)
class Late:
    """A time in which an update was overdue: after the update at `at`, from the deadline until the next one came (None: never)."""

    at: datetime
    late_from: datetime
    late_until: datetime | None


# --- files ------------------------------------------------------------------------------------------------------
def _rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and values of a CSV file with a header. Raises MalformedFile."""
    try:
        file = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise MalformedFile(path, 1, f"cannot be read: {error.strerror}") from None
    with file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if missing := [name for name in needed if name not in header]:
                raise MalformedFile(path, 1, f"has no column {', '.join(missing)}; the first line names the columns: {','.join(needed)}")
            for values in reader:
                if not any(value.strip() for value in values):
                    continue
                if len(values) != len(header):
                    raise MalformedFile(path, reader.line_num, f"has {len(values)} values where the header has {len(header)}")
                row = dict(zip(header, values, strict=True))
                yield reader.line_num, {name: row[name].strip() for name in needed}
        except csv.Error as error:
            raise MalformedFile(path, reader.line_num, f"is no CSV: {error}") from None
        except UnicodeDecodeError:
            raise MalformedFile(path, reader.line_num + 1, "is no UTF-8 text") from None


def _time(path: Path, line: int, text: str, column: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise MalformedFile(path, line, f"{column} {text!r} is no date or time: write 2026-01-15 or 2026-01-15T07:00:00Z") from None


def read_series(path: Path, grain: Grain) -> dict[datetime, int]:
    """Rows by bucket of a file with columns `date,rows`; several lines of one bucket are added up. Raises MalformedFile."""
    counts: dict[datetime, int] = {}
    seen: dict[datetime, int] = {}
    for line, row in _rows(path, ("date", "rows")):
        moment = _time(path, line, row["date"], "date")
        if moment.tzinfo is not None:
            raise MalformedFile(path, line, f"date {row['date']!r} has an offset: buckets are local, write it without")
        if (first := seen.setdefault(moment, line)) != line:
            raise MalformedFile(path, line, f"date {row['date']} is there twice, first in line {first}")
        try:
            value = float(row["rows"])
        except ValueError:
            value = -1.0
        if not (value >= 0 and value.is_integer()):
            raise MalformedFile(path, line, f"rows {row['rows']!r} is no count: write a whole number from 0")
        start = grain.start(moment)
        counts[start] = counts.get(start, 0) + int(value)
    if not counts:
        raise MalformedFile(path, 1, "has no line after the header")
    last, begin = max(counts), min(counts)
    if (last - begin) / (grain.after(begin) - begin) > _MOST_BUCKETS:
        raise MalformedFile(path, seen[max(seen)], f"date {max(seen):%Y-%m-%d} is too far from {min(seen):%Y-%m-%d}: at most {_MOST_BUCKETS:,} {grain}s")
    if grain is not Grain.DAY and grain is not Grain.HOUR and len(seen) > 2 * len(counts) and grain.after(last) - max(seen) > timedelta(days=1):
        del counts[last]  # it is not over: only whole buckets are judged
    return counts


def read_updates(path: Path) -> list[datetime]:
    """The times of a file with the column `updated_at`, UTC unless they have an offset, ascending. Raises MalformedFile."""
    found = set()
    for line, row in _rows(path, ("updated_at",)):
        moment = _time(path, line, row["updated_at"], "updated_at")
        found.add(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    if not found:
        raise MalformedFile(path, 1, "has no line after the header")
    return sorted(found)


# --- replaying --------------------------------------------------------------------------------------------------
def judge_series(counts: dict[datetime, int], calendar: Calendar, sensitivity: Sensitivity) -> Iterator[Judged]:
    """The verdict on each bucket from the first to the last; absent ones have no rows."""
    model = VolumeModel(calendar, sensitivity)
    last = max(counts)
    for start in calendar.grain.between(min(counts), last + timedelta(seconds=1)):
        yield model.step(start, counts.get(start, 0))


def late_periods(updates: Sequence[datetime], zone: ZoneInfo, calendar: Calendar, until: datetime) -> Iterator[Late]:
    """The periods in which the alarm would have stood, each judged by the updates before it."""
    for place, (last, following) in enumerate(pairwise([*updates, None])):
        assert last is not None
        found = cadence.due(updates[: place + 1], zone, calendar)
        end = following if following is not None else until
        if found.by is not None and found.state is Learning.ACTIVE and end > found.by:
            yield Late(last, found.by, following)


def incidents(judged: Iterable[Judged]) -> list[tuple[Judged, Judged]]:
    """First and last bucket of each run of anomalies; buckets that are not judged do not end one."""
    runs: list[tuple[Judged, Judged]] = []
    current: tuple[Judged, Judged] | None = None
    for one in judged:
        if one.anomaly:
            current = (current[0], one) if current else (one, one)
        elif one.state not in (Learning.QUIET, Learning.NEUTRAL, Learning.STOPPED) and current:
            runs.append(current)
            current = None
    return [*runs, current] if current else runs


def incidents_per_week(judged: Sequence[Judged], grain: Grain) -> float:
    """How often the last eight weeks would have paged; 0 while fewer than two are known."""
    if not judged or grain in (Grain.WEEK, Grain.MONTH):
        return 0.0
    recent = [one for one in judged if one.start > judged[-1].start - timedelta(weeks=8)]
    weeks = (recent[-1].start - recent[0].start) / timedelta(weeks=1)
    return len(incidents(one for one in recent if one.state is Learning.ACTIVE or not one.anomaly)) / weeks if weeks >= 2 else 0.0


# --- output -----------------------------------------------------------------------------------------------------
def judged_json(one: Judged, grain: Grain) -> str:
    """A line of JSON: date, value, expected, lower, upper, score, state, anomaly."""
    rounded = {name: None if value is None else round(value, 3) for name, value in (("expected", one.expected), ("lower", one.lower), ("upper", one.upper), ("score", one.score))}
    return json.dumps({"date": grain.text(one.start), "value": one.rows, **rounded, "state": one.state.value, "anomaly": one.anomaly})


def late_json(one: Late) -> str:
    """A line of JSON: at, late_from, late_until."""
    return json.dumps({"at": _stamp(one.at), "late_from": _stamp(one.late_from), "late_until": _stamp(one.late_until)})


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def series_text(judged: Sequence[Judged], grain: Grain) -> str:
    """What would have been reported, for people."""
    lines = []
    for one in judged:
        if one.anomaly and one.expected is not None and one.lower is not None and one.upper is not None:
            band = f"expected {one.expected:,.0f} ({one.lower:,.0f} to {one.upper:,.0f})"
            lines.append(f"{grain.text(one.start)}  {one.rows:>12,} rows  {band:40}  {one.note}  [{one.state}]")
        if one.event:
            lines.append(f"{grain.text(one.start)}  {one.event}")
    found = incidents(judged)
    alarms = sum(one.anomaly for one in judged)
    known = sum(one.score is not None for one in judged)
    state = judged[-1].state if judged else Learning.LEARNING
    lines.append(f"{alarms} anomalies in {len(found)} incidents over {known} judged {grain}s; state at the end: {state}")
    return "\n".join(lines)


def late_text(periods: Sequence[Late], updates: int, zone: ZoneInfo) -> str:
    """When an update would have been reported as late, for people."""
    lines = []
    for one in periods:
        until = f"until {one.late_until.astimezone(zone):%Y-%m-%d %H:%M}" if one.late_until else "and never came"
        lines.append(f"late from {one.late_from.astimezone(zone):%a %Y-%m-%d %H:%M} {until} (the update before: {one.at.astimezone(zone):%Y-%m-%d %H:%M})")
    return "\n".join([*lines, f"{len(periods)} alarms over {updates} updates ({zone.key})"])
