"""The rules of other tools on daily counts, written after what their documentation and sources say they do.

They are emulations, not the products. Prophet and SARIMAX, which two tools use, are left out: they need packages of their own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev, stdev

from exporter.learned.judged import Sensitivity
from exporter.learned.volume import VolumeModel
from tests.bench.protocol import Series


def ours(sensitivity: Sensitivity = Sensitivity.MEDIUM) -> Callable[[Series], list[bool]]:
    """dq-exporter's method."""

    def flags(series: Series) -> list[bool]:
        model = VolumeModel(series.calendar, sensitivity)
        return [model.step(day, rows).anomaly for day, rows in zip(series.days(), series.rows, strict=True)]

    return flags


def _outside(value: float, train: Sequence[float], sigmas: float) -> bool:
    if len(train) < 2:
        return False
    deviation = stdev(train)
    return deviation > 0 and abs(value - fmean(train)) > sigmas * deviation


def elementary(excluded: bool, day_of_week: bool) -> Callable[[Series], list[bool]]:
    """Mean ± 3 standard deviations of 14 days (of 14 same weekdays), at least 7; `excluded` leaves the tested day out of them."""

    def flags(series: Series) -> list[bool]:
        rows, step, found = series.rows, 7 if day_of_week else 1, []
        for day, value in enumerate(rows):
            train = [rows[i] for i in range(day - step, max(-1, day - 14 * step - 1), -step)]
            if not excluded:
                train = [value, *train[:13]]
            found.append(len(train) >= 7 and _outside(value, train, 3))
        return found

    return flags


def dqx(series: Series) -> list[bool]:
    """has_no_aggr_outliers: 14 buckets before, 7 to warm up, 3 standard deviations."""
    rows = series.rows
    return [day >= 7 and _outside(value, rows[max(0, day - 14) : day], 3) for day, value in enumerate(rows)]


def z_score(series: Series) -> list[bool]:
    """|z| > 3 over 30 days that include the tested one."""
    rows = series.rows
    return [day > 0 and _outside(value, rows[max(0, day - 29) : day + 1], 3) for day, value in enumerate(rows)]


def relative_change(series: Series) -> list[bool]:
    """Deequ's RelativeRateOfChange: at most half as much more or less than the day before."""
    rows = series.rows
    return [False] + [not 0.5 <= (value / before if before else math.inf if value else 1.0) <= 1.5 for before, value in itertools.pairwise(rows)]


def online_normal(series: Series) -> list[bool]:
    """Deequ's OnlineNormal, 3 standard deviations: mean and variance take each point in before it is judged, and give an anomaly back."""
    mean, variance, count, found = 0.0, 0.0, 0, []
    for day, value in enumerate(series.rows):
        kept = mean, variance
        delta = value - mean
        count += 1
        mean += delta / count
        variance += delta * (value - mean)
        deviation = math.sqrt(variance / count)
        anomaly = day >= 0.1 * len(series.rows) and abs(value - mean) > 3 * deviation
        if anomaly:
            mean, variance = kept
            count -= 1
        found.append(anomaly)
    return found


def holt_winters(series: Series) -> list[bool]:
    """Deequ's Holt-Winters with a weekly season, fitted anew each week on 56 days; off by 1.96 standard deviations of the fit's residuals."""
    rows, found = series.rows, [False] * len(series.rows)
    for week in range(28, len(rows), 7):
        train = [float(value) for value in rows[max(0, week - 56) : week]]
        forecast, deviation = _fit(train)
        for day in range(week, min(week + 7, len(rows))):
            found[day] = abs(rows[day] - forecast[day - week]) > 1.96 * deviation
    return found


def _fit(train: Sequence[float]) -> tuple[list[float], float]:
    best: tuple[float, list[float], float] | None = None
    for alpha in (0.05, 0.2, 0.5):
        for beta in (0.0, 0.05):
            for gamma in (0.05, 0.2, 0.5):
                errors, forecast = _smooth(train, alpha, beta, gamma)
                loss = sum(error * error for error in errors)
                if best is None or loss < best[0]:
                    best = loss, forecast, pstdev(errors)
    assert best is not None
    return best[1], best[2]


def _smooth(train: Sequence[float], alpha: float, beta: float, gamma: float) -> tuple[list[float], list[float]]:
    level, trend = fmean(train[:7]), (fmean(train[7:14]) - fmean(train[:7])) / 7
    season, errors = [value - level for value in train[:7]], []
    for day in range(7, len(train)):
        value, place = train[day], day % 7
        errors.append(value - (level + trend + season[place]))
        before = level
        level = alpha * (value - season[place]) + (1 - alpha) * (level + trend)
        trend = beta * (level - before) + (1 - beta) * trend
        season[place] = gamma * (value - level) + (1 - gamma) * season[place]
    return errors, [level + (i + 1) * trend + season[(len(train) + i) % 7] for i in range(7)]


PEERS: dict[str, Callable[[Series], list[bool]]] = {
    "Elementary, detection period excluded": elementary(True, False),
    "Elementary, excluded, day of week": elementary(True, True),
    "Elementary": elementary(False, False),
    "Elementary, day of week": elementary(False, True),
    "DQX has_no_aggr_outliers": dqx,
    "z-score over 30 days": z_score,
    "Deequ RelativeRateOfChange 0.5-1.5": relative_change,
    "Deequ OnlineNormal 3 sigma": online_normal,
    "Deequ Holt-Winters, weekly": holt_winters,
}
