"""Run as a process of its own: Spark Connect and a classic session do not live in one. Prints one line per check."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path

from exporter.catalog.labels import Engine
from exporter.checks import REGISTRY
from exporter.engine.native import NativeWorkers
from exporter.engine.session import SparkRuntime
from tests.conftest import Bench


def main(directory: Path) -> None:
    """Every example, then a query that must be cancelled."""
    bench = Bench(directory, NativeWorkers(), SparkRuntime(remote="local[2]"))
    try:
        for cls in REGISTRY.values():
            for example in (cls.good, cls.bad):
                verdict = bench.example(cls, example, Engine.SPARK)
                same = verdict.outcome is example.outcome and (example.value is None or verdict.value == example.value)
                print("same" if same else "differs", cls.type, verdict.outcome, verdict.value, verdict.message)
        table = bench.delta({"a": "int"}, [(1,)])
        missing = bench.evaluate(table, {"expression": {"sql": "nowhere > 1"}}, engine=Engine.SPARK).results[0].verdict
        print("same" if missing.reason == "column_not_found" else "differs", "missing column", missing.message)
        endless = "select count(*) from range(100000000000) x join range(3) y on x.id % 7 = y.id"
        started = time.monotonic()
        check = {"query": {"name": "endless", "sql": endless, "min": 0}}
        verdict = bench.evaluate(table, check, engine=Engine.SPARK, timeout=timedelta(seconds=3)).results[0].verdict
        print("same" if verdict.reason == "timeout" and time.monotonic() - started < 20 else "differs", "timeout", verdict.message)
    finally:
        bench.workers.close()
        bench.spark.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
