"""Small tables with planted defects, a configuration for them, and the verdicts that must come of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

ORDERS, CUSTOMERS, EVENTS, RETURNS, DAYS = 20_000, 1_000, 9_600, 2_000, 14
_NULL_EMAILS, _BAD_EMAILS, _BAD_AMOUNTS, _BAD_STATUS, _REPEATED, _ORPHANS, _WRONG_TOTALS, _BAD_CODES = 37, 12, 9, 21, 5, 14, 8, 6
_MISSING_DAYS = (3, 7)
_VISIT_DAYS, _LOST_DAY = 70, 25

_CONFIG = """\
version: 1
store: {url: "sqlite:///STORE"}
defaults:
  schedule: {every: 1m}
  timeout: 5m
  team: data-platform
  owner: sales-data-team
tables:
  - name: sales.customers
    path: sales_customers
    severity: medium
    checks:
      - row_count: {min: 1}
      - primary_key: [customer_id]
      - not_null: [email, country]
      - length: {column: country, min: 2, max: 2}
      - schema: {columns: {customer_id: bigint, email: string, country: string}}
  - name: sales.orders
    path: sales_orders
    severity: critical
    time_column: event_ts
    runbook: https://wiki.example.com/runbooks/sales_orders
    checks:
      - row_count: {min: 1000}
      - not_null: [order_id, customer_id]
      - not_null: {column: email, max: 0.1%, severity: medium, suggested_action: Ask the shop team which form leaves the address out}
      - unique: {columns: [order_id], suggested_action: Look for a load that ran twice}
      - range: {column: amount, min: 0, max: 10000}
      - accepted_values: {column: status, values: [created, paid, shipped]}
      - format: {column: email, is: email, max: 20, warn: {max: 5}, severity: low}
      - sum_of_parts: {total: total, parts: [amount, tax]}
      - aggregate: {column: amount, fn: avg, min: 30, max: 100}
      - referential_integrity: {columns: [customer_id], to: sales.customers, to_columns: [customer_id], severity: high}
      - reconciliation: {with: raw.orders, measures: [row_count, "sum(amount)"], tolerance: 0.1%}
      - query: {name: open_orders, sql: "select count(*) from {table} where status = 'created'", max: 10000}
  - name: raw.orders
    path: raw_orders
    severity: low
    checks:
      - row_count: {min: 1}
  - name: web.events
    path: web_events
    severity: high
    time_column: event_ts
    checks:
      - not_null: [event_id, event_ts]
      - partitions: {column: day, every: 1d, lookback: 14d}
      - freshness_deadline: {by: "00:00", lag: 2d}
      - expression: {name: known_device, sql: "device in ('phone', 'desktop') or device is null"}
  - name: web.visits               # learned: yesterday's load came twice
    path: web_visits
    severity: high
    checks:
      - row_count_anomaly: {column: day}
      - duplicate_load: {key: [visit_id], suggested_action: Restore the version before the second load}
      - freshness_cadence: {}
  - name: finance.ledger
    path: finance_ledger
    severity: high
    checks:
      - row_count: {min: 1}
      - primary_key: [entry_id]
      - aggregate: {name: books_balance, column: amount, fn: sum, min: 0, max: 0}
  - name: sales.returns            # a lookahead, which only Java's regular expressions have: this table needs Spark
    path: sales_returns
    engine: spark
    severity: medium
    checks:
      - row_count: {min: 1}
      - pattern: {column: code, regex: "R(?=[0-9])[0-9]{5}"}
      - query: {name: days_with_returns, sql: "select count(distinct date(returned_at)) from {table}", min: 1}
pipelines:                         # they tell of themselves; the demo sends what they would
  - {name: ingest_shop, owner: ingestion, writes: [raw.orders, sales.customers], sla: {by: "05:00"}}
  - name: sales_daily
    severity: critical
    runbook: https://wiki.example.com/runbooks/sales_daily
    suggested_action: Raise spark.executor.memory
    reads: [raw.orders, sales.customers]
    writes: [sales.orders]
    sla: {by: "07:00"}
    cost: {usd_per_hour: 12, budget_usd_per_day: 8}
  - {name: web_hourly, writes: [web.events, web.visits], severity: medium}
  - {name: month_end_close, owner: finance, reads: [sales.orders], writes: [finance.ledger]}
