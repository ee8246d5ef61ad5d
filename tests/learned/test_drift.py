"""Distances of distributions against known values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.learned import drift

COUNTS = st.lists(st.integers(0, 5000), min_size=2, max_size=20)


@given(COUNTS)
def test_equal_distributions_are_not_apart(counts: list[int]) -> None:
    assert drift.psi(counts, counts) == drift.jensen_shannon(counts, counts) == drift.kolmogorov_smirnov(counts, counts) == 0
    assert drift.chi_square_p(counts, counts) == pytest.approx(1.0)


@given(COUNTS, st.integers(2, 50))
def test_only_shares_matter_for_the_distances_of_cumulated_shares(counts: list[int], factor: int) -> None:
    assert drift.kolmogorov_smirnov(counts, [factor * count for count in counts]) == pytest.approx(0, abs=1e-9)


def test_psi_is_that_of_the_formula() -> None:
    before, now = [500, 500], [600, 400]
    p, q = 600.5 / 1001, 500.5 / 1001
    assert drift.psi(before, now) == pytest.approx((p - q) * math.log(p / q) + ((1 - p) - (1 - q)) * math.log((1 - p) / (1 - q)))


def test_disjoint_distributions_are_as_far_apart_as_can_be() -> None:
    before, now = [10_000_000, 0], [0, 10_000_000]
    assert drift.jensen_shannon(before, now) == pytest.approx(1, abs=1e-3)
    assert drift.kolmogorov_smirnov(before, now) == 1
    assert drift.chi_square_p(before, now) == 0
    assert drift.wasserstein([1, 0, 0], [0, 0, 1], [0.0, 10.0]) == pytest.approx(1)


@pytest.mark.parametrize(("statistic_table", "p"), [(([10, 20], [20, 10]), 0.00982), (([30, 30, 30], [30, 40, 20]), 0.1801)])
def test_chi_square_gives_the_tabulated_p_values(statistic_table: tuple[list[int], list[int]], p: float) -> None:
    assert drift.chi_square_p(*statistic_table) == pytest.approx(p, rel=0.01)


def test_an_empty_side_is_no_division_by_zero() -> None:
    assert drift.kolmogorov_smirnov([0, 0], [1, 1]) >= 0 and drift.wasserstein([0, 0], [0, 0], [1.0]) == 0
    assert drift.chi_square_p([0, 0], [5, 5]) == pytest.approx(1.0)
