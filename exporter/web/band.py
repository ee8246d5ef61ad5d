"""The picture of a learned row count: the band that was expected, the rows that came, and the alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.backtest import incidents
from exporter.catalog.labels import Learning
from exporter.learned.buckets import judged_from
from exporter.learned.calendar import Grain
from exporter.learned.judged import Judged
from exporter.model import Json

WIDTH, HEIGHT = 720, 140
_SHOWN = 90


@dataclass(frozen=True, slots=True)
class Mark:
    """A bucket in the picture, in the units of its view box; `title` says what it was."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Band:
    """A picture: `areas` are polygons of what was expected, `lines` of the expectation, `marks` the buckets."""

    areas: tuple[str, ...]
    lines: tuple[str, ...]
    marks: tuple[Mark, ...]
    top: float
    first: str
    last: str
    state: str
    alarms: int
    incidents: int
    events: tuple[tuple[str, str], ...]


def bands(memories: Mapping[str, Json]) -> dict[str, Band]:
    """Pictures of the checks whose memory holds a series of buckets."""
    found = {}
    for check, memory in memories.items():
        if "series" in memory and memory["series"]["shown"]:
            judged = [judged_from(line) for line in memory["series"]["shown"]][-_SHOWN:]
            events = [(str(bucket), str(event)) for bucket, event in memory["series"]["events"]]
            found[check] = band(judged, Grain(memory["grain"]), events)
    return found


def band(judged: Sequence[Judged], grain: Grain, events: Sequence[tuple[str, str]] = ()) -> Band:
    """The picture of some judged buckets, oldest first, at least one."""
    rows = max(1, *(one.rows for one in judged), 1)
    highest = max([float(rows), *(min(one.upper, 2.0 * rows) for one in judged if one.upper is not None)])

    def x(place: int) -> float:
        return round((place + 0.5) * WIDTH / len(judged), 1)

    def y(value: float) -> float:
        return round(HEIGHT - 4 - (HEIGHT - 12) * min(value, highest) / highest, 1)

    areas, lines = [], []
    for run in _runs(judged):
        lower = [(x(place), y(judged[place].lower or 0)) for place in run]
        upper = [(x(place), y(judged[place].upper or 0)) for place in run]
        areas.append(" ".join(f"{left},{top}" for left, top in [*upper, *reversed(lower)]))
        lines.append(" ".join(f"{x(place)},{y(judged[place].expected or 0)}" for place in run))
    marks = tuple(Mark(x(place), y(one.rows), _kind(one), _title(one, grain)) for place, one in enumerate(judged))
    return Band(
        tuple(areas), tuple(lines), marks, highest, grain.text(judged[0].start), grain.text(judged[-1].start), judged[-1].state.value,
        sum(one.anomaly for one in judged), len(incidents(judged)), tuple(events[-5:]),
    )  # fmt: skip


def _runs(judged: Sequence[Judged]) -> list[list[int]]:
    """Places of neighbouring buckets for which something was expected."""
    runs: list[list[int]] = []
    for place, one in enumerate(judged):
        if one.expected is None:
            continue
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _kind(one: Judged) -> str:
    if one.anomaly or one.state is Learning.STOPPED:
        return "fail"
    return "pass" if one.expected is not None else "idle"


def _title(one: Judged, grain: Grain) -> str:
    text = f"{grain.text(one.start)}: {one.rows:,} rows"
    if one.expected is not None and one.lower is not None and one.upper is not None:
        text += f", expected {one.expected:,.0f} ({one.lower:,.0f} to {one.upper:,.0f})"
    return text + (f": {one.note}" if one.note else "") + f" [{one.state}]"
