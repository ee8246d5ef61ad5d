"""One evaluation: what it costs, and that a fault stays with the check that has it."""

from __future__ import annotations

import os
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from exporter.catalog.labels import Engine, Outcome, TableFormat, Tier
from exporter.model import Evaluation, Reason, TableSpec, Verdict
from tests.conftest import Bench, write_delta

NUMBERS = {"a": "int", "b": "int"}
ROWS = [(i, i % 10) for i in range(100)]


def row_checks(count: int) -> list[dict[str, Any]]:
    return [{"range": {"name": f"c{i}", "column": "a", "min": 0, "max": 1000 + i}} for i in range(count)]


def verdicts(evaluation: Evaluation) -> dict[str, Verdict]:
    return {result.spec.id: result.verdict for result in evaluation.results}


@pytest.mark.parametrize("count", [5, 200])
def test_any_number_of_row_checks_is_one_native_query(bench: Bench, count: int) -> None:
    evaluation = bench.evaluate(bench.delta(NUMBERS, ROWS), *row_checks(count))
    assert [(scan.engine, scan.jobs) for scan in evaluation.scans] == [(Engine.NATIVE, 1)]
    assert all(verdict.outcome is Outcome.PASS for verdict in verdicts(evaluation).values())


@pytest.mark.spark
def test_5_and_200_row_checks_cost_the_same_number_of_spark_jobs(bench: Bench) -> None:
    table = bench.delta(NUMBERS, ROWS)
    session = bench.spark.session()
    scheduler = session.sparkContext._jsc.sc().dagScheduler()

    def jobs(count: int) -> int:
        before = scheduler.nextJobId()
        evaluation = bench.evaluate(table, *row_checks(count), engine=Engine.SPARK)
        assert all(verdict.outcome is Outcome.PASS for verdict in verdicts(evaluation).values())
        return int(scheduler.nextJobId() - before)

    jobs(1)  # the first look at a table reads its log
    assert jobs(5) == jobs(200) > 0


