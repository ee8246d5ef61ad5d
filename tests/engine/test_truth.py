"""Numbers that an engine gets wrong by itself: each is a case that was once a green light for bad data."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from exporter.catalog.labels import Engine, Outcome, TableFormat
from exporter.checks.base import EXAMPLE_NOW
from exporter.engine.cancel import Cancel
from exporter.engine.evaluate import Evaluator
from exporter.model import NO_HISTORY, Measure, Measurement, Reason, TableSpec, Verdict
from tests.conftest import Bench, check_specs

BOTH = [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)]
NINES = "9" * 38


def _one(bench: Bench, table: TableSpec, check: dict[str, Any], engine: Engine | None = None, **options: Any) -> Verdict:
    return bench.evaluate(table, check, engine=engine, **options).results[0].verdict


@pytest.mark.parametrize("fn", ["sum", "avg"])
def test_a_sum_beyond_38_digits_is_refused_natively_rather_than_wrapped(bench: Bench, fn: str) -> None:
    table = bench.delta({"x": "decimal(38,0)"}, [(NINES,), (NINES,)])
    verdict = _one(bench, table, {"aggregate": {"column": "x", "fn": fn, "max": 1}}, Engine.NATIVE)
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, Reason.ENGINE)


@pytest.mark.spark
def test_a_sum_beyond_38_digits_is_an_error_of_its_check_alone(bench: Bench) -> None:
    table = bench.delta({"x": "decimal(38,0)"}, [(NINES,), (NINES,)])
    seen = bench.evaluate(table, {"aggregate": {"column": "x", "fn": "sum", "max": 1}}, {"not_null": "x"}).results
    assert [result.verdict.outcome for result in seen] == [Outcome.ERROR, Outcome.PASS]
    assert NINES[:5] not in seen[0].verdict.message


QUERIES = [
    ("select count(*) from (select distinct a from {table}) z", 3),
    ("select count(*) from (select a from {table} union all select a from {table}) z", 12),
    ("select count(*) from (select a from {table} where a < 2) z", 4),
    ("select count(*) from {table} tablesample (3 rows)", 3),
    ("with x as (select a, count(*) c from {table} group by a) select max(c) from x", 2),
]


@pytest.mark.spark
@pytest.mark.parametrize(("sql", "truth"), QUERIES)
def test_a_query_is_answered_as_written(bench: Bench, sql: str, truth: int) -> None:
    table = bench.delta({"a": "int"}, [(i % 3,) for i in range(6)])
    assert _one(bench, table, {"query": {"name": "q", "sql": sql, "max": 100}}).value == truth


@pytest.mark.parametrize("engine", BOTH)
def test_the_filter_of_a_query_check_restricts_its_table(bench: Bench, engine: Engine) -> None:
    table = bench.delta({"a": "int"}, [(i,) for i in range(10)])
    assert _one(bench, table, {"query": {"name": "q", "sql": "select max(a) from {table}", "filter": "a < 5", "max": 100}}, engine).value == 4


@pytest.mark.spark
def test_a_query_may_read_another_configured_table(bench: Bench) -> None:
    other = bench.delta({"b": "int"}, [(1,), (2,), (3,)], name="shop.other")
    table = bench.delta({"a": "int"}, [(1,)])
    sql = "select count(*) from {table} t join shop.other o on o.b >= t.a"
    assert _one(bench, table, {"query": {"name": "q", "sql": sql, "max": 100}}, others=[other]).value == 3


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_an_instant_is_as_old_as_it_is_in_any_zone_of_the_table(bench: Bench, engine: Engine, zone: str) -> None:
    table = bench.delta({"ts": "timestamp"}, [("2026-01-15T10:00:00Z",)], timezone=ZoneInfo(zone))
    assert _one(bench, table, {"freshness": {"column": "ts", "max_age": "3h", "timezone": zone}}, engine).value == 7200


@pytest.mark.spark
def test_an_instant_does_not_depend_on_the_zone_of_the_process(bench: Bench) -> None:
    table = bench.delta({"ts": "timestamp"}, [("2026-01-15T10:00:00Z",)])
    config = bench.directory / "dq.yml"
    config.write_text(f"version: 1\ntables: [{{name: t, path: {table.path}, checks: [{{freshness: {{column: ts, max_age: 1h}}}}]}}]\n")
    probe = f"""