assets:
  - {name: dashboard.sales_kpis, kind: dashboard, owner: bi, reads: [sales.orders]}
  - {name: report.month_end, kind: report, owner: finance, reads: [finance.ledger]}
"""


def write(directory: Path, now: datetime | None = None) -> Path:
    """Writes the tables, `dq-exporter.yml` and `expected.json` to an empty or earlier demo directory; gives the YAML's path.

    Raises FileExistsError rather than mix the demo with other files.
    """
    from deltalake import write_deltalake

    config = directory / "dq-exporter.yml"
    if directory.exists() and any(directory.iterdir()) and not (directory / "expected.json").exists():
        raise FileExistsError(f"{directory} has files that are not the demo's; give an empty directory with --dir")
    directory.mkdir(parents=True, exist_ok=True)
    today = (now or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    for name, (build, partition_by) in _TABLES.items():
        path = directory / name.replace(".", "_")
        shutil.rmtree(path, ignore_errors=True)
        write_deltalake(str(path), build(today), partition_by=partition_by)
    write_deltalake(str(directory / "web_visits"), _visits(today, [1]), mode="append")
    config.write_text(_CONFIG.replace("STORE", str((directory / "demo.db").resolve())), encoding="utf-8")
    (directory / "expected.json").write_text(json.dumps(_expected(today), indent=2) + "\n", encoding="utf-8")
    return config


def runs(now: datetime) -> list[dict[str, Any]]:
    """What the pipelines of the demo tell of two weeks: one fails for lack of memory, one is tried again, one runs for too long."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    told: list[dict[str, Any]] = []

    def run(pipeline: str, began: datetime, minutes: float, state: str = "success", **more: Any) -> None:
        if began + timedelta(minutes=minutes) < now:
            name = f"{pipeline}_{began:%Y-%m-%dT%H}"
            told.append(
                {"pipeline": pipeline, "state": state, "run_id": name, "event_id": name, "started_at": began.isoformat(),
                 "at": (began + timedelta(minutes=minutes)).isoformat(), **more}
            )  # fmt: skip

    for back in range(DAYS, -1, -1):
        day = today - timedelta(days=back)
        run("ingest_shop", day + timedelta(hours=3), 18 + back % 4)
        run("month_end_close", day + timedelta(hours=1), 6, retries=int(back % 5 == 2))
        if back != _days_since_success(now):
            run("sales_daily", day + timedelta(hours=4), 34 + back % 5, resources={"memory": 0.71, "cpu": 0.55})
    failed = today - timedelta(days=_days_since_success(now)) + timedelta(hours=4)
    error = {"class": "java.lang.OutOfMemoryError", "message": "Java heap space on executor 5\n  at org.apache.spark.sql.execution.aggregate.HashAggregateExec"}
    run("sales_daily", failed, 49, "failed", error=error, resources={"memory": 0.98, "cpu": 0.61})
    hour = now.replace(minute=0, second=0, microsecond=0)
    for back in range(24, 1, -1):
        run("web_hourly", hour - timedelta(hours=back), 4 + back % 3)
    stuck = hour - timedelta(hours=1)
    told.append({"pipeline": "web_hourly", "state": "running", "run_id": f"stuck_{stuck:%Y-%m-%dT%H}", "event_id": f"stuck_{stuck:%Y-%m-%dT%H}", "at": stuck.isoformat()})
    return told


def _days_since_success(now: datetime) -> int:
    """The run of today fails, or that of yesterday when it is too early for today's."""
    return 0 if now.hour >= 5 else 1


def _amounts(count: int) -> list[Decimal]:
    """Between 20.00 and 99.99, 59.995 on average."""
    return [Decimal(2000 + (i * 7919) % 8000) / 100 for i in range(count)]


