"""Two engines, one truth: the same table and check give the same outcome and numbers, or native is refused with a reason."""

from __future__ import annotations

import math
from typing import Any

import pytest

from exporter.catalog.labels import Engine, Outcome
from exporter.model import Reason, TableSpec
from tests.conftest import Bench

pytestmark = pytest.mark.spark
NAN, INF = float("nan"), float("inf")
COLUMNS = {
    "i8": "tinyint", "i16": "smallint", "i32": "int", "i64": "bigint", "f32": "float", "f64": "double", "dec": "decimal(12,2)",
    "big": "decimal(38,6)", "s": "string", "b": "boolean", "d": "date", "ts": "timestamp", "ntz": "timestamp_ntz", "p": "string",
}  # fmt: skip
ROWS: list[tuple[Any, ...]] = [
    (1, 2, 3, 4, 0.5, 0.1, "10.50", "1.5", "a@b.c", True, "2026-01-01", "2026-01-15T10:00:00Z", "2026-01-15T10:00:00", "x"),
    (-128, -(2**15), -(2**31), -(2**63), -0.0, -0.0, "-0.01", "-1", "", False, "1970-01-01", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00", "x"),
    (127, 2**15 - 1, 2**31 - 1, 2**63 - 1, NAN, NAN, "9999999999.99", "99999999999999999999999999999999.999999", "a@b.c\n", True, "9999-12-31", "2026-02-15T10:00:00Z", "2026-02-15T10:00:00", "y"),
    (0, 0, 0, 0, 0.0, 0.0, "0.00", "0", "DE", None, "2026-01-14", "2026-01-14T23:59:59Z", "2026-01-14T23:59:59", "y"),
    (None,) * 13 + ("z",),
    (5, 5, 5, 2**53 + 1, INF, INF, "5.00", "5", "ÄÖ😀", False, "2026-01-13", "2026-01-13T00:00:00.000001Z", "2026-01-13T00:00:00.000001", "z"),
    (5, 5, 5, 2**53 + 1, -INF, -INF, "5.00", "5", "\u2028line", False, "2026-01-13", "2026-01-13T00:00:00.000001Z", "2026-01-13T00:00:00.000001", "z"),
    (5, 6, 7, 8, 0.1, 0.1, "5.01", "5", "٣abc", True, "2026-01-12", "2026-01-12T00:00:00Z", "2026-01-12T00:00:00", None),
    (7, 7, 7, 7, 1e-40, 5e-324, "7.00", "7", "paid", True, "2024-02-29", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00", None),
]  # fmt: skip

NUMBERS = ("i8", "i16", "i32", "i64", "f32", "f64", "dec", "big")
CHECKS: list[dict[str, Any]] = [
    {"row_count": {"min": 1}},
    {"row_count": {"min": 1, "filter": "s = 'paid'"}},
    *({"not_null": {"column": column}} for column in COLUMNS),
    {"not_null": {"column": "f64", "nan": "missing"}},
    *({"range": {"column": column, "min": 0, "max": 6.5}} for column in NUMBERS),
    {"range": {"column": "f32", "min": 0.1}},
    {"range": {"column": "dec", "max": 5.005}},
    {"range": {"column": "d", "min": "2000-01-01", "max": "2026-06-01"}},
    {"range": {"column": "ts", "min": "2026-01-01T00:00:00Z"}},
    {"range": {"column": "ntz", "min": "2026-01-01T00:00:00"}},
    {"range": {"column": "s", "min": "a"}},
    *({"accepted_values": {"column": column, "values": [0, 5, 7]}} for column in NUMBERS),
    {"accepted_values": {"column": "s", "values": ["DE", "paid", "it's \\ here"]}},
    {"accepted_values": {"column": "b", "values": [True]}},
    {"accepted_values": {"column": "d", "values": ["2026-01-13"]}},
    *({"pattern": {"column": "s", "regex": regex}} for regex in (r"[^@\s]+@[^@\s]+", r"^\w+$", r"\d.*", ".*", r"a|b|DE", r"[\w.]{2,}@b\.c", r"(?:a|Ä).+", r"\D+", r"[^\n]*")),
    {"pattern": {"column": "s", "regex": r"(?=a)a.*"}},
    {"pattern": {"column": "s", "regex": r"(?i)de"}},
    *({"format": {"column": "s", "is": form}} for form in ("email", "uuid", "iso_date", "ipv4", "ipv6", "url", "iban", "country_code")),
    {"length": {"column": "s", "min": 1, "max": 3}},
    *({"aggregate": {"column": column, "fn": fn, "min": -1e300, "max": 1e300}} for column in NUMBERS[:-1] for fn in ("avg", "sum", "min", "max", "stddev")),
    {"expression": {"sql": "i32 + i16 > i8 or i64 is null", "filter": "i8 between -10 and 10"}},
    {"expression": {"sql": "dec = dec * 1.0 and dec - 1 < dec"}},
    {"expression": {"sql": "i32 + 1 > i32"}},
    {"expression": {"sql": "f64 <=> f64"}},
    {"expression": {"sql": "f64 > -1 and f32 >= f64"}},
    {"expression": {"sql": "i64 = f64"}},
    {"expression": {"sql": "s like '%a%' and not (s in ('x', null))"}},
    {"expression": {"sql": "coalesce(i32, 0) >= 0", "null_ok": True}},
    {"expression": {"sql": "d > current_date() - interval 100 years"}},
    {"expression": {"sql": "b is not false"}},
    {"expression": {"sql": "length(s) > 1 and upper(s) = s"}},
    {"expression": {"sql": "`I32` = I32"}},
    {"sum_of_parts": {"total": "dec", "parts": ["dec", "i32"], "tolerance": 0.5}},
    {"sum_of_parts": {"total": "f64", "parts": ["f32"], "tolerance": 0.5}},
    *({"unique": {"columns": ["i32", "d"], "nulls": nulls}} for nulls in ("ignore", "equal", "fail")),
    {"unique": ["s"]},
    {"unique": ["f64"]},
    {"unique": ["p", "b"]},
    {"primary_key": ["i64"]},
    {"referential_integrity": {"columns": ["i64"], "to": "parent", "to_columns": ["k"]}},
    {"referential_integrity": {"columns": ["s"], "to": "parent", "to_columns": ["t"]}},
    {"reconciliation": {"with": "parent", "measures": ["row_count", "max(k)"], "filter": "i8 is not null"}} | {},
    {"freshness": {"column": "ts", "max_age": "1h"}},
    {"freshness": {"column": "ntz", "max_age": "1h", "timezone": "Asia/Tokyo"}},
    {"freshness": {"column": "d", "max_age": "24h", "timezone": "America/New_York"}},
    {"partitions": {"column": "p", "every": "1d", "lookback": "2d"}},
    {"query": {"name": "q1", "sql": "select count(distinct s) from {table}", "min": 0}},
    {"query": {"name": "q2", "sql": "select max(i64) from {table} where b", "min": 0}},
    {"query": {"name": "q3", "sql": "select sum(i32) from {table}", "min": -1e12}},
    {"query": {"name": "q4", "sql": "with x as (select i8 from {table}) select max(i8) from x", "min": 0}},
]


def _bodies() -> list[Any]:
    return [pytest.param(check, id=f"{i}-{next(iter(check))}") for i, check in enumerate(CHECKS) if "max(k)" not in str(check)]


def _agree(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9))


def _tables(bench: Bench) -> dict[str, TableSpec]:
    parent = bench.delta({"k": "bigint", "t": "string"}, [(4, "DE"), (8, "a@b.c"), (7, "ÄÖ😀")], name="parent")
    return {
        "plain": bench.delta(COLUMNS, ROWS, name="plain"),
        "partitioned": bench.delta(COLUMNS, ROWS, ("p",), name="partitioned"),
        "empty": bench.delta(COLUMNS, [], name="empty"),
        "parent": parent,
    }


def _compare(bench: Bench, table: TableSpec, others: list[TableSpec], checks: list[dict[str, Any]]) -> list[str]:
    numbered = [{kind: {**(body if isinstance(body, dict) else {"columns": body}), "name": f"c{i}"}} for i, check in enumerate(checks) for kind, body in check.items()]
    native = bench.evaluate(table, *numbered, engine=Engine.NATIVE, others=others)
    spark = bench.evaluate(table, *numbered, engine=Engine.SPARK, others=others)
    differences = []
    for mine, theirs, item in zip(native.results, spark.results, numbered, strict=True):
        a, b = mine.verdict, theirs.verdict
        if a.reason is Reason.ENGINE:
            assert "cannot do" in a.message or "does not read" in a.message, a.message
            continue
        same = a.outcome is b.outcome and a.reason == b.reason and _agree(a.value, b.value) and (a.failed_rows, a.evaluated_rows) == (b.failed_rows, b.evaluated_rows)
        if not same:
            differences.append(f"{table.name} {item}\n  native {a.outcome} {a.reason} {a.value} {a.failed_rows}/{a.evaluated_rows} {a.message[:200]}\n  spark  {b.outcome} {b.reason} {b.value} {b.failed_rows}/{b.evaluated_rows} {b.message[:200]}")
    return differences


def test_both_engines_agree_on_every_check_over_every_table(bench: Bench) -> None:
    tables = _tables(bench)
    checks = [check.values[0] for check in _bodies()]
    differences = [line for name in ("plain", "partitioned", "empty") for line in _compare(bench, tables[name], [tables["parent"]], checks)]
    assert not differences, "\n".join(differences)


def test_most_checks_are_answered_natively(bench: Bench) -> None:
    table = _tables(bench)["plain"]
    checks = [{kind: {**(body if isinstance(body, dict) else {"columns": body}), "name": f"c{i}"}} for i, check in enumerate(CHECKS) for kind, body in check.items() if "parent" not in str(body)]
    results = bench.evaluate(table, *checks, engine=Engine.NATIVE).results
    refused = [result for result in results if result.verdict.reason is Reason.ENGINE]
    assert len(refused) < len(results) / 5, [result.verdict.message for result in refused]


def test_both_engines_agree_on_tables_with_deletion_vectors_and_column_mapping(bench: Bench) -> None:
    session = bench.spark.session()
    path = bench.directory / "vectors"
    session.createDataFrame([(i, f"user{i}@example.com" if i % 7 else None, float(i)) for i in range(5000)], "id long, `e mail` string, amount double").repartition(
        4
    ).write.format("delta").option("delta.columnMapping.mode", "name").option("delta.enableDeletionVectors", "true").save(str(path))
    session.sql(f"DELETE FROM delta.`{path}` WHERE id % 11 = 5")
    session.sql(f"ALTER TABLE delta.`{path}` RENAME COLUMN amount TO `a.b`")
    table = TableSpec("vectors", bench.delta({"x": "int"}, []).format, path=str(path))
    checks: list[dict[str, Any]] = [
        {"row_count": {"min": 1}}, {"row_count": {"name": "later", "min": 1, "filter": "id > 100"}}, {"not_null": {"column": "e mail"}}, {"unique": {"columns": ["id"]}},
        {"range": {"column": "a.b", "max": 100}}, {"aggregate": {"column": "a.b", "fn": "sum", "min": 0}}, {"format": {"column": "e mail", "is": "email"}},
    ]  # fmt: skip
    assert not _compare(bench, table, [], checks)
    rows, filtered, nulls = (result.verdict for result in bench.evaluate(table, *checks[:3]).results)
    kept = [i for i in range(5000) if i % 11 != 5]
    assert (rows.value, filtered.value, nulls.value) == (len(kept), sum(i > 100 for i in kept), sum(i % 7 == 0 for i in kept))
    assert {verdict.outcome for verdict in (rows, filtered)} == {Outcome.PASS}
