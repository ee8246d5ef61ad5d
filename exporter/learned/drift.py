"""How far two distributions over the same bins are apart; bins are given as counts, in order where the values have one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise


def shares(counts: Sequence[float]) -> list[float]:
    """Shares of the bins, smoothed so that none is zero: (c + 0.5) / (n + 0.5 k)."""
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def psi(before: Sequence[float], now: Sequence[float]) -> float:
    """Population stability index: sum of (p - q) ln(p / q); 0.1 is a small shift, 0.25 a large one (Siddiqi 2006)."""
    return sum((p - q) * math.log(p / q) for p, q in zip(shares(now), shares(before), strict=True))


def jensen_shannon(before: Sequence[float], now: Sequence[float]) -> float:
    """Jensen-Shannon distance to base 2: 0 for equal, 1 for disjoint distributions."""
    p, q = shares(now), shares(before)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    divergence = 0.5 * sum(a * math.log2(a / m) + b * math.log2(b / m) for a, b, m in zip(p, q, middle, strict=True))
    return math.sqrt(max(0.0, divergence))


def _cumulated(before: Sequence[float], now: Sequence[float]) -> list[float]:
    """Differences of the two cumulative distributions at the upper edge of each bin."""
    p, q = ([count / max(1.0, sum(counts)) for count in counts] for counts in (now, before))
    return [a - b for a, b in zip(accumulate(p), accumulate(q), strict=True)]


def kolmogorov_smirnov(before: Sequence[float], now: Sequence[float]) -> float:
    """Greatest distance of the two cumulative distributions at the edges of the bins."""
    return max((abs(apart) for apart in _cumulated(before, now)), default=0.0)


def wasserstein(before: Sequence[float], now: Sequence[float], edges: Sequence[float]) -> float:
    """Earth mover's distance between the inner edges, as a share of their span (1: everything moved from one end to the other)."""
    span = edges[-1] - edges[0] if len(edges) > 1 else 0.0
    if span <= 0:
        return 0.0
    return sum(abs(apart) * (right - left) for apart, (left, right) in zip(_cumulated(before, now)[1:], pairwise(edges), strict=False)) / span


def chi_square_p(before: Sequence[float], now: Sequence[float]) -> float:
    """Probability of so different counts if both come from one distribution (chi-square test of homogeneity)."""
    total, first, second = sum(before) + sum(now), sum(before), sum(now)
    statistic, bins = 0.0, 0
    for a, b in zip(before, now, strict=True):
        if a + b == 0:
            continue
        bins += 1
        for seen, rows in ((a, first), (b, second)):
            expected = (a + b) * rows / total
            if expected:
                statistic += (seen - expected) ** 2 / expected
    return _upper_gamma((bins - 1) / 2, statistic / 2) if bins > 1 else 1.0


def _upper_gamma(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function, by series or continued fraction (Numerical Recipes 6.2)."""
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for step in range(1, 10_000):
            term *= x / (a + step)
            total += term
            if term < total * 1e-15:
                break
        return max(0.0, 1 - scale * total)
    b, d = x + 1 - a, 1 / (x + 1 - a)
    c, h = 1e300, d
    for step in range(1, 10_000):
        an = -step * (step - a)
        b += 2
        d = 1 / (an * d + b)
        c = b + an / c
        h *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return scale * h
