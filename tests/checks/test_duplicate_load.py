"""A retried load is told with its partition and overlap; histories that only look like one are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from exporter.catalog.labels import Engine, Outcome, TableFormat
from exporter.model import History, Reason, TableSpec, Verdict
from tests.conftest import Bench

DAYS = ("2026-11-20", "2026-11-21", "2026-11-22")


def batch(day: str, first: int = 0, rows: int = 100) -> list[tuple[Any, ...]]:
    return [(first + i, f"key-{(first + i) * 7919 % 100_003}", day) for i in range(rows)]


class DeltaRs:
    """Writes with delta-rs."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self.path = str(path)

    def _table(self, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
        ids, keys, days = zip(*rows, strict=True)
        return pa.table({"id": pa.array(ids, pa.int64()), "key": pa.array(keys), "day": pa.array(days)})

    def append(self, rows: Sequence[tuple[Any, ...]], partitioned: bool = True, tag: str | None = None) -> None:
        properties = CommitProperties(custom_metadata={"run_id": tag}) if tag else None
        write_deltalake(self.path, self._table(rows), mode="append", partition_by=["day"] if partitioned else None, commit_properties=properties)

    def overwrite(self, rows: Sequence[tuple[Any, ...]], day: str) -> None:
        write_deltalake(self.path, self._table(rows), mode="overwrite", predicate=f"day = '{day}'")

    def merge(self, rows: Sequence[tuple[Any, ...]]) -> None:
        merging = DeltaTable(self.path).merge(self._table(rows), "t.id = s.id AND t.day = s.day", source_alias="s", target_alias="t")
        merging.when_matched_update_all().when_not_matched_insert_all().execute()

    def delete(self, where: str) -> None:
        DeltaTable(self.path).delete(where)

    def optimize(self) -> None:
        DeltaTable(self.path).optimize.compact()


class Spark(DeltaRs):
    """Writes with Spark."""

    def __init__(self, bench: Bench, path: Path) -> None:
        super().__init__(bench, path)
        self.session = bench.spark.session()

    def _frame(self, rows: Sequence[tuple[Any, ...]]) -> Any:
        return self.session.createDataFrame(list(rows), "id bigint, key string, day string")

    def append(self, rows: Sequence[tuple[Any, ...]], partitioned: bool = True, tag: str | None = None) -> None:
        writer = self._frame(rows).write.format("delta").mode("append")
        writer = writer.partitionBy("day") if partitioned else writer
        (writer.option("userMetadata", f'{{"run_id": "{tag}"}}') if tag else writer).save(self.path)

    def overwrite(self, rows: Sequence[tuple[Any, ...]], day: str) -> None:
        self._frame(rows).write.format("delta").mode("overwrite").option("replaceWhere", f"day = '{day}'").save(self.path)

    def merge(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._frame(rows).createOrReplaceTempView("loaded")
        self.session.sql(f"MERGE INTO delta.`{self.path}` t USING loaded s ON t.id = s.id AND t.day = s.day WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")

    def delete(self, where: str) -> None:
        self.session.sql(f"DELETE FROM delta.`{self.path}` WHERE {where}")

    def optimize(self) -> None:
        self.session.sql(f"OPTIMIZE delta.`{self.path}`")


WRITERS = [DeltaRs, pytest.param(Spark, marks=pytest.mark.spark)]


def judge(bench: Bench, path: Path, memory: Mapping[str, Any] | None = None, key: Sequence[str] = ("id",), engine: Engine | None = Engine.NATIVE) -> tuple[Verdict, int]:
    """The verdict, and the number of statements that were run on data."""
    table = TableSpec("loads", TableFormat.DELTA, path=str(path))
    evaluation = bench.evaluate(table, {"duplicate_load": {"key": list(key)}}, engine=engine, now=datetime.now(UTC), past=History(memory=dict(memory) if memory else None))
    return evaluation.results[0].verdict, sum(scan.jobs for scan in evaluation.scans)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_retried_append_is_told_with_partition_overlap_and_what_undoes_it(bench: Bench, writer: type[DeltaRs]) -> None:
    path = bench.directory / "loads"
    load = writer(bench, path)
    for place, day in enumerate(DAYS):
        load.append(batch(day, place * 1000))
    load.append(batch(DAYS[1], 1000))
    verdict, jobs = judge(bench, path)
    assert (verdict.outcome, verdict.value, verdict.failed_rows, jobs) == (Outcome.FAIL, 1.0, 100, 1), verdict.message
    assert f"day={DAYS[1]}" in verdict.message and "100% of the keys (id)" in verdict.message and "version 3" in verdict.message
    assert "TO VERSION AS OF 2" in verdict.message
    again, jobs = judge(bench, path, verdict.memory)
    assert (again.outcome, again.message, jobs) == (verdict.outcome, verdict.message, 0)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_retry_without_partitions_is_found_and_measured_by_its_share_of_keys(bench: Bench, writer: type[DeltaRs]) -> None:
    path = bench.directory / "loads"
    load = writer(bench, path)
    load.append(batch("2026-11-20", 0), partitioned=False)
    load.append(batch("2026-11-21", 1000), partitioned=False)
    load.append(batch("2026-11-21", 1000)[:80] + batch("2026-11-21", 1080, 20) + batch("2026-11-21", 5000, 1), partitioned=False)
    verdict, _ = judge(bench, path)
    assert (verdict.outcome, verdict.value) == (Outcome.FAIL, pytest.approx(100 / 101)), verdict.message


@pytest.mark.parametrize("writer", WRITERS)
def test_a_load_that_was_undone_is_no_longer_told_and_a_merge_elsewhere_undoes_nothing(bench: Bench, writer: type[DeltaRs]) -> None:
    path = bench.directory / "loads"
    load = writer(bench, path)
    load.append(batch(DAYS[0]))
    load.append(batch(DAYS[0]))
    first, _ = judge(bench, path)
    assert first.outcome is Outcome.FAIL
    load.append(batch(DAYS[1], 5000))
    load.merge(batch(DAYS[1], 5050))
    still, _ = judge(bench, path, first.memory)
    assert still.outcome is Outcome.FAIL, still.message
    DeltaTable(str(path)).restore(0)
    load.append(batch(DAYS[2], 9000))
    undone, _ = judge(bench, path, still.memory)
    assert undone.outcome is Outcome.PASS, undone.message


@pytest.mark.parametrize("writer", WRITERS)
def test_the_same_run_twice_is_compared_whatever_its_size(bench: Bench, writer: type[DeltaRs]) -> None:
    path = bench.directory / "loads"
    load = writer(bench, path)
    load.append(batch(DAYS[0]), tag="run-7")
    load.append(batch(DAYS[0], rows=60), tag="run-7")
    verdict, _ = judge(bench, path)
    assert verdict.outcome is Outcome.FAIL and "same run or batch" in verdict.message, verdict.message


def test_a_key_that_does_not_exist_is_an_error_before_anything_looks_alike(bench: Bench) -> None:
    path = bench.directory / "loads"
    DeltaRs(bench, path).append(batch(DAYS[0]))
    assert judge(bench, path, key=("nope",))[0].reason is Reason.COLUMN_NOT_FOUND


def test_all_micro_batches_retried_as_one_are_found(bench: Bench) -> None:
    path = bench.directory / "loads"
    load = DeltaRs(bench, path)
    load.append(batch(DAYS[0], 0, 40))
    load.append(batch(DAYS[0], 40, 60))
    load.append(batch(DAYS[0], 0, 100))
    verdict, _ = judge(bench, path, key=("key",))
    assert (verdict.outcome, verdict.value) == (Outcome.FAIL, 1.0), verdict.message


@pytest.mark.parametrize("engine", [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
def test_without_a_key_all_plain_columns_are_compared_with_their_nulls(bench: Bench, engine: Engine) -> None:
    path = bench.directory / "loads"
    load = DeltaRs(bench, path)
    rows = [(i, None, DAYS[0]) for i in range(5)] + batch(DAYS[0], 100)
    load.append(rows)
    load.append(rows)
    assert judge(bench, path, key=(), engine=engine)[0].value == 1.0


@pytest.mark.spark
def test_mapped_columns_are_called_as_they_are_and_what_is_gone_is_said_to_be(bench: Bench) -> None:
    path, session = bench.directory / "loads", bench.spark.session()
    session.sql(f"CREATE TABLE delta.`{path}` (id bigint, key string, `day x` string) USING delta PARTITIONED BY (`day x`) TBLPROPERTIES ('delta.columnMapping.mode' = 'name')")
    for _ in range(2):
        session.createDataFrame(batch(DAYS[0]), "id bigint, key string, `day x` string").write.format("delta").mode("append").save(str(path))
    verdict, _ = judge(bench, path, engine=None)
    assert verdict.outcome is Outcome.FAIL and f"day x={DAYS[0]}" in verdict.message, verdict.message
    session.sql(f"DELETE FROM delta.`{path}` WHERE id < 50")
    session.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    session.sql(f"VACUUM delta.`{path}` RETAIN 0 HOURS")
    gone, _ = judge(bench, path, engine=Engine.NATIVE)
    assert gone.outcome is not Outcome.PASS and "there is no table" not in gone.message, gone.message


def test_partitions_of_two_levels_with_odd_values_are_told_as_they_are(bench: Bench) -> None:
    path = bench.directory / "loads"
    rows = pa.table({"id": [1, 2, 3] * 10, "day": [DAYS[0]] * 30, "region": ["a/b", "c=d", None] * 10})
    for _ in range(2):
        write_deltalake(str(path), rows, mode="append", partition_by=["day", "region"])
    verdict, jobs = judge(bench, path)
    assert (verdict.outcome, verdict.failed_rows, jobs) == (Outcome.FAIL, 30, 3), verdict.message
    assert f"to day={DAYS[0]}/region=" in verdict.message and "region=a/b" in verdict.message and "appended 30 rows" in verdict.message


@pytest.mark.spark
def test_both_engines_measure_the_same_overlap(bench: Bench) -> None:
    path = bench.directory / "loads"
    load = DeltaRs(bench, path)
    load.append(batch(DAYS[0]))
    load.append(batch(DAYS[0], 50))
    native, spark = (judge(bench, path, key=("key",), engine=engine)[0] for engine in (Engine.NATIVE, Engine.SPARK))
    assert (native.value, native.message) == (spark.value, spark.message) and native.value == 0.5


def backfill(load: DeltaRs) -> None:
    load.append(batch(DAYS[2], 2000))
    load.append([row for place, day in enumerate(DAYS[:2]) for row in batch(day, place * 1000)])


def merge(load: DeltaRs) -> None:
    load.append(batch(DAYS[0]))
    load.merge(batch(DAYS[0]))
    load.merge(batch(DAYS[0], 50))


def overwrite(load: DeltaRs) -> None:
    load.append(batch(DAYS[0]))
    load.overwrite(batch(DAYS[0]), DAYS[0])
    load.overwrite(batch(DAYS[0]), DAYS[0])


def compaction(load: DeltaRs) -> None:
    for step in range(4):
        load.append(batch(DAYS[0], step * 100))
    load.optimize()


def growth(load: DeltaRs) -> None:
    for place, day in enumerate(DAYS):
        load.append(batch(day, place * 1000, 100 + 10 * place))


def micro_batches(load: DeltaRs) -> None:
    for step in range(6):
        load.append(batch(DAYS[0], step * 100))


def delete_and_load_again(load: DeltaRs) -> None:
    load.append(batch(DAYS[0]))
    load.delete(f"day = '{DAYS[0]}'")
    load.append(batch(DAYS[0]))


def late_rows(load: DeltaRs) -> None:
    load.append(batch(DAYS[0]))
    load.append(batch(DAYS[0], 100, 7))


def equal_days(load: DeltaRs) -> None:
    for place, day in enumerate(DAYS):
        load.append(batch(day, place * 100))


def repaired(load: DeltaRs) -> None:
    load.append(batch(DAYS[0]))
    load.overwrite(batch(DAYS[0], 0, 100), DAYS[0])
    load.append(batch(DAYS[1], 500))
    load.delete("id < 5")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("key", ["id", "key"])
@pytest.mark.parametrize("history", [backfill, merge, overwrite, compaction, growth, micro_batches, delete_and_load_again, late_rows, equal_days, repaired], ids=lambda h: h.__name__)
def test_a_legitimate_history_is_no_duplicate_load(bench: Bench, writer: type[DeltaRs], history: Callable[[DeltaRs], None], key: str) -> None:
    path = bench.directory / "loads"
    history(writer(bench, path))
    verdict, _ = judge(bench, path, key=(key,))
    assert verdict.outcome is Outcome.PASS, verdict.message


@pytest.mark.parametrize("history", [backfill, growth, micro_batches, equal_days, merge, overwrite])
def test_a_history_that_raises_no_suspicion_costs_no_scan(bench: Bench, history: Callable[[DeltaRs], None]) -> None:
    path = bench.directory / "loads"
    history(DeltaRs(bench, path))
    assert judge(bench, path)[1] == 0
