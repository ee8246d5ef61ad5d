"""What the tasks of Airflow runs tell: automatic retries, how many failed, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from exporter.model import Json
from exporter.pipelines.base import run_error
from exporter.pipelines.http import Http, HttpError
from exporter.pipelines.run import RunError, RunReport, RunState

_AT_ONCE = 50
_PAGE = 1000
_REMEMBERED = timedelta(minutes=15)
_RETRIES_KEPT = timedelta(minutes=10)
_MOST_LOGS = 10
"""Logs read in one poll; further failures go without the text of their error."""
_BY_TIMEOUT = RunError("TimedOut", "no task failed: the run exceeded dagrun_timeout, or was set to failed by hand")


class Tasks:
    """Adds to reports of ended runs what their tasks say; each run is asked for once."""

    def __init__(self, with_logs: bool) -> None:
        self._with_logs = with_logs
        self._told: dict[tuple[object, ...], tuple[datetime, RunReport]] = {}
        self._retries: dict[str, tuple[datetime, dict[str, int]]] = {}
        self._has_list = True

    def told(self, http: Http, api: str, reports: Sequence[RunReport], now: datetime) -> list[RunReport]:
        """The reports, those of runs that ended with retries, failed tasks and errors. Raises HttpError."""
        self._told = {key: kept for key, kept in self._told.items() if now - kept[0] < _REMEMBERED}
        fresh = [report for report in reports if report.state.is_verdict and _key(report) not in self._told]
        rows = self._rows(http, api, fresh)
        logs_left = _MOST_LOGS
        for report in fresh:
            tasks = rows.get((report.job, report.run_id), [])
            failed = [task for task in tasks if task.get("state") == "failed"]
            error = None
            if report.state is RunState.FAILED:
                error = self._error(http, api, report, failed, logs_left > 0)
                logs_left -= bool(failed)
            full = replace(report, retries=self._retried(http, api, tasks, now), failed_tasks=len(failed), error=error)
            self._told[_key(report)] = (now, full)
        return [self._with(report) for report in reports]

    def _with(self, report: RunReport) -> RunReport:
        kept = self._told.get(_key(report))
        if kept is None or not report.state.is_verdict:
            return report
        return replace(report, retries=kept[1].retries, failed_tasks=kept[1].failed_tasks, error=kept[1].error)

    # --- task instances ---
    def _rows(self, http: Http, api: str, reports: Sequence[RunReport]) -> dict[tuple[str, str], list[Json]]:
        found: dict[tuple[str, str], list[Json]] = {}
        for start in range(0, len(reports), _AT_ONCE):
            some = reports[start : start + _AT_ONCE]
            for row in self._listed(http, api, some) if self._has_list else self._singly(http, api, some):
                found.setdefault((str(row.get("dag_id")), str(row.get("dag_run_id"))), []).append(row)
        return found

    def _listed(self, http: Http, api: str, reports: Sequence[RunReport]) -> Iterable[Json]:
        """All tasks of some runs in few requests; run ids repeat across DAGs, so others may be among them."""
        body: Json = {"dag_ids": sorted({report.job for report in reports}), "dag_run_ids": sorted({report.run_id for report in reports}), "page_limit": _PAGE}
        rows: list[Json] = []
        while True:
            try:
                answer = http.post(f"{api}/dags/~/dagRuns/~/taskInstances/list", {**body, "page_offset": len(rows)})
            except HttpError as error:
                if error.status in (400, 404, 405, 422):  # an older version
                    self._has_list = False
                    return self._singly(http, api, reports)
                raise
            page = _instances(answer.body)
            rows += page
            total = answer.body.get("total_entries") if isinstance(answer.body, dict) else None
            if not page or not isinstance(total, int) or len(rows) >= total:
                return rows

    @staticmethod
    def _singly(http: Http, api: str, reports: Sequence[RunReport]) -> list[Json]:
        rows: list[Json] = []
        for report in reports:
            path = f"{api}/dags/{quote(report.job, safe='')}/dagRuns/{quote(report.run_id, safe='')}/taskInstances"
            offset = 0
            try:
                while page := _instances((answer := http.get(path, {"limit": 100, "offset": offset})).body):
                    rows += page
                    offset += len(page)
                    total = answer.body.get("total_entries")
                    if not isinstance(total, int) or offset >= total:
                        break
            except HttpError as error:
                if error.status not in (403, 404):  # deleted meanwhile, or not for this user
                    raise
        return rows

    # --- retries ---
    def _retried(self, http: Http, api: str, tasks: Sequence[Json], now: datetime) -> int:
        """Automatic retries: a clear raises both the try and the greatest number of tries, so the difference counts."""
        total = 0
        for task in tasks:
            tries, most = task.get("try_number"), task.get("max_tries")
            if isinstance(tries, int) and isinstance(most, int) and tries > 1:
                configured = self._configured(http, api, str(task.get("dag_id")), now).get(str(task.get("task_id")), most)
                total += max(0, tries - 1 - max(0, most - configured))
        return total

    def _configured(self, http: Http, api: str, dag: str, now: datetime) -> Mapping[str, int]:
        """The `retries` of the tasks of a DAG; none when it cannot be asked for."""
        kept = self._retries.get(dag)
        if kept is None or now - kept[0] >= _RETRIES_KEPT:
            try:
                body = http.get(f"{api}/dags/{quote(dag, safe='')}/tasks").body
            except HttpError as error:
                if error.status not in (403, 404):
                    raise
                body = {}
            rows = body.get("tasks") if isinstance(body, dict) else None
            numbers = {str(row.get("task_id")): int(row["retries"]) for row in rows or () if isinstance(row, dict) and isinstance(row.get("retries"), int | float)}
            kept = self._retries[dag] = (now, numbers)
        return kept[1]

    # --- errors ---
    def _error(self, http: Http, api: str, report: RunReport, failed: Sequence[Json], may_read: bool) -> RunError:
        if not failed:
            return _BY_TIMEOUT
        task = max(failed, key=lambda one: str(one.get("end_date") or ""))
        name, tries = str(task.get("task_id")), task.get("try_number")
        logged = self._logged(http, api, report, task) if may_read and self._with_logs else None
        if logged is not None:
            return RunError(logged.error_class, f"task {name}: {logged.message}")
        return RunError("TaskFailed", f"task {name} failed" + (f" at try {tries}" if isinstance(tries, int) and tries > 1 else ""))

    @staticmethod
    def _logged(http: Http, api: str, report: RunReport, task: Json) -> RunError | None:
        """The error at the end of a task's log; None when the log cannot be read or tells of none."""
        path = (
            f"{api}/dags/{quote(report.job, safe='')}/dagRuns/{quote(report.run_id, safe='')}"
            f"/taskInstances/{quote(str(task.get('task_id')), safe='')}/logs/{task.get('try_number')}"
        )
        try:
            body = http.get(path, {"full_content": "true", "map_index": task.get("map_index", -1)}).body
        except HttpError:
            return None
        content = body.get("content") if isinstance(body, dict) else None
        return error_in(content)


def error_in(content: Any) -> RunError | None:
    """The last error of a task's log: structured entries (Airflow 3), or one text (Airflow 2)."""
    if isinstance(content, str):
        lines = [line for line in content.splitlines() if line.strip()]
        named = [line for line in lines if ("Error" in line or "Exception" in line or "SIGKILL" in line) and "Traceback" not in line]
        return run_error(None, named[-1].strip().strip("',)]\"")) if named else None
    for entry in reversed(content) if isinstance(content, list) else ():
        if not isinstance(entry, dict):
            continue
        detail = entry.get("error_detail")
        first = detail[0] if isinstance(detail, list) and detail and isinstance(detail[0], dict) else None
        if first is not None:
            return run_error(str(first.get("exc_type") or ""), str(first.get("exc_value") or ""))
        if entry.get("signal") is not None:
            text = str(entry.get("event") or "").partition("For more information")[0].strip()
            return run_error("OutOfMemory" if entry["signal"] in (-9, 9, 137) else "Signal", text)
    return None


def _key(report: RunReport) -> tuple[object, ...]:
    return report.job, report.run_id, report.queued_at, report.started_at, report.ended_at, report.state


def _instances(body: Any) -> list[Json]:
    rows = body.get("task_instances") if isinstance(body, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
