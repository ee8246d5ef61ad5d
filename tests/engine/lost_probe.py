"""Run as a process of its own, because it kills the JVM; prints the reasons of five evaluations."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from exporter.catalog.labels import Engine
from exporter.engine.native import NativeWorkers
from exporter.engine.session import SparkRuntime
from tests.conftest import Bench


def main(directory: Path) -> None:
    """Evaluates before the JVM was killed, just after, some time after, and so on once more."""
    bench = Bench(directory, NativeWorkers(), SparkRuntime())
    table = bench.delta({"a": "int"}, [(1,), (None,)])
    try:
        for round_ in range(5):
            if round_ in (1, 3):
                from pyspark import SparkContext

                os.kill(SparkContext._gateway.proc.pid, signal.SIGKILL)
            verdict = bench.evaluate(table, {"not_null": "a"}, engine=Engine.SPARK).results[0].verdict
            print("verdict", verdict.outcome, verdict.reason, verdict.message[:200])
    finally:
        bench.workers.close()
        bench.spark.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
