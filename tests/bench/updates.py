"""Simulated tables of eight cadences, and how long a method takes to notice that one stopped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2025, 3, 3, tzinfo=UTC)
CADENCES = ("hourly", "15 min office hours", "daily", "weekdays only", "weekly", "irregular", "bimodal", "drifting")


def updates(cadence: str, seed: int, days: int = 120) -> list[datetime]:
    """The times at which a healthy table of a cadence is updated."""
    rng = random.Random(f"{cadence}/{seed}")
    return [moment for moment in sorted(_moments(cadence, rng, days)) if moment < START + days * _DAY]


def _moments(cadence: str, rng: random.Random, days: int) -> Iterator[datetime]:
    def around(hours: float, sigma: float) -> timedelta:
        return timedelta(hours=max(0.0, hours + rng.gauss(0, sigma)))

    for day in range(days):
        start, weekday = START + day * _DAY, (START + day * _DAY).weekday()
        match cadence:
            case "hourly":
                yield from (start + timedelta(hours=hour) + around(0.1, 0.05) for hour in range(24))
            case "15 min office hours" if weekday < 5:
                yield from (start + 8 * _HOUR + timedelta(minutes=15 * step) + around(0.03, 0.02) for step in range(40))
            case "daily":
                yield start + around(6, 0.4)
            case "weekdays only" if weekday < 5:
                yield start + around(6, 0.4)
            case "weekly" if weekday == 0:
                yield start + around(6, 0.7)
            case "bimodal":
                yield from (start + around(6, 0.4), start + around(18, 0.6))
            case "drifting":
                yield start + around(5 + 3 * day / days, 0.3)
    if cadence == "irregular":
        at = START
        while at < START + days * _DAY:
            at += timedelta(hours=rng.lognormvariate(2.3, 0.7))
            yield at


Deadline = Callable[[Sequence[datetime]], datetime | None]


def measure(deadline: Deadline, cadence: str, runs: int = 12, days: int = 120) -> tuple[float, float]:
    """False alarms per 100 table-days, and the median hours from the first missed update until the alarm."""
    alarms, delays = 0, []
    for seed in range(runs):
        times = updates(cadence, seed, days)
        stop = len(times) - max(3, len(times) // 10)
        for i in range(1, stop):
            limit = deadline(times[:i])
            alarms += limit is not None and times[i] > limit
        limit = deadline(times[:stop])
        if limit is not None:
            delays.append(max(0.0, (limit - times[stop]) / _HOUR))
    return 100 * alarms / (runs * days), sorted(delays)[len(delays) // 2] if delays else float("inf")