def _orders(today: datetime) -> Any:
    import pyarrow as pa

    money, amounts = pa.decimal128(12, 2), _amounts(ORDERS)
    taxes = [(amount / 5).quantize(Decimal("0.01")) for amount in amounts]
    totals = [amount + tax for amount, tax in zip(amounts, taxes, strict=True)]
    for i in range(_WRONG_TOTALS):
        totals[1000 + i] += Decimal("0.05")
    for i in range(_BAD_AMOUNTS):  # the total moves along, so that only the range is broken
        totals[2000 + i] -= amounts[2000 + i] + 1
        amounts[2000 + i] = Decimal("-1.00")
    emails: list[str | None] = [f"user{i % CUSTOMERS}@example.com" for i in range(ORDERS)]
    emails[3000 : 3000 + _NULL_EMAILS] = [None] * _NULL_EMAILS
    emails[4000 : 4000 + _BAD_EMAILS] = ["user@example.com\n"] * _BAD_EMAILS
    ids = list(range(1, ORDERS + 1))
    ids[5000 : 5000 + _REPEATED] = ids[6000 : 6000 + _REPEATED]
    customers = [i % CUSTOMERS + 1 for i in range(ORDERS)]
    customers[7000 : 7000 + _ORPHANS] = [CUSTOMERS + 100 + i for i in range(_ORPHANS)]
    statuses = [("created", "paid", "shipped")[i % 3] for i in range(ORDERS)]
    statuses[8000 : 8000 + _BAD_STATUS] = ["lost"] * _BAD_STATUS
    return pa.table(
        {
            "order_id": pa.array(ids, pa.int64()),
            "customer_id": pa.array(customers, pa.int64()),
            "email": pa.array(emails, pa.string()),
            "status": pa.array(statuses, pa.string()),
            "amount": pa.array(amounts, money),
            "tax": pa.array(taxes, money),
            "total": pa.array(totals, money),
            "event_ts": pa.array([today - timedelta(minutes=i % 1440 + 1) for i in range(ORDERS)], pa.timestamp("us", "UTC")),
        }
    )


def _raw_orders(today: datetime) -> Any:
    return _orders(today).select(["order_id", "amount"])


def _customers(today: datetime) -> Any:
    import pyarrow as pa

    return pa.table(
        {
            "customer_id": pa.array(range(1, CUSTOMERS + 1), pa.int64()),
            "email": [f"user{i}@example.com" for i in range(CUSTOMERS)],
            "country": [("DE", "FR", "US", "JP")[i % 4] for i in range(CUSTOMERS)],
        }
    )


