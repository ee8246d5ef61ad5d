"""`row_count_anomaly` on real tables: where its counts come from, what they cost, and what becomes of late and repaired data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from exporter.catalog.labels import Engine, Outcome, TableFormat, Tier
from exporter.learned.arrivals import Arrivals
from exporter.learned.calendar import Grain
from exporter.model import CheckResult, CommitInfo, Counts, History, Reason, TableSpec, Verdict
from tests.checks.test_judging import judge
from tests.conftest import Bench, write_delta

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BODY: dict[str, Any] = {"column": "day"}


def table(rows: Mapping[int, int]) -> list[tuple[Any, ...]]:
    """Rows by days before NOW's."""
    return [(i, (NOW - back * DAY).date().isoformat()) for back, count in rows.items() for i in range(count)]


def usual(days: int = 60, last: int = 1) -> dict[int, int]:
    return {back: 40 + back % 4 for back in range(days, last - 1, -1)}


def look(bench: Bench, spec: TableSpec, body: dict[str, Any], past: History | None = None, now: datetime = NOW, engine: Engine | None = None) -> tuple[CheckResult, int]:
    evaluation = bench.evaluate(spec, {"row_count_anomaly": body}, now=now, past=past or History(), engine=engine)
    return evaluation.results[0], sum(scan.jobs for scan in evaluation.scans)


def test_a_partitioned_table_is_judged_on_day_one_without_a_scan(bench: Bench) -> None:
    spec = bench.delta({"id": "int", "day": "date"}, table({**usual(), 1: 3}), ["day"])
    result, jobs = look(bench, spec, BODY)
    assert (result.verdict.outcome, result.verdict.value, result.tier, jobs) == (Outcome.FAIL, 3, Tier.METADATA, 0), result.verdict.message
    assert "3 rows in 2026-01-14: fewer rows than expected" in result.verdict.message and "active" in result.verdict.message
    names = {metric.name for metric, _ in result.verdict.gauges}
    assert {"dq_table_rows_expected", "dq_table_rows_expected_min", "dq_table_rows_expected_max", "dq_table_rows_anomaly_score", "dq_check_learning_state"} <= names


def test_deleted_rows_of_a_partition_do_not_count(bench: Bench) -> None:
    spec = bench.delta({"id": "int", "day": "date"}, table(usual()), ["day"])
    DeltaTable(spec.path or "").delete("day = '2026-01-14' AND id > 2")
    result, _ = look(bench, spec, BODY)
    assert (result.verdict.outcome, result.verdict.value) == (Outcome.FAIL, 3)


