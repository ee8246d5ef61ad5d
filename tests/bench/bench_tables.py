"""10,000 tables with 400 days of history each: the first pass reads and judges them all, the next one only what is new."""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from time import perf_counter
from zoneinfo import ZoneInfo

from exporter.learned.buckets import Series
from exporter.learned.calendar import Calendar
from exporter.learned.judged import Sensitivity
from tests.bench import generated

TABLES, DAYS, PROCESSES = 10_000, 400, 2
CALENDAR, ZONE = Calendar(country="US"), ZoneInfo("UTC")


def _pass(numbers: range, kept: list[bytes] | None) -> tuple[list[bytes], int]:
    """Judges tables; gives their memories as the store keeps them, and the number of buckets that were judged."""
    shapes = generated.series()
    memories, judged = [], 0
    for place, number in enumerate(numbers):
        shape = shapes[number % len(shapes)]
        days = shape.days()
        rows = [max(0, rows + number % 7) for rows in shape.rows]
        series = Series(CALENDAR, Sensitivity.MEDIUM, ZONE)
        if kept is not None:
            series.load(json.loads(zlib.decompress(kept[place])))
        end = DAYS if kept is None else DAYS + 1
        first = 0 if kept is None else DAYS - 14
        before = len(series.rows)
        series.update(dict(zip(days[first:end], rows[first:end], strict=True)), _day(days, end), days[max(0, end - 14)], {})
        judged += len(series.rows) - before
        memories.append(zlib.compress(json.dumps(series.dump(), separators=(",", ":")).encode(), 1))
    return memories, judged


def _day(days: list[datetime], place: int) -> datetime:
    return days[place] if place < len(days) else days[-1] + timedelta(days=1)


def test_ten_thousand_tables_are_judged_in_one_pass() -> None:
    parts = [range(place, TABLES, PROCESSES) for place in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES) as pool:
        list(pool.map(_pass, [range(1)] * PROCESSES, [None] * PROCESSES))
        started = perf_counter()
        first = list(pool.map(_pass, parts, [None] * PROCESSES))
        whole = perf_counter() - started
        started = perf_counter()
        second = list(pool.map(_pass, parts, [memories for memories, _ in first]))
        again = perf_counter() - started
    assert sum(judged for _, judged in first) == TABLES * DAYS
    assert sum(judged for _, judged in second) == TABLES
    print(f"\n{TABLES:,} tables of {DAYS} days on {PROCESSES} processes: first pass {whole:.1f} s, next pass {again:.1f} s: {whole / again:.1f} times less")
