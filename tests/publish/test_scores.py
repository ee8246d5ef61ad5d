"""The score is the share of good rows; what is unknown lowers its coverage and never raises it."""

from dataclasses import replace

import pytest

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.unique import Unique
from exporter.model import CheckResult, Reason, Verdict
from exporter.score import DEFAULT_WEIGHTS, score
from tests.web.fabricate import NOW, check, problem, verdict


def result(outcome: Verdict, column: str = "a") -> CheckResult:
    return CheckResult(check(column), outcome, None, NOW)


def other(outcome: Verdict) -> CheckResult:
    return CheckResult(replace(check(), check=Unique(columns=["id"]), id="unique_id"), outcome, None, NOW)


def test_rows_that_are_good_count_and_else_pass_and_fail() -> None:
    plain = Verdict(Outcome.FAIL, "")
    assert score([result(verdict(Outcome.FAIL, 100)), result(plain, "b")]).ratio == pytest.approx(0.45)
    assert score([result(replace(verdict(Outcome.WARN), failed_rows=None))]).ratio == 1


def test_weights_are_renormalised_over_known_dimensions() -> None:
    results = [result(verdict(Outcome.FAIL, 1000)), other(problem())]
    assert score(results).ratio == 0
    results = [result(verdict(Outcome.FAIL, 1000)), other(verdict())]
    assert score(results, {Dimension.COMPLETENESS: 0.1}).ratio == pytest.approx(0.75)
    assert score(results, DEFAULT_WEIGHTS).ratio == pytest.approx(0.5)


def test_an_unknown_check_lowers_the_coverage_and_keeps_counting_with_its_last_verdict() -> None:
    bad = verdict(Outcome.FAIL, 1000)
    before = score([result(verdict()), result(bad, "b")])
    after = score([result(verdict()), result(problem(), "b")], standing={"not_null_b": bad})
    assert (before.ratio, before.coverage) == (0.5, 1)
    assert (after.ratio, after.coverage) == (0.5, 0.5)


def test_checks_that_are_not_due_are_left_out() -> None:
    quiet = Verdict(Outcome.SKIPPED, "", Reason.NOT_DUE)
    assert score([result(verdict()), result(quiet, "b")]).coverage == 1
    assert score([result(quiet)]).dimensions == {}


def test_nothing_known_is_no_score() -> None:
    assert (score([]).ratio, score([]).coverage) == (None, 0)
    unknown = score([result(problem())])
    assert (unknown.ratio, unknown.dimensions[Dimension.COMPLETENESS].ratio, unknown.coverage) == (None, None, 0)
    assert set(DEFAULT_WEIGHTS) == set(Dimension)
