"""Generated daily series with fixed seeds: shapes that tables have."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import date, timedelta

from exporter.learned.calendar import Calendar
from tests.bench.protocol import Series

FIRST, DAYS = date(2023, 1, 2), 500
Shape = Callable[[random.Random], list[float]]
_WEEK = (1.0, 1.05, 1.02, 1.0, 0.95, 0.55, 0.45)


def _days() -> list[date]:
    return [FIRST + timedelta(days=i) for i in range(DAYS)]


def _noise(rng: random.Random, sigma: float) -> float:
    return math.exp(rng.gauss(0, sigma))


def _last_working(day: date) -> bool:
    following = day + timedelta(days=1)
    while following.weekday() >= 5:
        following += timedelta(days=1)
    return day.weekday() < 5 and following.month != day.month


def flat(rng: random.Random) -> list[float]:
    return [10_000 * _noise(rng, 0.05) for _ in _days()]


def weekly(rng: random.Random) -> list[float]:
    return [20_000 * _WEEK[day.weekday()] * _noise(rng, 0.06) for day in _days()]


def weekly_and_growing(rng: random.Random) -> list[float]:
    return [5_000 * 1.002**i * _WEEK[day.weekday()] * _noise(rng, 0.06) for i, day in enumerate(_days())]


def yearly(rng: random.Random) -> list[float]:
    return [8_000 * (1 + 0.4 * math.sin(i / 58)) * _WEEK[day.weekday()] * _noise(rng, 0.07) for i, day in enumerate(_days())]


def noisy(rng: random.Random) -> list[float]:
    return [3_000 * _noise(rng, 0.15) for _ in _days()]


def walking(rng: random.Random) -> list[float]:
    level, rows = math.log(6_000), []
    for day in _days():
        level += rng.gauss(0, 0.03)
        rows.append(math.exp(level) * _WEEK[day.weekday()] * _noise(rng, 0.04))
    return rows


def level_shifts(rng: random.Random) -> list[float]:
    return [9_000 * (1.0, 2.2, 1.3)[min(2, i // 180)] * _noise(rng, 0.06) for i, _ in enumerate(_days())]


def constant_batch(rng: random.Random) -> list[float]:
    return [5_000 * (3 if rng.random() < 0.01 else 1) for _ in _days()]


def growing_snapshot(rng: random.Random) -> list[float]:
    return [1_000_000 + 900 * i + rng.randrange(300) for i in range(DAYS)]


def weekday_only(rng: random.Random) -> list[float]:
    return [12_000 * _noise(rng, 0.07) if day.weekday() < 5 else 0 for day in _days()]


def billing_month(rng: random.Random) -> list[float]:
    return [4_000 * (6 if day.day == 1 else 1) * _noise(rng, 0.06) for day in _days()]


def tenant_steps(rng: random.Random) -> list[float]:
    rows, tenants = [], 20
    for _ in _days():
        tenants += rng.random() < 0.05
        rows.append(250 * tenants * _noise(rng, 0.04))
    return rows


def bursty(rng: random.Random) -> list[float]:
    rows, burst = [], 0.0
    for _ in _days():
        burst = 0.6 * burst + (rng.expovariate(1.0) * 1.5 if rng.random() < 0.04 else 0.0)
        rows.append(2_000 * math.exp(burst) * _noise(rng, 0.12))
    return rows


def near_twelve(rng: random.Random) -> list[float]:
    return [float(sum(rng.random() < 12 / 200 for _ in range(200))) for _ in _days()]


def weather(rng: random.Random) -> list[float]:
    return [6_000 * _WEEK[day.weekday()] * _noise(rng, 0.08) * (rng.uniform(0.4, 0.7) if rng.random() < 0.05 else 1) for day in _days()]


def payroll(rng: random.Random) -> list[float]:
    return [3_000 * (4 if day.day == 15 or _last_working(day) else 1) * _noise(rng, 0.06) for day in _days()]


def steady_growth(rng: random.Random) -> list[float]:
    return [1_000 * 1.004**i * _noise(rng, 0.05) for i in range(DAYS)]


def doubled_weekends(rng: random.Random) -> list[float]:
    return [7_000 * (2.1 if day.weekday() >= 5 else 1.0) * _noise(rng, 0.07) for day in _days()]


EARLIER: tuple[Shape, ...] = (flat, weekly, weekly_and_growing, yearly, noisy, walking, level_shifts)
NEW: tuple[Shape, ...] = (
    constant_batch, growing_snapshot, weekday_only, billing_month, tenant_steps, bursty, near_twelve, weather, payroll, steady_growth, doubled_weekends,
)  # fmt: skip


def series(shapes: tuple[Shape, ...] = EARLIER + NEW, seed: int = 1) -> list[Series]:
    """A series of each shape."""
    calendar = Calendar()
    return [
        Series(shape.__name__, FIRST, tuple(max(0, round(rows)) for rows in shape(random.Random(f"{shape.__name__}/{seed}"))), None, calendar) for shape in shapes
    ]
