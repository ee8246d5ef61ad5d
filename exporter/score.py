"""The data-quality score of a table: per dimension and overall, each with the share of checks that it rests on; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.catalog.labels import Dimension, Outcome
from exporter.model import CheckResult, Reason, Verdict

DEFAULT_WEIGHTS: Mapping[Dimension, float] = MappingProxyType(
    {
        Dimension.COMPLETENESS: 0.3,
        Dimension.UNIQUENESS: 0.3,
        Dimension.VALIDITY: 0.3,
        Dimension.ACCURACY: 0.3,
        Dimension.CONSISTENCY: 0.3,
        Dimension.TIMELINESS: 0.1,
    }
)
"""Relative importance; only the ratios between them matter."""

_NOTHING: Mapping[str, Verdict] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DimensionScore:
    """Score of one dimension, 0 to 1 or None when nothing is known, and the share of its checks that are known."""

    ratio: float | None
    coverage: float


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a table, 0 to 1 or None when nothing is known; `coverage` is the share of its checks that are known."""

    ratio: float | None
    coverage: float
    dimensions: Mapping[Dimension, DimensionScore] = field(default_factory=dict)


def score(
    results: Sequence[CheckResult],
    weights: Mapping[Dimension, float] = DEFAULT_WEIGHTS,
    standing: Mapping[str, Verdict] = _NOTHING,
) -> Score:
    """The score of a table from the latest result of each of its checks.

    A check scores the share of its rows that are good, or 1 and 0 for pass and fail where no rows were counted;
    a dimension is the mean of its checks, the table the mean of its known dimensions by weight (a dimension that
    `weights` leaves out has its default). A check without a verdict lowers the coverage. So that it never raises
    the score, it counts with its verdict in `standing` (the last one, by check id) where it has one. A check that
    is skipped because it is not due counts for neither.
    """
    counted = [result for result in results if not _not_due(result.verdict)]
    by_dimension: dict[Dimension, list[CheckResult]] = {}
    for result in counted:
        by_dimension.setdefault(result.spec.check.dimension, []).append(result)
    dimensions = {
        dimension: DimensionScore(_ratio(by_dimension[dimension], standing), _coverage(by_dimension[dimension]))
        for dimension in Dimension
        if dimension in by_dimension
    }
    return Score(_weighted(dimensions, {**DEFAULT_WEIGHTS, **weights}), _coverage(counted), dimensions)


def _not_due(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.SKIPPED and verdict.reason is Reason.NOT_DUE


def _coverage(results: Sequence[CheckResult]) -> float:
    """Share of the checks whose latest run ended in a verdict; 0 when there is no check."""
    return sum(result.verdict.outcome.is_verdict for result in results) / len(results) if results else 0.0


def _ratio(results: Iterable[CheckResult], standing: Mapping[str, Verdict]) -> float | None:
    last = [r.verdict if r.verdict.outcome.is_verdict else standing.get(r.spec.id) for r in results]
    scores = [_of_verdict(verdict) for verdict in last if verdict is not None]
    return sum(scores) / len(scores) if scores else None


def _of_verdict(verdict: Verdict) -> float:
    if verdict.failed_rows is not None and verdict.evaluated_rows:
        return min(1.0, max(0.0, 1 - verdict.failed_rows / verdict.evaluated_rows))
    return 0.0 if verdict.outcome is Outcome.FAIL else 1.0


def _weighted(dimensions: Mapping[Dimension, DimensionScore], weights: Mapping[Dimension, float]) -> float | None:
    known = [(weights[name], part.ratio) for name, part in dimensions.items() if part.ratio is not None]
    total = sum(weight for weight, _ in known)
    return sum(weight * ratio for weight, ratio in known) / total if total > 0 else None
