"""Asking a source in a thread: it is left alone for as long as it asks for, and one that is taken away leaves nothing behind."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from tests.collect_rig import Clock, Rig, at
from tests.doubles.serving import Double, Told


def started(folder: Path, url: str, clock: Clock, **source: Any) -> Rig:
    """A rig whose source is asked by its own thread."""
    settings = {"type": "airflow", "url": url, "every": "1s", "retry": {"attempts": 1}, **source}
    rig = Rig(folder, {"sources": {"airflow": settings}, "pipelines": [{"source": "airflow", "match": "*"}]}, clock)
    rig.collectors.loops.clear()
    rig.collectors._follow(rig.collectors.watched.sources)
    return rig


def until(condition: Any, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def test_a_source_that_asks_for_ten_minutes_has_them_unless_somebody_asks_at_once(tmp_path: Path) -> None:
    double, clock = Double(lambda asked: Told(429, {}, {"Retry-After": "600"})), Clock(at(6))
    with double.serving():
        rig = started(tmp_path, double.url, clock)
        assert until(lambda: len(double.asked) == 1)
        time.sleep(2.5)
        assert len(double.asked) == 1
        clock.forward(seconds=601)
        assert until(lambda: len(double.asked) == 2)
        rig.collectors.reset("airflow")
        assert until(lambda: len(double.asked) == 3)
        for loop in rig.collectors.loops.values():
            loop.stop()
        rig.close()


def test_a_source_that_was_taken_away_while_it_was_asked_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rig = started(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", Clock(at(6)), timeout="7s")
        [loop] = rig.collectors.loops.values()
        time.sleep(0.5)
        rig.raw.update(sources={}, pipelines=[])
        config = rig._loaded()
        rig.collectors.update(config.watching, config.tables)
        assert until(lambda: not loop._thread.is_alive())
    gauges = ("dq_exporter_collector_up", "dq_exporter_collector_duration_seconds", "dq_exporter_circuit_breaker_state")
    assert not [key for key in rig.series() if key.startswith(gauges) and 'instance_name="airflow"' in key]
    rig.close()
