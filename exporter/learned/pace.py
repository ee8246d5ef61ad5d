"""How fast the row-count model learns, by length of the bucket."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.learned.calendar import Grain


@dataclass(frozen=True, slots=True)
class Pace:
    """Spans of one grain, in buckets, and its speed of learning."""

    places: int
    season: int
    around: int
    short: int
    long: int
    memory: int
    residuals: int
    least: int
    learning: int
    tentative: int
    mature: int
    shift: int
    stopped: int
    rate: float


PACES = {
    Grain.HOUR: Pace(168, 24, 72, 168, 336, 672, 672, 168, 336, 672, 1008, 36, 48, 0.04),
    Grain.DAY: Pace(7, 7, 3, 7, 14, 56, 120, 7, 14, 28, 60, 6, 7, 0.25),
    Grain.WEEK: Pace(1, 52, 3, 4, 8, 26, 52, 4, 6, 10, 26, 4, 4, 0.2),
    Grain.MONTH: Pace(1, 12, 3, 3, 6, 24, 36, 4, 6, 12, 24, 4, 3, 0.2),
}
