"""Our row-count method against the rules of other tools, on generated series and, where they are at hand, on real ones.

`make bench-anomaly` prints the tables and writes `bench-anomaly.json`. Only ratios and scores count: times depend on the machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from exporter.catalog.labels import Learning
from exporter.learned.cadence import due
from exporter.learned.calendar import Calendar
from exporter.learned.judged import Sensitivity
from tests.bench import generated, updates
from tests.bench.peers import PEERS, ours
from tests.bench.protocol import KINDS, Score, Series, evaluate, read, young

REAL = Path(os.environ.get("DQ_ROW_COUNTS", Path(__file__).resolve().parents[3] / "shared" / "data" / "row_counts"))
SEEDS = (11, 12, 13)
METHODS: dict[str, Callable[[Series], list[bool]]] = {
    "dq-exporter, medium": ours(), "dq-exporter, high": ours(Sensitivity.HIGH), "dq-exporter, low": ours(Sensitivity.LOW), **PEERS,
}  # fmt: skip


def _measure(name: str, method: Callable[[Series], list[bool]], series: Sequence[Series]) -> dict[str, Any]:
    started = perf_counter()
    score = evaluate(method, series, SEEDS)
    points = len(SEEDS) * sum(len(one.rows) for one in series)
    spent = perf_counter() - started
    early = Score()
    for one in series:
        early.merge(evaluate(method, young(one), SEEDS[:1], every=9, start=14))
    return {
        "method": name, "precision": score.precision, "recall": score.recall, "f1": score.f1, "false_alarms_per_100_days": score.per_hundred,
        "recall_by_kind": score.by_kind(), "young_f1": early.f1, "young_false_alarms_per_100_days": early.per_hundred, "ms_per_point": 1000 * spent / points,
    }  # fmt: skip


def _compare(title: str, series: Sequence[Series], console: Console) -> list[dict[str, Any]]:
    table = Table("method", "P", "R", "F1", "FA", *KINDS, "young F1", "young FA", "ms/point", title=title)
    rows = []
    for name, method in METHODS.items():
        row = _measure(name, method, series)
        rows.append(row)
        shares = [f"{row['recall_by_kind'].get(kind, 0):.2f}" for kind in KINDS]
        table.add_row(
            name, f"{row['precision']:.2f}", f"{row['recall']:.2f}", f"{row['f1']:.3f}", f"{row['false_alarms_per_100_days']:.2f}", *shares,
            f"{row['young_f1']:.2f}", f"{row['young_false_alarms_per_100_days']:.2f}", f"{row['ms_per_point']:.3f}",
        )  # fmt: skip
    console.print(table)
    return rows


def _cadences(console: Console) -> list[dict[str, Any]]:
    table = Table("cadence", "FA per 100 days", "hours to the alarm", title="Freshness cadence, simulated: 6 tables of 120 days each")
    rows, zone, calendar = [], ZoneInfo("UTC"), Calendar()

    def deadline(times: Sequence[Any]) -> Any:
        found = due(times, zone, calendar)
        return found.by if found.state is Learning.ACTIVE else None

    for cadence in updates.CADENCES:
        alarms, delay = updates.measure(deadline, cadence, runs=1 if cadence in ("hourly", "15 min office hours") else 6)
        rows.append({"cadence": cadence, "false_alarms_per_100_days": alarms, "hours_to_alarm": delay})
        table.add_row(cadence, f"{alarms:.2f}", f"{delay:.1f}")
    console.print(table)
    return rows


def _best_peer(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(rows[3:], key=lambda row: float(row["f1"]))


def test_ours_is_ahead_of_every_peer() -> None:
    console = Console(width=200)
    results: dict[str, Any] = {"generated": _compare("Generated series", generated.series(), console)}
    if REAL.is_dir():
        real = [read(path) for path in sorted(REAL.glob("*.csv"))]
        results["development"] = _compare(f"{len(real)} real series", real, console)
    results["cadence"] = _cadences(console)
    Path("bench-anomaly.json").write_text(json.dumps(results, indent=1))
    console.print("wrote bench-anomaly.json (FA: false alarms per 100 table-days)")
    for rows in (results["generated"], results.get("development", results["generated"])):
        mine, best = rows[0], _best_peer(rows)
        assert mine["f1"] > best["f1"], (mine, best)
        like = [row for row in rows[3:] if row["recall"] >= 0.9 * mine["recall"]]
        assert all(mine["false_alarms_per_100_days"] <= row["false_alarms_per_100_days"] for row in like)
