"""How checks judge what was seen: pure, without an engine."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.catalog.labels import Outcome, TableFormat
from exporter.checks import REGISTRY
from exporter.checks.base import EXAMPLE_NOW, ago
from exporter.model import Column, Counts, History, Point, Reason, TableSpec, Value, Verdict

HOUR = timedelta(hours=1)


def judge(type_: str, body: dict[str, Any], seen: dict[str, Value], past: History | None = None, now: datetime = EXAMPLE_NOW) -> Verdict:
    return REGISTRY[type_].model_validate(body).judge(seen, past or History(), now)


def counted(*versions: tuple[int | None, int]) -> list[Point]:
    return [Point(EXAMPLE_NOW - (len(versions) - i) * HOUR, version, {"evaluated": rows}) for i, (version, rows) in enumerate(versions)]


@pytest.mark.parametrize(
    ("points", "version", "rows", "change"),
    [
        (counted((0, 100), (1, 45)), 2, 45, 0.0),
        (counted((0, 100)), 2, 45, -0.55),
        (counted((4, 0), (5, 10)), 6, 10, 0.0),
        (counted((0, 100)), 0, 100, None),
        (counted((None, 100), (None, 45)), None, 45, -0.55),
        (counted((None, 45)), None, 45, 0.0),
        ([], 3, 45, None),
    ],
)
def test_row_count_change_compares_with_the_version_before(points: list[Point], version: int | None, rows: int, change: float | None) -> None:
    verdict = judge("row_count_change", {"max_drop": "90%"}, {"evaluated": rows}, History(points, version=version))
    assert verdict.value == pytest.approx(change) if change is not None else verdict.outcome is Outcome.LEARNING


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        ("row_count", {"min": float("nan")}),
        ("row_count", {"max": float("inf")}),
        ("aggregate", {"column": "a", "fn": "sum", "max": float("nan")}),
        ("row_count", {"min": 5, "warn": {"min": 3}}),
        ("aggregate", {"column": "a", "fn": "avg", "max": 5, "warn": {"max": 5}}),
        ("row_count_change", {"max_drop": "50%", "warn": {"max_drop": "60%"}}),
        ("partitions", {"column": "d", "max": 1, "warn": {"max": 2}}),
        ("reconciliation", {"with": "x", "tolerance": "1%", "warn": {"tolerance": "2%"}}),
        ("range", {"column": "d", "min": "2030-01-01", "max": "2020-01-01"}),
        ("range", {"column": "d", "min": "zebra", "max": 5}),
        ("schema", {"columns": {"a": "bigintt"}}),
        ("schema", {"columns": {"a": "decimal(99,2)"}}),
        ("schema", {"columns": {"a": "array<"}}),
        ("expression", {"sql": "*"}),
        ("expression", {"sql": "a = :p"}),
        ("expression", {"sql": "explode(a) = 1"}),
        ("query", {"sql": "select count(*) from {table} version as of 0", "max": 1}),
        ("freshness", {"max_age": "9999999999d"}),
    ],
)
def test_a_limit_that_means_nothing_is_refused_when_it_is_read(type_: str, body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        REGISTRY[type_].model_validate(body)


@pytest.mark.parametrize("type_", ["array<struct<a:int,b:map<string,decimal(10,2)>>>", "DECIMAL(12, 2)", "long", "varchar(10)", "struct<`odd name`:date>", "timestamp_ntz"])
def test_every_spelling_of_a_type_is_understood(type_: str) -> None:
    assert REGISTRY["schema"].model_validate({"columns": {"a": type_}})


@pytest.mark.parametrize("value", [datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)])
def test_an_aggregate_of_a_time_is_an_error_of_type(value: datetime | date) -> None:
    verdict = judge("aggregate", {"column": "ts", "fn": "max", "max": 1}, {"evaluated": 1, "value": value})
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.TYPE)


def test_a_number_beyond_a_double_is_an_error_and_no_verdict() -> None:
    verdict = judge("aggregate", {"column": "x", "fn": "sum", "min": 1}, {"evaluated": 2, "value": float("inf")})
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.OVERFLOW)


def test_reconciled_times_are_equal_or_not() -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    body = {"with": "raw", "measures": ["max(ts)"], "tolerance": "50%"}
    seen: dict[str, Value] = {"evaluated": 1, "ours max(ts)": day, "theirs max(ts)": day}
    assert judge("reconciliation", body, seen).outcome is Outcome.PASS
    assert judge("reconciliation", body, {**seen, "theirs max(ts)": day + HOUR}).outcome is Outcome.FAIL
    assert judge("reconciliation", {**body, "measures": ["sum(a)"]}, {"evaluated": 1, "ours sum(a)": Decimal(2), "theirs sum(a)": 3}).value == pytest.approx(1 / 3)


@pytest.mark.parametrize("type_", ["query", "partitions", "schema", "schema_change"])
def test_on_empty_holds_for_checks_that_count_no_rows(type_: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "query": {"sql": "select count(*) from {table}", "max": 1}, "partitions": {"column": "d"}, "schema": {"columns": {"a": "int"}}, "schema_change": {},
    }  # fmt: skip
    check = REGISTRY[type_].model_validate({**bodies[type_], "on_empty": "fail"})
    assert "evaluated" in check.measurements(TableSpec("t", TableFormat.DELTA, path="/t"), History(), EXAMPLE_NOW)
    assert check.judge({"evaluated": 0}, History(), EXAMPLE_NOW).outcome is Outcome.FAIL


def test_schema_finds_columns_whatever_their_case_unless_both_are_there() -> None:
    seen: dict[str, Value] = {"schema": (Column("id", "bigint"),)}
    assert judge("schema", {"columns": {"ID": "bigint"}}, seen).outcome is Outcome.PASS
    both: dict[str, Value] = {"schema": (Column("id", "bigint"), Column("ID", "int"))}
    assert judge("schema", {"columns": {"ID": "int"}}, both).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("partitions", "outcome", "age", "future"),
    [
        ({"2026-01-14": 5, "2026-01-13": 5}, Outcome.PASS, 36 * 3600, 0),
        ({"20260115": 5}, Outcome.PASS, 12 * 3600, 0),
        ({"2026-01-10-07": 5}, Outcome.FAIL, 125 * 3600, 0),
        ({"2026-01-14": 5, "2026-02-20": 7}, Outcome.PASS, 36 * 3600, 7),
        ({"2026-01-15": 0, "2026-01-14": 1}, Outcome.PASS, 36 * 3600, 0),
        ({"__HIVE_DEFAULT_PARTITION__": 3}, Outcome.FAIL, None, 0),
    ],
)
def test_freshness_of_partitions_is_that_of_the_newest_that_has_begun(partitions: dict[str, int], outcome: Outcome, age: float | None, future: int) -> None:
    verdict = judge("freshness", {"source": "partition", "column": "d", "max_age": "2d"}, {"partitions": Counts(partitions)})
    assert (verdict.outcome, verdict.value) == (outcome, age)
    assert next(value for (metric, _), value in verdict.gauges.items() if metric.name == "dq_future_rows") == future


def test_a_moment_is_ago_or_ahead() -> None:
    assert ago(EXAMPLE_NOW - HOUR, EXAMPLE_NOW).startswith("1h ago")
    assert ago(EXAMPLE_NOW + timedelta(minutes=3), EXAMPLE_NOW).startswith("in 3m")