def _events(today: datetime) -> Any:
    """One day a partition, two days missing, and one event thirty days ahead."""
    import pyarrow as pa

    days = [day for day in range(1, DAYS + 1) if day not in _MISSING_DAYS]
    moments = [today - timedelta(days=day) + timedelta(minutes=i) for day in days for i in range(EVENTS // len(days))]
    moments.append(today + timedelta(days=30))
    return pa.table(
        {
            "event_id": pa.array(range(len(moments)), pa.int64()),
            "event_ts": pa.array(moments, pa.timestamp("us", "UTC")),
            "device": [("phone", "desktop", None)[i % 3] for i in range(len(moments))],
            "day": pa.array([moment.date() for moment in moments], pa.date32()),
        }
    )


def _visits_of(today: datetime, back: int) -> int:
    """Visits of a day some days back: fewer on weekends, and far too few on one day."""
    day = today - timedelta(days=back)
    usual = (300, 310, 305, 300, 290, 150, 120)[day.weekday()] + day.toordinal() * 7 % 11
    return usual // 3 if back == _LOST_DAY else usual


def _visits(today: datetime, days: Iterable[int] = range(_VISIT_DAYS, 0, -1)) -> Any:
    """One day a partition, ids without a gap over all days."""
    import pyarrow as pa

    ids, dates = [], []
    for back in days:
        count = _visits_of(today, back)
        ids += [(_VISIT_DAYS - back) * 1000 + i for i in range(count)]
        dates += [(today - timedelta(days=back)).date()] * count
    return pa.table({"visit_id": pa.array(ids, pa.int64()), "day": pa.array(dates, pa.date32())})


def _ledger(today: datetime) -> Any:
    import pyarrow as pa

    amounts = [amount * sign for amount in _amounts(500) for sign in (1, -1)]
    return pa.table({"entry_id": pa.array(range(1000), pa.int64()), "amount": pa.array(amounts, pa.decimal128(12, 2))})


def _returns(today: datetime) -> Any:
    import pyarrow as pa

    codes = [f"R{i:05d}" for i in range(RETURNS)]
    codes[100 : 100 + _BAD_CODES] = ["R-0001"] * _BAD_CODES
    moments = [today - timedelta(hours=i % 72) for i in range(RETURNS)]
    return pa.table({"code": codes, "returned_at": pa.array(moments, pa.timestamp("us", "UTC"))})


_TABLES: dict[str, tuple[Callable[[datetime], Any], list[str] | None]] = {
    "sales.customers": (_customers, None),
    "sales.orders": (_orders, None),
    "raw.orders": (_raw_orders, None),
    "web.events": (_events, ["day"]),
    "web.visits": (_visits, ["day"]),
    "finance.ledger": (_ledger, None),
    "sales.returns": (_returns, None),
}


def _expected(today: datetime) -> dict[str, dict[str, dict[str, Any]]]:
    """What was planted: outcome, value in the unit of the check, and failed rows where the check counts rows."""

    def verdict(outcome: str, value: float, failed: int | None = None) -> dict[str, Any]:
        return {"outcome": outcome, "value": value, "failed_rows": failed}

    def rows(failed: int) -> dict[str, Any]:
        return verdict("fail" if failed else "pass", failed, failed)

    average = sum(_amounts(ORDERS)) - sum(_amounts(ORDERS)[2000 : 2000 + _BAD_AMOUNTS]) - _BAD_AMOUNTS
    visits = _visits_of(today, 1)
    created = sum(i % 3 == 0 for i in range(ORDERS)) - sum(i % 3 == 0 for i in range(8000, 8000 + _BAD_STATUS))
    return {
        "sales.customers": {
            "row_count": verdict("pass", CUSTOMERS), "primary_key_customer_id": rows(0), "not_null_email": rows(0),
            "not_null_country": rows(0), "length_country": rows(0), "schema": verdict("pass", 0),
        },
        "sales.orders": {
            "row_count": verdict("pass", ORDERS), "not_null_order_id": rows(0), "not_null_customer_id": rows(0),
            "not_null_email": verdict("fail", _NULL_EMAILS / ORDERS, _NULL_EMAILS), "unique_order_id": rows(2 * _REPEATED),
            "range_amount": rows(_BAD_AMOUNTS), "accepted_values_status": rows(_BAD_STATUS),
            "format_email": verdict("warn", _BAD_EMAILS, _BAD_EMAILS), "sum_of_parts_total": rows(_WRONG_TOTALS),
            "aggregate_amount": verdict("pass", float(average) / ORDERS), "referential_integrity_customer_id": rows(_ORPHANS),
            "reconciliation": verdict("pass", 0), "open_orders": verdict("pass", created),
        },
        "raw.orders": {"row_count": verdict("pass", ORDERS)},
        "web.events": {
            "not_null_event_id": rows(0), "not_null_event_ts": rows(0), "partitions_day": verdict("fail", len(_MISSING_DAYS)),
            "freshness_deadline": verdict("pass", 0), "known_device": rows(0),
        },
        "web.visits": {
            "row_count_anomaly_day": verdict("fail", 2 * visits), "duplicate_load_visit_id": verdict("fail", 1.0, visits),
            "freshness_cadence": {"outcome": "learning", "value": None, "failed_rows": None},
        },
        "finance.ledger": {"row_count": verdict("pass", 1000), "primary_key_entry_id": rows(0), "books_balance": verdict("pass", 0)},
        "sales.returns": {"row_count": verdict("pass", RETURNS), "pattern_code": rows(_BAD_CODES), "days_with_returns": verdict("pass", 4)},
    }  # fmt: skip