@pytest.mark.parametrize("engine", [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
def test_a_missing_column_is_the_error_of_its_check_alone(bench: Bench, engine: Engine) -> None:
    bad = {"expression": {"name": "bad", "sql": "c > 1"}}
    evaluation = bench.evaluate(bench.delta(NUMBERS, ROWS), *row_checks(8), {"not_null": {"name": "gone", "column": "aa"}}, bad, engine=engine)
    seen = verdicts(evaluation)
    assert seen.pop("gone").reason is Reason.COLUMN_NOT_FOUND
    assert seen.pop("bad").reason is Reason.COLUMN_NOT_FOUND
    assert all(verdict.outcome is Outcome.PASS for verdict in seen.values())
    assert evaluation.scans[0].jobs == 1


@pytest.mark.spark
def test_an_expression_that_fails_on_the_data_is_found_by_halving(bench: Bench) -> None:
    table = bench.delta({"a": "int", "s": "string"}, [(2**31 - 1, "x"), (1, "1")])
    evaluation = bench.evaluate(
        table, *({"range": {"name": f"c{i}", "column": "a", "min": 0}} for i in range(6)),
        {"expression": {"name": "overflows", "sql": "a + 1 > 0"}}, {"expression": {"name": "casts", "sql": "cast(s as int) > 0"}}, engine=Engine.SPARK,
    )  # fmt: skip
    seen = verdicts(evaluation)
    assert (seen.pop("overflows").reason, seen.pop("casts").reason) == (Reason.OVERFLOW, Reason.CAST)
    assert all(verdict.outcome is Outcome.PASS for verdict in seen.values())


NAMES = ("with space", "with.dot", "back`tick", "select", " leading", "ünï-çødé", 'quo"te', "it's", "UPPER", "a;b", "{brace}", "dq_col('x')", "line\nbreak")


@pytest.mark.parametrize("engine", [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
def test_columns_may_have_any_name(bench: Bench, engine: Engine) -> None:
    path = bench.directory / "names.parquet"
    path.mkdir()
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: pa.array([1, None, 3, 3]) for name in NAMES}), path / "part.parquet")
    table = TableSpec("names", TableFormat.PARQUET, path=str(path))
    checks = [{"not_null": {"name": f"n{i}", "column": name}} for i, name in enumerate(NAMES)]
    checks += [{"unique": {"name": f"u{i}", "columns": [name]}} for i, name in enumerate(NAMES)]
    checks += [{"range": {"name": f"r{i}", "column": name, "max": 2}} for i, name in enumerate(NAMES)]
    seen = verdicts(bench.evaluate(table, *checks, engine=engine))
    assert {seen[f"n{i}"].failed_rows for i in range(len(NAMES))} == {1}
    assert {seen[f"u{i}"].failed_rows for i in range(len(NAMES))} == {2}
    assert {seen[f"r{i}"].failed_rows for i in range(len(NAMES))} == {2}


@pytest.mark.parametrize("engine", [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
def test_fields_of_structs_are_columns_too(bench: Bench, engine: Engine) -> None:
    path = bench.directory / "nested"
    write_deltalake(str(path), pa.table({"address": [{"city": "Bonn", "zip": 1}, {"city": None, "zip": 2}, None]}))
    table = TableSpec("nested", TableFormat.DELTA, path=str(path))
    checks = [{"not_null": "address.city"}, {"range": {"column": "address.zip", "max": 1}}, {"expression": {"sql": "address.zip = 1"}}, {"not_null": "address.street"}]
    seen = verdicts(bench.evaluate(table, *checks, engine=engine))
    assert (seen["not_null_address.city"].failed_rows, seen["range_address.zip"].failed_rows, seen["expression"].failed_rows) == (2, 1, 2)
    assert seen["not_null_address.street"].reason is Reason.COLUMN_NOT_FOUND


def _one(bench: Bench, table: TableSpec, *checks: dict[str, Any], **options: Any) -> Verdict:
    return bench.evaluate(table, *(checks or ({"not_null": "a"},)), **options).results[0].verdict


def test_what_cannot_be_read_is_an_error_with_a_reason_and_the_process_goes_on(bench: Bench) -> None:
    gone = bench.delta(NUMBERS, ROWS)
    shutil.rmtree(gone.path or "")
    assert _one(bench, gone).reason is Reason.TABLE_NOT_FOUND
    assert _one(bench, TableSpec("wrong", TableFormat.DELTA, path=str(bench.directory))).reason is Reason.TABLE_NOT_FOUND

    corrupt = bench.delta(NUMBERS, ROWS)
    next(Path(corrupt.path or "").glob("*.parquet")).write_bytes(b"PAR1 this is no parquet file PAR1")
    assert _one(bench, corrupt).reason is Reason.CORRUPT

    lost = bench.delta(NUMBERS, ROWS)
    next(Path(lost.path or "").glob("*.parquet")).unlink()
    assert _one(bench, lost).reason in (Reason.TABLE_NOT_FOUND, Reason.CORRUPT)

    truncated = bench.delta(NUMBERS, ROWS)
    for _ in range(3):
        write_delta(Path(truncated.path or ""), NUMBERS, ROWS, mode="append")
    (Path(truncated.path or "") / "_delta_log" / "00000000000000000000.json").unlink()
    assert _one(bench, truncated).outcome is Outcome.ERROR

    assert _one(bench, bench.delta(NUMBERS, ROWS)).outcome is Outcome.PASS


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_table_that_may_not_be_read_says_so(bench: Bench) -> None:
    table = bench.delta(NUMBERS, ROWS)
    (Path(table.path or "") / "_delta_log").chmod(0)
    assert _one(bench, table).reason is Reason.PERMISSION


def test_a_native_scan_over_its_time_is_killed_and_the_next_one_runs(bench: Bench) -> None:
    path = bench.directory / "large"
    count = 6_000_000
    write_deltalake(str(path), pa.table({"k": pa.array((str(i * 7919 % 1_000_003) for i in range(count)), pa.string())}))
    table = TableSpec("large", TableFormat.DELTA, path=str(path))
    _one(bench, table, {"schema": {"columns": {"k": "string"}}})  # the workers are up
    started = time.monotonic()
    heavy = [{"pattern": {"name": f"p{i}", "column": "k", "regex": rf"[0-9]*{i % 10}[0-9]?[0-9]?x{{0,{i}}}"}} for i in range(100)]
    verdict = _one(bench, table, *heavy, timeout=timedelta(seconds=1))
    assert verdict.reason is Reason.TIMEOUT
    assert "raise `timeout`" in verdict.message
    assert time.monotonic() - started < 10
    assert _one(bench, bench.delta(NUMBERS, ROWS)).outcome is Outcome.PASS


@pytest.mark.spark
def test_a_spark_job_over_its_time_is_cancelled_on_the_cluster(bench: Bench) -> None:
    table = bench.delta(NUMBERS, ROWS)
    bench.evaluate(table, {"not_null": "a"}, engine=Engine.SPARK)
    endless = "select count(*) from range(100000000000) x join range(3) y on x.id % 7 = y.id"
    verdict = _one(bench, table, {"query": {"name": "endless", "sql": endless, "min": 0}}, engine=Engine.SPARK, timeout=timedelta(seconds=3))
    assert verdict.reason is Reason.TIMEOUT
    tracker, end = bench.spark.session().sparkContext.statusTracker(), time.monotonic() + 10
    while tracker.getActiveJobsIds() and time.monotonic() < end:
        time.sleep(0.1)
    assert not tracker.getActiveJobsIds()


def test_all_measurements_of_a_run_see_one_version(bench: Bench) -> None:
    table = bench.delta(NUMBERS, ROWS)
    evaluation = bench.evaluate(table, {"row_count": {"min": 1}}, {"not_null": "a"}, {"unique": ["a"]})
    assert evaluation.facts.version == DeltaTable(table.path or "").version()
    assert {verdict.evaluated_rows for verdict in verdicts(evaluation).values()} == {100}


def test_metadata_answers_without_reading_a_row(bench: Bench) -> None:
    evaluation = bench.evaluate(bench.delta(NUMBERS, ROWS), {"row_count": {"min": 1}}, {"schema": {"columns": {"a": "int"}}}, {"freshness": {"source": "commit", "max_age": "1d"}})
    assert {result.tier for result in evaluation.results} == {Tier.METADATA}
    assert not evaluation.scans


def test_a_forced_engine_that_cannot_answer_exactly_is_an_error_with_the_node(bench: Bench) -> None:
    verdict = _one(bench, bench.delta({"s": "string"}, [("a",)]), {"expression": {"sql": "upper(s) = 'A'"}}, engine=Engine.NATIVE)
    assert verdict.reason is Reason.ENGINE
    assert "upper" in verdict.message.lower()


def test_a_filter_on_a_column_that_is_gone_is_an_error_of_what_uses_it(bench: Bench) -> None:
    table = bench.delta(NUMBERS, ROWS)
    seen = verdicts(bench.evaluate(table, {"not_null": {"column": "a", "filter": "zz = 1"}}, {"range": {"column": "b", "min": 0}}, engine=Engine.NATIVE))
    assert seen["not_null_a"].reason is Reason.COLUMN_NOT_FOUND
    assert seen["range_b"].outcome is Outcome.PASS


def test_an_all_null_column_has_no_values_and_is_all_null(bench: Bench) -> None:
    table = bench.delta({"x": "double"}, [(None,)] * 4)
    seen = verdicts(bench.evaluate(table, {"aggregate": {"column": "x", "fn": "avg", "max": 1}}, {"not_null": {"column": "x", "max": "50%"}}))
    assert seen["aggregate_x"].reason is Reason.NO_VALUES
    assert seen["not_null_x"].value == 1.0


def test_one_row_in_the_future_does_not_hide_that_a_table_is_stale(bench: Bench) -> None:
    from exporter.catalog.metrics import FRESHNESS, FUTURE_ROWS

    table = bench.delta({"ts": "timestamp"}, [("2026-01-10T00:00:00Z",), ("2026-02-14T12:00:00Z",)])
    verdict = _one(bench, table, {"freshness": {"column": "ts", "max_age": "24h"}})
    assert verdict.outcome is Outcome.FAIL
    assert verdict.gauges[FUTURE_ROWS, ()] == 1
    assert verdict.gauges[FRESHNESS, ()] == 1768003200


@pytest.mark.parametrize("engine", [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
def test_hive_partitions_of_parquet_have_the_types_that_spark_gives_them(bench: Bench, engine: Engine) -> None:
    import pyarrow.dataset as ds

    path = bench.directory / "hive"
    rows = pa.table({"x": [1, 2, 3], "day": ["2026-01-13", "2026-01-14", None], "shop": ["a", "b", "b"], "n": [1, 2, 3]})
    ds.write_dataset(rows, path, format="parquet", partitioning=ds.partitioning(pa.schema([("day", pa.string()), ("shop", pa.string()), ("n", pa.int32())]), flavor="hive"))
    table = TableSpec("hive", TableFormat.PARQUET, path=str(path))
    checks = [
        {"range": {"column": "day", "min": "2026-01-14"}}, {"range": {"column": "n", "max": 2}}, {"accepted_values": {"column": "shop", "values": ["a"]}},
        {"partitions": {"column": "day", "lookback": "3d"}}, {"not_null": "day"}, {"row_count": {"min": 3, "max": 3}},
    ]  # fmt: skip
    seen = verdicts(bench.evaluate(table, *checks, engine=engine))
    assert [verdict.value for verdict in seen.values()] == [1, 1, 2, 1, 1, 3], [verdict.message for verdict in seen.values()]


@pytest.mark.spark
def test_catalog_tables_and_jdbc_are_read_by_spark(bench: Bench) -> None:
    session = bench.spark.session()
    session.sql("CREATE OR REPLACE TEMP VIEW people AS SELECT * FROM VALUES (1, 'a'), (2, NULL) AS t(id, name)")
    session.sql(f"CREATE TABLE IF NOT EXISTS shop_orders USING delta LOCATION '{bench.directory / 'orders'}' AS SELECT id FROM range(7)")
    try:
        catalog = bench.evaluate(TableSpec("orders", TableFormat.TABLE, identifier="shop_orders"), {"row_count": {"min": 1}}, {"freshness": {"source": "commit", "max_age": "999d"}})
        assert {result.verdict.outcome for result in catalog.results} == {Outcome.PASS}, [result.verdict.message for result in catalog.results]
        assert (catalog.results[0].verdict.value, catalog.facts.version) == (7, 0)
    finally:
        session.sql("DROP TABLE shop_orders")
    derby = {"url": "jdbc:derby:memory:dq;create=true", "driver": "org.apache.derby.iapi.jdbc.AutoloadedDriver"}
    session.table("people").write.format("jdbc").options(**derby, dbtable="people").mode("overwrite").save()
    jdbc = TableSpec("people", TableFormat.JDBC, jdbc={**derby, "dbtable": "people"})
    seen = verdicts(bench.evaluate(jdbc, {"row_count": {"min": 2}}, {"not_null": "name"}, {"unique": ["id"]}))
    assert {name: verdict.value for name, verdict in seen.items()} == {"row_count": 2, "not_null_name": 1, "unique_id": 0}, [v.message for v in seen.values()]
