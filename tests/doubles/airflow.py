"""A double of Airflow's REST API, v2 as 3.3 behaves and v1 as 2.x does, over runs that are changed as Airflow changes them.

It has the traps of the real one: pages are capped below what is asked, GET filters by date let rows without a date through, unknown query keys
are ignored, running rows change all the time, a clear keeps the run id, and setting a state by hand leaves `end_date`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.doubles.serving import Asked, Double, Told

START = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)


def iso(moment: datetime | None) -> str | None:
    """As Airflow writes it."""
    return moment.isoformat().replace("+00:00", "Z") if moment else None


class Airflow:
    """DAGs, runs and tasks, with a clock of its own that tests move."""

    def __init__(self, version: str = "v2", *, cursor: bool = True, page_cap: int = 100, user: tuple[str, str] = ("svc", "pw")) -> None:
        self.version, self.cursor, self.page_cap, self.user = version, cursor, page_cap, user
        self.now = START
        self.dags: dict[str, dict[str, Any]] = {}
        self.runs: dict[tuple[str, str], dict[str, Any]] = {}
        self.by_dag: dict[str, dict[str, dict[str, Any]]] = {}
        self.tasks: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.retries: dict[str, dict[str, int]] = {}
        self.logs: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self.scheduler = "healthy"
        self.token = "token-1"
        self.while_paging: Callable[[], None] = lambda: None
        self.double = Double(self._answer)
        self._ids = itertools.count(1)

    # --- what happens ---
    def tick(self, seconds: float = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def dag(self, dag_id: str, *, paused: bool = False, owner: str = "airflow", retries: dict[str, int] | None = None) -> None:
        self.dags[dag_id] = {"dag_id": dag_id, "is_paused": paused, "owners": [owner], "tags": []}
        self.retries[dag_id] = retries or {}

    def queue(self, dag_id: str, run_id: str) -> None:
        if dag_id not in self.dags:
            self.dag(dag_id)
        self.runs[dag_id, run_id] = self.by_dag.setdefault(dag_id, {})[run_id] = {
            "id": next(self._ids), "dag_id": dag_id, "dag_run_id": run_id, "state": "queued", "queued_at": self.now, "start_date": None,
            "end_date": None, "updated_at": self.now, "logical_date": None,
        }  # fmt: skip

    def begin(self, dag_id: str, run_id: str) -> None:
        self.runs[dag_id, run_id] |= {"state": "running", "start_date": self.now, "updated_at": self.now}

    def end(self, dag_id: str, run_id: str, state: str = "success") -> None:
        self.runs[dag_id, run_id] |= {"state": state, "end_date": self.now, "updated_at": self.now}

    def run(self, dag_id: str, run_id: str, state: str = "success", seconds: float = 60) -> None:
        """A whole run that takes so long."""
        self.queue(dag_id, run_id)
        self.begin(dag_id, run_id)
        self.tick(seconds)
        self.end(dag_id, run_id, state)

    def clear(self, dag_id: str, run_id: str) -> None:
        self.runs[dag_id, run_id] |= {"state": "queued", "queued_at": self.now, "start_date": None, "end_date": None, "updated_at": self.now}

    def set_by_hand(self, dag_id: str, run_id: str, state: str) -> None:
        self.runs[dag_id, run_id] |= {"state": state, "updated_at": self.now}

    def delete(self, dag_id: str, run_id: str) -> None:
        del self.runs[dag_id, run_id], self.by_dag[dag_id][run_id]

    def task(self, dag_id: str, run_id: str, task_id: str, state: str, tries: int = 1, most: int = 0) -> None:
        self.tasks.setdefault((dag_id, run_id), []).append(
            {"dag_id": dag_id, "dag_run_id": run_id, "task_id": task_id, "map_index": -1, "state": state, "try_number": tries, "max_tries": most, "end_date": iso(self.now)}
        )

    # --- HTTP ---
    def _answer(self, asked: Asked) -> Told:
        told = self._routed(asked)
        return Told(told.status, told.body, {"Date": format_datetime(self.now, usegmt=True), **told.headers}, told.raw, told.drip, told.cut)

    def _routed(self, asked: Asked) -> Told:
        prefix = f"/api/{self.version}"
        if not asked.path.startswith(prefix):
            if asked.path == "/auth/token" and self.version == "v2":
                right = asked.body == {"username": self.user[0], "password": self.user[1]}
                return Told(201, {"access_token": self.token}) if right else Told(401, {"detail": "Invalid credentials"})
            return Told(404, {"error": f"{asked.path} is not here"})
        path = asked.path.removeprefix(prefix)
        if path in ("/version",):
            return Told(body={"version": "3.3.2"})
        if path in ("/monitor/health", "/health"):
            return Told(body={"metadatabase": {"status": "healthy"}, "scheduler": {"status": self.scheduler}, "triggerer": {"status": None}})
        refused = self._refused(asked)
        return refused or self._data(path, asked)

    def _refused(self, asked: Asked) -> Told | None:
        given = asked.headers.get("Authorization", "")
        if self.version == "v1":
            import base64

            right = "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
            return None if given == right else Told(401, {"title": "Unauthorized", "detail": None, "status": 401})
        if given == f"Bearer {self.token}":
            return None
        return Told(403, {"detail": "Invalid JWT token"}) if given else Told(401, {"detail": "Not authenticated"})

    def _data(self, path: str, asked: Asked) -> Told:
        parts = path.strip("/").split("/")
        match parts:
            case ["dags"]:
                return self._page(sorted(self.dags.values(), key=lambda dag: dag["dag_id"]), "dags", asked)
            case ["dags", "~", "dagRuns"]:
                return self._runs(asked, list(self.runs.values()))
            case ["dags", dag, "dagRuns"]:
                return self._runs(asked, list(self.by_dag.get(dag, {}).values())) if dag in self.dags else Told(404, {"detail": f"no DAG {dag}"})
            case ["dags", dag, "dagRuns", run]:
                from urllib.parse import unquote

                found = self.runs.get((unquote(dag), unquote(run)))
                return Told(body=self._row(found)) if found else Told(404, {"detail": "not found"})
            case ["dags", dag, "tasks"]:
                return Told(body={"tasks": [{"task_id": name, "retries": float(count)} for name, count in self.retries.get(dag, {}).items()]})
            case ["dags", "~", "dagRuns", "~", "taskInstances", "list"]:
                return self._task_list(asked)
            case ["dags", dag, "dagRuns", run, "taskInstances", task, "logs", _]:
                from urllib.parse import unquote

                return Told(body={"content": self.logs.get((dag, unquote(run), task), [{"event": "nothing to see"}])})
            case ["pools"]:
                pool = {"name": "default_pool", "slots": 128, "open_slots": 120, "running_slots": 3, "queued_slots": 1, "scheduled_slots": 4, "deferred_slots": 0}
                return Told(body={"pools": [pool], "total_entries": 1})
            case ["importErrors"]:
                return Told(body={"import_errors": [], "total_entries": 2})
        return Told(404, {"detail": "Not Found"})

    def _task_list(self, asked: Asked) -> Told:
        unknown = set(asked.body) - {"dag_ids", "dag_run_ids", "page_limit", "page_offset"}
        if unknown:
            return Told(422, {"detail": [{"msg": f"unknown {unknown}"}]})
        rows = [
            row for (dag, run), some in self.tasks.items() for row in some
            if dag in asked.body["dag_ids"] and run in asked.body["dag_run_ids"]
        ]  # fmt: skip
        offset = asked.body.get("page_offset", 0)
        return Told(body={"task_instances": rows[offset : offset + asked.body.get("page_limit", 100)], "total_entries": len(rows)})

    def _row(self, run: dict[str, Any]) -> dict[str, Any]:
        row = {key: iso(value) if isinstance(value, datetime) else value for key, value in run.items() if key not in ("id", "updated_at")}
        if self.version == "v1":
            row.pop("queued_at")
        return row

    def _runs(self, asked: Asked, rows: list[dict[str, Any]]) -> Told:
        for run in rows:
            if run["state"] == "running":
                run["updated_at"] = self.now
        if states := asked.query.get("state"):
            rows = [run for run in rows if run["state"] in states]
        if since := asked.one("updated_at_gte"):
            rows = [run for run in rows if run["updated_at"] >= datetime.fromisoformat(since)]
        if since := asked.one("end_date_gte"):
            rows = [run for run in rows if run["end_date"] is None or run["end_date"] >= datetime.fromisoformat(since)]
        order = asked.one("order_by", "id") or "id"
        name = order.lstrip("-")
        rows.sort(key=lambda run: (run[name] is not None, run[name], run["id"]), reverse=order.startswith("-"))
        if self.version == "v2" and self.cursor and "cursor" in asked.query:
            return self._by_cursor(asked, rows, name)
        return self._page(rows, "dag_runs", asked, self._row)

    def _by_cursor(self, asked: Asked, rows: list[dict[str, Any]], name: str) -> Told:
        """Keyset paging: what comes after the last row that was given."""
        cursor = asked.one("cursor") or ""
        if cursor:
            stamp, _, number = cursor.partition("|")
            rows = [run for run in rows if (iso(run[name]) or "", run["id"]) > (stamp, int(number))]
        limit = min(int(asked.one("limit", "50") or 50), self.page_cap)
        page = rows[:limit]
        following = f"{iso(page[-1][name])}|{page[-1]['id']}" if len(rows) > limit else None
        body = {"dag_runs": [self._row(run) for run in page], "total_entries": len(rows), "next_cursor": following, "previous_cursor": None}
        self.while_paging()
        return Told(body=body)

    def _page(self, rows: list[dict[str, Any]], name: str, asked: Asked, shown: Callable[[dict[str, Any]], Any] = lambda row: row) -> Told:
        offset, limit = int(asked.one("offset", "0") or 0), min(int(asked.one("limit", "50") or 50), self.page_cap)
        body = {name: [shown(row) for row in rows[offset : offset + limit]], "total_entries": len(rows)}
        if self.version == "v2" and self.cursor and name == "dag_runs":
            body["next_cursor"] = None
        self.while_paging()
        return Told(body=body)