@pytest.mark.parametrize("engine", [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
def test_without_partitions_rows_are_counted_once_and_then_only_the_last_days(bench: Bench, engine: Engine) -> None:
    spec = bench.delta({"id": "int", "day": "date"}, table(usual()))
    result, jobs = look(bench, spec, BODY, engine=engine)
    assert (result.verdict.outcome, result.tier, jobs) == (Outcome.PASS, Tier.JOB, 1)
    memory = result.verdict.memory
    assert memory is not None and len(memory["series"]["rows"]) == 60
    write_delta(Path(spec.path or ""), {"id": "int", "day": "date"}, table({0: 41}), mode="append")
    again, _ = look(bench, spec, BODY, History(memory=memory), NOW + DAY, engine)
    rows = again.seen["rows"]
    assert isinstance(rows, Counts) and min(rows.rows) == "2026-01-02", "older days are not read again"
    assert (again.verdict.outcome, again.verdict.value) == (Outcome.PASS, 41)
    assert again.verdict.memory is not None and len(again.verdict.memory["series"]["rows"]) == 61


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_days_of_instants_are_those_of_the_tables_zone(bench: Bench, zone: str) -> None:
    rows = [(1, (datetime(2026, 1, 14 - back, hour, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)).isoformat()) for back in range(10) for hour in range(24)]
    spec = bench.delta({"id": "int", "ts": "timestamp"}, rows)
    result, _ = look(bench, spec, {"column": "ts", "timezone": zone, "lateness": "1m"}, now=datetime(2026, 1, 15, 16, tzinfo=UTC))
    assert result.verdict.memory is not None
    assert result.verdict.memory["series"]["rows"][:10] == [24] * 10


def test_without_a_column_commits_are_counted(bench: Bench) -> None:
    now = datetime.now(UTC)
    spec = bench.delta({"id": "int"}, [(i,) for i in range(30)])
    result, jobs = look(bench, spec, {}, now=now + DAY)
    assert result.verdict.memory is not None
    assert (result.verdict.memory["series"]["rows"], jobs, result.tier) == ([30], 0, Tier.METADATA)


def test_the_current_day_is_never_judged(bench: Bench) -> None:
    spec = bench.delta({"id": "int", "day": "date"}, table({**usual(), 0: 1}), ["day"])
    assert look(bench, spec, BODY)[0].verdict.value == 41


def test_a_day_without_rows_is_an_anomaly_of_zero(bench: Bench) -> None:
    spec = bench.delta({"id": "int", "day": "date"}, table(usual(last=3)), ["day"])
    result, _ = look(bench, spec, BODY)
    assert (result.verdict.outcome, result.verdict.value) == (Outcome.FAIL, 0)
    assert result.verdict.memory is not None and result.verdict.memory["series"]["rows"][-2:] == [0, 0]


def counts(rows: Mapping[int, int], now: datetime = NOW) -> Counts:
    return Counts({(now - back * DAY).date().isoformat(): count for back, count in rows.items()})


def verdict(rows: Mapping[int, int], past: Verdict | None = None, now: datetime = NOW, **body: Any) -> Verdict:
    return judge("row_count_anomaly", {**BODY, **body}, {"rows": counts(rows, now)}, History(memory=past.memory if past else None), now)


def test_late_data_scores_the_day_anew_and_no_second_anomaly_comes() -> None:
    early = verdict({**usual(), 1: 4})
    assert early.outcome is Outcome.FAIL
    late = verdict({**usual(), 1: 40}, early)
    assert (late.outcome, late.value) == (Outcome.PASS, 40)


def test_a_day_stays_open_as_long_as_its_data_may_be_late() -> None:
    assert verdict({**usual(), 1: 4}, lateness="13h").value == 42
    assert verdict({**usual(), 1: 4}, lateness="11h").value == 4


@pytest.mark.parametrize(("days", "outcome"), [(10, Outcome.LEARNING), (20, Outcome.WARN), (60, Outcome.FAIL)])
def test_the_less_is_known_the_milder_the_verdict(days: int, outcome: Outcome) -> None:
    assert verdict({**usual(days), 1: 4}).outcome is outcome


def test_direction_limits_what_is_reported() -> None:
    assert verdict({**usual(), 1: 4}, direction="rise").outcome is Outcome.PASS
    assert verdict({**usual(), 1: 4}, direction="drop").outcome is Outcome.FAIL
    assert verdict({**usual(), 1: 400}, direction="drop").outcome is Outcome.PASS


def test_a_table_that_stopped_never_reads_as_passed_until_rows_return() -> None:
    stopped = verdict(usual(last=10))
    assert stopped.outcome is Outcome.FAIL and "no rows any more (given up on" in stopped.message
    assert verdict(usual(last=10), stopped).outcome is Outcome.FAIL
    back = verdict({**usual(last=10), 1: 40}, stopped)
    assert back.outcome is Outcome.PASS and "rows are back" in back.message


def test_excluded_days_are_not_judged() -> None:
    assert verdict({**usual(), 1: 4}, exclude=["2026-01-10..2026-01-14"]).value == 42


def test_a_look_that_brings_nothing_new_keeps_nothing() -> None:
    assert verdict(usual(), verdict(usual())).memory is None


def test_values_that_are_no_times_are_an_error() -> None:
    result = judge("row_count_anomaly", BODY, {"rows": Counts({"a": 1, "b": 2})})
    assert (result.outcome, result.reason) == (Outcome.ERROR, Reason.TYPE)


def test_deletes_in_the_log_never_make_a_negative_day() -> None:
    log = tuple(CommitInfo(i, NOW - (9 - i) * DAY, "WRITE", "Append", added=10 if i != 4 else 0, removed=0 if i != 4 else 99) for i in range(9))
    result = judge("row_count_anomaly", {}, {"commits": log})
    assert result.memory is not None and result.memory["series"]["rows"] == [10, 10, 10, 10, 0, 10, 10, 10, 10]


def test_a_commit_whose_rows_are_unknown_is_no_day_without_rows() -> None:
    log = [CommitInfo(i, NOW - (9 - i) * DAY, "WRITE", "Append", added=10, removed=0) for i in range(9)]
    merged = CommitInfo(9, NOW - DAY, "MERGE")
    late = judge("row_count_anomaly", {}, {"commits": (*log, merged)})
    assert (late.outcome, late.reason) == (Outcome.ERROR, Reason.UNSUPPORTED) and "version 9 (MERGE)" in late.message
    early = judge("row_count_anomaly", {}, {"commits": (CommitInfo(0, NOW - 9 * DAY, "MERGE"), *log[1:])})
    assert early.memory is not None and early.memory["series"]["rows"] == [10] * 8


def test_parquet_partitions_are_counted_too(bench: Bench) -> None:
    path = bench.directory / "lake"
    for back, count in usual(30).items():
        folder = path / f"day={(NOW - back * DAY).date()}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": list(range(count))}), folder / "part.parquet")
    result, _ = look(bench, TableSpec("lake", TableFormat.PARQUET, path=str(path)), BODY)
    assert result.verdict.memory is not None and len(result.verdict.memory["series"]["rows"]) == 30


