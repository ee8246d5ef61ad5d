"""`distribution_drift`, `latency`, `frozen_table` and `freshness_cadence` on real tables, on both engines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.catalog.labels import Engine, Outcome
from exporter.catalog.metrics import FRESHNESS_DEADLINE, LATENCY
from exporter.checks.base import EXAMPLE_NOW
from exporter.model import CommitInfo, History, TableSpec, Verdict
from tests.checks.test_judging import judge
from tests.conftest import Bench, write_delta

BOTH = [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Looks:
    """Looks again and again at one table, as the exporter does."""

    def __init__(self, bench: Bench, columns: dict[str, str], check: dict[str, Any], engine: Engine) -> None:
        self.bench, self.columns, self.check, self.engine = bench, columns, check, engine
        self.table: TableSpec | None = None
        self.past = History()

    def at(self, rows: Sequence[tuple[Any, ...]], now: datetime = EXAMPLE_NOW) -> Verdict:
        if self.table is None:
            self.table = self.bench.delta(self.columns, rows)
        else:
            write_delta(Path(self.table.path or ""), self.columns, rows)
        verdict = self.bench.evaluate(self.table, self.check, engine=self.engine, past=self.past, now=now).results[0].verdict
        self.past = History(memory=verdict.memory or self.past.memory)
        return verdict


def normal(seed: int, shift: float = 0.0, rows: int = 2000) -> list[tuple[Any, ...]]:
    rng = random.Random(seed)
    return [(rng.gauss(100 + shift, 10),) for _ in range(rows)] + [(float("nan"),), (None,)]


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("method", ["psi", "ks", "chi2", "js", "wasserstein"])
def test_a_shifted_column_drifts_and_another_sample_does_not(bench: Bench, engine: Engine, method: str) -> None:
    looks = Looks(bench, {"x": "double"}, {"distribution_drift": {"column": "x", "method": method}}, engine)
    assert [looks.at(normal(1)).outcome, looks.at(normal(2)).outcome] == [Outcome.LEARNING, Outcome.LEARNING]
    assert looks.at(normal(3)).outcome is Outcome.PASS
    drifted = looks.at(normal(4, 15))
    assert drifted.outcome is Outcome.FAIL and "bin 10 of 10" in drifted.message, drifted.message


@pytest.mark.parametrize("engine", BOTH)
def test_a_new_category_and_more_nulls_are_seen(bench: Bench, engine: Engine) -> None:
    looks = Looks(bench, {"s": "string"}, {"distribution_drift": {"column": "s", "min_rows": 10}}, engine)
    usual: list[tuple[Any, ...]] = [("it's",)] * 60 + [("b",)] * 40
    assert [looks.at(usual).outcome, looks.at(usual).outcome] == [Outcome.LEARNING, Outcome.PASS]
    assert "new or were rare" in looks.at([*usual[:60], *[("new",)] * 40]).message
    assert "nulls, from 0.0% to 40.0%" in looks.at([*usual[:60], *[(None,)] * 40]).message
    assert looks.at(usual[:5]).outcome is Outcome.LEARNING


def test_the_rolling_baseline_is_the_same_weekday_before(bench: Bench) -> None:
    looks = Looks(bench, {"s": "string"}, {"distribution_drift": {"column": "s", "min_rows": 10, "baseline": "rolling"}}, Engine.NATIVE)
    weekday: list[tuple[Any, ...]] = [("a",)] * 90 + [("b",)] * 10
    weekend: list[tuple[Any, ...]] = [("a",)] * 20 + [("b",)] * 80
    outcomes = []
    for day in range(28):
        now = EXAMPLE_NOW + day * DAY
        outcomes.append(looks.at(weekend if now.weekday() >= 5 else weekday, now).outcome)
    assert set(outcomes[14:]) == {Outcome.PASS} and Outcome.FAIL not in outcomes
    assert looks.at(weekend, EXAMPLE_NOW + 28 * DAY).outcome is Outcome.FAIL


@pytest.mark.parametrize("engine", BOTH)
def test_latency_gives_exact_points_of_recent_rows_and_counts_negative_ones(bench: Bench, engine: Engine) -> None:
    rows = [((EXAMPLE_NOW - timedelta(hours=5) - timedelta(seconds=i)).isoformat(), (EXAMPLE_NOW - timedelta(hours=5)).isoformat()) for i in range(101)]
    rows += [((EXAMPLE_NOW - HOUR).isoformat(), (EXAMPLE_NOW - 2 * HOUR).isoformat()), ((EXAMPLE_NOW - 9 * DAY).isoformat(), (EXAMPLE_NOW - 8 * DAY).isoformat())]
    table = bench.delta({"e": "timestamp", "i": "timestamp"}, rows)
    verdict = bench.evaluate(table, {"latency": {"event": "e", "ingest": "i", "p": 100, "max": "90s"}}, engine=engine).results[0].verdict
    assert (verdict.outcome, verdict.value, verdict.evaluated_rows) == (Outcome.FAIL, 100.0, 102)
    assert "1 of 102 rows were ingested before they happened" in verdict.message
    assert [value for (metric, _), value in verdict.gauges.items() if metric is LATENCY] == [pytest.approx(49.5), pytest.approx(94.95), pytest.approx(98.99)]


@pytest.mark.parametrize("engine", BOTH)
def test_the_same_content_written_again_and_again_is_frozen(bench: Bench, engine: Engine) -> None:
    columns = {"a": "int", "d": "date"}
    looks = Looks(bench, columns, {"frozen_table": {"max_unchanged": "2d", "columns": ["a", "d"]}}, engine)
    rows = [(1, "2026-01-01"), (None, "2026-01-02")]
    assert looks.at(rows).outcome is Outcome.LEARNING
    assert looks.at(rows, EXAMPLE_NOW + 2 * DAY).outcome is Outcome.PASS
    frozen = looks.at(rows, EXAMPLE_NOW + 3 * DAY)
    assert (frozen.outcome, frozen.value) == (Outcome.FAIL, 3 * 86400)
    assert looks.at([(2, "2026-01-01"), (None, "2026-01-02")], EXAMPLE_NOW + 4 * DAY).value == 0


def test_a_table_without_commits_for_long_is_frozen_at_first_sight(bench: Bench) -> None:
    table = bench.delta({"a": "int"}, [(1,)])
    verdict = bench.evaluate(table, {"frozen_table": {"max_unchanged": "2d"}}, now=datetime.now(UTC) + 3 * DAY).results[0].verdict
    assert verdict.outcome is Outcome.FAIL


def commits(days: int, now: datetime, missing: int = 0) -> tuple[CommitInfo, ...]:
    start = now.replace(hour=7, minute=12) - days * DAY
    found = [CommitInfo(day, start + day * DAY + timedelta(minutes=day * 7 % 15), "WRITE", "Append", added=10, removed=0) for day in range(days + 1 - missing)]
    return (*found, CommitInfo(99, now - HOUR, "OPTIMIZE", data=False), CommitInfo(100, now - HOUR, "WRITE", "Append", added=0))


def test_a_missed_update_is_late_with_the_time_it_was_due_and_maintenance_is_no_update() -> None:
    now = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    fine = judge("freshness_cadence", {"timezone": "Europe/Berlin"}, {"commits": commits(40, now)}, now=now)
    assert fine.outcome is Outcome.PASS and "due by Fri 2026-01-16" in fine.message
    late = judge("freshness_cadence", {"timezone": "Europe/Berlin"}, {"commits": commits(40, now, missing=1)}, History(), now)
    assert late.outcome is Outcome.FAIL and "was due by Thu 2026-01-15 09:" in late.message and "last update 1d 4h ago" in late.message
    deadline = next(value for (metric, _), value in late.gauges.items() if metric is FRESHNESS_DEADLINE)
    assert datetime.fromtimestamp(deadline, UTC).date() == now.date()


def test_what_was_learned_outlives_the_log() -> None:
    now = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    first = judge("freshness_cadence", {}, {"commits": commits(40, now)}, now=now)
    later = judge("freshness_cadence", {}, {"commits": commits(1, now + DAY)}, History(memory=first.memory), now + DAY)
    assert later.memory is not None and len(later.memory["updates"]) >= 42


def test_with_a_column_an_update_is_an_advance_of_its_greatest_value() -> None:
    past, now = History(), datetime(2026, 1, 5, 7, 0, tzinfo=UTC)
    for hour in range(24 * 20):
        moment = now + hour * HOUR
        newest = (now + timedelta(days=hour // 24)).replace(hour=3)
        verdict = judge("freshness_cadence", {"column": "ts"}, {"latest": newest}, past, moment)
        past = History(memory=verdict.memory or past.memory)
    assert past.memory is not None and len(past.memory["updates"]) == 19
    assert judge("freshness_cadence", {"column": "ts"}, {"latest": newest}, past, now + 21 * DAY + 4 * HOUR).outcome is Outcome.FAIL