import json, sys
from exporter.cli import main
sys.argv = ["dq-exporter", "check", "-c", {str(config)!r}, "--no-store", "--engine", "spark", "--format", "json"]
main()
"""
    environment = {**os.environ, "TZ": "Asia/Tokyo"}
    ended = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "(2026-01-15 10:00 UTC)" in ended.stdout


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("type_", ["timestamp", "timestamp_ntz", "date"])
def test_years_before_1000_are_years(bench: Bench, engine: Engine, type_: str) -> None:
    table = bench.delta({"ts": type_}, [("0400-01-01" if type_ == "date" else "0400-01-01T00:00:00",), ("2026-01-01" if type_ == "date" else "2026-01-01T00:00:00",)])
    assert _one(bench, table, {"range": {"column": "ts", "min": "0500-01-01"}}, engine).failed_rows == 1


@pytest.mark.parametrize("check", [{"max": "2250-01-01"}, {"min": "1000-01-01"}, {"max": "5000-01-01"}])
@pytest.mark.parametrize("format_", [TableFormat.DELTA, TableFormat.PARQUET])
@pytest.mark.spark
def test_times_beyond_what_nanoseconds_hold_are_read_as_they_are(bench: Bench, check: dict[str, str], format_: TableFormat) -> None:
    path = bench.directory / "ages"
    session = bench.spark.session()
    frame = session.sql("select cast(x as timestamp) ts from values ('9999-12-31 23:59:59'), ('0001-01-01 00:00:00'), ('2300-01-01 00:00:00'), ('2026-01-01 00:00:00') as v(x)")
    frame.write.format(format_.value).save(str(path))
    failed = _one(bench, TableSpec("ages", format_, path=str(path)), {"range": {"column": "ts", **check}}, Engine.NATIVE).failed_rows
    assert failed == {"2250-01-01": 2, "1000-01-01": 1, "5000-01-01": 1}[next(iter(check.values()))]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_int96_timestamps_of_parquet_are_instants(bench: Bench, zone: str) -> None:
    path = bench.directory / "int96"
    path.mkdir()
    pq.write_table(pa.table({"ts": pa.array([datetime(2026, 1, 15, 10, tzinfo=UTC)], pa.timestamp("us", "UTC"))}), path / "a.parquet", use_deprecated_int96_timestamps=True)
    table = TableSpec("int96", TableFormat.PARQUET, path=str(path), timezone=ZoneInfo(zone))
    seen = bench.evaluate(table, {"freshness": {"column": "ts", "max_age": "3h"}}, {"schema": {"columns": {"ts": "timestamp"}}}, engine=Engine.NATIVE)
    assert [result.verdict.value for result in seen.results] == [7200, 0]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("engine", BOTH)
def test_a_date_at_the_end_of_the_calendar_harms_no_neighbour(bench: Bench, zone: str, engine: Engine) -> None:
    table = bench.delta({"d": "date"}, [("0001-01-01",)], timezone=ZoneInfo(zone))
    seen = bench.evaluate(table, {"row_count": {"min": 1}}, {"freshness": {"column": "d", "max_age": "1d"}}, engine=engine)
    assert [result.verdict.outcome for result in seen.results] == [Outcome.PASS, Outcome.FAIL]


@pytest.mark.spark
def test_text_in_the_data_neither_ends_the_session_nor_reaches_a_message(bench: Bench) -> None:
    table = bench.delta({"s": "string"}, [("UNAVAILABLE",), ("Connection refused canary-4711@secret.example",)])
    session = bench.spark.session()
    checks: list[dict[str, Any]] = [{"expression": {"name": "bad", "sql": "cast(s as boolean)"}}, {"not_null": "s"}]
    bad, good = (result.verdict for result in bench.evaluate(table, *checks, engine=Engine.SPARK).results)
    assert (bad.reason, good.outcome) == (Reason.CAST, Outcome.PASS)
    assert "canary" not in bad.message and "UNAVAILABLE" not in bad.message
    assert bench.spark.session() is session


@pytest.mark.spark
@pytest.mark.parametrize("sql", ["cast(s as int) > 0", "to_number(s, '999') > 0", "to_date(s) > '2020-01-01'", "from_json(s, 'a int', map('mode', 'FAILFAST')) is not null", "regexp_replace('x', s, 'y') = 'x'"])
def test_no_error_quotes_the_data_even_if_it_holds_quotes(bench: Bench, sql: str) -> None:
    table = bench.delta({"s": "string"}, [("it's-geheim canary (Connection refused",)])
    session = bench.spark.session()
    verdict = _one(bench, table, {"expression": {"name": "x", "sql": sql}}, Engine.SPARK)
    assert "geheim" not in verdict.message and "canary" not in verdict.message, verdict.message
    assert verdict.reason is not Reason.ENGINE_LOST and bench.spark.session() is session


@pytest.mark.parametrize("engine", BOTH)
def test_quoted_dots_are_part_of_a_name_and_others_lead_into_a_struct(bench: Bench, engine: Engine) -> None:
    rows = pa.table({"a.b": pa.array([2, 2]), "a": pa.array([{"b": 1}, {"b": 5}]), "st": pa.array([{"b.c": 7}, {"b.c": None}])})
    path = bench.directory / "dots"
    write_deltalake(str(path), rows)
    checks: list[dict[str, Any]] = [{"expression": {"sql": "a.b = 1 and `a.b` = 2"}}, {"not_null": "st.b.c"}, {"not_null": "st.`b.c`"}]
    seen = bench.evaluate(TableSpec("dots", TableFormat.DELTA, path=str(path)), *checks, engine=engine).results
    assert [result.verdict.failed_rows for result in seen] == [1, 1, 1]


@pytest.mark.parametrize("engine", BOTH)
def test_a_check_is_cut_off_at_its_own_timeout_and_its_neighbours_are_not(bench: Bench, engine: Engine) -> None:
    table = bench.delta({"a": "bigint"}, [(i,) for i in range(3000)])
    slow = {"sql": "select count(*) from {table} x cross join {table} y where sha2(cast(x.a + y.a as string), 512) > 'f'", "max": 1e12}
    checks: dict[str, Any] = {"unique": {"name": "hasty", "columns": ["a"]}} if engine is Engine.NATIVE else {"query": {"name": "hasty", **slow}}
    hasty = check_specs(checks, timeout=timedelta(milliseconds=1))
    patient = check_specs({"unique": {"name": "patient", "columns": ["a"], "filter": "a > 1"}}, timeout=timedelta(minutes=2))
    cancel = Cancel(timedelta(minutes=2))
    evaluator = Evaluator({table.name: table}, bench.workers, bench.spark, engine)
    first, second = evaluator.evaluate(table, (*hasty, *patient), lambda table, check: NO_HISTORY, EXAMPLE_NOW, cancel).results
    cancel.close()
    assert (first.verdict.reason, second.verdict.outcome) == (Reason.TIMEOUT, Outcome.PASS)


@pytest.mark.spark
def test_counts_by_bucket_and_value_quantiles_and_commits_are_the_same_on_both_engines(bench: Bench) -> None:
    columns = {"d": "date", "ts": "timestamp", "ntz": "timestamp_ntz", "s": "string", "x": "double"}
    rows = [
        ("2026-01-01", "2026-01-01T10:07:00Z", "2026-01-01T10:07:00", "a", 1.0), ("2026-01-01", "2026-01-01T10:20:00Z", "2026-01-01T10:20:00", "b", 3.0),
        ("2026-01-02", "2026-01-02T23:59:59Z", "2026-01-02T23:59:59", "a", float("nan")), (None, None, None, None, None),
    ]  # fmt: skip
    table = bench.delta(columns, rows)
    wanted = [
        Measurement(Measure.BUCKETS, ("d",)), Measurement(Measure.BUCKETS, ("ts",), slot=900), Measurement(Measure.BUCKETS, ("ntz",), slot=3600),
        Measurement(Measure.BUCKETS, ("ts",), slot=900, since=datetime(2026, 1, 2, tzinfo=UTC)), Measurement(Measure.VALUES, ("s",), limit=5),
        Measurement(Measure.QUANTILES, ("x",), quantiles=(0.5, 1.0)),
    ]  # fmt: skip
    seen = [bench.measure(table, wanted, engine) for engine in (Engine.NATIVE, Engine.SPARK)]
    assert seen[0] == seen[1]
    by_day, by_quarter, by_hour, later, values, quantiles = seen[0]
    assert by_day.rows == {"2026-01-01": 2, "2026-01-02": 1}
    assert by_quarter.rows == {"2026-01-01T10:00:00+00:00": 1, "2026-01-01T10:15:00+00:00": 1, "2026-01-02T23:45:00+00:00": 1}
    assert by_hour.rows == {"2026-01-01T10:00:00": 2, "2026-01-02T23:00:00": 1}
    assert (later.rows, values.rows, quantiles) == ({"2026-01-02T23:45:00+00:00": 1}, {"a": 2, "b": 1}, (2.0, 3.0))
