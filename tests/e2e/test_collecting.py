"""The real process killed without warning, again and again, while it polls and while it receives: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml

from tests.doubles.airflow import Airflow
from tests.e2e.test_process import exporter, get, samples, until
from tests.tools import stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
KILLS = 20


def value(url: str, name: str, **labels: str) -> float | None:
    found = [value for (metric, pairs), value in samples(get(url + "/metrics")).items() if metric == name and labels.items() <= dict(pairs).items()]
    return found[0] if found else None


class Sender(threading.Thread):
    """Tells of runs, each event until it is answered, and ends Airflow runs besides."""

    def __init__(self, url: str, airflow: Airflow) -> None:
        super().__init__(daemon=True)
        self.url, self.airflow, self.told, self.ended = url, airflow, 0, 0
        self.stop = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=5) as client:
            while not self.stop.is_set():
                number = self.told
                for state in ("running", "success" if number % 3 else "failed"):
                    self.send(client, {"pipeline": "pushed", "run_id": f"r{number}", "state": state, "at": datetime.now(UTC).isoformat(), "event_id": f"{number}-{state}"})
                self.told += 1
                with self.airflow.double.lock:
                    self.airflow.now = datetime.now(UTC)
                    self.airflow.queue("polled", f"r{number}")
                    self.airflow.begin("polled", f"r{number}")
                    self.airflow.end("polled", f"r{number}", "success" if number % 4 else "failed")
                self.ended += 1

    @staticmethod
    def send(client: httpx.Client, event: dict[str, str]) -> None:
        while True:
            try:
                if client.post("/api/v1/events", json=event).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.02)


def test_twenty_kills_lose_no_run_and_count_none_twice(tmp_path: Path) -> None:
    airflow, port = Airflow(page_cap=20), stack.free_port()
    (tmp_path / "table").mkdir()
    (tmp_path / "password").write_text("pw")
    with airflow.double.serving():
        airflow.now = datetime.now(UTC)
        airflow.dag("polled")
        config = {
            "version": 1, "store": {"url": f"sqlite:///{tmp_path}/dq.db"}, "defaults": {"schedule": {"every": "1h"}},
            "tables": [{"name": "t", "path": str(tmp_path / "table"), "checks": [{"row_count": {"min": 1}}]}],
            "sources": {"airflow": {"type": "airflow", "url": airflow.double.url, "username": "svc", "password_file": str(tmp_path / "password"), "every": "1s"}},
            "pipelines": [{"name": "pushed"}, {"name": "polled", "source": "airflow"}],
        }  # fmt: skip
        path, url = tmp_path / "dq-exporter.yml", f"http://127.0.0.1:{port}"
        path.write_text(yaml.safe_dump(config))
        sender = Sender(url, airflow)
        with exporter(path, port):
            until(lambda: value(url, "dq_exporter_collector_up", instance_name="airflow") == 1)
        sender.start()
        before = (0.0, 0.0)
        for number in range(KILLS):
            with exporter(path, port) as process:
                time.sleep(0.1 + 0.12 * (number % 10))
                seen = (value(url, "pipeline_runs_total", pipeline="pushed") or 0.0, value(url, "pipeline_runs_total", pipeline="polled") or 0.0)
                assert seen >= before or number == 0 or seen == (0.0, 0.0), "a counter went back"
                before = max(before, seen)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
        with exporter(path, port):
            time.sleep(1)
            sender.stop.set()
            sender.join()
            time.sleep(1.5)  # the runs of the last second are asked for as well
            until(lambda: value(url, "pipeline_runs_total", pipeline="pushed") == sender.told, 30)
            until(lambda: value(url, "pipeline_runs_total", pipeline="polled") == sender.ended, 30)
            time.sleep(3)
            assert value(url, "pipeline_runs_total", pipeline="pushed") == sender.told
            assert value(url, "pipeline_runs_failed_total", pipeline="pushed") == len(range(0, sender.told, 3))
            assert value(url, "pipeline_runs_total", pipeline="polled") == sender.ended
            assert value(url, "pipeline_runs_failed_total", pipeline="polled") == len(range(0, sender.ended, 4))
            assert sender.told > KILLS