@pytest.mark.parametrize("engine", [Engine.NATIVE, pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
def test_a_segment_that_vanishes_is_told_though_the_whole_looks_fine(bench: Bench, engine: Engine) -> None:
    rows = [(shop, day) for i, day in table(usual(45)) for shop in ("a", "b", "c's")]
    rows = [row for row in rows if row[:2] != ("c's", "2026-01-14")] + [("a", "2026-01-14")] * 3
    rows += [(f"rare {i}", "2026-01-10") for i in range(30)]
    spec = bench.delta({"shop": "string", "day": "date"}, rows)
    result, _ = look(bench, spec, {"column": "day", "by": "shop", "top": 3}, engine=engine)
    assert result.verdict.outcome is Outcome.FAIL, result.verdict.message
    assert "1 of 4 segments are anomalies: shop c's: 0 rows" in result.verdict.message
    memory = result.verdict.memory
    assert memory is not None and memory["segments"] == ["a", "b", "c's"] and set(memory["parts"]) == {"a", "b", "c's", "(others)"}
    again, jobs = look(bench, spec, {"column": "day", "by": "shop", "top": 3}, History(memory=memory), engine=engine)
    assert (again.verdict.message, jobs) == (result.verdict.message, 2)


def test_a_million_segments_are_a_few_and_the_others(bench: Bench) -> None:
    days = [f"2026-01-{day:02d}" for day in range(5, 15)]
    count = 1_000_000
    path = bench.directory / "many"


    users = np.arange(count)
    write_deltalake(str(path), pa.table({"user": pa.array(np.where(users % 10 == 0, 0, users)), "day": pa.array(np.array(days)[users % 10]).cast(pa.date32())}))
    spec = TableSpec("many", TableFormat.DELTA, path=str(path))
    result, _ = look(bench, spec, {"column": "day", "by": "user", "top": 5})
    assert result.verdict.memory is not None and len(result.verdict.memory["parts"]) == 6
    assert len(result.verdict.message) < 1000 and len(result.verdict.gauges) <= 6


def test_a_snapshot_without_commits_is_judged_by_its_growth_from_look_to_look() -> None:
    total, past, outcomes = 10_000, History(), []
    for day in range(40):
        total += 5 if day == 35 else 500 + day % 5
        result = judge("row_count_anomaly", {}, {"total": total}, past, NOW + day * DAY)
        past = History(memory=result.memory or past.memory)
        outcomes.append(result.outcome)
    assert outcomes[36] is Outcome.FAIL and outcomes[34] is outcomes[38] is Outcome.PASS
    assert past.memory is not None and past.memory["series"]["rows"][-5:] == [500 + day % 5 if day != 35 else 5 for day in range(34, 39)]


def test_growth_while_nobody_looked_is_shared_out_and_shrinking_is_no_growth() -> None:
    arrivals = Arrivals()
    arrivals.saw_total(100, NOW, Grain.DAY, ZoneInfo("UTC"))
    grown = arrivals.saw_total(110, NOW + 4 * DAY, Grain.DAY, ZoneInfo("UTC"))
    assert list(grown.values()) == [3, 3, 2, 2]
    assert list(arrivals.saw_total(7, NOW + 5 * DAY, Grain.DAY, ZoneInfo("UTC")).values()) == [3, 3, 2, 2, 0]
