"""A real Airflow 3 in an environment of its own: metadata in SQLite, API server, scheduler and DAG processor on loopback.

Its packages do not go with ours (SQLAlchemy 2.1, protobuf 7), so they are installed under `.tools/airflow`, once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.tools.stack import TOOLS, free_port, lacking

HOME = TOOLS / "airflow"
PINS = ("apache-airflow==3.3.2", "apache-airflow-providers-openlineage==2.20.3", "apache-airflow-providers-standard==1.21.0")
_INSTALL_WITHIN = 900
_READY_WITHIN = 120


def installed() -> Path:
    """The `airflow` program; installed when it is not there and the whole stack is required, else the test is skipped."""
    program = HOME / "bin" / "airflow"
    if not (HOME / ".complete").exists():
        if os.environ.get("DQ_REQUIRE_STACK") != "1":
            lacking("Airflow under .tools/airflow")
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True, timeout=120)
        subprocess.run([HOME / "bin" / "pip", "install", "--quiet", *PINS], check=True, timeout=_INSTALL_WITHIN)
        (HOME / ".complete").touch()
    return program


@dataclass
class RealAirflow:
    """A running Airflow: its URL, and what a person would do in its UI."""

    url: str
    home: Path
    password: str
    token: str = ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that the API answers with."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def trigger(self, dag: str, run: str) -> None:
        """Starts a run by hand."""
        self.ask("POST", f"/api/v2/dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": None})

    def clear(self, dag: str, run: str) -> None:
        """Clears a run: it runs again under the same id."""
        self.ask("POST", f"/api/v2/dags/{dag}/dagRuns/{run}/clear", {"dry_run": False})

    def set_state(self, dag: str, run: str, state: str) -> None:
        """Sets the verdict by hand."""
        self.ask("PATCH", f"/api/v2/dags/{dag}/dagRuns/{run}", {"state": state})

    def state(self, dag: str, run: str) -> dict[str, Any]:
        """The row of a run."""
        return dict(self.ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}"))

    def wait(self, dag: str, run: str, *states: str, within: float = 120) -> dict[str, Any]:
        """The row of a run once it is in one of the states."""
        end = time.monotonic() + within
        while (row := self.state(dag, run))["state"] not in states:
            if time.monotonic() > end:
                pytest.fail(f"{dag} {run} is {row['state']}, not {states}, after {within} s")
            time.sleep(0.3)
        return row

    def log_in(self) -> None:
        """Gets a token for what follows."""
        self.token = self.ask("POST", "/auth/token", {"username": "admin", "password": self.password})["access_token"]


@contextlib.contextmanager
def airflow(folder: Path, dags: Path, lineage_url: str) -> Iterator[RealAirflow]:
    """An Airflow with the DAGs of a folder that sends OpenLineage events to `lineage_url`; stopped at the end, each process by its id."""
    program, port, password = installed(), free_port(), "admin"
    home = folder / "airflow"
    home.mkdir(parents=True)
    shutil.copytree(dags, home / "dags")
    (home / "passwords.json").write_text(json.dumps({"admin": password, "viewer": "viewer"}))
    url = f"http://127.0.0.1:{port}"
    transport = {"type": "http", "url": lineage_url, "timeout": 1, "retry": {"total": 1, "connect": 1, "read": 0, "backoff_factor": 0.1}}
    environment = {
        "PATH": f"{HOME}/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "no_proxy": "127.0.0.1", "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__PARALLELISM": "2", "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/", "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32), "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"), "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport), "AIRFLOW__OPENLINEAGE__NAMESPACE": "prod", "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }  # fmt: skip
    subprocess.run([program, "db", "migrate"], env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    commands = (["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"], ["scheduler", "--skip-serve-logs"], ["dag-processor"])
    with contextlib.ExitStack() as stack:
        for command in commands:
            stack.enter_context(_process([program, *command], environment, home / f"{command[0]}.log"))
        running = RealAirflow(url, home, password)
        _until(lambda: _healthy(running), f"Airflow is not ready; see {home}")
        running.log_in()
        yield running


@contextlib.contextmanager
def _process(argv: list[Any], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(list(map(str, argv)), env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)  # the group that we started: its workers with it
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _healthy(running: RealAirflow) -> bool:
    try:
        health = running.ask("GET", "/api/v2/monitor/health")
    except (OSError, urllib.error.URLError):
        return False
    return all(health[name]["status"] == "healthy" for name in ("scheduler", "dag_processor"))


def _until(holds: Any, otherwise: str, within: float = _READY_WITHIN) -> None:
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            pytest.fail(otherwise)
        time.sleep(0.3)
